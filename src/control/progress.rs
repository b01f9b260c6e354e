//! How something does that goes on in the background; shared with its readers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whether the last try failed, and why.
#[derive(Debug, Default)]
pub struct Progress {
    failing: AtomicBool,
    failure: Mutex<Option<String>>,
    done: AtomicU64,
    pub lag: Lag,
}

/// How long what is counted waits for the disk, and how much of that is for pruning.
#[derive(Debug, Default)]
pub struct Lag(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    /// When the batches that are not committed yet were handed over.
    since: VecDeque<Instant>,
    commits: Peak,
    slices: Peak,
    is_held: bool,
}

/// The longest time of the last minute or two.
#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    /// When the present minute began.
    began: Option<Instant>,
    longest: Duration,
    before: Duration,
}

/// What [`Lag`] has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LagView {
    /// How long the oldest batch that is not committed has waited; zero if all are.
    pub waiting: Duration,
    /// From hand-over to commit, the longest of the last minute or two.
    pub commit_max: Duration,
    /// How long one slice of pruning has held commits up, at most, likewise.
    pub slice_max: Duration,
    /// Nothing is taken for older, because the wall clock has leapt.
    pub is_held: bool,
}

/// How the copy in a central store does.
#[derive(Debug, Default)]
pub struct Replication {
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

    /// Whether it worked before.
    pub(crate) fn fail(&self, cause: &impl ToString) -> bool {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause.to_string());
        !self.failing.swap(true, Ordering::AcqRel)
    }

    /// Whether it failed before.
    pub(crate) fn succeed(&self) -> bool {
        self.done.fetch_add(1, Ordering::AcqRel);
        let failed = self.failing.swap(false, Ordering::AcqRel);
        if failed {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        failed
    }
}

impl Lag {
    pub(crate) fn handed_over(&self, now: Instant) {
        self.waits().since.push_back(now);
    }

    pub(crate) fn committed(&self, now: Instant) {
        let mut waits = self.waits();
        if let Some(since) = waits.since.pop_front() {
            waits.commits.note(now.duration_since(since), now);
        }
    }

    pub(crate) fn pruned(&self, took: Duration, is_held: bool, now: Instant) {
        let mut waits = self.waits();
        waits.slices.note(took, now);
        waits.is_held = is_held;
    }

    pub fn view(&self, now: Instant) -> LagView {
        let waits = self.waits();
        let waiting = waits.since.front().map_or(Duration::ZERO, |since| now.duration_since(*since));
        LagView {
            waiting,
            commit_max: waits.commits.at(now).longest().max(waiting),
            slice_max: waits.slices.at(now).longest(),
            is_held: waits.is_held,
        }
    }

    fn waits(&self) -> std::sync::MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peak {
    /// As of now: a minute that is over makes room for the next.
    fn at(self, now: Instant) -> Peak {
        match self.began {
            Some(began) if now.duration_since(began) < MINUTE => self,
            Some(began) if now.duration_since(began) < 2 * MINUTE => {
                Peak { began: Some(began + MINUTE), longest: Duration::ZERO, before: self.longest }
            }
            Some(_) | None => Peak { began: Some(now), ..Peak::default() },
        }
    }

    fn note(&mut self, took: Duration, now: Instant) {
        *self = self.at(now);
        self.longest = self.longest.max(took);
    }

    fn longest(self) -> Duration {
        self.longest.max(self.before)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

impl Replication {
    /// What is wrong, for operators.
    pub fn failure(&self) -> Option<String> {
        self.writing.failure().or_else(|| self.reading.failure())
    }

    /// Rows that are not copied yet.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    #[cfg(feature = "mongodb")]
    pub(crate) fn set_waiting(&self, rows: u64) {
        self.waiting.store(rows, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_told_while_it_lasts_and_for_a_minute_more() {
        let (lag, start) = (Lag::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let seen = |seconds| {
            let view = lag.view(at(seconds));
            (view.waiting.as_secs(), view.commit_max.as_secs(), view.slice_max.as_secs())
        };
        assert_eq!(seen(0), (0, 0, 0));
        lag.handed_over(at(1));
        lag.handed_over(at(5));
        assert_eq!(seen(8), (7, 7, 0));
        lag.committed(at(9));
        assert_eq!(seen(10), (5, 8, 0));
        lag.committed(at(11));
        lag.pruned(Duration::from_secs(2), false, at(12));
        assert_eq!(seen(13), (0, 8, 2));
        assert_eq!(seen(100), (0, 8, 2), "the minute before counts, too");
        lag.handed_over(at(100));
        lag.committed(at(103));
        assert_eq!(seen(104), (0, 8, 2));
        assert_eq!(seen(140), (0, 3, 0));
        assert_eq!(seen(400), (0, 0, 0));
    }
}
