//! A MongoDB in memory, which is away, loses questions and answers, and forgets what it answered for too early.

use crate::chance::Random;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokenist_control::store::StoreError;
use tokenist_control::store::mongo::bson::{Bson, Document, doc};
use tokenist_control::store::mongo::{Find, Refusal, Transport};

/// What it has answered for and not made sure of yet is so old at most.
const UNSURE: Duration = Duration::from_secs(5);
const DUPLICATE_KEY: i32 = 11_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Mongo {
    rows: Arc<Mutex<Rows>>,
    /// Where that is planted: broken connections go unnoticed.
    pub(crate) hides_breaks: bool,
    /// Likewise: who else is there is not seen.
    pub(crate) hides_runs: bool,
}

#[derive(Debug, Default)]
struct Rows {
    collections: BTreeMap<String, BTreeMap<String, Document>>,
    /// What was there before each of the latest writes, and when that was.
    undo: Vec<(Duration, String, String, Option<Document>)>,
    now: Duration,
    breaks: u64,
    is_away: bool,
    /// How questions and answers fare: by chance, or, where there is none, well.
    chance: Option<Random>,
}

impl Mongo {
    pub(crate) fn transport(&self) -> Box<dyn Transport> {
        Box::new(self.clone())
    }

    /// From now on, which is so late, questions and answers are lost by this chance, or, without one, not at all.
    pub(crate) fn be(&self, now: Duration, chance: Option<Random>) {
        self.rows(|rows| (rows.now, rows.chance) = (now, chance));
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.rows(|rows| rows.is_away = is_away);
    }

    pub(crate) fn is_away(&self) -> bool {
        self.rows(|rows| rows.is_away)
    }

    /// It is killed and begun anew. What it had not made sure of is gone, and connections are broken.
    pub(crate) fn crash(&self, now: Duration) -> usize {
        self.rows(|rows| {
            rows.breaks += 1;
            let mut undone = 0;
            for (at, collection, id, before) in std::mem::take(&mut rows.undo).into_iter().rev() {
                if at + UNSURE < now {
                    continue;
                }
                undone += 1;
                let documents = rows.collections.entry(collection).or_default();
                match before {
                    Some(document) => documents.insert(id, document),
                    None => documents.remove(&id),
                };
            }
            undone
        })
    }

    /// All documents of a collection.
    pub(crate) fn all(&self, collection: &str) -> Vec<Document> {
        self.rows(|rows| {
            rows.collections.get(collection).map(|all| all.values().cloned().collect()).unwrap_or_default()
        })
    }

    /// Which collection is meant.
    fn seen(&self, collection: &str) -> String {
        let is_hidden = self.hides_runs && collection == "runs";
        if is_hidden { "other runs".into() } else { collection.into() }
    }

