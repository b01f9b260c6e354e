//! Holders without a slot: what the store has of one is read first, or it waits for a slot.
//!
//! Start at [`Aggregator::attend_to`]. What is asked waits as it was asked and is looked at anew once what it lacks is
//! there; nothing of it was done before. The aggregator itself never waits.
//!
//! Invariant: no holder is given a slot of which the store may know something that has not been read.

use super::{Aggregator, Turn};
use crate::command::{Command, Need, RecallAnswer};
use crate::error::CommandError;
use crate::recall::Question;
use crossbeam::channel::Sender;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokenist_core::authority::{Membership, heard_of};
use tokenist_core::batch::Recalled;
use tokenist_core::id::{Holder, Identity};
use tokenist_core::ledger::{Full, Slot};
use tokenist_core::record::Record;
use tokenist_core::time::Timestamp;
use tokenist_handoff::{Account, Admission, Answer, Order};
use tracing::{info, warn};

/// How long a request waits for what the store knows, or for a slot. A shard waits longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Requests that may wait. Past it they are refused at once.
const WAITING_MAX: usize = 10_000;
/// Between two looks for a slot that a request waits for.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// Between two times that shards are told to let go of accounts that they only remember.
const RELEASE_PAUSE: Duration = Duration::from_millis(20);
/// The same while no request waits: all are refused at once, or their holders were given slots beyond the bound.
const RELEASE_PAUSE_IDLE: Duration = Duration::from_secs(1);
/// Requests that get a slot in one look, so that a look stays short.
const LOOK_COUNT: usize = 64;

/// What a shard or an operator wants of holders.
#[derive(Debug)]
pub(super) enum Asked {
    Admission { shard: usize, ticket: u64, admission: Admission },
    Command(Box<Command>),
}

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    /// Holders that are being read.
    awaits: Vec<Holder>,
    deadline: Duration,
}

/// What keeps something from being done now.
enum Lack {
    /// These are to be read.
    Knowledge(Vec<Holder>),
    HolderEntry,
}

/// Why something is not done at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Full,
    Unread,
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Where the store is asked. `None`: it is not, or it is a simulation's.
    store: Option<Sender<Question>>,
    /// Holders that are being read, and those of them that the store has not been asked for yet.
    awaited: HashSet<Holder>,
    questions: VecDeque<Vec<Holder>>,
    for_knowledge: Vec<Waiting>,
    for_slot: VecDeque<Waiting>,
    /// Holders of which the store has just said that it knows nothing, and those that it knows but found no slot: for as
    /// long as requests are looked at that have waited for it.
    strangers: HashSet<Holder>,
    visitors: HashMap<Holder, Record>,
    /// The head of the queue for slots is being looked at: no request is before it.
    is_looking: bool,
    next_look: Duration,
    released_at: Option<Duration>,
    committed: u64,
    /// A request was refused for want of a slot, and there is none yet.
    pub(super) is_full: bool,
    pub(super) refused: u64,
    pub(super) recalled: u64,
    /// How long the aggregator runs.
    pub(super) elapsed: Duration,
}

impl Aggregator {
    /// From now on the store is asked there for holders that come back.
    pub(crate) fn recall_from(&mut self, store: Sender<Question>) {
        self.slots.store = Some(store);
    }

    /// Does what is asked, now or once what it lacks is there. A request that waits for too long is refused.
    pub(super) fn attend_to(&mut self, asked: Asked, now: Timestamp) {
        let deadline = self.slots.elapsed + PATIENCE;
        self.attend_by(deadline, asked, now);
    }

    /// Looks after requests that wait. `elapsed` only grows. Gives when to come again, if nothing happens before.
    pub fn attend(&mut self, elapsed: Duration, now: Timestamp) -> Option<Duration> {
        self.slots.elapsed = elapsed;
        self.expire_handles();
        self.give_up_on_late();
        if !self.slots.for_slot.is_empty() && elapsed >= self.slots.next_look {
            self.slots.next_look = elapsed + LOOK_PAUSE;
            self.look_for_slots(now);
        }
        if self.slots.store.is_some() {
            self.ask_store(now);
        }
        let slots = &self.slots;
        let deadlines = slots.for_knowledge.first().into_iter().chain(slots.for_slot.front());
        let look = (!slots.for_slot.is_empty()).then_some(slots.next_look);
        let ask = (!slots.questions.is_empty()).then_some(elapsed + LOOK_PAUSE);
        deadlines.map(|waiting| waiting.deadline).chain(look).chain(ask).min()
    }

