//! Questions to the file, each from the smallest table that can answer it.

use super::counts::{
    COUNT_SUMS, names, org_text, read, read_identity, read_model, read_org, read_time, time,
};
use super::{Place, StoreError};
use crate::store::{AuditFilter, Dimension, Filter, Order, Reader, UsageKey, UsageQuery, UsageRow};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use std::sync::Arc;
use tokenist_core::audit::{Actor, ActorKind, Audit, Subject};
use tokenist_core::batch::{Event, Grain, Log, Rollup, Serial, SessionRecord};
use tokenist_core::id::{Feature, KeyHash, Model, SessionId, UserId};
use tokenist_core::message::{Closed, Delta, Opened};
use tokenist_core::time::Timestamp;

pub(super) struct FileReader {
    pub(super) connection: Connection,
    pub(super) place: Place,
}

impl Reader for FileReader {
    fn usage(&mut self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.ask(&usage_question(query), |row| usage_row(row, &query.by))
    }

    fn usage_count(&mut self, query: &UsageQuery) -> Result<usize, StoreError> {
        let counts = self.ask(&count_question(query), |row| row.get::<_, i64>(0))?;
        Ok(counts.first().map_or(0, |&count| usize::try_from(count).unwrap_or(0)))
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
}

impl FileReader {
    fn ask<T>(
        &self,
        question: &Question,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement =
            self.connection.prepare_cached(&question.sql).map_err(|error| self.place.error(&error))?;
        let rows = statement.query_map(params_from_iter(&question.values), read);
        rows.and_then(Iterator::collect).map_err(|error| self.place.error(&error))
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

struct Question {
    sql: String,
    values: Vec<Value>,
}

impl Question {
    fn when(&mut self, condition: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.sql.push_str(" AND ");
            self.sql.push_str(condition);
            self.values.push(value);
        }
    }
}

fn text(text: impl ToString) -> Value {
    Value::Text(text.to_string())
}

/// The newest first. `ties` orders what happened at the same time.
fn details(table: &str, columns: &str, at: &str, ties: &str, filter: &Filter) -> Question {
    let sql = format!(
        "SELECT {columns}, {}, {} FROM {table} WHERE {at} >= ? AND {at} < ?",
        super::counts::IDENTITY,
        names()
    );
    let values = vec![Value::Integer(time(filter.from)), Value::Integer(time(filter.to))];
    let mut question = Question { sql, values };
    question.when("user = ?", filter.user.as_ref().map(text));
    question.when("org = ?", filter.org.as_ref().map(text));
    question.sql.push_str(&format!(" ORDER BY {at} DESC, {ties} DESC LIMIT ? OFFSET ?"));
    question.values.extend([filter.limit, filter.offset].map(count));
    question
}

fn count(count: usize) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn usage_question(query: &UsageQuery) -> Question {
    let table = Table::for_query(query);
    if query.order == Order::Cost && table.has_a_row_each(query) {
        return top_question(query, table);
    }
    let columns: Vec<&str> = query.by.iter().map(|dimension| table.column(*dimension)).collect();
    let mut question = grouped(query, table, &[&columns[..], &[COUNT_SUMS]].concat(), &columns);
    let mut order: Vec<(Dimension, String)> =
        query.by.iter().map(|dimension| (*dimension, table.column(*dimension).to_owned())).collect();
    order.sort_by_key(|(dimension, _)| key_rank(*dimension));
    let mut order: Vec<String> = order.into_iter().map(|(_, column)| column).collect();
    if query.order == Order::Cost {
        order.insert(0, "sum(cost_nano) DESC".to_owned());
    }
    if !order.is_empty() {
        question.sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
    }
    question.sql.push_str(" LIMIT ?");
    question.values.push(count(query.limit));
    question
}

fn count_question(query: &UsageQuery) -> Question {
    let table = Table::for_query(query);
    if table.has_a_row_each(query) {
        return of_one_span(query, table, "count(*)");
    }
    let columns: Vec<&str> = query.by.iter().map(|dimension| table.column(*dimension)).collect();
    let mut question = grouped(query, table, &["count(*)"], &columns);
    question.sql = format!("SELECT count(*) FROM ({})", question.sql);
    question
}

/// What was asked for, a row for each combination of `columns`.
fn grouped(query: &UsageQuery, table: Table, select: &[&str], columns: &[&str]) -> Question {
    let sql = format!("SELECT {} FROM {} WHERE start >= ? AND start < ?", select.join(", "), table.name());
    let values = vec![Value::Integer(time(query.from)), Value::Integer(time(query.to))];
    let mut question = Question { sql, values };
    match query.users.as_slice() {
        [] => {}
        [user] => question.when("user = ?", Some(text(user))),
        users => {
            let list = serde_json::to_string(users).expect("ids are texts");
            question.when("user IN (SELECT value FROM json_each(?))", Some(Value::Text(list)));
        }
    }
    question.when("org = ?", query.org.as_ref().map(|org| text(org_text(Some(org)))));
    question.when("feature = ?", query.feature.as_ref().map(text));
    question.when("provider = ?", query.provider.as_ref().map(text));
    question.when("model = ?", query.model.as_ref().map(text));
    if !columns.is_empty() {
        question.sql.push_str(&format!(" GROUP BY {}", columns.join(", ")));
    }
    // Without groups there is one row even of nothing.
    question.sql.push_str(" HAVING count(*) > 0");
    question
}

/// As [`usage_question`] where nothing has to be summed: an index has the rows in order of cost, so however many there
/// are, only those within the limit are looked at.
fn top_question(query: &UsageQuery, table: Table) -> Question {
    let mut question = of_one_span(query, table, &format!("user, {}", names()));
    question.sql.push_str(" ORDER BY cost_nano DESC, user LIMIT ?");
    question.values.push(count(query.limit));
    question
}

/// The rows of one month or day, perhaps of one org.
fn of_one_span(query: &UsageQuery, table: Table, select: &str) -> Question {
    let sql = format!("SELECT {select} FROM {} WHERE start = ?", table.name());
    let mut question = Question { sql, values: vec![Value::Integer(time(query.from))] };
    question.when("org = ?", query.org.as_ref().map(|org| text(org_text(Some(org)))));
    question
}

/// In the order of [`UsageKey`]'s fields.
fn key_rank(dimension: Dimension) -> usize {
    match dimension {
        Dimension::Hour | Dimension::Day | Dimension::Month => 0,
        Dimension::User => 1,
        Dimension::Org => 2,
        Dimension::Feature => 3,
        Dimension::Provider => 4,
        Dimension::Model => 5,
    }
}

/// The tables that count, by the same names wherever they are copied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Rollups,
    MemberDay,
    MemberMonth,
    UserMonth,
    OrgDay,
}

impl Table {
    /// The smallest one that can answer.
    pub(crate) fn for_query(query: &UsageQuery) -> Table {
        let asks = |dimension| query.by.contains(&dimension);
        let aligned = |start: fn(Timestamp) -> Timestamp| {
            start(query.from) == query.from && (query.to == Timestamp::MAX || start(query.to) == query.to)
        };
        let fine = query.feature.is_some()
            || query.provider.is_some()
            || query.model.is_some()
            || [Dimension::Feature, Dimension::Provider, Dimension::Model, Dimension::Hour]
                .into_iter()
                .any(asks);
        if fine || !aligned(Timestamp::day_start) {
            Table::Rollups
        } else if query.users.is_empty() && !asks(Dimension::User) {
            Table::OrgDay
        } else if !aligned(Timestamp::month_start) || asks(Dimension::Day) {
            Table::MemberDay
        } else if query.org.is_some() || asks(Dimension::Org) {
            Table::MemberMonth
        } else {
            Table::UserMonth
        }
    }

