//! The keys that a ledger knows: found by hash and by id, and listed from the oldest on.

use crate::batch::Stamped;
use crate::id::KeyHash;
use crate::key::{Key, KeyId};
use crate::time::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

/// Where a key is in the list: when it was made, and its id.
pub type KeyPosition = (Timestamp, KeyId);

#[derive(Debug, Default)]
pub(super) struct Keys {
    by_hash: HashMap<KeyHash, Stamped<Key>>,
    by_id: HashMap<KeyId, KeyHash>,
    in_order: BTreeMap<KeyPosition, KeyHash>,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(super) fn get(&self, hash: &KeyHash) -> Option<&Stamped<Key>> {
        self.by_hash.get(hash)
    }

    pub(super) fn of(&self, id: &KeyId) -> Option<&Stamped<Key>> {
        self.by_hash.get(self.by_id.get(id)?)
    }

    pub(super) fn after(
        &self,
        slot: Option<&KeyPosition>,
    ) -> impl Iterator<Item = (&KeyPosition, &Stamped<Key>)> {
        let from = slot.map_or(Unbounded, Excluded);
        let later = self.in_order.range::<KeyPosition, _>((from, Unbounded));
        later.filter_map(|(position, hash)| Some((position, self.by_hash.get(hash)?)))
    }

    /// Takes a key in, or what is later of one that is known. Whether anything was.
    pub(super) fn join(&mut self, key: Stamped<Key>) -> bool {
        let hash = key.value.hash;
        let Some(known) = self.by_hash.get_mut(&hash) else {
            self.enlist(&key.value);
            self.by_hash.insert(hash, key);
            return true;
        };
        let before = position_of(&known.value);
        if !known.join(key) {
            return false;
        }
        let now = known.value.clone();
        if position_of(&now) != before {
            self.in_order.remove(&before);
            self.by_id.remove(&before.1);
            self.enlist(&now);
        }
        true
    }

    pub(super) fn remove(&mut self, hash: &KeyHash) {
        if let Some(key) = self.by_hash.remove(hash) {
            let position = position_of(&key.value);
            self.by_id.remove(&position.1);
            self.in_order.remove(&position);
        }
    }

    fn enlist(&mut self, key: &Key) {
        self.by_id.insert(key.id.clone(), key.hash);
        self.in_order.insert(position_of(key), key.hash);
    }
}

fn position_of(key: &Key) -> KeyPosition {
    (key.created_at, key.id.clone())
}
