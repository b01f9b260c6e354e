//! What the aggregator carries out between reports.

use crate::error::CommandError;
use crate::ranking::{Rank, RankSlice};
use crate::setting::SettingUpdate;
use crate::store::StoreError;
use crate::view::{
    Call, Judged, KeyQuery, LimitQuery, LimitView, ModelTotals, Profile, SessionView, Stats, UserQuery,
    UserView,
};
use std::sync::Arc;
use tokenist_core::audit::Audit;
use tokenist_core::batch::Recalled;
use tokenist_core::catalog::{Entry, EntryId};
use tokenist_core::cluster::PeerTotals;
use tokenist_core::id::{Holder, Identity, KeyHash, Model, SessionId, UserId};
use tokenist_core::key::{Key, KeyId};
use tokenist_core::ledger::KeyPosition;
use tokenist_core::limit::{Block, Limit, RuleAction, WindowKind};
use tokenist_core::time::Timestamp;
use tokio::sync::oneshot;

/// What a portion holds at most, for what is found costs more than what is passed over.
pub(crate) const PORTION_MAX: usize = 500;

/// Where a command's answer goes.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// With each, where its answer goes. Of what may be long a portion is asked for, from after a place on; its answer says
/// where the next begins.
#[derive(Debug)]
pub(crate) enum Command {
    /// At most so many.
    Users(Arc<UserQuery>, Option<UserId>, usize, Reply<Portion<UserView, UserId>>),
    User(UserId, Option<WindowKind>, Reply<Result<Option<UserView>, CommandError>>),
    Models(UserId, Reply<Vec<ModelTotals>>),
    /// The holders that are wanted, with the share used where that is what they are sorted by.
    Limits(Arc<LimitQuery>, Option<Holder>, Reply<Portion<(Option<u64>, Holder), Holder>>),
    LimitViews(Vec<Holder>, Reply<Vec<LimitView>>),
    Limit(Holder, Reply<Result<LimitView, CommandError>>),
    TryLimit(Holder, Limit, Reply<Result<LimitView, CommandError>>),
    Bind(Holder, Option<Limit>, Reply<Result<LimitView, CommandError>>),
    SetLimit(UserId, Limit, Reply<Result<UserView, CommandError>>),
    Block(UserId, Block, Reply<Result<(), CommandError>>),
    Unblock(UserId, Reply<Result<bool, CommandError>>),
    Blocked(Option<UserId>, Reply<Portion<(UserId, Block), UserId>>),
    ApplyRuleActions(Vec<(UserId, Option<RuleAction>)>, Reply<()>),
    Sessions(Option<SessionId>, Reply<Portion<SessionView, SessionId>>),
    CloseSession(SessionId, Reply<bool>),
    Introduce(Arc<Identity>, Reply<Result<UserView, CommandError>>),
    Record(Box<Call>, Reply<Result<Judged, CommandError>>),
    Judge(Arc<Identity>, Model, Reply<Result<Judged, CommandError>>),
    Names(Vec<UserId>, Reply<Vec<Option<Arc<str>>>>),
    Profiles(Vec<UserId>, Reply<Vec<Profile>>),
    Views(Vec<UserId>, Option<WindowKind>, Reply<Vec<UserView>>),
    Rank(RankSlice, Reply<Portion<Rank, UserId>>),
    Keys(Arc<KeyQuery>, Option<KeyPosition>, Reply<Portion<Key, KeyPosition>>),
    FindKey(KeyHash, Reply<Option<Key>>),
    KeyOf(KeyId, Reply<Option<Key>>),
    SetKey(Box<Key>, Reply<Result<(), CommandError>>),
    EndKey(KeyId, Timestamp, Reply<Option<Key>>),
    Entry(EntryId, Reply<Option<Entry>>),
    Entries(&'static str, Option<Arc<str>>, Reply<Portion<Entry, Arc<str>>>),
    SetEntry(Entry, Reply<Result<(), CommandError>>),
    Audit(Box<Audit>, Reply<()>),
    Adopt(Vec<SettingUpdate>, Reply<usize>),
    /// From the thread that exchanges with other instances.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "that thread is the driver's of Redis"))]
    ClusterEvent(ClusterEvent),
    /// From the thread that asks the store for holders that come back.
    Recalled(Vec<RecallAnswer>),
    Stats(Reply<Stats>),
    /// Drain the reports, save what is left, end.
    Finish,
}

/// A portion of a list: what was found in it, and where the next one begins if there may be more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Portion<T, C> {
    pub(crate) found: Vec<T>,
    pub(crate) next: Option<C>,
}

