//! How soon a call ends at a limit, from the event that crosses it on: a measurement, which `scripts/long/call-ends` runs. That it
//! ends, and how, is tested in `webrtc.rs` and `relayed.rs`.

mod ends_of_calls;
mod raw;

use ends_of_calls::{Heard, USUAL, relay};
use raw::*;
use serde_json::json;
use std::time::{Duration, Instant};
use str0m::format::Codec;
use tokenist_kit::PATIENCE;

const ROUNDS: usize = 100;
const LIMIT: (&str, &str) = ("limits.max_total_tokens", "120");

/// Prints what was measured, and fails where the longest is more than was promised.
fn judge(what: &str, mut took: Vec<Duration>, most: Duration) {
    took.sort_unstable();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    eprintln!("{what}: median {median:?}, longest {longest:?} of {}", took.len());
    assert!(longest <= most, "{what}: {longest:?}, more than {most:?}");
}

#[test]
#[ignore = "a measurement"]
fn a_direct_call_is_hung_up() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[LIMIT]);
    let round = |round: usize| {
        // What has two sockets on one call is counted once, and here all calls have one name.
        let id = format!("resp_{round}");
        let words = json!({"type": "response.output_audio_transcript.delta", "response_id": id,
            "delta": "thirty bytes of what is spoken"});
        let user = format!("x-user-id: user-{round}");
        let who = ["Authorization: Bearer sk-alice", &user];
        let mut call = calls::begin(&proxy, &provider, "/v1/realtime/calls", &who, &calls::usual());
        calls::say(&mut call.socket, &json!({"type": "response.created", "response": {"id": id}}));
        (0..2).for_each(|_| calls::say(&mut call.socket, &words));
        std::thread::sleep(Duration::from_millis(20));
        let crossed_at = Instant::now();
        calls::say(&mut call.socket, &words);
        let (at, _) = calls::hangup(&provider, "200 OK");
        calls::say(&mut call.socket, &calls::done(&id, 30, 90));
        call.socket.send(close(1000, "", None));
        calls::expect_none(&proxy);
        at - crossed_at
    };
    judge(
        "the provider is asked to end a direct call",
        (0..ROUNDS).map(round).collect(),
        Duration::from_millis(50),
    );
}

#[test]
#[ignore = "a measurement"]
fn a_relayed_call_is_silent() {
    let provider = Upstream::start();
    let proxy = relay::start_as(&provider, &[LIMIT]);
    let (mut silent, mut told) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let user = format!("x-user-id: user-{round}");
        let call = relay::call_as(&proxy, &provider, USUAL, &["Authorization: Bearer sk-alice", &user]);
        call.provider.play(1, Codec::Opus);
        let crossed_at = Instant::now();
        call.provider.say(&relay::done("resp_1", 100, 40));
        // It speaks on, whatever it is told.
        for _ in 0..30 {
            call.provider.play(1, Codec::Opus);
            std::thread::sleep(Duration::from_millis(5));
        }
        let heard = relay::to_the_end(&call.app);
        let last = |is: fn(&Heard) -> Option<Instant>| heard.iter().filter_map(is).next_back();
        let sound = last(|heard| match heard {
            Heard::Sound(_, _, at) => Some(*at),
            _ => None,
        });
        let message = last(|heard| match heard {
            Heard::Message(_, at) => Some(*at),
            _ => None,
        });
        silent.push(sound.map(|at| at.saturating_duration_since(crossed_at)).unwrap_or_default());
        told.push(message.expect("it is told why") - crossed_at);
        relay::hangup(&provider, PATIENCE);
        calls::expect_none(&proxy);
    }
    judge("the last sound of a relayed call has come", silent, Duration::from_millis(100));
    judge("its application is told", told, Duration::from_millis(100));
}
