//! A Gemini session goes on on another connection, by a handle that the first one was given: it is one session, for its user
//! alone, and whatever it used is counted once.

mod raw;
mod reckon;

use raw::*;
use reckon::settled;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokenist_kit::{Load, PATIENCE, Provider, Scratch, Tokenist, audit, eventually};

const PATH: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
const HANDLE: &str = "Cgh-a-secret-handle";
const GEMINI: [(&str, &str); 2] = [("provider.dialect", "gemini"), ("admission.refuse", "close")];

fn start_gemini(origin: &str, settings: &[(&str, &str)]) -> Tokenist {
    start(origin, &[&GEMINI[..], settings].concat())
}

fn setup(handle: Option<&str>) -> Vec<u8> {
    let resumption = handle.map_or(json!({}), |handle| json!({"handle": handle}));
    let setup = json!({"setup": {"model": "models/gemini-3.8-live", "sessionResumption": resumption}});
    frame(TEXT, setup.to_string().as_bytes(), Some(KEY))
}

/// An application that has said its first event.
fn dial(proxy: &Tokenist, user: &str, handle: Option<&str>) -> Wire {
    let mut app = Wire::connect(proxy.listen);
    let user = format!("x-user-id: {user}");
    let headers = [&UPGRADE[..], &["x-goog-api-key: AIzaTest", &user]].concat();
    app.send(request(&format!("GET {PATH}"), &headers));
    assert_eq!(app.answer().status, 101);
    app.send(setup(handle));
    app
}

/// Both ends of a connection that the provider has greeted.
fn connect(proxy: &Tokenist, provider: &Upstream, user: &str, handle: Option<&str>) -> (Wire, Wire) {
    let mut app = dial(proxy, user, handle);
    let mut server = provider.accept();
    server.head();
    server.send(switching(&[]));
    server.expect(&setup(handle), "the first event, with the handle in it");
    say(&mut server, &mut app, &json!({"setupComplete": {}}));
    (app, server)
}

fn say(server: &mut Wire, app: &mut Wire, message: &Value) {
    let wire = frame(BINARY, message.to_string().as_bytes(), None);
    server.send(&wire);
    app.expect(&wire, "what the provider says");
}

fn give(server: &mut Wire, app: &mut Wire, handle: &str) {
    say(server, app, &json!({"sessionResumptionUpdate": {"newHandle": handle, "resumable": true}}));
}

fn usage(prompt: u64) -> Value {
    json!({"serverContent": {"turnComplete": true}, "usageMetadata": {"promptTokenCount": prompt}})
}

fn leave(app: Wire, server: Wire) {
    drop((app, server));
}

fn live(proxy: &Tokenist, count: u64) -> Vec<Value> {
    let look = || proxy.get("/admin/sessions");
    let listed = eventually(PATIENCE, look, |listed| listed["total"] == count);
    assert_eq!(listed["total"], count, "{listed}");
    listed["sessions"].as_array().cloned().unwrap_or_default()
}

/// A user's records, the last one first, once they have these requests: each is written when its own session ends.
fn past(proxy: &Tokenist, user: &str, requests: &[u64]) -> Vec<Value> {
    let path = format!("/admin/sessions/past?user={user}");
    let look = || proxy.get(&path)["sessions"].as_array().cloned().unwrap_or_default();
    let has_all =
        |records: &Vec<Value>| records.iter().map(|record| &record["usage"]["requests"]).eq(requests);
    let records = eventually(PATIENCE, look, has_all);
    assert!(has_all(&records), "{requests:?} requests: {records:?}");
    records
}

