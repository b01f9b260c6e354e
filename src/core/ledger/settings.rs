//! What operators set, here or on another instance: limits, blocks, keys, and the catalog.
//!
//! Whatever is set has a revision, and the later one holds: [`Ledger::adopt`] and its like join what others have set.

use super::{Full, KeyPosition, Ledger, Slot};
use crate::batch::{HolderState, Revision, Stamped};
use crate::catalog::{Entry, EntryId};
use crate::holder_index::Revisions;
use crate::id::{Holder, KeyHash};
use crate::key::{Key, KeyId};
use crate::limit::{Block, Limit, RuleAction};
use crate::record::Consequence;
use crate::time::{DAY_MS, Timestamp};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// What ended or was removed is kept for so long, so that a setting of another instance, late, does not bring it back.
const ENDED_MS_MIN: u64 = 30 * DAY_MS;
/// Room is made for one in so many at once, so that it is seldom looked for.
const ROOM_PART: usize = 100;

fn is_long_ago(end: Timestamp, now: Timestamp) -> bool {
    now.since(end) >= ENDED_MS_MIN
}

impl Ledger {
    pub fn set_limit(&mut self, slot: Slot, limit: Option<Limit>, now: Timestamp) {
        let revision = self.next_revision(now);
        self.holders.establish(slot);
        let entry = self.holders.use_entry(slot);
        entry.revisions.limit = revision;
        let consequence = entry.record.set_limit(limit, now);
        self.rebind(slot, consequence);
    }

    /// `None` lifts a block.
    pub fn set_block(&mut self, slot: Slot, block: Option<Block>, now: Timestamp) {
        if let Some(end) = block.as_ref().and_then(|block| block.expires_at) {
            self.due = self.due.min(end);
        }
        let revision = self.next_revision(now);
        self.holders.establish(slot);
        let entry = self.holders.use_entry(slot);
        entry.revisions.block = revision;
        let consequence = entry.record.set_block(block, now);
        self.rebind(slot, consequence);
    }

    /// What rules say of a holder: of now, and neither saved nor shared.
    pub fn set_rule_action(&mut self, slot: Slot, rule_action: Option<RuleAction>, now: Timestamp) {
        if let Some(rule_action) = &rule_action {
            self.due = self.due.min(rule_action.expires_at);
        }
        let consequence = self.holders.use_entry(slot).record.set_rule_action(rule_action, now);
        self.conclude(slot, consequence);
    }

    /// What holds of a holder, with when it was set.
    pub fn state(&self, slot: Slot) -> HolderState {
        self.holders.entry(slot).state()
    }

    /// As [`Ledger::key`], with when it was set.
    pub fn stamped_key(&self, hash: &KeyHash) -> Option<&Stamped<Key>> {
        self.keys.get(hash)
    }

    /// Takes over what another instance has set, where it is later than what is known here, and saves that. Whether
    /// anything was.
    pub fn adopt(&mut self, state: HolderState, now: Timestamp) -> bool {
        // No holder is forgotten for it: it waits in the store until its holder comes.
        let is_full = self.holders.established_count() >= self.config.holders_max;
        if (is_full || !self.is_whole) && self.find(&state.holder).is_none() {
            if self.config.reads_back {
                self.leave_without_slot(state);
                return true;
            }
            let is_bound = state.limit.value.is_some() || state.block.value.is_some();
            if !is_bound {
                return false;
            }
        }
        let Some(slot) = self.take_over(state, now) else { return false };
        let entry = self.holders.entry_mut(slot);
        entry.profile_unsaved = true;
        entry.binding_unsaved = true;
        self.save_later(slot);
        true
    }

    /// As [`Ledger::adopt`], for a key.
    pub fn adopt_key(&mut self, key: Stamped<Key>, now: Timestamp) -> bool {
        let hash = key.value.hash;
        let is_news = self.take_over_key(key, now);
        if is_news {
            self.save_key(hash);
        }
        is_news
    }

