//! What several requests can see of one response: it is booked once, for whoever hears first that it is over.

mod raw;
mod reckon;

use raw::http::*;
use raw::*;
use reckon::{Bill, booked};
use serde_json::{Value, json};
use tokenist_core::usage::Usage;
use tokenist_kit::{PATIENCE, Signal, Tokenist, eventually};

const MODEL: &str = "gpt-5-mini";

fn response(id: &str, status: &str) -> String {
    let usage = json!({"input_tokens": 500, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 540});
    let usage = if status == "completed" { usage } else { Value::Null };
    json!({"id": id, "object": "response", "model": MODEL, "background": true, "status": status, "usage": usage,
        "output": []})
    .to_string()
}

/// A request of this user on a connection of its own, which the provider answers with this.
fn exchange(proxy: &Tokenist, provider: &Upstream, user: &str, line: &str, body: &str, answer: &str) {
    let mut app = Wire::connect(proxy.listen);
    let length = format!("Content-Length: {}", body.len());
    let headers = ["Authorization: Bearer sk-test", &format!("x-user-id: {user}"), &length];
    app.send(request(line, &headers) + body);
    let mut server = provider.accept();
    message(&mut server);
    let answered = answer_of("application/json", None, answer.as_bytes());
    server.send(String::from_utf8(answered).unwrap().replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    assert_eq!(message(&mut app).body, answer.as_bytes());
}

fn background(proxy: &Tokenist, provider: &Upstream, user: &str, id: &str) {
    let body = json!({"model": MODEL, "input": "hi", "background": true}).to_string();
    exchange(proxy, provider, user, "POST /v1/responses", &body, &response(id, "queued"));
}

fn retrieved(proxy: &Tokenist, provider: &Upstream, user: &str, id: &str, status: &str) {
    exchange(proxy, provider, user, &format!("GET /v1/responses/{id}"), "", &response(id, status));
}

fn responses(proxy: &Tokenist, user: &str) -> u64 {
    booked(proxy, user).get(MODEL).map_or(0, |bill| bill.usage.requests)
}

#[track_caller]
fn settled(proxy: &Tokenist, alice: u64, bob: u64) {
    let found = || (responses(proxy, "alice"), responses(proxy, "bob"));
    assert_eq!(eventually(PATIENCE, found, |found| *found == (alice, bob)), (alice, bob));
}

#[test]
fn a_response_is_booked_once_by_whoever_hears_first_that_it_is_over_on_any_shard() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.shard_count", "2"), ("limits.max_cost_usd", "-1")]);
    background(&proxy, &provider, "alice", "resp_1");
    for _ in 0..4 {
        retrieved(&proxy, &provider, "alice", "resp_1", "in_progress");
    }
    settled(&proxy, 0, 0);
    // The kernel spreads connections over the shards: of sixteen each shard has some.
    for turn in 0..16 {
        retrieved(&proxy, &provider, ["bob", "alice"][turn % 2], "resp_1", "completed");
    }
    settled(&proxy, 0, 1);
    let usage = Usage { text_in: 500, text_out: 40, requests: 1, ..Usage::default() };
    assert_eq!(booked(&proxy, "bob")[MODEL], Bill::stated(MODEL, usage));
    // Another one is another one.
    for id in ["resp_2", "resp_3"] {
        background(&proxy, &provider, "alice", id);
        retrieved(&proxy, &provider, "alice", id, "completed");
        retrieved(&proxy, &provider, "alice", id, "completed");
    }
    settled(&proxy, 2, 1);
}

