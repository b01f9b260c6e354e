//! The ledger file: SQLite in a folder of its own, one process at a time.
//!
//! Start at [`Sqlite::open`]. Tables are in `schema`, what goes in is in `commit`, what comes out in `restore`,
//! `read` and `usage`. `sqlite/README.md` is for whoever opens the file by hand.
//!
//! Invariant: what [`Store::commit`] has answered for is synced to the disk. After a failure nothing is believed: the
//! file is opened anew and the batch committed again.

mod commit;
mod counts;
pub(crate) mod outbox;
mod read;
mod restore;
mod schema;
pub(crate) mod usage;

use self::outbox::{Copied, Outbox};
use self::read::FileReader;
use self::schema::SchemaError;
use super::{Reader, Store, StoreError};
use crate::run::{self, Run};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokenist_core::batch::{Batch, Restored};
use tokenist_core::time::{DAY_MS, Timestamp};

#[derive(Clone, Debug)]
pub struct Config {
    /// The folder; made if it is not there.
    pub directory: PathBuf,
    /// Events, sessions and logs go when they are so old; 0: never. Likewise rollups; sums by day and month stay.
    pub details_days: u64,
    pub rollups_days: u64,
}

#[derive(Debug)]
pub struct Sqlite {
    config: Config,
    place: Place,
    /// `None` after a failure, until the file is opened anew.
    connection: Option<Connection>,
    /// This process's use of the file, with the file's name among all ledgers.
    run: Run,
    /// This opening of the file.
    generation: i64,
    /// The file is copied elsewhere, so what changes in it is noted until it is.
    mirrored: bool,
    copied: Arc<Copied>,
    /// Held for as long as the process uses the folder.
    _lock: File,
}

/// Where the file is, for errors.
#[derive(Clone, Debug)]
struct Place(Arc<Path>);

/// Statements that are kept prepared.
const STATEMENT_COUNT: usize = 64;
/// Rows that one step of tidying deletes.
const TIDY_ROWS: i64 = 5_000;
/// A file up to this size is checked whole at the start, which takes a quarter of a second. Of a larger one what the
/// ledger goes on with is read then, and so checked; all else when it is asked for or written to.
const CHECK_BYTES: i64 = 64 << 20;

const DAMAGED: &str = "it is damaged or no ledger; put it aside and restore a backup, or save what is left with \
                       `sqlite3 FILE .recover`";

impl Sqlite {
    /// Takes the folder for this process, brings the file up to date and counts this opening.
    pub fn open(config: Config) -> Result<Sqlite, StoreError> {
        Sqlite::open_as(config, false)
    }

    /// As [`Sqlite::open`], for a file that is copied elsewhere.
    pub(crate) fn open_mirrored(config: Config) -> Result<Sqlite, StoreError> {
        Sqlite::open_as(config, true)
    }

    fn open_as(config: Config, mirrored: bool) -> Result<Sqlite, StoreError> {
        let directory = &config.directory;
        let failed = |what: &str, error: std::io::Error| {
            StoreError(format!(
                "the ledger's folder {} {what}: {error}; store.path names another one",
                directory.display()
            ))
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| failed("cannot be made", error))?;
        let id = run::new_id();
        let lock = lock(directory, &id, &failed)?;
        let place = Place(directory.join("ledger.sqlite3").into());
        let mut connection = place.connect()?;
        schema::migrate(&mut connection).map_err(|error| place.schema_error(error))?;
        check(&connection, &place)?;
        let begun = begin_generation(&mut connection, mirrored, &id).map_err(|error| place.error(&error))?;
        let Begun { generation, writer, earlier } = begun;
        let locked_at = run::place_of(&lock).map_err(|error| failed("cannot be told from others", error))?;
        Ok(Sqlite {
            config,
            place,
            connection: Some(connection),
            run: Run { writer, id, place: locked_at, earlier, lasts: true },
            generation,
            mirrored,
            copied: Arc::default(),
            _lock: lock,
        })
    }

    /// What has changed and is not copied yet, where the file is mirrored.
    pub(crate) fn outbox(&self) -> Result<Outbox, StoreError> {
        Ok(Outbox {
            connection: self.read_only()?,
            place: self.place.clone(),
            copied: Arc::clone(&self.copied),
            writer: self.run.writer.as_str().into(),
            generation: self.generation as u64,
        })
    }

    fn read_only(&self) -> Result<Connection, StoreError> {
        let connection = self.place.connect()?;
        connection.pragma_update(None, "query_only", true).map_err(|error| self.place.error(&error))?;
        Ok(connection)
    }

