//! What the sessions of one thread share: the scenario, the tally, the beat, and where the measured window is.

use crate::beat::Beat;
use crate::link::{Outbox, Signal};
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::target::Target;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A send so much after its due time is counted as late.
const LATE: Duration = Duration::from_millis(2);

/// The measured window's beginning and end, told to whoever measures processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    Start,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Measuring,
    Over,
}

/// What the sessions of one thread share.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) scenario: Scenario,
    pub(crate) target: Target,
    pub(crate) tally: RefCell<Tally>,
    pub(crate) beat: Rc<Beat>,
    phase: Cell<Phase>,
    /// When the window began.
    start: Cell<Instant>,
    changed: Signal,
    live: Cell<usize>,
    /// Of the sessions that are to end with the run.
    pub(crate) outboxes: RefCell<Vec<Rc<Outbox>>>,
}

impl Run {
    pub(crate) fn start(scenario: Scenario, target: Target) -> io::Result<Rc<Run>> {
        Ok(Rc::new(Run {
            scenario,
            target,
            tally: RefCell::default(),
            beat: Beat::start()?,
            phase: Cell::new(Phase::Opening),
            start: Cell::new(Instant::now()),
            changed: Signal::default(),
            live: Cell::new(0),
            outboxes: RefCell::default(),
        }))
    }

    pub(crate) fn measuring(&self) -> bool {
        self.phase.get() == Phase::Measuring
    }

    /// Whether a session may begin something new.
    pub(crate) fn goes_on(&self) -> bool {
        self.phase.get() != Phase::Over
    }

    /// The window begins.
    pub(crate) fn begin(&self, on_edge: &dyn Fn(Edge)) {
        on_edge(Edge::Start);
        self.start.set(Instant::now());
        self.phase.set(Phase::Measuring);
        self.changed.ring();
    }

    /// The window is over; returns how long it was.
    pub(crate) fn finish(&self, on_edge: &dyn Fn(Edge)) -> Duration {
        let window = self.start.get().elapsed();
        self.phase.set(Phase::Over);
        on_edge(Edge::End);
        self.changed.ring();
        window
    }

    /// Starts a session's task.
    pub(crate) fn spawn(self: &Rc<Run>, session: impl Future<Output = ()> + 'static) {
        self.live.set(self.live.get() + 1);
        let run = self.clone();
        monoio::spawn(async move {
            session.await;
            run.live.set(run.live.get() - 1);
            run.changed.ring();
        });
    }

    /// Waits for the end of the window.
    pub(crate) async fn over(&self) {
        self.changed.until(|| (!self.goes_on()).then_some(())).await;
    }

    /// The first act of what begins now: none that is past is made up for.
    pub(crate) fn next_act(&self, schedule: Schedule) -> u64 {
        match self.phase.get() {
            Phase::Opening => 0,
            Phase::Measuring | Phase::Over => schedule.next(self.start.get().elapsed()),
        }
    }

    /// Waits for the next act's due time; `None` once the window is over.
    pub(crate) async fn due(&self, schedule: Schedule, act: u64) -> Option<Instant> {
        self.changed.until(|| (self.phase.get() != Phase::Opening).then_some(())).await;
        let due = self.beat.on_beat(self.start.get() + schedule.due(act));
        if due.duration_since(self.start.get()).as_secs_f64() > self.scenario.seconds {
            return None;
        }
        self.beat.until(due).await;
        if !self.goes_on() {
            return None;
        }
        if due.elapsed() > LATE {
            self.tally.borrow_mut().late_sends += 1;
        }
        Some(due)
    }

    pub(crate) async fn everybody_left(&self) {
        self.changed.until(|| (self.live.get() == 0).then_some(())).await;
    }

    pub(crate) fn user(&self, index: usize) -> String {
        format!("user-{}", index % self.scenario.users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::runtime;
    use crate::scenario::Kind;
    use crate::target::{Handshake, Reach, Transport};

    #[test]
    fn what_begins_in_mid_window_makes_up_for_nothing_that_is_past() {
        let (dialect, transport, headers) = (Dialect::Openai, Transport::Webrtc, Vec::new());
        let handshake = Handshake { dialect, model: "m".into(), key: "k".into(), headers, transport };
        let target = Target::parse("http://127.0.0.1:1", Reach::Loopback, None, handshake).unwrap();
        runtime::block_on(async {
            let run = Run::start(Scenario::of(Kind::Turns), target).unwrap();
            let schedule = Schedule::every(Duration::from_millis(10), 1, 0);
            assert_eq!(run.next_act(schedule), 0);
            run.begin(&|_| {});
            let first = run.next_act(schedule);
            monoio::time::sleep(Duration::from_millis(100)).await;
            let later = run.next_act(schedule);
            assert!(first <= later - 10, "{first}, {later}");
        });
    }
}
