//! Real clients' requests, unaltered, and into a limit: what they were told, what the proxy booked and what the provider billed
//! are the same. The programs are in `clients/`; `scripts/lib/clients` installs what they import. What is ignored here is run
//! by `scripts/long/clients`.

mod reckon;

use reckon::booked;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use tokenist_core::money::NanoUsd;
use tokenist_core::usage::Usage;
use tokenist_kit::clients::{Stage, hear};
use tokenist_kit::{PATIENCE, eventually};

const KEY: &str = "sk-the-callers-own-key";
const USER: &str = "alice";
/// What the programs ask of these models states no usage that its author could be told.
const UNTOLD: [&str; 3] = ["gpt-5-nano", "tts-1", "whisper-1"];

#[derive(Clone, Copy)]
struct Program {
    file: &'static str,
    environment: &'static str,
    dialect: &'static str,
    tls: bool,
    /// What stands behind the proxy's address.
    base_path: &'static str,
    /// A variable that tells it what to do, if it can do several things.
    variable: (&'static str, &'static str),
    /// How the provider behaves.
    sim: &'static str,
    requests: u64,
    /// Streams that it can ask for, by name, and what it raises in the middle of each: the class, a code, a status.
    within: &'static [(&'static str, &'static str, Option<&'static str>, Option<u64>)],
    /// What it raises where a limit is reached before.
    before: (&'static str, Option<&'static str>, Option<u64>),
}

const PYTHON: Program = Program {
    file: "openai_http.py",
    environment: "venv",
    dialect: "openai",
    tls: false,
    base_path: "/v1",
    variable: ("", ""),
    sim: "",
    requests: 30,
    within: &[
        ("chat_stream", "APIError", Some("token_limit_reached"), None),
        ("response_stream", "APIError", Some("token_limit_reached"), None),
    ],
    before: ("RateLimitError", Some("token_limit_reached"), Some(429)),
};
const NODE: Program = Program { file: "openai_http.mjs", requests: 23, ..PYTHON };
/// As people write it who do not know that a version belongs there.
const BARE: Program = Program { tls: true, base_path: "", within: &[], ..NODE };
const ANTHROPIC: Program = Program {
    file: "anthropic_http.py",
    environment: "http",
    dialect: "anthropic",
    base_path: "",
    sim: "cached_text=8,cache_write_in=5,cache_write_long_in=7",
    requests: 9,
    within: &[
        ("stream", "APIStatusError", Some("rate_limit_error"), Some(200)),
        ("helper", "APIStatusError", Some("rate_limit_error"), Some(200)),
    ],
    before: ("RateLimitError", Some("rate_limit_error"), Some(429)),
    ..PYTHON
};
const ANTHROPIC_NODE: Program = Program {
    file: "anthropic_http.mjs",
    requests: 8,
    within: &[
        ("stream", "APIError", Some("rate_limit_error"), None),
        ("helper", "APIError", Some("rate_limit_error"), None),
    ],
    ..ANTHROPIC
};
const GEMINI: Program = Program {
    file: "gemini_http.py",
    environment: "google",
    dialect: "gemini",
    base_path: "",
    sim: "cached_text=8",
    requests: 8,
    within: &[("stream", "ClientError", Some("RESOURCE_EXHAUSTED"), Some(429))],
    before: ("ClientError", Some("RESOURCE_EXHAUSTED"), Some(429)),
    ..PYTHON
};
const GEMINI_NODE: Program = Program {
    file: "gemini_http.mjs",
    requests: 7,
    within: &[("stream", "ApiError", None, Some(429))],
    before: ("ApiError", None, Some(429)),
    ..GEMINI
};
const PROGRAMS: [Program; 7] = [PYTHON, NODE, BARE, ANTHROPIC, ANTHROPIC_NODE, GEMINI, GEMINI_NODE];

