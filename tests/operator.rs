//! What an operator is told, and that telling it is in nobody's way.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokenist_kit::{
    Client, Handshake, PATIENCE, Provider, Scratch, Signal, TOKEN, Tokenist, eventually, request,
};

const DROPPED: &str = "tokenist_log_lines_dropped_total";

/// Two addresses that nobody has at the moment.
fn addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address"))
}

/// A pipe whose reader, which is given back, does not read, and that takes nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    let page = vec![b'.'; 4096];
    // Its capacity, by default; a line end makes what follows a line of its own.
    for _ in 0..15 {
        writer.write_all(&page).expect("it has room");
    }
    writer.write_all(&[&page[1..], b"\n"].concat()).expect("it has room");
    (reader, writer)
}

/// Sessions are served, one that panics ends alone, and the process ends in good order.
fn serves_and_drains(mut tokenist: Tokenist) {
    for turn in 0..3 {
        let mut session = tokenist.session(&format!("user-{turn}")).expect("let in");
        assert_eq!(session.turn("").unwrap()["response"]["status"], "completed");
        session.leave();
        tokenist.session("unlucky").ok();
    }
    let panicked = || tokenist.metric("tokenist_sessions_panicked_total");
    assert_eq!(eventually(PATIENCE, panicked, |count| *count == Some(3.0)), Some(3.0));
    tokenist.signal(Signal::Terminate);
    let status = tokenist.wait(PATIENCE).expect("it drains");
    assert!(status.success(), "{status}");
}

fn start(provider: &Provider, stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Tokenist {
    let settings = [("log.level", "debug"), ("TOKENIST_TEST_PANIC_USER", "unlucky")];
    Tokenist::start_unheard(&provider.origin(), &settings, [stdout.into(), stderr.into()], addresses())
}

fn full_device() -> File {
    File::options().write(true).open("/dev/full").expect("Linux has it")
}

#[test]
fn a_log_whose_reader_has_gone_disturbs_nobody_and_is_told_in_health() {
    let provider = Provider::start(&[]);
    let (reader, writer) = pipe().unwrap();
    let (stdout_reader, stdout) = pipe().unwrap();
    drop((reader, stdout_reader));
    let tokenist = start(&provider, stdout, writer);
    let health = || tokenist.get("/health");
    let told = eventually(PATIENCE, health, |health| health["status"] == "degraded");
    assert!(told["problems"][0].as_str().is_some_and(|text| text.contains("Broken pipe")), "{told}");
    assert!(tokenist.metric(DROPPED) > Some(0.0));
    serves_and_drains(tokenist);
}

#[test]
fn a_log_on_a_full_disk_disturbs_nobody_and_is_told_in_health() {
    let provider = Provider::start(&[]);
    let tokenist = start(&provider, full_device(), full_device());
    let health = || tokenist.get("/health");
    let told = eventually(PATIENCE, health, |health| health["status"] == "degraded");
    assert!(told["problems"][0].as_str().is_some_and(|text| text.contains("No space left")), "{told}");
    serves_and_drains(tokenist);
}

#[test]
fn a_log_and_a_line_of_addresses_that_nobody_reads_hold_up_nobody() {
    let provider = Provider::start(&[]);
    let (_unread, stdout) = full_pipe();
    let (mut reader, stderr) = full_pipe();
    let tokenist = start(&provider, stdout, stderr);
    assert_eq!(tokenist.get("/health")["status"], "ok");
    let mut session = tokenist.session("alice").expect("let in");
    session.turn("").unwrap();
    // What waited is all there once somebody reads.
    let reading = std::thread::spawn(move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).map(|_| all)
    });
    session.leave();
    serves_and_drains(tokenist);
    let all = reading.join().unwrap().unwrap();
    for line in ["in force:", "serving", "draining", "thread shard-", "a session panicked", "drained"] {
        assert!(all.contains(line), "{line:?} is not in\n{all}");
    }
}

#[test]
fn an_end_waits_for_a_log_that_nobody_reads_only_so_long() {
    let provider = Provider::start(&[]);
    let (_reader, stderr) = full_pipe();
    serves_and_drains(start(&provider, Stdio::null(), stderr));
}

