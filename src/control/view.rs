//! What the control plane is asked, and how users, limits, sessions and keys look to operators.

use crate::progress::LagView;
pub use crate::supervise::ThreadView;
use std::collections::HashSet;
use std::sync::Arc;
pub use tokenist_core::batch::Profile;
use tokenist_core::close_reason::Measure;
use tokenist_core::id::{Feature, Holder, Identity, Model, OrgId, SessionId, UserId};
pub use tokenist_core::journal::Call;
use tokenist_core::key::{Key, KeyId, Maker};
use tokenist_core::limit::{Block, Limit, WindowKind};
use tokenist_core::message::Transport;
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;
pub use tokenist_core::totals::Totals;
use tokenist_core::verdict::{Remaining, Used, Verdict, WARN_PERCENT};

/// A user as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    pub user: UserId,
    /// That it is a member of, or else the one that was claimed for it last.
    pub org: Option<OrgId>,
    /// The org where it is more than a claim.
    pub member_of: Option<OrgId>,
    pub email: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
    /// Over the window that was asked for.
    pub totals: Totals,
    /// What responses under way here are charged so far, which is in no totals yet.
    pub under_way: Used,
    /// The user's own limit, or the default where `limit_is_default`.
    pub limit: Limit,
    pub limit_is_default: bool,
    pub resets_at: Option<Timestamp>,
    /// What of an enforced limit is used up: no session of the user is let in.
    pub reached: Option<Measure>,
    /// `None` if there is none or it has expired.
    pub block: Option<Block>,
    pub sessions: u32,
}

/// A limit with its holder and what was used of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitView {
    pub holder: Holder,
    /// What a user or key is called, and the id by which operators know a key.
    pub name: Option<Arc<str>>,
    pub key: Option<KeyId>,
    pub limit: Limit,
    pub limit_is_default: bool,
    /// In the limit's window.
    pub used: Used,
    /// Whole percent, see [`tokenist_core::verdict::share_used`].
    pub percent: Option<u64>,
    /// Of the limit alone, whether or not the holder is blocked.
    pub state: LimitState,
    pub resets_at: Option<Timestamp>,
}

/// How near a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitState {
    Ok,
    /// 80 percent are used.
    Warned,
    Reached,
}

impl LimitState {
    /// By the share that is used, in percent.
    pub(crate) fn of(percent: Option<u64>) -> LimitState {
        match percent {
            Some(100..) => LimitState::Reached,
            Some(percent) if percent >= u64::from(WARN_PERCENT[0]) => LimitState::Warned,
            Some(_) | None => LimitState::Ok,
        }
    }
}

/// Whose limits to list.
#[derive(Clone, Debug)]
pub struct LimitQuery {
    pub kind: Option<HolderKind>,
    /// Only holders whose id or name contains this, ignoring ASCII case.
    pub search: Option<String>,
    pub sort: LimitSort,
    pub offset: usize,
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitSort {
    /// By kind and id.
    #[default]
    Holder,
    /// The share of the limit that is used up, the greatest first.
    Used,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderKind {
    User,
    Org,
    Feature,
    Key,
}

#[derive(Clone, Debug, Default)]
pub struct LimitPage {
    pub limits: Vec<LimitView>,
    /// How many there are without offset and limit.
    pub total: usize,
}

/// Which users to list, in order of id.
#[derive(Clone, Debug, Default)]
pub struct UserQuery {
    /// Only ids greater than this.
    pub after: Option<UserId>,
    pub filter: UserFilter,
    /// At most this many.
    pub limit: usize,
    /// The window of the totals; the limit's own if `None`.
    pub window: Option<WindowKind>,
}

/// Which users to list.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Only users whose id, email or name contains this, ignoring ASCII case.
    pub search: Option<String>,
    /// Only users of this org: its members, and users that have used something under it.
    pub org: Option<OrgId>,
    /// Of the latter those that the store knows; for the list itself to fill in.
    pub recorded: Arc<HashSet<UserId>>,
    /// Only users whose block holds now.
    pub blocked: bool,
    /// Only users without a limit of their own.
    pub by_default: bool,
}

#[derive(Clone, Debug, Default)]
pub struct UserPage {
    pub users: Vec<UserView>,
    /// More follow after the last of these.
    pub more: bool,
}

/// A live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    pub session: SessionId,
    pub identity: Arc<Identity>,
    pub provider: Arc<str>,
    pub model: Option<Model>,
    pub opened_at: Timestamp,
    pub transport: Transport,
    /// By what its provider knows the call that it is, or is attached to.
    pub call: Option<Arc<str>>,
    /// It was to end, and the provider has not ended it yet.
    pub hangup_fails: bool,
    /// Since it was opened, settled responses only.
    pub totals: Totals,
    /// Of these, in the last 60 seconds.
    pub cost_last_minute: NanoUsd,
}

