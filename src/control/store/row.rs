//! What a ledger file holds for copies elsewhere: its rows, each as it stands.
//!
//! A row that changes again moves to the end of the order of changes, so a copier reads on from where it stopped
//! and sees the row's newest state. Rows are absolute, so a copy may take them twice, late, or out of order.

use tokenist_core::audit::Audit;
use tokenist_core::batch::{Event, HolderState, Log, Mark, Rollup, SessionRecord, Stamped};
use tokenist_core::catalog::Entry;
use tokenist_core::id::{KeyHash, OrgId, UserId};
use tokenist_core::key::Key;
use tokenist_core::refusal::Refusal;
use tokenist_core::time::Timestamp;
use tokenist_core::totals::Totals;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Where in the order of changes.
    pub(crate) number: u64,
    /// `None` where the file has dropped the row for its age.
    pub(crate) row: Option<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// With the generation that numbered it; likewise the next two.
    Rollup(u64, Rollup),
    Event(u64, Event),
    Session(u64, SessionRecord),
    Log(Log),
    Mark(Mark),
    Audit(Audit),
    Refusal(Refusal),
    Sum(Sum),
    /// With one part set, the others as if they never were.
    Holder(HolderState),
    Key(Stamped<Key>),
    Entry(Stamped<Entry>),
}

/// What one ledger has counted in a day or a month of UTC. It only grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) of: SumOf,
    /// The day's or month's first millisecond.
    pub(crate) start: Timestamp,
    pub(crate) totals: Totals,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SumOf {
    /// A user within an org, or without one.
    MemberDay {
        user: UserId,
        org: Option<OrgId>,
    },
    MemberMonth {
        user: UserId,
        org: Option<OrgId>,
    },
    OrgDay(Option<OrgId>),
    KeyDay(KeyHash),
}
