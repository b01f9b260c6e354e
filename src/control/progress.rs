//! How something does that goes on in the background; shared with whoever asks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Whether the last try failed, and why.
#[derive(Debug, Default)]
pub struct Progress {
    failing: AtomicBool,
    failure: Mutex<Option<String>>,
    done: AtomicU64,
    /// Since when it is at what it does now.
    begun: Mutex<Option<Instant>>,
}

/// How the copy in a central store does.
#[derive(Debug, Default)]
pub struct Mirroring {
    /// Writing what was counted and set here.
    pub writing: Progress,
    /// Reading what was set elsewhere.
    pub reading: Progress,
    waiting: AtomicU64,
}

impl Progress {
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// What is wrong, for operators. `None` while it works.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it succeeded.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// How long what is being done now takes already; 0 while there is nothing to do.
    pub fn busy_ms(&self) -> u64 {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.map_or(0, |begun| begun.elapsed().as_millis() as u64)
    }

    /// It has something to do, until it succeeds.
    pub(crate) fn begin(&self) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether it worked before.
    pub(crate) fn fail(&self, cause: &impl ToString) -> bool {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause.to_string());
        !self.failing.swap(true, Ordering::AcqRel)
    }

    /// Whether it failed before.
    pub(crate) fn succeed(&self) -> bool {
        self.done.fetch_add(1, Ordering::AcqRel);
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let failed = self.failing.swap(false, Ordering::AcqRel);
        if failed {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        failed
    }
}

impl Mirroring {
    /// What is wrong, for operators.
    pub fn failure(&self) -> Option<String> {
        self.writing.failure().or_else(|| self.reading.failure())
    }

    /// Rows that are not copied yet.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    pub(crate) fn set_waiting(&self, rows: u64) {
        self.waiting.store(rows, Ordering::Release);
    }
}
