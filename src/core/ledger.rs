//! Per-user truth: what everybody used, over every window, and what follows for their accounts.
//!
//! Start at [`Ledger::apply`]. Time comes in with every call; what goes out waits to be taken: places to publish,
//! a sweep, warnings, and a [`Batch`] for the store.
//!
//! Deltas are applied in the order in which they are handed in, each once: the queue they come through keeps every
//! shard's order and repeats nothing.
//!
//! Invariant: what is counted is never dropped. While the store is away, rollup rows that are still growing are
//! simply taken later; rows that are over wait, and when `rollups_max` of them do, the growing ones stop to begin
//! anew each hour: the counts stay exact, only their hour becomes coarse. Events and session records are details
//! beyond `details_max`, of which the newest are left out and counted.

use crate::batch::{Batch, Event, HolderState, Profile, Restored, Rollup, Serial, SessionRecord};
use crate::id::{Holder, Identity, SessionId, UserId};
use crate::limit::{Block, Limit};
use crate::message::{Closed, Delta, Opened};
use crate::record::{Applied, Consequence, Record};
pub use crate::roster::Place;
use crate::roster::{Roster, Seat};
use crate::series::Series;
use crate::time::Timestamp;
use crate::totals::Totals;
use crate::window::BUCKET_MS;
use std::collections::HashMap;

/// The bounds of a ledger.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Users, orgs and keys together. Past it an idle one is forgotten; if none is, a new one is refused.
    pub holders_max: usize,
    /// Combinations of org, feature and model per user. Past it the longest unused is left to the store.
    pub series_max: usize,
    /// Rollup rows that wait for a store which is away.
    pub rollups_max: usize,
    /// Events and, as many again, session records that wait likewise.
    pub details_max: usize,
    /// Live sessions that are listed; more are metered all the same.
    pub sessions_max: usize,
    /// What binds a user without a limit of its own.
    pub default_limit: Limit,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            holders_max: 100_000,
            series_max: 64,
            rollups_max: 100_000,
            details_max: 100_000,
            sessions_max: 100_000,
            default_limit: Limit::default(),
        }
    }
}

/// As many holders as there may be, and none that can be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A holder that was found or seated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub place: Place,
    /// Whoever sat in this place before was forgotten.
    pub replaced: bool,
}

/// A holder has used a share of its limit, in percent, for the first time in this window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub holder: Holder,
    pub percent: u8,
}

/// A session between Opened and Closed.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// With the model that was metered last.
    pub opened: Opened,
    pub totals: Totals,
}

#[derive(Debug)]
pub struct Ledger {
    config: Config,
    roster: Roster,
    sessions: HashMap<SessionId, LiveSession>,
    /// The last number given.
    serial: u64,
    /// Places to publish; one may be in it twice.
    changed: Vec<Place>,
    /// Places with something to save; likewise.
    unsaved: Vec<Place>,
    /// What does not wait in a seat until it is taken.
    pending: Batch,
    details_lost: u64,
    sweep: bool,
    warnings: Vec<Warning>,
    /// When something changes next by itself.
    due: Timestamp,
    /// How far the walk over all holders has come that `due` began.
    walk: Option<usize>,
}

/// How many holders one tick lets time pass for, so that a tick stays short. All others follow in the next ticks.
const WALK_COUNT: usize = 20_000;

/// How many warnings wait to be taken; beyond it they go untold.
const WARNING_COUNT_MAX: usize = 10_000;

impl Ledger {
    pub fn new(config: Config, now: Timestamp) -> Ledger {
        Ledger {
            config,
            roster: Roster::new(),
            sessions: HashMap::new(),
            serial: 0,
            changed: Vec::new(),
            unsaved: Vec::new(),
            pending: Batch::default(),
            details_lost: 0,
            sweep: false,
            warnings: Vec::new(),
            due: next_bucket(now),
            walk: None,
        }
    }

