//! What the ledger hands to a store, and what it wants back at the next start.
//!
//! Invariant: everything in a [`Batch`] is absolute and carries a serial number or a revision, so committing it twice,
//! or after a newer one, changes nothing.

use crate::audit::Audit;
use crate::catalog::Entry;
use crate::id::{Feature, Holder, KeyHash, Model, OrgId, UserId};
use crate::journal::Upto;
use crate::key::Key;
use crate::limit::{Block, Limit};
pub use crate::message::Log;
use crate::message::{Closed, Delta, Opened};
pub use crate::profile::Profile;
use crate::refusal::Refusal;
pub use crate::revision::{Revision, Stamped};
use crate::time::{HOUR_MS, Timestamp};
use crate::totals::Totals;
use crate::window::BUCKET_MS;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What changed since the last batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub rollups: Vec<Rollup>,
    pub holders: Vec<HolderState>,
    pub keys: Vec<Stamped<Key>>,
    pub entries: Vec<Stamped<Entry>>,
    pub sessions: Vec<SessionRecord>,
    pub events: Vec<Event>,
    pub logs: Vec<Log>,
    pub marks: Vec<Mark>,
    pub audits: Vec<Audit>,
    /// Refusals: rows that have grown.
    pub refusals: Vec<Refusal>,
    /// Up to where this batch and those before have all that each lane of the journal tells.
    pub booked: Vec<Upto>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.rollups.is_empty()
            && self.holders.is_empty()
            && self.keys.is_empty()
            && self.entries.is_empty()
            && self.sessions.is_empty()
            && self.events.is_empty()
            && self.logs.is_empty()
            && self.marks.is_empty()
            && self.audits.is_empty()
            && self.refusals.is_empty()
            && self.booked.is_empty()
    }
}

/// A number that one ledger gives once. Greater means later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Serial(pub u64);

/// The span of a rollup row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    /// For those whose limit sums over the last 24 hours, so that a restart knows their buckets.
    FiveMinutes,
    Hour,
}

/// The growing sum of one user's usage of a model within an hour, or five minutes, by one writer.
///
/// There can be several rows of the same hour: a ledger that has forgotten one begins another under a new serial.
/// So a row is never begun twice, and a reader adds up what it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// Which row of its writer this is.
    pub row: Serial,
    pub user: UserId,
    pub org: Option<OrgId>,
    /// The tokenist key by which the user came.
    pub key: Option<KeyHash>,
    pub feature: Option<Feature>,
    pub provider: Arc<str>,
    pub model: Model,
    pub start: Timestamp,
    pub grain: Grain,
    pub totals: Totals,
}

/// A holder's profile and what binds it, each part with a revision of its own, for different operators and instances
/// may set them at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderState {
    pub holder: Holder,
    pub profile: Stamped<Profile>,
    /// `None` is bound by the default.
    pub limit: Stamped<Option<Limit>>,
    pub block: Stamped<Option<Block>>,
}

/// A session that is over. Written once, and again each time that it was resumed and is over anew: the latest end holds.
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

/// That a call was counted which its application may send again. Written once, and kept as long as details are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The same for all that are the same call.
    pub id: Arc<str>,
    pub at: Timestamp,
}

/// What a ledger needs to go on where an earlier one stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The latest revision of what is set for these holders.
    pub holders: Vec<HolderState>,
    pub keys: Vec<Stamped<Key>>,
    pub entries: Vec<Stamped<Entry>>,
    /// Their usage, in whatever pieces the store has; the sum is what matters.
    pub usage: Vec<Piece>,
    /// The store knows more holders than these.
    pub is_partial: bool,
    /// What is set for those of them that have a limit or a block.
    pub without_slot: Vec<HolderState>,
}

/// What a store has of one holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    pub state: HolderState,
    pub usage: Vec<Piece>,
}

/// Usage of one holder that lies in the same windows altogether: of past months, of days of this month, or of the
/// store's finest grain in the last 24 hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub holder: Holder,
    /// Decides the windows that it counts in; where in doubt, the latest time it may be of.
    pub at: Timestamp,
    pub totals: Totals,
}

impl Recalled {
    /// Of a holder that the store has never heard of.
    pub fn nothing(holder: Holder) -> Recalled {
        Recalled { state: HolderState::of(holder), usage: Vec::new() }
    }

    pub fn is_nothing(&self) -> bool {
        self.usage.is_empty() && self.state.revision() == Revision::default()
    }
}

impl Grain {
    pub fn ms(self) -> u64 {
        match self {
            Grain::FiveMinutes => BUCKET_MS,
            Grain::Hour => HOUR_MS,
        }
    }

    /// The start of the span that `at` lies in.
    pub fn start(self, at: Timestamp) -> Timestamp {
        Timestamp(at.0 - at.0 % self.ms())
    }
}

impl Log {
    /// How much its request and response take.
    pub fn body_bytes(&self) -> usize {
        [&self.request, &self.response].into_iter().flatten().map(|body| body.len()).sum()
    }
}

impl Rollup {
    /// The latest time by `now` that the row may hold something of; its start if that is still to come.
    pub fn last(&self, now: Timestamp) -> Timestamp {
        self.start.plus_ms(self.grain.ms() - 1).min(now.max(self.start))
    }

    /// Whose windows the row counts in.
    pub fn holders(&self) -> impl Iterator<Item = Holder> {
        let org = self.org.clone().map(Holder::Org);
        let feature = self.feature.clone().map(Holder::Feature);
        let key = self.key.map(Holder::Key);
        [Some(Holder::User(self.user.clone())), org, feature, key].into_iter().flatten()
    }
}

impl HolderState {
    /// A holder of which nothing was ever set.
    pub fn of(holder: Holder) -> HolderState {
        HolderState {
            holder,
            profile: Stamped::default(),
            limit: Stamped::default(),
            block: Stamped::default(),
        }
    }

    /// Whether it has a limit of its own or is blocked.
    pub fn binds(&self) -> bool {
        self.limit.value.is_some() || self.block.value.is_some()
    }

    /// Takes over whatever was set later. Whether something was.
    pub fn join(&mut self, other: HolderState) -> bool {
        let HolderState { holder: _, profile, limit, block } = other;
        self.profile.join(profile) | self.limit.join(limit) | self.block.join(block)
    }

    /// The latest revision of any part.
    pub fn revision(&self) -> Revision {
        self.profile.revision.max(self.limit.revision).max(self.block.revision)
    }
}
