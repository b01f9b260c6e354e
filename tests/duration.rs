//! Providers that bill time, and Google's Interactions: what a session costs however its bytes come, how it ends at a limit, and how
//! each wants its key. Both ends are raw sockets, or `tokload`.

mod raw;

use raw::*;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;
use tokenist_kit::{Load, PATIENCE, Provider, Tokenist, audit, eventually};

const SHUT: (&str, &str) = ("admission.refuse", "close");

fn start_as(origin: &str, dialect: &str, settings: &[(&str, &str)]) -> Tokenist {
    start(origin, &[&[("provider.dialect", dialect), SHUT][..], settings].concat())
}

fn dial(proxy: &Tokenist, target: &str, user: &str, credential: &str) -> Wire {
    let mut app = Wire::connect(proxy.listen);
    let user = format!("x-user-id: {user}");
    app.send(request(&format!("GET {target}"), &[&UPGRADE[..], &[credential, &user]].concat()));
    app
}

/// A session of a dialect whose request says all, and what the provider was asked.
fn session(proxy: &Tokenist, provider: &Upstream, target: &str, user: &str) -> (Wire, Wire, String) {
    let mut app = dial(proxy, target, user, "Authorization: Token k");
    let mut server = provider.accept();
    let head = server.head();
    server.send(switching(&[]));
    assert_eq!(app.answer().status, 101);
    (app, server, head)
}

/// What a user has used, once so many requests are booked.
fn booked(proxy: &Tokenist, user: &str, requests: u64) -> Value {
    let path = format!("/admin/users/{user}/usage");
    eventually(PATIENCE, || proxy.get(&path)["usage"].clone(), |usage| usage["requests"] == requests)
}

/// The time that is counted for a user of the one model, in milliseconds.
fn counted_ms(proxy: &Tokenist, user: &str) -> u64 {
    let models = proxy.get(&format!("/admin/users/{user}/models?since=start"));
    models["models"][0]["durationMs"].as_u64().unwrap_or_else(|| panic!("{models}"))
}

/// Dollars in billionths.
fn nano(dollars: &Value) -> Option<i64> {
    dollars.as_f64().map(|dollars| (dollars * 1e9).round() as i64)
}

