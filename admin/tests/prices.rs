//! What models cost, as operators set it.

mod kit;

use kit::{Plane, check, eventually, issue};
use serde_json::{Value, json};

fn put(plane: &Plane, query: &str, body: &Value) -> (u16, Value) {
    let answer = plane.ask("PUT", &format!("/admin/prices{query}"), &body.to_string());
    (answer.status, answer.json())
}

fn prices(plane: &Plane) -> Vec<Value> {
    plane.ask("GET", "/admin/prices", "").json()["prices"].as_array().unwrap().clone()
}

/// What a call of a million tokens costs.
fn cost(plane: &Plane, user: &str) -> f64 {
    let call = json!({"userId": user, "model": "m-1", "requestType": "chat", "inputTokens": 1_000_000,
        "outputTokens": 0, "latencyMs": 1, "success": true});
    plane.ask("POST", "/sdk/record", &call.to_string()).json()["usage"]["costUsd"].as_f64().unwrap()
}

#[test]
fn a_price_holds_as_soon_as_it_is_set_and_until_it_is_taken_back() {
    let plane = Plane::start();
    let builtin = prices(&plane);
    assert!(builtin.iter().all(|price| price["source"] == "builtin" && price["id"].is_null()));
    assert_eq!(cost(&plane, "a"), 5.0, "the fallback");
    let (status, set) = put(
        &plane,
        "",
        &json!({"model": "m-*", "aliases": ["n"], "usdPerMillion": {"textIn": 2, "cachedTextIn": 0.25},
            "usdPerMinute": 0.006, "usdPerThousand": {"searches": 10}, "effectiveFrom": "2026-01-02"}),
    );
    let wanted = json!({"id": "*:m-*:2026-01-02T00:00:00.000Z", "source": "api", "provider": null, "model": "m-*",
        "aliases": ["n"], "effectiveFrom": "2026-01-02T00:00:00.000Z", "usdPerMinute": 0.006,
        "usdPerMillion": {"textIn": 2.0, "cachedTextIn": 0.25, "cacheWriteIn": null, "cacheWriteLongIn": null,
            "textOut": null, "audioIn": null, "cachedAudioIn": null, "audioOut": null, "imageIn": null,
            "cachedImageIn": null, "imageOut": null, "videoIn": null, "videoOut": null, "charactersIn": null},
        "usdPerThousand": {"items": null, "searches": 10.0, "fileSearches": null}, "conditions": null, "factor": null});
    assert_eq!((status, &set), (200, &wanted));
    assert_eq!(prices(&plane)[0], wanted, "it goes before all others");
    assert_eq!(cost(&plane, "b"), 2.0);
    let dearer = json!({"model": "m-*", "usdPerMillion": {"textIn": 3}, "effectiveFrom": "2026-01-02"});
    assert_eq!(put(&plane, "", &dearer).0, 200);
    assert_eq!(prices(&plane).len(), builtin.len() + 1, "it takes the place of the first");
    assert_eq!(cost(&plane, "c"), 3.0);
    let to_come = json!({"model": "m-*", "usdPerMillion": {"textIn": 9}, "effectiveFrom": "2999-01-01"});
    assert_eq!(put(&plane, "", &to_come).0, 200);
    assert_eq!(cost(&plane, "d"), 3.0);
    assert_eq!(cost(&plane, "a"), 8.0, "what was used keeps its cost");
    for id in ["*:m-*:2026-01-02T00:00:00.000Z", "*:m-*:2999-01-01T00:00:00.000Z"] {
        let path = format!("/admin/prices/{}", id.replace(':', "%3A").replace('*', "%2A"));
        check(&plane, &format!("DELETE {path}"), 200, json!({"success": true}));
        check(&plane, &format!("DELETE {path}"), 404, json!({"error": "Price not found"}));
    }
    assert_eq!(prices(&plane), builtin);
    assert_eq!(cost(&plane, "e"), 5.0);
    let priority = json!({"model": "m-1", "conditions": "region=x;service_tier=priority", "factor": 1.5});
    let (status, set) = put(&plane, "", &priority);
    assert_eq!((status, &set["id"]), (200, &json!("*:m-1:always:region=x;service_tier=priority")), "{set}");
    assert_eq!((&set["conditions"], &set["factor"]), (&priority["conditions"], &json!(1.5)));
    assert_eq!(cost(&plane, "f"), 5.0, "it changes another price, and is none");
    let audit = || plane.ask("GET", "/admin/audit?action=price.set", "").json()["entries"].clone();
    let kept = eventually(|| Some(audit()).filter(|entries| entries.as_array().unwrap().len() == 4));
    assert_eq!(kept[2]["before"]["usdPerMillion"]["textIn"], 2.0);
}

#[test]
fn a_trial_changes_nothing() {
    let plane = Plane::start();
    let before = prices(&plane);
    let (status, trial) = put(&plane, "?dryRun=true", &json!({"model": "gpt-realtime", "usdPerMinute": 1}));
    assert_eq!((status, &trial["costUsd"], &trial["models"]), (200, &json!(0.0), &json!([])));
    assert!(trial["periodLabel"].as_str().unwrap().contains(' '));
    assert_eq!(prices(&plane), before);
    check(&plane, "GET /admin/audit?action=price.set", 200, json!({"entries": [], "more": false}));
}

#[test]
fn what_cannot_be_a_price_is_refused_with_its_reason() {
    let plane = Plane::start();
    let none = issue("usdPerMillion", "too_small", "At least one figure is needed");
    assert_eq!(put(&plane, "", &json!({"model": "m"})), (400, none));
    let (status, refused) = put(
        &plane,
        "?dryRun=true",
        &json!({"provider": "a:b", "aliases": ["", 1], "usdPerMillion": {"textIn": -1, "textOut": 1e9, "imageIn": 1}}),
    );
    let paths = refused["error"].as_array().unwrap().iter().map(|issue| issue["path"].clone());
    let wanted = [
        json!(["provider"]),
        json!(["model"]),
        json!(["aliases"]),
        json!(["usdPerMillion", "textIn"]),
        json!(["usdPerMillion", "textOut"]),
    ];
    assert_eq!((status, paths.collect::<Vec<_>>()), (400, wanted.to_vec()));
    for (body, path) in [
        (json!({"model": "m", "conditions": "tier=x", "factor": 2}), "conditions"),
        (json!({"model": "m", "conditions": "region=x"}), "conditions"),
        (json!({"model": "m", "conditions": "region=x", "factor": 1.00001}), "factor"),
        (json!({"model": "m", "factor": 2}), "conditions"),
        (json!({"model": "m", "conditions": "region=x", "factor": 2, "aliases": ["n"]}), "conditions"),
    ] {
        let (status, refused) = put(&plane, "", &body);
        assert_eq!((status, &refused["error"][0]["path"]), (400, &json!([path])), "{body} {refused}");
    }
}