    fn rows<T>(&self, act: impl FnOnce(&mut Rows) -> T) -> T {
        act(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Transport for Mongo {
    fn run(&self, command: Document) -> Result<Document, Refusal> {
        self.rows(|rows| {
            rows.ask()?;
            let (name, collection) = command.iter().next().expect("a command has a name");
            let collection = self.seen(collection.as_str().unwrap_or_default());
            let list = |of: &str| command.get_array(of).expect("a list of documents").clone();
            let failed: Vec<Bson> = match name.as_str() {
                "update" => {
                    let done = list("updates").into_iter().map(|one| rows.update(&collection, one));
                    done.filter_map(Result::err).map(Bson::from).collect()
                }
                "insert" => {
                    let done = list("documents").into_iter().map(|one| rows.insert(&collection, one));
                    done.filter_map(Result::err).map(Bson::from).collect()
                }
                other => panic!("nobody asks for {other}"),
            };
            rows.answer()?;
            Ok(if failed.is_empty() {
                doc! {"ok": 1}
            } else {
                doc! {"ok": 1, "writeErrors": failed}
            })
        })
    }

    fn find(&self, find: Find<'_>) -> Result<Vec<Document>, Refusal> {
        self.rows(|rows| {
            rows.ask()?;
            let documents = rows.collections.get(&self.seen(find.collection));
            let matching =
                documents.into_iter().flat_map(BTreeMap::values).filter(|one| matches(one, &find.filter));
            let found = matching.cloned().collect();
            rows.answer()?;
            Ok(found)
        })
    }

    fn aggregate(&self, _: &str, _: Vec<Document>) -> Result<Vec<Document>, Refusal> {
        Err(Refusal::NotImplemented)
    }

    fn index(&self, _: &str, _: Document) -> Result<(), Refusal> {
        Ok(())
    }

    fn breaks(&self) -> u64 {
        if self.hides_breaks { 0 } else { self.rows(|rows| rows.breaks) }
    }
}

impl Rows {
    fn ask(&mut self) -> Result<(), Refusal> {
        let is_lost = self.chance.as_mut().is_some_and(|chance| chance.once_in(12));
        if self.is_away || is_lost { Err(failed("it was not reached")) } else { Ok(()) }
    }

    fn answer(&mut self) -> Result<(), Refusal> {
        let is_lost = self.chance.as_mut().is_some_and(|chance| chance.once_in(12));
        if is_lost { Err(failed("its answer was lost")) } else { Ok(()) }
    }

    fn update(&mut self, collection: &str, statement: Bson) -> Result<(), Document> {
        let Bson::Document(statement) = statement else { panic!("a statement is a document") };
        let query = statement.get_document("q").expect("a statement has a query");
        let update = statement.get_document("u").expect("and an update");
        let id = query.get_str("_id").expect("of one document").to_owned();
        let known = self.collections.entry(collection.to_owned()).or_default().get(&id).cloned();
        let is_upsert = statement.get_bool("upsert").unwrap_or(false);
        let (mut document, is_new) = match known {
            Some(document) if matches(&document, query) => (document, false),
            Some(_) if is_upsert => return Err(duplicate()),
            None if is_upsert => (doc! {"_id": &id}, true),
            _ => return Ok(()),
        };
        for (operator, fields) in update {
            let fields = fields.as_document().expect("fields and values");
            for (name, value) in fields {
                let is_set = match operator.as_str() {
                    "$set" => true,
                    "$setOnInsert" => is_new,
                    "$max" => number(&document, name).is_none_or(|known| value.as_i64() > Some(known)),
                    other => panic!("nobody asks for {other}"),
                };
                if is_set {
                    document.insert(name.clone(), value.clone());
                }
            }
        }
        self.put(collection, id, document);
        Ok(())
    }

    fn insert(&mut self, collection: &str, document: Bson) -> Result<(), Document> {
        let Bson::Document(document) = document else { panic!("a document is inserted") };
        let id = document.get_str("_id").expect("it has a name").to_owned();
        if self.collections.entry(collection.to_owned()).or_default().contains_key(&id) {
            return Err(duplicate());
        }
        self.put(collection, id, document);
        Ok(())
    }

    fn put(&mut self, collection: &str, id: String, document: Document) {
        let documents = self.collections.entry(collection.to_owned()).or_default();
        let before = documents.insert(id.clone(), document);
        self.undo.push((self.now, collection.to_owned(), id, before));
    }
}

fn matches(document: &Document, query: &Document) -> bool {
    query.iter().all(|(name, wanted)| match wanted {
        Bson::Document(bounds) => bounds.iter().all(|(operator, bound)| {
            let (Some(known), Some(bound)) = (number(document, name), bound.as_i64()) else { return false };
            match operator.as_str() {
                "$lt" => known < bound,
                "$gt" => known > bound,
                "$lte" => known <= bound,
                other => panic!("nobody asks for {other}"),
            }
        }),
        value => document.get(name) == Some(value),
    })
}

fn number(document: &Document, name: &str) -> Option<i64> {
    document.get(name)?.as_i64()
}

fn duplicate() -> Document {
    doc! {"index": 0, "code": DUPLICATE_KEY, "errmsg": "there is one of that name"}
}

fn failed(why: &str) -> Refusal {
    Refusal::Failed(StoreError(why.into()))
}
