//! Rows of the file as values.

use super::counts::{read, read_identity, read_model, read_org, read_time};
use crate::store::measure::measure_of;
use rusqlite::Row;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokenist_core::audit::{Actor, ActorKind, Audit, Subject};
use tokenist_core::batch::{Event, Log, Revision, Serial, SessionRecord, Stamped};
use tokenist_core::catalog::{Entry, EntryId};
use tokenist_core::id::{Holder, SessionId, UserId};
use tokenist_core::key::KeyId;
use tokenist_core::message::{Closed, Delta, Opened, Transport};
use tokenist_core::refusal::{Refusal, RefusalReason, Refused};

/// The columns of an event before its identity and its counts; likewise the next two.
pub(super) const EVENT: &str = "serial, at, session, provider, model, estimated, latency_ms";
pub(super) const SESSION: &str =
    "session, opened_at, closed_at, provider, model, close_code, transport, call";
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
            identity: read_identity(row, 8)?,
            provider: row.get(3)?,
            model: read_model(row, 4)?,
            transport: Transport::parse(row.get_ref(6)?.as_str()?).unwrap_or_default(),
            call: row.get(7)?,
            at: read_time(row, 1)?,
        },
        closed: Closed { session, at: read_time(row, 2)?, close_code: row.get(5)? },
        totals: read(row, 15)?,
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

/// The columns that [`entry_of`] reads.
pub(super) const ENTRY: &str = "kind, id, revision, value";

pub(super) fn entry_of(row: &Row<'_>) -> rusqlite::Result<Stamped<Entry>> {
    let id = EntryId { kind: row.get(0)?, id: row.get(1)? };
    Ok(Stamped { revision: revision(row, 2)?, value: Entry { id, value: row.get(3)? } })
}

pub(super) fn holder_text(holder: &Holder) -> String {
    serde_json::to_string(holder).expect("a holder is a plain value")
}

pub(super) fn revision(row: &Row<'_>, index: usize) -> rusqlite::Result<Revision> {
    row.get::<_, i64>(index).map(|revision| Revision(revision.max(0) as u64))
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(index)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}
