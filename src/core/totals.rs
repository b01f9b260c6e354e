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
        Totals {
            usage: self.usage.zip(other.usage, u64::max),
            cost: self.cost.max(other.cost),
            estimated_cost: self.estimated_cost.max(other.estimated_cost),
            updated_at: self.updated_at.max(other.updated_at),
        }
    }

    /// What is left of a sum without a part of it. When that was last added to nothing tells.
    pub fn without(&self, part: &Totals) -> Totals {
        Totals {
            usage: self.usage.zip(part.usage, u64::saturating_sub),
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
