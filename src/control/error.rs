//! Why something that was asked of the control plane was not done.

use crate::store::StoreError;
use std::fmt;
use tokenist_core::authority::Mute;

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The command queue is full: the aggregator is behind.
    Busy,
    /// The aggregator is gone; the process is about to end.
    Gone,
    /// As many users as the ledger may hold, and none can be forgotten.
    Full,
    /// What the store has of the holder could not be read in time.
    Unread,
    /// As many keys as the ledger may hold.
    KeysFull,
    /// As many entries as the catalog may hold.
    CatalogFull,
    /// The key does not speak for the user.
    Mute(Mute),
    /// The store could not be read.
    Store(StoreError),
    /// Its readers were busy for too long, or the question met a bug.
    Unanswered,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            CommandError::Busy => "the ledger is busy, try again",
            CommandError::Gone => "the ledger has stopped",
            CommandError::Full => "the ledger holds as many users as it may; raise store.users_max",
            CommandError::Unread => "what the store knows of it could not be read in time, try again",
            CommandError::KeysFull => "the ledger holds as many keys as it may",
            CommandError::CatalogFull => "the ledger holds as many logins and the like as it may",
            CommandError::Unanswered => "the store did not answer in time, try again",
            CommandError::Mute(mute) => return mute.fmt(f),
            CommandError::Store(cause) => return write!(f, "the store cannot be read: {cause}"),
        };
        f.write_str(text)
    }
}

impl std::error::Error for CommandError {}
