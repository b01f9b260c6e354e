//! Where a limit ends a session in each dialect, and what of a first event that names a model goes up: over raw sockets. The
//! dialects that `dialects.rs` plays whole transcripts of are there.

mod raw;

use raw::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokenist_kit::Tokenist;

const SHUT: (&str, &str) = ("admission.refuse", "close");

/// A session that a limit ends at the last of its lines, and how its application is told.
struct Ended {
    dialect: &'static str,
    target: &'static str,
    limit_usd: &'static str,
    /// `> EVENT` of the application, `# N` bytes of its sound, or an event of the provider. Where the first names the model it is
    /// sent before anybody is dialled.
    lines: &'static [&'static str],
    /// Where the event before the close says what has happened; without one there is none.
    told: Option<(&'static str, &'static str)>,
}

const LIMIT: &str = "cost_limit_reached";
const COST: &str = "Cost limit reached";
const GEMINI: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";

const ENDED: [Ended; 13] = [
    Ended {
        dialect: "cartesia",
        target: "/stt/websocket?model=ink-2&sample_rate=16000",
        limit_usd: "0.0002",
        lines: &["# 32000", "# 32000"],
        told: Some(("/message", COST)),
    },
    Ended {
        dialect: "speechmatics",
        target: "/v2",
        limit_usd: "0.00005",
        lines: &[
            r#"> {"message":"StartRecognition","audio_format":{"type":"raw","encoding":"pcm_s16le","sample_rate":16000},"transcription_config":{"operating_point":"enhanced"}}"#,
            r##"{"message":"RecognitionStarted"}"##,
            "# 32000",
            "# 32000",
        ],
        told: Some(("/type", LIMIT)),
    },
    Ended {
        dialect: "mistral",
        target: "/v1/audio/transcriptions/realtime?model=voxtral-mini-transcribe-realtime-2602",
        limit_usd: "0.0002",
        lines: &["~ 64000", "~ 64000"],
        told: Some(("/error/message", COST)),
    },
    Ended {
        dialect: "gemini",
        target: "/v1beta/interactions/live",
        limit_usd: "0.0001",
        lines: &[
            r#"> {"event_type":"interaction.create","model":"gemini-3.8-flash"}"#,
            r#"{"event_type":"interaction.created","interaction_id":"int_1"}"#,
            r#"{"event_type":"step.delta","index":0,"delta":{"type":"text","text":"Rain falls"}}"#,
            r#"{"events":[{"event_type":"interaction.completed","usage":{"total_input_tokens":310,"total_tokens":310}}]}"#,
        ],
        told: Some(("/error/code", LIMIT)),
    },
    Ended {
        dialect: "gemini",
        target: GEMINI,
        limit_usd: "0.02",
        lines: &[
            r#"> {"setup":{"model":"models/gemini-3.8-live"}}"#,
            r#"{"setupComplete":{}}"#,
            r#"{"serverContent":{"groundingMetadata":{"webSearchQueries":["a","b"]}}}"#,
            r#"{"serverContent":{"turnComplete":true},"usageMetadata":{"promptTokenCount":10,"totalTokenCount":10}}"#,
        ],
        told: None,
    },
    Ended {
        dialect: "cartesia",
        target: "/tts/websocket",
        limit_usd: "0.0002",
        lines: &[
            r#"> {"model_id":"sonic-3","transcript":"Hi","context_id":"c"}"#,
            r#"> {"model_id":"sonic-3","transcript":"there","context_id":"c"}"#,
        ],
        told: Some(("/error", COST)),
    },
    Ended {
        dialect: "elevenlabs",
        target: "/v1/text-to-speech/voice_1/stream-input?model_id=eleven_v4",
        limit_usd: "0.0004",
        lines: &[r#"> {"text":"Hi "}"#, r#"> {"text":"again "}"#],
        told: Some(("/error", LIMIT)),
    },
    Ended {
        dialect: "mistral",
        target: "/v1/audio/speech/realtime?model=voxtral-mini-tts-2603",
        limit_usd: "0.0001",
        lines: &[
            r#"> {"type":"input_text.append","text":"Hi "}"#,
            r#"> {"type":"input_text.flush","text":"again"}"#,
        ],
        told: Some(("/error/message", COST)),
    },
    Ended {
        dialect: "openai",
        target: "/v1/live/sessions/live_1/attach",
        limit_usd: "0.01",
        lines: &[
            r#"{"type":"session.usage.updated","usage":{"seconds":10}}"#,
            r#"{"type":"session.usage.updated","usage":{"seconds":20.0}}"#,
        ],
        told: Some(("/error/code", LIMIT)),
    },
    Ended {
        dialect: "azure_voice_live",
        target: "/voice-live/realtime?api-version=1&model=gpt-realtime",
        limit_usd: "0.0001",
        lines: &[
            r#"{"type":"session.created","session":{"id":"s","model":"gpt-realtime-global-standard"}}"#,
            r#"{"type":"response.done","response":{"id":"r","usage":{"input_tokens":9,"output_tokens":90}}}"#,
        ],
        told: Some(("/error/code", LIMIT)),
    },
    Ended {
        dialect: "elevenlabs_realtime",
        target: "/v1/convai/realtime?model=eleven_realtime_v1_max",
        limit_usd: "0.05",
        lines: &[
            r#"{"type":"session.created","session":{"id":"s","model":"eleven_realtime_v1_max"}}"#,
            r#"{"type":"response.done","response":{"id":"r","usage":{"input_tokens":9,"output_tokens":9000}}}"#,
        ],
        told: Some(("/error/code", LIMIT)),
    },
    Ended {
        dialect: "xai",
        target: "/v1/responses",
        limit_usd: "0.0001",
        lines: &[
            r#"> {"type":"response.create","model":"grok-4.3","input":"x"}"#,
            r#"{"type":"response.completed","response":{"id":"r","model":"grok-4.3","usage":{"input_tokens":9,"output_tokens":90}}}"#,
        ],
        told: Some(("/error/code", LIMIT)),
    },
    Ended {
        dialect: "xai",
        target: "/v1/realtime?model=grok-voice-latest",
        limit_usd: "0.003",
        lines: &[
            r#"{"type":"session.created","session":{"id":"s","model":"grok-voice-latest"}}"#,
            r#"> {"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]}}"#,
        ],
        told: Some(("/error/code", LIMIT)),
    },
];

fn start_as(origin: &str, dialect: &str, settings: &[(&str, &str)]) -> Tokenist {
    start(origin, &[&[("provider.dialect", dialect), SHUT][..], settings].concat())
}

fn dial(proxy: &Tokenist, target: &str) -> Wire {
    let mut app = Wire::connect(proxy.listen);
    let headers = [&UPGRADE[..], &["Authorization: Bearer k", "x-user-id: alice"]].concat();
    app.send(request(&format!("GET {target}"), &headers));
    app
}

/// A line on the wire, and whether the application says it.
fn wire(line: &str) -> (bool, Vec<u8>) {
    match line.split_at(2) {
        ("> ", event) => (true, frame(TEXT, event.as_bytes(), Some(KEY))),
        ("# ", bytes) => (true, frame(BINARY, &vec![0; bytes.parse().unwrap()], Some(KEY))),
        ("~ ", characters) => {
            let event =
                json!({"type": "input_audio.append", "audio": "A".repeat(characters.parse().unwrap())});
            (true, frame(TEXT, event.to_string().as_bytes(), Some(KEY)))
        }
        _ => (false, frame(TEXT, line.as_bytes(), None)),
    }
}

/// Whether the model stands in a dialect's first event.
fn is_opening(line: &str) -> bool {
    ["StartRecognition", "interaction.create\"", "setup", "model_id", "response.create\"", "session.start"]
        .iter()
        .any(|word| line.starts_with("> ") && line.contains(word))
}

/// A session up to the provider's answer, with its first event where that names the model.
fn open(proxy: &Tokenist, provider: &Upstream, target: &str, first: &str) -> (Wire, Wire, usize) {
    let mut app = dial(proxy, target);
    let opening = is_opening(first).then(|| wire(first).1);
    opening.iter().for_each(|wire| app.send(wire));
    let mut server = provider.accept();
    server.head();
    server.send(switching(&[]));
    assert_eq!(app.answer().status, 101, "{target}");
    opening.iter().for_each(|wire| server.expect(wire, target));
    (app, server, usize::from(opening.is_some()))
}

#[test]
fn a_limit_in_mid_session_ends_it_at_the_event_that_reaches_it() {
    for ended in &ENDED {
        let Ended { target, lines, .. } = ended;
        let provider = Upstream::start();
        let proxy = start_as(&provider.origin(), ended.dialect, &[("limits.max_cost_usd", ended.limit_usd)]);
        let (mut app, mut server, said) = open(&proxy, &provider, target, lines[0]);
        for line in &lines[said..] {
            assert!(!app.is_readable(), "{target}: it goes on before {line}");
            match wire(line) {
                (true, wire) => {
                    app.send(&wire);
                    server.expect(&wire, line);
                }
                (false, wire) => {
                    server.send(&wire);
                    app.expect(&wire, line);
                }
            }
        }
        if let Some((pointer, words)) = ended.told {
            let told: Value = serde_json::from_slice(&app.frame().payload).unwrap();
            let said = told.pointer(pointer).and_then(Value::as_str);
            assert!(said.is_some_and(|said| said.contains(words)), "{target}: {told}");
        }
        assert_eq!(app.frame().close_code(), 4004, "{target}");
        // And nothing more goes up for whoever has reached it.
        let mut app = dial(&proxy, target);
        assert_eq!(app.answer().status, 101, "{target}");
        let frames = 1 + usize::from(ended.told.is_some());
        let last = (0..frames).map(|_| app.frame()).last().unwrap();
        assert_eq!(last.close_code(), 4004, "{target}");
        assert!(provider.poll().is_none(), "{target}: nothing went up");
    }
}

/// A session's time is billed though nothing passes in it.
#[test]
fn a_limit_on_time_ends_a_quiet_session() {
    const QUIET: [(&str, &str, &str); 6] = [
        ("assemblyai", "/v3/ws?speech_model=u3-rt-pro", r#"{"type":"Begin","id":"b"}"#),
        ("assemblyai", "/v1/ws", r#"{"type":"session.ready"}"#),
        ("deepgram", "/v1/agent/converse", r#"{"type":"Welcome"}"#),
        ("deepgram", "/v1/listen?model=nova-3", r#"{"type":"Results"}"#),
        ("cartesia", "/v1/agents/websocket/agent_1", r#"{"event":"ack"}"#),
        ("xai", "/v1/stt", r#"{"type":"ready"}"#),
    ];
    std::thread::scope(|scope| {
        for (dialect, target, greeting) in QUIET {
            scope.spawn(move || {
                let provider = Upstream::start();
                let proxy = start_as(&provider.origin(), dialect, &[("limits.max_cost_usd", "0.00001")]);
                let (mut app, mut server, _) = open(&proxy, &provider, target, greeting);
                let began = Instant::now();
                let greeting = frame(TEXT, greeting.as_bytes(), None);
                server.send(&greeting);
                app.expect(&greeting, target);
                let close = (0..2).map(|_| app.frame()).find(|frame| frame.first == CLOSE);
                assert_eq!(close.expect(target).close_code(), 4004, "{target}");
                assert!(began.elapsed() > Duration::from_millis(900), "{target}: {:?}", began.elapsed());
            });
        }
    });
}

#[test]
fn a_first_event_that_names_a_model_which_may_not_be_used_never_goes_up() {
    for (dialect, target, first) in [
        ("openai", "/v1/live/sessions", r#"{"type":"session.start","session":{"model":"M"}}"#),
        ("openai", "/v1/responses", r#"{"type":"response.create","model":"M","input":"x"}"#),
        ("azure", "/openai/v1/responses", r#"{"type":"response.create","model":"M","input":"x"}"#),
        ("xai", "/v1/responses", r#"{"type":"response.create","input":"x","mod\u0065l":"M"}"#),
        ("gemini", GEMINI, r#"{"setup":{"model":"models/M"}}"#),
        ("gemini", "/v1beta/interactions/live", r#"{"event_type":"interaction.create","model":"models/M"}"#),
        (
            "gemini",
            "/v1beta/interactions/live",
            r#"{"events":[{"event_type":"interaction.create","model":"M"}]}"#,
        ),
        ("speechmatics", "/v2", r#"{"message":"StartRecognition","transcription_config":{"model":"M"}}"#),
        ("cartesia", "/tts/websocket", r#"{"transcript":"x","model_id":"M"}"#),
    ] {
        let provider = Upstream::start();
        let proxy = start_as(&provider.origin(), dialect, &[("provider.models", "allowed-*")]);
        for wire in [
            frame(TEXT, first.replace('M', "forbidden").as_bytes(), Some(KEY)),
            frame(BINARY, first.replace('M', "forbidden").as_bytes(), Some(KEY)),
        ] {
            let mut app = dial(&proxy, target);
            assert_eq!(app.answer().status, 101, "{target}");
            app.send(&wire);
            let close = (0..2).map(|_| app.frame()).find(|frame| frame.first == CLOSE).expect(target);
            assert_eq!(close.close_code(), 4003, "{target}: {}", close.close_reason());
            assert!(provider.poll().is_none(), "{target}: nothing went up");
        }
        let served = format!("> {}", first.replace('M', "allowed-1"));
        let mut app = dial(&proxy, target);
        let (_, wire) = wire(&served);
        app.send(&wire);
        let mut server = provider.accept();
        server.head();
        server.send(switching(&[]));
        server.expect(&wire, target);
    }
}

/// Later events of these name models as well.
#[test]
fn a_later_event_that_names_such_a_model_never_goes_up_whole() {
    for (dialect, target, event) in [
        ("cartesia", "/tts/websocket", r#"{"transcript":"x","model_id":"M"}"#),
        ("xai", "/v1/responses", r#"{"type":"response.create","input":"x","model":"M"}"#),
        ("openai", "/v1/live/sessions/live_1/fork", r#"{"type":"session.start","session":{"model":"M"}}"#),
    ] {
        let provider = Upstream::start();
        let proxy = start_as(&provider.origin(), dialect, &[("provider.models", "allowed-*")]);
        let first = format!("> {}", event.replace('M', "allowed-1"));
        let first = if target.ends_with("fork") { "{}" } else { &first };
        let (mut app, mut server, _) = open(&proxy, &provider, target, first);
        let forbidden = frame(TEXT, event.replace('M', "forbidden").as_bytes(), Some(KEY));
        app.send(&forbidden);
        let close = (0..2).map(|_| app.frame()).find(|frame| frame.first == CLOSE).expect(target);
        assert_eq!(close.close_code(), 4003, "{target}");
        drop(app);
        assert!(!server.rest().starts_with(&forbidden), "{target}: it came whole");
    }
}
