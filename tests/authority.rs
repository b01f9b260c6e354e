//! Who may say what about whom: each credential on each port beside each thing that there is to say, in every store and
//! over two instances that hear of it at the same moment.
//!
//! What is said is looked at from outside alone: what counts for whom, where users belong, and who may still speak for
//! them.

use serde_json::{Value, json};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use tokenist_kit::{
    Answer, Client, Handshake, Heard, Mongo, PATIENCE, Provider, Scratch, TOKEN, Tokenist, eventually,
    request,
};

const PROVIDER_KEY: &str = "sk-the-provider-knows-this-one";
const PASSWORD: &str = "correct horse battery";
/// Enough to be counted, and no more.
const TURN: &str = "chunks=1,text_in=60,audio_in=0,image_in=0,cached_text=0,cached_audio=0,cached_image=0,\
                    text_out=10,audio_out=0,reasoning=0";

/// tokenist with two orgs, their users and their keys.
struct World {
    tokenist: Tokenist,
    _provider: Provider,
    _folder: Scratch,
    /// Of the user alice; of each org, by an operator; of nobody; of the account of `anns`.
    alices: String,
    acmes: String,
    globexes: String,
    anybodys: String,
    anns: String,
}

fn start(settings: &[(&str, &str)]) -> (Provider, Scratch, Tokenist) {
    let (provider, folder) = (Provider::start(&["--key", PROVIDER_KEY]), Scratch::new());
    let path = folder.path().join("ledger");
    let ours = [
        ("provider.api_key_env", "OPERATORS_KEY"),
        ("OPERATORS_KEY", PROVIDER_KEY),
        ("identity.query", "true"),
        ("admission.refuse", "close"),
        ("admin.registration", "true"),
        ("proxy.shard_count", "2"),
        ("store.path", path.to_str().unwrap()),
    ];
    let tokenist = Tokenist::start(&provider.origin(), &[&ours[..], settings].concat());
    (provider, folder, tokenist)
}

