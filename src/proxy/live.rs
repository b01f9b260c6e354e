//! What the outside may see of a session and do to it: the tick, an order, one pump to the other.
//!
//! A session is never stopped by dropping it. Somebody sets what it should do and calls its pumps; if it does not
//! come to an end by its deadline, its lines are cut.

use crate::holders::Holders;
use crate::io::shut_down::ShutdownHandle;
use crate::tokens::Binding;
use monoio::io::{CancelHandle, Canceller};
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::{self, Dialect};
use tokenist_core::http::write::HeaderValue;
use tokenist_core::id::{Identity, Model, SessionId};
use tokenist_core::meter::Carried;
use tokenist_core::models::Models;
use tokenist_core::time::Instant;
use tokenist_core::ws::frame::Violation;
use tokenist_handoff::Resumable;

/// One direction of a session, as the outside sees it.
#[derive(Default)]
pub(crate) struct Direction {
    waker: RefCell<Option<Waker>>,
    called: Cell<bool>,
    ping_due: Cell<bool>,
    /// When bytes last came in this direction.
    pub(crate) heard_at: Cell<Instant>,
    /// When a ping of ours was last asked for in this direction.
    pub(crate) pinged_at: Cell<Instant>,
    /// Cancels the pending read.
    canceller: RefCell<Canceller>,
    /// Writes that were begun and ended: odd while one waits for whoever takes this direction.
    writes: Cell<u64>,
    /// There is one once a write was found waiting.
    stall: Cell<Option<Box<Stall>>>,
    /// A read is pending that could give its buffer back.
    pub(crate) lent: Cell<bool>,
    /// The peer written to in this direction knows that the session ends, or cannot be told.
    pub(crate) notified: Cell<bool>,
}

/// A write that waits, as it looked when somebody looked.
#[derive(Default)]
struct Stall {
    /// Which write.
    write: u64,
    taken_bytes: Option<u64>,
    looked_at: Instant,
    /// How many looks in a row found nothing taken.
    vain: u8,
}

/// A write that waits.
pub(crate) struct Writing<'a>(&'a Cell<u64>);

impl Writing<'_> {
    fn begin(writes: &Cell<u64>) -> Writing<'_> {
        writes.set(writes.get() + 1);
        Writing(writes)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// How whoever is written to does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taking {
    /// Nothing waits for it.
    Free,
    /// A write waits.
    Waits,
    /// A write waits, and nothing was taken for three times as long as silence is borne.
    Stuck,
}