/// A message in three frames.
fn fragmented(opcode: u8, message: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let (first, rest) = message.split_at(message.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    [(opcode & !FIN, first), (0, second), (FIN, third)].map(|(first, part)| frame(first, part, key)).concat()
}

fn whole(opcode: u8, message: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    frame(opcode, message, key)
}

type Form = (&'static str, fn(u8, &[u8], Option<[u8; 4]>) -> Vec<u8>, usize);
const FORMS: [Form; 7] = [
    ("whole", whole, usize::MAX),
    ("by-one", whole, 1),
    ("in-fragments-by-one", fragmented, 1),
    ("by-seven", whole, 7),
    ("by-a-hundred", whole, 101),
    ("in-fragments", fragmented, usize::MAX),
    ("in-fragments-by-eleven", fragmented, 11),
];

/// Says a transcript through the proxy. Of some dialects the first event comes before the provider is dialled.
fn replay(proxy: &Tokenist, provider: &Upstream, user: &str, transcript: &str, (name, wire_of, size): Form) {
    let mut lines = transcript.lines().peekable();
    let target = lines.next().unwrap().strip_prefix("? ").unwrap();
    let mut app = dial(proxy, target, user, "Authorization: Bearer k");
    let wire = |line: &str| match line.split_at(2) {
        ("# ", bytes) => (true, wire_of(BINARY, &vec![b'{'; bytes.parse().unwrap()], Some(KEY))),
        ("> ", event) => (true, wire_of(TEXT, event.as_bytes(), Some(KEY))),
        _ => (false, wire_of(TEXT, line.as_bytes(), None)),
    };
    let pass = |from: &mut Wire, to: &mut Wire, wire: &[u8]| {
        // Of sound only the beginning comes as slowly.
        let (slow, rest) = wire.split_at(wire.len().min(4_096));
        slow.chunks(size.min(wire.len())).for_each(|piece| from.send(piece));
        rest.chunks(size.max(101)).for_each(|piece| from.send(piece));
        to.expect(wire, name);
    };
    let opens =
        ["StartRecognition", "interaction.create"].iter().any(|word| lines.peek().unwrap().contains(word));
    let opening = opens.then(|| wire(lines.next().unwrap()).1);
    opening.iter().for_each(|wire| app.send(wire));
    let mut server = provider.accept();
    server.head();
    server.send(switching(&[]));
    assert_eq!(app.answer().status, 101, "{target}");
    opening.iter().for_each(|wire| server.expect(wire, name));
    for line in lines {
        match wire(line) {
            (true, wire) => pass(&mut app, &mut server, &wire),
            (false, wire) => pass(&mut server, &mut app, &wire),
        }
    }
}

#[test]
fn a_golden_transcript_costs_the_same_however_its_bytes_come() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (dialect, transcripts) in [
        ("deepgram", &["deepgram_listen", "deepgram_cut", "deepgram_flux"][..]),
        ("assemblyai", &["assemblyai"]),
        ("cartesia", &["cartesia_stt"]),
        ("speechmatics", &["speechmatics"]),
        ("mistral", &["mistral", "mistral_cut"]),
        ("gemini", &["interactions"]),
    ] {
        let provider = Upstream::start();
        let proxy = start_as(&provider.origin(), dialect, &[]);
        for transcript in transcripts {
            let said = std::fs::read_to_string(folder.join(format!("{transcript}.jsonl"))).unwrap();
            // What passes in the meantime is less than the time that is stated.
            let said: String =
                said.lines().filter(|line| !line.starts_with("@ ")).map(|line| format!("{line}\n")).collect();
            let expected = std::fs::read(folder.join(format!("{transcript}.expected.json"))).unwrap();
            let expected: Value = serde_json::from_slice(&expected).unwrap();
            for form in FORMS {
                let user = format!("{transcript}-{}", form.0);
                replay(&proxy, &provider, &user, &said, form);
                let usage = booked(&proxy, &user, 1);
                assert_eq!(nano(&usage["costUsd"]), expected["total_cost_nano"].as_i64(), "{user}: {usage}");
                let estimated = usage["estimatedCostUsd"] != 0.0;
                assert_eq!(estimated, expected["booked"][0]["estimated"] == true, "{user}: {usage}");
            }
        }
    }
}

#[test]
fn whole_turns_are_counted_as_the_provider_counts_them() {
    for dialect in ["interactions", "deepgram", "assemblyai", "cartesia", "speechmatics", "mistral"] {
        let provider = Provider::start(&["--seed", "7"]);
        let speaks = if dialect == "interactions" { "gemini" } else { dialect };
        let settings = [("provider.dialect", speaks), ("limits.max_cost_usd", "-1")];
        let proxy = Tokenist::start(&provider.origin(), &settings);
        let load = Load::start_of(dialect, proxy.listen, "turns,sessions=12,users=4,turns=5,seconds=60");
        let figures = load.figures();
        assert_eq!(figures["errors"], json!({}), "{dialect}: {figures}");
        let (is_equal, table) = audit(&provider, &proxy);
        assert!(is_equal, "{dialect}:\n{table}");
        assert_eq!(provider.audit()["totals"]["responses"], 12, "{dialect}");
    }
}

#[test]
fn time_that_nobody_states_is_counted_by_the_clock() {
    let provider = Provider::start(&["--seed", "7"]);
    let settings = [("provider.dialect", "elevenlabs"), ("limits.max_cost_usd", "-1")];
    let proxy = Tokenist::start(&provider.origin(), &settings);
    Load::start_of("elevenlabs", proxy.listen, "turns,sessions=4,users=1,rate=8,turns=4,seconds=60")
        .figures();
    let usage = booked(&proxy, "user-0", 4);
    let billed = provider.audit()["totals"]["billed"]["duration_ms"].as_u64().unwrap();
    let counted = counted_ms(&proxy, "user-0");
    assert!(billed > 0 && counted.abs_diff(billed) < 1_000, "{counted} of {billed}");
    assert_eq!(usage["estimatedCostUsd"], usage["costUsd"], "the provider has stated none of it");
}

/// Sound of so many seconds in 16 kHz.
fn seconds_of_sound(seconds: usize) -> Vec<u8> {
    frame(BINARY, &vec![0; 32_000 * seconds], Some(KEY))
}

#[test]
fn a_limit_on_sound_ends_the_session_at_the_piece_that_reaches_it() {
    let provider = Upstream::start();
    // Five seconds at $0.0048 a minute.
    let proxy = start_as(&provider.origin(), "deepgram", &[("limits.max_cost_usd", "0.0004")]);
    let target = "/v1/listen?model=nova-3&encoding=linear16&sample_rate=16000";
    let (mut app, mut server, _) = session(&proxy, &provider, target, "alice");
    for piece in 0..5 {
        assert!(!app.is_readable(), "it goes on before piece {piece}");
        app.send(seconds_of_sound(1));
        server.expect(&seconds_of_sound(1), "sound");
    }
    let told: Value = serde_json::from_slice(&app.frame().payload).unwrap();
    assert_eq!((&told["type"], &told["variant"]), (&"Error".into(), &"cost_limit_reached".into()), "{told}");
    let close = app.frame();
    assert_eq!((close.close_code(), close.close_reason()), (4004, "Cost limit reached: $0.0004 >= $0.0004"));
    // The provider is asked to end it, and says what it was.
    assert_eq!(server.frame().payload, br#"{"type":"CloseStream"}"#);
    server.send(frame(TEXT, br#"{"type":"Metadata","duration":4.5,"channels":1}"#, None));
    assert_eq!(server.frame().close_code(), 1000);
    let usage = booked(&proxy, "alice", 1);
    assert_eq!((&usage["costUsd"], &usage["estimatedCostUsd"]), (&json!(0.00036), &json!(0.0)), "{usage}");
}

#[test]
fn who_leaves_without_a_word_has_the_provider_asked_what_it_was() {
    let provider = Upstream::start();
    let proxy = start_as(&provider.origin(), "assemblyai", &[]);
    for (user, code, seconds) in [("alice", Some(1000), 3), ("bob", None, 4)] {
        let target = "/v3/ws?speech_model=u3-rt-pro&sample_rate=16000";
        let (mut app, mut server, _) = session(&proxy, &provider, target, user);
        let begin = frame(TEXT, br#"{"type":"Begin","id":"b","expires_at":1797000000}"#, None);
        server.send(&begin);
        app.expect(&begin, "its beginning");
        match code {
            Some(code) => app.send(close(code, "", Some(KEY))),
            None => app.reset(),
        }
        assert_eq!(server.frame().payload, br#"{"type":"Terminate"}"#, "{user}");
        let end = format!(r#"{{"type":"Termination","session_duration_seconds":{seconds}}}"#);
        server.send(frame(TEXT, end.as_bytes(), None));
        assert_eq!(server.frame().close_code(), 1000, "{user}");
        assert_eq!(booked(&proxy, user, 1)["estimatedCostUsd"], 0.0, "{user}");
        assert_eq!(counted_ms(&proxy, user), seconds * 1_000, "{user}");
    }
}

#[test]
fn a_limit_on_time_ends_a_session_in_which_nothing_passes() {
    let provider = Upstream::start();
    // A second and a half at the fallback's $0.08 a minute.
    let proxy = start_as(&provider.origin(), "elevenlabs", &[("limits.max_cost_usd", "0.002")]);
    let began = Instant::now();
    let (mut app, mut server, _) = session(&proxy, &provider, "/v1/convai/conversation?agent_id=a", "alice");
    let close = app.frame();
    let lasted = began.elapsed();
    assert_eq!(close.close_code(), 4004, "{}", close.close_reason());
    assert!((1_400..4_000).contains(&lasted.as_millis()), "{lasted:?}");
    assert_eq!(server.frame().close_code(), 1000);
    // The next one is refused before the provider hears of it.
    let mut app = dial(&proxy, "/v1/convai/conversation?agent_id=a", "alice", "xi-api-key: k");
    assert_eq!((app.answer().status, app.frame().close_code()), (101, 4004));
    assert!(provider.poll().is_none(), "nothing went up");
}

#[test]
fn an_operators_end_is_said_as_each_provider_would_say_it() {
    for (dialect, target, field) in [
        ("deepgram", "/v1/agent/converse", "description"),
        ("assemblyai", "/v3/ws?sample_rate=16000", "error"),
        ("cartesia", "/stt/websocket?model=ink-2", "message"),
    ] {
        let provider = Upstream::start();
        let proxy = start_as(&provider.origin(), dialect, &[]);
        let (mut app, _server, _) = session(&proxy, &provider, target, "alice");
        let blocked = proxy.post("/admin/users/alice/block", &json!({"reason": "too loud"}));
        assert_eq!(blocked.status, 200);
        let told: Value = serde_json::from_slice(&app.frame().payload).unwrap();
        assert!(told[field].as_str().is_some_and(|text| text.contains("too loud")), "{dialect}: {told}");
        assert_eq!(app.frame().close_code(), 4003, "{dialect}");
    }
}

#[test]
fn each_provider_gets_the_key_as_it_wants_it_wherever_the_caller_has_it() {
    for (dialect, target, sent) in [
        ("deepgram", "/v1/listen?model=nova-3", "Authorization: Token 0a1b"),
        ("assemblyai", "/v3/ws?sample_rate=16000", "Authorization: 0a1b"),
        ("elevenlabs", "/v1/convai/conversation?agent_id=a", "xi-api-key: 0a1b"),
        ("cartesia", "/agents/websocket/agent_1", "X-API-Key: 0a1b"),
        ("mistral", "/v1/audio/transcriptions/realtime?model=m", "Authorization: Bearer 0a1b"),
    ] {
        let provider = Upstream::start();
        let proxy = start_as(&provider.origin(), dialect, &[]);
        for shown in [
            "Authorization: Token 0a1b",
            "Authorization: Bearer 0a1b",
            "Authorization: 0a1b",
            "xi-api-key: 0a1b",
            "X-Api-Key: 0a1b",
            "Sec-WebSocket-Protocol: token, 0a1b",
        ] {
            let mut app = dial(&proxy, &format!("/any{target}"), "alice", shown);
            let mut server = provider.accept();
            let head = server.head();
            assert!(head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{head}");
            assert!(
                head.contains(&format!("{sent}\r\n")) && head.matches("0a1b").count() == 1,
                "{shown}: {head}"
            );
            server.send(switching(&[]));
            let answer = app.answer();
            assert_eq!(answer.status, 101, "{shown}");
            let is_answered = answer.head.to_ascii_lowercase().contains("sec-websocket-protocol: token\r\n");
            assert_eq!(is_answered, shown.starts_with("Sec"), "{shown}: {}", answer.head);
            assert!(!answer.head.contains("0a1b"), "{}", answer.head);
        }
    }
}

#[test]
fn a_signed_url_leads_back_here_and_to_nobody_without_a_key_in_its_path() {
    let provider = Upstream::start();
    let keys = [("provider.api_key_env", "OPERATORS_KEY"), ("OPERATORS_KEY", "sk_operator")];
    let proxy = start_as(&provider.origin(), "elevenlabs", &keys);
    let made = proxy.post("/auth/api-keys", &json!({"name": "a", "userId": "alice"})).json();
    let key = made["apiKey"].as_str().unwrap();
    let ask = |target: &str, headers: &[&str]| {
        let mut app = Wire::connect(proxy.listen);
        app.send(request(&format!("GET {target}"), headers));
        let answer = app.answer();
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap())
    };
    let path = "/v1/convai/conversation/get-signed-url?agent_id=agent_1";
    let (status, told) = ask(&format!("/k/{key}/p/elevenlabs{path}&key=x"), &["xi-api-key: unused"]);
    let url = format!("ws://tokenist/k/{key}/p/elevenlabs/v1/convai/conversation?agent_id=agent_1");
    assert_eq!((status, told), (200, json!({"signed_url": url})));
    for (target, headers) in [
        (path.to_owned(), vec![format!("xi-api-key: {key}")]),
        (path.to_owned(), vec!["xi-api-key: sk_own".to_owned(), "x-user-id: alice".to_owned()]),
        (format!("/k/sk_own{path}"), vec![]),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        assert_eq!(ask(&target, &headers).0, 401, "{target} {headers:?}");
    }
    assert!(provider.poll().is_none(), "the provider was not asked");
    let mut app = Wire::connect(proxy.listen);
    app.send(request(&format!("GET {}", url.strip_prefix("ws://tokenist").unwrap()), &UPGRADE));
    let mut server = provider.accept();
    let head = server.head();
    assert!(head.starts_with("GET /v1/convai/conversation?agent_id=agent_1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("xi-api-key: sk_operator\r\n"), "{head}");
    server.send(switching(&[]));
    assert_eq!(app.answer().status, 101);
}

#[test]
fn a_model_that_may_not_be_used_is_refused_before_the_provider_hears_of_it() {
    let provider = Upstream::start();
    let proxy = start_as(&provider.origin(), "speechmatics", &[("provider.models", "standard")]);
    for (event, code) in [
        (r#"{"message":"StartRecognition","transcription_config":{"operating_point":"enhanced"}}"#, 4003),
        (r#"{"message":"AddVocab"}"#, 1007),
        ("[]", 1007),
    ] {
        let mut app = dial(&proxy, "/v2", "alice", "Authorization: Bearer k");
        assert_eq!(app.answer().status, 101);
        app.send(frame(TEXT, event.as_bytes(), Some(KEY)));
        let told: Value = serde_json::from_slice(&app.frame().payload).unwrap();
        assert_eq!(told["message"], "Error", "{event}: {told}");
        assert_eq!(app.frame().close_code(), code, "{event}");
    }
    let proxy = start_as(&provider.origin(), "assemblyai", &[("provider.models", "u3-rt-pro")]);
    let mut app = dial(&proxy, "/v3/ws?speech_model=universal-3.6-pro-realtime", "alice", "Authorization: k");
    assert_eq!(app.answer().status, 101);
    let told: Value = serde_json::from_slice(&app.frame().payload).unwrap();
    assert_eq!((&told["type"], &told["error_code"]), (&"Error".into(), &4003.into()), "{told}");
    assert!(provider.poll().is_none(), "nothing went up");
}

/// What a user is charged, once that is something.
fn cost_of(proxy: &Tokenist, user: &str) -> f64 {
    let path = format!("/admin/users/{user}/usage");
    let ask = || proxy.get(&path)["usage"]["costUsd"].as_f64().unwrap();
    eventually(PATIENCE, ask, |cost| *cost > 0.0)
}

#[test]
fn what_the_application_sends_is_counted_wherever_it_stands_in_its_event() {
    let provider = Upstream::start();
    let text = "a".repeat(1_000);
    let long = "x".repeat(1 << 21);
    let proxy = start_as(&provider.origin(), "elevenlabs", &[]);
    let target = "/v1/text-to-speech/voice_1/stream-input?model_id=eleven_v4";
    let say = |user: &str, wire: Vec<u8>| {
        let (mut app, mut server, _) = session(&proxy, &provider, target, user);
        let (mut stream, sent) = (app.stream.try_clone().unwrap(), wire.clone());
        let sender = std::thread::spawn(move || std::io::Write::write_all(&mut stream, &sent).unwrap());
        server.expect(&wire, user);
        sender.join().unwrap();
        app.send(close(1000, "", Some(KEY)));
        cost_of(&proxy, user)
    };
    let plain = say("plain", frame(TEXT, format!(r#"{{"text":"{text}"}}"#).as_bytes(), Some(KEY)));
    for (user, event) in [
        ("far", format!(r#"{{"pad":"{long}","text":"{text}"}}"#)),
        ("marked", format!("\u{feff}{{\"text\":\"{text}\"}}")),
        ("listed", format!(r#"[{{"text":"{text}"}}]"#)),
        ("twice", format!(r#"{{"text":"{text}","text":" "}}"#)),
    ] {
        for (form, wire_of, _) in [FORMS[0], FORMS[5]] {
            let user = format!("{user}-{form}");
            let cost = say(&user, wire_of(TEXT, event.as_bytes(), Some(KEY)));
            assert!(cost >= plain, "{user}: {cost} of {plain}");
        }
    }
    let target = "/v1/text-to-speech/voice_1/stream-input?model_id=eleven_v4&model_id=eleven_v3";
    let mut app = dial(&proxy, target, "alice", "xi-api-key: k");
    assert_eq!(app.answer().status, 400, "two models");

    let proxy = start_as(&provider.origin(), "mistral", &[]);
    let sound = "A".repeat(32_000 * 4 / 3);
    let pad = "x".repeat(300);
    for (form, wire_of, _) in [FORMS[0], FORMS[5]] {
        let target = "/v1/audio/transcriptions/realtime?model=voxtral-mini-transcribe-realtime-2602";
        let (mut app, mut server, _) = session(&proxy, &provider, target, form);
        let event = format!(r#"{{"type":"input_audio.append","pad":"{pad}","audio":"{sound}"}}"#);
        let wire = wire_of(TEXT, event.as_bytes(), Some(KEY));
        app.send(&wire);
        server.expect(&wire, form);
        server.send(close(1000, "", None));
        booked(&proxy, form, 1);
        assert!((999..=1_001).contains(&counted_ms(&proxy, form)), "{form}: {}", counted_ms(&proxy, form));
    }
}

#[test]
fn a_figure_that_nobody_can_have_used_takes_nothing_back() {
    let provider = Upstream::start();
    let proxy = start_as(&provider.origin(), "deepgram", &[]);
    let target = "/v1/listen?model=nova-3&encoding=linear16&sample_rate=16000";
    for (user, stated) in
        [("negative", "-1"), ("negative-text", "\"-0.5\""), ("huge", "1e30"), ("no-number", "NaN")]
    {
        let (mut app, mut server, _) = session(&proxy, &provider, target, user);
        app.send(seconds_of_sound(2));
        server.expect(&seconds_of_sound(2), user);
        let metadata = frame(TEXT, format!(r#"{{"type":"Metadata","duration":{stated}}}"#).as_bytes(), None);
        server.send(&metadata);
        app.expect(&metadata, user);
        server.send(close(1000, "", None));
        booked(&proxy, user, 1);
        assert_eq!(counted_ms(&proxy, user), 2_000, "{user}");
    }
}

#[test]
fn no_later_word_of_the_application_makes_its_sound_shorter() {
    let provider = Upstream::start();
    let proxy = start_as(&provider.origin(), "deepgram", &[]);
    let target = "/v2/listen?model=flux-general-en&encoding=linear16&sample_rate=16000&Sample_Rate=192000";
    let answer = dial(&proxy, target, "alice", "Authorization: Token k").answer();
    assert!(answer.status == 400 && answer.body.contains("gives sample_rate twice"), "{}", answer.body);
    assert!(provider.poll().is_none(), "nothing went up");

    let proxy = start_as(&provider.origin(), "speechmatics", &[]);
    let begin = |rate: u32| {
        let event = json!({"message": "StartRecognition", "transcription_config": {"operating_point": "standard"},
            "audio_format": {"type": "raw", "encoding": "pcm_s16le", "sample_rate": rate}});
        frame(TEXT, event.to_string().as_bytes(), Some(KEY))
    };
    for (user, rate, wanted_ms) in [("more", 192_000, 4_000), ("none", 0, 4_000), ("less", 8_000, 6_000)] {
        let mut app = dial(&proxy, "/v2", user, "Authorization: Bearer k");
        assert_eq!(app.answer().status, 101);
        app.send(begin(16_000));
        let mut server = provider.accept();
        server.head();
        server.send(switching(&[]));
        server.expect(&begin(16_000), user);
        for wire in [seconds_of_sound(2), begin(rate), seconds_of_sound(2)] {
            app.send(&wire);
            server.expect(&wire, user);
        }
        server.send(close(1000, "", None));
        booked(&proxy, user, 1);
        assert_eq!(counted_ms(&proxy, user), wanted_ms, "{user}");
    }
}
