//! Signing in, what each role may do, and what is kept of changes.

mod kit;

use kit::{Answer, Plane, TOKEN, ask_with, eventually};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokenist_core::client::TrustedProxies;

const PASSWORD: &str = "correct horse battery";

/// Makes a login and signs in as it; its bearer token.
fn signed_in(plane: &Plane, role: &str) -> (String, String) {
    let email = format!("{role}@example.com");
    let body = json!({"email": email, "password": PASSWORD, "role": role, "displayName": "Ann"});
    let login = plane.created("/admin/logins", &body);
    let answer = sign_in(plane, &email, PASSWORD);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    assert_eq!(answer["user"]["email"], email);
    (login["id"].as_str().unwrap().to_owned(), answer["token"].as_str().unwrap().to_owned())
}

fn sign_in(plane: &Plane, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password}).to_string();
    ask_with(plane.address(), "POST", "/auth/login", &[], &body)
}

#[test]
fn a_role_allows_what_it_says_and_no_more() {
    let plane = Plane::start();
    let (_, viewer) = signed_in(&plane, "viewer");
    let (_, operator) = signed_in(&plane, "operator");
    let (_, owner) = signed_in(&plane, "owner");
    let login = json!({"email": "new@example.com", "password": PASSWORD, "role": "owner"}).to_string();
    for (method, path, body, as_viewer, as_operator, as_owner) in [
        ("GET", "/auth/me", "", 200, 200, 200),
        ("GET", "/admin/users", "", 200, 200, 200),
        ("GET", "/admin/audit", "", 200, 200, 200),
        ("POST", "/admin/users/alice/block", "{}", 403, 200, 200),
        ("POST", "/admin/users/alice/threshold", r#"{"maxCostUsd": 1}"#, 403, 200, 200),
        ("POST", "/auth/api-keys", r#"{"name": "k"}"#, 403, 201, 201),
        ("POST", "/sdk/check", r#"{"userId": "a", "model": "m", "requestType": "chat"}"#, 403, 200, 200),
        ("GET", "/admin/logins", "", 403, 403, 200),
        ("POST", "/admin/logins", &login, 403, 403, 201),
    ] {
        for (token, expected) in [(&viewer, as_viewer), (&operator, as_operator), (&owner, as_owner)] {
            let answer = plane.ask_by(token, method, path, body);
            assert_eq!(answer.status, expected, "{method} {path}: {}", answer.body);
        }
    }
    let key = plane.created("/auth/api-keys", &json!({"name": "k", "scopes": ["admin"]}));
    let key = key["apiKey"].as_str().unwrap();
    assert_eq!(plane.ask_by(key, "GET", "/admin/logins", "").status, 403);
    assert_eq!(plane.ask_by(key, "GET", "/auth/me", "").json()["role"], "operator");
}

/// Making a login takes a while, for its password is hashed before its turn comes.
#[test]
fn who_has_lost_its_right_makes_no_login_that_was_under_way() {
    let plane = Plane::start();
    let (id, owner) = signed_in(&plane, "owner");
    let logins = || plane.ask("GET", "/admin/logins", "").json()["logins"].as_array().unwrap().len();
    let make = |number: usize| {
        let email = format!("{number}@example.com");
        let body = json!({"email": email, "password": PASSWORD, "role": "owner"}).to_string();
        plane.ask_by(&owner, "POST", "/admin/logins", &body).status
    };
    let make = &make;
    thread::scope(|scope| {
        let making: Vec<_> = (0..16).map(|number| scope.spawn(move || make(number))).collect();
        eventually(|| (logins() > 1).then_some(()));
        assert_eq!(plane.ask("DELETE", &format!("/admin/logins/{id}"), "").status, 200);
        let left = logins();
        for answer in making {
            let status = answer.join().unwrap();
            assert!([201, 401].contains(&status), "{status}");
        }
        assert_eq!(logins(), left);
    });
}

#[test]
fn a_new_password_role_or_removal_holds_at_once() {
    let plane = Plane::start();
    let (id, token) = signed_in(&plane, "operator");
    let path = format!("/admin/logins/{id}");
    assert_eq!(plane.ask("PATCH", &path, r#"{"role": "viewer"}"#).json()["role"], "viewer");
    assert_eq!(plane.ask_by(&token, "GET", "/auth/me", "").json()["role"], "viewer");
    assert_eq!(plane.ask("PATCH", &path, r#"{"password": "another password"}"#).status, 200);
    let over = plane.ask_by(&token, "GET", "/auth/me", "");
    assert_eq!(
        (over.status, over.json()["error"].as_str()),
        (401, Some("This session is over: sign in again"))
    );
    assert_eq!(sign_in(&plane, "operator@example.com", PASSWORD).status, 401);
    let again = sign_in(&plane, "OPERATOR@example.com", "another password").json();
    let again = again["token"].as_str().unwrap();
    assert_eq!(plane.ask("DELETE", &path, "").json(), json!({"success": true}));
    assert_eq!(plane.ask_by(again, "GET", "/auth/me", "").status, 401);
    assert_eq!(plane.ask("DELETE", &path, "").status, 404);
}

#[test]
fn what_is_no_login_is_refused_with_its_reason() {
    let plane = Plane::start();
    signed_in(&plane, "viewer");
    let taken = json!({"email": "Viewer@Example.com", "password": PASSWORD, "role": "owner"});
    let refused = plane.ask("POST", "/admin/logins", &taken.to_string());
    assert_eq!((refused.status, refused.json()), (409, json!({"error": "Email already registered"})));
    for (body, paths) in [
        (json!({}), &["email", "password", "role"][..]),
        (json!({"email": "no mail", "password": "short", "role": "king"}), &["email", "password", "role"]),
        (json!({"email": "a@b", "password": PASSWORD, "role": "owner", "displayName": ""}), &["displayName"]),
    ] {
        let answer = plane.ask("POST", "/admin/logins", &body.to_string());
        let found: Vec<Value> = answer.json()["error"].as_array().unwrap().clone();
        let found: Vec<&str> = found.iter().map(|issue| issue["path"][0].as_str().unwrap()).collect();
        assert_eq!((answer.status, found.as_slice()), (400, paths));
    }
    for (email, password) in [("viewer@example.com", "wrong"), ("nobody@example.com", PASSWORD), ("", "")] {
        let answer = sign_in(&plane, email, password);
        assert_eq!((answer.status, answer.json()), (401, json!({"error": "Invalid email or password"})));
    }
}

#[test]
fn guessing_passwords_is_throttled() {
    let plane = Plane::start();
    let tries = (0..12).map(|n| sign_in(&plane, "owner@example.com", &format!("guess {n}")).status);
    let statuses: Vec<u16> = tries.collect();
    assert_eq!(statuses.first(), Some(&401));
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
}

/// What so many who ask at once are answered.
fn at_once(count: usize, ask: impl Fn(usize) -> u16 + Sync) -> Vec<u16> {
    std::thread::scope(|scope| {
        let ask = &ask;
        let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || ask(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn of_guesses_at_once_no_more_are_looked_at_than_of_guesses_in_turn() {
    let plane = Plane::start_with(|config| (config.connection_max, config.request_ms) = (256, 9_000));
    signed_in(&plane, "owner");
    let guess = |n: usize| sign_in(&plane, "owner@example.com", &format!("guess {n}")).status;
    let mut statuses = at_once(200, guess);
    statuses.sort_unstable();
    let (looked_at, refused) = statuses.split_at(10);
    assert!(looked_at.iter().all(|status| *status == 401), "{statuses:?}");
    assert!(refused.iter().all(|status| *status == 429), "{statuses:?}");
    assert_eq!(sign_in(&plane, "owner@example.com", PASSWORD).status, 429, "the right one comes too late");
}

#[test]
fn right_passwords_at_once_are_no_guesses() {
    let plane = Plane::start();
    signed_in(&plane, "owner");
    for _ in 0..2 {
        let statuses = at_once(12, |_| sign_in(&plane, "owner@example.com", PASSWORD).status);
        assert_eq!(statuses, [200; 12]);
    }
    assert_eq!(sign_in(&plane, "owner@example.com", "a slip").status, 401);
}

#[test]
fn a_crowd_of_guesses_is_sent_away_and_keeps_nobody_elsewhere_waiting() {
    let plane = Plane::start_with(|config| {
        config.trusted_proxies = TrustedProxies::parse("127.0.0.0/8").unwrap();
        (config.connection_max, config.request_ms) = (256, 9_000);
        config.registration = true;
    });
    signed_in(&plane, "owner");
    let (looked_at, before) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let from = |client: &str, path: &str, body: Value| {
        ask_with(plane.address(), "POST", path, &[("x-forwarded-for", client)], &body.to_string())
    };
    let ask = |n: usize| match n {
        0 => {
            eventually(|| (looked_at.load(Ordering::Relaxed) > 0).then_some(()));
            let body = json!({"email": "owner@example.com", "password": PASSWORD});
            let status = from("203.0.113.2", "/auth/login", body).status;
            before.store(looked_at.load(Ordering::Relaxed), Ordering::Relaxed);
            status
        }
        n => {
            let email = format!("{n}@example.com");
            // The same email, so that all of them are one registration to the throttle.
            let registration =
                json!({"email": "new@example.com", "password": PASSWORD, "orgId": format!("org-{n}")});
            let status = match n % 2 {
                0 => from("203.0.113.1", "/auth/login", json!({"email": email, "password": PASSWORD})).status,
                _ => from("203.0.113.1", "/auth/register", registration).status,
            };
            looked_at.fetch_add(usize::from(status != 429), Ordering::Relaxed);
            status
        }
    };
    let statuses = at_once(160, ask);
    assert_eq!(statuses[0], 200, "{statuses:?}");
    let sent_away = statuses.iter().filter(|status| **status == 429).count();
    assert!(sent_away > 80, "{statuses:?}");
    assert!(
        before.into_inner() < looked_at.into_inner(),
        "who comes from elsewhere does not wait for all of them"
    );
}

#[test]
fn guesses_at_one_login_keep_no_other_out() {
    let plane = Plane::start();
    signed_in(&plane, "viewer");
    signed_in(&plane, "owner");
    for n in 0..14 {
        assert_ne!(sign_in(&plane, "owner@example.com", &format!("guess {n}")).status, 200);
        assert_ne!(sign_in(&plane, &format!("{n}@example.com"), PASSWORD).status, 200);
    }
    assert_eq!(sign_in(&plane, "viewer@example.com", PASSWORD).status, 200, "behind the same address");
    assert_eq!(
        sign_in(&plane, "owner@example.com", PASSWORD).status,
        429,
        "its password is not even looked at"
    );
}

#[test]
fn a_browser_gets_a_cookie_that_scripts_cannot_read_and_other_sites_cannot_use() {
    let plane = Plane::start();
    let (host, own) = ("tokenist", "http://tokenist".to_owned());
    let ask = |method: &str, path: &str, origin: &str, cookie: &str, body: &str| {
        ask_with(plane.address(), method, path, &[("origin", origin), ("cookie", cookie)], body)
    };
    let token = json!({"token": TOKEN}).to_string();
    assert_eq!(ask("POST", "/auth/session", "http://evil.example", "", &token).status, 403);
    assert_eq!(ask("POST", "/auth/session", &own, "", r#"{"token": "wrong-wrong-wrong-wrong"}"#).status, 401);
    let begun = ask("POST", "/auth/session", &own, "", &token);
    assert_eq!((begun.status, &begun.json()["role"]), (200, &json!("owner")));
    let cookie = begun.header("set-cookie").unwrap().to_owned();
    for flag in ["tokenist_session=", "; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=604800"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert!(!cookie.contains(TOKEN) && !cookie.contains("Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(ask("GET", "/auth/me", "", pair, "").json()["role"], "owner");
    assert_eq!(ask("POST", "/admin/users/a/block", &own, pair, "{}").status, 200);
    assert_eq!(ask("POST", "/admin/users/a/block", "http://evil.example", pair, "{}").status, 403);
    assert_eq!(
        ask_with(plane.address(), "POST", "/admin/users/a/block", &[("cookie", pair)], "{}").status,
        403
    );
    let ended = ask("POST", "/auth/logout", &own, pair, "");
    assert!(ended.status == 204 && ended.header("set-cookie").unwrap().contains("Max-Age=0"));
    // Behind something that ends TLS.
    let secure =
        ask_with(plane.address(), "POST", "/auth/session", &[("origin", &format!("https://{host}"))], &token);
    assert!(secure.header("set-cookie").unwrap().contains("; Secure"));
}

fn bearer(answer: &Answer) -> String {
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn opens(plane: &Plane, token: &str) -> bool {
    match plane.ask_by(token, "GET", "/auth/me", "").status {
        200 => true,
        401 => false,
        status => panic!("{status}"),
    }
}

/// The cookie of a browser that has shown the operator's token.
fn operators_cookie(plane: &Plane) -> String {
    let token = json!({"token": TOKEN}).to_string();
    let begun = ask_with(plane.address(), "POST", "/auth/session", &[], &token);
    begun.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

fn by_cookie(plane: &Plane, cookie: &str, method: &str, path: &str, body: &str) -> Answer {
    ask_with(plane.address(), method, path, &[("origin", "http://tokenist"), ("cookie", cookie)], body)
}

#[test]
fn a_session_ends_when_it_is_signed_out_and_the_others_do_not() {
    let plane = Plane::start();
    let (_, owner) = signed_in(&plane, "owner");
    let (id, first) = signed_in(&plane, "viewer");
    let again = || bearer(&sign_in(&plane, "viewer@example.com", PASSWORD));
    let (second, third) = (again(), again());
    for _ in 0..2 {
        assert_eq!(plane.ask_by(&first, "POST", "/auth/logout", "").status, 204, "twice is as good as once");
        assert!(!opens(&plane, &first) && opens(&plane, &second) && opens(&plane, &third));
    }
    let over = plane.ask_by(&first, "GET", "/auth/me", "").json();
    assert_eq!(over, json!({"error": "This session is over: sign in again"}));
    let cookie = format!("tokenist_session={second}");
    let foreign = [("origin", "http://evil.example"), ("cookie", &*cookie)];
    assert_eq!(ask_with(plane.address(), "POST", "/auth/logout", &foreign, "").status, 403);
    assert!(opens(&plane, &second));
    assert_eq!(by_cookie(&plane, &cookie, "POST", "/auth/logout", "").status, 204);
    assert!(!opens(&plane, &second) && opens(&plane, &third));

    let everywhere = json!({"everywhere": true}).to_string();
    let fourth = again();
    assert_eq!(plane.ask_by(&fourth, "POST", "/auth/logout", &everywhere).status, 204);
    assert!(!opens(&plane, &third) && !opens(&plane, &fourth) && !opens(&plane, &first));
    assert!(opens(&plane, &again()), "who signs in again is in");
    let fifth = again();
    let path = format!("/admin/logins/{id}/sessions");
    assert_eq!(plane.ask_by(&owner, "DELETE", &path, "").json(), json!({"success": true}));
    assert!(!opens(&plane, &fifth) && opens(&plane, &owner));
    assert_eq!(plane.ask_by(&owner, "DELETE", "/admin/logins/login_none/sessions", "").status, 404);
    assert_eq!(plane.ask_by(&again(), "DELETE", &path, "").status, 403);
    for stranger in [&[][..], &[("authorization", "Bearer a-token-of-nobody-at-all")]] {
        assert_eq!(ask_with(plane.address(), "POST", "/auth/logout", stranger, "").status, 204);
        assert_eq!(ask_with(plane.address(), "POST", "/auth/logout", stranger, &everywhere).status, 401);
    }
}

#[test]
fn the_operators_sessions_can_be_ended_one_and_all() {
    let plane = Plane::start();
    let opens = |cookie: &str| by_cookie(&plane, cookie, "GET", "/admin/logins", "").status == 200;
    let (first, second) = (operators_cookie(&plane), operators_cookie(&plane));
    assert!(opens(&first) && opens(&second));
    assert_eq!(by_cookie(&plane, &first, "POST", "/auth/logout", "").status, 204);
    assert!(!opens(&first) && opens(&second));
    let everywhere = json!({"everywhere": true}).to_string();
    let ends: [&dyn Fn(&str) -> u16; 3] = [
        &|by: &str| by_cookie(&plane, by, "POST", "/auth/logout", &everywhere).status,
        &|_: &str| plane.ask("POST", "/auth/logout", &everywhere).status,
        &|_: &str| plane.ask("DELETE", "/admin/logins/operator/sessions", "").status,
    ];
    for end in ends {
        let (one, other) = (operators_cookie(&plane), operators_cookie(&plane));
        assert!(opens(&one) && opens(&other));
        assert!([200, 204].contains(&end(&one)));
        assert!(!opens(&one) && !opens(&other) && !opens(&second));
        assert_eq!(plane.ask("GET", "/auth/me", "").status, 200, "the token itself is no session");
    }
}

#[test]
fn a_new_signing_key_ends_everybodys_sessions_and_nothing_else() {
    let plane = Plane::start();
    let (_, owner) = signed_in(&plane, "owner");
    let (_, operator) = signed_in(&plane, "operator");
    let cookie = operators_cookie(&plane);
    let key = plane.created("/auth/api-keys", &json!({"name": "k", "scopes": ["admin"]}));
    assert_eq!(plane.ask_by(&operator, "POST", "/admin/signing-key/rotate", "").status, 403);
    let rotated = plane.ask_by(&owner, "POST", "/admin/signing-key/rotate", "").json();
    assert!(rotated["success"] == true && rotated["rotatedAt"].is_string());
    assert!(!opens(&plane, &owner) && !opens(&plane, &operator));
    assert_eq!(by_cookie(&plane, &cookie, "GET", "/auth/me", "").status, 401);
    assert!(opens(&plane, TOKEN) && opens(&plane, key["apiKey"].as_str().unwrap()));
    assert!(opens(&plane, &bearer(&sign_in(&plane, "owner@example.com", PASSWORD))));
    let kept = eventually(|| {
        let list = plane.ask("GET", "/admin/audit?action=signing_key.rotate", "").json();
        list["entries"].as_array()?.first().cloned()
    });
    assert_eq!(kept["actor"]["name"], "owner@example.com");
}

#[test]
fn no_session_says_anything_of_the_operators_token() {
    let plane = Plane::start();
    let (_, viewer) = signed_in(&plane, "viewer");
    let cookie = operators_cookie(&plane);
    let operators = cookie.strip_prefix("tokenist_session=").unwrap();
    // As keys were made of it once.
    let hash = Sha256::digest(TOKEN);
    let of_hash = Sha256::new().chain_update("tokenist login").chain_update(hash).finalize();
    for guess in [TOKEN.as_bytes(), &hash, &of_hash] {
        let key = jsonwebtoken::DecodingKey::from_secret(guess);
        let rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        for token in [&*viewer, operators] {
            assert!(jsonwebtoken::decode::<Value>(token, &key, &rules).is_err());
        }
        let header = jsonwebtoken::Header::default();
        let claims = json!({"sub": "operator", "jti": "1", "epoch": 0, "round": 0, "iat": 0, "exp": 9_999_999_999_u64});
        let forged = jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(guess));
        assert!(!opens(&plane, &forged.unwrap()));
    }
}

/// The names of the keys in a part of an answer, in order.
fn names(answer: &Value, part: &str) -> Vec<String> {
    let keys = answer[part].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = keys.iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn keys_do_not_outlive_the_right_of_who_made_them() {
    for (method, body) in [
        ("PATCH", r#"{"role": "viewer"}"#),
        ("PATCH", r#"{"role": "member"}"#),
        ("PATCH", r#"{"role": "operator"}"#),
        ("PATCH", r#"{"password": "another password"}"#),
        ("DELETE", ""),
    ] {
        let ends = !body.contains("operator") && !body.contains("password");
        let plane = Plane::start();
        let (id, owner) = signed_in(&plane, "owner");
        let make = |by: &str, name: &str, scope: &str| {
            let body = json!({"name": name, "scopes": [scope]}).to_string();
            let made = plane.ask_by(by, "POST", "/auth/api-keys", &body);
            assert_eq!(made.status, 201, "{}", made.body);
            made.json()["apiKey"].as_str().unwrap().to_owned()
        };
        let admin = make(&owner, "admin", "admin");
        let (child, app) = (make(&admin, "child", "admin"), make(&owner, "app", "sdk"));
        let other = make(TOKEN, "other", "admin");
        let answer = plane.ask(method, &format!("/admin/logins/{id}"), body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let all = ["admin", "app", "child"].map(str::to_owned);
        let (ended, left) = (["admin", "child"].map(str::to_owned), ["app"].map(str::to_owned));
        let expected = if ends { (&ended[..], &left[..]) } else { (&[][..], &all[..]) };
        let answer = answer.json();
        assert_eq!(
            (&names(&answer, "keysEnded")[..], &names(&answer, "keysLeft")[..]),
            expected,
            "{method} {body}"
        );
        for key in [&admin, &child] {
            assert_eq!(opens(&plane, key), !ends, "{method} {body}");
            let made =
                plane.ask_by(key, "POST", "/auth/api-keys", r#"{"name": "more", "scopes": ["admin"]}"#);
            assert_eq!(made.status, if ends { 401 } else { 201 });
        }
        let call = json!({"userId": "alice", "model": "gpt-4o", "requestType": "chat"}).to_string();
        assert_eq!(plane.ask_by(&app, "POST", "/sdk/check", &call).status, 200);
        assert!(opens(&plane, &other));
        let revoked = || {
            let list = plane.ask("GET", "/admin/audit?action=key.revoke", "").json();
            Some(list["entries"].as_array()?.len()).filter(|count| *count == if ends { 2 } else { 0 })
        };
        eventually(revoked);
    }
}

#[test]
fn a_key_opens_nothing_that_its_maker_may_not_whoever_took_that_from_him() {
    let plane = Plane::start();
    let (id, token) = signed_in(&plane, "operator");
    let key =
        plane.ask_by(&token, "POST", "/auth/api-keys", r#"{"name": "k", "scopes": ["admin", "sdk"]}"#).json();
    let key = key["apiKey"].as_str().unwrap();
    let status = |path: &str| plane.ask_by(key, "GET", path, "").status;
    assert_eq!(status("/admin/users"), 200);
    // As another instance does it, which has not come to the keys yet.
    plane.change_login(&id, |login| login["role"] = "viewer".into());
    assert_eq!(status("/admin/users"), 403);
    let call = json!({"userId": "alice", "model": "gpt-4o", "requestType": "chat"}).to_string();
    assert_eq!(plane.ask_by(key, "POST", "/sdk/check", &call).status, 200, "what it opens besides");
    plane.change_login(&id, |login| login["role"] = "operator".into());
    assert_eq!(status("/admin/users"), 200);
    // Another login of the same email.
    plane.change_login(&id, |login| login["created_at"] = (kit::now().0 + 3_600_000).into());
    assert_eq!(status("/admin/users"), 403);
}

#[test]
fn every_change_is_kept_with_who_made_it_and_what_was_before() {
    let plane = Plane::start();
    let (id, operator) = signed_in(&plane, "operator");
    plane.ask_by(&operator, "POST", "/admin/users/alice/threshold", r#"{"maxCostUsd": 5}"#);
    plane.ask_by(&operator, "POST", "/admin/users/alice/threshold", r#"{"maxCostUsd": 7}"#);
    plane.ask_by(&operator, "POST", "/admin/users/alice/block", r#"{"reason": "abuse"}"#);
    plane.ask("POST", "/admin/users/alice/unblock", "");
    let key = plane.created("/auth/api-keys", &json!({"name": "ci"}));
    plane.ask("DELETE", &format!("/auth/api-keys/{}", key["id"].as_str().unwrap()), "");
    let list = eventually(|| {
        let list = plane.ask("GET", "/admin/audit", "").json();
        (list["entries"].as_array()?.len() == 8).then_some(list)
    });
    let actions: Vec<&str> =
        list["entries"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    let expected = [
        "key.revoke",
        "key.create",
        "user.unblock",
        "user.block",
        "user.limit",
        "user.limit",
        "login.sign_in",
        "login.create",
    ];
    assert_eq!(actions, expected);
    let entry = &list["entries"][4];
    assert_eq!(entry["actor"], json!({"kind": "login", "id": id, "name": "operator@example.com"}));
    assert_eq!(entry["subject"], json!({"kind": "user", "id": "alice"}));
    assert_eq!((&entry["before"]["maxCostUsd"], &entry["after"]["maxCostUsd"]), (&json!(5.0), &json!(7.0)));
    assert_eq!(list["entries"][2]["before"]["reason"], "abuse");
    assert_eq!(list["entries"][2]["actor"]["kind"], "token");
    let text = list.to_string();
    assert!(!text.contains(key["apiKey"].as_str().unwrap()) && !text.contains("argon2"));
    let of = |query: &str| plane.ask("GET", &format!("/admin/audit?{query}"), "").json();
    assert_eq!(of("action=user.block")["entries"].as_array().unwrap().len(), 1);
    assert_eq!(of(&format!("actor={id}"))["entries"].as_array().unwrap().len(), 4);
    let page = of("subject=alice&limit=1&offset=1");
    assert_eq!((&page["entries"][0]["action"], &page["more"]), (&json!("user.block"), &json!(true)));
}

#[test]
fn sign_ins_that_fail_are_kept() {
    let plane = Plane::start();
    let fail = |email: &str| {
        let body = json!({"email": email, "password": "wrong password"}).to_string();
        ask_with(plane.address(), "POST", "/auth/login", &[("content-type", "application/json")], &body)
            .status
    };
    assert_eq!(fail("mallory@example.com"), 401);
    let failures = || {
        let list = plane.ask("GET", "/admin/audit?action=login.failed&limit=1000", "").json();
        list["entries"].as_array().unwrap().clone()
    };
    let first = eventually(|| failures().first().cloned());
    assert_eq!(first["actor"]["name"], "mallory@example.com");
    assert_eq!(first["after"], json!({"address": "127.0.0.1"}));
    assert!(!first.to_string().contains("wrong password"));
}
