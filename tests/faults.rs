//! What happens to the ledger's disk or to a shard, and what tokenist says and does then.
//!
//! The faults come from a small library that is loaded before the C library and fails tokenist's own calls.

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use tokenist_kit::{PATIENCE, Provider, Scratch, Signal, Tokenist, eventually};

/// A disk that fails on command.
struct Disk {
    scratch: Scratch,
    library: PathBuf,
}

impl Disk {
    fn new() -> Disk {
        let scratch = Scratch::new();
        let library = scratch.path().join("shim.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).args([source, "-ldl"]);
        assert!(compiler.status().unwrap().success(), "cc builds the library");
        let disk = Disk { scratch, library };
        disk.fail("none");
        disk
    }

    fn fail(&self, how: &str) {
        std::fs::write(self.word(), how).unwrap();
    }

    fn word(&self) -> PathBuf {
        self.scratch.path().join("fault")
    }

    fn folder(&self) -> PathBuf {
        self.scratch.path().join("ledger")
    }

    fn start(&self, provider: &Provider) -> Tokenist {
        self.with_settings(|settings| Tokenist::start(&provider.origin(), settings))
    }

    fn refused(&self, provider: &Provider) -> String {
        let (ended_well, output) =
            self.with_settings(|settings| Tokenist::refused(&provider.origin(), settings));
        assert!(!ended_well, "{output}");
        output
    }

    fn with_settings<T>(&self, run: impl FnOnce(&[(&str, &str)]) -> T) -> T {
        let (folder, library, word) = (self.folder(), self.library.clone(), self.word());
        run(&[
            ("store.path", folder.to_str().unwrap()),
            ("LD_PRELOAD", library.to_str().unwrap()),
            // Not `TOKENIST_<SECTION>_…` of any section that there is.
            ("TOKENIST_TEST_FAULT", word.to_str().unwrap()),
        ])
    }
}

#[test]
fn a_full_disk_is_told_loudly_disturbs_nobody_and_loses_nothing_once_there_is_room() {
    outlives("full", "full");
}

#[test]
fn a_disk_that_cannot_sync_is_told_loudly_disturbs_nobody_and_loses_nothing_once_it_can() {
    outlives("sync", "I/O");
}

fn outlives(fault: &str, word: &str) {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    let mut tokenist = disk.start(&provider);
    let mut session = tokenist.session("alice").unwrap();
    session.turn("").unwrap();
    disk.fail(fault);
    for _ in 0..5 {
        session.turn("").unwrap();
    }
    let health = || tokenist.get("/health");
    let failing = eventually(PATIENCE, health, |health| health["storeFailing"] == true);
    assert_eq!(failing["storeFailing"], true);
    assert_eq!(failing["status"], "degraded", "sessions are served all the same");
    assert!(failing["problems"].to_string().contains("The store takes nothing"), "{failing}");
    assert!(failing["storeFailure"].as_str().is_some_and(|text| text.contains(word)), "{failing}");
    assert_eq!(tokenist.metric("tokenist_store_failing"), Some(1.0));
    tokenist.logged("the store failed");
    session.turn("").unwrap();
    disk.fail("none");
    let works = eventually(PATIENCE, health, |health| health["storeFailing"] == false);
    assert_eq!((&works["storeFailing"], &works["storeFailure"]), (&Value::from(false), &Value::Null));
    assert_eq!(works["status"], "ok");
    session.turn("").unwrap();
    let delivered = provider.audit()["totals"]["total_tokens"].clone();
    let counted = eventually(PATIENCE, || tokens(&tokenist), |counted| *counted == delivered);
    assert_eq!(counted, delivered);
    // What is not in the file yet is in the journal.
    tokenist.kill();
    assert_eq!(tokens(&disk.start(&provider)), counted);
}

#[test]
fn what_is_counted_while_the_disk_is_full_outlives_a_kill() {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    let mut tokenist = disk.start(&provider);
    let mut session = tokenist.session("alice").unwrap();
    session.turn("").unwrap();
    disk.fail("full");
    for _ in 0..5 {
        session.turn("").unwrap();
    }
    let health = || tokenist.get("/health");
    let failing = eventually(PATIENCE, health, |health| health["storeFailing"] == true);
    assert_eq!((&failing["storeFailing"], &failing["journalFailure"]), (&true.into(), &Value::Null));
    tokenist.kill();
    disk.fail("none");
    assert_eq!(tokens(&disk.start(&provider)), provider.audit()["totals"]["total_tokens"]);
}

#[test]
fn a_journal_that_cannot_be_written_is_told_and_counting_goes_on() {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    let tokenist = disk.start(&provider);
    let mut session = tokenist.session("alice").unwrap();
    session.turn("").unwrap();
    let health = || tokenist.get("/health");
    assert_eq!((&health()["status"], &health()["journalFailure"]), (&"ok".into(), &Value::Null));
    disk.fail("journal");
    session.turn("").unwrap();
    let failing = health();
    assert_eq!(failing["status"], "degraded");
    assert!(failing["journalFailure"].as_str().is_some_and(|why| why.contains("Input/output")), "{failing}");
    assert!(failing["problems"].to_string().contains("a kill would lose it"), "{failing}");
    assert_eq!(tokenist.metric("tokenist_journal_failing"), Some(1.0));
    assert!(tokenist.metric("tokenist_journal_skipped_total") >= Some(1.0));
    session.turn("").unwrap();
    disk.fail("none");
    let works = eventually(PATIENCE, health, |health| health["status"] == "ok");
    assert_eq!((&works["status"], &works["journalFailure"]), (&"ok".into(), &Value::Null));
    session.turn("").unwrap();
    let delivered = provider.audit()["totals"]["total_tokens"].clone();
    let counted = eventually(PATIENCE, || tokens(&tokenist), |counted| *counted == delivered);
    assert_eq!(counted, delivered);
    drop(session);
    tokenist.leave();
    assert_eq!(tokens(&disk.start(&provider)), delivered, "and nothing is booked again");
}

#[test]
fn where_no_journal_can_be_made_it_serves_and_says_so() {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    disk.fail("nojournal");
    let tokenist = disk.start(&provider);
    tokenist.session("alice").unwrap().turn("").unwrap();
    let health = tokenist.get("/health");
    assert_eq!(health["status"], "degraded");
    assert!(health["journalFailure"].as_str().is_some_and(|why| why.contains("No space left")), "{health}");
    let delivered = provider.audit()["totals"]["total_tokens"].clone();
    let counted = eventually(PATIENCE, || tokens(&tokenist), |counted| *counted == delivered);
    assert_eq!(counted, delivered);
}

#[test]
fn where_no_file_may_grow_so_far_it_serves_without_a_journal() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start_with_small_files(4 << 10, &provider.origin(), &[]);
    tokenist.session("alice").unwrap().turn("").unwrap();
    let health = tokenist.get("/health");
    assert!(health["journalFailure"].as_str().is_some_and(|why| why.contains("too large")), "{health}");
    assert_eq!(health["storeFailing"], false);
}

