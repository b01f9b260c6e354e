//! A shard's counters: written by the shard alone, read by anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use tokenist_core::metric::{METRIC_COUNT, Metric};

#[derive(Debug)]
#[repr(align(64))] // One shard's counters do not share a cache line with another's.
pub struct Counters {
    counts: [AtomicU64; METRIC_COUNT],
    held: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { counts: [const { AtomicU64::new(0) }; METRIC_COUNT], held: AtomicU64::new(0) }
    }
}

impl Counters {
    pub fn add(&self, metric: Metric, count: u64) {
        self.counts[metric as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self, metric: Metric) -> u64 {
        self.counts[metric as usize].load(Ordering::Relaxed)
    }

    /// So many reports wait in the shard now.
    pub fn set_held(&self, count: usize) {
        self.held.store(count as u64, Ordering::Relaxed);
    }

    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}
