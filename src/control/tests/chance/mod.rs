//! Chance that can be repeated: a simulation plays seed after seed, and a seed that fails is told.

use std::ops::Range;

/// All of them, or only the one that `TOKENIST_SEED` names.
pub(crate) fn seeds(range: Range<u64>) -> Vec<u64> {
    match std::env::var("TOKENIST_SEED") {
        Ok(seed) => range.filter(|known| seed.parse() == Ok(*known)).collect(),
        Err(_) => range.collect(),
    }
}

/// Told when the test fails while it is held.
pub(crate) struct Seed(pub(crate) u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with TOKENIST_SEED={}", self.0);
        }
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
