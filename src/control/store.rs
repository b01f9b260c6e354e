//! Where batches last: one trait, one driver a file, one contract suite for all of them.
//!
//! Start at [`Store`]. Every driver runs on the writer thread and may block there.
//!
//! Invariant: a store is a set of greatest values. Rollup rows grow, the greater revision of a holder holds, events
//! and session records are written once; so a batch may be committed again, late, or after a newer one.

#[cfg(test)]
pub(crate) mod contract;
pub mod memory;

pub use memory::Memory;

use std::fmt;
use tokenist_core::batch::{Batch, Event, Restored, Rollup, SessionRecord};
use tokenist_core::id::{OrgId, UserId};
use tokenist_core::time::Timestamp;

/// Rows belong to a writer: one opening of one store by one process. A driver that persists names its writer anew
/// each time it is opened, before the first commit, for a ledger begins to number its rows afresh with each start.
pub trait Store: Send {
    /// What a ledger needs to go on: the latest revision of every holder, and everybody's usage up to `now`, over all
    /// writers.
    fn restore(&mut self, now: Timestamp) -> Result<Restored, StoreError>;

    /// Commits the whole batch or, failing, any part of it: the writer commits it again until it succeeds. What is
    /// committed survives a crash if the store persists at all.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// Rollup rows of all writers by their hour, the oldest first.
    fn rollups(&mut self, filter: &Filter) -> Result<Vec<Rollup>, StoreError>;

    /// Metered responses by the time they were reported, the newest first.
    fn events(&mut self, filter: &Filter) -> Result<Vec<Event>, StoreError>;

    /// Sessions by the time they closed, the newest first.
    fn sessions(&mut self, filter: &Filter) -> Result<Vec<SessionRecord>, StoreError>;
}

/// Which rows to read.
#[derive(Clone, Debug)]
pub struct Filter {
    pub user: Option<UserId>,
    pub org: Option<OrgId>,
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
    /// At most so many.
    pub limit: usize,
}

impl Filter {
    fn admits(&self, user: &UserId, org: Option<&OrgId>, at: Timestamp) -> bool {
        self.user.as_ref().is_none_or(|wanted| wanted == user)
            && self.org.as_ref().is_none_or(|wanted| Some(wanted) == org)
            && (self.from..self.to).contains(&at)
    }
}

/// Why a store could not do as asked. Whatever it was, the writer tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}
