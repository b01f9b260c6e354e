//! A control plane of its own for each test, and what shards and operators would say to it.

use crate::faulty::Faulty;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokenist_control::clock::system_time as now;
use tokenist_control::handle::Handle;
use tokenist_control::prices::Prices;
use tokenist_control::store::{Memory, memory};
use tokenist_control::{Config, Control, start};
use tokenist_core::id::{Identity, KeyHash, SessionId, UserId};
use tokenist_core::key::{Key, KeyId, Scopes};
use tokenist_core::ledger;
use tokenist_core::limit::{Limit, WindowKind};
use tokenist_core::message::{Delta, Opened, Transport};
use tokenist_core::money::NanoUsd;
use tokenist_core::price::PriceTable;
use tokenist_core::usage::Usage;
use tokenist_handoff::{Admission, Admitted, Answer, Charge, KeyRefusal, Mailbox, Order, Report, mailbox};

/// A control plane with the shards' ends of its queues.
pub(crate) struct Bench {
    pub(crate) control: Control,
    pub(crate) mailboxes: Vec<Mailbox<Order>>,
    pub(crate) store: Faulty,
}

impl Bench {
    pub(crate) fn start(config: Config, mailbox_size: usize) -> Bench {
        let (senders, mailboxes) = (0..2).map(|_| mailbox(mailbox_size).unwrap()).unzip();
        let store = Faulty::new(Box::new(Memory::new(memory::Config::default())));
        let prices = Arc::new(Prices::new(PriceTable::builtin()));
        let control = start(config, Box::new(store.clone()), senders, prices).unwrap();
        Bench { control, mailboxes, store }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.control.handle
    }

    pub(crate) fn report(&self, report: Report) {
        self.control.reports.send(report).unwrap();
    }

    pub(crate) fn ask(&self, shard: usize, admission: Admission) {
        self.report(Report::Admit { shard, ticket: 7, admission });
    }

    /// The next order that a shard gets, but for those that have it let go of what it remembers: nothing.
    pub(crate) fn order(&self, shard: usize) -> Order {
        eventually(|| self.mailboxes[shard].drain().find(|order| !matches!(order, Order::Release)))
    }

    /// A session of this user begins.
    pub(crate) fn open(&self, name: &str) {
        let (session, identity, provider) = (SessionId(1), identity(name), "openai".into());
        self.report(Report::Opened(Opened {
            session,
            identity,
            provider,
            model: None,
            transport: Transport::default(),
            call: None,
            at: now(),
        }));
    }

    pub(crate) fn admit(&self, shard: usize, name: &str) -> Admitted {
        self.ask(shard, Admission::Identity(identity(name)));
        match self.order(shard) {
            Order::Admission { ticket: 7, answer: Answer::Admitted(admitted) } => admitted,
            other => panic!("{other:?}"),
        }
    }

    /// What a shard does for a metered response.
    pub(crate) fn charge(&self, admitted: &Admitted, nano: i64) {
        for account in [Some(&admitted.user), admitted.org.as_ref()].into_iter().flatten() {
            account.charge(Charge { cost: NanoUsd(nano), tokens: 1 });
        }
        self.report(Report::Charged(delta(admitted.user_id.as_str(), nano), None));
    }

    pub(crate) fn ask_by_key(&self, key: KeyHash, user: Option<&str>) -> Answer {
        let user = user.map(UserId::from);
        self.ask(0, Admission::Key { key, user, org: None, feature: None, email: None, name: None });
        match self.order(0) {
            Order::Admission { answer, .. } => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn refusal(&self, key: KeyHash) -> KeyRefusal {
        match self.ask_by_key(key, Some("alice")) {
            Answer::KeyRefused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn cost(&self, name: &str) -> NanoUsd {
        let view = wait(self.handle().user(name.into(), Some(WindowKind::Total))).unwrap();
        view.map_or(NanoUsd::ZERO, |view| view.totals.cost)
    }
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen within ten seconds");
        thread::yield_now();
    }
}

pub(crate) fn identity(name: &str) -> Arc<Identity> {
    let email = Some(format!("{name}@Example.com").as_str().into());
    Arc::new(Identity { org: Some("acme".into()), email, ..Identity::of(name.into()) })
}

pub(crate) fn delta(name: &str, nano: i64) -> Delta {
    Delta {
        at: now(),
        session: SessionId(1),
        identity: identity(name),
        provider: "openai".into(),
        model: "gpt-realtime".into(),
        usage: Usage { text_in: 1, requests: 1, ..Usage::default() },
        cost: NanoUsd(nano),
        estimated: false,
        latency_ms: None,
    }
}

pub(crate) fn cost_limit(nano: i64) -> Limit {
    Limit { max_cost: Some(NanoUsd(nano)), window: WindowKind::Total, ..Limit::default() }
}

pub(crate) fn config(limit: Limit) -> Config {
    Config {
        ledger: ledger::Config { default_limit: limit, ..ledger::Config::default() },
        ..Config::default()
    }
}

pub(crate) fn key(number: u8) -> Key {
    Key {
        id: KeyId::from(format!("key_{number}").as_str()),
        hash: KeyHash([number; 32]),
        name: "ci".into(),
        hint: "ug_000000000".into(),
        user: None,
        org: Some("acme".into()),
        scopes: Scopes { proxy: true, ..Scopes::default() },
        account: None,
        maker: None,
        created_at: now(),
        expires_at: None,
        revoked_at: None,
    }
}
