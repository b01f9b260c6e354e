//! Kept scenarios and fresh ones hold; the same seed is the same world; what is planted is found.

use super::*;
use std::time::{Duration, Instant};
use tokenist_control::clock::Clock;
use tokenist_core::time::DAY_MS;

/// How long seeds are played here; `scripts/long/simulate` plays others for hours.
const FRESH: Duration = Duration::from_secs(40);
/// However slow the machine is, so many are.
const FRESH_MIN: usize = 200;
/// Within so many everything has happened that may.
const FRESH_MAX: usize = 4_000;
/// Within so many scenarios a planted fault is found.
const PLANTED_MAX: u64 = 1_000;

/// What happens in some hundred worlds, or they are not what they are meant to be.
const FAULTS: &[&str] = &[
    "accounts are let go of",
    "batch committed",
    "booked by estimate",
    "booked by usage",
    "MongoDB forgets what it answered for",
    "MongoDB goes away",
    "MongoDB is back",
    "MongoDB tells no news",
    "command carried out",
    "copied to MongoDB",
    "copy to MongoDB failed",
    "command refused",
    "commit fails",
    "commit's answer is lost",
    "details left out and said so",
    "exchange: Redis is away",
    "exchange: answer lost",
    "exchange: asked twice",
    "exchange: connection lost",
    "exchange: question lost",
    "forgotten holder is read back",
    "journal is booked",
    "journal is full",
    "kill while the journal is booked",
    "kill takes what was not committed",
    "prices read again",
    "process ends in peace",
    "process is killed",
    "provider is heard out",
    "provider refuses the session",
    "provider states usage twice",
    "provider was heard out in vain",
    "Redis forgets",
    "Redis goes away",
    "Redis is back",
    "report added to another",
    "report waits in its shard",
    "response ends without usage",
    "rule acts",
    "session ended: blocked",
    "session ended: key",
    "session ended: limit reached",
    "session refused: blocked",
    "session refused: key",
    "session refused: ledger full",
    "session refused: limit reached",
    "session refused: limit unsure",
    "session refused: no answer in time",
    "session refused: store not read",
    "session refused: too many",
    "session swept",
    "settings of others are adopted",
    "store is not read",
    "store panics in a commit",
    "time passes",
    "wall clock set back",
    "wall clock set forwards",
    "windows are set back",
];

/// Each day has its own, so that in time many are met, and whoever sees one fail sees it again.
fn first_of_today() -> u64 {
    Clock::system().read().now.0 / DAY_MS * 1_000_000
}

fn play(scenario: &Scenario) -> Played {
    scenario.play().unwrap_or_else(|failure| {
        let shrunk = scenario.shrunk();
        panic!(
            "{failure}\nseed {}, shrunk as a row for `seeds`:\n{shrunk}\n{}",
            scenario.seed,
            shrunk.story()
        )
    })
}

#[test]
fn kept_scenarios_and_fresh_ones_hold_and_meet_every_fault() {
    kept().iter().for_each(|scenario| drop(play(scenario)));
    let (began, mut coverage) = (Instant::now(), Coverage::default());
    for (count, seed) in (first_of_today()..).enumerate() {
        let is_enough = count >= FRESH_MIN && began.elapsed() >= FRESH;
        if is_enough && (coverage.missing(FAULTS).is_empty() || count >= FRESH_MAX) {
            break;
        }
        coverage.add(&play(&Scenario::of(seed)).coverage);
    }
    assert_eq!(coverage.missing(FAULTS), Vec::<&str>::new(), "never happened");
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..20 {
        let scenario = Scenario::of(seed);
        assert_eq!(play(&scenario), play(&scenario), "seed {seed}");
    }
    assert_ne!(play(&Scenario::of(1)).trace, play(&Scenario::of(2)).trace);
}

#[test]
fn what_is_planted_is_found() {
    for plant in Plant::ANYWHERE {
        let planted = |seed| Scenario { plant, ..Scenario::of(seed) };
        let found = (0..PLANTED_MAX).find(|&seed| planted(seed).play().is_err());
        assert!(found.is_some(), "{plant:?} is not found");
    }
}

#[test]
fn scenarios_with_a_name_hold_and_do_not_without_their_mechanism() {
    for scenario in named::all() {
        if let Err(failure) = scenario.play(Plant::Nothing) {
            panic!("{scenario:?}: {failure}");
        }
        if let Some(plant) = scenario.without {
            assert!(scenario.play(plant).is_err(), "{scenario:?}: {plant:?} is not found");
        }
    }
}

#[test]
fn what_fails_is_shrunk_and_reads_back() {
    let planted = |seed| Scenario { plant: Plant::DoubledReport, ..Scenario::of(seed) };
    let failing = (0..PLANTED_MAX).map(planted).find(|scenario| scenario.play().is_err());
    let failing = failing.expect("it is found");
    let shrunk = failing.shrunk();
    assert!(shrunk.play().is_err());
    let steps = shrunk.steps.clone().expect("some are left");
    assert!(steps.len() < STEP_COUNT as usize / 4, "{} steps are left", steps.len());
    let row = format!("{shrunk} # why");
    let read = Scenario::parse(&row).map(|read| Scenario { plant: Plant::DoubledReport, ..read });
    assert_eq!(read, Some(shrunk));
    assert_eq!(Scenario::parse("# only words"), None);
}
