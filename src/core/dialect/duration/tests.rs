use super::*;
use crate::dialect::FAMILIES;
use proptest::prelude::*;

fn told<'a>(dialect: &Duration, event: &'a str) -> Vec<ProviderEvent<'a>> {
    let mut all = Vec::new();
    dialect.read(event.as_bytes(), &mut |event| all.push(event));
    all
}

/// The model and the rate that a request asks for, and whether the clock runs from the beginning.
fn started(dialect: &Duration, target: &str) -> (Option<String>, Option<u32>, bool) {
    let (mut settings, mut runs) = (Settings::default(), false);
    let target = target.to_owned();
    dialect.start(&target, &mut |event| match event {
        ProviderEvent::Session(told) => {
            settings.model = told.model.map(|model| Cow::Owned(model.into_owned()));
            settings.input_rate = told.input_rate;
        }
        ProviderEvent::Ahead { grows } => runs = grows,
        other => panic!("{other:?}"),
    });
    (settings.model.map(Cow::into_owned), settings.input_rate.map(|rate| rate.bytes_per_second), runs)
}

#[test]
fn a_request_says_by_its_path_what_is_spoken_whatever_stands_before_it() {
    for (dialect, path, wanted) in [
        (&DEEPGRAM, "/v1/listen", Some("/v1/listen")),
        (&DEEPGRAM, "/any/v2/listen/", Some("/v2/listen")),
        (&DEEPGRAM, "/v1/listening", None),
        (&DEEPGRAM, "/v1/agent/converse", None),
        (&DEEPGRAM_AGENT, "/v1/agent/converse", Some("/v1/agent/converse")),
        (&ASSEMBLYAI, "/v3/ws", Some("/v3/ws")),
        (&ASSEMBLYAI_AGENT, "/v1/ws", Some("/v1/ws")),
        (&ELEVENLABS_AGENT, "/v1/convai/conversation", Some("/v1/convai/conversation")),
        (&CARTESIA, "/stt/websocket", Some("/stt/websocket")),
        (&CARTESIA_AGENT, "/any/agents/websocket/agent_1", Some("/agents/websocket/agent_1")),
        (&CARTESIA_AGENT, "/agents/stream/agent_1", Some("/agents/stream/agent_1")),
        (&CARTESIA_AGENT, "/agents/websocket", None),
        (&CARTESIA_AGENT, "/agents/websocket/a/b", None),
        (&SPEECHMATICS, "/v2", Some("/v2")),
        (&SPEECHMATICS, "/v22", None),
        (&MISTRAL, "/v1/audio/transcriptions/realtime", Some("/v1/audio/transcriptions/realtime")),
        (&MISTRAL, "/v1/realtime", None),
    ] {
        assert_eq!(dialect.path(path).as_deref(), wanted, "{} {path}", dialect.name);
    }
}