#[test]
fn a_restart_forgets_neither_what_was_booked_nor_of_which_response() {
    let provider = Upstream::start();
    let folder = tokenist_kit::Scratch::new();
    let path = folder.path().to_str().unwrap().to_owned();
    let settings = [("store.path", path.as_str()), ("limits.max_cost_usd", "-1")];
    let mut proxy = start(&provider.origin(), &settings);
    background(&proxy, &provider, "alice", "resp_1");
    background(&proxy, &provider, "alice", "resp_2");
    retrieved(&proxy, &provider, "alice", "resp_1", "completed");
    retrieved(&proxy, &provider, "bob", "resp_1", "completed");
    settled(&proxy, 1, 0);
    for ends_in_peace in [true, false] {
        if ends_in_peace {
            proxy.signal(Signal::Terminate);
            assert!(proxy.wait(PATIENCE).is_some_and(|status| status.success()));
        } else {
            proxy.kill();
        }
        proxy = start(&provider.origin(), &settings);
        retrieved(&proxy, &provider, "bob", "resp_1", "completed");
        retrieved(&proxy, &provider, "alice", "resp_1", "completed");
        retrieved(&proxy, &provider, "alice", "resp_2", "completed");
        let all = |user: &str| proxy.get(&format!("/admin/users/{user}/usage"))["usage"]["requests"].clone();
        let found = || (all("alice"), all("bob"));
        let wanted = (json!(2), json!(0));
        assert_eq!(eventually(PATIENCE, found, |found| *found == wanted), wanted);
    }
}

#[test]
fn a_response_that_nobody_asks_for_is_booked_by_estimate_until_it_is_stated() {
    let provider = Upstream::start();
    let folder = tokenist_kit::Scratch::new();
    let path = folder.path().to_str().unwrap().to_owned();
    let settings =
        [("store.path", path.as_str()), ("limits.max_cost_usd", "-1"), ("http.background_seconds", "1")];
    let mut proxy = start(&provider.origin(), &settings);
    let text = "word ".repeat(160);
    let body = json!({"model": MODEL, "input": text, "background": true}).to_string();
    exchange(&proxy, &provider, "alice", "POST /v1/responses", &body, &response("resp_1", "queued"));
    // A stream that is left goes on at the provider, and has said something.
    let streamed = json!({"model": MODEL, "input": "", "background": true, "stream": true}).to_string();
    let mut app = Wire::connect(proxy.listen);
    app.send(ask_json("POST /v1/responses", &[], &streamed));
    let mut server = provider.accept();
    message(&mut server);
    server.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for event in [
        json!({"type": "response.created", "response": {"id": "resp_2", "model": MODEL, "background": true, "status": "queued"}}),
        json!({"type": "response.output_text.delta", "delta": "x".repeat(400)}),
    ] {
        server.send(chunk(&format!("data: {event}\n\n")));
    }
    app.head();
    chunk_size(&mut app);
    drop((app, server));
    let estimated = Usage { text_in: 200, text_out: 100, requests: 2, ..Usage::default() };
    let bill = || booked(&proxy, "alice").get(MODEL).copied().unwrap_or_default();
    let found = eventually(PATIENCE, bill, |bill| bill.usage == estimated);
    assert_eq!((found.usage, found.estimated), (estimated, found.cost));
    // What is stated replaces it, once, also behind a restart.
    retrieved(&proxy, &provider, "alice", "resp_1", "completed");
    proxy.kill();
    let mut proxy = start(&provider.origin(), &settings);
    for id in ["resp_1", "resp_2", "resp_1", "resp_2"] {
        retrieved(&proxy, &provider, "alice", id, "completed");
    }
    let all = || {
        let usage = proxy.get("/admin/users/alice/usage")["usage"].clone();
        ["requests", "inputTokens", "outputTokens"].map(|name| usage[name].as_u64().unwrap_or(0))
    };
    assert_eq!(eventually(PATIENCE, all, |all| *all == [2, 1_000, 140]), [2, 1_000, 140]);
    proxy.signal(Signal::Terminate);
    assert!(proxy.wait(PATIENCE).is_some_and(|status| status.success()));
}

#[test]
fn a_response_that_came_to_nothing_costs_nothing_also_later() {
    let provider = Upstream::start();
    let settings = [("limits.max_cost_usd", "-1"), ("http.background_seconds", "1")];
    let proxy = start(&provider.origin(), &settings);
    background(&proxy, &provider, "alice", "resp_1");
    retrieved(&proxy, &provider, "alice", "resp_1", "cancelled");
    background(&proxy, &provider, "alice", "resp_2");
    // The second is booked by estimate, and the first, which is older, is not.
    settled(&proxy, 1, 0);
    retrieved(&proxy, &provider, "alice", "resp_1", "cancelled");
    settled(&proxy, 1, 0);
}

