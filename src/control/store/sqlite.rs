//! The ledger file: SQLite in a folder of its own, one process at a time.
//!
//! Start at [`Sqlite::open`]. Tables are in `schema`, what goes in is in `commit`, what comes out in `restore`,
//! `read` and `usage`. `sqlite/README.md` is for people that open the file by hand.
//!
//! Invariant: what [`Store::commit`] has answered for is synced to the disk. After a failure nothing is believed: the
//! file is opened anew and the batch committed again.

mod commit;
mod counts;
mod journal;
pub(crate) mod outbox;
mod prune;
mod question;
mod read;
mod restore;
mod rows;
mod schema;
pub(crate) mod usage;

use self::journal::Journal;
use self::outbox::Copied;
#[cfg(feature = "mongodb")]
use self::outbox::Outbox;
use self::prune::Pruner;
use self::question::FileReader;
use self::schema::SchemaError;
use super::{Pruned, Reader, Recall, Store, StoreError};
use crate::run::{self, Run};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};
use std::fs::{DirEntry, File, Permissions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokenist_core::batch::{Batch, Restored, Stamped};
use tokenist_core::catalog::{Entry, Kept};
use tokenist_core::journal::{Item, Upto};
use tokenist_core::time::{Now, Timestamp};
use tokenist_handoff::Lane;

#[derive(Clone, Debug)]
pub struct Config {
    /// The folder; made if it is not there.
    pub directory: PathBuf,
    /// Events, sessions and logs go when they are so old; 0: never. Likewise rollups; sums by day and month stay.
    pub details_days: u64,
    pub rollups_days: u64,
    /// Likewise the record of refusals.
    pub refusals_days: u64,
    /// How long a lane of the journal is: what is counted while the store takes nothing, and outlives the process.
    pub lane_bytes: u64,
}

/// As long as some 20,000 responses take, which is what a shard counts in seconds of the greatest load.
pub const LANE_BYTES: u64 = 4 << 20;

#[derive(Debug)]
pub struct Sqlite {
    config: Config,
    path: LedgerPath,
    /// `None` after a failure, until the file is opened anew.
    connection: Option<Connection>,
    /// This process's use of the file, with the file's name among all ledgers.
    run: Run,
    /// This incarnation of the file.
    generation: i64,
    /// The file is copied elsewhere, so what changes in it is noted until it is.
    replicated: bool,
    copied: Arc<Copied>,
    pruner: Pruner,
    journal: Journal,
    /// What the tidier takes for the present, in ms since 1970; 0: nothing yet.
    present: Arc<AtomicU64>,
    /// Held for as long as the process uses the folder.
    _lock: File,
}

/// Where the file is, for errors.
#[derive(Clone, Debug)]
struct LedgerPath(Arc<Path>);

/// Statements that are kept prepared.
const STATEMENT_COUNT: usize = 64;
/// A file up to this size is checked whole at the start, which takes a quarter of a second. Of a larger one what the
/// ledger goes on with is read then, and so checked; all else when it is asked for or written to.
const CHECK_BYTES: i64 = 64 << 20;

const DAMAGED: &str = "it is damaged or no ledger; put it aside and restore a backup, or save what is left with \
                       `sqlite3 FILE .recover`";

impl Sqlite {
    /// Takes the folder for this process, brings the file up to date and counts this incarnation.
    pub fn open(config: Config) -> Result<Sqlite, StoreError> {
        Sqlite::open_as(config, false)
    }

    /// Whether [`Sqlite::open`] would succeed now. Makes nothing and changes nothing.
    ///
    /// # Errors
    /// The folder cannot be made or written, another process uses it, or its file is no ledger of this version.
    pub fn check(config: &Config) -> Result<(), StoreError> {
        let directory = &config.directory;
        if !directory.exists() {
            return check_that_it_can_be_made(directory);
        }
        check_that_it_can_be_written(directory, directory)?;
        let _lock = directory.join(LOCK).exists().then(|| take(directory)).transpose()?;
        let path = LedgerPath(directory.join(LEDGER).into());
        if !path.0.exists() {
            return Ok(());
        }
        let writable = File::options().write(true).open(&*path.0);
        writable.map_err(|error| failed(directory, "has a file that cannot be written", &error))?;
        let connection = path.look()?;
        schema::check(&connection).map_err(|error| path.schema_error(error))?;
        check(&connection, &path)?;
        journal::check(directory)
    }

    /// As [`Sqlite::open`], for a file that is copied elsewhere.
    #[cfg(feature = "mongodb")]
    pub(crate) fn open_replicated(config: Config) -> Result<Sqlite, StoreError> {
        Sqlite::open_as(config, true)
    }

    fn open_as(config: Config, replicated: bool) -> Result<Sqlite, StoreError> {
        let directory = &config.directory;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| failed(directory, "cannot be made", &error))?;
        let id = run::new_id();
        let lock = lock(directory, &id)?;
        let path = LedgerPath(directory.join(LEDGER).into());
        keep_private(directory);
        let mut connection = path.connect()?;
        schema::migrate(&mut connection).map_err(|error| path.schema_error(error))?;
        check(&connection, &path)?;
        let begun = begin_generation(&mut connection, replicated, &id).map_err(|error| path.error(&error))?;
        let Begun { generation, writer, earlier } = begun;
        let locked_at =
            run::place_of(&lock).map_err(|error| failed(directory, "cannot be told from others", &error))?;
        Ok(Sqlite {
            config,
            path,
            connection: Some(connection),
            run: Run { writer, id, place: locked_at, earlier, lasts: true },
            generation,
            replicated,
            copied: Arc::default(),
            pruner: Pruner::default(),
            journal: Journal::default(),
            present: Arc::default(),
            _lock: lock,
        })
    }

    /// What retention takes for the present, wherever the wall clock is; 0 before it was first looked at.
    #[cfg(feature = "mongodb")]
    pub(crate) fn present(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.present)
    }

    /// What has changed and is not copied yet, where the file is replicated.
    #[cfg(feature = "mongodb")]
    pub(crate) fn outbox(&self) -> Result<Outbox, StoreError> {
        Ok(Outbox {
            connection: self.read_only()?,
            path: self.path.clone(),
            copied: Arc::clone(&self.copied),
            writer: self.run.writer.as_str().into(),
            generation: self.generation as u64,
        })
    }

    fn read_only(&self) -> Result<Connection, StoreError> {
        let connection = self.path.connect()?;
        connection.pragma_update(None, "query_only", true).map_err(|error| self.path.error(&error))?;
        Ok(connection)
    }

    /// The open file; opened anew after a failure.
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(self.path.connect()?);
        }
        Ok(self.connection.as_mut().expect("it was just opened"))
    }

    fn transact<T>(
        &mut self,
        act: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let connection = self.connection()?;
        let done =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
                let value = act(&transaction)?;
                transaction.commit().map(|()| value)
            });
        done.map_err(|error| {
            self.connection = None;
            path.error(&error)
        })
    }
}

