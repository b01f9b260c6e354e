//! What scenarios with a name are made of: one thing after another, each until all that follows from it has happened.

use crate::admit::Arrival;
use crate::amount::Amount;
use crate::cast::{self, HOLDER_COUNT, Party, Who};
use crate::plant::Plant;
use crate::process::{Session, Wish};
use crate::provider::{Event, Usage};
use crate::shape::{Keep, MILLI, Shape};
use crate::world::{Instance, World};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokenist_control::Handle;
use tokenist_control::cluster::ClusterEvent;
use tokenist_control::view::Call;
use tokenist_core::id::{Identity, SessionId};
use tokenist_core::key::Key;
use tokenist_core::ledger::Ledger;
use tokenist_core::limit::{Limit, Mode, OnRedisDown, WindowKind};
use tokenist_core::message::Delta;
use tokenist_core::meter::EstimateMode;
use tokenist_core::models::Models;
use tokenist_core::money::NanoUsd;
use tokenist_core::usage;
use tokenist_core::ws::frame::Opcode;

/// Between two rounds in which what is under way goes on.
const ROUND_MS: u64 = 250;
/// Whoever asks is answered within so many.
const ROUNDS_MAX: usize = 40;

/// One instance with one shard and room for everybody, where users may use 20 thousandths of a dollar in a month.
pub(crate) fn plain(keep: Keep) -> Shape {
    Shape {
        keep,
        instances: 1,
        shards: 1,
        is_small: false,
        held_max: 1_000,
        queue_max: 200,
        tick_ms: 100,
        cache_max: 50,
        details_max: 100_000,
        details_days: 0,
        lane_bytes: 1 << 16,
        clock_jumps: false,
        ends: true,
        estimate: EstimateMode::Enforce,
        default_limit: limit_of(20),
        session_seconds: None,
        idle_seconds: None,
    }
}

/// So many thousandths of a dollar a month.
pub(crate) fn limit_of(milli: i64) -> Limit {
    Limit {
        max_cost: Some(NanoUsd(milli * MILLI)),
        max_tokens: None,
        window: WindowKind::Monthly,
        mode: Mode::Enforce,
        max_sessions: None,
        on_redis_down: OnRedisDown::LocalShare,
        models: Models::default(),
    }
}

/// A response of about so many thousandths of a dollar: sixteen tokens of speech each.
pub(crate) fn speech_of(milli: u64) -> Usage {
    Usage { text_in: 0, audio_in: 0, cached: 0, text_out: 0, audio_out: 16 * milli }
}

pub(crate) fn user(who: Who) -> Arc<Identity> {
    Arc::new(Identity::of(cast::user(who)))
}

