//! What a [`Handle`] asks and orders, for a driver of an [`Aggregator`] without a thread.
//!
//! No store is read here: what is asked of the past is answered with [`CommandError::Gone`].
//!
//! [`CommandError::Gone`]: crate::error::CommandError::Gone

use crate::aggregator::{Aggregator, Obeyed, Turn};
use crate::command::Command;
use crate::domain_event::DomainEvents;
use crate::handle::Handle;
use crate::prices::Prices;
use crate::reads::Reads;
use crate::supervise::Supervisor;
use crossbeam::channel::{self, Receiver};
use std::sync::Arc;
use std::time::Duration;
use tokenist_core::limit::Limit;
use tokenist_core::time::Timestamp;

/// The commands that wait.
#[derive(Debug)]
pub struct Desk(Receiver<Command>);

impl Desk {
    /// At most so many wait; the next one is told that the ledger is busy.
    pub fn new(waiting_max: usize, prices: Arc<Prices>, default_limit: Limit) -> (Handle, Desk) {
        let (commands, waiting) = channel::bounded(waiting_max);
        let (supervisor, domain_events) = (Supervisor::default(), DomainEvents::new());
        let handle =
            Handle::new(commands, Reads::none(), supervisor, prices, default_limit, None, domain_events);
        (handle, Desk(waiting))
    }

    pub fn waiting_count(&self) -> usize {
        self.0.len()
    }

    /// One turn of commands, of which there is one at least if any waits. `spent` says how long ago it began.
    pub fn serve(
        &self,
        aggregator: &mut Aggregator,
        spent: &dyn Fn() -> Duration,
        now: Timestamp,
        reports_waiting: usize,
    ) -> bool {
        aggregator.obey(&self.0, &Turn::new(spent), now, reports_waiting) == Obeyed::Some
    }
}
