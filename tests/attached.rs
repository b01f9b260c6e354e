//! Sessions that several connections see: what one of them has counted no other one does. Over raw sockets.

mod raw;

use raw::*;
use serde_json::{Value, json};
use std::time::Duration;
use tokenist_kit::{PATIENCE, Tokenist, eventually};

fn start_as(origin: &str, dialect: &str) -> Tokenist {
    start(origin, &[("provider.dialect", dialect), ("admission.refuse", "close")])
}

/// A session, with its first event where the model is in that.
fn session(proxy: &Tokenist, provider: &Upstream, target: &str, first: Option<&Value>) -> (Wire, Wire) {
    let mut app = Wire::connect(proxy.listen);
    let headers = [&UPGRADE[..], &["Authorization: Bearer k", "x-user-id: alice"]].concat();
    app.send(request(&format!("GET {target}"), &headers));
    let first = first.map(|event| frame(TEXT, event.to_string().as_bytes(), Some(KEY)));
    first.iter().for_each(|wire| app.send(wire));
    let mut server = provider.accept();
    server.head();
    server.send(switching(&[]));
    assert_eq!(app.answer().status, 101, "{target}");
    first.iter().for_each(|wire| server.expect(wire, "the first event, as it came"));
    (app, server)
}

/// The provider says the same to all who see a session.
fn say(sessions: &mut [(Wire, Wire)], event: &Value) {
    let wire = frame(TEXT, event.to_string().as_bytes(), None);
    for (app, server) in sessions {
        server.send(&wire);
        app.expect(&wire, "what the provider says");
    }
}

/// What is booked once nothing more comes.
fn booked(proxy: &Tokenist, requests: u64) -> Value {
    let usage = || proxy.get("/admin/users/alice/usage")["usage"].clone();
    eventually(PATIENCE, usage, |usage| usage["requests"] == requests);
    std::thread::sleep(Duration::from_millis(300));
    usage()
}

#[test]
fn a_live_session_and_who_is_attached_to_it_are_billed_once() {
    let provider = Upstream::start();
    let proxy = start_as(&provider.origin(), "openai");
    let begin = json!({"type": "session.start", "session": {"model": "gpt-live-1.1"}});
    let mut sessions = vec![session(&proxy, &provider, "/v1/live/sessions", Some(&begin))];
    let told = json!({"id": "live_1", "model": "gpt-live-1.1", "status": "active"});
    say(&mut sessions, &json!({"type": "session.started", "session": told}));
    for _ in 0..2 {
        sessions.push(session(&proxy, &provider, "/v1/live/sessions/live_1/attach", None));
    }
    let usage =
        json!({"input_tokens": 900, "input_tokens_details": {"cached_tokens": 400}, "output_tokens": 60});
    let response = json!({"id": "resp_1", "model": "gpt-6.1-terra", "status": "completed", "usage": usage});
    say(&mut sessions, &json!({"type": "session.usage.updated", "usage": {"seconds": 42}}));
    say(
        &mut sessions,
        &json!({"type": "response.event", "event": {"type": "response.completed", "response": response}}),
    );
    // One that leaves ends nothing.
    let (left, mut server) = sessions.pop().unwrap();
    drop(left);
    assert!(!String::from_utf8_lossy(&server.rest()).contains("session.close"), "the session goes on");
    say(
        &mut sessions,
        &json!({"type": "session.closed", "reason": "expired", "session": told, "usage": {"seconds": 63}}),
    );
    let usage = booked(&proxy, 2);
    // 63 s at $0.05 a minute; 500 tokens at 1, 400 at 0.05 and 60 at 5 a million.
    let nano = usage["costUsd"].as_f64().map(|dollars| (dollars * 1e9).round());
    assert_eq!((nano, &usage["requests"]), (Some(53_320_000.0), &json!(2)), "{usage}");
    assert_eq!(usage["estimatedCostUsd"], 0.0, "{usage}");
}

#[test]
fn a_live_session_that_was_begun_elsewhere_is_metered_by_who_is_attached() {
    let provider = Upstream::start();
    let proxy = start_as(&provider.origin(), "openai");
    let attach = || session(&proxy, &provider, "/v1/live/sessions/live_2/attach", None);
    let mut sessions = vec![attach(), attach()];
    say(&mut sessions, &json!({"type": "session.usage.updated", "usage": {"seconds": 60}}));
    let (left, mut server) = sessions.remove(0);
    left.finish();
    let told = server.rest();
    assert!(!String::from_utf8_lossy(&told).contains("session.close"), "it goes on without who was attached");
    let usage = booked(&proxy, 1);
    assert_eq!((&usage["costUsd"], &usage["requests"]), (&json!(0.05), &json!(1)), "{usage}");
}

#[test]
fn an_interaction_that_several_are_attached_to_is_counted_once() {
    let create = json!({"event_type": "interaction.create", "model": "gemini-3.8-flash"});
    let created = json!({"event_type": "interaction.created", "interaction_id": "int_1"});
    let connect = json!({"event_type": "interaction.connect", "id": "int_1"});
    let completed = json!({"event_type": "interaction.completed", "usage": {"total_input_tokens": 1_000}});
    // A million tokens of its model cost $0.75, and of one that nobody has named $5.
    for (begins_here, models, cost) in
        [(true, "", 0.00075), (false, "", 0.005), (false, "gemini-3.8-flash", 0.00075)]
    {
        let provider = Upstream::start();
        let settings =
            [("provider.dialect", "gemini"), ("provider.models", models), ("admission.refuse", "close")];
        let proxy = start(&provider.origin(), &settings);
        let target = "/v1beta/interactions/live";
        let mut sessions = Vec::new();
        if begins_here {
            sessions.push(session(&proxy, &provider, target, Some(&create)));
            say(&mut sessions, &created);
        }
        for _ in 0..2 {
            sessions.push(session(&proxy, &provider, target, Some(&connect)));
        }
        // Whoever hears of it first.
        sessions.reverse();
        say(&mut sessions, &completed);
        let usage = booked(&proxy, 1);
        assert_eq!((&usage["costUsd"], &usage["requests"]), (&json!(cost), &json!(1)), "{usage}");
    }
}
