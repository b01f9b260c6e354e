//! What a client sees that did not ask for usage.

use super::*;
use crate::api::{Answer, of_family};
use crate::dialect::family;

/// The stream as the client sees it, with its bytes in these pieces.
fn seen(pieces: &[&[u8]]) -> String {
    let api = of_family(family("openai").unwrap()).next().unwrap();
    let endpoint = api.endpoint("POST", "/v1/chat/completions").unwrap();
    let mut answer = Answer::new(&endpoint, Default::default(), 200, |_| Some("text/event-stream"));
    let (mut filter, mut out) = (UsageFilter::default(), Vec::new());
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            let read = answer.read(piece, &mut |_| {});
            filter.pass(&piece[..read.bytes], read.ends_event, &mut out);
            piece = &piece[read.bytes..];
        }
    }
    filter.end(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_client_that_did_not_ask_sees_neither_usage_nor_that_there_is_none() {
    for (stream, wanted) in [
        (
            "data: {\"id\":\"c\",\"choices\":[{}],\"usage\":null}\n\n",
            "data: {\"id\":\"c\",\"choices\":[{}]}\n\n",
        ),
        ("data: {\"usage\" : null , \"id\":\"c\"}\n\n", "data: { \"id\":\"c\"}\n\n"),
        ("data: {\"usage\":null}\r\n\r\n", "data: {}\r\n\r\n"),
        ("data: {\"a\":1,\"usage\":null,\"b\":2}\n\n: x\n\n", "data: {\"a\":1,\"b\":2}\n\n: x\n\n"),
        ("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n", "data: [DONE]\n\n"),
        (
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\r\n\r\ndata: [DONE]\r\n\r\n",
            "data: [DONE]\r\n\r\n",
        ),
        ("data:{\"choices\":[],\"usage\":{}}", ""),
        // Azure's first chunk, and what servers state that were not asked.
        ("data: {\"choices\":[],\"usage\":null}\n\n", "data: {\"choices\":[]}\n\n"),
        (
            "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n",
            "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n",
        ),
        // What says something else as well is the client's to see.
        (
            "data: {\"choices\":[],\"error\":{},\"usage\":{\"prompt_tokens\":1}}\n\n",
            "data: {\"choices\":[],\"error\":{},\"usage\":{\"prompt_tokens\":1}}\n\n",
        ),
        ("data: {\"choices\":[{\"usage\":null}]}\n\n", "data: {\"choices\":[{\"usage\":null}]}\n\n"),
        ("data: {\"id\":", "data: {\"id\":"),
    ] {
        assert_eq!(seen(&[stream.as_bytes()]), wanted, "{stream}");
        for at in 0..stream.len() {
            assert_eq!(
                seen(&[&stream.as_bytes()[..at], &stream.as_bytes()[at..]]),
                wanted,
                "{stream} at {at}"
            );
        }
    }
}

#[test]
fn an_event_that_is_too_long_to_be_held_passes() {
    let long = format!(
        "data: {{\"choices\":[{{\"delta\":\"{}\"}}],\"usage\":null}}\n\n",
        "x".repeat(2 * EVENT_BYTES_MAX)
    );
    let short = "data: {\"choices\":[{}],\"usage\":null}\n\n";
    let pieces: Vec<&[u8]> = long.as_bytes().chunks(1 << 16).chain([short.as_bytes()]).collect();
    assert!(seen(&pieces) == format!("{long}data: {{\"choices\":[{{}}]}}\n\n"));
}
