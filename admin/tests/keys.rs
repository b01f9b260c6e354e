//! Tokenist keys over the API: made, listed, ended, and what they open.

mod kit;

use kit::{Plane, check, issue};
use serde_json::{Value, json};

const FUTURE: &str = "2999-01-01T00:00:00.000Z";

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}"))
}

/// The names of the keys that a path lists, and how many there are.
fn names(plane: &Plane, path: &str) -> (String, u64) {
    let list = plane.ask("GET", path, "").json();
    let names = list["keys"].as_array().unwrap().iter().map(|key| field(key, "name"));
    (names.collect::<Vec<_>>().join(" "), list["total"].as_u64().unwrap())
}

#[test]
fn a_key_is_shown_once_and_known_by_its_hint() {
    let plane = Plane::start();
    let key = plane.created("/auth/api-keys", &json!({"name": "ci"}));
    let text = field(&key, "apiKey");
    let digits = text.strip_prefix("ug_").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{text}");
    let kept = json!({"id": key["id"], "name": "ci", "keyHint": text[..12], "createdAt": key["createdAt"],
        "maker": {"kind": "token", "id": null, "email": null}, "scopes": ["proxy", "sdk"], "userId": null, "orgId": null, "expiresAt": null, "revokedAt": null});
    let mut shown = kept.clone();
    shown["apiKey"] = key["apiKey"].clone();
    assert_eq!(key, shown);
    check(&plane, "GET /auth/api-keys", 200, json!({"keys": [kept], "total": 1}));

    let bound =
        json!({"name": "acme", "orgId": "acme", "userId": "alice", "scopes": ["sdk"], "expiresAt": FUTURE});
    let bound = plane.created("/auth/api-keys", &bound);
    for (name, value) in [("orgId", "acme"), ("userId", "alice"), ("expiresAt", FUTURE), ("name", "acme")] {
        assert_eq!(bound[name], value);
    }
    assert_eq!(bound["scopes"], json!(["sdk"]));
}

#[test]
fn what_is_wrong_with_a_key_is_said() {
    let plane = Plane::start();
    let bound_admin = "A key with the admin scope opens every org, so it cannot be bound to a user or an org: \
        leave out userId and orgId, or the scope";
    for (body, expected) in [
        ("", issue("name", "invalid_type", "Required")),
        ("{\"name\":\"\"}", issue("name", "too_small", "String must contain at least 1 character(s)")),
        (
            &format!("{{\"name\":\"{}\"}}", "x".repeat(101)),
            issue("name", "too_big", "String must contain at most 100 character(s)"),
        ),
        (
            "{\"name\":\"a\",\"scopes\":[]}",
            issue("scopes", "too_small", "Array must contain at least 1 element(s)"),
        ),
        (
            "{\"name\":\"a\",\"scopes\":[\"root\"]}",
            issue("scopes", "invalid_enum_value", "Invalid enum value. Expected 'proxy' | 'sdk' | 'admin'"),
        ),
        (
            "{\"name\":\"a\",\"scopes\":\"sdk\"}",
            issue("scopes", "invalid_type", "Expected array, received string"),
        ),
        (
            "{\"name\":\"a\",\"scopes\":[\"admin\"],\"orgId\":\"acme\"}",
            issue("scopes", "custom", bound_admin),
        ),
        ("{\"name\":\"a\",\"scopes\":[\"admin\"],\"userId\":\"al\"}", issue("scopes", "custom", bound_admin)),
        (
            "{\"name\":\"a\",\"expiresAt\":\"2001-01-01\"}",
            issue("expiresAt", "too_small", "This time is past; give one that is to come, or leave it out"),
        ),
        ("{\"name\":\"a\",\"userId\":\"\"}", issue("userId", "invalid_string", "userId is empty")),
    ] {
        check(&plane, &format!("POST /auth/api-keys {body}"), 400, expected);
    }
    check(&plane, "GET /auth/api-keys?ended=true", 200, json!({"keys": [], "total": 0}));
}

