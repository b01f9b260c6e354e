//! What the data port answers by itself, and where else a path leads.

use crate::shard::Shard;
use crate::upgrade;
use serde_json::json;
use tokenist_core::http::RequestHead;
use tokenist_core::provider::{NoRoute, Route};

/// Where a request for a session leads; `Err` is the answer to any other.
pub(crate) fn route(shard: &Shard, head: &RequestHead) -> Result<Route, Vec<u8>> {
    let path = head.path();
    if let Some(answer) = health(shard, path.trim_end_matches('/')) {
        return Err(answer);
    }
    match shard.config.routes.of_path(&path) {
        Ok(route) if head.wants_websocket() => Ok(route),
        Ok(_) => {
            let message = format!("{path} is a WebSocket endpoint: send an upgrade request");
            Err(invalid(400, "upgrade_required", message))
        }
        Err(NoRoute::UnknownPath) => {
            let message = format!(
                "Unknown path {path:?}: tokenist relays WebSocket upgrades of the realtime paths of its providers, such as \
                 GET …/v1/realtime, and tells a key's use at GET …/v1/usage/me"
            );
            Err(invalid(404, "unknown_path", message))
        }
        Err(error @ NoRoute::UnknownProvider { .. }) => {
            Err(invalid(404, "unknown_provider", format!("Unknown path {path:?}: {error}")))
        }
    }
}

fn health(shard: &Shard, path: &str) -> Option<Vec<u8>> {
    let is_asked = ["/health", "/ready"].contains(&path);
    is_asked.then(|| match shard.is_draining() {
        true => upgrade::answer(503, r#"{"status":"draining"}"#, &[]),
        false => upgrade::answer(200, r#"{"status":"ok"}"#, &[]),
    })
}

/// A request that no retry makes better.
fn invalid(status: u16, code: &str, message: String) -> Vec<u8> {
    let error =
        json!({"error": {"type": "invalid_request_error", "code": code, "message": message, "param": null}});
    upgrade::answer(status, &error.to_string(), &[("x-should-retry", "false".to_owned())])
}
