//! What surrounds a simulated shard: the world's clocks, a lane of the journal, and the queue to the aggregator.

use crate::amount::Amount;
use crate::queue::Queue;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use tokenist_core::journal;
use tokenist_core::message::Delta;
use tokenist_core::time::{Now, Timestamp};
use tokenist_handoff::{Lane, Report};
use tokenist_proxy::environment::Environment;

/// The product's own, with its sessions; without sockets.
pub(crate) type OwnShard = tokenist_proxy::shard::Shard<Around>;

pub(crate) struct Around {
    clock: Rc<Cell<Now>>,
    queue: Rc<RefCell<Queue>>,
    /// Where there is a journal.
    lane: RefCell<Option<Lane>>,
    /// The last number that was given to something counted, anywhere.
    numbers: Rc<Cell<u64>>,
    /// What was counted here since somebody asked.
    counted: RefCell<Vec<Counted>>,
}

/// A response, or an estimate in its place, as it left its session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    pub(crate) amount: Amount,
    pub(crate) is_estimated: bool,
    pub(crate) is_in_journal: bool,
}

impl Around {
    pub(crate) fn new(
        clock: Rc<Cell<Now>>,
        queue: Rc<RefCell<Queue>>,
        lane: Option<Lane>,
        numbers: Rc<Cell<u64>>,
    ) -> Around {
        Around { clock, queue, lane: RefCell::new(lane), numbers, counted: RefCell::default() }
    }

    pub(crate) fn take_counted(&self) -> Vec<Counted> {
        self.counted.take()
    }
}

impl Environment for Around {
    fn now(&self) -> Now {
        self.clock.get()
    }

    fn follow_clock(&self) {}

    fn set_down(&self, mut delta: Delta) -> Report {
        let number = self.numbers.get() + 1;
        self.numbers.set(number);
        // Nothing is made of it, so it can carry the number to the store and back.
        delta.latency_ms = Some(number);
        let mut lane = self.lane.borrow_mut();
        let upto = lane.as_mut().and_then(|lane| lane.append(|record| journal::write_delta(&delta, record)));
        self.counted.borrow_mut().push(Counted {
            number,
            at: delta.at,
            amount: Amount { nano: delta.cost.0, tokens: delta.usage.total_tokens() as i64 },
            is_estimated: delta.estimated,
            is_in_journal: upto.is_some(),
        });
        Report::Charged(delta, upto)
    }

    fn look(&self) {
        self.lane.borrow_mut().iter_mut().for_each(Lane::look);
    }

    fn send(&self, report: Report) -> Option<Report> {
        self.queue.borrow_mut().try_send(report)
    }
}

impl fmt::Debug for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Around")
    }
}
