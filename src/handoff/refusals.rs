//! How often somebody was refused lately, over all shards, in a table of fixed size.
//!
//! Two keys may share a slot; then a client is called storming a little early, which only changes how it is told.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use tokenist_core::time::Instant;

const SLOT_COUNT: usize = 4096;
const SPAN_MS: u64 = 10_000;

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
    /// Notes a refusal of `key` and tells how many there have been in the 10 seconds since the first, this one
    /// included.
    pub fn note(&self, key: &impl Hash, now: Instant) -> u64 {
        let slot = &self.slots[self.hasher.hash_one(key) as usize % SLOT_COUNT];
        let now_ms = now.0 & (u64::MAX >> COUNT_BITS);
        let step = |packed: u64| {
            let (start, count) = (packed >> COUNT_BITS, packed & COUNT_MASK);
            let fresh = count == 0 || now_ms.wrapping_sub(start) >= SPAN_MS;
            let (start, count) = if fresh { (now_ms, 1) } else { (start, (count + 1).min(COUNT_MASK)) };
            start << COUNT_BITS | count
        };
        let before = slot.fetch_update(Ordering::AcqRel, Ordering::Acquire, |packed| Some(step(packed)));
        before.map_or(1, |packed| step(packed) & COUNT_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_for_ten_seconds() {
        let refusals = Refusals::default();
        let at = Instant;
        assert_eq!(refusals.note(&"carol", at(9_000)), 1);
        assert_eq!(refusals.note(&"carol", at(10_001)), 2, "its span began with its first");
        assert_eq!([0, 100, 9_999].map(|ms| refusals.note(&"alice", at(ms))), [1, 2, 3]);
        assert_eq!(refusals.note(&"alice", at(10_000)), 1);
        assert_eq!(refusals.note(&"bob", at(10_000)), 1);
    }
}
