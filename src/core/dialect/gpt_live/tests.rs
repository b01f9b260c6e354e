use super::*;
use serde_json::{Value, json};

fn told(event: &Value) -> Vec<String> {
    let event = event.to_string();
    let mut all = Vec::new();
    GptLive.read(event.as_bytes(), &mut |event| all.push(format!("{event:?}")));
    all
}

#[test]
fn its_path_stands_behind_any_prefix() {
    for (path, wanted) in [
        ("/v1/live/sessions", Some("/v1/live/sessions")),
        ("/a/v1/live/sessions/", Some("/a/v1/live/sessions")),
        ("/live/sessions", Some("/v1/live/sessions")),
        ("/openai/live/sessions", Some("/openai/live/sessions")),
        ("/v1/live/sessions/live_1/attach", None),
        ("/v1/live", None),
    ] {
        assert_eq!(GptLive.path(path).as_deref(), wanted, "{path}");
    }
}

#[test]
fn the_first_event_names_the_model_and_later_ones_do_not() {
    let model = |event: Value| {
        let (event, mut model) = (event.to_string(), None);
        GptLive.read_client(event.as_bytes(), event.len() as u64, &mut |event| {
            let ClientEvent::Setup(settings) = event else { panic!() };
            model = settings.model.map(|model| model.into_owned());
        });
        model
    };
    let start = json!({"type": "session.start", "session": {"model": "gpt-live-1.1"}});
    assert_eq!(model(start).as_deref(), Some("gpt-live-1.1"));
    assert_eq!(model(json!({"type": "session.update", "session": {"model": "other"}})), None);
    assert_eq!(model(json!({"type": "session.start", "session": {}})), None);
    let sound = br#"{"type":"session.input_audio.append","audio":"AAAA"}"#;
    assert_eq!(GptLive.peek_client(sound, sound.len() as u64), ClientPeek::Nothing);
}

#[test]
fn seconds_are_a_running_total_which_the_close_confirms() {
    let updated = json!({"type": "session.usage.updated", "usage": {"seconds": 15.0}, "context_window": {}});
    let [total] = &told(&updated)[..] else { panic!() };
    assert!(total.starts_with("Total") && total.contains("duration_ms: 15000"), "{total}");
    let closed = json!({"type": "session.closed", "usage": {"seconds": 63, "active_seconds": 43, "paused_seconds": 20}});
    let [total, ahead] = &told(&closed)[..] else { panic!() };
    assert!(total.contains("duration_ms: 63000") && ahead == "Ahead { grows: false }", "{total} {ahead}");
    assert_eq!(told(&json!({"type": "session.closed", "reason": "connection_lost"})).len(), 0);
    let started = json!({"type": "session.started", "session": {"id": "l", "model": "gpt-live-1.1"}});
    assert_eq!(told(&started)[1..], ["Joinable { call: \"l\" }", "Ahead { grows: true }"]);
}

#[test]
fn what_is_delegated_counts_once_it_is_over_at_its_own_model() {
    let response = |kind: &str, usage: Value| {
        json!({"type": "response.event", "delegation_id": "d", "event": {"type": kind,
            "response": {"id": "resp_1", "model": "gpt-6.1-terra", "usage": usage}}})
    };
    let usage = json!({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 2}});
    let [item] = &told(&response("response.completed", usage.clone()))[..] else { panic!() };
    for part in ["Item", "resp_1", "gpt-6.1-terra", "text_in: 9", "cached_text_in: 4", "reasoning_out: 2"] {
        assert!(item.contains(part), "{part}: {item}");
    }
    assert_eq!(told(&response("response.created", Value::Null)).len(), 0);
    let nothing = json!({"input_tokens": 0, "output_tokens": 0});
    assert_eq!(told(&response("response.in_progress", nothing)).len(), 0, "it is not over");
    let delta = json!({"type": "response.event", "event": {"type": "response.output_text.delta", "delta": "\"usage\":{}"}});
    assert_eq!(told(&delta).len(), 0);
    let decision = json!({"type": "decision.event", "event": {"type": "decision.completed",
        "decision": {"id": "dec_1", "model": "gpt-6-luna", "usage": usage}}});
    assert!(told(&decision)[0].contains("dec_1"));
}

#[test]
fn an_event_that_breaks_off_is_told_to_be_unreadable() {
    let event = r#"{"type":"session.usage.updated","usage":{"seconds":15}}"#;
    for cut in 0..event.len() - 1 {
        let mut all = Vec::new();
        GptLive.read(&event.as_bytes()[..cut], &mut |event| all.push(format!("{event:?}")));
        assert_eq!(all, ["Unreadable"], "{cut}");
    }
}