    /// The store has so many batches of those that were handed to a writer.
    pub fn saved(&mut self, batches: u64) {
        let batches = self.journal.batches() + batches;
        if batches != self.slots.committed {
            self.slots.committed = batches;
            self.slots.next_look = Duration::ZERO;
            self.ledger.committed(batches, |holder| self.slots.awaited.contains(holder));
        }
    }

    /// Holders that the store is to be asked for, together; each is asked for until [`Aggregator::recalled`] answers.
    pub fn take_question(&mut self) -> Option<Vec<Holder>> {
        self.slots.questions.pop_front()
    }

    /// The store has answered.
    pub fn recalled(&mut self, answers: Vec<RecallAnswer>, now: Timestamp) {
        let mut unread = HashSet::new();
        let mut read = HashSet::new();
        for (holder, answer) in answers {
            self.slots.awaited.remove(&holder);
            match answer {
                Ok(recalled) => self.welcome(recalled, now),
                Err(_) => drop(unread.insert(holder.clone())),
            }
            read.insert(holder);
        }
        let ready: Vec<Waiting> = self
            .slots
            .for_knowledge
            .extract_if(.., |waiting| {
                let is_hopeless = waiting.awaits.iter().any(|holder| unread.contains(holder));
                waiting.awaits.retain(|holder| !read.contains(holder));
                is_hopeless || waiting.awaits.is_empty()
            })
            .collect();
        for Waiting { asked, deadline, .. } in ready {
            let (heard_of, holders) = (self.heard_of(&asked), self.holders_of(&asked, now));
            if heard_of.iter().chain(&holders).any(|holder| unread.contains(holder)) {
                self.refuse(asked, Refusal::Unread);
            } else {
                self.attend_by(deadline, asked, now);
            }
        }
        self.slots.strangers.clear();
        self.slots.visitors.clear();
        self.publish();
    }

    /// Makes up for strangers that became known beyond the bound, and tells of a full ledger that it no longer is.
    pub(super) fn look_after_room(&mut self, now: Timestamp) {
        if (self.slots.is_full || self.ledger.is_over_full()) && self.has_room(now) {
            if std::mem::take(&mut self.slots.is_full) {
                info!("the ledger has room again");
            }
        } else if self.ledger.is_over_full() {
            self.release();
        }
    }

    /// The account of a holder that is known here from now on, at the latest.
    pub(super) fn assign_slot(
        &mut self,
        holder: &Holder,
        now: Timestamp,
    ) -> Result<(Slot, Arc<Account>), Full> {
        if self.ledger.is_absent(holder) && !self.slots.strangers.contains(holder) {
            return Err(Full); // It is to be read first.
        }
        let accounts = &mut self.accounts;
        let slot = self.ledger.admit(holder, now, |slot, applied| accounts.is_idle(slot, applied));
        self.forget_vacated();
        slot.map(|slot| (slot, self.open(slot)))
    }

    /// The account of a holder that may be a stranger.
    pub(super) fn receive(&mut self, holder: &Holder, now: Timestamp) -> Result<(Slot, Arc<Account>), Full> {
        let accounts = &mut self.accounts;
        let slot = self.ledger.receive(holder, now, |slot, applied| accounts.is_idle(slot, applied));
        self.forget_vacated();
        slot.map(|slot| (slot, self.open(slot)))
    }

    /// A holder that the store knows, and for which there is no slot.
    pub(super) fn visitor(&self, holder: &Holder) -> Option<&Record> {
        self.slots.visitors.get(holder)
    }

    fn open(&mut self, slot: Slot) -> Arc<Account> {
        self.accounts.open(slot, self.ledger.record(slot))
    }

    fn forget_vacated(&mut self) {
        for slot in self.ledger.take_vacated() {
            self.accounts.forget(slot);
            self.unwatch(slot);
        }
    }

