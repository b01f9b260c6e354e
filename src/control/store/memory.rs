//! A store for trying out: bounded, and gone with the process.

use super::{
    AuditFilter, Dimension, Filter, Order, Reader, RefusalFilter, Store, StoreError, UsageKey, UsageQuery,
    UsageRow,
};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokenist_core::audit::Audit;
use tokenist_core::batch::{
    Batch, Event, HolderState, Log, Piece, Restored, Rollup, Serial, SessionRecord, Stamped,
};
use tokenist_core::catalog::{Entry, EntryId};
use tokenist_core::id::{Holder, Identity, KeyHash, SessionId};
use tokenist_core::key::Key;
use tokenist_core::refusal::Refusal;
use tokenist_core::time::{HOUR_MS, Timestamp};
use tokenist_core::totals::Totals;

/// How much is kept. Past each bound the oldest goes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub rollups_max: usize,
    pub holders_max: usize,
    pub events_max: usize,
    pub sessions_max: usize,
    pub logs_max: usize,
    pub marks_max: usize,
    pub audits_max: usize,
    pub refusals_max: usize,
    /// Bytes of requests and responses in logs.
    pub log_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            rollups_max: 200_000,
            holders_max: 200_000,
            events_max: 20_000,
            sessions_max: 20_000,
            logs_max: 2_000,
            marks_max: 100_000,
            audits_max: 20_000,
            refusals_max: 20_000,
            log_bytes_max: 64 * 1024 * 1024,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<Rows>>);

#[derive(Debug)]
struct Rows {
    config: Config,
    rollups: BTreeMap<(Timestamp, Serial), Rollup>,
    holders: HashMap<Holder, HolderState>,
    keys: HashMap<KeyHash, Stamped<Key>>,
    events: BTreeMap<Serial, Event>,
    /// Boxed, for a tree's nodes are half empty where what comes is in order.
    sessions: BTreeMap<(Timestamp, SessionId), Box<SessionRecord>>,
    /// Under which time each of them is.
    session_ends: HashMap<SessionId, Timestamp>,
    logs: BTreeMap<(Timestamp, Arc<str>), Log>,
    marks: HashSet<Arc<str>>,
    /// In the order in which they came.
    mark_order: VecDeque<Arc<str>>,
    entries: BTreeMap<EntryId, Stamped<Entry>>,
    audits: BTreeMap<(Timestamp, Arc<str>), Audit>,
    refusals: BTreeMap<(Timestamp, Arc<str>), Refusal>,
}

impl Memory {
    pub fn new(config: Config) -> Memory {
        Memory(Arc::new(Mutex::new(Rows {
            config,
            rollups: BTreeMap::new(),
            holders: HashMap::new(),
            keys: HashMap::new(),
            events: BTreeMap::new(),
            sessions: BTreeMap::new(),
            session_ends: HashMap::new(),
            logs: BTreeMap::new(),
            marks: HashSet::new(),
            mark_order: VecDeque::new(),
            entries: BTreeMap::new(),
            audits: BTreeMap::new(),
            refusals: BTreeMap::new(),
        })))
    }