impl World {
    /// Everything that is on its way within an instance arrives, and is saved.
    pub(crate) fn flow(&mut self, at: usize) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        // The aggregator is told how late it is, as it is all the time.
        self.apply_some(at, 0);
        for _ in 0..3 {
            for shard in 0..self.shape.shards {
                arrivals.extend(self.tick_shard(at, shard));
                arrivals.extend(self.obey(at, shard));
            }
            self.apply_some(at, usize::MAX);
            self.ask_store(at, false);
            self.hear_store(at);
            self.serve_desk(at);
            self.tick(at);
            self.commit_all(at);
        }
        if self.shape.is_cluster() {
            self.trade(at);
        }
        self.check();
        arrivals
    }

    /// What an instance exchanges in a moment, and what it finds out about Redis.
    pub(crate) fn trade(&mut self, at: usize) {
        self.receive_all(at);
        let round = self.next_round(at);
        match (self.redis.is_away, self.process(at).is_lost, round) {
            (true, false, Some(_)) => self.lose(at, "exchange: Redis is away"),
            (false, true, _) => self.find_redis(at),
            (false, false, Some(round)) => {
                let told = self.leave_round(at, &round);
                self.process_mut(at).events.push_back(ClusterEvent::PeerTotals(told));
            }
            _ => {}
        }
        self.receive_all(at);
    }

    /// Somebody asks for a session, and waits for what becomes of that.
    pub(crate) fn call_in(&mut self, at: usize, identity: Arc<Identity>, key: Option<usize>) -> Arrival {
        let mut arrival = self.ask_in(at, 0, identity, key);
        for _ in 0..ROUNDS_MAX {
            if let Some(arrival) = arrival {
                return arrival;
            }
            self.pass_ms(ROUND_MS);
            arrival = self.flow(at).pop();
        }
        panic!("whoever asks is answered")
    }

    /// A session of a user whom the provider lets in.
    pub(crate) fn open(&mut self, at: usize, identity: Arc<Identity>) -> SessionId {
        self.open_with(at, identity, |_| {})
    }

    /// Likewise, where it is looked at before the provider is asked.
    pub(crate) fn open_with(
        &mut self,
        at: usize,
        identity: Arc<Identity>,
        look: impl FnOnce(&mut Session),
    ) -> SessionId {
        let arrival = self.call_in(at, identity, None);
        let Arrival::Entered(id) = arrival else { panic!("it is let in, not {arrival:?}") };
        let mut session = self.take(at, id);
        look(&mut session);
        self.greet(at, 0, session);
        self.flow(at);
        id
    }

    /// The session goes on only when it is put back.
    pub(crate) fn take(&mut self, at: usize, id: SessionId) -> Session {
        self.take_session(at, 0, |session| session.id() == id).expect("it has not ended")
    }

    pub(crate) fn is_live(&self, at: usize, id: SessionId) -> bool {
        self.process(at).sessions().any(|session| session.id() == id)
    }

    pub(crate) fn hears(&mut self, at: usize, id: SessionId, event: &Event) {
        let session = self.take(at, id);
        self.say(at, 0, session, event);
        self.check();
    }

    /// A response begins; its place among those of the call.
    pub(crate) fn begins(&mut self, at: usize, id: SessionId) -> usize {
        let (session, now) = (self.take(at, id), self.elapsed);
        let event = session.call.borrow_mut().begin(now);
        let index = session.call.borrow().responses.len() - 1;
        self.say(at, 0, session, &event);
        index
    }

    /// The provider states what a response has used.
    pub(crate) fn states(&mut self, at: usize, id: SessionId, index: usize, usage: Usage) {
        let session = self.take(at, id);
        let event = session.call.borrow_mut().state(index, usage);
        self.say(at, 0, session, &event);
        self.check();
    }

    /// A whole response.
    pub(crate) fn responds(&mut self, at: usize, id: SessionId, usage: Usage) {
        let index = self.begins(at, id);
        self.states(at, id, index, usage);
    }

    /// A session in which so much is used, and which is over then.
    pub(crate) fn uses(&mut self, at: usize, identity: Arc<Identity>, milli: u64) {
        let id = self.open(at, identity);
        self.responds(at, id, speech_of(milli));
        self.goes(at, id);
        self.flow(at);
    }

    /// The application closes.
    pub(crate) fn goes(&mut self, at: usize, id: SessionId) {
        let session = self.take(at, id);
        self.say_goodbye(at, 0, session);
    }

    /// An operator asks or orders something.
    pub(crate) fn order<T, F: Future<Output = T> + 'static>(
        &mut self,
        at: usize,
        order: impl FnOnce(Handle) -> F,
    ) -> T {
        let mut done = Box::pin(order(self.process(at).handle.clone()));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..ROUNDS_MAX {
            if let Poll::Ready(done) = done.as_mut().poll(&mut context) {
                return done;
            }
            self.serve_desk(at);
            self.ask_store(at, false);
            self.hear_store(at);
            self.apply_some(at, 0);
        }
        panic!("operators are answered")
    }

    pub(crate) fn ledger(&self, at: usize) -> &Ledger {
        self.process(at).aggregator.ledger()
    }

    /// Whether the holder has a slot in which something may be kept of it.
    pub(crate) fn is_seated(&self, at: usize, who: Who) -> bool {
        self.ledger(at).find(cast::holder(who)).is_some()
    }

    /// What an instance has of a holder with a slot.
    pub(crate) fn used_by(&self, at: usize, who: Who) -> Amount {
        let slot = self.ledger(at).find(cast::holder(who)).expect("it has a slot");
        Amount::used(self.ledger(at).record(slot).counted())
    }

    /// The process is gone between two steps, and the next one begins.
    pub(crate) fn restart(&mut self, at: usize) {
        self.take_process(at);
        self.start(at);
        self.check();
    }

    /// The application says this.
    pub(crate) fn tells(&mut self, at: usize, id: SessionId, event: &Event) {
        let session = self.take(at, id);
        self.be_told(at, 0, session, Opcode::Text, event.payload());
    }

    /// The id of a response of the session's call.
    pub(crate) fn response(&self, at: usize, id: SessionId, index: usize) -> String {
        let session = self.process(at).sessions().find(|session| session.id() == id);
        session.expect("it has not ended").call.borrow().responses[index].id.clone()
    }

    /// Sessions that have a place among the user's.
    pub(crate) fn place_count(&self, at: usize, who: Who) -> u32 {
        let slot = self.ledger(at).find(cast::holder(who)).expect("it has a slot");
        self.process(at).aggregator.account(slot).expect("it has an account").sessions()
    }

    /// An operator asks for all users; nobody has looked at that yet.
    pub(crate) fn begins_to_ask(&mut self, at: usize) -> impl Future<Output = bool> + use<> {
        let handle = self.process(at).handle.clone();
        let mut asked = Box::pin(async move { handle.blocked().await.is_ok() });
        let is_done = asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!is_done, "nobody has answered");
        asked
    }

    /// An operator sets a key.
    pub(crate) fn sets_key(&mut self, at: usize, index: usize, key: Key) {
        let set = key.clone();
        let done = self.order(at, |handle| async move { handle.set_key(set).await });
        assert!(done.is_ok(), "{done:?}");
        self.grant(at, Wish::SetKey(index, key));
    }

    /// An application tells of a call of its own, by this name; whether it counts.
    pub(crate) fn records(&mut self, at: usize, who: Who, name: &str) -> bool {
        let ids: Vec<Arc<str>> = match self.plant {
            Plant::KeyForgotten => Vec::new(),
            _ => vec![name.into()],
        };
        let mut reader = self.process(at).store.reader().expect("it can be read");
        if !ids.is_empty() && reader.has_marked(&ids).expect("it can be read") {
            return false;
        }
        let (number, when) = (self.numbers.get() + 1, self.wall);
        let delta = Delta {
            at: when,
            session: SessionId::NONE,
            identity: user(who),
            provider: "openai".into(),
            model: "gpt-realtime".into(),
            usage: usage::Usage { text_in: 10, requests: 1, ..usage::Usage::default() },
            cost: NanoUsd(MILLI),
            estimated: false,
            latency_ms: Some(number),
        };
        let before = if self.is_seated(at, who) { self.used_by(at, who) } else { Amount::default() };
        let amount = Amount { nano: MILLI, tokens: 10 };
        let call = Call { delta, log: None, ids };
        self.process_mut(at).aggregator.record(call, when).expect("there is room for everybody");
        let counts = self.used_by(at, who) != before;
        if counts {
            self.numbers.set(number);
            self.grant(at, Wish::Record { number, amount, of: Party::of(&user(who)), at: when });
        }
        counts
    }

    /// All that waits is copied to MongoDB.
    pub(crate) fn copy_all(&mut self, at: usize) {
        self.mongo.be(self.elapsed, None);
        let now = self.instant();
        let courier = self.process_mut(at).courier.as_mut().expect("it is copied to MongoDB");
        while courier.copy(now).expect("nothing is wrong") > 0 {}
    }

    /// What the writer does between two commits, until nothing is left to do.
    pub(crate) fn tidy(&mut self, at: usize) {
        self.shard(at, 0);
        let now = self.clock.get();
        let store = &mut self.process_mut(at).store;
        while store.prune(now).expect("nothing is wrong").has_more {}
    }

    pub(crate) fn event_count(&self, at: usize) -> usize {
        let Instance { kept, process, .. } = &self.instances[at];
        let process = process.as_ref().expect("it runs");
        kept.events(&*process.store).expect("they are in its file").len()
    }

    pub(crate) fn sleeps(&mut self, span: Duration) {
        self.pass_ms(span.as_millis() as u64);
    }
}

/// Everybody who takes part.
pub(crate) fn everybody() -> std::ops::Range<Who> {
    0..HOLDER_COUNT
}