    fn has_room(&mut self, now: Timestamp) -> bool {
        let accounts = &mut self.accounts;
        let has_room = self.ledger.has_room(now, |slot, applied| accounts.is_idle(slot, applied));
        self.forget_vacated();
        has_room
    }

    fn attend_by(&mut self, deadline: Duration, asked: Asked, now: Timestamp) {
        match self.lack(&asked, now) {
            None => self.carry_out(asked, now),
            Some(lack) => self.have_wait(deadline, asked, lack),
        }
    }

    fn carry_out(&mut self, asked: Asked, now: Timestamp) {
        match asked {
            Asked::Admission { shard, ticket, admission } => {
                let key = match &admission {
                    Admission::Identity(identity) | Admission::Standing(identity) => identity.key,
                    Admission::Key { key, .. } | Admission::Question { key, .. } => Some(*key),
                };
                let answer = self.admit(&admission, now);
                self.answer(shard, ticket, key, answer);
            }
            // Nothing that waits is a list, so it takes no turn.
            Asked::Command(command) => self.execute(*command, &Turn::new(&|| Duration::ZERO), now, 0),
        }
    }

    /// What has to be there before this can be done. For a command that makes holders known they are given a slot.
    fn lack(&mut self, asked: &Asked, now: Timestamp) -> Option<Lack> {
        let (heard_of, holders) = (self.heard_of(asked), self.holders_of(asked, now));
        let is_unknown = |holder: &&Holder| {
            let slots = &self.slots;
            self.ledger.is_absent(holder)
                && !slots.strangers.contains(*holder)
                && !slots.visitors.contains_key(*holder)
        };
        let all = || heard_of.iter().chain(&holders);
        if all().any(|holder| is_unknown(&holder)) {
            // What was read of the others is gone with the next look: the user a key speaks for, and so the accounts
            // that are to be read, follows from what was read of users.
            return Some(Lack::Knowledge(
                all().filter(|holder| self.ledger.is_absent(holder)).cloned().collect(),
            ));
        }
        let need = match asked {
            Asked::Admission { admission: Admission::Question { .. } | Admission::Standing(_), .. } => {
                Need::Look
            }
            Asked::Admission { .. } => Need::Act,
            Asked::Command(command) => command.need(),
        };
        // None of them is forgotten to make room for another of them.
        let slots: Vec<Slot> = holders.iter().filter_map(|holder| self.ledger.find(holder)).collect();
        let held: Vec<Arc<Account>> = slots.into_iter().map(|slot| self.open(slot)).collect();
        let has_visitors = || holders.iter().any(|holder| self.slots.visitors.contains_key(holder));
        let has_slot = match (need, asked) {
            (Need::Nothing | Need::Look, _) => true,
            (Need::Act | Need::HolderEntry, _) if has_visitors() => false,
            (Need::Act, Asked::Admission { .. }) => {
                held.len() == holders.len()
                    || (self.slots.is_looking || self.slots.for_slot.is_empty()) && self.has_room(now)
            }
            (Need::Act, Asked::Command(_)) => true,
            (Need::HolderEntry, _) => {
                let newcomer = self.newcomer(asked);
                holders.iter().all(|holder| self.assign_newcomer_slot(holder, newcomer.as_ref(), now).is_ok())
            }
        };
        (!has_slot).then_some(Lack::HolderEntry)
    }

    /// The holders that are concerned. None where a key opens nothing.
    fn holders_of(&self, asked: &Asked, now: Timestamp) -> Vec<Holder> {
        match asked {
            Asked::Admission { admission, .. } => {
                let identity = self.identity_of(admission, now);
                identity.iter().flat_map(|identity| identity.holders()).collect()
            }
            Asked::Command(command) => match command.call() {
                Some(call) => {
                    self.speaks_as(call).map_or(Vec::new(), |identity| identity.holders().collect())
                }
                None => command.holders(),
            },
        }
    }

    /// The identity of a call, if its key speaks for a user that is new.
    fn newcomer(&self, asked: &Asked) -> Option<Identity> {
        let Asked::Command(command) = asked else { return None };
        let identity = self.speaks_as(command.call()?).ok()?;
        (self.membership(&identity.user) == Membership::New).then_some(identity)
    }

