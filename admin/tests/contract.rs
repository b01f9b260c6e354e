//! What existing clients were promised: every route, status, field and message.

mod kit;

use kit::{Plane, check, eventually, issue};
use serde_json::{Value, json};
use tokenist_handoff::Order;

const FUTURE: &str = "2999-01-01T00:00:00.000Z";

#[test]
fn a_user_that_was_never_seen_has_used_nothing() {
    let plane = Plane::start();
    let zeros = json!({"inputTokens": 0, "outputTokens": 0, "totalTokens": 0, "costUsd": 0.0,
        "estimatedCostUsd": 0.0, "requests": 0, "lastUpdated": null});
    let user = |period: &str| {
        json!({"userId": "a/b@c d", "orgId": null, "email": null, "name": null, "usage": zeros, "period": period,
            "underWay": {"costUsd": 0.0, "totalTokens": 0}, "threshold": {"maxCostUsd": 10.0, "window": "monthly"}, "thresholdIsDefault": true,
            "resetsAt": null, "limitReached": null, "blocked": false, "blockEntry": null, "sessions": 0})
    };
    check(&plane, "GET /admin/users/a%2Fb%40c%20d/usage", 200, user("monthly"));
    check(&plane, "GET /admin/users/a%2Fb%40c%20d/usage?period=total", 200, user("total"));
    check(&plane, "GET /admin/users/a%2Fb%40c%20d/models", 200, json!({"userId": "a/b@c d", "models": []}));
    check(&plane, "GET /admin/users", 200, json!({"users": [], "nextCursor": null}));
    check(&plane, "GET /admin/blocked", 200, json!({"blocked": []}));
    check(&plane, "GET /admin/sessions", 200, json!({"sessions": [], "total": 0}));
}

#[test]
fn ids_and_parameters_are_checked() {
    let plane = Plane::start();
    let words = "'daily' | 'monthly' | 'rolling_24h' | 'total'";
    let period = issue("period", "invalid_enum_value", &format!("Invalid enum value. Expected {words}"));
    for (request, expected) in [
        (
            "GET /admin/users/a%00b/usage",
            json!({"error": "User id contains a control character: U+0000, its character 2; leave it out"}),
        ),
        ("GET /admin/users//usage", json!({"error": "User id is empty"})),
        ("GET /admin/users/%ff/usage", json!({"error": "User id is not UTF-8"})),
        (
            "POST /admin/users/a%0ab/block",
            json!({"error": "User id contains a control character: U+000A, its character 2; leave it out"}),
        ),
        ("GET /admin/users/a/usage?period=weekly", period.clone()),
        ("GET /admin/users?period=", period),
        (
            "GET /admin/users?limit=0",
            issue("limit", "too_small", "Number must be greater than or equal to 1"),
        ),
        (
            "GET /admin/users?limit=10001",
            issue("limit", "too_big", "Number must be less than or equal to 10000"),
        ),
        (
            "GET /admin/users/a/models?since=monday",
            issue("since", "invalid_enum_value", "Invalid enum value. Expected 'start'"),
        ),
        (
            "GET /admin/users/a/usage?from=2024-03-02&to=2024-03-01",
            issue("from", "custom", "from must come before to"),
        ),
        ("GET /admin/users/a/usage?to=soon", issue("to", "invalid_string", "Invalid datetime")),
        (
            "GET /admin/users/a/usage/history?grain=hour&from=2020-01-01",
            issue("from", "too_big", "More than 10000 points: ask for a shorter range or a coarser grain"),
        ),
        (
            "GET /admin/orgs/a%00b/summary",
            json!({"error": "Org id contains a control character: U+0000, its character 2; leave it out"}),
        ),
        (
            "GET /admin/orgs/acme/summary?userIds=a,,b",
            issue("userIds", "invalid_string", "An element of userIds is empty"),
        ),
        (
            "GET /auth/api-keys?ended=maybe",
            issue("ended", "invalid_type", "Expected boolean, received string"),
        ),
        ("GET /admin/sessions?limit=x", issue("limit", "invalid_type", "Expected number, received string")),
    ] {
        check(&plane, request, 400, expected);
    }
    let long = "x".repeat(257);
    let expected = json!({"error": "User id is longer than 256 bytes"});
    check(&plane, &format!("GET /admin/users/{long}/usage"), 400, expected);
}

