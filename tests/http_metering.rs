//! What requests cost, and how limits and blocks end them: the provider is scripted, so each event is where the test wants it.

mod raw;
mod reckon;

use raw::http::*;
use raw::*;
use reckon::{Bill, GENEROUS, booked};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokenist_core::usage::Usage;
use tokenist_kit::{PATIENCE, Tokenist, eventually, request};

const MODEL: &str = "gpt-5-mini";
const PATH: &str = "POST /v1/chat/completions";

fn chat(more: &Value) -> String {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

fn post(path: &str, body: &str) -> String {
    ask_json(path, &["Accept-Encoding: gzip, br"], body)
}

fn usage(input: u64, output: u64) -> Value {
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

fn event(choices: &Value, usage: &Value) -> String {
    let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": MODEL, "choices": choices, "usage": usage});
    format!("data: {chunk}\n\n")
}

fn delta(text: &str) -> String {
    event(&json!([{"index": 0, "delta": {"content": text}}]), &Value::Null)
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn json_answer(body: &Value) -> Vec<u8> {
    answer_of("application/json", None, body.to_string().as_bytes())
}

#[track_caller]
fn agree(proxy: &Tokenist, usage: Usage) {
    let wanted = Bill::stated(MODEL, usage);
    let found = || booked(proxy, "alice").get(MODEL).copied().unwrap_or_default();
    assert_eq!(eventually(PATIENCE, found, |found| *found == wanted), wanted);
}

fn stated(text_in: u64, text_out: u64, requests: u64) -> Usage {
    Usage { text_in, text_out, requests, ..Usage::default() }
}

#[test]
fn answers_in_json_are_booked_to_the_nano_dollar_and_tell_what_is_left() {
    let provider = Upstream::start();
    let proxy =
        start(&provider.origin(), &[("limits.max_cost_usd", "1"), ("limits.max_total_tokens", "1000")]);
    let mut app = Wire::connect(proxy.listen);
    let mut server = None;
    for turn in 0..3 {
        app.send(post(PATH, &chat(&json!({}))));
        let server = server.get_or_insert_with(|| provider.accept());
        let asked = message(server);
        assert_eq!(asked.body, chat(&json!({})).as_bytes(), "unaltered");
        assert_eq!(asked.header("accept-encoding"), Some("gzip"), "what can be read in passing");
        let answer =
            json!({"id": format!("chatcmpl-{turn}"), "model": MODEL, "choices": [], "usage": usage(100, 7)});
        let limited = "x-ratelimit-remaining-tokens: 99999\r\nContent-Type";
        let answered = String::from_utf8(json_answer(&answer)).unwrap();
        server.send(answered.replace("Content-Type", limited));
        let told = message(&mut app);
        assert_eq!(told.body, answer.to_string().as_bytes());
        let left = format!("{}", 1000 - turn * 107);
        assert_eq!(told.header("x-ratelimit-remaining-tokens"), Some(&*left));
        assert!(
            told.header("x-ratelimit-remaining-dollars")
                .is_some_and(|left| left == "1.00" || left.starts_with("0.99"))
        );
    }
    agree(&proxy, stated(300, 21, 3));
}

#[test]
fn a_request_has_to_name_a_model_that_is_served() {
    let provider = Upstream::start();
    let short = ("http.body_max_before_model", "100000");
    let proxy = start(&provider.origin(), &[short, ("limits.models", "gpt-5*")]);
    let long = "x".repeat(200_000);
    for (body, status, code) in [
        ("{}".to_owned(), 400, "model_missing"),
        ("nonsense".to_owned(), 400, "model_missing"),
        (String::new(), 400, "model_missing"),
        (json!({"model": "other-1", "messages": []}).to_string(), 403, "model_not_allowed"),
        (json!({"a": long, "model": MODEL}).to_string(), 413, "message_too_big"),
        // Behind what was read another model could stand.
        (json!({"model": MODEL, "z": long}).to_string(), 413, "message_too_big"),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(post(PATH, &body));
        let refused = message(&mut app);
        assert_eq!((refused.status, &*refused.code()), (status, code), "{:?}", &body[..body.len().min(60)]);
        assert_eq!(refused.header("x-should-retry"), Some("false"));
        assert!(provider.poll().is_none());
    }
    // A long one that names it in time passes as it comes, where any model may be used.
    let proxy = start(&provider.origin(), &[short]);
    let body = format!("{{\"model\":\"{MODEL}\",\"messages\":[\"{long}\"]}}");
    let mut app = Wire::connect(proxy.listen);
    app.send(post(PATH, &body));
    let mut server = provider.accept();
    assert_eq!(message(&mut server).body, body.as_bytes());
    server.send(json_answer(&json!({"id": "1", "model": MODEL, "choices": [], "usage": usage(1, 1)})));
    assert_eq!(message(&mut app).status, 200);
}

#[test]
fn a_stream_passes_as_it_comes_and_states_its_usage_to_us_alone() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let mut app = Wire::connect(proxy.listen);
    let wants_usage = json!({"stream": true, "stream_options": {"include_usage": true}});
    for (body, shows) in [(chat(&json!({"stream": true})), false), (chat(&wants_usage), true)] {
        app.send(post(PATH, &body));
        let mut server = provider.accept();
        let asked: Value = serde_json::from_slice(&message(&mut server).body).unwrap();
        assert_eq!(asked["stream_options"]["include_usage"], true);
        server.send(STREAM);
        assert!(app.head().contains("text/event-stream"));
        for text in ["one", "two"] {
            server.send(chunk(&delta(text)));
            let size = chunk_size(&mut app);
            let wanted = if shows { delta(text) } else { delta(text).replace(",\"usage\":null", "") };
            assert_eq!(String::from_utf8(app.read(size)).unwrap(), wanted, "at once, and as without usage");
            app.read(2);
        }
        let last = event(&json!([]), &usage(50, 20));
        let (half, other) = last.split_at(40);
        server.send(chunk(half));
        server.send(chunk(other) + &chunk("data: [DONE]\n\n") + "0\r\n\r\n");
        let wanted = if shows { last.clone() } else { String::new() } + "data: [DONE]\n\n";
        assert_eq!(rest_of(&mut app), wanted);
    }
    agree(&proxy, stated(100, 40, 2));
}

/// Before anything of it is booked, and nothing twice.
#[test]
fn what_a_stream_is_charged_so_far_is_shown_while_it_passes() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let key =
        proxy.post("/auth/api-keys", &json!({"name": "app", "userId": "alice"})).json()["apiKey"].clone();
    let bearer = format!("Bearer {}", key.as_str().expect("a key"));
    let me = || {
        let answer = request(proxy.listen, "GET", "/v1/usage/me", &[("Authorization", &*bearer)], "");
        answer.json()["used"]["tokens"].as_u64()
    };
    let shown = || {
        let user = proxy.get("/admin/users/alice/usage");
        [user["usage"]["totalTokens"].clone(), user["underWay"]["totalTokens"].clone()]
            .map(|count| count.as_u64().expect("a count"))
    };
    let mut app = Wire::connect(proxy.listen);
    app.send(post(PATH, &chat(&json!({"stream": true}))));
    let mut server = provider.accept();
    message(&mut server);
    server.send(STREAM.to_owned() + &chunk(&delta(&"word ".repeat(800))));
    app.head();
    let [counted, under_way] = eventually(PATIENCE, shown, |[_, under_way]| *under_way >= 1_000);
    assert!(counted == 0 && under_way >= 1_000, "{counted} and {under_way}");
    assert_eq!(me(), Some(under_way));
    assert!(proxy.get("/admin/users/alice/usage")["underWay"]["costUsd"].as_f64() > Some(0.0));
    server.send(chunk(&event(&json!([]), &usage(50, 20))) + &chunk("data: [DONE]\n\n") + "0\r\n\r\n");
    rest_of(&mut app);
    assert_eq!(eventually(PATIENCE, shown, |shown| *shown == [70, 0]), [70, 0]);
    assert_eq!(me(), Some(70));
}

/// One user's two streams: the event that crosses the limit is the last of both.
#[test]
fn a_limit_ends_every_stream_of_its_user_behind_the_event_that_crosses_it() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS, ("limits.max_total_tokens", "1000")]);
    let begin = |proxy: SocketAddr| {
        let mut app = Wire::connect(proxy);
        app.send(post(PATH, &chat(&json!({"stream": true, "stream_options": {"include_usage": true}}))));
        let mut server = provider.accept();
        message(&mut server);
        server.send(STREAM.to_owned() + &chunk(&delta("hello")));
        app.head();
        let size = chunk_size(&mut app);
        app.read(size + 2);
        (app, server)
    };
    let (mut other, mut other_server) = begin(proxy.listen);
    let (mut app, mut server) = begin(proxy.listen);
    let crossing = delta(&"word ".repeat(2_000));
    server.send(chunk(&(crossing.clone() + &delta("never seen"))));
    let said = rest_of(&mut app);
    let error = said.strip_prefix(&*crossing).expect("the crossing event is delivered").trim();
    let error: Value = serde_json::from_str(error.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(
        (&error["error"]["code"], &error["error"]["type"]),
        (&json!("token_limit_reached"), &json!("insufficient_quota"))
    );
    server.expect_end();
    let said = rest_of(&mut other);
    assert!(said.contains("token_limit_reached") && !said.contains("delta"), "{said}");
    other_server.expect_end();
    // The connection goes on, and the next request is judged.
    app.send(post(PATH, &chat(&json!({}))));
    let refused = message(&mut app);
    assert_eq!((refused.status, &*refused.code()), (429, "token_limit_reached"));
    assert_eq!((refused.header("x-should-retry"), refused.header("retry-after")), (Some("false"), None));
}

