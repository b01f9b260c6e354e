//! What one shard has and does for its sessions: their registry, reports, clocks, keys and caps.
//!
//! Start at [`Shard::tick`]: it sends what could not be reported before, and looks at every session once: deadlines, caps,
//! verdicts, pings, and memory to give back. Invariant: a shard never waits for another thread.

use crate::accounts::Accounts;
use crate::config::Config;
use crate::environment::{Environment, System};
use crate::error::{Cause, Phase, SessionError, Side};
use crate::io::buffer::Pool;
use crate::keys::KeyRing;
use crate::links::Links;
use crate::live::{Http, Live, Taking};
use crate::pings::{Beats, Toward};
use crate::port::Port;
use crate::race::Winners;
use crate::reporter::{Held, Kept};
use crate::tally::Tally;
use crate::upstreams::Upstreams;
use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use tokenist_core::browser_token::{Claims, TokenFault, TokenId};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::blot::Blot;
use tokenist_core::id::{Identity, KeyHash, Model, SessionId};
use tokenist_core::kept_response::ResponseId;
use tokenist_core::message::{Delta, Opened, Transport};
use tokenist_core::meter::LookedUp;
use tokenist_core::metric::Metric;
use tokenist_core::models::Models;
use tokenist_core::price::PriceTable;
use tokenist_core::time::{Instant, Now, Timestamp};
use tokenist_core::verdict::judge_model;
use tokenist_handoff::{Counters, Order, Published, Report};

/// What goes on is told to the operator no more often.
const COMPLAINT_MS: u64 = 10_000;
/// Sessions that may hear their provider out at once.
const LINGERING_MAX: usize = 1_024;
/// Where time is billed it is charged so often, also while nothing passes.
const TIMED_EACH_MS: u64 = 1_000;
/// A request that lasts so long is shown as a session is.
const LISTED_AFTER_MS: u64 = 1_000;
/// Models that were warned of, so that each is warned of once.
const WARNED_MAX: usize = 1000;

pub struct Shard<E = System> {
    pub(crate) index: usize,
    pub(crate) config: Arc<Config>,
    pub(crate) links: Links,
    pub(crate) prices: Arc<Published<PriceTable>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) pool: Pool,
    pub accounts: Accounts,
    pub(crate) winners: Winners,
    pub(crate) upstreams: Upstreams,
    /// Of relayed calls, where there may be such.
    pub(crate) port: OnceCell<Rc<Port>>,
    /// Accepted and not ended, whether a session became of it or not.
    pub(crate) connections: Cell<usize>,
    sessions: RefCell<HashMap<SessionId, Rc<Live>>>,
    sessions_opened: Cell<u64>,
    /// Of the sessions, those that hear their provider out.
    lingering: Cell<usize>,
    /// Reports that the queue had no room for.
    held: RefCell<Held>,
    unpriced: RefCell<HashSet<Model>>,
    /// Refusals that are still to be reported.
    tally: Tally,
    /// Of each provider.
    pub(crate) key_rings: Box<[KeyRing]>,
    /// Of each provider: what its models cost, as far as a session has asked.
    pub(crate) looked_up: Box<[RefCell<LookedUp>]>,
    environment: E,
    /// The time at the last tick: fresh enough for deadlines.
    now: Cell<Now>,
    /// When what is walked now was read: one reading of the clock for all events of a buffer.
    pub(crate) read_at: Cell<Now>,
    /// When the drain ends, once there is one.
    pub(crate) drain_by: Cell<Option<Instant>>,
    /// How long it takes.
    drain_ms: Cell<u64>,
    /// Orders are obeyed no more.
    pub(crate) over: Cell<bool>,
    /// When the operator was last told that connections cannot be accepted.
    complained_at: Cell<Option<Instant>>,
}

