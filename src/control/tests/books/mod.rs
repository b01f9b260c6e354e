//! What a simulation itself knows of its users, to compare the ledger with.

use tokenist_core::limit::{Block, Limit, WindowKind};
use tokenist_core::time::{DAY_MS, HOUR_MS, STEP_BACK_MS, Timestamp};
use tokenist_core::window::BUCKET_MS;
use tokenist_handoff::Charge;

/// Of one user.
pub(crate) struct Books {
    pub(crate) limit: Limit,
    pub(crate) block: Option<Block>,
    pub(crate) metered: Vec<Metered>,
    /// Charged for responses that are not settled.
    pub(crate) estimated: Charge,
}

#[derive(Clone, Copy)]
pub(crate) struct Metered {
    /// Tells it from all others.
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    pub(crate) nano: i64,
    pub(crate) tokens: u64,
    /// So it outlives the process that metered it.
    pub(crate) is_in_journal: bool,
}

impl Books {
    /// As a ledger takes it over that is restored at `now`: what is of later, of which it knows the hour, is waited for
    /// if that is a clock's small step, and counts at once if it is more.
    pub(crate) fn restored_at(&self, now: Timestamp) -> Books {
        let at = |at: Timestamp| match Timestamp(at.0 - at.0 % HOUR_MS).max(now) {
            _ if at <= now => at,
            start if start.since(now) <= STEP_BACK_MS => start,
            _ => now,
        };
        let metered = self.metered.iter().map(|metered| Metered { at: at(metered.at), ..*metered }).collect();
        Books { metered, block: self.block.clone(), ..*self }
    }

    /// Cost and tokens of a window at a time.
    pub(crate) fn sum(&self, window: WindowKind, now: Timestamp) -> (i64, u64) {
        let counts = |at: Timestamp| match window {
            WindowKind::Daily => at >= now.day_start(),
            WindowKind::Monthly => at >= now.month_start(),
            WindowKind::Rolling24h => at.0 / BUCKET_MS + DAY_MS / BUCKET_MS >= now.0 / BUCKET_MS,
            WindowKind::Total => true,
        };
        self.sum_where(counts)
    }

    /// And of the five minutes in which they began.
    pub(crate) fn last_25_hours(&self, now: Timestamp) -> (i64, u64) {
        self.sum_where(|at| at.plus_ms(DAY_MS + HOUR_MS + BUCKET_MS) >= now)
    }

    fn sum_where(&self, counts: impl Fn(Timestamp) -> bool) -> (i64, u64) {
        let metered = self.metered.iter().filter(|metered| counts(metered.at));
        metered.fold((0, 0), |(nano, tokens), metered| (nano + metered.nano, tokens + metered.tokens))
    }
}
