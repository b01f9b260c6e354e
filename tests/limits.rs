//! A limit holds: the event that crosses it is the last that any session of the user gets.

mod reckon;

use reckon::{Bill, MODEL, audited, billed, booked, nano, settled, told};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use tokenist_core::money::NanoUsd;
use tokenist_core::usage::Usage;
use tokenist_kit::{Answer, Client, Handshake, Heard, PATIENCE, Provider, Scratch, Tokenist, eventually};

const USER: &str = "alice";
const SESSIONS: usize = 50;
const ROUNDS: u64 = 20;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    Cost,
    Tokens,
}

impl Measure {
    fn of(self, bill: &Bill) -> i64 {
        match self {
            Measure::Cost => bill.cost.0,
            Measure::Tokens => bill.tokens(),
        }
    }

    fn code(self) -> &'static str {
        match self {
            Measure::Cost => "cost_limit_reached",
            Measure::Tokens => "token_limit_reached",
        }
    }

    /// An amount of this measure in an `error` event.
    fn read(self, amount: &Value) -> i64 {
        match self {
            Measure::Cost => nano(amount).0,
            Measure::Tokens => amount.as_i64().expect("a count"),
        }
    }

    fn settings(self, limit: i64) -> [(&'static str, String); 2] {
        match self {
            Measure::Cost => [
                ("limits.max_cost_usd", NanoUsd(limit).usd().to_string()),
                ("limits.max_total_tokens", "0".into()),
            ],
            Measure::Tokens => {
                [("limits.max_cost_usd", "-1".into()), ("limits.max_total_tokens", limit.to_string())]
            }
        }
    }
}

/// Deterministic numbers out of a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Ends of a session that the proxy ended: the last `error` event, and the close code.
#[track_caller]
fn last_words(events: &[Value], close: &Option<(u16, String)>) -> (Value, u16) {
    let Some(last) = events.last() else { panic!("no event before {close:?}") };
    assert_eq!(last["type"], "error", "{last}");
    assert!(last["event_id"].is_string() && last["error"]["message"].is_string(), "{last}");
    let Some((code, _)) = close else { panic!("no close after {last}") };
    (last["error"].clone(), *code)
}

#[track_caller]
fn refused(opened: Result<Client, Answer>) -> (Value, u16) {
    let mut client = opened.expect("a refusal in WebSocket terms");
    let (events, close) = client.hear_out();
    assert_eq!(events.len(), 1, "nothing but the refusal: {events:?}");
    last_words(&events, &close)
}

/// One user on many sessions of two shards runs into its limit.
struct Race {
    delivered: Vec<Bill>,
    errors: Vec<Value>,
    booked: Bill,
    audited: Bill,
    metered: f64,
}

