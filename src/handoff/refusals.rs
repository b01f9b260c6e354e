//! How often a caller was refused lately, over all shards, in a table of fixed size.
//!
//! Two keys may share a slot; then a client is called storming a little early, which only changes how it is told.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use tokenist_core::time::Instant;

const SLOT_COUNT: usize = 4096;
const SPAN_MS: u64 = 30_000;

/// Each slot packs the start of its span, in ms modulo 2^40, above a count.
#[derive(Debug)]
pub struct Refusals {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals { slots: (0..SLOT_COUNT).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }
}

impl Refusals {
    /// Notes a refusal of `key` and tells how many there have been in the 30 seconds since the first, this one
    /// included.
    pub fn note(&self, key: &impl Hash, now: Instant) -> u64 {
        let (slot, now_ms) = (self.slot(key), modulo(now));
        let step = |packed: u64| {
            let (start, count) = (packed >> COUNT_BITS, packed & COUNT_MASK);
            let fresh = count == 0 || now_ms.wrapping_sub(start) >= SPAN_MS;
            let (start, count) = if fresh { (now_ms, 1) } else { (start, (count + 1).min(COUNT_MASK)) };
            start << COUNT_BITS | count
        };
        let before = slot.fetch_update(Ordering::AcqRel, Ordering::Acquire, |packed| Some(step(packed)));
        before.map_or(1, |packed| step(packed) & COUNT_MASK)
    }

    /// How many there have been, without noting one.
    pub fn count(&self, key: &impl Hash, now: Instant) -> u64 {
        let packed = self.slot(key).load(Ordering::Acquire);
        let is_over = modulo(now).wrapping_sub(packed >> COUNT_BITS) >= SPAN_MS;
        if is_over { 0 } else { packed & COUNT_MASK }
    }

    fn slot(&self, key: &impl Hash) -> &AtomicU64 {
        &self.slots[self.hasher.hash_one(key) as usize % SLOT_COUNT]
    }
}

/// As a slot has it.
fn modulo(now: Instant) -> u64 {
    now.0 & (u64::MAX >> COUNT_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_for_half_a_minute() {
        let refusals = Refusals::default();
        let at = Instant;
        assert_eq!(refusals.note(&"carol", at(29_000)), 1);
        assert_eq!(refusals.note(&"carol", at(30_001)), 2, "its span began with its first");
        assert_eq!([0, 100, 29_999].map(|ms| refusals.note(&"alice", at(ms))), [1, 2, 3]);
        assert_eq!([29_999, 30_000].map(|ms| refusals.count(&"alice", at(ms))), [3, 0]);
        assert_eq!(refusals.note(&"alice", at(30_000)), 1);
        assert_eq!(refusals.note(&"bob", at(30_000)), 1);
    }
}