impl Store for Sqlite {
    fn restore(&mut self, now: Timestamp, holders_max: usize) -> Result<Restored, StoreError> {
        let path = self.path.clone();
        let beside = path.connect()?;
        let connection = self.connection()?;
        let restored = restore::read_all(connection, beside, now, holders_max);
        let restored = restored.map_err(|error| path.error(&error))?;
        // So much is not read again.
        connection.execute_batch("PRAGMA shrink_memory").map_err(|error| path.error(&error))?;
        Ok(restored)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let (generation, replicated, copied) = (self.generation, self.replicated, Arc::clone(&self.copied));
        self.transact(|transaction| {
            if replicated {
                outbox::forget(transaction, &copied)?;
            }
            commit::write(transaction, generation, batch, replicated)
        })?;
        self.journal.free(&batch.booked);
        Ok(())
    }

    fn left_over(&mut self) -> Result<Option<Vec<(Item, Upto)>>, StoreError> {
        self.connection()?;
        let Sqlite { config, connection, run, journal, .. } = self;
        let connection = connection.as_ref().expect("it was just opened");
        journal.left_over(&config.directory, connection, &run.writer)
    }

    fn lanes(&mut self, count: usize) -> Result<Vec<Lane>, StoreError> {
        let layout = journal::layout(&self.run.writer, self.generation as u64, count, self.config.lane_bytes);
        self.connection()?;
        let Sqlite { config, path, connection, journal, .. } = self;
        let connection = connection.as_mut().expect("it was just opened");
        journal.begin(&config.directory, connection, layout).map_err(|error| path.error(&error))
    }

    fn run(&self) -> Option<Run> {
        Some(self.run.clone())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(FileReader { connection: self.read_only()?, path: self.path.clone() }))
    }

    fn recover(&mut self) {
        self.connection = None;
        self.pruner = Pruner::default();
    }

    fn recaller(&self) -> Result<Option<Box<dyn Recall>>, StoreError> {
        Ok(Some(Box::new(FileReader { connection: self.read_only()?, path: self.path.clone() })))
    }

    fn prune(&mut self, now: Now) -> Result<Pruned, StoreError> {
        let (config, mut pruner) = (self.config.clone(), std::mem::take(&mut self.pruner));
        let pruned = self.transact(|transaction| pruner.slice(transaction, &config, now));
        self.present.store(pruner.present().map_or(0, |present| present.0), Ordering::Release);
        self.pruner = pruner;
        pruned
    }
}

