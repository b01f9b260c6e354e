//! Threads that read the store for callers, so that no question holds up a commit or the aggregator.
//!
//! A question ends at its deadline, and when its caller has gone away: then it is not begun, or, where the store can,
//! broken off.

use crate::error::CommandError;
use crate::store::{Patience, Reader, StoreError};
use crate::supervise::Supervisor;
use crossbeam::channel::{self, Sender, TrySendError};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What a question may take, the wait for its turn included.
const PATIENCE: Duration = Duration::from_secs(10);

/// One question. It answers by itself.
type Job = Box<dyn FnOnce(&mut dyn Reader) + Send>;

/// A way to ask. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reads(Sender<(Patience, Job)>);

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reads")
    }
}

/// Starts one thread for each reader, which they end when the last asker is gone. `waiting_max` questions may wait.
/// Those of operators run behind all that serves and counts; what restrains users does not.
pub(crate) fn start(
    supervisor: &Supervisor,
    readers: Vec<(&str, Box<dyn Reader>)>,
    waiting_max: usize,
    are_operators: bool,
) -> io::Result<Reads> {
    let (jobs, waiting) = channel::bounded::<(Patience, Job)>(waiting_max);
    for (name, mut reader) in readers {
        let waiting = waiting.clone();
        // A question that panics gives no answer; the next one is another.
        let work = move || {
            for (patience, job) in &waiting {
                if !patience.is_over() {
                    reader.hurry(&patience);
                    job(&mut *reader);
                }
            }
        };
        match are_operators {
            true => supervisor.spawn_behind(name, work)?,
            false => supervisor.spawn(name, work)?,
        };
    }
    Ok(Reads(jobs))
}

impl Reads {
    /// Without a reader: no question is answered.
    pub(crate) fn none() -> Reads {
        Reads(channel::bounded(0).0)
    }

    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, CommandError> {
        let (reply, answer) = oneshot::channel();
        let patience = Patience::until(Instant::now() + PATIENCE);
        let _asking = patience.asking();
        let job: Job = Box::new(move |reader| drop(reply.send(question(reader))));
        match self.0.try_send((patience, job)) {
            // There is no answer to what was not begun in time, or what has panicked.
            Ok(()) => answer.await.map_err(|_| CommandError::Unanswered)?.map_err(CommandError::Store),
            Err(TrySendError::Full(_)) => Err(CommandError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(CommandError::Gone),
        }
    }
}
