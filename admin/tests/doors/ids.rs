//! An id, an e-mail address or a password is read in one way, wherever it stands.

use crate::kit::{Plane, eventually, issue};
use crate::text;
use serde_json::{Value, json};

/// How one user may be written, in a path and in a query.
const ALICE: [&str; 6] =
    ["Alice", "Alice%20", "%20Alice", "%09Alice", "Alice%C2%A0", "%E3%80%80Alice%E2%80%83"];

/// How the same may be written in JSON.
const ALICE_JSON: [&str; 4] = ["Alice", " Alice ", "\tAlice", "Alice\u{a0}"];

/// What the store has lags a little.
fn one(plane: &Plane, path: &str, list: &str) {
    eventually(|| {
        let found = plane.ask("GET", path, "").json();
        (found[list].as_array().map(Vec::len) == Some(1)).then_some(())
    });
}

#[test]
fn a_user_is_the_same_in_paths_queries_bodies_and_keys_however_the_id_is_written() {
    let plane = Plane::start();
    plane.session("Alice", 1);
    for id in ALICE {
        let blocked = plane.ask("POST", &format!("/admin/users/{id}/block"), "{}").json();
        assert_eq!((&blocked["userId"], &blocked["blocked"]), (&json!("Alice"), &json!(true)), "{id}");
        for read in ALICE {
            let usage = plane.ask("GET", &format!("/admin/users/{read}/usage"), "").json();
            assert_eq!((&usage["userId"], &usage["blocked"]), (&json!("Alice"), &json!(true)), "{read}");
        }
        let unblocked = plane.ask("POST", &format!("/admin/users/{id}/unblock"), "").json();
        assert_eq!((&unblocked["userId"], &unblocked["wasBlocked"]), (&json!("Alice"), &json!(true)), "{id}");
        let limit = plane.ask("PUT", &format!("/admin/limits/user/{id}"), "{\"maxCostUsd\":3}").json();
        assert_eq!((&limit["id"], &limit["limit"]["maxCostUsd"]), (&json!("Alice"), &json!(3.0)), "{id}");
        for (path, list) in [
            ("/admin/usage?by=user&user", "rows"),
            ("/admin/usage?by=user&users", "rows"),
            ("/admin/orgs/acme/summary?userIds", "users"),
            ("/admin/orgs/%20acme/summary?userIds", "users"),
        ] {
            one(&plane, &format!("{path}={id}"), list);
        }
        one(&plane, &format!("/admin/audit?limit=1&subject={id}"), "entries");
    }
    plane.ask("POST", "/admin/users/Alice/block", "");
    for id in ALICE_JSON {
        let call = json!({"userId": id, "model": "gpt-4o-mini", "requestType": "chat"});
        let judged = plane.ask("POST", "/sdk/check", &call.to_string()).json();
        assert_eq!(judged["allowed"], false, "{id:?}");
        let bound =
            plane.created("/auth/api-keys", &json!({"name": "bound", "userId": id, "orgId": " acme"}));
        assert_eq!((text(&bound, "userId"), text(&bound, "orgId")), ("Alice", "acme"), "{id:?}");
        let rule = json!({"name": "day", "subject": {"type": "user", "ids": [id]},
            "trigger": {"type": "token_limit", "tokens": 1, "window": {"count": 1, "unit": "day"}},
            "restriction": {"type": "warning"}});
        let rule = plane.created("/admin/orgs/acme/rules", &rule);
        assert_eq!(rule["subject"]["ids"], json!(["Alice"]), "{id:?}");
    }
    let made = json!({"userId": "Zoe\u{301} ", "email": " Zoe@EXAMPLE.com", "name": "\u{2764}\u{fe0f} "});
    let made = plane.created("/admin/users", &made);
    assert_eq!(text(&made, "userId"), "Zo\u{e9}");
    assert_eq!((text(&made, "email"), text(&made, "name")), ("zoe@example.com", "\u{2764}\u{fe0f}"));
    let again = plane.ask("POST", "/admin/users", "{\"userId\":\"Zo\u{e9}\"}");
    assert_eq!(again.status, 409, "{}", again.body);
    one(&plane, "/admin/users?search=Zoe%CC%81", "users");
}