#[test]
fn a_block_holds_until_it_is_lifted_or_expires() {
    let plane = Plane::start();
    check(
        &plane,
        "POST /admin/users/alice/block {\"reason\":\"abuse <script>\",\"expiresAt\":\"2999-01-01T00:00:00Z\"}",
        200,
        json!({"success": true, "userId": "alice", "blocked": true, "reason": "abuse <script>", "expiresAt": FUTURE}),
    );
    check(
        &plane,
        "POST /admin/users/bob/block",
        200,
        json!({"success": true, "userId": "bob", "blocked": true}),
    );
    check(
        &plane,
        "POST /admin/users/carol/block {\"expiresAt\":\"2001-01-01\"}",
        200,
        json!({"success": true, "userId": "carol", "blocked": true, "expiresAt": "2001-01-01T00:00:00.000Z"}),
    );

    let blocked = plane.ask("GET", "/admin/blocked", "").json();
    let at = |index: usize| blocked["blocked"][index]["blockedAt"].clone();
    assert!(at(0).as_str().is_some_and(|at| at.len() == FUTURE.len() && at.ends_with('Z')), "{blocked}");
    assert_eq!(
        blocked,
        json!({"blocked": [
            {"userId": "alice", "reason": "abuse <script>", "blockedAt": at(0), "expiresAt": FUTURE},
            {"userId": "bob", "blockedAt": at(1)},
        ]})
    );
    let alice = plane.ask("GET", "/admin/users/alice/usage", "").json();
    assert_eq!(alice["blocked"], true);
    let entry =
        json!({"endUserId": "alice", "reason": "abuse <script>", "blockedAt": at(0), "expiresAt": FUTURE});
    assert_eq!(alice["blockEntry"], entry);
    let carol = plane.ask("GET", "/admin/users/carol/usage", "").json();
    assert_eq!((&carol["blocked"], &carol["blockEntry"]), (&json!(false), &Value::Null));

    let lifted = |user: &str, was: bool| json!({"success": true, "userId": user, "wasBlocked": was});
    check(&plane, "POST /admin/users/alice/unblock", 200, lifted("alice", true));
    check(&plane, "POST /admin/users/alice/unblock", 200, lifted("alice", false));
    check(&plane, "POST /admin/users/carol/unblock", 200, lifted("carol", false));
    check(&plane, "POST /admin/users/nobody/unblock", 200, lifted("nobody", false));

    for (body, expected) in [
        ("{\"expiresAt\":\"soon\"}", issue("expiresAt", "invalid_string", "Invalid datetime")),
        ("{\"expiresAt\":null}", issue("expiresAt", "invalid_type", "Expected string, received null")),
        ("{\"reason\":7}", issue("reason", "invalid_type", "Expected string, received number")),
    ] {
        check(&plane, &format!("POST /admin/users/alice/block {body}"), 400, expected);
    }
}

