//! Responses that providers keep: whose each is, and what of it was counted. Any shard may be asked for one, so the aggregator
//! knows them.
//!
//! Those that run in the background stand in the catalog, and so outlive the process and are known to all instances; others
//! were counted with their answer, and whose they are is known here, until a restart. One of which nothing was heard in its time
//! is booked by estimate, and what its provider states later replaces that.
//!
//! Invariant: what a provider states of a response is counted once. A shard that states it again is given its charge back.

use super::Aggregator;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;
use tokenist_core::catalog::{Entry, EntryId, Kept};
use tokenist_core::id::{Identity, UserId};
use tokenist_core::journal::{Call, Upto};
use tokenist_core::kept_response::{Counted, KeptResponse, ResponseId, Stage};
use tokenist_core::message::Delta;
use tokenist_core::money::NanoUsd;
use tokenist_core::time::{DAY_MS, Timestamp};
use tokenist_core::usage::Usage;
use tokenist_handoff::{Answer, Charge, FoundResponse, Order, ResponseReport};
use tracing::warn;

/// Responses in the background that are known. Past it the oldest goes; its estimate is booked if it is under way.
const KEPT_MAX: usize = 10_000;
/// For how long: as long as providers keep them.
const KEPT_MS: u64 = 30 * DAY_MS;
/// Other responses of which it is known whose they are. Past it the oldest goes.
const ANSWERED_MAX: usize = 100_000;
/// Estimates that are booked in one tick, so that a tick stays short.
const BOOKED_AT_ONCE: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Responses {
    /// The name that this instance counts under.
    writer: Arc<str>,
    /// Those in the catalog.
    kept: HashMap<ResponseId, Place>,
    by_age: BTreeSet<(Timestamp, ResponseId)>,
    by_due: BTreeSet<(Timestamp, ResponseId)>,
    /// Hashes of others, with that of whose each is. The oldest first.
    answered: HashMap<u64, u64>,
    order: VecDeque<u64>,
    hasher: RandomState,
}

/// Where a response stands in the lists.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// When it was made.
    at: Timestamp,
    /// When its estimate is due, if that is this instance's to book.
    due: Option<Timestamp>,
    /// Until when another instance may have its estimate to book.
    others_until: Option<Timestamp>,
}

impl Responses {
    fn answer(&mut self, response: &ResponseId, user: &UserId) {
        let hash = self.hasher.hash_one(response);
        if self.answered.insert(hash, self.hasher.hash_one(user)).is_some() {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > ANSWERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.answered.remove(&oldest);
        }
    }

    /// Follows what the catalog has; `None`: not any more.
    fn note(&mut self, id: &ResponseId, response: Option<&KeptResponse>) {
        if let Some(Place { at, due, .. }) = self.kept.remove(id) {
            self.by_age.remove(&(at, id.clone()));
            due.map(|due| self.by_due.remove(&(due, id.clone())));
        }
        let Some(response) = response else { return };
        let (at, is_own) = (response.at, response.writer == self.writer);
        let under_way = Some(response.due).filter(|_| response.stage == Stage::UnderWay);
        let due = under_way.filter(|_| is_own);
        let others_until = under_way.filter(|_| !is_own).map(|due| due.plus_ms(response.wait_ms));
        self.kept.insert(id.clone(), Place { at, due, others_until });
        self.by_age.insert((at, id.clone()));
        due.map(|due| self.by_due.insert((due, id.clone())));
    }

    /// One that makes room for others, or that is too old. Of what another instance has to book that one disposes.
    fn outdated(&self, now: Timestamp) -> Option<ResponseId> {
        let is_full = self.kept.len() > KEPT_MAX;
        let oldest = self.by_age.iter().take(BOOKED_AT_ONCE);
        let mut outdated = oldest.take_while(|(at, _)| is_full || at.plus_ms(KEPT_MS) < now);
        let is_anothers =
            |id| self.kept.get(id).and_then(|place| place.others_until).is_some_and(|until| until > now);
        outdated.find(|(_, id)| !is_anothers(id)).map(|(_, id)| id.clone())
    }

