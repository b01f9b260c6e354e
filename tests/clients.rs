//! Real clients, unaltered, through whole turns: what they were told, what the proxy counted and what the provider
//! delivered are the same numbers. The programs are in `clients/`; `scripts/lib/clients` installs what they import.

use serde_json::{Value, json};
use std::thread;
use tokenist_kit::clients::{KINDS, Stage, hear, sum};
use tokenist_kit::{PATIENCE, Signal, eventually};

const KEY: &str = "sk-the-callers-own-key";
/// Every turn in `clients/conversation.*` is one response; two of them are transcribed, too.
const RESPONSES: u64 = 4;

#[derive(Clone, Copy)]
struct Program {
    file: &'static str,
    /// Whose Python it runs on, if it is one's.
    environment: &'static str,
    /// The SDK speaks TLS whatever the URL says.
    tls: bool,
    /// It does not tell the code that a session was closed with.
    hides_close_code: bool,
}

const fn program(file: &'static str) -> Program {
    Program { file, environment: "venv", tls: false, hides_close_code: false }
}

const PROGRAMS: [Program; 9] = [
    program("openai_sync.py"),
    program("openai_async.py"),
    program("websockets_async.py"),
    program("agents_async.py"),
    program("ws.mjs"),
    program("agents_session.mjs"),
    Program { hides_close_code: true, ..program("agents_query.mjs") },
    Program { tls: true, ..program("openai_ws.mjs") },
    Program { tls: true, ..program("openai_native.mjs") },
];

/// It dials again whatever happens, unless it is told one of a few words.
const LIVEKIT: Program = Program { environment: "google", ..program("livekit_openai.py") };

fn stage(settings: &[(&str, &str)]) -> Stage {
    let ours = [("proxy.shard_count", "2"), ("identity.query", "true")];
    Stage::new(&["--seed", "7", "--key", KEY], &[&ours[..], settings].concat())
}

/// Runs a client to its end and gives what it says it heard.
fn run(stage: &Stage, program: Program, user: &str) -> Value {
    run_with(KEY, stage, program, user)
}

fn run_with(key: &str, stage: &Stage, program: Program, user: &str) -> Value {
    let mut client = stage.client(program.file, program.environment);
    client.args([&format!("{}/v1", stage.origin(program.tls)), user]);
    client.env("OPENAI_API_KEY", key).env("OPENAI_AGENTS_DISABLE_TRACING", "1");
    hear(client)
}

#[test]
fn every_client_is_counted_as_it_was_told_and_as_the_provider_delivered() {
    let stage = stage(&[]);
    let mut told = 0;
    for program in PROGRAMS {
        let user = program.file;
        let heard = run(&stage, program, user);
        assert_eq!((&heard["error"], &heard["close_code"]), (&Value::Null, &Value::Null), "{user}: {heard}");
        assert_eq!(heard["responses"], RESPONSES, "{user}");
        let counted = stage.counted(user, RESPONSES + 2);
        let (input, output) = (sum(&counted, "/usage/inputTokens"), sum(&counted, "/usage/outputTokens"));
        assert_eq!(json!([input, output]), json!([heard["input_tokens"], heard["output_tokens"]]), "{user}");
        told += input + output;
    }
    let audit = stage.provider.audit();
    assert_eq!(audit["totals"]["total_tokens"], told);
    assert_eq!(audit["totals"]["undelivered"], 0);
    let users: Vec<Vec<Value>> = PROGRAMS.map(|program| stage.counted(program.file, RESPONSES + 2)).into();
    for (model, delivered) in audit["by_key"]["-"].as_object().expect("the provider has delivered") {
        let of_model: Vec<Value> =
            users.iter().flatten().filter(|counted| counted["model"] == **model).cloned().collect();
        for (ours, theirs) in [("/requests", "requests")].into_iter().chain(KINDS) {
            assert_eq!(delivered[theirs], sum(&of_model, ours), "{model}: {theirs}");
        }
    }
    clean(&audit["handshakes"]);
}

/// As a page of ours would show it: by TLS, with the model's older name, of the `ws` package and of the runtime's own WebSocket.
#[test]
fn a_websocket_with_a_header_is_all_that_node_needs() {
    let stage = stage(&[]);
    for native in [false, true] {
        let user = format!("native-{native}");
        let mut client = stage.client("ws.mjs", "venv");
        client.args([&format!("{}/v1", stage.origin(true)), &user]).envs(native.then_some(("NATIVE", "1")));
        client.env("OPENAI_API_KEY", KEY).env("MODEL", "gpt-4o-realtime-preview");
        let heard = hear(client);
        assert_eq!((&heard["error"], &heard["responses"]), (&Value::Null, &json!(RESPONSES)), "{heard}");
        let counted = stage.counted(&user, RESPONSES + 2);
        assert!(counted.iter().any(|model| model["model"] == "gpt-4o-realtime-preview"), "{counted:?}");
        let told = json!([heard["input_tokens"], heard["output_tokens"]]);
        let counted = ["/usage/inputTokens", "/usage/outputTokens"].map(|name| sum(&counted, name));
        assert_eq!(json!(counted), told, "{heard}");
    }
}

