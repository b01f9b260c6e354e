//! One shard: a pinned thread with its own ring, its own sessions and its own copies of what it needs to know.
//!
//! Start at [`run`]. Each tick it sends what it could not report before, and looks at every session once:
//! deadlines, caps, verdicts, pings, and memory to give back. Invariant: a shard never waits for another thread.

use crate::accounts::Accounts;
use crate::buffer::Pool;
use crate::clock::Clock;
use crate::config::Config;
use crate::linger::LINGERING_MAX;
use crate::live::{Lane, Live};
use crate::reporter::{Held, Kept};
use crate::{Links, listener};
use monoio::net::UnixStream;
use monoio::time::{Duration, sleep};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::os::unix::net;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::close::Ending;
use tokenist_core::id::{Model, SessionId};
use tokenist_core::message::Delta;
use tokenist_core::metric::Metric;
use tokenist_core::price::PriceTable;
use tokenist_core::time::{Instant, Now};
use tokenist_handoff::{Counters, Mailbox, Order, Published, Report};

/// Models that were warned of, so that each is warned of once.
const WARNED_MAX: usize = 1000;

pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) config: Arc<Config>,
    pub(crate) links: Links,
    pub(crate) prices: Arc<Published<PriceTable>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) pool: Pool,
    pub(crate) accounts: Accounts,
    sessions: RefCell<HashMap<SessionId, Rc<Live>>>,
    sessions_opened: Cell<u64>,
    /// Of the sessions, those that hear their provider out.
    lingering: Cell<usize>,
    /// Reports that the queue had no room for.
    held: RefCell<Held>,
    unpriced: RefCell<HashSet<Model>>,
    pub(crate) clock: Clock,
    /// The time at the last tick: fresh enough for deadlines.
    now: Cell<Now>,
    /// When the drain ends, once there is one.
    pub(crate) drain_by: Cell<Option<Instant>>,
}

/// Serves until a drain has ended.
pub(crate) async fn run(
    index: usize,
    config: Arc<Config>,
    links: Links,
    orders: Mailbox<Order>,
    sockets: listener::Sockets,
) {
    let clock = Clock::new();
    let shard = Rc::new(Shard {
        index,
        prices: Arc::clone(&links.prices),
        counters: Arc::clone(&links.counters[index]),
        pool: Pool::default(),
        accounts: Accounts::new(config.account_cache_max),
        sessions: RefCell::default(),
        sessions_opened: Cell::new(0),
        lingering: Cell::new(0),
        held: RefCell::default(),
        unpriced: RefCell::default(),
        now: Cell::new(clock.now()),
        clock,
        drain_by: Cell::new(None),
        config,
        links,
    });
    let listeners = listener::listen(&shard, sockets);
    monoio::spawn(obey(Rc::clone(&shard), orders));
    let tick = Duration::from_millis(shard.config.tick_ms);
    let mut listeners = Some(listeners);
    loop {
        sleep(tick).await;
        shard.tick();
        if let Some(deadline) = shard.drain_by.get() {
            if let Some(listeners) = listeners.take() {
                listeners.close().await;
            }
            // Past the deadline sessions are told to go; those that do not are cut by their own deadlines.
            if shard.now() >= deadline {
                shard.each(|live| shard.end(live, Ending::Draining));
            }
            if shard.sessions.borrow().is_empty() && shard.flush() {
                return;
            }
        }
    }
}

/// Carries out orders as they come.
async fn obey(shard: Rc<Shard>, orders: Mailbox<Order>) {
    let bell = orders.bell().try_clone_fd().map(net::UnixStream::from).and_then(UnixStream::from_std);
    let bell = match bell {
        Ok(bell) => bell,
        Err(error) => {
            // Ticks still sweep, so orders are late and not lost: the mailbox is drained by nobody else.
            tracing::error!(%error, "a shard cannot hear its bell");
            return;
        }
    };
    loop {
        let heard = bell.readable(false).await;
        shard.read_clock();
        for order in orders.drain() {
            match order {
                Order::Admission { ticket, answer } => shard.accounts.answer(ticket, answer),
                Order::Sweep => shard.sweep(),
                Order::Close(session) => {
                    let live = shard.sessions.borrow().get(&session).cloned();
                    if let Some(live) = live {
                        shard.end(&live, Ending::Killed);
                    }
                }
                Order::Drain { deadline_ms } => shard.drain_by.set(Some(shard.now().plus_ms(deadline_ms))),
            }
        }
        if let Err(error) = heard {
            tracing::error!(%error, "a shard's bell is broken");
            sleep(Duration::from_millis(shard.config.tick_ms)).await;
        }
    }
}

