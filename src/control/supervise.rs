//! The threads that must not be missing, and what becomes of one that panics: it is told, counted, and begins anew.
//!
//! Start at [`Supervisor::spawn`]. What a thread works on lives outside of the work that is begun anew, so nothing that
//! it had taken is lost with it: the writer keeps its batch, the replicator its place in the outbox. `src/README.md` has
//! the table of all threads. The aggregator and the shards are not among these: a bug there may have left half a
//! count, so the process ends.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tracing::{error, info};

/// The pause before work begins anew; with each panic it doubles up to the greatest.
const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Work that has gone on for so long is well again.
const WELL: Duration = Duration::from_secs(60);

/// How far a thread that answers operators stands back: where processors are short it gets a third of what another one gets.
const BEHIND: i32 = 5;

/// Knows the threads that it keeps. Cheap to clone; every clone knows the same.
#[derive(Clone, Debug, Default)]
pub struct Supervisor(Arc<Mutex<Vec<Arc<Duty>>>>);

/// What one thread is there for.
#[derive(Debug)]
struct Duty {
    name: String,
    restarts: AtomicU64,
    is_down: AtomicBool,
    failure: Mutex<Option<String>>,
}

/// How a thread does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadView {
    pub name: String,
    /// How often its work panicked and began anew.
    pub restarts: u64,
    /// It has panicked and not begun anew yet.
    pub is_down: bool,
    /// What it said when it panicked last.
    pub failure: Option<String>,
}

impl Supervisor {
    /// Starts a thread that does this work until it returns. A name is one of a few, for it labels a metric.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        mut work: impl FnMut() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let duty = self.duty(name);
        thread::Builder::new().name(name.into()).spawn(move || duty.keep(&mut work))
    }

    /// As [`Supervisor::spawn`] for a thread, and all that it begins, that the system is to let run only behind those that serve
    /// and count.
    pub fn spawn_behind<T: Send + 'static>(
        &self,
        name: &str,
        mut work: impl FnMut() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let duty = self.duty(name);
        thread::Builder::new().name(name.into()).spawn(move || {
            // A system that does not allow this has all of them run alike.
            rustix::process::nice(BEHIND).ok();
            duty.keep(&mut work)
        })
    }

    /// As [`Supervisor::spawn`] for work within an async runtime, which `begin` begins.
    pub async fn keep<F: Future<Output = ()> + Send + 'static>(&self, name: &str, begin: impl Fn() -> F) {
        let duty = self.duty(name);
        let mut backoff = BACKOFF;
        loop {
            let began = Instant::now();
            let mut task = Abort(tokio::spawn(begin()));
            match (&mut task.0).await {
                Err(error) if error.is_panic() => {
                    backoff = duty.fall(&*error.into_panic(), began, backoff);
                }
                Ok(()) | Err(_) => return,
            }
            tokio::time::sleep(backoff).await;
            duty.rise();
        }
    }

    /// All of them, in the order in which they began.
    pub fn threads(&self) -> Vec<ThreadView> {
        let duties = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        duties.iter().map(|duty| duty.view()).collect()
    }

    fn duty(&self, name: &str) -> Arc<Duty> {
        let mut duties = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = duties.iter().find(|duty| duty.name == name) {
            return Arc::clone(known);
        }
        let duty = Arc::new(Duty {
            name: name.to_owned(),
            restarts: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
            failure: Mutex::new(None),
        });
        duties.push(Arc::clone(&duty));
        duty
    }
}

/// Takes its task along when it is dropped.
pub(crate) struct Abort(pub(crate) tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Duty {
    fn keep<T>(&self, work: &mut impl FnMut() -> T) -> T {
        let mut backoff = BACKOFF;
        loop {
            let began = Instant::now();
            match catch_unwind(AssertUnwindSafe(&mut *work)) {
                Ok(done) => return done,
                Err(panic) => backoff = self.fall(&*panic, began, backoff),
            }
            thread::sleep(backoff);
            self.rise();
        }
    }

    /// How long to wait before it begins anew.
    fn fall(&self, panic: &(dyn Any + Send), began: Instant, backoff: Duration) -> Duration {
        let cause = said(panic);
        error!(
            thread = self.name,
            cause, "a thread panicked, which is a bug of tokenist's; its work begins anew"
        );
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
        self.is_down.store(true, Ordering::Release);
        // The first time, and after it was well, it may begin at once.
        let was_well = self.restarts.fetch_add(1, Ordering::AcqRel) == 0 || began.elapsed() >= WELL;
        if was_well { BACKOFF } else { (backoff * 2).min(BACKOFF_MAX) }
    }

    fn rise(&self) {
        self.is_down.store(false, Ordering::Release);
        info!(thread = self.name, "its work has begun anew");
    }

    fn view(&self) -> ThreadView {
        ThreadView {
            name: self.name.clone(),
            restarts: self.restarts.load(Ordering::Acquire),
            is_down: self.is_down.load(Ordering::Acquire),
            failure: self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason was given".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_panics_begins_anew_with_what_it_had() {
        let supervisor = Supervisor::default();
        let mut left = vec![3, 2, 1];
        let work = move || {
            let last = left.pop();
            assert!(left.is_empty(), "{last:?} is not the last");
            last
        };
        let thread = supervisor.spawn("work", work).unwrap();
        assert_eq!(thread.join().unwrap(), Some(3));
        let failure = Some("Some(2) is not the last".to_owned());
        let view = ThreadView { name: "work".into(), restarts: 2, is_down: false, failure };
        assert_eq!(supervisor.threads(), [view]);
    }

    #[test]
    fn a_task_that_panics_begins_anew() {
        let supervisor = Supervisor::default();
        let begun = Arc::new(AtomicU64::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(supervisor.keep("task", || {
            let begun = Arc::clone(&begun);
            async move { assert!(begun.fetch_add(1, Ordering::AcqRel) == 2, "not yet") }
        }));
        assert_eq!((begun.load(Ordering::Acquire), supervisor.threads()[0].restarts), (3, 2));
    }
}
