use super::*;
use crate::store::contract::{Subject, check};
use crate::store::{Filter, UsageQuery};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokenist_core::batch::{Grain, Rollup, Serial};
use tokenist_core::id::Holder;
use tokenist_core::ledger::{self, Ledger};
use tokenist_core::limit::Limit;
use tokenist_core::money::NanoUsd;
use tokenist_core::totals::Totals;
use tokenist_kit::{Mode, MongoProxy, Scratch};

const NOON: Timestamp = Timestamp(1_795_435_200_000);

/// One server for all tests of this process.
fn mongo() -> &'static tokenist_kit::Mongo {
    static MONGO: std::sync::OnceLock<tokenist_kit::Mongo> = std::sync::OnceLock::new();
    MONGO.get_or_init(tokenist_kit::Mongo::start)
}

fn config(uri: String, database: &str) -> Config {
    Config { uri, database: database.into(), details_days: 90, rollups_days: 400, ..Config::default() }
}

fn open(directory: PathBuf, config: Config) -> Mongo {
    let file = sqlite::Config { directory, details_days: 90, rollups_days: 400 };
    Mongo::open(file, config).unwrap()
}

/// A store that answers a commit when it is copied, so that it can be asked for it at once.
struct Copied {
    mongo: Mongo,
    mirror: Mirror,
}

impl Copied {
    fn open(directory: PathBuf, config: Config) -> Copied {
        let mongo = open(directory, config);
        let mirror = mongo.mirror().unwrap();
        Copied { mongo, mirror }
    }

    fn copy(&mut self) -> Result<(), StoreError> {
        while self.mirror.copy_some()? > 0 {}
        Ok(())
    }

    fn cost(&self) -> i64 {
        let rows = self.mongo.reader().unwrap().usage(&UsageQuery::default()).unwrap();
        rows.first().map_or(0, |row| row.totals.cost.0)
    }
}

impl Store for Copied {
    fn restore(&mut self, now: Timestamp) -> Result<Restored, StoreError> {
        self.mongo.restore(now)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.mongo.commit(batch)?;
        self.copy()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.mongo.reader()
    }
}

fn rollup(row: u64, nano: i64) -> Batch {
    let row = Rollup {
        row: Serial(row),
        user: "alice".into(),
        org: None,
        key: None,
        feature: None,
        provider: "openai".into(),
        model: "m".into(),
        start: NOON,
        grain: Grain::Hour,
        totals: Totals { cost: NanoUsd(nano), ..Totals::default() },
    };
    Batch { rollups: vec![row], ..Batch::default() }
}

#[test]
fn mongodb_keeps_the_contract() {
    let mut folders: HashMap<u32, Scratch> = HashMap::new();
    let databases: HashMap<u32, String> = (0..20).map(|place| (place, mongo().database())).collect();
    check(&mut Subject {
        open: &mut |place| {
            let folder = folders.entry(place).or_default();
            Box::new(Copied::open(folder.path().join("ledger"), config(mongo().uri(), &databases[&place])))
        },
        persists: true,
        bounded: None,
    });
}

#[test]
fn instances_share_what_is_set_and_add_up_what_is_counted() {
    let (folders, database) = ([Scratch::new(), Scratch::new()], mongo().database());
    let [mut one, mut other] = [0, 1]
        .map(|index: usize| Copied::open(folders[index].path().join("l"), config(mongo().uri(), &database)));
    one.commit(&rollup(1, 5)).unwrap();
    other.commit(&rollup(1, 7)).unwrap();
    assert_eq!((one.cost(), other.cost()), (12, 12));

    let (cursors, facts) = read_all(&other.mongo.server).unwrap();
    assert_eq!(facts, []);
    let mut ledger = Ledger::new(ledger::Config::default(), NOON);
    let place = ledger.admit(&Holder::User("alice".into()), NOON, |_, _| false).unwrap().place;
    let limit = Limit { max_tokens: Some(9), ..Limit::default() };
    ledger.set_limit(place, Some(limit), NOON);
    one.commit(&ledger.take_batch().unwrap()).unwrap();
    let follower = Follower {
        server: Arc::clone(&other.mongo.server),
        writer: other.mongo.writer.clone(),
        status: Arc::default(),
        config: other.mongo.config.clone(),
        cursors: Some(cursors),
    };
    let (cursors, facts) = follower.news().unwrap();
    let set: Vec<_> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Holder(state) => state.limit.value,
            Fact::Key(_) | Fact::Entry(_) => None,
        })
        .collect();
    assert_eq!(set, [limit]);
    let (_, facts) = Follower { cursors: Some(cursors), ..follower }.news().unwrap();
    assert_eq!(facts, [], "what is known is not told again");

    // A third that has never been there begins with it.
    let third = Scratch::new();
    let mut third = open(third.path().join("l"), config(mongo().uri(), &database));
    let restored = third.restore(NOON).unwrap();
    assert!(restored.holders.iter().any(|state| state.limit.value == Some(limit)));
}

