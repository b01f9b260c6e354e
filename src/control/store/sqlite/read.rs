//! Questions to the file. How usage is asked for is in `usage`.

use super::counts::{names, read, read_identity, read_model, read_org, read_time, time};
use super::{LedgerPath, StoreError, restore, usage};
use crate::store::row::measure_of;
use crate::store::{AuditFilter, Filter, Patience, Reader, Recall, RefusalFilter, UsageQuery, UsageRow};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use std::sync::Arc;
use tokenist_core::audit::{Actor, ActorKind, Audit, Subject};
use tokenist_core::batch::{Event, Grain, Log, Recalled, Rollup, Serial, SessionRecord};
use tokenist_core::id::{Feature, Holder, KeyHash, Model, SessionId, UserId};
use tokenist_core::key::KeyId;
use tokenist_core::message::{Closed, Delta, Opened};
use tokenist_core::refusal::{Refusal, RefusalReason, Refused};
use tokenist_core::time::Timestamp;

pub(super) struct FileReader {
    pub(super) connection: Connection,
    pub(super) path: LedgerPath,
}

/// Steps of SQLite's machine between two looks at the clock: some tenths of a millisecond.
const STEPS: std::ffi::c_int = 10_000;

impl Reader for FileReader {
    fn hurry(&mut self, patience: &Patience) {
        let patience = patience.clone();
        // Without it questions would only take longer than they should.
        self.connection.progress_handler(STEPS, Some(move || patience.is_over())).ok();
    }

    fn usage(&mut self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        usage::rows(self, query)
    }

    fn usage_each(
        &mut self,
        query: &UsageQuery,
        take: &mut dyn FnMut(UsageRow) -> bool,
    ) -> Result<(), StoreError> {
        usage::each_row(self, query, take)
    }

    fn usage_count(&mut self, query: &UsageQuery) -> Result<usize, StoreError> {
        usage::row_count(self, query)
    }

    fn usage_page(&mut self, query: &UsageQuery) -> Result<(Vec<UsageRow>, usize), StoreError> {
        usage::page(self, query)
    }

    fn events(&mut self, filter: &Filter) -> Result<Vec<Event>, StoreError> {
        self.ask(&details("events", EVENT, "at", "serial", filter), event_of)
    }

    fn sessions(&mut self, filter: &Filter) -> Result<Vec<SessionRecord>, StoreError> {
        self.ask(&details("sessions", SESSION, "closed_at", "session", filter), session_of)
    }

    fn logs(&mut self, filter: &Filter) -> Result<Vec<Log>, StoreError> {
        self.ask(&details("logs", LOG, "at", "id", filter), log_of)
    }

    fn audits(&mut self, filter: &AuditFilter) -> Result<Vec<Audit>, StoreError> {
        self.ask(&audits_question(filter), audit_of)
    }

    fn refusals(&mut self, filter: &RefusalFilter) -> Result<Vec<Refusal>, StoreError> {
        self.ask(&refusals_question(filter), refusal_of)
    }

    fn log_count(&mut self, filter: &Filter) -> Result<usize, StoreError> {
        self.count(&admitted("logs", "count(*)", "at", filter))
    }

