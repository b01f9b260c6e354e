use super::*;
use crate::dialect::{HEAD_BYTES_MAX, Settings};
use proptest::prelude::*;
use serde_json::{Value, json};

fn peeked(event: &str) -> Peek<'_> {
    let head = &event.as_bytes()[..event.len().min(HEAD_BYTES_MAX)];
    peek(head, Rest::Bytes((event.len() - head.len()) as u64), kind_of_name)
}

fn read(event: &[u8]) -> ProviderEvent<'_> {
    super::read(event, kind_of_name)
}

fn piece(response: Option<&str>, kind: OutputKind, bytes: u64) -> OutputDelta<'_> {
    OutputDelta { response: response.map(Cow::Borrowed), kind, bytes }
}

/// Text in, audio in, image in, the cached parts of each, text out, audio out, reasoning, milliseconds.
fn counts(usage: Option<Usage>) -> Option<[u64; 10]> {
    usage.map(|usage| {
        assert_eq!(usage.requests, 1);
        [
            usage.text_in,
            usage.audio_in,
            usage.image_in,
            usage.cached_text_in,
            usage.cached_audio_in,
            usage.cached_image_in,
            usage.text_out,
            usage.audio_out,
            usage.reasoning_out,
            usage.duration_ms,
        ]
    })
}

