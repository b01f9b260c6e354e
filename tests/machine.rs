//! What a process takes of the machine that it runs on, and what it says where that is not to be had: ports, CPUs, open
//! files, and the addresses of a provider.

use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use tokenist_kit::{Certificate, PATIENCE, Provider, Scratch, Signal, TOKEN, Tokenist, eventually, request};

fn setting(tokenist: &Tokenist, key: &str) -> Value {
    let settings = tokenist.get("/admin/settings")["settings"].clone();
    let settings = settings.as_array().expect("a list");
    let found = settings.iter().find(|setting| setting["section"] == "proxy" && setting["key"] == key);
    found.unwrap_or_else(|| panic!("proxy.{key} is shown"))["value"].clone()
}

fn text(address: impl ToString) -> String {
    address.to_string()
}

#[test]
fn a_port_that_is_taken_is_refused_whichever_of_its_addresses_is_asked_for() {
    let provider = Provider::start(&[]);
    let first = Tokenist::start(&provider.origin(), &[]);
    let port = first.listen.port();
    let mut asked = vec![text(first.listen), format!("0.0.0.0:{port}")];
    if TcpListener::bind("[::]:0").is_ok() {
        asked.push(format!("[::]:{port}"));
    }
    let scratch = Scratch::new();
    let certificate = Certificate::write(&scratch);
    let (cert, key) = (text(certificate.certificate.display()), text(certificate.key.display()));
    let files = [("proxy.tls_cert", &*cert), ("proxy.tls_key", &*key)];
    for address in &asked {
        let (came_up, said) = Tokenist::refused(&provider.origin(), &[("proxy.listen", address)]);
        assert!(!came_up && said.contains("proxy.listen") && said.contains(&**address), "{said}");
        assert!(said.contains("proxy.takeover"), "it says how to mend it: {said}");
        let tls = [&files[..], &[("proxy.listen", ""), ("proxy.tls_listen", address)]].concat();
        let (came_up, said) = Tokenist::refused(&provider.origin(), &tls);
        assert!(!came_up && said.contains("proxy.tls_listen") && said.contains(&**address), "{said}");
    }
    // One whose wildcard holds the port is as much in the way.
    let wide = Tokenist::start(&provider.origin(), &[("proxy.listen", "0.0.0.0:0")]);
    let narrow = format!("127.0.0.1:{}", wide.listen.port());
    let (came_up, said) = Tokenist::refused(&provider.origin(), &[("proxy.listen", &narrow)]);
    assert!(!came_up && said.contains(&narrow), "{said}");
    // Another address of the same port is nobody's.
    let other = format!("127.0.0.2:{port}");
    assert_eq!(text(Tokenist::start(&provider.origin(), &[("proxy.listen", &other)]).listen), other);
    first.session("alice").unwrap().turn("").unwrap();
}

#[test]
fn a_restart_gets_its_port_back_from_what_a_kill_has_left() {
    let provider = Provider::start(&[]);
    let mut tokenist = Tokenist::start(&provider.origin(), &[("proxy.shard_count", "2")]);
    let address = text(tokenist.listen);
    for _ in 0..3 {
        let mut sessions: Vec<_> = (0..8).map(|_| tokenist.session("alice").unwrap()).collect();
        sessions.iter_mut().for_each(|session| drop(session.turn("").unwrap()));
        tokenist.kill();
        // Their connections are still there, and will be for a while.
        let settings = [("proxy.shard_count", "2"), ("proxy.listen", &*address)];
        tokenist = Tokenist::start(&provider.origin(), &settings);
        tokenist.session("alice").unwrap().turn("").unwrap();
    }
}

