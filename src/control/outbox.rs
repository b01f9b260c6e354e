//! What the ledger file holds for copies elsewhere: its rows in the order in which they changed.
//!
//! A row that changes again moves to the end of that order, so whoever copies reads on from where it stopped and sees
//! the row's newest state. Rows are absolute, so a copy may take them twice, late, or out of order.

use crate::store::StoreError;
use tokenist_core::batch::{Event, HolderState, Log, Rollup, SessionRecord, Stamped};
use tokenist_core::id::{KeyHash, OrgId, UserId};
use tokenist_core::key::Key;
use tokenist_core::time::Timestamp;
use tokenist_core::totals::Totals;

/// Reads the ledger file beside its writer.
pub trait Outbox: Send {
    /// Who counts in this file, unique among all ledgers. Sums go on growing under the same name after a restart.
    fn writer(&self) -> String;

    /// This opening of the file, greater than any before: rows of [`Rollup`], events and sessions are numbered anew in
    /// each.
    fn generation(&self) -> u64;

    /// Rows that changed after number `after`, in that order, at most `limit`.
    fn changes(&mut self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// Everything up to this number is copied: the file may forget it once it is old enough.
    fn copied(&mut self, upto: u64);
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where in the order of changes.
    pub number: u64,
    pub row: Row,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// With the generation that numbered it; likewise the next two.
    Rollup(u64, Rollup),
    Event(u64, Event),
    Session(u64, SessionRecord),
    Log(Log),
    Sum(Sum),
    Holder(HolderState),
    Key(Stamped<Key>),
}

/// What one writer has counted in a day or a month of UTC. It only grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub of: SumOf,
    pub span: Span,
    /// The day's or month's first millisecond.
    pub start: Timestamp,
    pub totals: Totals,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SumOf {
    /// A user within an org, or without one. By day and by month.
    Member { user: UserId, org: Option<OrgId> },
    /// By day.
    Org(OrgId),
    /// By day.
    Key(KeyHash),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    Day,
    Month,
}
