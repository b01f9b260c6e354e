//! Operators ask and ask, of a ledger with many users, and nobody who is served notices.
//!
//! `scripts/long/admin-load` runs [`every_question_in_a_loop`] and judges its figures; the other is its short form.

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokenist_kit::{PATIENCE, Provider, Scratch, Tokenist, eventually};

/// What operators may ask that is about many. The first finds nobody, so all are looked at.
const QUESTIONS: [&str; 11] = [
    "/admin/users?search=nobody-is-called-so",
    "/admin/users?sort=cost&limit=100",
    "/admin/users?org=nobody-is-in-it",
    "/admin/orgs/everyone/blocked",
    "/admin/orgs/everyone/users",
    "/admin/blocked",
    "/admin/overview",
    "/admin/limits?sort=used&limit=100",
    "/admin/limits?search=nobody-is-called-so",
    "/admin/usage?by=user&limit=100",
    "/auth/api-keys?limit=100",
];

/// In the short form.
const USERS: u64 = 54_000;

/// A ledger with so many users, of whom each tenth has a limit of its own and each hundredth is blocked.
fn fill(folder: &Path, origin: &str, users: u64) {
    let path = folder.to_str().unwrap();
    Tokenist::start(origin, &[("store.path", path)]).leave();
    let file = Connection::open(folder.join("ledger.sqlite3")).unwrap();
    let holder = "json_object('user', printf('user-%07d', n))";
    let limit = json!({"max_cost": 1_000_000_000_000_u64, "max_tokens": null, "window": "monthly", "mode": "enforce",
        "max_sessions": null, "on_redis_down": "local_share"});
    let block = json!({"reason": "test", "blocked_at": 1, "expires_at": null});
    let all = format!(
        "WITH RECURSIVE all_users (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM all_users WHERE n + 1 < {users})"
    );
    file.execute_batch(&format!(
        "BEGIN;
         {all} INSERT INTO users SELECT {holder}, 65536,
             json_object('org', 'everyone', 'email', printf('user-%07d@example.com', n), 'name', NULL) FROM all_users;
         {all} INSERT INTO limits SELECT {holder}, 65536, '{limit}' FROM all_users WHERE n % 10 = 0;
         {all} INSERT INTO blocks SELECT {holder}, 65536, '{block}' FROM all_users WHERE n % 100 = 0;
         COMMIT;"
    ))
    .unwrap();
}

/// How new users fared while others asked.
#[derive(Debug)]
struct Figures {
    admissions: Vec<Duration>,
    refused: usize,
    /// From a response's delivery until it was on the disk.
    commit_age_max: Duration,
    /// Questions that were answered, and that were not.
    answered: u64,
    failed: u64,
}

impl Figures {
    fn admission(&self, percent: usize) -> Duration {
        let mut sorted = self.admissions.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * percent / 100]
    }
}

/// `callers` ask this again and again while `newcomers` come one after the other, each of whom says something.
fn load(tokenist: &Tokenist, folder: &Path, path: &str, callers: usize, newcomers: usize) -> Figures {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = Connection::open_with_flags(folder.join("ledger.sqlite3"), flags).unwrap();
    let (over, answered, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (mut admissions, mut refused, mut commit_age_max) = (Vec::new(), 0, Duration::ZERO);
    thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    let count = if tokenist.ask("GET", path, &Value::Null).status == 200 {
                        &answered
                    } else {
                        &failed
                    };
                    count.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        // Also where an assertion fails, or the callers would go on for ever.
        let _end = End(&over);
        for number in 0..newcomers {
            // Somebody new for each question, whom none of them finds.
            let user = format!("newcomer-{}-{number}", hash(path));
            let began = Instant::now();
            let Ok(mut session) = tokenist.session(&user) else {
                refused += 1;
                continue;
            };
            admissions.push(began.elapsed());
            if session.turn("").is_err() {
                refused += 1;
                continue;
            }
            let delivered = Instant::now();
            let saved = || {
                let count = "SELECT count(*) FROM events WHERE user = ?";
                file.query_row(count, [&user], |row| row.get::<_, i64>(0)).unwrap() > 0
            };
            assert!(eventually(PATIENCE, saved, |saved| *saved), "what was delivered is not on the disk");
            commit_age_max = commit_age_max.max(delivered.elapsed());
            session.leave();
        }
    });
    let [answered, failed] = [answered, failed].map(AtomicU64::into_inner);
    Figures { admissions, refused, commit_age_max, answered, failed }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn sixteen_callers_who_search_and_search_keep_nobody_out_and_no_commit_back() {
    let provider = Provider::start(&[]);
    let scratch = Scratch::new();
    let folder = scratch.path().join("ledger");
    fill(&folder, &provider.origin(), USERS);
    let tokenist = Tokenist::start(&provider.origin(), &[("store.path", folder.to_str().unwrap())]);
    let figures = load(&tokenist, &folder, QUESTIONS[0], 16, 30);
    assert_eq!((figures.refused, figures.admissions.len()), (0, 30), "{figures:?}");
    // All that was asked about is there, and whoever is blocked or limited is told of.
    let first = tokenist.get("/admin/users?search=USER-000001&limit=20");
    assert_eq!(first["users"].as_array().map(Vec::len), Some(10), "{first}");
    assert_eq!(tokenist.get("/admin/overview")["blockedUsers"], json!(USERS / 100));
    assert_eq!(
        tokenist.get("/admin/blocked")["blocked"].as_array().map(Vec::len),
        Some(USERS as usize / 100)
    );
    assert_eq!(tokenist.get("/admin/limits?limit=1")["total"], json!(USERS / 10));
    tokenist.leave();
}

/// For `scripts/long/admin-load`: `TOKENIST_LOAD_USERS`, `TOKENIST_LOAD_CALLERS` and `TOKENIST_LOAD_NEWCOMERS` say how
/// many.
#[test]
#[ignore = "it takes minutes; scripts/long/admin-load runs it"]
fn every_question_in_a_loop() {
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let users = number("TOKENIST_LOAD_USERS", 1_000_000);
    let callers = number("TOKENIST_LOAD_CALLERS", 1) as usize;
    let newcomers = number("TOKENIST_LOAD_NEWCOMERS", 200) as usize;
    let provider = Provider::start(&[]);
    let scratch = Scratch::new();
    let folder = scratch.path().join("ledger");
    fill(&folder, &provider.origin(), users);
    let settings = [("store.path", folder.to_str().unwrap()), ("store.users_max", "2000000")];
    let tokenist = Tokenist::start(&provider.origin(), &settings);
    let mut is_good = true;
    eprintln!(
        "{users} users, {callers} callers who ask again and again, {newcomers} newcomers to each question"
    );
    eprintln!(
        "{:<44}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}",
        "", "p50 ms", "p99 ms", "commit", "refused", "answers", "failed"
    );
    for path in QUESTIONS {
        let figures = load(&tokenist, &folder, path, callers, newcomers);
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        let Figures { refused, commit_age_max, answered, failed, .. } = figures;
        let (p50, p99) = (figures.admission(50), figures.admission(99));
        eprintln!(
            "{path:<44}{:>9.1}{:>9.1}{:>9.0}{refused:>8}{answered:>9}{failed:>9}",
            ms(p50),
            ms(p99),
            ms(commit_age_max)
        );
        is_good &= p99 < Duration::from_millis(10) && commit_age_max < Duration::from_secs(1) && refused == 0;
    }
    assert!(is_good, "admission p99 is to be below 10 ms, a commit no older than 1 s, and nobody refused");
}