    /// Users are asked for, and everyone has a single row here for what is asked.
    fn has_a_row_each(self, query: &UsageQuery) -> bool {
        let is_one_span = match self {
            Table::MemberDay => query.org.is_some() && query.from.next_day_start() == query.to,
            Table::MemberMonth => query.org.is_some() && query.from.next_month_start() == query.to,
            Table::UserMonth => query.from.next_month_start() == query.to,
            Table::Rollups | Table::OrgDay => false,
        };
        is_one_span && query.by == [Dimension::User] && query.users.is_empty()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Rollups => "rollups",
            Table::MemberDay => "member_day",
            Table::MemberMonth => "member_month",
            Table::UserMonth => "user_month",
            Table::OrgDay => "org_day",
        }
    }

    fn column(self, dimension: Dimension) -> &'static str {
        match (dimension, self) {
            (Dimension::User, _) => "user",
            (Dimension::Org, _) => "org",
            (Dimension::Feature, _) => "feature",
            (Dimension::Provider, _) => "provider",
            (Dimension::Model, _) => "model",
            (Dimension::Hour, _) => "start - start % 3600000",
            (Dimension::Day, Table::Rollups) => "start - start % 86400000",
            (Dimension::Day, Table::MemberDay | Table::MemberMonth | Table::UserMonth | Table::OrgDay) => {
                "start"
            }
            (Dimension::Month, Table::MemberMonth | Table::UserMonth) => "start",
            (Dimension::Month, Table::Rollups | Table::MemberDay | Table::OrgDay) => {
                "unixepoch(start / 1000, 'unixepoch', 'start of month') * 1000"
            }
        }
    }
}

fn usage_row(row: &Row<'_>, by: &[Dimension]) -> rusqlite::Result<UsageRow> {
    let mut key = UsageKey::default();
    for (index, dimension) in by.iter().enumerate() {
        match dimension {
            Dimension::User => key.user = Some(UserId::from(&*row.get::<_, Arc<str>>(index)?)),
            Dimension::Org => key.org = read_org(row, index)?,
            Dimension::Feature => {
                let text: Arc<str> = row.get(index)?;
                key.feature = Some(&*text).filter(|text| !text.is_empty()).map(Feature::from);
            }
            Dimension::Provider => key.provider = row.get(index)?,
            Dimension::Model => key.model = read_model(row, index)?,
            Dimension::Hour | Dimension::Day | Dimension::Month => key.at = Some(read_time(row, index)?),
        }
    }
    Ok(UsageRow { key, totals: read(row, by.len())? })
}
