//! What happens, told while somebody watches. It is kept nowhere, and costs nothing while nobody does.

use crate::view::{LimitView, SessionView};
use std::sync::Arc;
use tokenist_core::batch::SessionRecord;
use tokenist_core::id::UserId;
use tokenist_core::limit::Block;
use tokenist_core::time::Timestamp;
use tokio::sync::broadcast::{self, Receiver, Sender};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
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

/// Where it is told.
#[derive(Clone, Debug)]
pub struct Happenings(Sender<Arc<Happening>>);

impl Happenings {
    pub(crate) fn new() -> Happenings {
        Happenings(broadcast::channel(WAITING_MAX).0)
    }

    /// From now on. Who falls behind by more than a thousand loses the oldest, and is told how many.
    pub fn watch(&self) -> Receiver<Arc<Happening>> {
        self.0.subscribe()
    }

    pub(crate) fn tell(&self, happening: impl FnOnce() -> Option<Happening>) {
        if self.0.receiver_count() > 0
            && let Some(happening) = happening()
        {
            self.0.send(Arc::new(happening)).ok(); // The last one may have left meanwhile.
        }
    }
}

const WAITING_MAX: usize = 1_024;