pub struct Live {
    /// Under which its shard has it.
    pub(crate) connection: SessionId,
    /// That of its session's first connection.
    session: Cell<SessionId>,
    /// When its session's first connection came.
    pub(crate) opened_at: Cell<Instant>,
    /// What it is of HTTP.
    pub(crate) http: Cell<Http>,
    /// What it shares with the session's other connections, if it resumes one or can be resumed.
    resumable: OnceCell<Arc<Resumable>>,
    /// Where it comes from, once that is known.
    pub(crate) client: Cell<Option<IpAddr>>,
    /// OpenAI's until the route is known.
    pub(crate) dialect: Cell<&'static dyn Dialect>,
    /// Its index among the configured ones, once one is chosen.
    pub(crate) provider: Cell<Option<usize>>,
    /// By which name the session's model is judged, once it is known: as it was asked for, or else as the provider calls it.
    pub(crate) model: RefCell<Option<Model>>,
    /// Which of the operator's keys went upstream, if one did.
    pub(crate) operators_key: Cell<Option<usize>>,
    /// By whom a session's refusals are counted, once the head is read.
    pub(crate) caller: OnceCell<CallerMark>,
    /// What a page has opened it with.
    pub(crate) token: OnceCell<Box<Binding>>,
    /// The origin of the page that may read its answer, if there are such pages and it is one.
    pub(crate) page: OnceCell<Option<Box<HeaderValue>>>,
    /// The provider owes something that it has begun.
    pub(crate) under_way: Cell<bool>,
    /// When time was last charged, where time is billed.
    pub(crate) timed_at: Cell<Option<Instant>>,
    /// It is told in HTTP if it is refused.
    pub(crate) is_storming: Cell<bool>,
    /// The shard holds as many sessions as it may: this one is there to be refused.
    pub(crate) surplus: bool,
    pub identity: OnceCell<Arc<Identity>>,
    pub holders: OnceCell<Holders>,
    pub(crate) downstream: ShutdownHandle,
    pub(crate) upstream: ShutdownHandle,
    /// From the provider to the application.
    pub(crate) down: Direction,
    /// From the application to the provider.
    pub(crate) up: Direction,
    /// When both lines are cut, whatever the session is doing.
    pub(crate) deadline: Cell<Instant>,
    /// The provider has not answered yet: the deadline is its own.
    pub(crate) dialling: Cell<bool>,
    pub relaying: Cell<bool>,
    /// When a message last passed, in either direction.
    pub(crate) active_at: Cell<Instant>,
    /// The application has said goodbye, or is gone.
    pub leaving: Cell<bool>,
    /// The application takes no more, not even a close.
    pub gone: Cell<bool>,
    /// The provider says no more, or nothing that could be understood.
    pub silent: Cell<bool>,
    /// Until when the provider is heard out, once nobody is relayed for any more. See `linger`.
    pub(crate) linger_until: Cell<Option<Instant>>,
    /// The payload of the application's close, which the provider is told when it owes nothing more.
    pub(crate) held_close: RefCell<Option<Box<[u8]>>>,
    /// The session is attached to a call, and others may be.
    pub(crate) shares_call: Cell<bool>,
    /// The call is metered by its own session, which this one is not.
    pub(crate) looks_on: Cell<bool>,
    /// It is a call: it has no side of the application here, and says itself when its line is cut.
    pub(crate) is_call: Cell<bool>,
    /// The call was asked to end, and whoever asks goes on until it has.
    pub(crate) hung_up: Cell<bool>,
    has_place: Cell<bool>,
    ending: OnceCell<Box<CloseReason>>,
    /// How the provider broke the protocol, for it to be told.
    pub(crate) violation: Cell<Option<Violation>>,
    /// The close code that downstream was given or gave.
    pub(crate) close_code: Cell<Option<u16>>,
}

/// What tells a caller from others where refusals are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallerMark {
    /// The user and the credential that it names.
    Named(u64),
    Address(IpAddr),
}

/// The reason under which failures are counted that a provider makes after its greeting.
pub(crate) const CUT_OFF: &str = "cut_off";

/// What a connection does where it has no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    /// Nothing: a session is what comes of it, or that is not known yet.
    No,
    /// It waits for another request.
    Idle,
    /// A request is under way.
    Running,
    /// Likewise, for so long that operators see it.
    Listed,
}

/// What woke a pump.
pub(crate) enum Woken<T> {
    Read(T),
    Called,
}

impl Direction {
    /// Wakes the pump to look at what is asked of it.
    pub(crate) fn call(&self) {
        self.called.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(crate) fn ask_ping(&self) {
        self.ping_due.set(true);
        self.call();
    }

    /// For a read that [`Direction::release`] may cancel.
    pub(crate) fn cancel_handle(&self) -> CancelHandle {
        self.canceller.borrow().handle()
    }

    /// Has a quiet direction's pending read give its buffer back. Bytes that arrive meanwhile are read all the same.
    pub(crate) fn release(&self) {
        if self.lent.take() {
            let canceller = self.canceller.take();
            self.canceller.replace(canceller.cancel());
        }
    }

    pub(crate) fn take_ping(&self) -> bool {
        self.ping_due.take()
    }

    /// Lets it be known that a write waits, until this is dropped. It is held beside the write, for a future within another
    /// would be kept twice, and a session that waits should be small.
    pub(crate) fn writing(&self) -> Writing<'_> {
        Writing::begin(&self.writes)
    }

    /// Whether a write waits for whoever takes this direction; until it has ended, nothing is read.
    pub(crate) fn waits(&self) -> bool {
        self.writes.get() % 2 == 1
    }

