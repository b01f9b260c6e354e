//! What the ledger hands to a store, and what it wants back at the next start.
//!
//! Invariant: everything in a [`Batch`] is absolute and carries a serial number, so committing it twice, or after a
//! newer one, changes nothing.

use crate::id::{Feature, Holder, Model, OrgId, UserId};
use crate::limit::{Block, Limit};
use crate::message::{Closed, Delta, Opened};
use crate::time::Timestamp;
use crate::totals::Totals;
use std::sync::Arc;

/// What changed since the last batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub rollups: Vec<Rollup>,
    pub holders: Vec<HolderState>,
    pub sessions: Vec<SessionRecord>,
    pub events: Vec<Event>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.rollups.is_empty()
            && self.holders.is_empty()
            && self.sessions.is_empty()
            && self.events.is_empty()
    }
}

/// A number that one ledger gives once. Greater means later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub u64);

/// The growing sum of one user's usage of a model within an hour, by one writer.
///
/// There can be several rows of the same hour: a ledger that has forgotten one begins another under a new serial.
/// So a row is never begun twice, and a reader adds up what it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// Which row of its writer this is.
    pub row: Serial,
    pub user: UserId,
    pub org: Option<OrgId>,
    pub feature: Option<Feature>,
    pub model: Model,
    /// The start of the hour.
    pub hour: Timestamp,
    pub totals: Totals,
}

/// Who a holder is and what binds it. The greater revision holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderState {
    pub holder: Holder,
    pub revision: Serial,
    pub profile: Profile,
    /// `None` is bound by the default.
    pub limit: Option<Limit>,
    pub block: Option<Block>,
}

/// What sessions have said of their user, each field the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub org: Option<OrgId>,
    pub email: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
}

/// A session that is over. Written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    pub opened: Opened,
    pub closed: Closed,
    pub totals: Totals,
}

/// A metered response. Written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub serial: Serial,
    pub delta: Delta,
}

/// What a ledger needs to go on where an earlier one stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The latest revision of every holder.
    pub holders: Vec<HolderState>,
    /// The usage of every user, in whatever pieces the store has; the sum is what matters.
    pub usage: Vec<Piece>,
}

/// Usage that lies in the same windows altogether: not more than a month of the past months, a day of this month, or
/// the store's finest grain of the last 24 hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub user: UserId,
    pub org: Option<OrgId>,
    /// Decides the windows that it counts in; where in doubt, the latest time it may be of.
    pub at: Timestamp,
    pub totals: Totals,
}
