//! Node's SDKs beside those of OpenAI Realtime and Gemini (`clients.rs`, `gemini_clients.rs`), unaltered, through whole turns and
//! into a limit: what they were told, what the proxy booked and what the provider delivered are the same. The programs are in
//! `clients/`; `scripts/lib/clients` installs what they import.

mod reckon;

use reckon::{Bill, agree};
use serde_json::{Value, json};
use tokenist_kit::clients::{Stage, hear};

const KEY: &str = "the-callers-own-key";

#[derive(Clone, Copy)]
struct Program {
    file: &'static str,
    /// What the proxy speaks.
    dialect: &'static str,
    model: &'static str,
    /// What its address has behind the host.
    base: &'static str,
    /// It speaks TLS whatever the address says.
    tls: bool,
    /// Of a whole conversation.
    responses: u64,
    /// Of a user, in dollars, that is reached in the middle of it.
    limit: &'static str,
    /// Path and query, as the provider sees them.
    target: [&'static str; 2],
    /// In which the key goes up.
    header: [&'static str; 2],
}

const BEARER: [&str; 2] = ["authorization", "Bearer the-callers-own-key"];

const RESPONSES: Program = Program {
    file: "openai_responses.mjs",
    dialect: "openai",
    model: "gpt-6.1-sol",
    base: "/v1",
    tls: false,
    responses: 5,
    limit: "0.001",
    target: ["/v1/responses", ""],
    header: BEARER,
};
const LIVE: Program = Program {
    file: "openai_live.mjs",
    model: "gpt-live-1.1",
    responses: 4,
    target: ["/v1/live/sessions", ""],
    ..RESPONSES
};
/// Of OpenAI Realtime's clients one at xAI, and one at Azure.
const XAI: Program = Program {
    file: "openai_ws.mjs",
    dialect: "xai",
    model: "grok-voice-latest",
    tls: true,
    responses: 4,
    limit: "0.003",
    target: ["/v1/realtime", "model=grok-voice-latest"],
    ..RESPONSES
};
const AZURE: Program = Program {
    file: "openai_azure.mjs",
    dialect: "azure",
    model: "gpt-realtime",
    base: "",
    limit: "0.006",
    target: ["/openai/v1/realtime", "model=gpt-realtime"],
    header: ["api-key", KEY],
    ..XAI
};
const PROGRAMS: [Program; 4] = [RESPONSES, LIVE, XAI, AZURE];

fn stage(dialect: &str, settings: &[(&str, &str)]) -> Stage {
    let ours =
        [("provider.dialect", dialect), ("provider.api_key_env", "OPERATORS_KEY"), ("OPERATORS_KEY", KEY)];
    Stage::new(&["--seed", "7", "--key", KEY], &[&ours[..], settings].concat())
}

/// Runs a client to its end and gives what it says it heard.
fn run(stage: &Stage, program: Program) -> Value {
    let mut client = stage.client(program.file, "venv");
    client.args([&format!("{}{}", stage.origin(program.tls), program.base), "alice"]);
    client.env("MODEL", program.model).env("OPENAI_API_KEY", KEY).env("AZURE_OPENAI_API_KEY", KEY);
    hear(client)
}

#[test]
fn every_client_is_counted_as_it_was_told_and_as_the_provider_delivered() {
    for program in PROGRAMS {
        let (model, stage) = (program.model, stage(program.dialect, &[]));
        let heard = run(&stage, program);
        let told = json!([heard["error"], heard["close_code"], heard["responses"]]);
        assert_eq!(told, json!([null, null, program.responses]), "{model}: {heard}");
        let mut booked = Bill::default();
        agree(&stage.proxy, "alice", &stage.provider, "-").into_values().for_each(|bill| booked += bill);
        let ours = json!([booked.usage.input_tokens(), booked.usage.output_tokens()]);
        assert_eq!(ours, json!([heard["input_tokens"], heard["output_tokens"]]), "{model}: {heard}");
        if let Some(seconds) = heard["seconds"].as_f64() {
            assert_eq!(booked.usage.duration_ms as f64, seconds * 1_000.0, "{model}: {heard}");
        }
        assert_eq!(stage.provider.audit()["totals"]["undelivered"], 0, "{model}");
        clean(&stage.provider.audit()["handshakes"], program);
    }
}

/// The caller's key went up in the provider's own header, and nothing of ours did.
fn clean(handshakes: &Value, program: Program) {
    let (handshake, text) = (&handshakes[0], handshakes.to_string());
    let query = handshake["query"].as_str().unwrap_or_default();
    assert_eq!(json!([handshake["path"], query]), json!(program.target));
    assert!(
        handshake["headers"].as_array().is_some_and(|all| all.contains(&json!(program.header))),
        "{text}"
    );
    assert_eq!(text.matches(KEY).count(), 1, "{text}");
    assert!(!text.contains("x-user-id"), "{text}");
}

#[test]
fn what_is_steered_ends_and_is_followed_and_lanes_keep_apart() {
    let heard = run(&stage(RESPONSES.dialect, &[]), RESPONSES);
    let lanes = json!({"-": ["completed", "steered", "completed"], "a": ["completed"], "b": ["completed"]});
    assert_eq!(heard["lanes"], lanes, "{heard}");
}

#[test]
fn every_author_sees_why_a_session_was_ended_in_its_middle_and_may_not_begin_again() {
    for program in PROGRAMS {
        let (model, stage) =
            (program.model, stage(program.dialect, &[("limits.max_cost_usd", program.limit)]));
        for may_begin in [true, false] {
            let stopped = run(&stage, program);
            let responses = stopped["responses"].as_u64().expect("a count");
            assert_eq!((1..program.responses).contains(&responses), may_begin, "{model}: {stopped}");
            assert_told(&stopped, "insufficient_quota", "cost_limit_reached", 4004);
        }
        let handshakes = stage.provider.audit()["handshake_count"].clone();
        assert_eq!(handshakes, 1, "{model}: who is over the limit reaches no provider");
    }
}

/// The error that the SDK raises, which holds that of the event, and the close behind it with the same words.
fn assert_told(stopped: &Value, kind: &str, code: &str, close_code: u16) {
    let error = &stopped["raised"];
    let told = json!([error["type"], error["code"], stopped["close_code"]]);
    assert_eq!(told, json!([kind, code, close_code]), "{stopped}");
    let raised = error["text"].as_str().unwrap_or_default();
    let [message, reason] =
        [&error["message"], &stopped["close_reason"]].map(|text| text.as_str().expect("a text"));
    assert!(!message.is_empty() && raised.contains(message) && reason == message, "{stopped}");
}

#[test]
fn a_model_that_is_not_allowed_reaches_no_provider() {
    for program in [RESPONSES, LIVE] {
        let (model, stage) = (program.model, stage(program.dialect, &[("limits.models", "gpt-6-luna")]));
        let refused = run(&stage, program);
        assert_told(&refused, "account_deactivated", "model_not_allowed", 4003);
        assert_eq!(refused["raised"]["allowed_models"], json!(["gpt-6-luna"]), "{model}: {refused}");
        assert_eq!(stage.provider.audit()["handshake_count"], 0, "{model}");
    }
}

#[test]
fn an_agent_that_is_written_to_is_counted_by_the_clock_and_stopped_at_a_limit() {
    // Its key goes before the path, or as a subprotocol.
    for offered in [false, true] {
        let stage = stage("elevenlabs", &[]);
        let key = stage.key_of("alice");
        let agent = |slowly: bool| {
            let mut client = stage.client("elevenlabs_client.mjs", "venv");
            match offered {
                true => client.arg(stage.origin(false)).env("AUTHORIZATION", &key),
                false => client.arg(format!("{}/k/{key}", stage.origin(false))),
            };
            if slowly {
                client.envs([("PIECES", "12"), ("PAUSE_SECONDS", "0.25")]);
            }
            hear(client)
        };
        let heard = agent(false);
        assert_eq!(heard, json!({"answers": 4, "stated_ms": null, "error": null}));
        let counted = stage.counted("alice", 1)[0]["durationMs"].as_u64().expect("milliseconds");
        let audit = stage.provider.audit();
        let billed = audit["totals"]["billed"]["duration_ms"].as_u64().expect("milliseconds");
        assert!(counted > 0 && counted.abs_diff(billed) < 1_000, "{counted} of {billed}");
        let text = audit["handshakes"].to_string();
        assert!(text.matches(KEY).count() == 1 && !text.contains("ug_"), "{text}");

        // A second of the connection more.
        let limit = json!({"maxCostUsd": (counted as f64 / 1_000.0 + 1.0) * 0.08 / 60.0});
        assert_eq!(stage.proxy.post("/admin/users/alice/threshold", &limit).status, 200);
        for kind in ["error", "SessionConnectionError"] {
            let error = agent(true)["error"].clone();
            let text = error["text"].as_str().unwrap_or_default();
            assert_eq!((&error["type"], &error["code"]), (&json!(kind), &json!(4004)), "{error}");
            assert!(text.starts_with("Cost limit reached: $"), "{error}");
        }
        assert_eq!(stage.provider.audit()["handshake_count"], 2, "who is over the limit reaches no provider");
    }
}

#[test]
fn a_key_that_is_shown_in_two_places_is_one_and_neither_goes_up() {
    let stage = stage("azure_voice_live", &[]);
    let talk = |user: &str| {
        let mut client = stage.client("voicelive.mjs", "venv");
        client.args([&stage.origin(true), &stage.key_of(user)]);
        hear(client)
    };
    let heard = talk("alice");
    assert_eq!(json!([heard["error"], heard["responses"]]), json!([null, 4]), "{heard}");
    let booked = agree(&stage.proxy, "alice", &stage.provider, "-");
    let tokens: u64 = booked.values().map(|bill| bill.usage.total_tokens()).sum();
    assert_eq!(tokens, heard["input_tokens"].as_u64().unwrap() + heard["output_tokens"].as_u64().unwrap());
    let text = stage.provider.audit()["handshakes"].to_string();
    assert!(text.matches(KEY).count() == 1 && !text.contains("ug_"), "{text}");

    let limit = json!({"maxTotalTokens": 300});
    assert_eq!(stage.proxy.post("/admin/users/bob/threshold", &limit).status, 200);
    let stopped = talk("bob");
    // Of any close it tells that the connection was lost.
    let told = json!([stopped["error"], stopped["close_code"]]);
    assert_eq!(told, json!(["token_limit_reached", 1006]), "{stopped}");
    assert!(stopped["responses"].as_u64().is_some_and(|count| (1..4).contains(&count)), "{stopped}");
}
