//! A rule acts on sessions: it ends them, lets nobody in, or has new ones begin later.

use serde_json::json;
use std::time::{Duration, Instant};
use tokenist_kit::{Client, Handshake, Mongo, PATIENCE, Provider, Tokenist, eventually};

const RULES: &str = "/admin/orgs/acme/rules";

fn of_acme(user: &str) -> Handshake {
    Handshake::of(user).header("x-org-id", "acme")
}

fn rule(tokenist: &Tokenist, tokens: u64, restriction: &serde_json::Value) {
    let trigger = json!({"type": "token_limit", "tokens": tokens, "window": {"count": 1, "unit": "hour"}});
    let rule =
        json!({"name": "r", "subject": {"type": "user"}, "trigger": trigger, "restriction": restriction});
    assert_eq!(tokenist.post(RULES, &rule).status, 201);
}

fn has_fired(tokenist: &Tokenist) -> bool {
    tokenist.get(RULES)["rules"][0]["lastTriggeredAt"].is_string()
}

#[test]
fn a_block_by_a_rule_ends_live_sessions_and_lets_nobody_in() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[]);
    rule(&tokenist, 1, &json!({"type": "block"}));
    let mut session = Client::open(tokenist.listen, &of_acme("ann")).unwrap();
    session.turn("").unwrap();
    let (events, close) = session.hear_out();
    assert_eq!(close.map(|(code, _)| code), Some(4003));
    let error = &events.last().unwrap()["error"];
    assert_eq!(error["reason"], "Rule \"r\": 1 tokens in 1 hour are used up");
    let (_, close) = Client::open(tokenist.listen, &of_acme("ann")).unwrap().hear_out();
    assert_eq!(close.map(|(code, _)| code), Some(4003));
    Client::open(tokenist.listen, &of_acme("bob")).unwrap().turn("").unwrap();
}

#[test]
fn a_throttled_users_sessions_begin_later() {
    let delay = Duration::from_millis(2500);
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[("proxy.head_seconds", "1")]);
    rule(&tokenist, 1, &json!({"type": "throttle", "delayMs": delay.as_millis() as u64}));
    Client::open(tokenist.listen, &of_acme("ann")).unwrap().turn("").unwrap();
    eventually(PATIENCE, || has_fired(&tokenist), |fired| *fired);
    let began = Instant::now();
    let mut delayed = Client::open(tokenist.listen, &of_acme("ann")).unwrap();
    assert!(began.elapsed() >= delay);
    delayed.turn("").unwrap();
}

#[test]
fn instances_that_share_a_store_act_on_what_all_have_used() {
    let (mongo, provider) = (Mongo::start(), Provider::start(&[]));
    let (uri, database) = (mongo.uri(), mongo.database());
    let settings = [("store.kind", "mongodb"), ("store.mongodb_uri", &uri), ("store.mongodb_db", &database)];
    let instances = [0, 1].map(|_| Tokenist::start(&provider.origin(), &settings));
    let mut sessions =
        instances.each_ref().map(|instance| Client::open(instance.listen, &of_acme("ann")).unwrap());
    sessions[0].turn("").unwrap();
    let used = || instances[0].get("/admin/users/ann/usage?period=total")["usage"]["totalTokens"].as_u64();
    let of_a_turn = eventually(PATIENCE, used, |used| used.is_some_and(|used| used > 0)).unwrap();
    // So much that only both together reach it.
    rule(&instances[0], of_a_turn + 1, &json!({"type": "block"}));
    sessions[1].turn("").unwrap();
    for mut session in sessions {
        assert_eq!(session.hear_out().1.map(|(code, _)| code), Some(4003));
    }
}
