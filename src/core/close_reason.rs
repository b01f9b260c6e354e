//! Why tokenist itself ends or refuses a session, as data: WebSocket close code, HTTP status, word and sentence. How a
//! provider's SDK is told is its dialect's business. A provider's own closes never pass through here.

use crate::browser_token::TokenFault;
use crate::limit::WindowKind;
use crate::money::NanoUsd;
use crate::time::Timestamp;
use std::borrow::Cow;
use std::sync::Arc;

/// What a limit counts, with how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Cost { used: NanoUsd, limit: NanoUsd },
    Tokens { used: u64, limit: u64 },
}

/// A reason of ours to end a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// No credential, a bad one, or no usable user id.
    Unauthorized(Cow<'static, str>),
    /// A browser's token that opens nothing here.
    Token(TokenFault),
    /// A page's event goes beyond what its token binds the session to.
    BeyondToken {
        what: String,
    },
    /// A call that is not begun here, or nobody's to join who asks.
    CallRefused(&'static str),
    /// A page of this origin may not come in.
    OriginRefused {
        origin: Arc<str>,
    },
    Blocked {
        reason: Option<Arc<str>>,
        expires_at: Option<Timestamp>,
    },
    LimitReached {
        measure: Measure,
        window: WindowKind,
        resets_at: Option<Timestamp>,
    },
    /// The user, org or key may not use the model.
    ModelNotAllowed {
        model: Arc<str>,
        /// What may be used instead, separated by commas.
        allowed: Arc<str>,
    },
    /// No price is known for the model, and only models with one are served.
    ModelUnpriced {
        model: Arc<str>,
    },
    /// The first event of a session has to name the model, and did not.
    ModelMissing(&'static str),
    /// An event that is judged by what it says could be read in several ways.
    Ambiguous {
        what: String,
    },
    /// The session has lasted `max_seconds`.
    SessionTooLong {
        max_seconds: u64,
    },
    /// Nothing but pings passed for `idle_seconds`.
    SessionIdle {
        idle_seconds: u64,
    },
    /// The application has taken nothing of what it was sent for `seconds`.
    NotReading {
        seconds: u64,
    },
    /// The client has sent nothing more of its request's body for `seconds`.
    BodyStalled {
        seconds: u64,
    },
    TooManySessions {
        max_sessions: u32,
    },
    /// An operator ended this one session.
    Killed,
    UpstreamFailed(Cow<'static, str>),
    Overloaded(Cow<'static, str>),
    /// The other instances cannot be asked what is left of a limit.
    LimitUnsure,
    Draining,
    /// The application broke RFC 6455.
    Protocol(&'static str),
    /// The application sent text that is no UTF-8.
    NotText(&'static str),
    MessageTooBig {
        max_bytes: u64,
    },
    Internal,
}

impl CloseReason {
    /// The WebSocket close code.
    pub fn close_code(&self) -> u16 {
        match self {
            CloseReason::Unauthorized(_) | CloseReason::Token(_) => 4001,
            CloseReason::Blocked { .. }
            | CloseReason::BeyondToken { .. }
            | CloseReason::CallRefused(_)
            | CloseReason::OriginRefused { .. }
            | CloseReason::Killed
            | CloseReason::ModelNotAllowed { .. }
            | CloseReason::ModelUnpriced { .. } => 4003,
            CloseReason::LimitReached { .. } => 4004,
            CloseReason::SessionTooLong { .. }
            | CloseReason::SessionIdle { .. }
            | CloseReason::NotReading { .. }
            | CloseReason::BodyStalled { .. } => 4008,
            CloseReason::TooManySessions { .. } => 4029,
            CloseReason::UpstreamFailed(_) => 4502,
            CloseReason::Overloaded(_) | CloseReason::LimitUnsure => 4503,
            CloseReason::Draining => 1001,
            CloseReason::Protocol(_) => 1002,
            CloseReason::NotText(_) | CloseReason::ModelMissing(_) | CloseReason::Ambiguous { .. } => 1007,
            CloseReason::MessageTooBig { .. } => 1009,
            CloseReason::Internal => 1011,
        }
    }

    /// The HTTP status, where the client is answered before or instead of an upgrade.
    pub fn http_status(&self) -> u16 {
        match self {
            CloseReason::Unauthorized(_) | CloseReason::Token(_) => 401,
            CloseReason::Blocked { .. }
            | CloseReason::BeyondToken { .. }
            | CloseReason::CallRefused(_)
            | CloseReason::OriginRefused { .. }
            | CloseReason::Killed
            | CloseReason::ModelNotAllowed { .. }
            | CloseReason::ModelUnpriced { .. } => 403,
            CloseReason::LimitReached { .. } | CloseReason::TooManySessions { .. } => 429,
            CloseReason::SessionTooLong { .. }
            | CloseReason::SessionIdle { .. }
            | CloseReason::NotReading { .. }
            | CloseReason::Protocol(_)
            | CloseReason::NotText(_)
            | CloseReason::ModelMissing(_)
            | CloseReason::Ambiguous { .. } => 400,
            CloseReason::BodyStalled { .. } => 408,
            CloseReason::MessageTooBig { .. } => 413,
            CloseReason::UpstreamFailed(_) => 502,
            CloseReason::Overloaded(_) | CloseReason::LimitUnsure | CloseReason::Draining => 503,
            CloseReason::Internal => 500,
        }
    }

    /// The machine-readable code in the `error` object, also the word in metrics and logs.
    pub fn code(&self) -> &'static str {
        match self {
            CloseReason::Unauthorized(_) => "unauthorized",
            CloseReason::Token(fault) => fault.code(),
            CloseReason::BeyondToken { .. } => "beyond_token",
            CloseReason::CallRefused(_) => "call_not_allowed",
            CloseReason::OriginRefused { .. } => "origin_not_allowed",
            CloseReason::Blocked { .. } => "user_blocked",
            CloseReason::LimitReached { measure: Measure::Cost { .. }, .. } => "cost_limit_reached",
            CloseReason::LimitReached { measure: Measure::Tokens { .. }, .. } => "token_limit_reached",
            CloseReason::ModelNotAllowed { .. } | CloseReason::ModelUnpriced { .. } => "model_not_allowed",
            CloseReason::ModelMissing(_) => "model_missing",
            CloseReason::Ambiguous { .. } => "ambiguous_event",
            CloseReason::SessionTooLong { .. } => "session_too_long",
            CloseReason::SessionIdle { .. } => "session_idle",
            CloseReason::NotReading { .. } => "not_reading",
            CloseReason::BodyStalled { .. } => "body_stalled",
            CloseReason::TooManySessions { .. } => "too_many_sessions",
            CloseReason::Killed => "session_killed",
            CloseReason::UpstreamFailed(_) => "upstream_failed",
            CloseReason::Overloaded(_) => "overloaded",
            CloseReason::LimitUnsure => "limit_unsure",
            CloseReason::Draining => "draining",
            CloseReason::Protocol(_) => "protocol_error",
            CloseReason::NotText(_) => "invalid_utf8",
            CloseReason::MessageTooBig { .. } => "message_too_big",
            CloseReason::Internal => "internal_error",
        }
    }

    /// Whether an `error` event goes before the close. Whoever broke the protocol may not be able to read one, and is
    /// sent nothing but the close (RFC 6455 §7.1.7).
    pub fn has_event(&self) -> bool {
        !matches!(
            self,
            CloseReason::Protocol(_) | CloseReason::NotText(_) | CloseReason::MessageTooBig { .. }
        )
    }

    /// Whether the same request can succeed later without anybody changing anything.
    pub fn may_retry(&self) -> bool {
        match self {
            CloseReason::LimitReached { resets_at, .. } => resets_at.is_some(),
            CloseReason::Blocked { expires_at, .. } => expires_at.is_some(),
            CloseReason::SessionTooLong { .. }
            | CloseReason::SessionIdle { .. }
            | CloseReason::NotReading { .. }
            | CloseReason::BodyStalled { .. }
            | CloseReason::TooManySessions { .. }
            | CloseReason::UpstreamFailed(_)
            | CloseReason::Overloaded(_)
            | CloseReason::LimitUnsure
            | CloseReason::Draining
            | CloseReason::Internal => true,
            CloseReason::Unauthorized(_)
            | CloseReason::Token(_)
            | CloseReason::BeyondToken { .. }
            | CloseReason::CallRefused(_)
            | CloseReason::OriginRefused { .. }
            | CloseReason::Killed
            | CloseReason::ModelNotAllowed { .. }
            | CloseReason::ModelUnpriced { .. }
            | CloseReason::ModelMissing(_)
            | CloseReason::Ambiguous { .. }
            | CloseReason::Protocol(_)
            | CloseReason::NotText(_)
            | CloseReason::MessageTooBig { .. } => false,
        }
    }

    /// Seconds after which a retry can help, for `Retry-After`; `None` where a retry cannot help at all.
    pub fn retry_after_seconds(&self, now: Timestamp) -> Option<u64> {
        let until = |at: Timestamp| at.since(now).div_ceil(1000).max(1);
        match self {
            CloseReason::LimitReached { resets_at, .. } => resets_at.map(until),
            CloseReason::Blocked { expires_at, .. } => expires_at.map(until),
            _ if self.may_retry() => Some(5),
            _ => None,
        }
    }

    /// One sentence for people. It fits a close frame's reason after cutting to 123 bytes.
    pub fn message(&self) -> String {
        match self {
            CloseReason::Unauthorized(why) => format!("Not authorized: {why}"),
            CloseReason::Token(fault) => format!("Not authorized: {fault}"),
            CloseReason::BeyondToken { what } => format!("Not what this session's token is for: {what}"),
            CloseReason::CallRefused(why) => format!("Not this call: {why}"),
            CloseReason::OriginRefused { origin } => {
                format!("Pages of {origin} may not come in; an operator lists theirs in browser.origins")
            }
            CloseReason::Blocked { reason: Some(reason), .. } => format!("User is blocked: {reason}"),
            CloseReason::Blocked { reason: None, .. } => "User is blocked".into(),
            CloseReason::LimitReached { measure: Measure::Cost { used, limit }, .. } => {
                format!("Cost limit reached: {} >= {}", used.exact(), limit.exact())
            }
            CloseReason::LimitReached { measure: Measure::Tokens { used, limit }, .. } => {
                format!("Token limit reached: {used} >= {limit}")
            }
            CloseReason::ModelNotAllowed { model, allowed } if allowed.is_empty() => {
                format!("Model {model} is not allowed, and no other one is")
            }
            CloseReason::ModelNotAllowed { model, allowed } => {
                format!("Model {model} is not allowed; allowed: {allowed}")
            }
            CloseReason::ModelUnpriced { model } => {
                format!("Model {model} is not allowed: no price is known for it")
            }
            CloseReason::ModelMissing(why) => format!("No model is named: {why}"),
            CloseReason::Ambiguous { what } => format!("An event can be read in several ways: {what}"),
            CloseReason::SessionTooLong { max_seconds } => {
                format!("Session reached its limit of {max_seconds} seconds")
            }
            CloseReason::SessionIdle { idle_seconds } => {
                format!("Session was idle for {idle_seconds} seconds")
            }
            CloseReason::NotReading { seconds } => {
                format!("The application has read nothing for {seconds} seconds")
            }
            CloseReason::BodyStalled { seconds } => {
                format!("Nothing more of the request's body has come for {seconds} seconds")
            }
            CloseReason::TooManySessions { max_sessions } => {
                format!("Too many sessions at once: the limit is {max_sessions}")
            }
            CloseReason::Killed => "Session was ended by an operator".into(),
            CloseReason::UpstreamFailed(why) => format!("The provider could not be reached: {why}"),
            CloseReason::Overloaded(why) => format!("Overloaded: {why}"),
            CloseReason::LimitUnsure => "What is left of the limit cannot be known at the moment".into(),
            CloseReason::Draining => "The proxy is shutting down".into(),
            CloseReason::Protocol(why) | CloseReason::NotText(why) => {
                format!("WebSocket protocol error: {why}")
            }
            CloseReason::MessageTooBig { max_bytes } => format!("Message is larger than {max_bytes} bytes"),
            CloseReason::Internal => "Internal error in the proxy".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_and_what_may_be_are_said_exactly() {
        for (used, limit, said) in [
            (17_600_000, 16_000_000, "$0.0176 >= $0.016"),
            (16_000_001, 16_000_000, "$0.016000001 >= $0.016"),
            (10_004_000_000, 10_000_000_000, "$10.004 >= $10.00"),
            (1, 1, "$0.000000001 >= $0.000000001"),
            (0, 0, "$0.00 >= $0.00"),
        ] {
            let measure = Measure::Cost { used: NanoUsd(used), limit: NanoUsd(limit) };
            let ending = CloseReason::LimitReached { measure, window: WindowKind::Total, resets_at: None };
            assert_eq!(ending.message(), format!("Cost limit reached: {said}"));
        }
    }

    #[test]
    fn a_block_is_final_unless_it_expires() {
        let blocked = CloseReason::Blocked { reason: Some("abuse".into()), expires_at: None };
        assert_eq!(blocked.message(), "User is blocked: abuse");
        assert_eq!((blocked.close_code(), blocked.retry_after_seconds(Timestamp(0))), (4003, None));
    }
}
