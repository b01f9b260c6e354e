//! The only place that decides: a holder's state and what it has used give a [`Verdict`].

use crate::close_reason::{CloseReason, Measure};
use crate::limit::{AccountState, Limit, Mode};
use crate::models::Models;
use crate::money::NanoUsd;
use crate::time::Timestamp;
use crate::totals::Totals;

/// What a holder has used in its limit's window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    pub cost: NanoUsd,
    pub tokens: u64,
}

/// What is left of a limit, never less than nothing. `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    pub cost: Option<NanoUsd>,
    pub tokens: Option<u64>,
}

impl Used {
    pub fn of(totals: &Totals) -> Used {
        Used { cost: totals.cost, tokens: totals.usage.total_tokens() }
    }

    /// Never less than nothing.
    pub fn minus(self, other: Used) -> Used {
        Used {
            cost: (self.cost - other.cost).max(NanoUsd::ZERO),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }

    pub fn plus(self, other: Used) -> Used {
        Used { cost: self.cost + other.cost, tokens: self.tokens.saturating_add(other.tokens) }
    }

    /// What is more of this than of the other.
    pub fn less(self, other: Used) -> Used {
        let cost = (self.cost - other.cost).max(NanoUsd::ZERO);
        Used { cost, tokens: self.tokens.saturating_sub(other.tokens) }
    }

    /// The later of two states of one growing sum.
    pub fn join(self, other: Used) -> Used {
        Used { cost: self.cost.max(other.cost), tokens: self.tokens.max(other.tokens) }
    }
}

/// How bad it is, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// A share of a limit has been used that an operator wants to hear of: 80, 95 or, in warn mode, 100.
    Warn {
        percent: u8,
    },
    Block(CloseReason),
}

/// The shares of a limit, in percent, at which the operator is told.
pub const WARN_PERCENT: [u8; 2] = [80, 95];

/// Judges a holder. Revoked comes before blocked, blocked before cost, cost before tokens.
///
/// A limit whose window is over by `now` is not reached, for `used` is what was used in it: whoever keeps the sums has
/// not come to this holder yet. Only a limit of zero is reached in every window.
pub fn judge(state: &AccountState, used: Used, now: Timestamp) -> Verdict {
    if state.revoked {
        return Verdict::Block(CloseReason::Unauthorized(
            "this tokenist key was revoked or has expired".into(),
        ));
    }
    if let Some(block) = state.block.as_ref().filter(|block| block.holds_at(now)) {
        return Verdict::Block(CloseReason::Blocked {
            reason: block.reason.clone(),
            expires_at: block.expires_at,
        });
    }
    let limit = &state.limit;
    let resets_at = state.resets_at.filter(|end| now < *end);
    let used = if state.resets_at == resets_at { used } else { Used::default() };
    let reached = |measure| CloseReason::LimitReached { measure, window: limit.window, resets_at };
    let percent = share_used(limit, used).unwrap_or(0);
    match (used_up(limit, used), limit.mode) {
        (Some(measure), Mode::Enforce) => Verdict::Block(reached(measure)),
        (Some(_), Mode::Warn) => Verdict::Warn { percent: 100 },
        (None, _) => match WARN_PERCENT.into_iter().rev().find(|&at| percent >= u64::from(at)) {
            Some(percent) => Verdict::Warn { percent },
            None => Verdict::Allow,
        },
    }
}

impl Remaining {
    pub fn of(limit: &Limit, used: Used) -> Remaining {
        Remaining {
            cost: limit.max_cost.map(|max| (max - used.cost).max(NanoUsd::ZERO)),
            tokens: limit.max_tokens.map(|max| max.saturating_sub(used.tokens)),
        }
    }
}

/// Whether a limit in its window is reached by this.
pub fn is_reached(limit: &Limit, used: Used) -> bool {
    measures(limit, used).any(|measure| measure.percent() >= 100)
}

