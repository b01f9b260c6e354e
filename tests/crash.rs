//! What `kill -9` can take: nothing of what an application was told that it used, and never anything twice. And what a
//! power loss can take: what was counted in the last moment.
//!
//! The applications say what they were told, the provider what it has sent, to whom. After each kill what the ledger has
//! gained lies between the two, for each user, model and kind of token. Estimates are looked at apart: a response that is
//! under way when its process is killed has none.

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokenist_core::usage::KINDS;
use tokenist_kit::{Load, PATIENCE, Provider, Scratch, TOKEN, Tokenist, eventually, now_ms, request};

/// How often to kill, unless `TOKENIST_TEST_KILLS` says otherwise.
const ROUNDS: u64 = 10;
const SESSIONS: u64 = 200;
/// As fast as speech would be in which a turn takes a second or two, with the sound of an answer in pieces.
const SPEECH: &str = "pace=20,chunks=8";
/// A start takes about as long, so a kill within it is before, in and after what is booked there.
const START_MS: u64 = 120;
/// What the ledger may not have written: the beat of its commits, and what the longest commit has taken.
const COMMIT_MS: u64 = 100;
/// What lies between the provider's send and the beat's begin, on a busy machine.
const SLACK_MS: u64 = 150;

/// How often to kill.
fn rounds() -> u64 {
    std::env::var("TOKENIST_TEST_KILLS")
        .map_or(ROUNDS, |count| count.parse().expect("TOKENIST_TEST_KILLS is a number"))
}

/// By user and model.
type Sums = BTreeMap<(String, String), [u64; KINDS.len()]>;

/// A ledger that outlives those who count in it, behind the simulated provider.
struct Bench {
    provider: Provider,
    folder: Scratch,
    random: Random,
    /// One at a time has the machine.
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    fn new() -> Bench {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let random = Random(now_ms());
        eprintln!("seed {}", random.0);
        Bench { provider: Provider::start(&["--sim", SPEECH]), folder: Scratch::new(), random, _turn: turn }
    }

    fn path(&self) -> String {
        self.folder.path().join("ledger").to_str().expect("temporary folders have plain names").to_owned()
    }

    fn with_settings<T>(&self, run: impl FnOnce(&str, &[(&str, &str)]) -> T) -> T {
        let path = self.path();
        // A ring that was killed is given back late, and so many of them need more memory than there may be.
        let driver = ("proxy.driver", "epoll");
        run(&self.provider.origin(), &[("store.path", &path), ("limits.max_cost_usd", "-1"), driver])
    }

    fn start(&self) -> Tokenist {
        self.with_settings(Tokenist::start)
    }

    /// Sessions that talk, until their tokenist is killed. Since when it may not have committed what was counted, and
    /// what they were told.
    fn talk_and_die(&mut self, mut tokenist: Tokenist) -> (u64, Sums) {
        let scenario = format!("turns,sessions={SESSIONS},users={SESSIONS},rate=300,turns=0,seconds=60");
        let load = Load::start(tokenist.listen, &scenario);
        std::thread::sleep(Duration::from_millis(700 + self.random.below(900)));
        let lag = tokenist.metric("tokenist_commit_lag_seconds_max").expect("there is such a metric");
        let committed_at = now_ms() - COMMIT_MS - SLACK_MS - (lag * 1_000.0).ceil() as u64;
        tokenist.kill();
        (committed_at, sums(&load.figures()["users"]))
    }

    /// The next one is killed as soon as it comes up, or before.
    fn die_starting(&mut self) {
        let after = Duration::from_millis(self.random.below(START_MS));
        self.with_settings(|origin, settings| Tokenist::start_and_kill(origin, settings, after));
    }

    /// What the provider has sent.
    fn sent(&self) -> Sums {
        sums(&self.provider.audit()["by_key"])
    }
}

