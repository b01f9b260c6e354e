//! Real Python clients of OpenAI's other sockets and of what is like OpenAI Realtime, unaltered, through whole turns and into a
//! limit: what they were told, what the proxy booked and what the provider delivered are the same. The programs are in
//! `clients/`; `scripts/lib/clients` installs what they import. What is ignored here is run by `scripts/long/clients`.

mod reckon;

use reckon::{Bill, audited, booked};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokenist_core::usage::Usage;
use tokenist_kit::clients::{Stage, hear};
use tokenist_kit::{PATIENCE, eventually};

const KEY: &str = "the-callers-own-key";
const USER: &str = "alice";
/// Every program asks for so many responses.
const RESPONSES: u64 = 4;

#[derive(Clone, Copy)]
struct Program {
    file: &'static str,
    /// The folder of its Python.
    environment: &'static str,
    /// What the proxy speaks, and what stands behind its address in the base URL.
    dialect: &'static str,
    path: &'static str,
    /// How the provider behaves.
    sim: &'static str,
    /// The name that Azure has for the model, if it is asked for by one.
    deployment: Option<&'static str>,
    /// The service that it should be, where all that it lets be set is the URL: a key in that tells who speaks.
    service: Option<&'static str>,
    /// A limit that it runs into, the code of the error event that tells it, and what it tells beside that.
    limit: (&'static str, &'static str),
    error: &'static str,
    close_code: Option<u16>,
}

const fn program(file: &'static str, environment: &'static str, dialect: &'static str) -> Program {
    Program {
        file,
        environment,
        dialect,
        path: "",
        sim: "chunks=2",
        deployment: None,
        service: None,
        limit: ("limits.max_total_tokens", "300"),
        error: "token_limit_reached",
        close_code: Some(4004),
    }
}

const LIVE: Program = Program { path: "/v1", ..program("live_async.py", "venv", "openai") };
/// Sound is charged by the second.
const TRANSLATION: Program = Program {
    path: "/v1",
    sim: "chunks=2,pace=300",
    limit: ("limits.max_cost_usd", "0.0003"),
    error: "cost_limit_reached",
    ..program("translations_sync.py", "venv", "openai")
};
const RESPONSES_WS: Program = Program { path: "/v1", ..program("responses_sync.py", "venv", "openai") };
const AZURE: Program =
    Program { deployment: Some("voice-prod"), ..program("openai_async.py", "venv", "azure") };
/// Its loop ends silently, whatever the code of a close.
const VOICE_LIVE: Program =
    Program { close_code: None, ..program("voicelive_async.py", "like", "azure_voice_live") };
/// It takes a session that is over within 0.1 s for one that never began.
const QWEN: Program =
    Program { sim: "chunks=3,pace=50", ..program("dashscope_omni.py", "like", "qwen_omni") };
const PROGRAMS: [Program; 6] = [LIVE, TRANSLATION, RESPONSES_WS, AZURE, VOICE_LIVE, QWEN];

const LIVEKIT_XAI: Program = Program { path: "/v1", ..program("livekit_xai.py", "google", "xai") };
/// It drops a query of the URL.
const LIVEKIT_LIVE: Program = Program {
    path: "/v1",
    sim: "chunks=2,vad=150",
    service: Some("live"),
    ..program("livekit_live.py", "google", "openai")
};
/// When somebody begins to speak, it forgets what it has just heard; so it is not answered at once.
const PIPECAT: Program =
    Program { sim: "chunks=2,pace=50,vad=100", ..program("pipecat_openai.py", "pipecat", "openai") };

/// A proxy of a dialect before a provider.
fn stage(program: &Program, settings: &[(&str, &str)]) -> Stage {
    let ours = [
        ("provider.dialect", program.dialect),
        ("identity.query", "true"),
        ("provider.api_key_env", "OPERATORS_KEY"),
        ("OPERATORS_KEY", KEY),
    ];
    let deployments = program.deployment.map(|name| format!("{name} = gpt-realtime"));
    let deployments: Vec<_> = deployments.iter().map(|names| ("provider.deployments", &**names)).collect();
    let settings = [&ours[..], &deployments, settings].concat();
    Stage::new(&["--seed", "7", "--key", KEY, "--sim", program.sim], &settings)
}

/// Runs a client to its end and gives what it says it heard.
fn run(stage: &Stage, program: &Program) -> Value {
    let mut client = stage.client(program.file, program.environment);
    let key = program.service.map(|_| format!("/k/{}", stage.key_of(USER))).unwrap_or_default();
    // It always speaks TLS.
    let tls = program.service == Some("voice_live");
    let base_url = format!("{}{key}{}", stage.origin(tls), program.path);
    client.args([&*base_url, program.service.unwrap_or(USER)]);
    for variable in ["OPENAI_API_KEY", "XAI_API_KEY", "PROVIDER_KEY"] {
        client.env(variable, KEY);
    }
    client.env_remove("DEPLOYMENT").envs(program.deployment.map(|name| ("DEPLOYMENT", name)));
    hear(client)
}