    fn rows<T>(&self, look: impl FnOnce(&mut Rows) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Rows {
    /// Holders that nothing binds go first, then those that were changed longest ago.
    fn keep_holders_bounded(&mut self) {
        let excess = self.holders.len().saturating_sub(self.config.holders_max);
        if excess > 0 {
            let importance = |state: &HolderState| {
                (state.limit.value.is_some() || state.block.value.is_some(), state.revision())
            };
            let mut ranks: Vec<_> = self.holders.values().map(importance).collect();
            ranks.sort_unstable();
            let lowest_kept = ranks[excess..].first().copied();
            self.holders.retain(|_, state| lowest_kept.is_some_and(|lowest| importance(state) >= lowest));
        }
    }

    fn commit(&mut self, batch: &Batch) {
        for row in &batch.rollups {
            let stored = self.rollups.entry((row.start, row.row)).or_insert_with(|| row.clone());
            stored.totals = stored.totals.join(row.totals);
        }
        for state in &batch.holders {
            let holder = &state.holder;
            let stored =
                self.holders.entry(holder.clone()).or_insert_with(|| HolderState::of(holder.clone()));
            stored.join(state.clone());
        }
        for key in &batch.keys {
            self.keys.entry(key.value.hash).or_insert_with(|| key.clone()).join(key.clone());
        }
        for entry in &batch.entries {
            let id = entry.value.id.clone();
            self.entries.entry(id).or_insert_with(|| entry.clone()).join(entry.clone());
        }
        for event in &batch.events {
            self.events.entry(event.serial).or_insert_with(|| event.clone());
        }
        batch.sessions.iter().for_each(|session| self.put_session(session));
        for log in &batch.logs {
            self.logs.entry((log.at, Arc::clone(&log.id))).or_insert_with(|| log.clone());
        }
        for mark in &batch.marks {
            if self.marks.insert(Arc::clone(&mark.id)) {
                self.mark_order.push_back(Arc::clone(&mark.id));
            }
        }
        while self.mark_order.len() > self.config.marks_max
            && let Some(oldest) = self.mark_order.pop_front()
        {
            self.marks.remove(&oldest);
        }
        for audit in &batch.audits {
            self.audits.entry((audit.at, Arc::clone(&audit.id))).or_insert_with(|| audit.clone());
        }
        for refusal in &batch.refusals {
            let key = (refusal.minute, Arc::clone(&refusal.id));
            self.refusals.entry(key).or_insert_with(|| refusal.clone()).join(refusal.clone());
        }
        keep_newest(&mut self.refusals, self.config.refusals_max);
        keep_newest(&mut self.audits, self.config.audits_max);
        keep_newest(&mut self.rollups, self.config.rollups_max);
        keep_newest(&mut self.events, self.config.events_max);
        while self.sessions.len() > self.config.sessions_max
            && let Some(((_, session), _)) = self.sessions.pop_first()
        {
            self.session_ends.remove(&session);
        }
        keep_newest(&mut self.logs, self.config.logs_max);
        let mut log_bytes: usize = self.logs.values().map(Log::body_bytes).sum();
        while log_bytes > self.config.log_bytes_max
            && let Some((_, log)) = self.logs.pop_first()
        {
            log_bytes -= log.body_bytes();
        }
        self.keep_holders_bounded();
    }

    /// Of a session that was resumed the later end holds.
    fn put_session(&mut self, record: &SessionRecord) {
        let (session, at) = (record.closed.session, record.closed.at);
        match self.session_ends.get(&session) {
            Some(end) if *end >= at => {}
            before => {
                before.map(|end| self.sessions.remove(&(*end, session)));
                self.session_ends.insert(session, at);
                self.sessions.insert((at, session), Box::new(record.clone()));
            }
        }
    }

    fn usage(&self, query: &UsageQuery) -> Vec<UsageRow> {
        let mut sums: BTreeMap<UsageKey, Totals> = BTreeMap::new();
        for (_, row) in self.rollups.range((query.from, Serial(0))..) {
            if query.admits(row) {
                *sums.entry(key_of(row, &query.by)).or_default() += row.totals;
            }
        }
        let mut rows: Vec<UsageRow> =
            sums.into_iter().map(|(key, totals)| UsageRow { key, totals }).collect();
        if query.order == Order::Cost {
            rows.sort_by_key(|row| std::cmp::Reverse(row.totals.cost));
        }
        rows.truncate(query.limit);
        rows
    }
}

impl Store for Memory {
    /// A row counts at its end, the latest time it may be of.
    fn restore(&mut self, now: Timestamp, _: usize) -> Result<Restored, StoreError> {
        let pieces = |row: &Rollup| {
            let (at, totals) = (row.last(now), row.totals);
            row.holders().map(|holder| Piece { holder, at, totals }).collect::<Vec<_>>()
        };
        Ok(self.rows(|rows| Restored {
            holders: rows.holders.values().cloned().collect(),
            keys: rows.keys.values().cloned().collect(),
            entries: rows.entries.values().cloned().collect(),
            usage: rows.rollups.values().flat_map(pieces).collect(),
            is_partial: false,
            without_slot: Vec::new(),
        }))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.rows(|rows| rows.commit(batch));
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}

impl Reader for Memory {
    fn has_marked(&mut self, ids: &[Arc<str>]) -> Result<bool, StoreError> {
        Ok(self.rows(|rows| ids.iter().any(|id| rows.marks.contains(id))))
    }

    fn usage(&mut self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        Ok(self.rows(|rows| rows.usage(query)))
    }

    fn events(&mut self, filter: &Filter) -> Result<Vec<Event>, StoreError> {
        let slot = |event: &Event| (event.delta.at, event.serial);
        Ok(self.rows(|rows| pick(rows.events.values(), filter, |event| &event.delta.identity, slot)))
    }

    fn sessions(&mut self, filter: &Filter) -> Result<Vec<SessionRecord>, StoreError> {
        let slot = |session: &SessionRecord| (session.closed.at, Serial(session.closed.session.0));
        Ok(self.rows(|rows| {
            pick(rows.sessions.values().map(Box::as_ref), filter, |session| &session.opened.identity, slot)
        }))
    }

    fn logs(&mut self, filter: &Filter) -> Result<Vec<Log>, StoreError> {
        Ok(self.rows(|rows| pick(rows.logs.values(), filter, |log| &log.identity, |log| (log.at, Serial(0)))))
    }

    fn audits(&mut self, filter: &AuditFilter) -> Result<Vec<Audit>, StoreError> {
        Ok(self.rows(|rows| {
            let wanted = rows.audits.values().rev().filter(|audit| filter.admits(audit));
            wanted.skip(filter.offset).take(filter.limit).cloned().collect()
        }))
    }

    fn refusals(&mut self, filter: &RefusalFilter) -> Result<Vec<Refusal>, StoreError> {
        Ok(self.rows(|rows| {
            let wanted = rows.refusals.values().rev().filter(|refusal| filter.admits(refusal));
            wanted.take(filter.limit).cloned().collect()
        }))
    }

    fn log_count(&mut self, filter: &Filter) -> Result<usize, StoreError> {
        let admits = |log: &&Log| filter.admits(&log.identity, log.at);
        Ok(self.rows(|rows| rows.logs.values().filter(admits).count()))
    }

    fn log(&mut self, id: &str) -> Result<Option<Log>, StoreError> {
        Ok(self.rows(|rows| rows.logs.values().find(|log| *log.id == *id).cloned()))
    }
}

/// The newest first. Shards' deltas interleave, so the order of numbers is only nearly that of times.
fn pick<'a, T: Clone + 'a>(
    details: impl Iterator<Item = &'a T>,
    filter: &Filter,
    identity: impl Fn(&T) -> &Identity,
    slot: impl Fn(&T) -> (Timestamp, Serial),
) -> Vec<T> {
    let mut wanted: Vec<&T> =
        details.filter(|detail| filter.admits(identity(detail), slot(detail).0)).collect();
    wanted.sort_by_key(|detail| std::cmp::Reverse(slot(detail)));
    wanted.into_iter().skip(filter.offset).take(filter.limit).cloned().collect()
}

fn key_of(row: &Rollup, by: &[Dimension]) -> UsageKey {
    let mut key = UsageKey::default();
    for dimension in by {
        match dimension {
            Dimension::User => key.user = Some(row.user.clone()),
            Dimension::Org => key.org.clone_from(&row.org),
            Dimension::Feature => key.feature.clone_from(&row.feature),
            Dimension::Provider => key.provider = Some(Arc::clone(&row.provider)),
            Dimension::Model => key.model = Some(row.model.clone()),
            Dimension::Hour => key.at = Some(Timestamp(row.start.0 - row.start.0 % HOUR_MS)),
            Dimension::Day => key.at = Some(row.start.day_start()),
            Dimension::Month => key.at = Some(row.start.month_start()),
        }
    }
    key
}

fn keep_newest<K: Ord, V>(rows: &mut BTreeMap<K, V>, max: usize) {
    while rows.len() > max {
        rows.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{Subject, check};
    use super::*;

    #[test]
    fn memory_keeps_the_contract_but_outlives_no_process() {
        check(&mut Subject {
            open: &mut |_| Box::new(Memory::new(Config::default())),
            persists: false,
            bounded: None,
        });
        check(&mut Subject {
            open: &mut |_| {
                let max = 10;
                let config = Config {
                    rollups_max: max,
                    holders_max: max,
                    events_max: max,
                    sessions_max: max,
                    logs_max: max,
                    marks_max: max,
                    audits_max: max,
                    refusals_max: max,
                    ..Config::default()
                };
                Box::new(Memory::new(config))
            },
            persists: false,
            bounded: Some(10),
        });
    }
}