#[test]
fn a_threshold_replaces_both_limits() {
    let plane = Plane::start();
    for (body, threshold) in [
        (
            "{\"maxCostUsd\":0.0009,\"maxTotalTokens\":5}",
            json!({"maxCostUsd": 0.0009, "maxTotalTokens": 5, "window": "monthly"}),
        ),
        ("{\"maxTotalTokens\":7,\"window\":\"daily\"}", json!({"maxTotalTokens": 7, "window": "daily"})),
        ("{\"maxCostUsd\":0,\"maxTotalTokens\":0}", json!({"maxCostUsd": 0.0, "window": "monthly"})),
        ("{\"maxTotalTokens\":0}", json!({"window": "monthly"})),
    ] {
        let reply = json!({"success": true, "userId": "alice", "threshold": threshold});
        check(&plane, &format!("POST /admin/users/alice/threshold {body}"), 200, reply);
        let user = plane.ask("GET", "/admin/users/alice/usage", "").json();
        assert_eq!((&user["threshold"], &user["thresholdIsDefault"]), (&threshold, &json!(false)), "{body}");
        assert_eq!(user["period"], threshold["window"]);
    }
    for (body, expected) in [
        ("{\"maxCostUsd\":null}", issue("maxCostUsd", "invalid_type", "Expected number, received null")),
        (
            "{\"maxTotalTokens\":null}",
            issue("maxTotalTokens", "invalid_type", "Expected number, received null"),
        ),
        (
            "{\"maxCostUsd\":-1}",
            issue("maxCostUsd", "too_small", "Number must be greater than or equal to 0"),
        ),
        (
            "{\"maxTotalTokens\":0.5}",
            issue("maxTotalTokens", "invalid_type", "Expected integer, received float"),
        ),
    ] {
        check(&plane, &format!("POST /admin/users/alice/threshold {body}"), 400, expected);
    }
    let user = plane.ask("GET", "/admin/users/alice/usage", "").json();
    assert_eq!(user["threshold"], json!({"window": "monthly"}), "a refused threshold changes nothing");
}

#[test]
fn usage_is_told_to_the_nano_dollar() {
    let plane = Plane::start();
    let session = plane.session("alice", 2);
    let usage = json!({"inputTokens": 2000, "outputTokens": 1000, "totalTokens": 3000, "costUsd": 0.0009,
        "estimatedCostUsd": 0.00045, "requests": 2, "lastUpdated": session.at});
    let alice = eventually(|| {
        let answer = plane.ask("GET", "/admin/users/alice/usage", "").json();
        (answer["usage"] == usage).then_some(answer)
    });
    assert_eq!((&alice["orgId"], &alice["sessions"]), (&json!("acme"), &json!(1)));
    assert!(alice["resetsAt"].as_str().is_some_and(|at| at.ends_with("-01T00:00:00.000Z")), "{alice}");
    for period in ["daily", "monthly", "rolling_24h", "total"] {
        let answer = plane.ask("GET", &format!("/admin/users/alice/usage?period={period}"), "").json();
        assert_eq!((&answer["usage"], &answer["period"]), (&usage, &json!(period)));
    }
    let listed = plane.ask("GET", "/admin/users", "").json();
    assert_eq!(listed, json!({"users": [alice], "nextCursor": null}));
    check(
        &plane,
        "GET /admin/users/alice/models?since=start",
        200,
        json!({"userId": "alice", "models": [{
            "feature": "voice", "model": "gpt-4o-mini", "usage": usage, "requests": 2, "durationMs": 0,
            "characters": 0, "items": 0, "searches": 0, "fileSearches": 0,
            "tokenDetails": {"cachedInputTokens": 200, "cachedTextInputTokens": 200, "cachedAudioInputTokens": 0,
                "cachedImageInputTokens": 0, "cacheWriteInputTokens": 0, "cacheWriteLongInputTokens": 0,
                "textInputTokens": 2000, "audioInputTokens": 0, "imageInputTokens": 0, "videoInputTokens": 0,
                "textOutputTokens": 1000, "audioOutputTokens": 0, "imageOutputTokens": 0, "videoOutputTokens": 0,
                "reasoningTokens": 100},
        }]}),
    );
    // The store has the same soon.
    let all_time = |path: &str| plane.ask("GET", path, "").json();
    let started = all_time("/admin/users/alice/models?since=start");
    eventually(|| (all_time("/admin/users/alice/models") == started).then_some(()));
    let live = plane.ask("GET", "/admin/sessions", "").json();
    assert!(live["sessions"][0]["ageSeconds"].as_u64().is_some_and(|age| age < 60), "{live}");
    assert_eq!(
        live,
        json!({"sessions": [{"sessionId": session.id, "userId": "alice", "orgId": "acme", "feature": "voice",
            "provider": "openai", "model": "gpt-4o-mini", "openedAt": session.at,
            "transport": "websocket", "callId": null, "hangupFails": false,
            "ageSeconds": live["sessions"][0]["ageSeconds"], "usage": usage, "costPerMinuteUsd": 0.0009}], "total": 1})
    );
}

