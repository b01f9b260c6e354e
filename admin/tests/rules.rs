//! Rules and policies of an org, and what rules do to its users; what an org has booked.

mod kit;

use kit::{Plane, check, eventually};
use serde_json::{Value, json};
use tokenist_handoff::Order;

const RULES: &str = "/admin/orgs/acme/rules";

fn rule(change: impl FnOnce(&mut Value)) -> Value {
    let mut rule = json!({
        "name": "budget",
        "subject": {"type": "user", "ids": []},
        "trigger": {"type": "token_limit", "tokens": 2000, "window": {"count": 1, "unit": "day"}},
        "restriction": {"type": "block"},
    });
    change(&mut rule);
    rule
}

fn path(rule: &Value) -> String {
    format!("{RULES}/{}", rule["id"].as_str().unwrap())
}

/// Counts so many calls of 1500 tokens and $0.00045 for a user of acme.
fn record(plane: &Plane, user: &str, feature: &str, calls: usize) {
    let call = json!({"userId": user, "orgId": "acme", "feature": feature, "model": "gpt-4o-mini",
        "requestType": "chat", "inputTokens": 1000, "outputTokens": 500, "latencyMs": 1, "success": true});
    for _ in 0..calls {
        assert_eq!(plane.ask("POST", "/sdk/record", &call.to_string()).status, 200);
    }
}

fn block(plane: &Plane, user: &str) -> Value {
    plane.ask("GET", &format!("/admin/users/{user}/usage"), "").json()["blockEntry"].clone()
}

fn blocked_by(plane: &Plane, user: &str) -> Option<String> {
    block(plane, user)["reason"].as_str().map(str::to_owned)
}

