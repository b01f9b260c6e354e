//! What the aggregator has to do with the journal: its own lane, up to where each lane is booked, and what an earlier
//! process left in one.
//!
//! Invariant: a batch says that a lane is booked up to a place only if it, or one before it, has all that the lane tells
//! up to there. The store commits both together, so nothing in a journal is booked twice, and nothing is passed over.

use super::Aggregator;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokenist_core::id::{Holder, Identity};
use tokenist_core::journal::{self, Call, Item, LaneId, Upto};
use tokenist_core::kept_response::{ResponseId, Stage};
use tokenist_core::profile::Said;
use tokenist_core::time::Timestamp;
use tokenist_handoff::{Lane, LaneState};

#[derive(Debug, Default)]
pub(super) struct Journal {
    /// For calls that do not pass through a session. `None` where nothing outlives the process.
    lane: Option<Lane>,
    /// Of all lanes.
    states: Vec<Arc<LaneState>>,
    /// Lanes of which more was applied since the last batch was taken.
    booked: BTreeMap<LaneId, u64>,
    /// What an earlier process had counted and not saved, and in how many batches it was saved.
    rebooked: u64,
    batches: u64,
}

impl Journal {
    /// Writes a call, before its answer says that it is counted.
    pub(super) fn append(&mut self, call: &Call) -> Option<Upto> {
        self.lane.as_mut()?.append(|record| journal::write_call(call, record))
    }

    /// All that this lane tells up to there has been applied.
    pub(super) fn apply(&mut self, upto: Option<Upto>) {
        if let Some(Upto { lane, position }) = upto {
            self.booked.insert(lane, position);
        }
    }

    pub(super) fn take_booked(&mut self) -> Vec<Upto> {
        let booked = std::mem::take(&mut self.booked).into_iter();
        booked.map(|(lane, position)| Upto { lane, position }).collect()
    }

    pub(super) fn look(&mut self) {
        self.lane.iter_mut().for_each(Lane::look);
    }

    /// Batches that were saved before the first that is handed to a writer.
    pub(super) fn batches(&self) -> u64 {
        self.batches
    }

    pub(super) fn rebooked(&self) -> u64 {
        self.rebooked
    }

    /// Why what is counted is not written to it at the moment; and how much was not.
    pub(super) fn failure(&self) -> Option<String> {
        self.states.iter().find_map(|state| state.failure())
    }

    pub(super) fn skipped(&self) -> u64 {
        self.states.iter().map(|state| state.skipped()).sum()
    }
}

impl Aggregator {
    /// Takes these lanes into use: the last is for calls that do not pass through a session, and the others are given
    /// back, one for each shard.
    pub fn take_lanes(&mut self, mut lanes: Vec<Lane>) -> Vec<Lane> {
        self.journal.states = lanes.iter().map(|lane| Arc::clone(lane.state())).collect();
        self.journal.lane = lanes.pop();
        lanes
    }

    /// Counts what an earlier process had counted and not saved. Call it before anything else is counted.
    pub fn rebook(&mut self, item: Item, upto: Upto, now: Timestamp) {
        let (delta, call) = match item {
            Item::Delta(delta) => (*delta, None),
            Item::Call(call) => match self.is_of_response(&call, now) {
                Some(true) => (call.delta, None),
                Some(false) => return self.journal.apply(Some(upto)),
                None => (call.delta, Some((call.ids, call.log))),
            },
        };
        let (identity, at) = (Arc::clone(&delta.identity), delta.at);
        let user = Holder::User(identity.user.clone());
        let is_new = self.ledger.find(&user).is_none();
        self.ledger.rebook(delta, now);
        // What is known of any other holder may have been set since.
        if let Some(slot) = self.ledger.find(&user).filter(|_| is_new) {
            let said =
                if call.is_some() { self.said_of_call(&identity) } else { self.ledger.said_of(&identity) };
            self.ledger.introduce(slot, &identity, said, now);
        }
        if let Some((ids, log)) = call {
            self.ledger.mark(&ids, at);
            log.into_iter().for_each(|log| self.ledger.log(log));
        }
        self.journal.apply(Some(upto));
        self.journal.rebooked += 1;
    }

    /// Whether what was counted of a response that its provider keeps is still to be counted; `None`: it is a call.
    fn is_of_response(&mut self, call: &Call, now: Timestamp) -> Option<bool> {
        let (id, stage) = call.ids.iter().find_map(|id| ResponseId::of_mark(id))?;
        Some(match stage {
            Stage::Estimated => self.note_estimated(&id, &call.delta, now),
            Stage::Stated | Stage::UnderWay => self.note_stated(&id, &call.delta, now),
        })
    }

    /// By whose right a call was reported: a key's, or without one an operator's.
    pub(super) fn said_of_call(&self, identity: &Identity) -> Said {
        if identity.key.is_some() { self.ledger.said_of(identity) } else { Said::ByOperator }
    }

    /// The store has the batch with what was rebooked.
    pub fn rebooking_saved(&mut self) {
        self.journal.batches += 1;
        self.saved(0);
    }
}
