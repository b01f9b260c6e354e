//! Every dialect that is OpenAI's or like it, over raw sockets: which request goes up, what a transcript costs however its bytes
//! come, where a limit ends it, and which models an application may name.

mod raw;
mod reckon;

use raw::*;
use reckon::booked;
use serde_json::{Value, json};
use std::path::Path;
use tokenist_kit::{Load, PATIENCE, Provider, Tokenist, audit, eventually};

/// One dialect: a transcript of it, what configures it, and where an application dials it.
struct Spoken {
    transcript: &'static str,
    dialect: &'static str,
    target: &'static str,
    /// The model is in the application's first event, before which nothing is dialled.
    first_event: bool,
    /// How many lines of the transcript pass before the least limit is reached.
    lines_to_limit: usize,
}

const SPOKEN: [Spoken; 8] = [
    Spoken {
        transcript: "translation",
        dialect: "openai",
        target: "/v1/realtime/translations?model=gpt-realtime-translate",
        first_event: false,
        lines_to_limit: 9,
    },
    Spoken {
        transcript: "sideband",
        dialect: "openai",
        target: "/v1/realtime?call_id=rtc_USER",
        first_event: false,
        lines_to_limit: 5,
    },
    Spoken {
        transcript: "azure",
        dialect: "azure",
        target: "/openai/v1/realtime?model=gpt-realtime-2.1",
        first_event: false,
        lines_to_limit: 5,
    },
    Spoken {
        transcript: "inworld",
        dialect: "inworld",
        target: "/api/v1/realtime/session",
        first_event: false,
        lines_to_limit: 3,
    },
    Spoken {
        transcript: "qwen_omni",
        dialect: "qwen_omni",
        target: "/api-ws/v1/realtime?model=qwen-audio-3.1-realtime-flash",
        first_event: false,
        lines_to_limit: 8,
    },
    Spoken {
        transcript: "xai",
        dialect: "xai",
        target: "/v1/realtime?model=grok-voice-latest",
        first_event: false,
        lines_to_limit: 6,
    },
    Spoken {
        transcript: "gpt_live",
        dialect: "openai",
        target: "/v1/live/sessions",
        first_event: true,
        lines_to_limit: 5,
    },
    Spoken {
        transcript: "responses_ws",
        dialect: "openai",
        target: "/v1/responses",
        first_event: true,
        lines_to_limit: 5,
    },
];

fn start_for(spoken: &Spoken, origin: &str, settings: &[(&str, &str)]) -> Tokenist {
    let ours = [("provider.dialect", spoken.dialect), ("admission.refuse", "close")];
    start(origin, &[&ours[..], settings].concat())
}

fn dial(proxy: &Tokenist, target: &str, user: &str) -> Wire {
    let mut app = Wire::connect(proxy.listen);
    let user = format!("x-user-id: {user}");
    let headers = [&UPGRADE[..], &["Authorization: Bearer sk-test", &user]].concat();
    app.send(request(&format!("GET {target}"), &headers));
    app
}

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Both ends of a session that plays a transcript.
struct Played {
    app: Wire,
    server: Wire,
}

impl Played {
    /// Up to the provider's answer, with the first event where the model is in that.
    fn open<'a>(
        spoken: &Spoken,
        proxy: &Tokenist,
        provider: &Upstream,
        user: &str,
        lines: &mut impl Iterator<Item = &'a str>,
    ) -> Played {
        let mut app = dial(proxy, &spoken.target.replace("USER", user), user);
        if spoken.first_event {
            assert_eq!(app.answer().status, 101);
            let first =
                lines.next().and_then(|line| line.strip_prefix("> ")).expect("the application begins");
            app.send(frame(TEXT, first.as_bytes(), Some(KEY)));
        }
        let mut server = provider.accept();
        server.head();
        server.send(switching(&[]));
        match spoken.first_event {
            true => drop(server.frame()),
            false => assert_eq!(app.answer().status, 101),
        }
        Played { app, server }
    }

    fn line(&mut self, line: &str, wire_of: &dyn Fn(&[u8]) -> Vec<u8>, piece_bytes: usize) {
        match line.strip_prefix("> ") {
            Some(said) => {
                let wire = frame(TEXT, said.as_bytes(), Some(KEY));
                self.app.send(&wire);
                self.server.expect(&wire, line);
            }
            None => {
                let wire = wire_of(line.as_bytes());
                wire.chunks(piece_bytes.min(wire.len())).for_each(|piece| self.server.send(piece));
                self.app.expect(&wire, line);
            }
        }
    }
}