#[test]
fn a_character_that_no_id_may_hold_is_named_with_its_place_at_every_door() {
    let plane = Plane::start();
    for (sent, why) in [
        ("Al\u{200b}ice", "contains an invisible character: U+200B, its character 3; leave it out"),
        ("Al\u{a0}ice", "contains a blank that is no space: U+00A0, its character 3; write a plain space"),
        ("Al\u{7}ice", "contains a control character: U+0007, its character 3; leave it out"),
    ] {
        let encoded: String = sent.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for (method, path, what) in [
            ("GET", format!("/admin/users/{encoded}/usage"), "User id"),
            ("POST", format!("/admin/users/{encoded}/block"), "User id"),
            ("GET", format!("/admin/orgs/{encoded}/users"), "Org id"),
            ("DELETE", format!("/admin/limits/user/{encoded}"), "User id"),
            ("DELETE", format!("/admin/limits/org/{encoded}"), "Org id"),
            ("DELETE", format!("/admin/limits/feature/{encoded}"), "Feature id"),
        ] {
            let answer = plane.ask(method, &path, "");
            assert_eq!(
                (answer.status, answer.json()),
                (400, json!({"error": format!("{what} {why}")})),
                "{path}"
            );
        }
        for (path, name) in [
            ("/admin/usage?by=user&user", "user"),
            ("/admin/users?org", "org"),
            ("/admin/sessions/past?user", "user"),
            ("/admin/refusals?org", "org"),
            ("/auth/api-keys?userId", "userId"),
        ] {
            let answer = plane.ask("GET", &format!("{path}={encoded}"), "");
            let expected = issue(name, "invalid_string", &format!("{name} {why}"));
            assert_eq!((answer.status, answer.json()), (400, expected), "{path}");
        }
        for (path, name, body) in [
            ("/admin/users", "userId", json!({"userId": sent})),
            ("/admin/users", "email", json!({"email": sent})),
            ("/auth/api-keys", "userId", json!({"name": "a", "userId": sent})),
            ("/auth/api-keys", "orgId", json!({"name": "a", "orgId": sent})),
            ("/sdk/check", "userId", json!({"userId": sent, "model": "m", "requestType": "chat"})),
        ] {
            let answer = plane.ask("POST", path, &body.to_string());
            let expected = issue(name, "invalid_string", &format!("{name} {why}"));
            assert_eq!((answer.status, answer.json()), (400, expected), "{path} {body}");
        }
    }
}

#[test]
fn one_mailbox_has_one_login_however_it_is_written() {
    const PASSWORD: &str = "correct horse battery";
    let plane = Plane::start();
    let login = |email: &str| {
        let body = json!({"email": email, "password": PASSWORD, "role": "viewer"});
        plane.ask("POST", "/admin/logins", &body.to_string())
    };
    let made = login(" Kelvin@Example.com").json();
    assert_eq!(text(&made, "email"), "kelvin@example.com");
    let same = [
        "kelvin@example.com",
        "KELVIN@example.com",
        "\u{212a}elvin@example.com",
        "kelvin@\u{ff25}xample.com",
    ];
    for email in same {
        assert_eq!(login(email).status, 409, "{email:?}");
        let body = json!({"email": email, "password": PASSWORD});
        assert_eq!(plane.ask("POST", "/auth/login", &body.to_string()).status, 200, "{email:?}");
    }
    for email in ["kel\u{200b}vin@example.com", "kelvin@example.com\u{ad}", "kel vin@example.com", "kelvin"] {
        assert_eq!(login(email).status, 400, "{email:?}");
    }
}

#[test]
fn what_is_guessed_first_is_no_password() {
    let plane = Plane::start_with(|config| config.registration = true);
    let why = "This password is one of the first that are guessed: choose another";
    for password in ["password", "Password123", "12345678", "qwertyuiop", "iloveyou1", "someone@example.com"]
    {
        let asked = json!({"email": "someone@example.com", "password": password}).to_string();
        let mut login: Value = serde_json::from_str(&asked).unwrap();
        login["role"] = json!("viewer");
        for (path, body) in [("/auth/register", &asked), ("/admin/logins", &login.to_string())] {
            let answer = plane.ask("POST", path, body);
            assert_eq!(
                (answer.status, answer.json()),
                (400, issue("password", "custom", why)),
                "{path} {password}"
            );
        }
    }
    let login =
        json!({"email": "someone@example.com", "password": "correct horse battery", "role": "viewer"});
    let made = plane.created("/admin/logins", &login);
    let path = format!("/admin/logins/{}", text(&made, "id"));
    let changed = plane.ask("PATCH", &path, "{\"password\":\"password1\"}");
    assert_eq!((changed.status, changed.json()), (400, issue("password", "custom", why)));
}
