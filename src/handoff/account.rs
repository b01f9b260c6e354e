//! A limit holder's shared account: the only thing that shards have in common.
//!
//! `charged` is added to by any shard at the moment a cost is known. `ceiling` is written by the aggregator alone:
//! ceiling = what it has applied of those charges + what is left of the limit. So a charge that reaches the
//! ceiling is the verdict, on the spot, on whichever shard.

use crate::published::Published;
use arc_swap::Guard;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use tokenist_core::limit::AccountState;
use tokenist_core::models::Models;
use tokenist_core::money::NanoUsd;
use tokenist_core::verdict::Used;

/// An amount charged to an account. Negative where a provider's figure replaces a higher estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    pub cost: NanoUsd,
    pub tokens: i64,
}

/// What a charge found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChargeOutcome {
    /// The ceiling is not reached.
    Under,
    /// This very charge reached it: exactly one charge of all shards gets this answer.
    Crossed,
    /// It had been reached before.
    Over,
}

/// One measure of an account.
#[derive(Debug)]
pub struct Gauge {
    charged: AtomicI64,
    ceiling: AtomicI64,
    /// What responses under way will probably cost beside. It ends no session, for it may be too much.
    foreseen: AtomicI64,
}

/// No limit.
pub const UNLIMITED: i64 = i64::MAX;
/// Nothing at all is allowed: blocked or revoked.
pub const SHUT: i64 = i64::MIN;

#[derive(Debug)]
#[repr(align(64))] // Two busy accounts do not share a cache line.
pub struct Account {
    pub cost: Gauge,
    pub tokens: Gauge,
    /// Sessions open now, over all shards.
    sessions: AtomicU32,
    /// The state's limit lists models.
    bounds_models: AtomicBool,
    state: Published<AccountState>,
}

impl Gauge {
    fn new() -> Gauge {
        Gauge { charged: AtomicI64::new(0), ceiling: AtomicI64::new(UNLIMITED), foreseen: AtomicI64::new(0) }
    }

    /// Adds to what is charged and tells whether that reached the ceiling.
    ///
    /// The two atomics need not be read as one: the aggregator lowers a ceiling between events as it may, and
    /// sweeps the sessions afterwards.
    fn charge(&self, amount: i64) -> ChargeOutcome {
        let before = self.charged.fetch_add(amount, Ordering::AcqRel);
        let ceiling = self.ceiling.load(Ordering::Acquire);
        match (before >= ceiling, before.saturating_add(amount) >= ceiling) {
            _ if ceiling == UNLIMITED => ChargeOutcome::Under,
            (true, _) => ChargeOutcome::Over,
            (false, true) => ChargeOutcome::Crossed,
            (false, false) => ChargeOutcome::Under,
        }
    }

    /// Adds to what is foreseen and tells whether that reaches the ceiling which what is charged does not.
    fn foresee(&self, amount: i64) -> bool {
        let foreseen = self.foreseen.fetch_add(amount, Ordering::AcqRel).saturating_add(amount);
        let (charged, ceiling) = (self.charged(), self.ceiling());
        ceiling != UNLIMITED && charged < ceiling && charged.saturating_add(foreseen) >= ceiling
    }

    pub fn foreseen(&self) -> i64 {
        self.foreseen.load(Ordering::Acquire)
    }

    pub fn charged(&self) -> i64 {
        self.charged.load(Ordering::Acquire)
    }

    pub fn ceiling(&self) -> i64 {
        self.ceiling.load(Ordering::Acquire)
    }

    /// For the aggregator alone.
    pub fn set_ceiling(&self, ceiling: i64) {
        self.ceiling.store(ceiling, Ordering::Release);
    }

    fn reached(&self) -> bool {
        let ceiling = self.ceiling();
        ceiling != UNLIMITED && self.charged() >= ceiling
    }
}

impl Account {
    pub fn new(state: AccountState) -> Account {
        Account {
            cost: Gauge::new(),
            tokens: Gauge::new(),
            sessions: AtomicU32::new(0),
            bounds_models: AtomicBool::new(!state.limit.models.is_any()),
            state: Published::new(state),
        }
    }

    /// The newest that the aggregator has published. For a look: do not hold it across an await.
    pub fn state(&self) -> Guard<Arc<AccountState>> {
        self.state.load()
    }

    /// For the aggregator alone.
    pub fn set_state(&self, state: AccountState) {
        let bounds_models = !state.limit.models.is_any();
        self.state.set(state);
        self.bounds_models.store(bounds_models, Ordering::Release);
    }

    /// What the holder's sessions may use, if that is bounded. Costs a comparison where it is not.
    pub fn models(&self) -> Option<Models> {
        self.bounds_models.load(Ordering::Acquire).then(|| self.state().limit.models.clone())
    }

    /// Charges both measures; the stronger answer counts.
    pub fn charge(&self, charge: Charge) -> ChargeOutcome {
        self.cost.charge(charge.cost.0).max(self.tokens.charge(charge.tokens))
    }

