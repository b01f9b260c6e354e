//! MongoDB, where instances meet: settings are shared there, and every instance's counts and details are copied there
//! from its ledger file.
//!
//! Start at [`Mongo::open`]. What is committed goes to the file and is safe; `replicator` copies it, `change_reader`
//! brings what other instances set, `read` answers over all of them. Rows and documents are told apart in `document`
//! alone.
//!
//! Invariant: MongoDB may be away, slow, or forget its answers for as long as there is disk. No commit waits for it.

mod change_reader;
mod claim;
mod document;
mod prune;
mod read;
mod replicator;
mod server;

use self::change_reader::{ChangeReader, Cursors, read_all};
use self::claim::Claim;
use self::document::{SETTINGS, Writer};
use self::read::MongoReader;
use self::replicator::{Replicator, Running};
use self::server::Server;
pub use self::server::{Find, Refusal, Transport};
use super::sqlite::{self, Sqlite};
use super::{Pruned, Reader, Recall, SettingSink, Store, StoreError};
use crate::progress::Replication;
use crate::run::Run;
use crate::setting::SettingUpdate;
use crate::supervise::Supervisor;
pub use mongodb::bson;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokenist_core::batch::{Batch, Restored};
use tokenist_core::journal::{Item, Upto};
use tokenist_core::time::{Now, Timestamp};
use tokenist_handoff::Lane;
use tracing::{info, warn};

#[derive(Clone, Default)]
pub struct Config {
    /// `mongodb://…` or `mongodb+srv://…`. May hold a password.
    pub uri: String,
    pub database: String,
    /// Statements that one command may have; 0: as many as the server bears.
    pub batch: usize,
    /// Events, sessions and logs go when they are so old; 0: never. Likewise rollups; sums by day and month stay.
    pub details_days: u64,
    pub rollups_days: u64,
    /// Likewise the record of refusals.
    pub refusals_days: u64,
}

/// Never shows the address.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({})", self.database)
    }
}

/// Whether the address is one; the server is not asked.
///
/// # Errors
/// It is not, and why.
pub fn check(config: &Config) -> Result<(), StoreError> {
    Server::check_address(config)
}

/// How long a start waits for a run that may have ended, and the pause between two looks.
const CLAIM_PATIENCE: Duration = Duration::from_secs(5);
const CLAIM_PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Mongo {
    file: Sqlite,
    config: Config,
    server: Arc<Server>,
    writer: Writer,
    claim: Claim,
    status: Arc<Replication>,
    cursors: Option<Cursors>,
    replicator: Option<Running>,
}

impl Mongo {
    /// Opens the ledger file and looks at the address; the server may be away.
    pub fn open(file: sqlite::Config, config: Config) -> Result<Mongo, StoreError> {
        let server = Server::new(config.clone())?;
        Mongo::open_with(file, config, server)
    }

    /// As [`Mongo::open`], with another way to a server than the driver's.
    pub fn over(
        file: sqlite::Config,
        config: Config,
        transport: Box<dyn Transport>,
    ) -> Result<Mongo, StoreError> {
        let server = Server::over(config.clone(), transport);
        Mongo::open_with(file, config, server)
    }

    fn open_with(file: sqlite::Config, config: Config, server: Server) -> Result<Mongo, StoreError> {
        let server = Arc::new(server);
        let file = Sqlite::open_replicated(file)?;
        let outbox = file.outbox()?;
        let writer = Writer { ledger: Arc::clone(outbox.writer()), generation: outbox.generation() };
        let status = Arc::default();
        let claim = Claim::new(file.run().unwrap_or_else(Run::unlasting));
        Ok(Mongo { file, config, server, writer, claim, status, cursors: None, replicator: None })
    }

    /// What copies to the server and brings what others set, for a driver that does both without threads. Call it after
    /// [`Store::restore`].
    pub fn courier(&mut self) -> Result<Courier, StoreError> {
        Ok(Courier { replicator: self.replicator()?, change_reader: self.change_reader() })
    }

    fn change_reader(&mut self) -> ChangeReader {
        ChangeReader {
            server: Arc::clone(&self.server),
            writer: self.writer.clone(),
            status: Arc::clone(&self.status),
            config: self.config.clone(),
            present: self.file.present(),
            cursors: self.cursors.take(),
        }
    }

    fn replicator(&self) -> Result<Replicator, StoreError> {
        let (server, status) = (Arc::clone(&self.server), Arc::clone(&self.status));
        Ok(Replicator::new(server, self.file.outbox()?, self.writer.clone(), self.claim.clone(), status))
    }

    /// Makes sure of the ledger's name. A run that may have ended is given the time to be heard of.
    fn claim(&mut self) -> Result<(), StoreError> {
        let deadline = Instant::now() + CLAIM_PATIENCE;
        loop {
            let held = self.claim.hold(&self.server, Instant::now());
            let may_end = self.claim.twin().is_some_and(|twin| twin.may_have_ended);
            if !may_end || Instant::now() >= deadline {
                return held;
            }
            std::thread::sleep(CLAIM_PAUSE);
        }
    }

