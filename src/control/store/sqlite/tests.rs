use super::*;
use crate::store::contract::{Subject, check};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use tokenist_core::batch::{Grain, Rollup, Serial};
use tokenist_core::time::{DAY_MS, Instant};
use tokenist_core::totals::Totals;

/// A folder that is removed on drop.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("tokenist-sqlite-{}-{number}", std::process::id())))
    }

    pub(super) fn config(&self) -> Config {
        Config {
            directory: self.0.clone(),
            details_days: 90,
            rollups_days: 400,
            refusals_days: 30,
            lane_bytes: 1 << 16,
        }
    }

    pub(super) fn open(&self) -> Sqlite {
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
        open: &mut |slot| Box::new(folders.entry(slot).or_insert_with(Scratch::new).open()),
        persists: true,
        bounded: None,
    });
}

#[test]
fn a_question_ends_at_its_deadline_and_the_next_is_answered() {
    use crate::store::{Patience, UsageQuery};
    use std::time::Instant;
    let folder = Scratch::new();
    let mut store = folder.open();
    let rows = (1..=2_000).flat_map(|row| rollup(row, 1, Timestamp(0)).rollups);
    store.commit(&Batch { rollups: rows.collect(), ..Batch::default() }).unwrap();
    let mut reader = store.reader().unwrap();
    let by_model = UsageQuery {
        by: vec![crate::store::Dimension::User, crate::store::Dimension::Model],
        ..UsageQuery::default()
    };
    reader.hurry(&Patience::until(Instant::now()));
    let StoreError(said) = reader.usage(&by_model).unwrap_err();
    assert!(said.contains("took too long; ask for a shorter time"), "{said}");
    reader.hurry(&Patience::until(Instant::now() + Duration::from_secs(60)));
    assert_eq!(reader.usage(&by_model).unwrap()[0].totals.cost.0, 2_000);
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
    let now = Now { wall: Timestamp(1_795_435_200_000), instant: Instant(0) };
    store.commit(&rollup(1, 5, now.wall.minus_ms(401 * DAY_MS).day_start())).unwrap();
    assert_eq!(
        store.prune(now).unwrap(),
        Pruned { has_more: false, is_held: true },
        "nothing vouches for the clock"
    );
    drop(store);
    let mut store = folder.open();
    store.commit(&rollup(2, 7, now.wall.day_start())).unwrap();
    let connection = store.connection().unwrap();
    connection.execute("UPDATE meta SET value = ? WHERE key = 'present'", [now.wall.0 as i64]).unwrap();
    assert_eq!(store.prune(now).unwrap(), Pruned::default());
    let mut count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        store.connection().unwrap().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((count("rollups"), count("slice_hour"), count("slice_day")), (1, 1, 2));
    assert_eq!(cost(&store), 12);
}

/// `count` events, a minute apart, the newest at `newest`.
fn events(first: u64, count: u64, newest: Timestamp) -> Batch {
    let event = |index: u64| tokenist_core::batch::Event {
        serial: Serial(first + index),
        delta: tokenist_core::message::Delta {
            at: newest.minus_ms((count - 1 - index) * 60_000),
            session: tokenist_core::id::SessionId(first),
            identity: std::sync::Arc::new(tokenist_core::id::Identity::of("alice".into())),
            provider: "openai".into(),
            model: "m".into(),
            usage: Default::default(),
            cost: tokenist_core::money::NanoUsd(1),
            estimated: false,
            latency_ms: None,
        },
    };
    Batch { events: (0..count).map(event).collect(), ..Batch::default() }
}

fn event_count(store: &Sqlite) -> usize {
    store.reader().unwrap().events(&crate::store::Filter::default()).unwrap().len()
}

#[test]
fn old_events_go_in_slices_without_any_traffic() {
    let folder = Scratch::new();
    let mut store = folder.open();
    let start = Now { wall: Timestamp(1_795_435_200_000), instant: Instant(0) };
    store.commit(&events(0, 1, start.wall)).unwrap();
    store.prune(start).unwrap();
    store.commit(&events(10, 20_000, start.wall.minus_ms(91 * DAY_MS))).unwrap();
    let mut slices = 0;
    while store.prune(start.plus_ms(slices * 1_000)).unwrap().has_more {
        slices += 1;
        assert!(slices < 20_000, "it comes to an end");
    }
    assert!(slices > 1, "it is not done at once");
    assert_eq!(event_count(&store), 1);
}

