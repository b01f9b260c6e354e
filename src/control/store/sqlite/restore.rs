//! What a ledger needs of the file to go on: settings, and usage in pieces that each lie in one set of windows. All of
//! it at the start, or that of the holders that were used last where there are more than have a slot; of others one by
//! one, as they come: `recall`.
//!
//! Rows since the start of the day in which the last 24 hours began are pieces of their own, so that day and rolling
//! windows come back as they were. What was used before them is the rest of this month's sum and of the sum of all
//! time, so that a start takes no longer for what is long ago.

use super::counts::{growth, names, read, read_feature, read_org, read_time, summed_names, time};
use super::question::text as text_value;
use super::rows::{ENTRY, entry_of, holder_text, json, revision};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};
use tokenist_core::batch::{HolderState, Piece, Recalled, Restored, Stamped};
use tokenist_core::catalog::Entry;
use tokenist_core::id::{Holder, KeyHash, UserId};
use tokenist_core::key::Key;
use tokenist_core::time::{DAY_MS, Timestamp};
use tokenist_core::totals::Totals;
use tokenist_core::window::BUCKET_MS;

/// Reads everything of so many holders, over two connections at once, for no session is served before it is there.
pub(super) fn read_all(
    connection: &Connection,
    beside: Connection,
    now: Timestamp,
    holders_max: usize,
) -> rusqlite::Result<Restored> {
    let chosen = Chosen::most_recent(connection, holders_max)?;
    let (chosen, is_partial) = (&chosen, matches!(chosen, Chosen::These(_)));
    std::thread::scope(|scope| {
        let settings = scope.spawn(move || (holders(&beside, chosen), keys(&beside), entries(&beside)));
        let usage = usage(connection, now, chosen);
        let (holders, keys, entries) = settings.join().expect("reading settings does not panic");
        let (holders, without_slot) = holders?;
        Ok(Restored { holders, keys: keys?, entries: entries?, usage: usage?, is_partial, without_slot })
    })
}

/// The holders that a start reads.
enum Chosen {
    All,
    These(HashSet<Holder>),
}

impl Chosen {
    /// Those that were used or set last, where there are more than `holders_max`.
    fn most_recent(connection: &Connection, holders_max: usize) -> rusqlite::Result<Chosen> {
        // Hardly any ledger has so many, and the rows that tell of them are counted at once.
        let tables = ["user_total", "org_day", "slice_day", "key_day", "users", "limits", "blocks"];
        let rows = tables.map(|table| format!("(SELECT count(*) FROM {table})")).join(" + ");
        let rows: i64 = connection.query_row(&format!("SELECT {rows}"), [], |row| row.get(0))?;
        if rows.max(0) as usize <= holders_max {
            return Ok(Chosen::All);
        }
        let mut used: HashMap<Holder, i64> = HashMap::new();
        let mut note = |sql: &str, holder: &dyn Fn(&Row<'_>) -> rusqlite::Result<Option<Holder>>| {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(holder) = holder(row)? {
                    let at: i64 = row.get::<_, Option<i64>>(1)?.unwrap_or(0);
                    let known = used.entry(holder).or_insert(at);
                    *known = at.max(*known);
                }
            }
            Ok::<(), rusqlite::Error>(())
        };
        note("SELECT user, updated_at FROM user_total", &|row| {
            Ok(Some(Holder::User(UserId::from(row.get_ref(0)?.as_str()?))))
        })?;
        note("SELECT org, max(updated_at) FROM org_day GROUP BY org", &|row| {
            Ok(read_org(row, 0)?.map(Holder::Org))
        })?;
        note("SELECT feature, max(updated_at) FROM slice_day GROUP BY feature", &|row| {
            Ok(read_feature(row, 0)?.map(Holder::Feature))
        })?;
        note("SELECT key, max(updated_at) FROM key_day GROUP BY key", &|row| {
            Ok(Some(Holder::Key(KeyHash(row.get(0)?))))
        })?;
        for table in ["users", "limits", "blocks"] {
            // Above its lowest 16 bits a revision of an operator's is a time, others are none that is late.
            note(&format!("SELECT holder, revision >> 16 FROM {table}"), &|row| json(row, 0).map(Some))?;
        }
        if used.len() <= holders_max {
            return Ok(Chosen::All);
        }
        let mut used: Vec<(i64, Holder)> = used.into_iter().map(|(holder, at)| (at, holder)).collect();
        used.sort_unstable_by(|a, b| b.cmp(a));
        used.truncate(holders_max);
        Ok(Chosen::These(used.into_iter().map(|(_, holder)| holder).collect()))
    }

    fn has(&self, holder: &Holder) -> bool {
        match self {
            Chosen::All => true,
            Chosen::These(holders) => holders.contains(holder),
        }
    }
}

