//! How fast the ledger file restores and answers: `TOKENIST_BENCH_LEDGER` names a folder that `scripts/bench-ledger`
//! has filled. Without it there is nothing to measure.

#![expect(clippy::print_stdout, reason = "a bench says what it measured")]

use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokenist_control::clock::system_time;
use tokenist_control::store::sqlite::{Config, Sqlite};
use tokenist_control::store::{Dimension, Order, Store, UsageQuery};
use tokenist_core::ledger::{self, Ledger};
use tokenist_core::time::{DAY_MS, Timestamp};

const ROUNDS: usize = 20;

fn main() {
    let Some(directory) = std::env::var_os("TOKENIST_BENCH_LEDGER").map(PathBuf::from) else {
        println!("TOKENIST_BENCH_LEDGER is not set: see scripts/bench-ledger");
        return;
    };
    let now = system_time();
    let opened = Instant::now();
    let mut store =
        Sqlite::open(Config { directory, details_days: 0, rollups_days: 0, refusals_days: 0, lane_bytes: 0 })
            .expect("a ledger");
    println!("{:<58} {:>14?}", "open", opened.elapsed());
    let asked = Instant::now();
    let restored = store.restore(now, usize::MAX).expect("a ledger that can be read");
    let pieces = restored.usage.len();
    println!(
        "{:<58} {:>14?}",
        format!("read {} states, {pieces} pieces", restored.holders.len()),
        asked.elapsed()
    );
    let seated = Instant::now();
    let config = ledger::Config { holders_max: 1_000_000, ..ledger::Config::default() };
    let ledger = Ledger::restore(config, restored, now);
    println!("{:<58} {:>14?}", format!("seat {} holders", ledger.known_count()), seated.elapsed());

    let mut reader = store.reader().expect("a second connection");
    for (name, query) in questions(now) {
        let mut times: Vec<Duration> = Vec::new();
        let mut rows = 0;
        for _ in 0..ROUNDS {
            let asked = Instant::now();
            rows = reader.usage(&query).expect("an answer").len();
            times.push(asked.elapsed());
        }
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let figures = format!("{:.1}, {:.1} ms", ms(times[ROUNDS / 2]), ms(times[ROUNDS - 1]));
        println!("{:<58} {figures:>18}", format!("{name} ({rows} rows)"));
    }
}

fn questions(now: Timestamp) -> Vec<(String, UsageQuery)> {
    let spans = [
        ("month", now.month_start(), now.next_month_start()),
        ("day", now.day_start(), now.next_day_start()),
        ("7 days", now.day_start().minus_ms(7 * DAY_MS), now.day_start()),
        ("24 hours", now.minus_ms(DAY_MS), Timestamp::MAX),
    ];
    let mut questions = Vec::new();
    for (span, from, to) in spans {
        let all = UsageQuery { from, to, ..UsageQuery::default() };
        for (whose, org) in [("all", None), ("everyone", Some("everyone")), ("team-007", Some("team-007"))] {
            let query = UsageQuery { org: org.map(Into::into), ..all.clone() };
            let top = UsageQuery { by: vec![Dimension::User], limit: 100, ..query.clone() };
            questions.push((format!("{whose}, {span}: sum"), query));
            questions.push((format!("{whose}, {span}: top 100 users"), top));
        }
    }
    let (_, from, to) = spans[0];
    let user = UsageQuery { users: vec!["user-000007".into()], ..UsageQuery::default() };
    let history = UsageQuery { by: vec![Dimension::Day], order: Order::Key, ..user.clone() };
    questions.push(("one user: by day".into(), history));
    questions.push(("one user: by model".into(), UsageQuery { by: vec![Dimension::Model], ..user }));
    let team = UsageQuery { org: Some("team-007".into()), from, to, ..UsageQuery::default() };
    questions.push(("team-007, month: by model".into(), UsageQuery { by: vec![Dimension::Model], ..team }));
    questions
}
