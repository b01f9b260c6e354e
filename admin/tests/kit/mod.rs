//! A control plane without shards, the admin plane before it, and a client that can also be rude.

#![allow(dead_code, reason = "each test binary uses its own part")]

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokenist_admin::{AccountBounds, Admin, Config, Logging, OperatorToken, Quotas, Telemetry};
use tokenist_control::Control;
use tokenist_control::clock::system_time;
use tokenist_control::prices::Prices;
use tokenist_control::store::memory::{self, Memory};
use tokenist_core::catalog::Kept;
use tokenist_core::client::TrustedProxies;
use tokenist_core::close_reason::Measure;
use tokenist_core::id::{Identity, SessionId};
use tokenist_core::ledger;
use tokenist_core::limit::Limit;
use tokenist_core::message::{Closed, Delta, Opened, Rejected, Transport};
use tokenist_core::metric::Metric;
use tokenist_core::money::NanoUsd;
use tokenist_core::price::PriceTable;
use tokenist_core::refusal::RefusalReason;
use tokenist_core::time::Timestamp;
use tokenist_core::usage::Usage;
use tokenist_handoff::{Admission, Answer as Admitted, Counters, Mailbox, Order, Published, Report, mailbox};

pub(crate) const TOKEN: &str = "ug_0123456789abcdef0123456789abcdef";

/// An admin plane before a control plane whose only shard is the test.
pub(crate) struct Plane {
    admin: Admin,
    control: Control,
    orders: Mailbox<Order>,
    draining: Arc<AtomicBool>,
    /// As whoever writes the log would have it.
    pub(crate) log: Arc<Logging>,
    session_count: AtomicU64,
    report_count: AtomicU64,
}

/// A login as the ledger keeps it.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct KeptLogin(Value);

impl Kept for KeptLogin {
    const KIND: &'static str = "login";

    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        None
    }
}

/// A session as the API should tell of it.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) at: String,
    session: SessionId,
}

