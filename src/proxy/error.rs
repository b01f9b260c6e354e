//! Why a session failed: whose side, in which phase, and what happened.

use crate::io::stream::is_out_of_files;
use std::fmt;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::ws::frame::Violation;

#[derive(Debug)]
pub(crate) struct SessionError {
    pub(crate) side: Side,
    pub(crate) phase: Phase,
    pub(crate) cause: Cause,
}

/// At fault. Only the last two raise an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Downstream,
    Upstream,
    Internal,
}

/// The words that `session.rs` uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Admit,
    Dial,
    Relay,
}

#[derive(Debug)]
pub(crate) enum Cause {
    Io(std::io::Error),
    /// We ended it, for this reason.
    Ended(CloseReason),
    /// The peer sent something that cannot be understood.
    Malformed(&'static str),
    /// The peer sent a frame that RFC 6455 does not allow.
    Violated(Violation),
}

impl SessionError {
    pub(crate) fn new(side: Side, phase: Phase, cause: impl Into<Cause>) -> SessionError {
        SessionError { side, phase, cause: cause.into() }
    }

    /// What the client is told when its session could not be dialled, or its provider has failed since.
    pub(crate) fn close_reason(&self) -> CloseReason {
        if matches!(&self.cause, Cause::Io(error) if is_out_of_files(error)) {
            return CloseReason::Overloaded("no more connections can be opened".into());
        }
        CloseReason::UpstreamFailed(self.cause.to_string().into())
    }
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Cause {
        Cause::Io(error)
    }
}

impl From<CloseReason> for Cause {
    fn from(ending: CloseReason) -> Cause {
        Cause::Ended(ending)
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed in {}: {}", self.side, self.phase, self.cause)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Downstream => "downstream",
            Side::Upstream => "upstream",
            Side::Internal => "tokenist",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Admit => "admit",
            Phase::Dial => "dial",
            Phase::Relay => "relay",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Io(error) => error.fmt(f),
            Cause::Ended(ending) => f.write_str(&ending.message()),
            Cause::Malformed(what) => f.write_str(what),
            Cause::Violated(Violation::MessageTooBig { max_bytes }) => {
                write!(f, "it sent a message of more than {max_bytes} bytes")
            }
            Cause::Violated(violation) => {
                write!(f, "it broke the WebSocket protocol: {}", violation.describe())
            }
        }
    }
}