/// The AI SDK asks for Responses of OpenAI's unless it is told to chat. A refusal it asks for twice more, whatever that says.
const AI: Program = Program {
    file: "ai_http.mjs",
    variable: ("PROVIDER", "openai"),
    sim: "cached_text=8",
    requests: 3,
    within: &[("stream", "StreamProviderError", Some("token_limit_reached"), Some(429))],
    before: ("RetryError", None, None),
    ..PYTHON
};
const AI_CHAT: Program = Program { variable: ("PROVIDER", "chat"), requests: 2, ..AI };
const AI_GOOGLE: Program = Program {
    variable: ("PROVIDER", "google"),
    dialect: "gemini",
    base_path: "/v1beta",
    within: &[("stream", "StreamProviderError", Some("429"), Some(429))],
    ..AI_CHAT
};
const AI_ANTHROPIC: Program =
    Program { variable: ("PROVIDER", "anthropic"), dialect: "anthropic", sim: ANTHROPIC.sim, ..AI_CHAT };

const LITELLM: Program = Program {
    file: "litellm_http.py",
    environment: "http",
    variable: ("MODEL", "openai/gpt-5-mini"),
    sim: "cached_text=8",
    requests: 8,
    within: &[("stream", "MidStreamFallbackError", None, Some(500))],
    before: ("RateLimitError", Some("429"), Some(429)),
    ..PYTHON
};
const LITELLM_ANTHROPIC: Program = Program {
    variable: ("MODEL", "anthropic/claude-sonnet-4-6"),
    dialect: "anthropic",
    sim: ANTHROPIC.sim,
    base_path: "",
    ..LITELLM
};
const LITELLM_GEMINI: Program = Program {
    variable: ("MODEL", "gemini/gemini-3.8-flash"),
    dialect: "gemini",
    base_path: "",
    within: &[("stream", "MidStreamFallbackError", None, Some(429))],
    // Google is asked when the first piece is wanted.
    before: ("MidStreamFallbackError", None, Some(429)),
    ..LITELLM
};
const MORE: [Program; 7] = [AI, AI_CHAT, AI_GOOGLE, AI_ANTHROPIC, LITELLM, LITELLM_ANTHROPIC, LITELLM_GEMINI];

fn stage(program: Program, sim: &str, settings: &[(&str, &str)]) -> Stage {
    let ours = [("provider.dialect", program.dialect), ("proxy.shard_count", "2")];
    Stage::new(&["--seed", "7", "--key", KEY, "--sim", sim], &[&ours[..], settings].concat())
}

/// Runs a client that asks for all that it knows, or for one thing by its name.
fn run(stage: &Stage, program: Program, ask: Option<&str>) -> Value {
    let mut client = stage.client(program.file, program.environment);
    client.args([&format!("{}{}", stage.origin(program.tls), program.base_path), USER]);
    for variable in ["OPENAI_API_KEY", "GOOGLE_API_KEY", "ANTHROPIC_API_KEY", "PROVIDER_KEY"] {
        client.env(variable, KEY);
    }
    let (variable, value) = program.variable;
    client.env_remove("ASK").envs(ask.map(|ask| ("ASK", ask)));
    client.envs([(variable, value)].into_iter().filter(|_| !variable.is_empty()));
    hear(client)
}

/// What the provider bills, by model, whether or not it could state it.
fn billed(stage: &Stage) -> BTreeMap<String, Usage> {
    let audit = stage.provider.audit();
    let models = audit["by_key"]["-"].as_object().cloned().unwrap_or_default();
    let usage = |tally: &Value| serde_json::from_value(tally["billed"].clone()).expect("a whole usage");
    models.into_iter().map(|(model, tally)| (model, usage(&tally))).collect()
}

/// What was booked and what is billed agree, and nothing of it is an estimate. Tells what was booked, by model.
#[track_caller]
fn agree(stage: &Stage, named: &str) -> BTreeMap<String, Usage> {
    let ours = || booked(&stage.proxy, USER).into_iter();
    let look = || {
        let booked: BTreeMap<String, Usage> = ours().map(|(model, bill)| (model, bill.usage)).collect();
        (booked, billed(stage))
    };
    let (booked, billed) = eventually(PATIENCE, look, |(booked, billed)| booked == billed);
    assert_eq!(booked, billed, "{named}: the proxy (left) and the provider (right) do not agree");
    assert!(ours().all(|(_, bill)| bill.estimated == NanoUsd::ZERO), "{named}");
    booked
}

