//! Reads what is not copied yet.

use super::{Class, Copied, SOURCES, Source};
use crate::store::row::{Change, Row, Sum, SumOf};
use crate::store::sqlite::counts::{self, IDENTITY, names, read_org, read_time};
use crate::store::sqlite::rows::{
    AUDIT, ENTRY, EVENT, LOG, REFUSAL, SESSION, audit_of, entry_of, event_of, json, log_of, refusal_of,
    revision, session_of,
};
use crate::store::sqlite::{LedgerPath, StoreError};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokenist_core::batch::{Grain, HolderState, Mark, Rollup, Serial, Stamped};
use tokenist_core::id::{Feature, KeyHash, Model, UserId};

/// Reads the changes beside the file's writer.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(in crate::store::sqlite) connection: Connection,
    pub(in crate::store::sqlite) path: LedgerPath,
    pub(in crate::store::sqlite) copied: Arc<Copied>,
    pub(in crate::store::sqlite) writer: Arc<str>,
    pub(in crate::store::sqlite) generation: u64,
}

fn source_of(table: &str) -> &'static Source {
    SOURCES.iter().find(|source| source.table == table).expect("every copied table is a source")
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

/// The columns of a rollup row before its counts.
const ROLLUP: &str = "generation, row, user, org, key, feature, provider, model, start, span_ms";

/// With the generation that numbered it.
fn rollup_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<(u64, Rollup)> {
    let text = |index: usize| row.get::<_, Arc<str>>(index);
    let feature = Some(text(5)?).filter(|text| !text.is_empty()).map(|text| Feature::from(&*text));
    let span_ms = row.get::<_, i64>(9)? as u64;
    let rollup = Rollup {
        row: Serial(row.get::<_, i64>(1)? as u64),
        user: UserId::from(&*text(2)?),
        org: read_org(row, 3)?,
        key: row.get::<_, Option<[u8; 32]>>(4)?.map(KeyHash),
        feature,
        provider: text(6)?,
        model: Model::from(&*text(7)?),
        start: read_time(row, 8)?,
        grain: if span_ms == Grain::Hour.ms() { Grain::Hour } else { Grain::FiveMinutes },
        totals: counts::read(row, 10)?,
    };
    Ok((row.get::<_, i64>(0)? as u64, rollup))
}
