//! A block ends its user's live sessions at once, and lets nobody in until it is lifted.
//!
//! In a file of its own, because a time is measured: nothing else runs beside it.

use serde_json::{Value, json};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tokenist_kit::{Client, Handshake, PATIENCE, Provider, Tokenist, eventually};

const SHARDS: [(&str, &str); 1] = [("proxy.shard_count", "2")];
const BLOCKS: usize = 20;
const SESSIONS: usize = 5;
/// From the operator's call to the close in the application's hands.
const BLOCK_MS_MAX: u64 = 50;

/// The one last word of a session, and its close code.
#[track_caller]
fn told(events: &[Value], close: &Option<(u16, String)>) -> (String, u16) {
    let error = &events.last().expect("an event before the close")["error"];
    (error["code"].as_str().expect("a code").to_owned(), close.as_ref().expect("a close").0)
}

fn blocked() -> (String, u16) {
    ("user_blocked".into(), 4003)
}

#[test]
fn a_blocked_users_live_sessions_are_closed_within_fifty_milliseconds() {
    let provider = Provider::start(&["--shards", "2"]);
    let tokenist = Tokenist::start(&provider.origin(), &SHARDS);
    // Others go on speaking all the while.
    let mut bystanders: Vec<_> =
        (0..10).map(|index| speaking(&tokenist, &format!("bystander-{index}"))).collect();
    let mut latencies: Vec<Duration> =
        (0..BLOCKS).map(|round| block(&tokenist, &format!("user-{round}"))).collect();
    latencies.sort();
    let (median, most) = (latencies[BLOCKS / 2], latencies[BLOCKS - 1]);
    eprintln!(
        "from the call to the last of {SESSIONS} closes: median {median:?}, most {most:?}, {BLOCKS} blocks"
    );
    assert!(median <= Duration::from_millis(BLOCK_MS_MAX), "median {median:?}");
    for bystander in &mut bystanders {
        bystander.close(1000, "");
        let (events, close) = bystander.hear_out();
        assert_eq!(close, Some((1000, String::new())));
        assert!(events.iter().all(|event| event["type"] != "error"));
    }
}

/// How long after the call the last of the user's sessions was told, in its own hands.
fn block(tokenist: &Tokenist, user: &str) -> Duration {
    let (told_at, closes) = mpsc::channel();
    thread::scope(|scope| {
        for index in 0..SESSIONS {
            let told_at = told_at.clone();
            let mut client = match index % 2 {
                0 => speaking(tokenist, user),
                _ => tokenist.session(user).expect("let in"),
            };
            scope.spawn(move || {
                let (events, close) = client.hear_out();
                told_at.send(Instant::now()).expect("it is waited for");
                assert_eq!(told(&events, &close), blocked());
            });
        }
        let called_at = Instant::now();
        let answer = tokenist.post(&format!("/admin/users/{user}/block"), &json!({"reason": "a test"}));
        assert_eq!(answer.status, 200);
        let closes = (0..SESSIONS).map(|_| closes.recv_timeout(PATIENCE).expect("each session is told"));
        closes.max().expect("there are some") - called_at
    })
}

/// A session in which the provider speaks without end.
fn speaking(tokenist: &Tokenist, user: &str) -> Client {
    let mut client =
        Client::open(tokenist.listen, &Handshake::of(user).sim("load=speech:8192:40")).expect("let in");
    client.hear();
    client
}

#[test]
fn a_block_lasts_until_it_is_lifted_or_expires() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[("admission.refuse", "close")]);
    let refused = || {
        let (events, close) = tokenist.session("alice").expect("a refusal in WebSocket terms").hear_out();
        assert_eq!(events.len(), 1);
        (events[0]["error"].clone(), told(&events, &close))
    };
    let until = "2099-12-31T00:00:00.000Z";
    let answer = tokenist.post("/admin/users/alice/block", &json!({"reason": "unpaid", "expiresAt": until}));
    assert_eq!(answer.status, 200);
    let (error, told) = refused();
    assert_eq!(told, blocked());
    assert_eq!((&error["reason"], &error["expires_at"]), (&json!("unpaid"), &json!(until)));
    assert_eq!(error["message"], "User is blocked: unpaid");
    tokenist.session("bob").expect("bob is not meant").leave();
    assert_eq!(provider.audit()["handshake_count"], 1, "alice was not dialled for");

    let lifted = tokenist.post("/admin/users/alice/unblock", &Value::Null).json();
    assert_eq!(lifted["wasBlocked"], true);
    let mut client = tokenist.session("alice").expect("let in again");
    client.turn("").unwrap();
    client.leave();

    let past = tokenist.post("/admin/users/alice/block", &json!({"expiresAt": "2020-01-01T00:00:00Z"}));
    assert_eq!(past.status, 200);
    tokenist.session("alice").expect("that block is over").turn("").unwrap();
}

#[test]
fn a_block_holds_however_the_user_is_written() {
    let provider = Provider::start(&[]);
    let settings = [("admission.refuse", "close"), ("identity.query", "true")];
    let tokenist = Tokenist::start(&provider.origin(), &settings);
    let told = |handshake: &Handshake| {
        let (events, close) =
            Client::open(tokenist.listen, handshake).expect("a refusal in WebSocket terms").hear_out();
        told(&events, &close)
    };
    let in_query = |user: &str| Handshake {
        target: format!("/v1/realtime?model=gpt-realtime&user_id={user}"),
        headers: vec![("Authorization".into(), "Bearer sk-test".into())],
    };
    assert_eq!(tokenist.post("/admin/users/Zoe%CC%81%20/block", &json!({})).status, 200);
    for user in ["Zo\u{e9}", "Zoe\u{301}", "\u{a0}Zo\u{e9} "] {
        assert_eq!(told(&Handshake::of(user)), blocked(), "{user:?}");
    }
    for user in ["Zo%C3%A9", "Zoe%CC%81", "Zo%C3%A9%20", "Zo%C3%A9+", "+Zo%C3%A9%E3%80%80"] {
        assert_eq!(told(&in_query(user)), blocked(), "{user}");
    }
    for user in ["Zo%C3%A9%E2%80%8B", "Zo%C2%AD%C3%A9", "%EF%BB%BFZo%C3%A9", "Zo%C3%A9%00"] {
        assert_eq!(told(&in_query(user)), ("unauthorized".into(), 4001), "{user}");
    }
    assert_eq!(provider.audit()["handshake_count"], 0, "nobody was dialled for");
}

#[test]
fn an_operator_ends_one_session_and_the_users_others_go_on() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &SHARDS);
    let sessions = |count: usize| {
        let page = eventually(PATIENCE, || tokenist.get("/admin/sessions"), |page| page["total"] == count);
        assert_eq!(page["total"], count);
        page["sessions"].as_array().expect("a list").clone()
    };
    let mut first = tokenist.session("alice").unwrap();
    first.turn("").unwrap();
    let listed = sessions(1);
    assert_eq!((&listed[0]["userId"], &listed[0]["provider"]), (&json!("alice"), &json!("openai")));
    assert_eq!(listed[0]["model"], "gpt-realtime");
    let mut second = tokenist.session("alice").unwrap();
    sessions(2);

    let path = format!("/admin/sessions/{}", listed[0]["sessionId"].as_str().unwrap());
    assert_eq!(tokenist.delete(&path).status, 200);
    let (events, close) = first.hear_out();
    assert_eq!(told(&events, &close), ("session_killed".into(), 4003));
    sessions(1);
    assert_eq!(tokenist.delete(&path).status, 404);
    second.turn("").unwrap();
    tokenist.session("alice").expect("the user may open another").turn("").unwrap();
}
