//! Questions to the file. How usage is asked for is in `usage`.

use super::counts::{IDENTITY, names, time};
use super::question::{FileReader, Question, count, text};
use super::rows::{AUDIT, EVENT, LOG, REFUSAL, SESSION, audit_of, event_of, log_of, refusal_of, session_of};
use super::{StoreError, restore, usage};
use crate::store::{AuditFilter, Filter, Patience, Reader, Recall, RefusalFilter, UsageQuery, UsageRow};
use rusqlite::Connection;
use rusqlite::types::Value;
use std::sync::Arc;
use tokenist_core::audit::Audit;
use tokenist_core::batch::{Event, Log, Recalled, SessionRecord};
use tokenist_core::id::Holder;
use tokenist_core::refusal::Refusal;
use tokenist_core::time::Timestamp;

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
        let sql = format!("SELECT {LOG}, {}, {} FROM logs WHERE id = ?", IDENTITY, names());
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

/// The newest first. `ties` orders what happened at the same time.
fn details(table: &str, columns: &str, at: &str, ties: &str, filter: &Filter) -> Question {
    let columns = format!("{columns}, {}, {}", IDENTITY, names());
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
