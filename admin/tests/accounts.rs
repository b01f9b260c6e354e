//! Accounts: how one is made, and that it opens nothing but its own.

mod kit;

use kit::{Answer, Plane, ask_with, check, eventually};
use serde_json::{Value, json};
use tokenist_admin::AccountBounds;

const PASSWORD: &str = "correct horse battery";

fn open() -> Plane {
    Plane::start_with(|config| config.registration = true)
}

fn register(plane: &Plane, body: &Value) -> Answer {
    ask_with(plane.address(), "POST", "/auth/register", &[], &body.to_string())
}

/// Makes an account; who it is, and its bearer token.
fn registered(plane: &Plane, email: &str, org: Option<&str>) -> (Value, String) {
    let mut body = json!({"email": email, "password": PASSWORD, "displayName": "Ann"});
    if let Some(org) = org {
        body["orgId"] = org.into();
    }
    let answer = register(plane, &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let answer = answer.json();
    (answer["user"].clone(), answer["token"].as_str().unwrap().to_owned())
}

fn key(plane: &Plane, token: &str) -> Value {
    let answer = plane.ask_by(token, "POST", "/auth/api-keys", r#"{"name": "server"}"#);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

fn record(plane: &Plane, key: &Value, user: &str) -> Answer {
    let call = json!({"userId": user, "model": "gpt-4o-mini", "requestType": "chat", "inputTokens": 1000,
        "outputTokens": 500, "latencyMs": 1, "success": true});
    plane.ask_by(key["apiKey"].as_str().unwrap(), "POST", "/sdk/record", &call.to_string())
}

fn error(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn an_account_is_made_and_signs_in_with_its_password() {
    let plane = open();
    let (user, token) = registered(&plane, "ann@example.com", None);
    let id = user["userId"].as_str().unwrap();
    let expected = json!({"userId": id, "email": "ann@example.com", "displayName": "Ann", "orgId": format!("org_{id}"),
        "tier": "free", "role": "member"});
    assert_eq!(user, expected);
    assert_eq!(plane.ask_by(&token, "GET", "/auth/me", "").json(), expected);
    let body = json!({"email": "ANN@example.com", "password": PASSWORD}).to_string();
    let signed_in = ask_with(plane.address(), "POST", "/auth/login", &[], &body).json();
    assert_eq!(signed_in["user"], expected);
    let again = register(&plane, &json!({"email": "Ann@Example.com", "password": PASSWORD}));
    assert_eq!(error(&again), (409, "Email already registered".to_owned()));
    for body in [json!({}), json!({"email": "bob@example.com"}), json!({"email": "", "password": PASSWORD})] {
        assert_eq!(
            error(&register(&plane, &body)),
            (400, "Email and password are required".to_owned()),
            "{body}"
        );
    }
    for (body, path) in [
        (json!({"email": "no mail", "password": PASSWORD}), "email"),
        (json!({"email": "bob@example.com", "password": "short"}), "password"),
        (json!({"email": "bob@example.com", "password": PASSWORD, "orgId": "\n"}), "orgId"),
        (json!({"email": "bob@example.com", "password": PASSWORD, "displayName": 7}), "displayName"),
    ] {
        let refused = register(&plane, &body);
        assert_eq!((refused.status, &refused.json()["error"][0]["path"]), (400, &json!([path])), "{body}");
    }
}

#[test]
fn registration_is_closed_until_it_is_opened() {
    let plane = Plane::start();
    let (status, sentence) = error(&register(&plane, &json!({"email": "a@b", "password": PASSWORD})));
    assert!(status == 403 && sentence.contains("admin.registration"), "{status} {sentence}");
}

#[test]
fn an_account_opens_its_own_and_nothing_else() {
    let plane = open();
    let (_, token) = registered(&plane, "ann@example.com", None);
    for (method, path, body, status) in [
        ("GET", "/auth/me", "", 200),
        ("GET", "/auth/usage", "", 200),
        ("GET", "/auth/usage?period=weekly", "", 400),
        ("GET", "/auth/api-keys", "", 200),
        ("DELETE", "/auth/api-keys/none", "", 404),
        ("POST", "/auth/api-keys", r#"{"name": "k", "scopes": ["admin"]}"#, 403),
        ("POST", "/auth/api-keys", r#"{"name": "k", "orgId": "acme"}"#, 403),
        ("GET", "/admin/users", "", 403),
        ("GET", "/admin/overview", "", 403),
        ("GET", "/admin/audit", "", 403),
        ("GET", "/admin/settings", "", 403),
        ("GET", "/admin/logins", "", 403),
        ("GET", "/metrics", "", 403),
        ("POST", "/admin/users/alice/block", "{}", 403),
        ("POST", "/sdk/check", r#"{"userId": "a", "model": "m", "requestType": "chat"}"#, 403),
    ] {
        let answer = plane.ask_by(&token, method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
    }
    // Operators have keys and a name here, but no usage of their own.
    assert_eq!(plane.ask("GET", "/auth/usage", "").status, 403);
}

#[test]
fn what_its_keys_record_counts_for_its_org() {
    let plane = open();
    let (ann, token) = registered(&plane, "ann@example.com", None);
    let made = key(&plane, &token);
    assert_eq!((&made["orgId"], &made["scopes"]), (&ann["orgId"], &json!(["proxy", "sdk"])));
    for user in ["u1", "u2"] {
        assert_eq!(record(&plane, &made, user).status, 200);
    }
    let usage = eventually(|| {
        let usage = plane.ask_by(&token, "GET", "/auth/usage", "").json();
        (usage["usage"]["requests"] == 2).then_some(usage)
    });
    assert_eq!(usage["orgId"], ann["orgId"]);
    assert_eq!((&usage["usage"]["totalTokens"], &usage["usage"]["costUsd"]), (&json!(3000), &json!(0.0009)));
    assert_eq!((&usage["period"], &usage["tier"]), (&json!("monthly"), &json!("free")));
    assert_eq!(usage["tierLimits"], json!({"requestsPerMonth": null, "overagePer1k": null}));
    assert_eq!(usage["requestsThisMonth"], 2);
    let past = plane.ask_by(&token, "GET", "/auth/usage?from=2020-01-01&to=2020-01-31", "").json();
    assert_eq!((&past["usage"]["requests"], &past["period"]), (&json!(0), &json!("range")));
    assert_eq!(past["requestsThisMonth"], 2);
}

#[test]
fn each_account_sees_and_revokes_the_keys_that_it_made() {
    let plane = open();
    let (_, ann) = registered(&plane, "ann@example.com", None);
    let (_, bob) = registered(&plane, "bob@example.com", None);
    let (anns, bobs) = (key(&plane, &ann), key(&plane, &bob));
    plane.created("/auth/api-keys", &json!({"name": "the operator's"}));
    let list = plane.ask_by(&ann, "GET", "/auth/api-keys", "").json();
    assert_eq!((&list["total"], &list["keys"][0]["id"]), (&json!(1), &anns["id"]));
    assert_eq!(plane.ask("GET", "/auth/api-keys", "").json()["total"], 3);
    let path = |key: &Value| format!("/auth/api-keys/{}", key["id"].as_str().unwrap());
    let refused = plane.ask_by(&ann, "DELETE", &path(&bobs), "");
    assert_eq!(error(&refused), (404, "API key not found".to_owned()));
    assert_eq!(record(&plane, &bobs, "u").status, 200);
    assert_eq!(plane.ask_by(&ann, "DELETE", &path(&anns), "").json(), json!({"success": true}));
    assert_eq!(record(&plane, &anns, "v").status, 401);
    // An operator who removes the account ends its keys.
    let id = plane.ask_by(&bob, "GET", "/auth/me", "").json()["userId"].as_str().unwrap().to_owned();
    assert_eq!(plane.ask("DELETE", &format!("/admin/logins/{id}"), "").status, 200);
    assert_eq!(record(&plane, &bobs, "u").status, 401);
    assert_eq!(plane.ask_by(&bob, "GET", "/auth/me", "").status, 401);
}

#[test]
fn nobody_registers_into_an_org_that_something_is_known_of() {
    let plane = open();
    plane.session("alice", 1); // of acme
    plane.created("/auth/api-keys", &json!({"name": "k", "orgId": "keyed"}));
    plane.ask("PUT", "/admin/limits/org/bound", r#"{"maxCostUsd": 5}"#);
    let (ann, _) = registered(&plane, "ann@example.com", Some("anns"));
    assert_eq!(ann["orgId"], "anns");
    let victim = "org_login_00112233445566778899aabbccddeeff"; // what another email's account would get
    for org in ["acme", "keyed", "bound", "anns", victim] {
        let body = json!({"email": "bob@example.com", "password": PASSWORD, "orgId": org});
        let (status, sentence) = error(&register(&plane, &body));
        assert!(status == 409 && sentence.contains(org), "{status} {sentence}");
    }
    // A free email is no way into what its account of before has left.
    let id = ann["userId"].as_str().unwrap();
    assert_eq!(plane.ask("DELETE", &format!("/admin/logins/{id}"), "").status, 200);
    let body = json!({"email": "ann@example.com", "password": PASSWORD, "orgId": "anns"});
    assert_eq!(register(&plane, &body).status, 409);
}

#[test]
fn an_owner_puts_an_account_into_an_org_that_there_is() {
    let plane = open();
    plane.session("alice", 2);
    let login = json!({"email": "m@example.com", "password": PASSWORD, "role": "member", "orgId": "acme"});
    assert_eq!(plane.created("/admin/logins", &login)["orgId"], "acme");
    let body = json!({"email": "m@example.com", "password": PASSWORD}).to_string();
    let token = ask_with(plane.address(), "POST", "/auth/login", &[], &body).json()["token"].clone();
    let usage = || plane.ask_by(token.as_str().unwrap(), "GET", "/auth/usage", "").json();
    eventually(|| (usage()["usage"]["requests"] == 2).then_some(()));
    let odd = json!({"email": "v@example.com", "password": PASSWORD, "role": "viewer", "orgId": "acme"});
    assert_eq!(plane.ask("POST", "/admin/logins", &odd.to_string()).status, 400);
}

#[test]
fn an_accounts_key_speaks_for_no_user_of_another_org() {
    let plane = open();
    plane.session("alice", 1); // of acme
    plane.ask("POST", "/admin/users/orgless/threshold", r#"{"maxCostUsd": 5}"#);
    let (_, ann) = registered(&plane, "ann@example.com", None);
    let made = key(&plane, &ann);
    for (user, status) in [("alice", 403), ("orgless", 403), ("new", 200), ("new", 200)] {
        assert_eq!(record(&plane, &made, user).status, status, "{user}");
    }
    let check = r#"{"userId": "alice", "model": "m", "requestType": "chat"}"#;
    assert_eq!(plane.ask_by(made["apiKey"].as_str().unwrap(), "POST", "/sdk/check", check).status, 403);
    let bound = plane.ask_by(&ann, "POST", "/auth/api-keys", r#"{"name": "k", "userId": "alice"}"#);
    assert_eq!(bound.status, 403, "{}", bound.body);
    // One that an operator made of that org may, as before.
    let own = plane.created("/auth/api-keys", &json!({"name": "k", "orgId": "other"}));
    assert_eq!(record(&plane, &own, "alice").status, 200);
}

#[test]
fn registration_is_throttled() {
    let plane = open();
    let tries = (0..12).map(|n| register(&plane, &json!({"email": format!("{n}@b"), "password": PASSWORD})));
    let answers: Vec<Answer> = tries.collect();
    assert_eq!(answers[0].status, 201);
    let last = answers.last().unwrap();
    assert_eq!(last.status, 429, "{}", last.body);
    assert!(last.header("retry-after").is_some());
    // Operators behind the same address go on.
    check(&plane, "GET /admin/blocked", 200, json!({"blocked": []}));
}

#[test]
fn accounts_leave_room_for_operators() {
    let plane = Plane::start_with(|config| {
        config.registration = true;
        config.account_bounds = AccountBounds { logins_max: 1, keys_max: 2 };
    });
    let (_, ann) = registered(&plane, "ann@example.com", None);
    let bob = json!({"email": "bob@example.com", "password": PASSWORD});
    let (status, sentence) = error(&register(&plane, &bob));
    assert!(status == 503 && sentence.contains("as many accounts"), "{status} {sentence}");
    key(&plane, &ann);
    plane.created("/auth/api-keys", &json!({"name": "an operator's"}));
    let (status, sentence) = error(&plane.ask_by(&ann, "POST", "/auth/api-keys", r#"{"name": "more"}"#));
    assert!(status == 503 && sentence.contains("as many keys"), "{status} {sentence}");
    plane.created("/auth/api-keys", &json!({"name": "another of an operator"}));
    let login = json!({"email": "bob@example.com", "password": PASSWORD, "role": "member"});
    plane.created("/admin/logins", &login);
}
