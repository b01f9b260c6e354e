//! Plays the scenarios with a name, then seed after seed for as long as it is told to, and says what has happened in them
//! and how often, how many they were a minute, and in which a planted fault is found.
//!
//! `simulate SECONDS [FIRST_SEED]`. A scenario that fails is shrunk and printed as a row for `seeds`, and is the end.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokenist_simulation::{Coverage, Plant, Scenario, kept, named};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(60);
/// Within so many scenarios a planted fault is found.
const PLANTED_MAX: u64 = 1_000;

fn main() -> io::Result<ExitCode> {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let span = Duration::from_secs(numbers.first().copied().unwrap_or(60));
    let first = numbers.get(1).copied().unwrap_or(1_000_000);
    let mut out = io::stdout();
    let holds = play_named(&mut out)? && play_seeds(&mut out, first, span)? && find_planted(&mut out)?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn play_named(out: &mut impl Write) -> io::Result<bool> {
    let mut holds = true;
    for scenario in named::all() {
        match scenario.play(Plant::Nothing) {
            Ok(()) => writeln!(out, "{scenario:?}")?,
            Err(failure) => {
                writeln!(out, "not so: {scenario:?}: {failure}")?;
                holds = false;
            }
        }
    }
    Ok(holds)
}

fn play_seeds(out: &mut impl Write, first: u64, span: Duration) -> io::Result<bool> {
    let (began, mut told) = (Instant::now(), Instant::now());
    let mut coverage = Coverage::default();
    let mut count: u64 = 0;
    for scenario in kept().into_iter().chain((first..).map(Scenario::of)) {
        if began.elapsed() >= span {
            break;
        }
        match scenario.play() {
            Ok(played) => coverage.add(&played.coverage),
            Err(failure) => {
                writeln!(out, "seed {} failed: {failure}", scenario.seed)?;
                let shrunk = scenario.shrunk();
                writeln!(out, "shrunk, as a row for tests/simulation/seeds:\n{shrunk}\n{}", shrunk.story())?;
                return Ok(false);
            }
        }
        count += 1;
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            writeln!(out, "{count} scenarios, {} a minute", a_minute(count, began.elapsed()))?;
        }
    }
    write!(out, "{coverage}")?;
    writeln!(out, "{count} scenarios from seed {first} on, {} a minute", a_minute(count, began.elapsed()))?;
    Ok(true)
}

fn find_planted(out: &mut impl Write) -> io::Result<bool> {
    for plant in Plant::ANYWHERE {
        let fails = |seed: &u64| Scenario { plant, ..Scenario::of(*seed) }.play().is_err();
        match (0..PLANTED_MAX).find(fails) {
            Some(seed) => writeln!(out, "{plant:?} is found in scenario {}", seed + 1)?,
            None => {
                writeln!(out, "{plant:?} is not found in {PLANTED_MAX} scenarios")?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn a_minute(count: u64, took: Duration) -> u64 {
    count * 60_000 / (took.as_millis() as u64).max(1)
}