/// What the file has of one holder. The caller sees to it that nothing is written meanwhile.
pub(super) fn recall(connection: &Connection, holder: &Holder, now: Timestamp) -> rusqlite::Result<Recalled> {
    let text = holder_text(holder);
    let state = HolderState {
        holder: holder.clone(),
        profile: setting(connection, "users", &text)?,
        limit: setting(connection, "limits", &text)?,
        block: setting(connection, "blocks", &text)?,
    };
    let usage = match holder {
        Holder::User(user) => usage_of_user(connection, user, now)?,
        Holder::Org(org) => {
            usage_of(connection, holder, ["org_day", "org = ?"], text_value(org.as_str()), now)?
        }
        Holder::Feature(feature) => {
            let of = ["slice_day", "feature = ? AND feature <> ''"];
            usage_of(connection, holder, of, text_value(feature.as_str()), now)?
        }
        Holder::Key(hash) => {
            usage_of(connection, holder, ["key_day", "key = ?"], Value::Blob(hash.0.to_vec()), now)?
        }
    };
    Ok(Recalled { state, usage })
}

fn setting<T: DeserializeOwned + Default>(
    connection: &Connection,
    table: &str,
    holder: &str,
) -> rusqlite::Result<Stamped<T>> {
    let sql = format!("SELECT revision, value FROM {table} WHERE holder = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement
        .query_row([holder], |row| Ok(Stamped { revision: revision(row, 0)?, value: json(row, 1)? }));
    Ok(found.optional()?.unwrap_or_default())
}

fn usage_of_user(connection: &Connection, user: &UserId, now: Timestamp) -> rusqlite::Result<Vec<Piece>> {
    let (recent_from, month) = (recent_from(now), now.month_start());
    let sum = |sql: &str, start: Option<Timestamp>| -> rusqlite::Result<Totals> {
        let values = start.map(|start| Value::Integer(time(start))).into_iter();
        let mut statement = connection.prepare_cached(&format!("SELECT {} FROM {sql}", names()))?;
        let values = params_from_iter(values.chain([text_value(user.as_str())]));
        Ok(statement.query_row(values, |row| read(row, 0)).optional()?.unwrap_or_default())
    };
    let total = sum("user_total WHERE user = ?", None)?;
    let mut past = Past::new(user.clone());
    past.month = sum("user_month WHERE start = ? AND user = ?", Some(month))?;
    past.older = growth(&total, &past.month);
    let sql = format!("SELECT start, span_ms, {} FROM rollups WHERE user = ? AND start >= ?", names());
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params![user.as_str(), time(recent_from)])?;
    while let Some(row) = rows.next()? {
        past.note(span(row, 0, now)?, read(row, 2)?, month);
    }
    let mut pieces = Vec::new();
    past.finish(recent_from, month, &mut pieces);
    Ok(pieces)
}

/// `days` is the table of its sums by day, and what its rows are found by, there and among the rollups.
fn usage_of(
    connection: &Connection,
    holder: &Holder,
    days: [&str; 2],
    id: Value,
    now: Timestamp,
) -> rusqlite::Result<Vec<Piece>> {
    let ([table, of], recent_from) = (days, recent_from(now));
    let mut pieces = Vec::new();
    let sql = format!(
        "SELECT start, span_ms, {} FROM rollups WHERE {of} AND start >= ? GROUP BY start, span_ms",
        summed_names()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params![id, time(recent_from)])?;
    while let Some(row) = rows.next()? {
        let (_, at) = span(row, 0, now)?;
        pieces.push(Piece { holder: holder.clone(), at, totals: read(row, 2)? });
    }
    let sql = format!(
        "SELECT max(start), {} FROM {table} WHERE {of} AND start < ? GROUP BY start >= ?",
        summed_names()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params![id, time(recent_from), time(now.month_start())])?;
    while let Some(row) = rows.next()? {
        let at = read_time(row, 0)?.plus_ms(DAY_MS - 1);
        pieces.push(Piece { holder: holder.clone(), at, totals: read(row, 1)? });
    }
    Ok(pieces)
}

/// Rows from then on are pieces of their own.
fn recent_from(now: Timestamp) -> Timestamp {
    now.minus_ms(DAY_MS + BUCKET_MS).day_start()
}

/// When a row of the rollups begins, and when it counts: at the latest time that it may be of.
fn span(row: &Row<'_>, first: usize, now: Timestamp) -> rusqlite::Result<(Timestamp, Timestamp)> {
    let (start, span_ms) = (read_time(row, first)?, row.get::<_, i64>(first + 1)?.max(1) as u64);
    Ok((start, start.plus_ms(span_ms - 1).min(now.max(start))))
}

