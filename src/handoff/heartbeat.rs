//! That a thread goes round its loop: beaten by the thread, read by any other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

#[derive(Debug)]
pub struct Heartbeat {
    since: Instant,
    /// The last beat, in ms after `since`.
    beat_ms: AtomicU64,
}

impl Default for Heartbeat {
    /// Counts as a beat.
    fn default() -> Heartbeat {
        Heartbeat { since: Instant::now(), beat_ms: AtomicU64::new(0) }
    }
}

impl Heartbeat {
    pub fn beat(&self) {
        self.beat_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// How long ago the last beat was.
    pub fn age_ms(&self) -> u64 {
        self.elapsed_ms().saturating_sub(self.beat_ms.load(Ordering::Relaxed))
    }

    fn elapsed_ms(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }
}
