//! What a wall clock that is set does, and what it does not: spans are measured by another clock, and only what is
//! booked, windowed or expires follows it.
//!
//! The clock is that of a small library that is loaded before the C library and moves the process's wall clock alone.

use serde_json::{Value, json};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tokenist_core::time::Timestamp;
use tokenist_kit::{
    Client, Handshake, PATIENCE, Provider, Scratch, Signal, Tokenist, eventually, now_ms, request,
};

const SECOND_MS: i64 = 1_000;
const HOUR_MS: i64 = 3_600 * SECOND_MS;

/// A wall clock that can be set while a process looks at it.
struct WallClock {
    scratch: Scratch,
    library: PathBuf,
}

impl WallClock {
    /// Right, as yet.
    fn new() -> WallClock {
        let scratch = Scratch::new();
        let library = scratch.path().join("shim.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clocks/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source);
        assert!(compiler.status().unwrap().success(), "cc builds the library");
        let clock = WallClock { scratch, library };
        clock.set(0);
        clock
    }

    /// The clock is ahead by so much from now on; negative: behind.
    fn set(&self, ahead_ms: i64) {
        let mut file = std::fs::OpenOptions::new();
        let file = file.write(true).create(true).truncate(false).open(self.file()).unwrap();
        file.write_all_at(&(ahead_ms * 1_000_000).to_ne_bytes(), 0).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.scratch.path().join("wall")
    }

    /// A proxy of one shard that goes by this clock.
    fn start(&self, origin: &str, settings: &[(&str, &str)]) -> Tokenist {
        let (library, file) = (self.library.clone(), self.file());
        let ours = [
            ("proxy.shard_count", "1"),
            ("LD_PRELOAD", library.to_str().unwrap()),
            // Not `TOKENIST_<SECTION>_…` of any section that there is.
            ("TOKENIST_TEST_WALL", file.to_str().unwrap()),
        ];
        Tokenist::start(origin, &[&ours[..], settings].concat())
    }

    /// Sets the clock, and waits until the proxy's sessions are stamped by it: until its shard has had a tick since.
    fn step(&self, tokenist: &Tokenist, ahead_ms: i64) {
        self.set(ahead_ms);
        let wall = |ms: i64| Timestamp((now_ms() as i64 + ahead_ms + ms) as u64).to_string();
        let is_followed = |stamp: &String| (wall(-30 * SECOND_MS)..wall(30 * SECOND_MS)).contains(stamp);
        let stamp = eventually(PATIENCE, || stamp(tokenist), is_followed);
        assert!(is_followed(&stamp), "the process does not follow the clock of the test: {stamp}");
    }
}

/// The proxy's wall clock: when a new session of nobody else's was opened.
fn stamp(tokenist: &Tokenist) -> String {
    let user = "probe";
    let probe = tokenist.session(user).expect("there is room for one more");
    let opened_at = || session_of(tokenist, user)["openedAt"].as_str().map(str::to_owned);
    let opened_at = eventually(PATIENCE, opened_at, Option::is_some);
    probe.leave();
    let gone = eventually(PATIENCE, || session_of(tokenist, user), Value::is_null);
    assert_eq!(gone, Value::Null);
    opened_at.expect("the session is listed")
}

fn session_of(tokenist: &Tokenist, user: &str) -> Value {
    let sessions = tokenist.get("/admin/sessions");
    let sessions = sessions["sessions"].as_array().expect("a list").iter();
    sessions.clone().find(|session| session["userId"] == user).cloned().unwrap_or_default()
}

#[test]
fn a_pages_token_is_good_where_the_clock_is_five_seconds_apart_and_no_further() {
    let provider = Provider::start(&[]);
    let keyed = [("provider.api_key_env", "OPERATORS_KEY"), ("OPERATORS_KEY", "sk-operator")];
    let maker = Tokenist::start(&provider.origin(), &keyed);
    let clock = WallClock::new();
    let other = clock.start(&provider.origin(), &keyed);
    let asked = json!({"session": {"model": "gpt-realtime"}, "expires_after": {"seconds": 60}}).to_string();
    for (ahead_ms, code) in [
        (60 * SECOND_MS, None),
        (70 * SECOND_MS, Some("token_expired")),
        (-4 * SECOND_MS, None),
        (-60 * SECOND_MS, Some("token_not_yet_valid")),
    ] {
        clock.step(&other, ahead_ms);
        let headers = [("Authorization", "Bearer sk-operator"), ("x-user-id", "alice")];
        let given = request(maker.listen, "POST", "/v1/realtime/client_secrets", &headers, &asked).json();
        let token = given["value"].as_str().unwrap_or_else(|| panic!("{given}"));
        let handshake = Handshake { target: "/v1/realtime".into(), headers: Vec::new() };
        let handshake = handshake.header("Authorization", &format!("Bearer {token}"));
        let mut session = Client::open(other.listen, &handshake).expect("told in WebSocket terms");
        match (session.hear_until("session.created"), code) {
            (Ok(_), None) => session.leave(),
            (Err(_), Some(code)) => assert_eq!(session.events[0]["error"]["code"], code, "{ahead_ms} ms"),
            (heard, _) => panic!("{ahead_ms} ms: {heard:?} {:?}", session.events),
        }
    }
}

#[test]
fn a_clock_that_is_set_cuts_no_session() {
    let provider = Provider::start(&[]);
    let clock = WallClock::new();
    let settings = [("limits.session_seconds", "3000"), ("limits.idle_seconds", "3000")];
    let tokenist = clock.start(&provider.origin(), &settings);
    let mut sessions: Vec<Client> = (0..20).map(|_| tokenist.session("alice").unwrap()).collect();
    for ahead_ms in [61 * SECOND_MS, HOUR_MS, -HOUR_MS, 0, 400 * 24 * HOUR_MS, 0] {
        clock.step(&tokenist, ahead_ms);
        for session in &mut sessions {
            let done = session.turn("").unwrap_or_else(|end| panic!("{ahead_ms} ms cut a session: {end:?}"));
            assert_eq!(done["response"]["status"], "completed");
        }
    }
    assert_eq!(tokenist.metric("tokenist_upstream_failures_total"), Some(0.0));
    sessions.into_iter().for_each(Client::leave);
    // Whatever the clock was meanwhile, nobody left before he came.
    let past = || tokenist.get("/admin/sessions/past?limit=100")["sessions"].as_array().unwrap().clone();
    let alices = |past: &Vec<Value>| past.iter().filter(|session| session["userId"] == "alice").count();
    for session in eventually(PATIENCE, past, |past| alices(past) == 20) {
        let (opened, closed) = (&session["openedAt"], &session["closedAt"]);
        assert!(closed.as_str() >= opened.as_str(), "{session}");
    }
}

#[test]
fn a_clock_that_is_set_back_keeps_no_deadline_from_coming() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let clock = WallClock::new();
    let settings = [("proxy.head_seconds", "2"), ("proxy.dial_seconds", "2")];
    let tokenist = clock.start(&format!("http://{}", silent.local_addr().unwrap()), &settings);
    // A head that is begun, and a provider that takes the connection and no more.
    let mut half = TcpStream::connect(tokenist.listen).unwrap();
    half.write_all(b"GET /v1/realtime HTTP/1.1\r\n").unwrap();
    let dialling = std::thread::spawn({
        let listen = tokenist.listen;
        move || Client::open(listen, &Handshake::of("alice")).expect("it is told in a session").hear_out()
    });
    let _dialled = silent.accept().unwrap();
    clock.set(-HOUR_MS);
    half.set_read_timeout(Some(PATIENCE)).unwrap();
    let ended = std::io::copy(&mut half, &mut std::io::sink());
    assert!(ended.is_ok(), "a head has its deadline: {ended:?}");
    let (events, close) = dialling.join().expect("dial_seconds has its end");
    assert_eq!(events.last().expect("a last word")["error"]["code"], "upstream_failed");
    assert_eq!(close.expect("a close").0, 4502);
}

