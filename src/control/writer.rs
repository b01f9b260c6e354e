//! The thread that owns the store and may block on it.
//!
//! One batch is being committed and one may wait; what accumulates meanwhile stays in the ledger, coalesced, and
//! becomes the next batch. So a slow store makes batches larger, never more. A batch that fails is tried again until
//! it succeeds, also one under which the store panicked: it is kept until the store has answered for it. What is old is
//! removed in between, in slices of which a batch waits for one at most.

use crate::clock;
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
/// Between two looks for what is old, where there is no more of it.
const PRUNE_PAUSE: Duration = Duration::from_secs(1);
/// A slice of pruning is followed by so many times what it took.
const PRUNE_SHARE: u32 = 3;

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
            is_in_store: false,
            deadline: None,
            pruning: Pruning { due: Instant::now(), is_failing: false },
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

    /// Hands a batch over. Call it where there is room. Fails if the writer is gone, after which nothing may
    /// be counted any more.
    pub fn hand_over(&self, batch: Batch) -> io::Result<()> {
        self.progress.lag.handed_over(Instant::now());
        self.batches.try_send(batch).map_err(|_| io::Error::other("the store's thread is gone"))
    }

    /// Commits what is left and ends. Fails if that takes longer than `patience`.
    pub fn finish(self, last: Option<Batch>, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        // It has room for the one call that is ever made.
        self.last_call.try_send(deadline).ok();
        let unsaved = || io::Error::other("the store did not take the last batch in time");
        if let Some(batch) = last {
            self.progress.lag.handed_over(Instant::now());
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
    /// Stays set where the store panics.
    is_in_store: bool,
    /// When to give up, once that is said.
    deadline: Option<Instant>,
    pruning: Pruning,
}

impl Work {
    /// Until there are no more batches, or one was given up.
    fn run(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.is_in_store) {
            self.progress.fail(&"the store panicked; what it was to take is committed again");
            self.store.recover();
        }
        loop {
            if self.held.is_none() {
                let patience = self.pruning.due.saturating_duration_since(Instant::now());
                match self.batches.recv_timeout(patience) {
                    Ok(batch) => self.held = Some(batch),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            self.commit()?;
            // Also where the next batch waits already, or it would never come to it under load.
            if self.deadline.is_none() {
                self.is_in_store = true;
                self.pruning.look(&mut *self.store, &self.progress);
                self.is_in_store = false;
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
            self.is_in_store = true;
            let committed = self.store.commit(batch);
            self.is_in_store = false;
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
        self.progress.lag.committed(Instant::now());
        if self.progress.succeed() {
            info!("the store works again");
        }
        Ok(())
    }
}

/// Tidying goes on all the time, and takes a quarter of it at most.
struct Pruning {
    due: Instant,
    is_failing: bool,
}

impl Pruning {
    fn look(&mut self, store: &mut dyn Store, progress: &Progress) {
        let began = Instant::now();
        if began < self.due {
            return;
        }
        let pruned = store.prune(clock::now());
        let ended = Instant::now();
        let took = ended - began;
        let pause = match &pruned {
            Ok(pruned) => {
                progress.lag.pruned(took, pruned.is_held, ended);
                if pruned.has_more { PRUNE_SHARE * took } else { PRUNE_PAUSE }
            }
            Err(cause) if !self.is_failing => {
                warn!(%cause, "the store cannot be tidied: what is old stays until it can");
                PRUNE_PAUSE
            }
            Err(_) => PRUNE_PAUSE,
        };
        self.is_failing = pruned.is_err();
        self.due = ended + pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Memory, Pruned, Reader, memory};
    use std::sync::Mutex;
    use tokenist_core::batch::{Grain, Restored, Rollup, Serial};
    use tokenist_core::time::{Now, Timestamp};
    use tokenist_core::totals::Totals;

    /// Fails so many times before each commit succeeds.
    struct Flaky {
        store: Arc<Mutex<Memory>>,
        failures: u32,
        left: u32,
    }

    impl Store for Flaky {
        fn restore(&mut self, now: Timestamp, holders_max: usize) -> Result<Restored, StoreError> {
            self.store.lock().unwrap().restore(now, holders_max)
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
        assert_eq!(store.lock().unwrap().restore(Timestamp(0), usize::MAX).unwrap().usage.len(), 2);
    }

    /// Always has more that is old, and says when it was asked for what.
    struct NeverPruned {
        store: Memory,
        seen: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Store for NeverPruned {
        fn restore(&mut self, now: Timestamp, holders_max: usize) -> Result<Restored, StoreError> {
            self.store.restore(now, holders_max)
        }

        fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
            self.seen.lock().unwrap().push("commit");
            self.store.commit(batch)
        }

        fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
            self.store.reader()
        }

        fn prune(&mut self, _: Now) -> Result<Pruned, StoreError> {
            self.seen.lock().unwrap().push("prune");
            thread::sleep(Duration::from_millis(2));
            Ok(Pruned { has_more: true, is_held: false })
        }
    }

    fn never_pruned() -> (Writer, Arc<Mutex<Vec<&'static str>>>) {
        let seen = Arc::default();
        let store = NeverPruned { store: Memory::new(memory::Config::default()), seen: Arc::clone(&seen) };
        (Writer::start(Box::new(store), &Supervisor::default()).unwrap(), seen)
    }

    #[test]
    fn what_is_old_goes_while_nothing_is_committed() {
        let (writer, seen) = never_pruned();
        let begun = Instant::now();
        while seen.lock().unwrap().len() < 20 && begun.elapsed() < Duration::from_secs(20) {
            thread::yield_now();
        }
        assert_eq!(seen.lock().unwrap()[..20], ["prune"; 20]);
        assert!(writer.progress().lag.view(Instant::now()).slice_max >= Duration::from_millis(2));
        writer.finish(None, Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn what_is_old_goes_while_batches_always_wait() {
        let (writer, seen) = never_pruned();
        let begun = Instant::now();
        let mut handed_over = 0;
        let pruned = || seen.lock().unwrap().iter().filter(|what| **what == "prune").count();
        while pruned() < 20 && begun.elapsed() < Duration::from_secs(20) {
            if writer.has_room() {
                handed_over += 1;
                writer.hand_over(batch(handed_over)).unwrap();
            }
        }
        let progress = Arc::clone(writer.progress());
        writer.finish(None, Duration::from_secs(10)).unwrap();
        assert_eq!(
            (progress.done(), progress.lag.view(Instant::now()).waiting),
            (handed_over, Duration::ZERO)
        );
    }

    #[test]
    fn a_store_that_never_works_is_told_and_given_up_at_the_end() {
        let (writer, _) = start(u32::MAX);
        let progress = Arc::clone(writer.progress());
        assert!(writer.finish(Some(batch(1)), Duration::from_millis(100)).is_err());
        assert_eq!((progress.done(), progress.is_failing()), (0, true));
    }
}