impl<E: Environment> Shard<E> {
    pub fn new(index: usize, config: Arc<Config>, links: Links, environment: E) -> Shard<E> {
        let now = environment.now();
        Shard {
            index,
            prices: Arc::clone(&links.prices),
            counters: Arc::clone(&links.counters[index]),
            pool: Pool::default(),
            accounts: Accounts::new(config.account_cache_max, config.tick_ms),
            winners: Winners::default(),
            upstreams: Upstreams::new(config.providers.len()),
            port: OnceCell::new(),
            connections: Cell::new(0),
            sessions: RefCell::default(),
            sessions_opened: Cell::new(0),
            lingering: Cell::new(0),
            held: RefCell::new(Held::new(config.held_max)),
            unpriced: RefCell::default(),
            tally: Tally::default(),
            key_rings: config.providers.iter().map(|provider| KeyRing::new(&provider.keys)).collect(),
            looked_up: config.providers.iter().map(|_| RefCell::default()).collect(),
            now: Cell::new(now),
            read_at: Cell::new(now),
            environment,
            drain_by: Cell::new(None),
            drain_ms: Cell::new(0),
            over: Cell::new(false),
            complained_at: Cell::new(None),
            config,
            links,
        }
    }

    pub fn environment(&self) -> &E {
        &self.environment
    }

    /// The time, as the clocks say it.
    #[inline]
    pub(crate) fn time(&self) -> Now {
        self.environment.now()
    }

    /// The time, to a tick.
    pub(crate) fn now(&self) -> Instant {
        self.now.get().instant
    }

    fn read_clock(&self) {
        self.environment.follow_clock();
        self.now.set(self.time());
    }

    /// What is shown to the taps from here on was read at this time.
    #[inline]
    pub fn note_read(&self) {
        self.read_at.set(self.time());
    }

    /// Carries out orders as they come.
    pub fn obey(&self, orders: impl Iterator<Item = Order>) {
        self.read_clock();
        for order in orders {
            match order {
                Order::Admission { ticket, answer } => self.accounts.answer(ticket, answer),
                Order::Sweep => self.sweep(),
                Order::Release => self.accounts.release(),
                Order::Close(session) => self.kill(session),
                Order::Revoke(token) => self.end_token(&token),
                Order::Drain { deadline_ms } => self.drain(deadline_ms),
            }
        }
    }

    /// Registers a session. One that is too many is there only to be refused; `None` where even those are too many.
    pub fn open(&self) -> Option<Rc<Live>> {
        let open = self.sessions.borrow().len();
        if open >= self.config.session_max + self.config.refusal_max {
            return None;
        }
        let now = self.time().instant;
        let count = self.sessions_opened.replace(self.sessions_opened.get() + 1);
        let id =
            SessionId(self.links.boot << 44 | (self.index as u64 & 0xff) << 36 | (count & 0xf_ffff_ffff));
        let surplus = open >= self.config.session_max;
        let live = Rc::new(Live::new(id, now, now.plus_ms(self.config.head_ms), surplus));
        self.sessions.borrow_mut().insert(id, Rc::clone(&live));
        Some(live)
    }

    /// Takes a place for one more session that hears its provider out, if there is one: until when it may.
    pub(crate) fn linger(&self) -> Option<Instant> {
        if self.config.linger_ms == 0 || self.lingering.get() >= LINGERING_MAX {
            return None;
        }
        self.lingering.set(self.lingering.get() + 1);
        self.counters.add(Metric::SessionsLingered, 1);
        let now = self.time().instant;
        let until = now.plus_ms(self.config.linger_ms);
        // A drain waits for nobody longer than for the last closing handshake.
        let drained = self.drain_by.get().map(|by| by.max(now).plus_ms(self.config.close_ms));
        Some(drained.map_or(until, |drained| until.min(drained)))
    }

    /// Ends one session, as an operator wants.
    fn kill(&self, session: SessionId) {
        self.each(|live| {
            if live.id() == session {
                self.end(live, CloseReason::Killed);
            }
        });
    }

    /// Ends what a token has opened that was revoked.
    fn end_token(&self, token: &TokenId) {
        self.each(|live| {
            if live.token.get().is_some_and(|opened_with| opened_with.claims.id == *token) {
                self.end(live, CloseReason::Token(TokenFault::Revoked));
            }
        });
    }

    /// What a token says that is in time.
    pub(crate) fn read_token(&self, token: &str) -> Result<Claims, TokenFault> {
        let signer = self.config.signer.as_ref().ok_or(TokenFault::Foreign)?;
        signer.read(token, self.time().wall)
    }

