//! The keys that a ledger knows: found by hash and by id, and listed from the oldest on.

use crate::batch::Stamped;
use crate::id::KeyHash;
use crate::key::{Key, KeyId};
use crate::time::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

/// Where a key is in the list: when it was made, and its id.
pub type KeyPlace = (Timestamp, KeyId);

#[derive(Debug, Default)]
pub(super) struct Keys {
    by_hash: HashMap<KeyHash, Stamped<Key>>,
    by_id: HashMap<KeyId, KeyHash>,
    in_order: BTreeMap<KeyPlace, KeyHash>,
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

    pub(super) fn after(&self, place: Option<&KeyPlace>) -> impl Iterator<Item = (&KeyPlace, &Stamped<Key>)> {
        let from = place.map_or(Unbounded, Excluded);
        let later = self.in_order.range::<KeyPlace, _>((from, Unbounded));
        later.filter_map(|(place, hash)| Some((place, self.by_hash.get(hash)?)))
    }

    /// Takes a key in, or what is later of one that is known. Whether anything was.
    pub(super) fn join(&mut self, key: Stamped<Key>) -> bool {
        let hash = key.value.hash;
        let Some(known) = self.by_hash.get_mut(&hash) else {
            self.enlist(&key.value);
            self.by_hash.insert(hash, key);
            return true;
        };
        let before = place_of(&known.value);
        if !known.join(key) {
            return false;
        }
        let now = known.value.clone();
        if place_of(&now) != before {
            self.in_order.remove(&before);
            self.by_id.remove(&before.1);
            self.enlist(&now);
        }
        true
    }

    pub(super) fn remove(&mut self, hash: &KeyHash) {
        if let Some(key) = self.by_hash.remove(hash) {
            let place = place_of(&key.value);
            self.by_id.remove(&place.1);
            self.in_order.remove(&place);
        }
    }

    fn enlist(&mut self, key: &Key) {
        self.by_id.insert(key.id.clone(), key.hash);
        self.in_order.insert(place_of(key), key.hash);
    }
}

fn place_of(key: &Key) -> KeyPlace {
    (key.created_at, key.id.clone())
}