#[test]
fn one_wrong_minute_removes_nothing_for_good() {
    let folder = Scratch::new();
    let mut store = folder.open();
    let start = Now { wall: Timestamp(1_795_435_200_000), instant: Instant(0) };
    store.commit(&events(0, 100, start.wall)).unwrap();
    store.prune(start).unwrap();
    let wrong = |ms: u64| Now { wall: start.wall.plus_ms(400 * DAY_MS + ms), ..start.plus_ms(ms) };
    // The clock is a year ahead for a minute, rows are written under it, and the process is started anew.
    store.commit(&events(1_000, 1, wrong(1_000).wall)).unwrap();
    for second in 1..30 {
        let pruned = store.prune(wrong(second * 1_000)).unwrap();
        assert_eq!(pruned, Pruned { has_more: false, is_held: true });
    }
    drop(store);
    let mut store = folder.open();
    for second in 30..60 {
        assert!(store.prune(wrong(second * 1_000)).unwrap().is_held);
    }
    assert_eq!(event_count(&store), 101);
    let right = start.plus_ms(3_600_000);
    assert_eq!(store.prune(right).unwrap(), Pruned::default());
    assert_eq!(event_count(&store), 101);
}

#[test]
fn age_is_counted_from_the_newest_row() {
    let folder = Scratch::new();
    let mut store = folder.open();
    let start = Now { wall: Timestamp(1_795_435_200_000), instant: Instant(0) };
    store.commit(&events(0, 1, start.wall)).unwrap();
    // Time passes as it should, and nothing new comes.
    for day in 0..200 {
        store.prune(start.plus_ms(day * DAY_MS)).unwrap();
    }
    assert_eq!(event_count(&store), 1);
    let later = start.plus_ms(200 * DAY_MS);
    store.commit(&events(10, 1, later.wall)).unwrap();
    store.prune(later).unwrap();
    assert_eq!(event_count(&store), 1, "the newer one is left");
}

#[test]
fn whoever_ends_in_peace_leaves_all_of_it_in_one_file() {
    let folder = Scratch::new();
    let mut store = folder.open();
    let reader = store.reader().unwrap();
    store.commit(&rollup(1, 5, Timestamp(0))).unwrap();
    drop(store);
    let copy = Scratch::new();
    std::fs::create_dir(&copy.0).unwrap();
    std::fs::copy(folder.0.join("ledger.sqlite3"), copy.0.join("ledger.sqlite3")).unwrap();
    assert_eq!(cost(&copy.open()), 5);
    drop(reader);
}

#[test]
fn nobody_else_reads_the_ledger_whoever_made_its_folder() {
    let modes = |folder: &Scratch| -> Vec<(String, u32)> {
        let entries = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap());
        let mut modes: Vec<_> = entries
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().mode() & 0o777))
            .collect();
        modes.sort();
        modes
    };
    let files = ["ledger.sqlite3", "ledger.sqlite3-shm", "ledger.sqlite3-wal", "lock"];
    let private = files.map(|name| (name.to_owned(), 0o600));
    let open_folder = Scratch::new();
    std::fs::create_dir(&open_folder.0).unwrap();
    std::fs::set_permissions(&open_folder.0, Permissions::from_mode(0o777)).unwrap();
    let mut store = open_folder.open();
    store.commit(&rollup(1, 5, Timestamp(0))).unwrap();
    assert_eq!(modes(&open_folder), private);
    // As an earlier version, or whoever restored a backup, left them.
    let backup = open_folder.0.join("ledger.sqlite3.bak");
    std::fs::write(&backup, "a copy").unwrap();
    drop(store);
    let all = std::fs::read_dir(&open_folder.0).unwrap();
    for path in all.map(|entry| entry.unwrap().path()) {
        std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }
    let foreign = open_folder.0.join("notes.txt");
    std::fs::write(&foreign, "not ours").unwrap();
    std::fs::set_permissions(&foreign, Permissions::from_mode(0o644)).unwrap();
    let mut store = open_folder.open();
    store.commit(&rollup(2, 5, Timestamp(0))).unwrap();
    let mut expected = Vec::from(private);
    expected.extend([("ledger.sqlite3.bak".to_owned(), 0o600), ("notes.txt".to_owned(), 0o644)]);
    expected.sort();
    assert_eq!(modes(&open_folder), expected);
    assert_eq!(open_to_others(&open_folder.0).as_deref(), Some("777"));
    assert_eq!(cost(&store), 10);
}