#[test]
fn what_was_counted_before_there_was_a_mongodb_is_copied_too() {
    let (folder, database) = (Scratch::new(), mongo().database());
    let directory = folder.path().join("ledger");
    let file = || sqlite::Config { directory: directory.clone(), details_days: 90, rollups_days: 400 };
    Sqlite::open(file()).unwrap().commit(&rollup(1, 5)).unwrap();
    let open = || Copied::open(directory.clone(), config(mongo().uri(), &database));
    let mut mongo = open();
    mongo.copy().unwrap();
    assert_eq!(mongo.cost(), 5);
    drop(mongo);
    Sqlite::open(file()).unwrap().commit(&rollup(1, 7)).unwrap();
    let mut mongo = open();
    mongo.copy().unwrap();
    assert_eq!(mongo.cost(), 12);
    assert_eq!(mongo.mirror.outbox.waiting().unwrap(), 0);
}

#[test]
fn answers_that_are_lost_and_writes_that_come_late_count_nothing_twice() {
    let (folder, database) = (Scratch::new(), mongo().database());
    let proxy = MongoProxy::start(mongo());
    let mut store = Copied::open(folder.path().join("ledger"), config(proxy.uri(), &database));
    store.commit(&rollup(1, 5)).unwrap();
    proxy.set(Mode::DropAnswer { commands: &["update", "insert"], times: 2 });
    assert!(store.commit(&rollup(1, 7)).is_err() && store.copy().is_err());
    store.copy().unwrap();
    assert_eq!((store.cost(), proxy.dropped()), (7, 2));
    proxy.set(Mode::Reorder);
    for nano in [8, 9, 11] {
        store.commit(&rollup(1, nano)).unwrap();
    }
    proxy.set(Mode::Pass);
    assert!(proxy.replayed() > 0);
    assert_eq!(store.cost(), 11);
}

#[test]
fn what_is_old_goes() {
    let (folder, database) = (Scratch::new(), mongo().database());
    let mut store = Copied::open(folder.path().join("ledger"), config(mongo().uri(), &database));
    store.commit(&rollup(1, 5)).unwrap();
    let config = &store.mongo.config;
    let count = || {
        store
            .mongo
            .server
            .find("rollups", mongodb::bson::doc! {}, mongodb::bson::doc! {}, 0, 0)
            .unwrap()
            .len()
    };
    tidy::tidy(&store.mongo.server, config, NOON.plus_ms(399 * tokenist_core::time::DAY_MS)).unwrap();
    assert_eq!(count(), 1);
    tidy::tidy(&store.mongo.server, config, NOON.plus_ms(401 * tokenist_core::time::DAY_MS)).unwrap();
    assert_eq!((count(), store.cost()), (0, 5), "its sums stay");
}

#[test]
fn a_mongodb_that_is_away_stops_neither_the_start_nor_a_commit() {
    let folder = Scratch::new();
    let mut store = open(folder.path().join("ledger"), config("mongodb://127.0.0.1:1/".into(), "x"));
    store.restore(NOON).unwrap();
    store.commit(&rollup(1, 5)).unwrap();
    let StoreError(said) = store.reader().unwrap().events(&Filter::default()).unwrap_err();
    assert!(said.contains("MongoDB"), "{said}");
    let running = store.mirror().unwrap().start().unwrap();
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    while !store.status.writing.is_failing() && LOOKS.fetch_add(1, Ordering::Relaxed) < 1_000 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(store.status.failure().is_some_and(|cause| cause.contains("MongoDB")));
    running.finish(Instant::now());
}
