//! What the process knows about itself, for health checks and metrics. Filled in once by `main`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokenist_core::metric::Metric;
use tokenist_core::time::Timestamp;
use tokenist_handoff::Counters;

#[derive(Clone, Debug)]
pub struct Telemetry {
    /// One per shard.
    pub counters: Vec<Arc<Counters>>,
    /// What moves the shards' bytes: `io_uring` or `epoll`.
    pub driver: &'static str,
    /// The store's kind as the configuration names it.
    pub store: &'static str,
    pub version: &'static str,
    pub started_at: Timestamp,
    /// Set when no new session is accepted any more.
    pub draining: Arc<AtomicBool>,
}

impl Telemetry {
    /// The sum over all shards.
    pub fn count(&self, metric: Metric) -> u64 {
        self.counters.iter().map(|counters| counters.get(metric)).sum()
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