    /// Makes a key known, or changes it. Live sessions of a key that has ended are swept.
    pub fn set_key(&mut self, key: Key, now: Timestamp) -> Result<(), Full> {
        let hash = key.hash;
        if self.keys.get(&hash).is_none() && !self.has_room_for_key(now) {
            return Err(Full);
        }
        let revision = self.next_revision(now);
        self.take_over_key(Stamped { revision, value: key }, now);
        self.save_key(hash);
        Ok(())
    }

    /// Whether it still holds is for the caller to ask.
    pub fn key(&self, hash: &KeyHash) -> Option<&Key> {
        self.keys.get(hash).map(|key| &key.value)
    }

    pub fn key_of(&self, id: &KeyId) -> Option<&Key> {
        self.keys.of(id).map(|key| &key.value)
    }

    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The oldest first, from the first that comes after the key in this position; with each its own.
    pub fn keys_after(&self, after: Option<&KeyPosition>) -> impl Iterator<Item = (&KeyPosition, &Key)> {
        self.keys.after(after).map(|(slot, key)| (slot, &key.value))
    }

    /// Puts an entry into the catalog, or changes or removes it.
    pub fn set_entry(&mut self, entry: Entry, now: Timestamp) -> Result<(), Full> {
        if !self.catalog.contains_key(&entry.id) && !self.has_room_for_entry(now) {
            return Err(Full);
        }
        let (id, revision) = (entry.id.clone(), self.next_revision(now));
        self.take_over_entry(Stamped { revision, value: entry });
        self.save_entry(&id);
        Ok(())
    }

    /// As [`Ledger::adopt`], for an entry of the catalog.
    pub fn adopt_entry(&mut self, entry: Stamped<Entry>) -> bool {
        let id = entry.value.id.clone();
        let is_news = self.take_over_entry(entry);
        if is_news {
            self.save_entry(&id);
        }
        is_news
    }

    /// Keys that ended long ago make room for others: the store still has them.
    fn has_room_for_key(&mut self, now: Timestamp) -> bool {
        if self.keys.len() >= self.config.keys_max {
            let mut ended: Vec<(Timestamp, KeyHash)> = Vec::new();
            for (_, key) in self.keys.after(None) {
                let end = key.value.ends_at().filter(|&end| is_long_ago(end, now));
                ended.extend(end.map(|end| (end, key.value.hash)));
            }
            ended.sort_unstable_by_key(|&(end, _)| end);
            for (_, hash) in ended.into_iter().take(self.config.keys_max / ROOM_PART + 1) {
                self.keys.remove(&hash);
            }
        }
        self.keys.len() < self.config.keys_max
    }

    /// As [`Ledger::has_room_for_key`], with entries that were removed.
    fn has_room_for_entry(&mut self, now: Timestamp) -> bool {
        if self.catalog.len() >= self.config.entries_max {
            let is_over = |entry: &Stamped<Entry>| {
                entry.value.value.is_none() && is_long_ago(entry.revision.set_at(), now)
            };
            let mut removed: Vec<(Revision, EntryId)> = Vec::new();
            for (id, entry) in self.catalog.iter().filter(|(_, entry)| is_over(entry)) {
                removed.push((entry.revision, id.clone()));
            }
            removed.sort_unstable_by_key(|&(revision, _)| revision);
            for (_, id) in removed.into_iter().take(self.config.entries_max / ROOM_PART + 1) {
                self.catalog.remove(&id);
            }
        }
        self.catalog.len() < self.config.entries_max
    }

    /// Entries of the catalog, removed ones included.
    pub fn entry_count(&self) -> usize {
        self.catalog.len()
    }

    /// Also one that was removed, with when that was.
    pub fn entry(&self, id: &EntryId) -> Option<&Stamped<Entry>> {
        self.catalog.get(id)
    }

    /// All of a kind that were not removed, in order of id.
    pub fn entries(&self, kind: &str) -> impl Iterator<Item = &Entry> {
        self.entries_after(kind, None).filter(|entry| entry.value.is_some())
    }

