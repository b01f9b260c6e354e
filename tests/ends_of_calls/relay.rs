//! A relayed call under way, with both of its ends.
//!
//! Start at [`call`].

#![allow(dead_code, reason = "each test binary uses its own part")]

use super::{Heard, Peer, USUAL, Wish};
use crate::raw::calls::{self, MODEL, WHO, offer, usage};
use crate::raw::http::{Whole, message};
use crate::raw::*;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use str0m::format::Codec;
use tokenist_kit::{PATIENCE, Tokenist, eventually};

pub(crate) const ALL: [Codec; 3] = [Codec::Opus, Codec::PCMU, Codec::PCMA];

/// A call under way, with both of its ends.
pub(crate) struct Call {
    pub(crate) app: Peer,
    pub(crate) provider: Peer,
    pub(crate) asked: Whole,
    pub(crate) answer: Whole,
}

pub(crate) fn start_as(provider: &Upstream, more: &[(&str, &str)]) -> Tokenist {
    let relays = [("webrtc.mode", "relay"), ("admission.refuse", "close"), ("metering.linger_seconds", "3")];
    start(&provider.origin(), &[&relays, more].concat())
}

/// An offer without settings.
pub(crate) fn bare(sdp: &str) -> (String, String) {
    ("application/sdp".to_owned(), sdp.to_owned())
}

/// An answer that begins a call, each with an id of its own.
pub(crate) fn created(kind: &str, body: &str) -> String {
    static CALLS: AtomicUsize = AtomicUsize::new(1);
    let id = CALLS.fetch_add(1, Ordering::Relaxed);
    format!(
        "HTTP/1.1 201 Created\r\nContent-Type: {kind}\r\nLocation: /v1/realtime/calls/rtc_{id}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Begins a call, whose ends are not connected yet.
pub(crate) fn begin(proxy: &Tokenist, provider: &Upstream, wish: Wish<'_>, who: &[&str]) -> Call {
    begin_with(proxy, provider, wish, who, |offer| Peer::answering(offer, &ALL))
}

pub(crate) fn begin_with(
    proxy: &Tokenist,
    provider: &Upstream,
    wish: Wish<'_>,
    who: &[&str],
    answer: impl FnOnce(&str) -> (Peer, String),
) -> Call {
    let (app, sdp) = Peer::offering(wish);
    let mut client = Wire::connect(proxy.listen);
    client.send(offer(&format!("/v1/realtime/calls?model={MODEL}"), who, &bare(&sdp)));
    let mut line = provider.accept();
    let asked = message(&mut line);
    let offered = String::from_utf8(asked.body.clone()).unwrap();
    assert!(
        !offered.contains(&app.address.port().to_string()),
        "the provider is offered no way past us: {offered}"
    );
    let (peer, answered) = answer(&offered);
    line.send(created("application/sdp", &answered));
    let answer = message(&mut client);
    assert_eq!(answer.status, 201, "{}", answer.head);
    let told = String::from_utf8(answer.body.clone()).unwrap();
    assert!(!told.contains(&format!(" {} ", peer.address.port())), "nor is the application told one: {told}");
    app.accept(&told);
    Call { app, provider: peer, asked, answer }
}

/// Begins a call and waits until its events pass.
pub(crate) fn call_as(proxy: &Tokenist, provider: &Upstream, wish: Wish<'_>, who: &[&str]) -> Call {
    let call = begin(proxy, provider, wish, who);
    if let Some(label) = wish.label {
        assert_eq!(call.provider.opened(), label);
        assert_eq!(call.app.opened(), label);
    }
    call
}

pub(crate) fn call(proxy: &Tokenist, provider: &Upstream) -> Call {
    call_as(proxy, provider, USUAL, &WHO)
}

pub(crate) fn done(id: &str, text_in: u64, audio_out: u64) -> String {
    calls::done(id, text_in, audio_out).to_string()
}

pub(crate) fn began(id: &str) -> String {
    json!({"type": "response.created", "response": {"id": id}}).to_string()
}

pub(crate) fn words(id: &str) -> String {
    json!({"type": "response.output_audio_transcript.delta", "response_id": id,
        "delta": "thirty bytes of what is spoken"})
    .to_string()
}

/// The next request that ends a call.
#[track_caller]
pub(crate) fn hangup(provider: &Upstream, patience: Duration) {
    let mut line = eventually(patience, || provider.poll(), Option::is_some).expect("it is asked to end");
    let asked = message(&mut line);
    let target = asked.head.lines().next().unwrap_or_default();
    assert!(target.starts_with("POST /v1/realtime/calls/rtc_") && target.contains("/hangup "), "{target}");
    line.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

#[track_caller]
pub(crate) fn expect_tokens(proxy: &Tokenist, tokens: u64) {
    let total = || usage(proxy, "alice")["totalTokens"].clone();
    assert_eq!(eventually(PATIENCE, total, |total| *total == json!(tokens)), json!(tokens));
}

/// All that comes until the end of the call.
pub(crate) fn to_the_end(peer: &Peer) -> Vec<Heard> {
    let mut all = Vec::new();
    while let Some(heard) = peer.poll(PATIENCE) {
        let is_end = heard == Heard::Closed;
        all.push(heard);
        if is_end {
            return all;
        }
    }
    panic!("the call has no end: {all:?}");
}

pub(crate) fn messages(heard: &[Heard]) -> Vec<&str> {
    heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Message(text, _) => Some(&**text),
            _ => None,
        })
        .collect()
}

/// The numbers of the packets of sound that come within this time.
pub(crate) fn sounds(peer: &Peer, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        match peer.poll(Duration::from_millis(1_000)) {
            Some(Heard::Sound(_, payload, _)) => {
                assert_eq!(&payload[..5], b"sound");
                numbers.push(u64::from_be_bytes(payload[5..13].try_into().unwrap()));
            }
            Some(_) => {}
            None => break,
        }
    }
    numbers
}
