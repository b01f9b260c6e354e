//! One MongoDB, and how it is spoken to: every command has a deadline, and an error says what was asked for.
//!
//! A caller blocks; a runtime of our own does the talking. FerretDB is asked for the same things; what it does not
//! implement it refuses with [`NOT_IMPLEMENTED`], and the caller does without.

use super::document::integer;
use super::{Config, StoreError};
use mongodb::bson::{Document, doc};
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::{ClientOptions, ConnectionString};
use mongodb::{Client, Database};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokenist_core::uri::without_secrets;
use tokio::runtime::{Builder, Runtime};

/// What a command may take, the answer included. A server that answers after seconds is slow, not away.
const DEADLINE: Duration = Duration::from_secs(15);
/// What looking for a server may take.
const SELECTION: Duration = Duration::from_secs(2);
/// Statements of one command.
const BATCH: usize = 1_000;
/// Likewise on FerretDB: each statement keeps a connection to its own store until the command ends, and there are only
/// so many of those.
const BATCH_FERRETDB: usize = 16;
/// The least version of the protocol that the driver speaks, and the MongoDB that came with it.
const WIRE_VERSION_MIN: &str = "9 (MongoDB 4.4)";
const DUPLICATE_KEY: i32 = 11_000;
const NOT_IMPLEMENTED: i32 = 238;
/// An index that is there already with other options; nothing to worry about.
const INDEX_CONFLICTS: [i32; 2] = [85, 86];

pub(super) struct Server {
    config: Config,
    transport: Box<dyn Transport>,
}

/// What carries questions to a server and brings its answers. It may block.
pub trait Transport: Send + Sync {
    /// Runs a command for its answer.
    fn run(&self, command: Document) -> Result<Document, Refusal>;

    fn find(&self, find: Find<'_>) -> Result<Vec<Document>, Refusal>;

    fn aggregate(&self, collection: &str, pipeline: Vec<Document>) -> Result<Vec<Document>, Refusal>;

    /// Makes sure of an index.
    fn index(&self, collection: &str, index: Document) -> Result<(), Refusal>;

    /// How often connections were found broken: where it grows, a copier may have lost what was answered for just before.
    fn breaks(&self) -> u64;

    /// Whether what answered last cannot be spoken to, and will not be by waiting.
    fn is_incompatible(&self) -> bool {
        false
    }
}

/// What to find.
#[derive(Clone, Debug)]
pub struct Find<'a> {
    pub collection: &'a str,
    pub filter: Document,
    pub sort: Document,
    pub skip: usize,
    /// 0: all.
    pub limit: usize,
}

/// The driver, and a runtime of its own that does the talking.
struct Driver {
    config: Config,
    runtime: Runtime,
    /// Connected with the first question, for the server may be away when tokenist starts.
    database: Mutex<Option<Database>>,
    /// How often connections were found broken.
    breaks: Arc<AtomicU64>,
    /// It was reached, and is of a version that cannot be spoken to.
    is_incompatible: AtomicBool,
}

/// What came of statements each of which stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) done: usize,
    /// Whose id was taken, by their places.
    pub(super) taken: Vec<usize>,
}

/// Why the server did not do as asked.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// It does not know how. It said so, and will say it again.
    NotImplemented,
    Failed(StoreError),
}

fn failures(answer: &Document) -> impl Iterator<Item = &Document> {
    let failures = answer.get_array("writeErrors").into_iter().flatten();
    failures.filter_map(|failure| failure.as_document())
}

fn is_taken(failure: &Document) -> bool {
    failure.get_i32("code").ok() == Some(DUPLICATE_KEY)
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> StoreError {
        match refusal {
            Refusal::NotImplemented => StoreError("MongoDB does not implement what was asked for".into()),
            Refusal::Failed(error) => error,
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.config.database)
    }
}

impl Server {
    /// Looks at the address, not at the server.
    pub(super) fn new(config: Config) -> Result<Server, StoreError> {
        Server::check_address(&config)?;
        let driver = Driver::new(config.clone())?;
        Ok(Server::over(config, Box::new(driver)))
    }

    pub(super) fn over(config: Config, transport: Box<dyn Transport>) -> Server {
        Server { config, transport }
    }

    pub(super) fn breaks(&self) -> u64 {
        self.transport.breaks()
    }

    pub(super) fn is_incompatible(&self) -> bool {
        self.transport.is_incompatible()
    }