#[test]
fn it_is_one_session_with_one_record_and_for_its_user_alone() {
    let provider = Upstream::start();
    let proxy = start_gemini(&provider.origin(), &[("log.level", "trace")]);
    let (mut app, mut server) = connect(&proxy, &provider, "alice", None);
    say(&mut server, &mut app, &usage(600));
    give(&mut server, &mut app, "older");
    give(&mut server, &mut app, HANDLE);
    let first = live(&proxy, 1).remove(0);
    leave(app, server);
    live(&proxy, 0);
    let ended = past(&proxy, "alice", &[1]).remove(0);
    assert_eq!((&ended["id"], &ended["openedAt"]), (&first["sessionId"], &first["openedAt"]));

    // The second connection comes when the first one is gone, and the third while the second one is there.
    let (mut app, mut server) = connect(&proxy, &provider, "alice", Some(HANDLE));
    say(&mut server, &mut app, &usage(700));
    let (mut third_app, mut third_server) = connect(&proxy, &provider, "alice", Some("older"));
    let resumed = live(&proxy, 1).remove(0);
    assert_eq!((&resumed["sessionId"], &resumed["openedAt"]), (&first["sessionId"], &first["openedAt"]));
    say(&mut server, &mut app, &usage(1));
    leave(app, server);
    say(&mut third_server, &mut third_app, &usage(2));
    live(&proxy, 1);

    // Nobody else goes on with it, and not by a handle that nobody was given.
    let (mut app, mut server) = connect(&proxy, &provider, "bob", Some(HANDLE));
    say(&mut server, &mut app, &usage(5));
    let (other, other_server) = connect(&proxy, &provider, "alice", Some("unknown"));
    let ids: Vec<Value> = live(&proxy, 3).into_iter().map(|session| session["sessionId"].clone()).collect();
    assert!(ids[0] == first["sessionId"] && ids[1] != ids[0] && ids[2] != ids[0], "{ids:?}");
    leave(other, other_server);
    live(&proxy, 2);
    leave(app, server);
    leave(third_app, third_server);
    live(&proxy, 0);
    let records = past(&proxy, "alice", &[4, 0]);
    assert_eq!((&records[0]["id"], &records[0]["openedAt"]), (&first["sessionId"], &first["openedAt"]));
    assert!(records[0]["closedAt"].as_str() > ended["closedAt"].as_str(), "{records:?}");
    assert_eq!(records[0]["usage"]["totalTokens"], 1303);
    assert_eq!(past(&proxy, "bob", &[1])[0]["usage"]["totalTokens"], 5);
    let total = |user: &str| settled(&proxy, user).usage.total_tokens();
    assert_eq!((total("alice"), total("bob")), (1303, 5), "each pays for what was stated to it");
    assert_eq!(proxy.metric("tokenist_sessions_resumed_total"), Some(2.0));
    keeps_its_secret(proxy);
}

/// A handle shows nowhere.
fn keeps_its_secret(proxy: Tokenist) {
    let pages = ["/admin/sessions/past", "/admin/events", "/admin/users/alice/usage"];
    let told: String = pages.iter().map(|page| proxy.get(page).to_string()).collect();
    assert!(!proxy.metrics().contains(HANDLE), "a metric shows it");
    assert!(!told.contains(HANDLE), "a page shows it: {told}");
    let files = std::fs::read_dir(proxy.ledger()).unwrap();
    for file in files.map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        let shows = bytes.windows(HANDLE.len()).any(|bytes| bytes == HANDLE.as_bytes());
        assert!(!shows, "{} shows it", file.display());
    }
    let log = proxy.leave();
    assert!(!log.contains(HANDLE), "the log shows it: {log}");
}

#[test]
fn what_was_read_goes_on_and_a_greeting_that_repeats_usage_counts_nothing() {
    let provider = Upstream::start();
    let proxy = start_gemini(&provider.origin(), &[("metering.linger_seconds", "0")]);
    let (mut app, mut server) = connect(&proxy, &provider, "alice", None);
    say(&mut server, &mut app, &usage(6_000));
    give(&mut server, &mut app, HANDLE);
    leave(app, server);
    let (mut app, mut server) = connect(&proxy, &provider, "alice", Some(HANDLE));
    say(&mut server, &mut app, &usage(6_000));
    // An answer whose usage never comes is booked as one that read what the first connection stated.
    say(&mut server, &mut app, &json!({"serverContent": {"modelTurn": {"parts": [{"text": "12345678"}]}}}));
    leave(app, server);
    let record = past(&proxy, "alice", &[2]).remove(0);
    assert_eq!(
        (&record["usage"]["inputTokens"], &record["usage"]["outputTokens"]),
        (&12_000.into(), &2.into()),
        "{record}"
    );
}