/// A process that ends in peace leaves one whole file, which can be copied.
impl Drop for Sqlite {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            // If it cannot be done, what is in the log beside the file is as safe there.
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).ok();
        }
        self.journal.end();
    }
}

impl LedgerPath {
    fn connect(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&*self.0, flags)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.set_prepared_statement_cache_capacity(STATEMENT_COUNT);
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "cache_size", -65_536)?;
            connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
            Ok(connection)
        };
        open().map_err(|error| self.error(&error))
    }

    /// For reading what is there already. What the last process left in the log beside the file is read as well.
    fn look(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&*self.0, flags)?;
            connection.pragma_update(None, "query_only", true)?;
            // It is not read here for a process that goes on with it.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            Ok(connection)
        };
        open().map_err(|error| self.error(&error))
    }

    /// What went wrong, where, and how to mend it.
    fn error(&self, error: &rusqlite::Error) -> StoreError {
        let path = self.0.display();
        let hint = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "the disk is full; make room, and it goes on by itself",
            Some(ErrorCode::SystemIoFailure) => "the disk fails (I/O error); see the kernel's log",
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                "it must be writable for the user that tokenist runs as"
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => DAMAGED,
            Some(ErrorCode::OperationInterrupted) => {
                "the question took too long; ask for a shorter time or for fewer at once"
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another program holds it",
            _ => "see src/control/store/sqlite/README.md",
        };
        StoreError(format!("the ledger file {path}: {error}; {hint}"))
    }

    fn schema_error(&self, error: SchemaError) -> StoreError {
        let path = self.0.display();
        match error {
            SchemaError::Foreign => StoreError(format!(
                "the ledger file {path} belongs to another program; store.path names another folder"
            )),
            SchemaError::Newer { version } => StoreError(format!(
                "the ledger file {path} was written by a newer tokenist (version {version} of its tables); \
                 run that one, or restore a backup from before"
            )),
            SchemaError::Sqlite(error) => self.error(&error),
        }
    }
}

/// The entries of one kind in the ledger of a folder, also while it is in use; none where there is no ledger yet.
///
/// # Errors
/// There is a file that cannot be read.
pub fn kept<T: Kept>(directory: &Path) -> Result<Vec<(Arc<str>, T)>, StoreError> {
    let path = LedgerPath(directory.join("ledger.sqlite3").into());
    if !path.0.exists() {
        return Ok(Vec::new());
    }
    let read = || {
        let connection = Connection::open_with_flags(&*path.0, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let is_there = "SELECT count(*) FROM sqlite_schema WHERE name = 'entries'";
        if connection.query_row(is_there, [], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(Vec::new()); // An earlier version's.
        }
        let mut statement =
            connection.prepare(&format!("SELECT {} FROM entries WHERE kind = ?", rows::ENTRY))?;
        let entries = statement.query_map([T::KIND], rows::entry_of)?;
        let kept = |Stamped { value, .. }: Stamped<Entry>| Some((Arc::from(&*value.id.id), value.read()?));
        entries.filter_map(|entry| entry.map(kept).transpose()).collect()
    };
    read().map_err(|error| path.error(&error))
}

fn failed(directory: &Path, what: &str, error: &std::io::Error) -> StoreError {
    let directory = directory.display();
    StoreError(format!("the ledger's folder {directory} {what}: {error}; store.path names another one"))
}

/// In the nearest folder above that there is.
fn check_that_it_can_be_made(directory: &Path) -> Result<(), StoreError> {
    let above = directory.ancestors().skip(1).find(|above| above.exists());
    // A relative path ends in an empty one, which is where tokenist was started.
    let above = above.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    check_that_it_can_be_written(above, directory)
}

fn check_that_it_can_be_written(folder: &Path, directory: &Path) -> Result<(), StoreError> {
    let trial = folder.join(format!(".tokenist-check-{}", std::process::id()));
    std::fs::create_dir(&trial)
        .and_then(|()| std::fs::remove_dir(&trial))
        .map_err(|error| failed(directory, "cannot be written", &error))
}

/// Takes the folder for this process, with its number for later processes.
fn lock(directory: &Path, run: &str) -> Result<File, StoreError> {
    let mut file = take(directory)?;
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        write!(file, "{}\nrun {run}\n", std::process::id())
    };
    write(&mut file).map_err(|error| failed(directory, "cannot be written", &error))?;
    Ok(file)
}