#[test]
fn damage_anywhere_in_the_file_is_told_at_the_start() {
    const PAGE: usize = 4096;
    let folder = Scratch::new();
    let mut store = folder.open();
    for row in 0..300 {
        store.commit(&rollup(row, 1, Timestamp(row * 3_600_000))).unwrap();
    }
    drop(store);
    let file = folder.0.join("ledger.sqlite3");
    let whole = std::fs::read(&file).unwrap();
    let page_count = whole.len() / PAGE;
    assert!(page_count > 40, "{page_count} pages");
    for page in 0..page_count {
        let mut damaged = whole.clone();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0x5a);
        std::fs::write(&file, &damaged).unwrap();
        let told = Sqlite::open(folder.config()).map(drop);
        assert!(matches!(&told, Err(StoreError(said)) if said.contains(".recover")), "page {page}: {told:?}");
        assert!(std::fs::read(&file).unwrap() == damaged, "page {page}: the file is left as it is");
    }
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(cost(&folder.open()), 300);
}

/// What `README.md` beside this file tells about the tables.
mod readme {
    use super::*;
    use crate::clock::system_time as now;
    use tokenist_core::batch::Event;
    use tokenist_core::id::{Identity, SessionId};
    use tokenist_core::message::Delta;
    use tokenist_core::usage::Usage;

    const README: &str = include_str!("README.md");

    /// A file with something of everything that the queries ask for.
    fn filled(folder: &Scratch) -> Connection {
        let mut store = folder.open();
        let mut batch = rollup(1, 2_500_000_000, now().day_start());
        batch.rollups[0].org = Some("acme".into());
        let delta = Delta {
            at: now(),
            session: SessionId(7),
            identity: std::sync::Arc::new(Identity::of("alice".into())),
            provider: "openai".into(),
            model: "m".into(),
            usage: Usage { audio_out: 3, requests: 1, ..Usage::default() },
            cost: tokenist_core::money::NanoUsd(9),
            estimated: true,
            latency_ms: Some(300),
        };
        batch.events.push(Event { serial: Serial(2), delta });
        let mut state =
            tokenist_core::batch::HolderState::of(tokenist_core::id::Holder::User("alice".into()));
        state.block.revision.0 = 1;
        state.block.value = Some(tokenist_core::limit::Block {
            reason: Some("late".into()),
            blocked_at: now(),
            expires_at: None,
        });
        batch.holders.push(state);
        store.commit(&batch).unwrap();
        drop(store);
        Connection::open(folder.0.join("ledger.sqlite3")).unwrap()
    }

    #[test]
    fn its_queries_answer() {
        let folder = Scratch::new();
        let file = filled(&folder);
        let queries: Vec<&str> =
            README.split("```sql").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(queries.len() >= 3);
        for query in queries {
            let mut statement = file.prepare(query).unwrap_or_else(|error| panic!("{query}: {error}"));
            let mut rows = statement.query([]).unwrap();
            assert!(rows.next().unwrap_or_else(|error| panic!("{query}: {error}")).is_some(), "{query}");
        }
    }

    #[test]
    fn it_names_every_table_and_column() {
        let folder = Scratch::new();
        let file = filled(&folder);
        let sql = "SELECT DISTINCT word FROM (
            SELECT t.name AS word FROM sqlite_schema t WHERE t.type IN ('table', 'view') UNION ALL
            SELECT c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table')";
        let mut statement = file.prepare(sql).unwrap();
        let words = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let words: Vec<String> = words.collect::<Result<_, _>>().unwrap();
        assert!(words.len() > 40, "{words:?}");
        let missing: Vec<&String> =
            words.iter().filter(|word| !README.contains(&format!("`{word}`"))).collect();
        assert!(missing.is_empty(), "README.md does not tell of {missing:?}");
    }
}
