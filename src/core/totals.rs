//! Usage and cost, summed.

use crate::message::Delta;
use crate::money::NanoUsd;
use crate::time::Timestamp;
use crate::usage::Usage;
use std::ops::AddAssign;

/// What was used and what it cost, over a window, a session or a rollup row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub usage: Usage,
    pub cost: NanoUsd,
    /// The part of `cost` that is our estimate.
    pub estimated_cost: NanoUsd,
    /// When something was last added.
    pub updated_at: Option<Timestamp>,
}

impl Totals {
    /// What one delta adds.
    pub fn of(delta: &Delta) -> Totals {
        Totals {
            usage: delta.usage,
            cost: delta.cost,
            estimated_cost: if delta.estimated { delta.cost } else { NanoUsd::ZERO },
            updated_at: Some(delta.at),
        }
    }

    /// The later of two states of one growing sum. Joining in any order, any number of times, gives the same.
    pub fn join(self, other: Totals) -> Totals {
        let (a, b) = (self.usage, other.usage);
        Totals {
            usage: Usage {
                text_in: a.text_in.max(b.text_in),
                audio_in: a.audio_in.max(b.audio_in),
                image_in: a.image_in.max(b.image_in),
                cached_text_in: a.cached_text_in.max(b.cached_text_in),
                cached_audio_in: a.cached_audio_in.max(b.cached_audio_in),
                cached_image_in: a.cached_image_in.max(b.cached_image_in),
                text_out: a.text_out.max(b.text_out),
                audio_out: a.audio_out.max(b.audio_out),
                image_out: a.image_out.max(b.image_out),
                reasoning_out: a.reasoning_out.max(b.reasoning_out),
                duration_ms: a.duration_ms.max(b.duration_ms),
                requests: a.requests.max(b.requests),
            },
            cost: self.cost.max(other.cost),
            estimated_cost: self.estimated_cost.max(other.estimated_cost),
            updated_at: self.updated_at.max(other.updated_at),
        }
    }

    /// What is left of a sum without a part of it. When that was last added to nothing tells.
    pub fn without(&self, part: &Totals) -> Totals {
        let (a, b) = (&self.usage, &part.usage);
        Totals {
            usage: Usage {
                text_in: a.text_in.saturating_sub(b.text_in),
                audio_in: a.audio_in.saturating_sub(b.audio_in),
                image_in: a.image_in.saturating_sub(b.image_in),
                cached_text_in: a.cached_text_in.saturating_sub(b.cached_text_in),
                cached_audio_in: a.cached_audio_in.saturating_sub(b.cached_audio_in),
                cached_image_in: a.cached_image_in.saturating_sub(b.cached_image_in),
                text_out: a.text_out.saturating_sub(b.text_out),
                audio_out: a.audio_out.saturating_sub(b.audio_out),
                image_out: a.image_out.saturating_sub(b.image_out),
                reasoning_out: a.reasoning_out.saturating_sub(b.reasoning_out),
                duration_ms: a.duration_ms.saturating_sub(b.duration_ms),
                requests: a.requests.saturating_sub(b.requests),
            },
            cost: self.cost - part.cost,
            estimated_cost: self.estimated_cost - part.estimated_cost,
            updated_at: None,
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.usage += other.usage;
        self.cost += other.cost;
        self.estimated_cost += other.estimated_cost;
        self.updated_at = self.updated_at.max(other.updated_at);
    }
}
