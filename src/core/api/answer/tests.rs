//! Bodies as they come, whole and at every split, and what the meter makes of them.

use super::*;
use crate::api::{Api, of_family};
use crate::dialect::family;
use crate::limit::WindowKind;
use crate::meter::{Charge, EstimateMode, Meter, Metered, Models, Reading};
use crate::price::PriceTable;
use crate::time::{Instant, Now, Timestamp};
use proptest::prelude::*;

const NOW: Now = Now { wall: Timestamp(1_795_000_000_000), instant: Instant(0) };
const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";

fn endpoint(family_name: &str, method: &str, path: &str) -> (&'static dyn Api, Endpoint) {
    let mut apis = of_family(family(family_name).unwrap());
    apis.find_map(|api| Some((api, api.endpoint(method, path)?))).unwrap()
}

/// What an exchange comes to, with its body in these pieces.
#[derive(Clone, Copy)]
struct Exchange<'a> {
    at: (&'a str, &'a str, &'a str),
    asked: &'a str,
    status: u16,
    kind: &'a str,
    is_whole: bool,
}

impl Exchange<'_> {
    fn booked<'b>(&self, pieces: impl Iterator<Item = &'b [u8]>) -> Vec<Metered> {
        let (family_name, method, path) = self.at;
        let (api, endpoint) = endpoint(family_name, method, path);
        let asked = endpoint.asked(self.asked.as_bytes());
        let prices = PriceTable::builtin();
        let models = Models { session: asked.model.as_deref().map(Into::into), transcription: None };
        let mut meter = Meter::of_api(api, family_name.into(), models, EstimateMode::Enforce);
        meter.ask(&asked);
        let header = |name: &str| (name == "content-type").then_some(self.kind);
        let mut answer = Answer::new(&endpoint, asked, self.status, header);
        let mut all = Reading::default();
        let mut take = |reading: Reading| {
            all.charge += reading.charge;
            all.foreseen += reading.foreseen;
            all.booked.extend(reading.booked);
        };
        for mut piece in pieces {
            while !piece.is_empty() {
                let read = answer.read(piece, &mut |event| take(meter.take(event, &prices, NOW)));
                assert!(read.bytes > 0);
                piece = &piece[read.bytes..];
            }
        }
        answer.end(self.is_whole, &mut |event| take(meter.take(event, &prices, NOW)));
        take(meter.settle(&prices, NOW));
        let cost = all.booked.iter().map(|metered| metered.cost).sum();
        let tokens: u64 = all.booked.iter().map(|metered| metered.usage.total_tokens()).sum();
        assert_eq!((all.charge, all.foreseen), (Charge { cost, tokens: tokens as i64 }, Charge::default()));
        all.booked
    }

    /// The same for every way to split the body in two, and byte by byte.
    fn at_every_split(&self, body: &str) -> Vec<Metered> {
        let body = body.as_bytes();
        let whole = self.booked([body].into_iter());
        for at in 0..body.len() {
            assert_eq!(self.booked([&body[..at], &body[at..]].into_iter()), whole, "split at {at}");
        }
        assert_eq!(self.booked(body.chunks(1)), whole);
        whole
    }
}

const CHAT: Exchange<'_> = Exchange {
    at: ("openai", "POST", "/v1/chat/completions"),
    asked: r#"{"model":"gpt-4.1-mini","stream":true,"messages":[{"role":"user","content":"12345678"}]}"#,
    status: 200,
    kind: SSE,
    is_whole: true,
};

fn figures(booked: &[Metered]) -> Vec<(u64, u64, bool)> {
    booked.iter().map(|metered| (metered.usage.text_in, metered.usage.text_out, metered.estimated)).collect()
}

#[test]
fn a_stream_states_its_usage_behind_its_choices() {
    let first = r#"data: {"id":"c","model":"gpt-4.1-mini-2025-04-14","choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":7}"}}],"usage":null}"#;
    let last = r#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
    for lines in ["\n", "\r\n", "\r"] {
        let body = [": hello", "", first, "", last, "", "data: [DONE]", "", ""].join(lines);
        let booked = CHAT.at_every_split(&body);
        assert_eq!(figures(&booked), [(9, 3, false)], "{lines:?}");
        assert_eq!(booked[0].model.as_str(), "gpt-4.1-mini-2025-04-14");
    }
}

