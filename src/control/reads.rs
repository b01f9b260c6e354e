//! Threads that read the store for whoever asks, so that no question holds up a commit or the aggregator.

use crate::store::Reader;
use crossbeam::channel::{self, Sender};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use tracing::error;

/// One question. It answers by itself.
pub(crate) type Job = Box<dyn FnOnce(&mut dyn Reader) + Send>;

/// Starts one thread for each reader. They end when the last sender is gone. `waiting_max` questions may wait.
pub(crate) fn start(readers: Vec<Box<dyn Reader>>, waiting_max: usize) -> io::Result<Sender<Job>> {
    let (jobs, waiting) = channel::bounded::<Job>(waiting_max);
    for (index, mut reader) in readers.into_iter().enumerate() {
        let waiting = waiting.clone();
        thread::Builder::new().name(format!("reader-{index}")).spawn(move || {
            for job in waiting {
                // A question that panics answers nobody; the next one is another.
                if catch_unwind(AssertUnwindSafe(|| job(&mut *reader))).is_err() {
                    error!("a question to the store panicked");
                }
            }
        })?;
    }
    Ok(jobs)
}
