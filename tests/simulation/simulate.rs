//! Plays seed after seed for as long as it is told to, and says what has happened in them and how often.
//!
//! `simulate SECONDS [FIRST_SEED]`. A scenario that fails is shrunk and printed as a row for `seeds`, and is the end.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokenist_simulation::{Coverage, Scenario, kept};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(60);

fn main() -> io::Result<ExitCode> {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let seconds = numbers.first().copied().unwrap_or(60);
    let first = numbers.get(1).copied().unwrap_or(1_000_000);
    let mut out = io::stdout();
    let (began, mut told) = (Instant::now(), Instant::now());
    let mut coverage = Coverage::default();
    let mut count: u64 = 0;
    let fresh = (first..).map(Scenario::of);
    for scenario in kept().into_iter().chain(fresh) {
        if began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        match scenario.play() {
            Ok(played) => coverage.add(&played.coverage),
            Err(failure) => {
                writeln!(out, "seed {} failed: {failure}", scenario.seed)?;
                writeln!(out, "shrunk, as a row for tests/simulation/seeds:\n{}", scenario.shrunk())?;
                return Ok(ExitCode::FAILURE);
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
    Ok(ExitCode::SUCCESS)
}

fn a_minute(count: u64, took: Duration) -> u64 {
    count * 60_000 / (took.as_millis() as u64).max(1)
}
