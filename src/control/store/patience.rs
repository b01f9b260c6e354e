//! Until when an answer is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A deadline, and whether the asker has gone before it.
#[derive(Clone, Debug)]
pub struct Patience {
    deadline: Instant,
    is_gone: Arc<AtomicBool>,
}

/// Tells, once dropped, that the answer is no longer waited for.
#[derive(Debug)]
pub(crate) struct Asking(Arc<AtomicBool>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Patience {
    pub fn until(deadline: Instant) -> Patience {
        Patience { deadline, is_gone: Arc::default() }
    }

    /// For as long as it is held, and the deadline allows, the answer is waited for.
    pub(crate) fn asking(&self) -> Asking {
        Asking(Arc::clone(&self.is_gone))
    }

    /// Whether the answer would come too late.
    pub fn is_over(&self) -> bool {
        self.is_gone.load(Ordering::Acquire) || Instant::now() >= self.deadline
    }
}
