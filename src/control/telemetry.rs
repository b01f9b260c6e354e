//! What the process knows about itself, for health checks and metrics. Filled in once by `main`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokenist_core::metric::{Metric, REFUSAL_REASONS};
use tokenist_core::time::Timestamp;
pub use tokenist_handoff::Heartbeat;
use tokenist_handoff::{Counters, Published};

#[derive(Clone, Debug)]
pub struct Telemetry {
    /// One per shard, with its heartbeat.
    pub counters: Vec<Arc<Counters>>,
    /// The aggregator's.
    pub aggregator: Arc<Heartbeat>,
    /// The beat that the configuration asks of shards and aggregator.
    pub tick_ms: u64,
    pub log: Arc<Logging>,
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

/// How the log does.
#[derive(Debug, Default)]
pub struct Logging {
    lost: AtomicU64,
    failure: Mutex<Option<String>>,
}

/// A thread that was not heard of for this long beyond its beat does not work.
const STALL_MS: u64 = 5_000;

impl Telemetry {
    /// The sum over all shards.
    pub fn count(&self, metric: Metric) -> u64 {
        self.counters.iter().map(|counters| counters.get(metric)).sum()
    }

    /// Why connections are refused at the moment, if they are.
    pub fn accept_failure(&self) -> Option<&'static str> {
        let starves = self.counters.iter().any(|counters| counters.out_of_files());
        starves.then_some(
            "no more files can be opened: connections are refused. Raise the limit of open files, or lower \
             proxy.session_max",
        )
    }

    /// Each reason with how many requests were refused for it.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let sums = self.counters.iter().fold([0; REFUSAL_REASONS.len()], |mut sums, counters| {
            sums.iter_mut().zip(counters.refusals()).for_each(|(sum, count)| *sum += count);
            sums
        });
        REFUSAL_REASONS.into_iter().zip(sums)
    }

    /// Reports that wait in the shards, because the ledger takes in fewer than come.
    pub fn reports_held(&self) -> u64 {
        self.counters.iter().map(|counters| counters.held()).sum()
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// How long each shard has not gone round its loop, in order of their numbers.
    pub fn shard_ages_ms(&self) -> impl Iterator<Item = u64> {
        self.counters.iter().map(|counters| counters.heartbeat().age_ms())
    }

    /// Past it a thread that beats does not work any more.
    pub fn stall_ms(&self) -> u64 {
        STALL_MS.saturating_add(self.tick_ms.saturating_mul(3))
    }
}

impl Logging {
    /// Lines that were lost since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// Why lines are lost, for operators. `None` once the log itself has told of all that were.
    pub fn failure(&self) -> Option<String> {
        self.lock().clone()
    }

    pub fn lose(&self, why: &str) {
        let mut failure = self.lock();
        self.lost.fetch_add(1, Ordering::AcqRel);
        if failure.as_deref() != Some(why) {
            *failure = Some(why.into());
        }
    }

    /// So many were lost in all, and are told of.
    pub fn recover(&self, told: u64) {
        let mut failure = self.lock();
        if self.lost() == told {
            *failure = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
