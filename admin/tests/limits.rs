//! Limits of users, orgs, features and keys.

mod kit;

use kit::{Plane, check};
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
            "maxSessions": 2, "onRedisDown": "refuse"});
        let set = plane.ask("PUT", &path, &request.to_string()).json();
        assert_eq!(
            set["limit"],
            json!({"maxCostUsd": 3.0, "maxTotalTokens": 500, "window": "daily", "mode": "warn",
                "maxSessions": 2, "onRedisDown": "refuse"})
        );
        assert_eq!((&set["kind"], &set["id"], &set["name"]), (&json!(kind), &json!(id), &name));
        assert_eq!((&set["percent"], &set["state"]), (&json!(0), &json!("ok")));
        assert!(set["resetsAt"].is_string() && set["isDefault"] == false);
        assert_eq!(plane.ask("GET", &path, "").json(), set);
        // What is left out becomes unlimited, or takes its default.
        let set = plane.ask("PUT", &path, "{}").json();
        assert_eq!(
            set["limit"],
            json!({"maxCostUsd": null, "maxTotalTokens": null, "window": "monthly", "mode": "enforce",
                "maxSessions": null, "onRedisDown": "local_share"})
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
}
