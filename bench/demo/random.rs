//! Numbers that look random and are the same for the same seed.

use crate::provider::splitmix64;

#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(splitmix64(seed))
    }

    /// Seeded by a name.
    pub(super) fn of(name: &str) -> Random {
        Random(name.bytes().fold(0, |seed, byte| splitmix64(seed ^ u64::from(byte))))
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        low + splitmix64(self.0) % (high - low + 1)
    }
}
