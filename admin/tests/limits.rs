//! Limits of users, orgs, features and keys.

mod kit;

use kit::{Plane, check, eventually};
use serde_json::{Value, json};

#[test]
fn whoever_holds_a_limit_it_is_set_shown_and_taken_back() {
    let plane = Plane::start();
    let key = plane.created("/auth/api-keys", &json!({"name": "ci"}));
    let key = key["id"].as_str().unwrap();
    for (path, kind, id, name, default) in [
        ("user/alice%2Fb", "user", "alice/b", Value::Null, json!(10.0)),
        ("org/acme", "org", "acme", Value::Null, Value::Null),
        ("feature/voice", "feature", "voice", Value::Null, Value::Null),
        (&format!("key/{key}"), "key", key, json!("ci"), Value::Null),
    ] {
        let path = format!("/admin/limits/{path}");
        let before = plane.ask("GET", &path, "").json();
        assert_eq!((&before["isDefault"], &before["limit"]["maxCostUsd"]), (&json!(true), &default));
        let request = json!({"maxCostUsd": 3, "maxTotalTokens": 500, "window": "daily", "mode": "warn",
            "maxSessions": 2, "onRedisDown": "refuse", "models": ["gpt-realtime", "gpt-4o*"]});
        let set = plane.ask("PUT", &path, &request.to_string()).json();
        assert_eq!(
            set["limit"],
            json!({"maxCostUsd": 3.0, "maxTotalTokens": 500, "window": "daily", "mode": "warn",
                "maxSessions": 2, "onRedisDown": "refuse", "models": ["gpt-realtime", "gpt-4o*"]})
        );
        assert_eq!((&set["kind"], &set["id"], &set["name"]), (&json!(kind), &json!(id), &name));
        assert_eq!((&set["percent"], &set["state"]), (&json!(0), &json!("ok")));
        assert!(set["resetsAt"].is_string() && set["isDefault"] == false);
        assert_eq!(plane.ask("GET", &path, "").json(), set);
        // What is left out becomes unlimited, or takes its default.
        let set = plane.ask("PUT", &path, "{\"maxTotalTokens\":0}").json();
        assert_eq!(
            set["limit"],
            json!({"maxCostUsd": null, "maxTotalTokens": null, "window": "monthly", "mode": "enforce",
                "maxSessions": null, "onRedisDown": "local_share", "models": null})
        );
        let back = plane.ask("DELETE", &path, "").json();
        assert_eq!((&back["isDefault"], &back["limit"]["maxCostUsd"]), (&json!(true), &default));
    }
    assert_eq!(plane.ask("GET", "/admin/limits", "").json()["total"], 0);
}

#[test]
fn limits_are_listed_by_kind_and_name_with_how_near_they_are() {
    let plane = Plane::start();
    plane.session("alice", 1); // 1,500 tokens.
    for (path, tokens) in
        [("user/alice", 1_500), ("user/bob", 10), ("org/acme", 1_800), ("feature/voice", 3_000)]
    {
        let set = plane.ask(
            "PUT",
            &format!("/admin/limits/{path}"),
            &json!({"maxTotalTokens": tokens}).to_string(),
        );
        assert_eq!(set.status, 200, "{}", set.body);
    }
    let list = |query: &str| {
        let list = plane.ask("GET", &format!("/admin/limits?{query}"), "").json();
        let words = list["limits"].as_array().unwrap().iter().map(|limit| {
            format!(
                "{} {} {}",
                limit["id"].as_str().unwrap(),
                limit["percent"],
                limit["state"].as_str().unwrap()
            )
        });
        (words.collect::<Vec<_>>(), list["total"].as_u64().unwrap())
    };
    let words = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(list("kind=user"), (words(&["alice 100 reached", "bob 0 ok"]), 2));
    assert_eq!(list("kind=user&search=BO"), (words(&["bob 0 ok"]), 1));
    assert_eq!(list("limit=1&offset=1"), (words(&["bob 0 ok"]), 4));
    let nearest = ["alice 100 reached", "acme 83 warned", "voice 50 ok", "bob 0 ok"];
    assert_eq!(list("sort=used"), (words(&nearest), 4));
    assert_eq!(list("sort=used&limit=1&offset=1"), (words(&nearest[1..2]), 4));
    assert_eq!(list("kind=feature"), (words(&["voice 50 ok"]), 1));
    assert_eq!(list("kind=key"), (Vec::new(), 0));
}