/// Takes the folder for as long as the file is open, or says which process has it.
fn take(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(PRIVATE);
    let mut file = options.open(path).map_err(|error| failed(directory, "cannot be written", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // It only makes the sentence better.
            file.read_to_string(&mut holder).ok();
            Err(StoreError(format!(
                "the ledger's folder {} is used by process {}; end that one, or name another folder in store.path",
                directory.display(),
                holder.lines().next().unwrap_or("that does not say its number")
            )))
        }
        Err(TryLockError::Error(error)) => Err(failed(directory, "cannot be locked", &error)),
    }
}

/// Sees to it that no user but this process's reads or writes the ledger, also in a folder that existed: what is in
/// it are people's names, what they said, and hashes of passwords and keys. SQLite gives its own files beside it the
/// same mode. What cannot be done is told in the log and does not keep the process from starting.
fn keep_private(directory: &Path) {
    // If it cannot be made, SQLite says why.
    File::options().write(true).create_new(true).mode(PRIVATE).open(directory.join(LEDGER)).ok();
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries.filter(is_ledgers).map(|entry| entry.path()) {
        let Some(mode) = open_to_others(&path) else { continue };
        let file = path.display();
        match std::fs::set_permissions(&path, Permissions::from_mode(PRIVATE)) {
            Ok(()) => {
                tracing::warn!(%file, mode, "others could open this file of the ledger; now they cannot")
            }
            Err(error) => {
                tracing::warn!(%file, mode, %error, "others can open this file of the ledger: `chmod 600` it")
            }
        }
    }
    if let Some(mode) = open_to_others(directory) {
        let folder = directory.display();
        tracing::warn!(%folder, mode, "others may enter the ledger's folder: `chmod 700` keeps them out");
    }
}

/// Whether a file of the folder is the ledger, one that SQLite keeps beside it, a copy of it, or the lock.
fn is_ledgers(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    (name.starts_with(LEDGER) || name == LOCK) && entry.file_type().is_ok_and(|kind| kind.is_file())
}

/// Its mode, where it gives anything to others than its owner.
fn open_to_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then(|| format!("{mode:o}"))
}

/// The file in its folder.
pub const LEDGER: &str = "ledger.sqlite3";
const LOCK: &str = "lock";
/// The mode of a file that is its owner's alone.
const PRIVATE: u32 = 0o600;

/// Refuses a file that is damaged anywhere.
fn check(connection: &Connection, path: &LedgerPath) -> Result<(), StoreError> {
    let number = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let verdict = || {
        if number("page_count")? * number("page_size")? > CHECK_BYTES {
            return Ok("ok".to_owned());
        }
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
    };
    match verdict() {
        Ok(said) if said == "ok" => Ok(()),
        Ok(said) => {
            Err(StoreError(format!("the ledger file {}: {}; {DAMAGED}", path.0.display(), said.trim())))
        }
        Err(error) => Err(path.error(&error)),
    }
}

/// What an incarnation of the file finds in it.
struct Begun {
    generation: i64,
    writer: String,
    earlier: Vec<String>,
}

/// Rows are numbered anew with each incarnation, so each has a number of its own, on the disk before the first row. So is
/// the id of the run, by which the next incarnation knows this one.
fn begin_generation(connection: &mut Connection, replicated: bool, run: &str) -> rusqlite::Result<Begun> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("INSERT OR IGNORE INTO meta VALUES ('uuid', lower(hex(randomblob(16))))", [])?;
    transaction.execute(
        "INSERT INTO meta VALUES ('generation', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1",
        [],
    )?;
    let generation =
        transaction.query_row("SELECT value FROM meta WHERE key = 'generation'", [], |row| row.get(0))?;
    let writer = transaction.query_row("SELECT value FROM meta WHERE key = 'uuid'", [], |row| row.get(0))?;
    let runs = "SELECT value FROM meta WHERE key = 'runs'";
    let runs: String = transaction.query_row(runs, [], |row| row.get(0)).optional()?.unwrap_or_default();
    let mut earlier: Vec<String> = runs.split_whitespace().map(str::to_owned).collect();
    earlier.drain(..earlier.len().saturating_sub(run::EARLIER_MAX));
    let known = earlier.iter().map(String::as_str).chain([run]).collect::<Vec<_>>().join(" ");
    transaction.execute("INSERT OR REPLACE INTO meta VALUES ('runs', ?)", [known])?;
    outbox::set_replicated(&transaction, replicated)?;
    transaction.commit()?;
    Ok(Begun { generation, writer, earlier })
}

#[cfg(test)]
mod tests;
