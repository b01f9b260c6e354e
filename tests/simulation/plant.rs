//! Faults that are planted to see whether the simulation finds them. They sit in what is simulated, not in the product.

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// None.
    Nothing,
    /// A report of usage is lost between a shard and the aggregator.
    LostDelta,
    /// One arrives twice.
    DoubledReport,
    /// Of somebody who comes back the store says that it knows nothing.
    ForgottenBudget,
    /// The aggregator learns minutes late that a window is over.
    LateWindow,
    /// What a peer has counted is heard under two names.
    PeerTwice,
    /// Usage is reported before it is charged.
    ReportFirst,
}

impl Plant {
    pub const ALL: [Plant; 6] = [
        Plant::LostDelta,
        Plant::DoubledReport,
        Plant::ForgottenBudget,
        Plant::LateWindow,
        Plant::PeerTwice,
        Plant::ReportFirst,
    ];
}