#[test]
fn a_takeover_shares_the_port_until_the_first_is_drained() {
    let provider = Provider::start(&[]);
    let mut first = Tokenist::start(&provider.origin(), &[]);
    let mut session = first.session("alice").unwrap();
    session.turn("").unwrap();
    let address = text(first.listen);
    let second =
        Tokenist::start(&provider.origin(), &[("proxy.listen", &address), ("proxy.takeover", "true")]);
    assert_eq!(second.listen, first.listen);
    first.signal(Signal::Terminate);
    let drains = || first.get("/health")["draining"] == true;
    assert!(eventually(PATIENCE, drains, |drains| *drains));
    // Whoever came to the first in its last moments was told that it drains.
    let ready = || request(second.listen, "GET", "/ready", &[], "").status;
    let all_new = || (0..20).all(|_| ready() == 200);
    assert!(eventually(PATIENCE, all_new, |all| *all));
    session.turn("").unwrap();
    session.leave();
    assert!(first.wait(PATIENCE).is_some_and(|status| status.success()));
    second.session("bob").unwrap().turn("").unwrap();
}

/// Each thread's name and what the kernel says of it, in order.
fn threads(tokenist: &Tokenist, file: &str) -> Vec<(String, String)> {
    let tasks = format!("/proc/{}/task", tokenist.process_id());
    let mut threads: Vec<_> = fs::read_dir(tasks)
        .unwrap()
        .filter_map(|task| {
            let task = task.unwrap().path();
            let name = fs::read_to_string(task.join("comm")).ok()?;
            Some((name.trim().to_owned(), fs::read_to_string(task.join(file)).ok()?))
        })
        .collect();
    threads.sort();
    threads
}

/// Of each shard's thread, the CPUs that it may run on, as the kernel lists them.
fn allowed(tokenist: &Tokenist) -> Vec<String> {
    let shards = threads(tokenist, "status").into_iter().filter(|(name, _)| name.starts_with("shard-"));
    let list = |status: &str| {
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        list.expect("a list of CPUs").trim().to_owned()
    };
    shards.map(|(_, status)| list(&status)).collect()
}

#[test]
fn threads_that_answer_operators_run_behind_those_that_serve_and_count() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[("store.kind", "sqlite")]);
    // The nineteenth field is the niceness; what stands before the third is a name in parentheses.
    let niceness = |stat: &str| -> i32 {
        let fields = stat.rsplit_once(") ").expect("a name").1;
        fields.split(' ').nth(16).expect("a niceness").parse().expect("a number")
    };
    let whole = fs::read_to_string("/proc/self/stat").unwrap();
    let own = niceness(&whole);
    for (named, behind) in [
        ("shard-", 0),
        ("aggregator", 0),
        ("writer", 0),
        ("rules", 0),
        ("reader-rules", 0),
        ("admin", 5),
        ("reader-0", 5),
        ("reader-1", 5),
    ] {
        let wanted = (own + behind).min(19);
        let of_name = || -> Vec<(String, i32)> {
            let named = threads(&tokenist, "stat").into_iter().filter(|(name, _)| name.starts_with(named));
            named.map(|(name, stat)| (name, niceness(&stat))).collect()
        };
        // A thread has its name before it steps back.
        let is_so =
            |found: &Vec<(String, i32)>| !found.is_empty() && found.iter().all(|(_, own)| *own == wanted);
        let found = eventually(PATIENCE, of_name, is_so);
        assert!(is_so(&found), "{named} is a thread behind by {behind}: {found:?}");
    }
}

#[test]
fn shards_are_pinned_only_where_they_are_as_many_as_the_cpus() {
    let provider = Provider::start(&[]);
    let cpus = std::thread::available_parallelism().unwrap().get();
    let whole = fs::read_to_string("/proc/self/status").unwrap();
    let whole =
        whole.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned();
    for (shards, pin, is_pinned) in [
        (0, "true", true),
        (cpus, "true", true),
        (cpus, "false", false),
        (cpus + 1, "true", false),
        // So that several processes with few shards do not meet on the first CPUs.
        (1, "true", cpus == 1),
    ] {
        let count = text(shards);
        let settings = [("proxy.shard_count", &*count), ("proxy.pin", pin)];
        let tokenist = Tokenist::start(&provider.origin(), &settings);
        let running = if shards == 0 { cpus } else { shards };
        assert_eq!(setting(&tokenist, "shard_count"), running, "what is in force is shown");
        assert_eq!(setting(&tokenist, "pin"), is_pinned);
        // Each thread pins itself, a moment after it has begun.
        let is_so = |allowed: &Vec<String>| match is_pinned {
            true => allowed.iter().all(|list| list.parse::<usize>().is_ok()),
            false => allowed.iter().all(|list| *list == whole),
        };
        let allowed = eventually(PATIENCE, || allowed(&tokenist), is_so);
        assert!(is_so(&allowed), "one CPU each, or each all of them: {allowed:?}");
        assert_eq!(allowed.len(), running);
        let pinned_to = if is_pinned { allowed.join(", ") } else { String::new() };
        assert_eq!(setting(&tokenist, "pinned_to"), pinned_to);
    }
}

