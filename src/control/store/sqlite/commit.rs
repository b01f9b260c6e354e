//! A batch into the tables, in one transaction.
//!
//! Invariant: the sums by hour, day and month grow by exactly what each rollup row has grown since it was last
//! written, in the transaction that writes it. So a batch that is committed again adds nothing.

use super::counts::{self, COUNTS, growth, identity_values, names, org_text, time, values};
use super::rows::holder_text;
use super::{journal, outbox};
use crate::store::measure::measure_parts;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Transaction, params, params_from_iter};
use serde::Serialize;
use std::collections::BTreeMap;
use tokenist_core::audit::Audit;
use tokenist_core::batch::{Batch, Grain, HolderState, Log, Mark, Rollup, SessionRecord, Stamped};
use tokenist_core::catalog::Entry;
use tokenist_core::refusal::{Refusal, Refused};
use tokenist_core::time::Timestamp;
use tokenist_core::totals::Totals;

/// Where rows are copied elsewhere, each that changes is noted in the outbox.
pub(super) fn write(
    transaction: &Transaction<'_>,
    generation: i64,
    batch: &Batch,
    replicated: bool,
) -> rusqlite::Result<()> {
    let writer = Writer { transaction, generation, replicated };
    writer.rollups(&batch.rollups)?;
    batch.holders.iter().try_for_each(|state| writer.holder(state))?;
    batch
        .keys
        .iter()
        .try_for_each(|key| writer.setting("keys", "hash", Value::Blob(key.value.hash.0.to_vec()), key))?;
    batch.entries.iter().try_for_each(|entry| writer.entry(entry))?;
    for event in &batch.events {
        let delta = &event.delta;
        let row = [
            vec![
                Value::Integer(generation),
                Value::Integer(event.serial.0 as i64),
                Value::Integer(time(delta.at)),
                // The bits of the id: SQLite has no unsigned integers.
                Value::Integer(delta.session.0 as i64),
                Value::Text(delta.provider.to_string()),
                Value::Text(delta.model.to_string()),
                Value::Integer(delta.estimated.into()),
                delta.latency_ms.map_or(Value::Null, |ms| Value::Integer(ms as i64)),
            ],
            identity_values(&delta.identity).into(),
            values(&Totals::of(delta)),
        ];
        writer.insert(
            "events",
            "generation, serial, at, session, provider, model, estimated, latency_ms",
            2,
            row,
        )?;
    }
    batch.sessions.iter().try_for_each(|session| writer.session(session))?;
    batch.logs.iter().try_for_each(|log| writer.log(log))?;
    batch.marks.iter().try_for_each(|mark| writer.mark(mark))?;
    batch.audits.iter().try_for_each(|audit| writer.audit(audit))?;
    batch.refusals.iter().try_for_each(|refusal| writer.refusal(refusal))?;
    journal::note(transaction, &batch.booked)
}

struct Writer<'a> {
    transaction: &'a Transaction<'a>,
    generation: i64,
    replicated: bool,
}

/// Whose growth a slice sums up: an hour or a day of an org, feature, provider and model.
type SliceKey<'a> = (Timestamp, &'a str, &'a str, &'a str, &'a str);

