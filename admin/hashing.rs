//! The queues for hashing a password, which is slow on purpose.
//!
//! One is hashed at a time, so that guesses take no more than one CPU. A request waits in a queue of its address,
//! then in one of the login, and only the first of each queue waits for the CPU, in turn with the first of the others: a
//! crowd from one address makes no other request wait for more than one of it.
//!
//! Invariant: queues are bounded, and a request leaves them only when its hash is done, also if its client hangs up.

use crate::error::ApiError;
use crate::throttle::network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

#[derive(Debug)]
pub(crate) struct Hashing {
    alone: Arc<Semaphore>,
    queues: Arc<Mutex<Queues>>,
}

#[derive(Debug, Default)]
struct Queues {
    /// How many wait in each, and the turn of its first. Empty queues are not here.
    by_queue: HashMap<Queue, (usize, Arc<Semaphore>)>,
    /// In all of them.
    waiting: usize,
}

/// Ordered as they are stood in, so that no two wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Queue {
    Address(IpAddr),
    Login(Arc<str>),
    /// All from where guesses come.
    Guesses,
}

/// A place in its queues, until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    queues: Vec<(Queue, Arc<Semaphore>)>,
    all: Arc<Mutex<Queues>>,
}

impl Hashing {
    pub(crate) fn new() -> Hashing {
        Hashing { alone: Arc::new(Semaphore::new(1)), queues: Arc::default() }
    }

    /// Joins the queue of an address and, where it is about one, of a login.
    ///
    /// # Errors
    /// One of them is full.
    pub(crate) fn join(
        &self,
        peer: IpAddr,
        login: Option<&str>,
        is_guessing: bool,
    ) -> Result<Ticket, ApiError> {
        let address = Some(Queue::Address(network(peer)));
        let login = login.map(|login| Queue::Login(login.into()));
        let guesses = is_guessing.then_some(Queue::Guesses);
        let wanted: Vec<Queue> = [address, login, guesses].into_iter().flatten().collect();
        let mut queues = lock(&self.queues);
        let is_full = |queue: &Queue| {
            let bound = if *queue == Queue::Guesses { WAITING_MAX } else { QUEUE_MAX };
            queues.by_queue.get(queue).is_some_and(|(count, _)| *count >= bound)
        };
        if queues.waiting >= WAITING_MAX || wanted.iter().any(is_full) {
            return Err(ApiError::throttled(QUEUE_FULL, 1));
        }
        queues.waiting += 1;
        let joined = wanted.into_iter().map(|queue| {
            let (count, first) =
                queues.by_queue.entry(queue.clone()).or_insert_with(|| (0, Arc::new(Semaphore::new(1))));
            *count += 1;
            (queue, Arc::clone(first))
        });
        let joined = joined.collect();
        Ok(Ticket { queues: joined, all: Arc::clone(&self.queues) })
    }

    /// Does `work` on a thread that may block, once it is its turn. Without a place only the CPU is waited for.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        ticket: Option<Ticket>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let mut turns = Vec::with_capacity(4);
        for (_, first) in ticket.iter().flat_map(|ticket| &ticket.queues) {
            turns.push(first_of(first).await);
        }
        turns.push(first_of(&self.alone).await);
        // The work goes on if the client has gone, so the turns go with it.
        let done = spawn_blocking(move || {
            let done = work();
            drop((turns, ticket));
            done
        });
        done.await.expect("hashing a password does not panic")
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queues = lock(&self.all);
        queues.waiting -= 1;
        for (queue, _) in &self.queues {
            let (count, _) = queues.by_queue.get_mut(queue).expect("somebody stands in it");
            *count -= 1;
            if *count == 0 {
                queues.by_queue.remove(queue);
            }
        }
    }
}

async fn first_of(queue: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(queue).acquire_owned().await.expect("lines are never closed")
}

