//! A shard's counters, and what ails it: written by the shard alone, read by anybody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokenist_core::metric::{METRIC_COUNT, Metric};

#[derive(Debug)]
#[repr(align(64))] // One shard's counters do not share a cache line with another's.
pub struct Counters {
    counts: [AtomicU64; METRIC_COUNT],
    /// No more files can be opened, so connections are refused.
    out_of_files: AtomicBool,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { counts: [const { AtomicU64::new(0) }; METRIC_COUNT], out_of_files: AtomicBool::new(false) }
    }
}

impl Counters {
    pub fn add(&self, metric: Metric, count: u64) {
        self.counts[metric as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self, metric: Metric) -> u64 {
        self.counts[metric as usize].load(Ordering::Relaxed)
    }

    pub fn set_out_of_files(&self, is_so: bool) {
        self.out_of_files.store(is_so, Ordering::Relaxed);
    }

    pub fn out_of_files(&self) -> bool {
        self.out_of_files.load(Ordering::Relaxed)
    }
}