#[test]
fn a_revoked_key_opens_nothing_and_is_gone_from_the_list() {
    let plane = Plane::start();
    let key = plane.created("/auth/api-keys", &json!({"name": "a", "scopes": ["admin"]}));
    next_millisecond();
    plane.created("/auth/api-keys", &json!({"name": "b"}));
    assert_eq!(plane.ask_by(field(&key, "apiKey"), "GET", "/admin/users", "").status, 200);
    let delete = format!("DELETE /auth/api-keys/{}", field(&key, "id"));
    check(&plane, &delete, 200, json!({"success": true}));
    let refused = plane.ask_by(field(&key, "apiKey"), "GET", "/admin/users", "");
    assert_eq!((refused.status, refused.json()), (401, json!({"error": "Invalid API key"})));
    check(&plane, &delete, 404, json!({"error": "API key not found"}));
    check(&plane, "DELETE /auth/api-keys/key_none", 404, json!({"error": "API key not found"}));

    assert_eq!(names(&plane, "/auth/api-keys"), ("b".into(), 1));
    assert_eq!(names(&plane, "/auth/api-keys?ended=true"), ("a b".into(), 2));
    assert_eq!(names(&plane, "/auth/api-keys?ended=true&limit=1"), ("a".into(), 2));
    assert_eq!(names(&plane, "/auth/api-keys?ended=true&offset=1"), ("b".into(), 2));
    let all = plane.ask("GET", "/auth/api-keys?ended=true", "").json();
    assert!(all["keys"][0]["revokedAt"].is_string() && all["keys"][1]["revokedAt"].is_null());
}

#[test]
fn a_user_is_created_with_a_key_of_its_own() {
    let plane = Plane::start();
    let request = json!({"userId": "alice", "orgId": "acme", "email": "a@example.com", "name": "Alice"});
    let alice = plane.created("/admin/users", &request);
    for (name, value) in request.as_object().unwrap() {
        assert_eq!(&alice[name], value);
    }
    assert_eq!(field(&alice, "keyHint"), &field(&alice, "apiKey")[..12]);
    assert_eq!((&alice["key"]["userId"], &alice["key"]["orgId"]), (&json!("alice"), &json!("acme")));
    let listed = plane.ask("GET", "/admin/users?search=alice", "").json();
    assert_eq!(
        (&listed["users"][0]["name"], &listed["users"][0]["orgId"]),
        (&json!("Alice"), &json!("acme"))
    );

    let again = plane.ask("POST", "/admin/users", &request.to_string());
    let sentence = "User alice has an API key already; POST /admin/users/:id/rotate-key replaces it, and POST \
        /auth/api-keys with this userId adds another";
    assert_eq!((again.status, again.json()), (409, json!({"error": sentence})));
    assert_eq!(names(&plane, "/auth/api-keys?userId=alice"), ("alice".into(), 1));

    // Known from sessions, but without a key.
    plane.session("bob", 1);
    plane.created("/admin/users", &json!({"userId": "bob"}));
    let nameless = plane.created("/admin/users", &json!({}));
    assert!(field(&nameless, "userId").starts_with("user_"));
    let admin = issue(
        "scopes",
        "custom",
        "A key with the admin scope opens every org, so it cannot be bound to a user or an org: leave out userId \
         and orgId, or the scope",
    );
    check(&plane, "POST /admin/users {\"scopes\":[\"admin\"]}", 400, admin);
}

#[test]
fn rotation_ends_the_keys_of_before() {
    let plane = Plane::start();
    let first =
        plane.created("/admin/users", &json!({"userId": "alice", "orgId": "acme", "scopes": ["sdk"]}));
    next_millisecond();
    let second = plane.created("/auth/api-keys", &json!({"name": "laptop", "userId": "alice"}));
    next_millisecond();
    plane.created("/auth/api-keys", &json!({"name": "bob", "userId": "bob"}));
    next_millisecond();
    let check_by = |key: &Value| {
        let call = json!({"userId": "alice", "model": "gpt-4o", "requestType": "chat"}).to_string();
        plane.ask_by(field(key, "apiKey"), "POST", "/sdk/check", &call).status
    };
    let third = plane.created("/admin/users/alice/rotate-key", &json!({"graceSeconds": 60}));
    assert_eq!([&first, &second, &third].map(check_by), [200, 200, 200], "the grace is not over");
    let retired = third["retired"].as_array().unwrap();
    assert_eq!(retired.len(), 2);
    assert!(retired.iter().all(|key| key["expiresAt"].is_string() && key["revokedAt"].is_null()));
    assert_eq!((&third["name"], &third["scopes"]), (&json!("laptop"), &json!(["proxy", "sdk"])));

    let fourth = plane.created("/admin/users/alice/rotate-key", &json!({}));
    assert_eq!([&first, &second, &third, &fourth].map(check_by), [401, 401, 401, 200]);
    let retired = fourth["retired"].as_array().unwrap();
    assert!(retired.len() == 3 && retired.iter().all(|key| key["revokedAt"].is_string()), "{fourth}");
    assert_eq!(names(&plane, "/auth/api-keys"), ("bob laptop".into(), 2));

    let sentence = "User carol has no API key; POST /admin/users with this userId makes one";
    check(&plane, "POST /admin/users/carol/rotate-key", 404, json!({"error": sentence}));
    for (grace, code, message) in [
        ("-1", "too_small", "Number must be greater than or equal to 0"),
        ("2592001", "too_big", "Number must be less than or equal to 2592000"),
    ] {
        let request = format!("POST /admin/users/alice/rotate-key {{\"graceSeconds\":{grace}}}");
        check(&plane, &request, 400, issue("graceSeconds", code, message));
    }
}

