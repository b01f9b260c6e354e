//! Who is charged for a session, and why it may not go on.
//!
//! Invariant: the verdict is that of the core. Here it is only asked for, where an account says that it is time.

use std::sync::Arc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::models::Models;
use tokenist_core::time::Timestamp;
use tokenist_core::verdict::{Remaining, Verdict, judge, reject};
use tokenist_handoff::{Account, Charge, ChargeOutcome};

/// Who is charged: every holder that a limit of this session could bind.
#[derive(Clone, Debug)]
pub struct Holders {
    pub user: Arc<Account>,
    pub org: Option<Arc<Account>>,
    pub feature: Option<Arc<Account>>,
    pub key: Option<Arc<Account>>,
}

impl Holders {
    fn all(&self) -> impl Iterator<Item = &Arc<Account>> {
        let others = [&self.org, &self.feature, &self.key].into_iter().flatten();
        std::iter::once(&self.user).chain(others)
    }

    /// Charges every holder; the strongest answer counts.
    pub fn charge(&self, charge: Charge) -> ChargeOutcome {
        self.all().map(|account| account.charge(charge)).max().unwrap_or(ChargeOutcome::Under)
    }

    /// Foresees a charge for every holder; whether one of them would reach its limit.
    pub fn foresee(&self, charge: Charge) -> bool {
        self.all().fold(false, |reaches, account| reaches | account.foresee(charge))
    }

    pub fn reached(&self) -> bool {
        self.all().any(|account| account.reached())
    }

    /// Why a session of these holders may not go on, if so. Costs nothing while no account is at its ceiling.
    pub fn verdict(&self, now: Timestamp) -> Option<CloseReason> {
        self.all().filter(|account| account.reached()).find_map(|account| {
            match judge(&account.state(), account.used(), now) {
                Verdict::Block(ending) => Some(ending),
                Verdict::Allow | Verdict::Warn { .. } => None,
            }
        })
    }

    /// What sessions of these holders may use, by each list that there is. Costs next to nothing where there is none.
    pub fn models(&self) -> Vec<Models> {
        self.all().filter_map(|account| account.models()).collect()
    }

    /// What is left of the tightest limits.
    pub fn remaining(&self) -> Remaining {
        let all = self.all().map(|account| Remaining::of(&account.state().limit, account.used()));
        all.fold(Remaining::default(), |one, other| Remaining {
            cost: [one.cost, other.cost].into_iter().flatten().min(),
            tokens: [one.tokens, other.tokens].into_iter().flatten().min(),
        })
    }

    /// How much later a new session of these holders begins.
    pub fn delay_ms(&self) -> u64 {
        self.user.state().delay_ms
    }

    /// Why no new session of these holders may begin, whatever they have used.
    pub fn reject(&self) -> Option<CloseReason> {
        self.all().find_map(|account| reject(&account.state()))
    }
}
