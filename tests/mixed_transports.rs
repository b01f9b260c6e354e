//! One user's calls and WebSocket sessions at the same time: together they are counted to the token, and end at one limit.

mod reckon;

use reckon::{GENEROUS, agree, settled};
use tokenist_kit::{Client, Handshake, Load, PATIENCE, Provider, Tokenist};

const SEEDS: u64 = 20;
const USER: &str = "user-0";
/// Some turns of each session cross it.
const LIMIT: i64 = 3_000;
/// No response of theirs uses more.
const RESPONSE_MAX: i64 = 1_000;
/// Of each transport.
const SESSIONS: i64 = 2;

/// A provider that counts by this seed, and a tokenist that watches calls or relays them.
fn stage(seed: u64, settings: &[(&str, &str)]) -> (Provider, Tokenist) {
    let mode = if seed.is_multiple_of(2) { "direct" } else { "relay" };
    let provider = Provider::start(&["--seed", &seed.to_string()]);
    let ours = [("webrtc.mode", mode), ("admission.refuse", "close")];
    let tokenist = Tokenist::start(&provider.origin(), &[&ours, settings].concat());
    (provider, tokenist)
}

/// So many turns in each session of either transport; 0: until something ends them.
fn talk(tokenist: &Tokenist, turns: u64) -> [Load; 2] {
    let scenario = format!("turns,sessions={SESSIONS},users=1,turns={turns},seconds=60");
    [Load::calls(tokenist.listen, &scenario), Load::start(tokenist.listen, &scenario)]
}

#[test]
fn calls_and_sockets_of_one_user_are_counted_together_to_the_token() {
    for seed in 0..SEEDS {
        let (provider, tokenist) = stage(seed, &[GENEROUS]);
        for load in talk(&tokenist, 2) {
            let figures = load.figures();
            assert_eq!(figures["turns"], 2 * SESSIONS, "seed {seed}: {figures}");
        }
        let booked = agree(&tokenist, USER, &provider, USER);
        let requests: u64 = booked.values().map(|bill| bill.usage.requests).sum();
        assert!(requests >= 8, "seed {seed}: {booked:?}");
    }
}

#[test]
fn calls_and_sockets_of_one_user_end_at_one_limit() {
    for seed in 0..SEEDS {
        let limit = LIMIT.to_string();
        let (_provider, tokenist) = stage(seed, &[("limits.max_total_tokens", &limit)]);
        let mut loads = talk(&tokenist, 0);
        for load in &mut loads {
            assert!(load.wait(PATIENCE).is_some(), "seed {seed}: they are cut");
        }
        let tokens = settled(&tokenist, USER).tokens();
        let most = LIMIT + 2 * SESSIONS * RESPONSE_MAX;
        assert!((LIMIT..most).contains(&tokens), "seed {seed}: {tokens}");
        let mut another =
            Client::open(tokenist.listen, &Handshake::of(USER)).expect("it is refused in words");
        let (_, end) = another.hear_out();
        assert_eq!(end.map(|(code, _)| code), Some(4004), "seed {seed}: nothing is left");
    }
}