fn race(seed: u64, measure: Measure, limit: i64, estimate: &str) -> Race {
    let provider = Provider::start(&["--seed", &seed.to_string(), "--shards", "2"]);
    let [cost, tokens] = measure.settings(limit);
    let tokenist = Tokenist::start(
        &provider.origin(),
        &[
            ("proxy.shard_count", "2"),
            ("metering.estimate", estimate),
            (cost.0, &cost.1),
            (tokens.0, &tokens.1),
        ],
    );
    let start = Barrier::new(SESSIONS + 1);
    let ends: Vec<_> = thread::scope(|scope| {
        let sessions = (0..SESSIONS).map(|index| {
            let (tokenist, start) = (&tokenist, &start);
            let handshake = Handshake::of(USER).parameter(&format!("audit={USER}"));
            scope.spawn(move || {
                let mut dice = Dice(seed << 32 | index as u64);
                let mut client = Client::open(tokenist.listen, &handshake).expect("under the limit");
                client.hear_until("session.created").expect("a session");
                start.wait();
                // The limit may end the session at any word of a turn.
                loop {
                    let shape = format!("chunks={},pace={}", dice.below(5), dice.below(2));
                    match client.turn(&shape) {
                        Ok(done) => client.events.push(done),
                        Err(Heard::Close { code, reason }) => {
                            client.close(code, "");
                            let (events, after) = client.hear_out();
                            assert_eq!(after, None, "nothing follows the close");
                            return (events, Some((code, reason)));
                        }
                        Err(end) => panic!("a session ended with {end:?} after {:?}", client.events.last()),
                    }
                }
            })
        });
        let sessions: Vec<_> = sessions.collect();
        assert_eq!(shards_in_use(&tokenist), 2, "seed {seed}");
        start.wait();
        sessions.into_iter().map(|session| session.join().expect("a session ran to its end")).collect()
    });

    let mut race = Race {
        delivered: Vec::new(),
        errors: Vec::new(),
        booked: settled(&tokenist, USER),
        audited: audited(&provider, USER)[MODEL],
        metered: tokenist.metric("tokenist_events_metered_total").unwrap(),
    };
    for (events, close) in &ends {
        let (error, code) = last_words(events, close);
        assert_eq!((code, &error["code"]), (4004, &json!(measure.code())), "seed {seed}: {error}");
        race.errors.push(error);
        let dones = events.iter().filter(|event| event["type"] == "response.done");
        race.delivered.extend(dones.map(|done| Bill::stated(MODEL, told(done))));
    }
    race
}

/// Over how many shards the sessions are spread, once all are listed: a session's id names its shard.
fn shards_in_use(tokenist: &Tokenist) -> usize {
    let look = || tokenist.get("/admin/sessions");
    let page = eventually(PATIENCE, look, |page| page["total"] == SESSIONS);
    let sessions = page["sessions"].as_array().expect("a list");
    assert_eq!(sessions.len(), SESSIONS);
    let shards: BTreeSet<&str> =
        sessions.iter().map(|session| &session["sessionId"].as_str().expect("an id")[10..12]).collect();
    shards.len()
}

impl Race {
    /// Checks what holds whatever was estimated, and gives by how much the delivered usage passed the limit.
    fn check(&self, seed: u64, measure: Measure, limit: i64) -> i64 {
        let of = |bill: &Bill| measure.of(bill);
        let delivered: i64 = self.delivered.iter().map(of).sum();
        let largest = self.delivered.iter().map(of).max().unwrap_or(0);
        // Whatever was delivered before the crossing event left the user below the limit.
        assert!(
            delivered - largest < limit,
            "seed {seed}: {delivered} was delivered under a limit of {limit}; no event is larger than {largest}"
        );
        for error in &self.errors {
            let told = &error["limit"];
            assert_eq!(measure.read(&told["limit"]), limit, "seed {seed}: {error}");
            assert!(measure.read(&told["used"]) >= limit, "seed {seed}: {error}");
            assert!(error["resets_at"].is_string() || told["resets_at"].is_string(), "seed {seed}: {error}");
        }
        // Every event that told usage and was read is booked, be it delivered or withheld, and nothing twice.
        // What the provider had sent and nobody read when the sessions were cut is at most a response each.
        let delivered_cost: NanoUsd = self.delivered.iter().map(|bill| bill.cost).sum();
        let stated = self.booked.cost - self.booked.estimated;
        assert!(delivered_cost <= stated && stated <= self.audited.cost, "seed {seed}");
        assert!(self.delivered.len() as f64 <= self.metered, "seed {seed}");
        let unread = self.audited.usage.requests as f64 - self.metered;
        assert!((0.0..=SESSIONS as f64).contains(&unread), "seed {seed}: {unread} responses were not read");
        if unread == 0.0 {
            assert_eq!(stated, self.audited.cost, "seed {seed}");
        }
        delivered - limit
    }
}

