//! A close reason as OpenAI words its errors: an `error` event before a close, or the body of an HTTP refusal.
//!
//! `error.code` is tokenist's own word for the reason. `error.type` is for machines: agent frameworks redial on every
//! type but a handful of OpenAI's, so a final reason carries the one of these that fits, and a reason that allows a retry
//! carries none of them.

use crate::close_reason::{CloseReason, Measure};
use serde_json::{Value, json};

/// The event that precedes the close frame.
pub(super) fn event(reason: &CloseReason, event_id: &str) -> String {
    json!({"type": "error", "event_id": event_id, "error": object(reason)}).to_string()
}

/// The same as Responses over WebSocket has it: with a status, as the answer to a request that failed.
pub(super) fn answer(reason: &CloseReason) -> String {
    json!({"type": "error", "status": reason.http_status(), "error": object(reason)}).to_string()
}

/// The body of an HTTP refusal.
pub(super) fn body(reason: &CloseReason) -> String {
    json!({"error": object(reason)}).to_string()
}

/// The `error` object, with what the reason knows beside the usual four fields.
fn object(reason: &CloseReason) -> Value {
    let mut error =
        json!({"type": kind(reason), "code": reason.code(), "message": reason.message(), "param": null});
    match reason {
        CloseReason::Blocked { reason, expires_at } => {
            error["reason"] = json!(reason);
            error["expires_at"] = json!(expires_at.map(|at| at.to_string()));
        }
        CloseReason::LimitReached { measure, window, resets_at } => {
            let (name, used, limit) = match *measure {
                Measure::Cost { used, limit } => ("cost_usd", json!(used.usd()), json!(limit.usd())),
                Measure::Tokens { used, limit } => ("tokens", json!(used), json!(limit)),
            };
            error["limit"] = json!({"measure": name, "used": used, "limit": limit, "window": window,
                "resets_at": resets_at.map(|at| at.to_string())});
        }
        CloseReason::ModelNotAllowed { model, allowed } => {
            let allowed: Vec<_> = allowed.split(", ").filter(|name| !name.is_empty()).collect();
            error["param"] = json!("model");
            error["model"] = json!(model);
            error["allowed_models"] = json!(allowed);
        }
        CloseReason::ModelUnpriced { model } => {
            error["param"] = json!("model");
            error["model"] = json!(model);
        }
        _ => {}
    }
    error
}

fn kind(reason: &CloseReason) -> &'static str {
    match reason {
        CloseReason::Unauthorized(_) | CloseReason::Token(_) => "invalid_api_key",
        CloseReason::Blocked { .. }
        | CloseReason::BeyondToken { .. }
        | CloseReason::CallRefused(_)
        | CloseReason::OriginRefused { .. }
        | CloseReason::Killed
        | CloseReason::ModelNotAllowed { .. }
        | CloseReason::ModelUnpriced { .. } => "account_deactivated",
        CloseReason::LimitReached { .. } => "insufficient_quota",
        CloseReason::TooManySessions { .. } => "rate_limit_error",
        CloseReason::SessionTooLong { .. }
        | CloseReason::SessionIdle { .. }
        | CloseReason::NotReading { .. } => "session_expired",
        CloseReason::Protocol(_)
        | CloseReason::NotText(_)
        | CloseReason::MessageTooBig { .. }
        | CloseReason::BodyStalled { .. }
        | CloseReason::ModelMissing(_)
        | CloseReason::Ambiguous { .. } => "invalid_request_error",
        CloseReason::UpstreamFailed(_)
        | CloseReason::Overloaded(_)
        | CloseReason::LimitUnsure
        | CloseReason::Draining
        | CloseReason::Internal => "server_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::WindowKind;
    use crate::money::NanoUsd;
    use crate::time::Timestamp;
    use std::sync::Arc;

    /// What LiveKit's agents take for final.
    const FINAL: [&str; 5] = [
        "insufficient_quota",
        "credit_balance_exhausted",
        "invalid_api_key",
        "account_deactivated",
        "billing_hard_limit_reached",
    ];

    fn every_reason() -> Vec<CloseReason> {
        let measure = Measure::Tokens { used: 2, limit: 1 };
        vec![
            CloseReason::Unauthorized("no key".into()),
            CloseReason::Blocked { reason: None, expires_at: None },
            CloseReason::LimitReached { measure, window: WindowKind::Daily, resets_at: None },
            CloseReason::ModelNotAllowed { model: "a".into(), allowed: "b, c".into() },
            CloseReason::CallRefused("calls are off"),
            CloseReason::ModelMissing("there is no setup"),
            CloseReason::SessionTooLong { max_seconds: 1 },
            CloseReason::SessionIdle { idle_seconds: 1 },
            CloseReason::NotReading { seconds: 1 },
            CloseReason::BodyStalled { seconds: 1 },
            CloseReason::TooManySessions { max_sessions: 1 },
            CloseReason::Killed,
            CloseReason::UpstreamFailed("it hung up".into()),
            CloseReason::Overloaded("full".into()),
            CloseReason::LimitUnsure,
            CloseReason::Draining,
            CloseReason::Protocol("a mask is missing"),
            CloseReason::NotText("no UTF-8"),
            CloseReason::MessageTooBig { max_bytes: 1 },
            CloseReason::Internal,
        ]
    }

    #[test]
    fn a_final_close_code_carries_a_word_that_ends_redialling_and_no_other_does() {
        for reason in every_reason() {
            let error = object(&reason);
            let is_final = FINAL.iter().any(|word| error["type"] == *word || error["code"] == *word);
            let of_final_code = [4001, 4003, 4004].contains(&reason.close_code());
            assert_eq!(is_final, of_final_code, "{reason:?}: {error}");
        }
    }

    #[test]
    fn a_limit_tells_what_was_used_and_when_it_resets() {
        let reason = CloseReason::LimitReached {
            measure: Measure::Cost { used: NanoUsd(10_012_300_000), limit: NanoUsd(10_000_000_000) },
            window: WindowKind::Daily,
            resets_at: Some(Timestamp(86_400_000)),
        };
        let event: Value = serde_json::from_str(&event(&reason, "event_1")).unwrap();
        assert_eq!(
            event,
            json!({"type": "error", "event_id": "event_1", "error": {
                "type": "insufficient_quota", "code": "cost_limit_reached", "param": null,
                "message": "Cost limit reached: $10.0123 >= $10.00",
                "limit": {"measure": "cost_usd", "used": 10.0123, "limit": 10.0, "window": "daily",
                    "resets_at": "1970-01-02T00:00:00.000Z"}}})
        );
        assert_eq!((reason.close_code(), reason.http_status()), (4004, 429));
        assert_eq!(reason.retry_after_seconds(Timestamp(86_398_500)), Some(2));
    }

    #[test]
    fn a_model_that_is_not_allowed_tells_which_are() {
        let reason = CloseReason::ModelNotAllowed {
            model: Arc::from("gpt-x"),
            allowed: Arc::from("gpt-realtime, gpt-*"),
        };
        let body: Value = serde_json::from_str(&body(&reason)).unwrap();
        assert_eq!(
            body,
            json!({"error": {"type": "account_deactivated", "code": "model_not_allowed", "param": "model",
                "message": "Model gpt-x is not allowed; allowed: gpt-realtime, gpt-*",
                "model": "gpt-x", "allowed_models": ["gpt-realtime", "gpt-*"]}})
        );
        assert_eq!((reason.close_code(), reason.http_status(), reason.may_retry()), (4003, 403, false));
    }
}
