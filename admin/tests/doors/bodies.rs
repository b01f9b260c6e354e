//! A body that is cut off, misspelt or no JSON changes nothing.

use crate::kit::{Plane, issue};
use crate::{description, operations, text};
use serde_json::{Value, json};

/// What no body may be, whatever asks for it.
const NO_BODIES: [&str; 9] = [
    "{\"maxCostUsd\":5",
    "{\"maxCostUsd\":5,}",
    "{\"maxCostUsd\":1e400}",
    "maxCostUsd=5",
    "{\"maxCostUsd\":5} {}",
    "{\"maxCostUsd\":5,\"maxCostUsd\":6}",
    "{'maxCostUsd':5}",
    "5",
    "null",
];

/// A rule and a policy of acme, so that what changes one finds it.
fn kept(plane: &Plane) -> (Value, Value) {
    let rule = json!({"name": "day", "subject": {"type": "user"},
        "trigger": {"type": "token_limit", "tokens": 1, "window": {"count": 1, "unit": "day"}},
        "restriction": {"type": "block"}});
    let policy = json!({"name": "fair use", "description": ""});
    (plane.created("/admin/orgs/acme/rules", &rule), plane.created("/admin/orgs/acme/policies", &policy))
}

/// The path with what is kept in it.
fn found(path: &str, (rule, policy): &(Value, Value)) -> String {
    let path = path.replace("rules/some", &format!("rules/{}", text(rule, "id")));
    path.replace("policies/some", &format!("policies/{}", text(policy, "id")))
}

#[test]
fn a_body_that_cannot_be_read_changes_nothing_anywhere() {
    let plane = Plane::start_with(|config| config.registration = true);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let description = description();
    let with_body = |(_, _, operation): &(_, _, &Value)| operation.get("requestBody").is_some();
    let kept = kept(&plane);
    let mut count = 0;
    for (method, path, operation) in operations(&description).into_iter().filter(with_body) {
        let path = found(&path, &kept);
        for body in NO_BODIES.into_iter().chain([deep.as_str()]) {
            let answer = plane.ask(&method, &path, body);
            let issue = answer.json()["error"][0].clone();
            assert_eq!(
                (answer.status, &issue["path"]),
                (400, &json!([])),
                "{method} {path} {body:.40}: {issue}"
            );
        }
        let unknown = plane.ask(&method, &path, "{\"unheardOf\":1}");
        let told = unknown.json();
        assert_eq!(unknown.status, 400, "{method} {path}: {told}");
        let words = if told["error"].is_array() { &told["error"] } else { &told["details"] };
        let words = words.to_string();
        assert!(words.contains("unheardOf") && words.contains("did you mean"), "{method} {path}: {words}");
        let missing = plane.ask(&method, &path, "");
        let may_be_missing = operation["requestBody"]["required"] == false;
        assert_eq!(missing.status == 400, !may_be_missing, "{method} {path}: {}", missing.body);
        count += 1;
    }
    assert!(count > 20, "{count} operations take a body");
    // But the one block that needs nothing said.
    let blocked = plane.ask("GET", "/admin/blocked", "").json();
    assert_eq!(blocked["blocked"].as_array().map(Vec::len), Some(1), "{blocked}");
    for (path, name) in [("/admin/limits", "limits"), ("/auth/api-keys", "keys"), ("/admin/logins", "logins")]
    {
        assert_eq!(plane.ask("GET", path, "").json()[name], json!([]), "{path}");
    }
    assert_eq!(plane.ask("GET", "/admin/orgs/acme/rules", "").json()["rules"], json!([kept.0]));
    assert_eq!(plane.ask("GET", "/admin/orgs/acme/policies", "").json(), json!([kept.1]));
}

#[test]
fn what_replaces_a_whole_limit_says_something_of_it() {
    let plane = Plane::start();
    let whole = |what: &str, lift: &str| {
        let message =
            format!("This replaces the whole {what}, so say at least one field of it; {lift} lifts it");
        json!({"error": [{"path": [], "code": "too_small", "message": message}]})
    };
    let threshold = ("POST", "/admin/users/alice/threshold", whole("threshold", "{\"maxTotalTokens\":0}"));
    let limit = ("PUT", "/admin/limits/user/alice", whole("limit", "DELETE"));
    for (method, path, refusal) in [threshold, limit] {
        assert_eq!(plane.ask(method, path, "{\"maxCostUsd\":1}").status, 200);
        for body in ["", " ", "{}", "{ }"] {
            let answer = plane.ask(method, path, body);
            assert_eq!((answer.status, answer.json()), (400, refusal.clone()), "{method} {path} {body:?}");
        }
        for (misspelt, meant) in
            [("maxCost", "maxCostUsd"), ("max_cost_usd", "maxCostUsd"), ("maxTokens", "maxTotalTokens")]
        {
            let answer = plane.ask(method, path, &json!({misspelt: 1}).to_string());
            let message = format!("Unknown field {misspelt:?}; did you mean {meant:?}?");
            let expected = issue(misspelt, "unrecognized_keys", &message);
            assert_eq!((answer.status, answer.json()), (400, expected), "{method} {path}");
        }
        let kept = plane.ask("GET", "/admin/limits/user/alice", "").json();
        assert_eq!(kept["limit"]["maxCostUsd"], 1.0, "{method} {path}");
    }
    let misspelt = plane.ask("PUT", "/admin/limits/user/alice?dryrun=true", "{\"maxCostUsd\":0}");
    let expected =
        issue("dryrun", "unrecognized_keys", "Unknown parameter \"dryrun\"; did you mean \"dryRun\"?");
    assert_eq!((misspelt.status, misspelt.json()), (400, expected));
    let twice = plane.ask("DELETE", "/admin/limits/user/alice?dryRun=true&dryRun=false", "");
    assert_eq!(
        (twice.status, twice.json()),
        (400, issue("dryRun", "custom", "dryRun is given twice: say it once"))
    );
    assert_eq!(plane.ask("GET", "/admin/limits/user/alice", "").json()["limit"]["maxCostUsd"], 1.0);
}