#[test]
fn users_are_listed_by_page_search_and_org() {
    let plane = Plane::start();
    for user in ["carol", "alice", "bob"] {
        plane.session(user, 1);
    }
    let ids = |path: &str| {
        let answer = plane.ask("GET", path, "").json();
        let users = answer["users"].as_array().unwrap();
        let ids: Vec<String> = users.iter().map(|user| user["userId"].as_str().unwrap().into()).collect();
        (ids.join(" "), answer["nextCursor"].as_str().unwrap_or("").to_owned())
    };
    let found = |ids: &str, cursor: &str| (ids.to_owned(), cursor.to_owned());
    eventually(|| (ids("/admin/users") == found("alice bob carol", "")).then_some(()));
    assert_eq!(ids("/admin/users?limit=2"), found("alice bob", "bob"));
    assert_eq!(ids("/admin/users?limit=2&cursor=bob"), found("carol", ""));
    assert_eq!(ids("/admin/users?limit=3"), found("alice bob carol", ""));
    assert_eq!(ids("/admin/users?search=AR"), found("carol", ""));
    assert_eq!(ids("/admin/users?org=acme&limit=1"), found("alice", "alice"));
    assert_eq!(ids("/admin/users?org=none"), found("", ""));
    assert_eq!(ids("/admin/users?order=desc&limit=2"), found("carol bob", "bob"));
    assert_eq!(ids("/admin/users?order=desc&limit=2&cursor=bob"), found("alice", ""));
    assert_eq!(ids("/admin/users?blocked=true"), found("", ""));
    plane.ask("POST", "/admin/users/bob/block", "");
    plane.ask("POST", "/admin/users/carol/block", "{\"expiresAt\":\"2001-01-01\"}");
    assert_eq!(ids("/admin/users?blocked=true"), found("bob", ""));
    assert_eq!(ids("/admin/users?blocked=true&sort=cost"), found("bob", ""));
    assert_eq!(ids("/admin/users?blocked=false&sort=id&order=asc"), found("alice bob carol", ""));
}

#[test]
fn users_are_sorted_by_what_they_used() {
    let plane = Plane::start();
    for (user, responses) in [("alice", 1), ("bob", 3), ("carol", 2), ("dave", 2)] {
        plane.session(user, responses);
    }
    plane.ask("POST", "/admin/users/idle/block", "");
    let page = |query: &str| {
        let answer = plane.ask("GET", &format!("/admin/users?{query}"), "").json();
        let users = answer["users"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap());
        (users.collect::<Vec<_>>().join(" "), answer["nextCursor"].clone())
    };
    let all = |ids: &str| (ids.to_owned(), Value::Null);
    eventually(|| (page("sort=cost") == all("bob carol dave alice idle")).then_some(()));
    for (query, ids) in [
        ("sort=tokens", "bob carol dave alice idle"),
        ("sort=cost&order=asc", "idle alice carol dave bob"),
        ("sort=tokens&order=asc&search=A", "alice carol dave"),
        ("sort=cost&org=acme&period=daily", "bob carol dave alice"),
        ("sort=lastUpdated&order=asc&search=idle", "idle"),
    ] {
        assert_eq!(page(query), all(ids), "{query}");
    }
    let latest = page("sort=lastUpdated").0;
    assert!(latest.ends_with(" idle") && latest.len() == "bob carol dave alice idle".len(), "{latest}");
    // Page by page it is the same.
    for query in ["sort=cost&limit=2", "sort=tokens&order=asc&limit=1", "sort=lastUpdated&limit=2"] {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        while let (ids, Value::String(next)) = page(&format!("{query}{cursor}")) {
            pages.push(ids);
            cursor = format!("&cursor={next}");
        }
        pages.push(page(&format!("{query}{cursor}")).0);
        let whole = page(&query.replace("&limit=1", "").replace("&limit=2", "")).0;
        assert_eq!(pages.join(" "), whole, "{query}");
    }
    let daily = plane.ask("GET", "/admin/users?sort=cost&limit=1", "").json();
    assert_eq!(daily["users"][0]["period"], "monthly", "the default threshold's window");
    check(
        &plane,
        "GET /admin/users?sort=cost&cursor=alice",
        400,
        issue("cursor", "invalid_string", "cursor is no nextCursor of this order"),
    );
}