    fn assign_newcomer_slot(
        &mut self,
        holder: &Holder,
        newcomer: Option<&Identity>,
        now: Timestamp,
    ) -> Result<(), Full> {
        let (slot, _) = self.assign_slot(holder, now)?;
        if let (Some(identity), Holder::User(_)) = (newcomer, holder) {
            self.ledger.expect(slot, identity);
        }
        Ok(())
    }

    /// The users whose membership has to be known before the holders can be told.
    fn heard_of(&self, asked: &Asked) -> Vec<Holder> {
        let (key, user) = match asked {
            Asked::Admission { admission: Admission::Identity(_) | Admission::Standing(_), .. } => {
                return Vec::new();
            }
            Asked::Admission { admission: Admission::Key { key, user, .. }, .. }
            | Asked::Admission { admission: Admission::Question { key, user, .. }, .. } => {
                (Some(*key), user.as_ref())
            }
            Asked::Command(command) => match command.call() {
                Some(identity) => (identity.key, Some(&identity.user)),
                None => return Vec::new(),
            },
        };
        let users = key.and_then(|hash| self.ledger.key(&hash)).map(|key| heard_of(key, user));
        users.into_iter().flatten().map(Holder::User).collect()
    }

    fn have_wait(&mut self, deadline: Duration, asked: Asked, lack: Lack) {
        let slots = &mut self.slots;
        if slots.for_knowledge.len() + slots.for_slot.len() >= WAITING_MAX {
            return self.refuse(asked, Refusal::Unread);
        }
        match lack {
            Lack::Knowledge(awaits) => {
                let new = awaits.iter().filter(|holder| slots.awaited.insert((*holder).clone()));
                let new: Vec<Holder> = new.cloned().collect();
                if !new.is_empty() {
                    slots.questions.push_back(new);
                }
                let slot = slots.for_knowledge.partition_point(|waiting| waiting.deadline <= deadline);
                slots.for_knowledge.insert(slot, Waiting { asked, awaits, deadline });
            }
            Lack::HolderEntry if slots.is_full => {
                self.release();
                self.refuse(asked, Refusal::Full);
            }
            Lack::HolderEntry => {
                let slot = slots.for_slot.partition_point(|waiting| waiting.deadline <= deadline);
                slots.for_slot.insert(slot, Waiting { asked, awaits: Vec::new(), deadline });
                self.release();
            }
        }
    }

    /// Has the shards let go of accounts that no session of theirs uses.
    fn release(&mut self) {
        let pause = if self.slots.for_slot.is_empty() { RELEASE_PAUSE_IDLE } else { RELEASE_PAUSE };
        if self.slots.released_at.is_none_or(|at| self.slots.elapsed >= at + pause) {
            self.slots.released_at = Some(self.slots.elapsed);
            self.shards.iter_mut().for_each(|shard| shard.release());
        }
    }

    fn look_for_slots(&mut self, now: Timestamp) {
        for _ in 0..LOOK_COUNT {
            if self.slots.for_slot.is_empty() {
                return;
            }
            if !self.has_room(now) {
                return self.release();
            }
            let Some(Waiting { asked, deadline, .. }) = self.slots.for_slot.pop_front() else { return };
            self.slots.is_looking = true;
            self.attend_by(deadline, asked, now);
            self.slots.is_looking = false;
        }
    }

    fn ask_store(&mut self, now: Timestamp) {
        let Some(store) = &self.slots.store else { return };
        while let Some(holders) = self.slots.questions.pop_front() {
            if let Err(refused) = store.try_send((holders, now)) {
                // Its thread is behind, or the process is about to end.
                self.slots.questions.push_front(refused.into_inner().0);
                return;
            }
        }
    }

    fn welcome(&mut self, mut recalled: Recalled, now: Timestamp) {
        self.ledger.complete(&mut recalled);
        let holder = recalled.state.holder.clone();
        if recalled.is_nothing() {
            self.slots.strangers.insert(holder);
            return;
        }
        self.slots.recalled += 1;
        let accounts = &mut self.accounts;
        let slot = self.ledger.welcome(&recalled, now, |slot, applied| accounts.is_idle(slot, applied));
        self.forget_vacated();
        if slot.is_err() {
            self.slots.visitors.insert(holder, self.ledger.visitor(&recalled, now));
        }
    }

