use super::*;
use crate::store::sqlite::tests::Scratch;
use crate::store::{Sqlite, Store};
use tokenist_core::batch::Batch;
use tokenist_core::id::{Identity, SessionId};
use tokenist_core::journal::write_delta;
use tokenist_core::message::Delta;
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;
use tokenist_core::usage::Usage;

const LANES: usize = 3;

/// Tells one item from all others.
type Number = u64;

fn append(lane: &mut Lane, number: Number) -> Option<Upto> {
    let delta = Delta {
        at: Timestamp(number),
        session: SessionId(1),
        identity: Arc::new(Identity::of(format!("user-{number}").as_str().into())),
        provider: "openai".into(),
        model: "m".into(),
        usage: Usage::default(),
        cost: NanoUsd(1),
        estimated: false,
        latency_ms: None,
    };
    lane.append(|record| write_delta(&delta, record))
}

/// What is left, lane by lane.
fn left_over(store: &mut Sqlite) -> Vec<Vec<(Number, Upto)>> {
    let mut left = Vec::new();
    while let Some(items) = store.left_over().unwrap() {
        let number = |(item, upto)| match item {
            Item::Delta(delta) => (delta.at.0, upto),
            Item::Call(_) => unreachable!(),
        };
        left.push(items.into_iter().map(number).collect());
    }
    left
}

fn commit(store: &mut Sqlite, booked: Vec<Upto>) {
    store.commit(&Batch { booked, ..Batch::default() }).unwrap();
}

/// The one journal in a folder.
fn journal_in(folder: &Scratch) -> PathBuf {
    let files = files(&folder.0).unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].1.clone()
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Lanes that are written and booked by chance; what waits in each.
struct Life {
    lanes: Vec<Lane>,
    waiting: Vec<Vec<(Number, Upto)>>,
}

impl Life {
    fn begin(store: &mut Sqlite) -> Life {
        Life { lanes: store.lanes(LANES).unwrap(), waiting: vec![Vec::new(); LANES] }
    }

    fn append(&mut self, random: &mut Random, count: &mut Number) {
        let lane = random.below(LANES);
        *count += 1;
        let upto = append(&mut self.lanes[lane], *count).expect("there is room");
        self.waiting[lane].push((*count, upto));
    }

    /// As a batch does: a part of what waits in some lanes is committed.
    fn commit(&mut self, random: &mut Random, store: &mut Sqlite) {
        let mut booked = Vec::new();
        for waiting in &mut self.waiting {
            let count = random.below(waiting.len() + 1);
            booked.extend(waiting.drain(..count).next_back().map(|(_, upto)| upto));
        }
        commit(store, booked);
    }
}

#[test]
fn whatever_was_not_committed_is_left_over_until_it_is() {
    for seed in 0..8 {
        let (folder, mut random, mut count) = (Scratch::new(), Random(seed), 0);
        let mut store = folder.open();
        let mut life = Life::begin(&mut store);
        for _ in 0..6 {
            for _ in 0..40 {
                match random.below(6) {
                    0 => life.commit(&mut random, &mut store),
                    _ => life.append(&mut random, &mut count),
                }
            }
            // The next one reads it, and commits some; so does the one after it, until nothing is left.
            drop(store);
            store = folder.open();
            let mut waiting = std::mem::take(&mut life.waiting);
            loop {
                let left = left_over(&mut store);
                let is_left = |lane: &&Vec<_>| !lane.is_empty();
                assert!(
                    left.iter().filter(is_left).eq(waiting.iter().filter(is_left)),
                    "seed {seed}: {left:?} {waiting:?}"
                );
                if left.iter().all(Vec::is_empty) {
                    break;
                }
                life.waiting = waiting;
                life.commit(&mut random, &mut store);
                waiting = std::mem::take(&mut life.waiting);
                drop(store);
                store = folder.open();
            }
            life = Life::begin(&mut store);
            journal_in(&folder); // What is booked is gone.
        }
    }
}

/// Of what was never synced the disk has any page, as it was at any time, or none of it. The ledger has its commits.
#[test]
fn after_a_power_loss_each_lane_tells_what_came_next_or_nothing() {
    const PAGE_BYTES: usize = 512;
    let mut found = 0;
    for seed in 0..40 {
        let (folder, mut random, mut count) = (Scratch::new(), Random(seed), 0);
        let mut store = folder.open();
        let mut life = Life::begin(&mut store);
        let path = journal_in(&folder);
        let mut states = vec![vec![0; std::fs::read(&path).unwrap().len()]];
        for _ in 0..200 + random.below(200) {
            match random.below(10) {
                0 => life.commit(&mut random, &mut store),
                1 => states.push(std::fs::read(&path).unwrap()),
                _ => life.append(&mut random, &mut count),
            }
        }
        states.push(std::fs::read(&path).unwrap());
        drop(store);
        // Half of the time most of it has come to the disk.
        let newest = states.len() - 1;
        let lost = [1, 10][random.below(2)];
        let mut on_disk = states[newest].clone();
        for (index, page) in on_disk.chunks_mut(PAGE_BYTES).enumerate() {
            let state = if random.below(lost) == 0 { random.below(states.len()) } else { newest };
            page.copy_from_slice(&states[state][index * PAGE_BYTES..][..PAGE_BYTES]);
        }
        std::fs::write(&path, on_disk).unwrap();
        for lane in left_over(&mut folder.open()) {
            found += lane.len();
            let Some((_, upto)) = lane.first() else { continue };
            let waiting = &life.waiting[upto.lane.number as usize];
            assert_eq!(lane, waiting[..lane.len()], "seed {seed}");
        }
    }
    assert!(found > 100, "something was found: {found}");
}

