//! The API is what its description says: schemathesis makes requests from it, right ones and wrong ones, and no answer
//! is a failure of ours, or of a status, a type or a shape that the description does not have.

use serde_json::json;
use std::path::Path;
use std::process::Command;
use tokenist_kit::{Client, Handshake, PATIENCE, Provider, TOKEN, Tokenist, eventually};

const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// Requests that it makes up for each operation, beside those that follow from the bounds of each field.
const EXAMPLES: &str = "15";

/// A tokenist in which every list has something.
fn start() -> (Provider, Tokenist) {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[("limits.max_cost_usd", "-1")]);
    for user in ["alice", "bob"] {
        let handshake = Handshake::of(user).header("x-org-id", "acme").header("x-feature", "voice");
        let mut client = Client::open(tokenist.listen, &handshake).unwrap();
        client.turn("").unwrap();
        client.leave();
    }
    for (method, path, body) in [
        ("POST", "/admin/users/bob/block", json!({"reason": "abuse"})),
        ("PUT", "/admin/limits/org/acme", json!({"maxCostUsd": 5})),
        ("PUT", "/admin/limits/feature/voice", json!({"maxTotalTokens": 1_000_000})),
        ("PUT", "/admin/prices", json!({"model": "m", "usdPerMinute": 1})),
        ("POST", "/auth/api-keys", json!({"name": "ci", "orgId": "acme"})),
        (
            "POST",
            "/admin/logins",
            json!({"email": "a@example.com", "password": "correct horse battery", "role": "viewer"}),
        ),
    ] {
        let answer = tokenist.ask(method, path, &body);
        assert!(answer.status < 300, "{method} {path}: {}", answer.body);
    }
    let past = || tokenist.get("/admin/sessions/past")["sessions"].as_array().map_or(0, Vec::len);
    assert_eq!(eventually(PATIENCE, past, |count| *count == 2), 2);
    (provider, tokenist)
}

/// Has schemathesis look at the operations that `filter` leaves.
fn explore(tokenist: &Tokenist, filter: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join(".cache/clients/venv/bin/schemathesis");
    assert!(program.exists(), "{} is missing: run scripts/lib/clients", program.display());
    let mut command = Command::new(program);
    command.current_dir(std::env::temp_dir()); // It would leave its notes here.
    command.args(["run", &format!("http://{}/openapi.json", tokenist.admin)]);
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}"), "--checks", CHECKS]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "5"]);
    command.args(["--suppress-health-check", "all", "--warnings", "off", "--no-color"]).args(filter);
    let output = command.output().expect("schemathesis starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    eprintln!(
        "{}",
        said.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    );
}

fn assert_nothing_panicked(tokenist: Tokenist) {
    let log = tokenist.leave();
    assert!(!log.contains("panicked"), "{log}");
}

/// Who guesses passwords is shut out, and so would be whatever is tried after that.
const SIGNING_IN: &str = "/auth/(login|session|register)";
/// A stream has no end.
const STREAM: &str = "/admin/stream";

#[test]
fn no_answer_is_a_failure_or_none_that_is_described() {
    let (_provider, tokenist) = start();
    explore(&tokenist, &["--exclude-path-regex", &format!("{SIGNING_IN}|{STREAM}")]);
    // Nobody was shut out on the way, which would have left the rest unseen.
    assert_eq!(tokenist.ask("GET", "/admin/users", &json!(null)).status, 200);
    assert_nothing_panicked(tokenist);
}

#[test]
fn signing_in_answers_as_described_too() {
    let (_provider, tokenist) = start();
    explore(&tokenist, &["--include-path-regex", SIGNING_IN]);
    assert_nothing_panicked(tokenist);
}
