//! Gemini Live: a model that only the first event names, usage wherever it stands, and ends that its SDKs can read. Both ends
//! are raw sockets.

mod raw;

use raw::*;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokenist_kit::{PATIENCE, Tokenist, eventually};

const PATH: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
const SETUP: &[u8] = br#"{"setup":{"model":"models/gemini-3.8-live"}}"#;
const COMPLETE: &[u8] = br#"{"setupComplete":{}}"#;
const GEMINI: [(&str, &str); 2] = [("provider.dialect", "gemini"), ("admission.refuse", "close")];

fn start_gemini(origin: &str, settings: &[(&str, &str)]) -> Tokenist {
    start(origin, &[&GEMINI[..], settings].concat())
}

fn dial(proxy: &Tokenist, target: &str, user: &str) -> Wire {
    let mut app = Wire::connect(proxy.listen);
    let user = format!("x-user-id: {user}");
    let headers = [&UPGRADE[..], &["x-goog-api-key: AIzaTest", &user]].concat();
    app.send(request(&format!("GET {target}"), &headers));
    app
}

/// A session after the provider's greeting.
fn session(proxy: &Tokenist, provider: &Upstream, user: &str) -> (Wire, Wire) {
    let mut app = dial(proxy, PATH, user);
    assert_eq!(app.answer().status, 101);
    let setup = frame(TEXT, SETUP, Some(KEY));
    app.send(&setup);
    let mut server = provider.accept();
    server.head();
    server.send(switching(&[]));
    server.expect(&setup, "the first event, as it came");
    let complete = frame(BINARY, COMPLETE, None);
    server.send(&complete);
    app.expect(&complete, "the greeting");
    (app, server)
}

fn usage(prompt: u64) -> Vec<u8> {
    let event =
        json!({"serverContent": {"turnComplete": true}, "usageMetadata": {"promptTokenCount": prompt}});
    frame(BINARY, event.to_string().as_bytes(), None)
}

#[test]
fn what_goes_up_is_the_request_with_one_credential_and_the_first_event_as_it_came() {
    let provider = Upstream::start();
    let proxy = start_gemini(&provider.origin(), &[]);
    for (target, path) in [
        (PATH.to_owned(), PATH.to_owned()),
        (format!("/{PATH}?key=AIzaOther&alt=json"), format!("{PATH}?alt=json")),
        (format!("/p/google{PATH}"), PATH.to_owned()),
        (format!("/any/prefix{}", PATH.replace("v1beta", "v1")), PATH.replace("v1beta", "v1")),
    ] {
        let mut app = dial(&proxy, &target, "alice");
        assert_eq!(app.answer().status, 101, "{target}");
        // In fragments, with a ping between them, and with something behind it.
        let opening = [
            frame(TEXT & !FIN, &SETUP[..7], Some(KEY)),
            frame(PING, b"1", Some(KEY)),
            frame(FIN, &SETUP[7..], Some(KEY)),
        ]
        .concat();
        let behind = frame(TEXT, br#"{"clientContent":{}}"#, Some(KEY));
        app.trickle(&opening[..opening.len() - 1]);
        assert!(provider.poll().is_none(), "nothing goes up before the first event is whole");
        app.send([&opening[opening.len() - 1..], &behind].concat());
        let mut server = provider.accept();
        let head = server.head();
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains("x-goog-api-key: AIzaTest\r\n") && !head.contains("Other"), "{head}");
        assert_eq!(head.matches("AIza").count(), 1, "{head}");
        server.send(switching(&[]));
        server.expect(&[opening, behind].concat(), "what the client said");
    }
}

/// The booked usage of a user, once so many responses are booked.
fn booked(proxy: &Tokenist, user: &str, requests: u64) -> Value {
    let path = format!("/admin/users/{user}/usage");
    let ask = || proxy.get(&path)["usage"].clone();
    eventually(PATIENCE, ask, |usage| usage["requests"] == requests)
}

