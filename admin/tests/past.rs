//! What was used when, by whom and for what, from the store.

mod kit;

use kit::{Plane, eventually, now};
use serde_json::{Value, json};
use tokenist_core::close_reason::Measure;
use tokenist_core::money::NanoUsd;
use tokenist_core::time::{DAY_MS, HOUR_MS, Timestamp};

/// Counts 1000 + 500 tokens of gpt-4o-mini, thus 0.00045 dollars, at a time.
fn record(plane: &Plane, user: &str, feature: &str, at: &str) {
    let body = json!({"userId": user, "orgId": "acme", "model": "gpt-4o-mini", "requestType": "chat",
        "inputTokens": 1000, "outputTokens": 500, "latencyMs": 1, "success": true, "feature": feature,
        "timestamp": at});
    let answer = plane.ask("POST", "/sdk/record", &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn get(plane: &Plane, path: &str) -> Value {
    let answer = plane.ask("GET", path, "");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

/// Waits for the store to have this many calls of the org.
fn stored(plane: &Plane, call_count: u64) {
    let path = "/admin/orgs/acme/summary?from=1970-01-02";
    let tokens = || get(plane, path)["usage"]["totalTokens"] == 1500 * call_count;
    eventually(|| tokens().then_some(()));
}

fn past() -> Plane {
    let plane = Plane::start();
    for (user, feature, at) in [
        ("alice", "voice", "2024-03-01T00:00:00.000Z"),
        ("alice", "voice", "2024-03-05T10:30:00.000Z"),
        ("alice", "chat", "2024-03-05T10:59:59.999Z"),
        ("bob", "chat", "2024-03-05T11:00:00.000Z"),
        ("alice", "voice", "2024-04-01T00:00:00.000Z"),
    ] {
        record(&plane, user, feature, at);
    }
    stored(&plane, 5);
    plane
}

#[test]
fn usage_of_a_range_comes_from_the_store() {
    let plane = past();
    for (range, calls, from, to) in [
        ("from=2024-03-05&to=2024-03-05", 2, "2024-03-05T00:00", "2024-03-06T00:00"),
        ("from=2024-03-05T10:45:00Z&to=2024-03-05T11:00:00Z", 2, "2024-03-05T10:00", "2024-03-05T11:00"),
        ("from=2024-03-05T11:00:00Z&to=2024-03-31", 0, "2024-03-05T11:00", "2024-04-01T00:00"),
        ("to=2024-03-31&period=daily", 3, "1970-01-01T00:00", "2024-04-01T00:00"),
    ] {
        let user = get(&plane, &format!("/admin/users/alice/usage?{range}"));
        assert_eq!(user["usage"]["totalTokens"], 1500 * calls, "{range}");
        assert_eq!(
            (&user["period"], user["from"].as_str()),
            (&json!("range"), Some(&*format!("{from}:00.000Z")))
        );
        assert_eq!(user["to"], format!("{to}:00.000Z"));
    }
    let open = get(&plane, "/admin/users/alice/usage?from=2024-04-01");
    assert_eq!(
        (&open["usage"]["totalTokens"], &open["to"]),
        (&json!(1500), &json!(now().next_day_start().to_string()))
    );
    let now = get(&plane, "/admin/users/alice/usage?period=monthly");
    assert_eq!((&now["usage"]["totalTokens"], &now["period"]), (&json!(0), &json!("monthly")));
    assert!(now.get("from").is_none());
    let total = get(&plane, "/admin/users/alice/usage?period=total");
    assert_eq!(total["usage"]["totalTokens"], 6000);
}

#[test]
fn a_history_has_a_point_where_something_was_used() {
    let plane = past();
    let points = |query: &str| {
        let history = get(&plane, &format!("/admin/users/alice/usage/history?{query}"));
        let point = |point: &Value| {
            let part =
                [&point["model"], &point["feature"]].into_iter().find_map(Value::as_str).unwrap_or("-");
            let at = &point["at"].as_str().unwrap()[..13];
            format!("{at} {part} {} {}", point["usage"]["totalTokens"], point["requests"])
        };
        history["points"].as_array().unwrap().iter().map(point).collect::<Vec<_>>()
    };
    let march = "from=2024-03-01&to=2024-03-31";
    assert_eq!(points(march), ["2024-03-01T00 - 1500 1", "2024-03-05T00 - 3000 2"]);
    assert_eq!(points(&format!("{march}&grain=hour")), ["2024-03-01T00 - 1500 1", "2024-03-05T10 - 3000 2"]);
    assert_eq!(
        points("from=2024-01-01&to=2024-12-31&grain=month"),
        ["2024-03-01T00 - 4500 3", "2024-04-01T00 - 1500 1"]
    );
    assert_eq!(
        points(&format!("{march}&by=feature&grain=month")),
        ["2024-03-01T00 chat 1500 1", "2024-03-01T00 voice 3000 2"]
    );
    assert_eq!(points(&format!("{march}&by=model&grain=month")), ["2024-03-01T00 gpt-4o-mini 4500 3"]);
    assert_eq!(points(""), [""; 0]);
    let history = get(&plane, "/admin/users/alice/usage/history");
    let hour_start = |at: Timestamp| Timestamp(at.0 - at.0 % HOUR_MS).to_string();
    let from = history["from"].as_str().unwrap().to_owned();
    assert!([now(), now().minus_ms(1000)].map(|now| hour_start(now.minus_ms(30 * DAY_MS))).contains(&from));
    assert_eq!((&history["grain"], &history["points"]), (&json!("day"), &json!([])));
}

#[test]
fn an_org_is_summed_in_all_and_by_user() {
    let plane = past();
    plane.created("/admin/users", &json!({"userId": "bob", "name": "Bob"}));
    let usage = |calls: u64, cost: f64, last: &str| {
        json!({"inputTokens": 1000 * calls, "outputTokens": 500 * calls, "totalTokens": 1500 * calls,
            "costUsd": cost, "estimatedCostUsd": 0.0, "requests": calls, "lastUpdated": last})
    };
    let alice = usage(3, 0.00135, "2024-03-05T10:59:59.999Z");
    let bob = usage(1, 0.00045, "2024-03-05T11:00:00.000Z");
    let summary = get(&plane, "/admin/orgs/acme/summary?from=2024-03-01&to=2024-03-07");
    assert_eq!(
        summary,
        json!({"orgId": "acme", "period": "range", "periodLabel": "1 – 7 Mar 2024",
            "from": "2024-03-01T00:00:00.000Z", "to": "2024-03-08T00:00:00.000Z", "totalCost": 0.0018,
            "usage": usage(4, 0.0018, "2024-03-05T11:00:00.000Z"), "userCount": 2,
            "users": [{"userId": "alice", "displayName": "alice", "usage": alice},
                {"userId": "bob", "displayName": "Bob", "usage": bob}],
            "featureFilter": null, "tier": "free",
            "tierLimits": {"requestsPerMonth": null, "overagePer1k": null}, "requestsThisMonth": 0})
    );
    let filtered = get(&plane, "/admin/orgs/acme/summary?from=2024-03-01&feature=chat&userIds=bob,carol");
    assert_eq!((&filtered["featureFilter"], &filtered["userCount"]), (&json!("chat"), &json!(1)));
    assert_eq!((&filtered["totalCost"], &filtered["users"][0]["userId"]), (&json!(0.00045), &json!("bob")));
    let nobody = get(&plane, "/admin/orgs/nobody/summary");
    assert_eq!(
        (&nobody["totalCost"], &nobody["userCount"], &nobody["users"]),
        (&json!(0.0), &json!(0), &json!([]))
    );
}

#[test]
fn a_summary_of_now_is_named_and_counts_this_months_requests() {
    let plane = Plane::start();
    record(&plane, "alice", "voice", &now().to_string());
    record(&plane, "bob", "chat", "2999-01-01T00:00:00Z");
    stored(&plane, 2);
    let today = now().to_string();
    for (query, label, period, calls) in [
        ("", None, "monthly", 2),
        ("?period=daily", Some(&today[..10]), "daily", 2),
        ("?period=rolling_24h", Some("Last 24 hours"), "rolling_24h", 2),
        ("?period=total", Some("All time"), "total", 2),
        ("?feature=voice", None, "monthly", 1),
    ] {
        let summary = get(&plane, &format!("/admin/orgs/acme/summary{query}"));
        let label_is = |label: &str| summary["periodLabel"] == label;
        assert!(label.is_none_or(label_is), "{summary}");
        assert_eq!((&summary["period"], &summary["userCount"]), (&json!(period), &json!(calls)), "{query}");
        assert_eq!(summary["requestsThisMonth"], 2, "of the whole org: {query}");
    }
}

#[test]
fn a_summary_lists_the_dearest_thousand_and_counts_all() {
    let plane = Plane::start();
    for n in 0..1_002 {
        let tokens = if n == 7 { 2 } else { 1 };
        let body = json!({"userId": format!("user{n:04}"), "orgId": "big", "model": "gpt-4o-mini",
            "requestType": "chat", "inputTokens": tokens, "outputTokens": 0, "latencyMs": 1, "success": true});
        assert_eq!(plane.ask("POST", "/sdk/record", &body.to_string()).status, 200);
    }
    let summary = eventually(|| {
        let summary = get(&plane, "/admin/orgs/big/summary");
        // Each is a question of its own.
        (summary["userCount"] == 1_002 && summary["usage"]["totalTokens"] == 1_003).then_some(summary)
    });
    assert_eq!(summary["users"].as_array().unwrap().len(), 1_000);
    assert_eq!(summary["users"][0]["userId"], "user0007");
}

#[test]
fn who_was_refused_is_listed_with_why_and_how_often() {
    let plane = Plane::start();
    for user in ["alice", "bob"] {
        plane.created("/admin/users", &json!({"userId": user, "orgId": "acme"}));
    }
    let measure = Measure::Cost { used: NanoUsd(7_000_000_000), limit: NanoUsd(5_000_000_000) };
    plane.refuse("alice", Some(measure), 3);
    plane.refuse("alice", Some(measure), 4);
    plane.refuse("bob", None, 1);
    plane.refuse("stranger", None, 1);
    let list = |query: &str| plane.ask("GET", &format!("/admin/refusals?{query}"), "").json();
    let times = |list: &Value| -> Vec<(String, u64)> {
        let rows = list["refusals"].as_array().unwrap().iter();
        rows.map(|row| (row["userId"].as_str().unwrap().into(), row["count"].as_u64().unwrap())).collect()
    };
    // A row for each minute: the seven may be of two.
    let sum = |list: &Value| times(list).iter().filter(|row| row.0 == "alice").map(|row| row.1).sum::<u64>();
    let all = eventually(|| {
        let all = list("");
        (sum(&all) == 7 && times(&all).iter().any(|row| row.0 == "bob")).then_some(all)
    });
    assert_eq!((&times(&all)[0].0[..], &all["refusedRecently"]), ("bob", &json!(2)));
    let alice = list("user=alice");
    let row = &alice["refusals"][0];
    assert_eq!(row["limit"], json!({"measure": "cost_usd", "used": 7.0, "limit": 5.0}));
    let facts = ["reason", "closeCode", "orgId", "keyId", "address"].map(|name| row[name].clone());
    assert_eq!(json!(facts), json!(["cost_limit_reached", 4004, "acme", null, "203.0.113.9"]));
    assert_eq!(times(&list("reason=user_blocked")), [("bob".to_owned(), 1)]);
    assert_eq!(list("org=other")["refusals"], json!([]));
    let first = list("limit=1");
    let next = list(&format!("limit=1&cursor={}", first["nextCursor"].as_str().unwrap()));
    assert_eq!((&times(&first)[0].0[..], &times(&next)[0].0[..]), ("bob", "alice"));
    assert_eq!(plane.ask("GET", "/admin/refusals?cursor=x", "").status, 400);
    let metrics = plane.ask("GET", "/metrics", "").body;
    assert!(metrics.contains("\ntokenist_refused_recently 2\n"), "{metrics}");
}