#[test]
fn a_kill_loses_nothing_that_anybody_was_told_and_repeats_nothing() {
    let mut bench = Bench::new();
    let (mut held, mut sent) = (Sums::new(), Sums::new());
    let (mut told_in_all, mut booked) = (0, 0);
    for round in 0..rounds() {
        let tokenist = bench.start();
        assert_eq!(ledger(&bench.path()), held, "round {round}: a restart changes no total");
        if round == 0 {
            use_up_the_limit_of(&tokenist, "spent");
        }
        let refused = tokenist.session("spent").unwrap().hear_out().1.map(|(code, _)| code);
        assert_eq!(refused, Some(4004), "round {round}: whoever was over the limit stays refused");
        let (_, told) = bench.talk_and_die(tokenist);
        for _ in 0..bench.random.below(3) {
            bench.die_starting();
        }

        let again = bench.start();
        let (before, sent_before) = (held, sent);
        (held, sent) = (ledger(&bench.path()), bench.sent());
        for (whose, sent) in &sent {
            let of = |sums: &Sums| sums.get(whose).copied().unwrap_or_default();
            let (told, gained, sent) =
                (of(&told), minus(of(&held), of(&before)), minus(*sent, of(&sent_before)));
            for (index, kind) in KINDS.iter().enumerate() {
                let [told, gained, sent] = [told, gained, sent].map(|counts| counts[index]);
                assert!(
                    told <= gained,
                    "round {round}: {whose:?} was told {told} {kind}, {gained} are there"
                );
                assert!(gained <= sent, "round {round}: {whose:?} has {gained} {kind}, {sent} were sent");
            }
        }
        told_in_all += total(&told);
        assert_eq!(again.get("/health")["status"], "ok");
        let found = again.metric("tokenist_journal_booked").expect("there is such a metric");
        booked += found as u64;
        eprintln!(
            "round {round}: {} requests told, {} there, {} sent; {found} were booked by the last start",
            total(&told),
            total(&held) - total(&before),
            total(&sent) - total(&sent_before)
        );
        // The next round's life must find all that this one has.
        again.leave();
        let left = std::fs::read_dir(bench.path()).unwrap().map(|file| file.unwrap().file_name());
        let journals = left.filter(|name| name.to_string_lossy().starts_with("journal")).count();
        assert_eq!(journals, 0, "who ends in peace leaves one whole file");
    }
    assert!(told_in_all > 0 && booked > 0, "kills have caught something that was not committed");
}

/// The journal was never synced: of its pages the disk may have any, as they were at any time, or none.
#[test]
fn a_power_loss_takes_no_more_than_the_last_moment_and_repeats_nothing() {
    let mut bench = Bench::new();
    let (mut held, mut sent) = (Sums::new(), Sums::new());
    for round in 0..rounds() / 2 {
        let tokenist = bench.start();
        assert_eq!(ledger(&bench.path()), held, "round {round}: a restart changes no total");
        let (committed_at, told) = bench.talk_and_die(tokenist);
        lose_pages(&bench.path(), &mut bench.random);
        let again = bench.start();
        let (before, sent_before) = (held, sent);
        (held, sent) = (ledger(&bench.path()), bench.sent());
        let recent = recent(&bench.provider.audit(), committed_at);
        let mut missing = BTreeMap::<&str, u64>::new();
        for (whose, sent) in &sent {
            let of = |sums: &Sums| sums.get(whose).copied().unwrap_or_default();
            let (told, gained, sent) =
                (of(&told), minus(of(&held), of(&before)), minus(*sent, of(&sent_before)));
            for (index, kind) in KINDS.iter().enumerate() {
                assert!(
                    gained[index] <= sent[index],
                    "round {round}: {whose:?} has more {kind} than were sent"
                );
            }
            *missing.entry(&whose.0).or_default() += tokens(told).saturating_sub(tokens(gained));
        }
        for (user, missing) in missing {
            let bound = recent.get(user).copied().unwrap_or(0);
            assert!(missing <= bound, "round {round}: {user} lost {missing} tokens, {bound} were new");
        }
        again.leave();
    }
}

/// Calls that do not pass through the proxy: what was answered is counted, and known if it is sent again.
#[test]
fn a_kill_loses_no_call_that_was_answered() {
    let mut bench = Bench::new();
    let mut answered = Vec::new();
    for round in 0..rounds() / 2 {
        let mut tokenist = bench.start();
        let (admin, is_over) = (tokenist.admin, AtomicBool::new(false));
        let last_of = |caller: u64| {
            let mut count = 0;
            while !is_over.load(Ordering::Acquire) {
                if call(admin, caller, round, count) != 201 {
                    break;
                }
                count += 1;
            }
            (caller, round, count)
        };
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4).map(|caller| scope.spawn(move || last_of(caller))).collect();
            std::thread::sleep(Duration::from_millis(200 + bench.random.below(300)));
            tokenist.kill();
            is_over.store(true, Ordering::Release);
            answered.extend(callers.into_iter().map(|caller| caller.join().unwrap()));
        });
        bench.die_starting();
        let again = bench.start();
        for &(caller, round, count) in &answered {
            let logs = again.get(&format!("/admin/orgs/acme/users/{}/logs?limit=1", name(caller, round)));
            let kept = logs["total"].as_u64().unwrap_or_else(|| panic!("{logs}"));
            assert!((count..=count + 1).contains(&kept), "{kept} are kept, {count} were answered");
            let sums = ledger_of(&bench.path(), &format!("user = '{}'", name(caller, round)));
            assert_eq!(total(&sums), kept, "as many are counted");
        }
        // The last one is sent again, as whoever has had no answer does.
        let &(caller, round, count) = answered.last().expect("four have called");
        assert!(count > 0, "somebody was answered");
        assert_eq!(call(again.admin, caller, round, count - 1), 201);
        let logs = again.get(&format!("/admin/orgs/acme/users/{}/logs?limit=1", name(caller, round)));
        assert!(logs["total"].as_u64() <= Some(count + 1), "it was kept before");
        again.leave();
    }
}