#[test]
fn everybody_is_looked_at_for_the_order() {
    let plane = Plane::start();
    for n in 0..4_100 {
        plane.ask("POST", &format!("/admin/users/user{n:04}/threshold"), "{\"maxTotalTokens\":0}");
    }
    plane.session("user4099", 2);
    plane.session("user2000", 1);
    let ids = || {
        let answer = plane.ask("GET", "/admin/users?sort=cost&limit=3", "").json();
        let users = answer["users"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap());
        users.collect::<Vec<_>>().join(" ")
    };
    eventually(|| (ids() == "user4099 user2000 user0000").then_some(()));
}

#[test]
fn a_page_may_be_longer_than_what_the_ledger_is_asked_at_once() {
    let plane = Plane::start();
    for n in 0..1100 {
        plane.ask("POST", &format!("/admin/users/user{n:04}/block"), "");
    }
    let count = |path: &str| {
        let answer = plane.ask("GET", path, "").json();
        let users = answer["users"].as_array().unwrap();
        let last = users.last().unwrap()["userId"].as_str().unwrap();
        (users.len(), last.to_owned(), answer["nextCursor"].clone())
    };
    assert_eq!(count("/admin/users"), (1100, "user1099".into(), json!(null)));
    assert_eq!(count("/admin/users?limit=1000"), (1000, "user0999".into(), json!("user0999")));
    assert_eq!(count("/admin/users?limit=1000&cursor=user0999"), (100, "user1099".into(), json!(null)));
}

#[test]
fn a_block_and_a_lower_threshold_reach_the_shards() {
    let plane = Plane::start();
    plane.session("alice", 1);
    plane.session("bob", 1);
    plane.ask("POST", "/admin/users/alice/block", "");
    assert!(matches!(plane.order(), Order::Sweep));
    plane.ask("POST", "/admin/users/bob/threshold", "{\"maxTotalTokens\":1}");
    assert!(matches!(plane.order(), Order::Sweep));
}

#[test]
fn without_a_ledger_every_answer_says_so() {
    let admin = Plane::start().lose_control();
    for request in ["GET /admin/users", "GET /admin/users/alice/usage", "POST /admin/users/alice/block"] {
        let (method, path) = request.split_once(' ').unwrap();
        let answer = kit::ask(admin.address(), method, path, "");
        assert_eq!((answer.status, answer.json()), (503, json!({"error": "The ledger has stopped"})));
    }
    for path in ["/health", "/ready"] {
        let answer = kit::ask(admin.address(), "GET", path, "");
        assert_eq!((answer.status, &answer.json()["status"]), (503, &json!("failing")), "{path}");
    }
    let metrics = kit::ask(admin.address(), "GET", "/metrics", "");
    assert!(metrics.status == 200 && metrics.body.contains("\ntokenist_ledger_up 0\n"));
}

#[test]
fn a_live_session_can_be_ended() {
    let plane = Plane::start();
    let session = plane.session("alice", 1);
    eventually(|| (plane.ask("GET", "/admin/sessions", "").json()["total"] == 1).then_some(()));
    let path = format!("DELETE /admin/sessions/{}", session.id);
    check(&plane, &path, 200, json!({"success": true, "sessionId": session.id}));
    plane.close(&session);
    eventually(|| (plane.ask("GET", "/admin/sessions", "").json()["total"] == 0).then_some(()));
    for path in
        [path.as_str(), "DELETE /admin/sessions/sess_ffffffffffffffff", "DELETE /admin/sessions/nonsense"]
    {
        check(&plane, path, 404, json!({"error": "Session not found"}));
    }
}

