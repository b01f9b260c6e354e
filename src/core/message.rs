//! Plain data that crosses threads: what shards report about sessions.

use crate::id::{Identity, KeyHash, Model, OrgId, SessionId, UserId};
use crate::money::NanoUsd;
use crate::refusal::RefusalReason;
use crate::time::Timestamp;
use crate::usage::Usage;
use std::sync::Arc;

/// What a session's sound and events pass by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    #[default]
    WebSocket,
    /// It is a request that lasts.
    Http,
    /// Its sound passes between the application and the provider, and its events, too; they are also seen here.
    WebRtc,
    /// Likewise, of a telephone call.
    Sip,
}

impl Transport {
    pub const ALL: [Transport; 4] =
        [Transport::WebSocket, Transport::Http, Transport::WebRtc, Transport::Sip];

    /// The transport of this name.
    pub fn parse(name: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| transport.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::Http => "http",
            Transport::WebRtc => "webrtc",
            Transport::Sip => "sip",
        }
    }
}

/// A session that was admitted and answered, or another connection of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub session: SessionId,
    pub identity: Arc<Identity>,
    pub provider: Arc<str>,
    /// As the URL named it; the provider's own word follows in deltas.
    pub model: Option<Model>,
    pub transport: Transport,
    /// By what its provider knows the call that it is, or is attached to.
    pub call: Option<Arc<str>>,
    pub at: Timestamp,
}

/// One metered fact: a response, a transcription, or an estimate that took its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// When the provider reported it: decides the windows it counts in.
    pub at: Timestamp,
    pub session: SessionId,
    pub identity: Arc<Identity>,
    pub provider: Arc<str>,
    /// The model it was priced at.
    pub model: Model,
    pub usage: Usage,
    pub cost: NanoUsd,
    /// No provider's figure came; this is our estimate.
    pub estimated: bool,
    /// From the response's first sign to its usage.
    pub latency_ms: Option<u64>,
}

/// Requests of one caller that were refused alike since the last report of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The last of them; likewise the address.
    pub at: Timestamp,
    /// The user the request was for, as far as that is known; likewise the next two.
    pub user: Option<UserId>,
    pub org: Option<OrgId>,
    pub key: Option<KeyHash>,
    /// Empty where it is not known.
    pub address: Arc<str>,
    pub reason: RefusalReason,
    pub count: u64,
}

/// A connection that is over, and with the last of its connections a session. Sent once, after its last delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    pub session: SessionId,
    pub at: Timestamp,
    /// The close code that the downstream was given or gave; 1006 if none.
    pub close_code: u16,
}

/// A call that an application described whole. Written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Unique: `log_` and 32 hexadecimal digits.
    pub id: Arc<str>,
    pub at: Timestamp,
    pub identity: Arc<Identity>,
    pub model: Model,
    /// JSON, as it was sent.
    pub request: Option<Arc<str>>,
    pub response: Option<Arc<str>>,
    /// The application's word, such as `success`.
    pub status: Arc<str>,
    pub latency_ms: Option<u64>,
    /// What the response says was used, if it says, and what that cost.
    pub usage: Option<(Usage, NanoUsd)>,
}