#[test]
fn fifty_sessions_racing_for_the_last_cent_stop_at_the_event_that_crosses() {
    for measure in [Measure::Cost, Measure::Tokens] {
        let (mut overshoots, mut booked_most) = (Vec::new(), 0.0_f64);
        for seed in 1..=ROUNDS {
            let mut dice = Dice(seed);
            let limit = match measure {
                Measure::Cost => 200_000_000 + dice.below(200_000_000) as i64,
                Measure::Tokens => 20_000 + dice.below(10_000) as i64,
            };
            let race = race(seed, measure, limit, "off");
            let overshoot = race.check(seed, measure, limit);
            // Only whole responses count here, so the event that crossed is among those that were delivered.
            assert!(overshoot >= 0, "seed {seed}: stopped {} short of the limit", -overshoot);
            let largest = race.delivered.iter().map(|bill| measure.of(bill)).max().unwrap();
            overshoots.push(overshoot as f64 / largest as f64);
            booked_most = booked_most.max((measure.of(&race.booked) - limit) as f64 / largest as f64);
        }
        overshoots.sort_by(f64::total_cmp);
        eprintln!(
            "{measure:?}: delivered past the limit, in parts of the largest event: median {:.2}, most {:.2}; \
             booked with what was withheld: most {booked_most:.2}",
            overshoots[overshoots.len() / 2],
            overshoots[overshoots.len() - 1]
        );
    }
}

#[test]
fn estimates_of_responses_under_way_count_in_the_race_too() {
    for seed in 1..=5 {
        let limit = 200_000_000 + seed as i64 * 7_654_321;
        race(seed, Measure::Cost, limit, "enforce").check(seed, Measure::Cost, limit);
    }
}

/// Audio for ever, a tenth of a second an event, and never any usage.
const RUNAWAY: &str = "chunks=0,runaway";
/// What its larger events cost: two tokens of sound. Three of text beside them cost less.
const EVENT_COST: i64 = 2 * 64_000;

#[test]
fn a_runaway_response_is_cut_in_its_middle_by_its_estimate() {
    let provider = Provider::start(&[]);
    let limit = 10_000_000;
    let tokenist = Tokenist::start(&provider.origin(), &[("limits.max_cost_usd", "0.01")]);
    let mut client = tokenist.session(USER).unwrap();
    client.ask_response(RUNAWAY);
    let (events, close) = client.hear_out();
    let (error, code) = last_words(&events, &close);
    assert_eq!((code, &error["code"]), (4004, &json!("cost_limit_reached")));
    assert!(events.iter().all(|event| event["type"] != "response.done"));

    // Twenty tokens a second of sound, one for four bytes of text.
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count() as u64;
    let usage = Usage {
        audio_out: 2 * count("response.output_audio.delta"),
        text_out: 3 * count("response.output_audio_transcript.delta"),
        requests: 1,
        ..Usage::default()
    };
    let delivered = Bill::stated(MODEL, usage);
    let used = nano(&error["limit"]["used"]);
    assert_eq!(used, delivered.cost, "what was estimated is what was delivered");
    let sentence = format!("Cost limit reached: {} >= $0.01", used.exact());
    assert_eq!(
        (&error["message"], close.map(|(_, reason)| reason)),
        (&json!(sentence), Some(sentence.clone()))
    );
    let overshoot = used.0 - limit;
    eprintln!("cut {overshoot} nano-dollars past the limit; an event costs up to {EVENT_COST}");
    assert!((0..EVENT_COST).contains(&overshoot), "{used}");

    // It was asked to stop, and what it had said and read by then is owed to it, delivered or not.
    let total = settled(&tokenist, USER);
    assert_eq!((total, total.estimated), (billed(&provider, "-"), NanoUsd::ZERO));
    assert_eq!(total.usage.requests, 1);
    assert!(total.cost >= used, "{total:?}");
    assert_eq!(tokenist.metric("tokenist_events_estimated_total"), Some(0.0));
    assert_eq!(refused(tokenist.session(USER)).1, 4004);
}