    /// The open file; opened anew after a failure.
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(self.place.connect()?);
        }
        Ok(self.connection.as_mut().expect("it was just opened"))
    }

    fn transact<T>(
        &mut self,
        act: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let place = self.place.clone();
        let connection = self.connection()?;
        let done =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
                let value = act(&transaction)?;
                transaction.commit().map(|()| value)
            });
        done.map_err(|error| {
            self.connection = None;
            place.error(&error)
        })
    }
}

impl Store for Sqlite {
    fn restore(&mut self, now: Timestamp) -> Result<Restored, StoreError> {
        let place = self.place.clone();
        let beside = place.connect()?;
        let connection = self.connection()?;
        let restored = restore::read_all(connection, beside, now).map_err(|error| place.error(&error))?;
        // So much is not read again.
        connection.execute_batch("PRAGMA shrink_memory").map_err(|error| place.error(&error))?;
        Ok(restored)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let (generation, mirrored, copied) = (self.generation, self.mirrored, Arc::clone(&self.copied));
        self.transact(|transaction| {
            if mirrored {
                outbox::forget(transaction, &copied)?;
            }
            commit::write(transaction, generation, batch, mirrored)
        })
    }

    fn run(&self) -> Option<Run> {
        Some(self.run.clone())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(FileReader { connection: self.read_only()?, place: self.place.clone() }))
    }

    fn recover(&mut self) {
        self.connection = None;
    }

    fn tidy(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        let old = [
            ("events", "generation, serial", "at", self.config.details_days),
            ("sessions", "generation, session", "closed_at", self.config.details_days),
            ("logs", "id", "at", self.config.details_days),
            ("marks", "id", "at", self.config.details_days),
            ("audits", "id", "at", self.config.rollups_days),
            ("rollups", "generation, row", "start", self.config.rollups_days),
            ("slice_hour", "start, org, feature, provider, model", "start", self.config.rollups_days),
        ];
        let deleted = self.transact(|transaction| {
            let mut deleted = 0;
            for (table, key, at, days) in old.into_iter().filter(|(_, _, _, days)| *days > 0) {
                let until = counts::time(now.minus_ms(days.saturating_mul(DAY_MS)));
                let sql = format!(
                    "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {at} < ? LIMIT ?)"
                );
                deleted = deleted.max(transaction.prepare_cached(&sql)?.execute([until, TIDY_ROWS])?);
            }
            Ok(deleted)
        })?;
        Ok(deleted as i64 >= TIDY_ROWS)
    }
}

/// A process that ends in peace leaves one whole file, which can be copied.
impl Drop for Sqlite {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            // If it cannot be done, what is in the log beside the file is as safe there.
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).ok();
        }
    }
}

impl Place {
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

/// Takes the folder, or says who has it.
fn lock(
    directory: &Path,
    run: &str,
    failed: &dyn Fn(&str, std::io::Error) -> StoreError,
) -> Result<File, StoreError> {
    let path = directory.join("lock");
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path).map_err(|error| failed("cannot be written", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // It only makes the sentence better.
            file.read_to_string(&mut holder).ok();
            return Err(StoreError(format!(
                "the ledger's folder {} is used by process {}; end that one, or name another folder in store.path",
                directory.display(),
                holder.lines().next().unwrap_or("that does not say its number")
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed("cannot be locked", error)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        write!(file, "{}\nrun {run}\n", std::process::id())
    };
    write(&mut file).map_err(|error| failed("cannot be written", error))?;
    Ok(file)
}

/// Refuses a file that is damaged anywhere.
fn check(connection: &Connection, place: &Place) -> Result<(), StoreError> {
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
            Err(StoreError(format!("the ledger file {}: {}; {DAMAGED}", place.0.display(), said.trim())))
        }
        Err(error) => Err(place.error(&error)),
    }
}

/// What an opening of the file finds in it.
struct Begun {
    generation: i64,
    writer: String,
    earlier: Vec<String>,
}

/// Rows are numbered anew with each opening, so each has a number of its own, on the disk before the first row. So is
/// the id of the run, by which the next opening knows this one.
fn begin_generation(connection: &mut Connection, mirrored: bool, run: &str) -> rusqlite::Result<Begun> {
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
    outbox::set_mirrored(&transaction, mirrored)?;
    transaction.commit()?;
    Ok(Begun { generation, writer, earlier })
}

#[cfg(test)]
mod tests;