#[test]
fn silent_sockets_and_endless_bodies_keep_no_operator_waiting() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[]);
    let open = |bytes: &str| {
        let mut stream = TcpStream::connect(tokenist.admin).expect("it listens");
        stream.write_all(bytes.as_bytes()).expect("a few bytes fit");
        stream
    };
    let key = tokenist.post("/auth/api-keys", &json!({"name": "app", "scopes": ["sdk"]})).json();
    let key = key["apiKey"].as_str().expect("a key");
    let endless = |path: &str, header: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\n{header}Content-Length: 60000\r\n\r\n{{")
    };
    let (stranger, known) =
        (endless("/auth/login", ""), endless("/sdk/log", &format!("Authorization: Bearer {key}\r\n")));
    let mut longest = Vec::new();
    for attack in [&[("", 600)][..], &[(&*stranger, 256)], &[(&*known, 256)], &[("", 300), (&*known, 256)]] {
        let held: Vec<TcpStream> =
            attack.iter().flat_map(|&(bytes, count)| (0..count).map(move |_| bytes)).map(open).collect();
        let mut took = [Duration::ZERO; 10];
        for took in &mut took {
            let asked = Instant::now();
            assert_eq!(tokenist.ask("GET", "/admin/users", &Value::Null).status, 200);
            *took = asked.elapsed();
        }
        drop(held);
        longest.extend(took.iter().max().copied());
    }
    // They used to wait for ten seconds, again and again.
    assert!(longest.iter().all(|took| *took < Duration::from_secs(3)), "{longest:?}");
    eprintln!("the longest call under each attack: {longest:?}");
}

/// What `check` and `serve` both refuse, with a word that the reason has.
fn is_refused_by_both(settings: &[(&str, &str)], word: &str) {
    let origin = "http://127.0.0.1:9";
    let (found_well, said) = Tokenist::check(origin, settings);
    assert!(!found_well && said.contains(word), "check of {settings:?}: {said}");
    let (ended_well, said) = Tokenist::refused(origin, settings);
    assert!(!ended_well && said.contains(word), "serve with {settings:?}: {said}");
}

#[test]
fn check_refuses_what_serve_refuses() {
    let scratch = Scratch::new();
    let text = |path: std::path::PathBuf| path.to_str().expect("a plain name").to_owned();
    let file = text(scratch.path().join("file"));
    std::fs::write(&file, "no certificate, price list or ledger").unwrap();
    let below_a_file = format!("{file}/ledger");
    let missing = text(scratch.path().join("missing"));
    let foreign = scratch.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("ledger.sqlite3"), vec![0x5a; 20_000]).unwrap();
    let foreign = text(foreign);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (settings, word) in [
        (&[("log.level", "info,=loud")][..], "log.level"),
        (&[("proxy.listen", &*taken), ("admin.listen", &*taken)], "are both on port"),
        (&[("admin.listen", "")], "admin.listen"),
        (&[("admin.token", "short")], "admin.token"),
        (&[("store.path", &*file)], &*file),
        (&[("store.path", &*below_a_file)], &*below_a_file),
        (&[("store.path", &*foreign)], "recover"),
        (&[("store.path", "")], "store.path"),
        (&[("store.kind", "mongodb"), ("store.mongodb_uri", "mongodb://")], "store.mongodb_uri"),
        (&[("store.kind", "mongodb"), ("store.mongodb_uri", "http://host")], "store.mongodb_uri"),
        (&[("store.redis_uri", "http://host")], "store.redis_uri"),
        (&[("metering.prices_file", &*missing)], "metering.prices_file"),
        (&[("metering.prices_file", &*file)], "metering.prices_file"),
        (&[("provider.base_url", "https://h"), ("provider.ca_file", &*missing)], "provider.ca_file"),
        (&[("OPENAI_API_KEY", "two words")], "OPENAI_API_KEY"),
        (
            &[("proxy.tls_listen", "127.0.0.1:0"), ("proxy.tls_cert", &*file), ("proxy.tls_key", &*file)],
            "proxy.tls_cert",
        ),
    ] {
        is_refused_by_both(settings, word);
    }
}

