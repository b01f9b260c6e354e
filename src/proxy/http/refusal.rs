//! How a request is told no.

use crate::shard::Shard;
use crate::upgrade::{self, Connection};
use serde_json::json;
use tokenist_core::api::Api;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect;
use tokenist_core::metric::BAD_REQUEST;

/// SDKs wait inside the call for as long as `Retry-After` says; past this it is not said, and they are told not to retry.
const RETRY_SECONDS_MAX: u64 = 60;
/// What is told of something that is another user's, to metrics: no reason of its own.
const NOT_THEIRS: &str = "other";

/// A refusal for one of our reasons, in the words of an API; the connection goes on behind it, or ends.
pub(super) fn words(
    shard: &Shard,
    api: Option<&'static dyn Api>,
    reason: &CloseReason,
    keeps: bool,
) -> Vec<u8> {
    let retry = reason.retry_after_seconds(shard.time().wall).filter(|seconds| *seconds <= RETRY_SECONDS_MAX);
    let extra = match retry {
        Some(seconds) => ("Retry-After", seconds.to_string()),
        None => ("x-should-retry", "false".to_owned()),
    };
    let connection = if keeps { Connection::KeepAlive } else { Connection::Close };
    let body = api.map_or_else(|| dialect::http_body(reason), |api| api.error_body(reason));
    upgrade::answer_and(connection, reason.http_status(), &body, &[extra])
}

/// An answer that no retry makes better.
pub(super) fn told(shard: &Shard, status: u16, body: &str, keeps: bool) -> Vec<u8> {
    shard.counters.refuse(NOT_THEIRS);
    let connection = if keeps { Connection::KeepAlive } else { Connection::Close };
    upgrade::answer_and(connection, status, body, &[("x-should-retry", "false".to_owned())])
}

/// What is asked for holds what all users have had kept: the body of an answer with status 403.
pub(super) fn list_is_everybodys() -> String {
    let message = "Under the operator's key this would list what other users have had kept, so it is refused: ask for each by its \
                   id, or list with a provider key of your own";
    json!({"error": {
        "type": "permission_error", "code": "list_not_allowed", "param": null, "message": message}})
    .to_string()
}

/// The body of an answer with status 400.
pub(super) fn malformed(message: &str) -> String {
    json!({"error": {
        "type": "invalid_request_error", "code": BAD_REQUEST, "param": null, "message": message}})
    .to_string()
}

/// The request's body is not what its head says.
pub(super) fn bad_request(shard: &Shard, message: &str) -> Vec<u8> {
    shard.counters.refuse(BAD_REQUEST);
    upgrade::answer(400, &malformed(message), &[("x-should-retry", "false".to_owned())])
}