    pub(super) fn check_address(config: &Config) -> Result<(), StoreError> {
        ConnectionString::parse(&config.uri).map(drop).map_err(|error| {
            StoreError(format!(
                "store.mongodb_uri is no MongoDB address such as mongodb://host:27017/: {}",
                without_secrets(&config.uri, &error.to_string())
            ))
        })
    }

    /// Statements that one command may have.
    pub(super) fn batch(&self) -> Result<usize, StoreError> {
        if self.config.batch > 0 {
            return Ok(self.config.batch);
        }
        let build = self.run(doc! {"buildInfo": 1})?;
        let is_ferretdb = build.keys().any(|key| key.starts_with("ferretdb"));
        Ok(if is_ferretdb { BATCH_FERRETDB } else { BATCH })
    }

    /// Runs a command for its answer. Its failed statements are for the caller to look at.
    pub(super) fn run(&self, command: Document) -> Result<Document, StoreError> {
        Ok(self.transport.run(command)?)
    }

    /// Writes and waits until a majority has it in its journal: there are servers that answer for a majority before. A
    /// statement that fails fails the whole, though the others are done.
    pub(super) fn write(&self, command: Document) -> Result<(), StoreError> {
        let (name, answer) = self.write_unordered(command)?;
        self.failure_of(&name, &answer, |_| true)
    }

    /// As [`Server::write`], but an id that is taken fails nothing.
    pub(super) fn write_each(&self, command: Document) -> Result<Written, StoreError> {
        let (name, answer) = self.write_unordered(command)?;
        self.failure_of(&name, &answer, |failure| !is_taken(failure))?;
        let taken = failures(&answer).filter(|failure| is_taken(failure));
        let index = |failure: &Document| integer(failure, "index")?.try_into().ok();
        let done = integer(&answer, "n").and_then(|count| count.try_into().ok()).unwrap_or(0);
        Ok(Written { done, taken: taken.filter_map(index).collect() })
    }

    fn write_unordered(&self, mut command: Document) -> Result<(String, Document), StoreError> {
        command.insert("ordered", false);
        command.insert("writeConcern", doc! {"w": "majority", "j": true});
        let name = command.keys().next().cloned().unwrap_or_default();
        let answer = self.run(command)?;
        Ok((name, answer))
    }

    fn failure_of(
        &self,
        name: &str,
        answer: &Document,
        counts: impl Fn(&Document) -> bool,
    ) -> Result<(), StoreError> {
        let failed = failures(answer).find(|failure| counts(failure));
        match failed.or_else(|| answer.get_document("writeConcernError").ok()) {
            None => Ok(()),
            Some(failure) => {
                Err(error_of(&self.config, name, failure.get_str("errmsg").unwrap_or("a statement failed")))
            }
        }
    }

    pub(super) fn find(
        &self,
        collection: &str,
        filter: Document,
        sort: Document,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        Ok(self.transport.find(Find { collection, filter, sort, skip, limit })?)
    }

    pub(super) fn aggregate(
        &self,
        collection: &str,
        pipeline: Vec<Document>,
    ) -> Result<Vec<Document>, Refusal> {
        self.transport.aggregate(collection, pipeline)
    }

    /// Makes sure of an index over these fields.
    pub(super) fn index(&self, collection: &str, fields: &[&str]) -> Result<(), StoreError> {
        let keys: Document = fields.iter().map(|field| ((*field).to_owned(), 1.into())).collect();
        Ok(self.transport.index(collection, doc! {"key": keys, "name": fields.join("_")})?)
    }
}

impl Transport for Driver {
    fn run(&self, command: Document) -> Result<Document, Refusal> {
        let name = command.keys().next().cloned().unwrap_or_default();
        self.within(&name, |database| async move { database.run_command(command).await })
    }

    fn find(&self, find: Find<'_>) -> Result<Vec<Document>, Refusal> {
        let Find { collection, filter, sort, skip, limit } = find;
        let (skip, limit) = (skip as u64, i64::try_from(limit).unwrap_or(0));
        self.within("find", |database| {
            let collection = database.collection::<Document>(collection);
            async move {
                let mut cursor = collection.find(filter).sort(sort).skip(skip).limit(limit).await?;
                let mut found = Vec::new();
                while cursor.advance().await? {
                    found.push(cursor.deserialize_current()?);
                }
                Ok(found)
            }
        })
    }

