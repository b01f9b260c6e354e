//! What the process knows about itself, for health checks and metrics. Filled in once by `main`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokenist_core::metric::Metric;
use tokenist_core::time::Timestamp;
use tokenist_handoff::{Counters, Published};

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
    /// Files that could not be read when they were last to be read again. What they said before is in force.
    pub stale: Arc<Published<Vec<StaleFile>>>,
}

/// A file whose newest content is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleFile {
    /// The setting that names it.
    pub setting: String,
    /// Which file, and what is wrong with it.
    pub reason: String,
    /// When it first could not be read.
    pub since: Timestamp,
}

impl Telemetry {
    /// The sum over all shards.
    pub fn count(&self, metric: Metric) -> u64 {
        self.counters.iter().map(|counters| counters.get(metric)).sum()
    }

    /// Reports that wait in the shards, because the ledger takes in fewer than come.
    pub fn reports_held(&self) -> u64 {
        self.counters.iter().map(|counters| counters.held()).sum()
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