    fn has_marked(&mut self, ids: &[Arc<str>]) -> Result<bool, StoreError> {
        for id in ids {
            let sql = "SELECT 1 FROM marks WHERE id = ?".to_owned();
            if self.count(&Question { sql, values: vec![text(id)] })? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn log(&mut self, id: &str) -> Result<Option<Log>, StoreError> {
        let sql = format!("SELECT {LOG}, {}, {} FROM logs WHERE id = ?", super::counts::IDENTITY, names());
        Ok(self.ask(&Question { sql, values: vec![text(id)] }, log_of)?.pop())
    }
}

impl Recall for FileReader {
    fn recall(&mut self, holders: &[Holder], now: Timestamp) -> Result<Vec<Recalled>, StoreError> {
        // In one transaction, so that rows and their sums are of the same moment.
        let read = |connection: &mut Connection| -> rusqlite::Result<Vec<Recalled>> {
            let transaction = connection.transaction()?;
            holders.iter().map(|holder| restore::recall(&transaction, holder, now)).collect()
        };
        read(&mut self.connection).map_err(|error| self.path.error(&error))
    }
}

impl FileReader {
    pub(super) fn count(&self, question: &Question) -> Result<usize, StoreError> {
        let counts = self.ask(question, |row| row.get::<_, i64>(0))?;
        Ok(counts.first().map_or(0, |&count| usize::try_from(count).unwrap_or(0)))
    }

    /// Looks at one row after the other.
    pub(super) fn each(
        &self,
        question: &Question,
        mut look: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        self.each_while(question, |row| look(row).map(|()| true))
    }

    /// Likewise, until `look` says that it has seen enough.
    pub(super) fn each_while(
        &self,
        question: &Question,
        mut look: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
    ) -> Result<(), StoreError> {
        let mut look_at_all = || {
            let mut statement = self.connection.prepare_cached(&question.sql)?;
            let mut rows = statement.query(params_from_iter(&question.values))?;
            while let Some(row) = rows.next()? {
                if !look(row)? {
                    break;
                }
            }
            Ok(())
        };
        look_at_all().map_err(|error: rusqlite::Error| self.path.error(&error))
    }

    pub(super) fn ask<T>(
        &self,
        question: &Question,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement =
            self.connection.prepare_cached(&question.sql).map_err(|error| self.path.error(&error))?;
        let rows = statement.query_map(params_from_iter(&question.values), read);
        rows.and_then(Iterator::collect).map_err(|error| self.path.error(&error))
    }
}

/// The columns of an event before its identity and its counts; likewise the next two.
pub(super) const EVENT: &str = "serial, at, session, provider, model, estimated, latency_ms";
pub(super) const SESSION: &str = "session, opened_at, closed_at, provider, model, close_code";
pub(super) const LOG: &str = "id, at, model, request, response, status, latency_ms, has_usage";

pub(super) fn event_of(row: &Row<'_>) -> rusqlite::Result<Event> {
    let totals = read(row, 14)?;
    Ok(Event {
        serial: Serial(row.get::<_, i64>(0)? as u64),
        delta: Delta {
            at: read_time(row, 1)?,
            session: SessionId(row.get::<_, i64>(2)? as u64),
            identity: read_identity(row, 7)?,
            provider: row.get(3)?,
            model: read_model(row, 4)?.unwrap_or_else(|| "".into()),
            usage: totals.usage,
            cost: totals.cost,
            estimated: row.get(5)?,
            latency_ms: row.get::<_, Option<i64>>(6)?.map(|ms| ms.max(0) as u64),
        },
    })
}

pub(super) fn session_of(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    let session = SessionId(row.get::<_, i64>(0)? as u64);
    Ok(SessionRecord {
        opened: Opened {
            session,
            identity: read_identity(row, 6)?,
            provider: row.get(3)?,
            model: read_model(row, 4)?,
            at: read_time(row, 1)?,
        },
        closed: Closed { session, at: read_time(row, 2)?, close_code: row.get(5)? },
        totals: read(row, 13)?,
    })
}

pub(super) fn log_of(row: &Row<'_>) -> rusqlite::Result<Log> {
    let totals = read(row, 15)?;
    Ok(Log {
        id: row.get(0)?,
        at: read_time(row, 1)?,
        identity: read_identity(row, 8)?,
        model: read_model(row, 2)?.unwrap_or_else(|| "".into()),
        request: row.get(3)?,
        response: row.get(4)?,
        status: row.get(5)?,
        latency_ms: row.get::<_, Option<i64>>(6)?.map(|ms| ms.max(0) as u64),
        usage: row.get::<_, bool>(7)?.then_some((totals.usage, totals.cost)),
    })
}

/// The columns that [`audit_of`] reads.
pub(super) const AUDIT: &str =
    "id, at, actor_kind, actor, actor_name, action, subject_kind, subject, before, after";

pub(super) fn audit_of(row: &Row<'_>) -> rusqlite::Result<Audit> {
    let kind = ActorKind::parse(row.get_ref(2)?.as_str()?);
    Ok(Audit {
        id: row.get(0)?,
        at: read_time(row, 1)?,
        actor: Actor { kind: kind.unwrap_or(ActorKind::Token), id: row.get(3)?, name: row.get(4)? },
        action: row.get(5)?,
        subject: Subject { kind: row.get(6)?, id: row.get(7)? },
        before: row.get(8)?,
        after: row.get(9)?,
    })
}

fn audits_question(filter: &AuditFilter) -> Question {
    let shared = |value: &Option<Arc<str>>| value.as_ref().map(|value| Value::Text(value.to_string()));
    let mut question = Question { sql: format!("SELECT {AUDIT} FROM audits WHERE true"), values: Vec::new() };
    question.when("? IN (actor, actor_name)", shared(&filter.actor));
    question.when("action = ?", shared(&filter.action));
    question.when("subject = ?", shared(&filter.subject));
    question.sql.push_str(" ORDER BY at DESC, id DESC LIMIT ? OFFSET ?");
    question.values.extend([count(filter.limit), count(filter.offset)]);
    question
}

/// The columns that [`refusal_of`] reads.
pub(super) const REFUSAL: &str =
    "id, minute, last_at, user, org, key, address, reason, close_code, measure, used, max, count";

pub(super) fn refusal_of(row: &Row<'_>) -> rusqlite::Result<Refusal> {
    let text = |index: usize| row.get::<_, Arc<str>>(index);
    let some = |index: usize| Ok::<_, rusqlite::Error>(Some(text(index)?).filter(|text| !text.is_empty()));
    Ok(Refusal {
        id: text(0)?,
        minute: read_time(row, 1)?,
        last: Refused {
            at: read_time(row, 2)?,
            user: some(3)?.map(|user| UserId::from(&*user)),
            org: read_org(row, 4)?,
            key: some(5)?.map(|key| KeyId::from(&*key)),
            address: text(6)?,
            reason: RefusalReason {
                code: text(7)?,
                close_code: row.get(8)?,
                measure: measure_of(&text(9)?, row.get(10)?, row.get(11)?),
            },
            count: row.get::<_, i64>(12)?.max(0) as u64,
        },
    })
}

fn refusals_question(filter: &RefusalFilter) -> Question {
    let sql = format!("SELECT {REFUSAL} FROM refusals WHERE true");
    let mut question = Question { sql, values: Vec::new() };
    question.when("user = ?", filter.user.as_ref().map(text));
    question.when("org = ?", filter.org.as_ref().map(text));
    question.when("key = ?", filter.key.as_ref().map(text));
    question.when("reason = ?", filter.reason.as_ref().map(text));
    if let Some((minute, id)) = &filter.after {
        question.sql.push_str(" AND (minute, id) < (?, ?)");
        question.values.extend([Value::Integer(time(*minute)), Value::Text(id.to_string())]);
    }
    question.sql.push_str(" ORDER BY minute DESC, id DESC LIMIT ?");
    question.values.push(count(filter.limit));
    question
}

/// The columns of a rollup row before its counts.
pub(super) const ROLLUP: &str = "generation, row, user, org, key, feature, provider, model, start, span_ms";

/// With the generation that numbered it.
pub(super) fn rollup_of(row: &Row<'_>) -> rusqlite::Result<(u64, Rollup)> {
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
        totals: read(row, 10)?,
    };
    Ok((row.get::<_, i64>(0)? as u64, rollup))
}

pub(super) struct Question {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Question {
    pub(super) fn when(&mut self, condition: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.sql.push_str(" AND ");
            self.sql.push_str(condition);
            self.values.push(value);
        }
    }
}

pub(super) fn text(text: impl ToString) -> Value {
    Value::Text(text.to_string())
}

/// The newest first. `ties` orders what happened at the same time.
fn details(table: &str, columns: &str, at: &str, ties: &str, filter: &Filter) -> Question {
    let columns = format!("{columns}, {}, {}", super::counts::IDENTITY, names());
    let mut question = admitted(table, &columns, at, filter);
    question.sql.push_str(&format!(" ORDER BY {at} DESC, {ties} DESC LIMIT ? OFFSET ?"));
    question.values.extend([filter.limit, filter.offset].map(count));
    question
}

/// Those that the filter admits, by the time `at`.
fn admitted(table: &str, columns: &str, at: &str, filter: &Filter) -> Question {
    let sql = format!("SELECT {columns} FROM {table} WHERE {at} >= ? AND {at} < ?");
    let values = vec![Value::Integer(time(filter.from)), Value::Integer(time(filter.to))];
    let mut question = Question { sql, values };
    question.when("user = ?", filter.user.as_ref().map(text));
    question.when("org = ?", filter.org.as_ref().map(text));
    question
}

pub(super) fn count(count: usize) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}