fn whole(message: &[u8]) -> Vec<u8> {
    frame(TEXT, message, None)
}

fn fragmented(message: &[u8]) -> Vec<u8> {
    let (first, rest) = message.split_at(message.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let frames = [(TEXT & !FIN, first), (0, second), (FIN, third)];
    frames.map(|(opcode, part)| frame(opcode, part, None)).concat()
}

#[test]
fn a_golden_transcript_costs_the_same_however_its_bytes_come() {
    type Form<'a> = (&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>, usize);
    let forms: [Form<'_>; 4] = [
        ("whole", &whole, usize::MAX),
        ("by-seven", &whole, 7),
        ("in-fragments", &fragmented, usize::MAX),
        ("in-fragments-by-three", &fragmented, 3),
    ];
    for spoken in &SPOKEN {
        let provider = Upstream::start();
        let proxy = start_for(spoken, &provider.origin(), &[]);
        let transcript = golden(&format!("{}.jsonl", spoken.transcript));
        let expected: Value =
            serde_json::from_str(&golden(&format!("{}.expected.json", spoken.transcript))).unwrap();
        let rows = expected["booked"].as_array().unwrap();
        let requests: u64 = rows.iter().filter_map(|row| row["usage"]["requests"].as_u64()).sum();
        for (user, wire_of, piece_bytes) in forms {
            let mut lines = transcript.lines();
            let mut played = Played::open(spoken, &proxy, &provider, user, &mut lines);
            lines.for_each(|line| played.line(line, wire_of, piece_bytes));
            played.server.send(close(1000, "", None));
            assert_eq!(played.app.frame().close_code(), 1000);
            played.app.send(close(1000, "", Some(KEY)));
            let path = format!("/admin/users/{user}/usage");
            let ask = || proxy.get(&path)["usage"].clone();
            let nano =
                |usage: &Value| usage["costUsd"].as_f64().map(|dollars| (dollars * 1e9).round() as i64);
            // What bears no request may come behind the last that does.
            let is_all = |usage: &Value| {
                usage["requests"] == requests && nano(usage) >= expected["total_cost_nano"].as_i64()
            };
            let usage = eventually(PATIENCE, ask, is_all);
            assert_eq!(nano(&usage), expected["total_cost_nano"].as_i64(), "{} {user}", spoken.transcript);
        }
    }
}

#[test]
fn a_limit_in_mid_session_ends_it_at_the_event_that_reaches_it() {
    for spoken in &SPOKEN {
        let provider = Upstream::start();
        let proxy = start_for(spoken, &provider.origin(), &[("limits.max_cost_usd", "0.000001")]);
        let transcript = golden(&format!("{}.jsonl", spoken.transcript));
        let mut lines = transcript.lines().take(spoken.lines_to_limit);
        let mut played = Played::open(spoken, &proxy, &provider, "alice", &mut lines);
        lines.for_each(|line| played.line(line, &whole, usize::MAX));
        let error: Value = serde_json::from_slice(&played.app.frame().payload).unwrap();
        assert_eq!(
            (&error["type"], &error["error"]["type"]),
            (&json!("error"), &json!("insufficient_quota")),
            "{}: {error}",
            spoken.transcript
        );
        let is_answer = spoken.transcript == "responses_ws";
        assert_eq!(error["status"] == 429, is_answer, "{}: {error}", spoken.transcript);
        assert_eq!(played.app.frame().close_code(), 4004, "{}", spoken.transcript);
        // And nobody comes in any more.
        let mut app = dial(&proxy, spoken.target, "alice");
        assert_eq!(app.answer().status, 101);
        app.frame();
        assert_eq!(app.frame().close_code(), 4004, "{}", spoken.transcript);
        assert!(provider.poll().is_none(), "nothing went up");
    }
}

#[test]
fn what_goes_up_is_the_providers_path_with_its_credential() {
    for (dialect, target, path, credential) in [
        ("azure", "/v1/realtime?model=m", "/openai/v1/realtime?model=m", "api-key: sk-test"),
        (
            "azure",
            "/openai/realtime?api-version=1&deployment=m",
            "/openai/realtime?api-version=1&deployment=m",
            "api-key: sk-test",
        ),
        (
            "azure_voice_live",
            "/voice-live/realtime?api-version=1&model=m",
            "/voice-live/realtime?api-version=1&model=m",
            "api-key: sk-test",
        ),
        ("qwen_omni", "/v1/realtime?model=m", "/api-ws/v1/realtime?model=m", "Authorization: Bearer sk-test"),
        ("elevenlabs_realtime", "/v1/realtime?model=m", "/v1/convai/realtime?model=m", "xi-api-key: sk-test"),
        ("xai", "/realtime?model=m", "/v1/realtime?model=m", "Authorization: Bearer sk-test"),
        ("openai_like", "/a/v1/realtime?model=m", "/a/v1/realtime?model=m", "Authorization: Bearer sk-test"),
    ] {
        let provider = Upstream::start();
        let proxy =
            start(&provider.origin(), &[("provider.dialect", dialect), ("admission.refuse", "close")]);
        let mut app = dial(&proxy, target, "alice");
        let mut server = provider.accept();
        let head = server.head();
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{dialect}: {head}");
        assert!(head.contains(&format!("\r\n{credential}\r\n")), "{dialect}: {head}");
        assert_eq!(head.matches("sk-test").count(), 1, "{dialect}: {head}");
        server.send(switching(&[]));
        assert_eq!(app.answer().status, 101, "{dialect}");
    }
}

#[test]
fn inworlds_sessions_have_names_of_their_own() {
    let provider = Upstream::start();
    let settings = [("provider.dialect", "inworld"), ("admission.refuse", "close")];
    let proxy = start(&provider.origin(), &settings);
    let names = ["/v1/realtime?protocol=realtime", "/api/v1/realtime/session?key=voice-1&protocol=realtime"]
        .map(|target| {
            let app = dial(&proxy, target, "alice");
            let mut server = provider.accept();
            let head = server.head();
            let name = head.strip_prefix("GET /api/v1/realtime/session?key=tokenist-").expect(&head);
            let name = name.split_once("&protocol=realtime HTTP/1.1").expect(&head).0;
            assert!(head.contains("\r\nAuthorization: Basic sk-test\r\n"), "{head}");
            drop(app);
            name.to_owned()
        });
    assert!(names[0].len() == 16 && names[0] != names[1], "{names:?}");
}

#[test]
fn a_dialect_of_the_configurations_own_is_metered_by_its_words() {
    let provider = Upstream::start();
    let words = [
        ("provider.dialect", "openai_like"),
        ("provider.path", "/v9/talk"),
        ("provider.usage", "metrics.billed"),
        ("provider.events", "turn.over = response.done"),
        ("provider.model_in", "config.model"),
        ("provider.deployments", "mine = gpt-realtime"),
        ("provider.auth", "header:x-secret"),
    ];
    let proxy = start(&provider.origin(), &[&words[..], &[("admission.refuse", "close")]].concat());
    let mut app = dial(&proxy, "/v9/talk", "alice");
    assert_eq!(app.answer().status, 101);
    let first = frame(TEXT, br#"{"type":"start","config":{"model":"mine"}}"#, Some(KEY));
    app.send(&first);
    let mut server = provider.accept();
    let head = server.head();
    assert!(
        head.starts_with("GET /v9/talk HTTP/1.1\r\n") && head.contains("x-secret: sk-test\r\n"),
        "{head}"
    );
    server.send(switching(&[]));
    server.expect(&first, "the first event");
    let over =
        json!({"type": "turn.over", "response": {"id": "r"}, "metrics": {"billed": {"output_tokens": 10}}});
    server.send(frame(TEXT, over.to_string().as_bytes(), None));
    app.frame();
    let ask = || proxy.get("/admin/users/alice/usage")["usage"].clone();
    let usage = eventually(PATIENCE, ask, |usage| usage["requests"] == 1);
    assert_eq!(usage["costUsd"].as_f64(), Some(0.00016), "{usage}");
}

/// How an application's frame names a model, and what of it the provider may get at most.
fn frames_naming(model: &str) -> Vec<(&'static str, Vec<u8>)> {
    let event = |input: String| {
        json!({"type": "response.create", "input": input, "model": model}).to_string().into_bytes()
    };
    let small = event("x".into());
    let (first, rest) = small.split_at(small.len() / 2);
    vec![
        ("whole", frame(TEXT, &small, Some(KEY))),
        ("in fragments", [frame(TEXT & !FIN, first, Some(KEY)), frame(FIN, rest, Some(KEY))].concat()),
        ("large", frame(TEXT, &event("x".repeat(300_000)), Some(KEY))),
        ("too long to be read", frame(TEXT, &event("x".repeat(1 << 21)), Some(KEY))),
    ]
}

#[test]
fn a_frame_that_names_a_model_which_is_not_served_never_reaches_the_provider_whole() {
    let spoken = SPOKEN.iter().find(|spoken| spoken.transcript == "responses_ws").unwrap();
    let provider = Upstream::start();
    let proxy = start_for(spoken, &provider.origin(), &[("provider.models", "gpt-6-luna")]);
    let first = br#"{"type":"response.create","model":"gpt-6-sol","input":"x"}"#;
    let mut app = dial(&proxy, spoken.target, "alice");
    assert_eq!(app.answer().status, 101);
    app.send(frame(TEXT, first, Some(KEY)));
    let error: Value = serde_json::from_slice(&app.frame().payload).unwrap();
    assert_eq!((&error["status"], &error["error"]["code"]), (&json!(403), &json!("model_not_allowed")));
    assert_eq!(app.frame().close_code(), 4003);
    assert!(provider.poll().is_none(), "nothing went up");

    for (how, wire) in frames_naming("gpt-6-sol") {
        let opening = r#"> {"type":"response.create","model":"gpt-6-luna","input":"x"}"#;
        let mut lines = [opening].into_iter();
        let Played { mut app, mut server } = Played::open(spoken, &proxy, &provider, "alice", &mut lines);
        let sent = wire.clone();
        let sender = std::thread::spawn({
            let mut stream = app.stream.try_clone().unwrap();
            move || drop(std::io::Write::write_all(&mut stream, &sent))
        });
        let error: Value = serde_json::from_slice(&app.frame().payload).unwrap();
        let code =
            if how.starts_with("too long") { ("model_missing", 1007) } else { ("model_not_allowed", 4003) };
        assert_eq!(
            (error["error"]["code"].as_str(), app.frame().close_code()),
            (Some(code.0), code.1),
            "{how}"
        );
        drop(app);
        sender.join().unwrap();
        let heard = server.rest();
        assert!(heard.len() < wire.len() || !heard.starts_with(&wire), "{how}: it came whole");
    }
    // One that is served passes, whatever the session began with.
    for (how, wire) in frames_naming("gpt-6-luna").into_iter().take(3) {
        let opening = r#"> {"type":"response.create","model":"gpt-6-luna","input":"x"}"#;
        let mut lines = [opening].into_iter();
        let Played { mut app, mut server } = Played::open(spoken, &proxy, &provider, "alice", &mut lines);
        app.send(&wire);
        server.expect(&wire, how);
    }
}

/// Events of which one reader would find `gpt-6-luna`, or nothing, where another finds `gpt-6-sol`.
fn doubtful_events() -> Vec<(&'static str, String)> {
    let long = "x".repeat(1 << 21);
    let create = r#""type":"response.create""#;
    vec![
        ("a type twice", format!(r#"{{"type":"x",{create},"model":"gpt-6-sol","input":"x"}}"#)),
        ("a model twice", format!(r#"{{{create},"model":"gpt-6-luna","model":"gpt-6-sol"}}"#)),
        ("a model before it", format!(r#"{{"model":"gpt-6-sol",{create},"model":"gpt-6-luna"}}"#)),
        ("an escape", format!(r#"{{{create},"model":"gpt-6-luna","\u006dodel":"gpt-6-sol"}}"#)),
        ("another case", format!(r#"{{{create},"Model":"gpt-6-sol"}}"#)),
        ("a byte order mark", format!("\u{feff}{{{create},\"model\":\"gpt-6-sol\"}}")),
        ("a list", format!(r#"[{{{create},"model":"gpt-6-sol"}}]"#)),
        ("two objects", format!(r#"{{}}{{{create},"model":"gpt-6-sol"}}"#)),
        ("far apart", format!(r#"{{{create},"model":"gpt-6-luna","input":"{long}","model":"gpt-6-sol"}}"#)),
        ("a type far behind", format!(r#"{{"type":"x","input":"{long}","model":"gpt-6-sol",{create}}}"#)),
    ]
}

/// Sends what is not taken to its end, and hears what is said of it.
fn told_of(app: &mut Wire, wire: &[u8]) -> (String, u16) {
    let (mut stream, sent) = (app.stream.try_clone().unwrap(), wire.to_vec());
    let sender = std::thread::spawn(move || drop(std::io::Write::write_all(&mut stream, &sent)));
    let error: Value = serde_json::from_slice(&app.frame().payload).unwrap();
    let told = (error["error"]["code"].as_str().unwrap().to_owned(), app.frame().close_code());
    app.stream.shutdown(std::net::Shutdown::Both).unwrap();
    sender.join().unwrap();
    told
}

#[test]
fn a_frame_that_can_be_read_in_several_ways_never_reaches_the_provider_whole() {
    let spoken = SPOKEN.iter().find(|spoken| spoken.transcript == "responses_ws").unwrap();
    let provider = Upstream::start();
    // What was asked for first is waited for by nobody.
    let settings = [("provider.models", "gpt-6-luna"), ("metering.linger_seconds", "0")];
    let proxy = start_for(spoken, &provider.origin(), &settings);
    let opening = r#"> {"type":"response.create","model":"gpt-6-luna","input":"x"}"#;
    for (how, event) in doubtful_events() {
        let (first, rest) = event.as_bytes().split_at(event.len() / 2);
        let fragments = [frame(TEXT & !FIN, first, Some(KEY)), frame(FIN, rest, Some(KEY))].concat();
        for wire in
            [frame(TEXT, event.as_bytes(), Some(KEY)), frame(BINARY, event.as_bytes(), Some(KEY)), fragments]
        {
            let mut lines = [opening].into_iter();
            let Played { mut app, mut server } = Played::open(spoken, &proxy, &provider, "alice", &mut lines);
            assert_eq!(told_of(&mut app, &wire), ("ambiguous_event".to_owned(), 1007), "{how}");
            let heard = server.rest();
            assert!(heard.len() < wire.len() || !heard.starts_with(&wire), "{how}: it came whole");
        }
        if event.len() < 1 << 20 {
            let mut app = dial(&proxy, spoken.target, "alice");
            assert_eq!(app.answer().status, 101);
            let told = told_of(&mut app, &frame(TEXT, event.as_bytes(), Some(KEY)));
            assert_eq!(told, ("ambiguous_event".to_owned(), 1007), "{how} at first");
        }
    }
    assert!(provider.poll().is_none(), "none of them was the first that went up");
    // However long it is, one that is clear passes.
    let long = "x".repeat(1 << 21);
    let event = format!(r#"{{"type":"response.create","model":"gpt-6-luna","input":"{long}"}}"#);
    let Played { app, mut server } =
        Played::open(spoken, &proxy, &provider, "alice", &mut [opening].into_iter());
    let wire = frame(TEXT, event.as_bytes(), Some(KEY));
    let (mut stream, sent) = (app.stream.try_clone().unwrap(), wire.clone());
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut stream, &sent).unwrap());
    server.expect(&wire, "a long one");
    sender.join().unwrap();
    assert!(!app.is_readable());
}

#[test]
fn what_a_response_has_used_is_read_behind_whatever_it_quotes() {
    let spoken = SPOKEN.iter().find(|spoken| spoken.transcript == "responses_ws").unwrap();
    let provider = Upstream::start();
    let proxy = start_for(spoken, &provider.origin(), &[]);
    let input = "x".repeat(8_000);
    let opening = &*format!(r#"> {{"type":"response.create","model":"gpt-6-luna","input":"{input}"}}"#);
    let picture = format!(r#"{{"result":"{}"}}"#, "A".repeat(3 << 20));
    // Nothing in it can be left out.
    let numbers = format!("{}0", "0,".repeat(1 << 20));
    for (user, quoted, unmetered) in [("picture", picture, 0.0), ("numbers", numbers, 1.0)] {
        let Played { mut app, mut server } =
            Played::open(spoken, &proxy, &provider, user, &mut [opening].into_iter());
        let created = br#"{"type":"response.created","response":{"id":"r","model":"gpt-6-luna"}}"#;
        server.send(frame(TEXT, created, None));
        app.expect(&frame(TEXT, created, None), user);
        let over = format!(
            r#"{{"type":"response.completed","response":{{"id":"r","model":"gpt-6-luna","output":[{quoted}],"usage":{{"input_tokens":5,"output_tokens":9000}}}}}}"#
        );
        let wire = frame(TEXT, over.as_bytes(), None);
        let (mut stream, sent) = (server.stream.try_clone().unwrap(), wire.clone());
        let sender = std::thread::spawn(move || std::io::Write::write_all(&mut stream, &sent).unwrap());
        app.expect(&wire, user);
        sender.join().unwrap();
        let path = format!("/admin/users/{user}/usage");
        let ask = || proxy.get(&path)["usage"].clone();
        let usage = eventually(PATIENCE, ask, |usage| usage["requests"] == 1);
        assert_eq!(usage["estimatedCostUsd"] != 0.0, unmetered != 0.0, "{user}: {usage}");
        assert_eq!(proxy.metric("tokenist_events_unmetered_total"), Some(unmetered), "{user}");
    }
}

#[test]
fn an_item_that_is_billed_is_counted_or_goes_nowhere() {
    let spoken = SPOKEN.iter().find(|spoken| spoken.transcript == "xai").unwrap();
    let provider = Upstream::start();
    let proxy = start_for(spoken, &provider.origin(), &[]);
    let create = r#""type":"conversation.item.create","item":{"type":"message","content":[{"type":"input_text","text":"a"}]}"#;
    for event in [
        format!("{{\"type\":\"x\",{create}}}"),
        format!("\u{feff}{{{create}}}"),
        format!("{{{create},\"item\":{{\"type\":\"function_call_output\"}}}}"),
    ] {
        let Played { mut app, mut server } =
            Played::open(spoken, &proxy, &provider, "alice", &mut std::iter::empty());
        let told = told_of(&mut app, &frame(TEXT, event.as_bytes(), Some(KEY)));
        assert_eq!(told, ("ambiguous_event".to_owned(), 1007), "{event}");
        assert!(!String::from_utf8_lossy(&server.frame().payload).contains("item.create"), "{event}");
    }
    // However much sound stands before it, and in however many frames.
    let whole = |event: &str| frame(TEXT, event.as_bytes(), Some(KEY));
    let parts = |event: &str| {
        let (first, rest) = event.as_bytes().split_at(event.len() / 3);
        let (next, rest) = rest.split_at(rest.len() / 2);
        [(TEXT & !FIN, first), (0, next), (FIN, rest)]
            .map(|(kind, part)| frame(kind, part, Some(KEY)))
            .concat()
    };
    for sound in [300, 4_000, 100_000].map(|bytes| "AA\\/A".repeat(bytes / 5)) {
        let twice = format!(r#"{{"type":"input_audio_buffer.append","audio":"{sound}",{create}}}"#);
        for wire in [whole(&twice), parts(&twice)] {
            let Played { mut app, server: _server } =
                Played::open(spoken, &proxy, &provider, "alice", &mut std::iter::empty());
            assert_eq!(told_of(&mut app, &wire), ("ambiguous_event".to_owned(), 1007), "{}", sound.len());
        }
        let user = format!("bob-{}", sound.len());
        let Played { mut app, mut server } =
            Played::open(spoken, &proxy, &provider, &user, &mut std::iter::empty());
        let hidden = format!(r#"{{"audio":"{sound}",{create}}}"#);
        let alone = format!(r#"{{"audio":"{sound}","type":"input_audio_buffer.append"}}"#);
        for wire in [whole(&hidden), whole(&alone), parts(&hidden), parts(&alone)] {
            app.send(wire.clone());
            server.expect(&wire, &user);
        }
        let items = || booked(&proxy, &user).values().map(|bill| bill.usage.items_in).sum::<u64>();
        assert_eq!(eventually(PATIENCE, items, |items| *items == 2), 2, "{user}");
    }
    assert_eq!(booked(&proxy, "alice").values().map(|bill| bill.usage.items_in).sum::<u64>(), 0);
}

#[test]
fn whole_turns_of_every_dialect_are_counted_as_the_provider_counts_them() {
    for (dialect, spoken) in [
        ("openai", "openai"),
        ("openai", "translation"),
        ("openai", "gpt-live"),
        ("openai", "responses"),
        ("azure", "azure"),
        ("xai", "xai"),
        ("qwen_omni", "qwen-omni"),
        ("inworld", "inworld"),
    ] {
        let provider = Provider::start(&["--seed", "11"]);
        let proxy = Tokenist::start(&provider.origin(), &[("provider.dialect", dialect)]);
        let figures =
            Load::start_of(spoken, proxy.listen, "turns,sessions=6,users=3,turns=4,seconds=60").figures();
        assert_eq!(figures["turns"], 24, "{spoken}: {figures}");
        let (agrees, table) = audit(&provider, &proxy);
        assert!(agrees, "{spoken}:\n{table}");
    }
}
