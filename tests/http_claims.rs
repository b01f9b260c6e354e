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

/// What was booked outlives the process. Who had claimed it does not: what is asked for again behind a restart is booked
/// again, as it is where a quarter of an hour lies between.
#[test]
fn a_restart_forgets_who_has_booked_a_response_and_nothing_else() {
    let provider = Upstream::start();
    let folder = tokenist_kit::Scratch::new();
    let path = folder.path().to_str().unwrap().to_owned();
    let settings = [("store.path", path.as_str()), ("limits.max_cost_usd", "-1")];
    let mut proxy = start(&provider.origin(), &settings);
    background(&proxy, &provider, "alice", "resp_1");
    retrieved(&proxy, &provider, "alice", "resp_1", "completed");
    retrieved(&proxy, &provider, "bob", "resp_1", "completed");
    settled(&proxy, 1, 0);
    proxy.signal(Signal::Terminate);
    assert!(proxy.wait(PATIENCE).is_some_and(|status| status.success()));
    let proxy = start(&provider.origin(), &settings);
    let all = |user: &str| proxy.get(&format!("/admin/users/{user}/usage"))["usage"]["requests"].clone();
    assert_eq!(all("alice"), 1);
    retrieved(&proxy, &provider, "bob", "resp_1", "completed");
    retrieved(&proxy, &provider, "alice", "resp_1", "completed");
    // Since the start.
    settled(&proxy, 0, 1);
    assert_eq!((all("alice"), all("bob")), (json!(1), json!(1)));
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