#[test]
fn a_golden_transcript_costs_the_same_however_its_bytes_come() {
    let provider = Upstream::start();
    let proxy = start_gemini(&provider.origin(), &[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let transcript = std::fs::read_to_string(folder.join("gemini_live.jsonl")).unwrap();
    let expected = std::fs::read_to_string(folder.join("gemini_live.expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let cost = expected["total_cost_nano"].as_i64().unwrap();
    let whole = |message: &[u8]| frame(BINARY, message, None);
    let fragmented = |message: &[u8]| {
        let (first, rest) = message.split_at(message.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        let frames = [(BINARY & !FIN, first), (0, second), (FIN, third)];
        frames.map(|(opcode, part)| frame(opcode, part, None)).concat()
    };
    type Form<'a> = (&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>, usize);
    let forms: [Form; 6] = [
        ("whole", &whole, usize::MAX),
        ("byte by byte", &whole, 1),
        ("by seven", &whole, 7),
        ("by a hundred", &whole, 101),
        ("in fragments", &fragmented, usize::MAX),
        ("in fragments, byte by byte", &fragmented, 1),
    ];
    for (form, wire_of, piece_bytes) in forms {
        let user = form.replace([' ', ','], "-");
        let mut lines = transcript.lines();
        let mut app = dial(&proxy, PATH, &user);
        assert_eq!(app.answer().status, 101);
        app.send(frame(TEXT, &lines.next().unwrap().as_bytes()[2..], Some(KEY)));
        let mut server = provider.accept();
        server.head();
        server.send(switching(&[]));
        server.frame();
        for line in lines {
            match line.strip_prefix("> ") {
                Some(said) => {
                    let wire = frame(TEXT, said.as_bytes(), Some(KEY));
                    app.send(&wire);
                    server.expect(&wire, form);
                }
                None => {
                    let wire = wire_of(line.as_bytes());
                    wire.chunks(piece_bytes.min(wire.len())).for_each(|piece| server.send(piece));
                    app.expect(&wire, form);
                }
            }
        }
        let rows = expected["booked"].as_array().unwrap();
        let usage = booked(&proxy, &user, rows.len() as u64);
        assert_eq!(nano(&usage["costUsd"]), Some(cost), "{form}: {usage}");
    }
}

/// Dollars in billionths.
fn nano(dollars: &Value) -> Option<i64> {
    dollars.as_f64().map(|dollars| (dollars * 1e9).round() as i64)
}

#[test]
fn a_limit_in_mid_session_ends_with_the_close_and_its_reason_alone() {
    let provider = Upstream::start();
    let proxy = start_gemini(&provider.origin(), &[("limits.max_total_tokens", "1000")]);
    let (mut app, mut server) = session(&proxy, &provider, "alice");
    for (prompt, ends) in [(600, false), (600, true)] {
        server.send(usage(prompt));
        app.expect(&usage(prompt), "it was paid for");
        if ends {
            let close = app.frame();
            assert_eq!(
                (close.close_code(), close.close_reason()),
                (4004, "Token limit reached: 1200 >= 1000")
            );
        }
    }
    // Nothing but the close before the provider has greeted, either.
    let mut app = dial(&proxy, PATH, "alice");
    assert_eq!(app.answer().status, 101);
    assert_eq!(app.frame().close_code(), 4004);
    assert!(provider.poll().is_none(), "nothing went up");
}

#[test]
fn a_first_event_without_a_model_is_refused_and_nothing_goes_up() {
    let provider = Upstream::start();
    let proxy =
        start_gemini(&provider.origin(), &[("proxy.head_seconds", "1"), ("provider.models", "gemini-3*")]);
    let large = format!(r#"{{"setup":{{"tools":"{}"}}}}"#, "x".repeat(1 << 20));
    for (said, code, why) in [
        (Vec::new(), 1007, "no first event in time"),
        (frame(TEXT, b"{}", Some(KEY)), 1007, "has to name one"),
        (frame(TEXT, br#"{"realtimeInput":{"text":"hi"}}"#, Some(KEY)), 1007, "has to name one"),
        (header(TEXT, large.len() as u64, Some(KEY)), 1007, "longer than 1 MiB"),
        (frame(TEXT, br#"{"setup":{"model":"models/other"}}"#, Some(KEY)), 4003, "allowed: gemini-3*"),
        (frame(TEXT, SETUP, None), 1002, "masking"),
        (frame(TEXT, b"\xff", Some(KEY)), 1007, "UTF-8"),
    ] {
        let mut app = dial(&proxy, PATH, "alice");
        assert_eq!(app.answer().status, 101, "{why}");
        app.send(said);
        let close = app.frame();
        assert_eq!(close.close_code(), code, "{why}");
        assert!(close.close_reason().contains(why), "{why}: {}", close.close_reason());
        app.expect_end();
    }
    assert!(provider.poll().is_none(), "nothing went up");
    let sessions = proxy.get("/admin/sessions");
    assert_eq!(sessions["sessions"], json!([]), "no session was begun");
    // A large first event goes up whole.
    let setup =
        format!(r#"{{"setup":{{"tools":"{}","model":"models/gemini-3.8-live"}}}}"#, "x".repeat(200_000));
    let wire = frame(TEXT, setup.as_bytes(), Some(KEY));
    let mut app = dial(&proxy, PATH, "alice");
    assert_eq!(app.answer().status, 101);
    app.send(&wire);
    let mut server = provider.accept();
    server.head();
    server.send(switching(&[]));
    server.expect(&wire, "the first event");
}

#[test]
fn a_list_of_models_holds_before_anything_goes_up_and_for_live_sessions() {
    let provider = Upstream::start();
    let proxy = start_gemini(&provider.origin(), &[("limits.models", "gemini-3.8-live, gemini-4*")]);
    let mut app = dial(&proxy, PATH, "alice");
    assert_eq!(app.answer().status, 101);
    app.send(frame(TEXT, br#"{"setup":{"model":"models/gemini-3-dear"}}"#, Some(KEY)));
    let refused = app.frame();
    assert_eq!(
        (refused.close_code(), refused.close_reason()),
        (4003, "Model gemini-3-dear is not allowed; allowed: gemini-3.8-live, gemini-4*")
    );
    assert!(provider.poll().is_none(), "nothing went up");
    let (mut app, mut server) = session(&proxy, &provider, "alice");
    server.send(usage(10));
    app.expect(&usage(10), "an allowed model");
    let set = proxy.ask("PUT", "/admin/limits/user/alice", &json!({"models": ["gemini-4*"]}));
    assert_eq!(set.status, 200, "{set:?}");
    let ended = app.frame();
    assert_eq!(
        (ended.close_code(), ended.close_reason()),
        (4003, "Model gemini-3.8-live is not allowed; allowed: gemini-4*")
    );
}

#[test]
fn a_provider_that_refuses_or_fails_is_told_by_the_close() {
    let provider = Upstream::start();
    let proxy = start_gemini(&provider.origin(), &[]);
    for (status, code) in [(401, 4001), (403, 4001), (404, 4502), (500, 4502)] {
        let mut app = dial(&proxy, PATH, "alice");
        assert_eq!(app.answer().status, 101);
        app.send(frame(TEXT, SETUP, Some(KEY)));
        let mut server = provider.accept();
        server.head();
        server.send(format!("HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno"));
        let close = app.frame();
        assert_eq!(close.close_code(), code, "{status}");
        assert!(close.close_reason().contains(&format!("status {status}")), "{}", close.close_reason());
        app.expect_end();
    }
    let (mut app, server) = session(&proxy, &provider, "alice");
    drop(server);
    assert_eq!(app.frame().close_code(), 4502);
}

#[test]
fn sound_whose_length_nobody_states_is_as_slow_as_it_says_wherever_it_says_so() {
    let provider = Upstream::start();
    let proxy = start_gemini(&provider.origin(), &[]);
    let setup = br#"{"setup":{"model":"models/gemini-3.5-transcribe-live"}}"#;
    // Two seconds at 8 kHz.
    let data = "A".repeat(32_000 * 4 / 3);
    let forms = [
        ("first", format!(r#""mimeType":"audio/pcm;rate=8000","data":"{data}""#), 150),
        ("last", format!(r#""data":"{data}","mime_type":"audio/pcm; rate=8000""#), 150),
        ("faster", format!(r#""data":"{data}","mimeType":"audio/pcm;rate=48000""#), 75),
        ("unsaid", format!(r#""data":"{data}","mimeType":"audio/pcm""#), 75),
    ];
    for (user, sound, tokens) in forms {
        let mut app = dial(&proxy, PATH, user);
        assert_eq!(app.answer().status, 101);
        app.send(frame(TEXT, setup, Some(KEY)));
        let mut server = provider.accept();
        server.head();
        server.send(switching(&[]));
        server.expect(&frame(TEXT, setup, Some(KEY)), user);
        let event = format!(r#"{{"realtimeInput":{{"audio":{{{sound}}}}}}}"#);
        let (first, rest) = event.as_bytes().split_at(event.len() / 2);
        let whole = frame(TEXT, event.as_bytes(), Some(KEY));
        let parts = [frame(TEXT & !FIN, first, Some(KEY)), frame(FIN, rest, Some(KEY))].concat();
        for wire in [&whole, &parts, &whole] {
            app.send(wire);
            server.expect(wire, user);
        }
        drop((app, server));
        let path = format!("/admin/users/{user}/usage");
        let heard = || proxy.get(&path)["usage"]["inputTokens"].as_u64().unwrap_or(0);
        let found = eventually(PATIENCE, heard, |found| *found >= tokens);
        assert!((tokens..tokens + 3).contains(&found), "{user}: {found}");
    }
}

#[test]
fn a_client_that_leaves_before_its_first_event_leaves_nothing() {
    let provider = Upstream::start();
    let proxy = start_gemini(&provider.origin(), &[]);
    for said in [close(1000, "", Some(KEY)), Vec::new()] {
        let mut app = dial(&proxy, PATH, "alice");
        assert_eq!(app.answer().status, 101);
        app.send(said);
        app.finish();
        app.rest();
    }
    assert!(provider.poll().is_none(), "nothing went up");
    let open = || proxy.metric("tokenist_sessions").unwrap_or(0.0);
    assert_eq!(eventually(Duration::from_secs(5), open, |open| *open == 0.0), 0.0);
}