    fn overdue(&self, now: Timestamp) -> Option<ResponseId> {
        let (due, id) = self.by_due.first()?;
        (*due <= now).then(|| id.clone())
    }
}

impl Aggregator {
    /// The instance counts under this name, and goes on with what it has left under way.
    pub fn count_as(&mut self, writer: &str) {
        self.responses.writer = writer.into();
        let kept: Vec<Entry> = self.ledger.entries(KeptResponse::KIND).cloned().collect();
        kept.iter().for_each(|entry| self.note_response(entry));
    }

    /// Follows an entry of the catalog, if it is one of a response.
    pub(super) fn note_response(&mut self, entry: &Entry) {
        if *entry.id.kind == *KeptResponse::KIND {
            self.responses.note(&ResponseId::from(&entry.id.id), entry.read().as_ref());
        }
    }

    /// Likewise, as the catalog has it now.
    pub(super) fn follow_response(&mut self, id: &EntryId) {
        let entry = self.ledger.entry(id).filter(|_| *id.kind == *KeptResponse::KIND);
        if let Some(entry) = entry.map(|entry| entry.value.clone()) {
            self.note_response(&entry);
        }
    }

    pub(super) fn answer_find(
        &mut self,
        shard: usize,
        ticket: u64,
        id: &ResponseId,
        user: &UserId,
        now: Timestamp,
    ) {
        let found = match self.kept_response(id) {
            Some(response) => {
                let found = FoundResponse {
                    is_anothers: response.identity.user != *user,
                    counted: response.counted(),
                };
                if let Some(heard) = response.heard_of(now).filter(|_| !found.is_anothers) {
                    self.keep_response(id, &heard, now);
                }
                found
            }
            None => self.find_answered(id, user),
        };
        self.send(shard, Order::Admission { ticket, answer: Answer::Response(found) });
    }

    fn find_answered(&self, id: &ResponseId, user: &UserId) -> FoundResponse {
        let hasher = &self.responses.hasher;
        match self.responses.answered.get(&hasher.hash_one(id)) {
            Some(whose) => {
                FoundResponse { is_anothers: *whose != hasher.hash_one(user), counted: Counted::All }
            }
            None => FoundResponse { is_anothers: false, counted: Counted::Nothing },
        }
    }

    pub(super) fn hear_of_response(&mut self, report: ResponseReport, now: Timestamp) {
        match report {
            ResponseReport::Answered { response, user } => self.responses.answer(&response, &user),
            ResponseReport::UnderWay { response, estimate, wait_ms } => {
                let kept = match self.kept_response(&response) {
                    None => KeptResponse::under_way(&estimate, wait_ms, &self.responses.writer),
                    Some(known) => match known.stage {
                        Stage::UnderWay => known.gone_on(&estimate),
                        Stage::Estimated => self.book_more(&known, &estimate, now),
                        Stage::Stated => return,
                    },
                };
                self.keep_response(&response, &kept, now);
            }
            ResponseReport::Stated { response, delta, upto } => {
                self.count_stated(&response, delta, upto, now)
            }
            ResponseReport::Failed { response } => {
                if let Some(known) =
                    self.kept_response(&response).filter(|known| known.stage == Stage::UnderWay)
                {
                    self.keep_response(&response, &known.failed(now), now);
                }
            }
        }
    }

    fn count_stated(&mut self, id: &ResponseId, delta: Delta, upto: Option<Upto>, now: Timestamp) {
        if self.note_stated(id, &delta, now) {
            self.ledger.apply(delta, now);
        } else {
            let charge = charge_of(&delta);
            let back = Charge { cost: NanoUsd(-charge.cost.0), tokens: -charge.tokens };
            self.charge(&delta.identity, back);
        }
        self.journal.apply(upto);
    }

    /// Whether a provider states this of a response for the first time.
    pub(super) fn note_stated(&mut self, id: &ResponseId, delta: &Delta, now: Timestamp) -> bool {
        let known = self.kept_response(id);
        if known.as_ref().is_some_and(|known| known.stage == Stage::Stated) {
            return false;
        }
        let kept = known.unwrap_or_else(|| KeptResponse::under_way(delta, 0, &self.responses.writer));
        self.keep_response(id, &KeptResponse { stage: Stage::Stated, ..kept }, now);
        true
    }

