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

/// The request's body is not what its head says.
pub(super) fn bad_request(shard: &Shard, message: &str) -> Vec<u8> {
    shard.counters.refuse(BAD_REQUEST);
    let error = json!({"error": {
        "type": "invalid_request_error", "code": BAD_REQUEST, "param": null,
        "message": message}});
    upgrade::answer(400, &error.to_string(), &[("x-should-retry", "false".to_owned())])
}
