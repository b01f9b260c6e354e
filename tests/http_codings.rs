//! Answers that a provider has compressed: what passes as it came and is read on its way, what goes on without its coding, and
//! what cannot be read. The provider is scripted, but for the last test.

mod raw;
mod reckon;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use raw::http::*;
use raw::*;
use reckon::{Bill, GENEROUS, audited, booked};
use serde_json::{Value, json};
use std::io::Write;
use tokenist_core::http::coding::{Coding, Decoder};
use tokenist_core::usage::Usage;
use tokenist_kit::{PATIENCE, Provider, Tokenist, eventually};

const MODEL: &str = "gpt-5-mini";
const CHAT: &str = "POST /v1/chat/completions";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

fn body(more: &Value) -> String {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

fn completion(text: &str) -> String {
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107});
    let choices = json!([{"index": 0, "message": {"role": "assistant", "content": text}}]);
    json!({"id": "chatcmpl-1", "model": MODEL, "choices": choices, "usage": usage}).to_string()
}

fn event(choices: &Value, usage: &Value) -> String {
    let chunk = json!({"id": "chatcmpl-1", "model": MODEL, "choices": choices, "usage": usage});
    format!("data: {chunk}\n\n")
}

fn delta(text: &str) -> String {
    event(&json!([{"index": 0, "delta": {"content": text}}]), &Value::Null)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[track_caller]
fn requests(proxy: &Tokenist, count: u64) -> Bill {
    let found = || booked(proxy, "alice").get(MODEL).copied().unwrap_or_default();
    let bill = eventually(PATIENCE, found, |bill| bill.usage.requests == count);
    assert_eq!(bill.usage.requests, count, "{bill:?}");
    bill
}

#[test]
fn a_whole_answer_passes_in_its_coding_and_is_read_on_its_way() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let mut app = Wire::connect(proxy.listen);
    let answer = completion(&"word ".repeat(40_000)).into_bytes();
    let mut server = None;
    for (accepted, asked_for, coding, coded) in [
        ("gzip, deflate, br, zstd", "gzip, deflate", "gzip", gzip(&answer)),
        ("br;q=1, deflate;q=0.9", "deflate;q=0.9", "deflate", deflate(&answer)),
        ("gzip", "gzip", "x-gzip", [gzip(&answer[..999]), gzip(&answer[999..])].concat()),
    ] {
        app.send(ask_json(CHAT, &[&format!("Accept-Encoding: {accepted}")], &body(&json!({}))));
        let server = server.get_or_insert_with(|| provider.accept());
        assert_eq!(message(server).header("accept-encoding"), Some(asked_for));
        server.send(answer_of(JSON, Some(coding), &coded));
        let told = message(&mut app);
        assert!(told.body == coded, "{coding}: as it came");
        assert_eq!(told.header("content-encoding"), Some(coding));
    }
    let usage = Usage { text_in: 300, text_out: 21, requests: 3, ..Usage::default() };
    assert_eq!(requests(&proxy, 3), Bill::stated(MODEL, usage));
}

#[test]
fn nothing_is_asked_for_in_a_coding_that_cannot_be_read_or_of_a_stream() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let streams = body(&json!({"stream": true, "stream_options": {"include_usage": true}}));
    for (accepted, body) in [
        ("Accept-Encoding: br, zstd", body(&json!({}))),
        ("Accept-Encoding: gzip;q=0", body(&json!({}))),
        ("X-Nothing: said", body(&json!({}))),
        ("Accept-Encoding: gzip", streams),
        ("Accept-Encoding: gzip", self::body(&json!({"stream": true}))),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(ask_json(CHAT, &[accepted], &body));
        let mut server = provider.accept();
        let asked = message(&mut server);
        assert_eq!(asked.header("accept-encoding"), Some("identity"), "{accepted} {body}");
        server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}");
        assert_eq!(message(&mut app).body, b"{}");
    }
}

/// Behind each event something may have to be put, so it has to be seen as it is.
#[test]
fn a_stream_that_is_compressed_all_the_same_goes_on_without_its_coding() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let usage = json!({"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70});
    let last = event(&json!([]), &usage);
    for (asked, shows) in [
        (json!({"stream": true}), false),
        (json!({"stream": true, "stream_options": {"include_usage": true}}), true),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(ask_json(CHAT, &["Accept-Encoding: gzip"], &body(&asked)));
        let mut server = provider.accept();
        message(&mut server);
        let said = delta("one") + &delta("two") + &last + "data: [DONE]\n\n";
        let coded = gzip(said.as_bytes());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
        let pieces: Vec<&[u8]> = coded.chunks(7).collect();
        server.send([head.as_bytes(), &chunked(&pieces)].concat());
        let head = app.head().to_ascii_lowercase();
        assert!(!head.contains("content-encoding") && head.contains("transfer-encoding: chunked"), "{head}");
        let wanted = match shows {
            true => said,
            false => said.replace(",\"usage\":null", "").replace(&last, ""),
        };
        assert_eq!(rest_of(&mut app), wanted);
    }
    let usage = Usage { text_in: 100, text_out: 40, requests: 2, ..Usage::default() };
    assert_eq!(requests(&proxy, 2), Bill::stated(MODEL, usage));
}

#[test]
fn a_limit_ends_a_compressed_stream_behind_the_very_event_that_crosses_it() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS, ("limits.max_total_tokens", "1000")]);
    let mut app = Wire::connect(proxy.listen);
    let wants_usage = json!({"stream": true, "stream_options": {"include_usage": true}});
    app.send(ask_json(CHAT, &[], &body(&wants_usage)));
    let mut server = provider.accept();
    message(&mut server);
    let crossing = delta(&"word ".repeat(2_000));
    let coded = deflate((crossing.clone() + &delta("never seen")).as_bytes());
    server.send(answer_of(EVENTS, Some("deflate"), &coded));
    app.head();
    let said = rest_of(&mut app);
    let error = said.strip_prefix(&*crossing).expect("the crossing event is delivered");
    assert!(error.contains("token_limit_reached") && !error.contains("never seen"), "{error}");
}

