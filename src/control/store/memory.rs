//! A store for trying out: bounded, and gone with the process.

use super::{Filter, Store, StoreError};
use std::collections::{BTreeMap, HashMap};
use tokenist_core::batch::{Batch, Event, HolderState, Piece, Restored, Rollup, Serial, SessionRecord};
use tokenist_core::id::{Holder, SessionId};
use tokenist_core::time::{HOUR_MS, Timestamp};

/// How much is kept. Past each bound the oldest goes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub rollups_max: usize,
    pub holders_max: usize,
    pub events_max: usize,
    pub sessions_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { rollups_max: 200_000, holders_max: 200_000, events_max: 20_000, sessions_max: 20_000 }
    }
}

#[derive(Debug)]
pub struct Memory {
    config: Config,
    rollups: BTreeMap<(Timestamp, Serial), Rollup>,
    holders: HashMap<Holder, HolderState>,
    events: BTreeMap<Serial, Event>,
    sessions: BTreeMap<(Timestamp, SessionId), SessionRecord>,
}

impl Memory {
    pub fn new(config: Config) -> Memory {
        Memory {
            config,
            rollups: BTreeMap::new(),
            holders: HashMap::new(),
            events: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// Holders that nothing binds go first, then those that were changed longest ago.
    fn keep_holders_bounded(&mut self) {
        let excess = self.holders.len().saturating_sub(self.config.holders_max);
        if excess > 0 {
            let importance =
                |state: &HolderState| (state.limit.is_some() || state.block.is_some(), state.revision);
            let mut ranks: Vec<_> = self.holders.values().map(importance).collect();
            ranks.sort_unstable();
            let lowest_kept = ranks[excess..].first().copied();
            self.holders.retain(|_, state| lowest_kept.is_some_and(|lowest| importance(state) >= lowest));
        }
    }
}

impl Store for Memory {
    /// A row counts at the end of its hour, the latest time it may be of.
    fn restore(&mut self, now: Timestamp) -> Result<Restored, StoreError> {
        let piece = |row: &Rollup| Piece {
            user: row.user.clone(),
            org: row.org.clone(),
            at: row.hour.plus_ms(HOUR_MS - 1).min(now),
            totals: row.totals,
        };
        Ok(Restored {
            holders: self.holders.values().cloned().collect(),
            usage: self.rollups.values().map(piece).collect(),
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for row in &batch.rollups {
            let stored = self.rollups.entry((row.hour, row.row)).or_insert_with(|| row.clone());
            stored.totals = stored.totals.join(row.totals);
        }
        for state in &batch.holders {
            let stored = self.holders.entry(state.holder.clone()).or_insert_with(|| state.clone());
            if stored.revision < state.revision {
                *stored = state.clone();
            }
        }
        for event in &batch.events {
            self.events.entry(event.serial).or_insert_with(|| event.clone());
        }
        for session in &batch.sessions {
            let key = (session.closed.at, session.closed.session);
            self.sessions.entry(key).or_insert_with(|| session.clone());
        }
        keep_newest(&mut self.rollups, self.config.rollups_max);
        keep_newest(&mut self.events, self.config.events_max);
        keep_newest(&mut self.sessions, self.config.sessions_max);
        self.keep_holders_bounded();
        Ok(())
    }

    fn rollups(&mut self, filter: &Filter) -> Result<Vec<Rollup>, StoreError> {
        let rows = self.rollups.values();
        let wanted = rows.filter(|row| filter.admits(&row.user, row.org.as_ref(), row.hour));
        Ok(wanted.take(filter.limit).cloned().collect())
    }

    fn events(&mut self, filter: &Filter) -> Result<Vec<Event>, StoreError> {
        let mut wanted: Vec<&Event> = self
            .events
            .values()
            .filter(|Event { delta, .. }| {
                filter.admits(&delta.identity.user, delta.identity.org.as_ref(), delta.at)
            })
            .collect();
        // Shards' deltas interleave, so the order of numbers is only nearly that of times.
        wanted.sort_by_key(|event| std::cmp::Reverse((event.delta.at, event.serial)));
        Ok(wanted.into_iter().take(filter.limit).cloned().collect())
    }

    fn sessions(&mut self, filter: &Filter) -> Result<Vec<SessionRecord>, StoreError> {
        let wanted = self.sessions.values().rev().filter(|SessionRecord { opened, closed, .. }| {
            filter.admits(&opened.identity.user, opened.identity.org.as_ref(), closed.at)
        });
        Ok(wanted.take(filter.limit).cloned().collect())
    }
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
                let config =
                    Config { rollups_max: max, holders_max: max, events_max: max, sessions_max: max };
                Box::new(Memory::new(config))
            },
            persists: false,
            bounded: Some(10),
        });
    }
}