#[test]
fn sessions_follow_the_open_files_that_are_granted_and_operators_keep_theirs() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start_under(256, &provider.origin(), &[("proxy.shard_count", "1")]);
    assert_eq!(setting(&tokenist, "open_files_max"), 256);
    let session_max = setting(&tokenist, "session_max").as_u64().unwrap();
    assert!((20..110).contains(&session_max), "{session_max}");
    tokenist.logged("proxy.session_max follows");
    let mut sessions: Vec<_> = (0..session_max).map(|_| tokenist.session("alice").unwrap()).collect();
    for _ in 0..50 {
        let refused = tokenist.session("alice").unwrap_err();
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(
            refused.header("retry-after").is_some() && refused.body.contains("overloaded"),
            "{refused:?}"
        );
    }
    sessions.iter_mut().for_each(|session| drop(session.turn("").unwrap()));
    let health = tokenist.get("/health");
    assert_eq!((&health["status"], &health["acceptFailure"]), (&"ok".into(), &Value::Null));
    assert_eq!(tokenist.metric("tokenist_connections_unserved_total"), Some(0.0));
}

#[test]
fn open_files_that_are_too_few_for_anybody_are_said_at_the_start() {
    let provider = Provider::start(&[]);
    let (came_up, said) = Tokenist::refused_under(100, &provider.origin(), &[("proxy.shard_count", "2")]);
    assert!(!came_up && said.contains("100 open files") && said.contains("LimitNOFILE"), "{said}");
}

/// The descriptors that a process has open.
fn descriptors(tokenist: &Tokenist) -> Vec<u64> {
    let folder = format!("/proc/{}/fd", tokenist.process_id());
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_string_lossy().parse().ok()).collect()
}

/// How many of them are connections, begun or made: sockets that are neither local to this machine nor listen.
fn connections(tokenist: &Tokenist) -> usize {
    let proc = |name: &str| format!("/proc/{}/{name}", tokenist.process_id());
    let column = |line: &str, index: usize| line.split_whitespace().nth(index).unwrap_or_default().to_owned();
    let local = fs::read_to_string(proc("net/unix")).unwrap();
    let local = local.lines().map(|line| column(line, 6));
    let tcp = fs::read_to_string(proc("net/tcp")).unwrap();
    let listening = tcp.lines().filter(|line| column(line, 3) == "0A").map(|line| column(line, 9));
    let others: HashSet<String> = local.chain(listening).map(|inode| format!("socket:[{inode}]")).collect();
    let links =
        fs::read_dir(proc("fd")).unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let links = links.map(|link| link.to_string_lossy().into_owned());
    links.filter(|link| link.starts_with("socket:") && !others.contains(link)).count()
}

/// An operator's connection that stays.
struct Operator(TcpStream);

impl Operator {
    fn health(&mut self) -> Value {
        let ask = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        self.0.write_all(ask.as_bytes()).unwrap();
        let mut answer = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let count = self.0.read(&mut piece).unwrap();
            answer.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&answer);
            let body = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
            if let Some(health) = body {
                return health;
            }
            assert!(count > 0, "{text}");
        }
    }
}

