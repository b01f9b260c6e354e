//! The process's numbers as Prometheus text 0.0.4. No label ever holds a user's id.

use std::fmt::{Display, Write};
use tokenist_control::progress::LagView;
use tokenist_control::telemetry::Telemetry;
use tokenist_control::view::{Stats, ThreadView};
use tokenist_core::metric::METRICS;

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page. Without stats, the ledger does not answer and its figures are absent.
pub(crate) fn prometheus(telemetry: &Telemetry, stats: Option<Stats>) -> String {
    let mut page = String::new();
    for (metric, name, help) in METRICS {
        family(&mut page, name, "counter", help, telemetry.count(metric));
    }
    let (name, help) = ("tokenist_refusals_total", "Requests refused in admit, by reason.");
    head(&mut page, name, "counter", help);
    for (reason, count) in telemetry.refusals() {
        line(&mut page, &format!("{name}{{reason=\"{reason}\"}}"), count);
    }
    let help = "Lines of the log that standard error did not take.";
    family(&mut page, "tokenist_log_lines_dropped_total", "counter", help, telemetry.log.lost());
    let (name, help) = ("tokenist_shard_beat_age_seconds", "Since a shard went round its loop.");
    head(&mut page, name, "gauge", help);
    for (shard, age_ms) in telemetry.shard_ages_ms().enumerate() {
        line(&mut page, &format!("{name}{{shard=\"{shard}\"}}"), age_ms / 1000);
    }
    let (name, help) = ("tokenist_aggregator_beat_age_seconds", "Since the aggregator went round its loop.");
    family(&mut page, name, "gauge", help, telemetry.aggregator.age_ms() / 1000);
    family(
        &mut page,
        "tokenist_ledger_up",
        "gauge",
        "Whether the ledger answers.",
        u8::from(stats.is_some()),
    );
    if let Some(stats) = stats {
        family(&mut page, "tokenist_sessions", "gauge", "Live sessions.", stats.sessions);
        family(&mut page, "tokenist_users", "gauge", "Users in the ledger.", stats.users);
        let help = "Users, orgs, features and keys in the ledger.";
        family(&mut page, "tokenist_holders", "gauge", help, stats.holders);
        let help = "How many of them it may hold.";
        family(&mut page, "tokenist_users_max", "gauge", help, stats.users_max);
        let help = "Whether new users are refused because nobody in the ledger can be forgotten for them.";
        family(&mut page, "tokenist_ledger_full", "gauge", help, u8::from(stats.is_full));
        let help = "Requests refused for that.";
        family(&mut page, "tokenist_ledger_full_refusals_total", "counter", help, stats.refused_full);
        let help = "Holders who were forgotten and came back, read from the store.";
        family(&mut page, "tokenist_holders_recalled_total", "counter", help, stats.holders_recalled);
        let help = "Tokenist keys, those that have ended included.";
        family(&mut page, "tokenist_keys", "gauge", help, stats.keys);
        family(&mut page, "tokenist_keys_max", "gauge", "Keys that the ledger may hold.", stats.keys_max);
        let help = "Logins, rules, prices and the like, removed ones included.";
        family(&mut page, "tokenist_catalog_entries", "gauge", help, stats.entries);
        let help = "How many of them there may be.";
        family(&mut page, "tokenist_catalog_entries_max", "gauge", help, stats.entries_max);
        let help = "Events, session records and logs left out because the store was away for too long.";
        family(&mut page, "tokenist_details_lost_total", "counter", help, stats.details_lost);
        let help = "Reports from shards that the ledger has not applied yet.";
        family(&mut page, "tokenist_reports_waiting", "gauge", help, stats.reports_waiting);
        let help = "Whether the last commit to the store failed.";
        family(&mut page, "tokenist_store_failing", "gauge", help, u8::from(stats.store_failing));
        let help =
            "Whether what is counted is in memory alone until the store has it: the journal takes nothing.";
        let failing = u8::from(stats.journal_failure.is_some());
        family(&mut page, "tokenist_journal_failing", "gauge", help, failing);
        let help = "What was counted in memory alone for that; a kill before its commit would have lost it.";
        family(&mut page, "tokenist_journal_skipped_total", "counter", help, stats.journal_skipped);
        let help = "What the process before had counted and not saved, booked when this one started.";
        family(&mut page, "tokenist_journal_booked", "gauge", help, stats.journal_rebooked);
        if let Some(waiting) = stats.replication_waiting {
            let help = "Whether MongoDB could not be written or read at the last try.";
            let failing = u8::from(stats.replication_failure.is_some());
            family(&mut page, "tokenist_mirror_failing", "gauge", help, failing);
            let help = "Rows of the ledger file that are not copied to MongoDB yet.";
            family(&mut page, "tokenist_mirror_rows_waiting", "gauge", help, waiting);
        }
        if let Some(instances) = stats.instances {
            let help = "Instances that hold limits together, as far as this one knows.";
            family(&mut page, "tokenist_instances", "gauge", help, instances);
            let help = "Whether the Redis by which they do cannot be reached.";
            family(&mut page, "tokenist_redis_failing", "gauge", help, u8::from(stats.redis_failing));
        }
        let help = "Users and keys that were refused within the last five minutes.";
        family(&mut page, "tokenist_refused_recently", "gauge", help, stats.refused_recently);
        let help = "Refusals that the record of an hour had no room for.";
        family(&mut page, "tokenist_refusals_unrecorded_total", "counter", help, stats.refusals_unrecorded);
        let help = "Reports from shards that the ledger has applied.";
        family(&mut page, "tokenist_reports_applied_total", "counter", help, stats.reports_applied);
        let LagView { waiting, commit_max, slice_max, is_held } = stats.lag;
        let help = "How long the oldest batch that is not committed has waited; 0 if all are.";
        family(&mut page, "tokenist_commit_lag_seconds", "gauge", help, waiting.as_secs_f64());
        let help = "The longest wait of a batch for its commit, in the last minute or two.";
        family(&mut page, "tokenist_commit_lag_seconds_max", "gauge", help, commit_max.as_secs_f64());
        let help = "The longest that removing what is old has held commits up, in the last minute or two.";
        family(&mut page, "tokenist_retention_slice_seconds_max", "gauge", help, slice_max.as_secs_f64());
        let help = "Whether nothing is taken for older, because the clock has leapt ahead.";
        family(&mut page, "tokenist_retention_held", "gauge", help, u8::from(is_held));
        let restarts = "Threads that panicked, by a bug of tokenist's, and were begun anew.";
        restarts_of(&mut page, restarts, &stats.threads);
        let help = "Batches that the store has committed.";
        family(&mut page, "tokenist_batches_committed_total", "counter", help, stats.batches_committed);
    }
    let help = "Reports that wait in the shards because the ledger takes in fewer than come.";
    family(&mut page, "tokenist_reports_held", "gauge", help, telemetry.reports_held());
    let draining = u8::from(telemetry.draining());
    family(&mut page, "tokenist_draining", "gauge", "Whether new sessions are refused for good.", draining);
    let help = "Files that could not be read again: what they said before is in force.";
    family(&mut page, "tokenist_files_stale", "gauge", help, telemetry.stale.load().len());
    let started = telemetry.started_at.0 as f64 / 1000.0;
    let help = "When the process started, in seconds since 1970.";
    family(&mut page, "tokenist_start_time_seconds", "gauge", help, started);
    let Telemetry { version, driver, store, .. } = telemetry;
    let build = format!("tokenist_build_info{{version=\"{version}\",driver=\"{driver}\",store=\"{store}\"}}");
    sample(&mut page, "tokenist_build_info", "gauge", "What is running; always 1.", &build, 1);
    page
}

