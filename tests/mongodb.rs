//! MongoDB as the place where instances meet: it may be away, slow, forgetful or out of order, and in the end it holds
//! what the provider delivered, to the token; what is set on one instance holds on the others.

mod crowd;

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokenist_kit::{
    Client, Handshake, Load, Mode, Mongo, MongoProxy, PATIENCE, Provider, Scratch, Tokenist, eventually,
    request,
};

/// How long MongoDB is away under load.
const OUTAGE: Duration = Duration::from_secs(120);
/// What copying may take that has piled up; FerretDB takes some hundred rows a second.
const SETTLE: Duration = Duration::from_secs(120);

/// Tokens by user.
type Tokens = BTreeMap<String, u64>;

struct Instance {
    tokenist: Tokenist,
    _folder: Scratch,
}

fn start(provider: &Provider, uri: &str, database: &str, settings: &[(&str, &str)]) -> Instance {
    let folder = Scratch::new();
    let path = folder.path().join("ledger");
    let ours = [
        ("store.kind", "mongodb"),
        ("store.path", path.to_str().unwrap()),
        ("store.mongodb_uri", uri),
        ("store.mongodb_db", database),
        ("limits.max_cost_usd", "-1"),
    ];
    Instance {
        tokenist: Tokenist::start(&provider.origin(), &[&ours[..], settings].concat()),
        _folder: folder,
    }
}

/// What MongoDB holds of every user in a collection of counts.
fn held(uri: &str, database: &str, collection: &str) -> Tokens {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = mongodb::Client::with_uri_str(uri).await.unwrap().database(database);
        let mut found = database.collection::<Document>(collection).find(doc! {}).await.unwrap();
        let mut tokens = Tokens::new();
        while found.advance().await.unwrap() {
            let document = found.deserialize_current().unwrap();
            let kinds = ["text_in", "audio_in", "image_in", "text_out", "audio_out", "image_out"];
            let sum: i64 = kinds.iter().map(|kind| document.get_i64(kind).unwrap()).sum();
            *tokens.entry(document.get_str("user").unwrap().to_owned()).or_default() += sum as u64;
        }
        tokens
    })
}

/// Every table of counts comes to agree with the provider.
#[track_caller]
fn agrees(provider: &Provider, uri: &str, database: &str) {
    let delivered = provider.delivered();
    assert!(delivered.values().sum::<u64>() > 0);
    for collection in ["events", "rollups", "member_day", "member_month"] {
        let look = || held(uri, database, collection);
        assert_eq!(eventually(SETTLE, look, |held| *held == delivered), delivered, "{collection}");
    }
}

#[track_caller]
fn ends_well(load: &mut Load) {
    let status = load.wait(OUTAGE + PATIENCE * 3).expect("the load ends by itself");
    assert!(status.success(), "a session was disturbed");
}

fn total(tokenist: &Tokenist, user: &str) -> u64 {
    let view = tokenist.get(&format!("/admin/users/{user}/usage?period=total"));
    view["usage"]["totalTokens"].as_u64().unwrap_or_else(|| panic!("{view}"))
}

#[test]
fn two_minutes_without_mongodb_disturb_no_session_and_lose_no_token() {
    let mut mongo = Mongo::start();
    if !mongo.is_ours() {
        return; // It cannot be stopped; the other tests have it all the same.
    }
    let (provider, database) = (Provider::start(&[]), mongo.database());
    let instance = start(&provider, &mongo.uri(), &database, &[]);
    let seconds = OUTAGE.as_secs() + 6;
    let scenario = format!("turns,sessions=40,users=10,rate=20,turns=0,seconds={seconds}");
    let mut load = Load::start(instance.tokenist.listen, &scenario);
    std::thread::sleep(Duration::from_secs(2));
    mongo.stop();
    std::thread::sleep(OUTAGE);
    let health = instance.tokenist.get("/health");
    assert!(health["mirrorFailure"].as_str().is_some_and(|cause| cause.contains("MongoDB")), "{health}");
    assert!(health["mirrorWaiting"].as_u64() > Some(0) && health["storeFailing"] == false, "{health}");
    eprintln!("rows that wait after {OUTAGE:?}: {}", health["mirrorWaiting"]);
    mongo.restart();
    ends_well(&mut load);
    let ended = Instant::now();
    agrees(&provider, &mongo.uri(), &database);
    eprintln!("MongoDB agrees {:?} after the load", ended.elapsed());
    let health = || instance.tokenist.get("/health");
    let healthy = eventually(SETTLE, health, |health| health["mirrorWaiting"] == 0);
    assert_eq!((&healthy["mirrorFailure"], &healthy["mirrorWaiting"]), (&Value::Null, &json!(0)));
}