#[test]
fn sessions_end_when_they_should_under_a_clock_that_is_set_back() {
    let provider = Provider::start(&[]);
    for (settings, code) in [
        (&[("limits.session_seconds", "2")][..], "session_too_long"),
        (&[("limits.idle_seconds", "2")], "session_idle"),
        (&[("proxy.drain_seconds", "2")], "draining"),
    ] {
        let clock = WallClock::new();
        let mut tokenist = clock.start(&provider.origin(), settings);
        let mut session = tokenist.session("alice").unwrap();
        if code == "draining" {
            tokenist.signal(Signal::Terminate);
            let ready = || tokenist.ask("GET", "/ready", &Value::Null).status;
            assert_eq!(eventually(PATIENCE, ready, |&status| status == 503), 503);
        }
        clock.set(-HOUR_MS);
        let (events, _) = session.hear_out();
        assert_eq!(events.last().expect("a last word")["error"]["code"], code);
        if code == "draining" {
            assert!(tokenist.wait(PATIENCE).is_some(), "the process ends");
        }
    }
}

#[test]
fn refusals_are_counted_together_whatever_the_clock_is_set_to() {
    let provider = Provider::start(&[]);
    let clock = WallClock::new();
    let tokenist = clock.start(&provider.origin(), &[]);
    let blocked = tokenist.post("/admin/users/alice/block", &json!({"reason": "abuse"}));
    assert_eq!(blocked.status, 200, "{}", blocked.body);
    let began = Instant::now();
    for ahead_ms in [0, HOUR_MS, -HOUR_MS] {
        clock.set(ahead_ms);
        assert!(tokenist.session("alice").is_ok(), "it is told in a session");
    }
    let fourth = tokenist.session("alice").map(|_| ());
    // Only where the machine was too busy for four questions in ten seconds is this no storm.
    if began.elapsed() < Duration::from_secs(10) {
        assert_eq!(fourth.expect_err("a storm is answered in HTTP").status, 403);
    }
}

