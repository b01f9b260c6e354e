//! What a ledger needs of the file to go on: settings, and usage in pieces that each lie in one set of windows.
//!
//! Rows since the start of the day in which the last 24 hours began are pieces of their own, so that day and rolling
//! windows come back as they were. What was used before them is the rest of this month's sum and of the sum of all
//! time, so that a start takes no longer for what is long ago.

use super::counts::{COUNT_SUMS, growth, names, read, read_feature, read_org, read_time, time};
use rusqlite::{Connection, Row, params_from_iter};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use tokenist_core::batch::{HolderState, Piece, Restored, Revision, Stamped};
use tokenist_core::catalog::{Entry, EntryId};
use tokenist_core::id::{Holder, KeyHash, UserId};
use tokenist_core::key::Key;
use tokenist_core::time::{DAY_MS, Timestamp};
use tokenist_core::totals::Totals;
use tokenist_core::window::BUCKET_MS;

/// Reads everything, over two connections at once, for nobody is served before it is there.
pub(super) fn read_all(
    connection: &Connection,
    beside: Connection,
    now: Timestamp,
) -> rusqlite::Result<Restored> {
    std::thread::scope(|scope| {
        let settings = scope.spawn(move || (holders(&beside), keys(&beside), entries(&beside)));
        let usage = usage(connection, now);
        let (holders, keys, entries) = settings.join().expect("reading settings does not panic");
        Ok(Restored { holders: holders?, keys: keys?, entries: entries?, usage: usage? })
    })
}

