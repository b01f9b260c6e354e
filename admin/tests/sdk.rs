//! Calls that do not pass through the proxy, as existing clients tell of them.

mod kit;

use kit::{Plane, check, issue};
use serde_json::{Value, json};
use tokenist_handoff::Order;

fn ask(plane: &Plane, path: &str, body: &Value) -> (u16, Value) {
    let answer = plane.ask("POST", path, &body.to_string());
    (answer.status, answer.json())
}

fn call(user: &str) -> Value {
    json!({"userId": user, "model": "gpt-4o-mini", "requestType": "chat"})
}

fn used(user: &str, model: &str, input: u64, output: u64) -> Value {
    json!({"userId": user, "model": model, "requestType": "chat", "inputTokens": input, "outputTokens": output,
        "latencyMs": 120.5, "success": true})
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

fn error(sentence: &str) -> Value {
    json!({"error": sentence})
}

#[test]
fn a_check_says_what_is_left() {
    let plane = Plane::start();
    let allowed = |tokens: u64, cost: f64, left_tokens: u64, left_cost: f64| {
        json!({"allowed": true, "usage": {"tokens": tokens, "costUsd": cost},
            "remaining": {"tokens": left_tokens, "costUsd": left_cost}})
    };
    assert_eq!(ask(&plane, "/sdk/check", &call("alice")), (200, allowed(0, 0.0, 0, 10.0)));
    check(&plane, "GET /admin/users", 200, json!({"users": [], "nextCursor": null}));
    ask(&plane, "/sdk/record", &used("alice", "gpt-4o-mini", 1000, 500));
    assert_eq!(ask(&plane, "/sdk/check", &call("alice")), (200, allowed(1500, 0.00045, 0, 9.99955)));
    plane.ask("POST", "/admin/users/alice/threshold", "{\"maxTotalTokens\":2000}");
    let request = with(call("alice"), "estimatedTokens", json!(1_000_000));
    assert_eq!(ask(&plane, "/sdk/check", &request), (200, allowed(1500, 0.00045, 500, 0.0)));
}

#[test]
fn what_denies_a_call_is_told_in_this_order() {
    let plane = Plane::start();
    ask(&plane, "/sdk/record", &used("alice", "gpt-4o-mini", 1000, 500));
    let usage = json!({"tokens": 1500, "costUsd": 0.00045});
    let denied = |reason: &str| (200, json!({"allowed": false, "reason": reason, "usage": usage}));
    let threshold = |body: &str| plane.ask("POST", "/admin/users/alice/threshold", body).status;
    let judged = || ask(&plane, "/sdk/check", &call("alice"));

    threshold("{\"maxTotalTokens\":1500}");
    assert_eq!(judged(), denied("Token limit exceeded: 1500 >= 1500"));
    threshold("{\"maxTotalTokens\":1500,\"maxCostUsd\":0.0004}");
    assert_eq!(judged(), denied("Cost limit exceeded: $0.0004 >= $0.00"));
    plane.ask("POST", "/admin/users/alice/block", "");
    assert_eq!(judged(), denied("User is blocked: No reason provided"));
    plane.ask("POST", "/admin/users/alice/block", "{\"reason\":\"abuse\"}");
    assert_eq!(judged(), denied("User is blocked: abuse"));
    plane.ask("POST", "/admin/users/alice/unblock", "");

    // A token limit of 0 is none, a cost limit of 0 denies even who has used nothing.
    threshold("{\"maxTotalTokens\":0}");
    assert_eq!(judged().1["allowed"], true);
    plane.ask("POST", "/admin/users/bob/threshold", "{\"maxCostUsd\":0}");
    let bob = ask(&plane, "/sdk/check", &call("bob")).1;
    assert_eq!(bob["reason"], "Cost limit exceeded: $0.0000 >= $0.00");
}

#[test]
fn a_record_counts_at_the_models_price() {
    let plane = Plane::start();
    let recorded = |tokens: u64, cost: f64, blocked: bool| {
        let usage = json!({"tokens": tokens, "costUsd": cost});
        (200, json!({"recorded": true, "usage": usage, "blocked": blocked}))
    };
    let mini = used("alice", "gpt-4o-mini", 1000, 500);
    assert_eq!(ask(&plane, "/sdk/record", &mini), recorded(1500, 0.00045, false));
    assert_eq!(ask(&plane, "/sdk/record", &mini), recorded(3000, 0.0009, false));
    assert_eq!(
        ask(&plane, "/sdk/record", &used("bob", "gpt-4o", 1_000_000, 0)),
        recorded(1_000_000, 2.5, false)
    );
    assert_eq!(
        ask(&plane, "/sdk/record", &used("carol", "gpt-4o", 0, 1_000_000)),
        recorded(1_000_000, 10.0, true)
    );
    let unknown = ask(&plane, "/sdk/record", &used("dave", "model-of-nobody", 1000, 500)).1;
    assert!(unknown["usage"]["costUsd"].as_f64().unwrap() > 0.0, "{unknown}");
    let alice = plane.ask("GET", "/admin/users/alice/usage", "").json();
    assert_eq!(alice["usage"]["costUsd"], 0.0009);
}

#[test]
fn a_record_that_reaches_a_limit_ends_live_sessions() {
    let plane = Plane::start();
    plane.session("alice", 1);
    plane.ask("POST", "/admin/users/alice/threshold", "{\"maxTotalTokens\":2000}");
    let answer = ask(&plane, "/sdk/record", &used("alice", "gpt-4o-mini", 400, 100)).1;
    assert_eq!((&answer["usage"]["tokens"], &answer["blocked"]), (&json!(2000), &json!(true)));
    assert!(matches!(plane.order(), Order::Sweep));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let plane = Plane::start();
    let required = |name: &str| json!({"path": [name], "code": "invalid_type", "message": "Required"});
    let all = |names: &[&str]| json!({"error": names.iter().map(|name| required(name)).collect::<Vec<_>>()});
    let record = ["userId", "model", "requestType", "inputTokens", "outputTokens", "latencyMs", "success"];
    check(&plane, "POST /sdk/check", 400, all(&record[..3]));
    check(&plane, "POST /sdk/record {}", 400, all(&record));
    check(&plane, "POST /sdk/log {}", 400, all(&["model", "request"]));
    check(&plane, "POST /sdk/log {\"model\":\"m\",\"request\":{}}", 400, all(&["userId"]));
    let good = used("alice", "gpt-4o-mini", 1, 1);
    for (name, value, code, message) in [
        ("inputTokens", json!(-1), "too_small", "Number must be greater than or equal to 0"),
        ("inputTokens", json!(1.5), "invalid_type", "Expected integer, received float"),
        ("outputTokens", json!(1e13), "too_big", "Number must be less than or equal to 1000000000000"),
        ("latencyMs", json!(-0.1), "too_small", "Number must be greater than or equal to 0"),
        ("latencyMs", json!(null), "invalid_type", "Expected number, received null"),
        ("success", json!("yes"), "invalid_type", "Expected boolean, received string"),
        ("timestamp", json!("today"), "invalid_string", "Invalid datetime"),
        ("userId", json!(""), "invalid_string", "userId is empty"),
        (
            "feature",
            json!("a\u{0}b"),
            "invalid_string",
            "feature contains a control character: U+0000, its character 2; leave it out",
        ),
        (
            "requestType",
            json!("image"),
            "invalid_enum_value",
            "Invalid enum value. Expected 'realtime' | 'chat' | 'embeddings'",
        ),
    ] {
        let answer = ask(&plane, "/sdk/record", &with(good.clone(), name, value));
        assert_eq!(answer, (400, issue(name, code, message)));
    }
    check(
        &plane,
        "POST /sdk/log {\"model\":\"m\",\"request\":\"hi\",\"userId\":\"a\"}",
        400,
        issue("request", "invalid_type", "Expected object, received string"),
    );
    check(&plane, "GET /admin/users", 200, json!({"users": [], "nextCursor": null}));
}

#[test]
fn a_log_counts_what_its_response_states() {
    let plane = Plane::start();
    let chat = json!({"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500});
    let realtime = json!({"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500});
    for (response, cost, tokens) in [
        (json!({"usage": chat}), json!(0.00045), 1500),
        (json!({"type": "response.done", "response": {"usage": realtime}}), json!(0.00045), 3000),
        (json!({"usage": null, "response": {"usage": chat}}), json!(0.00045), 4500),
        (json!({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}), json!(null), 4500),
        (json!({"choices": []}), json!(null), 4500),
    ] {
        let log = json!({"userId": "alice", "model": "gpt-4o-mini", "request": {"messages": []},
            "response": response, "conversationId": "c1", "userName": "Alice", "latencyMs": 80});
        let (status, answer) = ask(&plane, "/sdk/log", &log);
        assert_eq!(
            (status, &answer),
            (201, &json!({"id": answer["id"], "conversationId": "c1", "recorded": true, "costUsd": cost}))
        );
        let id = answer["id"].as_str().unwrap();
        assert!(id.len() == 36 && id.starts_with("log_"), "{id}");
        let alice = plane.ask("GET", "/admin/users/alice/usage", "").json();
        assert_eq!((&alice["usage"]["totalTokens"], &alice["name"]), (&json!(tokens), &json!("Alice")));
    }
    let bare = json!({"userId": "bob", "model": "m", "request": {}});
    let answer = ask(&plane, "/sdk/log", &bare).1;
    assert!(answer["conversationId"].as_str().unwrap().starts_with("conv_"), "{answer}");
}

#[test]
fn a_log_may_be_long() {
    let plane = Plane::start();
    let log = |bytes: usize| {
        json!({"userId": "alice", "model": "m", "request": {"text": "x".repeat(bytes)}}).to_string()
    };
    assert_eq!(plane.ask("POST", "/sdk/log", &log(2 * 1024 * 1024 - 100)).status, 201);
    let refused = plane.ask("POST", "/sdk/log", &log(2 * 1024 * 1024));
    assert_eq!((refused.status, refused.json()), (413, error("Request body is too large")));
}

#[test]
fn a_key_speaks_only_for_whom_it_is_bound_to() {
    let plane = Plane::start();
    let key = |body: Value| plane.created("/auth/api-keys", &body)["apiKey"].as_str().unwrap().to_owned();
    let alices = key(json!({"name": "alice", "userId": "alice"}));
    let acmes = key(json!({"name": "acme", "orgId": "acme"}));
    let anybodys = key(json!({"name": "any"}));
    let record = |key: &str, body: &Value| {
        let answer = plane.ask_by(key, "POST", "/sdk/record", &body.to_string());
        (answer.status, answer.json())
    };
    let as_user = |user: &str| used(user, "gpt-4o-mini", 1000, 500);
    assert_eq!(record(&alices, &as_user("alice")).0, 200);
    let sentence = "This API key speaks for user alice only: send that userId, or use another key";
    assert_eq!(record(&alices, &as_user("bob")), (403, error(sentence)));
    assert_eq!(record(&acmes, &as_user("bob")).0, 200);
    let sentence = "This API key counts for org acme only: leave out orgId, or use another key";
    assert_eq!(record(&acmes, &with(as_user("bob"), "orgId", json!("other"))), (403, error(sentence)));
    assert_eq!(record(&anybodys, &with(as_user("carol"), "orgId", json!("other"))).0, 200);

    let org =
        |user: &str| plane.ask("GET", &format!("/admin/users/{user}/usage"), "").json()["orgId"].clone();
    assert_eq!(["alice", "bob", "carol"].map(org), [json!(null), json!("acme"), json!("other")]);

    // Whoever logs without a user is the key's user, or the key.
    let log = json!({"model": "m", "request": {}}).to_string();
    for key in [&alices, &acmes] {
        assert_eq!(plane.ask_by(key, "POST", "/sdk/log", &log).status, 201);
    }
    let users = plane.ask("GET", "/admin/users?org=acme", "").json();
    let ids: Vec<&str> =
        users["users"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap()).collect();
    assert!(ids.len() == 2 && ids[0] == "bob" && ids[1].starts_with("key_"), "{ids:?}");
}

/// Tells of a call, with headers beside those that every call has.
fn tell(plane: &Plane, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {}", kit::TOKEN);
    let all: Vec<(&str, &str)> =
        std::iter::once(("authorization", bearer.as_str())).chain(headers.iter().copied()).collect();
    let answer = kit::ask_with(plane.address(), "POST", path, &all, &body.to_string());
    (answer.status, answer.json())
}

#[test]
fn what_is_recorded_again_counts_once() {
    let plane = Plane::start();
    let tokens = |(status, reply): (u16, Value)| {
        assert_eq!((status, &reply["recorded"]), (200, &json!(true)), "{reply}");
        reply["usage"]["tokens"].as_u64().unwrap()
    };
    let call = used("alice", "gpt-4o-mini", 100, 50);
    let of = |response: &str| with(call.clone(), "responseId", json!(response));
    let key = |key: &'static str| vec![("Idempotency-Key", key)];
    for (headers, body, sum) in [
        (key("one"), &call, 150),
        (key("one"), &call, 150),
        (key("two"), &call, 300),
        (key("one"), &call, 300),
        // Nobody can tell whether this is the same.
        (vec![], &call, 450),
        (vec![], &call, 600),
        (vec![], &of("resp_1"), 750),
        (vec![], &of("resp_1"), 750),
        (key("three"), &of("resp_1"), 750),
        (key("three"), &of("resp_2"), 750),
        // A server that begins to count its responses anew.
        (vec![], &with(of("resp_1"), "inputTokens", json!(101)), 901),
    ] {
        assert_eq!(tokens(tell(&plane, "/sdk/record", &headers, body)), sum, "{headers:?} {body}");
    }
    let requests =
        plane.ask("GET", "/admin/users/alice/models?since=start", "").json()["models"][0]["requests"].clone();
    assert_eq!(requests, 6);
    // Of two at once one counts.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| tell(&plane, "/sdk/record", &key("at once"), &used("bob", "gpt-4o-mini", 1, 1)));
        }
    });
    assert_eq!(tokens(tell(&plane, "/sdk/record", &key("at once"), &used("bob", "gpt-4o-mini", 1, 1))), 2);
    for bad in [vec![("Idempotency-Key", "")], vec![("Idempotency-Key", "a"), ("Idempotency-Key", "b")]] {
        assert_eq!(tell(&plane, "/sdk/record", &bad, &call).0, 400, "{bad:?}");
    }
}

#[test]
fn what_is_logged_again_is_kept_and_counted_once() {
    let plane = Plane::start();
    let log = |response: Value| json!({"model": "gpt-4o-mini", "userId": "alice", "orgId": "acme", "request": {"a": 1}, "response": response});
    let said = json!({"id": "resp_1", "usage": {"input_tokens": 100, "output_tokens": 50}});
    let key = [("Idempotency-Key", "one")];
    let first = tell(&plane, "/sdk/log", &key, &log(said.clone()));
    assert_eq!((first.0, &first.1["costUsd"]), (201, &json!(0.000045)));
    for again in [
        tell(&plane, "/sdk/log", &key, &log(said.clone())),
        tell(&plane, "/sdk/log", &[], &log(said.clone())),
    ] {
        assert_eq!(again, first, "it is answered as the first was");
    }
    let other = json!({"id": "resp_1", "usage": {"input_tokens": 7, "output_tokens": 0}});
    let other = tell(&plane, "/sdk/log", &[], &log(other));
    assert_ne!(other.1["id"], first.1["id"], "the same id is used for something else");
    let usage = plane.ask("GET", "/admin/users/alice/usage", "").json();
    assert_eq!(usage["usage"]["totalTokens"], 157);
    let logs = || plane.ask("GET", "/admin/orgs/acme/logs", "").json();
    let page = kit::eventually(|| Some(logs()).filter(|page| page["total"].as_u64() >= Some(2)));
    assert_eq!(page["total"], 2, "{page}");
}

#[test]
fn what_one_key_has_told_another_may_tell_as_well() {
    let plane = Plane::start();
    let made = |org: &str| {
        let body = json!({"name": org, "orgId": org, "scopes": ["sdk"]});
        plane.created("/auth/api-keys", &body)["apiKey"].as_str().unwrap().to_owned()
    };
    let told = |key: &str, user: &str| {
        let headers = [("authorization", format!("Bearer {key}")), ("Idempotency-Key", "one".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let body = used(user, "gpt-4o-mini", 1, 0).to_string();
        kit::ask_with(plane.address(), "POST", "/sdk/record", &headers, &body).json()["usage"]["tokens"]
            .clone()
    };
    let (acme, other_acme, globex) = (made("acme"), made("acme"), made("globex"));
    assert_eq!(
        (told(&acme, "alice"), told(&other_acme, "alice"), told(&globex, "bob")),
        (json!(1), json!(1), json!(1))
    );
}