#[test]
fn a_session_has_one_place_and_one_time_over_all_its_connections() {
    let provider = Upstream::start();
    let settings = [("limits.sessions_per_user", "1"), ("limits.session_seconds", "3")];
    let proxy = start_gemini(&provider.origin(), &settings);
    let began = Instant::now();
    let (mut app, mut server) = connect(&proxy, &provider, "alice", None);
    give(&mut server, &mut app, HANDLE);
    for handle in [None, Some("unknown")] {
        let close = dial(&proxy, "alice", handle).frame();
        assert_eq!((close.close_code(), provider.poll().is_none()), (4029, true), "{handle:?}");
    }
    std::thread::sleep(Duration::from_millis(1_500));
    let (mut resumed, mut resumed_server) = connect(&proxy, &provider, "alice", Some(HANDLE));
    leave(app, server);
    give(&mut resumed_server, &mut resumed, "second");
    // The place is still taken, and the time runs from the first connection.
    assert_eq!(dial(&proxy, "alice", None).frame().close_code(), 4029);
    let close = resumed.frame();
    assert!(close.close_reason().contains("3 seconds"), "{}", close.close_reason());
    assert!(began.elapsed() < Duration::from_millis(4_400), "{:?}", began.elapsed());
    leave(resumed, resumed_server);
    live(&proxy, 0);
    connect(&proxy, &provider, "alice", None);
}

#[test]
fn an_operator_ends_all_connections_of_a_session() {
    let provider = Upstream::start();
    let proxy = start_gemini(&provider.origin(), &[("proxy.shard_count", "2")]);
    let (mut app, mut server) = connect(&proxy, &provider, "alice", None);
    give(&mut server, &mut app, HANDLE);
    let mut all: Vec<(Wire, Wire)> =
        (0..6).map(|_| connect(&proxy, &provider, "alice", Some(HANDLE))).collect();
    all.push((app, server));
    let session = live(&proxy, 1).remove(0);
    let id = session["sessionId"].as_str().unwrap();
    assert_eq!(proxy.delete(&format!("/admin/sessions/{id}")).status, 200);
    for (app, _) in &mut all {
        assert_eq!(app.frame().close_code(), 4003);
    }
}

#[test]
fn a_restart_forgets_handles_and_what_is_resumed_then_is_a_session_of_its_own() {
    let (provider, folder) = (Upstream::start(), Scratch::new());
    let path = folder.path().join("ledger").display().to_string();
    let start = || start_gemini(&provider.origin(), &[("store.path", &path)]);
    let proxy = start();
    let (mut app, mut server) = connect(&proxy, &provider, "alice", None);
    say(&mut server, &mut app, &usage(6));
    give(&mut server, &mut app, HANDLE);
    leave(app, server);
    past(&proxy, "alice", &[1]);
    proxy.leave();
    let proxy = start();
    let (app, server) = connect(&proxy, &provider, "alice", Some(HANDLE));
    live(&proxy, 1);
    leave(app, server);
    let records = past(&proxy, "alice", &[0, 1]);
    assert_eq!(
        (&records[1]["usage"]["totalTokens"], records[0]["id"] == records[1]["id"]),
        (&6.into(), false)
    );
}

#[test]
fn sessions_that_go_on_over_four_shards_are_counted_as_the_provider_delivered() {
    let provider = Provider::start(&["--seed", "7", "--sim", "usage=after"]);
    let proxy =
        Tokenist::start(&provider.origin(), &[("provider.dialect", "gemini"), ("proxy.shard_count", "4")]);
    let scenario = "turns,sessions=24,users=4,turns=6,resume=2,seconds=60";
    let figures = Load::start_of("gemini", proxy.listen, scenario).figures();
    assert_eq!(figures["error_count"], 0, "{figures}");
    assert_eq!((&figures["sessions_resumed"], &figures["turns"]), (&48.into(), &144.into()));
    for user in 0..4 {
        let user = format!("user-{user}");
        settled(&proxy, &user);
        past(&proxy, &user, &[6; 6]);
    }
    let (agree, table) = audit(&provider, &proxy);
    assert!(agree, "{table}");
    let audit = provider.audit();
    assert_eq!((&audit["session_count"], &audit["handshake_count"]), (&24.into(), &72.into()));
    assert_eq!(proxy.metric("tokenist_sessions_resumed_total"), Some(48.0));
}