#[test]
fn a_shard_that_stands_still_is_told_and_no_more_sessions_are_asked_for() {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    let tokenist = disk.with_settings(|settings| {
        let shards = [("proxy.driver", "epoll"), ("proxy.shard_count", "2")];
        Tokenist::start(&provider.origin(), &[settings, &shards].concat())
    });
    let health = || tokenist.get("/health");
    assert_eq!(health()["status"], "ok");
    disk.fail("stall");
    let stalled = eventually(PATIENCE, health, |health| health["status"] == "degraded");
    let problems = stalled["problems"].to_string();
    assert!(problems.contains("Shard 0 has not done anything") && !problems.contains("Shard 1"), "{stalled}");
    assert_eq!(tokenist.ask("GET", "/ready", &Value::Null).status, 503);
    let age = tokenist.metric("tokenist_shard_beat_age_seconds{shard=\"0\"}");
    assert!(age.is_some_and(|age| age >= 5.0), "{age:?}");
    disk.fail("none");
    assert_eq!(eventually(PATIENCE, health, |health| health["status"] == "ok")["status"], "ok");
    assert_eq!(tokenist.ask("GET", "/ready", &Value::Null).status, 200);
}

#[test]
fn a_shutdown_that_cannot_save_says_so_and_fails() {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    let mut tokenist = disk.start(&provider);
    let mut session = tokenist.session("alice").unwrap();
    session.turn("").unwrap();
    disk.fail("full");
    session.turn("").unwrap();
    session.leave();
    tokenist.signal(Signal::Terminate);
    let status = tokenist.wait(PATIENCE).expect("it ends");
    assert!(!status.success());
    assert!(tokenist.output().contains("a batch is lost"), "{}", tokenist.output());
}

#[test]
fn a_folder_that_cannot_be_written_is_named_at_the_start() {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    disk.fail("readonly");
    let said = disk.refused(&provider);
    let folder = disk.folder();
    assert!(said.contains(folder.to_str().unwrap()) && said.contains("Read-only file system"), "{said}");
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    let tokenist = disk.start(&provider);
    let said = disk.refused(&provider);
    let first = tokenist.process_id().to_string();
    assert!(said.contains(disk.folder().to_str().unwrap()) && said.contains(&first), "{said}");
    tokenist.session("alice").unwrap().turn("").unwrap();
}

#[test]
fn a_file_that_is_no_ledger_is_refused_and_left_as_it_is() {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    // One that ends in peace leaves the whole ledger in this one file.
    disk.start(&provider).leave();
    let file = disk.folder().join("ledger.sqlite3");
    let garbage = vec![0x5a; 20_000];
    std::fs::write(&file, &garbage).unwrap();
    let said = disk.refused(&provider);
    assert!(said.contains(file.to_str().unwrap()) && said.contains("recover"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), garbage);
}

#[test]
fn a_file_that_is_damaged_in_its_middle_is_refused_and_left_as_it_is() {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    let tokenist = disk.start(&provider);
    tokenist.session("alice").unwrap().turn("").unwrap();
    tokenist.leave();
    let file = disk.folder().join("ledger.sqlite3");
    let mut damaged = std::fs::read(&file).unwrap();
    let middle = damaged.len() / 2 / 4096 * 4096;
    damaged[middle..middle + 4096].fill(0x5a);
    std::fs::write(&file, &damaged).unwrap();
    let said = disk.refused(&provider);
    assert!(said.contains(file.to_str().unwrap()) && said.contains("recover"), "{said}");
    assert!(std::fs::read(&file).unwrap() == damaged);
}

#[test]
fn a_disk_that_is_full_at_the_start_is_told_and_nothing_is_served() {
    let provider = Provider::start(&[]);
    let disk = Disk::new();
    disk.fail("full");
    let said = disk.refused(&provider);
    assert!(said.contains(disk.folder().to_str().unwrap()) && said.contains("full"), "{said}");
}

/// Of alice, once everything that she was told is counted.
fn tokens(tokenist: &Tokenist) -> Value {
    tokenist.get("/admin/users/alice/usage?period=total")["usage"]["totalTokens"].clone()
}
