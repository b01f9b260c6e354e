//! Per-user truth: what all users used, over every window, and what follows for their accounts.
//!
//! Start at [`Ledger::apply`], or for what operators set at `settings`. Time comes in with every call; what goes out
//! waits to be taken: slots to publish, a sweep, warnings, and a [`Batch`] for the store.
//!
//! Deltas are applied in the order in which they are handed in, each once: the queue they come through keeps every
//! shard's order and repeats nothing.
//!
//! A stranger is kept apart until its session begins or something is counted for it, and is then one of the holders. Of
//! these the longest unused is forgotten where there is no room, once the store has all of it: `slots`.
//!
//! Invariant: what is counted is never dropped. While the store is away, rollup rows that are still growing are
//! simply taken later; rows that are over wait, and when `rollups_max` of them do, the growing ones stop to begin
//! anew each hour: the counts stay exact, only their hour becomes coarse. Events and session records are details
//! beyond `details_max`, of which the newest are left out and counted.

mod keys;
mod lists;
mod peers;
mod rows;
mod sessions;
mod settings;
mod slots;

pub use self::keys::KeyPosition;
use self::keys::Keys;
pub use self::sessions::LiveSession;
use crate::audit::Audit;
use crate::batch::{Batch, Event, Grain, HolderState, Log, Mark, Piece, Restored, Revision, Stamped};
use crate::catalog::{Entry, EntryId};
pub use crate::holder_index::Slot;
use crate::holder_index::{HolderIndex, Tenure};
use crate::id::{Holder, OrgId, SessionId, UserId};
use crate::key::Key;
use crate::limit::{Limit, RuleAction, WindowKind};
use crate::message::{Delta, Rejected};
use crate::record::{Consequence, Record};
use crate::refusal::{RefusalBook, Refused};
use crate::revision::Tag;
use crate::series::Series;
use crate::time::{STEP_BACK_MS, Timestamp};
use crate::totals::Totals;
use crate::window::BUCKET_MS;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// The bounds of a ledger.
#[derive(Clone, Debug)]
pub struct Config {
    /// Users, orgs, features and keys together. Past it an idle one is forgotten; if none is, a new one is refused.
    pub holders_max: usize,
    /// Strangers whose sessions have not begun. Past it another one is refused.
    pub strangers_max: usize,
    /// The store can be asked for what it has of a holder that was forgotten. Where it cannot, no holder is forgotten
    /// that has used anything.
    pub reads_back: bool,
    /// Combinations of org, feature and model per user. Past it the longest unused is left to the store.
    pub series_max: usize,
    /// Rollup rows that wait for a store which is away.
    pub rollups_max: usize,
    /// Events and, as many again, session records and logs that wait likewise.
    pub details_max: usize,
    /// Bytes of requests and responses in logs that wait likewise: a log can be a million times an event.
    pub log_bytes_max: usize,
    /// Tokenist keys, revoked ones included.
    pub keys_max: usize,
    /// Entries of the catalog, removed ones included.
    pub entries_max: usize,
    /// Live sessions that are listed; more are metered all the same.
    pub sessions_max: usize,
    /// What binds a user without a limit of its own.
    pub default_limit: Limit,
    /// Other instances count for the same holders: those that are used are told by [`Ledger::take_touched`].
    pub in_cluster: bool,
    /// Of this process: what it sets and what another instance does are told apart by it.
    pub tag: Tag,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            holders_max: 100_000,
            strangers_max: 100_000,
            reads_back: false,
            series_max: 64,
            rollups_max: 100_000,
            details_max: 100_000,
            log_bytes_max: 64 * 1024 * 1024,
            keys_max: 1_000_000,
            entries_max: 100_000,
            sessions_max: 100_000,
            default_limit: Limit::default(),
            in_cluster: false,
            tag: Tag::default(),
        }
    }
}

/// As many holders as there may be, and none that can be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A holder has used a share of its limit, in percent, for the first time in this window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub holder: Holder,
    pub percent: u8,
}