#[test]
fn a_mongodb_that_is_killed_under_load_holds_every_token_and_setting_in_the_end() {
    let ours = Mongo::start();
    for mut mongo in ours.is_ours().then_some(ours).into_iter().chain([Mongo::secantusdb()]) {
        let (provider, database) = (Provider::start(&[]), mongo.database());
        let instance = start(&provider, &mongo.uri(), &database, &[]);
        let mut load =
            Load::start(instance.tokenist.listen, "turns,sessions=20,users=5,rate=40,turns=0,seconds=10");
        for round in 0..3 {
            std::thread::sleep(Duration::from_secs(2));
            let user = format!("blocked-{round}");
            let answer = instance.tokenist.post(&format!("/admin/users/{user}/block"), &json!({}));
            assert_eq!(answer.status, 200, "{}", answer.body);
            // As soon as the block is there, so that it may not be there for good.
            let look = || dump(&mongo.uri(), &database).contains(&user);
            assert!(eventually(PATIENCE, look, |&is_there| is_there));
            mongo.kill();
            mongo.restart();
        }
        ends_well(&mut load);
        agrees(&provider, &mongo.uri(), &database);
        let late = start(&provider, &mongo.uri(), &database, &[]);
        let blocked = late.tokenist.get("/admin/blocked")["blocked"].clone();
        assert_eq!(blocked.as_array().map(Vec::len), Some(3), "{blocked}");
    }
}

#[test]
fn a_mongodb_that_is_slow_forgetful_or_out_of_order_holds_every_token_once() {
    let mongo = Mongo::start();
    let proxy = MongoProxy::start(&mongo);
    let (provider, database) = (Provider::start(&[]), mongo.database());
    let instance = start(&provider, &proxy.uri(), &database, &[]);
    let mut load =
        Load::start(instance.tokenist.listen, "turns,sessions=20,users=5,rate=20,turns=0,seconds=24");
    for mode in [
        Mode::DropAnswer { commands: &["update", "insert"], times: 3 },
        Mode::Reorder,
        Mode::Delay(Duration::from_secs(5)),
        Mode::Refuse,
        Mode::Pass,
    ] {
        proxy.set(mode.clone());
        std::thread::sleep(Duration::from_secs(if matches!(mode, Mode::Delay(_)) { 12 } else { 3 }));
    }
    ends_well(&mut load);
    assert!(proxy.dropped() > 0 && proxy.replayed() > 0, "{} {}", proxy.dropped(), proxy.replayed());
    agrees(&provider, &mongo.uri(), &database);
}