    /// Whether an estimate is the first that is booked of a response.
    pub(super) fn note_estimated(&mut self, id: &ResponseId, delta: &Delta, now: Timestamp) -> bool {
        let known = self.kept_response(id);
        if known.as_ref().is_some_and(|known| known.stage != Stage::UnderWay) {
            return false;
        }
        let kept = known.unwrap_or_else(|| KeptResponse::under_way(delta, 0, &self.responses.writer));
        self.keep_response(id, &KeptResponse { stage: Stage::Estimated, ..kept }, now);
        true
    }

    /// Books what was not heard of in its time, and forgets what is old.
    pub(super) fn look_after_responses(&mut self, now: Timestamp) {
        for _ in 0..BOOKED_AT_ONCE {
            let Some(id) = self.responses.overdue(now) else { break };
            self.book_estimate(&id, now);
        }
        for _ in 0..BOOKED_AT_ONCE {
            let Some(id) = self.responses.outdated(now) else { break };
            self.book_estimate(&id, now);
            self.set_response(Entry::of::<KeptResponse>(id.as_str(), None), now);
        }
    }

    /// Of a response that is this instance's and under way.
    fn book_estimate(&mut self, id: &ResponseId, now: Timestamp) {
        let is_due =
            |known: &KeptResponse| known.stage == Stage::UnderWay && known.writer == self.responses.writer;
        let Some(known) = self.kept_response(id).filter(is_due) else { return };
        let call = Call { delta: known.estimate(now), log: None, ids: vec![id.mark(Stage::Estimated)] };
        let upto = self.journal.append(&call);
        let Call { delta, .. } = call;
        self.note_estimated(id, &delta, now);
        self.charge(&Arc::clone(&delta.identity), charge_of(&delta));
        self.ledger.apply(delta, now);
        self.journal.apply(upto);
    }

    /// Of a response that was booked by estimate, and has said more than was known then: the rest of that.
    fn book_more(&mut self, known: &KeptResponse, estimate: &Delta, now: Timestamp) -> KeptResponse {
        let grown = known.gone_on(estimate);
        let usage = grown.usage.zip(known.usage, u64::saturating_sub).clamped();
        let cost = NanoUsd((grown.cost.0 - known.cost.0).max(0));
        if usage != Usage::default() {
            let call =
                Call { delta: Delta { usage, cost, ..grown.estimate(now) }, log: None, ids: Vec::new() };
            let upto = self.journal.append(&call);
            self.charge(&Arc::clone(&call.delta.identity), charge_of(&call.delta));
            self.ledger.apply(call.delta, now);
            self.journal.apply(upto);
        }
        grown
    }

    /// Charges whoever has an account; one that is opened later begins with what was applied.
    fn charge(&self, identity: &Identity, charge: Charge) {
        let slots = identity.holders().filter_map(|holder| self.ledger.find(&holder));
        for account in slots.filter_map(|slot| self.accounts.find(slot)) {
            account.charge(charge);
        }
    }

    fn kept_response(&self, id: &ResponseId) -> Option<KeptResponse> {
        self.ledger.entry(&EntryId::of::<KeptResponse>(id.as_str()))?.value.read()
    }

    fn keep_response(&mut self, id: &ResponseId, response: &KeptResponse, now: Timestamp) {
        self.set_response(Entry::of(id.as_str(), Some(response)), now);
    }

    fn set_response(&mut self, entry: Entry, now: Timestamp) {
        let id = entry.id.clone();
        self.note_response(&entry);
        match self.ledger.set_entry(entry, now) {
            Ok(()) => self.announce_entry(&id),
            Err(_) => warn!(
                response = &*id.id,
                "the catalog is full: if it is not asked for, the response is not counted"
            ),
        }
    }
}

fn charge_of(delta: &Delta) -> Charge {
    let tokens = i64::try_from(delta.usage.total_tokens()).unwrap_or(i64::MAX);
    Charge { cost: delta.cost, tokens }
}
