//! Where batches last: one trait to write and one to read, one driver a file, one contract suite for all of them.
//!
//! Start at [`Store`]. It runs on the writer thread and may block there; a [`Reader`] runs on a thread of its own.
//!
//! Invariant: a store is a set of greatest values. Rollup rows grow, the greater revision of a setting holds, events,
//! logs and session records are written once; so a batch may be committed again, late, or after a newer one.

#[cfg(test)]
pub(crate) mod contract;
mod measure;
pub mod memory;
#[cfg(feature = "mongodb")]
pub mod mongo;
mod patience;
#[cfg(feature = "mongodb")]
mod row;
pub mod sqlite;

pub use memory::Memory;
#[cfg(feature = "mongodb")]
pub use mongo::Mongo;
pub use patience::Patience;
pub use sqlite::Sqlite;

use crate::progress::Replication;
use crate::run::Run;
use crate::setting::SettingUpdate;
use crate::supervise::Supervisor;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tokenist_core::audit::{Actor, Audit};
use tokenist_core::batch::{Batch, Event, Log, Recalled, Restored, Rollup, SessionRecord};
use tokenist_core::id::{Feature, Holder, Identity, Model, OrgId, UserId};
use tokenist_core::journal::{Item, Upto};
use tokenist_core::key::KeyId;
use tokenist_core::refusal::{Refusal, Refused};
use tokenist_core::time::{Now, Timestamp};
use tokenist_core::totals::Totals;
use tokenist_handoff::Lane;

/// Rows belong to a writer: one incarnation of one store by one process. A driver that persists names its writer anew
/// each time it is opened, before the first commit, for a ledger begins to number its rows afresh with each start.
pub trait Store: Send {
    /// What a ledger needs to go on: the latest revision of every setting, and all usage up to `now`, over all
    /// writers of this store. Where there are more than `holders_max` and the store can [recall](Store::recaller) the
    /// others, of those that were used last.
    fn restore(&mut self, now: Timestamp, holders_max: usize) -> Result<Restored, StoreError>;

    /// A way to read what is committed of single holders while the writer goes on. `None`: it cannot be told, or not
    /// whole.
    fn recaller(&self) -> Result<Option<Box<dyn Recall>>, StoreError> {
        Ok(None)
    }

    /// Commits the whole batch or, failing, any part of it: the writer commits it again until it succeeds. What is
    /// committed survives a crash if the store persists at all.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// What the next lane of an earlier incarnation's journal holds that was counted and not committed, in order,
    /// each with up to where the lane is booked with it. `None`: there is no more. Called before [`Store::lanes`].
    fn left_over(&mut self) -> Result<Option<Vec<(Item, Upto)>>, StoreError> {
        Ok(None)
    }

    /// Begins a journal of so many lanes, in which what is counted outlives the process until it is committed; what is
    /// left of earlier ones is forgotten. None where nothing outlives it. What [`Batch::booked`] says of them is
    /// committed with the batch, and their room is free for more then.
    fn lanes(&mut self, count: usize) -> Result<Vec<Lane>, StoreError> {
        let _ = count;
        Ok(Vec::new())
    }

    /// The run that counts in this store, if that outlives the process: what is summed here goes on growing under
    /// that name.
    fn run(&self) -> Option<Run> {
        None
    }

    /// A way to read what is committed while the writer goes on.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;

    /// Called after a commit that panicked, before the next: whatever it has left half done is not believed.
    fn recover(&mut self) {}

    /// Drops what is older than it has to be kept, and does what else keeps the store small. Called between commits,
    /// which wait for it: so it does what a few hundredths of a second allow.
    fn prune(&mut self, now: Now) -> Result<Pruned, StoreError> {
        let _ = now;
        Ok(Pruned::default())
    }

    /// Called once, before the first session, where the store brings what other instances have set: it starts threads
    /// that `supervisor` keeps and hands them to `updates`.
    fn attach(&mut self, supervisor: &Supervisor, updates: Box<dyn SettingSink>) -> Result<(), StoreError> {
        let _ = (supervisor, updates);
        Ok(())
    }

    /// How the copy elsewhere does, if there is one.
    fn replication(&self) -> Option<Arc<Replication>> {
        None
    }

    /// Called after the last commit: time to finish copies elsewhere, until the deadline.
    fn close(&mut self, deadline: Instant) {
        let _ = deadline;
    }
}

/// Takes what other instances have set.
pub trait SettingSink: Send {
    /// Waits until it holds here, where it is later than what is known.
    fn adopt(&self, updates: Vec<SettingUpdate>) -> Result<(), SinkError>;
}

/// Why settings were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkError {
    /// There is no aggregator any more.
    Gone,
    /// They are to be handed over again later.
    NotNow(String),
}