impl World {
    fn start(settings: &[(&str, &str)]) -> World {
        let (provider, folder, tokenist) = start(settings);
        for (user, org) in [("alice", "acme"), ("gil", "globex")] {
            let who =
                json!({"userId": user, "orgId": org, "email": format!("{user}@{org}.example"), "name": user});
            assert_eq!(tokenist.post("/admin/users", &who).status, 201);
        }
        assert_eq!(tokenist.post("/admin/users/lone/threshold", &json!({"maxCostUsd": 5})).status, 200);
        let key = |body: Value| made(&tokenist, &body);
        let registered =
            json!({"email": "ann@example.com", "password": PASSWORD, "orgId": "anns"}).to_string();
        let account = request(tokenist.admin, "POST", "/auth/register", &JSON, &registered).json();
        let anns =
            by(&tokenist, account["token"].as_str().unwrap(), "POST", "/auth/api-keys", r#"{"name": "k"}"#);
        World {
            alices: key(json!({"name": "k", "userId": "alice"})),
            acmes: key(json!({"name": "k", "orgId": "acme"})),
            globexes: key(json!({"name": "k", "orgId": "globex"})),
            anybodys: key(json!({"name": "k"})),
            anns: anns.json()["apiKey"].as_str().unwrap().to_owned(),
            tokenist,
            _provider: provider,
            _folder: folder,
        }
    }

    fn bearer(&self, who: &str) -> &str {
        match who {
            "header" | "query" => PROVIDER_KEY,
            "bogus" => "sk-nobody-knows-this-one",
            "user key" => &self.alices,
            "org key" => &self.acmes,
            "unbound key" => &self.anybodys,
            "account key" => &self.anns,
            other => panic!("{other}"),
        }
    }

    /// A turn of a session. The close code if tokenist refused it; an HTTP status if the provider did.
    fn speak(&self, who: &str, user: &str, org: &str) -> Result<(), u16> {
        let mut handshake = Handshake::of("");
        handshake.headers.clear();
        handshake = handshake.header("Authorization", &format!("Bearer {}", self.bearer(who)));
        handshake = match who {
            "query" => handshake.parameter(&format!("user_id={user}&org_id={org}&feature=voice")),
            _ => handshake.header("x-user-id", user).header("x-org-id", org).header("x-feature", "voice"),
        };
        let named = handshake.header("x-user-email", "claimed@evil.example").header("x-user-name", "claimed");
        let mut client = Client::open(self.tokenist.listen, &named).map_err(|answer| answer.status)?;
        match client.turn(TURN) {
            Ok(_) => {
                client.leave();
                Ok(())
            }
            Err(Heard::Close { code, .. }) => Err(code),
            Err(end) => panic!("{who} says {user} of {org}: {end:?}"),
        }
    }

    fn view(&self, user: &str) -> Value {
        self.tokenist.get(&format!("/admin/users/{user}/usage?period=total"))
    }

    /// The orgs whose keys may speak for the user: nothing changes by the question.
    fn spoken_for_by(&self, user: &str) -> String {
        let keys = [("acme", &self.acmes), ("globex", &self.globexes)];
        let may = |key: &str| check(&self.tokenist, key, user).status == 200;
        keys.iter().filter(|(_, key)| may(key)).map(|(org, _)| *org).collect::<Vec<_>>().join(" ")
    }

    /// Requests that were counted for this user and org.
    fn counted(&self, user: &str, org: &str) -> u64 {
        let answer = self.tokenist.get("/admin/usage?by=user,org&period=total&limit=1000");
        let rows = answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        let of = |row: &&Value| row["user"] == user && row["org"].as_str().unwrap_or_default() == org;
        rows.iter().filter(of).map(|row| row["usage"]["requests"].as_u64().unwrap()).sum()
    }
}

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

fn by(tokenist: &Tokenist, bearer: &str, method: &str, path: &str, body: &str) -> Answer {
    let authorization = format!("Bearer {bearer}");
    let headers = [JSON[0], ("Authorization", &*authorization)];
    // Whoever shows nothing.
    let headers = if bearer.is_empty() { &headers[..1] } else { &headers[..] };
    request(tokenist.admin, method, path, headers, body)
}

fn made(tokenist: &Tokenist, body: &Value) -> String {
    let answer = tokenist.post("/auth/api-keys", body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()["apiKey"].as_str().unwrap().to_owned()
}

fn check(tokenist: &Tokenist, key: &str, user: &str) -> Answer {
    let body = json!({"userId": user, "model": "m", "requestType": "chat"}).to_string();
    by(tokenist, key, "POST", "/sdk/check", &body)
}

/// What each credential says on the data port, for whom it counts, where the user belongs after it, and whose keys may
/// speak for the user then. `-`: refused. A claimed org is shown where nothing more is known.
#[rustfmt::skip]
const DATA_PORT: [(&str, &str, &str, &str, &str, &str); 22] = [
    // who           says user        and org    counts for               belongs to  spoken for by
    ("header",       "alice",         "globex",  "alice globex",          "acme",     "acme"),
    ("query",        "alice",         "globex",  "alice globex",          "acme",     "acme"),
    ("header",       "lone",          "acme",    "lone acme",             "acme",     ""),
    ("header",       "claimed",       "acme",    "claimed acme",          "acme",     ""),
    ("query",        "claimed",       "globex",  "claimed globex",        "globex",   ""),
    ("header",       "ug:anns:nina",  "anns",    "-",                     "anns",     ""),
    ("user key",     "gil",           "globex",  "alice acme",            "acme",     "acme"),
    ("user key",     "alice",         "globex",  "alice acme",            "acme",     "acme"),
    ("org key",      "alice",         "globex",  "alice acme",            "acme",     "acme"),
    ("org key",      "first",         "globex",  "first acme",            "acme",     "acme"),
    ("org key",      "gil",           "acme",    "-",                     "globex",   "globex"),
    ("org key",      "lone",          "acme",    "-",                     "acme",     ""),
    ("org key",      "claimed",       "acme",    "-",                     "globex",   ""),
    ("org key",      "ug:anns:nina",  "acme",    "-",                     "anns",     ""),
    ("unbound key",  "gil",           "acme",    "gil acme",              "globex",   "globex"),
    ("unbound key",  "second",        "acme",    "second acme",           "acme",     ""),
    ("unbound key",  "ug:anns:nina",  "anns",    "-",                     "anns",     ""),
    ("account key",  "nina",          "acme",    "ug:anns:nina anns",     "anns",     ""),
    ("account key",  "alice",         "acme",    "ug:anns:alice anns",    "anns",     ""),
    ("account key",  "gil",           "globex",  "ug:anns:gil anns",      "anns",     ""),
    ("account key",  "ug:anns:nina",  "anns",    "-",                     "anns",     ""),
    ("header",       "first",         "globex",  "first globex",          "acme",     "acme"),
];

/// Walks the matrix of both ports.
fn walk(settings: &[(&str, &str)]) {
    let world = World::start(settings);
    for (who, user, org, counts_for, belongs_to, spoken_for_by) in DATA_PORT {
        let told = format!("{who} says {user} of {org}");
        let (counted_user, counted_org) = counts_for.split_once(' ').unwrap_or((user, org));
        let before = world.counted(counted_user, counted_org);
        let spoken = world.speak(who, user, org);
        match counts_for {
            "-" => {
                assert_eq!(spoken, Err(4001), "{told}");
                assert_eq!(world.counted(counted_user, counted_org), before, "{told}");
            }
            _ => {
                assert_eq!(spoken, Ok(()), "{told}");
                let counted = || world.counted(counted_user, counted_org);
                assert_eq!(
                    eventually(PATIENCE, counted, |counted| *counted == before + 1),
                    before + 1,
                    "{told}"
                );
            }
        }
        let view = world.view(counted_user);
        let is_known = view["usage"]["requests"] != 0 || view["orgId"] != Value::Null;
        if is_known {
            assert_eq!(view["orgId"], belongs_to, "{told}: {view}");
        }
        assert_eq!(world.spoken_for_by(counted_user), spoken_for_by, "{told}");
    }
    // What an operator said of them nobody's header has changed, nor a key that is not theirs.
    for (user, org) in [("alice", "acme"), ("gil", "globex")] {
        let view = world.view(user);
        assert_eq!(view["orgId"], org, "{view}");
    }
    pages_list_by_records(&world);
    refused_by_the_provider(&world);
    known_while_a_key_waits(&world);
    questions(&world);
    admin_port(&world);
}

/// A claim is kept with the records of its session, and they are found by it.
fn pages_list_by_records(world: &World) {
    let ids = |path: &str, list: &str, id: &str| {
        let answer = world.tokenist.get(path);
        let rows = if list.is_empty() { answer.clone() } else { answer[list].clone() };
        let rows = rows.as_array().unwrap_or_else(|| panic!("{path}: {answer}")).clone();
        let mut ids: Vec<String> = rows.iter().map(|row| row[id].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids.join(" ")
    };
    for (org, users) in [
        ("acme", "alice claimed first gil lone second"),
        ("globex", "alice claimed first gil"),
        ("anns", "ug:anns:alice ug:anns:gil ug:anns:nina"),
    ] {
        assert_eq!(ids(&format!("/admin/orgs/{org}/users"), "", "id"), users, "{org}");
        assert_eq!(ids(&format!("/admin/users?org={org}"), "users", "userId"), users, "{org}");
        assert_eq!(ids(&format!("/admin/users?org={org}&sort=cost"), "users", "userId"), users, "{org}");
    }
    world.tokenist.post("/admin/users/claimed/block", &json!({}));
    for org in ["acme", "globex"] {
        assert_eq!(ids(&format!("/admin/orgs/{org}/blocked"), "blocked", "userId"), "claimed", "{org}");
    }
    world.tokenist.post("/admin/users/claimed/unblock", &json!({}));
}

/// Whoever the provider turns away has said nothing at all.
fn refused_by_the_provider(world: &World) {
    let state = || {
        let health = world.tokenist.get("/health")["users"].clone();
        let holders = world.tokenist.metric("tokenist_holders");
        (world.view("alice"), world.view("gil"), health, holders)
    };
    let before = state();
    for number in 0..20 {
        assert_eq!(world.speak("bogus", "alice", "org-evil"), Err(401));
        assert_eq!(world.speak("bogus", &format!("nobody-{number}"), &format!("org-{number}")), Err(401));
    }
    assert_eq!(state(), before);
    assert_eq!(
        (world.spoken_for_by("alice"), world.spoken_for_by("nobody-0")),
        ("acme".into(), "acme globex".into())
    );
    assert_eq!(world.tokenist.get("/admin/orgs/org-evil/users"), json!([]));
    // Neither has whoever we turn away ourselves: whoever asks for the org that he claims gets it.
    world.tokenist.post("/admin/users/halted/block", &json!({}));
    assert_eq!(world.speak("bogus", "halted", "org-wanted"), Err(4003));
    let rows = || world.tokenist.get("/admin/refusals?user=halted")["refusals"].clone();
    let rows = eventually(PATIENCE, rows, |rows| rows[0]["userId"] == "halted");
    assert_eq!(rows[0]["orgId"], Value::Null, "{rows}");
    let wanted = json!({"email": "w@example.com", "password": PASSWORD, "orgId": "org-wanted"}).to_string();
    assert_eq!(request(world.tokenist.admin, "POST", "/auth/register", &JSON, &wanted).status, 201);
    // The key of an org may come after him: nobody has taken the id.
    assert_eq!(world.speak("org key", "nobody-0", "org-evil"), Ok(()));
    assert_eq!(world.spoken_for_by("nobody-0"), "acme");
}

/// A key's session is refused by the provider, and meanwhile a header's was let in: so nobody has said where he belongs.
fn known_while_a_key_waits(world: &World) {
    let mut waiting = Handshake::of("awaited").header("x-sim", "delay_ms=2000,refuse=403");
    waiting.headers[0] = ("Authorization".into(), format!("Bearer {}", world.acmes));
    thread::scope(|scope| {
        let key = scope.spawn(|| Client::open(world.tokenist.listen, &waiting).map(drop));
        thread::sleep(Duration::from_millis(500));
        assert_eq!(world.speak("header", "awaited", "globex"), Ok(()));
        assert_eq!(key.join().unwrap().unwrap_err().status, 403);
    });
    assert_eq!(world.spoken_for_by("awaited"), "");
    assert_eq!(world.speak("org key", "awaited", "acme"), Err(4001));
}

/// `GET /v1/usage/me` and `/sdk/check` tell those who may ask, and change nothing.
fn questions(world: &World) {
    let ask = |who: &str, user: &str| {
        let authorization = format!("Bearer {}", world.bearer(who));
        let headers = [("Authorization", &*authorization), ("x-user-id", user), ("x-org-id", "org-evil")];
        request(world.tokenist.listen, "GET", "/v1/usage/me", &headers, "")
    };
    for (who, user, told) in [
        ("header", "alice", None),
        ("user key", "gil", Some("alice")),
        ("org key", "alice", Some("alice")),
        ("org key", "gil", None),
        ("org key", "lone", None),
        ("org key", "unheard-of", Some("unheard-of")),
        ("unbound key", "gil", Some("gil")),
        ("account key", "nina", Some("nina")),
        ("account key", "unheard-of", Some("unheard-of")),
    ] {
        let answer = ask(who, user);
        let status = if told.is_some() { 200 } else { 401 };
        assert_eq!(answer.status, status, "{who} asks for {user}: {}", answer.body);
        if let Some(told) = told {
            assert_eq!(answer.json()["user_id"], told, "{who} asks for {user}");
        }
    }
    assert_eq!(ask("account key", "nina").json()["used"]["tokens"], 70);
    assert_eq!(world.spoken_for_by("unheard-of"), "acme globex", "nobody has taken the id");
    let listed = world.tokenist.get("/admin/users?search=unheard-of");
    assert_eq!(listed["users"], json!([]));
    assert_eq!(world.view("gil")["orgId"], "globex");
}

/// What there is to say about each thing on the admin port, and who may say it: statuses of those who may not.
fn admin_port(world: &World) {
    let login = |role: &str| {
        let email = format!("{role}@example.com");
        let mut body = json!({"email": email, "password": PASSWORD, "role": role});
        if role == "member" {
            body["orgId"] = "acme".into();
        }
        let answer = world.tokenist.post("/admin/logins", &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
        let body = json!({"email": email, "password": PASSWORD}).to_string();
        let answer = request(world.tokenist.admin, "POST", "/auth/login", &JSON, &body);
        answer.json()["token"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
    };
    let admins = made(&world.tokenist, &json!({"name": "k", "scopes": ["admin"]}));
    let [member, viewer, operator, owner] = ["member", "viewer", "operator", "owner"].map(login);
    let speakers: [(&str, &str, u16, u16); 12] = [
        // Who, and what is answered to a look and to a change; 0: it is done.
        ("nobody", "", 401, 401),
        ("a provider's key", PROVIDER_KEY, 401, 401),
        ("a user's key", &world.alices, 403, 403),
        ("an org's key", &world.acmes, 403, 403),
        ("an unbound key", &world.anybodys, 403, 403),
        ("an account's key", &world.anns, 403, 403),
        ("a member", &member, 403, 403),
        ("a viewer", &viewer, 0, 403),
        ("an operator", &operator, 0, 0),
        ("an admin's key", &admins, 0, 0),
        ("an owner", &owner, 0, 0),
        ("the operator's token", TOKEN, 0, 0),
    ];
    let limit = r#"{"maxCostUsd": 1000}"#;
    let things = [
        ("user", "POST", "/admin/users", r#"{"orgId": "acme"}"#),
        ("user", "GET", "/admin/users/alice/usage", ""),
        ("user of an account", "GET", "/admin/users/ug:anns:nina/usage", ""),
        ("org", "POST", "/admin/orgs/acme/tier", r#"{"tier": "pro"}"#),
        ("org", "GET", "/admin/orgs/acme/summary", ""),
        ("org", "GET", "/admin/orgs/acme/users", ""),
        ("feature", "PUT", "/admin/limits/feature/voice", limit),
        ("feature", "GET", "/admin/orgs/acme/features", ""),
        ("limit", "PUT", "/admin/limits/user/ug:anns:nina", limit),
        ("limit", "PUT", "/admin/limits/org/acme", limit),
        ("limit", "POST", "/admin/users/alice/threshold", limit),
        ("limit", "GET", "/admin/limits", ""),
        ("block", "POST", "/admin/users/nobody-1/block", r#"{"reason": "test"}"#),
        ("block", "POST", "/admin/users/nobody-1/unblock", ""),
        ("block", "GET", "/admin/blocked", ""),
    ];
    for (who, bearer, look, change) in speakers {
        for (thing, method, path, body) in things {
            let expected = if method == "GET" { look } else { change };
            let answer = by(&world.tokenist, bearer, method, path, body);
            let told = format!("{who} about a {thing}: {method} {path}: {} {}", answer.status, answer.body);
            match expected {
                0 => assert!((200..300).contains(&answer.status), "{told}"),
                status => assert_eq!(answer.status, status, "{told}"),
            }
        }
    }
}

#[test]
fn who_may_say_what_about_whom_with_all_in_memory() {
    walk(&[("store.kind", "memory")]);
}

#[test]
fn who_may_say_what_about_whom_with_a_ledger_file() {
    walk(&[("store.kind", "sqlite")]);
}

#[test]
fn who_may_say_what_about_whom_with_mongodb() {
    let mongo = Mongo::start();
    let (uri, database) = (mongo.uri(), mongo.database());
    walk(&[("store.kind", "mongodb"), ("store.mongodb_uri", &uri), ("store.mongodb_db", &database)]);
}

/// A ledger of before there were name spaces has members under their plain ids.
#[test]
fn members_of_before_keep_what_they_have_used_and_what_binds_them() {
    let folder = Scratch::new();
    let path = folder.path().join("ledger");
    let store = [("store.path", path.to_str().unwrap())];
    let (_provider, _, tokenist) = start(&store);
    let acmes = made(&tokenist, &json!({"name": "k", "orgId": "acme"}));
    let speak = |tokenist: &Tokenist, key: &str, user: &str| {
        let mut handshake = Handshake::of(user);
        handshake.headers.remove(0);
        let handshake = handshake.header("Authorization", &format!("Bearer {key}"));
        let mut client = Client::open(tokenist.listen, &handshake).unwrap();
        match client.turn(TURN) {
            Ok(_) => {
                client.leave();
                Ok(())
            }
            Err(end) => Err(end),
        }
    };
    speak(&tokenist, &acmes, "alice").unwrap();
    let used = || tokenist.get("/admin/users/alice/usage?period=total")["usage"]["totalTokens"].clone();
    assert_eq!(eventually(PATIENCE, used, |used| *used == 70), 70);
    tokenist.leave();

    let (_provider, _, tokenist) = start(&store);
    let login = json!({"email": "m@example.com", "password": PASSWORD, "role": "member", "orgId": "acme"});
    assert_eq!(tokenist.post("/admin/logins", &login).status, 201);
    let body = json!({"email": "m@example.com", "password": PASSWORD}).to_string();
    let token = request(tokenist.admin, "POST", "/auth/login", &JSON, &body).json()["token"].clone();
    let key = by(&tokenist, token.as_str().unwrap(), "POST", "/auth/api-keys", r#"{"name": "k"}"#).json();
    let key = key["apiKey"].as_str().unwrap();
    let ask = |user: &str| {
        let authorization = format!("Bearer {key}");
        let headers = [("Authorization", &*authorization), ("x-user-id", user)];
        request(tokenist.listen, "GET", "/v1/usage/me", &headers, "").json()
    };
    assert_eq!((&ask("alice")["user_id"], &ask("alice")["used"]["tokens"]), (&json!("alice"), &json!(70)));
    speak(&tokenist, key, "alice").unwrap();
    let told = || ask("alice")["used"]["tokens"].clone();
    assert_eq!(eventually(PATIENCE, told, |used| *used == 140), 140);
    tokenist.post("/admin/users/alice/block", &json!({}));
    assert!(matches!(speak(&tokenist, key, "alice"), Err(Heard::Close { code: 4003, .. })));
    speak(&tokenist, key, "new").unwrap();
    let listed = || tokenist.get("/admin/users?org=acme")["users"].as_array().unwrap().len();
    assert_eq!(eventually(PATIENCE, listed, |listed| *listed == 2), 2);
    assert_eq!(tokenist.get("/admin/users/ug:acme:new/usage?period=total")["orgId"], "acme");
}

/// What is said of one user on two instances at once, and where the user belongs after it on both.
#[rustfmt::skip]
const AT_ONCE: [([(&str, &str); 2], &str); 6] = [
    ([("header", "acme"), ("header", "globex")], ""),
    ([("header", "acme"), ("key", "globex")], "globex"),
    ([("key", "acme"), ("header", "globex")], "acme"),
    ([("operator", "acme"), ("header", "globex")], "acme"),
    ([("operator", "acme"), ("key", "globex")], "acme"),
    ([("key", "acme"), ("key", "globex")], "acme globex"),
];
const ROUNDS: usize = 5;

#[test]
fn two_instances_that_are_told_different_things_at_the_same_moment_come_to_the_same() {
    let mongo = Mongo::start();
    let (uri, database) = (mongo.uri(), mongo.database());
    let store = [("store.kind", "mongodb"), ("store.mongodb_uri", &*uri), ("store.mongodb_db", &*database)];
    let [(_one_provider, _one_folder, one), (_other_provider, _other_folder, other)] =
        [start(&store), start(&store)];
    let instances = [&one, &other];
    let keys = ["acme", "globex"].map(|org| (org, made(&one, &json!({"name": org, "orgId": org}))));
    let is_known = || keys.iter().all(|(_, key)| check(&other, key, "somebody").status == 200);
    assert!(eventually(PATIENCE, is_known, |is_known| *is_known), "keys hold on both");

    let say = |tokenist: &Tokenist, (how, org): (&str, &str), user: &str| {
        let bearer = match how {
            "operator" => {
                let answer = tokenist.post("/admin/users", &json!({"userId": user, "orgId": org}));
                assert_eq!(answer.status, 201, "{}", answer.body);
                return;
            }
            "key" => keys.iter().find(|(of, _)| *of == org).map_or("", |(_, key)| key),
            _ => PROVIDER_KEY,
        };
        let mut handshake = Handshake::of(user);
        handshake.headers.remove(0);
        let handshake =
            handshake.header("Authorization", &format!("Bearer {bearer}")).header("x-org-id", org);
        // Whose word comes too late is refused.
        if let Ok(mut client) = Client::open(tokenist.listen, &handshake)
            && client.turn(TURN).is_ok()
        {
            client.leave();
        }
    };
    for (number, (words, _)) in AT_ONCE.iter().enumerate() {
        for round in 0..ROUNDS {
            let (user, barrier) = (format!("user-{number}-{round}"), Barrier::new(2));
            thread::scope(|scope| {
                for (tokenist, word) in instances.into_iter().zip(words) {
                    let (user, barrier, say) = (&user, &barrier, &say);
                    scope.spawn(move || {
                        barrier.wait();
                        say(tokenist, *word, user);
                    });
                }
            });
        }
    }
    let spoken_for_by = |tokenist: &Tokenist, user: &str| {
        let orgs = keys.iter().filter(|(_, key)| check(tokenist, key, user).status == 200);
        orgs.map(|(org, _)| *org).collect::<Vec<_>>().join(" ")
    };
    for (number, (words, expected)) in AT_ONCE.iter().enumerate() {
        for round in 0..ROUNDS {
            let user = format!("user-{number}-{round}");
            let both = || instances.map(|tokenist| spoken_for_by(tokenist, &user));
            let is_right = |[one, other]: &[String; 2]| match *expected {
                "acme globex" => one == other && ["acme", "globex"].contains(&one.as_str()),
                expected => one == expected && other == expected,
            };
            let told = eventually(PATIENCE, both, is_right);
            let views = || {
                instances.map(|tokenist| tokenist.get(&format!("/admin/users/{user}/usage"))["orgId"].clone())
            };
            assert!(is_right(&told), "{words:?}: {user} is spoken for by {told:?}, and of {:?}", views());
        }
    }
}
