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
    plane.ask("POST", "/admin/orgs/tiered/tier", r#"{"tier": "pro"}"#);
    plane.created("/admin/orgs/policed/policies", &json!({"name": "p", "description": "d"}));
    let rule = json!({"name": "r", "subject": {"type": "user", "ids": []}, "restriction": {"type": "warning"},
        "trigger": {"type": "token_limit", "tokens": 1, "window": {"count": 1, "unit": "day"}}});
    plane.created("/admin/orgs/ruled/rules", &rule);
    plane.created("/admin/users", &json!({"userId": "ulf", "orgId": "peopled"}));
    let member = json!({"email": "m@example.com", "password": PASSWORD, "role": "member", "orgId": "manned"});
    plane.created("/admin/logins", &member);
    let log = json!({"userId": "lea", "orgId": "logged", "model": "m", "request": {}});
    plane.created("/sdk/log", &log);
    plane.ask("POST", "/admin/users/ug:spaced:uma/block", "");
    let (ann, _) = registered(&plane, "ann@example.com", Some("anns"));
    assert_eq!(ann["orgId"], "anns");
    let victim = "org_login_00112233445566778899aabbccddeeff"; // what another email's account would get
    let orgs = [
        "acme", "keyed", "bound", "tiered", "policed", "ruled", "peopled", "manned", "logged", "spaced",
        "anns", victim,
    ];
    for org in orgs {
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

/// Nobody has to prove that an email is theirs.
#[test]
fn who_registers_with_the_email_of_a_removed_account_finds_nothing_of_it() {
    let plane = open();
    let (before, old) = registered(&plane, "ann@example.com", Some("anns"));
    let left = key(&plane, &old);
    let id = before["userId"].as_str().unwrap();
    assert_eq!(plane.ask("DELETE", &format!("/admin/logins/{id}"), "").status, 200);
    let (after, new) = registered(&plane, "ann@example.com", Some("others"));
    assert_eq!(after["userId"], id);
    assert_eq!(
        plane.ask_by(&old, "GET", "/auth/me", "").status,
        401,
        "the old token opens nothing of the new one"
    );
    assert_eq!(plane.ask_by(&new, "GET", "/auth/api-keys?ended=true", "").json()["total"], 0);
    let path = format!("/auth/api-keys/{}", left["id"].as_str().unwrap());
    assert_eq!(plane.ask_by(&new, "DELETE", &path, "").status, 404);
    assert_eq!(plane.ask("GET", "/auth/api-keys?ended=true", "").json()["total"], 1);
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
fn each_accounts_users_are_its_own_whatever_they_are_called() {
    let plane = open();
    plane.created("/admin/users", &json!({"userId": "alice", "orgId": "acme"}));
    let (ann, bob) = (
        registered(&plane, "ann@example.com", Some("anns")).1,
        registered(&plane, "bob@example.com", Some("bobs")).1,
    );
    let (anns, bobs) = (key(&plane, &ann), key(&plane, &bob));
    for (key, calls) in [(&anns, 1), (&bobs, 2)] {
        for call in 1..=calls {
            let answer = record(&plane, key, "alice");
            assert_eq!((answer.status, &answer.json()["usage"]["tokens"]), (200, &json!(1500 * call)));
        }
    }
    let view = |user: &str| plane.ask("GET", &format!("/admin/users/{user}/usage"), "").json();
    for (user, org, tokens) in
        [("alice", "acme", 0), ("ug:anns:alice", "anns", 1500), ("ug:bobs:alice", "bobs", 3000)]
    {
        let view = view(user);
        assert_eq!((&view["orgId"], &view["usage"]["totalTokens"]), (&json!(org), &json!(tokens)), "{view}");
    }
    // What the operator sets for the stored id holds for the bare one, and for nobody else's.
    assert_eq!(plane.ask("POST", "/admin/users/ug:anns:alice/block", r#"{"reason": "loop"}"#).status, 200);
    let allowed = |key: &Value| {
        let body = r#"{"userId": "alice", "model": "m", "requestType": "chat"}"#;
        plane.ask_by(key["apiKey"].as_str().unwrap(), "POST", "/sdk/check", body).json()["allowed"].clone()
    };
    assert_eq!((allowed(&anns), allowed(&bobs)), (json!(false), json!(true)));
    // Nobody names the stored form but operators.
    assert_eq!(record(&plane, &bobs, "ug:anns:alice").status, 403);
    let servers = plane.created("/auth/api-keys", &json!({"name": "the operator's"}));
    assert_eq!(record(&plane, &servers, "ug:anns:alice").status, 403);
    let body = r#"{"userId": "ug:anns:alice", "model": "m", "requestType": "chat"}"#;
    assert_eq!(plane.ask("POST", "/sdk/check", body).json()["allowed"], false);
    assert_eq!(plane.ask("POST", "/sdk/check", &body.replace("anns:alice", "anns")).status, 400);
    // What an operator tells of them counts for their org, and for no other.
    let mut call = json!({"userId": "ug:anns:alice", "model": "m", "requestType": "chat", "inputTokens": 1,
        "outputTokens": 1, "latencyMs": 1, "success": true});
    assert_eq!(plane.ask("POST", "/sdk/record", &call.to_string()).status, 200);
    call["orgId"] = "acme".into();
    assert_eq!(plane.ask("POST", "/sdk/record", &call.to_string()).status, 400);
    let requests = |org: &str| {
        let question = format!("/admin/usage?by=org&user=ug:anns:alice&org={org}");
        plane.ask("GET", &question, "").json()["rows"][0]["usage"]["requests"].clone()
    };
    eventually(|| (requests("anns") == 2).then_some(()));
}

#[test]
fn an_account_binds_keys_to_its_own_users_and_reads_the_ids_that_it_wrote() {
    let plane = open();
    let (ann, bob) = (
        registered(&plane, "ann@example.com", Some("anns")).1,
        registered(&plane, "bob@example.com", Some("bobs")).1,
    );
    let bind = |token: &str, user: &str| {
        plane.ask_by(token, "POST", "/auth/api-keys", &json!({"name": "k", "userId": user}).to_string())
    };
    let (anns, bobs) = (bind(&ann, "alice").json(), bind(&bob, "alice").json());
    assert_eq!((&anns["userId"], &bobs["userId"]), (&json!("alice"), &json!("alice")));
    assert_eq!(bind(&bob, "ug:anns:alice").status, 403);
    let listed = |token: Option<&str>, query: &str| {
        let path = format!("/auth/api-keys{query}");
        let list =
            token.map_or_else(|| plane.ask("GET", &path, ""), |token| plane.ask_by(token, "GET", &path, ""));
        let list = list.json();
        list["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["userId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for query in ["", "?userId=alice"] {
        assert_eq!(listed(Some(&ann), query), ["alice"], "{query}");
    }
    assert_eq!(listed(None, ""), ["ug:anns:alice", "ug:bobs:alice"]);
    assert_eq!(listed(None, "?userId=ug:bobs:alice"), ["ug:bobs:alice"]);
    assert_eq!(record(&plane, &anns, "alice").status, 200);
    let (status, sentence) = error(&record(&plane, &anns, "bob"));
    assert!(status == 403 && sentence.contains("user alice only"), "{status} {sentence}");
    // Whoever logs without a user is the key's user.
    let log = json!({"model": "m", "request": {}}).to_string();
    assert_eq!(plane.ask_by(anns["apiKey"].as_str().unwrap(), "POST", "/sdk/log", &log).status, 201);
    let rotated = plane.ask("POST", "/admin/users/ug:bobs:alice/rotate-key", "");
    assert_eq!((rotated.status, &rotated.json()["userId"]), (201, &json!("ug:bobs:alice")));
    let makers =
        |token: &str| plane.ask_by(token, "GET", "/auth/api-keys", "").json()["keys"][0]["maker"].clone();
    assert_eq!(
        (&makers(&ann)["email"], makers(&bob)),
        (&json!("ann@example.com"), Value::Null),
        "no operator is told"
    );
    assert_eq!(
        plane.ask("GET", "/auth/api-keys?userId=ug:bobs:alice", "").json()["keys"][0]["maker"]["kind"],
        "token"
    );
    assert_eq!(record(&plane, &bobs, "alice").status, 401, "it was replaced");
    assert_eq!(record(&plane, &rotated.json(), "alice").status, 200);
    assert_eq!(record(&plane, &anns, "alice").status, 200, "and nobody else's");
}

#[test]
fn a_member_of_before_is_the_same_user_to_an_accounts_key_and_to_the_operators() {
    let plane = open();
    let acmes = plane.created("/auth/api-keys", &json!({"name": "k", "orgId": "acme"}));
    assert_eq!(record(&plane, &acmes, "alice").status, 200);
    let login = json!({"email": "m@example.com", "password": PASSWORD, "role": "member", "orgId": "acme"});
    plane.created("/admin/logins", &login);
    let body = json!({"email": "m@example.com", "password": PASSWORD}).to_string();
    let token = ask_with(plane.address(), "POST", "/auth/login", &[], &body).json()["token"].clone();
    let members = key(&plane, token.as_str().unwrap());
    let tokens = |user: &str| {
        let view = plane.ask("GET", &format!("/admin/users/{user}/usage"), "").json();
        view["usage"]["totalTokens"].as_u64().unwrap()
    };
    assert_eq!(record(&plane, &members, "alice").json()["usage"]["tokens"], 3000);
    assert_eq!((tokens("alice"), tokens("ug:acme:alice")), (3000, 0));
    assert_eq!(record(&plane, &members, "new").status, 200);
    assert_eq!((tokens("new"), tokens("ug:acme:new")), (0, 1500));
    // Who has the id in the name space keeps it.
    plane.created("/admin/users", &json!({"userId": "new", "orgId": "acme"}));
    assert_eq!(record(&plane, &members, "new").json()["usage"]["tokens"], 3000);
}

#[test]
fn an_operators_key_of_an_org_speaks_for_no_user_of_another() {
    let plane = open();
    plane.session("claimed", 1); // Its headers say acme.
    plane.created("/admin/users", &json!({"userId": "alice", "orgId": "acme"}));
    plane.ask("POST", "/admin/users/orgless/threshold", r#"{"maxCostUsd": 5}"#);
    let acmes = plane.created("/auth/api-keys", &json!({"name": "k", "orgId": "acme"}));
    let others = plane.created("/auth/api-keys", &json!({"name": "k", "orgId": "other"}));
    for (key, user, status) in [
        (&acmes, "alice", 200),
        (&others, "alice", 403),
        (&acmes, "orgless", 403),
        (&acmes, "claimed", 403),
        (&others, "new", 200),
        (&acmes, "new", 403),
        (&others, "new", 200),
    ] {
        assert_eq!(record(&plane, key, user).status, status, "{user}");
    }
    let check = r#"{"userId": "alice", "model": "m", "requestType": "chat"}"#;
    assert_eq!(plane.ask_by(others["apiKey"].as_str().unwrap(), "POST", "/sdk/check", check).status, 403);
    // The operator moves her, and says where the two others belong.
    let bound = json!({"name": "k", "userId": "alice", "orgId": "other"});
    let refused = plane.ask("POST", "/auth/api-keys", &bound.to_string());
    assert_eq!(refused.status, 409, "{}", refused.body);
    for user in ["orgless", "claimed"] {
        plane.created("/auth/api-keys", &json!({"name": "k", "userId": user, "orgId": "acme"}));
        assert_eq!(record(&plane, &acmes, user).status, 200, "{user}");
    }
    // A user's key counts for the user's org, whatever it is asked to count for.
    let own = plane.created("/auth/api-keys", &json!({"name": "k", "userId": "alice"}));
    assert_eq!(record(&plane, &own, "alice").status, 200);
    let call = json!({"userId": "alice", "orgId": "other", "model": "m", "requestType": "chat", "inputTokens": 1,
        "outputTokens": 1, "latencyMs": 1, "success": true});
    let refused = plane.ask_by(own["apiKey"].as_str().unwrap(), "POST", "/sdk/record", &call.to_string());
    assert_eq!(refused.status, 403, "{}", refused.body);
    let rows = eventually(|| {
        let rows = plane.ask("GET", "/admin/usage?by=org&user=alice", "").json()["rows"].clone();
        (!rows.as_array()?.is_empty()).then_some(rows)
    });
    assert_eq!((&rows[0]["org"], rows.as_array().unwrap().len()), (&json!("acme"), 1), "{rows}");
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
