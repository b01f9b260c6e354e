//! What has changed in the file and is not copied elsewhere yet, in order.
//!
//! The table `outbox` names rows, it does not hold them: a row that changes again moves to the end, and is copied as
//! it then stands. It is kept while the file is replicated only. A file that begins to be replicated has all its rows in
//! it at once, so nothing that was counted before stays behind.

#[cfg(feature = "mongodb")]
mod changes;

#[cfg(feature = "mongodb")]
pub(crate) use changes::Outbox;

use rusqlite::types::Value;
use rusqlite::{Transaction, params};
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Three columns, those that are not used empty.
fn padded(key: impl Iterator<Item = String>) -> String {
    let columns: Vec<String> = key.chain(std::iter::repeat("''".to_owned())).take(3).collect();
    columns.join(", ")
}
