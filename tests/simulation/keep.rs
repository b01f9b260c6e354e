//! What outlives a process: its store, and what is known to have been written there.

use crate::books::Books;
use crate::cast::{key_index, who};
use crate::disk::Disk;
use crate::mongo::Mongo;
use crate::shape::{Keep, Shape};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tokenist_control::store::mongo::{self, Courier};
use tokenist_control::store::{Filter, Memory, Reader, Sqlite, Store, StoreError, memory, sqlite};
use tokenist_core::batch::{Batch, Event, HolderState, Restored, Stamped};
use tokenist_core::journal::{Item, Upto};
use tokenist_core::key::Key;
use tokenist_core::time::Timestamp;

/// Statements of one command to MongoDB: so few that a batch of the ledger takes several.
const STATEMENTS: usize = 3;

#[derive(Debug)]
pub(crate) struct Kept {
    keep: Keep,
    disk: Disk,
    folder: Option<Folder>,
    lane_bytes: u64,
    details_days: u64,
    pub(crate) written: Written,
}

/// A process's store.
pub(crate) enum Opened {
    Store(Box<dyn Store>),
    Mongo(Box<mongo::Mongo>),
}

impl Opened {
    /// What copies to MongoDB, where there is one.
    pub(crate) fn courier(&mut self) -> Option<Courier> {
        match self {
            Opened::Store(_) => None,
            Opened::Mongo(mongo) => Some(mongo.courier().expect("its file can be read")),
        }
    }

    pub(crate) fn into_store(self) -> Box<dyn Store> {
        match self {
            Opened::Store(store) => store,
            Opened::Mongo(mongo) => mongo,
        }
    }

    pub(crate) fn store(&mut self) -> &mut dyn Store {
        match self {
            Opened::Store(store) => &mut **store,
            Opened::Mongo(mongo) => &mut **mongo,
        }
    }
}

/// What stores have taken, whether or not the answer was heard.
#[derive(Debug, Default)]
pub(crate) struct Written {
    numbers: BTreeSet<u64>,
    states: Vec<HolderState>,
    keys: Vec<Stamped<Key>>,
}

impl Kept {
    pub(crate) fn new(shape: &Shape) -> Kept {
        let folder = matches!(shape.keep, Keep::File | Keep::Mongo).then(Folder::with_blank_ledger);
        Kept {
            keep: shape.keep,
            disk: Disk::default(),
            folder,
            lane_bytes: shape.lane_bytes,
            details_days: shape.details_days,
            written: Written::default(),
        }
    }

    /// The next process's store.
    pub(crate) fn open(&self, server: &Mongo) -> Opened {
        match (self.keep, &self.folder) {
            (Keep::File, Some(folder)) => Opened::Store(folder.open(self)),
            (Keep::Mongo, Some(folder)) => Opened::Mongo(Box::new(folder.open_over(self, server))),
            (Keep::Disk, _) => Opened::Store(Box::new(self.disk.open())),
            _ => Opened::Store(Box::new(Memory::new(memory::Config::default()))),
        }
    }

    /// The same as it is on the disk now, in another folder.
    pub(crate) fn copied(&self) -> Kept {
        let folder = self.folder.as_ref().map(Folder::copied);
        let (disk, written) = (self.disk.clone(), Written::default());
        Kept { disk, folder, written, ..*self }
    }

    /// Whether what is counted is in a journal before it is committed.
    pub(crate) fn has_journal(&self) -> bool {
        self.folder.is_some()
    }

    /// Whether what is committed is still there after the process.
    pub(crate) fn lasts(&self) -> bool {
        self.keep != Keep::Memory
    }

    /// All events that the store has. `None` where those are read from MongoDB.
    pub(crate) fn events(&self, store: &dyn Store) -> Option<Vec<Event>> {
        match self.keep {
            Keep::Disk => Some(self.disk.events()),
            Keep::Memory | Keep::File => {
                let events = store.reader().and_then(|mut reader| reader.events(&Filter::default()));
                Some(events.expect("it can be read"))
            }
            Keep::Mongo => None,
        }
    }
}

