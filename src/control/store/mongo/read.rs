//! Questions to MongoDB, over all instances. Sums are made there; what it cannot make, by hour or by month, is made of
//! finer ones here.
//!
//! FerretDB has no `$max` over groups, and of several `$sum` it fills in only the first: a server that refuses the one
//! is asked for the documents, and all is summed here.

use super::StoreError;
use super::document::{
    UPDATED_AT, audit_of, count_names, event_of, int, integer, log_of, org_of, refusal_of, session_of, text,
    time_of, totals_of,
};
use super::server::{Refusal, Server};
use crate::progress::Replication;
use crate::store::sqlite::usage::Table;
use crate::store::{
    AuditFilter, Dimension, Filter, Order, Reader, RefusalFilter, UsageKey, UsageQuery, UsageRow,
};
use mongodb::bson::{Bson, Document, doc};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokenist_core::audit::Audit;
use tokenist_core::batch::{Event, Log, SessionRecord};
use tokenist_core::id::{Feature, Model, OrgId, UserId};
use tokenist_core::key::KeyId;
use tokenist_core::refusal;
use tokenist_core::time::{HOUR_MS, Timestamp};
use tokenist_core::totals::Totals;

pub(super) struct MongoReader {
    pub(super) server: Arc<Server>,
    /// The server cannot sum up as we need it.
    pub(super) sums_here: AtomicBool,
    /// What this instance has counted and not copied yet is there alone.
    pub(super) file: Box<dyn Reader>,
    pub(super) status: Arc<Replication>,
}

impl Reader for MongoReader {
    fn usage(&mut self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        let collection = collection(query);
        let mut groups = Err(Refusal::NotImplemented);
        if !self.sums_here.load(Ordering::Relaxed) {
            groups = self.server.aggregate(collection, pipeline(query));
        }
        if let Err(Refusal::NotImplemented) = groups {
            self.sums_here.store(true, Ordering::Relaxed);
            groups = Ok(self.server.find(collection, wanted(query), doc! {}, 0, 0)?);
        }
        let mut sums: BTreeMap<UsageKey, Totals> = BTreeMap::new();
        for group in &groups? {
            // A document that is no group has its dimensions in itself.
            let dimensions = group.get_document("_id").unwrap_or(group);
            *sums.entry(key_of(dimensions, query)).or_default() += totals_of(group);
        }
        let mut rows: Vec<UsageRow> =
            sums.into_iter().map(|(key, totals)| UsageRow { key, totals }).collect();
        if query.order == Order::Cost {
            rows.sort_by_key(|row| std::cmp::Reverse(row.totals.cost));
        }
        rows.truncate(query.limit);
        Ok(rows)
    }

    fn usage_count(&mut self, query: &UsageQuery) -> Result<usize, StoreError> {
        if query.by.iter().any(|by| is_time(*by)) {
            let whole = UsageQuery { limit: usize::MAX, ..query.clone() };
            return self.usage(&whole).map(|rows| rows.len());
        }
        let counting = vec![
            doc! {"$match": wanted(query)},
            doc! {"$group": {"_id": group_id(query)}},
            doc! {"$count": "count"},
        ];
        Ok(counted(&self.server.aggregate(collection(query), counting)?))
    }

    fn events(&mut self, filter: &Filter) -> Result<Vec<Event>, StoreError> {
        Ok(self.details("events", "at", filter)?.iter().map(event_of).collect())
    }

    fn sessions(&mut self, filter: &Filter) -> Result<Vec<SessionRecord>, StoreError> {
        Ok(self.details("sessions", "closed_at", filter)?.iter().map(session_of).collect())
    }

    fn logs(&mut self, filter: &Filter) -> Result<Vec<Log>, StoreError> {
        Ok(self.details("logs", "at", filter)?.iter().map(log_of).collect())
    }