#[test]
fn health_tells_how_the_process_does() {
    let plane = Plane::start();
    plane.session("alice", 1);
    eventually(|| (plane.ask("GET", "/health", "").json()["sessions"] == 1).then_some(()));
    let health = |status: &str, draining: bool| {
        let answer = kit::ask_with(plane.address(), "GET", "/health", &[], "");
        let health = answer.json();
        let expected = json!({"status": status, "version": "1.2.3", "driver": "epoll", "draining": draining,
            "startedAt": health["startedAt"], "uptimeSeconds": health["uptimeSeconds"], "sessions": 1, "users": 1,
            "ledgerFull": false, "store": "memory", "storeFailing": false, "storeFailure": null, "redisFailing": null,
            "redisFailure": null, "instances": null, "mirrorFailure": null, "mirrorWaiting": null, "problems": [],
            "logLinesLost": 0, "acceptFailure": null, "journalFailure": null, "reportsHeld": 0, "threadsRestarted": []});
        assert_eq!((answer.status, health), (200, expected));
    };
    let ready = || {
        let answer = kit::ask_with(plane.address(), "GET", "/ready", &[], "");
        (answer.status, answer.json())
    };
    health("ok", false);
    assert_eq!(ready(), (200, json!({"status": "ok"})));
    plane.drain();
    health("draining", true);
    assert_eq!(ready(), (503, json!({"status": "draining"})));
}

#[test]
fn health_says_when_lines_of_the_log_are_lost_and_when_they_no_longer_are() {
    let plane = Plane::start();
    let health = || plane.ask("GET", "/health", "").json();
    (0..3).for_each(|_| plane.log.lose("the disk is full"));
    let problem = "Lines of the log are lost, 3 so far: the disk is full.";
    assert_eq!((&health()["status"], &health()["problems"]), (&json!("degraded"), &json!([problem])));
    assert_eq!(plane.ask("GET", "/ready", "").status, 200, "sessions are served all the same");
    assert!(plane.ask("GET", "/metrics", "").body.contains("\ntokenist_log_lines_dropped_total 3\n"));
    plane.log.recover(3);
    assert_eq!((&health()["status"], &health()["logLinesLost"]), (&json!("ok"), &json!(3)));
}

#[test]
fn metrics_hold_counters_and_gauges_and_no_user() {
    let plane = Plane::start();
    plane.session("alice", 1);
    let page = eventually(|| {
        let answer = plane.ask("GET", "/metrics", "");
        answer.body.contains("\ntokenist_sessions 1\n").then_some(answer)
    });
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "# TYPE tokenist_sessions_opened_total counter",
        "tokenist_sessions_opened_total 3",
        "tokenist_users 1",
        "tokenist_ledger_up 1",
        "tokenist_store_failing 0",
        "tokenist_build_info{version=\"1.2.3\",driver=\"epoll\",store=\"memory\"} 1",
    ] {
        assert!(page.body.lines().any(|found| found == line), "{line} is not in\n{}", page.body);
    }
    assert!(!page.body.contains("alice") && !page.body.contains("acme"));
}

#[test]
fn the_description_is_the_committed_file() {
    let plane = Plane::start();
    let answer = kit::ask_with(plane.address(), "GET", "/openapi.json", &[], "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.body, include_str!("../openapi.json"));
}

#[test]
fn everything_else_is_not_found() {
    let plane = Plane::start();
    for request in [
        "GET /nothing",
        "GET /admin",
        "GET /admin/nothing",
        "GET /admin/users/alice",
        "PUT /admin/users",
        "POST /admin/users/alice/usage",
        "GET /auth/api-keys/key_1",
        "GET /sdk/check",
        "GET /admin/orgs/acme",
        "DELETE /admin/users/alice/usage",
        "PUT /admin/users/alice/threshold {}",
        "GET /admin/users/alice/block",
        "POST /health",
        "BREW /health",
    ] {
        check(&plane, request, 404, json!({"error": "Not found"}));
    }
}
