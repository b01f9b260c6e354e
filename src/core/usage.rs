//! What a provider says was used: counts by kind.
//!
//! Invariant: cached counts are subsets of the input counts of their kind, and reasoning is a subset of text out.

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign};

/// Counts of one response, or a sum of several. Tokens unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Usage {
    pub text_in: u64,
    pub audio_in: u64,
    pub image_in: u64,
    /// The part of `text_in` that was read from the provider's cache; likewise the next two.
    pub cached_text_in: u64,
    pub cached_audio_in: u64,
    pub cached_image_in: u64,
    pub text_out: u64,
    pub audio_out: u64,
    pub image_out: u64,
    /// The part of `text_out` that was spent on reasoning.
    pub reasoning_out: u64,
    /// Billed time, for models that cost by the minute.
    pub duration_ms: u64,
    /// How many responses this stands for.
    pub requests: u64,
}

impl Usage {
    pub fn input_tokens(&self) -> u64 {
        self.text_in.saturating_add(self.audio_in).saturating_add(self.image_in)
    }

    pub fn cached_tokens(&self) -> u64 {
        self.cached_text_in.saturating_add(self.cached_audio_in).saturating_add(self.cached_image_in)
    }

    pub fn output_tokens(&self) -> u64 {
        self.text_out.saturating_add(self.audio_out).saturating_add(self.image_out)
    }

    pub fn total_tokens(&self) -> u64 {
        self.input_tokens().saturating_add(self.output_tokens())
    }

    /// This usage with every subset cut to its whole, so that no provider's slip can make a cost negative.
    pub fn clamped(mut self) -> Usage {
        self.cached_text_in = self.cached_text_in.min(self.text_in);
        self.cached_audio_in = self.cached_audio_in.min(self.audio_in);
        self.cached_image_in = self.cached_image_in.min(self.image_in);
        self.reasoning_out = self.reasoning_out.min(self.text_out);
        self
    }
}

impl Add for Usage {
    type Output = Usage;
    fn add(self, other: Usage) -> Usage {
        Usage {
            text_in: self.text_in.saturating_add(other.text_in),
            audio_in: self.audio_in.saturating_add(other.audio_in),
            image_in: self.image_in.saturating_add(other.image_in),
            cached_text_in: self.cached_text_in.saturating_add(other.cached_text_in),
            cached_audio_in: self.cached_audio_in.saturating_add(other.cached_audio_in),
            cached_image_in: self.cached_image_in.saturating_add(other.cached_image_in),
            text_out: self.text_out.saturating_add(other.text_out),
            audio_out: self.audio_out.saturating_add(other.audio_out),
            image_out: self.image_out.saturating_add(other.image_out),
            reasoning_out: self.reasoning_out.saturating_add(other.reasoning_out),
            duration_ms: self.duration_ms.saturating_add(other.duration_ms),
            requests: self.requests.saturating_add(other.requests),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        *self = *self + other;
    }
}