#[test]
fn a_query_says_which_model_it_is_and_how_much_sound_a_byte_is() {
    let model = |name: &str| Some(name.to_owned());
    for (dialect, target, wanted) in [
        (
            &DEEPGRAM,
            "/v1/listen?model=nova-3&encoding=linear16&sample_rate=8000",
            (model("nova-3"), Some(16_000), true),
        ),
        (
            &DEEPGRAM,
            "/v1/listen?model=nova-3&encoding=linear16&sample_rate=16000&channels=2",
            (model("nova-3"), Some(64_000), true),
        ),
        // Each of two channels is billed, so a byte of both is as much as a byte of one.
        (
            &DEEPGRAM,
            "/v1/listen?model=nova-3&encoding=linear16&sample_rate=16000&channels=2&multichannel=true",
            (model("nova-3"), Some(32_000), true),
        ),
        (
            &DEEPGRAM,
            "/v1/listen?language=multi&model=nova-3&encoding=mulaw&sample_rate=8000",
            (model("nova-3"), Some(8_000), true),
        ),
        (&DEEPGRAM, "/v1/listen?language=multi&model=nova-2", (model("nova-2"), Some(0), true)),
        (&DEEPGRAM, "/v1/listen?encoding=opus&sample_rate=48000", (model("base"), Some(0), true)),
        (&DEEPGRAM, "/v1/listen?model=&encoding=linear16", (model("base"), Some(32_000), true)),
        (&DEEPGRAM_AGENT, "/v1/agent/converse?model=x", (model("voice-agent"), Some(0), true)),
        (
            &ASSEMBLYAI,
            "/v3/ws?sample_rate=16000&speech_model=u3%2Drt-pro",
            (model("u3-rt-pro"), Some(0), false),
        ),
        (&ASSEMBLYAI, "/v3/ws", (model("universal-streaming-english"), Some(0), false)),
        (&CARTESIA, "/stt/websocket?model=ink-2&sample_rate=44100", (model("ink-2"), Some(88_200), true)),
        (&SPEECHMATICS, "/v2?model=x", (None, None, true)),
        (&MISTRAL, "/v1/audio/transcriptions/realtime?model=m", (model("m"), Some(32_000), true)),
    ] {
        assert_eq!(started(dialect, target), wanted, "{target}");
    }
}

#[test]
fn a_language_is_a_term_of_its_price() {
    let terms = |target: &'static str| {
        let mut terms = None;
        DEEPGRAM.start(target, &mut |event| {
            if let ProviderEvent::Session(settings) = event {
                terms = settings.terms.map(|terms| terms.to_string());
            }
        });
        terms
    };
    assert_eq!(terms("/v1/listen?model=nova-3&language=multi").as_deref(), Some("language=multi"));
    assert_eq!(terms("/v1/listen?model=nova-3"), None);
}

#[test]
fn numbers_that_make_no_sense_are_the_usual_ones() {
    for (query, rate) in [
        ("sample_rate=0", 32_000),
        ("sample_rate=-1", 32_000),
        ("sample_rate=x", 32_000),
        ("sample_rate=4294967295&channels=9", 288_000),
        ("sample_rate=192001", 32_000),
        ("sample_rate=192000&channels=17", 384_000),
        ("channels=0", 32_000),
        ("sample_rate=%", 32_000),
        ("sample_rate=8000.0", 16_000),
        ("sample_rate=+8e3", 16_000),
        ("sample_rate=inf", 32_000),
        ("channels=2&multichannel=false", 64_000),
        ("channels=2&multichannel=True", 32_000),
    ] {
        let target = format!("/v1/listen?encoding=linear16&{query}");
        assert_eq!(started(&DEEPGRAM, &target).1, Some(rate), "{query}");
    }
}

