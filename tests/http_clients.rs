//! Real clients' requests, unaltered, and into a limit: what they were told, what the proxy counted and what the provider
//! delivered are the same numbers. The programs are in `clients/`; `scripts/lib/clients` installs what they import.

use serde_json::{Value, json};
use std::process::Command;
use tokenist_kit::clients::{KINDS, Stage, hear, sum};

const KEY: &str = "sk-the-callers-own-key";
const USER: &str = "alice";

#[derive(Clone, Copy)]
struct Program {
    file: &'static str,
    environment: &'static str,
    dialect: &'static str,
    /// What stands behind the proxy's address.
    base_path: &'static str,
    requests: u64,
    /// How it tells that a limit is reached.
    limit: &'static str,
}

const PYTHON: Program = Program {
    file: "openai_http.py",
    environment: "venv",
    dialect: "openai",
    base_path: "/v1",
    requests: 17,
    limit: "token_limit_reached",
};
const NODE: Program = Program { file: "openai_http.mjs", requests: 16, ..PYTHON };
/// As people write it who do not know that a version belongs there.
const BARE: Program = Program { base_path: "", ..NODE };
const GEMINI: Program = Program {
    file: "gemini_http.py",
    environment: "google",
    dialect: "gemini",
    base_path: "",
    requests: 4,
    limit: "RESOURCE_EXHAUSTED",
};

fn stage(program: Program, settings: &[(&str, &str)]) -> Stage {
    let ours = [("provider.dialect", program.dialect), ("proxy.shard_count", "2")];
    Stage::new(&["--seed", "7", "--key", KEY], &[&ours[..], settings].concat())
}

fn run(stage: &Stage, program: Program) -> Value {
    let mut client = stage.client(program.file, program.environment);
    client.args([&format!("{}{}", stage.origin(false), program.base_path), USER]);
    hear(keyed(client))
}

fn keyed(mut client: Command) -> Command {
    client.env("OPENAI_API_KEY", KEY).env("GOOGLE_API_KEY", KEY);
    client
}

#[test]
fn every_request_is_counted_as_it_was_told_and_as_the_provider_delivered() {
    for program in [PYTHON, NODE, BARE, GEMINI] {
        let stage = stage(program, &[]);
        let heard = run(&stage, program);
        let named = format!("{}{}: {heard}", program.file, program.base_path);
        assert_eq!(
            (&heard["error"], &heard["requests"]),
            (&Value::Null, &json!(program.requests)),
            "{named}"
        );
        let counted = stage.counted(USER, program.requests);
        let audit = stage.provider.audit();
        let delivered = audit["by_key"]["-"].as_object().expect("the provider has delivered");
        for (model, delivered) in delivered {
            let of_model: Vec<Value> =
                counted.iter().filter(|counted| counted["model"] == **model).cloned().collect();
            for (ours, theirs) in [("/requests", "requests")].into_iter().chain(KINDS) {
                assert_eq!(delivered[theirs], sum(&of_model, ours), "{named} {model}: {theirs}");
            }
        }
        if heard["untold"] == 0 {
            let (input, output) = (sum(&counted, "/usage/inputTokens"), sum(&counted, "/usage/outputTokens"));
            assert_eq!(
                json!([input, output]),
                json!([heard["input_tokens"], heard["output_tokens"]]),
                "{named}"
            );
        }
    }
}

#[test]
fn every_client_is_told_that_its_user_has_reached_a_limit() {
    for program in [PYTHON, NODE, GEMINI] {
        let stage = stage(program, &[("limits.max_total_tokens", "100")]);
        let stopped = run(&stage, program);
        assert!(stopped["requests"].as_u64().is_some_and(|count| count < program.requests), "{stopped}");
        let refused = run(&stage, program);
        assert_eq!(refused["requests"], 0, "{refused}");
        assert_eq!(
            (&refused["error"], &refused["status"]),
            (&json!(program.limit), &json!(429)),
            "{refused}"
        );
    }
}
