//! Responses that nobody waits for, calls that are heard or told of twice, and whose prices count.

use super::{Keep, Named, Plant, Shape, World, plain};
use crate::admit::Arrival;
use crate::provider::{self, MODELS, Usage};
use crate::script::{limit_of, speech_of, user};
use std::iter;
use std::rc::Rc;
use std::time::Duration;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::usage;
use tokenist_handoff::Order;

const ALICE: usize = 0;

pub(super) const ALL: &[Named] = &[
    Named {
        name: "an abandoned turn is booked with all that it has read, and the limit acts at once",
        without: Some(Plant::DeafTap),
        shape: || Shape { default_limit: limit_of(5), ..plain(Keep::Disk) },
        play: is_abandoned,
    },
    Named {
        name: "what nobody waits for is heard out, and its place is free at once",
        without: Some(Plant::NotHeardOut),
        shape: || plain(Keep::Disk),
        play: is_heard_out,
    },
    Named {
        name: "a drain hears providers out",
        without: Some(Plant::NotHeardOut),
        shape: || plain(Keep::Disk),
        play: drains,
    },
    Named {
        name: "the model of the URL is billed where the provider names none",
        without: Some(Plant::NamelessModel),
        shape: || plain(Keep::Disk),
        play: is_nameless,
    },
    Named {
        name: "two sockets on one call count once",
        without: Some(Plant::CallTwice),
        shape: || Shape { default_limit: limit_of(1_000), ..plain(Keep::Disk) },
        play: is_shared,
    },
    Named {
        name: "an id that a server uses again is another response",
        without: None,
        shape: || plain(Keep::Disk),
        play: is_used_again,
    },
    Named {
        name: "a call that is sent again counts once, also after a kill",
        without: Some(Plant::KeyForgotten),
        shape: || plain(Keep::File),
        play: is_sent_again,
    },
];

fn is_abandoned(world: &mut World) {
    let id = world.open(0, user(ALICE));
    world.responds(0, id, Usage { text_in: 500, audio_in: 0, cached: 0, text_out: 100, audio_out: 0 });
    world.tells(0, id, &provider::item(400));
    let index = world.begins(0, id);
    world.flow(0);
    assert!(world.is_live(0, id), "what is foreseen ends nobody");
    let name = world.response(0, id, index);
    world.hears(0, id, &provider::speech(&name, 2));
    world.goes(0, id);
    let arrival = world.call_in(0, user(ALICE), None);
    assert!(matches!(arrival, Arrival::Refused(CloseReason::LimitReached { .. })), "{arrival:?}");
    world.sleeps(Duration::from_secs(6));
    world.flow(0);
    assert!(!world.is_live(0, id));
    let booked = world.instances[0].books.booked.last().expect("it is booked").amount.tokens;
    // What was said before, four hundred words, and the beginning of an answer.
    assert!((950..1_250).contains(&booked), "{booked} tokens");
}

fn is_heard_out(world: &mut World) {
    let id = world.open(0, user(ALICE));
    let index = world.begins(0, id);
    world.goes(0, id);
    assert_eq!(world.place_count(0, ALICE), 0);
    world.states(0, id, index, speech_of(3));
    assert!(!world.is_live(0, id), "it owes nothing more");
    world.flow(0);
    assert_eq!(world.used_by(0, ALICE).tokens, 3 * 16);
}

fn drains(world: &mut World) {
    let id = world.open(0, user(ALICE));
    let index = world.begins(0, id);
    world.shard(0, 0).obey(iter::once(Order::Drain { deadline_ms: 1_000 }));
    world.sleeps(Duration::from_millis(1_100));
    world.tick_shard(0, 0);
    assert_eq!(world.call_in(0, user(1), None), Arrival::Unheard);
    world.states(0, id, index, speech_of(3));
    assert!(!world.is_live(0, id));
    world.flow(0);
    assert_eq!(world.used_by(0, ALICE).tokens, 3 * 16);
}

fn is_nameless(world: &mut World) {
    let Arrival::Entered(id) = world.call_in(0, user(ALICE), None) else { panic!("it is let in") };
    let mut session = world.take(0, id);
    session.model = MODELS[1];
    world.greet_with(0, 0, session, &provider::created_without_model());
    world.responds(0, id, speech_of(3));
    world.flow(0);
    let usage = usage::Usage { audio_out: 48, requests: 1, ..usage::Usage::default() };
    let cost = world.process(0).handle.cost("openai", &MODELS[1].into(), &usage, world.wall);
    assert_eq!(world.used_by(0, ALICE).nano, cost.0);
}

fn is_shared(world: &mut World) {
    let first = world.open_with(0, user(ALICE), |session| session.names_call = true);
    let session = world.take(0, first);
    let call = Rc::clone(&session.call);
    world.attend(0, 0, session);
    let second = world.open_with(0, user(1), |session| {
        session.names_call = true;
        session.call = call;
    });
    for response in 0..6 {
        let id = if response % 2 == 0 { first } else { second };
        world.responds(0, id, speech_of(1));
    }
    world.goes(0, first);
    world.responds(0, second, speech_of(1));
    world.flow(0);
    assert_eq!(world.used_by(0, ALICE).tokens + world.used_by(0, 1).tokens, 7 * 16);
}

fn is_used_again(world: &mut World) {
    let id = world.open(0, user(ALICE));
    let index = world.begins(0, id);
    world.states(0, id, index, speech_of(1));
    // Nobody has begun anything.
    world.states(0, id, index, speech_of(2));
    world.flow(0);
    assert_eq!(world.used_by(0, ALICE).tokens, 16);
    let (session, now) = (world.take(0, id), world.elapsed);
    let again = session.call.borrow_mut().begin_again(index, now);
    world.say(0, 0, session, &again);
    world.states(0, id, index + 1, speech_of(3));
    world.flow(0);
    assert_eq!(world.used_by(0, ALICE).tokens, 4 * 16);
}

fn is_sent_again(world: &mut World) {
    assert!(world.records(0, ALICE, "once"));
    assert!(!world.records(0, ALICE, "once"));
    // It is in the journal alone.
    world.restart(0);
    assert!(!world.records(0, ALICE, "once"));
    assert!(world.records(0, ALICE, "another"));
    world.flow(0);
}
