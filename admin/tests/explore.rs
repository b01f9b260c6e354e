//! The overview and the explorer, from the store.

mod kit;

use kit::{Plane, check, eventually, issue, now};
use serde_json::{Value, json};
use tokenist_core::time::{DAY_MS, HOUR_MS, Timestamp};

/// Counts 1000 + 500 tokens of a model of OpenAI's; of gpt-4o-mini that is 0.00045 dollars.
fn record(plane: &Plane, user: &str, org: &str, feature: Option<&str>, model: &str, at: &str) {
    let mut body = json!({"userId": user, "orgId": org, "model": model, "requestType": "chat",
        "inputTokens": 1000, "outputTokens": 500, "latencyMs": 1, "success": true, "timestamp": at});
    if let Some(feature) = feature {
        body["feature"] = feature.into();
    }
    let answer = plane.ask("POST", "/sdk/record", &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn get(plane: &Plane, path: &str) -> Value {
    let answer = plane.ask("GET", path, "");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

/// Waits for the store to have this many calls in all.
fn stored(plane: &Plane, call_count: u64) {
    let requests = || get(plane, "/admin/usage?period=total&grain=none")["usage"]["requests"].clone();
    eventually(|| (requests() == call_count).then_some(()));
}

fn past() -> Plane {
    let plane = Plane::start();
    plane.created("/admin/users", &json!({"userId": "bob", "name": "=Bob", "orgId": "acme"}));
    for (user, org, feature, model, at) in [
        ("alice", "acme", Some("voice"), "gpt-4o-mini", "2024-03-01T00:00:00.000Z"),
        ("alice", "acme", None, "gpt-4o-mini", "2024-03-02T10:30:00.000Z"),
        ("bob", "acme", Some("voice"), "gpt-4o-mini", "2024-03-02T10:59:59.999Z"),
        ("bob", "other", Some("chat"), "gpt-4o", "2024-03-02T11:00:00.000Z"),
        ("-carol", "other", Some("voice"), "gpt-4o-mini", "2024-03-04T00:00:00.000Z"),
    ] {
        record(&plane, user, org, feature, model, at);
    }
    stored(&plane, 5);
    plane
}

const MARCH: &str = "from=2024-03-01&to=2024-03-04";

#[test]
fn usage_is_explored_by_what_is_asked_for() {
    let plane = past();
    // Each row as the names in it and its calls.
    let rows = |query: &str| {
        let answer = get(&plane, &format!("/admin/usage?{MARCH}&{query}"));
        let row = |row: &Value| {
            let names = ["user", "org", "feature", "provider", "model"].map(|name| row[name].as_str());
            let names: Vec<&str> = names.into_iter().flatten().collect();
            format!("{} {}", names.join(" "), row["usage"]["requests"])
        };
        let rows = answer["rows"].as_array().unwrap().iter().map(row).collect::<Vec<_>>();
        (rows.join(", "), answer["total"].as_u64().unwrap())
    };
    for (query, expected, total) in [
        ("", " 5", 1),
        ("by=model", "gpt-4o 1, gpt-4o-mini 4", 2),
        ("by=user", "bob 2, alice 2, -carol 1", 3),
        ("by=user&sort=key", "-carol 1, alice 2, bob 2", 3),
        ("by=user&limit=1&offset=1", "alice 2", 3),
        ("by=user&offset=7", "", 3),
        ("by=org,model&sort=key", "acme gpt-4o-mini 3, other gpt-4o 1, other gpt-4o-mini 1", 3),
        ("by=feature&sort=key", " 1, chat 1, voice 3", 3),
        ("by=feature&users=alice,-carol&sort=key", " 1, voice 2", 2),
        ("by=user&org=acme", "alice 2, bob 1", 2),
        ("by=user&feature=voice&model=gpt-4o-mini&sort=key", "-carol 1, alice 1, bob 1", 3),
        ("by=provider&provider=openai", "openai 5", 1),
        ("by=provider&provider=nobody", "", 0),
        ("by=user,feature,model&users=bob", "bob chat gpt-4o 1, bob voice gpt-4o-mini 1", 2),
    ] {
        assert_eq!(rows(query), (expected.to_owned(), total), "{query}");
    }
    let answer =
        get(&plane, "/admin/usage?from=2024-03-02T10:15:00Z&to=2024-03-02T10:45:00Z&by=user&org=acme");
    let usage = |calls: u64, cost: f64, last: &str| {
        json!({"inputTokens": 1000 * calls, "outputTokens": 500 * calls, "totalTokens": 1500 * calls,
            "costUsd": cost, "estimatedCostUsd": 0.0, "requests": calls, "lastUpdated": last})
    };
    let row = |user: &str, name: Option<&str>, last: &str| {
        json!({"user": user, "org": null, "feature": null, "provider": null, "model": null, "displayName": name,
            "usage": usage(1, 0.00045, last), "unpriced": false})
    };
    let (first, last) = ("2024-03-02T10:30:00.000Z", "2024-03-02T10:59:59.999Z");
    assert_eq!(
        answer,
        json!({"period": "range", "periodLabel": "2 Mar 2024", "from": "2024-03-02T10:00:00.000Z",
            "to": "2024-03-02T11:00:00.000Z", "by": ["user"], "usage": usage(2, 0.0009, last),
            "unpricedCostUsd": 0.0,
            "rows": [row("alice", None, first), row("bob", Some("=Bob"), last)], "total": 2,
            "series": {"grain": "hour", "groups": [
                    {"key": "alice", "other": false, "usage": usage(1, 0.00045, first)},
                    {"key": "bob", "other": false, "usage": usage(1, 0.00045, last)}],
                "points": [{"at": "2024-03-02T10:00:00.000Z", "costUsd": [0.00045, 0.00045],
                    "totalTokens": [1500, 1500]}]}})
    );
}

#[test]
fn one_user_is_asked_for_whatever_the_id_has_in_it() {
    let plane = Plane::start();
    for user in ["doe, jane", "doe", "bob"] {
        record(&plane, user, "acme", None, "gpt-4o", "2024-03-01T00:00:00.000Z");
    }
    stored(&plane, 3);
    for (query, users) in [
        ("user=doe,%20jane", &["doe, jane"][..]),
        ("user=doe,%20jane&users=bob,doe", &["bob", "doe", "doe, jane"]),
    ] {
        let answer = get(&plane, &format!("/admin/usage?{MARCH}&by=user&sort=key&{query}"));
        let named = answer["rows"].as_array().unwrap().iter().map(|row| row["user"].as_str().unwrap());
        assert_eq!(named.collect::<Vec<_>>(), users, "{query}");
    }
}

#[test]
fn a_series_has_a_point_for_each_step() {
    let plane = past();
    let series = |query: &str| {
        let answer = get(&plane, &format!("/admin/usage?{query}"));
        let point =
            |point: &Value| format!("{} {}", &point["at"].as_str().unwrap()[..13], point["totalTokens"]);
        answer["series"]["points"].as_array().unwrap().iter().map(point).collect::<Vec<_>>()
    };
    let days = [
        "2024-03-01T00 [0,1500]",
        "2024-03-02T00 [1500,3000]",
        "2024-03-03T00 [0,0]",
        "2024-03-04T00 [0,1500]",
    ];
    assert_eq!(series(&format!("{MARCH}&by=model&grain=day")), days);
    assert_eq!(series(&format!("{MARCH}&grain=month")), ["2024-03-01T00 [7500]"]);
    assert_eq!(series(&format!("{MARCH}&grain=hour")).len(), 4 * 24);
    assert_eq!(series("from=2020-01-01&to=2020-01-31&by=model"), [""; 0]);
    let all = series("period=total");
    assert_eq!(all.first().map(String::as_str), Some("2024-03-01T00 [7500]"));
    assert!(all.last().unwrap().starts_with(&now().to_string()[..7]), "{all:?}");
    assert_eq!(get(&plane, &format!("/admin/usage?{MARCH}&grain=none"))["series"], Value::Null);
    let by_day = get(&plane, &format!("/admin/usage?{MARCH}&by=model&grain=day"));
    let by_hour = get(&plane, &format!("/admin/usage?{MARCH}&by=model&grain=hour"));
    assert_eq!(by_day["series"]["groups"], by_hour["series"]["groups"]);
}

#[test]
fn a_table_is_csv_that_starts_no_formula() {
    let plane = past();
    let table = |query: &str| {
        let headers =
            [("authorization", &*format!("Bearer {}", kit::TOKEN)), ("accept", "text/csv, */*;q=0.1")];
        let answer =
            kit::ask_with(plane.address(), "GET", &format!("/admin/usage?{MARCH}&{query}"), &headers, "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
        assert!(answer.head.contains("\r\nvary: accept\r\n"), "{}", answer.head);
        answer.body
    };
    let counts = "input_tokens,output_tokens,total_tokens,requests,cost_usd,estimated_cost_usd,last_updated_utc,\
                  text_input_tokens,audio_input_tokens,image_input_tokens,cached_text_input_tokens,\
                  cached_audio_input_tokens,cached_image_input_tokens,text_output_tokens,audio_output_tokens,\
                  image_output_tokens,reasoning_tokens,duration_ms,video_input_tokens,cache_write_input_tokens,\
                  cache_write_long_input_tokens,video_output_tokens,characters,items,searches,file_searches,\
                  from_utc,to_utc";
    let march = "2024-03-01T00:00:00.000Z,2024-03-05T00:00:00.000Z";
    // Tokens by kind and the time, of one response and of two.
    let one = format!("1000,0,0,0,0,0,500,0,0,0,0,0,0,0,0,0,0,0,0,{march}");
    let two = format!("2000,0,0,0,0,0,1000,0,0,0,0,0,0,0,0,0,0,0,0,{march}");
    assert_eq!(
        table("by=user&sort=key&feature=voice"),
        format!(
            "user,display_name,{counts}\n\
             '-carol,,1000,500,1500,1,0.00045,0,2024-03-04T00:00:00.000Z,{one}\n\
             alice,,1000,500,1500,1,0.00045,0,2024-03-01T00:00:00.000Z,{one}\n\
             bob,'=Bob,1000,500,1500,1,0.00045,0,2024-03-02T10:59:59.999Z,{one}\n"
        )
    );
    assert_eq!(
        table("by=org&grain=day&model=gpt-4o-mini"),
        format!(
            "start_utc,org,{counts}\n\
             2024-03-01T00:00:00.000Z,acme,1000,500,1500,1,0.00045,0,2024-03-01T00:00:00.000Z,{one}\n\
             2024-03-02T00:00:00.000Z,acme,2000,1000,3000,2,0.0009,0,2024-03-02T10:59:59.999Z,{two}\n\
             2024-03-04T00:00:00.000Z,other,1000,500,1500,1,0.00045,0,2024-03-04T00:00:00.000Z,{one}\n"
        )
    );
    assert_eq!(table("by=model&limit=1&offset=9"), format!("model,{counts}\n"));
    // Whoever asks for JSON first gets it.
    let headers =
        [("authorization", &*format!("Bearer {}", kit::TOKEN)), ("accept", "application/json, text/csv")];
    let answer = kit::ask_with(plane.address(), "GET", "/admin/usage", &headers, "");
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

/// More than a page of a list holds, and than once made a table of the dashboard's.
#[test]
fn a_table_has_every_row_however_many_there_are() {
    let plane = Plane::start();
    let users = 12_345;
    plane.charge_many(users);
    let headers = [("authorization", &*format!("Bearer {}", kit::TOKEN)), ("accept", "text/csv")];
    let path = "/admin/usage?period=total&by=user";
    // What is counted is in the store a moment later.
    let total = || plane.ask("GET", "/admin/usage?period=total&by=user&limit=1", "").json()["total"].clone();
    eventually(|| (total() == users).then_some(()));
    let answer = kit::ask_with(plane.address(), "GET", path, &headers, "");
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, Some("chunked")));
    let whole = answer.unchunked();
    assert_eq!(whole.lines().count(), users + 1);
    let cost_column = whole.lines().next().unwrap().split(',').position(|name| name == "cost_usd").unwrap();
    let cost = |line: &str| line.split(',').nth(cost_column).unwrap().parse::<f64>().unwrap();
    let sum: f64 = whole.lines().skip(1).map(cost).sum();
    assert!((sum - users as f64 * 0.001).abs() < 1e-6, "{sum}");
    assert!(whole.ends_with('\n'));
}

/// Marked, with the sum: what a provider's figure is missing for, and what no price is known for.
#[test]
fn guesses_are_told_from_what_is_known() {
    let plane = Plane::start();
    plane.session("alice", 2);
    record(&plane, "bob", "acme", None, "made-up", &now().to_string());
    let explored = eventually(|| {
        let explored = get(&plane, "/admin/usage?period=total&by=model");
        (explored["total"] == 2).then_some(explored)
    });
    let row = |model: &str| {
        let rows = explored["rows"].as_array().unwrap();
        rows.iter().find(|row| row["model"] == model).unwrap_or_else(|| panic!("{model}: {explored}"))
    };
    assert_eq!((&row("made-up")["unpriced"], &row("gpt-4o-mini")["unpriced"]), (&json!(true), &json!(false)));
    assert_eq!(explored["unpricedCostUsd"], row("made-up")["usage"]["costUsd"]);
    assert_eq!(explored["usage"]["estimatedCostUsd"], 0.00045);
    assert_eq!(get(&plane, "/admin/overview?period=total")["unpricedCostUsd"], explored["unpricedCostUsd"]);
}

#[test]
fn the_overview_tells_of_now_and_before() {
    let plane = Plane::start();
    plane.created("/admin/users", &json!({"userId": "alice", "name": "Alice", "orgId": "acme"}));
    plane.session("dave", 0);
    plane.ask("POST", "/admin/users/mallory/block", "");
    let at = |ms: u64| now().minus_ms(ms).to_string();
    record(&plane, "alice", "acme", Some("voice"), "gpt-4o", &at(0));
    record(&plane, "bob", "acme", None, "gpt-4o-mini", &at(0));
    record(&plane, "bob", "acme", None, "gpt-4o-mini", &at(30 * HOUR_MS));
    record(&plane, "bob", "acme", None, "gpt-4o-mini", &at(400 * DAY_MS));
    stored(&plane, 4);
    let overview = |query: &str| get(&plane, &format!("/admin/overview?{query}"));
    let rolling = overview("period=rolling_24h");
    let counted = ["activeUsers", "liveSessions", "blockedUsers"].map(|name| rolling[name].clone());
    assert_eq!(counted, [2, 1, 1].map(Value::from));
    assert_eq!((&rolling["by"], &rolling["periodLabel"]), (&json!("model"), &json!("Last 24 hours")));
    assert_eq!(
        (&rolling["usage"]["requests"], &rolling["previous"]["usage"]["requests"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(rolling["previous"]["activeUsers"], 1);
    let hour = |at: Timestamp| Timestamp(at.0 - at.0 % HOUR_MS).to_string();
    let ends = [now(), now().minus_ms(2_000)].map(|now| hour(now.minus_ms(DAY_MS)));
    assert!(ends.iter().any(|end| rolling["from"] == *end && rolling["previous"]["to"] == *end), "{rolling}");
    let keys = |overview: &Value| {
        let groups = overview["series"]["groups"].as_array().unwrap().iter();
        groups.map(|group| group["key"].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&rolling), "gpt-4o gpt-4o-mini");
    assert_eq!(keys(&overview("period=rolling_24h&by=feature")), "voice -");
    let top = rolling["topUsers"].as_array().unwrap();
    assert_eq!(top.len(), 2);
    assert_eq!(
        (&top[0]["userId"], &top[0]["displayName"], &top[0]["orgId"]),
        (&json!("alice"), &json!("Alice"), &json!("acme"))
    );
    assert_eq!((&top[1]["userId"], &top[1]["displayName"]), (&json!("bob"), &Value::Null));
    assert_eq!(overview("")["period"], "monthly");
    let total = overview("period=total&by=user");
    assert_eq!((&total["usage"]["requests"], &total["activeUsers"]), (&json!(4), &json!(2)));
    assert_eq!(
        (&total["previous"], &total["to"], &total["series"]["grain"]),
        (&Value::Null, &Value::Null, &json!("month"))
    );
    let range = overview("from=2024-03-08&to=2024-03-09");
    assert_eq!(
        range["previous"],
        json!({"from": "2024-03-06T00:00:00.000Z", "to": "2024-03-08T00:00:00.000Z", "activeUsers": 0,
            "usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0, "costUsd": 0.0,
                "estimatedCostUsd": 0.0, "requests": 0, "lastUpdated": null}})
    );
    assert_eq!(range["topUsers"], json!([]));
}

#[test]
fn parameters_are_checked() {
    let plane = Plane::start();
    for (request, expected) in [
        (
            "/admin/usage?by=model,team",
            issue("by", "invalid_string", "An element of by is none of user, org, feature, provider, model"),
        ),
        ("/admin/usage?by=model,model", issue("by", "custom", "by must not name the same twice")),
        (
            "/admin/usage?by=user,org,model,feature",
            issue("by", "too_big", "List must contain at most 3 element(s)"),
        ),
        (
            "/admin/usage?grain=hour&from=2020-01-01",
            issue("grain", "too_big", "More than 10000 points: ask for a shorter range or a coarser grain"),
        ),
        (
            "/admin/usage?sort=price",
            issue("sort", "invalid_enum_value", "Invalid enum value. Expected 'cost' | 'key'"),
        ),
        ("/admin/usage?limit=0", issue("limit", "too_small", "Number must be greater than or equal to 1")),
        (
            "/admin/usage?provider=a%00",
            issue(
                "provider",
                "invalid_string",
                "provider contains a control character: U+0000, its character 2; leave it out",
            ),
        ),
        (
            "/admin/overview?from=2024-03-02&to=2024-03-01",
            issue("from", "custom", "from must come before to"),
        ),
        (
            "/admin/overview?by=team",
            issue(
                "by",
                "invalid_enum_value",
                "Invalid enum value. Expected 'user' | 'org' | 'feature' | 'provider' | 'model'",
            ),
        ),
    ] {
        check(&plane, &format!("GET {request}"), 400, expected);
    }
}