#[test]
fn what_is_set_on_one_instance_holds_on_the_other_within_two_seconds() {
    let mongo = Mongo::start();
    let (provider, database) = (Provider::start(&[]), mongo.database());
    let one = start(&provider, &mongo.uri(), &database, &[]);
    let other = start(&provider, &mongo.uri(), &database, &[]);
    let mut blocked: Vec<_> = (0..3).map(|_| other.tokenist.session("mallory").unwrap()).collect();
    let mut limited = other.tokenist.session("alice").unwrap();
    limited.turn("").unwrap();

    let asked = Instant::now();
    let answer = one.tokenist.post("/admin/users/mallory/block", &json!({"reason": "abuse"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    for session in &mut blocked {
        assert_eq!(session.hear_out().1.map(|(code, _)| code), Some(4003));
    }
    eprintln!("from a block here to the last of 3 closes there: {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(5));

    let asked = Instant::now();
    let answer = one.tokenist.post("/admin/users/alice/threshold", &json!({"maxTotalTokens": 1}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(limited.hear_out().1.map(|(code, _)| code), Some(4004));
    eprintln!("from a limit here to the close there: {:?}", asked.elapsed());

    // And back: what the other sets holds here, and an instance that comes later knows it at once.
    other.tokenist.post("/admin/users/mallory/unblock", &Value::Null);
    let blocked = || one.tokenist.get("/admin/blocked")["blocked"].clone();
    assert_eq!(eventually(PATIENCE, blocked, |blocked| *blocked == json!([])), json!([]));
    let third = start(&provider, &mongo.uri(), &database, &[]);
    assert_eq!(third.tokenist.get("/admin/users/alice/usage")["threshold"]["maxTotalTokens"], 1);
}

#[test]
fn operators_see_on_each_instance_what_was_used_on_all() {
    let mongo = Mongo::start();
    let (provider, database) = (Provider::start(&[]), mongo.database());
    let one = start(&provider, &mongo.uri(), &database, &[]);
    let other = start(&provider, &mongo.uri(), &database, &[]);
    for instance in [&one, &other] {
        instance.tokenist.session("alice").unwrap().turn("").unwrap();
    }
    let mut bob = other.tokenist.session("bob").unwrap();
    for _ in 0..4 {
        bob.turn("").unwrap();
    }
    let delivered = provider.audit()["totals"]["total_tokens"].as_u64().unwrap();
    for instance in [&one, &other] {
        let look = || total(&instance.tokenist, "alice") + total(&instance.tokenist, "bob");
        assert_eq!(eventually(PATIENCE, look, |seen| *seen == delivered), delivered);
        let users = || {
            let page = instance.tokenist.get("/admin/users?period=daily");
            page["users"].as_array().unwrap().iter().map(|user| user["userId"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(eventually(PATIENCE, users, |users| users.len() == 2), ["alice", "bob"]);
        // Bob never was on the first one, and spent most.
        for sort in ["cost", "tokens"] {
            let page = instance.tokenist.get(&format!("/admin/users?period=total&sort={sort}"));
            let ids = [0, 1].map(|index| page["users"][index]["userId"].clone());
            assert_eq!(ids, ["bob", "alice"], "{page}");
        }
        let overview = instance.tokenist.get("/admin/overview?period=total&by=user");
        let explored = instance.tokenist.get("/admin/usage?by=user&period=total");
        for usage in [&overview["usage"], &explored["usage"]] {
            assert_eq!(usage["totalTokens"], delivered, "{usage}");
        }
        assert_eq!(
            (&overview["activeUsers"], &overview["topUsers"][0]["userId"]),
            (&json!(2), &json!("bob"))
        );
        assert_eq!((&explored["total"], &explored["rows"][1]["user"]), (&json!(2), &json!("alice")));
    }
}

#[test]
fn a_key_made_on_one_instance_opens_the_other_ends_there_too_and_is_nowhere_in_clear() {
    const OPERATORS: &str = "sk-operators-key";
    let mongo = Mongo::start();
    let (provider, database) = (Provider::start(&["--key", OPERATORS]), mongo.database());
    let settings = [("provider.api_key_env", "OPERATORS_KEY"), ("OPERATORS_KEY", OPERATORS)];
    let one = start(&provider, &mongo.uri(), &database, &settings);
    let other = start(&provider, &mongo.uri(), &database, &settings);
    let made = one.tokenist.post("/auth/api-keys", &json!({"name": "app", "userId": "alice"})).json();
    let (key, id) = (made["apiKey"].as_str().unwrap(), made["id"].as_str().unwrap());
    let open = || {
        let mut handshake = Handshake::of("");
        handshake.headers.clear();
        let mut client =
            Client::open(other.tokenist.listen, &handshake.header("Authorization", &format!("Bearer {key}")));
        let is_served = client.as_mut().is_ok_and(|client| client.turn("").is_ok());
        client.ok().filter(|_| is_served)
    };
    let mut session = eventually(PATIENCE, open, Option::is_some).expect("the other knows the key");
    let asked = Instant::now();
    assert_eq!(one.tokenist.delete(&format!("/auth/api-keys/{id}")).json(), json!({"success": true}));
    assert_eq!(session.hear_out().1.map(|(code, _)| code), Some(4001));
    eprintln!("from a key's end here to the close there: {:?}", asked.elapsed());

    let dump = dump(&mongo.uri(), &database);
    assert!(!dump.contains(&key[12..]), "the key is in MongoDB");
    assert!(dump.contains(&key[..12]), "its hint is");
}

#[test]
fn who_signs_in_on_one_instance_is_in_on_the_other_and_out_on_both() {
    let mongo = Mongo::start();
    let (provider, database) = (Provider::start(&[]), mongo.database());
    let instances = [(); 2].map(|()| start(&provider, &mongo.uri(), &database, &[]));
    let [one, other] = instances.each_ref().map(|instance| &instance.tokenist);
    let login = json!({"email": "ann@example.com", "password": "correct horse", "role": "owner"});
    let made = one.post("/admin/logins", &login);
    assert_eq!(made.status, 201, "{}", made.body);
    let password = json!({"email": "ann@example.com", "password": "correct horse"});
    let sign_in =
        |at: &Tokenist| at.post("/auth/login", &password).json()["token"].as_str().unwrap().to_owned();
    let status = |at: &Tokenist, token: &str, method: &str, path: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        request(at.admin, method, path, &[("Authorization", &bearer)], body).status
    };
    let becomes = |at: &Tokenist, token: &str, wanted: u16| {
        let look = || status(at, token, "GET", "/admin/logins", "");
        assert_eq!(eventually(PATIENCE, look, |found| *found == wanted), wanted);
    };
    let (first, second) = (sign_in(one), sign_in(one));
    [&first, &second].iter().for_each(|token| becomes(other, token, 200));
    let third = sign_in(other);
    becomes(one, &third, 200);
    assert_eq!(status(other, &first, "POST", "/auth/logout", ""), 204);
    becomes(one, &first, 401);
    becomes(one, &second, 200);
    assert_eq!(status(one, &second, "POST", "/auth/logout", r#"{"everywhere": true}"#), 204);
    becomes(other, &third, 401);
    // An instance that comes later knows it at once, and signs with the same key.
    let late = start(&provider, &mongo.uri(), &database, &[]);
    let late = &late.tokenist;
    assert_eq!(status(late, &third, "GET", "/admin/logins", ""), 401);
    let fourth = sign_in(late);
    becomes(one, &fourth, 200);
    assert_eq!(other.post("/admin/signing-key/rotate", &Value::Null).status, 200);
    [one, other, late].iter().for_each(|at| becomes(at, &fourth, 401));
    let fifth = sign_in(other);
    [one, late].iter().for_each(|at| becomes(at, &fifth, 200));
}

/// Every document of a database, in words.
fn dump(uri: &str, database: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = mongodb::Client::with_uri_str(uri).await.unwrap().database(database);
        let mut dump = String::new();
        for collection in database.list_collection_names().await.unwrap() {
            let mut found = database.collection::<Document>(&collection).find(doc! {}).await.unwrap();
            while found.advance().await.unwrap() {
                dump.push_str(&format!("{collection}: {}\n", found.deserialize_current().unwrap()));
            }
        }
        dump
    })
}

#[test]
fn a_thousand_users_pass_through_fifty_slots_beside_mongodb_and_nobody_gets_a_budget_twice() {
    let mongo = Mongo::start();
    let (provider, database) = (Provider::start(&[]), mongo.database());
    let instance = start(&provider, &mongo.uri(), &database, &crowd::settings("50"));
    let users = crowd::names(1_000);
    crowd::come_and_come_back(&instance.tokenist, &users);
    assert_eq!(instance.tokenist.metric("tokenist_ledger_full_refusals_total"), Some(0.0));
    // The copies of so many take minutes; what was counted does not wait for them.
    for user in users.iter().step_by(50) {
        assert_eq!(total(&instance.tokenist, user), 2 * crowd::TURN_TOKENS, "{user}");
    }
}