#[test]
fn a_rule_is_kept_as_it_was_given_and_changed_field_by_field() {
    let plane = Plane::start();
    let made = plane.created(RULES, &rule(|rule| rule["notifications"] = json!([{"email": "a@b"}])));
    for (field, value) in [
        ("enabled", json!(true)),
        ("enforced", json!(true)),
        ("orgId", json!("acme")),
        ("notifications", json!([{"email": "a@b"}])),
        ("lastTriggeredAt", Value::Null),
        ("subject", json!({"type": "user", "ids": []})),
        ("trigger", json!({"type": "token_limit", "tokens": 2000, "window": {"count": 1, "unit": "day"}})),
        ("restriction", json!({"type": "block"})),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    assert_eq!(plane.ask("GET", &path(&made), "").json(), made);
    let restriction = json!({"type": "rate_limit", "maxRequests": 5, "window": {"count": 2, "unit": "hour"}});
    let changed = plane.ask("PUT", &path(&made), &json!({"restriction": restriction}).to_string()).json();
    assert_eq!((&changed["restriction"], &changed["name"]), (&restriction, &json!("budget")));
    let toggled = plane.ask("PATCH", &format!("{}/toggle", path(&made)), r#"{"enabled": false}"#).json();
    assert_eq!(toggled["enabled"], false);
    let history = eventually(|| {
        let history = plane.ask("GET", &format!("{}/history", path(&made)), "").json();
        (history["history"].as_array()?.len() == 3).then_some(history)
    });
    let actions =
        history["history"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap());
    assert_eq!(actions.collect::<Vec<_>>(), ["rule.toggle", "rule.change", "rule.create"]);
    assert_eq!(history["history"][1]["before"]["restriction"], json!({"type": "block"}));
    assert_eq!(history["history"][1]["after"]["restriction"], restriction);
    assert_eq!(plane.ask("DELETE", &path(&made), "").json(), json!({"success": true}));
    for (method, path) in [
        ("GET", path(&made)),
        ("PUT", path(&made)),
        ("DELETE", path(&made)),
        ("GET", format!("{}/history", path(&made))),
        ("GET", format!("{}/triggers", path(&made))),
    ] {
        check(&plane, &format!("{method} {path}"), 404, json!({"error": "Rule not found"}));
    }
}

#[test]
fn what_is_no_rule_is_refused_with_what_is_wrong() {
    let plane = Plane::start();
    let window = json!({"count": 1, "unit": "day"});
    for (field, value, detail) in [
        ("name", json!(""), "name"),
        ("name", Value::Null, "null"),
        ("enabled", json!("yes"), "boolean"),
        ("subject", json!({"type": "planet"}), "planet"),
        ("subject", json!({"type": "user", "ids": ["\n"]}), "control character"),
        ("trigger", json!({"type": "token_limit", "window": window}), "tokens"),
        ("trigger", json!({"type": "token_limit", "tokens": 0, "window": window}), "tokens"),
        ("trigger", json!({"type": "token_limit", "tokens": -1, "window": window}), "-1"),
        ("trigger", json!({"type": "cost_limit", "costUsd": 0, "window": window}), "costUsd"),
        ("trigger", json!({"type": "cost_limit", "costUsd": 1e12, "window": window}), "costUsd"),
        (
            "trigger",
            json!({"type": "token_limit", "tokens": 1, "window": {"count": 0, "unit": "day"}}),
            "count",
        ),
        (
            "trigger",
            json!({"type": "token_limit", "tokens": 1, "window": {"count": 1, "unit": "year"}}),
            "year",
        ),
        ("restriction", json!({"type": "rate_limit", "maxRequests": 0, "window": window}), "maxRequests"),
        ("restriction", json!({"type": "throttle", "delayMs": 60_001}), "delayMs"),
        ("restriction", json!("block"), "restriction"),
    ] {
        let refused = plane.ask("POST", RULES, &rule(|rule| rule[field] = value.clone()).to_string());
        let body = refused.json();
        assert_eq!(
            (refused.status, &body["error"]),
            (400, &json!("Invalid rule payload")),
            "{field} {value}"
        );
        let details = body["details"].as_str().unwrap();
        assert!(details.contains(detail) || field == "restriction", "{field} {value}: {details}");
    }
    assert_eq!(plane.ask("POST", RULES, "").status, 400);
    let made = plane.created(RULES, &rule(|_| ()));
    assert_eq!(plane.ask("PUT", &path(&made), r#"{"subject": 7}"#).status, 400);
    assert_eq!(plane.ask("PATCH", &format!("{}/toggle", path(&made)), "{}").status, 400);
    assert_eq!(plane.ask("GET", &format!("{RULES}?subjectType=planet"), "").status, 400);
}

#[test]
fn a_rule_looks_no_further_back_than_usage_is_kept() {
    let plane = Plane::start();
    let over = |count: u32, unit: &str| {
        let window = json!({"count": count, "unit": unit});
        rule(|rule| rule["trigger"] = json!({"type": "token_limit", "tokens": 5, "window": window}))
    };
    let made = plane.created(RULES, &over(13, "month"));
    for (method, path) in [("POST", RULES.to_owned()), ("PUT", path(&made))] {
        for (count, unit) in [(14, "month"), (400, "day"), (58, "week")] {
            let refused = plane.ask(method, &path, &over(count, unit).to_string());
            let told = refused.json();
            assert_eq!(refused.status, 400, "{method} {count} {unit}: {told}");
            assert!(told.to_string().contains("store.rollups_days"), "{told}");
        }
    }
}

#[test]
fn rules_are_listed_by_what_they_are_and_for_their_org_alone() {
    let plane = Plane::start();
    let feature = plane.created(RULES, &rule(|rule| rule["subject"]["type"] = "feature".into()));
    let group = plane.created(RULES, &rule(|rule| rule["subject"]["type"] = "group".into()));
    let quiet = plane.created(
        RULES,
        &rule(|rule| {
            rule["trigger"] = json!({"type": "inactivity", "duration": {"count": 3, "unit": "day"}});
            rule["restriction"] = json!({"type": "warning"});
            rule["enabled"] = false.into();
        }),
    );
    let policy = json!({"type": "policy_violation", "policyId": "policy_1"});
    let violation = plane.created(RULES, &rule(|rule| rule["trigger"] = policy.clone()));
    assert_eq!(violation["trigger"], policy);
    for (rule, enforced) in [(&feature, true), (&group, false), (&quiet, false), (&violation, false)] {
        assert_eq!(rule["enforced"], enforced, "{rule}");
    }
    for (query, ids, total) in [
        ("", vec![&feature, &group, &quiet, &violation], 4),
        ("?limit=2&offset=1", vec![&group, &quiet], 4),
        ("?subjectType=group", vec![&group], 1),
        ("?restrictionType=warning", vec![&quiet], 1),
        ("?enabled=false", vec![&quiet], 1),
        ("?enabled=true&subjectType=user", vec![&violation], 1),
    ] {
        let list = plane.ask("GET", &format!("{RULES}{query}"), "").json();
        let found: Vec<&Value> = list["rules"].as_array().unwrap().iter().map(|rule| &rule["id"]).collect();
        let ids: Vec<&Value> = ids.into_iter().map(|rule| &rule["id"]).collect();
        assert_eq!((found, &list["total"]), (ids, &json!(total)), "{query}");
    }
    check(&plane, "GET /admin/orgs/other/rules", 200, json!({"rules": [], "total": 0}));
    let elsewhere = format!("/admin/orgs/other/rules/{}", feature["id"].as_str().unwrap());
    assert_eq!(plane.ask("GET", &elsewhere, "").status, 404);
}

#[test]
fn whoever_reaches_a_rule_is_blocked_until_it_no_longer_says_so() {
    let plane = Plane::start();
    plane.session("ann", 1);
    let made = plane.created(RULES, &rule(|_| ()));
    record(&plane, "bob", "chat", 1);
    record(&plane, "ann", "voice", 1);
    let reason = "Rule \"budget\": 2000 tokens in 1 day are used up";
    eventually(|| (blocked_by(&plane, "ann")? == reason).then_some(()));
    assert_eq!(block(&plane, "bob"), Value::Null);
    // Her live sessions are judged anew.
    eventually(|| matches!(plane.order(), Order::Sweep).then_some(()));
    let call = r#"{"userId": "ann", "model": "m", "requestType": "chat"}"#;
    assert_eq!(plane.ask("POST", "/sdk/check", call).json()["reason"], format!("User is blocked: {reason}"));
    let triggers = plane.ask("GET", &format!("{}/triggers", path(&made)), "").json();
    assert_eq!(triggers["total"], 1);
    let trigger = &triggers["triggers"][0];
    assert_eq!((&trigger["subjectId"], &trigger["affectedUsers"]), (&json!("ann"), &json!(1)));
    assert_eq!((&trigger["totalTokens"], &trigger["requests"]), (&json!(3000), &json!(2)));
    let seen = plane.ask("GET", &path(&made), "").json();
    assert_eq!(seen["lastTriggeredAt"], trigger["triggeredAt"]);
    // Once more of the same fires nothing new.
    record(&plane, "ann", "voice", 1);
    plane.ask("PATCH", &format!("{}/toggle", path(&made)), r#"{"enabled": false}"#);
    eventually(|| blocked_by(&plane, "ann").is_none().then_some(()));
    assert_eq!(plane.ask("GET", &format!("{}/triggers", path(&made)), "").json()["total"], 1);
    plane.ask("PATCH", &format!("{}/toggle", path(&made)), r#"{"enabled": true}"#);
    eventually(|| blocked_by(&plane, "ann"));
    plane.ask(
        "PUT",
        &path(&made),
        r#"{"trigger": {"type": "cost_limit", "costUsd": 1, "window": {"count": 1, "unit": "day"}}}"#,
    );
    eventually(|| blocked_by(&plane, "ann").is_none().then_some(()));
}

#[test]
fn an_operators_block_is_neither_lifted_nor_shortened() {
    let plane = Plane::start();
    let made = plane.created(RULES, &rule(|_| ()));
    record(&plane, "ann", "chat", 2);
    eventually(|| blocked_by(&plane, "ann"));
    plane.ask("POST", "/admin/users/ann/block", r#"{"reason": "abuse"}"#);
    assert_eq!(block(&plane, "ann")["reason"], "abuse");
    plane.ask("DELETE", &path(&made), "");
    // A rule that is looked at after the first was removed tells that its removal has been seen.
    plane.created(RULES, &rule(|rule| rule["subject"]["ids"] = json!(["bob"])));
    record(&plane, "bob", "chat", 2);
    eventually(|| blocked_by(&plane, "bob"));
    assert_eq!(block(&plane, "ann")["reason"], "abuse");
    assert!(block(&plane, "ann").get("expiresAt").is_none(), "{}", block(&plane, "ann"));
    // What a rule says comes back when the operator lifts his own.
    check(
        &plane,
        "POST /admin/users/bob/unblock",
        200,
        json!({"success": true, "userId": "bob", "wasBlocked": false}),
    );
    assert!(blocked_by(&plane, "bob").is_some());
    check(
        &plane,
        "POST /admin/users/ann/unblock",
        200,
        json!({"success": true, "userId": "ann", "wasBlocked": true}),
    );
    assert_eq!(block(&plane, "ann"), Value::Null);
}

#[test]
fn a_feature_that_is_used_up_ends_for_those_who_used_it() {
    let plane = Plane::start();
    plane.created(RULES, &rule(|rule| rule["subject"] = json!({"type": "feature", "ids": ["voice"]})));
    for (user, feature) in [("ann", "voice"), ("bob", "chat"), ("eve", "voice"), ("bob", "chat")] {
        record(&plane, user, feature, 1);
    }
    eventually(|| blocked_by(&plane, "ann").zip(blocked_by(&plane, "eve")));
    assert_eq!(block(&plane, "bob"), Value::Null);
}

#[test]
fn a_rate_limit_blocks_once_so_many_requests_were_made() {
    let plane = Plane::start();
    let restriction = json!({"type": "rate_limit", "maxRequests": 3, "window": {"count": 1, "unit": "hour"}});
    let made = plane.created(RULES, &rule(|rule| rule["restriction"] = restriction));
    record(&plane, "ann", "chat", 2);
    eventually(|| {
        (plane.ask("GET", &path(&made), "").json()["lastTriggeredAt"] != Value::Null).then_some(())
    });
    assert_eq!(block(&plane, "ann"), Value::Null);
    record(&plane, "ann", "chat", 1);
    let reason = eventually(|| blocked_by(&plane, "ann"));
    assert_eq!(reason, "Rule \"budget\": 3 requests in 1 hour are used up");
}

#[test]
fn a_warning_is_kept_and_a_throttle_delays_and_neither_blocks() {
    let plane = Plane::start();
    let warned = plane.created(RULES, &rule(|rule| rule["restriction"] = json!({"type": "warning"})));
    let delay = json!({"type": "throttle", "delayMs": 1500});
    plane.created(RULES, &rule(|rule| rule["restriction"] = delay));
    record(&plane, "ann", "chat", 2);
    eventually(|| {
        (plane.ask("GET", &path(&warned), "").json()["lastTriggeredAt"] != Value::Null).then_some(())
    });
    let call = r#"{"userId": "ann", "model": "m", "requestType": "chat"}"#;
    let checked = eventually(|| {
        let checked = plane.ask("POST", "/sdk/check", call).json();
        (checked["delayMs"] == 1500).then_some(checked)
    });
    assert_eq!(checked["allowed"], true);
    assert_eq!(block(&plane, "ann"), Value::Null);
}

#[test]
fn policies_are_written_down_changed_and_removed() {
    let plane = Plane::start();
    let policies = "/admin/orgs/acme/policies";
    let made = plane.created(policies, &json!({"name": "Fair use", "description": "Be kind."}));
    assert_eq!((&made["orgId"], &made["source"]), (&json!("acme"), &Value::Null));
    check(&plane, &format!("GET {policies}"), 200, json!([made]));
    check(&plane, "GET /admin/orgs/other/policies", 200, json!([]));
    let path = format!("{policies}/{}", made["id"].as_str().unwrap());
    let changed = plane.ask("PUT", &path, r#"{"source": "the contract"}"#).json();
    assert_eq!((&changed["source"], &changed["name"]), (&json!("the contract"), &json!("Fair use")));
    assert_eq!(plane.ask("POST", policies, r#"{"description": "no name"}"#).status, 400);
    assert_eq!(plane.ask("DELETE", &path.replace("acme", "other"), "").status, 404);
    check(&plane, &format!("DELETE {path}"), 200, json!({"success": true}));
    check(&plane, &format!("DELETE {path}"), 404, json!({"error": "Policy not found"}));
    check(&plane, &format!("PUT {path}"), 404, json!({"error": "Policy not found"}));
}

#[test]
fn a_tier_has_its_quota_and_is_told_last() {
    let plane = Plane::start_with(|config| config.tiers.starter = 2);
    let summary = || plane.ask("GET", "/admin/orgs/acme/summary", "").json();
    assert_eq!(
        (&summary()["tier"], &summary()["tierLimits"]["requestsPerMonth"]),
        (&json!("free"), &Value::Null)
    );
    record(&plane, "ann", "chat", 1);
    let expected = json!({"success": true, "orgId": "acme", "tier": "starter", "usersUpdated": 1});
    check(&plane, r#"POST /admin/orgs/acme/tier {"tier":"starter"}"#, 200, expected);
    assert_eq!(
        (&summary()["tier"], &summary()["tierLimits"]["requestsPerMonth"]),
        (&json!("starter"), &json!(2))
    );
    let call = r#"{"userId": "ann", "orgId": "acme", "model": "m", "requestType": "chat"}"#;
    let asked = || plane.ask("POST", "/sdk/check", call).json();
    assert_eq!(asked()["allowed"], true);
    record(&plane, "ann", "chat", 1);
    let refused = eventually(|| Some(asked()).filter(|asked| asked["allowed"] == false));
    assert_eq!(refused["reason"], "tier_quota_exceeded");
    assert_eq!((&refused["usage"]["tokens"], refused.get("remaining")), (&json!(3000), None));
    assert_eq!(summary()["requestsThisMonth"], 2);
    // Another reason goes before, another org has its own, and a tier without a quota has none.
    plane.ask("POST", "/admin/users/ann/block", "{}");
    assert_eq!(asked()["reason"], "User is blocked: No reason provided");
    plane.ask("POST", "/admin/users/ann/unblock", "");
    assert_eq!(plane.ask("POST", "/sdk/check", &call.replace("acme", "other")).json()["allowed"], true);
    assert_eq!(plane.ask("POST", "/admin/orgs/acme/tier", r#"{"tier":"pro"}"#).status, 200);
    assert_eq!(asked()["allowed"], true);
    for body in ["{}", r#"{"tier":"gold"}"#, r#"{"tier":1}"#] {
        assert_eq!(plane.ask("POST", "/admin/orgs/acme/tier", body).status, 400, "{body}");
    }
    let audited = eventually(|| {
        let entries = plane.ask("GET", "/admin/audit?action=org.tier", "").json()["entries"].clone();
        (entries.as_array()?.len() == 2).then_some(entries)
    });
    assert_eq!(
        (&audited[0]["before"], &audited[0]["after"]),
        (&json!({"tier": "starter"}), &json!({"tier": "pro"}))
    );
}