/// By which process something was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// It was charged to the accounts first.
    Here,
    /// By an earlier process: no account of this one was charged with it.
    Before,
}

#[derive(Debug)]
pub struct Ledger {
    config: Config,
    holders: HolderIndex,
    keys: Keys,
    catalog: BTreeMap<EntryId, Stamped<Entry>>,
    /// In an order, as all that is listed, so that a list may be made a portion at a time. Boxed, for a tree's nodes are half
    /// empty where what comes is in order.
    sessions: BTreeMap<SessionId, Box<LiveSession>>,
    /// Those that are over and may be resumed.
    ended_sessions: HashMap<SessionId, Box<LiveSession>>,
    /// Users that are blocked, and holders with a limit of their own, so that they are not looked for among all.
    blocked: BTreeMap<UserId, Slot>,
    bound: BTreeMap<Holder, Slot>,
    /// The last number given.
    serial: u64,
    /// The latest revision given or heard of.
    revision: Revision,
    /// Slots to publish; one may be in it twice.
    changed: Vec<Slot>,
    /// Slots with something to save; likewise.
    unsaved: Vec<Slot>,
    /// What does not wait in a slot until it is taken.
    pending: Batch,
    /// Of the logs among it.
    pending_log_bytes: usize,
    /// Calls that were counted last and may be sent again: what is older is in the store. The oldest first.
    marks: VecDeque<Arc<str>>,
    marked: HashSet<Arc<str>>,
    details_lost: u64,
    refusals: RefusalBook,
    sweep: bool,
    warnings: Vec<Warning>,
    /// When something changes next by itself.
    due: Timestamp,
    /// How far the walk over all holders has come that `due` began.
    walk: Option<usize>,
    /// Holders that were used, for the cluster.
    touched: Vec<Slot>,
    /// How many instances there are, while they cannot reach each other.
    partition: Option<u32>,
    /// How often that has changed, so that a record is told once.
    partition_epoch: u32,
    /// All holders that the store knows have slots.
    is_whole: bool,
    /// Which batch is being gathered, counted from one, and up to which one the store has them.
    batch: u64,
    committed: u64,
    /// Slots whose holder was forgotten since this was last asked.
    vacated: Vec<Slot>,
    /// What binds holders without a slot, and what others have set for them that the store may not have; and of the
    /// latter the batch that takes it there.
    shelf: BTreeMap<Holder, HolderState>,
    shelved: HashMap<Holder, u64>,
    /// What rules say of holders without a slot.
    rule_actions: HashMap<Holder, RuleAction>,
}

/// How many holders one tick lets time pass for, so that a tick stays short. All others follow in the next ticks.
const WALK_COUNT: usize = 20_000;

/// How many calls are remembered beside the store, which hears of them some time later.
const MARKS_MAX: usize = 100_000;

/// How many warnings wait to be taken; beyond it they go untold.
const WARNING_COUNT_MAX: usize = 10_000;

impl Ledger {
    pub fn new(config: Config, now: Timestamp) -> Ledger {
        Ledger {
            config,
            holders: HolderIndex::new(),
            keys: Keys::default(),
            catalog: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ended_sessions: HashMap::new(),
            blocked: BTreeMap::new(),
            bound: BTreeMap::new(),
            serial: 0,
            revision: Revision::default(),
            changed: Vec::new(),
            unsaved: Vec::new(),
            pending: Batch::default(),
            pending_log_bytes: 0,
            marks: VecDeque::new(),
            marked: HashSet::new(),
            details_lost: 0,
            refusals: RefusalBook::new(now),
            sweep: false,
            warnings: Vec::new(),
            due: next_bucket(now),
            walk: None,
            touched: Vec::new(),
            partition: None,
            partition_epoch: 0,
            is_whole: true,
            batch: 1,
            committed: 0,
            vacated: Vec::new(),
            shelf: BTreeMap::new(),
            shelved: HashMap::new(),
            rule_actions: HashMap::new(),
        }
    }