/// Nothing of ours went to the provider, and the caller's key in one form only.
fn clean(handshakes: &Value) {
    let handshakes = handshakes.as_array().expect("the provider has seen handshakes");
    assert_eq!(handshakes.len(), PROGRAMS.len());
    for handshake in handshakes {
        assert_eq!(handshake["extensions"], Value::Null, "{handshake}");
        assert_eq!(handshake["path"], "/v1/realtime");
        assert_eq!(handshake["query"], "model=gpt-realtime");
        let headers = handshake["headers"].as_array().expect("headers are a list");
        let keys =
            headers.iter().filter(|header| header[1].as_str().is_some_and(|value| value.contains(KEY)));
        let keys: Vec<&Value> = keys.collect();
        assert_eq!(keys, [&json!(["authorization", format!("Bearer {KEY}")])], "{handshake}");
        for name in headers.iter().filter_map(|header| header[0].as_str()) {
            let ours = ["x-user-id", "x-org-id", "x-feature", "openai-beta", "api-key", "cookie"];
            assert!(!ours.contains(&name), "{name} went upstream: {handshake}");
        }
        let offered = handshake["protocols"].as_str().unwrap_or_default();
        assert!(!offered.contains("insecure"), "{handshake}");
    }
}

#[test]
fn every_client_learns_why_it_was_stopped_and_why_it_may_not_come_back() {
    let stage = stage(&[("limits.max_total_tokens", "300")]);
    for program in PROGRAMS {
        let user = program.file;
        let close_code = if program.hides_close_code { Value::Null } else { json!(4004) };
        let stopped = run(&stage, program, user);
        assert_eq!(stopped["error"], "token_limit_reached", "{user}: {stopped}");
        assert_eq!(stopped["close_code"], close_code, "{user}: {stopped}");
        assert!(
            stopped["responses"].as_u64().is_some_and(|count| (1..RESPONSES).contains(&count)),
            "{stopped}"
        );
        let refused = run(&stage, program, user);
        assert_eq!(refused["error"], "token_limit_reached", "{user}: {refused}");
        assert_eq!(
            (&refused["close_code"], &refused["responses"]),
            (&close_code, &json!(0)),
            "{user}: {refused}"
        );
    }
    // Who came over the limit was told of every token that was counted against it.
    assert_eq!(stage.provider.audit()["handshake_count"], PROGRAMS.len());
}

/// How often the proxy was dialled so far: sessions that it let in and sessions that it refused.
fn dials(stage: &Stage) -> [f64; 2] {
    ["tokenist_sessions_opened_total", "tokenist_sessions_refused_total"]
        .map(|name| stage.proxy.metric(name).expect("a metric"))
}

#[test]
fn livekit_takes_a_final_ending_for_final() {
    let stage = stage(&[]);
    let heard = run(&stage, LIVEKIT, "well");
    assert_eq!((&heard["error"], &heard["errors"]), (&Value::Null, &json!([])), "{heard}");
    let counted = stage.counted("well", heard["responses"].as_u64().unwrap());
    let told = json!([heard["input_tokens"], heard["output_tokens"]]);
    assert_eq!(json!([sum(&counted, "/usage/inputTokens"), sum(&counted, "/usage/outputTokens")]), told);

    for (path, body) in [
        ("over/threshold", json!({"maxCostUsd": 0})),
        ("cut/threshold", json!({"maxTotalTokens": 300})),
        ("blocked/block", json!({})),
    ] {
        assert_eq!(stage.proxy.post(&format!("/admin/users/{path}"), &body).status, 200);
    }
    for (user, key, code, let_in) in [
        ("blocked", KEY, "user_blocked", false),
        ("over", KEY, "cost_limit_reached", false),
        ("nobody", "ug_00000000000000000000000000000000", "unauthorized", false),
        ("cut", KEY, "token_limit_reached", true),
    ] {
        let [opened, refused] = dials(&stage);
        let heard = run_with(key, &stage, LIVEKIT, user);
        assert_eq!(heard["errors"], json!([false]), "{user}: {heard}");
        assert!(heard["error"]["body"].as_str().is_some_and(|body| body.contains(code)), "{user}: {heard}");
        let one = [opened + f64::from(u8::from(let_in)), refused + f64::from(u8::from(!let_in))];
        assert_eq!(dials(&stage), one, "{user}: {heard}");
    }
}

#[test]
fn livekit_comes_back_from_an_ending_that_passes() {
    // Any key is the provider's.
    let stage = Stage::new(&[], &[("identity.query", "true"), ("limits.sessions_per_user", "1")]);
    let held = stage.proxy.session("alice").unwrap();
    thread::scope(|scope| {
        let client = scope.spawn(|| run(&stage, LIVEKIT, "alice"));
        assert!(eventually(PATIENCE, || dials(&stage)[1], |&refused| refused >= 1.0) >= 1.0);
        held.leave();
        let heard = client.join().unwrap();
        assert_eq!(heard["error"], Value::Null, "{heard}");
        assert!(heard["responses"].as_u64().is_some_and(|count| count >= RESPONSES), "{heard}");
    });
}

#[test]
fn livekit_hears_a_response_out_while_the_proxy_drains() {
    let slow = ["--seed", "7", "--key", KEY, "--sim", "chunks=20,pace=100"];
    let stage = Stage::new(&slow, &[("identity.query", "true"), ("proxy.drain_seconds", "60")]);
    thread::scope(|scope| {
        let client = scope.spawn(|| run(&stage, LIVEKIT, "alice"));
        // A response is twenty messages and more.
        let passed = || stage.proxy.metric("tokenist_downstream_messages_total").unwrap_or_default();
        assert!(eventually(PATIENCE, passed, |&count| count >= 12.0) >= 12.0, "a response is under way");
        stage.proxy.signal(Signal::Terminate);
        let heard = client.join().unwrap();
        assert_eq!(heard["errors"], json!([]), "{heard}");
        let totals = stage.provider.audit()["totals"].clone();
        let delivered = json!([totals["requests"], totals["undelivered"]]);
        assert_eq!(delivered, json!([heard["responses"], 0]), "none was cut: {heard}");
    });
}
