//! Many users, some at a time, each with a budget of two turns.

#![allow(dead_code, reason = "no test uses all of it")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokenist_kit::{Client, Handshake, Heard, Tokenist};

/// Tokens that each user has for ever: the second turn crosses it.
pub(crate) const LIMIT: &str = "1000";
/// What a turn uses.
pub(crate) const TURN_TOKENS: u64 = 610;
const TURN: &str = "chunks=1,text_in=600,audio_in=0,image_in=0,cached_text=0,cached_audio=0,cached_image=0,\
                    text_out=10,audio_out=0,reasoning=0";
/// Users at a time.
pub(crate) const WORKERS: usize = 12;

/// Settings under which a budget is two turns, and as many seats.
pub(crate) fn settings(users_max: &str) -> [(&str, &str); 7] {
    [
        // So many are refused that some share a slot where refusals are counted.
        ("admission.refuse", "close"),
        ("store.users_max", users_max),
        ("proxy.shard_count", "2"),
        ("limits.max_cost_usd", "-1"),
        ("limits.max_total_tokens", LIMIT),
        ("limits.window", "total"),
        ("metering.estimate", "off"),
    ]
}

pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user-{number}")).collect()
}

/// The user brings a key of his own name, by which the provider's audit tells users apart.
pub(crate) fn handshake(user: &str) -> Handshake {
    let mut handshake = Handshake::of(user);
    handshake.headers.retain(|(name, _)| name != "Authorization");
    handshake.header("Authorization", &format!("Bearer {user}"))
}

/// Speaks for at most so many turns. Gives how many were whole, and how the session was closed if it was.
pub(crate) fn speak(tokenist: &Tokenist, user: &str, turns: usize) -> (usize, Option<u16>) {
    let opened = Client::open(tokenist.listen, &handshake(user));
    let mut client = opened.unwrap_or_else(|answer| panic!("{user} is refused in HTTP: {answer:?}"));
    for count in 0..turns {
        match client.turn(TURN) {
            Ok(_) => {}
            Err(Heard::Close { code, .. }) => return (count, Some(code)),
            Err(end) => panic!("{user} after {count} turns: {end:?}"),
        }
    }
    client.leave();
    (turns, None)
}

/// All of them, some at a time.
pub(crate) fn each(names: &[String], act: impl Fn(&str) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    act(name);
                }
            });
        }
    });
}

/// A thousand users come, come back and use up their budgets: nobody is refused before, and nobody has more.
pub(crate) fn come_and_come_back(tokenist: &Tokenist, users: &[String]) {
    each(users, |user| assert_eq!(speak(tokenist, user, 1), (1, None), "{user} has a budget of two turns"));
    each(users, |user| assert_eq!(speak(tokenist, user, 9), (1, Some(4004)), "{user} has one turn left"));
    each(users, |user| assert_eq!(speak(tokenist, user, 9), (0, Some(4004)), "{user} has none left"));
}
