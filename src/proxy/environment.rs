//! What surrounds a shard: the time, the place where what is counted outlives the process, and the way to the aggregator.
//!
//! A shard and its sessions are generic over it. So all of them but what moves bytes runs under any clock and without a
//! thread, and under [`System`] it is the code that it would be without.

use crate::clock::Clock;
use std::cell::RefCell;
use std::fmt;
use tokenist_core::journal::{self, Call};
use tokenist_core::kept_response::{ResponseId, Stage};
use tokenist_core::message::Delta;
use tokenist_core::time::Now;
use tokenist_handoff::{Lane, Report, ReportSender, ResponseReport};

pub trait Environment: 'static {
    fn now(&self) -> Now;

    /// Follows the wall clock, should it have been set.
    fn follow_clock(&self);

    /// Sets down what was counted, so that it outlives the process; what is to be reported of it.
    fn set_down(&self, delta: Delta) -> Report;

    /// As [`Environment::set_down`], for what a provider states of a response that it keeps.
    fn set_down_stated(&self, delta: Delta, response: ResponseId) -> Report {
        match self.set_down(delta) {
            Report::Charged(delta, upto) => {
                Report::Response(Box::new(ResponseReport::Stated { response, delta, upto }))
            }
            other => other,
        }
    }

    /// A tick has come: whether what kept the last from being set down is over.
    fn look(&self);

    /// To the aggregator. Gives the report back where its queue has no room.
    fn send(&self, report: Report) -> Option<Report>;
}

/// The system's clocks, a lane of the journal, and a queue between threads.
pub struct System {
    clock: Clock,
    /// `None` where nothing outlives the process.
    lane: RefCell<Option<Lane>>,
    reports: ReportSender,
}

impl System {
    pub(crate) fn new(lane: Option<Lane>, reports: ReportSender) -> System {
        System { clock: Clock::new(), lane: RefCell::new(lane), reports }
    }
}

impl Environment for System {
    #[inline]
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn follow_clock(&self) {
        self.clock.tick();
    }

    fn set_down(&self, delta: Delta) -> Report {
        let mut lane = self.lane.borrow_mut();
        let upto = lane.as_mut().and_then(|lane| lane.append(|record| journal::write_delta(&delta, record)));
        Report::Charged(delta, upto)
    }

    fn set_down_stated(&self, delta: Delta, response: ResponseId) -> Report {
        let call = Call { delta, log: None, ids: vec![response.mark(Stage::Stated)] };
        let mut lane = self.lane.borrow_mut();
        let upto = lane.as_mut().and_then(|lane| lane.append(|record| journal::write_call(&call, record)));
        Report::Response(Box::new(ResponseReport::Stated { response, delta: call.delta, upto }))
    }

    fn look(&self) {
        self.lane.borrow_mut().iter_mut().for_each(Lane::look);
    }

    fn send(&self, report: Report) -> Option<Report> {
        self.reports.try_send(report).err().map(|error| error.into_inner())
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("System")
    }
}