/// Of the process whose clock is `ahead_ms` ahead.
fn wall(ahead_ms: i64) -> Timestamp {
    Timestamp((now_ms() as i64 + ahead_ms) as u64)
}

/// The aggregator looks at windows every 5 s here, as where it has a million holders to look at; until then the ceilings
/// of yesterday stand.
#[test]
fn midnight_ends_no_session_and_begins_a_new_budget() {
    let provider = Provider::start(&[]);
    let clock = WallClock::new();
    // Midnight comes when everybody has used what he may but a token, however slow the machine is.
    let midnight = wall(0).next_day_start();
    let ahead_ms = midnight.since(wall(0)) as i64 - 12 * SECOND_MS;
    clock.set(ahead_ms);
    let settings = [("proxy.tick_ms", "5000"), ("limits.window", "daily"), ("limits.max_cost_usd", "-1")];
    let tokenist = clock.start(&provider.origin(), &settings);
    let mut sessions: Vec<Client> = (0..4).map(|_| tokenist.session("alice").unwrap()).collect();
    let tokens_of = |session: &mut Client| {
        let done = session.turn("").expect("a turn that nothing forbids");
        done["response"]["usage"]["total_tokens"].as_u64().expect("its usage")
    };
    let used: u64 = sessions.iter_mut().map(tokens_of).sum();
    let threshold = json!({"maxTotalTokens": used + 1, "window": "daily"});
    let answer = tokenist.post("/admin/users/alice/threshold", &threshold);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(wall(ahead_ms) < midnight, "the machine is too slow for this test");
    let now = eventually(PATIENCE * 2, || wall(ahead_ms), |now| *now >= midnight);
    assert!(now >= midnight);
    // Each of these would be the one too many yesterday.
    let used: u64 = sessions.iter_mut().take(2).map(tokens_of).sum();
    tokenist.session("alice").expect("whoever comes new is let in, too").leave();
    let today = || tokenist.get("/admin/users/alice/usage?period=daily")["usage"]["totalTokens"].clone();
    assert_eq!(eventually(PATIENCE, today, |today| today == used), used);
    // And the new day's budget is one: it ends, with the next midnight to come back at.
    let ended = (0..10).find_map(|_| sessions[0].turn("").err());
    assert!(ended.is_some(), "a day's budget has an end");
    let last = sessions[0].events.last().expect("a last word");
    assert_eq!(last["error"]["code"], "token_limit_reached", "{last}");
    assert_eq!(last["error"]["limit"]["resets_at"], midnight.next_day_start().to_string(), "{last}");
}
