//! Real clients of Gemini Live, unaltered, through whole turns and into a limit: what they were told, what the proxy
//! counted and what the provider delivered are the same numbers. The programs are in `clients/`; `scripts/lib/clients`
//! installs what they import.

use serde_json::{Value, json};
use tokenist_kit::clients::{KINDS, Stage, hear};
use tokenist_kit::request;

const KEY: &str = "AIza-the-callers-own-key";
const MODEL: &str = "gemini-3.8-live";

#[derive(Clone, Copy)]
struct Program {
    file: &'static str,
    /// Whose Python it runs on, if it is one's.
    environment: &'static str,
    /// It asks Vertex, which tells of a tool's call what that used.
    vertex: bool,
    /// All that it lets be set is the address: the path tells who speaks.
    keyed: bool,
    /// Turns that have a usage, a tool's call at Vertex among them.
    usages: u64,
}

const fn python(file: &'static str, environment: &'static str) -> Program {
    Program { file, environment, vertex: false, keyed: false, usages: 4 }
}

const PYTHON: Program = python("gemini_async.py", "google");
const VERTEX: Program = Program { vertex: true, usages: 5, ..PYTHON };
const NODE: Program = Program { file: "gemini.mjs", ..PYTHON };
const LIVEKIT: Program = python("livekit_google.py", "google");
const PIPECAT: Program = Program { keyed: true, ..python("pipecat_gemini.py", "pipecat") };

/// LiveKit does not tell thoughts, so there are none.
fn stage(settings: &[(&str, &str)]) -> Stage {
    let ours = [
        ("provider.dialect", "gemini"),
        ("provider.name", "google"),
        ("provider.api_key_env", "OPERATORS_KEY"),
        ("OPERATORS_KEY", KEY),
    ];
    Stage::new(&["--seed", "7", "--key", KEY, "--sim", "reasoning=0"], &[&ours[..], settings].concat())
}

/// Runs a client to its end and gives what it says it heard.
fn run(stage: &Stage, program: Program, user: &str) -> Value {
    let Program { file, environment, vertex, keyed, .. } = program;
    let mut client = stage.client(file, environment);
    let mut base_url = stage.origin(file.ends_with(".py"));
    if keyed {
        base_url = format!("{base_url}/k/{}", stage.key_of(user));
    }
    client.args([&base_url, user]).env("GOOGLE_API_KEY", KEY).env_remove("VERTEX");
    if vertex {
        client.env("VERTEX", "1");
    }
    hear(client)
}

#[test]
fn every_client_is_counted_as_it_was_told_and_as_the_provider_delivered() {
    let stage = stage(&[]);
    for (program, user) in [PYTHON, VERTEX, NODE, LIVEKIT, PIPECAT].into_iter().zip(["a", "b", "c", "d", "e"])
    {
        let file = program.file;
        let heard = run(&stage, program, user);
        let counted = &stage.counted(user, program.usages)[0];
        assert_eq!(
            (&counted["model"], &counted["requests"]),
            (&json!(MODEL), &json!(program.usages)),
            "{file}: {heard}"
        );
        let usage = &counted["usage"];
        let told = json!([heard["input_tokens"], heard["output_tokens"], heard["responses"]]);
        assert_eq!(told, json!([usage["inputTokens"], usage["outputTokens"], program.usages]), "{file}");
        let audit = stage.provider.audit();
        let totals = &audit["totals"];
        for (ours, theirs) in KINDS {
            assert_eq!(counted.pointer(ours), Some(&totals[theirs]), "{file}: {theirs}");
        }
        assert_eq!((&totals["undelivered"], &audit["session_count"]), (&json!(0), &json!(1)), "{file}");
        clean(&audit["handshakes"]);
        request(stage.provider.listen, "POST", "/audit/reset", &[], "");
    }
}

/// The key went up in one place, and nothing of ours did.
fn clean(handshakes: &Value) {
    let text = handshakes.to_string();
    assert_eq!(text.matches(KEY).count(), 1, "{text}");
    for ours in ["ug_", "x-user-id", "/k/"] {
        assert!(!text.contains(ours), "{ours} went upstream: {text}");
    }
}

/// Exception type, code and message, as each author gets them.
fn assert_told(heard: &Value, kind: &str, message: &str) {
    let told = &heard["error"];
    assert_eq!((&told["type"], &told["code"]), (&json!(kind), &json!(4004)), "{heard}");
    assert!(told["text"].as_str().is_some_and(|text| text.contains(message)), "{heard}");
}

#[test]
fn every_author_sees_why_a_session_was_ended_in_its_middle() {
    let stage = stage(&[("limits.max_total_tokens", "300")]);
    let was_cut = |heard: &Value| heard["responses"].as_u64().is_some_and(|count| (1..4).contains(&count));
    for (program, user, kind, refused_kind) in
        [(PYTHON, "a", "APIError", "APIError"), (NODE, "b", "close", "Error")]
    {
        let stopped = run(&stage, program, user);
        assert_told(&stopped, kind, "Token limit reached: ");
        assert!(was_cut(&stopped), "{stopped}");
        let refused = run(&stage, program, user);
        assert_told(&refused, refused_kind, "Token limit reached: ");
        assert_eq!(refused["responses"], 0, "{refused}");
    }
    // It dials once more, is refused before the setup, and gives up.
    let stopped = run(&stage, LIVEKIT, "c");
    assert_told(&stopped, "APIError", "Token limit reached: ");
    assert!(was_cut(&stopped) && stopped["errors"] == json!([true, false]), "{stopped}");
    // Pipecat tells its author of no end that a session had; it is cut all the same.
    let stopped = run(&stage, PIPECAT, "d");
    assert!(was_cut(&stopped) && stopped["errors"] == json!([]), "{stopped}");
    assert_eq!(stage.provider.audit()["handshake_count"], 4, "who is over the limit reaches no provider");
}