    fn give_up_on_late(&mut self) {
        let elapsed = self.slots.elapsed;
        while self.slots.for_slot.front().is_some_and(|waiting| elapsed >= waiting.deadline) {
            let Some(Waiting { asked, .. }) = self.slots.for_slot.pop_front() else { return };
            if !std::mem::replace(&mut self.slots.is_full, true) {
                warn!(
                    users_max = self.users_max,
                    "the ledger is full: nobody in it can be forgotten, and new users are refused; raise store.users_max"
                );
            }
            self.refuse(asked, Refusal::Full);
        }
        while self.slots.for_knowledge.first().is_some_and(|waiting| elapsed >= waiting.deadline) {
            let Waiting { asked, .. } = self.slots.for_knowledge.remove(0);
            self.refuse(asked, Refusal::Unread);
        }
    }

    fn refuse(&mut self, asked: Asked, refusal: Refusal) {
        self.slots.refused += u64::from(refusal == Refusal::Full);
        match asked {
            Asked::Admission { shard, ticket, .. } => {
                let answer = match refusal {
                    Refusal::Full => Answer::Full,
                    Refusal::Unread => Answer::Unread,
                };
                self.send(shard, Order::Admission { ticket, answer });
            }
            Asked::Command(command) => command.refuse(match refusal {
                Refusal::Full => CommandError::Full,
                Refusal::Unread => CommandError::Unread,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::id::SessionId;
    use tokenist_core::ledger::{Config, Ledger};
    use tokenist_core::message::Delta;
    use tokenist_core::money::NanoUsd;
    use tokenist_core::usage::Usage;
    use tokenist_handoff::{Admitted, Charge, Mailbox, Report, mailbox};

    const NOW: Timestamp = Timestamp(1_795_435_200_000);

    fn admit(aggregator: &mut Aggregator, mailbox: &Mailbox<Order>, identity: &Arc<Identity>) -> Admitted {
        let admission = Admission::Identity(Arc::clone(identity));
        aggregator.report(Report::Admit { shard: 0, ticket: 0, admission }, NOW);
        match mailbox.drain().next() {
            Some(Order::Admission { answer: Answer::Admitted(admitted), .. }) => admitted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nobody_is_forgotten_to_make_room_for_what_he_comes_with() {
        let config = Config { holders_max: 2, reads_back: true, ..Config::default() };
        let (sender, mailbox) = mailbox(16).unwrap();
        let ledger = Ledger::new(config, NOW);
        let mut aggregator = Aggregator::new(ledger, 2, vec![sender], Arc::default(), None);
        for (name, batch) in [("alice", 1), ("bob", 2), ("carol", 3)] {
            let identity = Arc::new(Identity::of(name.into()));
            let admitted = admit(&mut aggregator, &mailbox, &identity);
            admitted.user.charge(Charge { cost: NanoUsd(5), tokens: 0 });
            drop(admitted);
            let delta = Delta {
                at: NOW,
                session: SessionId(1),
                identity,
                provider: "openai".into(),
                model: "m".into(),
                usage: Usage { requests: 1, ..Usage::default() },
                cost: NanoUsd(5),
                estimated: false,
                latency_ms: None,
            };
            aggregator.report(Report::Charged(delta, None), NOW);
            aggregator.take_batch().unwrap();
            aggregator.saved(batch);
        }
        // Strangers that became known are one too many, so one holder goes. Alice has been idle for longest.
        let feature = Some("voice".into());
        let alice = Arc::new(Identity { feature, ..Identity::of("alice".into()) });
        let _admitted = admit(&mut aggregator, &mailbox, &alice);
        let ledger = aggregator.ledger();
        let slot = ledger.find(&Holder::User("alice".into())).unwrap();
        assert_eq!(ledger.record(slot).counted().cost, NanoUsd(5));
        assert!(ledger.is_absent(&Holder::User("bob".into())));
    }
}
