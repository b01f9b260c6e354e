//! A shard's counters and its heartbeat: written by the shard alone, read by anybody.

use crate::heartbeat::Heartbeat;
use std::sync::atomic::{AtomicU64, Ordering};
use tokenist_core::metric::{METRIC_COUNT, Metric};

#[derive(Debug)]
#[repr(align(64))] // One shard's counters do not share a cache line with another's.
pub struct Counters {
    counts: [AtomicU64; METRIC_COUNT],
    heartbeat: Heartbeat,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { counts: [const { AtomicU64::new(0) }; METRIC_COUNT], heartbeat: Heartbeat::default() }
    }
}

impl Counters {
    pub fn add(&self, metric: Metric, count: u64) {
        self.counts[metric as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self, metric: Metric) -> u64 {
        self.counts[metric as usize].load(Ordering::Relaxed)
    }

    /// Beaten once a tick.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }
}