fn name(caller: u64, round: u64) -> String {
    format!("caller-{caller}-{round}")
}

/// Tells of a call, as an application does. What it is answered with.
fn call(admin: std::net::SocketAddr, caller: u64, round: u64, number: u64) -> u16 {
    let headers = [
        ("Authorization", format!("Bearer {TOKEN}")),
        ("Content-Type", "application/json".to_owned()),
        ("Idempotency-Key", format!("{caller} {round} {number}")),
    ];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let body = json!({"userId": name(caller, round), "orgId": "acme", "model": "gpt-4o-mini",
        "request": {"text": "x".repeat(500)},
        "response": {"id": format!("{caller}-{round}-{number}"), "usage": {"input_tokens": 3, "output_tokens": 4}}});
    request(admin, "POST", "/sdk/log", &headers, &body.to_string()).status
}

/// What a disk has of a journal that was never synced.
fn lose_pages(folder: &str, random: &mut Random) {
    const PAGE_BYTES: usize = 4096;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal")) {
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let lost = random.below(4);
        for page in bytes.chunks_mut(PAGE_BYTES) {
            if random.below(3) < lost {
                page.fill(0);
            }
        }
        std::fs::write(&path, bytes).unwrap();
    }
}

/// What the ledger holds that the provider has stated, of the users under load.
fn ledger(folder: &str) -> Sums {
    ledger_of(folder, "user LIKE 'user-%'")
}

/// Row by row what was stated; together with what was estimated it is what the sums say.
fn ledger_of(folder: &str, which: &str) -> Sums {
    let path = Path::new(folder).join("ledger.sqlite3");
    if !path.exists() {
        return Sums::new();
    }
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    file.busy_timeout(PATIENCE).unwrap();
    let read = |table: &str, which: &str| -> Sums {
        let kinds = KINDS.map(|kind| format!("sum({kind})")).join(", ");
        let sql = format!("SELECT user, model, {kinds} FROM {table} WHERE {which} GROUP BY user, model");
        let mut statement = file.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| {
            let mut counts = [0; KINDS.len()];
            for (index, count) in counts.iter_mut().enumerate() {
                *count = row.get::<_, i64>(index + 2)? as u64;
            }
            Ok(((row.get(0)?, row.get(1)?), counts))
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(
        read("events", which),
        read("rollups", which),
        "each response is there as often as it is counted"
    );
    read("events", &format!("{which} AND NOT estimated"))
}

/// Of what `tokload` says, by user and model.
fn sums(users: &Value) -> Sums {
    let users = users.as_object().unwrap_or_else(|| panic!("{users}"));
    let models = users.iter().filter(|(user, _)| user.starts_with("user-")).flat_map(|(user, models)| {
        models.as_object().into_iter().flatten().map(move |(model, usage)| (user, model, usage))
    });
    let counts = |usage: &Value| KINDS.map(|kind| usage[kind].as_u64().unwrap_or_else(|| panic!("{usage}")));
    models.map(|(user, model, usage)| ((user.clone(), model.clone()), counts(usage))).collect()
}

fn minus<const N: usize>(a: [u64; N], b: [u64; N]) -> [u64; N] {
    std::array::from_fn(|index| a[index].checked_sub(b[index]).expect("what is counted only grows"))
}

fn tokens(counts: [u64; KINDS.len()]) -> u64 {
    let of = |wanted: &str| counts[KINDS.iter().position(|kind| *kind == wanted).unwrap()];
    ["text_in", "audio_in", "image_in", "text_out", "audio_out", "image_out"].map(of).iter().sum()
}

/// Requests in all.
fn total(sums: &Sums) -> u64 {
    sums.values().map(|counts| counts[KINDS.len() - 1]).sum()
}

/// What the provider has delivered since `from`.
fn recent(audit: &Value, from: u64) -> BTreeMap<String, u64> {
    let mut tokens = BTreeMap::new();
    for delivery in audit["recent"].as_array().unwrap() {
        if delivery[0].as_u64().unwrap() >= from {
            *tokens.entry(delivery[1].as_str().unwrap().to_owned()).or_default() +=
                delivery[2].as_u64().unwrap();
        }
    }
    tokens
}

fn use_up_the_limit_of(tokenist: &Tokenist, user: &str) {
    let mut session = tokenist.session(user).unwrap();
    session.turn("").unwrap();
    let used =
        || tokenist.get(&format!("/admin/users/{user}/usage?period=total"))["usage"]["totalTokens"].clone();
    assert!(eventually(PATIENCE, used, |used| used.as_u64() > Some(0)).as_u64() > Some(0));
    let answer = tokenist.post(&format!("/admin/users/{user}/threshold"), &json!({"maxTotalTokens": 1}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(session.hear_out().1.map(|(code, _)| code), Some(4004));
    // The limit is on disk after one beat.
    std::thread::sleep(Duration::from_millis(COMMIT_MS + SLACK_MS));
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