/// Long conversations: a turn reads for 40 cents, or where the cache holds nine tenths of that for 5.
const DEAR: &str = "context=20000:10000:90";

#[test]
fn what_a_response_probably_reads_warns_and_ends_nobody() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[("limits.max_cost_usd", "0.6")]);
    let mut client = Client::open(tokenist.listen, &Handshake::of(USER).sim(DEAR)).expect("let in");
    // Nothing was cached for the first one, so the second is taken to cost as much.
    for _ in 0..3 {
        client.turn("chunks=20").expect("a whole turn");
    }
    assert_eq!(tokenist.metric("tokenist_limits_foreseen_total"), Some(1.0));
    tokenist.logged("will reach a limit");
    client.leave();
    let total = settled(&tokenist, USER);
    assert!(total.cost < NanoUsd(600_000_000) && total.estimated == NanoUsd::ZERO, "{total:?}");
    tokenist.session(USER).expect("there is something left").leave();
}

#[test]
fn abandoned_turns_reach_the_limit() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[("limits.max_cost_usd", "2")]);
    let mut turns = 0;
    let error = loop {
        let handshake = Handshake::of(USER).parameter(&format!("audit={USER}")).sim(DEAR);
        let mut client = Client::open(tokenist.listen, &handshake).expect("an answer");
        client.ask_response("chunks=8,pace=20");
        match client.hear_until("response.output_audio.delta") {
            Ok(_) => {
                client.reset();
                settled(&tokenist, USER);
            }
            Err(_) => break client.events.pop().expect("a reason"),
        }
        turns += 1;
        assert!(turns < 60, "nobody was stopped");
    };
    assert_eq!(error["error"]["code"], "cost_limit_reached");
    let (booked, billed) = (settled(&tokenist, USER), billed(&provider, USER));
    assert_eq!(booked, billed);
    assert_eq!(turns, 5);
}

#[test]
fn estimates_that_only_observe_cut_nothing_and_are_booked_in_the_end() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(
        &provider.origin(),
        &[("limits.max_cost_usd", "0.01"), ("metering.estimate", "observe")],
    );
    let mut client = tokenist.session(USER).unwrap();
    client.ask_response("chunks=200,die@end");
    let (events, close) = client.hear_out();
    let sound = events.iter().filter(|event| event["type"] == "response.output_audio.delta").count();
    assert_eq!(sound, 200, "the response was let run to its end");
    assert_eq!(close.expect("a close").0, 4502);
    let total = settled(&tokenist, USER);
    assert_eq!((total.usage.audio_out, total.usage.requests), (400, 1));
    assert_eq!(total.estimated, total.cost);
    assert_eq!(refused(tokenist.session(USER)).1, 4004, "what was observed counts once it is booked");
}

#[test]
fn without_estimates_only_what_the_provider_states_counts() {
    let provider = Provider::start(&[]);
    let tokenist =
        Tokenist::start(&provider.origin(), &[("limits.max_cost_usd", "0.01"), ("metering.estimate", "off")]);
    let mut client = tokenist.session(USER).unwrap();
    client.ask_response("chunks=200,die@end");
    client.hear_out();
    let total = settled(&tokenist, USER);
    assert_eq!((total.cost, total.usage.total_tokens()), (NanoUsd::ZERO, 0));
    let mut client = tokenist.session(USER).expect("still let in");
    client.turn("chunks=0,text_in=10000").unwrap();
    let (events, close) = client.hear_out();
    assert_eq!(last_words(&events, &close).1, 4004);
}

#[test]
fn a_provider_that_states_less_than_the_estimate_gives_the_difference_back() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[("limits.max_cost_usd", "0.01")]);
    let mut client = tokenist.session(USER).unwrap();
    // Each is estimated at some 9 of the 10 million that the user has, and stated at next to nothing.
    for _ in 0..5 {
        client.turn("chunks=50,audio_in=0,audio_out=1,text_in=1,text_out=1,image_in=0").unwrap();
    }
    client.leave();
    let total = settled(&tokenist, USER);
    assert_eq!((total.usage.requests, total.usage.audio_out, total.estimated), (5, 5, NanoUsd::ZERO));
}

