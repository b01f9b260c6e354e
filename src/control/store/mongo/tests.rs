use super::*;
use crate::store::contract::{Subject, check};
use crate::store::{Filter, UsageQuery};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokenist_core::batch::{Grain, HolderState, Profile, Revision, Rollup, Serial, Stamped};
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
    Config {
        uri,
        database: database.into(),
        details_days: 90,
        rollups_days: 400,
        refusals_days: 30,
        ..Config::default()
    }
}

fn open(directory: PathBuf, config: Config) -> Mongo {
    let file = sqlite::Config {
        directory,
        details_days: 90,
        rollups_days: 400,
        refusals_days: 30,
        lane_bytes: sqlite::LANE_BYTES,
    };
    Mongo::open(file, config).unwrap()
}

/// A store that answers a commit when it is copied, so that it can be asked for it at once.
struct Copied {
    mongo: Mongo,
    replicator: Replicator,
}

impl Copied {
    fn open(directory: PathBuf, config: Config) -> Copied {
        let mongo = open(directory, config);
        let replicator = mongo.replicator().unwrap();
        Copied { mongo, replicator }
    }

    fn copy(&mut self) -> Result<(), StoreError> {
        while self.replicator.copy_some(Instant::now())? > 0 {}
        Ok(())
    }

    fn cost(&self) -> i64 {
        let rows = self.mongo.reader().unwrap().usage(&UsageQuery::default()).unwrap();
        rows.first().map_or(0, |row| row.totals.cost.0)
    }
}

impl Store for Copied {
    fn restore(&mut self, now: Timestamp, holders_max: usize) -> Result<Restored, StoreError> {
        self.mongo.restore(now, holders_max)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.mongo.commit(batch)?;
        self.copy()
    }

