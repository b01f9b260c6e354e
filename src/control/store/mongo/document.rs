//! Rows as documents, and back. Integers only; a row's `_id` is a text that no other row has.
//!
//! Invariant: whatever is written of a count is a `$max` of its absolute figure, and whatever is written of a setting
//! asks for a greater revision than is there. So a write may come twice, late, or after a newer one.

use crate::setting::SettingUpdate;
use crate::store::measure::{measure_of, measure_parts};
use crate::store::row::{Row, Sum, SumOf};
use mongodb::bson::{Bson, Document, deserialize_from_bson, doc, serialize_to_bson};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokenist_core::audit::{Actor, ActorKind, Audit, Subject};
use tokenist_core::batch::{Event, HolderState, Log, Mark, Revision, Rollup, Serial, SessionRecord, Stamped};
use tokenist_core::catalog::Entry;
use tokenist_core::id::{Feature, Identity, KeyHash, Model, OrgId, SessionId, UserId};
use tokenist_core::key::KeyId;
use tokenist_core::message::{Closed, Delta, Opened, Transport};
use tokenist_core::money::NanoUsd;
use tokenist_core::refusal::{Refusal, RefusalReason, Refused};
use tokenist_core::time::Timestamp;
use tokenist_core::totals::Totals;
use tokenist_core::usage::{KINDS, Usage};

/// What a row becomes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// A statement of an `update` command.
    Update { collection: &'static str, statement: Document },
    /// A document that is written once.
    Insert { collection: &'static str, document: Document },
}

/// The writer: the ledger, and its incarnation.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) ledger: Arc<str>,
    pub(super) generation: u64,
}

/// The names of all counts, as they are in the ledger file.
pub(super) fn count_names() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter().chain(["cost_nano", "estimated_cost_nano"])
}
pub(super) const UPDATED_AT: &str = "updated_at";

/// The collections of settings.
pub(super) const SETTINGS: [&str; 5] = ["users", "limits", "blocks", "keys", "entries"];

impl Writer {
    /// This incarnation's name. Settings carry it, with their number in the order of its changes.
    pub(super) fn incarnation(&self) -> String {
        format!("{}.{}", self.ledger, self.generation)
    }

    /// What writing this row takes. `number` is that of its change.
    pub(super) fn writes(&self, number: u64, row: &Row) -> Vec<Write> {
        match row {
            Row::Rollup(generation, rollup) => vec![self.rollup(*generation, rollup)],
            Row::Event(generation, event) => vec![self.event(*generation, event)],
            Row::Session(generation, session) => vec![self.session(*generation, session)],
            Row::Log(log) => vec![Write::Insert { collection: "logs", document: log_document(log) }],
            Row::Mark(Mark { id, at }) => {
                vec![Write::Insert { collection: "marks", document: doc! {"_id": &**id, "at": int(at.0)} }]
            }
            Row::Audit(audit) => {
                vec![Write::Insert { collection: "audits", document: audit_document(audit) }]
            }
            Row::Refusal(refusal) => vec![self.refusal(refusal)],
            Row::Sum(sum) => vec![self.sum(sum)],
            Row::Holder(state) => self.holder(number, state),
            Row::Key(key) => {
                vec![self.setting(number, "keys", key.value.hash.to_string(), key.revision, &key.value)]
            }
            Row::Entry(Stamped { revision, value: entry }) => {
                let id = serde_json::json!([entry.id.kind, entry.id.id]).to_string();
                vec![self.setting(number, "entries", id, *revision, entry)]
            }
        }
    }