impl<T, C> Portion<T, C> {
    pub(crate) fn map<U>(self, shape: impl FnMut(T) -> U) -> Portion<U, C> {
        Portion { found: self.found.into_iter().map(shape).collect(), next: self.next }
    }
}

/// What the thread that exchanges with other instances tells the aggregator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// The answers of a round. There is one on its way at a time.
    PeerTotals(Vec<(Holder, Vec<PeerTotals>)>),
    /// So many instances, this one included, are in touch, and so many of them have shown themselves within the last
    /// two seconds.
    Instances { count: u32, present: u32 },
    /// The exchange is not to be reached, and why. A round that was on its way is lost.
    Lost(String),
    /// It is there: for the first time, again, or without what was left there before.
    Found,
    /// Why what is set on other instances is not heard at once; `None`: it is.
    ChangeFeed(Option<String>),
}

/// What the store has of a holder, or why it could not be asked.
pub(crate) type RecallAnswer = (Holder, Result<Recalled, StoreError>);

/// What has to be known of a command's holders before it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// What the store has of them.
    Look,
    /// Holders that the store knows have slots.
    Act,
    /// All holders have.
    HolderEntry,
}

impl Command {
    pub(crate) fn need(&self) -> Need {
        match self {
            Command::User(..) | Command::Limit(..) | Command::TryLimit(..) | Command::Judge(..) => Need::Look,
            Command::Unblock(..) => Need::Act,
            Command::Bind(..)
            | Command::SetLimit(..)
            | Command::Block(..)
            | Command::Introduce(..)
            | Command::Record(..) => Need::HolderEntry,
            Command::Users(..)
            | Command::Models(..)
            | Command::Limits(..)
            | Command::LimitViews(..)
            | Command::Blocked(..)
            | Command::ApplyRuleActions(..)
            | Command::Sessions(..)
            | Command::CloseSession(..)
            | Command::Names(..)
            | Command::Profiles(..)
            | Command::Views(..)
            | Command::Rank(..)
            | Command::Keys(..)
            | Command::FindKey(..)
            | Command::KeyOf(..)
            | Command::SetKey(..)
            | Command::EndKey(..)
            | Command::Entry(..)
            | Command::Entries(..)
            | Command::SetEntry(..)
            | Command::Audit(..)
            | Command::Adopt(..)
            | Command::ClusterEvent(..)
            | Command::Recalled(..)
            | Command::Stats(..)
            | Command::Finish => Need::Nothing,
        }
    }

    /// The call that an application wants judged or counted: whose it is, its key says.
    pub(crate) fn call(&self) -> Option<&Identity> {
        match self {
            Command::Judge(identity, ..) => Some(identity),
            Command::Record(call, _) => Some(&call.delta.identity),
            _ => None,
        }
    }

    /// The holders it needs something of.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        match self {
            Command::User(user, ..)
            | Command::SetLimit(user, ..)
            | Command::Block(user, ..)
            | Command::Unblock(user, _) => vec![Holder::User(user.clone())],
            Command::Limit(holder, _) | Command::TryLimit(holder, ..) | Command::Bind(holder, ..) => {
                vec![holder.clone()]
            }
            Command::Introduce(identity, _) => vec![Holder::User(identity.user.clone())],
            _ => Vec::new(),
        }
    }

    /// Answers that it is not carried out. A caller that no longer waits gets no answer.
    pub(crate) fn refuse(self, error: CommandError) {
        match self {
            Command::User(_, _, reply) => drop(reply.send(Err(error))),
            Command::Limit(_, reply) | Command::TryLimit(_, _, reply) | Command::Bind(_, _, reply) => {
                drop(reply.send(Err(error)));
            }
            Command::Judge(_, _, reply) => drop(reply.send(Err(error))),
            Command::Unblock(_, reply) => drop(reply.send(Err(error))),
            Command::SetLimit(_, _, reply) => drop(reply.send(Err(error))),
            Command::Introduce(_, reply) => drop(reply.send(Err(error))),
            Command::Block(_, _, reply) => drop(reply.send(Err(error))),
            Command::Record(_, reply) => drop(reply.send(Err(error))),
            _ => {}
        }
    }
}
