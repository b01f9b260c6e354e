//! Faults that are planted to see whether the simulation finds them. They sit in what is simulated, not in the product,
//! and stand there for a mechanism of the product's that is gone.

use tokenist_core::time::MINUTE_MS;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// None.
    Nothing,
    /// A report of usage is lost between a shard and the aggregator.
    LostDelta,
    /// One arrives twice.
    DoubledReport,
    /// Of somebody who comes back the store says that it knows nothing, and so does one that keeps nothing.
    ForgottenBudget,
    /// The aggregator learns minutes late that a window is over.
    LateWindow,
    /// What a peer has counted is heard under two names.
    PeerTwice,
    /// Usage is reported before it is charged.
    ReportFirst,
    /// Shards learn minutes late that a window is over.
    LateShard,
    /// Spans go by the wall clock.
    OneClock,
    /// Shards hold on to the accounts that they remember.
    SeatsHeld,
    /// At a start everybody is given a slot of whom the store knows.
    SeatsAll,
    /// Commands have all the time that they want.
    TurnEndless,
    /// A batch is given up whose commit has panicked.
    BatchLost,
    /// What is counted is in memory alone until it is committed.
    JournalForgotten,
    /// Of sessions that are attached to one call each meters all.
    CallTwice,
    /// What applications say is shown to nobody.
    DeafTap,
    /// Whatever providers owe when nobody listens any more is not waited for.
    NotHeardOut,
    /// The model that the URL asks for is not told to the meter.
    NamelessModel,
    /// A call that is sent again has no ids.
    KeyForgotten,
    /// A session is told of before the provider has let it in.
    OpenedAnyway,
    /// Nobody asks to what a key is bound.
    KeyUnbound,
    /// Redis takes from instances only what they have counted themselves.
    OwnAlone,
    /// Who else counts under one's name is not seen.
    TwinUnseen,
    /// Nobody notices that connections to MongoDB break.
    BreakUnseen,
}

/// How much later those learn of the time that learn of it late.
pub(crate) const LATE_MS: u64 = 20 * MINUTE_MS;

/// How often a fault shows in a world in which all sorts of things happen, one in so many.
pub(crate) const PLANTED: u64 = 20;

impl Plant {
    /// Those that must be found whatever happens in a world.
    pub const ANYWHERE: [Plant; 6] = [
        Plant::LostDelta,
        Plant::DoubledReport,
        Plant::ForgottenBudget,
        Plant::LateWindow,
        Plant::PeerTwice,
        Plant::ReportFirst,
    ];
}
