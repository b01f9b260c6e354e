use super::*;
use crate::store::contract::{Subject, check};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use tokenist_core::batch::{Grain, Rollup, Serial};
use tokenist_core::totals::Totals;

/// A folder that is removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("tokenist-sqlite-{}-{number}", std::process::id())))
    }

    fn config(&self) -> Config {
        Config { directory: self.0.clone(), details_days: 90, rollups_days: 400 }
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(self.config()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn rollup(row: u64, nano: i64, start: Timestamp) -> Batch {
    let row = Rollup {
        row: Serial(row),
        user: "alice".into(),
        org: None,
        key: None,
        feature: None,
        provider: "openai".into(),
        model: "m".into(),
        start,
        grain: Grain::Hour,
        totals: Totals { cost: tokenist_core::money::NanoUsd(nano), ..Totals::default() },
    };
    Batch { rollups: vec![row], ..Batch::default() }
}

fn cost(store: &Sqlite) -> i64 {
    let rows = store.reader().unwrap().usage(&crate::store::UsageQuery::default()).unwrap();
    rows.first().map_or(0, |row| row.totals.cost.0)
}

#[test]
fn the_file_keeps_the_contract() {
    let mut folders: HashMap<u32, Scratch> = HashMap::new();
    check(&mut Subject {
        open: &mut |place| Box::new(folders.entry(place).or_insert_with(Scratch::new).open()),
        persists: true,
        bounded: None,
    });
}

#[test]
fn a_folder_is_used_by_one_at_a_time() {
    let folder = Scratch::new();
    let first = folder.open();
    let StoreError(said) = Sqlite::open(folder.config()).unwrap_err();
    assert!(said.contains(&format!("is used by process {}", std::process::id())), "{said}");
    drop(first);
    folder.open();
}

#[test]
fn what_is_no_ledger_is_refused_and_left_as_it_is() {
    let folder = Scratch::new();
    drop(folder.open());
    let file = folder.0.join("ledger.sqlite3");
    let garbage = vec![7; 10_000];
    std::fs::write(&file, &garbage).unwrap();
    let StoreError(said) = Sqlite::open(folder.config()).unwrap_err();
    assert!(said.contains(".recover"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), garbage);

    std::fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let StoreError(said) = Sqlite::open(folder.config()).unwrap_err();
    assert!(said.contains("another program"), "{said}");

    std::fs::remove_file(&file).unwrap();
    drop(folder.open());
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let StoreError(said) = Sqlite::open(folder.config()).unwrap_err();
    assert!(said.contains("newer tokenist (version 99"), "{said}");

    let blocked = Scratch::new();
    std::fs::write(&blocked.0, "a file").unwrap();
    let StoreError(said) = Sqlite::open(blocked.config()).unwrap_err();
    assert!(said.contains("cannot be made") && said.contains("store.path"), "{said}");
    std::fs::remove_file(&blocked.0).unwrap();
}

#[test]
fn a_full_disk_fails_a_commit_and_the_next_try_succeeds() {
    let folder = Scratch::new();
    let mut store = folder.open();
    let connection = store.connection().unwrap();
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    connection.pragma_update(None, "max_page_count", pages).unwrap();
    let batch = Batch {
        rollups: (0..500).flat_map(|row| rollup(row, 1, Timestamp(0)).rollups).collect(),
        ..Batch::default()
    };
    let StoreError(said) = store.commit(&batch).unwrap_err();
    assert!(said.contains("the disk is full") && said.contains("ledger.sqlite3"), "{said}");
    assert_eq!(cost(&store), 0, "nothing of it is there");
    store.commit(&batch).unwrap();
    assert_eq!(cost(&store), 500);
}

#[test]
fn rows_of_different_openings_never_meet() {
    let folder = Scratch::new();
    for _ in 0..3 {
        folder.open().commit(&rollup(1, 5, Timestamp(0))).unwrap();
    }
    assert_eq!(cost(&folder.open()), 15);
}

#[test]
fn what_is_old_goes_and_its_sums_stay() {
    let folder = Scratch::new();
    let mut store = folder.open();
    let now = Timestamp(1_795_435_200_000);
    store.commit(&rollup(1, 5, now.minus_ms(401 * DAY_MS).day_start())).unwrap();
    store.commit(&rollup(2, 7, now.day_start())).unwrap();
    assert!(!store.tidy(now).unwrap());
    let count = |store: &mut Sqlite| {
        store
            .connection()
            .unwrap()
            .query_row("SELECT count(*) FROM rollups", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!((count(&mut store), cost(&store)), (1, 12));
}
