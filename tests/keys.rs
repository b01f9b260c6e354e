//! Tokenist keys: whom they speak for, what they open, how they end, and that nobody but their holder has them.

use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tokenist_kit::{Client, Handshake, PATIENCE, Provider, Scratch, Tokenist, eventually, request};

const OPERATOR_KEY: &str = "sk-operator-key-of-the-tests";

/// A provider that lets in the operator's key only, and tokenist with that key.
fn start(settings: &[(&str, &str)]) -> (Provider, Tokenist) {
    let provider = Provider::start(&["--key", OPERATOR_KEY]);
    let key = [("provider.api_key_env", "OPERATORS_KEY"), ("OPERATORS_KEY", OPERATOR_KEY)];
    let tokenist = Tokenist::start(&provider.origin(), &[&key[..], settings].concat());
    (provider, tokenist)
}

fn by_key(key: &str) -> Handshake {
    let mut handshake = Handshake::of("");
    handshake.headers.clear();
    handshake.header("Authorization", &format!("Bearer {key}"))
}

#[track_caller]
fn created(tokenist: &Tokenist, path: &str, body: &Value) -> Value {
    let answer = tokenist.post(path, body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

fn key_of(created: &Value) -> &str {
    created["apiKey"].as_str().unwrap()
}

/// How a refused handshake ends.
#[track_caller]
fn refusal(tokenist: &Tokenist, handshake: &Handshake) -> (String, u16) {
    let (events, close) =
        Client::open(tokenist.listen, handshake).expect("told in WebSocket terms").hear_out();
    let message = events.last().expect("an event before the close")["error"]["message"].clone();
    (message.as_str().unwrap().to_owned(), close.expect("a close").0)
}

#[test]
fn a_users_key_needs_no_header_and_is_served_with_the_operators_key() {
    let (provider, tokenist) = start(&[("identity.passthrough", "false")]);
    let alice = created(&tokenist, "/admin/users", &json!({"userId": "alice", "orgId": "acme"}));
    let mut session = Client::open(tokenist.listen, &by_key(key_of(&alice))).unwrap();
    session.turn("").unwrap();
    let used = || tokenist.get("/admin/users/alice/usage")["usage"]["totalTokens"].clone();
    let total = provider.audit()["totals"]["total_tokens"].clone();
    assert_eq!(eventually(PATIENCE, used, |used| *used == total), total);
    // A header cannot make the key speak for somebody else.
    let mut other =
        Client::open(tokenist.listen, &by_key(key_of(&alice)).header("x-user-id", "bob")).unwrap();
    other.turn("").unwrap();
    let total = provider.audit()["totals"]["total_tokens"].clone();
    assert_eq!(eventually(PATIENCE, used, |used| *used == total), total);

    let upstream = provider.audit()["handshakes"].to_string();
    assert!(upstream.contains(OPERATOR_KEY) && !upstream.contains("ug_"));
    let own = refusal(&tokenist, &Handshake::of("alice"));
    assert_eq!(own, ("Not authorized: only tokenist keys (ug_…) are accepted here".into(), 4001));
}

#[test]
fn a_keys_holder_is_told_what_is_used_and_left() {
    let (provider, tokenist) = start(&[]);
    let alice = created(&tokenist, "/admin/users", &json!({"userId": "alice", "orgId": "acme"}));
    let own = format!("Bearer {}", key_of(&alice));
    let ask = |authorization: &str, user: &[(&str, &str)]| {
        let headers = [&[("Authorization", authorization)], user].concat();
        request(tokenist.listen, "GET", "/any/v1/usage/me?a=b", &headers, "")
    };
    let unlimited = ask(&own, &[("x-user-id", "bob")]).json();
    assert_eq!((&unlimited["user_id"], &unlimited["remaining"]["tokens"]), (&json!("alice"), &Value::Null));
    let limit = json!({"maxTotalTokens": 100_000, "maxCostUsd": 50, "window": "daily", "mode": "warn"});
    tokenist.ask("PUT", "/admin/limits/user/alice", &limit);
    Client::open(tokenist.listen, &by_key(key_of(&alice))).unwrap().turn("").unwrap();
    let total = provider.audit()["totals"]["total_tokens"].as_u64().unwrap();
    let told = eventually(PATIENCE, || ask(&own, &[]).json(), |told| told["used"]["tokens"] == total);
    assert_eq!(told["used"]["tokens"], total);
    assert_eq!(told["remaining"]["tokens"], 100_000 - total);
    let [used, left] = ["used", "remaining"].map(|part| told[part]["cost_usd"].as_f64().unwrap());
    assert!(used > 0.0 && (used + left - 50.0).abs() < 1e-6, "{told}");
    assert_eq!(
        (&told["window"], &told["enforced"], &told["blocked"]),
        (&json!("daily"), &json!(false), &json!(false))
    );
    assert!(told["resets_at"].as_str().unwrap().ends_with("T00:00:00.000Z"));
    tokenist.post("/admin/users/alice/block", &json!({}));
    assert_eq!(ask(&own, &[]).json()["blocked"], true);

    let app = created(&tokenist, "/auth/api-keys", &json!({"name": "app", "orgId": "acme"}));
    let by_app = format!("Bearer {}", key_of(&app));
    assert_eq!(ask(&by_app, &[("x-user-id", "alice")]).json()["used"], told["used"]);
    for (authorization, user) in [
        (&*by_app, &[][..]),
        ("Bearer ug_nothing", &[]),
        ("Bearer sk-anybodys", &[("x-user-id", "alice")]),
        ("", &[("x-user-id", "alice")]),
    ] {
        let refused = ask(authorization, user);
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (401, &json!("unauthorized")),
            "{authorization}"
        );
    }
}

#[test]
fn an_orgs_key_lets_the_header_name_the_user_inside_it() {
    let (_provider, tokenist) = start(&[]);
    let key = created(&tokenist, "/auth/api-keys", &json!({"name": "acme app", "orgId": "acme"}));
    let missing = refusal(&tokenist, &by_key(key_of(&key)));
    assert_eq!(missing, ("Not authorized: the x-user-id header is missing".into(), 4001));
    let handshake = by_key(key_of(&key)).header("x-user-id", "bob").header("x-org-id", "other");
    Client::open(tokenist.listen, &handshake).unwrap().turn("").unwrap();
    let org = || tokenist.get("/admin/users?org=acme")["users"][0]["userId"].clone();
    assert_eq!(eventually(PATIENCE, org, |org| org == "bob"), "bob");
    assert_eq!(tokenist.get("/admin/users?org=other")["users"], json!([]));
}

#[test]
fn what_a_key_is_not_for_it_does_not_open() {
    let (_provider, tokenist) = start(&[]);
    let admin = created(&tokenist, "/auth/api-keys", &json!({"name": "ops", "scopes": ["admin"]}));
    let (message, code) = refusal(&tokenist, &by_key(key_of(&admin)).header("x-user-id", "a"));
    assert!(message.contains("scope proxy") && code == 4001, "{message}");
    let unknown = format!("ug_{}", "0".repeat(64));
    let (message, code) = refusal(&tokenist, &by_key(&unknown).header("x-user-id", "b"));
    assert!(message.contains("not known") && code == 4001, "{message}");
}

#[test]
fn a_revoked_keys_sessions_close_within_a_second_and_the_key_opens_nothing_more() {
    let (_provider, tokenist) = start(&[("proxy.shard_count", "2")]);
    let key = created(&tokenist, "/auth/api-keys", &json!({"name": "app"}));
    let open = |user: &str| {
        let mut client =
            Client::open(tokenist.listen, &by_key(key_of(&key)).header("x-user-id", user)).unwrap();
        client.turn("").unwrap();
        client
    };
    let mut sessions: Vec<Client> = (0..8).map(|index| open(&format!("user-{index}"))).collect();
    let mut bystander = tokenist.session("bystander");
    let started = Instant::now();
    let answer = tokenist.delete(&format!("/auth/api-keys/{}", key["id"].as_str().unwrap()));
    assert_eq!(answer.json(), json!({"success": true}));
    for session in &mut sessions {
        assert_eq!(session.hear_out().1.map(|(code, _)| code), Some(4001));
    }
    let took = started.elapsed();
    eprintln!("from the call to the last of 8 closes: {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let (message, code) = refusal(&tokenist, &by_key(key_of(&key)).header("x-user-id", "late"));
    assert!(message.contains("revoked") && code == 4001, "{message}");
    // The provider lets in nobody without the operator's key; to tokenist the bystander is as welcome as ever.
    assert!(bystander.as_mut().is_err_and(|answer| answer.status == 401));
}

#[test]
fn a_rotated_key_has_its_grace_and_an_expired_one_none() {
    let (_provider, tokenist) = start(&[]);
    let first = created(&tokenist, "/admin/users", &json!({"userId": "alice"}));
    let mut session = Client::open(tokenist.listen, &by_key(key_of(&first))).unwrap();
    let answer = tokenist.post("/admin/users/alice/rotate-key", &json!({"graceSeconds": 1}));
    let second = answer.json();
    assert!(key_of(&second) != key_of(&first), "{}", answer.body);
    session.turn("").unwrap();
    Client::open(tokenist.listen, &by_key(key_of(&second))).unwrap().turn("").unwrap();
    assert_eq!(session.hear_out().1.map(|(code, _)| code), Some(4001));
    let (message, _) = refusal(&tokenist, &by_key(key_of(&first)));
    assert!(message.contains("expired"), "{message}");

    let third = tokenist.post("/admin/users/alice/rotate-key", &Value::Null).json();
    let (message, _) = refusal(&tokenist, &by_key(key_of(&second)));
    assert!(message.contains("revoked"), "{message}");
    Client::open(tokenist.listen, &by_key(key_of(&third))).unwrap().turn("").unwrap();
}

#[test]
fn keys_outlive_a_kill_and_are_nowhere_in_clear() {
    let scratch = Scratch::new();
    let path = scratch.path().join("ledger");
    let settings = [("store.path", path.to_str().unwrap()), ("log.level", "trace")];
    let (_provider, mut tokenist) = start(&settings);
    let alice = created(&tokenist, "/admin/users", &json!({"userId": "alice"}));
    let gone = created(&tokenist, "/auth/api-keys", &json!({"name": "gone"}));
    tokenist.delete(&format!("/auth/api-keys/{}", gone["id"].as_str().unwrap()));
    Client::open(tokenist.listen, &by_key(key_of(&alice))).unwrap().turn("").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    tokenist.kill();
    let mut output = tokenist.output();

    let (_provider, again) = start(&settings);
    Client::open(again.listen, &by_key(key_of(&alice))).unwrap().turn("").unwrap();
    let (message, _) = refusal(&again, &by_key(key_of(&gone)).header("x-user-id", "a"));
    assert!(message.contains("revoked"), "{message}");
    output.push_str(&again.metrics());
    output.push_str(&again.leave());
    for key in [key_of(&alice), key_of(&gone)] {
        let secret = &key[12..];
        assert!(!output.contains(secret), "a key is in the log");
        assert!(!holds(&path, secret.as_bytes()), "a key is in the ledger's files");
    }
    assert!(holds(&path, alice["keyHint"].as_str().unwrap().as_bytes()), "its hint is");
}

/// Whether a file of the folder holds these bytes.
fn holds(folder: &Path, secret: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|file| std::fs::read(file).unwrap())
        .any(|bytes| bytes.windows(secret.len()).any(|part| part == secret))
}