#[test]
fn sessions_outlive_a_restart_and_end_with_the_token_that_they_were_begun_with() {
    let provider = Provider::start(&[]);
    let scratch = Scratch::new();
    let folder = scratch.path().join("ledger");
    let path = folder.to_str().expect("a plain name");
    let start =
        |token: &str| Tokenist::start(&provider.origin(), &[("store.path", path), ("admin.token", token)]);
    let status = |at: &Tokenist, cookie: &str, method: &str, path: &str| {
        let headers = [("Cookie", cookie), ("Origin", &*format!("http://{}", at.admin))];
        request(at.admin, method, path, &headers, "").status
    };
    let cookie = |at: &Tokenist, path: &str, body: &Value| {
        let answer = request(at.admin, "POST", path, &[], &body.to_string());
        let cookie = answer.header("set-cookie").unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        cookie.split(';').next().expect("a pair").to_owned()
    };
    let tokenist = start(TOKEN);
    let login = json!({"email": "ann@example.com", "password": "correct horse", "role": "viewer"});
    tokenist.post("/admin/logins", &login);
    let password = json!({"email": "ann@example.com", "password": "correct horse"});
    let [kept, ended] = [(); 2].map(|()| cookie(&tokenist, "/auth/login", &password));
    let operators = cookie(&tokenist, "/auth/session", &json!({"token": TOKEN}));
    assert_eq!(status(&tokenist, &ended, "POST", "/auth/logout"), 204);
    let sessions = [&kept, &ended, &operators];
    let opens = |at: &Tokenist| sessions.map(|cookie| status(at, cookie, "GET", "/auth/me") == 200);
    assert_eq!(opens(&tokenist), [true, false, true]);
    tokenist.leave();
    let tokenist = start(TOKEN);
    assert_eq!(opens(&tokenist), [true, false, true]);
    tokenist.leave();
    assert_eq!(opens(&start("another-token-of-the-operators-own")), [true, false, false]);
}

#[test]
fn a_token_that_can_be_guessed_is_warned_of() {
    let random = "0123456789abcdef0123456789abcdef";
    for (token, is_warned_of) in [("correct-horse-battery", true), (random, false)] {
        let settings = [("admin.token", token)];
        let (found_well, said) = Tokenist::check("http://127.0.0.1:9", &settings);
        assert!(found_well && said.contains("admin.token is shorter") == is_warned_of, "{said}");
        let tokenist = Tokenist::start("http://127.0.0.1:9", &settings);
        let output = tokenist.leave();
        assert_eq!(output.contains("admin.token is shorter"), is_warned_of, "{output}");
        assert!(!output.contains(token));
    }
}

#[test]
fn check_refuses_what_somebody_else_has() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[]);
    let folder = tokenist.ledger().to_str().expect("a plain name").to_owned();
    is_refused_by_both(&[("store.path", &folder)], &tokenist.process_id().to_string());
    let taken = tokenist.admin.to_string();
    is_refused_by_both(&[("admin.listen", &taken)], &taken);
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    is_refused_by_both(&[("webrtc.mode", "relay"), ("webrtc.udp_port", &port)], "webrtc.udp_port");
    tokenist.session("alice").expect("it goes on").turn("").unwrap();
}

#[test]
fn check_finds_well_what_serves_and_leaves_no_trace() {
    let scratch = Scratch::new();
    let folder = scratch.path().join("not/there/yet");
    let path = folder.to_str().expect("a plain name");
    let (found_well, said) = Tokenist::check("http://127.0.0.1:9", &[("store.path", path)]);
    assert!(found_well && said.contains("[limits]"), "{said}");
    let warned = "no key is set for openai (environment variable OPENAI_API_KEY): who shows a provider's key";
    assert_eq!(said.matches(warned).count(), 1, "{said}");
    let closed = [("store.path", path), ("identity.passthrough", "false")];
    let (found_well, said) = Tokenist::check("http://127.0.0.1:9", &closed);
    assert!(
        found_well && said.contains("(environment variable OPENAI_API_KEY): everything is refused"),
        "{said}"
    );
    let with_key = [closed[0], closed[1], ("OPENAI_API_KEY", "sk-of-the-operator")];
    let (found_well, said) = Tokenist::check("http://127.0.0.1:9", &with_key);
    assert!(found_well && !said.contains("no key is set"), "{said}");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);

    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[("store.path", path)]);
    tokenist.session("alice").unwrap().turn("").unwrap();
    tokenist.leave();
    let before = std::fs::read(folder.join("ledger.sqlite3")).unwrap();
    let (found_well, said) = Tokenist::check("http://127.0.0.1:9", &[("store.path", path)]);
    assert!(found_well, "{said}");
    assert!(std::fs::read(folder.join("ledger.sqlite3")).unwrap() == before);
}

