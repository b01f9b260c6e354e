//! Several instances, and what they share: Redis that is away or older than it was, a MongoDB that forgets, a folder
//! that was copied.

use super::{Keep, Named, Plant, Shape, World, plain};
use crate::admit::Arrival;
use crate::amount::Amount;
use crate::keep::Opened;
use crate::script::{limit_of, speech_of, user};
use crate::shape::MILLI;
use std::time::Duration;
use tokenist_control::cluster::ClusterEvent;
use tokenist_core::id::SessionId;

const ALICE: usize = 0;

pub(super) const ALL: &[Named] = &[
    Named {
        name: "a Redis that is lost and found under load refuses nobody early and lets nobody far past",
        without: Some(Plant::PeerTwice),
        shape: || Shape { instances: 2, default_limit: limit_of(LIMIT), ..plain(Keep::Disk) },
        play: is_lost_and_found,
    },
    Named {
        name: "a Redis that is older than it was is told again what others had told",
        without: Some(Plant::OwnAlone),
        shape: || Shape { instances: 3, default_limit: limit_of(70), ..plain(Keep::Disk) },
        play: is_older,
    },
    Named {
        name: "what MongoDB answered for and lost is sent again",
        without: Some(Plant::BreakUnseen),
        shape: || plain(Keep::Mongo),
        play: forgets,
    },
    Named {
        name: "a copy of a ledger's folder counts nothing under its name",
        without: Some(Plant::TwinUnseen),
        shape: || plain(Keep::Mongo),
        play: is_copied,
    },
];

/// Thousandths of a dollar, of which each instance uses one in a step.
const LIMIT: i64 = 200;
const STEP_MS: u64 = 50;
/// What both use in a sync interval, and what crosses on each.
const SLACK: i64 = 2 * (1_000 / STEP_MS as i64) + 4;

fn is_lost_and_found(world: &mut World) {
    let mut sessions: Vec<Option<SessionId>> = (0..2).map(|at| Some(world.open(at, user(ALICE)))).collect();
    world.settle_cluster();
    let began = world.elapsed;
    let mut first_refused = None;
    while world.elapsed < began + Duration::from_secs(12) {
        let ran = world.elapsed - began;
        world.redis.is_away = (Duration::from_secs(2)..Duration::from_secs(4)).contains(&ran);
        for (at, session) in sessions.iter_mut().enumerate() {
            if !spends(world, at, session) {
                first_refused.get_or_insert_with(|| all(world));
            }
            world.trade(at);
        }
        world.sleeps(Duration::from_millis(STEP_MS));
    }
    let (first, total) = (first_refused.expect("a limit is reached"), all(world));
    let (least, most) = ((LIMIT - SLACK) * MILLI, (LIMIT + SLACK) * MILLI);
    assert!(first.nano >= least, "refused with {first:?} of {LIMIT} used");
    assert!((LIMIT * MILLI..=most).contains(&total.nano), "{total:?} of {LIMIT}");
}

/// What was used anywhere.
fn all(world: &World) -> Amount {
    world.instances.iter().map(|one| one.books.kept(ALICE)).sum()
}

/// A response, if there may be one.
fn spends(world: &mut World, at: usize, session: &mut Option<SessionId>) -> bool {
    *session = session.filter(|&id| world.is_live(at, id));
    if session.is_none() {
        let Some(Arrival::Entered(id)) = world.ask_in(at, 0, user(ALICE), None) else { return false };
        let entered = world.take(at, id);
        world.greet(at, 0, entered);
        *session = Some(id);
    }
    world.responds(at, session.expect("there is one"), speech_of(1));
    world.flow(at);
    true
}

fn is_older(world: &mut World) {
    const LATE: usize = 2;
    world.take_process(LATE);
    world.redis.takes_own_alone = world.plant == Plant::OwnAlone;
    world.settle_cluster();
    let older = world.redis.sums.clone();
    world.uses(0, user(ALICE), 40);
    let used = world.used_by(0, ALICE);
    world.settle_cluster();
    // It is gone for good.
    world.take_process(0);
    world.redis.sums = older;
    world.process_mut(1).events.push_back(ClusterEvent::Found);
    world.settle_cluster();
    world.start(LATE);
    world.open(LATE, user(ALICE));
    world.settle_cluster();
    assert_eq!(world.used_by(LATE, ALICE), used, "whoever begins anew knows of it");
}

fn forgets(world: &mut World) {
    world.mongo.hides_breaks = world.plant == Plant::BreakUnseen;
    world.restart(0);
    world.uses(0, user(ALICE), 5);
    world.copy_all(0);
    assert!(world.mongo.crash(world.elapsed) > 0, "it had answered for something");
    world.copy_all(0);
    world.settle_copies();
    world.check_copies();
}

fn is_copied(world: &mut World) {
    world.uses(0, user(ALICE), 5);
    world.copy_all(0);
    world.uses(0, user(ALICE), 1);
    let twin = world.instances[0].kept.copied();
    let mut server = world.mongo.clone();
    server.hides_runs = world.plant == Plant::TwinUnseen;
    let Opened::Mongo(mut opened) = twin.open(&server) else { panic!("it is copied to MongoDB") };
    let mut courier = opened.courier().expect("its file can be read");
    for _ in 0..10 {
        world.sleeps(Duration::from_secs(1));
        world.copy_all(0);
        let refused = courier.copy(world.instant()).expect_err("two count under one name").to_string();
        assert!(refused.contains("under the name of this ledger"), "{refused}");
    }
    world.settle_copies();
    world.check_copies();
}