    /// What it says of the last one follows the count.
    fn refusal(&self, Refusal { id, minute, last }: &Refusal) -> Write {
        let Refused { at, user, org, key, address, reason, count } = last;
        let (measure, used, max) = measure_parts(reason.measure);
        let of = doc! {
            "minute": int(minute.0),
            "user": user.as_ref().map_or("", UserId::as_str),
            "reason": &*reason.code,
        };
        let last = doc! {
            "org": org_text(org.as_ref()),
            "key": key.as_ref().map_or("", KeyId::as_str),
            "address": &**address,
            "close_code": i64::from(reason.close_code),
            "measure": measure,
            "used": used,
            "max": max,
        };
        let grown = doc! {"last_at": int(at.0), "count": int(*count)};
        let id = format!("{}.{id}", self.ledger);
        let update = doc! {"$setOnInsert": of, "$set": last, "$max": grown};
        Write::Update {
            collection: "refusals",
            statement: doc! {"q": {"_id": id}, "u": update, "upsert": true},
        }
    }

    fn rollup(&self, generation: u64, row: &Rollup) -> Write {
        let of = doc! {
            "user": row.user.as_str(),
            "org": org_text(row.org.as_ref()),
            "key": row.key.map(|key| key.to_string()),
            "feature": row.feature.as_ref().map_or("", Feature::as_str),
            "provider": &*row.provider,
            "model": row.model.as_str(),
            "start": int(row.start.0),
            "span_ms": int(row.grain.ms()),
        };
        let id = format!("{}.{generation}.{}", self.ledger, row.row.0);
        Write::Update { collection: "rollups", statement: growing(id, of, &row.totals) }
    }

    fn sum(&self, sum: &Sum) -> Write {
        let (collection, of) = match &sum.of {
            SumOf::MemberDay { user, org } => {
                ("member_day", doc! {"user": user.as_str(), "org": org_text(org.as_ref())})
            }
            SumOf::MemberMonth { user, org } => {
                ("member_month", doc! {"user": user.as_str(), "org": org_text(org.as_ref())})
            }
            SumOf::OrgDay(org) => ("org_day", doc! {"org": org_text(org.as_ref())}),
            SumOf::KeyDay(key) => ("key_day", doc! {"key": key.to_string()}),
        };
        // JSON keeps apart what a mere separator could not: ids may hold any character.
        let parts: Vec<&str> = of.values().filter_map(Bson::as_str).collect();
        let id = serde_json::json!([&*self.ledger, sum.start.0, parts]).to_string();
        let mut of = of;
        of.insert("start", int(sum.start.0));
        Write::Update { collection, statement: growing(id, of, &sum.totals) }
    }

    fn event(&self, generation: u64, event: &Event) -> Write {
        let delta = &event.delta;
        let mut document = doc! {
            "_id": format!("{}.{generation}.{}", self.ledger, event.serial.0),
            "serial": int(event.serial.0),
            "at": int(delta.at.0),
            "session": delta.session.to_string(),
            "provider": &*delta.provider,
            "model": delta.model.as_str(),
            "estimated": delta.estimated,
            "latency_ms": delta.latency_ms.map(int),
        };
        document.extend(identity_document(&delta.identity));
        document.extend(counts(&Totals::of(delta)));
        Write::Insert { collection: "events", document }
    }

    /// Of a session that was resumed the later end holds. A later one there has it that the insert finds its `_id` taken, as
    /// with settings.
    fn session(&self, generation: u64, session: &SessionRecord) -> Write {
        let SessionRecord { opened, closed, totals } = session;
        let mut document = doc! {
            "session": opened.session.to_string(),
            "opened_at": int(opened.at.0),
            "closed_at": int(closed.at.0),
            "provider": &*opened.provider,
            "model": opened.model.as_ref().map(|model| model.to_string()),
            "close_code": i32::from(closed.close_code),
            "transport": opened.transport.as_str(),
            "call": opened.call.as_deref(),
        };
        document.extend(identity_document(&opened.identity));
        document.extend(counts(totals));
        let id = format!("{}.{generation}.{}", self.ledger, opened.session);
        let ended_before = doc! {"_id": id, "closed_at": {"$lt": int(closed.at.0)}};
        let statement = doc! {"q": ended_before, "u": {"$set": document}, "upsert": true};
        Write::Update { collection: "sessions", statement }
    }