#[test]
fn a_limit_that_only_warns_ends_nothing() {
    let provider = Provider::start(&[]);
    let tokenist =
        Tokenist::start(&provider.origin(), &[("limits.max_cost_usd", "0.001"), ("limits.mode", "warn")]);
    for _ in 0..2 {
        let mut client = tokenist.session(USER).expect("let in");
        client.turn("chunks=100").unwrap();
        client.turn("").unwrap();
        client.leave();
    }
    assert!(settled(&tokenist, USER).cost > NanoUsd(10_000_000));
}

#[test]
fn a_reached_limit_refuses_on_connect_and_a_raised_one_lets_in_again() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[]);
    let threshold = |body: Value| {
        let answer = tokenist.post(&format!("/admin/users/{USER}/threshold"), &body);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    threshold(json!({"maxCostUsd": 0}));
    let (error, code) = refused(tokenist.session(USER));
    assert_eq!((code, &error["code"]), (4004, &json!("cost_limit_reached")));
    assert_eq!(provider.audit()["handshake_count"], 0, "nobody was dialled");

    threshold(json!({"maxTotalTokens": 1}));
    let mut client = tokenist.session(USER).unwrap();
    let done = client.turn("chunks=0").unwrap();
    assert!(told(&done).total_tokens() > 1, "the event that crosses is delivered");
    let (events, close) = client.hear_out();
    assert_eq!(last_words(&events, &close).0["code"], "token_limit_reached");
    assert_eq!(refused(tokenist.session(USER)).1, 4004);

    threshold(json!({"maxCostUsd": 5, "window": "daily"}));
    let mut client = tokenist.session(USER).expect("let in again");
    client.turn("").unwrap();
    client.leave();
}

#[test]
fn a_lowered_limit_ends_live_sessions() {
    let provider = Provider::start(&["--shards", "2"]);
    let tokenist = Tokenist::start(&provider.origin(), &[("proxy.shard_count", "2")]);
    let mut sessions: Vec<_> = (0..10).map(|_| tokenist.session(USER).unwrap()).collect();
    let mut other = tokenist.session("bob").unwrap();
    other.turn("").unwrap();
    sessions.iter_mut().for_each(|session| drop(session.turn("").unwrap()));
    let sum = |bills: Vec<Bill>| bills.iter().map(|bill| bill.usage.requests).sum::<u64>();
    let requests = || sum(booked(&tokenist, USER).into_values().collect());
    assert_eq!(eventually(PATIENCE, requests, |&count| count == 10), 10);
    let lowered = tokenist.post(&format!("/admin/users/{USER}/threshold"), &json!({"maxTotalTokens": 10}));
    assert_eq!(lowered.status, 200);
    for session in &mut sessions {
        let (events, close) = session.hear_out();
        let (error, code) = last_words(&events, &close);
        assert_eq!((code, &error["code"]), (4004, &json!("token_limit_reached")));
    }
    other.turn("").unwrap();
}

