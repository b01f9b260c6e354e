//! Clocks: one that is set, one that leaps, and midnight.

use super::{Keep, Named, Plant, Shape, World, plain};
use crate::script::{limit_of, speech_of, user};
use std::time::Duration;
use tokenist_core::limit::{Limit, WindowKind};
use tokenist_core::time::{DAY_MS, HOUR_MS};

const ALICE: usize = 0;

pub(super) const ALL: &[Named] = &[
    Named {
        name: "a clock that is set ends no session, and keeps none",
        without: Some(Plant::OneClock),
        shape: capped,
        play: is_set,
    },
    Named {
        name: "at midnight nobody is ended by what was used the day before",
        without: Some(Plant::LateShard),
        shape: daily,
        play: turns_midnight,
    },
    Named {
        name: "a leap of the clock removes nothing, and what is old goes",
        without: Some(Plant::OneClock),
        shape: || Shape { details_days: 7, clock_jumps: true, ..roomy(Keep::File) },
        play: leaps,
    },
];

fn roomy(keep: Keep) -> Shape {
    Shape { default_limit: limit_of(1_000), ..plain(keep) }
}

fn capped() -> Shape {
    Shape { session_seconds: Some(3_600), clock_jumps: true, ..roomy(Keep::Disk) }
}

fn daily() -> Shape {
    Shape { default_limit: Limit { window: WindowKind::Daily, ..limit_of(20) }, ..plain(Keep::Disk) }
}

fn is_set(world: &mut World) {
    let (stays, leaves) = (world.open(0, user(ALICE)), world.open(0, user(1)));
    world.begins(0, leaves);
    world.goes(0, leaves);
    world.wall = world.wall.plus_ms(2 * HOUR_MS);
    world.flow(0);
    assert!(world.is_live(0, stays) && world.is_live(0, leaves), "no time has passed");
    world.wall = world.wall.minus_ms(4 * HOUR_MS);
    world.sleeps(Duration::from_secs(6));
    world.flow(0);
    assert!(!world.is_live(0, leaves), "its provider was heard out");
    assert!(world.is_live(0, stays));
    world.responds(0, stays, speech_of(1));
    world.sleeps(Duration::from_secs(3_600));
    world.flow(0);
    assert!(!world.is_live(0, stays), "it has had its hour");
}

fn turns_midnight(world: &mut World) {
    let id = world.open(0, user(ALICE));
    world.responds(0, id, speech_of(18));
    world.flow(0);
    let midnight = world.wall.next_day_start();
    world.sleeps(Duration::from_millis(midnight.since(world.wall) + 1_000));
    // The ledger has not come to it yet.
    world.responds(0, id, speech_of(2));
    world.responds(0, id, speech_of(2));
    assert!(world.is_live(0, id));
    world.flow(0);
    assert_eq!(world.used_by(0, ALICE).tokens, 4 * 16, "of this day");
}

fn leaps(world: &mut World) {
    let id = world.open(0, user(ALICE));
    world.responds(0, id, speech_of(1));
    world.flow(0);
    world.tidy(0);
    world.wall = world.wall.plus_ms(400 * DAY_MS);
    world.responds(0, id, speech_of(1));
    world.flow(0);
    world.tidy(0);
    world.wall = world.wall.minus_ms(400 * DAY_MS);
    assert_eq!(world.event_count(0), 2, "of another year");
    for _ in 0..9 {
        world.sleeps(Duration::from_secs(24 * 3_600));
        world.responds(0, id, speech_of(1));
        world.flow(0);
        world.tidy(0);
    }
    assert!(world.event_count(0) < 11, "it is a week");
}