    /// Goes on where an earlier ledger stopped.
    ///
    /// Usage from after `now` means that the clock has stepped back. By a little, and its window goes on, as it would
    /// have in the earlier ledger. By much, and it counts at `now`: no user gains a budget by a wrong clock, and the
    /// window ends as all do.
    pub fn restore(config: Config, restored: Restored, now: Timestamp) -> Ledger {
        let mut ledger = Ledger::new(config, now);
        ledger.holders.reserve(restored.holders.len());
        let renamed: Vec<_> =
            restored.holders.iter().chain(&restored.without_slot).filter_map(renamed).collect();
        for key in restored.keys {
            ledger.take_over_key(key, now);
        }
        for entry in restored.entries {
            ledger.take_over_entry(entry);
        }
        for state in restored.holders {
            ledger.take_over(state, now);
        }
        ledger.is_whole = !restored.is_partial;
        for state in restored.without_slot {
            ledger.revision = ledger.revision.max(state.revision());
            ledger.shelve(state);
        }
        let mut last: Option<(Holder, Slot)> = None;
        for piece in restored.usage {
            // Most stores have a holder's pieces one after another.
            let slot = match last {
                Some((holder, slot)) if holder == piece.holder => slot,
                Some(_) | None => ledger.assign_slot(&piece.holder, now),
            };
            ledger.put_back(slot, &piece, now);
            last = Some((piece.holder, slot));
        }
        for slot in ledger.holders.slots() {
            ledger.holders.entry_mut(slot).record.advance(now);
            ledger.list(slot);
        }
        for state in renamed {
            ledger.adopt(state, now);
        }
        ledger.take_touched(); // No holder has been used yet.
        ledger.due = now; // Restored blocks may expire before the next bucket begins.
        ledger
    }

    /// Adds what an earlier process counted.
    fn put_back(&mut self, slot: Slot, piece: &Piece, now: Timestamp) {
        self.holders.use_entry(slot).record.restore(restored_at(piece.at, now), &piece.totals);
    }

    /// Counts a delta for all its holders in every window, for its session, and for the store. None of them is a
    /// stranger any more. One that has left its slot already, because all that was charged to it had been applied, leaves
    /// nothing that counts towards a limit: it goes to the store alone.
    pub fn apply(&mut self, delta: Delta, now: Timestamp) {
        self.book(delta, Counted::Here, now);
    }

    /// Counts what an earlier process had counted and not saved, as if it had been saved and [restored](Ledger::restore).
    pub fn rebook(&mut self, delta: Delta, now: Timestamp) {
        self.book(delta, Counted::Before, now);
    }

    fn book(&mut self, delta: Delta, counted: Counted, now: Timestamp) {
        let totals = Totals::of(&delta);
        let identity = &*delta.identity;
        let user = self.holders.user(&identity.user);
        let user = user.or_else(|| self.assign_slot_unless_absent(&Holder::User(identity.user.clone()), now));
        let org = identity.org.as_ref().and_then(|org| {
            let slot = self.holders.org(org);
            slot.or_else(|| self.assign_slot_unless_absent(&Holder::Org(org.clone()), now))
        });
        let feature = identity.feature.as_ref().and_then(|feature| {
            let slot = self.holders.feature(feature);
            slot.or_else(|| self.assign_slot_unless_absent(&Holder::Feature(feature.clone()), now))
        });
        let key = identity.key.as_ref().and_then(|key| {
            let slot = self.holders.key(key);
            slot.or_else(|| self.assign_slot_unless_absent(&Holder::Key(*key), now))
        });
        let mut grain = Grain::Hour;
        for slot in [user, org, feature, key].into_iter().flatten() {
            self.holders.establish(slot);
            self.post(slot, counted, delta.at, &totals, now);
            if self.record(slot).account_state().limit.window == WindowKind::Rolling24h {
                grain = Grain::FiveMinutes;
            }
        }
        match user {
            Some(user) => self.note_series(user, &delta, &totals, grain),
            None => self.note_alone(&delta, &totals, grain),
        }
        if let Some(session) = self.sessions.get_mut(&delta.session) {
            session.totals += totals;
            session.last_minute.add(delta.cost, delta.at);
            if session.opened.model.as_ref() != Some(&delta.model) {
                session.opened.model = Some(delta.model.clone());
            }
        }
        let serial = self.next_serial();
        if self.pending.events.len() < self.config.details_max {
            self.pending.events.push(Event { serial, delta });
        } else {
            self.details_lost += 1;
        }
    }

