//! Per-user truth: what everybody used, over every window, and what follows for their accounts.
//!
//! Start at [`Ledger::apply`], or for what operators set at `settings`. Time comes in with every call; what goes out
//! waits to be taken: places to publish, a sweep, warnings, and a [`Batch`] for the store.
//!
//! Deltas are applied in the order in which they are handed in, each once: the queue they come through keeps every
//! shard's order and repeats nothing.
//!
//! A stranger sits apart until its session begins or something is counted for it, and is then one of the holders. Of
//! these the longest unused is forgotten where there is no room, once the store has all of it: `seats`.
//!
//! Invariant: what is counted is never dropped. While the store is away, rollup rows that are still growing are
//! simply taken later; rows that are over wait, and when `rollups_max` of them do, the growing ones stop to begin
//! anew each hour: the counts stay exact, only their hour becomes coarse. Events and session records are details
//! beyond `details_max`, of which the newest are left out and counted.

mod keys;
mod seats;
mod settings;

pub use self::keys::KeyPlace;
use self::keys::Keys;
use crate::audit::Audit;
use crate::batch::{
    Batch, Event, Grain, HolderState, Log, Mark, Piece, Restored, Revision, Rollup, Serial, SessionRecord,
    Stamped,
};
use crate::catalog::{Entry, EntryId};
use crate::cluster::{Contribution, PeerTotals, Scope};
use crate::id::{Holder, OrgId, SessionId, UserId};
use crate::key::Key;
use crate::last_minute::LastMinute;
use crate::limit::{Limit, Restraint, WindowKind};
use crate::message::{Closed, Delta, Opened, Rejected};
use crate::record::{Consequence, Record};
use crate::refusal::{RefusalBook, Refused};
pub use crate::roster::Place;
use crate::roster::{Roster, Seat, Tenure};
use crate::series::Series;
use crate::time::{STEP_BACK_MS, Timestamp};
use crate::totals::Totals;
use crate::window::BUCKET_MS;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// The bounds of a ledger.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Users, orgs, features and keys together. Past it an idle one is forgotten; if none is, a new one is refused.
    pub holders_max: usize,
    /// Strangers whose sessions have not begun. Past it another one is refused.
    pub strangers_max: usize,
    /// The store can be asked for what it has of a holder who was forgotten. Where it cannot, nobody is forgotten who
    /// has used anything.
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
    /// Other instances count for the same holders: whoever is used is told by [`Ledger::take_touched`].
    pub in_cluster: bool,
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

/// By whom something was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// It was charged to the accounts first.
    Here,
    /// By an earlier process: no account of this one was charged with it.
    Before,
}

/// A session between Opened and Closed.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// With the model that was metered last.
    pub opened: Opened,
    pub totals: Totals,
    /// Of what `totals` hold.
    pub last_minute: LastMinute,
}

impl LiveSession {
    /// What is kept of it. No session ends before it began, whatever has been done to the wall clock meanwhile.
    pub fn end(self, closed: Closed) -> SessionRecord {
        let LiveSession { opened, totals, .. } = self;
        let closed = Closed { at: closed.at.max(opened.at), ..closed };
        SessionRecord { opened, closed, totals }
    }
}