    /// Goes on where an earlier ledger stopped.
    pub fn restore(config: Config, restored: Restored, now: Timestamp) -> Ledger {
        let mut ledger = Ledger::new(config, now);
        for state in restored.holders {
            ledger.serial = ledger.serial.max(state.revision.0);
            let place = ledger.seat(&state.holder, now);
            let seat = ledger.roster.seat_mut(place);
            seat.record.profile = state.profile;
            if state.limit.is_some() {
                seat.record.set_limit(state.limit, now);
            }
            if state.block.is_some() {
                seat.record.set_block(state.block, now);
            }
        }
        for piece in restored.usage {
            let orgs = piece.org.map(Holder::Org);
            for holder in [Some(Holder::User(piece.user)), orgs].into_iter().flatten() {
                let place = ledger.seat(&holder, now);
                ledger.roster.use_seat(place).record.restore(piece.at.min(now), &piece.totals);
            }
        }
        for place in ledger.roster.places() {
            ledger.roster.seat_mut(place).record.advance(now);
        }
        ledger.due = now; // Restored blocks may expire before the next bucket begins.
        ledger
    }

    /// Counts a delta for its user and org in every window, for its session, and for the store. A holder that was
    /// forgotten comes back, even beyond the bound.
    pub fn apply(&mut self, delta: Delta, now: Timestamp) {
        let totals = Totals::of(&delta);
        let identity = &*delta.identity;
        let user = match self.roster.user(&identity.user) {
            Some(place) => place,
            None => self.seat(&Holder::User(identity.user.clone()), now),
        };
        self.post(user, delta.at, &totals, now);
        self.note_series(user, &delta, &totals);
        if let Some(org) = &identity.org {
            let place = match self.roster.org(org) {
                Some(place) => place,
                None => self.seat(&Holder::Org(org.clone()), now),
            };
            self.post(place, delta.at, &totals, now);
        }
        if let Some(session) = self.sessions.get_mut(&delta.session) {
            session.totals += totals;
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

    pub fn open_session(&mut self, opened: Opened) {
        if self.sessions.len() < self.config.sessions_max {
            self.sessions.insert(opened.session, LiveSession { opened, totals: Totals::default() });
        }
    }

    pub fn close_session(&mut self, closed: Closed) {
        let Some(LiveSession { opened, totals }) = self.sessions.remove(&closed.session) else { return };
        if self.pending.sessions.len() < self.config.details_max {
            self.pending.sessions.push(SessionRecord { opened, closed, totals });
        } else {
            self.details_lost += 1;
        }
    }

    /// Finds or seats a holder and lets its time pass. `may_forget` tells of somebody idle whether nobody holds his
    /// account and every charge of it has been applied.
    pub fn admit(
        &mut self,
        holder: &Holder,
        now: Timestamp,
        mut may_forget: impl FnMut(Place, Applied) -> bool,
    ) -> Result<Admitted, Full> {
        if let Some(place) = self.roster.find(holder) {
            self.roster.use_seat(place);
            self.advance(place, now);
            return Ok(Admitted { place, replaced: false });
        }
        if self.roster.len() < self.config.holders_max {
            return Ok(Admitted { place: self.seat(holder, now), replaced: false });
        }
        let rows_may_wait = self.pending.rollups.len() < self.config.rollups_max;
        let place = self.roster.most_idle(|place, seat| {
            !seat.record.must_stay()
                && !seat.binding_unsaved
                && (rows_may_wait || !seat.is_unsaved)
                && may_forget(place, seat.record.applied())
        });
        let place = place.ok_or(Full)?;
        let limit = self.default_limit(holder);
        let mut forgotten = self.roster.replace(place, holder, limit, now);
        take_rollups(&mut forgotten, &mut self.pending.rollups);
        self.conclude(place, Consequence { publish: true, ..Consequence::default() });
        Ok(Admitted { place, replaced: true })
    }

    /// Notes what a session says of its user. What it does not say stays as it was.
    pub fn introduce(&mut self, user: Place, identity: &Identity) {
        let seat = self.roster.seat_mut(user);
        let Profile { org, email, name } = &mut seat.record.profile;
        let news = [learn(org, &identity.org), learn(email, &identity.email), learn(name, &identity.name)];
        if news.contains(&true) {
            seat.profile_unsaved = true;
            self.save_later(user);
        }
    }

    pub fn set_limit(&mut self, place: Place, limit: Option<Limit>, now: Timestamp) {
        let consequence = self.roster.use_seat(place).record.set_limit(limit, now);
        self.rebind(place, consequence);
    }

    /// `None` lifts a block.
    pub fn set_block(&mut self, place: Place, block: Option<Block>, now: Timestamp) {
        if let Some(end) = block.as_ref().and_then(|block| block.expires_at) {
            self.due = self.due.min(end);
        }
        let consequence = self.roster.use_seat(place).record.set_block(block, now);
        self.rebind(place, consequence);
    }

    /// Lets time pass: windows roll, blocks expire. Cheap while nothing is due.
    pub fn tick(&mut self, now: Timestamp) {
        // A walk comes to its end before the next begins, or those at its end would never be reached.
        if self.walk.is_none() && now >= self.due {
            self.due = next_bucket(now);
            self.walk = Some(0);
        }
        let Some(start) = self.walk else { return };
        for place in self.roster.places().skip(start).take(WALK_COUNT) {
            let record = &mut self.roster.seat_mut(place).record;
            let consequence = record.advance(now);
            if let Some(end) = record.standing().block.as_ref().and_then(|block| block.expires_at) {
                self.due = self.due.min(end);
            }
            self.conclude(place, consequence);
        }
        self.walk = (start + WALK_COUNT < self.roster.len()).then_some(start + WALK_COUNT);
    }

    /// Lets one holder's time pass, before it is looked at.
    pub fn advance(&mut self, place: Place, now: Timestamp) {
        let consequence = self.roster.seat_mut(place).record.advance(now);
        self.conclude(place, consequence);
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

    pub fn record(&self, place: Place) -> &Record {
        &self.roster.seat(place).record
    }

    /// Users in order of id, from the first that comes after `after`.
    pub fn users_after(&self, after: Option<&UserId>) -> impl Iterator<Item = (Place, &Record)> {
        self.roster.users_after(after)
    }

    /// A user's usage by org, feature and model since the process started.
    pub fn series(&self, user: Place) -> &[Series] {
        &self.roster.seat(user).series
    }

    pub fn sessions(&self) -> impl Iterator<Item = &LiveSession> {
        self.sessions.values()
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

    pub fn holder_count(&self) -> usize {
        self.roster.len()
    }

    /// Events and session records that did not reach the store because it was away for too long.
    pub fn details_lost(&self) -> u64 {
        self.details_lost
    }

    /// Places whose standing or ceilings changed since this was last asked.
    pub fn take_changed(&mut self) -> Vec<Place> {
        let changed = std::mem::take(&mut self.changed);
        for &place in &changed {
            self.roster.seat_mut(place).is_changed = false;
        }
        changed
    }

    /// Whether live sessions have to be judged anew. Publish first, or they are judged by the old standing.
    pub fn take_sweep(&mut self) -> bool {
        std::mem::take(&mut self.sweep)
    }

    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// What is to be saved, if anything. Whoever takes it sees that it is.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let mut batch = std::mem::take(&mut self.pending);
        for place in std::mem::take(&mut self.unsaved) {
            let revision = self.next_serial();
            let seat = self.roster.seat_mut(place);
            seat.is_unsaved = false;
            take_rollups(seat, &mut batch.rollups);
            batch.holders.extend(take_state(seat, revision));
        }
        (!batch.is_empty()).then_some(batch)
    }

    fn seat(&mut self, holder: &Holder, now: Timestamp) -> Place {
        if let Some(place) = self.roster.find(holder) {
            return place;
        }
        let place = self.roster.seat_new(holder, self.default_limit(holder), now);
        self.conclude(place, Consequence { publish: true, ..Consequence::default() });
        place
    }

    fn default_limit(&self, holder: &Holder) -> Limit {
        match holder {
            Holder::User(_) => self.config.default_limit,
            Holder::Org(_) | Holder::Key(_) => Limit::default(),
        }
    }

    fn post(&mut self, place: Place, at: Timestamp, totals: &Totals, now: Timestamp) {
        let consequence = self.roster.use_seat(place).record.post(at, totals, now);
        self.conclude(place, consequence);
    }

    fn note_series(&mut self, user: Place, delta: &Delta, totals: &Totals) {
        let row = self.next_serial();
        let seat = self.roster.seat_mut(user);
        let found = seat.series.iter().position(|series| series.is_of(&delta.identity, &delta.model));
        let index = found.unwrap_or_else(|| {
            if seat.series.len() >= self.config.series_max {
                let idle = (0..seat.series.len()).min_by_key(|&index| seat.series[index].totals.updated_at);
                let mut left = seat.series.swap_remove(idle.expect("series_max is not zero"));
                self.pending.rollups.extend(left.take_unsaved(&delta.identity.user));
            }
            if seat.series.is_empty() {
                seat.series.reserve_exact(1); // Most users have one, and there may be a million of them.
            }
            seat.series.push(Series::new(delta, row));
            seat.series.len() - 1
        });
        let series = &mut seat.series[index];
        if series.has_left(delta.at) && self.pending.rollups.len() < self.config.rollups_max {
            self.pending.rollups.extend(series.take_unsaved(&delta.identity.user));
            series.begin_row(row, delta.at);
        }
        series.add(totals);
        self.save_later(user);
    }

    /// A limit or block changed: the holder stays until that is saved.
    fn rebind(&mut self, place: Place, consequence: Consequence) {
        self.roster.seat_mut(place).binding_unsaved = true;
        self.save_later(place);
        self.conclude(place, consequence);
    }

    fn save_later(&mut self, place: Place) {
        let seat = self.roster.seat_mut(place);
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
    }

    fn next_serial(&mut self) -> Serial {
        self.serial += 1;
        Serial(self.serial)
    }
}

/// Whether `said` is something new.
fn learn<T: Clone + PartialEq>(known: &mut Option<T>, said: &Option<T>) -> bool {
    let is_new = said.is_some() && known != said;
    if is_new {
        known.clone_from(said);
    }
    is_new
}

fn take_rollups(seat: &mut Seat, rollups: &mut Vec<Rollup>) {
    if let Holder::User(user) = seat.record.holder() {
        rollups.extend(seat.series.iter_mut().filter_map(|series| series.take_unsaved(user)));
    }
}

fn take_state(seat: &mut Seat, revision: Serial) -> Option<HolderState> {
    let unsaved = std::mem::take(&mut seat.profile_unsaved) | std::mem::take(&mut seat.binding_unsaved);
    unsaved.then(|| seat.record.state(revision))
}

fn next_bucket(now: Timestamp) -> Timestamp {
    Timestamp((now.0 / BUCKET_MS + 1) * BUCKET_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::WindowKind;
    use crate::money::NanoUsd;
    use crate::record::Ceiling;
    use crate::time::{DAY_MS, HOUR_MS};
    use crate::usage::Usage;
    use crate::{batch::Piece, id::Feature, id::Model};
    use std::sync::Arc;

    const NOON: Timestamp = Timestamp(1_795_435_200_000);

    fn small() -> Config {
        Config {
            holders_max: 3,
            series_max: 2,
            default_limit: Limit {
                max_cost: Some(NanoUsd(100)),
                window: WindowKind::Daily,
                ..Limit::default()
            },
            ..Config::default()
        }
    }

    fn user(name: &str) -> Holder {
        Holder::User(UserId::from(name))
    }

    fn delta(name: &str, model: &str, nano: i64, at: Timestamp) -> Delta {
        let identity = Identity {
            org: Some("acme".into()),
            feature: Some(Feature::from("voice")),
            ..Identity::of(name.into())
        };
        Delta {
            at,
            session: SessionId(1),
            identity: Arc::new(identity),
            provider: "openai".into(),
            model: Model::from(model),
            usage: Usage { text_in: 1, requests: 1, ..Usage::default() },
            cost: NanoUsd(nano),
            estimated: false,
            latency_ms: None,
        }
    }

    fn cost_of(ledger: &Ledger, holder: &Holder, window: WindowKind) -> Option<i64> {
        ledger.find(holder).map(|place| ledger.record(place).totals(window).cost.0)
    }

    fn admit(ledger: &mut Ledger, name: &str) -> Result<Admitted, Full> {
        ledger.admit(&user(name), NOON, |_, _| true)
    }

    /// Name of the user, hour of the day and cost of every row, in order.
    fn rows(batch: &Batch) -> Vec<(&str, u64, i64)> {
        let mut rows: Vec<_> = batch
            .rollups
            .iter()
            .map(|row| (row.user.as_str(), row.hour.0 % DAY_MS / HOUR_MS, row.totals.cost.0))
            .collect();
        rows.sort();
        rows
    }

    #[test]
    fn a_delta_counts_for_its_user_its_org_and_its_session() {
        let mut ledger = Ledger::new(small(), NOON);
        let first = delta("alice", "m", 30, NOON);
        ledger.open_session(Opened {
            session: SessionId(1),
            identity: Arc::clone(&first.identity),
            provider: "openai".into(),
            model: None,
            at: NOON,
        });
        ledger.apply(first, NOON);
        ledger.apply(Delta { estimated: true, ..delta("alice", "m2", 20, NOON) }, NOON);
        let org = Holder::Org("acme".into());
        assert_eq!(cost_of(&ledger, &user("alice"), WindowKind::Daily), Some(50));
        assert_eq!(cost_of(&ledger, &org, WindowKind::Total), Some(50));
        let session = ledger.session(SessionId(1)).unwrap();
        assert_eq!((session.totals.cost, session.totals.estimated_cost), (NanoUsd(50), NanoUsd(20)));
        assert_eq!(session.opened.model, Some(Model::from("m2")));
        ledger.close_session(Closed { session: SessionId(1), at: NOON, close_code: 1000 });
        let batch = ledger.take_batch().unwrap();
        assert_eq!(rows(&batch), [("alice", 12, 20), ("alice", 12, 30)]);
        assert_eq!((batch.events.len(), batch.sessions.len()), (2, 1));
        assert_eq!(ledger.take_batch(), None);
    }

    #[test]
    fn rows_are_absolute_within_an_hour_and_late_deltas_get_rows_of_their_own() {
        let mut ledger = Ledger::new(small(), NOON);
        let next = NOON.plus_ms(HOUR_MS);
        ledger.apply(delta("alice", "m", 1, NOON), NOON);
        assert_eq!(rows(&ledger.take_batch().unwrap()), [("alice", 12, 1)]);
        ledger.apply(delta("alice", "m", 2, NOON), NOON);
        assert_eq!(rows(&ledger.take_batch().unwrap()), [("alice", 12, 3)]);
        ledger.apply(delta("alice", "m", 4, next), next);
        ledger.apply(delta("alice", "m", 8, next.minus_ms(1)), next);
        ledger.apply(delta("alice", "m", 16, next), next);
        let batch = ledger.take_batch().unwrap();
        assert_eq!(rows(&batch), [("alice", 12, 8), ("alice", 13, 4), ("alice", 13, 16)]);
        let mut serials: Vec<_> = batch.rollups.iter().map(|row| row.row).collect();
        serials.dedup();
        assert_eq!(serials.len(), 3);
    }

    #[test]
    fn rows_that_find_no_room_to_wait_grow_on() {
        let mut ledger = Ledger::new(Config { rollups_max: 1, details_max: 2, ..small() }, NOON);
        for hour in 0..5 {
            let at = NOON.plus_ms(hour * HOUR_MS);
            ledger.apply(delta("alice", "m", 1, at), at);
        }
        assert_eq!(ledger.details_lost(), 3);
        let batch = ledger.take_batch().unwrap();
        assert_eq!((rows(&batch), batch.events.len()), (vec![("alice", 12, 1), ("alice", 13, 4)], 2));
    }

    #[test]
    fn series_beyond_the_bound_are_left_to_the_store() {
        let mut ledger = Ledger::new(small(), NOON);
        for (index, model) in ["a", "b", "a", "c"].into_iter().enumerate() {
            ledger.apply(delta("alice", model, 1, NOON.plus_ms(index as u64)), NOON);
        }
        let place = ledger.find(&user("alice")).unwrap();
        let mut models: Vec<_> = ledger.series(place).iter().map(|series| series.model.as_str()).collect();
        models.sort();
        assert_eq!(models, ["a", "c"]);
        assert_eq!(rows(&ledger.take_batch().unwrap()).len(), 3);
    }

    #[test]
    fn the_least_recently_used_holder_is_forgotten_first() {
        let mut ledger = Ledger::new(small(), NOON);
        for name in ["a", "b", "c"] {
            assert_eq!(admit(&mut ledger, name).map(|admitted| admitted.replaced), Ok(false));
        }
        admit(&mut ledger, "a").unwrap();
        assert!(admit(&mut ledger, "d").unwrap().replaced);
        assert_eq!(ledger.find(&user("b")), None);
        let ids: Vec<_> =
            ledger.users_after(Some(&"a".into())).map(|(_, record)| record.holder().clone()).collect();
        assert_eq!(ids, [user("c"), user("d")]);
    }

    #[test]
    fn whoever_is_bound_or_in_use_is_not_forgotten() {
        let mut ledger = Ledger::new(small(), NOON);
        let [limited, blocked, spent] = ["a", "b", "c"].map(|name| admit(&mut ledger, name).unwrap().place);
        ledger.set_limit(limited, Some(Limit::default()), NOON);
        let block = Block { reason: None, blocked_at: NOON, expires_at: None };
        ledger.set_block(blocked, Some(block), NOON);
        ledger.apply(
            Delta { identity: Arc::new(Identity::of("c".into())), ..delta("c", "m", 100, NOON) },
            NOON,
        );
        assert_eq!(admit(&mut ledger, "d"), Err(Full));

        // The lifted block has to be saved before its holder may go.
        ledger.set_block(blocked, None, NOON);
        assert_eq!(admit(&mut ledger, "d"), Err(Full));
        ledger.take_batch();
        let held = ledger.admit(&user("d"), NOON, |_, _| false);
        assert_eq!(held, Err(Full), "somebody holds the account");
        assert_eq!(admit(&mut ledger, "d"), Ok(Admitted { place: blocked, replaced: true }));

        // A new day, and what was used up no longer is.
        ledger.tick(NOON.next_day_start());
        ledger.admit(&user("d"), NOON.next_day_start(), |_, _| true).unwrap();
        let next = ledger.admit(&user("e"), NOON.next_day_start(), |_, _| true);
        assert_eq!(next, Ok(Admitted { place: spent, replaced: true }));
    }

    #[test]
    fn a_forgotten_user_loses_no_row_and_comes_back_with_his_next_delta() {
        let mut ledger = Ledger::new(Config { holders_max: 1, ..small() }, NOON);
        let lone =
            |nano| Delta { identity: Arc::new(Identity::of("a".into())), ..delta("a", "m", nano, NOON) };
        ledger.apply(lone(5), NOON);
        admit(&mut ledger, "b").unwrap();
        ledger.apply(lone(6), NOON);
        assert_eq!(cost_of(&ledger, &user("a"), WindowKind::Total), Some(6));
        assert_eq!(rows(&ledger.take_batch().unwrap()), [("a", 12, 5), ("a", 12, 6)]);
    }

    #[test]
    fn what_a_session_says_of_its_user_is_saved_when_it_is_new() {
        let mut ledger = Ledger::new(small(), NOON);
        let place = admit(&mut ledger, "a").unwrap().place;
        let email = Identity { email: Some("a@example.com".into()), ..Identity::of("a".into()) };
        let org = Identity { org: Some("acme".into()), ..Identity::of("a".into()) };
        for (identity, is_news) in [(&email, true), (&org, true), (&email, false), (&org, false)] {
            ledger.introduce(place, identity);
            assert_eq!(ledger.take_batch().is_some(), is_news);
        }
        let known = Profile { org: org.org, email: email.email, name: None };
        assert_eq!(ledger.record(place).profile, known);
    }

    #[test]
    fn time_alone_rolls_windows_and_lifts_blocks() {
        let mut ledger = Ledger::new(small(), NOON);
        let place = admit(&mut ledger, "a").unwrap().place;
        ledger.apply(delta("a", "m", 100, NOON), NOON);
        assert!(ledger.take_sweep());
        let block = |end: u64| Block { reason: None, blocked_at: NOON, expires_at: Some(NOON.plus_ms(end)) };
        ledger.set_block(place, Some(block(10)), NOON);
        ledger.take_changed();
        ledger.tick(NOON.plus_ms(9));
        assert_eq!(ledger.take_changed(), []);
        ledger.tick(NOON.plus_ms(10));
        assert_eq!(ledger.take_changed(), [place]);
        assert_eq!(ledger.record(place).ceilings().cost, Ceiling::At(100));
        ledger.tick(NOON.next_day_start());
        assert!(ledger.take_changed().contains(&place));
        assert_eq!(ledger.record(place).ceilings().cost, Ceiling::At(200));
    }

    #[test]
    fn a_restored_ledger_goes_on_with_the_same_sums_and_bindings() {
        let block = Block { reason: None, blocked_at: NOON, expires_at: Some(NOON.plus_ms(10)) };
        let piece = |days_ago: u64, nano| Piece {
            user: "a".into(),
            org: Some("acme".into()),
            at: NOON.minus_ms(days_ago * DAY_MS),
            totals: Totals { cost: NanoUsd(nano), ..Totals::default() },
        };
        let restored = Restored {
            holders: vec![HolderState {
                holder: user("a"),
                revision: Serial(41),
                profile: Profile::default(),
                limit: Some(Limit { max_cost: Some(NanoUsd(50)), ..Limit::default() }),
                block: Some(block),
            }],
            usage: vec![piece(40, 1), piece(3, 10), piece(0, 20)],
        };
        let mut ledger = Ledger::restore(small(), restored, NOON);
        assert_eq!(cost_of(&ledger, &user("a"), WindowKind::Total), Some(31));
        assert_eq!(cost_of(&ledger, &Holder::Org("acme".into()), WindowKind::Daily), Some(20));
        assert_eq!(ledger.take_batch(), None);
        let place = ledger.find(&user("a")).unwrap();
        assert_eq!(ledger.record(place).ceilings().cost, Ceiling::Shut);
        ledger.tick(NOON);
        ledger.tick(NOON.plus_ms(10));
        // Nothing has been charged in this process: 50 less the 30 of this month is left.
        assert_eq!(ledger.record(place).ceilings().cost, Ceiling::At(20));
        ledger.set_limit(place, None, NOON.plus_ms(10));
        assert!(ledger.take_batch().unwrap().holders[0].revision > Serial(41));
    }
}