#[test]
fn a_limit_of_a_feature_ends_the_sessions_of_all_who_use_it() {
    const TURN: &str = "chunks=0,text_in=8,text_out=2,audio_in=0,audio_out=0,image_in=0";
    let provider = Provider::start(&["--shards", "2"]);
    let scratch = Scratch::new();
    let path = scratch.path().join("ledger");
    let settings = [
        ("proxy.shard_count", "2"),
        ("store.path", path.to_str().unwrap()),
        ("provider.api_key_env", "OPERATORS_KEY"),
        ("OPERATORS_KEY", "sk-operators"),
    ];
    let tokenist = Tokenist::start(&provider.origin(), &settings);
    let key = tokenist.post("/auth/api-keys", &json!({"name": "app", "scopes": ["proxy"]})).json();
    let bearer = format!("Bearer {}", key["apiKey"].as_str().unwrap());
    let handshake = |user: &str, feature: &str| Handshake::of(user).header("x-feature", feature);
    let open = |tokenist: &Tokenist, user: &str, feature: &str| {
        Client::open(tokenist.listen, &handshake(user, feature))
    };
    let limit = json!({"maxTotalTokens": 25, "window": "total"});
    assert_eq!(tokenist.ask("PUT", "/admin/limits/feature/voice", &limit).status, 200);

    let mut by_key = handshake("alice", "voice");
    by_key.headers[0].1 = bearer;
    let mut sessions = vec![Client::open(tokenist.listen, &by_key).unwrap()];
    sessions.extend((0..3).map(|user| open(&tokenist, &format!("user-{user}"), "voice").unwrap()));
    let mut other = open(&tokenist, "user-0", "chat").unwrap();
    for session in &mut sessions[..2] {
        session.turn(TURN).unwrap();
    }
    sessions[2].ask_response(TURN);
    for session in &mut sessions {
        let (events, close) = session.hear_out();
        let (error, code) = last_words(&events, &close);
        assert_eq!((code, &error["code"]), (4004, &json!("token_limit_reached")));
    }
    other.turn("").unwrap();
    other.leave();
    let used = |tokenist: &Tokenist| tokenist.get("/admin/limits/feature/voice")["used"]["tokens"].clone();
    assert_eq!(eventually(PATIENCE, || used(&tokenist), |tokens| *tokens == 30), 30);
    assert_eq!(refused(open(&tokenist, "user-9", "voice")).1, 4004);
    tokenist.leave();

    let tokenist = Tokenist::start(&provider.origin(), &settings);
    assert_eq!(used(&tokenist), 30, "a restart gives no new budget");
    assert_eq!(refused(open(&tokenist, "user-9", "voice")).1, 4004);
    open(&tokenist, "user-9", "chat").unwrap().leave();
}

#[test]
fn a_user_has_as_many_sessions_at_once_as_it_may() {
    let provider = Provider::start(&[]);
    let tokenist =
        Tokenist::start(&provider.origin(), &[("proxy.shard_count", "2"), ("limits.sessions_per_user", "3")]);
    let mut sessions: Vec<_> = (0..3).map(|_| tokenist.session(USER).unwrap()).collect();
    let (error, code) = refused(tokenist.session(USER));
    assert_eq!((code, &error["code"]), (4029, &json!("too_many_sessions")));
    tokenist.session("bob").expect("another user is not meant").leave();
    sessions.pop().unwrap().leave();
    let retry = || tokenist.session(USER).is_ok_and(|mut client| client.turn("").is_ok());
    assert!(eventually(PATIENCE, retry, |&let_in| let_in), "a place that was left is free again");
}

#[test]
fn many_sessions_that_rush_in_together_never_exceed_the_cap() {
    let provider = Provider::start(&["--shards", "2"]);
    let tokenist = Tokenist::start(
        &provider.origin(),
        &[("proxy.shard_count", "2"), ("limits.sessions_per_user", "5"), ("admission.refuse", "close")],
    );
    let (rush, judged) = (Barrier::new(40), Barrier::new(40));
    let let_in: usize = thread::scope(|scope| {
        let sessions = (0..40).map(|_| {
            scope.spawn(|| {
                rush.wait();
                let mut client = tokenist.session(USER).unwrap();
                let first = client.hear();
                // Nobody leaves before everybody was judged.
                judged.wait();
                match first {
                    Heard::Event(event) if event["type"] == "session.created" => 1,
                    Heard::Event(event) => {
                        assert_eq!(event["error"]["code"], "too_many_sessions", "{event}");
                        0
                    }
                    other => panic!("{other:?}"),
                }
            })
        });
        let sessions: Vec<_> = sessions.collect();
        sessions.into_iter().map(|session| session.join().expect("it was judged")).sum()
    });
    assert_eq!(let_in, 5);
}