    fn audits(&mut self, filter: &AuditFilter) -> Result<Vec<Audit>, StoreError> {
        let mut wanted = Document::new();
        if let Some(actor) = &filter.actor {
            wanted.insert("$or", vec![doc! {"actor": &**actor}, doc! {"actor_name": &**actor}]);
        }
        for (name, value) in [("action", &filter.action), ("subject", &filter.subject)] {
            if let Some(value) = value {
                wanted.insert(name, &**value);
            }
        }
        if filter.limit == 0 {
            return Ok(Vec::new()); // To MongoDB it would mean all.
        }
        let order = doc! {"at": -1, "_id": -1};
        let found = self.server.find("audits", wanted, order, filter.offset, filter.limit)?;
        Ok(found.iter().map(audit_of).collect())
    }

    fn refusals(&mut self, filter: &RefusalFilter) -> Result<Vec<refusal::Refusal>, StoreError> {
        if filter.limit == 0 {
            return Ok(Vec::new()); // To MongoDB it would mean all.
        }
        let equal = [
            ("user", filter.user.as_ref().map(UserId::as_str)),
            ("org", filter.org.as_ref().map(OrgId::as_str)),
            ("key", filter.key.as_ref().map(KeyId::as_str)),
            ("reason", filter.reason.as_deref()),
        ];
        let mut wanted = Document::new();
        for (name, value) in equal {
            if let Some(value) = value {
                wanted.insert(name, value);
            }
        }
        if let Some((minute, id)) = &filter.after {
            let minute = int(minute.0);
            let earlier = doc! {"minute": {"$lt": minute}};
            wanted.insert("$or", vec![earlier, doc! {"minute": minute, "_id": {"$lt": &**id}}]);
        }
        let newest_first = doc! {"minute": -1, "_id": -1};
        let found = self.server.find("refusals", wanted, newest_first, 0, filter.limit)?;
        Ok(found.iter().map(refusal_of).collect())
    }

    fn log_count(&mut self, filter: &Filter) -> Result<usize, StoreError> {
        let counting = vec![doc! {"$match": details("at", filter)}, doc! {"$count": "count"}];
        Ok(counted(&self.server.aggregate("logs", counting)?))
    }

    /// While the server is away, what the other instances have counted cannot be known.
    fn has_marked(&mut self, ids: &[Arc<str>]) -> Result<bool, StoreError> {
        if self.file.has_marked(ids)? {
            return Ok(true);
        }
        if self.status.failure().is_some() {
            return Ok(false);
        }
        let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
        Ok(!self.server.find("marks", doc! {"_id": {"$in": ids}}, doc! {}, 0, 1)?.is_empty())
    }

    fn log(&mut self, id: &str) -> Result<Option<Log>, StoreError> {
        Ok(self.server.find("logs", doc! {"_id": id}, doc! {}, 0, 1)?.first().map(log_of))
    }
}

impl MongoReader {
    /// The newest first.
    fn details(&self, collection: &str, at: &str, filter: &Filter) -> Result<Vec<Document>, StoreError> {
        if filter.limit == 0 {
            return Ok(Vec::new()); // To MongoDB it would mean all.
        }
        let newest_first = doc! {at: -1, "_id": -1};
        self.server.find(collection, details(at, filter), newest_first, filter.offset, filter.limit)
    }
}

/// Which of them the filter admits, by the time `at`.
fn details(at: &str, filter: &Filter) -> Document {
    let mut wanted = doc! {at: {"$gte": int(filter.from.0), "$lt": int(filter.to.0)}};
    if let Some(user) = &filter.user {
        wanted.insert("user", user.as_str());
    }
    if let Some(org) = &filter.org {
        wanted.insert("org", org.as_str());
    }
    wanted
}

/// What `$count` says. Of nothing there is no document.
fn counted(answer: &[Document]) -> usize {
    answer.first().and_then(|counted| integer(counted, "count")).unwrap_or(0).max(0) as usize
}

/// The smallest one that can answer. Sums over a user's orgs are made of those within each, and those over all users
/// of the rollups: MongoDB is where instances meet, and the fewer documents each change writes, the sooner it is there.
fn collection(query: &UsageQuery) -> &'static str {
    match Table::for_query(query) {
        Table::UserMonth | Table::UserTotal => Table::MemberMonth.name(),
        Table::SliceHour | Table::SliceDay => Table::Rollups.name(),
        table @ (Table::Rollups | Table::MemberDay | Table::MemberMonth | Table::OrgDay) => table.name(),
    }
}