#[test]
fn open_files_that_run_out_are_told_to_everybody_and_cut_nobody() {
    let provider = Provider::start(&[]);
    let settings = [("proxy.shard_count", "1"), ("proxy.head_seconds", "120")];
    let tokenist = Tokenist::start(&provider.origin(), &settings);
    let mut session = tokenist.session("alice").unwrap();
    session.turn("").unwrap();
    let mut operator = Operator(TcpStream::connect(tokenist.admin).unwrap());
    assert_eq!(operator.health()["acceptFailure"], Value::Null);
    let process = tokenist.process_id() as i32;
    let (mut soft, mut hard) = (0, 0);
    rlimit::prlimit(process, rlimit::Resource::NOFILE, None, Some((&mut soft, &mut hard))).unwrap();
    let highest = descriptors(&tokenist).into_iter().max().unwrap();
    let limit = |soft| rlimit::prlimit(process, rlimit::Resource::NOFILE, Some((soft, hard)), None).unwrap();
    limit(highest + 1);
    // They say half of what they want and wait, so that their connections stay.
    let idle = |_| {
        let mut idle = TcpStream::connect(tokenist.listen).unwrap();
        idle.write_all(b"GET /ready HTTP/1.1\r\n").unwrap();
        idle.set_read_timeout(Some(PATIENCE)).unwrap();
        idle
    };
    let mut crowd: Vec<TcpStream> = (0..highest as usize + 30).map(idle).collect();
    // Those for whom there is no room are told so, and not left alone.
    let mut answer = String::new();
    crowd.pop().unwrap().read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "), "{answer:?}");
    let told = eventually(PATIENCE, || operator.health(), |health| health["acceptFailure"].is_string());
    assert!(told["acceptFailure"].as_str().unwrap().contains("limit of open files"), "{told}");
    assert_eq!(told["status"], "degraded");
    session.turn("").unwrap();
    let complaint = "no more files can be opened";
    let complaints = tokenist.logged(complaint).matches(complaint).count();
    assert_eq!(complaints, 1, "once, not for every connection");
    limit(soft);
    drop(crowd);
    let health = eventually(PATIENCE, || operator.health(), |health| health["acceptFailure"].is_null());
    assert_eq!(health["acceptFailure"], Value::Null);
    tokenist.session("bob").unwrap().turn("").unwrap();
    assert!(tokenist.metric("tokenist_connections_unserved_total") > Some(0.0));
}

/// A listener whose queue is full: whoever connects hears nothing.
struct Deaf {
    _listener: socket2::Socket,
    _queue: Vec<socket2::Socket>,
}

impl Deaf {
    fn listen(address: SocketAddr) -> Deaf {
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let listener = socket();
        listener.set_reuse_address(true).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let fill = |_| {
            let caller = socket();
            caller.set_nonblocking(true).unwrap();
            caller.connect(&address.into()).expect_err("it is under way");
            caller
        };
        Deaf { _queue: (0..8).map(fill).collect(), _listener: listener }
    }
}

#[test]
fn an_address_of_the_provider_that_does_not_answer_holds_nobody_up() {
    let scratch = Scratch::new();
    let library = scratch.path().join("names.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine/names.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compiler.status().unwrap().success(), "cc builds the library");
    let provider = Provider::start(&[]);
    let port = provider.listen.port();
    let _dead = Deaf::listen(([127, 0, 0, 2], port).into());
    for driver in ["auto", "epoll"] {
        let tokenist = Tokenist::start(
            &format!("http://provider.test:{port}"),
            &[
                ("proxy.shard_count", "1"),
                ("proxy.driver", driver),
                // One after the other, each with a second or more, would be too late.
                ("proxy.dial_seconds", "2"),
                ("LD_PRELOAD", library.to_str().unwrap()),
                ("TOKENIST_TEST_NAME", "provider.test"),
                ("TOKENIST_TEST_ADDRESSES", "127.0.0.2,127.0.0.3,127.0.0.1"),
            ],
        );
        for _ in 0..20 {
            let mut session = tokenist.session("alice").unwrap();
            session.turn("").unwrap();
            assert!(connections(&tokenist) >= 2, "a session has two");
            session.leave();
        }
        // The attempts that were given up have left nothing behind.
        let left = eventually(PATIENCE, || connections(&tokenist), |count| *count == 0);
        assert_eq!(left, 0, "sockets are open");
        assert_eq!(tokenist.metric("tokenist_upstream_failures_total"), Some(0.0));
    }
}