fn family(page: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    sample(page, name, kind, help, name, value);
}

fn sample(page: &mut String, name: &str, kind: &str, help: &str, labelled: &str, value: impl Display) {
    head(page, name, kind, help);
    line(page, labelled, value);
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a String takes what is written");
}

fn line(page: &mut String, labelled: &str, value: impl Display) {
    writeln!(page, "{labelled} {value}").expect("a String takes what is written");
}

/// One sample for each thread; their names are few and ours.
fn restarts_of(page: &mut String, help: &str, threads: &[ThreadView]) {
    let name = "tokenist_thread_restarts_total";
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} counter").expect("a String takes what is written");
    for ThreadView { name: thread, restarts, .. } in threads {
        writeln!(page, "{name}{{thread=\"{thread}\"}} {restarts}").expect("a String takes what is written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect_file;
    use std::sync::Arc;
    use tokenist_core::metric::Metric;
    use tokenist_core::time::Timestamp;
    use tokenist_handoff::Published;

    #[test]
    fn the_page_sums_over_shards() {
        let telemetry = Telemetry {
            counters: vec![Arc::default(), Arc::default()],
            aggregator: Arc::default(),
            tick_ms: 100,
            log: Arc::default(),
            driver: "io_uring",
            store: "memory",
            version: "0.0.0",
            started_at: Timestamp(1_795_478_399_500),
            draining: Arc::default(),
            stale: Arc::new(Published::new(Vec::new())),
        };
        telemetry.counters[0].add(Metric::SessionsOpened, 3);
        telemetry.counters[1].add(Metric::SessionsOpened, 4);
        telemetry.counters[1].refuse("user_blocked");
        let stats = Stats {
            users: 2,
            keys_max: 1_000,
            entries: 6,
            entries_max: 100,
            details_lost: 2,
            holders: 5,
            is_full: true,
            refused_full: 8,
            holders_recalled: 9,
            users_max: 10,
            sessions: 7,
            store_failing: true,
            instances: Some(3),
            journal_failure: Some("the disk is full".into()),
            journal_skipped: 4,
            journal_rebooked: 6,
            replication_waiting: Some(5),
            threads: vec![ThreadView { name: "writer".into(), restarts: 1, ..ThreadView::default() }],
            ..Stats::default()
        };
        expect_file!["metrics.txt"].assert_eq(&prometheus(&telemetry, Some(stats)));
        assert!(prometheus(&telemetry, None).contains("\ntokenist_ledger_up 0\n"));
    }
}