#[test]
fn a_block_ends_a_stream_at_once_in_its_own_words() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let mut app = Wire::connect(proxy.listen);
    app.send(post(PATH, &chat(&json!({"stream": true, "stream_options": {"include_usage": true}}))));
    let mut server = provider.accept();
    message(&mut server);
    server.send(STREAM.to_owned() + &chunk(&delta("hello")));
    app.head();
    let size = chunk_size(&mut app);
    app.read(size + 2);
    proxy.post("/admin/users/alice/block", &json!({"reason": "abuse"}));
    let said = rest_of(&mut app);
    assert!(said.starts_with("data: {\"error\"") && said.contains("user_blocked"), "{said}");
    server.expect_end();
    let estimated = || booked(&proxy, "alice").get(MODEL).map(|bill| bill.usage.requests);
    assert_eq!(eventually(PATIENCE, estimated, Option::is_some), Some(1), "what was generated is booked");
}

#[test]
fn a_provider_that_breaks_off_a_stream_is_told_in_it_and_what_it_said_is_booked() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let mut app = Wire::connect(proxy.listen);
    app.send(post(PATH, &chat(&json!({"stream": true, "stream_options": {"include_usage": true}}))));
    let mut server = provider.accept();
    message(&mut server);
    let half = &delta("hello")[..30];
    server.send(STREAM.to_owned() + &chunk(half));
    app.head();
    drop(server);
    let said = rest_of(&mut app);
    assert!(
        said.starts_with(&format!("{half}\n\ndata: {{\"error\"")) && said.contains("upstream_failed"),
        "{said}"
    );
}

