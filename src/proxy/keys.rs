//! Which of a provider's keys goes upstream next: in turn, past those that the provider has lately refused.

use std::cell::Cell;
use tokenist_core::http::blot::Blot;
use tokenist_core::key::ProviderKey;
use tokenist_core::time::Instant;

/// How long a key rests that got 401 or 429.
const REST_MS: u64 = 30_000;

/// The keys of one provider on one shard, by their index.
#[derive(Debug)]
pub(crate) struct KeyRing {
    next: Cell<usize>,
    rests_until: Box<[Cell<Instant>]>,
    /// What blots each out of what the provider says.
    blots: Box<[Blot]>,
}

impl KeyRing {
    pub(crate) fn new(keys: &[ProviderKey]) -> KeyRing {
        KeyRing {
            next: Cell::new(0),
            rests_until: keys.iter().map(|_| Cell::default()).collect(),
            blots: keys.iter().map(|key| Blot::of(Some(key.reveal()))).collect(),
        }
    }

    pub(crate) fn blot(&self, index: usize) -> &Blot {
        &self.blots[index]
    }

    /// The next key that does not rest; where all do, the one that has rested longest. `None`: there is no key.
    pub(crate) fn take(&self, now: Instant) -> Option<usize> {
        let count = self.rests_until.len();
        let turn = (0..count).map(|step| (self.next.get() + step) % count);
        let taken = turn.min_by_key(|index| self.rests_until[*index].get().max(now))?;
        self.next.set((taken + 1) % count);
        Some(taken)
    }

    /// The provider has refused this key.
    pub(crate) fn rest(&self, index: usize, now: Instant) {
        self.rests_until[index].set(now.plus_ms(REST_MS));
    }
}

/// Whether a provider's answer is about the key.
pub(crate) fn is_about_key(status: u16) -> bool {
    matches!(status, 401 | 429)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_take_turns_and_refused_ones_rest() {
        let keys = ["a", "b", "c"].map(|key| ProviderKey::parse(key).unwrap());
        let ring = KeyRing::new(&keys);
        let at = Instant;
        assert_eq!([0, 1, 2, 0].map(|_| ring.take(at(5)).unwrap()), [0, 1, 2, 0]);
        ring.rest(1, at(5));
        assert_eq!([0; 3].map(|_| ring.take(at(6)).unwrap()), [2, 0, 2]);
        [0, 2].into_iter().for_each(|index| ring.rest(index, at(100)));
        assert_eq!(ring.take(at(200)), Some(1), "it has rested longest");
        assert_eq!([0; 3].map(|_| ring.take(at(40_000)).unwrap()), [2, 0, 1]);
        assert_eq!(KeyRing::new(&[]).take(at(0)), None);
    }
}