    fn holder(&self, number: u64, state: &HolderState) -> Vec<Write> {
        let id = || serde_json::to_string(&state.holder).expect("a holder is a plain value");
        let HolderState { holder: _, profile, limit, block } = state;
        let writes = [
            (profile.revision, self.setting(number, "users", id(), profile.revision, &profile.value)),
            (limit.revision, self.setting(number, "limits", id(), limit.revision, &limit.value)),
            (block.revision, self.setting(number, "blocks", id(), block.revision, &block.value)),
        ];
        writes.into_iter().filter(|(revision, _)| revision.0 > 0).map(|(_, write)| write).collect()
    }

    /// A greater revision there has it that the statement matches nothing; then the insert that follows finds its `_id`
    /// taken, and nothing is changed. So it may where another instance inserts at the same moment: see `Replicator::set`.
    fn setting<T: Serialize>(
        &self,
        number: u64,
        collection: &'static str,
        id: String,
        revision: Revision,
        value: &T,
    ) -> Write {
        let value = written(value);
        let statement = doc! {
            "q": {"_id": id, "revision": {"$lt": int(revision.0)}},
            "u": {"$set": {
                "revision": int(revision.0), "value": value, "writer": self.incarnation(), "number": int(number),
            }},
            "upsert": true,
        };
        Write::Update { collection, statement }
    }
}

/// An upsert of a growing sum.
fn growing(id: String, of: Document, totals: &Totals) -> Document {
    doc! {"q": {"_id": id}, "u": {"$setOnInsert": of, "$max": counts(totals)}, "upsert": true}
}

pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn org_text(org: Option<&OrgId>) -> &str {
    org.map_or("", OrgId::as_str)
}

fn counts(totals: &Totals) -> Document {
    let usage = totals.usage.counts().map(int).into_iter();
    let figures = usage.chain([totals.cost.0, totals.estimated_cost.0]);
    let mut document: Document =
        count_names().zip(figures).map(|(name, figure)| (name.to_owned(), figure.into())).collect();
    if let Some(at) = totals.updated_at {
        document.insert(UPDATED_AT, int(at.0));
    }
    document
}

/// What is not there counts as zero.
pub(super) fn totals_of(document: &Document) -> Totals {
    let figure = |name: &str| integer(document, name).unwrap_or(0);
    Totals {
        usage: Usage::of(KINDS.map(|kind| figure(kind).max(0) as u64)),
        cost: NanoUsd(figure("cost_nano")),
        estimated_cost: NanoUsd(figure("estimated_cost_nano")),
        updated_at: integer(document, UPDATED_AT).map(|at| Timestamp(at.max(0) as u64)),
    }
}

/// A server may sum into whichever type of number it likes.
pub(super) fn integer(document: &Document, name: &str) -> Option<i64> {
    match document.get(name)? {
        Bson::Int64(value) => Some(*value),
        Bson::Int32(value) => Some(i64::from(*value)),
        Bson::Double(value) => Some(*value as i64),
        _ => None,
    }
}

fn identity_document(identity: &Identity) -> Document {
    doc! {
        "user": identity.user.as_str(),
        "org": org_text(identity.org.as_ref()),
        "feature": identity.feature.as_ref().map(|feature| feature.to_string()),
        "conversation": identity.conversation.as_deref(),
        "email": identity.email.as_deref(),
        "name": identity.name.as_deref(),
        "key": identity.key.map(|key| key.to_string()),
    }
}

fn identity_of(document: &Document) -> Arc<Identity> {
    let shared = |name: &str| text(document, name).map(Arc::from);
    Arc::new(Identity {
        user: UserId::from(text(document, "user").unwrap_or_default()),
        org: org_of(document),
        feature: text(document, "feature").map(Feature::from),
        conversation: shared("conversation"),
        email: shared("email"),
        name: shared("name"),
        key: text(document, "key").and_then(KeyHash::parse),
    })
}

pub(super) fn text<'a>(document: &'a Document, name: &str) -> Option<&'a str> {
    document.get_str(name).ok()
}

