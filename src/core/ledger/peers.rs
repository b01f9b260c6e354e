//! What several instances tell each other of a holder, and whether they can.

use super::{Ledger, Slot};
use crate::cluster::{Contribution, PeerTotals, Scope};
use crate::id::Holder;
use crate::time::Timestamp;

impl Ledger {
    /// Holders that were posted to, admitted, or have a session that began, since this was last asked.
    pub fn take_touched(&mut self) -> Vec<Slot> {
        let touched = std::mem::take(&mut self.touched);
        for &slot in &touched {
            self.holders.entry_mut(slot).is_touched = false;
        }
        touched
    }

    /// What this instance has counted for a holder. `None` where no limit binds it.
    pub fn contribution(&mut self, slot: Slot, scope: Scope, now: Timestamp) -> Option<Contribution> {
        if self.holders.entry(slot).is_vacant() {
            return None;
        }
        self.advance(slot, now);
        let record = &mut self.holders.entry_mut(slot).record;
        let counts = record.contribution(scope);
        (!counts.is_empty()).then(|| Contribution { holder: record.holder().clone(), of: None, counts })
    }

    /// What was merged of the peers' counts for a holder: they may be gone, and so may be what they had told.
    pub fn contributions_of_peers(&self, slot: Slot) -> impl Iterator<Item = Contribution> {
        let record = self.record(slot);
        let contribution =
            |(writer, counts)| Contribution { holder: record.holder().clone(), of: Some(writer), counts };
        record.of_peers().into_iter().map(contribution)
    }

    /// Takes in what the peers have counted for a holder. `None` if it has been forgotten meanwhile.
    pub fn merge(&mut self, holder: &Holder, totals: &[PeerTotals], now: Timestamp) -> Option<Slot> {
        let slot = self.find(holder)?;
        self.align(slot, now);
        let consequence = self.holders.entry_mut(slot).record.merge(totals, now);
        self.conclude(slot, consequence);
        Some(slot)
    }

    /// From now on so many instances cannot reach each other, or, with `None`, can. A holder that is used is told at
    /// once, all others in the next ticks.
    pub fn partition(&mut self, instance_count: Option<u32>) {
        if self.partition != instance_count {
            self.partition = instance_count;
            self.partition_epoch = self.partition_epoch.wrapping_add(1);
            self.due = Timestamp(0);
            self.walk = None;
        }
    }

    /// Tells a record whether the peers can be reached, if that has changed.
    pub(super) fn align(&mut self, slot: Slot, now: Timestamp) {
        let entry = self.holders.entry_mut(slot);
        if std::mem::replace(&mut entry.partition_epoch, self.partition_epoch) != self.partition_epoch {
            let consequence = entry.record.partition(self.partition, now);
            self.conclude(slot, consequence);
        }
    }

    pub(super) fn touch(&mut self, slot: Slot) {
        let entry = self.holders.entry_mut(slot);
        if self.config.in_cluster && !entry.is_touched {
            entry.is_touched = true;
            self.touched.push(slot);
        }
    }
}