/// The greatest share of a limit that is used, in whole percent; it may pass 100. `None` where nothing is limited.
pub fn share_used(limit: &Limit, used: Used) -> Option<u64> {
    measures(limit, used).map(|measure| measure.percent()).max()
}

/// What of a limit nothing is left of, whether that is enforced or not.
pub fn used_up(limit: &Limit, used: Used) -> Option<Measure> {
    measures(limit, used).find(|measure| measure.percent() >= 100)
}

fn measures(limit: &Limit, used: Used) -> impl Iterator<Item = Measure> {
    let cost = limit.max_cost.map(|limit| Measure::Cost { used: used.cost, limit });
    let tokens = limit.max_tokens.map(|limit| Measure::Tokens { used: used.tokens, limit });
    [cost, tokens].into_iter().flatten()
}

/// Why a holder may begin no session although its live ones may go on.
pub fn reject(state: &AccountState) -> Option<CloseReason> {
    state.refuses_new.then_some(CloseReason::LimitUnsure)
}

/// Why a model may not be used: one of the lists does not name it. Told instead is what all of them name.
pub fn judge_model(model: &str, lists: &[Models]) -> Option<CloseReason> {
    let is_allowed = lists.iter().all(|list| list.fit(model).is_some());
    (!is_allowed)
        .then(|| CloseReason::ModelNotAllowed { model: model.into(), allowed: Models::in_all(lists).into() })
}