    /// How whoever takes this direction, at the other end of `handle`, does. What counts is what its system takes, be it ever so
    /// slowly: one write may wait for minutes. To be asked each tick.
    pub(crate) fn taking(&self, handle: &ShutdownHandle, now: Instant, ping_ms: u64) -> Taking {
        if !self.waits() {
            return Taking::Free;
        }
        let write = self.writes.get();
        let mut stall = self.stall.take().unwrap_or_default();
        if write != stall.write {
            *stall = Stall { write, taken_bytes: handle.taken_bytes(), looked_at: now, vain: 0 };
        } else if now.since(stall.looked_at) >= ping_ms {
            let taken_bytes = handle.taken_bytes();
            let vain = if taken_bytes == stall.taken_bytes { stall.vain.saturating_add(1) } else { 0 };
            *stall = Stall { write, taken_bytes, looked_at: now, vain };
        }
        let taking = if stall.vain >= 3 { Taking::Stuck } else { Taking::Waits };
        self.stall.set(Some(stall));
        taking
    }

    /// Waits for `read`, which stays pending when the pump is called instead.
    pub(crate) fn until<F: Future>(&self, mut read: Pin<&mut F>) -> impl Future<Output = Woken<F::Output>> {
        poll_fn(move |context| {
            if self.called.take() {
                return Poll::Ready(Woken::Called);
            }
            match read.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Woken::Read(output)),
                Poll::Pending => {
                    let mut waker = self.waker.borrow_mut();
                    if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                        *waker = Some(context.waker().clone());
                    }
                    Poll::Pending
                }
            }
        })
    }
}

impl Live {
    pub(crate) fn new(id: SessionId, now: Instant, deadline: Instant, surplus: bool) -> Live {
        Live {
            connection: id,
            session: Cell::new(id),
            opened_at: Cell::new(now),
            http: Cell::new(Http::No),
            resumable: OnceCell::new(),
            client: Cell::new(None),
            dialect: Cell::new(dialect::usual()),
            provider: Cell::new(None),
            model: RefCell::new(None),
            operators_key: Cell::new(None),
            caller: OnceCell::new(),
            token: OnceCell::new(),
            page: OnceCell::new(),
            under_way: Cell::new(false),
            timed_at: Cell::new(None),
            is_storming: Cell::new(false),
            surplus,
            identity: OnceCell::new(),
            holders: OnceCell::new(),
            downstream: ShutdownHandle::default(),
            upstream: ShutdownHandle::default(),
            down: Direction::default(),
            up: Direction::default(),
            deadline: Cell::new(deadline),
            dialling: Cell::new(false),
            relaying: Cell::new(false),
            active_at: Cell::new(now),
            leaving: Cell::new(false),
            gone: Cell::new(false),
            silent: Cell::new(false),
            linger_until: Cell::new(None),
            held_close: RefCell::new(None),
            shares_call: Cell::new(false),
            looks_on: Cell::new(false),
            is_call: Cell::new(false),
            hung_up: Cell::new(false),
            has_place: Cell::new(false),
            ending: OnceCell::new(),
            violation: Cell::new(None),
            close_code: Cell::new(None),
        }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.session.get()
    }

    /// This connection goes on with a session, and shares its place. `false`: it cannot, for there is no place.
    pub(crate) fn join(&self, resumed: &Arc<Resumable>) -> bool {
        let user = self.holders.get().map(|holders| &holders.user);
        if !user.is_some_and(|user| resumed.join(user, self.has_place.get())) {
            return false;
        }
        self.has_place.set(true);
        self.session.set(resumed.session);
        self.opened_at.set(resumed.opened_at);
        self.resumable.set(Arc::clone(resumed)).is_ok()
    }

    /// What this connection leaves to one that resumes its session.
    pub(crate) fn share(&self, carried: Carried) -> &Arc<Resumable> {
        let session = self.resumable.get_or_init(|| {
            let (id, opened_at) = (self.id(), self.opened_at.get());
            Arc::new(Resumable::new(id, opened_at, Carried::default(), self.has_place.get()))
        });
        session.carried.set(carried);
        session
    }

