//! Who says a scenario: opens its sessions, keeps the measured window, ends everything in bounded time.
//!
//! Start at [`run`]. What a session does once it is open is in `talk`, or in `ask`.

#[cfg(test)]
mod tests;

use crate::dialect::Over;
use crate::link::HangUp;
use crate::opening::{OPEN_WAIT, Open, say_goodbye};
use crate::run::{Edge, Run};
use crate::scenario::{Kind, Scenario};
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::target::Target;
use crate::ws::CLOSE;
use crate::{ask, runtime, talk};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Handshakes in flight while sessions are opened ahead of the window.
const OPENING_MAX: usize = 64;
/// How long sessions may take to end after the window.
const END_WAIT: Duration = Duration::from_secs(15);
/// Between the last session's opening and the window, so that what is measured is steady.
const SETTLE: Duration = Duration::from_millis(300);
/// What the last closes need.
const CLOSING: Duration = Duration::from_millis(50);

/// Runs a scenario on `thread_count` threads. `edge` is called once at each edge of the window.
pub(crate) fn run(
    scenario: &Scenario,
    target: &Target,
    thread_count: usize,
    edge: &(dyn Fn(Edge) + Sync),
) -> io::Result<(Tally, Duration)> {
    if !scenario.kind.goes_over(target.over) {
        let spoken = format!("{:?} at {:?} goes over {:?}", target.handshake.dialect, target, target.over);
        return Err(io::Error::other(format!("{spoken}, and {:?} does not", scenario.kind)));
    }
    let barrier = Barrier::new(thread_count);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count)
            .map(|index| {
                let (barrier, target) = (&barrier, target.clone());
                scope.spawn(move || {
                    let sessions = (index..scenario.sessions).step_by(thread_count).collect();
                    let on_edge = |at| {
                        if barrier.wait().is_leader() {
                            edge(at);
                        }
                        barrier.wait();
                    };
                    runtime::block_on(run_thread(scenario.clone(), target, sessions, &on_edge))
                })
            })
            .collect();
        let mut sum = (Tally::default(), Duration::ZERO);
        for thread in threads {
            let (tally, window) = thread.join().map_err(|_| io::Error::other("a load thread panicked"))??;
            sum.0 += tally;
            sum.1 = sum.1.max(window);
        }
        Ok(sum)
    })
}

async fn run_thread(
    scenario: Scenario,
    target: Target,
    sessions: Vec<usize>,
    on_edge: &dyn Fn(Edge),
) -> io::Result<(Tally, Duration)> {
    let run = Run::start(scenario, target)?;
    match run.scenario.kind {
        _ if run.target.over == Over::Http => {
            let lines = ask::open_all(&run, sessions).await;
            monoio::time::sleep(SETTLE).await;
            run.begin(on_edge);
            for (index, line) in lines {
                run.spawn(ask::requests(run.clone(), index, line));
            }
        }
        // These open sessions as part of what is measured.
        Kind::Churn | Kind::Turns => {
            run.begin(on_edge);
            for index in sessions {
                spawn(&run, index, None);
            }
        }
        Kind::Ping | Kind::Speech | Kind::Saturate | Kind::Idle | Kind::Ask | Kind::Stream => {
            open_all(&run, sessions).await;
            monoio::time::sleep(SETTLE).await;
            run.begin(on_edge);
        }
    }
    let window = Duration::from_secs_f64(run.scenario.seconds);
    // Turns may be done before the time is; anything else that ends early has failed and is counted as such.
    match run.scenario.kind {
        Kind::Turns | Kind::Ask | Kind::Stream => {
            drop(monoio::time::timeout(window, run.everybody_left()).await)
        }
        _ => monoio::time::sleep(window).await,
    }
    let window = run.finish(on_edge);
    end(&run).await;
    let tally = run.tally.take();
    drop(run);
    // Closing a file is an operation of the ring like any other: the runtime has to live to see it done.
    monoio::time::sleep(CLOSING).await;
    Ok((tally, window))
}

async fn open_all(run: &Rc<Run>, sessions: Vec<usize>) {
    let waiting = Rc::new(RefCell::new(sessions));
    let openers: Vec<_> = (0..OPENING_MAX)
        .map(|_| {
            let (run, waiting) = (run.clone(), waiting.clone());
            monoio::spawn(async move {
                loop {
                    let next = waiting.borrow_mut().pop();
                    let Some(index) = next else { return };
                    open_one(&run, index).await;
                }
            })
        })
        .collect();
    for opener in openers {
        opener.await;
    }
}

async fn open_one(run: &Rc<Run>, index: usize) {
    if run.target.over != Over::WebRtc {
        if let Some(open) = run.open(index, Instant::now()).await {
            spawn(run, index, Some(open));
        }
    } else if let Some(call) = run.call(index, Instant::now()).await {
        let of_call = run.clone();
        run.spawn(async move { talk::call::run(&of_call, index, call).await });
    }
}

/// Starts a session's task, with an open session or with none yet.
fn spawn(run: &Rc<Run>, index: usize, open: Option<Open>) {
    let task_run = run.clone();
    run.spawn(async move {
        let run = task_run;
        match (run.scenario.kind, open) {
            (Kind::Churn, _) => churn(&run, index).await,
            (Kind::Turns, _) if run.target.over == Over::WebRtc => {
                if let Some(call) = run.call(index, Instant::now()).await {
                    talk::call::run(&run, index, call).await;
                }
            }
            (Kind::Turns, _) => {
                if let Some(open) = run.open(index, Instant::now()).await {
                    talk::turns(&run, index, open).await;
                }
            }
            (_, Some(open)) => talk::listen(&run, index, open).await,
            (_, None) => {}
        }
    });
}

/// Opens and closes sessions: at the scenario's rate, or one after the other.
async fn churn(run: &Run, index: usize) {
    let schedule = Schedule::shared(run.scenario.rate, run.scenario.sessions, index);
    for act in 0.. {
        let due = match schedule {
            Some(schedule) => run.due(schedule, act).await,
            None => run.goes_on().then(Instant::now),
        };
        let Some(due) = due else { return };
        let is_opened = match run.target.over {
            Over::WebRtc => run.call(index, due).await.map(|call| call.peer.close()).is_some(),
            Over::WebSocket | Over::Http => open_and_close(run, index, due).await,
        };
        if !is_opened {
            // A target that refuses at once must not turn this into a spin.
            monoio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Whether there was a session to be closed.
async fn open_and_close(run: &Run, index: usize, due: Instant) -> bool {
    let Some(Open { mut inbound, outbox, .. }) = run.open(index, due).await else { return false };
    say_goodbye(&outbox);
    let farewell =
        async { while matches!(inbound.message().await, Ok(Some(message)) if message.opcode != CLOSE) {} };
    if monoio::time::timeout(OPEN_WAIT, farewell).await.is_err() {
        run.tally.borrow_mut().error("close: timed out");
    }
    outbox.hang_up(HangUp::Fin);
    true
}

async fn end(run: &Run) {
    if run.scenario.kind != Kind::Turns {
        for outbox in run.outboxes.borrow().iter() {
            say_goodbye(outbox);
            outbox.hang_up(HangUp::Fin);
        }
    }
    if monoio::time::timeout(END_WAIT, run.everybody_left()).await.is_err() {
        run.tally.borrow_mut().error("end: sessions did not end");
    }
    for outbox in run.outboxes.borrow().iter() {
        outbox.hang_up(HangUp::Fin);
    }
}