fn lock(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passwords of one address, or for one login, that are hashed or wait for it.
const QUEUE_MAX: usize = 16;
/// Of all.
const WAITING_MAX: usize = 64;
const QUEUE_FULL: &str =
    "Too many passwords wait to be looked at, from here or for this login: try again in a second";

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use tokio::task::yield_now;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn address(last: u8) -> IpAddr {
        [203, 0, 113, last].into()
    }

    #[test]
    fn lines_take_turns_and_each_has_one_that_waits_for_the_cpu() {
        runtime().block_on(async {
            let (hashing, done) = (Arc::new(Hashing::new()), Arc::new(Mutex::new(Vec::new())));
            let (begin, begun) = mpsc::channel::<()>();
            let (at_work, working) = tokio::sync::oneshot::channel();
            let first = hashing.join(address(1), Some("ann"), false).unwrap();
            let held = Arc::clone(&hashing);
            let held = tokio::spawn(async move {
                held.run(Some(first), move || {
                    at_work.send(()).unwrap();
                    begun.recv().unwrap();
                })
                .await;
            });
            working.await.unwrap();
            let mut tasks = Vec::new();
            for (last, login, is_guessing, name) in [
                (1, "bob", false, "same address"),
                (1, "bob", false, "same address, later"),
                (2, "ann", false, "same login"),
                (3, "carol", false, "somebody else"),
                (4, "dave", true, "guess"),
                (5, "erin", true, "guess from elsewhere"),
                (6, "fred", false, "somebody else, later"),
            ] {
                let ticket = hashing.join(address(last), Some(login), is_guessing).unwrap();
                let (hashing, done) = (Arc::clone(&hashing), Arc::clone(&done));
                tasks.push(tokio::spawn(async move {
                    hashing.run(Some(ticket), move || done.lock().unwrap().push(name)).await;
                }));
                yield_now().await;
            }
            begin.send(()).unwrap();
            held.await.unwrap();
            for task in tasks {
                task.await.unwrap();
            }
            let expected = [
                "somebody else",
                "guess",
                "somebody else, later",
                "same address",
                "same login",
                "guess from elsewhere",
                "same address, later",
            ];
            assert_eq!(*done.lock().unwrap(), expected);
            assert!(lock(&hashing.queues).by_queue.is_empty() && lock(&hashing.queues).waiting == 0);
        });
    }

    #[test]
    fn lines_are_bounded_each_and_together() {
        let hashing = Hashing::new();
        let join = |last: u8, login: &str| hashing.join(address(last), Some(login), false);
        let mut by_queue: Vec<Ticket> = (0..QUEUE_MAX).map(|n| join(1, &n.to_string()).unwrap()).collect();
        let refused = join(1, "another").unwrap_err().into_response();
        assert_eq!(
            (refused.status().as_u16(), refused.headers()["retry-after"].as_bytes()),
            (429, &b"1"[..])
        );
        by_queue.extend((0..QUEUE_MAX).map(|n| join(10 + n as u8, "ann").unwrap()));
        assert!(join(99, "ann").is_err() && join(99, "bob").is_ok());
        by_queue.extend((by_queue.len()..WAITING_MAX).map(|n| join(100 + n as u8, &n.to_string()).unwrap()));
        assert!(join(99, "bob").is_err());
        by_queue.truncate(QUEUE_MAX - 1);
        assert!(join(1, "another").is_ok() && join(99, "ann").is_ok(), "who leaves makes room");
    }

    #[test]
    fn who_hangs_up_keeps_his_turn_until_his_hash_is_done() {
        runtime().block_on(async {
            let hashing = Arc::new(Hashing::new());
            let (finish, finished) = mpsc::channel::<()>();
            let (at_work, working) = tokio::sync::oneshot::channel();
            let ticket = hashing.join(address(1), None, false).unwrap();
            let gone = Arc::clone(&hashing);
            let gone = tokio::spawn(async move {
                let work = move || {
                    at_work.send(()).unwrap();
                    finished.recv().unwrap();
                };
                gone.run(Some(ticket), work).await;
            });
            working.await.unwrap();
            gone.abort();
            assert!(gone.await.unwrap_err().is_cancelled());
            let is_over = Arc::new(AtomicBool::new(false));
            let (next, was_over) = (Arc::clone(&hashing), Arc::clone(&is_over));
            let next =
                tokio::spawn(async move { next.run(None, move || was_over.load(Ordering::SeqCst)).await });
            yield_now().await;
            assert_eq!(lock(&hashing.queues).waiting, 1);
            is_over.store(true, Ordering::SeqCst);
            finish.send(()).unwrap();
            assert!(next.await.unwrap(), "two passwords were hashed at the same time");
        });
    }
}