    /// What it shares with other connections of its session, if it may have any.
    pub(crate) fn shared(&self) -> Option<&Arc<Resumable>> {
        self.resumable.get()
    }

    /// Asks the session to end for this reason, and to be done by then. The first reason stands.
    pub(crate) fn end(&self, ending: CloseReason, by: Instant) {
        self.ending.get_or_init(|| Box::new(ending));
        self.end_by(by);
        self.linger_until.set(self.linger_until.get().map(|until| until.min(by)));
        self.down.call();
        self.up.call();
    }

    /// Whether it is a request, and not a session.
    pub(crate) fn is_request(&self) -> bool {
        matches!(self.http.get(), Http::Running | Http::Listed)
    }

    pub fn ending(&self) -> Option<CloseReason> {
        self.ending.get().map(|ending| CloseReason::clone(ending))
    }

    pub fn is_ending(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Takes a place among the user's sessions, which [`Live::leave_place`] gives back.
    pub(crate) fn take_place(&self, holders: &Holders, max_sessions: Option<u32>) -> bool {
        let taken = holders.user.enter(max_sessions);
        self.has_place.set(taken);
        taken
    }

    /// Lists of its holders, and of its token, that its model has to be on.
    pub(crate) fn bounds(&self) -> Vec<Models> {
        let of_holders = self.holders.get().map(Holders::models).unwrap_or_default();
        let of_token = self.token.get().and_then(|token| token.models());
        of_holders.into_iter().chain(of_token).collect()
    }

    pub(crate) fn leave_place(&self) {
        if let Some(holders) = self.holders.get()
            && self.has_place.take()
        {
            match self.resumable.get() {
                Some(session) => session.leave(&holders.user),
                None => holders.user.leave(),
            }
        }
    }

    pub(crate) fn has_place(&self) -> bool {
        self.has_place.get()
    }

    /// The provider is only heard out.
    pub fn lingers(&self) -> bool {
        self.linger_until.get().is_some()
    }

    /// The application is gone: its line is cut, and the pumps see to the rest.
    pub fn forsake(&self) {
        self.leaving.set(true);
        self.gone.set(true);
        self.downstream.shut_down();
        self.down.call();
        self.up.call();
    }

    /// Which of its lines are past their time: the application's, and the provider's.
    pub fn overdue(&self, now: Instant) -> (bool, bool) {
        let is_over = now >= self.deadline.get();
        match self.linger_until.get() {
            _ if self.is_call.get() => (false, is_over && self.dialling.get()),
            // The client is still to be told.
            _ if is_over && self.dialling.get() => (false, true),
            Some(until) => (is_over, now >= until),
            None => (is_over, is_over),
        }
    }

    /// Cuts whatever is past its time.
    pub(crate) fn cut_at(&self, now: Instant) {
        let (downstream, upstream) = self.overdue(now);
        if downstream {
            self.downstream.shut_down();
        }
        if upstream {
            self.upstream.shut_down();
        }
    }

    /// Brings the deadline forward to `at`.
    pub(crate) fn end_by(&self, at: Instant) {
        self.deadline.set(self.deadline.get().min(at));
    }

    /// The event that precedes a close of ours, in the words of the session's dialect; `None` where it has none.
    /// What goes before a close of ours.
    pub(crate) fn words_before_close(&self, reason: &CloseReason) -> Option<String> {
        self.error_event(reason).filter(|_| reason.has_event())
    }

    pub(crate) fn error_event(&self, reason: &CloseReason) -> Option<String> {
        self.dialect.get().error_event(reason, &format!("event_tokenist_{:016x}", self.id().0))
    }

    /// A mask for a frame of our own to the provider: unpredictable, as RFC 6455 §10.3 asks.
    pub(crate) fn mask_key(&self) -> [u8; 4] {
        let mut key = [0; 4];
        aws_lc_rs::rand::fill(&mut key).expect("the system has randomness");
        key
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({})", self.id())
    }
}