pub(super) fn org_of(document: &Document) -> Option<OrgId> {
    text(document, "org").filter(|org| !org.is_empty()).map(OrgId::from)
}

pub(super) fn time_of(document: &Document, name: &str) -> Timestamp {
    Timestamp(integer(document, name).unwrap_or(0).max(0) as u64)
}

fn session_id_of(document: &Document) -> SessionId {
    text(document, "session").and_then(SessionId::parse).unwrap_or(SessionId(0))
}

fn latency_of(document: &Document) -> Option<u64> {
    integer(document, "latency_ms").map(|ms| ms.max(0) as u64)
}

pub(super) fn event_of(document: &Document) -> Event {
    let totals = totals_of(document);
    Event {
        serial: Serial(integer(document, "serial").unwrap_or(0) as u64),
        delta: Delta {
            at: time_of(document, "at"),
            session: session_id_of(document),
            identity: identity_of(document),
            provider: text(document, "provider").unwrap_or_default().into(),
            model: text(document, "model").unwrap_or_default().into(),
            usage: totals.usage,
            cost: totals.cost,
            estimated: document.get_bool("estimated").unwrap_or(false),
            latency_ms: latency_of(document),
        },
    }
}

pub(super) fn session_of(document: &Document) -> SessionRecord {
    let session = session_id_of(document);
    let close_code = integer(document, "close_code").and_then(|code| u16::try_from(code).ok());
    SessionRecord {
        opened: Opened {
            session,
            identity: identity_of(document),
            provider: text(document, "provider").unwrap_or_default().into(),
            model: text(document, "model").map(Model::from),
            transport: text(document, "transport").and_then(Transport::parse).unwrap_or_default(),
            call: text(document, "call").map(Arc::from),
            at: time_of(document, "opened_at"),
        },
        closed: Closed {
            session,
            at: time_of(document, "closed_at"),
            close_code: close_code.unwrap_or(1006),
        },
        totals: totals_of(document),
    }
}

fn log_document(log: &Log) -> Document {
    let mut document = doc! {
        "_id": &*log.id,
        "at": int(log.at.0),
        "model": log.model.as_str(),
        "request": log.request.as_deref(),
        "response": log.response.as_deref(),
        "status": &*log.status,
        "latency_ms": log.latency_ms.map(int),
    };
    document.extend(identity_document(&log.identity));
    if let Some((usage, cost)) = log.usage {
        document.extend(counts(&Totals { usage, cost, ..Totals::default() }));
    }
    document
}

pub(super) fn log_of(document: &Document) -> Log {
    let shared = |name: &str| text(document, name).map(Arc::from);
    let totals = totals_of(document);
    Log {
        id: shared("_id").unwrap_or_default(),
        at: time_of(document, "at"),
        identity: identity_of(document),
        model: text(document, "model").unwrap_or_default().into(),
        request: shared("request"),
        response: shared("response"),
        status: shared("status").unwrap_or_default(),
        latency_ms: latency_of(document),
        usage: document.contains_key("cost_nano").then_some((totals.usage, totals.cost)),
    }
}

fn audit_document(audit: &Audit) -> Document {
    let Audit { id, at, actor, action, subject, before, after } = audit;
    doc! {
        "_id": &**id,
        "at": int(at.0),
        "actor_kind": actor.kind.as_str(),
        "actor": actor.id.as_deref(),
        "actor_name": &*actor.name,
        "action": &**action,
        "subject_kind": &*subject.kind,
        "subject": &*subject.id,
        "before": before.as_deref(),
        "after": after.as_deref(),
    }
}

pub(super) fn audit_of(document: &Document) -> Audit {
    let shared = |name: &str| text(document, name).map(Arc::from);
    let kind = text(document, "actor_kind").and_then(ActorKind::parse);
    Audit {
        id: shared("_id").unwrap_or_default(),
        at: time_of(document, "at"),
        actor: Actor {
            kind: kind.unwrap_or(ActorKind::Token),
            id: shared("actor"),
            name: shared("actor_name").unwrap_or_default(),
        },
        action: shared("action").unwrap_or_default(),
        subject: Subject {
            kind: shared("subject_kind").unwrap_or_default(),
            id: shared("subject").unwrap_or_default(),
        },
        before: shared("before"),
        after: shared("after"),
    }
}