    /// Whether a call that goes by these ids is a new one. From now on it is not. Of the last hundred thousand it is
    /// known here, of all before it is for the store to say.
    pub fn mark(&mut self, ids: &[Arc<str>], at: Timestamp) -> bool {
        let is_new = !ids.iter().any(|id| self.marked.contains(id));
        for id in ids {
            if !self.marked.insert(Arc::clone(id)) {
                continue;
            }
            if self.marks.len() == MARKS_MAX
                && let Some(oldest) = self.marks.pop_front()
            {
                self.marked.remove(&oldest);
            }
            self.marks.push_back(Arc::clone(id));
            if self.pending.marks.len() < self.config.details_max {
                self.pending.marks.push(Mark { id: Arc::clone(id), at });
            } else {
                self.details_lost += 1;
            }
        }
        is_new
    }

    /// Keeps what an application says of a call of its own.
    pub fn log(&mut self, log: Log) {
        let bytes = self.pending_log_bytes + log.body_bytes();
        if self.pending.logs.len() < self.config.details_max && bytes <= self.config.log_bytes_max {
            self.pending_log_bytes = bytes;
            self.pending.logs.push(log);
        } else {
            self.details_lost += 1;
        }
    }

    /// Keeps that requests were refused, if they were of a user or a key that is known here. Nothing becomes known by
    /// it: of an org that a header claims the name is kept where the org, or the user as one of it, is known already.
    pub fn refuse(&mut self, rejected: Rejected) {
        let Rejected { at, user, org, key, address, reason, count } = rejected;
        let key = key.and_then(|hash| self.key(&hash));
        let bound = |key: &&Key| key.user.clone();
        let user = user.or_else(|| key.as_ref().and_then(bound));
        let known = |slot: Option<Slot>| slot.filter(|slot| !self.is_stranger(*slot));
        let user = user.filter(|user| known(self.holders.user(user)).is_some());
        let said_of_user =
            user.as_ref().and_then(|user| self.record(self.holders.user(user)?).profile.org.as_ref());
        let is_kept = |org: &OrgId| {
            key.is_some() || said_of_user == Some(org) || known(self.holders.org(org)).is_some()
        };
        let org = org.filter(is_kept).or_else(|| key.and_then(|key| key.org.clone()));
        let key = key.map(|key| key.id.clone());
        self.refusals.note(Refused { at, user, org, key, address, reason, count });
    }

    pub fn refusals(&self) -> &RefusalBook {
        &self.refusals
    }

    /// Keeps what an operator changed. It is never left out, for operators are few.
    pub fn audit(&mut self, audit: Audit) {
        self.pending.audits.push(audit);
    }

    /// Lets time pass: windows roll, blocks expire. Cheap while nothing is due.
    pub fn tick(&mut self, now: Timestamp) {
        // A walk comes to its end before the next begins, or those at its end would never be reached.
        if self.walk.is_none() && now >= self.due {
            self.due = next_bucket(now);
            self.walk = Some(0);
            self.rule_actions.retain(|_, rule_action| now < rule_action.expires_at);
        }
        let Some(start) = self.walk else { return };
        for slot in self.holders.slots().skip(start).take(WALK_COUNT) {
            self.align(slot, now);
            let record = &mut self.holders.entry_mut(slot).record;
            let consequence = record.advance(now);
            if let Some(end) = record.due() {
                self.due = self.due.min(end);
            }
            self.conclude(slot, consequence);
        }
        self.walk = (start + WALK_COUNT < self.holders.len()).then_some(start + WALK_COUNT);
    }

    /// Lets one holder's time pass, before it is looked at.
    pub fn advance(&mut self, slot: Slot, now: Timestamp) {
        self.align(slot, now);
        let consequence = self.holders.entry_mut(slot).record.advance(now);
        self.conclude(slot, consequence);
    }

