//! The pure core: what tokenist knows about HTTP heads, WebSocket frames, providers' events, usage, prices,
//! windows, limits and the ledger. Bytes and times come in as values, values go out.
//!
//! Start at [`meter`] for what a session counts and at [`ledger`] for what the counts add up to; [`cluster`] is what
//! several instances tell each other of them.
//! Invariant: nothing here opens a socket or a file, starts a thread or asks for the time, and no provider's
//! bytes can make it fail.

pub mod abridged;
pub mod api;
pub mod audit;
pub mod auth_scheme;
pub mod authority;
pub mod batch;
pub mod browser_token;
pub mod catalog;
pub mod client;
pub mod close_reason;
pub mod cluster;
pub mod dialect;
pub mod doubt;
pub mod holder_index;
pub mod http;
pub mod id;
pub mod journal;
pub mod json;
pub mod kept_response;
pub mod key;
pub mod last_minute;
pub mod ledger;
pub mod limit;
pub mod message;
pub mod meter;
pub mod metric;
pub mod models;
pub mod money;
pub mod origin;
pub mod price;
pub mod profile;
pub mod provider;
pub mod record;
pub mod refusal;
pub mod retention;
pub mod revision;
pub mod rule;
pub mod series;
pub mod signalling;
pub mod terms;
pub mod time;
pub mod totals;
pub mod uri;
pub mod usage;
pub mod verdict;
pub mod window;
pub mod ws;
