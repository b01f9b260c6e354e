//! A store in memory that outlives its process: rows as the ledger file has them, by incarnation and number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokenist_control::store::{Reader, Recall, Store, StoreError};
use tokenist_core::batch::{
    Batch, Event, HolderState, Piece, Recalled, Restored, Rollup, Serial, SessionRecord, Stamped,
};
use tokenist_core::catalog::{Entry, EntryId};
use tokenist_core::id::{Holder, KeyHash, SessionId};
use tokenist_core::key::Key;
use tokenist_core::time::Timestamp;

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    rows: Arc<Mutex<Rows>>,
    generation: u64,
}

#[derive(Debug, Default)]
struct Rows {
    generation: u64,
    rollups: BTreeMap<(u64, Serial), Rollup>,
    states: BTreeMap<Holder, HolderState>,
    keys: BTreeMap<KeyHash, Stamped<Key>>,
    entries: BTreeMap<EntryId, Stamped<Entry>>,
    events: BTreeMap<(u64, Serial), Event>,
    sessions: BTreeMap<(u64, SessionId), SessionRecord>,
    marks: BTreeSet<Arc<str>>,
}

impl Disk {
    /// The next incarnation of the same rows.
    pub(crate) fn open(&self) -> Disk {
        let rows = Arc::clone(&self.rows);
        let generation = look(&rows, |rows| {
            rows.generation += 1;
            rows.generation
        });
        Disk { rows, generation }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        look(&self.rows, |rows| rows.events.values().cloned().collect())
    }
}

fn look<T>(rows: &Mutex<Rows>, act: impl FnOnce(&mut Rows) -> T) -> T {
    act(&mut rows.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Rows {
    fn commit(&mut self, generation: u64, batch: &Batch) {
        for row in &batch.rollups {
            let stored = self.rollups.entry((generation, row.row)).or_insert_with(|| row.clone());
            stored.totals = stored.totals.join(row.totals);
        }
        for state in &batch.holders {
            let stored = self.states.entry(state.holder.clone());
            stored.or_insert_with(|| HolderState::of(state.holder.clone())).join(state.clone());
        }
        for key in &batch.keys {
            self.keys.entry(key.value.hash).or_insert_with(|| key.clone()).join(key.clone());
        }
        for entry in &batch.entries {
            let stored = self.entries.entry(entry.value.id.clone());
            stored.or_insert_with(|| entry.clone()).join(entry.clone());
        }
        for event in &batch.events {
            self.events.entry((generation, event.serial)).or_insert_with(|| event.clone());
        }
        for session in &batch.sessions {
            self.sessions.entry((generation, session.closed.session)).or_insert_with(|| session.clone());
        }
        self.marks.extend(batch.marks.iter().map(|mark| Arc::clone(&mark.id)));
    }

    /// Everybody of whom something is known, who was used last first.
    fn holders(&self) -> Vec<Holder> {
        let mut used: BTreeMap<Holder, Option<Timestamp>> = BTreeMap::new();
        for state in self.states.keys() {
            used.insert(state.clone(), None);
        }
        for row in self.rollups.values() {
            for holder in row.holders() {
                let at = used.entry(holder).or_default();
                *at = (*at).max(row.totals.updated_at);
            }
        }
        let mut holders: Vec<(Holder, Option<Timestamp>)> = used.into_iter().collect();
        holders.sort_by_key(|(_, at)| Reverse(*at));
        holders.into_iter().map(|(holder, _)| holder).collect()
    }

    fn recalled(&self, holder: &Holder, now: Timestamp) -> Recalled {
        let of = |row: &&Rollup| row.holders().any(|of| of == *holder);
        let piece = |row: &Rollup| Piece { holder: holder.clone(), at: row.last(now), totals: row.totals };
        Recalled {
            state: self.states.get(holder).cloned().unwrap_or_else(|| HolderState::of(holder.clone())),
            usage: self.rollups.values().filter(of).map(piece).collect(),
        }
    }

    fn restore(&self, now: Timestamp, holders_max: usize) -> Restored {
        let holders = self.holders();
        let (with_slot, others) = holders.split_at(holders_max.min(holders.len()));
        let recalled: Vec<Recalled> = with_slot.iter().map(|holder| self.recalled(holder, now)).collect();
        let without_slot = others.iter().filter_map(|holder| self.states.get(holder));
        Restored {
            holders: recalled.iter().map(|recalled| recalled.state.clone()).collect(),
            keys: self.keys.values().cloned().collect(),
            entries: self.entries.values().cloned().collect(),
            usage: recalled.into_iter().flat_map(|recalled| recalled.usage).collect(),
            is_partial: !others.is_empty(),
            without_slot: without_slot.filter(|state| state.binds()).cloned().collect(),
        }
    }
}

impl Store for Disk {
    fn restore(&mut self, now: Timestamp, holders_max: usize) -> Result<Restored, StoreError> {
        Ok(look(&self.rows, |rows| rows.restore(now, holders_max)))
    }

    fn recaller(&self) -> Result<Option<Box<dyn Recall>>, StoreError> {
        Ok(Some(Box::new(self.clone())))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        look(&self.rows, |rows| rows.commit(self.generation, batch));
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Err(StoreError("nobody reads what is past here".into()))
    }
}

impl Recall for Disk {
    fn recall(&mut self, holders: &[Holder], now: Timestamp) -> Result<Vec<Recalled>, StoreError> {
        Ok(look(&self.rows, |rows| holders.iter().map(|holder| rows.recalled(holder, now)).collect()))
    }
}
