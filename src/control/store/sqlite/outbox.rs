//! What has changed in the file and is not copied elsewhere yet, in order.
//!
//! The table `outbox` names rows, it does not hold them: a row that changes again moves to the end, and is copied as
//! it then stands. It is kept while the file is replicated only. A file that begins to be replicated has all its rows in
//! it at once, so nothing that was counted before stays behind.

use super::counts::{self, IDENTITY, names, read_org, read_time};
use super::rows::{
    AUDIT, ENTRY, EVENT, LOG, REFUSAL, ROLLUP, SESSION, audit_of, entry_of, event_of, json, log_of,
    refusal_of, revision, rollup_of, session_of,
};
use super::{LedgerPath, StoreError};
use crate::store::row::{Change, Row, Sum, SumOf};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokenist_core::batch::{HolderState, Mark, Stamped};
use tokenist_core::id::{KeyHash, UserId};

/// Which changes go first: settings do not queue behind counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Settings,
    Counts,
}

/// How far the copies have come. Shared with the writer, which forgets what is copied.
#[derive(Debug, Default)]
pub(super) struct Copied {
    settings: AtomicU64,
    counts: AtomicU64,
}

/// Reads the changes beside the file's writer.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(super) connection: Connection,
    pub(super) path: LedgerPath,
    pub(super) copied: Arc<Copied>,
    pub(super) writer: Arc<str>,
    pub(super) generation: u64,
}

/// A table whose rows are copied, with the columns that tell one from the other.
struct Source {
    table: &'static str,
    class: Class,
    key: &'static [&'static str],
}

const SOURCES: [Source; 16] = [
    source("users", Class::Settings, &["holder"]),
    source("limits", Class::Settings, &["holder"]),
    source("blocks", Class::Settings, &["holder"]),
    source("keys", Class::Settings, &["hash"]),
    source("entries", Class::Settings, &["kind", "id"]),
    source("rollups", Class::Counts, &["generation", "row"]),
    source("member_day", Class::Counts, &["start", "org", "user"]),
    source("member_month", Class::Counts, &["start", "org", "user"]),
    source("org_day", Class::Counts, &["start", "org"]),
    source("key_day", Class::Counts, &["start", "key"]),
    source("events", Class::Counts, &["generation", "serial"]),
    source("sessions", Class::Counts, &["generation", "session"]),
    source("logs", Class::Counts, &["id"]),
    source("marks", Class::Counts, &["id"]),
    source("audits", Class::Counts, &["id"]),
    source("refusals", Class::Counts, &["id"]),
];

const fn source(table: &'static str, class: Class, key: &'static [&'static str]) -> Source {
    Source { table, class, key }
}

fn source_of(table: &str) -> &'static Source {
    SOURCES.iter().find(|source| source.table == table).expect("every copied table is a source")
}

impl Class {
    fn number(self) -> i64 {
        match self {
            Class::Settings => 0,
            Class::Counts => 1,
        }
    }
}

impl Copied {
    fn of(&self, class: Class) -> &AtomicU64 {
        match class {
            Class::Settings => &self.settings,
            Class::Counts => &self.counts,
        }
    }
}

/// Begins to keep the outbox, or ends it.
pub(super) fn set_replicated(transaction: &Transaction<'_>, replicated: bool) -> rusqlite::Result<()> {
    let was: bool =
        transaction.query_row("SELECT count(*) FROM meta WHERE key = 'mirrored'", [], |row| row.get(0))?;
    if replicated == was {
        return Ok(());
    }
    transaction.execute("DELETE FROM outbox", [])?;
    if !replicated {
        return transaction.execute("DELETE FROM meta WHERE key = 'mirrored'", []).map(drop);
    }
    transaction.execute("INSERT INTO meta VALUES ('mirrored', 1)", [])?;
    for Source { table, class, key } in &SOURCES {
        let sql = format!(
            "INSERT INTO outbox (class, kind, a, b, c) SELECT {}, '{table}', {} FROM {table}",
            class.number(),
            padded(key.iter().map(|column| (*column).to_owned()))
        );
        transaction.execute(&sql, [])?;
    }
    Ok(())
}

/// Moves a row to the end of the order.
pub(super) fn note(transaction: &Transaction<'_>, table: &str, key: &[Value]) -> rusqlite::Result<()> {
    // What is summed up from a copied table is summed up there as well.
    let Some(source) = SOURCES.iter().find(|source| source.table == table) else { return Ok(()) };
    let mut statement = transaction
        .prepare_cached("INSERT OR REPLACE INTO outbox (class, kind, a, b, c) VALUES (?, ?, ?, ?, ?)")?;
    let part = |index: usize| key.get(index).cloned().unwrap_or(Value::Text(String::new()));
    statement.execute(params![source.class.number(), table, part(0), part(1), part(2)]).map(drop)
}

/// Forgets what is copied.
pub(super) fn forget(transaction: &Transaction<'_>, copied: &Copied) -> rusqlite::Result<()> {
    for class in [Class::Settings, Class::Counts] {
        let upto = copied.of(class).load(Ordering::Acquire);
        let mut statement =
            transaction.prepare_cached("DELETE FROM outbox WHERE class = ? AND number <= ?")?;
        statement.execute(params![class.number(), upto as i64])?;
    }
    Ok(())
}

impl Outbox {
    /// The name that this file counts under, unique among all ledgers. Sums go on growing under the same name after a
    /// restart.
    pub(crate) fn writer(&self) -> &Arc<str> {
        &self.writer
    }

