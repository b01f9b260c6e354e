//! What the admin plane may ask and order: the whole public face of the control plane.
//!
//! Each method sends one command to the aggregator and awaits its answer. Nothing here touches a session or a
//! store.

use crossbeam::channel::{Sender, TrySendError};
use std::fmt;
use std::sync::Arc;
use tokenist_core::id::{Feature, Identity, Model, OrgId, SessionId, UserId};
use tokenist_core::limit::{Block, Limit, WindowKind};
use tokenist_core::time::Timestamp;
pub use tokenist_core::totals::Totals;
use tokio::sync::oneshot;

/// A user as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    pub user: UserId,
    pub org: Option<OrgId>,
    pub email: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
    /// Over the window that was asked for.
    pub totals: Totals,
    /// The user's own limit, or the default where `limit_is_default`.
    pub limit: Limit,
    pub limit_is_default: bool,
    pub resets_at: Option<Timestamp>,
    /// `None` if there is none or it has expired.
    pub block: Option<Block>,
    pub sessions: u32,
}

/// Which users to list, in order of id.
#[derive(Clone, Debug, Default)]
pub struct UserQuery {
    /// Only ids greater than this.
    pub after: Option<UserId>,
    /// Only users whose id, email or name contains this, ignoring ASCII case.
    pub search: Option<String>,
    pub org: Option<OrgId>,
    /// At most this many.
    pub limit: usize,
    /// The window of the totals; the limit's own if `None`.
    pub window: Option<WindowKind>,
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
    /// Since it was opened, settled responses only.
    pub totals: Totals,
}

/// Usage by user and model since the start of the process, for audits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelTotals {
    pub user: UserId,
    pub feature: Option<Feature>,
    pub model: Model,
    pub totals: Totals,
}

/// How the control plane does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    pub users: usize,
    pub users_max: usize,
    pub sessions: usize,
    pub reports_applied: u64,
    pub reports_waiting: usize,
    /// The last commit to the store failed.
    pub store_failing: bool,
    pub batches_committed: u64,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The command queue is full: the aggregator is behind.
    Busy,
    /// The aggregator is gone; the process is about to end.
    Gone,
    /// As many users as the ledger may hold, and none can be forgotten.
    Full,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CommandError::Busy => "the ledger is busy, try again",
            CommandError::Gone => "the ledger has stopped",
            CommandError::Full => "the ledger holds as many users as it may; raise store.users_max",
        })
    }
}

impl std::error::Error for CommandError {}

/// Where a command's answer goes.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// What the aggregator carries out between reports.
#[derive(Debug)]
pub(crate) enum Command {
    Users(UserQuery, Reply<UserPage>),
    User(UserId, Option<WindowKind>, Reply<Option<UserView>>),
    Models(UserId, Reply<Vec<ModelTotals>>),
    SetLimit(UserId, Limit, Reply<Result<UserView, CommandError>>),
    Block(UserId, Block, Reply<Result<(), CommandError>>),
    Unblock(UserId, Reply<bool>),
    Blocked(Reply<Vec<(UserId, Block)>>),
    Sessions(Reply<Vec<SessionView>>),
    CloseSession(SessionId, Reply<bool>),
    Pulse(Reply<Pulse>),
    /// Drain the reports, save what is left, end.
    Finish,
}

/// Cheap to clone; every clone speaks to the same aggregator.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: Sender<Command>,
    default_limit: Limit,
}

impl Handle {
    pub(crate) fn new(commands: Sender<Command>, default_limit: Limit) -> Handle {
        Handle { commands, default_limit }
    }

    /// What binds a user without a limit of its own.
    pub fn default_limit(&self) -> Limit {
        self.default_limit
    }

    pub async fn users(&self, query: UserQuery) -> Result<UserPage, CommandError> {
        self.ask(|reply| Command::Users(query, reply)).await
    }

    /// `None` if the ledger has never heard of the user.
    pub async fn user(
        &self,
        user: UserId,
        window: Option<WindowKind>,
    ) -> Result<Option<UserView>, CommandError> {
        self.ask(|reply| Command::User(user, window, reply)).await
    }

    /// What a user used by feature and model, all time.
    pub async fn models(&self, user: UserId) -> Result<Vec<ModelTotals>, CommandError> {
        self.ask(|reply| Command::Models(user, reply)).await
    }

    /// Replaces the user's limit; live sessions that are over the new one end at once.
    pub async fn set_limit(&self, user: UserId, limit: Limit) -> Result<UserView, CommandError> {
        self.ask(|reply| Command::SetLimit(user, limit, reply)).await?
    }

    /// Blocks the user and ends its sessions at once.
    pub async fn block(&self, user: UserId, block: Block) -> Result<(), CommandError> {
        self.ask(|reply| Command::Block(user, block, reply)).await?
    }

    /// Whether the user was blocked.
    pub async fn unblock(&self, user: UserId) -> Result<bool, CommandError> {
        self.ask(|reply| Command::Unblock(user, reply)).await
    }

    /// Blocks that hold now, in order of user id.
    pub async fn blocked(&self) -> Result<Vec<(UserId, Block)>, CommandError> {
        self.ask(Command::Blocked).await
    }

    /// Live sessions, oldest first.
    pub async fn sessions(&self) -> Result<Vec<SessionView>, CommandError> {
        self.ask(Command::Sessions).await
    }

    /// Ends one session with 4003; false if there is none of that id.
    pub async fn close_session(&self, session: SessionId) -> Result<bool, CommandError> {
        self.ask(|reply| Command::CloseSession(session, reply)).await
    }

    pub async fn pulse(&self) -> Result<Pulse, CommandError> {
        self.ask(Command::Pulse).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, CommandError> {
        let (reply, answer) = oneshot::channel();
        match self.commands.try_send(command(reply)) {
            Ok(()) => answer.await.map_err(|_| CommandError::Gone),
            Err(TrySendError::Full(_)) => Err(CommandError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(CommandError::Gone),
        }
    }
}
