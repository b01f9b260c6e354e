//! Slots, queues and stores: whoever finds no room, and what is not saved.

use super::{Keep, Named, Plant, Shape, World, plain};
use crate::admit::Arrival;
use crate::cast::{self, FIRST_ORG, USER_COUNT};
use crate::script::{everybody, limit_of, speech_of, user};
use std::sync::Arc;
use std::time::Duration;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::id::Identity;

const ALICE: usize = 0;

pub(super) const ALL: &[Named] = &[
    Named {
        name: "whoever is forgotten comes back with all that was used",
        without: Some(Plant::ForgottenBudget),
        shape: small,
        play: comes_back,
    },
    Named {
        name: "caches that pin every slot are let go of",
        without: Some(Plant::SeatsHeld),
        shape: small,
        play: is_let_in,
    },
    Named {
        name: "where nothing is read back a slot that was used stays taken",
        without: Some(Plant::ForgottenBudget),
        shape: || Shape { keep: Keep::Memory, ..small() },
        play: stays,
    },
    Named {
        name: "a restart gives slots to the latest and to no more than there are",
        without: Some(Plant::SeatsAll),
        shape: || Shape { keep: Keep::File, ..small() },
        play: restarts,
    },
    Named {
        name: "reports that find no room are added up and none is lost",
        without: Some(Plant::LostDelta),
        shape: narrow,
        play: waits,
    },
    Named {
        name: "a turn of commands ends when its time is over, however many wait",
        without: Some(Plant::TurnEndless),
        shape: || plain(Keep::Disk),
        play: takes_turns,
    },
    Named {
        name: "a kill takes nothing that was delivered",
        without: Some(Plant::JournalForgotten),
        shape: || plain(Keep::File),
        play: is_killed,
    },
    Named {
        name: "a store that panics in a commit loses nothing",
        without: Some(Plant::BatchLost),
        shape: || plain(Keep::File),
        play: panics,
    },
];

/// Five slots.
fn small() -> Shape {
    Shape { is_small: true, ..plain(Keep::Disk) }
}

/// No more than a few reports wait as they are.
fn narrow() -> Shape {
    Shape { held_max: 3, queue_max: 4, ends: false, default_limit: limit_of(1_000), ..plain(Keep::Disk) }
}

fn comes_back(world: &mut World) {
    world.uses(0, user(ALICE), 15);
    let used = world.used_by(0, ALICE);
    for other in 1..USER_COUNT {
        world.sleeps(Duration::from_secs(60));
        world.uses(0, user(other), 1);
    }
    assert!(!world.is_seated(0, ALICE), "others have its slot");
    let id = world.open(0, user(ALICE));
    assert_eq!(world.used_by(0, ALICE), used, "it is read back");
    world.responds(0, id, speech_of(6));
    world.flow(0);
    let arrival = world.call_in(0, user(ALICE), None);
    assert!(matches!(arrival, Arrival::Refused(CloseReason::LimitReached { .. })), "{arrival:?}");
}

fn is_let_in(world: &mut World) {
    for one in 0..2 * USER_COUNT {
        world.uses(0, user(one % USER_COUNT), 1);
    }
}

fn stays(world: &mut World) {
    for one in 0..USER_COUNT - 1 {
        world.uses(0, user(one), 1);
    }
    let (used, last) = (world.used_by(0, ALICE), user(USER_COUNT - 1));
    assert_eq!(world.call_in(0, last, None), Arrival::Full);
    assert_eq!(world.used_by(0, ALICE), used);
    world.open(0, user(ALICE));
}

fn restarts(world: &mut World) {
    for one in 0..USER_COUNT {
        let org = Some(cast::org(one % 2));
        world.uses(0, Arc::new(Identity { org, ..Identity::of(cast::user(one)) }), 1);
        world.sleeps(Duration::from_secs(60));
    }
    world.restart(0);
    let slots = world.ledger(0).config().holders_max;
    assert!(world.ledger(0).known_count() <= slots, "{slots} slots");
    assert!(world.is_seated(0, USER_COUNT - 1) && world.is_seated(0, FIRST_ORG + 1), "the latest have one");
    assert!(everybody().any(|who| !world.is_seated(0, who)));
}

fn waits(world: &mut World) {
    let id = world.open(0, user(ALICE));
    for _ in 0..60 {
        world.responds(0, id, speech_of(1));
        // Less than a queue's worth.
        assert!(world.process(0).shards[0].own.held().len() <= world.shape.held_max + 2);
    }
    world.flow(0);
    assert_eq!(world.used_by(0, ALICE), world.instances[0].books.kept(ALICE));
    assert_eq!(world.used_by(0, ALICE).tokens, 60 * 16);
}

fn takes_turns(world: &mut World) {
    let asked: Vec<_> = (0..5).map(|_| world.begins_to_ask(0)).collect();
    assert_eq!(world.process(0).desk.waiting_count(), asked.len());
    world.serve_desk(0);
    assert_eq!(world.process(0).desk.waiting_count(), asked.len() - 1);
    // So whoever wants in is not kept waiting.
    world.apply_some(0, usize::MAX);
    world.open(0, user(ALICE));
}

fn is_killed(world: &mut World) {
    let id = world.open(0, user(ALICE));
    (0..5).for_each(|_| world.responds(0, id, speech_of(1)));
    world.restart(0);
    assert_eq!(world.used_by(0, ALICE).tokens, 5 * 16);
    // Once, however often.
    world.restart(0);
    assert_eq!(world.used_by(0, ALICE).tokens, 5 * 16);
}

fn panics(world: &mut World) {
    let id = world.open(0, user(ALICE));
    world.responds(0, id, speech_of(5));
    world.apply_some(0, usize::MAX);
    world.tick(0);
    world.write_and_panic(0);
    world.responds(0, id, speech_of(1));
    world.flow(0);
    assert_eq!(world.event_count(0), 2);
    world.restart(0);
    assert_eq!(world.used_by(0, ALICE).tokens, 6 * 16);
}