#[test]
fn a_client_that_leaves_is_charged_for_what_was_asked_and_said() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    for stream in [false, true] {
        let before = booked(&proxy, "alice").get(MODEL).map_or(0, |bill| bill.usage.requests);
        let mut app = Wire::connect(proxy.listen);
        app.send(post(PATH, &chat(&json!({"stream": stream}))));
        let mut server = provider.accept();
        message(&mut server);
        if stream {
            server.send(STREAM.to_owned() + &chunk(&delta(&"word ".repeat(100))));
            app.head();
        }
        drop(app);
        server.expect_end();
        let requests = || booked(&proxy, "alice").get(MODEL).map_or(0, |bill| bill.usage.requests);
        assert_eq!(eventually(PATIENCE, requests, |found| *found > before), before + 1);
    }
    let bill = booked(&proxy, "alice")[MODEL];
    assert!(bill.estimated == bill.cost && bill.usage.text_out >= 100 && bill.usage.text_in > 0, "{bill:?}");
}

#[test]
fn what_is_known_and_costs_nothing_passes() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let mut app = Wire::connect(proxy.listen);
    app.send(post(PATH, &chat(&json!({}))));
    let mut server = provider.accept();
    message(&mut server);
    server.send("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}");
    let refused = message(&mut app);
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("7")),
        "a provider's no is the provider's"
    );
    assert!(booked(&proxy, "alice").is_empty());
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let part = |(head, content): &(&str, &[u8])| {
        [format!("--edge\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(), content, b"\r\n"]
            .concat()
    };
    [parts.iter().flat_map(part).collect(), b"--edge--\r\n".to_vec()].concat()
}

#[test]
fn a_form_names_its_model_wherever_that_stands() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let file = noise(5, 300_000);
    let (sound, model) =
        (("name=\"file\"; filename=\"a.wav\"", &*file), ("name=\"model\"", &b"whisper-1"[..]));
    let upload = |body: &[u8]| {
        let length = format!("Content-Length: {}", body.len());
        let form = "Content-Type: multipart/form-data; boundary=edge";
        let head = ask("POST /v1/audio/transcriptions", &[&length, form]);
        let mut app = Wire::connect(proxy.listen);
        app.send([head.as_bytes(), body].concat());
        app
    };
    for parts in [&[model, sound], &[sound, model]] {
        let body = form(parts);
        let mut app = upload(&body);
        let mut server = provider.accept();
        assert!(message(&mut server).body == body, "unaltered");
        server.send(json_answer(&json!({"text": "hello", "usage": {"type": "duration", "seconds": 60}})));
        assert_eq!(message(&mut app).status, 200);
    }
    let requests = || booked(&proxy, "alice").get("whisper-1").map_or(0, |bill| bill.usage.requests);
    assert_eq!(eventually(PATIENCE, requests, |found| *found == 2), 2);
    for (body, status, code) in [
        (form(&[sound]), 400, "model_missing"),
        (form(&[model, ("name=\"model\"", b"other")]), 400, "bad_request"),
    ] {
        let refused = message(&mut upload(&body));
        assert_eq!((refused.status, &*refused.code()), (status, code));
        assert!(provider.poll().is_none());
    }
}