#[derive(Debug)]
pub struct Ledger {
    config: Config,
    roster: Roster,
    keys: Keys,
    catalog: BTreeMap<EntryId, Stamped<Entry>>,
    /// In an order, as all that is listed, so that a list may be made a portion at a time.
    sessions: BTreeMap<SessionId, LiveSession>,
    /// Users who are blocked, and holders with a limit of their own, so that nobody looks for them among all.
    blocked: BTreeMap<UserId, Place>,
    bound: BTreeMap<Holder, Place>,
    /// The last number given.
    serial: u64,
    /// The latest revision given or heard of.
    revision: Revision,
    /// Places to publish; one may be in it twice.
    changed: Vec<Place>,
    /// Places with something to save; likewise.
    unsaved: Vec<Place>,
    /// What does not wait in a seat until it is taken.
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
    touched: Vec<Place>,
    /// How many instances there are, while they cannot reach each other.
    partition: Option<u32>,
    /// How often that has changed, so that a record is told once.
    apart_epoch: u32,
    /// Whoever the store knows has a seat.
    is_whole: bool,
    /// Which batch is being gathered, counted from one, and up to which one the store has them.
    batch: u64,
    committed: u64,
    /// Places whose holder was forgotten since this was last asked.
    vacated: Vec<Place>,
    /// What binds holders without a seat, and what others have set for them that the store may not have; and of the
    /// latter the batch that takes it there.
    shelf: BTreeMap<Holder, HolderState>,
    shelved: HashMap<Holder, u64>,
    /// What rules say of holders without a seat.
    restraints: HashMap<Holder, Restraint>,
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
            roster: Roster::new(),
            keys: Keys::default(),
            catalog: BTreeMap::new(),
            sessions: BTreeMap::new(),
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
            apart_epoch: 0,
            is_whole: true,
            batch: 1,
            committed: 0,
            vacated: Vec::new(),
            shelf: BTreeMap::new(),
            shelved: HashMap::new(),
            restraints: HashMap::new(),
        }
    }

    /// Goes on where an earlier ledger stopped.
    ///
    /// Usage from after `now` means that the clock has stepped back. By a little, and its window goes on, as it would
    /// have in the earlier ledger. By much, and it counts at `now`: nobody gains a budget by a wrong clock, and the
    /// window ends as all do.
    pub fn restore(config: Config, restored: Restored, now: Timestamp) -> Ledger {
        let mut ledger = Ledger::new(config, now);
        ledger.roster.reserved(restored.holders.len());
        let renamed: Vec<_> = restored.holders.iter().chain(&restored.unseated).filter_map(renamed).collect();
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
        for state in restored.unseated {
            ledger.revision = ledger.revision.max(state.revision());
            ledger.shelve(state);
        }
        let mut last: Option<(Holder, Place)> = None;
        for piece in restored.usage {
            // Most stores have a holder's pieces one after another.
            let place = match last {
                Some((holder, place)) if holder == piece.holder => place,
                Some(_) | None => ledger.seat(&piece.holder, now),
            };
            ledger.put_back(place, &piece, now);
            last = Some((piece.holder, place));
        }
        for place in ledger.roster.places() {
            ledger.roster.seat_mut(place).record.advance(now);
            ledger.list(place);
        }
        for state in renamed {
            ledger.adopt(state, now);
        }
        ledger.take_touched(); // Nobody has been used yet.
        ledger.due = now; // Restored blocks may expire before the next bucket begins.
        ledger
    }

    /// Adds what an earlier process counted.
    fn put_back(&mut self, place: Place, piece: &Piece, now: Timestamp) {
        self.roster.use_seat(place).record.restore(restored_at(piece.at, now), &piece.totals);
    }

    /// Counts a delta for all its holders in every window, for its session, and for the store. None of them is a
    /// stranger any more. Who has left a seat already, because all that was charged to it had been applied, leaves
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
        let user = self.roster.user(&identity.user);
        let user = user.or_else(|| self.seat_unless_absent(&Holder::User(identity.user.clone()), now));
        let org = identity.org.as_ref().and_then(|org| {
            let place = self.roster.org(org);
            place.or_else(|| self.seat_unless_absent(&Holder::Org(org.clone()), now))
        });
        let feature = identity.feature.as_ref().and_then(|feature| {
            let place = self.roster.feature(feature);
            place.or_else(|| self.seat_unless_absent(&Holder::Feature(feature.clone()), now))
        });
        let key = identity.key.as_ref().and_then(|key| {
            let place = self.roster.key(key);
            place.or_else(|| self.seat_unless_absent(&Holder::Key(*key), now))
        });
        let mut grain = Grain::Hour;
        for place in [user, org, feature, key].into_iter().flatten() {
            self.roster.establish(place);
            self.post(place, counted, delta.at, &totals, now);
            if self.record(place).account_state().limit.window == WindowKind::Rolling24h {
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

    /// A session has begun: the provider has let it in, so its holders are no strangers any more.
    pub fn open_session(&mut self, opened: Opened, now: Timestamp) {
        let holders: Vec<Holder> = opened.identity.holders().collect();
        for holder in &holders {
            if let Some(place) = self.seat_unless_absent(holder, now) {
                self.roster.establish(place);
                self.touch(place);
            }
        }
        if let Some(user) = self.find(&holders[0]) {
            let said = self.said_of(&opened.identity);
            self.introduce(user, &opened.identity, said, now);
        }
        if self.sessions.len() < self.config.sessions_max {
            let (totals, last_minute) = (Totals::default(), LastMinute::default());
            self.sessions.insert(opened.session, LiveSession { opened, totals, last_minute });
        }
    }

    pub fn close_session(&mut self, closed: Closed) {
        let Some(session) = self.sessions.remove(&closed.session) else { return };
        if self.pending.sessions.len() < self.config.details_max {
            self.pending.sessions.push(session.end(closed));
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
        let known = |place: Option<Place>| place.filter(|place| !self.is_stranger(*place));
        let user = user.filter(|user| known(self.roster.user(user)).is_some());
        let said_of_user =
            user.as_ref().and_then(|user| self.record(self.roster.user(user)?).profile.org.as_ref());
        let is_kept =
            |org: &OrgId| key.is_some() || said_of_user == Some(org) || known(self.roster.org(org)).is_some();
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
            self.restraints.retain(|_, restraint| now < restraint.expires_at);
        }
        let Some(start) = self.walk else { return };
        for place in self.roster.places().skip(start).take(WALK_COUNT) {
            self.align(place, now);
            let record = &mut self.roster.seat_mut(place).record;
            let consequence = record.advance(now);
            if let Some(end) = record.due() {
                self.due = self.due.min(end);
            }
            self.conclude(place, consequence);
        }
        self.walk = (start + WALK_COUNT < self.roster.len()).then_some(start + WALK_COUNT);
    }

    /// Lets one holder's time pass, before it is looked at.
    pub fn advance(&mut self, place: Place, now: Timestamp) {
        self.align(place, now);
        let consequence = self.roster.seat_mut(place).record.advance(now);
        self.conclude(place, consequence);
    }

    /// Holders that were posted to, admitted, or have a session that began, since this was last asked.
    pub fn take_touched(&mut self) -> Vec<Place> {
        let touched = std::mem::take(&mut self.touched);
        for &place in &touched {
            self.roster.seat_mut(place).is_touched = false;
        }
        touched
    }

    /// What this instance has counted for a holder. `None` where no limit binds it.
    pub fn contribution(&mut self, place: Place, scope: Scope, now: Timestamp) -> Option<Contribution> {
        if self.roster.seat(place).is_vacant() {
            return None;
        }
        self.advance(place, now);
        let record = &mut self.roster.seat_mut(place).record;
        let counts = record.contribution(scope);
        (!counts.is_empty()).then(|| Contribution { holder: record.holder().clone(), of: None, counts })
    }

    /// What was merged of the peers' counts for a holder: they may be gone, and so may be what they had told.
    pub fn contributions_of_peers(&self, place: Place) -> impl Iterator<Item = Contribution> {
        let record = self.record(place);
        let contribution =
            |(writer, counts)| Contribution { holder: record.holder().clone(), of: Some(writer), counts };
        record.of_peers().into_iter().map(contribution)
    }

    /// Takes in what the peers have counted for a holder. `None` if it has been forgotten meanwhile.
    pub fn merge(&mut self, holder: &Holder, totals: &[PeerTotals], now: Timestamp) -> Option<Place> {
        let place = self.find(holder)?;
        self.align(place, now);
        let consequence = self.roster.seat_mut(place).record.merge(totals, now);
        self.conclude(place, consequence);
        Some(place)
    }

    /// From now on so many instances cannot reach each other, or, with `None`, can. Whoever is used is told at once,
    /// all others in the next ticks.
    pub fn partition(&mut self, instance_count: Option<u32>) {
        if self.partition != instance_count {
            self.partition = instance_count;
            self.apart_epoch = self.apart_epoch.wrapping_add(1);
            self.due = Timestamp(0);
            self.walk = None;
        }
    }

    /// The holder that sits there. Places are numbered from zero.
    pub fn place_at(&self, index: usize) -> Option<Place> {
        self.roster.place_at(index)
    }

    /// The clock was far ahead and has been corrected to `now`. See [`crate::window`].
    pub fn set_back(&mut self, now: Timestamp) {
        self.due = now;
        self.walk = None;
        for place in self.roster.places() {
            let consequence = self.roster.seat_mut(place).record.set_back(now);
            self.conclude(place, consequence);
        }
    }

    pub fn find(&self, holder: &Holder) -> Option<Place> {
        self.roster.find(holder)
    }

    /// The record that a holder would have that was never seen. It is not seated.
    pub fn stranger(&self, holder: Holder, now: Timestamp) -> Record {
        let end = self.end_of(&holder);
        let limit = self.default_limit(&holder);
        let mut record = Record::new(holder, limit, now);
        if end.is_some() {
            record.set_end(end, now);
        }
        record
    }

    pub fn record(&self, place: Place) -> &Record {
        &self.roster.seat(place).record
    }

    /// Users in order of id, from the first that comes after `after`. Strangers are not among them.
    pub fn users_after(&self, after: Option<&UserId>) -> impl Iterator<Item = (&UserId, Place)> {
        self.roster.users_after(after)
    }

    /// Holders that have a limit of their own, in order, from the first that comes after `after`.
    pub fn bound_after(&self, after: Option<&Holder>) -> impl Iterator<Item = (&Holder, Place)> {
        let from = after.map_or(Unbounded, Excluded);
        self.bound.range::<Holder, _>((from, Unbounded)).map(|(holder, &place)| (holder, place))
    }

    /// Users who are blocked, by an operator or a rule, in order of id, from the first that comes after `after`. Whose
    /// block ends now is among them until the next tick.
    pub fn blocked_after(&self, after: Option<&UserId>) -> impl Iterator<Item = (&UserId, Place)> {
        let from = after.map_or(Unbounded, Excluded);
        self.blocked.range::<UserId, _>((from, Unbounded)).map(|(user, &place)| (user, place))
    }

    pub fn blocked_count(&self) -> usize {
        self.blocked.len()
    }

    /// A user's usage by org, feature and model since the process started.
    pub fn series(&self, user: Place) -> &[Series] {
        &self.roster.seat(user).series
    }

    /// Live sessions in order of id, from the first that comes after `after`.
    pub fn sessions_after(&self, after: Option<SessionId>) -> impl Iterator<Item = &LiveSession> {
        let from = after.map_or(Unbounded, Excluded);
        self.sessions.range((from, Unbounded)).map(|(_, session)| session)
    }

    pub fn session(&self, session: SessionId) -> Option<&LiveSession> {
        self.sessions.get(&session)
    }

    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    pub fn user_count(&self) -> usize {
        self.roster.user_count()
    }

    /// Users, orgs, features and keys, but for strangers.
    pub fn known_count(&self) -> usize {
        self.roster.established_count()
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Events, session records and logs that did not reach the store because it was away for too long.
    pub fn details_lost(&self) -> u64 {
        self.details_lost
    }

    /// Places whose state or ceilings changed since this was last asked.
    pub fn take_changed(&mut self) -> Vec<Place> {
        let changed = std::mem::take(&mut self.changed);
        for &place in &changed {
            self.roster.seat_mut(place).is_changed = false;
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

    /// What is to be saved, if anything. Whoever takes it sees that it is.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let mut batch = std::mem::take(&mut self.pending);
        self.pending_log_bytes = 0;
        batch.refusals = self.refusals.take_unsaved();
        for place in std::mem::take(&mut self.unsaved) {
            let seat = self.roster.seat_mut(place);
            seat.is_unsaved = false;
            take_rollups(seat, &mut batch.rollups);
            batch.holders.extend(take_state(seat));
        }
        if batch.is_empty() {
            return None;
        }
        self.batch += 1;
        Some(batch)
    }

    /// Tells a record whether the peers can be reached, if that has changed.
    fn align(&mut self, place: Place, now: Timestamp) {
        let seat = self.roster.seat_mut(place);
        if std::mem::replace(&mut seat.apart_epoch, self.apart_epoch) != self.apart_epoch {
            let consequence = seat.record.partition(self.partition, now);
            self.conclude(place, consequence);
        }
    }

    fn touch(&mut self, place: Place) {
        let seat = self.roster.seat_mut(place);
        if self.config.in_cluster && !seat.is_touched {
            seat.is_touched = true;
            self.touched.push(place);
        }
    }

    fn post(&mut self, place: Place, counted: Counted, at: Timestamp, totals: &Totals, now: Timestamp) {
        self.align(place, now);
        let seat = self.roster.use_seat(place);
        seat.saved_by = self.batch;
        let consequence = match counted {
            Counted::Here => seat.record.post(at, totals, now),
            Counted::Before => {
                // Of what is still to come a row tells no more than its beginning.
                let at = if at <= now { at } else { Grain::Hour.start(at).max(now) };
                seat.record.restore(restored_at(at, now), totals);
                seat.record.advance(now)
            }
        };
        self.conclude(place, consequence);
        self.touch(place);
    }

    fn note_series(&mut self, user: Place, delta: &Delta, totals: &Totals, grain: Grain) {
        let row = self.next_serial();
        let seat = self.roster.seat_mut(user);
        let found = seat.series.iter().position(|series| series.is_of(delta));
        let index = found.unwrap_or_else(|| {
            if seat.series.len() >= self.config.series_max {
                let idle = (0..seat.series.len()).min_by_key(|&index| seat.series[index].totals.updated_at);
                let mut left = seat.series.swap_remove(idle.expect("series_max is not zero"));
                self.pending.rollups.extend(left.take_unsaved(&delta.identity.user));
            }
            if seat.series.is_empty() {
                seat.series.reserve_exact(1); // Most users have one, and there may be a million of them.
            }
            seat.series.push(Series::new(delta, row, grain));
            seat.series.len() - 1
        });
        let series = &mut seat.series[index];
        if series.has_left(delta.at, grain) && self.pending.rollups.len() < self.config.rollups_max {
            self.pending.rollups.extend(series.take_unsaved(&delta.identity.user));
            series.begin_row(row, delta.at, grain);
        }
        series.add(totals);
        self.save_later(user);
    }

    /// A row for a user who has no seat.
    fn note_alone(&mut self, delta: &Delta, totals: &Totals, grain: Grain) {
        let mut series = Series::new(delta, self.next_serial(), grain);
        series.add(totals);
        self.pending.rollups.extend(series.take_unsaved(&delta.identity.user));
    }

    fn save_later(&mut self, place: Place) {
        let seat = self.roster.seat_mut(place);
        seat.saved_by = self.batch;
        if !seat.is_unsaved {
            seat.is_unsaved = true;
            self.unsaved.push(place);
        }
    }

    fn conclude(&mut self, place: Place, consequence: Consequence) {
        self.sweep |= consequence.sweep;
        let seat = self.roster.seat_mut(place);
        if consequence.publish && !seat.is_changed {
            seat.is_changed = true;
            self.changed.push(place);
        }
        if let Some(percent) = consequence.warning.filter(|_| self.warnings.len() < WARNING_COUNT_MAX) {
            self.warnings.push(Warning { holder: seat.record.holder().clone(), percent });
        }
        self.list(place);
    }

    /// Brings the lists of who is blocked and bound up to date.
    fn list(&mut self, place: Place) {
        let seat = self.roster.seat_mut(place);
        let (is_blocked, is_bound) =
            (seat.record.account_state().block.is_some(), seat.record.own_limit().is_some());
        if (seat.is_blocked, seat.is_bound) == (is_blocked, is_bound) {
            return;
        }
        (seat.is_blocked, seat.is_bound) = (is_blocked, is_bound);
        let holder = seat.record.holder();
        match seat.is_bound {
            true => drop(self.bound.insert(holder.clone(), place)),
            false => drop(self.bound.remove(holder)),
        }
        let Holder::User(user) = holder else { return };
        match seat.is_blocked {
            true => drop(self.blocked.insert(user.clone(), place)),
            false => drop(self.blocked.remove(user)),
        }
    }

    /// Whoever is forgotten is listed no more.
    fn strike_off(&mut self, place: Place) {
        let seat = self.roster.seat(place);
        let holder = seat.record.holder();
        if seat.is_bound {
            self.bound.remove(holder);
        }
        if let Holder::User(user) = holder
            && seat.is_blocked
        {
            self.blocked.remove(user);
        }
    }

    fn next_serial(&mut self) -> Serial {
        self.serial += 1;
        Serial(self.serial)
    }
}

/// What binds a holder whose id an earlier version kept as it was sent, for the id that the same is read as now: nobody
/// else can be meant by it, and a block must not be over because requests are read anew. It keeps its revision, so the
/// later of two settings holds, and what was lifted since stays so.
fn renamed(state: &HolderState) -> Option<HolderState> {
    let holder = state.holder.renamed().filter(|_| state.binds())?;
    Some(HolderState { limit: state.limit.clone(), block: state.block.clone(), ..HolderState::of(holder) })
}

/// When that counts which an earlier process counted at `at`.
fn restored_at(at: Timestamp, now: Timestamp) -> Timestamp {
    if at.since(now) <= STEP_BACK_MS { at } else { now }
}

fn take_rollups(seat: &mut Seat, rollups: &mut Vec<Rollup>) {
    if let Holder::User(user) = seat.record.holder() {
        rollups.extend(seat.series.iter_mut().filter_map(|series| series.take_unsaved(user)));
    }
}

fn take_state(seat: &mut Seat) -> Option<HolderState> {
    let unsaved = std::mem::take(&mut seat.profile_unsaved) | std::mem::take(&mut seat.binding_unsaved);
    unsaved.then(|| seat.state())
}

fn next_bucket(now: Timestamp) -> Timestamp {
    Timestamp((now.0 / BUCKET_MS + 1) * BUCKET_MS)
}

#[cfg(test)]
mod tests;