    /// Takes in no session more, and ends those that there are within this time.
    fn drain(&self, deadline_ms: u64) {
        self.drain_ms.set(deadline_ms);
        self.drain_by.set(Some(self.now().plus_ms(deadline_ms)));
        self.upstreams.clear();
    }

    /// In the second half of a drain sessions are told to go as soon as no response is under way, which SDKs would take for a
    /// whole one; past the deadline all are. Those that do not are cut by their own deadlines.
    pub fn send_away(&self) {
        let Some(deadline) = self.drain_by.get() else { return };
        let now = self.now();
        let is_late = now.plus_ms(self.drain_ms.get() / 2) >= deadline;
        self.each(|live| {
            if live.http.get() == Http::Idle && !live.downstream.has_news() {
                live.downstream.shut_down();
            }
            let is_calm = is_late && live.relaying.get() && !live.under_way.get();
            if now >= deadline || is_calm {
                self.end(live, CloseReason::Draining);
            }
        });
    }

    /// Forgets a session, before its descriptors are closed.
    pub(crate) fn forget(&self, live: &Live) {
        if live.linger_until.take().is_some() {
            self.lingering.set(self.lingering.get() - 1);
        }
        live.downstream.disarm();
        live.upstream.disarm();
        self.sessions.borrow_mut().remove(&live.connection);
    }

    /// Asks a session to end for this reason.
    pub fn end(&self, live: &Live, ending: CloseReason) {
        live.end(ending, self.now().plus_ms(self.config.close_ms));
    }

    /// Whether it is time to tell the operator (again) that connections cannot be accepted.
    pub(crate) fn may_complain(&self) -> bool {
        let now = self.now();
        let is_time = self.complained_at.get().is_none_or(|before| now.since(before) >= COMPLAINT_MS);
        if is_time {
            self.complained_at.set(Some(now));
        }
        is_time
    }

    /// What blots the operator's key out of what the provider says, if one went upstream.
    pub(crate) fn blot(&self, live: &Live) -> &Blot {
        static NOTHING: LazyLock<Blot> = LazyLock::new(|| Blot::of(None));
        match (live.provider.get(), live.operators_key.get()) {
            (Some(provider), Some(key)) => self.key_rings[provider].blot(key),
            _ => &NOTHING,
        }
    }

    pub fn is_draining(&self) -> bool {
        self.drain_by.get().is_some()
    }

    /// Reports, now or at a later tick. Nothing is ever lost, and order is kept.
    pub(crate) fn report(&self, report: Report) {
        let mut held = self.held.borrow_mut();
        let report = match held.is_empty() {
            true => match self.environment.send(report) {
                None => return,
                Some(report) => report,
            },
            false => report,
        };
        self.counters.add(Metric::ReportsDeferred, 1);
        if held.push(report) == Kept::Merged {
            self.counters.add(Metric::ReportsMerged, 1);
        }
        self.counters.set_held(held.len());
    }