/// A model that no list has, where a reader could see it beside one that is.
#[test]
fn a_model_that_only_another_reader_would_see_is_refused() {
    let provider = Upstream::start();
    let proxy =
        start(&provider.origin(), &[("limits.models", "gpt-5*, whisper-1"), ("limits.max_cost_usd", "-1")]);
    let refused = |request: Vec<u8>, what: &str| {
        let mut app = Wire::connect(proxy.listen);
        app.send(request);
        let refused = message(&mut app);
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert_eq!((refused.status, &*refused.code()), (400, "bad_request"), "{what}: {text}");
        assert!(provider.poll().is_none(), "{what}");
        text
    };
    for body in [
        r#"{"model":"gpt-5-mini","model":"other"}"#,
        r#"{"model":"other","model":"gpt-5-mini"}"#,
        r#"{"model":"gpt-5-mini","mod\u0065l":"other"}"#,
        r#"{"model":"gpt-5-mini","Model":"other"}"#,
        r#"{"MODEL":"other","model":"gpt-5-mini"}"#,
        r#"{"model":"gpt-5-mini","stream":true,"stream":false}"#,
        r#"{"model":"gpt-5-mini","\u017ftream":true}"#,
    ] {
        for path in [PATH, "POST /v1/responses", "POST /v1/embeddings"] {
            let text = refused(post(path, body).into_bytes(), body);
            assert!(text.contains("twice or in another spelling"), "{text}");
        }
    }
    let body = r#"{"model":"gpt-5-mini","messages":[]}"#;
    let head = |headers: &[&str], body: &[u8]| {
        let length = format!("Content-Length: {}", body.len());
        [ask(PATH, &[&[&*length], headers].concat()).as_bytes(), body].concat()
    };
    for headers in [
        &["Content-Type: application/json", "Content-Type: multipart/form-data; boundary=x"][..],
        &["Content-Type: multipart/form-data; boundary=x"],
        &["Content-Type: application/x-www-form-urlencoded"],
    ] {
        let text = refused(head(headers, body.as_bytes()), &format!("{headers:?}"));
        assert!(text.contains("Content-Type"), "{text}");
    }
    let sound = ("name=\"file\"; filename=\"a.mp3\"", &b"noise"[..]);
    let model = ("name=\"model\"", &b"whisper-1"[..]);
    let edge = "multipart/form-data; boundary=edge";
    for (kind, parts) in [
        (edge, vec![model, ("name*=utf-8''model", b"other"), sound]),
        (edge, vec![model, ("\r\n name=\"model\"", b"other"), sound]),
        (edge, vec![model, ("name=\"x\"; name=\"model\"", b"other"), sound]),
        ("multipart/form-data; boundary=edge; boundary=other", vec![model, sound]),
    ] {
        let body = form(&parts);
        let length = format!("Content-Length: {}", body.len());
        let head = ask("POST /v1/audio/transcriptions", &[&length, &format!("Content-Type: {kind}")]);
        refused([head.as_bytes(), &body].concat(), &format!("{kind} {:?}", parts[1].0));
    }
}