    /// Also those that were removed, from the first whose id comes after `after`.
    pub fn entries_after(&self, kind: &str, after: Option<&Arc<str>>) -> impl Iterator<Item = &Entry> {
        let kind: Arc<str> = kind.into();
        let from = EntryId { kind: Arc::clone(&kind), id: after.cloned().unwrap_or_else(|| "".into()) };
        // No entry has an empty id.
        let later = self.catalog.range((Excluded(from), Unbounded));
        later.take_while(move |(id, _)| id.kind == kind).map(|(_, entry)| &entry.value)
    }

    /// Joins the state of a holder, which is given a slot for it if need be. `None` if all of it was known.
    pub(super) fn take_over(&mut self, state: HolderState, now: Timestamp) -> Option<Slot> {
        self.revision = self.revision.max(state.revision());
        let slot = self.assign_slot(&state.holder, now);
        self.holders.establish(slot);
        let entry = self.holders.entry_mut(slot);
        let mut joined = entry.state();
        if !joined.join(state) {
            return None;
        }
        let before = std::mem::replace(
            &mut entry.revisions,
            Revisions {
                profile: joined.profile.revision,
                limit: joined.limit.revision,
                block: joined.block.revision,
            },
        );
        entry.record.profile = joined.profile.value;
        if before.limit != entry.revisions.limit {
            let consequence = entry.record.set_limit(joined.limit.value, now);
            self.conclude(slot, consequence);
            self.touch(slot);
        }
        let entry = self.holders.entry_mut(slot);
        if before.block != entry.revisions.block {
            if let Some(end) = joined.block.value.as_ref().and_then(|block| block.expires_at) {
                self.due = self.due.min(end);
            }
            let consequence = entry.record.set_block(joined.block.value, now);
            self.conclude(slot, consequence);
        }
        Some(slot)
    }

    pub(super) fn take_over_key(&mut self, key: Stamped<Key>, now: Timestamp) -> bool {
        self.revision = self.revision.max(key.revision);
        let hash = key.value.hash;
        let is_news = self.keys.join(key);
        if let Some(slot) = self.holders.key(&hash).filter(|_| is_news) {
            self.bound_key(slot, now);
        }
        is_news
    }

    /// A key's record ends when the key does.
    pub(super) fn bound_key(&mut self, slot: Slot, now: Timestamp) {
        let holder = self.record(slot).holder();
        if !matches!(holder, Holder::Key(_)) {
            return;
        }
        let end = self.end_of(holder);
        if let Some(end) = end {
            self.due = self.due.min(end);
        }
        let consequence = self.holders.entry_mut(slot).record.set_end(end, now);
        self.conclude(slot, consequence);
    }

    /// When a key stops to open anything. `None`: never, or it is no key.
    pub(super) fn end_of(&self, holder: &Holder) -> Option<Timestamp> {
        let Holder::Key(hash) = holder else { return None };
        self.keys.get(hash)?.value.ends_at()
    }

    fn save_key(&mut self, hash: KeyHash) {
        self.pending.keys.retain(|key| key.value.hash != hash);
        self.pending.keys.extend(self.keys.get(&hash).cloned());
    }

    pub(super) fn take_over_entry(&mut self, entry: Stamped<Entry>) -> bool {
        self.revision = self.revision.max(entry.revision);
        match self.catalog.get_mut(&entry.value.id) {
            Some(known) => known.join(entry),
            None => self.catalog.insert(entry.value.id.clone(), entry).is_none(),
        }
    }

    fn save_entry(&mut self, id: &EntryId) {
        self.pending.entries.retain(|entry| entry.value.id != *id);
        self.pending.entries.extend(self.catalog.get(id).cloned());
    }

    /// A limit or block changed: the holder stays until that is saved.
    fn rebind(&mut self, slot: Slot, consequence: Consequence) {
        self.holders.entry_mut(slot).binding_unsaved = true;
        self.save_later(slot);
        self.conclude(slot, consequence);
        self.touch(slot);
    }

    pub(super) fn next_revision(&mut self, now: Timestamp) -> Revision {
        self.revision = Revision::after(self.revision, now, self.config.tag);
        self.revision
    }
}