#[test]
fn an_answer_is_read_as_what_it_is_whatever_its_type_says() {
    let value = r#"{"id":"c","choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
    let stream = format!("data: {value}\n\ndata: [DONE]\n\n");
    for body in [value.to_owned(), format!("\u{feff}{value}"), format!(" \n{value}"), stream] {
        for kind in [SSE, JSON, "text/plain", "application/octet-stream", ""] {
            let booked = Exchange { kind, ..CHAT }.at_every_split(&body);
            assert_eq!(figures(&booked), [(9, 3, false)], "{kind}: {body}");
        }
    }
}

#[test]
fn only_what_can_run_in_the_background_is_elsewhere_for_it() {
    let asked = r#"{"model":"gpt-4.1-mini","stream":true,"background":true,"messages":[{"role":"user","content":"12345678"}]}"#;
    let body = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"123456789\"}}]}\n\n";
    let cut = Exchange { is_whole: false, asked, ..CHAT };
    assert_eq!(figures(&cut.at_every_split(body)), [(2, 3, true)]);
}

#[test]
fn a_provider_that_runs_nothing_in_the_background_states_at_once_what_was_used() {
    let at = ("openai", "POST", "/v1/responses");
    let asked = r#"{"model":"gpt-4.1-mini","background":true,"input":"12345678"}"#;
    let answer =
        r#"{"id":"r","background":false,"status":"completed","usage":{"input_tokens":9,"output_tokens":3}}"#;
    let whole = Exchange { at, asked, kind: JSON, ..CHAT };
    assert_eq!(figures(&whole.at_every_split(answer)), [(9, 3, false)]);
    let stream = format!("data: {{\"type\":\"response.completed\",\"response\":{answer}}}\n\n");
    assert_eq!(figures(&Exchange { kind: SSE, ..whole }.at_every_split(&stream)), [(9, 3, false)]);
    let again = Exchange { at: ("openai", "GET", "/v1/responses/r"), asked: "", ..whole };
    assert_eq!(figures(&again.at_every_split(answer)), []);
}