#[test]
fn one_of_two_who_create_the_same_user_is_refused() {
    let plane = Plane::start();
    let create = || plane.ask("POST", "/admin/users", "{\"userId\":\"alice\"}").status;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)));
    assert_eq!(names(&plane, "/auth/api-keys").1, 1);
}

#[test]
fn each_key_tells_by_whose_right_it_was_made() {
    let plane = Plane::start();
    let body = json!({"email": "ann@example.com", "password": "correct horse", "role": "operator"});
    let login = plane.created("/admin/logins", &body);
    let id = field(&login, "id");
    let sign_in = json!({"email": "ann@example.com", "password": "correct horse"}).to_string();
    let token = plane.ask("POST", "/auth/login", &sign_in).json();
    let make = |by: &str, path: &str, body: Value| {
        let made = plane.ask_by(by, "POST", path, &body.to_string());
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()
    };
    let by_login = make(field(&token, "token"), "/auth/api-keys", json!({"name": "a", "scopes": ["admin"]}));
    let key = field(&by_login, "apiKey");
    let by_key = make(key, "/auth/api-keys", json!({"name": "b", "scopes": ["admin"]}));
    let of_user = make(key, "/admin/users", json!({"userId": "alice"}));
    let rotated = plane.created("/admin/users/alice/rotate-key", &json!({}));
    let ann = json!({"kind": "login", "id": id, "email": "ann@example.com"});
    let operator = json!({"kind": "token", "id": null, "email": null});
    assert_eq!((&by_login["maker"], &rotated["maker"]), (&ann, &operator));
    assert_eq!((&by_key["maker"]["id"], &of_user["key"]["maker"]["id"]), (&json!(id), &json!(id)));
    let listed = plane.ask("GET", "/auth/api-keys", "").json();
    let makers: Vec<&Value> = listed["keys"].as_array().unwrap().iter().map(|key| &key["maker"]).collect();
    assert!(makers.len() == 3 && makers.iter().filter(|maker| **maker == &ann).count() == 2, "{listed}");
    assert_eq!(names(&plane, &format!("/auth/api-keys?maker={id}")).1, 2);
    assert_eq!(names(&plane, "/auth/api-keys?maker=operator"), ("alice".into(), 1));
    assert_eq!(names(&plane, "/auth/api-keys?maker=login_none").1, 0);
}

#[test]
fn a_key_that_opens_everything_ends_with_the_one_that_it_was_made_with() {
    let plane = Plane::start();
    let end = "2998-01-01T00:00:00.000Z";
    let first = plane.created("/auth/api-keys", &json!({"name": "a", "scopes": ["admin"], "expiresAt": end}));
    let made = |body: Value| {
        let made = plane.ask_by(field(&first, "apiKey"), "POST", "/auth/api-keys", &body.to_string()).json();
        made["expiresAt"].clone()
    };
    assert_eq!(made(json!({"name": "b", "scopes": ["admin"]})), end);
    assert_eq!(made(json!({"name": "b", "scopes": ["admin"], "expiresAt": FUTURE})), end);
    assert_eq!(
        made(json!({"name": "b", "scopes": ["admin"], "expiresAt": "2997-01-01T00:00:00.000Z"})),
        "2997-01-01T00:00:00.000Z"
    );
    assert_eq!(made(json!({"name": "b", "scopes": ["sdk"]})), Value::Null, "an application's key goes on");
}

/// Keys of one millisecond are listed in no order that could be told beforehand.
fn next_millisecond() {
    std::thread::sleep(std::time::Duration::from_millis(2));
}
