use super::*;
use proptest::prelude::*;

fn told(frame: &str) -> Vec<ProviderEvent<'_>> {
    let mut all = Vec::new();
    GoogleInteractions.read(frame.as_bytes(), &mut |event| all.push(event));
    all
}

fn asked(frame: &str) -> Vec<ClientEvent<'_>> {
    let mut all = Vec::new();
    GoogleInteractions.read_client(frame.as_bytes(), frame.len() as u64, &mut |event| all.push(event));
    all
}

fn piece<'a>(kind: OutputKind, bytes: u64) -> OutputDelta<'a> {
    OutputDelta { response: Some(INTERACTION), kind, bytes }
}

#[test]
fn its_path_has_a_version_and_may_have_a_prefix() {
    for (path, wanted) in [
        ("/v1beta/interactions/live", Some("/v1beta/interactions/live")),
        ("/any/v1/interactions/live/", Some("/v1/interactions/live")),
        ("/interactions/live", Some("/v1beta/interactions/live")),
        ("/v1beta/interactions", None),
        ("/v1beta/interactions/live/x", None),
    ] {
        assert_eq!(GoogleInteractions.path(path).as_deref(), wanted, "{path}");
    }
}

#[test]
fn a_frame_tells_what_stands_in_it_be_it_one_event_or_several() {
    let begun =
        || ProviderEvent::Begun { response: Some(INTERACTION), model: None, output_rate: None, apart: false };
    let done = |usage| ProviderEvent::Done { response: Some(INTERACTION), usage, terms: Terms::default() };
    let some = |text_in, text_out| Some(Usage { text_in, text_out, requests: 1, ..Usage::default() });
    for (frame, wanted) in [
        (
            r#"{"event_type":"interaction.created","interaction_id":"int_1"}"#,
            vec![begun(), ProviderEvent::Joinable { call: "int_1".into() }],
        ),
        (r#"{"event_type":"interaction.created","interaction_id":""}"#, vec![begun()]),
        (r#"{"event_type":"interaction.connected","interaction_id":"int_1"}"#, vec![]),
        (
            r#"{"events":[{"event_type":"step.start","index":0},{"event_type":"step.delta","index":0,"delta":{"type":"text","text":"abc"}},
                {"event_type":"interaction.completed","usage":{"total_input_tokens":7,"total_output_tokens":2}}]}"#,
            vec![ProviderEvent::OutputDelta(piece(OutputKind::Text, 3)), done(some(7, 2))],
        ),
        (
            r#"{"usage":{"total_input_tokens":"7"},"event_type":"interaction.completed"}"#,
            vec![done(some(7, 0))],
        ),
        (
            r#"{"event_type":"interaction.completed","interaction":{"usage":{"total_tokens":9}}}"#,
            vec![done(some(9, 0))],
        ),
        (r#"{"event_type":"interaction.completed","usage":{}}"#, vec![done(None)]),
        (r#"{"event_type":"interaction.cancelled"}"#, vec![done(None)]),
        (
            r#"{"event_type":"step.delta","delta":{"data":"AAAA","type":"audio"}}"#,
            vec![ProviderEvent::OutputDelta(piece(OutputKind::Audio, 4))],
        ),
        (r#"{"event_type":"step.delta","delta":{"type":"image","data":"AAAA"}}"#, vec![]),
        (r#"{"event_type":"step.stop","usage":{"total_input_tokens":9}}"#, vec![]),
        (r#"{"event_type":"interaction.comp"#, vec![ProviderEvent::Unreadable]),
    ] {
        assert_eq!(told(frame), wanted, "{frame}");
    }
    let created = r#"{"event_type":"interaction.created","interaction":{"model":"models/gemini-3.8-flash"}}"#;
    let [ProviderEvent::Session(settings), _] = &told(created)[..] else { panic!() };
    assert_eq!(settings.model.as_deref(), Some("gemini-3.8-flash"));
}

#[test]
fn output_is_told_by_its_length_and_an_end_is_read_whole() {
    let peek = |frame: &'static str, rest| GoogleInteractions.peek(frame.as_bytes(), rest);
    let sound = r#"{"event_type":"step.delta","index":0,"delta":{"type":"audio","data":"AAAA"#;
    assert_eq!(peek(sound, Rest::Bytes(100)), Peek::OutputDelta(piece(OutputKind::Audio, 104)));
    assert_eq!(peek(sound, Rest::Unknown), Peek::OutputDelta(piece(OutputKind::Audio, 4)));
    assert_eq!(peek(r#"{"event_type":"step.start","index":0}"#, Rest::Nothing), Peek::Nothing);
    for whole in [r#"{"events":["#, r#"{"event_type":"interaction.completed","usage":"#, r#"{"index":0,"#] {
        assert_eq!(peek(whole, Rest::Bytes(9)), Peek::Whole, "{whole}");
    }
}

#[test]
fn usage_counts_thoughts_and_tools_beside_what_is_read_and_said() {
    let usage = |stated: &str| {
        let frame = format!(r#"{{"event_type":"interaction.completed","usage":{stated}}}"#);
        match &told(&frame)[..] {
            [ProviderEvent::Done { usage, .. }] => *usage,
            other => panic!("{other:?}"),
        }
    };
    let stated = r#"{"total_input_tokens":300,"input_tokens_by_modality":[{"modality":"text","tokens":200},{"modality":"audio","tokens":100}],
        "total_cached_tokens":50,"cached_tokens_by_modality":[{"modality":"audio","tokens":50}],"total_output_tokens":60,
        "output_tokens_by_modality":[{"modality":"AUDIO","tokens":40},{"modality":"text"}],"total_thought_tokens":20,
        "total_tool_use_tokens":15,"total_tokens":395,"grounding_tool_count":[{"type":"google_search","count":1},{"count":"2"}]}"#;
    let wanted = Usage {
        text_in: 215,
        audio_in: 100,
        cached_audio_in: 50,
        text_out: 40,
        audio_out: 40,
        reasoning_out: 20,
        searches: 3,
        requests: 1,
        ..Usage::default()
    };
    assert_eq!(usage(stated), Some(wanted));
}

#[test]
fn an_application_begins_an_interaction_or_attaches_to_one() {
    let setup = |model: Option<&'static str>, text_bytes| {
        let model = model.map(Cow::Borrowed);
        ClientEvent::Setup(Box::new(Settings { model, text_bytes: Some(text_bytes), ..Settings::default() }))
    };
    let item = |content| ClientEvent::AddItem { item: None, content };
    for (frame, wanted) in [
        (
            r#"{"event_type":"interaction.create","model":"models/gemini-3.8-flash","system_instruction":"Be kind"}"#,
            vec![setup(Some("gemini-3.8-flash"), 7)],
        ),
        (r#"{"event_type":"interaction.create"}"#, vec![setup(None, 0)]),
        (
            r#"{"event_type":"interaction.connect","id":"int_1"}"#,
            vec![ClientEvent::Attach { call: Some("int_1".into()) }],
        ),
        (
            r#"{"events":[{"event_type":"input","content":[{"type":"text","text":"hi"},{"type":"audio","data":"AAAA"},{"type":"image","data":"AA"}]},{"event_type":"interaction.complete"}]}"#,
            vec![
                item(Content { text_bytes: 2, ..Content::default() }),
                ClientEvent::Sound { bytes: 4 },
                item(Content { images: 1, ..Content::default() }),
            ],
        ),
        (r#"{"event_type":"interaction.disconnect"}"#, vec![]),
        ("[]", vec![]),
    ] {
        assert_eq!(asked(frame), wanted, "{frame}");
    }
}

#[test]
fn an_end_of_ours_is_an_error_that_its_sdk_reads() {
    let event = GoogleInteractions.error_event(&CloseReason::Killed, "event_1").unwrap();
    let event: serde_json::Value = serde_json::from_str(&event).unwrap();
    assert_eq!((&event["event_type"], &event["error"]["code"]), (&"error".into(), &"session_killed".into()));
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(bytes: Vec<u8>, text: String, more: u64) {
        for bytes in [&bytes[..], text.as_bytes()] {
            GoogleInteractions.read(bytes, &mut |_| {});
            GoogleInteractions.peek(bytes, Rest::Bytes(more));
            GoogleInteractions.read_client(bytes, more, &mut |_| {});
        }
    }
}