    /// This incarnation of the file, greater than any before.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Rows that changed after number `after`, in that order, at most `limit`.
    pub(crate) fn changes(&self, class: Class, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.read_changes(class, after, limit).map_err(|error| self.path.error(&error))
    }

    /// Everything up to this number is copied and need not be kept.
    pub(crate) fn set_copied(&self, class: Class, upto: u64) {
        self.copied.of(class).store(upto, Ordering::Release);
    }

    /// Up to which number that is so.
    pub(crate) fn copied(&self, class: Class) -> u64 {
        self.copied.of(class).load(Ordering::Acquire)
    }

    /// How many settings come after that number, and how many counts after the other, together.
    pub(crate) fn waiting(&self, after_settings: u64, after_counts: u64) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM outbox WHERE class = ? AND number > ?";
        let count = |class: Class, after: u64| {
            self.connection.query_row(sql, params![class.number(), after as i64], |row| row.get::<_, i64>(0))
        };
        let settings = count(Class::Settings, after_settings);
        let counts = settings.and_then(|settings| Ok(settings + count(Class::Counts, after_counts)?));
        counts.map(|count| count as u64).map_err(|error| self.path.error(&error))
    }

    fn read_changes(&self, class: Class, after: u64, limit: usize) -> rusqlite::Result<Vec<Change>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT number, kind, a, b, c FROM outbox WHERE class = ? AND number > ? ORDER BY number LIMIT ?",
        )?;
        let mut rows = statement.query(params![class.number(), after as i64, limit as i64])?;
        let mut changes = Vec::new();
        while let Some(row) = rows.next()? {
            let table: Arc<str> = row.get(1)?;
            let key: [Value; 3] = [row.get(2)?, row.get(3)?, row.get(4)?];
            let number = row.get::<_, i64>(0)? as u64;
            changes.push(Change { number, row: self.read_row(source_of(&table), &key)? });
        }
        Ok(changes)
    }

    /// The row as it stands.
    fn read_row(&self, source: &Source, key: &[Value; 3]) -> rusqlite::Result<Option<Row>> {
        let Source { table, key: columns, .. } = source;
        let (counts, identity) = (names(), IDENTITY);
        let selected = match *table {
            "users" | "limits" | "blocks" => "holder, revision, value".to_owned(),
            "keys" => "revision, value".to_owned(),
            "entries" => ENTRY.to_owned(),
            "audits" => AUDIT.to_owned(),
            "marks" => "id, at".to_owned(),
            "refusals" => REFUSAL.to_owned(),
            "rollups" => format!("{ROLLUP}, {counts}"),
            "events" => format!("{}, {identity}, {counts}, generation", EVENT),
            "sessions" => format!("{}, {identity}, {counts}, generation", SESSION),
            "logs" => format!("{}, {identity}, {counts}", LOG),
            _ => format!("{}, {counts}", columns.join(", ")),
        };
        let condition: Vec<String> = columns.iter().map(|column| format!("{column} = ?")).collect();
        let sql = format!("SELECT {selected} FROM {table} WHERE {}", condition.join(" AND "));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let values = rusqlite::params_from_iter(&key[..columns.len()]);
        let found = statement.query_row(values, |row| match *table {
            "users" | "limits" | "blocks" => {
                let mut state = HolderState::of(json(row, 0)?);
                let revision = revision(row, 1)?;
                match *table {
                    "users" => state.profile = Stamped { revision, value: json(row, 2)? },
                    "limits" => state.limit = Stamped { revision, value: json(row, 2)? },
                    _ => state.block = Stamped { revision, value: json(row, 2)? },
                }
                Ok(Row::Holder(state))
            }
            "keys" => Ok(Row::Key(Stamped { revision: revision(row, 0)?, value: json(row, 1)? })),
            "rollups" => {
                let (generation, rollup) = rollup_of(row)?;
                Ok(Row::Rollup(generation, rollup))
            }
            "events" => {
                let event = event_of(row)?;
                Ok(Row::Event(row.get::<_, i64>("generation")? as u64, event))
            }
            "sessions" => {
                let session = session_of(row)?;
                Ok(Row::Session(row.get::<_, i64>("generation")? as u64, session))
            }
            "logs" => Ok(Row::Log(log_of(row)?)),
            "entries" => Ok(Row::Entry(entry_of(row)?)),
            "audits" => Ok(Row::Audit(audit_of(row)?)),
            "marks" => Ok(Row::Mark(Mark { id: row.get(0)?, at: read_time(row, 1)? })),
            "refusals" => Ok(Row::Refusal(refusal_of(row)?)),
            _ => {
                let start = read_time(row, 0)?;
                let member = || -> rusqlite::Result<_> {
                    Ok((UserId::from(&*row.get::<_, Arc<str>>(2)?), read_org(row, 1)?))
                };
                let of = match *table {
                    "member_day" => member().map(|(user, org)| SumOf::MemberDay { user, org })?,
                    "member_month" => member().map(|(user, org)| SumOf::MemberMonth { user, org })?,
                    "org_day" => SumOf::OrgDay(read_org(row, 1)?),
                    _ => SumOf::KeyDay(KeyHash(row.get(1)?)),
                };
                Ok(Row::Sum(Sum { of, start, totals: counts::read(row, columns.len())? }))
            }
        });
        found.optional()
    }
}

/// Three columns, those that are not used empty.
fn padded(key: impl Iterator<Item = String>) -> String {
    let columns: Vec<String> = key.chain(std::iter::repeat("''".to_owned())).take(3).collect();
    columns.join(", ")
}