    /// The slot of that number. Slots are numbered from zero.
    pub fn slot_at(&self, index: usize) -> Option<Slot> {
        self.holders.slot_at(index)
    }

    /// The clock was far ahead and has been corrected to `now`. See [`crate::window`].
    pub fn set_back(&mut self, now: Timestamp) {
        self.due = now;
        self.walk = None;
        for slot in self.holders.slots() {
            let consequence = self.holders.entry_mut(slot).record.set_back(now);
            self.conclude(slot, consequence);
        }
    }

    pub fn find(&self, holder: &Holder) -> Option<Slot> {
        self.holders.find(holder)
    }

    /// The record that a holder would have that was never seen. It is not given a slot.
    pub fn stranger(&self, holder: Holder, now: Timestamp) -> Record {
        let end = self.end_of(&holder);
        let limit = self.default_limit(&holder);
        let mut record = Record::new(holder, limit, now);
        if end.is_some() {
            record.set_end(end, now);
        }
        record
    }

    pub fn record(&self, slot: Slot) -> &Record {
        &self.holders.entry(slot).record
    }

    /// A user's usage by org, feature and model since the process started.
    pub fn series(&self, user: Slot) -> &[Series] {
        &self.holders.entry(user).series
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Slots whose state or ceilings changed since this was last asked.
    pub fn take_changed(&mut self) -> Vec<Slot> {
        let changed = std::mem::take(&mut self.changed);
        for &slot in &changed {
            self.holders.entry_mut(slot).is_changed = false;
        }
        changed
    }

    /// Whether live sessions have to be judged anew. Publish first, or they are judged by the old state.
    pub fn take_sweep(&mut self) -> bool {
        std::mem::take(&mut self.sweep)
    }

    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    fn post(&mut self, slot: Slot, counted: Counted, at: Timestamp, totals: &Totals, now: Timestamp) {
        self.align(slot, now);
        let entry = self.holders.use_entry(slot);
        entry.saved_by = self.batch;
        let consequence = match counted {
            Counted::Here => entry.record.post(at, totals, now),
            Counted::Before => {
                entry.record.restore(restored_at(at, now), totals);
                entry.record.advance(now)
            }
        };
        self.conclude(slot, consequence);
        self.touch(slot);
    }

    fn conclude(&mut self, slot: Slot, consequence: Consequence) {
        self.sweep |= consequence.sweep;
        let entry = self.holders.entry_mut(slot);
        if consequence.publish && !entry.is_changed {
            entry.is_changed = true;
            self.changed.push(slot);
        }
        if let Some(percent) = consequence.warning.filter(|_| self.warnings.len() < WARNING_COUNT_MAX) {
            self.warnings.push(Warning { holder: entry.record.holder().clone(), percent });
        }
        self.list(slot);
    }
}

/// What binds a holder whose id an earlier version kept as it was sent, for the id that the same is read as now: nobody
/// else can be meant by it, and a block must not be over because requests are read anew. It keeps its revision, so the
/// later of two settings holds, and what was lifted since stays so.
fn renamed(state: &HolderState) -> Option<HolderState> {
    let holder = state.holder.renamed().filter(|_| state.binds())?;
    Some(HolderState { limit: state.limit.clone(), block: state.block.clone(), ..HolderState::of(holder) })
}

/// When that counts which an earlier process counted at `at`, or in the row that begins then. What is of an hour still to
/// come, because the clock was set back, counts from its beginning, in whichever rows it is: so it is all of one day.
fn restored_at(at: Timestamp, now: Timestamp) -> Timestamp {
    let from = if at <= now { at } else { Grain::Hour.start(at).max(now) };
    if from.since(now) <= STEP_BACK_MS { from } else { now }
}

fn next_bucket(now: Timestamp) -> Timestamp {
    Timestamp((now.0 / BUCKET_MS + 1) * BUCKET_MS)
}

#[cfg(test)]
mod tests;