impl Measure {
    /// Whole percent of the limit that is used, rounded down; a limit of zero is always reached.
    fn percent(&self) -> u64 {
        let (used, limit) = match *self {
            Measure::Cost { used, limit } => (used.0.max(0) as u128, limit.0.max(0) as u128),
            Measure::Tokens { used, limit } => (used as u128, limit as u128),
        };
        (used * 100).checked_div(limit).map_or(100, |percent| u64::try_from(percent).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Block, WindowKind};

    fn account_state(max_cost: Option<i64>, max_tokens: Option<u64>, mode: Mode) -> AccountState {
        let limit = Limit { max_cost: max_cost.map(NanoUsd), max_tokens, mode, ..Limit::default() };
        AccountState { limit, resets_at: Some(Timestamp(99)), ..AccountState::default() }
    }

    #[test]
    fn a_limit_is_reached_at_its_figure_and_not_before() {
        let limited = account_state(Some(1000), Some(500), Mode::Enforce);
        let cost_reached = Verdict::Block(CloseReason::LimitReached {
            measure: Measure::Cost { used: NanoUsd(1000), limit: NanoUsd(1000) },
            window: WindowKind::Monthly,
            resets_at: Some(Timestamp(99)),
        });
        let tokens_reached = Verdict::Block(CloseReason::LimitReached {
            measure: Measure::Tokens { used: 500, limit: 500 },
            window: WindowKind::Monthly,
            resets_at: Some(Timestamp(99)),
        });
        for (cost, tokens, verdict) in [
            (0, 0, Verdict::Allow),
            (799, 0, Verdict::Allow),
            (800, 0, Verdict::Warn { percent: 80 }),
            (0, 475, Verdict::Warn { percent: 95 }),
            (999, 499, Verdict::Warn { percent: 95 }),
            (1000, 0, cost_reached.clone()),
            (1000, 500, cost_reached),
            (0, 500, tokens_reached),
        ] {
            assert_eq!(judge(&limited, Used { cost: NanoUsd(cost), tokens }, Timestamp(1)), verdict);
        }
    }

    #[test]
    fn a_limit_whose_window_is_over_is_not_reached() {
        for (mode, max_cost, max_tokens) in [
            (Mode::Enforce, Some(1000), None),
            (Mode::Enforce, None, Some(1000)),
            (Mode::Warn, Some(1000), None),
        ] {
            let limited = account_state(max_cost, max_tokens, mode);
            let used = Used { cost: NanoUsd(5000), tokens: 5000 };
            assert_ne!(judge(&limited, used, Timestamp(98)), Verdict::Allow, "its last millisecond");
            assert_eq!(judge(&limited, used, Timestamp(99)), Verdict::Allow, "its end");
        }
        // What is never allowed has no window, and nobody is told of a time that is past.
        let denied = judge(&account_state(Some(0), None, Mode::Enforce), Used::default(), Timestamp(99));
        assert!(
            matches!(denied, Verdict::Block(CloseReason::LimitReached { resets_at: None, .. })),
            "{denied:?}"
        );
        let total = AccountState { resets_at: None, ..account_state(Some(1000), None, Mode::Enforce) };
        let used = Used { cost: NanoUsd(1000), tokens: 0 };
        assert!(matches!(judge(&total, used, Timestamp::MAX), Verdict::Block(_)));
    }

    #[test]
    fn a_cost_limit_of_zero_denies_everybody_and_no_limit_denies_nobody() {
        let denied = judge(&account_state(Some(0), None, Mode::Enforce), Used::default(), Timestamp(1));
        assert!(matches!(denied, Verdict::Block(CloseReason::LimitReached { .. })));
        let free = Used { cost: NanoUsd::MAX, tokens: u64::MAX };
        assert_eq!(judge(&account_state(None, None, Mode::Enforce), free, Timestamp(1)), Verdict::Allow);
    }

    #[test]
    fn what_remains_is_never_less_than_nothing() {
        let limit = Limit { max_cost: Some(NanoUsd(100)), max_tokens: Some(10), ..Limit::default() };
        for (cost, tokens, left) in
            [(0, 0, (100, 10)), (40, 4, (60, 6)), (100, 10, (0, 0)), (900, 90, (0, 0))]
        {
            let remaining = Remaining::of(&limit, Used { cost: NanoUsd(cost), tokens });
            assert_eq!(remaining, Remaining { cost: Some(NanoUsd(left.0)), tokens: Some(left.1) });
        }
        let unlimited = Remaining { cost: None, tokens: None };
        assert_eq!(Remaining::of(&Limit::default(), Used::default()), unlimited);
    }

    #[test]
    fn a_model_has_to_be_named_by_every_list_that_there_is() {
        let lists =
            |words: &[&str]| words.iter().map(|list| Models::parse(list).unwrap()).collect::<Vec<_>>();
        for (words, allowed) in [
            (&[][..], None),
            (&["", "gpt-realtime"], None),
            (&["gpt-*", "gpt-realtime, gemini-3"], None),
            (&["gpt-*", "gemini-3, gpt-5"], Some("gpt-5")),
            (&["gpt-*", "gemini-3"], Some("")),
        ] {
            let told = judge_model("gpt-realtime", &lists(words)).map(|reason| match reason {
                CloseReason::ModelNotAllowed { model, allowed } => (model.to_string(), allowed.to_string()),
                other => panic!("{other:?}"),
            });
            let wanted = allowed.map(|allowed| ("gpt-realtime".to_owned(), allowed.to_owned()));
            assert_eq!(told, wanted, "{words:?}");
        }
    }

    #[test]
    fn warn_mode_never_blocks() {
        let used = Used { cost: NanoUsd(5000), tokens: 0 };
        assert_eq!(
            judge(&account_state(Some(1000), None, Mode::Warn), used, Timestamp(1)),
            Verdict::Warn { percent: 100 }
        );
    }

    #[test]
    fn a_block_holds_until_it_expires() {
        let block =
            Block { reason: Some("abuse".into()), blocked_at: Timestamp(0), expires_at: Some(Timestamp(10)) };
        let blocked = AccountState { block: Some(block), ..AccountState::default() };
        assert!(matches!(
            judge(&blocked, Used::default(), Timestamp(9)),
            Verdict::Block(CloseReason::Blocked { .. })
        ));
        assert_eq!(judge(&blocked, Used::default(), Timestamp(10)), Verdict::Allow);
    }
}