    /// Reports that the queue had no room for.
    pub fn held(&self) -> Ref<'_, Held> {
        self.held.borrow()
    }

    /// Sends the aggregator what must not wait; whether its queue had room.
    pub fn ask(&self, question: Report) -> bool {
        self.environment.send(question).is_none()
    }

    /// The aggregator is so far behind that no session more may be taken in.
    pub fn is_behind(&self) -> bool {
        self.held.borrow().is_full()
    }

    /// Keeps that a caller was refused, for the operator. It is counted where it is told.
    pub fn refused(
        &self,
        identity: Option<&Identity>,
        key: Option<KeyHash>,
        peer: IpAddr,
        ending: &CloseReason,
    ) {
        if self.tally.note(identity, key, peer, ending, self.time().wall) {
            self.report_refusals();
        }
    }

    fn report_refusals(&self) {
        for rejected in self.tally.take() {
            self.report(Report::Refused(Box::new(rejected)));
        }
    }

    /// Reports what was counted. From here on it outlives the process, and nobody has heard of it yet.
    pub(crate) fn charged(&self, delta: Delta) {
        self.report(self.environment.set_down(delta));
    }

    /// As [`Shard::charged`], for what a provider states of a response that it keeps.
    pub(crate) fn charged_as_stated(&self, delta: Delta, response: ResponseId) {
        self.report(self.environment.set_down_stated(delta, response));
    }

    /// Whether a model is not served because no price is known for it.
    pub(crate) fn refuses(&self, provider: &str, model: &Model) -> bool {
        let is_priced = || self.prices.load().row(provider, model.as_str(), self.time().wall).is_some();
        self.config.refuse_unknown_models && !is_priced()
    }

    pub(crate) fn warn_unpriced(&self, model: &Model) {
        let mut unpriced = self.unpriced.borrow_mut();
        if unpriced.len() < WARNED_MAX && unpriced.insert(model.clone()) {
            tracing::warn!(%model, "no price is known for this model; the fallback price is charged");
        }
    }

    /// The test hook of `Config::panic_user`.
    pub(crate) fn panic_if_asked(&self, live: &Live) {
        let asked = live
            .identity
            .get()
            .is_some_and(|identity| Some(&identity.user) == self.config.panic_user.as_ref());
        assert!(!asked, "this session was asked to panic by a test");
    }

    /// Sends what is held; true if nothing is left.
    pub fn flush(&self) -> bool {
        let mut held = self.held.borrow_mut();
        if held.is_empty() {
            return true;
        }
        let all_sent = held.send(|report| self.environment.send(report));
        self.counters.set_held(held.len());
        all_sent
    }

    /// Calls `act` on every session. Sessions may come and go meanwhile.
    fn each(&self, mut act: impl FnMut(&Live)) {
        let sessions: Vec<Rc<Live>> = self.sessions.borrow().values().cloned().collect();
        sessions.iter().for_each(|live| act(live));
    }

    /// Judges every session now.
    fn sweep(&self) {
        self.each(|live| self.judge(live));
    }

    fn judge(&self, live: &Live) {
        let goes_on = live.relaying.get() && !live.is_ending() && !live.lingers();
        let Some(holders) = live.holders.get().filter(|_| goes_on) else { return };
        if let Some(ending) = holders.verdict(self.now.get().wall) {
            self.counters.add(Metric::LimitsReached, 1);
            return self.end(live, ending);
        }
        let bounds = holders.models();
        if !bounds.is_empty()
            && let Some(ending) = self.judge_model(live, bounds)
        {
            self.end(live, ending);
        }
    }

    /// Why a session's model may not be used, if it is known: its provider does not serve it, or one of these lists does not
    /// name it.
    pub(crate) fn judge_model(&self, live: &Live, mut bounds: Vec<Models>) -> Option<CloseReason> {
        let model = live.model.borrow();
        bounds.extend(live.provider.get().map(|index| self.config.routes.models(index).clone()));
        judge_model(model.as_ref()?.as_str(), &bounds)
    }

    /// Pings a side that is silent, and ends the session if it is dead. A side is judged by what it takes while we wait
    /// for that, and by what it says while we listen: of one whom we keep from speaking, because the other side takes
    /// nothing, neither is known.
    fn look_after(&self, live: &Live, side: Side) {
        let (heard, told, line, toward) = match side {
            Side::Upstream => (&live.down, &live.up, &live.upstream, Toward::Upstream),
            Side::Downstream | Side::Internal => (&live.up, &live.down, &live.downstream, Toward::Downstream),
        };
        let is_there = !live.is_call.get() || side == Side::Upstream && !live.silent.get();
        if live.is_ending() || live.gone.get() || !is_there {
            return;
        }
        let (now, ping_ms) = (self.now(), self.config.ping_ms);
        match told.taking(line, now, ping_ms) {
            Taking::Stuck => return self.give_up(live, side, "it takes nothing of what it is sent"),
            Taking::Waits => return heard.heard_at.set(now),
            Taking::Free if heard.waits() => return heard.heard_at.set(now),
            Taking::Free => {}
        }
        let silent_ms = now.since(heard.heard_at.get());
        if silent_ms >= 3 * ping_ms {
            self.give_up(live, side, "it stopped answering");
        } else if silent_ms >= ping_ms {
            let beats = Beats::new(live.connection, toward, ping_ms);
            if beats.is_due(now, heard.heard_at.get(), told.pinged_at.get()) {
                told.pinged_at.set(now);
                told.ask_ping();
            }
        }
        if silent_ms >= self.config.release_ms {
            heard.release();
        }
    }

    /// Ends the session because of this side, which is named to the operator, and to the other side if it is the
    /// application's to know.
    fn give_up(&self, live: &Live, side: Side, why: &'static str) {
        let error = SessionError::new(side, Phase::Relay, Cause::Malformed(why));
        match side {
            Side::Upstream if !live.leaving.get() => {
                self.counters.add(Metric::UpstreamFailures, 1);
                tracing::warn!(session = %live.id(), %error, "session failed");
                self.end(live, error.close_reason());
            }
            // It may begin to read in time to be told.
            Side::Downstream if live.down.waits() => {
                tracing::info!(session = %live.id(), %error, "session ended");
                self.end(live, CloseReason::NotReading { seconds: 3 * self.config.ping_ms / 1000 });
            }
            // Nobody is left to be told.
            Side::Downstream | Side::Internal => {
                tracing::info!(session = %live.id(), %error, "session ended");
                live.forsake();
            }
            Side::Upstream => live.forsake(),
        }
    }

    /// Ends a request whose client is gone, or goes on neither with its body nor with the answer; has operators see one that lasts.
    fn look_after_request(&self, live: &Live) {
        if live.downstream.is_hung_up() {
            return live.forsake();
        }
        let now = self.now();
        if live.down.taking(&live.downstream, now, self.config.ping_ms) == Taking::Stuck {
            return self.give_up(live, Side::Downstream, "it takes nothing of what it is sent");
        }
        // What is lent to a read waits for the body.
        if live.up.lent.get() && now.since(live.up.heard_at.get()) >= self.config.body_ms {
            return self.end(live, CloseReason::BodyStalled { seconds: self.config.body_ms / 1000 });
        }
        if live.http.get() == Http::Running && now.since(live.opened_at.get()) >= LISTED_AFTER_MS {
            self.list(live);
        }
    }

    /// A request has lasted so long that operators see it from now on.
    fn list(&self, live: &Live) {
        let Now { wall, instant } = self.now.get();
        let provider = live.provider.get().map(|index| Arc::clone(&self.config.providers[index].name));
        if let (Some(identity), Some(provider)) = (live.identity.get(), provider) {
            live.http.set(Http::Listed);
            self.counters.add(Metric::SessionsOpened, 1);
            let opened = Opened {
                session: live.id(),
                identity: Arc::clone(identity),
                provider,
                model: live.model.borrow().clone(),
                transport: Transport::Http,
                call: None,
                at: Timestamp(wall.0.saturating_sub(instant.since(live.opened_at.get()))),
            };
            self.report(Report::Opened(opened));
        }
    }

    pub fn tick(&self) {
        self.counters.heartbeat().beat();
        self.read_clock();
        self.flush();
        self.accounts.tick();
        self.report_refusals();
        self.environment.look();
        self.upstreams.expire(self.now());
        let config = &*self.config;
        let now = self.now();
        self.each(|live| {
            live.cut_at(now);
            if !live.relaying.get() || live.is_ending() || live.lingers() {
                return;
            }
            self.judge(live);
            if live.is_request() {
                return self.look_after_request(live);
            }
            if live.timed_at.get().is_some_and(|before| now.since(before) >= TIMED_EACH_MS) {
                live.down.call();
            }
            if let Some(max_seconds) =
                config.session_seconds.filter(|max| now.since(live.opened_at.get()) >= max * 1000)
            {
                self.end(live, CloseReason::SessionTooLong { max_seconds });
            }
            if live.token.get().is_some_and(|token| token.is_over(self.now.get().wall)) {
                self.end(live, CloseReason::Token(TokenFault::Expired));
            }
            let quiet_ms = now.since(live.active_at.get());
            if let Some(idle_seconds) = config.idle_seconds.filter(|max| quiet_ms >= max * 1000) {
                self.end(live, CloseReason::SessionIdle { idle_seconds });
            }
            self.look_after(live, Side::Downstream);
            self.look_after(live, Side::Upstream);
        });
    }
}

impl<E> fmt::Debug for Shard<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.index)
    }
}