#[test]
fn what_cannot_be_a_limit_is_refused_with_its_reason() {
    let plane = Plane::start();
    for path in ["/admin/limits/planet/mars", "/admin/limits/key/key_nothing"] {
        for method in ["GET", "PUT", "DELETE"] {
            assert_eq!(plane.ask(method, path, "{}").status, 404, "{method} {path}");
        }
    }
    let long = format!("GET /admin/limits/user/{}", "x".repeat(257));
    check(&plane, &long, 400, json!({"error": "User id is longer than 256 bytes"}));
    let refused =
        plane.ask("PUT", "/admin/limits/user/a", r#"{"maxCostUsd": -1, "mode": "stern", "maxSessions": 0}"#);
    let paths: Vec<Value> =
        refused.json()["error"].as_array().unwrap().iter().map(|issue| issue["path"][0].clone()).collect();
    assert_eq!(
        (refused.status, paths),
        (400, vec![json!("maxCostUsd"), json!("mode"), json!("maxSessions")])
    );
    assert_eq!(plane.ask("GET", "/admin/limits?kind=planet", "").status, 400);
    for (models, why) in [
        (json!([]), "An empty list would allow no model at all"),
        (json!("gpt-realtime"), "Expected array, received string"),
        (json!([1]), "Expected string, received number"),
        (json!(["gpt-realtime", "a*b"]), "An element of models is wrong: \"a*b\" is no model's name"),
        (json!(["a,b"]), "An element of models is wrong: \"a,b\" is no model's name"),
        (json!(["*"]), "An element of models is wrong: \"*\" is no model's name"),
        (json!([" "]), "An element of models is empty"),
        (json!(["x".repeat(257)]), "An element of models is longer than 256 bytes"),
        (json!(vec!["m"; 101]), "Array must contain at most 100 element(s)"),
    ] {
        let refused = plane.ask("PUT", "/admin/limits/user/a", &json!({"models": models}).to_string());
        let issue = &refused.json()["error"][0];
        assert_eq!((refused.status, &issue["path"]), (400, &json!(["models"])), "{issue}");
        assert!(issue["message"].as_str().unwrap().starts_with(why), "{issue}");
    }
    assert_eq!(plane.ask("GET", "/admin/limits/user/a", "").json()["isDefault"], true);
}

#[test]
fn allowed_models_are_kept_by_a_threshold_told_to_calls_and_in_the_audit() {
    let plane = Plane::start();
    let bind = |path: &str, models: &[&str]| {
        let set = plane.ask("PUT", &format!("/admin/limits/{path}"), &json!({"models": models}).to_string());
        assert_eq!(set.status, 200, "{}", set.body);
    };
    bind("user/alice", &["gpt-*", "gemini-3.8-live"]);
    assert_eq!(plane.ask("POST", "/admin/users/alice/threshold", r#"{"maxCostUsd": 5}"#).status, 200);
    let limit = plane.ask("GET", "/admin/limits/user/alice", "").json()["limit"].clone();
    assert_eq!((&limit["maxCostUsd"], &limit["models"]), (&json!(5.0), &json!(["gpt-*", "gemini-3.8-live"])));
    bind("org/acme", &["gpt-realtime*"]);
    for (model, org, reason) in [
        ("gpt-5", None, None),
        ("gpt-realtime-mini", Some("acme"), None),
        ("gpt-5", Some("acme"), Some("Model gpt-5 is not allowed; allowed: gpt-realtime*")),
        ("o5", None, Some("Model o5 is not allowed; allowed: gpt-*, gemini-3.8-live")),
    ] {
        let call = json!({"userId": "alice", "orgId": org, "model": model, "requestType": "chat"});
        let mut call = call.as_object().unwrap().clone();
        call.retain(|_, value| !value.is_null());
        let told = plane.ask("POST", "/sdk/check", &Value::Object(call).to_string()).json();
        assert_eq!(
            (&told["allowed"], told["reason"].as_str()),
            (&json!(reason.is_none()), reason),
            "{model}"
        );
    }
    let refusals = eventually(|| {
        let refusals = plane.ask("GET", "/admin/refusals?user=alice", "").json()["refusals"].clone();
        (refusals != json!([])).then_some(refusals)
    });
    assert_eq!(refusals[0]["reason"], "model_not_allowed", "{refusals}");
    let audit = plane.ask("GET", "/admin/audit?action=org.limit", "").json()["entries"].clone();
    assert_eq!(
        (&audit[0]["before"]["models"], &audit[0]["after"]["models"]),
        (&Value::Null, &json!(["gpt-realtime*"])),
        "{audit}"
    );
}

#[test]
fn a_limit_can_be_tried_and_tells_whom_it_would_end() {
    let plane = Plane::start();
    plane.session("alice", 1); // 1,500 tokens, of acme, for voice.
    plane.session("bob", 0);
    let before = plane.ask("GET", "/admin/limits/org/acme", "").json();
    let try_it = |method: &str, path: &str, body: &str| {
        let answer = plane.ask(method, &format!("/admin/limits/{path}?dryRun=true"), body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let told = |trial: &Value| {
        let figures = ["liveSessions", "sessionsEnded"].map(|name| trial[name].clone());
        (figures, trial["withIt"]["state"].clone(), trial["withIt"]["used"]["tokens"].clone())
    };
    for (method, path, body, ended, state, live) in [
        ("PUT", "org/acme", r#"{"maxTotalTokens": 1500}"#, 2, "reached", 2),
        ("PUT", "org/acme", r#"{"maxTotalTokens": 1500, "mode": "warn"}"#, 0, "reached", 2),
        ("PUT", "org/acme", r#"{"maxTotalTokens": 1501, "window": "daily"}"#, 0, "warned", 2),
        ("PUT", "user/alice", r#"{"maxTotalTokens": 100}"#, 1, "reached", 1),
        ("PUT", "feature/voice", r#"{"maxTotalTokens": 100}"#, 2, "reached", 2),
        // Of bob's session nobody knows the model yet.
        ("PUT", "org/acme", r#"{"models": ["other"]}"#, 1, "ok", 2),
        ("PUT", "org/acme", r#"{"models": ["gpt-4o*"]}"#, 0, "ok", 2),
        ("DELETE", "user/alice", "", 0, "ok", 1),
    ] {
        let trial = try_it(method, path, body);
        assert_eq!(told(&trial), ([json!(live), json!(ended)], json!(state), json!(1500)), "{path} {body}");
    }
    let nobody = try_it("PUT", "user/carol", r#"{"maxCostUsd": 0}"#);
    assert_eq!(told(&nobody), ([json!(0), json!(0)], json!("reached"), json!(0)));
    assert_eq!(plane.ask("GET", "/admin/limits/org/acme", "").json(), before, "nothing has changed");
    assert_eq!(plane.ask("GET", "/admin/audit", "").json()["entries"], json!([]));
    assert_eq!(plane.ask("GET", "/admin/sessions", "").json()["total"], 2);
}

#[test]
fn a_user_whose_limit_is_used_up_is_said_to_be_refused() {
    let plane = Plane::start();
    plane.session("alice", 1);
    let reached = || plane.ask("GET", "/admin/users", "").json()["users"][0]["limitReached"].clone();
    let limit = |body: &str| assert_eq!(plane.ask("PUT", "/admin/limits/user/alice", body).status, 200);
    assert_eq!(reached(), Value::Null);
    limit(r#"{"maxTotalTokens": 1000}"#);
    assert_eq!(reached(), json!({"measure": "tokens", "used": 1500.0, "limit": 1000.0}));
    limit(r#"{"maxCostUsd": 0.0001, "maxTotalTokens": 1000}"#);
    assert_eq!(reached(), json!({"measure": "cost_usd", "used": 0.00045, "limit": 0.0001}));
    limit(r#"{"maxTotalTokens": 1000, "mode": "warn"}"#);
    assert_eq!(reached(), Value::Null, "a warning refuses nobody");
}

#[test]
fn users_whom_the_default_binds_are_listed_among_the_others_by_how_near_they_are() {
    let plane = Plane::start(); // Ten dollars a month bind everybody.
    plane.session("alice", 4); // 6,000 tokens, 0.0018 dollars.
    plane.session("bob", 2);
    plane.session("carol", 0);
    plane.ask("PUT", "/admin/limits/user/bob", r#"{"maxTotalTokens": 3000}"#);
    plane.ask("PUT", "/admin/limits/org/acme", r#"{"maxTotalTokens": 90000}"#);
    let list = |query: &str| plane.ask("GET", &format!("/admin/limits?{query}"), "").json();
    let shown = |list: &Value| -> Vec<(String, bool)> {
        let rows = list["limits"].as_array().unwrap().iter();
        rows.map(|row| (row["id"].as_str().unwrap().into(), row["isDefault"] == true)).collect()
    };
    let row = |id: &str, by_default: bool| (id.to_owned(), by_default);
    assert_eq!(shown(&list("sort=used")), [row("bob", false), row("acme", false)]);
    let all = list("sort=used&defaults=true");
    assert_eq!(shown(&all), [row("bob", false), row("acme", false), row("alice", true), row("carol", true)]);
    assert_eq!((&all["total"], &all["limits"][2]["limit"]["maxCostUsd"]), (&json!(4), &json!(10.0)));
    assert_eq!(shown(&list("defaults=true&kind=user&search=a")), [row("alice", true), row("carol", true)]);
    assert_eq!(shown(&list("defaults=true&kind=org")), [row("acme", false)]);
    let page = list("sort=used&defaults=true&limit=1&offset=2");
    assert_eq!((shown(&page), &page["total"]), (vec![row("alice", true)], &json!(4)));
}
