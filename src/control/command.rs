//! What the aggregator carries out between reports.

use crate::fact::Fact;
use crate::fleet::Word;
use crate::handle::CommandError;
use crate::ranking::{RankSlice, RankedSlice};
use crate::view::{
    Call, Judged, KeyPage, KeyQuery, LimitPage, LimitQuery, LimitView, ModelTotals, Profile, Pulse,
    SessionView, UserPage, UserQuery, UserView,
};
use std::sync::Arc;
use tokenist_core::audit::Audit;
use tokenist_core::catalog::{Entry, EntryId};
use tokenist_core::id::{Holder, Identity, KeyHash, SessionId, UserId};
use tokenist_core::key::{Key, KeyId};
use tokenist_core::limit::{Block, Limit, Restraint, WindowKind};
use tokenist_core::time::Timestamp;
use tokio::sync::oneshot;

/// Where a command's answer goes.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// With each, where its answer goes.
#[derive(Debug)]
pub(crate) enum Command {
    Users(UserQuery, Reply<UserPage>),
    User(UserId, Option<WindowKind>, Reply<Option<UserView>>),
    Models(UserId, Reply<Vec<ModelTotals>>),
    Limits(LimitQuery, Reply<LimitPage>),
    Limit(Holder, Reply<LimitView>),
    TryLimit(Holder, Limit, Reply<LimitView>),
    Bind(Holder, Option<Limit>, Reply<Result<LimitView, CommandError>>),
    SetLimit(UserId, Limit, Reply<Result<UserView, CommandError>>),
    Block(UserId, Block, Reply<Result<(), CommandError>>),
    Unblock(UserId, Reply<bool>),
    Blocked(Reply<Vec<(UserId, Block)>>),
    Restrain(Vec<(UserId, Option<Restraint>)>, Reply<()>),
    Sessions(Reply<Vec<SessionView>>),
    CloseSession(SessionId, Reply<bool>),
    Introduce(Arc<Identity>, Reply<Result<UserView, CommandError>>),
    Record(Box<Call>, Reply<Result<Judged, CommandError>>),
    Judge(Arc<Identity>, Reply<Judged>),
    Names(Vec<UserId>, Reply<Vec<Option<Arc<str>>>>),
    Profiles(Vec<UserId>, Reply<Vec<Profile>>),
    Views(Vec<UserId>, Option<WindowKind>, Reply<Vec<UserView>>),
    Rank(RankSlice, Reply<RankedSlice>),
    Keys(KeyQuery, Reply<KeyPage>),
    FindKey(KeyHash, Reply<Option<Key>>),
    KeyOf(KeyId, Reply<Option<Key>>),
    SetKey(Box<Key>, Reply<Result<(), CommandError>>),
    EndKey(KeyId, Timestamp, Reply<Option<Key>>),
    Entry(EntryId, Reply<Option<Entry>>),
    Entries(&'static str, Reply<Vec<Entry>>),
    SetEntry(Entry, Reply<Result<(), CommandError>>),
    Audit(Box<Audit>, Reply<()>),
    Adopt(Vec<Fact>, Reply<usize>),
    /// From the thread that exchanges with other instances.
    Word(Word),
    Pulse(Reply<Pulse>),
    /// Drain the reports, save what is left, end.
    Finish,
}