pub(super) fn refusal_of(document: &Document) -> Refusal {
    let shared = |name: &str| text(document, name).map(Arc::from).unwrap_or_default();
    let some = |name: &str| text(document, name).filter(|text| !text.is_empty());
    Refusal {
        id: shared("_id"),
        minute: time_of(document, "minute"),
        last: Refused {
            at: time_of(document, "last_at"),
            user: some("user").map(UserId::from),
            org: org_of(document),
            key: some("key").map(KeyId::from),
            address: shared("address"),
            reason: RefusalReason {
                code: shared("reason"),
                close_code: integer(document, "close_code")
                    .and_then(|code| code.try_into().ok())
                    .unwrap_or(0),
                measure: measure_of(
                    text(document, "measure").unwrap_or_default(),
                    integer(document, "used"),
                    integer(document, "max"),
                ),
            },
            count: integer(document, "count").unwrap_or(0).max(0) as u64,
        },
    }
}

/// What a document of one of [`SETTINGS`] says. `None` if a newer tokenist wrote it in words that this one does not
/// know.
pub(super) fn update_of(collection: &str, document: &Document) -> Option<SettingUpdate> {
    let revision = Revision(integer(document, "revision")?.max(0) as u64);
    let value = document.get("value")?.clone();
    if collection == "keys" {
        return Some(SettingUpdate::Key(Stamped { revision, value: read(value)? }));
    }
    if collection == "entries" {
        return Some(SettingUpdate::Entry(Stamped { revision, value: read::<Entry>(value)? }));
    }
    let holder = serde_json::from_str(text(document, "_id")?).ok()?;
    let mut state = HolderState::of(holder);
    match collection {
        "users" => state.profile = Stamped { revision, value: read(value)? },
        "limits" => state.limit = Stamped { revision, value: read(value)? },
        _ => state.block = Stamped { revision, value: read(value)? },
    }
    Some(SettingUpdate::Holder(state))
}

/// A number beyond what BSON can hold makes the whole value JSON in a text.
fn written<T: Serialize>(value: &T) -> Bson {
    serialize_to_bson(value)
        .unwrap_or_else(|_| Bson::String(serde_json::to_string(value).expect("settings are plain values")))
}

fn read<T: DeserializeOwned>(value: Bson) -> Option<T> {
    match value {
        Bson::String(json) => serde_json::from_str(&json).ok(),
        value => deserialize_from_bson(value).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::id::Holder;
    use tokenist_core::limit::Limit;
    use tokenist_core::models::Models;

    #[test]
    fn a_setting_is_read_as_it_was_written() {
        let writer = Writer { ledger: "f00".into(), generation: 3 };
        for (max_tokens, models) in
            [(None, ""), (Some(0), "exact"), (Some(5), "exact, gpt-*"), (Some(u64::MAX), "")]
        {
            let models = Models::parse(models).unwrap();
            let value = Some(Limit { max_tokens, models, ..Limit::default() });
            let limit = Stamped { revision: Revision(7), value };
            let state = HolderState { limit, ..HolderState::of(Holder::User("a\"b".into())) };
            let writes = writer.writes(9, &Row::Holder(state.clone()));
            let [Write::Update { collection: "limits", statement }] = writes.as_slice() else {
                panic!("{writes:?}");
            };
            let mut document = statement.get_document("u").unwrap().get_document("$set").unwrap().clone();
            document.insert("_id", statement.get_document("q").unwrap().get("_id").unwrap());
            assert_eq!(update_of("limits", &document), Some(SettingUpdate::Holder(state)));
            assert_eq!(text(&document, "writer"), Some("f00.3"));
        }
        assert_eq!(update_of("limits", &doc! {"_id": "?", "revision": 1_i64, "value": {"new": 1}}), None);
    }
}