    /// What is set on other instances goes into the file first: the next start may be without MongoDB.
    fn take_settings(&mut self) -> Result<(), StoreError> {
        let (cursors, updates) = read_all(&self.server)?;
        let mut batch = Batch::default();
        for update in updates {
            match update {
                SettingUpdate::Holder(state) => batch.holders.push(state),
                SettingUpdate::Key(key) => batch.keys.push(key),
                SettingUpdate::Entry(entry) => batch.entries.push(entry),
            }
        }
        info!(holders = batch.holders.len(), keys = batch.keys.len(), "settings read from MongoDB");
        self.file.commit(&batch)?;
        self.cursors = Some(cursors);
        Ok(())
    }
}

/// Goes to the server and back.
pub struct Courier {
    replicator: Replicator,
    change_reader: ChangeReader,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Courier")
    }
}

impl Courier {
    /// Copies all settings that wait, and some of the counts. How many changes that were.
    ///
    /// # Errors
    /// The server did not do as asked, or its answer was lost: all of it is sent again.
    pub fn copy(&mut self, now: Instant) -> Result<usize, StoreError> {
        self.replicator.copy_some(now)
    }

    /// What other instances have set since this was last asked.
    ///
    /// # Errors
    /// The server did not answer. What it has is told the next time.
    pub fn changes(&mut self) -> Result<Vec<SettingUpdate>, StoreError> {
        let (cursors, updates) = self.change_reader.changes()?;
        self.change_reader.cursors = Some(cursors);
        Ok(updates)
    }
}

impl Store for Mongo {
    fn restore(&mut self, now: Timestamp, holders_max: usize) -> Result<Restored, StoreError> {
        match self.claim().and_then(|()| self.take_settings()) {
            Err(cause) if self.server.is_incompatible() || self.claim.twin().is_some() => return Err(cause),
            Err(cause) => warn!(%cause, "MongoDB is away: starting with what the ledger file knows"),
            Ok(()) => {}
        }
        self.file.restore(now, holders_max)
    }

    /// The file has all that was counted here and all that was set anywhere.
    fn recaller(&self) -> Result<Option<Box<dyn Recall>>, StoreError> {
        self.file.recaller()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.file.commit(batch)
    }

    fn left_over(&mut self) -> Result<Option<Vec<(Item, Upto)>>, StoreError> {
        self.file.left_over()
    }

    fn lanes(&mut self, count: usize) -> Result<Vec<Lane>, StoreError> {
        self.file.lanes(count)
    }

    fn run(&self) -> Option<Run> {
        self.file.run()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(MongoReader {
            server: Arc::clone(&self.server),
            sums_here: AtomicBool::new(false),
            file: self.file.reader()?,
            status: Arc::clone(&self.status),
        }))
    }

    fn recover(&mut self) {
        self.file.recover();
    }

    fn prune(&mut self, now: Now) -> Result<Pruned, StoreError> {
        self.file.prune(now)
    }

    fn attach(&mut self, supervisor: &Supervisor, updates: Box<dyn SettingSink>) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| StoreError(format!("the threads for MongoDB: {error}"));
        self.replicator = Some(self.replicator()?.start(supervisor).map_err(failed)?);
        self.change_reader().start(supervisor, updates).map_err(failed)
    }

    fn replication(&self) -> Option<Arc<Replication>> {
        Some(Arc::clone(&self.status))
    }

    fn close(&mut self, deadline: Instant) {
        if let Some(replicator) = self.replicator.take() {
            replicator.finish(deadline);
        }
    }
}

/// Makes sure of what the questions need.
fn index(server: &Server) -> Result<(), StoreError> {
    for collection in SETTINGS {
        server.index(collection, &["writer", "number"])?;
    }
    for (collection, at) in [("events", "at"), ("sessions", "closed_at"), ("logs", "at")] {
        server.index(collection, &[at])?;
        server.index(collection, &["user", at])?;
        server.index(collection, &["org", at])?;
    }
    for collection in ["rollups", "member_day", "member_month", "org_day"] {
        server.index(collection, &["start"])?;
        server.index(collection, &["org", "start"])?;
    }
    for collection in ["rollups", "member_day", "member_month"] {
        server.index(collection, &["user", "start"])?;
    }
    server.index("marks", &["at"])?;
    server.index("audits", &["at"])?;
    server.index("refusals", &["minute"])?;
    server.index("refusals", &["user", "minute"])?;
    server.index("refusals", &["org", "minute"])?;
    server.index("audits", &["subject", "at"])?;
    server.index("key_day", &["key", "start"])
}

#[cfg(test)]
mod tests;
