//! What existing clients ask of an org: its users, blocks, features, logs; and sessions that are over.

mod kit;

use kit::{Plane, check, eventually, issue};
use serde_json::{Value, json};

fn log(plane: &Plane, user: &str, org: &str, more: Value) -> String {
    let mut body = json!({"userId": user, "orgId": org, "model": "gpt-4o-mini", "feature": "voice",
        "request": {"messages": [{"role": "user", "content": "hi"}]}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let logged = plane.created("/sdk/log", &body);
    // The next one is later.
    let at = kit::now();
    eventually(|| (kit::now() > at).then_some(()));
    logged["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_org_lists_its_users_blocks_and_features() {
    let plane = Plane::start();
    for (user, org) in [("bob", "acme"), ("alice", "acme"), ("carol", "other")] {
        plane.created(
            "/admin/users",
            &json!({"userId": user, "orgId": org, "email": format!("{user}@example.com")}),
        );
    }
    plane.created("/admin/users", &json!({"userId": "dave", "name": "Dave", "orgId": "acme"}));
    for (user, body) in
        [("bob", "{\"reason\":\"late\"}"), ("carol", ""), ("dave", "{\"expiresAt\":\"2001-01-01\"}")]
    {
        assert_eq!(plane.ask("POST", &format!("/admin/users/{user}/block"), body).status, 200);
    }
    check(
        &plane,
        "GET /admin/orgs/acme/users",
        200,
        json!([
            {"id": "alice", "displayName": "alice", "email": "alice@example.com"},
            {"id": "bob", "displayName": "bob", "email": "bob@example.com"},
            {"id": "dave", "displayName": "Dave", "email": null},
        ]),
    );
    let blocked = plane.ask("GET", "/admin/orgs/acme/blocked", "").json();
    let at = &blocked["blocked"][0]["blockedAt"];
    assert_eq!(
        blocked,
        json!({"blocked": [{"userId": "bob", "reason": "late", "blockedAt": at}], "count": 1})
    );
    check(&plane, "GET /admin/orgs/acme/groups", 200, json!([]));
    check(&plane, "GET /admin/orgs/acme/features", 200, json!([]));
    for (org, feature) in [("acme", "voice"), ("acme", "chat"), ("other", "mail")] {
        let body = json!({"userId": "alice", "orgId": org, "model": "gpt-4o-mini", "requestType": "chat",
            "inputTokens": 1, "outputTokens": 1, "latencyMs": 1, "success": true, "feature": feature});
        assert_eq!(plane.ask("POST", "/sdk/record", &body.to_string()).status, 200);
    }
    let features = json!([{"id": "chat", "name": "chat"}, {"id": "voice", "name": "voice"}]);
    eventually(|| (plane.ask("GET", "/admin/orgs/acme/features", "").json() == features).then_some(()));
    for part in ["users", "features", "groups"] {
        check(&plane, &format!("GET /admin/orgs/nobody/{part}"), 200, json!([]));
    }
    check(&plane, "GET /admin/orgs/nobody/blocked", 200, json!({"blocked": [], "count": 0}));
    for part in ["users", "blocked", "features", "groups", "logs", "logs/log_1", "users/alice/logs"] {
        let expected =
            json!({"error": "Org id contains a control character: U+0000, its character 2; leave it out"});
        check(&plane, &format!("GET /admin/orgs/a%00b/{part}"), 400, expected);
    }
}

#[test]
fn logs_are_told_whole_and_to_their_org_alone() {
    let plane = Plane::start();
    let response = json!({"id": "resp_1", "usage": {"prompt_tokens": 1000, "completion_tokens": 500}});
    let first = log(
        &plane,
        "alice",
        "acme",
        json!({"response": response, "userEmail": "a@example.com", "userName": "Alice", "latencyMs": 12.4,
            "conversationId": "conv_1"}),
    );
    let second = log(&plane, "bob", "acme", json!({"status": "error"}));
    let foreign = log(&plane, "alice", "other", json!({}));
    let page = |path: &str| plane.ask("GET", &format!("/admin/orgs/{path}"), "").json();
    let logs = eventually(|| Some(page("acme/logs")).filter(|page| page["total"] == 2));
    let (bob, alice) = (&logs["logs"][0], &logs["logs"][1]);
    let details = |text_in: u64, text_out: u64| {
        json!({"cachedInputTokens": 0, "textInputTokens": text_in, "audioInputTokens": 0, "imageInputTokens": 0,
            "textOutputTokens": text_out, "audioOutputTokens": 0, "reasoningTokens": 0})
    };
    let request = json!({"messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(
        *alice,
        json!({"id": first, "userId": "alice", "orgId": "acme", "userEmail": "a@example.com", "userName": "Alice",
            "conversationId": "conv_1", "model": "gpt-4o-mini", "feature": "voice", "requestBody": request,
            "responseBody": response, "status": "success", "promptTokens": 1000, "completionTokens": 500,
            "totalTokens": 1500, "tokenDetails": details(1000, 500), "costUsd": 0.00045, "latencyMs": 12,
            "analysisLabels": null, "createdAt": alice["createdAt"]})
    );
    assert!(alice["createdAt"].as_str().is_some_and(|at| at.ends_with('Z')));
    assert_eq!(
        *bob,
        json!({"id": second, "userId": "bob", "orgId": "acme", "userEmail": null, "userName": null,
            "conversationId": bob["conversationId"], "model": "gpt-4o-mini", "feature": "voice",
            "requestBody": request, "responseBody": null, "status": "error", "promptTokens": null,
            "completionTokens": null, "totalTokens": null, "tokenDetails": details(0, 0), "costUsd": null,
            "latencyMs": null, "analysisLabels": null, "createdAt": bob["createdAt"]})
    );
    assert_eq!(page("acme/logs?limit=1&offset=1"), json!({"logs": [alice], "total": 2}));
    assert_eq!(page("acme/users/bob/logs"), json!({"logs": [bob], "total": 1}));
    assert_eq!(page("other/users/bob/logs"), json!({"logs": [], "total": 0}));
    check(&plane, &format!("GET /admin/orgs/acme/logs/{first}"), 200, alice.clone());
    for path in [format!("acme/logs/{foreign}"), "acme/logs/log_0".to_owned(), "nobody/logs/a%20b".to_owned()]
    {
        check(&plane, &format!("GET /admin/orgs/{path}"), 404, json!({"error": "Log not found"}));
    }
    let too_many = issue("limit", "too_big", "Number must be less than or equal to 100");
    check(&plane, "GET /admin/orgs/acme/logs?limit=101", 400, too_many);
}

#[test]
fn sessions_that_are_over_are_told_with_their_end() {
    let plane = Plane::start();
    check(&plane, "GET /admin/sessions/past", 200, json!({"sessions": []}));
    for user in ["alice", "bob"] {
        let session = plane.session(user, 2);
        eventually(|| (plane.ask("GET", "/admin/sessions", "").json()["total"] == 1).then_some(()));
        plane.ask("DELETE", &format!("/admin/sessions/{}", session.id), "");
        plane.close(&session);
        eventually(|| (plane.ask("GET", "/admin/sessions", "").json()["total"] == 0).then_some(()));
    }
    let past = |query: &str| plane.ask("GET", &format!("/admin/sessions/past?{query}"), "").json();
    let users = |query: &str| {
        let past = past(query);
        let users =
            past["sessions"].as_array().unwrap().iter().map(|session| session["userId"].as_str().unwrap());
        users.collect::<Vec<_>>().join(" ")
    };
    eventually(|| (users("") == "bob alice").then_some(()));
    for (query, expected) in [
        ("user=alice", "alice"),
        ("org=acme&limit=1&offset=1", "alice"),
        ("org=other", ""),
        ("limit=1", "bob"),
    ] {
        assert_eq!(users(query), expected, "{query}");
    }
    let alice = past("user=alice")["sessions"][0].clone();
    assert_eq!(
        alice,
        json!({"id": alice["id"], "userId": "alice", "orgId": "acme", "feature": "voice", "model": "gpt-4o-mini",
            "provider": "openai", "transport": "websocket", "callId": null, "openedAt": alice["openedAt"], "closedAt": alice["closedAt"], "closeCode": 4003,
            "usage": {"inputTokens": 2000, "outputTokens": 1000, "totalTokens": 3000, "costUsd": 0.0009,
                "estimatedCostUsd": 0.00045, "requests": 2, "lastUpdated": alice["usage"]["lastUpdated"]}})
    );
}
