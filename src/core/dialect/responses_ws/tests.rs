use super::*;
use crate::close_reason::Measure;
use crate::limit::WindowKind;
use serde_json::{Value, json};

fn told(event: &Value) -> Vec<String> {
    let event = event.to_string();
    let mut all = Vec::new();
    ResponsesWs.read(event.as_bytes(), &mut |event| all.push(format!("{event:?}")));
    all
}

#[test]
fn its_path_stands_behind_any_prefix() {
    for (path, wanted) in [
        ("/v1/responses", Some("/v1/responses")),
        ("/responses/", Some("/v1/responses")),
        ("/openai/v1/responses", Some("/openai/v1/responses")),
        ("/openai/responses", Some("/openai/responses")),
        ("/v1/responses/resp_1", None),
    ] {
        assert_eq!(ResponsesWs.path(path).as_deref(), wanted, "{path}");
    }
}

#[test]
fn a_response_begins_at_a_model_of_its_own_and_reads_what_it_was_asked_with() {
    let created = json!({"type": "response.created", "stream_id": "a", "response": {"id": "r", "model": "m", "usage": null}});
    let [begun] = &told(&created)[..] else { panic!() };
    assert!(begun.contains("model: Some(\"m\")") && begun.contains("apart: true"), "{begun}");
}

#[test]
fn its_end_states_what_was_used_on_which_terms() {
    let end = |kind: &str, response: Value| {
        told(&json!({"type": kind, "stream_id": "a", "response": response}))[0].clone()
    };
    let usage = json!({"input_tokens": 2000, "input_tokens_details": {"cached_tokens": 1200, "cache_write_tokens": 500,
        "cache_write_tokens_details": {"ttl_30m_tokens": 300, "ttl_12h_tokens": 200}}, "output_tokens": 300,
        "output_tokens_details": {"reasoning_tokens": 120}, "total_tokens": 2300});
    let tools =
        json!({"web_search": {"num_requests": 2}, "image_gen": {"input_tokens": 5, "output_tokens": 7}});
    let response = json!({"id": "r", "status": "completed", "service_tier": "priority", "usage": usage, "tool_usage": tools});
    let event = json!({"type": "response.completed", "response": response});
    let [done, pictures] = &told(&event)[..] else { panic!() };
    assert!(pictures.contains("r pictures") && pictures.contains("image_out: 7"), "{pictures}");
    for part in [
        "Done",
        "text_in: 2000",
        "cached_text_in: 1200",
        "cache_write_in: 300",
        "cache_write_long_in: 200",
        "text_out: 300",
        "reasoning_out: 120",
        "searches: 2",
        "image_in: 0",
        "priority",
    ] {
        assert!(done.contains(part), "{part}: {done}");
    }
    let plain =
        json!({"input_tokens": 9, "input_tokens_details": {"cache_write_tokens": 4}, "output_tokens": 1});
    let done = end("response.incomplete", json!({"id": "r", "status": "incomplete", "usage": plain}));
    assert!(done.contains("cache_write_in: 4") && done.contains("cache_write_long_in: 0"), "{done}");
    let failed = end("response.failed", json!({"id": "r", "status": "failed", "usage": null}));
    assert!(failed.starts_with("Dropped"), "{failed}");
}

#[test]
fn deltas_are_told_by_their_head() {
    let delta = br#"{"type":"response.output_text.delta","stream_id":"a","item_id":"i","delta":"12345"}"#;
    let Peek::OutputDelta(piece) = ResponsesWs.peek(delta, Rest::Nothing) else { panic!() };
    assert_eq!((piece.response, piece.kind, piece.bytes), (None, OutputKind::Text, 5));
    assert_eq!(ResponsesWs.peek(br#"{"type":"response.in_progress"}"#, Rest::Nothing), Peek::Nothing);
    assert_eq!(ResponsesWs.peek(br#"{"type":"response.failed"}"#, Rest::Nothing), Peek::Whole);
}

#[test]
fn an_end_is_told_as_the_service_words_its_errors() {
    let measure = Measure::Tokens { used: 2, limit: 1 };
    let reason = CloseReason::LimitReached { measure, window: WindowKind::Daily, resets_at: None };
    let event: Value = serde_json::from_str(&ResponsesWs.error_event(&reason, "e").unwrap()).unwrap();
    assert_eq!((&event["type"], &event["status"]), (&json!("error"), &json!(429)));
    assert_eq!(event["error"]["type"], "insufficient_quota");
}