#[test]
fn a_first_event_says_it_where_there_is_such_a_one() {
    let asked = |event: &str| {
        let mut found = None;
        SPEECHMATICS.read_client(event.as_bytes(), event.len() as u64, &mut |event| match event {
            ClientEvent::Setup(settings) => {
                found = Some((
                    settings.model.unwrap().into_owned(),
                    settings.input_rate.unwrap().bytes_per_second,
                ));
            }
            other => panic!("{other:?}"),
        });
        found
    };
    let found = |model: &str, rate| Some((model.to_owned(), rate));
    for (event, wanted) in [
        (
            r#"{"message":"StartRecognition","audio_format":{"type":"raw","encoding":"pcm_s16le","sample_rate":16000},"transcription_config":{"language":"en","operating_point":"enhanced"}}"#,
            found("enhanced", 32_000),
        ),
        (
            r#"{"message":"StartRecognition","audio_format":{"type":"raw","encoding":"pcm_f32le","sample_rate":8000},"transcription_config":{"model":"melia-1"}}"#,
            found("melia-1", 32_000),
        ),
        (
            r#"{"transcription_config":{"language":"en"},"audio_format":{"sample_rate":"8000","encoding":"mulaw","type":"raw"},"message":"StartRecognition"}"#,
            found("standard", 8_000),
        ),
        (r#"{"message":"StartRecognition","audio_format":{"type":"file"}}"#, found("standard", 0)),
        (
            r#"{"message":"StartRecognition","audio_format":{"type":"file","encoding":"pcm_f32le","sample_rate":192000}}"#,
            found("standard", 0),
        ),
        (r#"{"message":"EndOfStream","last_seq_no":7}"#, None),
        (r#"{"type":"StartRecognition"}"#, None),
        ("[]", None),
    ] {
        assert_eq!(asked(event), wanted, "{event}");
        assert_eq!(
            SPEECHMATICS.peek_client(event.as_bytes(), event.len() as u64),
            ClientPeek::Whole,
            "{event}"
        );
    }
    assert_eq!(SPEECHMATICS.peek_client(br#"{"a":1,"#, 4_000), ClientPeek::Whole);
    assert_eq!(DEEPGRAM.peek_client(br#"{"type":"KeepAlive"}"#, 20), ClientPeek::Nothing);
}

#[test]
fn an_end_states_the_time_and_nothing_else_does() {
    let stated = |ms| {
        let usage = Usage { duration_ms: ms, requests: 1, ..Usage::default() };
        vec![
            ProviderEvent::Total { key: SESSION_TIME.into(), model: None, usage, terms: Terms::default() },
            ProviderEvent::Ahead { grows: false },
        ]
    };
    for (dialect, event, wanted) in [
        (&DEEPGRAM, r#"{"type":"Metadata","duration":2.1,"channels":2}"#, stated(4_200)),
        (&DEEPGRAM, r#"{"channels":1,"duration":"1.1","type":"Metadata"}"#, stated(1_100)),
        (&DEEPGRAM, r#"{"type":"Metadata","duration":3}"#, stated(3_000)),
        // What nobody can have used states nothing.
        (&DEEPGRAM, r#"{"type":"Metadata","duration":-1}"#, vec![]),
        (&DEEPGRAM, r#"{"type":"Metadata","duration":-1e300,"channels":-2}"#, vec![]),
        (&DEEPGRAM, r#"{"type":"Metadata","duration":NaN}"#, vec![]),
        (&DEEPGRAM, r#"{"type":"Metadata","duration":1e300}"#, vec![]),
        (&DEEPGRAM, r#"{"type":"Metadata","duration":1e9,"channels":1e9}"#, vec![]),
        (&ASSEMBLYAI, r#"{"type":"Termination","session_duration_seconds":"-3"}"#, vec![]),
        (&MISTRAL, r#"{"type":"transcription.done","usage":{"prompt_audio_seconds":-7}}"#, vec![]),
        (&DEEPGRAM, r#"{"type":"Metadata","request_id":"r"}"#, vec![]),
        (&DEEPGRAM, r#"{"type":"Results","duration":2.0,"channel":{"type":"Metadata"}}"#, vec![]),
        (&DEEPGRAM, r#"{"type":"Results","transcript":"\"type\":\"Metadata\",\"duration\":9"}"#, vec![]),
        (&ASSEMBLYAI, r#"{"type":"Begin","id":"b"}"#, vec![ProviderEvent::Ahead { grows: true }]),
        (
            &ASSEMBLYAI,
            r#"{"type":"Termination","audio_duration_seconds":12,"session_duration_seconds":15}"#,
            stated(15_000),
        ),
        (
            &MISTRAL,
            r#"{"type":"transcription.done","text":"","usage":{"prompt_audio_seconds":7,"prompt_tokens":90}}"#,
            stated(7_000),
        ),
        (&MISTRAL, r#"{"type":"transcription.done","usage":{"prompt_audio_seconds":null}}"#, vec![]),
        (&SPEECHMATICS, r#"{"message":"EndOfTranscript"}"#, vec![]),
        (&ELEVENLABS_AGENT, r#"{"type":"audio","audio_event":{}}"#, vec![]),
    ] {
        assert_eq!(told(dialect, event), wanted, "{event}");
        let peek = dialect.peek(event.as_bytes(), Rest::Nothing);
        assert_eq!(
            peek == Peek::Whole,
            !wanted.is_empty() || dialect.told.tells(&name(dialect, event)),
            "{event}"
        );
    }
    assert_eq!(told(&DEEPGRAM, r#"{"duration":2"#), [ProviderEvent::Unreadable]);
    assert_eq!(
        DEEPGRAM.peek(b"\x7b\x00\x01\x02", Rest::Nothing),
        Peek::Nothing,
        "sound may begin with a brace"
    );
}

fn name(dialect: &Duration, event: &str) -> Vec<u8> {
    match dialect.type_of(event.as_bytes()) {
        Type::Named(name) => name.into_owned(),
        Type::Unseen | Type::None => Vec::new(),
    }
}

#[test]
fn what_the_provider_makes_of_the_form_of_sound_holds() {
    let event = r#"{"type":"session.updated","session":{"model":"m","audio_format":{"encoding":"pcm_mulaw","sample_rate":8000}}}"#;
    let [ProviderEvent::Session(settings)] = &told(&MISTRAL, event)[..] else { panic!() };
    assert_eq!((settings.model.as_deref(), settings.input_rate), (None, Some(AudioRate::G711)));
}

/// How much sound is found in an event of Mistral's of which so much more is not seen.
fn heard(event: &str, unseen: u64) -> u64 {
    let (mut bytes, length) = (0, event.len() as u64 + unseen);
    let peek = MISTRAL.peek_client(&event.as_bytes()[..event.len().min(256)], length);
    assert_eq!(peek, ClientPeek::Whole, "{event}");
    MISTRAL.read_client(event.as_bytes(), length, &mut |told| match told {
        ClientEvent::Sound { bytes: more } => bytes += more,
        other => panic!("{other:?}"),
    });
    bytes
}

#[test]
fn sound_in_base64_is_told_by_its_length_alone() {
    let sound = "A".repeat(4_000);
    for event in [
        format!(r#"{{"type":"input_audio.append","audio":"{sound}"}}"#),
        format!(r#"{{"audio":"{sound}","type":"input_audio.append"}}"#),
    ] {
        let peek = MISTRAL.peek_client(&event.as_bytes()[..256], event.len() as u64);
        assert_eq!(peek, ClientPeek::Sound { bytes: 4_000 }, "{}", &event[..60]);
    }
    let pad = "x".repeat(300);
    for (event, wanted) in [
        (r#"{"audio":"AAAA","type":"input_audio.append"}"#.to_owned(), 4),
        (format!(r#"{{"type":"input_audio.append","pad":"{pad}","audio":"{sound}"}}"#), 4_000),
        (format!(r#"{{"pad":"{pad}","audio":"{sound}","type":"input_audio.append"}}"#), 4_000),
        (r#"{"type":"input_audio.flush"}"#.to_owned(), 0),
        (format!(r#"{{"type":"session.update","audio":"{sound}"}}"#), 0),
    ] {
        assert_eq!(heard(&event, 0), wanted, "{}", &event[..event.len().min(60)]);
    }
    assert_eq!(heard(r#"{"type":"input_audio.append","pad":"x"#, 9_000), 9_037, "it is not seen whole");
    for event in [
        format!(r#"{{"type":"input_audio.append","audio":"AAAA","pad":"{pad}","audio":"{sound}"}}"#),
        format!(r#"{{"type":"input_audio.flush","audio":"{sound}","type":"input_audio.append"}}"#),
        format!("\u{feff}{{\"type\":\"input_audio.append\",\"audio\":\"{sound}\"}}"),
        format!(r#"[{{"type":"input_audio.append","audio":"{sound}"}}]"#),
    ] {
        assert_eq!(heard(&event, 0), event.len() as u64, "as much as there may be: {}", &event[..60]);
    }
    assert!(DEEPGRAM.hears_binary() && SPEECHMATICS.hears_binary());
    assert!(!MISTRAL.hears_binary() && !ASSEMBLYAI.hears_binary());
}

#[test]
fn an_end_of_ours_is_said_in_each_providers_own_form() {
    let reason = CloseReason::Blocked { reason: Some("a \"b\"\n{code}".into()), expires_at: None };
    let said = |dialect: &Duration| {
        let event = dialect.error_event(&reason, "event_1")?;
        Some(serde_json::from_str::<serde_json::Value>(&event).unwrap())
    };
    let message = reason.message();
    let deepgram = said(&DEEPGRAM).unwrap();
    assert_eq!((&deepgram["type"], &deepgram["variant"]), (&"Error".into(), &"user_blocked".into()));
    assert_eq!(deepgram["description"], message);
    let assemblyai = said(&ASSEMBLYAI).unwrap();
    assert_eq!(assemblyai, serde_json::json!({"type": "Error", "error_code": 4003, "error": message}));
    let speechmatics = said(&SPEECHMATICS).unwrap();
    assert_eq!(
        (&speechmatics["message"], &speechmatics["reason"]),
        (&"Error".into(), &message.clone().into())
    );
    let mistral = said(&MISTRAL).unwrap();
    assert_eq!(mistral["error"], serde_json::json!({"message": message, "code": 4003}));
    assert_eq!(said(&ELEVENLABS_AGENT), None);
}

#[test]
fn what_decides_is_there_once() {
    let keys = SPEECHMATICS.deciding();
    for (event, is_clear) in [
        (r#"{"message":"StartRecognition","transcription_config":{"operating_point":"standard"}}"#, true),
        (
            r#"{"message":"StartRecognition","transcription_config":{"model":"a"},"transcription_config":{"model":"b"}}"#,
            false,
        ),
        (r#"{"message":"StartRecognition","transcription_config":{"model":"a","model":"b"}}"#, false),
        (r#"{"message":"StartRecognition","audio_format":{"sample_rate":8000,"sample_rate":16000}}"#, false),
        (r#"{"message":"EndOfStream","message":"StartRecognition"}"#, false),
    ] {
        assert_eq!(keys.check(event.as_bytes()).is_ok(), is_clear, "{event}");
    }
    assert!(DEEPGRAM.deciding().is_empty() && MISTRAL.deciding().is_empty());
    assert_eq!(
        DEEPGRAM.parameters(),
        ["encoding", "sample_rate", "channels", "multichannel", "language", "model"]
    );
    assert_eq!(ASSEMBLYAI.parameters(), ["encoding", "sample_rate", "speech_model"]);
    assert!(SPEECHMATICS.parameters().is_empty());
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(bytes: Vec<u8>, text: String, more: u64) {
        for dialect in [&DEEPGRAM, &ASSEMBLYAI, &CARTESIA_AGENT, &SPEECHMATICS, &MISTRAL] {
            for bytes in [&bytes[..], text.as_bytes()] {
                dialect.read(bytes, &mut |_| {});
                dialect.peek(bytes, Rest::Bytes(more));
                dialect.peek_client(bytes, more);
                dialect.read_client(bytes, more, &mut |_| {});
            }
            dialect.start(&text, &mut |_| {});
            dialect.path(&text);
        }
    }
}

#[test]
fn no_two_dialects_of_a_family_have_one_name_or_one_path() {
    for family in FAMILIES {
        for (index, one) in family.dialects.iter().enumerate() {
            let others = &family.dialects[index + 1..];
            assert!(others.iter().all(|other| other.name() != one.name()), "{}", one.name());
        }
    }
    for duration in FAMILIES.iter().flat_map(|family| family.dialects).filter_map(|one| one.as_duration()) {
        for path in duration.paths {
            let path = path.replace('*', "agent");
            let takers = FAMILIES.iter().filter(|family| family.route(&path).is_some());
            assert_eq!(takers.map(|family| family.name).collect::<Vec<_>>().len(), 1, "{path}");
        }
    }
}