/// Nobody reads there that a change is to be tried only, or a block to end.
#[test]
fn what_changes_something_takes_no_parameters_that_it_does_not_know() {
    let plane = Plane::start_with(|config| config.registration = true);
    plane.created("/admin/users", &json!({"userId": "some", "orgId": "some"}));
    let (kept, description) = (kept(&plane), description());
    let mut count = 0;
    for (method, path, _) in operations(&description).into_iter().filter(|(method, ..)| method != "GET") {
        let path = found(&path, &kept).replace("sessions/some", "sessions/sess_0000000000000001");
        let path = path.replace("browser-tokens/some", "browser-tokens/0000000000000001");
        let answer = plane.ask(&method, &format!("{path}?expiresIn=1h"), "{}");
        let told = answer.json();
        assert_eq!(answer.status, 400, "{method} {path}: {told}");
        assert!(told.to_string().contains("Unknown parameter \\\"expiresIn\\\""), "{method} {path}: {told}");
        count += 1;
    }
    assert!(count > 25, "{count} operations change something");
}

#[test]
fn what_needs_nothing_said_bears_no_body_and_no_other_one() {
    let plane = Plane::start();
    plane.ask("POST", "/admin/users/alice/block", "");
    for body in ["{\"reason\":\"paid\"}", "{", "[]"] {
        assert_eq!(plane.ask("POST", "/admin/users/alice/unblock", body).status, 400, "{body}");
        assert_eq!(plane.ask("POST", "/auth/logout", body).status, 400, "{body}");
    }
    assert_eq!(plane.ask("GET", "/admin/users/alice/usage", "").json()["blocked"], true);
    for body in ["", "{}", " \r\n"] {
        assert_eq!(plane.ask("POST", "/admin/users/alice/unblock", body).status, 200, "{body:?}");
        assert_eq!(plane.ask("POST", "/auth/logout", body).status, 204, "{body:?}");
    }
    let cut_off = plane.ask("POST", "/admin/users/bob/block", "{\"expiresAt\":\"2999-01-01\"");
    assert_eq!(
        (cut_off.status, plane.ask("GET", "/admin/blocked", "").json()),
        (400, json!({"blocked": []}))
    );
    let slip = plane.ask("POST", "/admin/users/bob/block", "{\"expiresat\":\"2999-01-01\"}");
    assert_eq!((slip.status, plane.ask("GET", "/admin/blocked", "").json()), (400, json!({"blocked": []})));
}

#[test]
fn a_slip_in_a_rule_is_told_at_any_depth() {
    let plane = Plane::start();
    let rule = json!({"name": "day", "subject": {"type": "user", "ids": []},
        "trigger": {"type": "token_limit", "tokens": 1, "window": {"count": 1, "unit": "day"}},
        "restriction": {"type": "block"}});
    let made = plane.created("/admin/orgs/acme/rules", &rule);
    let path = format!("/admin/orgs/acme/rules/{}", text(&made, "id"));
    for (at, slip, why) in [
        ("", "enable", "unknown field enable; did you mean enabled?"),
        ("/subject", "id", "unknown field subject.id; did you mean subject.ids?"),
        ("/trigger", "token", "unknown field trigger.token; did you mean trigger.tokens?"),
        ("/trigger/window", "units", "unknown field trigger.window.units; did you mean trigger.window.unit?"),
        ("/restriction", "delayMs", "unknown field restriction.delayMs; did you mean restriction.type?"),
    ] {
        let mut wrong = rule.clone();
        wrong.pointer_mut(at).expect("it is there")[slip] = json!(1);
        for (method, path) in [("POST", "/admin/orgs/acme/rules"), ("PUT", &*path)] {
            let answer = plane.ask(method, path, &wrong.to_string());
            assert_eq!((answer.status, &answer.json()["details"]), (400, &json!(why)), "{method} {at}");
        }
    }
}
