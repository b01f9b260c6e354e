//! What shards and the aggregator say to each other.

use crate::account::Account;
use crate::resumable::{HandleHash, Resumable};
use std::sync::Arc;
use tokenist_core::authority::Mute;
use tokenist_core::browser_token::TokenId;
use tokenist_core::id::{Feature, Identity, KeyHash, OrgId, SessionId, UserId};
use tokenist_core::journal::Upto;
use tokenist_core::kept_response::{Counted, ResponseId};
use tokenist_core::limit::AccountState;
use tokenist_core::message::{Closed, Delta, Opened, Rejected};
use tokenist_core::models::Models;
use tokenist_core::time::Timestamp;
use tokenist_core::verdict::Used;

/// From a shard to the aggregator.
#[derive(Debug)]
pub enum Report {
    /// A shard does not know one of the accounts that a request would charge. Answered by [`Order::Admission`] to
    /// shard number `shard`, with the same ticket.
    Admit {
        shard: usize,
        ticket: u64,
        admission: Admission,
    },
    /// A connection wants to go on with a session. Answered by [`Order::Admission`], likewise, with [`Answer::Resumed`].
    Resume {
        shard: usize,
        ticket: u64,
        handle: HandleHash,
    },
    /// A page shows a token. Answered by [`Order::Admission`], likewise, with [`Answer::Shown`].
    Show {
        shard: usize,
        ticket: u64,
        token: ShownToken,
    },
    /// A request names a response that its provider keeps. Answered by [`Order::Admission`], likewise, with
    /// [`Answer::Response`].
    Find {
        shard: usize,
        ticket: u64,
        response: ResponseId,
        user: UserId,
    },
    Response(Box<ResponseReport>),
    /// A request or a socket names a call. Answered by [`Order::Admission`], likewise, with [`Answer::Call`].
    FindCall {
        shard: usize,
        ticket: u64,
        call: Arc<str>,
    },
    Call(Box<CallReport>),
    /// A connection whose session is open already has resumed it.
    Opened(Opened),
    /// Up to where the journal is written with it; `None`: it is not in the journal.
    Charged(Delta, Option<Upto>),
    /// One connection of a session has ended.
    Closed(Closed),
    /// The session can be resumed by this.
    Resumable {
        handle: HandleHash,
        session: Arc<Resumable>,
    },
    Refused(Box<Rejected>),
}

/// What is heard of a response that its provider keeps.
#[derive(Clone, Debug)]
pub enum ResponseReport {
    /// It was answered to this user, and counted with that.
    Answered { response: ResponseId, user: UserId },
    /// It is under way. If nothing is heard of it for so long, this is to be booked, by estimate.
    UnderWay { response: ResponseId, estimate: Delta, wait_ms: u64 },
    /// What its provider states. It is charged. Up to where the journal is written with it, as in [`Report::Charged`].
    Stated { response: ResponseId, delta: Delta, upto: Option<Upto> },
    /// It has come to nothing more.
    Failed { response: ResponseId },
}

/// What is heard of a call that was begun here.
#[derive(Clone, Debug)]
pub enum CallReport {
    /// It was, and is a session, which meters it.
    Made { call: Arc<str>, owner: CallOwner },
    /// Whether it goes on although it was to end.
    Hangup { session: SessionId, fails: bool },
    /// It is over, or no session meters it.
    Over { call: Arc<str> },
}

/// Whose a call is, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOwner {
    /// The provider's name.
    pub provider: Arc<str>,
    pub user: UserId,
    pub org: Option<OrgId>,
}

/// What the aggregator knows of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundResponse {
    /// It was answered to another user.
    pub is_anothers: bool,
    pub counted: Counted,
}

/// A shard's end of the queue to the aggregator.
pub type ReportSender = crossbeam::channel::Sender<Report>;

/// What a shard asks of the aggregator.
#[derive(Clone, Debug)]
pub enum Admission {
    /// The caller brought its own provider key and said which user it is.
    Identity(Arc<Identity>),
    /// The caller showed a tokenist key; the rest is what its headers claim.
    Key {
        key: KeyHash,
        user: Option<UserId>,
        org: Option<OrgId>,
        feature: Option<Feature>,
        email: Option<Arc<str>>,
        name: Option<Arc<str>>,
    },
    /// The caller that shows this key wants to know what the user has used that it speaks for. Nothing changes by it.
    Question { key: KeyHash, user: Option<UserId>, org: Option<OrgId> },
    /// Likewise, of one whose word was taken for who the user is.
    Standing(Arc<Identity>),
}

/// A token that was read and is in time.
#[derive(Clone, Debug)]
pub struct ShownToken {
    pub id: TokenId,
    /// How many sessions it opens, where one more is to be counted.
    pub uses: Option<u32>,
    /// Until when that is remembered.
    pub until: Timestamp,
}

/// What the aggregator knows of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It was counted where that was asked.
    Good,
    Revoked,
    UsedUp,
    /// There are more tokens that are counted than may be.
    Full,
}

/// The accounts that a session charges, and the user it is for after a key's binding was applied.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub user_id: UserId,
    pub org_id: Option<OrgId>,
    pub feature_id: Option<Feature>,
    pub user: Arc<Account>,
    pub org: Option<Arc<Account>>,
    pub feature: Option<Arc<Account>>,
    pub key: Option<Arc<Account>>,
    /// One of them is a stranger's: it is gone with its session if that does not begin.
    pub is_tentative: bool,
}

/// What a user has used and may use, as the holder of a key asked.
#[derive(Clone, Debug)]
pub struct UserUsage {
    pub user_id: UserId,
    /// The id as the holder of the key says it.
    pub shown_id: Arc<str>,
    pub state: AccountState,
    /// What all instances have counted in the limit's window, as far as is known.
    pub used: Used,
    /// The lists of models that bind the user's sessions under this key.
    pub models: Vec<Models>,
}

/// The aggregator's answer.
#[derive(Clone, Debug)]
pub enum Answer {
    Admitted(Admitted),
    Usage(Box<UserUsage>),
    /// The session that a handle resumes. `None`: it is not known, or not any more.
    Resumed(Option<Arc<Resumable>>),
    Shown(Shown),
    Response(FoundResponse),
    /// `None`: it was not begun here, or is over.
    Call(Option<Arc<CallOwner>>),
    KeyRefused(KeyRefusal),
    /// The ledger holds as many users as it may, and none of them can be forgotten.
    Full,
    /// What was used before could not be read in time.
    Unread,
}

/// Why a tokenist key opens nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    Unknown,
    /// Revoked or expired.
    Ended,
    /// It is for something else than sessions.
    OutOfScope,
    /// It does not speak for this user.
    Mute(Mute),
}

/// From the aggregator, or the operator, to a shard.
#[derive(Debug)]
pub enum Order {
    Admission {
        ticket: u64,
        answer: Answer,
    },
    /// Some account's state or ceiling changed for the worse: judge every session now, not at the next tick.
    Sweep,
    /// Let go of accounts that no session uses: their holders' seats are needed.
    Release,
    /// End this one session (4003).
    Close(SessionId),
    /// End the sessions that this token has opened.
    Revoke(TokenId),
    /// Accept no more; end what is left when `deadline_ms` have passed.
    Drain {
        deadline_ms: u64,
    },
}