#[test]
fn a_session_lasts_as_long_as_it_may() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[("limits.session_seconds", "1")]);
    let busy = Handshake::of(USER).sim("load=speech:300:20");
    let mut client = Client::open(tokenist.listen, &busy).unwrap();
    let (events, close) = client.hear_out();
    let (error, code) = last_words(&events, &close);
    assert_eq!((code, &error["code"]), (4008, &json!("session_too_long")));
    tokenist.session(USER).expect("a new session may begin").leave();
}

#[test]
fn a_session_that_says_nothing_is_ended_and_one_that_speaks_is_not() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[("limits.idle_seconds", "1")]);
    let busy = Handshake::of("bob").sim("load=speech:300:20");
    let mut busy = Client::open(tokenist.listen, &busy).unwrap();
    let mut idle = tokenist.session(USER).unwrap();
    // Pings are not speech.
    idle.send_frame(true, tokenist_kit::opcode::PING, b"still here");
    let (events, close) = idle.hear_out();
    let (error, code) = last_words(&events, &close);
    assert_eq!((code, &error["code"]), (4008, &json!("session_idle")));
    for _ in 0..20 {
        assert!(matches!(busy.hear(), Heard::Event(event) if event["type"] != "error"));
    }
}

#[test]
fn refusals_are_told_as_the_operator_wants() {
    let provider = Provider::start(&[]);
    for (mode, expected) in
        [("close", [101; 6]), ("http", [429; 6]), ("auto", [101, 101, 101, 429, 429, 429])]
    {
        let tokenist = Tokenist::start(
            &provider.origin(),
            &[("admission.refuse", mode), ("limits.max_total_tokens", "1"), ("limits.window", "daily")],
        );
        let mut client = tokenist.session(USER).unwrap();
        client.turn("chunks=0").unwrap();
        client.hear_out();
        let statuses = [(); 6].map(|()| match tokenist.session(USER) {
            Ok(mut client) => {
                let (events, close) = client.hear_out();
                assert_eq!(last_words(&events, &close).1, 4004);
                101
            }
            Err(answer) => {
                assert_eq!(answer.json()["error"]["code"], "token_limit_reached", "{answer:?}");
                let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=24 * 3600).contains(&seconds), "until midnight at most: {seconds}");
                answer.status
            }
        });
        assert_eq!(statuses, expected, "admission.refuse = {mode}");
    }
}

#[test]
fn a_storm_of_one_user_does_not_change_what_another_is_told() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[]);
    for (user, body) in [
        ("for-good", json!({"reason": "fraud"})),
        ("for-a-while", json!({"expiresAt": "2099-01-01T00:00:00Z"})),
    ] {
        assert_eq!(tokenist.post(&format!("/admin/users/{user}/block"), &body).status, 200);
        for _ in 0..3 {
            assert_eq!(refused(tokenist.session(user)).1, 4003);
        }
        let answer = tokenist.session(user).expect_err("a storm is answered in HTTP");
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("user_blocked")));
        match user {
            "for-good" => assert_eq!(answer.header("x-should-retry"), Some("false"), "{answer:?}"),
            _ => assert!(answer.header("retry-after").is_some(), "{answer:?}"),
        }
    }
    tokenist.session("bob").expect("bob is let in").leave();
    let threshold = tokenist.post("/admin/users/bob/threshold", &json!({"maxCostUsd": 0}));
    assert_eq!(threshold.status, 200);
    assert_eq!(refused(tokenist.session("bob")).1, 4004);
    assert!(
        eventually(
            Duration::from_secs(1),
            || tokenist.metric("tokenist_sessions_refused_total"),
            |count| *count == Some(9.0)
        )
        .is_some()
    );
}
