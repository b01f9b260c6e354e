use super::super::{FAMILIES, Family, family};
use super::words::Words;
use super::*;
use crate::usage::Usage;
use serde_json::json;

fn told(dialect: &dyn Dialect, event: &str) -> Vec<String> {
    let mut all = Vec::new();
    dialect.read(event.as_bytes(), &mut |event| all.push(format!("{event:?}")));
    all
}

fn usage_of(dialect: &dyn Dialect, event: &str) -> Option<Usage> {
    let mut found = None;
    dialect.read(event.as_bytes(), &mut |event| {
        let ProviderEvent::Done { usage, .. } = event else { panic!("{event:?}") };
        found = usage;
    });
    found
}

fn spoken(words: Words<'_>) -> &'static dyn Dialect {
    words.applied(family("openai_like").unwrap()).unwrap().dialects[0]
}

#[test]
fn each_has_paths_of_its_own_and_takes_openais() {
    for (name, path, wanted) in [
        ("azure", "/openai/v1/realtime", Some("/openai/v1/realtime")),
        ("azure", "/openai/realtime", Some("/openai/realtime")),
        ("azure", "/v1/realtime", Some("/openai/v1/realtime")),
        ("azure", "/realtime/", Some("/openai/v1/realtime")),
        ("azure", "/openai/v1/realtime/translations", Some("/openai/v1/realtime/translations")),
        ("azure_voice_live", "/any/voice-live/realtime", Some("/voice-live/realtime")),
        ("qwen_omni", "/api-ws/v1/realtime", Some("/api-ws/v1/realtime")),
        ("qwen_omni", "/v1/realtime", Some("/api-ws/v1/realtime")),
        ("inworld", "/api/v1/realtime/session", Some("/api/v1/realtime/session")),
        ("elevenlabs_realtime", "/v1/convai/realtime/", Some("/v1/convai/realtime")),
        ("openai_like", "/a/v1/realtime", Some("/a/v1/realtime")),
        ("openai_like", "/v1/chat", None),
    ] {
        let found = family(name).unwrap().route(path).map(|(_, path)| path);
        assert_eq!(found.as_deref(), wanted, "{name} {path}");
    }
    let own = spoken(Words { path: "/v9/talk/", ..Words::default() });
    assert_eq!(own.path("/x/v9/talk").as_deref(), Some("/v9/talk"));
    assert_eq!(own.path("/v1/realtime").as_deref(), Some("/v9/talk"));
}

#[test]
fn usage_is_looked_for_where_it_is_said_to_be_and_nowhere_else() {
    let event = json!({"type": "response.done", "usage": {"output_tokens": 1},
        "metrics": {"billed": {"output_tokens": "2"}}, "response": {"id": "r", "usage": {"output_tokens": 3}}});
    for (places, output) in [
        ("metrics.billed", Some(2)),
        ("metrics.none, usage", Some(1)),
        ("response.usage,usage", Some(3)),
        ("metrics", None),
        ("response.id", None),
    ] {
        let dialect = spoken(Words { usage: places, ..Words::default() });
        let usage = usage_of(dialect, &event.to_string());
        assert_eq!(usage.map(|usage| usage.text_out), output, "{places}");
    }
}

#[test]
fn its_names_stand_for_openais() {
    let events = "turn.over = response.done, a = response.output_audio.delta";
    let dialect = spoken(Words { events, ..Words::default() });
    let over = r#"{"type":"turn.over","response":{"id":"r","usage":{"output_tokens":3}}}"#;
    assert_eq!(dialect.peek(over.as_bytes(), Rest::Nothing), Peek::Whole);
    assert_eq!(usage_of(dialect, over).unwrap().text_out, 3);
    let piece = br#"{"type":"a","response_id":"r","delta":"AAAA"}"#;
    assert!(matches!(dialect.peek(piece, Rest::Nothing), Peek::OutputDelta(_)));
    assert_eq!(
        dialect.peek(br#"{"type":"response.done"}"#, Rest::Nothing),
        Peek::Whole,
        "OpenAI's own stays"
    );
}

#[test]
fn the_first_event_names_the_model_where_that_is_said() {
    let model = |dialect: &dyn Dialect, event: &str| {
        let mut model = None;
        dialect.read_client(event.as_bytes(), event.len() as u64, &mut |event| {
            if let ClientEvent::Setup(settings) = event {
                model = settings.model.map(Cow::into_owned);
            }
        });
        model
    };
    let first = r#"{"type":"start","config":{"llm":{"model":"m"}}}"#;
    let dialect = spoken(Words { model_in: "config.llm.model", ..Words::default() });
    assert_eq!((dialect.model_is_in(), model(dialect, first)), (ModelSource::FirstEvent, Some("m".into())));
    assert_eq!(model(dialect, r#"{"type":"start","config":"#), None);
    assert_eq!((PLAIN.model_is_in(), model(&PLAIN, first)), (ModelSource::Url, None));
}

#[test]
fn a_models_name_is_that_of_the_price_list() {
    let deployments = "prod = gpt-realtime-2.1, asr=gpt-4o-mini-transcribe";
    let azure =
        Words { deployments, ..Words::default() }.applied(family("azure").unwrap()).unwrap().dialects[0];
    let session = json!({"type": "session.created", "session": {"model": "MODEL",
        "audio": {"input": {"transcription": {"model": "asr"}}}}});
    let cases: [(&dyn Dialect, &str, &str, Option<&str>); 5] = [
        (azure, "prod", "gpt-realtime-2.1", Some("gpt-4o-mini-transcribe")),
        (azure, "other", "other", Some("gpt-4o-mini-transcribe")),
        (&AZURE_VOICE_LIVE, "gpt-realtime-global-standard", "gpt-realtime", None),
        (&AZURE_VOICE_LIVE, "gpt-realtime-mini-datazone-standard", "gpt-realtime-mini", None),
        (&QWEN_OMNI, "qwen3.8-omni-flash-realtime", "qwen3.8-omni-flash-realtime", None),
    ];
    for (dialect, named, model, transcribes) in cases {
        let session = session.to_string().replace("MODEL", named);
        let mut found = None;
        dialect.read(session.as_bytes(), &mut |event| {
            let ProviderEvent::Session(settings) = event else { panic!("{event:?}") };
            let name = |model: Option<Cow<'_, str>>| model.map(Cow::into_owned);
            found = Some((name(settings.model), name(settings.transcription_model)));
        });
        assert_eq!(found, Some((Some(model.to_owned()), transcribes.map(str::to_owned))), "{named}");
    }
    let created = r#"{"type":"response.created","response":{"id":"r","model":"prod"}}"#;
    assert!(told(azure, created)[0].contains("gpt-realtime-2.1"));
}

#[test]
fn a_connection_whose_time_is_billed_starts_its_clock() {
    let created = r#"{"type":"session.created","session":{"model":"eleven_realtime_v1_mini"}}"#;
    assert!(told(&ELEVENLABS, created)[1].contains("Clock { runs: true }"));
    assert_eq!(told(&PLAIN, created).len(), 1);
}

#[test]
fn a_word_that_makes_no_sense_is_told_by_its_key() {
    const NO_PLACE: &str =
        "is no place in an event; write the keys that lead to it, such as \"response.usage\"";
    let refused =
        |words: Words<'_>, name: &str| words.applied(family(name).unwrap()).unwrap_err().to_string();
    for (words, wanted) in [
        (
            Words { usage: "response..usage", ..Words::default() },
            format!("usage: \"response..usage\" {NO_PLACE}"),
        ),
        (Words { usage: "usage, a b", ..Words::default() }, format!("usage: \"a b\" {NO_PLACE}")),
        (Words { model_in: ".model", ..Words::default() }, format!("model_in: \".model\" {NO_PLACE}")),
        (
            Words { path: "v1", ..Words::default() },
            "path: \"v1\" is no path, such as \"/v1/realtime\"".to_owned(),
        ),
        (
            Words { events: "a", ..Words::default() },
            "events: \"a\" is no pair of names, such as \"theirs = ours\"".to_owned(),
        ),
        (
            Words { events: "a = b", ..Words::default() },
            "events: \"b\" is no event of OpenAI Realtime that is metered, such as \"response.done\""
                .to_owned(),
        ),
        (
            Words { deployments: "a =", ..Words::default() },
            "deployments: \"a =\" is no pair of names, such as \"theirs = ours\"".to_owned(),
        ),
    ] {
        assert_eq!(refused(words, "openai_like"), wanted);
    }
    let words = Words { usage: "usage", ..Words::default() };
    for name in ["gemini", "openai"] {
        assert!(refused(words, name).starts_with("usage: the dialect"), "{name}");
    }
    let same = |family: &'static Family| std::ptr::eq(Words::default().applied(family).unwrap(), family);
    assert!(FAMILIES.iter().all(same));
}

#[test]
fn speech_is_billed_by_characters_where_its_usage_says_so() {
    let event = r#"{"type":"response.done","response":{"id":"r","usage":{"characters":12}}}"#;
    let usage = Usage { characters_in: 12, requests: 1, ..Usage::default() };
    assert_eq!(usage_of(&QWEN_OMNI, event), Some(usage));
}

#[test]
fn pcm_comes_at_the_rate_that_a_work_alike_is_known_for() {
    let updated = r#"{"type":"session.updated","session":{"model":"m","input_audio_format":"pcm16"}}"#;
    assert!(told(&QWEN_OMNI, updated)[0].contains("input_rate: Some(AudioRate { bytes_per_second: 32000 })"));
    assert!(told(&AZURE, updated)[0].contains("input_rate: Some(AudioRate { bytes_per_second: 48000 })"));
}
