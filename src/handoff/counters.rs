//! A shard's counters, its heartbeat and what ails it: written by the shard alone, read by any thread.

use crate::heartbeat::Heartbeat;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokenist_core::metric::{METRIC_COUNT, Metric, REFUSAL_REASONS, refusal_index};

#[derive(Debug)]
#[repr(align(64))] // One shard's counters do not share a cache line with another's.
pub struct Counters {
    counts: [AtomicU64; METRIC_COUNT],
    /// By reason.
    refusals: [AtomicU64; REFUSAL_REASONS.len()],
    heartbeat: Heartbeat,
    /// No more files can be opened, so connections are refused.
    out_of_files: AtomicBool,
    /// Reports that wait in the shard.
    held: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            counts: [const { AtomicU64::new(0) }; METRIC_COUNT],
            refusals: [const { AtomicU64::new(0) }; REFUSAL_REASONS.len()],
            heartbeat: Heartbeat::default(),
            out_of_files: AtomicBool::new(false),
            held: AtomicU64::new(0),
        }
    }
}

impl Counters {
    pub fn add(&self, metric: Metric, count: u64) {
        self.counts[metric as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self, metric: Metric) -> u64 {
        self.counts[metric as usize].load(Ordering::Relaxed)
    }

    /// Counts a refusal, in all and by its reason.
    pub fn refuse(&self, code: &str) {
        self.add(Metric::SessionsRefused, 1);
        self.refusals[refusal_index(code)].fetch_add(1, Ordering::Relaxed);
    }

    /// In order of [`REFUSAL_REASONS`].
    pub fn refusals(&self) -> [u64; REFUSAL_REASONS.len()] {
        self.refusals.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Beaten once a tick.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    pub fn set_out_of_files(&self, is_so: bool) {
        self.out_of_files.store(is_so, Ordering::Relaxed);
    }

    pub fn out_of_files(&self) -> bool {
        self.out_of_files.load(Ordering::Relaxed)
    }

    /// So many reports wait in the shard now.
    pub fn set_held(&self, count: usize) {
        self.held.store(count as u64, Ordering::Relaxed);
    }

    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}
