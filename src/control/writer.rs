//! The thread that owns the store and may block on it.
//!
//! One batch is being committed and one may wait; what accumulates meanwhile stays in the ledger, coalesced, and
//! becomes the next batch. So a slow store makes batches larger, never more. A batch that fails is tried again until
//! it succeeds, also one under which the store panicked: it is kept until the store has answered for it.

use crate::clock::system_time;
use crate::progress::Progress;
use crate::store::{Store, StoreError};
use crate::supervise::Supervisor;
use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokenist_core::batch::Batch;
use tracing::{error, info, warn};

#[derive(Debug)]
pub struct Writer {
    batches: Sender<Batch>,
    progress: Arc<Progress>,
    /// Tells when to give up.
    last_call: Sender<Instant>,
    /// Ends with the error that a batch was given up for.
    thread: thread::JoinHandle<Result<(), StoreError>>,
}

/// The pause after the first failure, and between the tries after the last call; else it doubles up to the greatest.
const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Between two times that the store is tidied.
const TIDY_PAUSE: Duration = Duration::from_secs(60);

impl Writer {
    pub fn start(store: Box<dyn Store>, supervisor: &Supervisor) -> io::Result<Writer> {
        let (batches, waiting) = channel::bounded(1);
        let (last_call, called) = channel::bounded(1);
        let progress = Arc::new(Progress::default());
        let mut work = Work {
            store,
            batches: waiting,
            last_call: called,
            progress: Arc::clone(&progress),
            held: None,
            is_committing: false,
            deadline: None,
            tidied_at: Instant::now(),
        };
        let thread = supervisor.spawn("writer", move || work.run())?;
        Ok(Writer { batches, progress, last_call, thread })
    }

    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Whether a batch would be taken now. Stays true until one is handed over, for there is one hand.
    pub fn has_room(&self) -> bool {
        !self.batches.is_full()
    }

    /// Hands a batch over. Call it where there is room. Fails if nobody is there to save it, after which nothing may
    /// be counted any more.
    pub fn hand_over(&self, batch: Batch) -> io::Result<()> {
        self.batches.try_send(batch).map_err(|_| io::Error::other("the store's thread is gone"))
    }

    /// Commits what is left and ends. Fails if that takes longer than `patience`.
    pub fn finish(self, last: Option<Batch>, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        // It has room for the one call that is ever made.
        self.last_call.try_send(deadline).ok();
        let unsaved = || io::Error::other("the store did not take the last batch in time");
        if let Some(batch) = last {
            self.batches.send_deadline(batch, deadline).map_err(|_| unsaved())?;
        }
        drop(self.batches);
        while !self.thread.is_finished() && Instant::now() < deadline + 2 * BACKOFF {
            thread::sleep(Duration::from_millis(1));
        }
        if !self.thread.is_finished() {
            return Err(unsaved());
        }
        match self.thread.join() {
            Ok(saved) => saved.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the store's thread panicked")),
        }
    }
}

/// What the thread works on, which outlives a panic.
struct Work {
    store: Box<dyn Store>,
    batches: Receiver<Batch>,
    last_call: Receiver<Instant>,
    progress: Arc<Progress>,
    /// The batch that is being committed, until the store has answered for it.
    held: Option<Batch>,
    /// Stays set where a commit panics.
    is_committing: bool,
    /// When to give up, once that is said.
    deadline: Option<Instant>,
    tidied_at: Instant,
}