fn wanted(query: &UsageQuery) -> Document {
    let mut wanted = doc! {"start": {"$gte": int(query.from.0), "$lt": int(query.to.0)}};
    match query.users.as_slice() {
        [] => {}
        [user] => drop(wanted.insert("user", user.as_str())),
        users => {
            let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
            wanted.insert("user", doc! {"$in": users});
        }
    }
    let equal = [
        ("org", query.org.as_ref().map(OrgId::as_str)),
        ("feature", query.feature.as_ref().map(Feature::as_str)),
        ("provider", query.provider.as_deref()),
        ("model", query.model.as_ref().map(Model::as_str)),
    ];
    for (name, value) in equal {
        if let Some(value) = value {
            wanted.insert(name, value);
        }
    }
    match &query.among {
        Some((dimension, texts)) => {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            let among = doc! {field(*dimension).0: {"$in": texts}};
            // A field may be wanted twice: as itself and as one of these.
            doc! {"$and": [wanted, among]}
        }
        None => wanted,
    }
}

fn pipeline(query: &UsageQuery) -> Vec<Document> {
    let mut group = doc! {"_id": group_id(query)};
    for name in count_names() {
        group.insert(name, doc! {"$sum": format!("${name}")});
    }
    group.insert(UPDATED_AT, doc! {"$max": format!("${UPDATED_AT}")});
    let mut pipeline = vec![doc! {"$match": wanted(query)}, doc! {"$group": group}];
    // What is folded here has to be here whole.
    let is_folded = query.by.iter().any(|by| is_time(*by));
    if query.order == Order::Cost && !is_folded && query.limit < usize::MAX {
        pipeline.push(doc! {"$sort": {"cost_nano": -1, "_id": 1}});
        pipeline.push(doc! {"$limit": int(query.limit.max(1) as u64)});
    }
    pipeline
}

/// What a sum is of.
fn group_id(query: &UsageQuery) -> Bson {
    let fields: Document = query.by.iter().map(|by| (field(*by).0.to_owned(), field(*by).1.into())).collect();
    if fields.is_empty() { Bson::Null } else { Bson::Document(fields) }
}

fn is_time(dimension: Dimension) -> bool {
    match dimension {
        Dimension::Hour | Dimension::Day | Dimension::Month => true,
        Dimension::User | Dimension::Org | Dimension::Feature | Dimension::Provider | Dimension::Model => {
            false
        }
    }
}

/// A dimension's name in a group, and what it is made of.
fn field(dimension: Dimension) -> (&'static str, &'static str) {
    match dimension {
        Dimension::User => ("user", "$user"),
        Dimension::Org => ("org", "$org"),
        Dimension::Feature => ("feature", "$feature"),
        Dimension::Provider => ("provider", "$provider"),
        Dimension::Model => ("model", "$model"),
        Dimension::Hour | Dimension::Day | Dimension::Month => ("start", "$start"),
    }
}

fn key_of(id: &Document, query: &UsageQuery) -> UsageKey {
    let mut key = UsageKey::default();
    let start = time_of(id, "start");
    for dimension in &query.by {
        match dimension {
            Dimension::User => key.user = text(id, "user").map(UserId::from),
            Dimension::Org => key.org = org_of(id),
            Dimension::Feature => {
                key.feature = text(id, "feature").filter(|text| !text.is_empty()).map(Feature::from);
            }
            Dimension::Provider => key.provider = text(id, "provider").map(Arc::from),
            Dimension::Model => key.model = text(id, "model").map(Model::from),
            Dimension::Hour => key.at = Some(Timestamp(start.0 - start.0 % HOUR_MS)),
            Dimension::Day => key.at = Some(start.day_start()),
            Dimension::Month => key.at = Some(start.month_start()),
        }
    }
    key
}