#[test]
fn what_runs_in_the_background_has_failed_where_it_is_said_of_it_alone() {
    let created =
        r#"data: {"type":"response.created","response":{"id":"r","background":true,"status":"queued"}}"#;
    let stream = |last: &str| format!("{created}\n\ndata: {last}\n\n");
    for (status, body, has_failed) in [
        (200, r#"{"id":"r","background":true,"status":"cancelled","usage":null}"#.to_owned(), true),
        (200, stream(r#"{"type":"response.failed","response":{"id":"r","status":"failed"}}"#), true),
        (200, stream(r#"{"type":"error","message":"the stream is over"}"#), false),
        (200, r#"{"id":"r","background":true,"status":"in_progress"}"#.to_owned(), false),
        (429, r#"{"id":"r","error":{"message":"later"}}"#.to_owned(), false),
    ] {
        let (_, endpoint) = endpoint("openai", "GET", "/v1/responses/r");
        let asked = endpoint.asked(b"");
        let mut answer = Answer::new(&endpoint, asked, status, |_| None);
        let mut rest = body.as_bytes();
        while !rest.is_empty() {
            rest = &rest[answer.read(rest, &mut |_| {}).bytes..];
        }
        answer.end(true, &mut |_| {});
        assert_eq!((answer.id(), answer.has_failed_elsewhere()), (Some("r"), has_failed), "{body}");
    }
    // Nor is it over with a stream that says nothing of that.
    let again = Exchange { at: ("openai", "GET", "/v1/responses/r"), asked: "", ..CHAT };
    let body = stream(r#"{"type":"response.output_text.delta","delta":"12345678"}"#);
    assert_eq!(again.at_every_split(&body), []);
}

#[test]
fn what_nobody_can_have_used_is_not_stated_and_makes_nothing_of_what_was_stated_before() {
    let chat = |usage: &str| format!("data: {{\"choices\":[],\"usage\":{{{usage}}}}}\n\n");
    let said = "data: {\"choices\":[{\"delta\":{\"content\":\"123456789\"}}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":1}}\n\n";
    let chat = |usage: &str| format!("{said}{}", chat(usage));
    let google = |usage: &str| {
        let said = r#"{"candidates":[{"content":{"parts":[{"text":"123456789"}]}}],"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":1}}"#;
        format!("[{said},{{\"usageMetadata\":{{{usage}}}}}]")
    };
    let anthropic = |usage: &str| {
        let events = [
            r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":2,"output_tokens":1}}}"#,
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"123456789"}}"#,
            &format!(r#"{{"type":"message_delta","usage":{{{usage}}}}}"#),
            r#"{"type":"message_stop"}"#,
        ];
        events.map(|event| format!("data: {event}\n\n")).concat()
    };
    let gemini = Exchange {
        at: ("gemini", "POST", "/v1beta/models/m:streamGenerateContent"),
        asked: r#"{"contents":[{"parts":[{"text":"12345678"}]}]}"#,
        kind: JSON,
        ..CHAT
    };
    let claude = Exchange { at: ("anthropic", "POST", "/v1/messages"), ..CHAT };
    for absurd in ["-3", "1e13", "\"many\"", "{}", "true"] {
        for (exchange, body) in [
            (CHAT, chat(&format!(r#""prompt_tokens":2,"completion_tokens":{absurd}"#))),
            (gemini, google(&format!(r#""promptTokenCount":{absurd},"candidatesTokenCount":2"#))),
            (claude, anthropic(&format!(r#""output_tokens":{absurd}"#))),
        ] {
            assert_eq!(figures(&exchange.booked([body.as_bytes()].into_iter())), [(2, 3, true)], "{body}");
        }
    }
    // What is null is not stated.
    let null = chat(r#""prompt_tokens":null,"completion_tokens":null"#);
    assert_eq!(figures(&CHAT.booked([null.as_bytes()].into_iter())), [(2, 1, false)]);
}

#[test]
fn a_stream_that_states_nothing_is_estimated() {
    let body =
        "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"123456789\"}}]}\n\ndata: [DONE]\n\n";
    assert_eq!(figures(&CHAT.at_every_split(body)), [(2, 3, true)]);
    let cut = Exchange { is_whole: false, ..CHAT };
    assert_eq!(figures(&cut.at_every_split(&body[..70])), [(2, 3, true)]);
    let stated = r#"data: {"id":"c","choices":[{"delta":{"content":"1"}}],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#;
    assert_eq!(figures(&cut.at_every_split(&format!("{stated}\n\n"))), [(9, 4, true)], "so far at least");
}

#[test]
fn a_body_states_its_usage_wherever_it_stands() {
    let plain = Exchange { kind: JSON, ..CHAT };
    for (body, wanted) in [
        (
            r#"{"id":"c","choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":9.0,"completion_tokens":"3"}}"#,
            (9, 3, false),
        ),
        (r#"{"\u0075sage":{"prompt_tokens":9,"completion_tokens":3},"id":"c"}"#, (9, 3, false)),
        (
            r#"{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":9,"completion_tokens":3},"id":"c"}"#,
            (9, 3, false),
        ),
        (
            r#"{"id":"c","choices":[{"message":{"content":"1234","usage":{"prompt_tokens":9}}}],"usage":null}"#,
            (2, 1, true),
        ),
        (r#"{"id":"c","choices":[{"message":{"content":"12345"#, (2, 2, true)),
    ] {
        assert_eq!(figures(&plain.at_every_split(body)), [wanted], "{body}");
    }
    let refused = Exchange { status: 400, ..plain };
    assert_eq!(refused.at_every_split(r#"{"error":{"message":"no","usage":{"prompt_tokens":9}}}"#), []);
    // A provider that states what a refusal has used bills it.
    for status in [400, 429, 500, 503] {
        let refused = Exchange { status, ..refused };
        let body = r#"{"error":{"message":"no"},"usage":{"prompt_tokens":9,"completion_tokens":2}}"#;
        assert_eq!(figures(&refused.at_every_split(body)), [(9, 2, false)], "{status}");
    }
}

#[test]
fn a_response_that_was_answered_where_it_was_asked_for_costs_nothing_when_it_is_looked_at() {
    let again = Exchange { at: ("openai", "GET", "/v1/responses/r"), asked: "", kind: JSON, ..CHAT };
    let usage = r#""usage":{"input_tokens":9,"output_tokens":3}"#;
    for (background, booked) in [("", 1), (r#""background":true,"#, 1), (r#""background":false,"#, 0)] {
        let response =
            format!(r#"{{"id":"r","model":"gpt-6.1-sol",{background}"status":"completed",{usage}}}"#);
        assert_eq!(again.at_every_split(&response).len(), booked, "{response}");
        let event = format!(
            "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{response}}}\n\n"
        );
        let streamed = Exchange { kind: SSE, ..again };
        assert_eq!(streamed.at_every_split(&event).len(), booked, "{event}");
    }
    let asked = r#"{"model":"gpt-6.1-sol","input":"1"}"#;
    let first = Exchange { at: ("openai", "POST", "/v1/responses"), asked, kind: JSON, ..CHAT };
    let response = format!(r#"{{"id":"r","background":false,"status":"completed",{usage}}}"#);
    assert_eq!(figures(&first.at_every_split(&response)), [(9, 3, false)]);
}

#[test]
fn a_stream_is_ended_behind_an_event() {
    let (_, endpoint) = endpoint("openai", "POST", "/v1/chat/completions");
    let mut answer = Answer::new(&endpoint, Asked::default(), 200, |_| Some(SSE));
    let body = b"data: {}\n\ndata: {";
    assert_eq!(answer.read(body, &mut |_| {}), Piece { bytes: 10, ends_event: true });
    assert_eq!(answer.read(&body[10..], &mut |_| {}), Piece { bytes: 7, ends_event: false });
    let measure = crate::close_reason::Measure::Tokens { used: 2, limit: 1 };
    let reason = CloseReason::LimitReached { measure, window: WindowKind::Daily, resets_at: None };
    let ending = answer.ending(&reason).unwrap();
    assert!(ending.starts_with("data: {\"error\":{") && ending.ends_with("}\n\n"), "{ending}");

    // An event of Responses has a number, the first one 0.
    let (_, endpoint) = self::endpoint("openai", "POST", "/v1/responses");
    let mut answer = Answer::new(&endpoint, Asked::default(), 200, |_| Some(SSE));
    for number in 0..3 {
        let ending = answer.ending(&reason).unwrap();
        let data = ending.strip_prefix("event: error\ndata: ").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!((&data["type"], &data["sequence_number"]), (&"error".into(), &number.into()));
        assert!(data["error"]["code"] == "token_limit_reached", "{data}");
        answer.read(b"event: x\ndata: {}\n\n", &mut |_| {});
    }
}

/// Bytes that are nearly an answer.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "data: ",
        "data:",
        "\n\n",
        "\r\n\r\n",
        "\r",
        "\n",
        ": ",
        "event: x\n",
        "[DONE]",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "null",
        "\"usage\":",
        "\"prompt_tokens\":12",
        "\"choices\":[",
        "{\"delta\":{\"content\":\"ab",
        "\"usage\":{\"prompt_tokens\":3}",
        "\"id\":\"c\"",
        " ",
        "1e9",
        "\u{feff}",
        "\\u0061",
        "\"type\":\"message_stop\"",
        "\"error\":{}",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..40)
        .prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_bytes_tell_the_same_at_any_split(
        body in prop_oneof![nearly(), any::<Vec<u8>>()],
        is_stream in any::<bool>(),
        at in any::<prop::sample::Index>(),
        is_whole in any::<bool>(),
        path in prop::sample::select(vec!["chat/completions", "responses", "embeddings", "audio/speech", "images/generations"]),
    ) {
        let kind = if is_stream { SSE } else { JSON };
        let path = format!("/v1/{path}");
        let exchange = Exchange { at: ("openai", "POST", &path), kind, is_whole, ..CHAT };
        let whole = exchange.booked([&body[..]].into_iter());
        let at = at.index(body.len() + 1);
        prop_assert_eq!(exchange.booked([&body[..at], &body[at..]].into_iter()), whole);
    }
}

#[test]
fn a_body_of_any_length_takes_no_more_room() {
    let (_, endpoint) = endpoint("openai", "POST", "/v1/embeddings");
    let mut answer = Answer::new(&endpoint, Asked::default(), 200, |_| Some(JSON));
    let mut told = Vec::new();
    let mut read = |bytes: &[u8]| {
        let piece = answer.read(bytes, &mut |event| told.push(format!("{event:?}")));
        assert_eq!(piece.bytes, bytes.len());
    };
    read(b"{\"data\":[");
    for _ in 0..1_000 {
        read(&b"{\"embedding\":[0.25,\"]\"]},".repeat(1_000));
    }
    read(b"{}],\"x\":\"");
    read(&[b'x'; 1 << 20]);
    read(b"\",\"usage\":{\"prompt_tokens\":8}}");
    assert!(answer.skim.room() < 4_096, "{}", answer.skim.room());
    answer.end(true, &mut |event| told.push(format!("{event:?}")));
    assert!(told.iter().any(|event| event.contains("text_in: 8")), "{told:?}");
}
