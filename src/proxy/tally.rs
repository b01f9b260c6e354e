//! Refusals since the last tick, so that a storm of them is a few reports.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::id::{Identity, KeyHash, UserId};
use tokenist_core::message::Rejected;
use tokenist_core::refusal::RefusalReason;
use tokenist_core::time::Timestamp;

/// Callers and reasons that are told apart between two ticks; then what there is goes out early.
const KINDS_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Tally(RefCell<HashMap<Kind, Rejected>>);

/// A user, a key, and why.
type Kind = (Option<UserId>, Option<KeyHash>, &'static str);

impl Tally {
    /// Whether it is to be taken at once. Of a caller who is neither a user nor shows a key there is nothing to keep.
    pub(crate) fn note(
        &self,
        identity: Option<&Identity>,
        key: Option<KeyHash>,
        peer: IpAddr,
        ending: &CloseReason,
        at: Timestamp,
    ) -> bool {
        let user = identity.map(|identity| identity.user.clone());
        if user.is_none() && key.is_none() {
            return false;
        }
        let mut kinds = self.0.borrow_mut();
        let kind = (user.clone(), key, ending.code());
        let count = kinds.get(&kind).map_or(0, |rejected| rejected.count) + 1;
        let org = identity.and_then(|identity| identity.org.clone());
        let address = Arc::from(peer.to_string());
        let reason = RefusalReason::of(ending);
        kinds.insert(kind, Rejected { at, user, org, key, address, reason, count });
        kinds.len() >= KINDS_MAX
    }

    pub(crate) fn take(&self) -> Vec<Rejected> {
        let mut kinds = self.0.borrow_mut();
        // Mostly there is nothing.
        if kinds.is_empty() { Vec::new() } else { kinds.drain().map(|(_, rejected)| rejected).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_one_report_and_a_crowd_is_taken_early() {
        let (tally, peer) = (Tally::default(), IpAddr::from([10, 0, 0, 1]));
        let ending = CloseReason::Blocked { reason: None, expires_at: None };
        let alice = Identity::of("alice".into());
        for at in 0..1000 {
            assert!(!tally.note(Some(&alice), None, peer, &ending, Timestamp(at)));
        }
        assert!(!tally.note(None, None, peer, &ending, Timestamp(0)));
        let taken = tally.take();
        assert_eq!((taken.len(), taken[0].count, taken[0].at), (1, 1000, Timestamp(999)));
        assert_eq!((&*taken[0].address, taken[0].reason.close_code), ("10.0.0.1", 4003));
        assert!(tally.take().is_empty());
        let users = (0..KINDS_MAX).map(|index| Identity::of(format!("user-{index}").as_str().into()));
        let full: Vec<bool> =
            users.map(|user| tally.note(Some(&user), None, peer, &ending, Timestamp(0))).collect();
        assert_eq!(full.iter().position(|full| *full), Some(KINDS_MAX - 1));
    }
}
