//! What a ledger needs of the file to go on: settings, and usage in pieces that each lie in one set of windows.
//!
//! Rows since the start of the day in which the last 24 hours began are pieces of their own, so that day and rolling
//! windows come back as they were. All before is summed up by month, less those rows.

use super::counts::{COUNT_SUMS, growth, names, read, read_org, read_time, time};
use rusqlite::{Connection, Row};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::Arc;
use tokenist_core::batch::{HolderState, Piece, Restored, Revision, Stamped};
use tokenist_core::id::{Holder, KeyHash, UserId};
use tokenist_core::key::Key;
use tokenist_core::time::{DAY_MS, Timestamp};
use tokenist_core::totals::Totals;
use tokenist_core::window::BUCKET_MS;

pub(super) fn read_all(connection: &Connection, now: Timestamp) -> rusqlite::Result<Restored> {
    let mut holders: HashMap<Holder, HolderState> = HashMap::new();
    settings(connection, "users", &mut holders, |state, set| state.profile = set)?;
    settings(connection, "limits", &mut holders, |state, set| state.limit = set)?;
    settings(connection, "blocks", &mut holders, |state, set| state.block = set)?;
    Ok(Restored {
        holders: holders.into_values().collect(),
        keys: keys(connection)?,
        usage: usage(connection, now)?,
    })
}

fn settings<T: DeserializeOwned>(
    connection: &Connection,
    table: &str,
    holders: &mut HashMap<Holder, HolderState>,
    mut set: impl FnMut(&mut HolderState, Stamped<T>),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("SELECT holder, revision, value FROM {table}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let holder: Holder = json(row, 0)?;
        let stamped = Stamped { revision: revision(row, 1)?, value: json(row, 2)? };
        set(holders.entry(holder.clone()).or_insert_with(|| HolderState::of(holder)), stamped);
    }
    Ok(())
}

fn keys(connection: &Connection) -> rusqlite::Result<Vec<Stamped<Key>>> {
    let mut statement = connection.prepare("SELECT revision, value FROM keys")?;
    let rows =
        statement.query_map([], |row| Ok(Stamped { revision: revision(row, 0)?, value: json(row, 1)? }))?;
    rows.collect()
}

fn usage(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Piece>> {
    let recent_from = now.minus_ms(DAY_MS + BUCKET_MS).day_start();
    let mut pieces = Vec::new();
    // By user and month, what the recent rows have of it.
    let mut recent: HashMap<(UserId, Timestamp), Totals> = HashMap::new();
    let sql = format!("SELECT user, org, key, start, span_ms, {} FROM rollups WHERE start >= ?", names());
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([time(recent_from)])?;
    while let Some(row) = rows.next()? {
        let user = user(row, 0)?;
        let (start, span_ms) = (read_time(row, 3)?, row.get::<_, i64>(4)?.max(1) as u64);
        let at = start.plus_ms(span_ms - 1);
        let totals = read(row, 5)?;
        let org = read_org(row, 1)?.map(Holder::Org);
        let key = row.get::<_, Option<[u8; 32]>>(2)?.map(|hash| Holder::Key(KeyHash(hash)));
        *recent.entry((user.clone(), start.month_start())).or_default() += totals;
        let holders = [Some(Holder::User(user)), org, key];
        pieces.extend(holders.into_iter().flatten().map(|holder| Piece { holder, at, totals }));
    }

    let sql = format!("SELECT user, start, {} FROM member_month", names());
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut months: HashMap<(UserId, Timestamp), Totals> = HashMap::new();
    while let Some(row) = rows.next()? {
        *months.entry((user(row, 0)?, read_time(row, 1)?)).or_default() += read(row, 2)?;
    }
    for ((user, month), totals) in months {
        let rest = match recent.get(&(user.clone(), month)) {
            Some(recent) => growth(&totals, recent),
            None => totals,
        };
        let at = month.next_month_start().min(recent_from).minus_ms(1);
        if rest.usage.requests > 0 || rest.cost.0 > 0 || rest.usage.total_tokens() > 0 {
            pieces.push(Piece { holder: Holder::User(user), at, totals: rest });
        }
    }
    days(connection, "org_day", "org", recent_from, now, &mut pieces, |row| {
        Ok(read_org(row, 0)?.map(Holder::Org))
    })?;
    days(connection, "key_day", "key", recent_from, now, &mut pieces, |row| {
        Ok(Some(Holder::Key(KeyHash(row.get(0)?))))
    })?;
    Ok(pieces)
}

/// Sums of the days before the recent ones: those of this month, and those of all before it.
fn days(
    connection: &Connection,
    table: &str,
    of: &str,
    recent_from: Timestamp,
    now: Timestamp,
    pieces: &mut Vec<Piece>,
    holder: impl Fn(&Row<'_>) -> rusqlite::Result<Option<Holder>>,
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT {of}, max(start), {COUNT_SUMS} FROM {table} WHERE start < ? GROUP BY {of}, start >= ?"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([time(recent_from), time(now.month_start())])?;
    while let Some(row) = rows.next()? {
        let at = read_time(row, 1)?.plus_ms(DAY_MS - 1);
        let totals = read(row, 2)?;
        pieces.extend(holder(row)?.map(|holder| Piece { holder, at, totals }));
    }
    Ok(())
}

fn user(row: &Row<'_>, index: usize) -> rusqlite::Result<UserId> {
    Ok(UserId::from(&*row.get::<_, Arc<str>>(index)?))
}

pub(super) fn revision(row: &Row<'_>, index: usize) -> rusqlite::Result<Revision> {
    row.get::<_, i64>(index).map(|revision| Revision(revision.max(0) as u64))
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let text: Arc<str> = row.get(index)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}