/// Reads what is committed of single holders, for those that come back after they were forgotten.
pub trait Recall: Send {
    /// As [`Store::restore`] would give it at `now`, in the order in which they are asked for.
    fn recall(&mut self, holders: &[Holder], now: Timestamp) -> Result<Vec<Recalled>, StoreError>;
}

/// What one slice of pruning has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// There is more to do.
    pub has_more: bool,
    /// The wall clock has leapt ahead and is not believed.
    pub is_held: bool,
}

/// Reads what is committed, over all writers.
pub trait Reader: Send {
    /// How long the next questions may take, where they can be broken off: they fail then.
    fn hurry(&mut self, patience: &Patience) {
        let _ = patience;
    }

    /// Usage summed by the dimensions asked for.
    fn usage(&mut self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError>;

    /// As [`Reader::usage`], one row after the other, so that no caller has to hold all of them. Ends when `take`
    /// says no.
    fn usage_each(
        &mut self,
        query: &UsageQuery,
        take: &mut dyn FnMut(UsageRow) -> bool,
    ) -> Result<(), StoreError> {
        for row in self.usage(query)? {
            if !take(row) {
                break;
            }
        }
        Ok(())
    }

    /// How many rows [`Reader::usage`] would give without a limit.
    fn usage_count(&mut self, query: &UsageQuery) -> Result<usize, StoreError> {
        self.usage(&UsageQuery { limit: usize::MAX, ..query.clone() }).map(|rows| rows.len())
    }

    /// Both at once.
    fn usage_page(&mut self, query: &UsageQuery) -> Result<(Vec<UsageRow>, usize), StoreError> {
        let rows = self.usage(query)?;
        // Only a full list may have been cut.
        let count = if rows.len() < query.limit { rows.len() } else { self.usage_count(query)? };
        Ok((rows, count))
    }

    /// Metered responses by the time they were reported, the newest first.
    fn events(&mut self, filter: &Filter) -> Result<Vec<Event>, StoreError>;

    /// Sessions by the time they closed, the newest first.
    fn sessions(&mut self, filter: &Filter) -> Result<Vec<SessionRecord>, StoreError>;

    /// Calls that applications described, the newest first.
    fn logs(&mut self, filter: &Filter) -> Result<Vec<Log>, StoreError>;

    /// What operators changed, the newest first.
    fn audits(&mut self, filter: &AuditFilter) -> Result<Vec<Audit>, StoreError>;

    /// Refusals, the newest first.
    fn refusals(&mut self, filter: &RefusalFilter) -> Result<Vec<Refusal>, StoreError>;

    /// How many [`Reader::logs`] would give without offset and limit.
    fn log_count(&mut self, filter: &Filter) -> Result<usize, StoreError>;

    /// Whether one of these calls was counted.
    fn has_marked(&mut self, ids: &[Arc<str>]) -> Result<bool, StoreError>;

    /// The one that has this id.
    fn log(&mut self, id: &str) -> Result<Option<Log>, StoreError>;
}

/// Which details to read.
#[derive(Clone, Debug)]
pub struct Filter {
    pub user: Option<UserId>,
    pub org: Option<OrgId>,
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
    /// Leaves out so many of the first.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// Which changes to read.
#[derive(Clone, Debug)]
pub struct AuditFilter {
    /// The actor's id or name.
    pub actor: Option<Arc<str>>,
    pub action: Option<Arc<str>>,
    /// The subject's id.
    pub subject: Option<Arc<str>>,
    /// Leaves out so many of the first.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// Which refusals to read.
#[derive(Clone, Debug)]
pub struct RefusalFilter {
    pub user: Option<UserId>,
    pub org: Option<OrgId>,
    /// By the id that operators know it by.
    pub key: Option<KeyId>,
    pub reason: Option<Arc<str>>,
    /// Only what comes after this one, in the order of the list: its minute and id.
    pub after: Option<(Timestamp, Arc<str>)>,
    /// At most so many.
    pub limit: usize,
}

/// What to sum up, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// Usage counts where its rollup row begins, so times within an hour are only as exact as the row is fine.
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
    /// Empty is all users.
    pub users: Vec<UserId>,
    pub org: Option<OrgId>,
    pub feature: Option<Feature>,
    pub provider: Option<Arc<str>>,
    pub model: Option<Model>,
    /// Only these of one dimension that is no time; the empty text is usage without one.
    pub among: Option<(Dimension, Vec<Arc<str>>)>,
    /// One row for each combination of these; empty is one row in all, or none if nothing was used.
    pub by: Vec<Dimension>,
    pub order: Order,
    /// At most so many rows.
    pub limit: usize,
}

/// What usage can be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    User,
    Org,
    Feature,
    Provider,
    Model,
    /// By the hour's, day's or month's start in UTC; at most one of the three in a query.
    Hour,
    Day,
    Month,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The dearest first, those of the same cost by their keys.
    #[default]
    Cost,
    /// By time, the oldest first, then by the other dimensions as [`UsageKey`] lists them.
    Key,
}

/// What a sum is of. What was not asked for is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// The start of the hour, day or month.
    pub at: Option<Timestamp>,
    pub user: Option<UserId>,
    /// `None` too where the usage had none; likewise the feature.
    pub org: Option<OrgId>,
    pub feature: Option<Feature>,
    pub provider: Option<Arc<str>>,
    pub model: Option<Model>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRow {
    pub key: UsageKey,
    pub totals: Totals,
}

impl Default for UsageQuery {
    fn default() -> UsageQuery {
        UsageQuery {
            from: Timestamp(0),
            to: Timestamp::MAX,
            users: Vec::new(),
            org: None,
            feature: None,
            provider: None,
            model: None,
            among: None,
            by: Vec::new(),
            order: Order::Cost,
            limit: usize::MAX,
        }
    }
}

impl Default for Filter {
    fn default() -> Filter {
        Filter { user: None, org: None, from: Timestamp(0), to: Timestamp::MAX, offset: 0, limit: usize::MAX }
    }
}

impl Default for RefusalFilter {
    fn default() -> RefusalFilter {
        RefusalFilter { user: None, org: None, key: None, reason: None, after: None, limit: usize::MAX }
    }
}

impl RefusalFilter {
    fn admits(&self, refusal: &Refusal) -> bool {
        let Refused { user, org, key, reason, .. } = &refusal.last;
        self.user.as_ref().is_none_or(|wanted| user.as_ref() == Some(wanted))
            && self.org.as_ref().is_none_or(|wanted| org.as_ref() == Some(wanted))
            && self.key.as_ref().is_none_or(|wanted| key.as_ref() == Some(wanted))
            && self.reason.as_ref().is_none_or(|wanted| reason.code == *wanted)
            && self.after.as_ref().is_none_or(|(minute, id)| (refusal.minute, &refusal.id) < (*minute, id))
    }
}

impl Default for AuditFilter {
    fn default() -> AuditFilter {
        AuditFilter { actor: None, action: None, subject: None, offset: 0, limit: usize::MAX }
    }
}

impl AuditFilter {
    fn admits(&self, audit: &Audit) -> bool {
        let Actor { kind: _, id, name } = &audit.actor;
        self.actor.as_ref().is_none_or(|actor| id.as_ref() == Some(actor) || name == actor)
            && self.action.as_ref().is_none_or(|action| audit.action == *action)
            && self.subject.as_ref().is_none_or(|subject| audit.subject.id == *subject)
    }
}

impl UsageQuery {
    pub fn admits(&self, row: &Rollup) -> bool {
        (self.from..self.to).contains(&row.start)
            && (self.users.is_empty() || self.users.contains(&row.user))
            && self.org.as_ref().is_none_or(|org| row.org.as_ref() == Some(org))
            && self.feature.as_ref().is_none_or(|feature| row.feature.as_ref() == Some(feature))
            && self.provider.as_ref().is_none_or(|provider| row.provider == *provider)
            && self.model.as_ref().is_none_or(|model| row.model == *model)
            && self.among.as_ref().is_none_or(|(dimension, texts)| {
                let text = match dimension {
                    Dimension::User => Some(row.user.as_str()),
                    Dimension::Org => row.org.as_ref().map(OrgId::as_str),
                    Dimension::Feature => row.feature.as_ref().map(Feature::as_str),
                    Dimension::Provider => Some(&*row.provider),
                    Dimension::Model => Some(row.model.as_str()),
                    Dimension::Hour | Dimension::Day | Dimension::Month => None,
                };
                texts.iter().any(|wanted| **wanted == *text.unwrap_or_default())
            })
    }

    /// Whether something finer is asked for than users and orgs.
    fn is_fine(&self) -> bool {
        let asks = |dimension| {
            self.by.contains(&dimension) || self.among.as_ref().is_some_and(|(among, _)| *among == dimension)
        };
        self.feature.is_some()
            || self.provider.is_some()
            || self.model.is_some()
            || [Dimension::Feature, Dimension::Provider, Dimension::Model].into_iter().any(asks)
    }

    /// Whether users are told apart.
    fn is_of_users(&self) -> bool {
        !self.users.is_empty()
            || self.by.contains(&Dimension::User)
            || self.among.as_ref().is_some_and(|(among, _)| *among == Dimension::User)
    }
}

impl Filter {
    fn admits(&self, identity: &Identity, at: Timestamp) -> bool {
        self.user.as_ref().is_none_or(|wanted| *wanted == identity.user)
            && self.org.as_ref().is_none_or(|wanted| Some(wanted) == identity.org.as_ref())
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