/// What of `/admin/refusals` is of this user: the reason, the close code and how often, over all minutes.
fn refusals(tokenist: &Tokenist, user: &str) -> Vec<(String, u64, u64)> {
    let list = tokenist.get(&format!("/admin/refusals?user={user}"));
    let mut sums: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for row in list["refusals"].as_array().expect("a list") {
        let reason = row["reason"].as_str().expect("a reason").to_owned();
        let code = row["closeCode"].as_u64().expect("a code");
        *sums.entry((reason, code)).or_default() += row["count"].as_u64().expect("a count");
        assert_eq!(row["address"], "127.0.0.1");
    }
    sums.into_iter().map(|((reason, code), count)| (reason, code, count)).collect()
}

#[test]
fn who_is_refused_and_why_is_kept_over_a_restart_and_strangers_leave_nothing() {
    let provider = Provider::start(&[]);
    let scratch = Scratch::new();
    let folder = scratch.path().join("ledger");
    // Every response costs more than this.
    let settings =
        [("store.path", folder.to_str().expect("a plain name")), ("limits.max_cost_usd", "0.0000001")];
    let tokenist = Tokenist::start(&provider.origin(), &settings);
    for user in ["alice", "bob"] {
        // The response that reaches the limit is delivered, and the session then ends.
        tokenist.session(user).expect("let in").turn("").ok();
    }
    tokenist.post("/admin/users/bob/block", &json!({"reason": "abuse"}));
    let knock = |user: &str, times: usize| {
        for _ in 0..times {
            if let Ok(mut session) = tokenist.session(user) {
                session.hear_out();
            }
        }
    };
    let reached = || tokenist.get("/admin/users/alice/usage")["limitReached"].clone();
    assert!(eventually(PATIENCE, reached, |reached| !reached.is_null()).is_object(), "its state says so");
    knock("alice", 3);
    knock("bob", 2);
    // A made-up key is nobody's.
    let mut stranger = Handshake::of("mallory");
    stranger.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
    stranger.headers.push(("Authorization".into(), "Bearer ug_made_up".into()));
    drop(Client::open(tokenist.listen, &stranger));

    let expected = |user: &str, found: Vec<(String, u64, u64)>| {
        let wanted =
            if user == "alice" { ("cost_limit_reached", 4004, 3) } else { ("user_blocked", 4003, 2) };
        found == [(wanted.0.to_owned(), wanted.1, wanted.2)]
    };
    for user in ["alice", "bob"] {
        let found = eventually(PATIENCE, || refusals(&tokenist, user), |found| expected(user, found.clone()));
        assert!(expected(user, found.clone()), "{user}: {found:?}");
    }
    let limit = tokenist.get("/admin/refusals?user=alice&limit=1")["refusals"][0]["limit"].clone();
    assert_eq!(limit["measure"], "cost_usd");
    assert!(limit["used"].as_f64() >= limit["limit"].as_f64(), "{limit}");
    assert_eq!(tokenist.get("/admin/refusals?user=mallory")["refusals"], json!([]));
    assert_eq!(tokenist.get("/admin/refusals")["refusedRecently"], 2);
    let by_reason =
        |reason: &str| tokenist.metric(&format!("tokenist_refusals_total{{reason=\"{reason}\"}}"));
    assert_eq!(by_reason("cost_limit_reached"), Some(3.0));
    assert_eq!(by_reason("user_blocked"), Some(2.0));
    assert_eq!(by_reason("unauthorized"), Some(1.0), "{}", tokenist.metrics());
    assert!(!tokenist.metrics().contains("alice"));

    tokenist.leave();
    let tokenist = Tokenist::start(&provider.origin(), &settings);
    assert!(expected("alice", refusals(&tokenist, "alice")));
    let nearest = tokenist.get("/admin/limits?sort=used&defaults=true&limit=1")["limits"][0].clone();
    assert_eq!((&nearest["isDefault"], &nearest["state"]), (&json!(true), &json!("reached")));
}