#[test]
fn a_journal_is_taken_for_nobody_elses_and_for_no_other_openings() {
    let folder = Scratch::new();
    let mut store = folder.open();
    let mut lanes = store.lanes(LANES).unwrap();
    append(&mut lanes[0], 1).unwrap();
    drop(store);
    let path = journal_in(&folder);
    let bytes = std::fs::read(&path).unwrap();
    let ledger = std::fs::read(folder.0.join("ledger.sqlite3")).unwrap();

    // Another ledger's folder, at the same number of incarnations.
    let other = Scratch::new();
    let mut store = other.open();
    store.lanes(LANES).unwrap();
    let theirs = journal_in(&other);
    drop(store);
    std::fs::write(theirs, &bytes).unwrap();
    assert_eq!(left_over(&mut other.open()), [[]; 0]);

    // Under the number of an incarnation that there was not, and of one that is still to come: as where a backup of the
    // ledger is put back.
    for incarnation in [0, 2, 3, 9] {
        std::fs::write(path_of(&folder.0, incarnation), &bytes).unwrap();
    }
    let mut store = folder.open();
    let left = left_over(&mut store);
    assert_eq!(left.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0], "{left:?}");
    commit(&mut store, vec![left[0][0].1]);
    let mut lanes = store.lanes(LANES).unwrap();
    append(&mut lanes[1], 2).unwrap();
    drop(store);
    let later = std::fs::read(journal_in(&folder)).unwrap();

    std::fs::write(folder.0.join("ledger.sqlite3"), &ledger).unwrap();
    std::fs::write(path_of(&folder.0, 1), &bytes).unwrap();
    std::fs::write(path_of(&folder.0, 2), &later).unwrap();
    let mut store = folder.open();
    assert_eq!(left_over(&mut store).concat().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1]);
    // This is the second incarnation of that ledger, and nothing of the other second one is its own.
    store.lanes(LANES).unwrap();
    drop(store);
    assert_eq!(left_over(&mut folder.open()).concat(), []);
}

#[test]
fn a_journal_that_cannot_be_read_is_named_and_one_that_cannot_be_made_takes_nothing() {
    let folder = Scratch::new();
    let mut store = folder.open();
    let mut lanes = store.lanes(LANES).unwrap();
    append(&mut lanes[0], 1).unwrap();
    drop(store);
    let path = journal_in(&folder);
    let bytes = std::fs::read(&path).unwrap();

    let mut damaged = bytes.clone();
    damaged[20] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert_eq!(left_over(&mut folder.open()), [[]; 0], "nothing in it can be believed");

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let StoreError(said) = folder.open().left_over().unwrap_err();
    assert!(said.contains(path.to_str().unwrap()) && said.contains("remove the file"), "{said}");
    let StoreError(said) = Sqlite::check(&folder.config()).unwrap_err();
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    std::fs::remove_dir(&path).unwrap();

    let mut store = folder.open();
    assert_eq!(left_over(&mut store), [[]; 0]);
    std::fs::create_dir(path_of(&folder.0, store.generation as u64)).unwrap();
    let mut lanes = store.lanes(LANES).unwrap();
    assert_eq!(append(&mut lanes[0], 1), None);
    assert!(lanes[0].state().failure().is_some_and(|why| why.contains("directory")));
}

#[test]
fn whoever_ends_in_peace_leaves_no_journal_and_whoever_has_not_saved_all_does() {
    let folder = Scratch::new();
    let mut store = folder.open();
    let mut lanes = store.lanes(LANES).unwrap();
    let upto = append(&mut lanes[2], 1).unwrap();
    drop(store);
    let mut store = folder.open();
    assert_eq!(left_over(&mut store).concat(), [(1, upto)]);
    commit(&mut store, vec![upto]);
    let mut lanes = store.lanes(LANES).unwrap();
    let upto = append(&mut lanes[2], 2).unwrap();
    assert!(!lanes[2].state().is_free());
    commit(&mut store, vec![upto]);
    assert!(lanes[2].state().is_free());
    drop(store);
    assert_eq!(files(&folder.0).unwrap(), []);
    // Rows are those of the last incarnation alone.
    let rows =
        folder.open().connection().unwrap().query_row("SELECT count(*) FROM journal", [], |row| row.get(0));
    assert_eq!(rows, Ok(LANES as i64));
}