fn holders(connection: &Connection) -> rusqlite::Result<Vec<HolderState>> {
    let mut holders: HashMap<Holder, HolderState> = HashMap::new();
    settings(connection, "users", &mut holders, |state, set| state.profile = set)?;
    settings(connection, "limits", &mut holders, |state, set| state.limit = set)?;
    settings(connection, "blocks", &mut holders, |state, set| state.block = set)?;
    Ok(holders.into_values().collect())
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

fn entries(connection: &Connection) -> rusqlite::Result<Vec<Stamped<Entry>>> {
    let mut statement = connection.prepare(&format!("SELECT {ENTRY} FROM entries"))?;
    statement.query_map([], entry_of)?.collect()
}

/// The columns that [`entry_of`] reads.
pub(super) const ENTRY: &str = "kind, id, revision, value";

pub(super) fn entry_of(row: &Row<'_>) -> rusqlite::Result<Stamped<Entry>> {
    let id = EntryId { kind: row.get(0)?, id: row.get(1)? };
    Ok(Stamped { revision: revision(row, 2)?, value: Entry { id, value: row.get(3)? } })
}

fn usage(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Piece>> {
    let recent_from = now.minus_ms(DAY_MS + BUCKET_MS).day_start();
    let month = now.month_start();
    let mut pasts = Pasts::default();
    sums(connection, "user_total", None, |user, totals| pasts.of(user).older = totals)?;
    sums(connection, "user_month", Some(month), |user, totals| {
        let past = pasts.of(user);
        past.month = totals;
        past.older = growth(&past.older, &totals);
    })?;
    let mut pieces = recent(connection, recent_from, now, |user, (start, at), totals| {
        let past = pasts.of(user);
        let sum = if start.month_start() == month { &mut past.month } else { &mut past.older };
        *sum = growth(sum, &totals);
        past.recent.push((at, totals));
    })?;
    for Past { user, month: this_month, older, recent } in pasts.list {
        let rests = [
            (recent_from.max(month.plus_ms(1)).minus_ms(1), this_month),
            (recent_from.min(month).minus_ms(1), older),
        ];
        let is_something = |(_, totals): &(Timestamp, Totals)| {
            *totals != Totals { updated_at: totals.updated_at, ..Totals::default() }
        };
        let holder = Holder::User(user);
        let all = rests.into_iter().filter(is_something).chain(recent);
        pieces.extend(all.map(|(at, totals)| Piece { holder: holder.clone(), at, totals }));
    }
    days(connection, "org_day", "org", recent_from, now, &mut pieces, |row| {
        Ok(read_org(row, 0)?.map(Holder::Org))
    })?;
    days(connection, "slice_day", "feature", recent_from, now, &mut pieces, |row| {
        Ok(read_feature(row, 0)?.map(Holder::Feature))
    })?;
    days(connection, "key_day", "key", recent_from, now, &mut pieces, |row| {
        Ok(Some(Holder::Key(KeyHash(row.get(0)?))))
    })?;
    Ok(pieces)
}

/// What users have used of this month and of all before it; less what is in recent rows, once these are taken off.
#[derive(Default)]
struct Pasts {
    list: Vec<Past>,
    by_user: HashMap<UserId, usize>,
    /// Tables have their users in the same order: this one is likely to be asked for next.
    next: usize,
}

struct Past {
    user: UserId,
    month: Totals,
    older: Totals,
    recent: Vec<(Timestamp, Totals)>,
}

impl Pasts {
    fn of(&mut self, user: &str) -> &mut Past {
        let is_next = self.list.get(self.next).is_some_and(|past| past.user.as_str() == user);
        let known = if is_next { Some(self.next) } else { self.by_user.get(user).copied() };
        let index = known.unwrap_or_else(|| {
            let user = UserId::from(user);
            self.by_user.insert(user.clone(), self.list.len());
            let (month, older) = (Totals::default(), Totals::default());
            self.list.push(Past { user, month, older, recent: Vec::new() });
            self.list.len() - 1
        });
        self.next = index + 1;
        &mut self.list[index]
    }
}

/// What a table has of each user, in one row.
fn sums(
    connection: &Connection,
    table: &str,
    start: Option<Timestamp>,
    mut take: impl FnMut(&str, Totals),
) -> rusqlite::Result<()> {
    let when = start.map_or("", |_| "WHERE start = ?");
    let mut statement = connection.prepare(&format!("SELECT user, {} FROM {table} {when}", names()))?;
    let mut rows = statement.query(params_from_iter(start.map(time)))?;
    while let Some(row) = rows.next()? {
        take(row.get_ref(0)?.as_str()?, read(row, 1)?);
    }
    Ok(())
}

/// The rows since `from`: one by one for users, whose names `take` is told with the row's start and the time that it
/// counts at; added up for the others, of whom there are few.
fn recent(
    connection: &Connection,
    from: Timestamp,
    now: Timestamp,
    mut take: impl FnMut(&str, (Timestamp, Timestamp), Totals),
) -> rusqlite::Result<Vec<Piece>> {
    let mut others: HashMap<(Holder, Timestamp), Totals> = HashMap::new();
    let sql =
        format!("SELECT user, org, feature, key, start, span_ms, {} FROM rollups WHERE start >= ?", names());
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([time(from)])?;
    while let Some(row) = rows.next()? {
        let (start, span_ms) = (read_time(row, 4)?, row.get::<_, i64>(5)?.max(1) as u64);
        let at = start.plus_ms(span_ms - 1).min(now.max(start));
        let totals = read(row, 6)?;
        take(row.get_ref(0)?.as_str()?, (start, at), totals);
        let org = read_org(row, 1)?.map(Holder::Org);
        let feature = read_feature(row, 2)?.map(Holder::Feature);
        let key = row.get::<_, Option<[u8; 32]>>(3)?.map(|hash| Holder::Key(KeyHash(hash)));
        for holder in org.into_iter().chain(feature).chain(key) {
            *others.entry((holder, at)).or_default() += totals;
        }
    }
    Ok(others.into_iter().map(|((holder, at), totals)| Piece { holder, at, totals }).collect())
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

pub(super) fn revision(row: &Row<'_>, index: usize) -> rusqlite::Result<Revision> {
    row.get::<_, i64>(index).map(|revision| Revision(revision.max(0) as u64))
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(index)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}