#[test]
fn what_cannot_be_read_is_refused_or_estimated() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let ask = || {
        let mut app = Wire::connect(proxy.listen);
        app.send(ask_json(CHAT, &["Accept-Encoding: gzip"], &body(&json!({}))));
        let mut server = provider.accept();
        message(&mut server);
        (app, server)
    };
    for coding in ["zstd", "gzip, br"] {
        let (mut app, mut server) = ask();
        server.send(answer_of(JSON, Some(coding), b"(\xb5/\xfd unreadable"));
        let refused = message(&mut app);
        assert_eq!((refused.status, &*refused.code()), (502, "upstream_failed"), "{coding}");
    }
    let bill = requests(&proxy, 2);
    assert_eq!((bill.estimated, bill.usage.text_in > 0), (bill.cost, true), "it was answered all the same");
    // It is not what it says, or breaks off: it passes, and is estimated.
    let whole = gzip(completion("hello").as_bytes());
    let broken = [&whole[..20], b"nonsense", &whole[28..]].concat();
    for coded in [b"{\"plain\":1}".to_vec(), broken, whole[..whole.len() / 2].to_vec()] {
        let (mut app, mut server) = ask();
        server.send(answer_of(JSON, Some("gzip"), &coded));
        assert!(message(&mut app).body == coded, "as it came");
    }
    let bill = requests(&proxy, 5);
    assert_eq!(bill.estimated, bill.cost, "{bill:?}");
}

#[test]
fn a_refusal_in_a_coding_is_shown_without_the_operators_key() {
    const SECRET: &str = "sk-operator-0123456789";
    let provider = Upstream::start();
    let key = [("provider.api_key_env", "OPERATORS_KEY"), ("OPERATORS_KEY", SECRET)];
    let proxy = start(&provider.origin(), &key);
    let made = proxy.post("/admin/users", &json!({"userId": "alice"})).json();
    let credential = format!("Authorization: Bearer {}", made["apiKey"].as_str().unwrap());
    let said = json!({"error": {"message": format!("Incorrect API key provided: {SECRET}."), "code": "invalid_api_key"}});
    let mut app = Wire::connect(proxy.listen);
    let length = format!("Content-Length: {}", body(&json!({})).len());
    let headers = [&*credential, &length, "Content-Type: application/json", "Accept-Encoding: gzip"];
    app.send(request(CHAT, &headers) + &body(&json!({})));
    let mut server = provider.accept();
    message(&mut server);
    let answer = answer_of(JSON, Some("gzip"), &gzip(said.to_string().as_bytes()));
    server.send([b"HTTP/1.1 400 Bad Request".as_slice(), &answer["HTTP/1.1 200 OK".len()..]].concat());
    let refused = message(&mut app);
    assert_eq!((refused.status, refused.header("content-encoding")), (400, None));
    let text = String::from_utf8(refused.body).unwrap();
    assert!(text.contains("Incorrect API key provided: ****") && !text.contains("0123456789"), "{text}");
}

/// The content behind a coding.
fn plain(coding: Option<&str>, coded: &[u8]) -> Vec<u8> {
    let coding = match coding {
        None => return coded.to_vec(),
        Some("gzip") => Coding::Gzip,
        Some("deflate") => Coding::Deflate,
        Some(_) => Coding::Brotli,
    };
    let mut plain = vec![0; 1 << 20];
    let decoded = Decoder::new(coding).decode(coded, &mut plain).unwrap();
    plain.truncate(decoded.written);
    plain
}

#[test]
fn what_the_provider_counts_is_booked_whatever_it_compresses() {
    for (coding, accepted) in
        [("gzip", "gzip"), ("deflate", "deflate"), ("br:unasked", "br"), ("gzip:unasked", "br")]
    {
        let provider = Provider::start(&["--sim", &format!("compress={coding},chunks=30")]);
        let proxy = Tokenist::start(&provider.origin(), &[GENEROUS]);
        let accepted = format!("Accept-Encoding: {accepted}");
        for (path, more) in [
            (CHAT, json!({})),
            (CHAT, json!({"stream": true})),
            (CHAT, json!({"stream": true, "stream_options": {"include_usage": true}})),
            ("POST /v1/responses", json!({"input": "hi"})),
            ("POST /v1/responses", json!({"input": "hi", "stream": true})),
        ] {
            let mut app = Wire::connect(proxy.listen);
            app.send(ask_json(&format!("{path}?audit=alice"), &[&accepted], &body(&more)));
            let told = message(&mut app);
            let sent = plain(told.header("content-encoding"), &told.body);
            let text = String::from_utf8(sent).unwrap();
            assert!(told.status == 200 && text.contains("Some words."), "{coding} {more}: {text}");
            let is_plain = more["stream"] == true;
            assert_eq!(told.header("content-encoding").is_none(), is_plain, "{coding} {more}");
        }
        let counted = audited(&provider, "alice");
        assert_eq!(counted[MODEL].usage.requests, 5);
        let found = eventually(PATIENCE, || booked(&proxy, "alice"), |found| *found == counted);
        assert_eq!(found, counted, "{coding}");
    }
}