/// What is set for those that are chosen, and for others that have a limit or a block.
fn holders(
    connection: &Connection,
    chosen: &Chosen,
) -> rusqlite::Result<(Vec<HolderState>, Vec<HolderState>)> {
    let mut holders: HashMap<Holder, HolderState> = HashMap::new();
    settings(connection, "limits", &mut holders, |_| true, |state, set| state.limit = set)?;
    settings(connection, "blocks", &mut holders, |_| true, |state, set| state.block = set)?;
    holders.retain(|holder, state| chosen.has(holder) || state.binds());
    let bound: HashSet<Holder> = holders.keys().cloned().collect();
    let is_wanted = |holder: &Holder| chosen.has(holder) || bound.contains(holder);
    settings(connection, "users", &mut holders, is_wanted, |state, set| state.profile = set)?;
    Ok(holders.into_values().partition(|state| chosen.has(&state.holder)))
}

fn settings<T: DeserializeOwned>(
    connection: &Connection,
    table: &str,
    holders: &mut HashMap<Holder, HolderState>,
    is_wanted: impl Fn(&Holder) -> bool,
    mut set: impl FnMut(&mut HolderState, Stamped<T>),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("SELECT holder, revision, value FROM {table}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let holder: Holder = json(row, 0)?;
        if !is_wanted(&holder) {
            continue;
        }
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

fn usage(connection: &Connection, now: Timestamp, chosen: &Chosen) -> rusqlite::Result<Vec<Piece>> {
    let (recent_from, month) = (recent_from(now), now.month_start());
    let mut pasts = Pasts::default();
    sums(connection, "user_total", None, |user, totals| {
        // Those that are not chosen are left out once, here.
        if matches!(chosen, Chosen::All) || chosen.has(&Holder::User(UserId::from(user))) {
            pasts.add(user).older = totals;
        }
    })?;
    sums(connection, "user_month", Some(month), |user, totals| {
        if let Some(past) = pasts.find(user) {
            past.month = totals;
            past.older = growth(&past.older, &totals);
        }
    })?;
    let mut pieces = recent(connection, recent_from, now, |user, span, totals| {
        if let Some(past) = pasts.find(user) {
            past.note(span, totals, month);
        }
    })?;
    pasts.list.into_iter().for_each(|past| past.finish(recent_from, month, &mut pieces));
    days(connection, "org_day", "org", recent_from, now, &mut pieces, |row| {
        Ok(read_org(row, 0)?.map(Holder::Org))
    })?;
    days(connection, "slice_day", "feature", recent_from, now, &mut pieces, |row| {
        Ok(read_feature(row, 0)?.map(Holder::Feature))
    })?;
    days(connection, "key_day", "key", recent_from, now, &mut pieces, |row| {
        Ok(Some(Holder::Key(KeyHash(row.get(0)?))))
    })?;
    pieces.retain(|piece| matches!(piece.holder, Holder::User(_)) || chosen.has(&piece.holder));
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
    fn add(&mut self, user: &str) -> &mut Past {
        let user = UserId::from(user);
        self.by_user.insert(user.clone(), self.list.len());
        self.list.push(Past::new(user));
        self.list.last_mut().expect("it was just added")
    }

    fn find(&mut self, user: &str) -> Option<&mut Past> {
        let is_next = self.list.get(self.next).is_some_and(|past| past.user.as_str() == user);
        let index = if is_next { self.next } else { self.by_user.get(user).copied()? };
        self.next = index + 1;
        Some(&mut self.list[index])
    }
}

impl Past {
    fn new(user: UserId) -> Past {
        let (month, older) = (Totals::default(), Totals::default());
        Past { user, month, older, recent: Vec::new() }
    }

    /// A recent row, of a span that begins and counts at these times, is in the sums, too.
    fn note(&mut self, (start, at): (Timestamp, Timestamp), totals: Totals, month: Timestamp) {
        let sum = if start.month_start() == month { &mut self.month } else { &mut self.older };
        *sum = growth(sum, &totals);
        self.recent.push((at, totals));
    }

    fn finish(self, recent_from: Timestamp, month: Timestamp, pieces: &mut Vec<Piece>) {
        let rests = [
            (recent_from.max(month.plus_ms(1)).minus_ms(1), self.month),
            (recent_from.min(month).minus_ms(1), self.older),
        ];
        let is_something = |(_, totals): &(Timestamp, Totals)| {
            *totals != Totals { updated_at: totals.updated_at, ..Totals::default() }
        };
        let holder = Holder::User(self.user);
        let all = rests.into_iter().filter(is_something).chain(self.recent);
        pieces.extend(all.map(|(at, totals)| Piece { holder: holder.clone(), at, totals }));
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
/// counts at; added up for the others, of which there are few.
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
        let (start, at) = span(row, 4, now)?;
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
        "SELECT {of}, max(start), {} FROM {table} WHERE start < ? GROUP BY {of}, start >= ?",
        summed_names()
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