/// Nothing of ours went up, and the caller's key once with each request.
#[track_caller]
fn clean(stage: &Stage, requests: u64) {
    let audit = stage.provider.audit();
    let text = audit["handshakes"].to_string();
    assert_eq!((&audit["handshake_count"], text.matches(KEY).count() as u64), (&json!(requests), requests));
    assert!(!text.contains("x-user-id"), "{text}");
}

fn counted_as_told(programs: &[Program]) {
    for &program in programs {
        let stage = stage(program, program.sim, &[]);
        let heard = run(&stage, program, None);
        let named = format!("{} {} {}: {heard}", program.file, program.variable.1, program.base_path);
        assert_eq!(
            (&heard["raised"], &heard["requests"]),
            (&Value::Null, &json!(program.requests)),
            "{named}"
        );
        let booked = agree(&stage, &named);
        let told = booked.iter().filter(|(model, _)| !UNTOLD.contains(&model.as_str()));
        let [input, output] = told.fold([0, 0], |[input, output], (_, usage)| {
            [input + usage.input_tokens(), output + usage.output_tokens()]
        });
        assert_eq!(json!([input, output]), json!([heard["input_tokens"], heard["output_tokens"]]), "{named}");
        clean(&stage, program.requests);
    }
}

/// In the middle of a stream first, then before it. Whoever is over the limit reaches no provider.
fn told_of_a_limit(programs: &[Program]) {
    for &program in programs {
        for &(ask, class, code, status) in program.within {
            let stage = stage(program, "chunks=90", &[("limits.max_total_tokens", "200")]);
            for is_within in [true, false] {
                let stopped = run(&stage, program, Some(ask));
                let named = format!("{} {} {ask}: {stopped}", program.file, program.variable.1);
                let raised = &stopped["raised"];
                let (class, code, status) = if is_within { (class, code, status) } else { program.before };
                assert_eq!(
                    json!([raised["class"], raised["code"], raised["status"]]),
                    json!([class, code, status]),
                    "{named}"
                );
                let text = raised["text"].as_str().expect("a text");
                assert!(text.contains("Token limit reached: "), "{named}");
                assert_eq!(stopped["requests"], 0, "{named}");
                assert_eq!(stopped["pieces"].as_u64().is_some_and(|pieces| pieces > 0), is_within, "{named}");
            }
            assert_eq!(stage.provider.audit()["handshake_count"], 1, "{} {ask}", program.file);
        }
    }
}

#[test]
fn every_request_is_booked_as_it_was_told_and_as_the_provider_bills_it() {
    counted_as_told(&PROGRAMS);
}

#[test]
fn every_author_sees_a_limit_in_the_middle_of_a_stream_and_before() {
    told_of_a_limit(&PROGRAMS);
}

#[test]
#[ignore = "scripts/long/clients runs it"]
fn requests_of_frameworks_are_booked_as_they_were_told_and_as_the_provider_bills_them() {
    counted_as_told(&MORE);
}

#[test]
#[ignore = "scripts/long/clients runs it"]
fn authors_with_frameworks_see_a_limit_in_the_middle_of_a_stream_and_before() {
    told_of_a_limit(&MORE);
}

#[test]
#[ignore = "scripts/long/clients runs it"]
fn curl_is_answered_and_told_of_a_limit() {
    let stage = stage(PYTHON, "chunks=90", &[("limits.max_total_tokens", "500")]);
    let curl = |stream: bool| {
        let body =
            json!({"model": "gpt-5-mini", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--no-buffer", "--write-out", "%{http_code}", "--json", &body.to_string()]);
        curl.args(["--header", &format!("Authorization: Bearer {KEY}"), "--header", "x-user-id: alice"]);
        let output = curl.arg(format!("{}/v1/chat/completions", stage.origin(false))).output();
        String::from_utf8(output.expect("curl is installed").stdout).expect("text")
    };
    let (answer, streamed, refused) = (curl(false), curl(true), curl(true));
    assert!(answer.contains("\"usage\":{") && answer.ends_with("}200"), "{answer}");
    let end = streamed.rsplit("data: ").next().unwrap_or_default();
    assert!(end.contains("token_limit_reached") && end.ends_with("}\n\n200"), "{streamed}");
    assert!(refused.contains("token_limit_reached") && refused.ends_with("}429"), "{refused}");
    assert_eq!(stage.provider.audit()["handshake_count"], 2);
}