    fn aggregate(&self, collection: &str, pipeline: Vec<Document>) -> Result<Vec<Document>, Refusal> {
        self.within("aggregate", |database| {
            let collection = database.collection::<Document>(collection);
            async move {
                let mut cursor = collection.aggregate(pipeline).await?;
                let mut found = Vec::new();
                while cursor.advance().await? {
                    found.push(cursor.deserialize_current()?);
                }
                Ok(found)
            }
        })
    }

    fn index(&self, collection: &str, index: Document) -> Result<(), Refusal> {
        self.within("createIndexes", |database| {
            let command = doc! {"createIndexes": collection, "indexes": [index]};
            async move {
                match database.run_command(command).await {
                    Err(error) if code(&error).is_some_and(|code| INDEX_CONFLICTS.contains(&code)) => Ok(()),
                    made => made.map(drop),
                }
            }
        })
    }

    fn breaks(&self) -> u64 {
        self.breaks.load(Ordering::Acquire)
    }

    fn is_incompatible(&self) -> bool {
        self.is_incompatible.load(Ordering::Acquire)
    }
}

impl Driver {
    fn new(config: Config) -> Result<Driver, StoreError> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("mongodb").enable_all().build();
        let runtime = runtime.map_err(|error| StoreError(format!("the thread for MongoDB: {error}")))?;
        Ok(Driver {
            config,
            runtime,
            database: Mutex::default(),
            breaks: Arc::default(),
            is_incompatible: AtomicBool::new(false),
        })
    }

    fn within<T, F: Future<Output = mongodb::error::Result<T>>>(
        &self,
        what: &str,
        ask: impl FnOnce(Database) -> F,
    ) -> Result<T, Refusal> {
        let asked = async {
            let database = self.database().await?;
            ask(database).await
        };
        let answer = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, asked).await });
        let refused = answer.as_ref().is_ok_and(|answer| answer.as_ref().is_err_and(refuses_version));
        self.is_incompatible.store(refused, Ordering::Release);
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if refused => Err(Refusal::Failed(error_of(
                &self.config,
                what,
                &format!(
                    "this server cannot be used, and waiting will not help: {error} tokenist needs wire version \
                     {WIRE_VERSION_MIN} or later; upgrade it, or name another one in store.mongodb_uri"
                ),
            ))),
            Ok(Err(error)) if code(&error) == Some(NOT_IMPLEMENTED) => Err(Refusal::NotImplemented),
            Ok(Err(error)) => Err(Refusal::Failed(error_of(&self.config, what, &error.to_string()))),
            Err(_) => {
                let cause = format!("no answer within {} s", DEADLINE.as_secs());
                Err(Refusal::Failed(error_of(&self.config, what, &cause)))
            }
        }
    }

    async fn database(&self) -> mongodb::error::Result<Database> {
        let known = || self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = known().as_ref() {
            return Ok(database.clone());
        }
        let mut options = ClientOptions::parse(&self.config.uri).await?;
        options.app_name.get_or_insert_with(|| "tokenist".into());
        options.server_selection_timeout.get_or_insert(SELECTION);
        options.connect_timeout.get_or_insert(SELECTION);
        let breaks = Arc::clone(&self.breaks);
        options.cmap_event_handler = Some(EventHandler::callback(move |event| {
            if matches!(event, CmapEvent::PoolCleared(_)) {
                breaks.fetch_add(1, Ordering::AcqRel);
            }
        }));
        let database = Client::with_options(options)?.database(&self.config.database);
        *known() = Some(database.clone());
        Ok(database)
    }
}

fn error_of(config: &Config, what: &str, cause: &str) -> StoreError {
    let cause = without_secrets(&config.uri, cause);
    StoreError(format!("MongoDB (database {}): {what}: {cause}", config.database))
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        mongodb::error::ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}

/// The driver has no kind of its own for a server that is too old, or too new, for it.
fn refuses_version(error: &mongodb::error::Error) -> bool {
    match &*error.kind {
        mongodb::error::ErrorKind::IncompatibleServer { .. } => true,
        mongodb::error::ErrorKind::ServerSelection { message, .. } => message.contains("wire version"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_told_without_its_password() {
        let config = Config { uri: "mongodb://me:geheim@host:99999999/".into(), ..Config::default() };
        let StoreError(said) = Server::new(config).unwrap_err();
        assert!(said.contains("store.mongodb_uri") && !said.contains("geheim"), "{said}");
    }
}