fn stated(usage: &str) -> Option<[u64; 10]> {
    let event = format!(r#"{{"type":"response.done","response":{{"id":"r","usage":{usage}}}}}"#);
    match read(event.as_bytes()) {
        ProviderEvent::Done { usage, .. } => counts(usage),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_head_tells_what_an_event_is() {
    let long = "A".repeat(2000);
    let other = format!(r#"{{"event_id":"{long}","type":"response.done"}}"#);
    let late_delta =
        format!(r#"{{"type":"response.audio.delta","response_id":"r","pad":"{long}","delta":"AAAA"}}"#);
    let audio = format!(r#"{{"type":"response.output_audio.delta","response_id":"r","delta":"{long}"}}"#);
    let Peek::OutputDelta(OutputDelta { bytes: late_bytes, .. }) = peeked(&late_delta) else { panic!() };
    assert!((1500..2000).contains(&late_bytes), "{late_bytes}");
    for (event, sign) in [
        (audio.as_str(), Peek::OutputDelta(piece(Some("r"), OutputKind::Audio, 2000))),
        (
            r#" { "delta" : "AAAA" , "response_id" : "r\u0031" , "type" : "response.audio.delta" } "#,
            Peek::OutputDelta(piece(Some("r1"), OutputKind::Audio, 4)),
        ),
        (
            r#"{"type":"response.text.delta","delta":"hé\n"}"#,
            Peek::OutputDelta(piece(None, OutputKind::Text, 5)),
        ),
        (
            r#"{"type":"response.output_text.delta","delta":7}"#,
            Peek::OutputDelta(piece(None, OutputKind::Text, 0)),
        ),
        (r#"{"type":"response.output_text.delta"}"#, Peek::OutputDelta(piece(None, OutputKind::Text, 0))),
        (
            r#"{"type":"response.output_audio_transcript.delta","response_id":"r","delta":"hello"}"#,
            Peek::OutputDelta(piece(Some("r"), OutputKind::Transcript, 5)),
        ),
        (r#"{"type":"output_audio_buffer.started","response_id":"r"}"#, Peek::Whole),
        (r#"{"type":"response.done","response":{}}"#, Peek::Whole),
        (r#"{"type":"response\u002edone","response":{}}"#, Peek::Whole),
        (r#"{"\u0074ype":"response.done","response":{}}"#, Peek::Whole),
        (r#"{"response":{"type":"response.audio.delta"},"type":"response.done"}"#, Peek::Whole),
        (other.as_str(), Peek::Whole),
        (r#"{"type":"response.do"#, Peek::Whole),
        (r#"{"item":{"type":"response.done"},"type":"conversation.item.done"}"#, Peek::Nothing),
        (r#"{"text":"\"type\":\"response.done\"","type":"info"}"#, Peek::Nothing),
        (r#"{"type":"error","error":{}}"#, Peek::Whole),
        (r#"{"type":"input_audio_buffer.committed","item_id":"i"}"#, Peek::Whole),
        (r#"{"type":"response.output_audio.done","response_id":"r"}"#, Peek::Nothing),
        (r#"{"type":["response.done"]}"#, Peek::Nothing),
        (r#"{"item":{"type":"response.done"}}"#, Peek::Nothing),
        (r#"[{"type":"response.done"}]"#, Peek::Nothing),
        ("hello", Peek::Nothing),
        ("", Peek::Whole),
    ] {
        assert_eq!(peeked(event), sign, "{event}");
    }
}

#[test]
fn every_spelling_of_usage_is_read() {
    for (usage, wanted) in [
        (
            r#"{"total_tokens":30,"input_tokens":20,"output_tokens":10,"input_token_details":{"text_tokens":5,
            "audio_tokens":15,"image_tokens":0,"cached_tokens":4,"cached_tokens_details":{"text_tokens":1,
            "audio_tokens":3,"image_tokens":0}},"output_token_details":{"text_tokens":2,"audio_tokens":8}}"#,
            Some([5, 15, 0, 1, 3, 0, 2, 8, 0, 0]),
        ),
        (
            r#"{"input_tokens":20,"output_tokens":10,"input_tokens_details":{"text_tokens":5,"audio_tokens":15},
            "output_tokens_details":{"text_tokens":2,"audio_tokens":8}}"#,
            Some([5, 15, 0, 0, 0, 0, 2, 8, 0, 0]),
        ),
        // As the chat API says it.
        (
            r#"{"prompt_tokens":20,"completion_tokens":10,"total_tokens":30,"prompt_tokens_details":
            {"cached_tokens":4,"audio_tokens":5},"completion_tokens_details":{"reasoning_tokens":3,
            "audio_tokens":2,"accepted_prediction_tokens":1}}"#,
            Some([15, 5, 0, 4, 0, 0, 8, 2, 3, 0]),
        ),
        // No parts: all text.
        (r#"{"input_tokens":20,"output_tokens":10}"#, Some([20, 0, 0, 0, 0, 0, 10, 0, 0, 0])),
        (
            r#"{"input_tokens":20,"output_tokens":10,"input_token_details":{},"output_token_details":null}"#,
            Some([20, 0, 0, 0, 0, 0, 10, 0, 0, 0]),
        ),
        (r#"{"total_tokens":30}"#, Some([30, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        (r#"{"total_tokens":30,"input_tokens":20}"#, Some([20, 0, 0, 0, 0, 0, 10, 0, 0, 0])),
        (r#"{"total_tokens":30,"output_tokens":20}"#, Some([10, 0, 0, 0, 0, 0, 20, 0, 0, 0])),
        (
            r#"{"total_tokens":30,"input_token_details":{"audio_tokens":15},"output_token_details":{"audio_tokens":8}}"#,
            Some([7, 15, 0, 0, 0, 0, 0, 8, 0, 0]),
        ),
        // Cached tokens that no part names.
        (
            r#"{"input_tokens":30,"input_token_details":{"text_tokens":10,"audio_tokens":15,"image_tokens":5,
            "cached_tokens":27}}"#,
            Some([10, 15, 5, 10, 15, 2, 0, 0, 0, 0]),
        ),
        (
            r#"{"input_tokens":30,"input_token_details":{"text_tokens":10,"audio_tokens":20,"cached_tokens":16,
            "cached_tokens_details":{"audio_tokens":9}}}"#,
            Some([10, 20, 0, 7, 9, 0, 0, 0, 0, 0]),
        ),
        // More cached than there is.
        (
            r#"{"input_token_details":{"text_tokens":10,"cached_tokens":99,"cached_tokens_details":{"text_tokens":98,
            "audio_tokens":1}}}"#,
            Some([10, 0, 0, 10, 0, 0, 0, 0, 0, 0]),
        ),
        // Reasoning beside the parts.
        (
            r#"{"output_tokens":50,"output_token_details":{"text_tokens":2,"audio_tokens":8,"reasoning_tokens":40}}"#,
            Some([0, 0, 0, 0, 0, 0, 42, 8, 40, 0]),
        ),
        // One bad field takes no other with it; of a doubled one the last counts.
        (
            r#"{"input_tokens":"20","output_tokens":10.0,"total_tokens":1e400,"input_token_details":{"text_tokens":
            null,"audio_tokens":-3,"image_tokens":{"a":1}},"x":[[[{"output_tokens":9}]]]}"#,
            Some([20, 0, 0, 0, 0, 0, 10, 0, 0, 0]),
        ),
        (r#"{"output_tokens":1,"output_tokens":10}"#, Some([0, 0, 0, 0, 0, 0, 10, 0, 0, 0])),
        (r#"{"output\u005ftokens":10}"#, Some([0, 0, 0, 0, 0, 0, 10, 0, 0, 0])),
        (r#"{"output_tokens":0}"#, Some([0; 10])),
        ("{}", None),
        ("null", None),
        ("7", None),
        ("[]", None),
        (r#"{"output_tokens":null,"input_token_details":{}}"#, None),
        (r#""{\"output_tokens\":10}""#, None),
    ] {
        assert_eq!(stated(usage), wanted, "{usage}");
    }
}

#[test]
fn usage_stands_in_the_response_or_beside_it() {
    for (fields, output) in [
        (r#""response":{"usage":{"output_tokens":1}},"usage":{"output_tokens":2}"#, Some(1)),
        (r#""response":{"usage":{}},"usage":{"output_tokens":2}"#, Some(2)),
        (r#""usage":{"output_tokens":2},"response":{"usage":null}"#, Some(2)),
        (r#""usage":{"output_tokens":2}"#, Some(2)),
        (r#""response":{"usage":{}},"usage":{}"#, None),
        (r#""response":{"output":[{"usage":{"output_tokens":2}}]}"#, None),
        (r#""response":{"output":[{"text":"\"usage\":{\"output_tokens\":2}"}]}"#, None),
    ] {
        let event = format!(r#"{{"type":"response.done",{fields}}}"#);
        let ProviderEvent::Done { usage, .. } = read(event.as_bytes()) else { panic!("{event}") };
        assert_eq!(usage.map(|usage| usage.text_out), output, "{event}");
    }
}

#[test]
fn an_event_that_breaks_off_states_only_what_is_whole() {
    let whole = r#"{"type":"response.done","response":{"id":"r","usage":{"output_tokens":123}}}"#;
    for cut in 0..whole.len() {
        match read(&whole.as_bytes()[..cut]) {
            ProviderEvent::Unreadable => assert!(cut < whole.find("r\",").unwrap() + 2, "{cut}"),
            ProviderEvent::Done { usage: None, response, .. } => {
                assert_eq!((response.as_deref(), cut < whole.len() - 2), (Some("r"), true));
            }
            ProviderEvent::Done { usage: Some(usage), .. } => {
                assert_eq!((usage.text_out, cut >= whole.len() - 2), (123, true));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sessions_tell_models_and_formats() {
    let model = |name| Some(Cow::Borrowed(name));
    for (event, wanted) in [
        (
            json!({"type": "session.created", "session": {"type": "realtime", "model": "m", "audio": {
                "input": {"transcription": {"model": "t"}}, "output": {"format": {"type": "audio/pcm", "rate": 16000}}}}}),
            (model("m"), model("t"), Some(32_000)),
        ),
        (
            json!({"type": "session.updated", "session": {"model": "m", "output_audio_format": "g711_ulaw",
                "input_audio_transcription": {"model": "t"}}}),
            (model("m"), model("t"), Some(8_000)),
        ),
        (
            json!({"type": "transcription_session.updated", "session": {"input_audio_transcription": {"model": "t"}}}),
            (None, model("t"), None),
        ),
        (
            json!({"type": "session.updated", "session": {"model": null, "audio": {"input": {"transcription": null},
                "output": {"format": {"type": "audio/pcm", "rate": 3}}}}}),
            (None, None, Some(48_000)),
        ),
        (
            json!({"type": "session.updated", "session": {"audio": {"output": {"format": {"type": "audio/pcma"}}}}}),
            (None, None, Some(8_000)),
        ),
    ] {
        let text = event.to_string();
        let ProviderEvent::Session(settings) = read(text.as_bytes()) else { panic!() };
        let Settings { model, transcription_model, output_rate, .. } = *settings;
        let rate = output_rate.map(|rate| rate.bytes_per_second);
        assert_eq!((model, transcription_model, rate), wanted, "{text}");
    }
}

#[test]
fn sessions_tell_what_they_read_and_how_they_listen() {
    for (event, wanted) in [
        (
            json!({"type": "session.updated", "session": {"type": "realtime", "instructions": "12345", "tools": [{"a": 1}],
                "audio": {"input": {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}}}}}),
            (Some(12), Some(false), Some(true), Some(8_000)),
        ),
        (
            json!({"type": "session.created", "session": {"instructions": "", "tools": [], "turn_detection": null,
                "input_audio_format": "pcm16"}}),
            (Some(0), None, Some(false), Some(48_000)),
        ),
        (
            json!({"type": "session.created", "session": {"type": "transcription"}}),
            (None, Some(true), None, None),
        ),
        (json!({"type": "transcription_session.created", "session": {}}), (None, Some(true), None, None)),
    ] {
        let text = event.to_string();
        let ProviderEvent::Session(settings) = read(text.as_bytes()) else { panic!() };
        let rate = settings.input_rate.map(|rate| rate.bytes_per_second);
        let told = (settings.text_bytes, settings.only_transcribes, settings.detects_turns, rate);
        assert_eq!(told, wanted, "{text}");
    }
}

#[test]
fn what_happens_to_a_conversation_is_read() {
    let text = |text| Some(Cow::Borrowed(text));
    for (event, fact) in [
        (
            r#"{"type":"response.created","response":{"id":"r","model":"m","conversation_id":null}}"#,
            ProviderEvent::Begun { response: text("r"), model: text("m"), output_rate: None, apart: true },
        ),
        (
            r#"{"type":"response.created","response":{"id":"r","conversation_id":"c"}}"#,
            ProviderEvent::Begun { response: text("r"), model: None, output_rate: None, apart: false },
        ),
        (
            r#"{"type":"response.output_item.added","response_id":"r","output_index":0,"item":{"id":"i"}}"#,
            ProviderEvent::Answered { response: text("r"), item: "i".into() },
        ),
        (
            r#"{"type":"conversation.item.added","item":{"id":"i","type":"message"}}"#,
            ProviderEvent::Added { item: "i".into() },
        ),
        (
            r#"{"type":"conversation.item.created","item":{"id":"i"}}"#,
            ProviderEvent::Added { item: "i".into() },
        ),
        (r#"{"type":"conversation.item.created"}"#, ProviderEvent::Nothing),
        (
            r#"{"type":"input_audio_buffer.committed","item_id":"i"}"#,
            ProviderEvent::Committed { item: text("i") },
        ),
        (
            r#"{"type":"input_audio_buffer.speech_started","audio_start_ms":120,"item_id":"i"}"#,
            ProviderEvent::Speech { is_start: true, at_ms: 120 },
        ),
        (
            r#"{"type":"input_audio_buffer.speech_stopped","audio_end_ms":990,"item_id":"i"}"#,
            ProviderEvent::Speech { is_start: false, at_ms: 990 },
        ),
        (r#"{"type":"error","error":{"type":"x"}}"#, ProviderEvent::Refused),
        (
            r#"{"type":"output_audio_buffer.started","event_id":"e","response_id":"r"}"#,
            ProviderEvent::Plays { response: Some("r".into()), is_start: true },
        ),
        (
            r#"{"type":"output_audio_buffer.cleared","response_id":"r"}"#,
            ProviderEvent::Plays { response: Some("r".into()), is_start: false },
        ),
        (
            r#"{"type":"conversation.item.input_audio_transcription.failed","item_id":"i","content_index":1}"#,
            ProviderEvent::Unheard { item: text("i"), content_index: 1 },
        ),
    ] {
        assert_eq!(read(event.as_bytes()), fact, "{event}");
    }
}

#[test]
fn transcriptions_are_billed_by_tokens_or_by_time() {
    for (usage, wanted) in [
        (
            r#"{"type":"tokens","total_tokens":27,"input_tokens":21,"input_token_details":{"text_tokens":0,
            "audio_tokens":21},"output_tokens":6}"#,
            Some([0, 21, 0, 0, 0, 0, 6, 0, 0, 0]),
        ),
        (r#"{"type":"duration","seconds":1.7}"#, Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 1700])),
        (r#"{"type":"duration","seconds":1.1}"#, Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 1100])),
        (r#"{"type":"duration","seconds":0.0001}"#, Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
        ("null", None),
    ] {
        let event = format!(
            r#"{{"type":"conversation.item.input_audio_transcription.completed","item_id":"i","content_index":2,
            "transcript":"hi","usage":{usage}}}"#
        );
        let ProviderEvent::Transcribed { item, content_index, usage } = read(event.as_bytes()) else {
            panic!("{event}")
        };
        assert_eq!((item.as_deref(), content_index, counts(usage)), (Some("i"), 2, wanted), "{event}");
    }
}

/// Writes JSON with its keys in an order, and with white space, drawn from `seed`.
fn written(value: &Value, seed: &mut u64) -> String {
    let mut draw = |n: usize| {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*seed >> 33) as usize % n
    };
    let blank = ["", "", " ", "\n\t", "  \r\n"][draw(5)];
    match value {
        Value::Object(fields) => {
            let mut left: Vec<_> = fields.iter().collect();
            let mut parts = Vec::new();
            while !left.is_empty() {
                let (key, value) = left.swap_remove(draw(left.len()));
                parts.push((key, value));
            }
            let shown: Vec<_> = parts
                .into_iter()
                .map(|(key, value)| format!("{blank}\"{key}\"{blank}:{blank}{}{blank}", written(value, seed)))
                .collect();
            format!("{{{}}}", shown.join(","))
        }
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn order_and_white_space_change_nothing(seed: u64, counts: [u16; 8]) {
        let [text, audio, image, cached_text, cached_audio, text_out, audio_out, rest] = counts.map(u64::from);
        let event = json!({"type": "response.done", "event_id": "event_1", "response": {
            "id": "resp_1", "status": "completed", "output": [{"usage": {"total_tokens": 1}, "text": "\"usage\":{"}],
            "usage": {"input_tokens": text + audio + image, "output_tokens": text_out + audio_out + rest,
                "input_token_details": {"text_tokens": text, "audio_tokens": audio, "image_tokens": image,
                    "cached_tokens": cached_text + cached_audio,
                    "cached_tokens_details": {"text_tokens": cached_text, "audio_tokens": cached_audio}},
                "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out}}}});
        let (plain, shuffled) = (event.to_string(), written(&event, &mut { seed }));
        prop_assert_eq!(read(plain.as_bytes()), read(shuffled.as_bytes()));
        prop_assert!(matches!(peeked(&shuffled), Peek::Whole));
        let ProviderEvent::Done { response, usage: Some(usage), .. } = read(shuffled.as_bytes()) else { panic!("{shuffled}") };
        prop_assert_eq!(response.as_deref(), Some("resp_1"));
        prop_assert_eq!(usage.total_tokens(), text + audio + image + text_out + audio_out + rest);
    }

    #[test]
    fn words_of_usage_inside_strings_count_nothing(text in r#"[ -~]{0,40}(usage|output_tokens|response\.done)[ -~]{0,40}"#) {
        let event = json!({"type": "response.done", "note": text, "response": {"id": text, "output": [text]}});
        let event = event.to_string();
        prop_assert_eq!(
            read(event.as_bytes()),
            ProviderEvent::Done { response: Some(Cow::Owned(text)), usage: None, terms: Terms::default() }
        );
    }

    #[test]
    fn damage_never_panics(at in 0usize..600, byte: u8, cut in 0usize..600) {
        let mut event = br#"{"type":"response.done","response":{"id":"r","usage":{"input_tokens":20,"output_tokens":10,
            "input_token_details":{"text_tokens":5,"cached_tokens":4,"cached_tokens_details":{"text_tokens":1}}}}}"#.to_vec();
        let at = at % event.len();
        event[at] = byte;
        event.truncate(cut);
        peek(&event, Rest::Nothing, kind_of_name);
        read(&event);
    }
}