/// Asks for the stream of a response that runs in the background, reads so many bytes of text of it, and leaves.
fn stream_and_leave(proxy: &Tokenist, provider: &Upstream, user: &str, id: &str, bytes: usize) {
    let mut app = Wire::connect(proxy.listen);
    let who = format!("x-user-id: {user}");
    app.send(request(
        &format!("GET /v1/responses/{id}?stream=true"),
        &["Authorization: Bearer sk-test", &who],
    ));
    let mut server = provider.accept();
    message(&mut server);
    server.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    let events = [
        json!({"type": "response.created", "response": {"id": id, "model": MODEL, "background": true, "status": "in_progress"}}),
        json!({"type": "response.output_text.delta", "delta": "x".repeat(bytes)}),
    ]
    .map(|event| format!("data: {event}\n\n"));
    events.iter().for_each(|event| server.send(chunk(event)));
    app.head();
    let (mut heard, said) = (0, events.iter().map(String::len).sum());
    while heard < said {
        let size = chunk_size(&mut app);
        app.read(size + 2);
        heard += size;
    }
}

#[test]
fn what_was_read_of_a_response_in_the_background_is_booked_by_estimate_though_nobody_hears_its_end() {
    let provider = Upstream::start();
    let settings = [("limits.max_cost_usd", "-1"), ("http.background_seconds", "2")];
    let proxy = start(&provider.origin(), &settings);
    let body = json!({"model": MODEL, "input": "word ".repeat(160), "background": true}).to_string();
    exchange(&proxy, &provider, "alice", "POST /v1/responses", &body, &response("resp_1", "queued"));
    stream_and_leave(&proxy, &provider, "alice", "resp_1", 400);
    // Who has asked for it is charged, whoever reads it.
    stream_and_leave(&proxy, &provider, "bob", "resp_1", 800);
    stream_and_leave(&proxy, &provider, "alice", "resp_1", 40);
    let bill = |user: &str| booked(&proxy, user).get(MODEL).copied().unwrap_or_default();
    let estimated = Usage { text_in: 200, text_out: 200, requests: 1, ..Usage::default() };
    let found = eventually(PATIENCE, || bill("alice"), |bill| bill.usage == estimated);
    assert_eq!((found.usage, found.estimated), (estimated, found.cost));
    assert_eq!(bill("bob"), Bill::default());
    // Also what it says behind that.
    stream_and_leave(&proxy, &provider, "alice", "resp_1", 1_200);
    let estimated = Usage { text_out: 300, ..estimated };
    let found = eventually(PATIENCE, || bill("alice"), |bill| bill.usage == estimated);
    assert_eq!((found.usage, found.cost), (estimated, found.estimated));
    // A refusal says nothing of what was asked for.
    exchange(&proxy, &provider, "dave", "POST /v1/responses", &body, &response("resp_3", "queued"));
    let mut app = Wire::connect(proxy.listen);
    app.send(request("GET /v1/responses/resp_3", &["Authorization: Bearer sk-test", "x-user-id: dave"]));
    let mut server = provider.accept();
    message(&mut server);
    let refusal = r#"{"id":"resp_3","error":{"message":"later"}}"#;
    server.send(format!(
        "HTTP/1.1 429 Later\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{refusal}",
        refusal.len()
    ));
    assert_eq!(message(&mut app).status, 429);
    let estimated = Usage { text_in: 200, requests: 1, ..Usage::default() };
    assert_eq!(eventually(PATIENCE, || bill("dave"), |bill| bill.usage == estimated).usage, estimated);
    // One that is stopped when it has said enough costs what it has said, at once.
    exchange(&proxy, &provider, "carol", "POST /v1/responses", &body, &response("resp_2", "queued"));
    stream_and_leave(&proxy, &provider, "carol", "resp_2", 400);
    exchange(
        &proxy,
        &provider,
        "carol",
        "POST /v1/responses/resp_2/cancel",
        "",
        &response("resp_2", "cancelled"),
    );
    let estimated = Usage { text_in: 200, text_out: 100, requests: 1, ..Usage::default() };
    let found = eventually(PATIENCE, || bill("carol"), |bill| bill.usage == estimated);
    assert_eq!((found.usage, found.cost), (estimated, found.estimated));
}

const OPERATORS: &str = "sk-operator-0123456789";