impl Shard {
    /// The time, to a tick.
    pub(crate) fn now(&self) -> Instant {
        self.now.get().instant
    }

    fn read_clock(&self) {
        self.clock.tick();
        self.now.set(self.clock.now());
    }

    /// Registers a session, unless the shard is full.
    pub(crate) fn open(&self) -> Option<Rc<Live>> {
        if self.sessions.borrow().len() >= self.config.session_max {
            return None;
        }
        let now = self.clock.now().instant;
        let count = self.sessions_opened.replace(self.sessions_opened.get() + 1);
        let id =
            SessionId(self.links.boot << 44 | (self.index as u64 & 0xff) << 36 | (count & 0xf_ffff_ffff));
        let live = Rc::new(Live::new(id, now, now.plus_ms(self.config.head_ms)));
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
        let now = self.clock.now().instant;
        let until = now.plus_ms(self.config.linger_ms);
        // A drain waits for nobody longer than for the last closing handshake.
        let drained = self.drain_by.get().map(|by| by.max(now).plus_ms(self.config.close_ms));
        Some(drained.map_or(until, |drained| until.min(drained)))
    }

    /// Forgets a session, before its descriptors are closed.
    pub(crate) fn forget(&self, live: &Live) {
        if live.linger_until.take().is_some() {
            self.lingering.set(self.lingering.get() - 1);
        }
        live.downstream.let_go();
        live.upstream.let_go();
        self.sessions.borrow_mut().remove(&live.id);
    }

    /// Asks a session to end for this reason.
    pub(crate) fn end(&self, live: &Live, ending: Ending) {
        live.end(ending, self.now().plus_ms(self.config.close_ms));
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain_by.get().is_some()
    }

    /// Reports, now or at a later tick. Nothing is ever lost, and order is kept.
    pub(crate) fn report(&self, report: Report) {
        let mut held = self.held.borrow_mut();
        let report = match held.is_empty() {
            true => match self.links.reports.try_send(report) {
                Ok(()) => return,
                Err(error) => error.into_inner(),
            },
            false => report,
        };
        self.counters.add(Metric::ReportsDeferred, 1);
        if held.push(report) == Kept::Merged {
            self.counters.add(Metric::ReportsMerged, 1);
        }
        self.counters.set_held(held.len());
    }

    /// The aggregator is so far behind that no session more may be taken in.
    pub(crate) fn is_behind(&self) -> bool {
        self.held.borrow().is_full()
    }

    pub(crate) fn charged(&self, delta: Delta) {
        self.report(Report::Charged(delta));
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
    fn flush(&self) -> bool {
        let mut held = self.held.borrow_mut();
        if held.is_empty() {
            return true;
        }
        let send = |report| self.links.reports.try_send(report).err().map(|error| error.into_inner());
        let all_sent = held.send(send);
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
        let holders = live.holders.get().filter(|_| goes_on);
        if let Some(ending) = holders.and_then(|holders| holders.verdict(self.now.get().wall)) {
            self.counters.add(Metric::LimitsReached, 1);
            self.end(live, ending);
        }
    }

    /// A side has not even answered our pings. If it is the application, nobody is left to be told.
    fn bury(&self, live: &Live, silent: &Lane) {
        if std::ptr::eq(silent, &live.down) && !live.leaving.get() {
            self.counters.add(Metric::UpstreamFailures, 1);
            self.end(live, Ending::UpstreamFailed("it stopped answering".into()));
        } else {
            live.forsake();
        }
    }

    fn tick(&self) {
        self.read_clock();
        self.flush();
        let config = &*self.config;
        let now = self.now();
        self.each(|live| {
            live.cut_at(now);
            if !live.relaying.get() || live.is_ending() || live.lingers() {
                return;
            }
            self.judge(live);
            if let Some(max_seconds) =
                config.session_seconds.filter(|max| now.since(live.opened_at) >= max * 1000)
            {
                self.end(live, Ending::SessionTooLong { max_seconds });
            }
            let quiet_ms = now.since(live.active_at.get());
            if let Some(idle_seconds) = config.idle_seconds.filter(|max| quiet_ms >= max * 1000) {
                self.end(live, Ending::SessionIdle { idle_seconds });
            }
            for (heard, speaks) in [(&live.up, &live.down), (&live.down, &live.up)] {
                let silent_ms = now.since(heard.heard_at.get());
                if silent_ms >= 3 * config.ping_ms {
                    self.bury(live, heard);
                } else if silent_ms >= config.ping_ms && now.since(speaks.pinged_at.get()) >= config.ping_ms {
                    speaks.pinged_at.set(now);
                    speaks.ask_ping();
                }
                if silent_ms >= config.release_ms {
                    heard.release();
                }
            }
        });
    }
}