/// What is longer than what is held passes as it comes, but for what would change how it is metered.
#[test]
fn a_long_body_says_first_what_is_metered() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("http.body_max_before_model", "100000"), GENEROUS]);
    let long = "x".repeat(200_000);
    for late in [r#""model":"other""#, r#""Model":"other""#, r#""stream":true"#, r#""stream_options":{}"#] {
        let body = format!("{{\"model\":\"{MODEL}\",\"messages\":[\"{long}\"],{late}}}");
        let mut app = Wire::connect(proxy.listen);
        app.send(post(PATH, &body));
        let mut server = provider.accept();
        let refused = message(&mut app);
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert_eq!((refused.status, &*refused.code()), (400, "bad_request"), "{late}: {text}");
        assert!(text.contains("have to stand before what is long"), "{text}");
        assert!(!String::from_utf8_lossy(&server.rest()).contains(late), "it did not go up whole");
    }
    // A stream is asked for its usage all the same.
    let body =
        format!("{{\"model\":\"{MODEL}\",\"stream\":true,\"messages\":[\"{long}\"],\"z\":{{\"model\":1}}}}");
    let mut app = Wire::connect(proxy.listen);
    app.send(post(PATH, &body));
    let mut server = provider.accept();
    let asked: Value = serde_json::from_slice(&message(&mut server).body).unwrap();
    assert_eq!((&asked["stream_options"]["include_usage"], &asked["z"]["model"]), (&json!(true), &json!(1)));
    assert_eq!(asked["messages"][0], long);
}

#[test]
fn a_response_counts_whatever_its_body_is_called() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let used = json!({"input_tokens": 500, "output_tokens": 40, "total_tokens": 540});
    for (turn, kind) in ["response", "anything"].iter().enumerate() {
        let mut app = Wire::connect(proxy.listen);
        app.send(post("POST /v1/responses", &json!({"model": MODEL, "input": "hi"}).to_string()));
        let mut server = provider.accept();
        message(&mut server);
        server.send(json_answer(&json!({"type": kind, "id": format!("resp_{turn}"), "model": MODEL,
            "status": "completed", "usage": used, "output": []})));
        assert_eq!(message(&mut app).status, 200);
    }
    agree(&proxy, stated(1_000, 80, 2));
}

/// `TOKENIST_TEST_LARGE_MB` says how much, where more than a little is to be tried.
#[test]
fn what_is_metered_takes_no_memory_however_long_it_is() {
    let megabytes = std::env::var("TOKENIST_TEST_LARGE_MB").map_or(128, |words| words.parse().unwrap());
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[GENEROUS]);
    let before = settled_memory(&proxy);
    // A stream whose usage is hidden, and one that passes as it is.
    let wants_usage = json!({"stream": true, "stream_options": {"include_usage": true}});
    let piece = chunk(&delta(&"word ".repeat(13_107)));
    for more in [json!({"stream": true}), wants_usage] {
        let mut app = Wire::connect(proxy.listen);
        app.send(post(PATH, &chat(&more)));
        let mut server = provider.accept();
        message(&mut server);
        let (said, heard) = std::thread::scope(|scope| {
            let saying = scope.spawn(|| {
                server.send(STREAM);
                let count = megabytes / 2 * (1 << 20) / piece.len();
                (0..count).for_each(|_| server.send(&piece));
                server.send(
                    chunk(&event(&json!([]), &usage(50, 20))) + &chunk("data: [DONE]\n\n") + "0\r\n\r\n",
                );
                count * piece.len()
            });
            app.head();
            let mut heard = 0;
            while let size @ 1.. = chunk_size(&mut app) {
                heard += app.read(size).len();
                app.read(2);
            }
            (saying.join().unwrap(), heard)
        });
        assert!(heard > said / 100 * 98, "{heard} of {said}");
    }
    // A file that is to be written down, of which nothing but the length is of interest.
    let mut app = Wire::connect(proxy.listen);
    let head = form(&[("name=\"model\"", b"whisper-1"), ("name=\"file\"; filename=\"a.wav\"", b"")]);
    let (head, end) = head.split_at(head.len() - "\r\n--edge--\r\n".len());
    let (sound, count) = (noise(7, 1 << 20), megabytes);
    let length = format!("Content-Length: {}", head.len() + count * sound.len() + end.len());
    let kind = "Content-Type: multipart/form-data; boundary=edge";
    app.send(ask("POST /v1/audio/transcriptions", &[&length, kind]));
    app.send(head);
    let mut server = provider.accept();
    server.head();
    server.expect(head, "the model");
    std::thread::scope(|scope| {
        scope.spawn(|| (0..count).for_each(|_| app.send(&sound)));
        (0..count).for_each(|_| server.expect(&sound, "the file"));
    });
    app.send(end);
    server.expect(end, "the end");
    server.send(json_answer(&json!({"text": "hello", "usage": {"type": "duration", "seconds": 60}})));
    assert_eq!(message(&mut app).status, 200);
    let grown = settled_memory(&proxy).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    let requests = |model: &str| booked(&proxy, "alice").get(model).map_or(0, |bill| bill.usage.requests);
    let all = || (requests(MODEL), requests("whisper-1"));
    assert_eq!(eventually(PATIENCE, all, |found| *found == (2, 1)), (2, 1));
}
