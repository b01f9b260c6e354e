//! Requests to the simulated provider: what is free passes and costs nothing, what it bills is booked, and its events are in the
//! order that SDKs wait for.

mod reckon;

use reckon::{audited, booked};
use serde_json::{Value, json};
use tokenist_kit::{Answer, PATIENCE, Provider, Tokenist, eventually, request};

const KEYS: [(&str, &str); 3] =
    [("Authorization", "Bearer sk-own"), ("x-api-key", "sk-own"), ("x-goog-api-key", "sk-own")];

/// With the key where the dialect has it.
fn ask(proxy: &Tokenist, dialect: &str, method: &str, path: &str, body: &Value) -> Answer {
    let key = match dialect {
        "anthropic" => KEYS[1],
        "gemini" => KEYS[2],
        _ => KEYS[0],
    };
    let version = ("anthropic-version", "2026-10-21");
    let mut headers = vec![("x-user-id", "alice"), ("Content-Type", "application/json"), key];
    headers.extend((dialect == "anthropic").then_some(version));
    let body = if method == "GET" { String::new() } else { body.to_string() };
    let answer = request(proxy.listen, method, path, &headers, &body);
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
    answer
}

fn proxy(provider: &Provider, dialect: &str) -> Tokenist {
    Tokenist::start(&provider.origin(), &[("provider.dialect", dialect)])
}

#[test]
fn lists_of_models_and_counts_of_tokens_pass_and_cost_nothing() {
    let provider = Provider::start(&[]);
    for (dialect, asked) in [
        (
            "openai",
            [
                ("GET", "/v1/models", "/data/0/id"),
                ("GET", "/v1/models/gpt-4o", "/owned_by"),
                ("POST", "/v1/responses/input_tokens", "/input_tokens"),
            ],
        ),
        (
            "anthropic",
            [
                ("GET", "/v1/models", "/data/0/display_name"),
                ("GET", "/v1/models/claude-opus-5-5", "/created_at"),
                ("POST", "/v1/messages/count_tokens", "/input_tokens"),
            ],
        ),
        (
            "gemini",
            [
                ("GET", "/v1beta/models", "/models/0/name"),
                ("GET", "/v1/models/gemini-2.5-flash", "/supportedGenerationMethods"),
                ("POST", "/v1/models/gemini-2.5-flash:countTokens", "/totalTokens"),
            ],
        ),
    ] {
        let proxy = proxy(&provider, dialect);
        for (method, path, place) in asked {
            let told =
                ask(&proxy, dialect, method, path, &json!({"model": "m", "input": "some words"})).json();
            assert!(told.pointer(place).is_some(), "{dialect} {path}: {told}");
        }
        assert_eq!(booked(&proxy, "alice").len(), 0, "{dialect}");
    }
}

#[test]
fn googles_embeddings_are_booked_as_they_are_billed() {
    let provider = Provider::start(&[]);
    let proxy = proxy(&provider, "gemini");
    let one = json!({"content": {"parts": [{"text": "some words"}]}});
    let path = |method: &str| format!("/v1beta/models/gemini-embedding-001:{method}?audit=alice");
    let told = ask(&proxy, "gemini", "POST", &path("embedContent"), &one).json();
    assert!(told["embedding"]["values"].is_array(), "{told}");
    let told =
        ask(&proxy, "gemini", "POST", &path("batchEmbedContents"), &json!({"requests": [one, one]})).json();
    assert_eq!(told["embeddings"].as_array().map(Vec::len), Some(2), "{told}");
    let billed = audited(&provider, "alice");
    assert_eq!(billed["gemini-embedding-001"].usage.requests, 2);
    assert_eq!(eventually(PATIENCE, || booked(&proxy, "alice"), |found| *found == billed), billed);
}

#[test]
fn a_streamed_response_tells_its_items_and_parts_around_the_words() {
    let provider = Provider::start(&[]);
    let proxy = proxy(&provider, "openai");
    let body = json!({"model": "gpt-5-mini", "input": "hi", "stream": true, "metadata": {"sim": "chunks=2"}});
    let told = ask(&proxy, "openai", "POST", "/v1/responses?audit=alice", &body).body;
    let events: Vec<Value> = told
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, Vec::from_iter(0..10));
    let (item, response) = (&events[8]["item"], &events[9]["response"]);
    assert_eq!(response["output"], json!([item]), "what was told piece by piece is what there is");
    let billed = audited(&provider, "alice");
    assert_eq!(eventually(PATIENCE, || booked(&proxy, "alice"), |found| *found == billed), billed);
}