impl Written {
    pub(crate) fn note(&mut self, batch: &Batch) {
        self.numbers.extend(batch.events.iter().filter_map(|event| event.delta.latency_ms));
        self.states.extend(batch.holders.iter().cloned());
        self.keys.extend(batch.keys.iter().cloned());
    }

    /// What was in the journal is in the store, too.
    pub(crate) fn note_rebooked(&mut self, numbers: impl Iterator<Item = u64>) {
        self.numbers.extend(numbers);
    }

    pub(crate) fn has(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }

    /// What the next process is to find.
    pub(crate) fn tell(&self, books: &mut Books) {
        for state in &self.states {
            books.join(who(&state.holder), state);
        }
        for key in &self.keys {
            books.join_key(key_index(&key.value.hash), key);
        }
    }
}

/// A store whose commits fail, whether or not it takes what is committed.
pub(crate) struct Failing<'a> {
    pub(crate) store: &'a mut dyn Store,
    pub(crate) fails: bool,
    pub(crate) takes: bool,
}

impl Store for Failing<'_> {
    fn restore(&mut self, now: Timestamp, holders_max: usize) -> Result<Restored, StoreError> {
        self.store.restore(now, holders_max)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if !self.fails || self.takes {
            self.store.commit(batch)?;
        }
        if self.fails { Err(StoreError("it fails".into())) } else { Ok(()) }
    }

    fn left_over(&mut self) -> Result<Option<Vec<(Item, Upto)>>, StoreError> {
        self.store.left_over()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.store.reader()
    }
}

/// Of a ledger file; removed on drop.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Nothing here survives a power cut, so memory will do, where there is a file system in it.
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Folder(root.join(format!("tokenist-simulation-{}-{count}", std::process::id())))
    }

    /// With a ledger file of this version that no process has had yet. A scenario is over in less time than the steps take
    /// that lead from the first version to this one, so they are taken once.
    fn with_blank_ledger() -> Folder {
        static BLANK: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let folder = Folder::new();
            drop(Sqlite::open(folder.config(0, sqlite::LANE_BYTES)).expect("a ledger file can be made"));
            let path = folder.0.join(sqlite::LEDGER);
            // Whose file it is, and how often it was opened.
            let file = Connection::open(&path).expect("it can be opened");
            file.execute("DELETE FROM meta", []).expect("it can be written");
            file.close().expect("nothing is left in its log");
            std::fs::read(path).expect("it can be read")
        });
        let folder = Folder::new();
        std::fs::DirBuilder::new().mode(0o700).create(&folder.0).expect("a folder can be made");
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(folder.0.join(sqlite::LEDGER))
            .expect("it is ours");
        file.write_all(&BLANK).expect("it can be written");
        folder
    }

    fn copied(&self) -> Folder {
        let copy = Folder::new();
        std::fs::create_dir_all(&copy.0).expect("a folder can be made");
        for file in std::fs::read_dir(&self.0).expect("it can be read") {
            let file = file.expect("it can be read");
            std::fs::copy(file.path(), copy.0.join(file.file_name())).expect("it can be copied");
        }
        copy
    }

    fn config(&self, details_days: u64, lane_bytes: u64) -> sqlite::Config {
        let directory = self.0.clone();
        sqlite::Config { directory, details_days, rollups_days: 0, refusals_days: 0, lane_bytes }
    }

    fn open(&self, kept: &Kept) -> Box<dyn Store> {
        Box::new(
            Sqlite::open(self.config(kept.details_days, kept.lane_bytes))
                .expect("a ledger file can be opened"),
        )
    }

    fn open_over(&self, kept: &Kept, server: &Mongo) -> mongo::Mongo {
        let config = mongo::Config { batch: STATEMENTS, ..mongo::Config::default() };
        let opened =
            mongo::Mongo::over(self.config(kept.details_days, kept.lane_bytes), config, server.transport());
        opened.expect("a ledger file can be opened")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It may never have been opened.
        std::fs::remove_dir_all(&self.0).ok();
    }
}
