//! Removes what is older than it has to be kept, in slices that no commit waits long for.
//!
//! Age is counted from the newest row, or from [`Present`] if that is earlier: so nothing is removed for a wall clock
//! that is wrong for a while, and where nothing new comes nothing old goes. What the present was is kept in the file,
//! for a clock may be wrong when the process starts, too.

use super::Config;
use super::counts::{read_time, time};
use crate::store::Pruned;
use rusqlite::{OptionalExtension, Transaction};
use std::time::{Duration, Instant};
use tokenist_core::retention::{LEAP_LASTS_MS, News, Present};
use tokenist_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, Now, Timestamp};
use tracing::{info, warn};

/// A commit waits this long for a slice, and for the disk to take it.
const SLICE: Duration = Duration::from_millis(15);
/// What the file says of the present is at most so old.
const NOTE_PAUSE_MS: u64 = MINUTE_MS;

/// A table whose rows are removed one day.
struct Old {
    table: &'static str,
    key: &'static str,
    at: &'static str,
    /// Rows that one statement removes: where they may be large, a few.
    rows: i64,
    days: fn(&Config) -> u64,
}

const OLD: [Old; 8] = [
    Old { table: "events", key: "generation, serial", at: "at", rows: 100, days: details_days },
    Old { table: "sessions", key: "generation, session", at: "closed_at", rows: 100, days: details_days },
    Old { table: "logs", key: "id", at: "at", rows: 4, days: details_days },
    Old { table: "marks", key: "id", at: "at", rows: 100, days: details_days },
    Old { table: "refusals", key: "id", at: "minute", rows: 100, days: refusals_days },
    Old { table: "audits", key: "id", at: "at", rows: 20, days: rollups_days },
    Old { table: "rollups", key: "generation, row", at: "start", rows: 100, days: rollups_days },
    Old {
        table: "slice_hour",
        key: "start, org, feature, provider, model",
        at: "start",
        rows: 100,
        days: rollups_days,
    },
];

fn details_days(config: &Config) -> u64 {
    config.details_days
}

fn refusals_days(config: &Config) -> u64 {
    config.refusals_days
}

fn rollups_days(config: &Config) -> u64 {
    config.rollups_days
}

#[derive(Debug, Default)]
pub(super) struct Pruner {
    /// `None` before the first look.
    present: Option<Present>,
    /// What the file says of it.
    noted: Timestamp,
    /// The table that the next slice begins with, so that none waits for another to be done.
    turn: usize,
}

impl Pruner {
    /// What age is counted from besides the newest row; `None` before the first slice.
    pub(super) fn present(&self) -> Option<Timestamp> {
        self.present.as_ref().map(Present::at)
    }

    /// Removes what a slice has time for.
    pub(super) fn slice(
        &mut self,
        transaction: &Transaction<'_>,
        config: &Config,
        now: Now,
    ) -> rusqlite::Result<Pruned> {
        let began = Instant::now();
        let present = self.follow(transaction, now)?;
        let newest = newest(transaction, present)?.unwrap_or(present);
        let mut pruned =
            Pruned { has_more: false, is_held: self.present.is_some_and(|present| present.is_held()) };
        let mut left: Vec<&Old> = (0..OLD.len()).map(|index| &OLD[(self.turn + index) % OLD.len()]).collect();
        left.retain(|old| (old.days)(config) > 0);
        self.turn = (self.turn + 1) % OLD.len();
        while !left.is_empty() {
            let mut more = Vec::new();
            for old in left {
                // Whatever takes longer than it should, the next one waits for the next slice.
                let has_time = began.elapsed() < SLICE;
                let days = (old.days)(config);
                if !has_time || old.remove(transaction, newest.minus_ms(days.saturating_mul(DAY_MS)))? {
                    more.push(old);
                }
            }
            left = more;
            if began.elapsed() >= SLICE {
                pruned.has_more = !left.is_empty();
                break;
            }
        }
        Ok(pruned)
    }

    fn follow(&mut self, transaction: &Transaction<'_>, now: Now) -> rusqlite::Result<Timestamp> {
        if self.present.is_none() {
            let noted = "SELECT value FROM meta WHERE key = 'present'";
            let noted = transaction.query_row(noted, [], |row| read_time(row, 0)).optional()?;
            let vouched = match noted {
                Some(noted) => Some(noted),
                None => newest(transaction, Timestamp(i64::MAX as u64))?,
            };
            self.present = Some(Present::new(vouched.unwrap_or(now.wall), now));
        }
        let present = self.present.as_mut().expect("it was just made");
        match present.follow(now) {
            News::None => {}
            News::Leapt { ahead_ms } => warn!(
                wall_clock = %now.wall, ahead_seconds = ahead_ms / 1000, believed_after_hours = LEAP_LASTS_MS / HOUR_MS,
                "the clock is ahead of what the ledger knows: if it stays so, what is old by it is removed then"
            ),
            News::Landed => info!(wall_clock = %now.wall, "the age of rows is counted by the clock again"),
        }
        let present = present.at();
        if present.0.abs_diff(self.noted.0) >= NOTE_PAUSE_MS {
            let note = "INSERT INTO meta VALUES ('present', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            transaction.prepare_cached(note)?.execute([time(present)])?;
            self.noted = present;
        }
        Ok(present)
    }
}

impl Old {
    /// Removes a few rows of before `until`; whether there may be more.
    fn remove(&self, transaction: &Transaction<'_>, until: Timestamp) -> rusqlite::Result<bool> {
        let Old { table, key, at, rows, days: _ } = self;
        let sql = format!(
            "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {at} < ? LIMIT {rows})"
        );
        let removed = transaction.prepare_cached(&sql)?.execute([time(until)])?;
        Ok(removed as i64 == *rows)
    }
}

/// When the newest row up to `present` was written: what lies after it was stamped by a clock that is not believed.
fn newest(transaction: &Transaction<'_>, present: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    let mut newest = None;
    for Old { table, at, .. } in &OLD {
        let sql = format!("SELECT max({at}) FROM {table} WHERE {at} <= ?");
        let found: Option<i64> =
            transaction.prepare_cached(&sql)?.query_row([time(present)], |row| row.get(0))?;
        newest = newest.max(found.map(|ms| Timestamp(ms.max(0) as u64)));
    }
    Ok(newest)
}
