//! Money and tokens together, as the simulation's own books have them.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use tokenist_core::limit::{Limit, Mode};
use tokenist_core::totals::Totals;
use tokenist_core::verdict::Used;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) nano: i64,
    pub(crate) tokens: i64,
}

impl Amount {
    pub(crate) fn of(totals: &Totals) -> Amount {
        Amount { nano: totals.cost.0, tokens: totals.usage.total_tokens() as i64 }
    }

    pub(crate) fn used(used: Used) -> Amount {
        Amount { nano: used.cost.0, tokens: used.tokens as i64 }
    }

    /// Neither is more than the other's.
    pub(crate) fn is_within(self, other: Amount) -> bool {
        self.nano <= other.nano && self.tokens <= other.tokens
    }

    /// Whether so much use is what ends sessions under this limit.
    pub(crate) fn reaches(self, limit: &Limit) -> bool {
        let cost = limit.max_cost.is_some_and(|max| self.nano >= max.0);
        let tokens = limit.max_tokens.is_some_and(|max| self.tokens >= max as i64);
        limit.mode == Mode::Enforce && (cost || tokens)
    }
}

impl Add for Amount {
    type Output = Amount;
    fn add(self, other: Amount) -> Amount {
        Amount { nano: self.nano + other.nano, tokens: self.tokens + other.tokens }
    }
}

impl Sub for Amount {
    type Output = Amount;
    fn sub(self, other: Amount) -> Amount {
        Amount { nano: self.nano - other.nano, tokens: self.tokens - other.tokens }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        *self = *self + other;
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::default(), Add::add)
    }
}
