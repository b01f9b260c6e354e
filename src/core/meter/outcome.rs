//! What a meter tells of an event: what to charge, what to foresee, what is booked.

use crate::dialect::Handle;
use crate::id::Model;
use crate::metric::Metric;
use crate::money::NanoUsd;
use crate::usage::Usage;
use std::ops::{AddAssign, Sub};

/// An amount for accounts. Negative where a provider's figure replaces a higher estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    pub cost: NanoUsd,
    pub tokens: i64,
}

/// What came of an event, or of the end: charge the first, foresee the second, report the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What all that is booked costs, less what was charged for it before.
    pub charge: Charge,
    /// What responses under way read by estimate. It warns, and is taken back when their end is known; until then it
    /// ends nobody, for the provider may have most of it in its cache.
    pub foreseen: Charge,
    pub booked: Vec<Metered>,
    /// The provider has given the application this to resume the session by.
    pub handle: Option<Handle>,
    /// By this others may attach to the session, and see what it uses.
    pub call: Option<Box<str>>,
}

/// A response or a transcription that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metered {
    /// The model it was priced at.
    pub model: Model,
    pub usage: Usage,
    pub cost: NanoUsd,
    /// The provider stated no usage.
    pub estimated: bool,
    /// The cost comes from the model's own price list, not from the fallback.
    pub known_price: bool,
    /// From the response's first sign.
    pub latency_ms: Option<u64>,
}

/// What happened since [`take_counts`](super::Meter::take_counts) was last called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Booked with the provider's usage.
    pub metered: u32,
    /// Ignored, because booked before.
    pub duplicate: u32,
    /// Booked by estimate.
    pub estimated: u32,
    /// Should have had usage, but was too large or unreadable or had none.
    pub unmetered: u32,
    /// Booked at least in part at the fallback price; also counted above.
    pub unpriced: u32,
}

impl Reading {
    pub(super) fn absorb(&mut self, other: Reading) {
        self.charge += other.charge;
        self.foreseen += other.foreseen;
        self.booked.extend(other.booked);
        self.handle = other.handle.or(self.handle.take());
        self.call = other.call.or(self.call.take());
    }
}

impl Charge {
    pub(super) fn of(cost: NanoUsd, usage: &Usage) -> Charge {
        Charge { cost, tokens: i64::try_from(usage.total_tokens()).unwrap_or(i64::MAX) }
    }
}

impl AddAssign for Charge {
    fn add_assign(&mut self, other: Charge) {
        self.cost += other.cost;
        self.tokens = self.tokens.saturating_add(other.tokens);
    }
}

impl Sub for Charge {
    type Output = Charge;
    fn sub(self, other: Charge) -> Charge {
        Charge { cost: self.cost - other.cost, tokens: self.tokens.saturating_sub(other.tokens) }
    }
}

impl Counts {
    /// For adding them to the process's counters.
    pub fn by_metric(&self) -> [(Metric, u64); 5] {
        [
            (Metric::EventsMetered, self.metered),
            (Metric::EventsDuplicate, self.duplicate),
            (Metric::EventsEstimated, self.estimated),
            (Metric::EventsUnmetered, self.unmetered),
            (Metric::EventsUnpriced, self.unpriced),
        ]
        .map(|(metric, count)| (metric, u64::from(count)))
    }
}