impl Work {
    /// Until there are no more batches, or one was given up.
    fn run(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.is_committing) {
            self.progress.fail(&"the store panicked; what it was to take is committed again");
            self.store.recover();
        }
        loop {
            if self.held.is_none() {
                let Ok(batch) = self.batches.recv() else { break };
                self.held = Some(batch);
            }
            self.commit()?;
            if self.tidied_at.elapsed() >= TIDY_PAUSE {
                self.tidied_at = Instant::now();
                tidy(&mut *self.store, &self.batches);
            }
        }
        if let Some(deadline) = self.deadline.or_else(|| self.last_call.try_recv().ok()) {
            self.store.close(deadline);
        }
        Ok(())
    }

    /// Tries until the store has taken the batch.
    fn commit(&mut self) -> Result<(), StoreError> {
        let Some(batch) = &self.held else { return Ok(()) };
        let mut backoff = BACKOFF;
        loop {
            self.is_committing = true;
            let committed = self.store.commit(batch);
            self.is_committing = false;
            let Err(cause) = committed else { break };
            if self.progress.fail(&cause) {
                error!(%cause, "the store failed: what is counted waits in memory until it works again");
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                error!(rollups = batch.rollups.len(), %cause, "the store failed to the end: a batch is lost");
                return Err(cause);
            }
            backoff = match self.last_call.recv_timeout(backoff) {
                Ok(at) => {
                    self.deadline = Some(at);
                    BACKOFF
                }
                Err(RecvTimeoutError::Timeout) if self.deadline.is_some() => BACKOFF,
                Err(RecvTimeoutError::Timeout) => (backoff * 2).min(BACKOFF_MAX),
                Err(RecvTimeoutError::Disconnected) => return Err(cause),
            };
        }
        self.held = None;
        if self.progress.succeed() {
            info!("the store works again");
        }
        Ok(())
    }
}

/// Until the store is tidy or there is something to commit.
fn tidy(store: &mut dyn Store, batches: &Receiver<Batch>) {
    loop {
        match store.tidy(system_time()) {
            Ok(true) if batches.is_empty() => {}
            Ok(_) => return,
            Err(cause) => {
                warn!(%cause, "the store could not be tidied");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Memory, Reader, memory};
    use std::sync::Mutex;
    use tokenist_core::batch::{Grain, Restored, Rollup, Serial};
    use tokenist_core::time::Timestamp;
    use tokenist_core::totals::Totals;

    /// Fails so many times before each commit succeeds.
    struct Flaky {
        store: Arc<Mutex<Memory>>,
        failures: u32,
        left: u32,
    }

    impl Store for Flaky {
        fn restore(&mut self, now: Timestamp) -> Result<Restored, StoreError> {
            self.store.lock().unwrap().restore(now)
        }

        fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
            if self.left > 0 {
                self.left -= 1;
                return Err(StoreError("disk full".into()));
            }
            self.left = self.failures;
            self.store.lock().unwrap().commit(batch)
        }

        fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
            self.store.lock().unwrap().reader()
        }
    }

    fn batch(number: u64) -> Batch {
        let row = Rollup {
            row: Serial(number),
            user: "alice".into(),
            org: None,
            key: None,
            feature: None,
            provider: "openai".into(),
            model: "m".into(),
            start: Timestamp(0),
            grain: Grain::Hour,
            totals: Totals::default(),
        };
        Batch { rollups: vec![row], ..Batch::default() }
    }

    fn start(failures: u32) -> (Writer, Arc<Mutex<Memory>>) {
        let store = Arc::new(Mutex::new(Memory::new(memory::Config::default())));
        let flaky = Flaky { store: Arc::clone(&store), failures, left: failures };
        (Writer::start(Box::new(flaky), &Supervisor::default()).unwrap(), store)
    }

    #[test]
    fn a_batch_is_tried_until_it_is_committed() {
        let (writer, store) = start(2);
        let progress = Arc::clone(writer.progress());
        writer.hand_over(batch(1)).unwrap();
        writer.finish(Some(batch(2)), Duration::from_secs(10)).unwrap();
        assert_eq!((progress.done(), progress.is_failing()), (2, false));
        assert_eq!(store.lock().unwrap().restore(Timestamp(0)).unwrap().usage.len(), 2);
    }

    #[test]
    fn a_store_that_never_works_is_told_and_given_up_at_the_end() {
        let (writer, _) = start(u32::MAX);
        let progress = Arc::clone(writer.progress());
        assert!(writer.finish(Some(batch(1)), Duration::from_millis(100)).is_err());
        assert_eq!((progress.done(), progress.is_failing()), (0, true));
    }
}