    /// Foresees both measures, or with negative amounts no longer; whether one of them would reach its ceiling.
    pub fn foresee(&self, charge: Charge) -> bool {
        self.cost.foresee(charge.cost.0) | self.tokens.foresee(charge.tokens)
    }

    /// The one comparison that every event makes.
    pub fn reached(&self) -> bool {
        self.cost.reached() || self.tokens.reached()
    }

    /// What the holder has used in its limit's window, estimates included. Follows from
    /// ceiling = charged + limit − used; zero for a measure without a ceiling.
    pub fn used(&self) -> Used {
        let state = self.state();
        let used = |gauge: &Gauge, limit: Option<i64>| match (limit, gauge.ceiling()) {
            (Some(limit), ceiling) if ceiling != UNLIMITED && ceiling != SHUT => {
                gauge.charged().saturating_sub(ceiling.saturating_sub(limit)).max(0)
            }
            _ => 0,
        };
        Used {
            cost: NanoUsd(used(&self.cost, state.limit.max_cost.map(|limit| limit.0))),
            tokens: used(&self.tokens, state.limit.max_tokens.map(|limit| limit as i64)) as u64,
        }
    }

    /// Takes a place for one more session, unless `max` are open. The place is given back by [`Account::leave`].
    pub fn enter(&self, max: Option<u32>) -> bool {
        let max = max.unwrap_or(u32::MAX);
        self.sessions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < max).then_some(open + 1))
            .is_ok()
    }

    pub fn leave(&self) {
        let before = self.sessions.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "a session leaves once");
    }

    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use tokenist_core::limit::Limit;

    fn cost(nano: i64) -> Charge {
        Charge { cost: NanoUsd(nano), tokens: 0 }
    }

    #[test]
    fn exactly_one_charge_crosses() {
        for round in 0..50 {
            let account = Arc::new(Account::new(AccountState::default()));
            account.cost.set_ceiling(10_000 + round);
            let crossings: usize = (0..4)
                .map(|_| {
                    let account = Arc::clone(&account);
                    thread::spawn(move || {
                        (0..5_000).filter(|_| account.charge(cost(1)) == ChargeOutcome::Crossed).count()
                    })
                })
                .collect::<Vec<_>>()
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum();
            assert_eq!(crossings, 1);
        }
    }

    #[test]
    fn without_a_limit_nothing_is_reached() {
        let account = Account::new(AccountState::default());
        assert_eq!(
            account.charge(Charge { cost: NanoUsd(i64::MAX), tokens: i64::MAX }),
            ChargeOutcome::Under
        );
        assert!(!account.reached());
    }

    #[test]
    fn a_shut_account_lets_nothing_through() {
        let account = Account::new(AccountState::default());
        account.cost.set_ceiling(SHUT);
        assert!(account.reached());
        assert_eq!(account.charge(cost(0)), ChargeOutcome::Over);
    }

    #[test]
    fn an_estimate_is_taken_back() {
        let account = Account::new(AccountState::default());
        account.cost.set_ceiling(100);
        assert_eq!(account.charge(cost(99)), ChargeOutcome::Under);
        assert_eq!(account.charge(cost(-50)), ChargeOutcome::Under);
        assert_eq!(account.charge(cost(51)), ChargeOutcome::Crossed);
        assert_eq!(account.charge(cost(1)), ChargeOutcome::Over);
    }

    #[test]
    fn what_is_foreseen_is_told_and_ends_nobody() {
        let account = Account::new(AccountState::default());
        assert!(!account.foresee(cost(i64::MAX)), "without a limit nothing can be reached");
        account.foresee(cost(-i64::MAX));
        account.cost.set_ceiling(100);
        assert_eq!(account.charge(cost(40)), ChargeOutcome::Under);
        assert!(!account.foresee(cost(59)));
        assert!(account.foresee(cost(1)));
        assert!(!account.reached());
        assert_eq!(account.charge(cost(1)), ChargeOutcome::Under);
        assert!(!account.foresee(cost(-60)));
        assert_eq!(account.cost.foreseen(), 0);
        assert_eq!(account.charge(cost(59)), ChargeOutcome::Crossed);
        assert!(!account.foresee(cost(1)), "there is nothing left to foresee");
    }

    #[test]
    fn the_models_are_those_of_the_state_that_was_published_last() {
        let state = |list: &str| {
            let models = Models::parse(list).unwrap();
            AccountState { limit: Limit { models, ..Limit::default() }, ..AccountState::default() }
        };
        let account = Account::new(state("exact"));
        assert_eq!(account.models(), Models::parse("exact").ok());
        for (list, models) in
            [("gpt-*", Models::parse("gpt-*").ok()), ("", None), ("exact", Models::parse("exact").ok())]
        {
            account.set_state(state(list));
            assert_eq!(account.models(), models, "{list}");
        }
    }

    #[test]
    fn the_sessions_of_a_holder_are_bounded() {
        let account = Account::new(AccountState::default());
        assert!(account.enter(Some(2)) && account.enter(Some(2)));
        assert!(!account.enter(Some(2)));
        account.leave();
        assert!(account.enter(Some(2)));
        assert_eq!(account.sessions(), 2);
    }
}