/// What was booked and what was delivered agree, nothing of ours went up, and the key in one place. Tells what was booked, by
/// model.
fn agree(stage: &Stage) -> BTreeMap<String, Usage> {
    let usages = |bills: BTreeMap<String, Bill>| -> BTreeMap<String, Usage> {
        bills.into_iter().map(|(model, bill)| (model, bill.usage)).collect()
    };
    let look = || [booked(&stage.proxy, USER), audited(&stage.provider, "-")].map(usages);
    let [booked, audited] = eventually(PATIENCE, look, |[booked, audited]| booked == audited);
    assert_eq!(booked, audited, "the proxy (left) and the provider (right) do not agree");
    let audit = stage.provider.audit();
    assert_eq!((&audit["totals"]["undelivered"], &audit["session_count"]), (&json!(0), &json!(1)), "{audit}");
    let handshakes = audit["handshakes"].to_string();
    assert_eq!(handshakes.matches(KEY).count(), 1, "{handshakes}");
    for ours in ["ug_", "user_id", "x-user-id", "/k/"] {
        assert!(!handshakes.contains(ours), "{ours} went upstream: {handshakes}");
    }
    booked
}

fn tokens(booked: &BTreeMap<String, Usage>) -> Value {
    let count = |of: fn(&Usage) -> u64| booked.values().map(of).sum::<u64>();
    json!([count(Usage::input_tokens), count(Usage::output_tokens)])
}

fn told(heard: &Value) -> Value {
    json!([heard["input_tokens"], heard["output_tokens"]])
}

#[test]
fn every_client_is_counted_as_it_was_told_and_as_the_provider_delivered() {
    for program in &PROGRAMS {
        let (file, stage) = (program.file, stage(program, &[]));
        let heard = run(&stage, program);
        assert_eq!((&heard["error"], &heard["close_code"]), (&Value::Null, &Value::Null), "{file}: {heard}");
        assert_eq!(heard["responses"], RESPONSES, "{file}: {heard}");
        assert_eq!(tokens(&agree(&stage)), told(&heard), "{file}: {heard}");
        let audio_ms = &stage.provider.audit()["totals"]["duration_ms"];
        assert_eq!(heard["audio_ms"].as_u64().unwrap_or(0), *audio_ms, "{file}: {heard}");
    }
}

#[test]
fn every_author_sees_why_a_session_was_ended_in_its_middle_and_may_not_begin_again() {
    for program in &PROGRAMS {
        let (file, stage) = (program.file, stage(program, &[program.limit]));
        for may_begin in [true, false] {
            let stopped = run(&stage, program);
            let is_told = (&stopped["error"], &stopped["close_code"]);
            assert_eq!(is_told, (&json!(program.error), &json!(program.close_code)), "{file}: {stopped}");
            let responses = stopped["responses"].as_u64().expect("a count");
            assert_eq!((1..RESPONSES).contains(&responses), may_begin, "{file}: {stopped}");
        }
        let handshakes = stage.provider.audit()["handshake_count"].clone();
        assert_eq!(handshakes, 1, "{file}: who is over the limit reaches no provider");
    }
}

/// A whole conversation of LiveKit's agent, and one into a limit, which it takes for final. Gives the tokens of the first, as its
/// author was told them and as they were booked, and what he hears of the other's end.
fn livekit(program: &Program) -> ([Value; 2], Value) {
    let unlimited = stage(program, &[]);
    let heard = run(&unlimited, program);
    assert_eq!((&heard["errors"], &heard["replies"]), (&json!([]), &json!(RESPONSES)), "{heard}");
    let counts = [told(&heard), tokens(&agree(&unlimited))];

    let limited = stage(program, &[program.limit]);
    let stopped = run(&limited, program);
    assert_eq!(stopped["errors"], json!([false]), "{stopped}");
    assert_eq!(limited.provider.audit()["handshake_count"], 1, "it does not dial again");
    (counts, stopped["error"].clone())
}

#[test]
fn livekit_with_xai_is_counted_and_its_author_is_told_why_it_ends() {
    let ([told, _], error) = livekit(&LIVEKIT_XAI);
    assert_eq!(told, json!([0, 0]), "it looks for usage in the response, and xAI's stands beside that");
    let body = error["body"].as_str();
    assert!(body.is_some_and(|body| body.contains("code='token_limit_reached'")), "{error}");
}

#[test]
#[ignore = "scripts/long/clients runs it"]
fn livekit_with_gpt_live_is_counted_and_tells_its_author_no_reason() {
    let ([told, booked], error) = livekit(&LIVEKIT_LIVE);
    assert_eq!(told, booked);
    assert_eq!(error["text"], "GPT-Live returned an error", "{error}");
}

#[test]
#[ignore = "scripts/long/clients runs it"]
fn pipecats_services_are_counted_and_their_author_is_told_why_they_end() {
    for (service, dialect) in [
        ("realtime", "openai"),
        ("live", "openai"),
        ("azure", "azure"),
        ("voice_live", "azure_voice_live"),
        ("xai", "xai"),
        ("inworld", "inworld"),
    ] {
        let program = Program { service: Some(service), dialect, ..PIPECAT };
        let unlimited = stage(&program, &[]);
        let heard = run(&unlimited, &program);
        assert_eq!((&heard["errors"], &heard["responses"]), (&json!([]), &json!(RESPONSES)), "{heard}");
        let mut booked = agree(&unlimited);
        // Of what it has written down it tells no usage.
        booked.remove("inworld/inworld-stt-1");
        assert_eq!(tokens(&booked), told(&heard), "{service}");

        let limited = stage(&program, &[program.limit]);
        let stopped = run(&limited, &program);
        let error = stopped["errors"][0]["text"].as_str();
        assert!(
            error.is_some_and(|text| text.contains("reached: ") && text.contains(" >= 300")),
            "{service}: {stopped}"
        );
        assert_eq!(limited.provider.audit()["handshake_count"], 1, "{service}: it does not dial again");
    }
}
