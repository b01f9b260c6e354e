//! What the store is to keep: a user's rows as they grow, and the batch that takes them along.

use super::{Ledger, Slot};
use crate::batch::{Batch, Grain, HolderState, Rollup, Serial};
use crate::holder_index::HolderEntry;
use crate::id::Holder;
use crate::message::Delta;
use crate::series::Series;
use crate::totals::Totals;

impl Ledger {
    /// What is to be saved, if anything. The caller that takes it saves it.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let mut batch = std::mem::take(&mut self.pending);
        self.pending_log_bytes = 0;
        batch.refusals = self.refusals.take_unsaved();
        for slot in std::mem::take(&mut self.unsaved) {
            let entry = self.holders.entry_mut(slot);
            entry.is_unsaved = false;
            take_rollups(entry, &mut batch.rollups);
            batch.holders.extend(take_state(entry));
        }
        if batch.is_empty() {
            return None;
        }
        self.batch += 1;
        Some(batch)
    }

    /// Events, session records and logs that did not reach the store because it was away for too long.
    pub fn details_lost(&self) -> u64 {
        self.details_lost
    }

    pub(super) fn note_series(&mut self, user: Slot, delta: &Delta, totals: &Totals, grain: Grain) {
        let row = self.next_serial();
        let entry = self.holders.entry_mut(user);
        let found = entry.series.iter().position(|series| series.is_of(delta));
        let index = found.unwrap_or_else(|| {
            if entry.series.len() >= self.config.series_max {
                let idle = (0..entry.series.len()).min_by_key(|&index| entry.series[index].totals.updated_at);
                let mut left = entry.series.swap_remove(idle.expect("series_max is not zero"));
                self.pending.rollups.extend(left.take_unsaved(&delta.identity.user));
            }
            if entry.series.is_empty() {
                entry.series.reserve_exact(1); // Most users have one, and there may be a million of them.
            }
            entry.series.push(Series::new(delta, row, grain));
            entry.series.len() - 1
        });
        let series = &mut entry.series[index];
        if series.has_left(delta.at, grain) && self.pending.rollups.len() < self.config.rollups_max {
            self.pending.rollups.extend(series.take_unsaved(&delta.identity.user));
            series.begin_row(row, delta.at, grain);
        }
        series.add(totals);
        self.save_later(user);
    }

    /// A row for a user that has no slot.
    pub(super) fn note_alone(&mut self, delta: &Delta, totals: &Totals, grain: Grain) {
        let mut series = Series::new(delta, self.next_serial(), grain);
        series.add(totals);
        self.pending.rollups.extend(series.take_unsaved(&delta.identity.user));
    }

    pub(super) fn save_later(&mut self, slot: Slot) {
        let entry = self.holders.entry_mut(slot);
        entry.saved_by = self.batch;
        if !entry.is_unsaved {
            entry.is_unsaved = true;
            self.unsaved.push(slot);
        }
    }

    pub(super) fn next_serial(&mut self) -> Serial {
        self.serial += 1;
        Serial(self.serial)
    }
}

fn take_rollups(entry: &mut HolderEntry, rollups: &mut Vec<Rollup>) {
    if let Holder::User(user) = entry.record.holder() {
        rollups.extend(entry.series.iter_mut().filter_map(|series| series.take_unsaved(user)));
    }
}

fn take_state(entry: &mut HolderEntry) -> Option<HolderState> {
    let unsaved = std::mem::take(&mut entry.profile_unsaved) | std::mem::take(&mut entry.binding_unsaved);
    unsaved.then(|| entry.state())
}