impl Writer<'_> {
    /// A batch has many users of few slices, so each slice is written once, after them.
    fn rollups(&self, rows: &[Rollup]) -> rusqlite::Result<()> {
        let (mut hours, mut days) = (BTreeMap::new(), BTreeMap::new());
        for row in rows {
            let growth = self.rollup(row)?;
            let slice = |start: Timestamp| -> SliceKey<'_> {
                let feature = row.feature.as_ref().map_or("", |feature| feature.as_str());
                (start, org_text(row.org.as_ref()), feature, &row.provider, row.model.as_str())
            };
            *hours.entry(slice(Grain::Hour.start(row.start))).or_default() += growth;
            *days.entry(slice(row.start.day_start())).or_default() += growth;
        }
        self.slices("slice_hour", &hours)?;
        self.slices("slice_day", &days)
    }

    fn slices(&self, table: &str, slices: &BTreeMap<SliceKey<'_>, Totals>) -> rusqlite::Result<()> {
        for ((start, org, feature, provider, model), growth) in slices {
            let texts = [org, feature, provider, model].map(|text| Value::Text((*text).to_owned()));
            let of = std::iter::once(Value::Integer(time(*start))).chain(texts).collect();
            self.add(table, &["start", "org", "feature", "provider", "model"], of, growth)?;
        }
        Ok(())
    }

    /// By how much it has grown.
    fn rollup(&self, row: &Rollup) -> rusqlite::Result<Totals> {
        let known = format!("SELECT {} FROM rollups WHERE generation = ? AND row = ?", names());
        let mut known = self.transaction.prepare_cached(&known)?;
        let serial = row.row.0 as i64;
        let before = known.query_row([self.generation, serial], |row| counts::read(row, 0)).optional()?;
        let now = before.map_or(row.totals, |before| before.join(row.totals));
        let growth = growth(&now, &before.unwrap_or_default());
        let org = org_text(row.org.as_ref());
        let key = row.key.map_or(Value::Null, |key| Value::Blob(key.0.to_vec()));
        let columns = vec![
            Value::Integer(self.generation),
            Value::Integer(serial),
            Value::Text(row.user.to_string()),
            Value::Text(org.to_owned()),
            key.clone(),
            Value::Text(row.feature.as_ref().map(ToString::to_string).unwrap_or_default()),
            Value::Text(row.provider.to_string()),
            Value::Text(row.model.to_string()),
            Value::Integer(time(row.start)),
            Value::Integer(row.grain.ms() as i64),
        ];
        // A row that has grown keeps its place in most indexes.
        let sql = format!(
            "INSERT INTO rollups (generation, row, user, org, key, feature, provider, model, start, span_ms, {}) \
             VALUES ({}) ON CONFLICT (generation, row) DO UPDATE SET {}",
            names(),
            marks(10 + COUNTS.len()),
            COUNTS.map(|name| format!("{name} = excluded.{name}")).join(", ")
        );
        let all = columns.into_iter().chain(values(&now));
        self.transaction.prepare_cached(&sql)?.execute(params_from_iter(all))?;
        self.note("rollups", &[Value::Integer(self.generation), Value::Integer(serial)])?;

        let day = Value::Integer(time(row.start.day_start()));
        let month = Value::Integer(time(row.start.month_start()));
        let (org, user) = (Value::Text(org.to_owned()), Value::Text(row.user.to_string()));
        self.add(
            "member_day",
            &["start", "org", "user"],
            vec![day.clone(), org.clone(), user.clone()],
            &growth,
        )?;
        self.add(
            "member_month",
            &["start", "org", "user"],
            vec![month.clone(), org.clone(), user.clone()],
            &growth,
        )?;
        self.add("user_month", &["start", "user"], vec![month, user.clone()], &growth)?;
        self.add("user_total", &["user"], vec![user], &growth)?;
        self.add("org_day", &["start", "org"], vec![day.clone(), org], &growth)?;
        if key != Value::Null {
            self.add("key_day", &["start", "key"], vec![day, key], &growth)?;
        }
        Ok(growth)
    }

    /// Adds to a row of sums, which begins with the first addition.
    fn add(&self, table: &str, key: &[&str], of: Vec<Value>, growth: &Totals) -> rusqlite::Result<()> {
        let sums = COUNTS.iter().map(|name| match *name {
            "updated_at" => {
                "updated_at = max(ifnull(updated_at, 0), ifnull(excluded.updated_at, 0))".to_owned()
            }
            name => format!("{name} = {name} + excluded.{name}"),
        });
        let sql = format!(
            "INSERT INTO {table} ({key}, {names}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {sums}",
            key = key.join(", "),
            names = names(),
            marks = marks(key.len() + COUNTS.len()),
            sums = sums.collect::<Vec<_>>().join(", ")
        );
        self.note(table, &of)?;
        let all = of.into_iter().chain(values(growth));
        self.transaction.prepare_cached(&sql)?.execute(params_from_iter(all)).map(drop)
    }

    fn holder(&self, state: &HolderState) -> rusqlite::Result<()> {
        let holder = || Value::Text(holder_text(&state.holder));
        self.setting("users", "holder", holder(), &state.profile)?;
        self.setting("limits", "holder", holder(), &state.limit)?;
        self.setting("blocks", "holder", holder(), &state.block)
    }

    /// The greater revision holds; zero was never set.
    fn setting<T: Serialize>(
        &self,
        table: &str,
        key: &str,
        of: Value,
        set: &Stamped<T>,
    ) -> rusqlite::Result<()> {
        if set.revision.0 == 0 {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO {table} ({key}, revision, value) VALUES (?, ?, ?) ON CONFLICT ({key}) DO UPDATE \
             SET revision = excluded.revision, value = excluded.value WHERE excluded.revision > revision"
        );
        let value = serde_json::to_string(&set.value).expect("settings are plain values");
        let changed =
            self.transaction.prepare_cached(&sql)?.execute(params![of, set.revision.0 as i64, value])?;
        if changed > 0 { self.note(table, &[of]) } else { Ok(()) }
    }

    fn entry(&self, set: &Stamped<Entry>) -> rusqlite::Result<()> {
        let Entry { id, value } = &set.value;
        let key = [Value::Text(id.kind.to_string()), Value::Text(id.id.to_string())];
        let mut statement = self.transaction.prepare_cached(
            "INSERT INTO entries (kind, id, revision, value) VALUES (?, ?, ?, ?) ON CONFLICT (kind, id) DO UPDATE \
             SET revision = excluded.revision, value = excluded.value WHERE excluded.revision > revision",
        )?;
        let changed = statement.execute(params![key[0], key[1], set.revision.0 as i64, value.as_deref()])?;
        if changed > 0 { self.note("entries", &key) } else { Ok(()) }
    }

    fn mark(&self, mark: &Mark) -> rusqlite::Result<()> {
        let mut statement =
            self.transaction.prepare_cached("INSERT OR IGNORE INTO marks (id, at) VALUES (?, ?)")?;
        let written = statement.execute(params![mark.id, time(mark.at)])?;
        if written > 0 { self.note("marks", &[Value::Text(mark.id.to_string())]) } else { Ok(()) }
    }

    fn audit(&self, audit: &Audit) -> rusqlite::Result<()> {
        let Audit { id, at, actor, action, subject, before, after } = audit;
        let mut statement = self.transaction.prepare_cached(
            "INSERT OR IGNORE INTO audits (id, at, actor_kind, actor, actor_name, action, subject_kind, subject, \
             before, after) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        let written = statement.execute(params![
            id,
            time(*at),
            actor.kind.as_str(),
            actor.id,
            actor.name,
            action,
            subject.kind,
            subject.id,
            before,
            after
        ])?;
        if written > 0 { self.note("audits", &[Value::Text(id.to_string())]) } else { Ok(()) }
    }

    /// Of two states of a row the one that has counted more.
    fn refusal(&self, refusal: &Refusal) -> rusqlite::Result<()> {
        let Refusal { id, minute, last } = refusal;
        let Refused { at, user, org, key, address, reason, count } = last;
        let (measure, used, max) = measure_parts(reason.measure);
        let mut statement = self.transaction.prepare_cached(
            "INSERT INTO refusals (id, minute, last_at, user, org, key, address, reason, close_code, measure, used, \
             max, count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
             last_at = excluded.last_at, org = excluded.org, key = excluded.key, address = excluded.address, \
             close_code = excluded.close_code, measure = excluded.measure, used = excluded.used, \
             max = excluded.max, count = excluded.count WHERE excluded.count > count",
        )?;
        let written = statement.execute(params![
            id,
            time(*minute),
            time(*at),
            user.as_ref().map_or("", |user| user.as_str()),
            org_text(org.as_ref()),
            key.as_ref().map_or("", |key| key.as_str()),
            address,
            reason.code,
            reason.close_code,
            measure,
            used,
            max,
            i64::try_from(*count).unwrap_or(i64::MAX)
        ])?;
        if written > 0 { self.note("refusals", &[Value::Text(id.to_string())]) } else { Ok(()) }
    }

    fn note(&self, table: &str, key: &[Value]) -> rusqlite::Result<()> {
        if self.replicated { outbox::note(self.transaction, table, key) } else { Ok(()) }
    }

    fn session(&self, session: &SessionRecord) -> rusqlite::Result<()> {
        let SessionRecord { opened, closed, totals } = session;
        let row = [
            vec![
                Value::Integer(self.generation),
                Value::Integer(opened.session.0 as i64),
                Value::Integer(time(opened.at)),
                Value::Integer(time(closed.at)),
                Value::Text(opened.provider.to_string()),
                opened.model.as_ref().map_or(Value::Null, |model| Value::Text(model.to_string())),
                Value::Integer(closed.close_code.into()),
                Value::Text(opened.transport.as_str().to_owned()),
                opened.call.as_ref().map_or(Value::Null, |call| Value::Text(call.to_string())),
            ],
            identity_values(&opened.identity).into(),
            values(totals),
        ];
        let columns =
            "generation, session, opened_at, closed_at, provider, model, close_code, transport, call";
        // Of a session that was resumed the later end holds; what else may differ follows from its responses.
        let later = format!(
            "ON CONFLICT (generation, session) DO UPDATE SET {}, {} WHERE excluded.closed_at > closed_at",
            ["closed_at", "model", "close_code"].map(|name| format!("{name} = excluded.{name}")).join(", "),
            COUNTS.map(|name| format!("{name} = excluded.{name}")).join(", "),
        );
        self.put("sessions", columns, 2, row, &later)
    }

    fn log(&self, log: &Log) -> rusqlite::Result<()> {
        let text = |text: &Option<std::sync::Arc<str>>| {
            text.as_ref().map_or(Value::Null, |text| Value::Text(text.to_string()))
        };
        let totals = log.usage.map(|(usage, cost)| Totals { usage, cost, ..Totals::default() });
        let row = [
            vec![
                Value::Text(log.id.to_string()),
                Value::Integer(time(log.at)),
                Value::Text(log.model.to_string()),
                text(&log.request),
                text(&log.response),
                Value::Text(log.status.to_string()),
                log.latency_ms.map_or(Value::Null, |ms| Value::Integer(ms as i64)),
                Value::Integer(totals.is_some().into()),
            ],
            identity_values(&log.identity).into(),
            values(&totals.unwrap_or_default()),
        ];
        self.insert("logs", "id, at, model, request, response, status, latency_ms, has_usage", 1, row)
    }

    /// A detail is written once: its columns, of which the first `key_columns` are its key, then its identity's, then
    /// its counts.
    fn insert(
        &self,
        table: &str,
        columns: &str,
        key_columns: usize,
        row: [Vec<Value>; 3],
    ) -> rusqlite::Result<()> {
        self.put(table, columns, key_columns, row, "ON CONFLICT DO NOTHING")
    }

    /// Likewise; `conflict` says what is done where there is one with its key.
    fn put(
        &self,
        table: &str,
        columns: &str,
        key_columns: usize,
        row: [Vec<Value>; 3],
        conflict: &str,
    ) -> rusqlite::Result<()> {
        let row: Vec<Value> = row.into_iter().flatten().collect();
        let key = row[..key_columns].to_vec();
        let sql = format!(
            "INSERT INTO {table} ({columns}, {}, {}) VALUES ({}) {conflict}",
            counts::IDENTITY,
            names(),
            marks(row.len())
        );
        let written = self.transaction.prepare_cached(&sql)?.execute(params_from_iter(row))?;
        if written > 0 { self.note(table, &key) } else { Ok(()) }
    }
}

/// `{"user":"alice"}`
fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}