/// Usage by user and model since the start of the process, for audits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelTotals {
    pub user: UserId,
    pub feature: Option<Feature>,
    pub model: Model,
    pub totals: Totals,
}

/// How a call is judged that has not been made yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The first block of user, org and key; without one, what there is to say of the user.
    pub verdict: Verdict,
    /// Of the user's own limit.
    pub remaining: Remaining,
    /// So much later a rule has new sessions of the user begin.
    pub delay_ms: u64,
    /// What the call counts for.
    pub org: Option<OrgId>,
    /// Over its limit's window. A stranger has used nothing and is bound by the default.
    pub user: UserView,
}

/// Which keys to list, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyQuery {
    /// Only keys that are bound to this user.
    pub user: Option<UserId>,
    /// Likewise to this org.
    pub org: Option<OrgId>,
    /// Only keys that this login's account made.
    pub account: Option<Arc<str>>,
    /// Only keys that were made by this right.
    pub maker: Option<Maker>,
    /// Only keys that open something at this time.
    pub holds_at: Option<Timestamp>,
    /// Leaves out so many of the first.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPage {
    pub keys: Vec<Key>,
    /// How many there are without offset and limit.
    pub total: usize,
}

/// How the control plane does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub users: usize,
    /// How many users, orgs, features and keys there are that have used something or are known otherwise, and how many
    /// there may be.
    pub holders: usize,
    pub users_max: usize,
    /// A request was refused because no holder can be forgotten, and that is still so.
    pub is_full: bool,
    /// How many were.
    pub refused_full: u64,
    /// Those that were read back from the store.
    pub holders_recalled: u64,
    /// Tokenist keys, revoked ones included, and how many there may be.
    pub keys: usize,
    pub keys_max: usize,
    /// Entries of the catalog, removed ones included, and how many there may be.
    pub entries: usize,
    pub entries_max: usize,
    /// Events, session records and logs that were left out of the store.
    pub details_lost: u64,
    pub sessions: usize,
    /// Users and keys that were refused within the last five minutes.
    pub refused_recently: usize,
    /// Refusals that the record of an hour had no room for.
    pub refusals_unrecorded: u64,
    /// Users whose block holds, by an operator or a rule.
    pub blocked: usize,
    pub reports_applied: u64,
    pub reports_waiting: usize,
    /// The last commit to the store failed.
    pub store_failing: bool,
    /// Why, in a sentence.
    pub store_failure: Option<String>,
    pub batches_committed: u64,
    /// Why what is counted is not written to the journal at the moment, if so.
    pub journal_failure: Option<String>,
    /// How much was not, since the start.
    pub journal_skipped: u64,
    /// What was booked at the start because the process before had counted and not saved it.
    pub journal_rebooked: u64,
    /// How long what is counted waits for the disk.
    pub lag: LagView,
    /// The threads that are kept, see [`crate::supervise`].
    pub threads: Vec<ThreadView>,
    /// What is wrong with the copy in the central store.
    pub replication_failure: Option<String>,
    /// Rows that are not copied there yet; `None` where there is no such store.
    pub replication_waiting: Option<u64>,
    /// Limits are to hold over several instances and do not, because Redis cannot be reached or was not a moment ago.
    pub redis_failing: bool,
    /// Why, in a sentence.
    pub redis_failure: Option<String>,
    /// Instances that share limits, this one included, as far as is known. `None` without a Redis.
    pub instances: Option<u32>,
}
