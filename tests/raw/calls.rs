//! Calls as their provider has them whose sound goes past tokenist: how they are asked for, watched, and ended.

#![allow(dead_code, reason = "each test binary uses its own part")]

use super::http::{Whole, message};
use super::{ALICE, TEXT, Upstream, Wire, close, frame, request, start};
use serde_json::{Value, json};
use std::time::Instant;
use tokenist_kit::{PATIENCE, Tokenist, eventually};
use tungstenite::handshake::derive_accept_key;

pub(crate) const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\n";
pub(crate) const ANSWER: &str = "v=0\r\no=- 3 4 IN IP4 127.0.0.1\r\ns=-\r\n";
pub(crate) const MODEL: &str = "gpt-realtime";

/// A form with an offer and settings.
pub(crate) fn form(session: &Value) -> (String, String) {
    let part = |name: &str, kind: &str, value: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{value}\r\n"
        )
    };
    let body =
        part("sdp", "application/sdp", SDP) + &part("session", "application/json", &session.to_string());
    ("multipart/form-data; boundary=b".to_owned(), body + "--b--\r\n")
}

pub(crate) fn usual() -> (String, String) {
    form(&json!({"type": "realtime", "model": MODEL}))
}

/// A request of alice's with her own key, unless these headers say otherwise.
pub(crate) fn offer(target: &str, who: &[&str], (kind, body): &(String, String)) -> String {
    let (kind, length) = (format!("Content-Type: {kind}"), format!("Content-Length: {}", body.len()));
    request(&format!("POST {target}"), &[who, &[&kind, &length]].concat()) + body
}

pub(crate) const WHO: [&str; 2] = ["Authorization: Bearer sk-alice", ALICE];

pub(crate) fn created(location: &str) -> String {
    format!(
        "HTTP/1.1 201 Created\r\nContent-Type: text/plain; charset=utf-8\r\nLocation: {location}\r\nX-Request-Id: r1\r\n\
         Content-Length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    )
}

/// A call under way, as the provider has it.
pub(crate) struct Call {
    pub(crate) socket: Wire,
    pub(crate) asked: Whole,
    /// The head of the request for its socket.
    pub(crate) attach: String,
    pub(crate) answer: Whole,
}

/// Takes the socket that tokenist attaches to a call.
pub(crate) fn attached(provider: &Upstream) -> (Wire, String) {
    let mut socket = provider.accept();
    let head = socket.head();
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("an upgrade");
    let accept = derive_accept_key(key.as_bytes());
    socket.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ));
    (socket, head)
}

pub(crate) fn begin(
    proxy: &Tokenist,
    provider: &Upstream,
    target: &str,
    who: &[&str],
    body: &(String, String),
) -> Call {
    let mut app = Wire::connect(proxy.listen);
    app.send(offer(target, who, body));
    let mut line = provider.accept();
    let asked = message(&mut line);
    line.send(created("https://api.openai.com/v1/realtime/calls/rtc_1"));
    let (socket, attach) = attached(provider);
    let answer = message(&mut app);
    Call { socket, asked, attach, answer }
}

pub(crate) fn call(proxy: &Tokenist, provider: &Upstream) -> Call {
    begin(proxy, provider, "/v1/realtime/calls", &WHO, &usual())
}

pub(crate) fn say(socket: &mut Wire, event: &Value) {
    socket.send(frame(TEXT, event.to_string().as_bytes(), None));
}

pub(crate) fn done(id: &str, text_in: u64, audio_out: u64) -> Value {
    let usage = json!({"total_tokens": text_in + audio_out, "input_tokens": text_in, "output_tokens": audio_out,
        "input_token_details": {"text_tokens": text_in, "audio_tokens": 0},
        "output_token_details": {"text_tokens": 0, "audio_tokens": audio_out}});
    json!({"type": "response.done", "response": {"id": id, "status": "completed", "usage": usage}})
}

/// The next request that ends a call: when it came, and its head.
pub(crate) fn hangup(provider: &Upstream, answer: &str) -> (Instant, String) {
    let mut line = provider.accept();
    let asked = message(&mut line);
    let at = Instant::now();
    line.send(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"));
    (at, asked.head)
}

/// The provider ends a call by itself: it closes the socket, and knows no such call any more.
pub(crate) fn end(provider: &Upstream, socket: &mut Wire) {
    socket.send(close(1000, "", None));
    let mut line = provider.accept();
    let head = line.head();
    assert!(head.starts_with("GET"), "whether it goes on is asked: {head}");
    line.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
}

pub(crate) fn usage(proxy: &Tokenist, user: &str) -> Value {
    proxy.get(&format!("/admin/users/{user}/usage"))["usage"].clone()
}

pub(crate) fn sessions(proxy: &Tokenist) -> Vec<Value> {
    proxy.get("/admin/sessions")["sessions"].as_array().cloned().unwrap_or_default()
}

#[track_caller]
pub(crate) fn expect_none(proxy: &Tokenist) {
    let left = eventually(PATIENCE, || sessions(proxy), Vec::is_empty);
    assert!(left.is_empty(), "its place is given back: {left:?}");
}

pub(crate) fn start_as<'a>(provider: &Upstream, more: &[(&'a str, &'a str)]) -> Tokenist {
    start(&provider.origin(), &[&[("admission.refuse", "close")], more].concat())
}