/// A key that speaks for this user.
fn key_of(proxy: &Tokenist, user: &str) -> String {
    let made = proxy.post("/admin/users", &json!({"userId": user})).json();
    format!("Authorization: Bearer {}", made["apiKey"].as_str().unwrap())
}

#[test]
fn under_the_operators_key_a_user_reaches_what_was_made_for_that_user_alone() {
    let provider = Upstream::start();
    let key = [("provider.api_key_env", "OPERATORS_KEY"), ("OPERATORS_KEY", OPERATORS)];
    let proxy = start(&provider.origin(), &key);
    let (alice, bob) = (key_of(&proxy, "alice"), key_of(&proxy, "bob"));
    let ask = |credential: &str, line: &str, body: &str, answer: Option<&str>| {
        let mut app = Wire::connect(proxy.listen);
        let length = format!("Content-Length: {}", body.len());
        app.send(request(line, &[credential, &length]) + body);
        if let Some(answer) = answer {
            let mut server = provider.accept();
            message(&mut server);
            let answered = answer_of("application/json", None, answer.as_bytes());
            server.send(
                String::from_utf8(answered).unwrap().replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
            );
        }
        message(&mut app)
    };
    let chat = json!({"id": "chatcmpl-1", "model": MODEL, "choices": []}).to_string();
    let asks_chat = json!({"model": MODEL, "messages": [], "store": true}).to_string();
    let asks = |more: Value| {
        let mut asked = json!({"model": MODEL, "input": "hi"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked.to_string()
    };
    let at_once = response("resp_1", "completed").replace("\"background\":true", "\"background\":false");
    assert_eq!(ask(&alice, "POST /v1/responses", &asks(json!({})), Some(&at_once)).status, 200);
    let later = response("resp_2", "queued");
    assert_eq!(
        ask(&alice, "POST /v1/responses", &asks(json!({"background": true})), Some(&later)).status,
        200
    );
    assert_eq!(ask(&alice, "POST /v1/chat/completions", &asks_chat, Some(&chat)).status, 200);
    for line in [
        "GET /v1/responses/resp_1",
        "GET /v1/responses/resp_1/input_items",
        "POST /v1/responses/resp_2/cancel",
        "GET /v1/responses/resp_2?stream=true",
        "GET /v1/chat/completions/chatcmpl-1",
        "GET /v1/chat/completions/chatcmpl-1/messages",
        "POST /v1/chat/completions/chatcmpl-1",
        "DELETE /v1/chat/completions/chatcmpl-1",
        "DELETE /v1/responses/resp_2",
    ] {
        let refused = ask(&bob, line, "", None);
        let text = String::from_utf8(refused.body).unwrap();
        assert_eq!(refused.status, 404, "{line}: {text}");
        assert!(text.contains("not found") && text.contains("invalid_request_error"), "{text}");
        assert_eq!(ask(&alice, line, "", Some("{}")).status, 200, "{line}");
    }
    // Nor is it gone on from.
    let next = asks(json!({"previous_response_id": "resp_1"}));
    let refused = ask(&bob, "POST /v1/responses", &next, None);
    assert_eq!((refused.status, &*refused.code()), (400, "previous_response_not_found"));
    assert_eq!(ask(&alice, "POST /v1/responses", &next, Some(&at_once)).status, 200);
    // What nobody has asked for here is the provider's to answer for.
    assert_eq!(ask(&bob, "GET /v1/responses/resp_9", "", Some("{}")).status, 200);
    let listed = ask(&alice, "GET /v1/chat/completions?limit=100", "", None);
    assert_eq!((listed.status, listed.code().as_str()), (403, "list_not_allowed"));
    let own = ["Authorization: Bearer sk-own", "x-user-id: alice"].join("\r\n");
    assert_eq!(ask(&own, "GET /v1/chat/completions?limit=100", "", Some("{}")).status, 200);
}

#[test]
fn what_is_made_for_a_request_is_new_whatever_its_id() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("limits.max_cost_usd", "-1")]);
    let body = json!({"model": MODEL, "input": "hi"}).to_string();
    for user in ["alice", "bob", "alice"] {
        exchange(&proxy, &provider, user, "POST /v1/responses", &body, &response("resp_same", "completed"));
    }
    settled(&proxy, 2, 1);
}
