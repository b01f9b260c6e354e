//! A millisecond's beat for a monoio thread, whose own timers fire up to two milliseconds late.
//!
//! A plain thread sleeps to each beat and rings through a socket, only while somebody waits. Due times lie on
//! beats, so what is left of lateness is the kernel's wake-up.

use monoio::io::AsyncReadRent;
use std::cell::RefCell;
use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(1);

/// What the runtime's thread tells the sleeping one.
#[derive(Debug, Default)]
struct Pendulum {
    /// How many tasks wait for a beat.
    waiting: AtomicUsize,
    stopped: AtomicBool,
}

/// One thread's clock.
#[derive(Debug)]
pub(crate) struct Beat {
    start: Instant,
    sleeping: Rc<RefCell<BinaryHeap<Sleeping>>>,
    pendulum: Arc<Pendulum>,
    sleeper: std::thread::Thread,
}

impl Beat {
    /// Starts the beat for the runtime of this thread.
    pub(crate) fn start() -> std::io::Result<Rc<Beat>> {
        let (bell, ear) = UnixStream::pair()?;
        ear.set_nonblocking(true)?;
        let mut ear = monoio::net::UnixStream::from_std(ear)?;
        let start = Instant::now();
        let pendulum = Arc::new(Pendulum::default());
        let swinging = pendulum.clone();
        let sleeper =
            std::thread::Builder::new().name("beat".into()).spawn(move || ring(bell, start, &swinging))?;
        let sleeping = Rc::new(RefCell::new(BinaryHeap::new()));
        let woken = sleeping.clone();
        monoio::spawn(async move {
            let mut bytes = vec![0; 64];
            loop {
                let (result, back) = ear.read(bytes).await;
                bytes = back;
                match result {
                    Ok(n) if n > 0 => wake_due(&woken, Instant::now()),
                    _ => return,
                }
            }
        });
        Ok(Rc::new(Beat { start, sleeping, pendulum, sleeper: sleeper.thread().clone() }))
    }

    /// The first beat at or after `at`.
    pub(crate) fn on_beat(&self, at: Instant) -> Instant {
        let beats = at.saturating_duration_since(self.start).as_nanos().div_ceil(PERIOD.as_nanos());
        self.start + PERIOD * beats as u32
    }

    /// Waits until `due`, at once if that has passed.
    pub(crate) async fn until(&self, due: Instant) {
        if Instant::now() >= due {
            return;
        }
        if self.pendulum.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.sleeper.unpark();
        }
        let mut slept = false;
        poll_fn(|context| match slept {
            true if Instant::now() >= due => Poll::Ready(()),
            _ => {
                slept = true;
                self.sleeping.borrow_mut().push(Sleeping { due, waker: context.waker().clone() });
                Poll::Pending
            }
        })
        .await;
        self.pendulum.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.pendulum.stopped.store(true, Ordering::Relaxed);
        self.sleeper.unpark();
    }
}

/// A task that waits; the earliest due is the greatest, so that a heap yields it first.
#[derive(Debug)]
struct Sleeping {
    due: Instant,
    waker: Waker,
}

impl Ord for Sleeping {
    fn cmp(&self, other: &Sleeping) -> Order {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Sleeping {
    fn partial_cmp(&self, other: &Sleeping) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeping {
    fn eq(&self, other: &Sleeping) -> bool {
        self.due == other.due
    }
}

impl Eq for Sleeping {}

fn wake_due(sleeping: &RefCell<BinaryHeap<Sleeping>>, now: Instant) {
    loop {
        let next = sleeping.borrow_mut().pop();
        match next {
            Some(first) if first.due <= now => first.waker.wake(),
            Some(early) => return sleeping.borrow_mut().push(early),
            None => return,
        }
    }
}

fn ring(mut bell: UnixStream, start: Instant, pendulum: &Pendulum) {
    loop {
        while pendulum.waiting.load(Ordering::Relaxed) == 0 && !pendulum.stopped.load(Ordering::Relaxed) {
            std::thread::park();
        }
        if pendulum.stopped.load(Ordering::Relaxed) {
            return;
        }
        let beats = start.elapsed().as_nanos() / PERIOD.as_nanos() + 1;
        let next = start + PERIOD * beats as u32;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        if bell.write_all(&[0]).is_err() {
            return;
        }
    }
}