    fn recaller(&self) -> Result<Option<Box<dyn Recall>>, StoreError> {
        self.mongo.recaller()
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
    keeps_the_contract(mongo());
}

#[test]
fn secantusdb_keeps_the_contract() {
    keeps_the_contract(&tokenist_kit::Mongo::secantusdb());
}

fn keeps_the_contract(mongo: &tokenist_kit::Mongo) {
    let mut folders: HashMap<u32, Scratch> = HashMap::new();
    let databases: HashMap<u32, String> = (0..20).map(|place| (place, mongo.database())).collect();
    check(&mut Subject {
        open: &mut |place| {
            let folder = folders.entry(place).or_default();
            Box::new(Copied::open(folder.path().join("ledger"), config(mongo.uri(), &databases[&place])))
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

    let (cursors, updates) = read_all(&other.mongo.server).unwrap();
    assert_eq!(updates, []);
    let mut ledger = Ledger::new(ledger::Config::default(), NOON);
    let place = ledger.admit(&Holder::User("alice".into()), NOON, |_, _| false).unwrap();
    let limit = Limit { max_tokens: Some(9), ..Limit::default() };
    ledger.set_limit(place, Some(limit.clone()), NOON);
    one.commit(&ledger.take_batch().unwrap()).unwrap();
    let change_reader = ChangeReader {
        server: Arc::clone(&other.mongo.server),
        writer: other.mongo.writer.clone(),
        status: Arc::default(),
        config: other.mongo.config.clone(),
        present: Arc::default(),
        cursors: Some(cursors),
    };
    let (cursors, updates) = change_reader.changes().unwrap();
    let set: Vec<_> = updates
        .iter()
        .filter_map(|update| match update {
            SettingUpdate::Holder(state) => state.limit.value.clone(),
            SettingUpdate::Key(_) | SettingUpdate::Entry(_) => None,
        })
        .collect();
    assert_eq!(set.as_slice(), std::slice::from_ref(&limit));
    let (_, updates) = ChangeReader { cursors: Some(cursors), ..change_reader }.changes().unwrap();
    assert_eq!(updates, [], "what is known is not told again");

    // A third that has never been there begins with it.
    let third = Scratch::new();
    let mut third = open(third.path().join("l"), config(mongo().uri(), &database));
    let restored = third.restore(NOON, usize::MAX).unwrap();
    assert!(restored.holders.iter().any(|state| state.limit.value.as_ref() == Some(&limit)));
}

/// Of statements that are sent together, FerretDB tries none after the first that fails.
#[test]
fn what_is_sent_behind_a_setting_that_is_outdated_arrives_all_the_same() {
    let (folders, database) = ([Scratch::new(), Scratch::new()], mongo().database());
    let [mut one, mut other] = [0, 1]
        .map(|index: usize| Copied::open(folders[index].path().join("l"), config(mongo().uri(), &database)));
    let set = |name: &str, revision: u64| HolderState {
        profile: Stamped { revision: Revision(revision), value: Profile::default() },
        ..HolderState::of(Holder::User(name.into()))
    };
    let batch = |holders: Vec<HolderState>| Batch { holders, ..Batch::default() };
    one.commit(&batch(vec![set("a", 9), set("c", 3)])).unwrap();
    other.commit(&batch(vec![set("a", 5), set("b", 5), set("c", 5), set("d", 5)])).unwrap();
    let (_, updates) = read_all(&one.mongo.server).unwrap();
    let mut found: Vec<(Holder, u64)> = updates
        .into_iter()
        .filter_map(|update| match update {
            SettingUpdate::Holder(state) => Some((state.holder.clone(), state.profile.revision.0)),
            SettingUpdate::Key(_) | SettingUpdate::Entry(_) => None,
        })
        .collect();
    found.sort();
    let expected = [("a", 9), ("b", 5), ("c", 5), ("d", 5)];
    assert_eq!(found, expected.map(|(name, revision)| (Holder::User(name.into()), revision)));
}

#[test]
fn what_was_counted_before_there_was_a_mongodb_is_copied_too() {
    let (folder, database) = (Scratch::new(), mongo().database());
    let directory = folder.path().join("ledger");
    let file = || sqlite::Config {
        directory: directory.clone(),
        details_days: 90,
        rollups_days: 400,
        refusals_days: 30,
        lane_bytes: sqlite::LANE_BYTES,
    };
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
    assert_eq!(mongo.replicator.waiting().unwrap(), 0);
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
fn what_was_answered_for_and_lost_when_the_server_died_is_sent_again() {
    let (folder, database) = (Scratch::new(), mongo().database());
    let proxy = MongoProxy::start(mongo());
    let mut store = Copied::open(folder.path().join("ledger"), config(proxy.uri(), &database));
    store.commit(&rollup(1, 5)).unwrap();
    proxy.set(Mode::Forget);
    let mut ledger = Ledger::new(ledger::Config::default(), NOON);
    let place = ledger.admit(&Holder::User("bob".into()), NOON, |_, _| false).unwrap();
    let limit = Limit { max_tokens: Some(9), ..Limit::default() };
    ledger.set_limit(place, Some(limit.clone()), NOON);
    store.commit(&ledger.take_batch().unwrap()).unwrap();
    store.commit(&rollup(2, 7)).unwrap();
    assert_eq!((store.replicator.waiting().unwrap(), store.cost()), (0, 5));
    assert!(proxy.forgotten() >= 2, "{}", proxy.forgotten());
    // It dies and is back at once, while nobody asks it for anything.
    proxy.set(Mode::Pass);
    proxy.cut();
    let copied = |store: &mut Copied| {
        // It may be in the middle of finding back.
        store.copy().ok();
        store.cost()
    };
    let cost = tokenist_kit::eventually(tokenist_kit::PATIENCE, || copied(&mut store), |cost| *cost == 12);
    assert_eq!(cost, 12);
    let (_, updates) = read_all(&store.mongo.server).unwrap();
    let set = |update: &SettingUpdate| matches!(update, SettingUpdate::Holder(state) if state.limit.value.as_ref() == Some(&limit));
    assert!(updates.iter().any(set), "{updates:?}");
}

#[test]
fn a_server_that_is_too_old_is_told_from_one_that_is_away() {
    let (folder, database) = (Scratch::new(), mongo().database());
    let proxy = MongoProxy::start(mongo());
    proxy.set(Mode::WireVersion(8));
    let mut store = open(folder.path().join("ledger"), config(proxy.uri(), &database));
    let StoreError(said) = store.restore(NOON, usize::MAX).unwrap_err();
    assert!(said.contains("wire version 8") && said.contains("wire version 9 (MongoDB 4.4)"), "{said}");
    assert!(said.contains("store.mongodb_uri") && store.server.is_incompatible(), "{said}");
    // One that is away may come back as another.
    for mode in [Mode::Refuse, Mode::Pass] {
        proxy.set(mode.clone());
        proxy.cut();
        let look =
            || store.restore(NOON, usize::MAX).is_ok() && store.cursors.is_some() == (mode == Mode::Pass);
        assert!(tokenist_kit::eventually(tokenist_kit::PATIENCE, look, |&fits| fits), "{mode:?}");
    }
}

#[test]
fn a_copy_of_a_ledger_is_refused_while_the_other_counts_and_after_it_has_gone_on() {
    let (folders, database) = ([Scratch::new(), Scratch::new()], mongo().database());
    let [original, copied] = folders.each_ref().map(|folder| folder.path().join("ledger"));
    let at = |directory: &PathBuf| Copied::open(directory.clone(), config(mongo().uri(), &database));
    let mut first = at(&original);
    first.commit(&rollup(1, 5)).unwrap();
    std::fs::create_dir(&copied).unwrap();
    for name in ["ledger.sqlite3", "ledger.sqlite3-wal"] {
        std::fs::copy(original.join(name), copied.join(name)).unwrap();
    }
    // The first is alive: it beats as often as it copies.
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let beating = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                first.copy().unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
            first
        });
        let mut twin = at(&copied);
        let StoreError(said) = twin.restore(NOON, usize::MAX).unwrap_err();
        assert!(said.contains("a copy or a backup") && said.contains("store.path"), "{said}");
        assert_eq!(twin.commit(&rollup(1, 7)).map_err(|StoreError(again)| again == said), Err(true));
        is_over.store(true, Ordering::Relaxed);
        drop(beating.join().unwrap());
    });
    // Whoever goes on in the same folder need not wait.
    let mut again = at(&original);
    again.restore(NOON, usize::MAX).unwrap();
    again.commit(&rollup(1, 9)).unwrap();
    drop(again);
    // What the copy does not know of is counted under its name now.
    let StoreError(said) = at(&copied).restore(NOON, usize::MAX).unwrap_err();
    assert!(said.contains("a copy or a backup"), "{said}");
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
    let day = |days: u64| NOON.plus_ms(days * tokenist_core::time::DAY_MS);
    let prune = |present| assert!(!prune::prune(&store.mongo.server, config, present).unwrap());
    prune(day(401));
    assert_eq!(count(), 1, "it is the newest");
    let event = mongodb::bson::doc! {"_id": "newer", "at": day(401).0 as i64};
    let insert = mongodb::bson::doc! {"insert": "events", "documents": [event]};
    store.mongo.server.write(insert).unwrap();
    prune(day(399));
    assert_eq!(count(), 1, "what lies in the future vouches for nothing");
    prune(day(401));
    assert_eq!((count(), store.cost()), (0, 5), "its sums stay");
}

#[test]
fn a_mongodb_that_is_away_stops_neither_the_start_nor_a_commit() {
    let folder = Scratch::new();
    let mut store = open(folder.path().join("ledger"), config("mongodb://127.0.0.1:1/".into(), "x"));
    store.restore(NOON, usize::MAX).unwrap();
    store.commit(&rollup(1, 5)).unwrap();
    let StoreError(said) = store.reader().unwrap().events(&Filter::default()).unwrap_err();
    assert!(said.contains("MongoDB"), "{said}");
    let running = store.replicator().unwrap().start(&crate::supervise::Supervisor::default()).unwrap();
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    while !store.status.writing.is_failing() && LOOKS.fetch_add(1, Ordering::Relaxed) < 1_000 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(store.status.failure().is_some_and(|cause| cause.contains("MongoDB")));
    running.finish(Instant::now());
}
