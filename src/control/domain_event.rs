//! Domain events, published to subscribers. They are kept nowhere, and cost nothing while there are none.

use crate::view::{LimitView, SessionView};
use std::sync::Arc;
use tokenist_core::batch::SessionRecord;
use tokenist_core::id::UserId;
use tokenist_core::limit::Block;
use tokenist_core::time::Timestamp;
use tokio::sync::broadcast::{self, Receiver, Sender};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainEvent {
    SessionOpened(SessionView),
    SessionClosed(SessionRecord),
    /// A share of a limit was reached for the first time in its window.
    Limit {
        view: LimitView,
        percent: u8,
    },
    Blocked {
        user: UserId,
        block: Block,
    },
    Unblocked {
        user: UserId,
        at: Timestamp,
    },
}

/// Where they are published.
#[derive(Clone, Debug)]
pub struct DomainEvents(Sender<Arc<DomainEvent>>);

impl DomainEvents {
    pub(crate) fn new() -> DomainEvents {
        DomainEvents(broadcast::channel(WAITING_MAX).0)
    }

    /// From now on. A subscriber that falls behind by more than a thousand loses the oldest, and is told how many.
    pub fn subscribe(&self) -> Receiver<Arc<DomainEvent>> {
        self.0.subscribe()
    }

    pub(crate) fn publish(&self, event: impl FnOnce() -> Option<DomainEvent>) {
        if self.0.receiver_count() > 0
            && let Some(event) = event()
        {
            self.0.send(Arc::new(event)).ok(); // The last one may have left meanwhile.
        }
    }
}

const WAITING_MAX: usize = 1_024;