impl Plane {
    pub(crate) fn start() -> Plane {
        Plane::start_with(|_| ())
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Plane {
        let default_limit = Limit { max_cost: NanoUsd::from_usd(10.0), ..Limit::default() };
        let control = tokenist_control::Config {
            ledger: ledger::Config { default_limit, ..ledger::Config::default() },
            ..tokenist_control::Config::default()
        };
        let (shard, orders) = mailbox(64).expect("an eventfd");
        let store = Box::new(Memory::new(memory::Config::default()));
        let prices = Arc::new(Prices::new(PriceTable::builtin()));
        let control = tokenist_control::start(control, store, vec![shard], prices).unwrap();
        let counters = [Counters::default(), Counters::default()];
        counters[0].add(Metric::SessionsOpened, 1);
        counters[1].add(Metric::SessionsOpened, 2);
        let draining = Arc::new(AtomicBool::new(false));
        let log = Arc::<Logging>::default();
        let telemetry = Telemetry {
            counters: counters.map(Arc::new).into(),
            aggregator: Arc::clone(&control.heartbeat),
            // Nobody beats here for the shards.
            tick_ms: 60_000,
            log: Arc::clone(&log),
            driver: "epoll",
            store: "memory",
            version: "1.2.3",
            started_at: now(),
            draining: Arc::clone(&draining),
            stale: Arc::new(Published::new(Vec::new())),
        };
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            token: OperatorToken::parse(TOKEN).unwrap(),
            settings: vec![("proxy".into(), "shard_count".into(), json!(2))],
            cors_origins: Vec::new(),
            registration: false,
            account_bounds: AccountBounds::default(),
            tiers: Quotas::default(),
            rollups_days: 400,
            metrics_open: false,
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: false,
            connection_max: 64,
            request_ms: 5_000,
        };
        change(&mut config);
        let admin = tokenist_admin::start(config, control.handle.clone(), telemetry).unwrap();
        Plane {
            admin,
            control,
            orders,
            draining,
            log,
            session_count: AtomicU64::new(1),
            report_count: AtomicU64::new(0),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.admin.address()
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        ask(self.address(), method, path, body)
    }

    /// Asks with this key instead of the operator's token.
    pub(crate) fn ask_by(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        ask_with(self.address(), method, path, &[("authorization", &format!("Bearer {key}"))], body)
    }

    /// What a request makes that should make something.
    pub(crate) fn created(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask("POST", path, &body.to_string());
        assert_eq!(answer.status, 201, "{path} {body}: {}", answer.body);
        answer.json()
    }

    /// Changes a login as another instance might.
    pub(crate) fn change_login(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let (handle, runtime) =
            (&self.control.handle, tokio::runtime::Builder::new_current_thread().build().unwrap());
        runtime.block_on(async {
            let mut login = handle.entry::<KeptLogin>(id).await.unwrap().expect("there is one");
            change(&mut login.0);
            handle.set_entry(id, Some(&login)).await.unwrap();
        });
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn stop(self) {
        self.admin.stop();
    }

    /// Ends the control plane under the admin plane.
    pub(crate) fn lose_control(self) -> Admin {
        self.control.thread.finish().unwrap();
        self.admin
    }

    /// Opens a session with this many responses of 1000 + 500 tokens of gpt-4o-mini, all but the first of them
    /// estimated.
    pub(crate) fn session(&self, user: &str, responses: u64) -> Session {
        let mut identity = Identity::of(user.into());
        identity.org = Some("acme".into());
        identity.feature = Some("voice".into());
        let identity = Arc::new(identity);
        let session = SessionId(self.session_count.fetch_add(1, Ordering::Relaxed));
        let (provider, at) = (Arc::<str>::from("openai"), now());
        let admission = Admission::Identity(Arc::clone(&identity));
        self.report(Report::Admit { shard: 0, ticket: 7, admission });
        let Order::Admission { ticket: 7, answer: Admitted::Admitted(admitted) } = self.order() else {
            panic!("{user} is not admitted")
        };
        assert!(admitted.user.enter(None));
        let opened = Opened {
            session,
            identity: Arc::clone(&identity),
            provider: Arc::clone(&provider),
            model: None,
            transport: Transport::default(),
            call: None,
            at,
        };
        self.report(Report::Opened(opened));
        for n in 0..responses {
            let usage = Usage {
                text_in: 1000,
                cached_text_in: 100,
                text_out: 500,
                reasoning_out: 50,
                requests: 1,
                ..Usage::default()
            };
            let delta = Delta {
                at,
                session,
                identity: Arc::clone(&identity),
                provider: Arc::clone(&provider),
                model: "gpt-4o-mini".into(),
                usage,
                cost: NanoUsd(450_000),
                estimated: n > 0,
                latency_ms: None,
            };
            self.report(Report::Charged(delta, None));
        }
        self.settle();
        Session { id: session.to_string(), at: at.to_string(), session }
    }

    /// A thousandth of a dollar for each of so many users.
    pub(crate) fn charge_many(&self, users: usize) {
        for index in 0..users {
            let delta = Delta {
                at: now(),
                session: SessionId(0),
                identity: Arc::new(Identity::of(format!("user-{index:06}").as_str().into())),
                provider: "openai".into(),
                model: "gpt-4o-mini".into(),
                usage: Usage { text_in: 1, requests: 1, ..Usage::default() },
                cost: NanoUsd(1_000_000),
                estimated: false,
                latency_ms: None,
            };
            self.report(Report::Charged(delta, None));
        }
        self.settle();
    }

    /// As a shard reports that it has refused a user so often, for a limit or, with no figures, a block.
    pub(crate) fn refuse(&self, user: &str, measure: Option<Measure>, count: u64) {
        let (code, close_code) =
            if measure.is_some() { ("cost_limit_reached", 4004) } else { ("user_blocked", 4003) };
        self.report(Report::Refused(Box::new(Rejected {
            at: now(),
            user: Some(user.into()),
            org: Some("acme".into()),
            key: None,
            address: "203.0.113.9".into(),
            reason: RefusalReason { code: code.into(), close_code, measure },
            count,
        })));
        self.settle();
    }

    /// What the shard does once it is told to end a session.
    pub(crate) fn close(&self, session: &Session) {
        let told = |order: &Order| matches!(order, Order::Close(id) if *id == session.session);
        eventually(|| self.orders.drain().find(told));
        self.report(Report::Closed(Closed { session: session.session, at: now(), close_code: 4003 }));
        self.settle();
    }

    /// The next order to the shard.
    pub(crate) fn order(&self) -> Order {
        eventually(|| self.orders.drain().next())
    }

    /// What was reported is applied. Requests may be answered before that, as they may in life.
    fn settle(&self) {
        let applied = || {
            let metrics = self.ask("GET", "/metrics", "").body;
            let value = metrics.lines().find_map(|line| line.strip_prefix("tokenist_reports_applied_total "));
            value.and_then(|value| value.parse::<u64>().ok())
        };
        let reported = self.report_count.load(Ordering::Relaxed);
        eventually(|| applied().filter(|applied| *applied == reported));
    }

    fn report(&self, report: Report) {
        self.report_count.fetch_add(1, Ordering::Relaxed);
        self.control.reports.send(report).expect("the aggregator lives");
    }
}

/// Checks that `method path body` answers `status` with exactly this JSON.
#[track_caller]
pub(crate) fn check(plane: &Plane, request: &str, status: u16, expected: Value) {
    let mut words = request.splitn(3, ' ');
    let mut word = || words.next().unwrap_or("");
    let answer = plane.ask(word(), word(), word());
    assert_eq!((answer.status, answer.json()), (status, expected), "{request}");
}

/// A refusal for the sake of one field.
pub(crate) fn issue(path: &str, code: &str, message: &str) -> Value {
    json!({"error": [{"path": [path], "code": code, "message": message}]})
}

pub(crate) fn now() -> Timestamp {
    system_time()
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As it came.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// The body, where it came in chunks.
    pub(crate) fn unchunked(&self) -> String {
        let (mut whole, mut rest) = (String::new(), self.body.as_str());
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).expect("a chunk's size");
            whole += &after[..size];
            rest = &after[size + 2..];
        }
        whole
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// One request on a connection of its own, with the operator's token.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    ask_with(address, method, path, &[("authorization", &format!("Bearer {TOKEN}"))], body)
}

pub(crate) fn ask_with(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: tokenist\r\nconnection: close\r\n");
    headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
    request += &format!("content-length: {}\r\n\r\n{body}", body.len());
    let answer = send(address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.expect("a status"), head: head.to_owned(), body: body.to_owned() }
}

/// Sends these bytes and reads until the other side closes.
pub(crate) fn send(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the admin plane listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout that is not zero");
    // A refusal may arrive, and the connection go, before all of it is sent.
    if let Err(error) = stream.write_all(bytes) {
        eprintln!("not all was sent: {error}");
    }
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        eprintln!("not all was read: {error}");
    }
    String::from_utf8(answer).expect("answers are UTF-8")
}

/// Waits until `check` yields something.
pub(crate) fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
