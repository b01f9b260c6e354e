//! How values cross threads: a queue with a notifier, the newest of a value, shared counters, the account that every
//! shard charges, and a lane of the journal by which counts outlive the process.
//!
//! Start at [`mailbox()`]. Invariant: nothing here ever waits for another thread, and nothing here decides.

pub mod account;
pub mod addresses;
pub mod calls;
pub mod counters;
pub mod heartbeat;
pub mod lane;
pub mod mailbox;
pub mod message;
pub mod notifier;
pub mod published;
pub mod refusals;
pub mod resumable;

pub use account::{Account, Charge, ChargeOutcome, Gauge};
pub use addresses::Addresses;
pub use calls::Calls;
pub use counters::Counters;
pub use heartbeat::Heartbeat;
pub use lane::{Lane, LaneState};
pub use mailbox::{Mailbox, Sender, mailbox};
pub use message::{
    Admission, Admitted, Answer, CallOwner, CallReport, FoundResponse, KeyRefusal, Order, Report,
    ReportSender, ResponseReport, Shown, ShownToken, UserUsage,
};
pub use notifier::Notifier;
pub use published::Published;
pub use refusals::Refusals;
pub use resumable::{HandleHash, Resumable};
