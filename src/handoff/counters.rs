//! A shard's counters: written by the shard alone, read by anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use tokenist_core::metric::{METRIC_COUNT, Metric};

#[derive(Debug)]
#[repr(align(64))] // One shard's counters do not share a cache line with another's.
pub struct Counters([AtomicU64; METRIC_COUNT]);

impl Default for Counters {
    fn default() -> Counters {
        Counters([const { AtomicU64::new(0) }; METRIC_COUNT])
    }
}

impl Counters {
    pub fn add(&self, metric: Metric, count: u64) {
        self.0[metric as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self, metric: Metric) -> u64 {
        self.0[metric as usize].load(Ordering::Relaxed)
    }
}
