//! Calls that were begun through this instance: whose each is, and at which provider. Any shard may be asked to steer one or to
//! attach to it, so the aggregator knows them, until they are over or a restart.

use super::Aggregator;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokenist_handoff::{Answer, CallOwner, CallReport, Order};

/// Calls that are known. Past it the oldest goes, and is as one that was begun elsewhere.
const CALLS_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Calls {
    owners: HashMap<Arc<str>, Arc<CallOwner>>,
    /// The oldest first; of those that are over, too.
    order: VecDeque<Arc<str>>,
}

impl Calls {
    fn note(&mut self, call: Arc<str>, owner: CallOwner) {
        if self.owners.insert(Arc::clone(&call), Arc::new(owner)).is_none() {
            self.order.push_back(call);
        }
        while self.order.len() > CALLS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.owners.remove(&oldest);
        }
    }
}

impl Aggregator {
    pub(super) fn hear_of_call(&mut self, report: CallReport) {
        match report {
            CallReport::Made { call, owner } => self.calls.note(call, owner),
            CallReport::Over { call } => drop(self.calls.owners.remove(&call)),
            CallReport::Hangup { session, fails } => self.ledger.note_hangup(session, fails),
        }
    }

    pub(super) fn answer_call(&mut self, shard: usize, ticket: u64, call: &str) {
        let owner = self.calls.owners.get(call).cloned();
        self.send(shard, Order::Admission { ticket, answer: Answer::Call(owner) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_calls_than_are_kept_the_oldest_is_forgotten() {
        let mut calls = Calls::default();
        let owner = || CallOwner { provider: "openai".into(), user: "alice".into(), org: None };
        for number in 0..=CALLS_MAX {
            calls.note(number.to_string().into(), owner());
        }
        assert!(!calls.owners.contains_key("0") && calls.owners.contains_key("1"));
        assert_eq!((calls.owners.len(), calls.order.len()), (CALLS_MAX, CALLS_MAX));
    }
}
