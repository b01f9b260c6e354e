//! A call's life behind its signalling: attach → hear → hang up → settle, or relay → hang up → settle.
//!
//! Start at [`Reserved::take`], before the provider is asked for the call, then [`Reserved::begin`]. A call that is watched is a
//! session without an application's side: its sound and its events pass between the application and the provider, and what is metered
//! and judged is what the provider says on a socket that is attached to it. So nothing is withheld; a session that is to end is ended
//! by a request. One that is relayed has both sides here (`media`). Invariants: a call that was begun is watched, or is asked to end,
//! unless the operator has said otherwise; one that goes on although it was to end goes on being metered, and is shown so.

mod hangup;
mod media;
mod socket;

pub(crate) use media::offering::{NotOffered, Offering};

use crate::asked::Asked;
use crate::caught;
use crate::config::{Provider, Sideband};
use crate::dial;
use crate::io::stream::End;
use crate::linger::Owed;
use crate::live::Live;
use crate::refuse;
use crate::shard::Shard;
use crate::stages;
use crate::tap::Tap;
use crate::tokens::Binding;
use crate::upgrade;
use media::Relayed;
use monoio::time::{Duration, sleep};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::{Calls, Dialect};
use tokenist_core::http::Header;
use tokenist_core::key::ProviderKey;
use tokenist_core::message::Transport;
use tokenist_core::metric::Metric;
use tokenist_core::signalling::Place;
use tokenist_core::time::Instant;
use tokenist_handoff::{CallOwner, CallReport, Report};
use tungstenite::handshake::client::generate_key;

/// How long a socket may take to be there, after the answer or after it was lost.
const ATTACH_MS: u64 = 3_000;
/// The first wait before another try; each is twice as long as the one before, up to the next.
const RETRY_MS: u64 = 25;
const RETRY_MS_MAX: u64 = 400;
/// How long an answer is held back for that socket, and how often it is looked whether it is there.
const HOLD_MS: u64 = 300;
const LOOK_MS: u64 = 5;
/// How often a call that goes on unwatched is tried again.
const LATER: Duration = Duration::from_secs(15);
/// Providers end a call after an hour. One that nobody watches is taken to be over then.
const UNWATCHED_MS: u64 = 65 * 60 * 1_000;
/// What the provider charges at once for a session that is begun so, on account of its time.
const CREATED: &[u8] = br#"{"type":"session.usage.updated","usage":{"seconds":15}}"#;

/// A call that was begun.
pub(crate) struct Call {
    pub(crate) place: Place,
    pub(crate) provider: Arc<Provider>,
    /// What has begun it, and opens its socket and ends it.
    pub(crate) key: ProviderKey,
    /// What else its requests say of whose it is.
    pub(crate) headers: Vec<Header>,
    pub(crate) calls: Calls,
    pub(crate) dialect: &'static dyn Dialect,
    pub(crate) asked: Asked,
    /// An event that tells what its session is set to.
    pub(crate) told: Option<Vec<u8>>,
    pub(crate) transport: Transport,
}

/// Which way a call's sound and events go.
pub(crate) enum Way {
    /// Past us, and a socket watches.
    Past,
    /// By us.
    Here(Relayed),
    /// No way that the provider has told, so it is to end.
    Nowhere(String),
}

/// A session with its place, whose call has not begun. It gives the place back if none does.
pub(crate) struct Reserved {
    shard: Rc<Shard>,
    live: Rc<Live>,
    has_begun: bool,
}

impl Reserved {
    /// For the call that a request asks for, which was judged.
    ///
    /// # Errors
    /// Why there may be none more.
    pub(crate) fn take(shard: &Rc<Shard>, asking: &Live) -> Result<Reserved, CloseReason> {
        let live = shard.open().ok_or_else(refuse::full)?;
        let reserved = Reserved { shard: Rc::clone(shard), live, has_begun: false };
        let live = &reserved.live;
        if live.surplus {
            return Err(refuse::full());
        }
        live.is_call.set(true);
        live.silent.set(true);
        live.client.set(asking.client.get());
        live.caller.set(*asking.caller.get().expect("a request has a caller")).ok();
        let known = "a request that is admitted has both";
        let identity = Arc::clone(asking.identity.get().expect(known));
        stages::enter(shard, live, identity, asking.holders.get().expect(known).clone())?;
        if let Some(token) = asking.token.get() {
            live.token.set(Box::new(Binding::new(token.claims.clone()))).ok();
        }
        live.provider.set(asking.provider.get());
        live.model.replace(asking.model.borrow().clone());
        Ok(reserved)
    }

    /// The provider has begun the call. From now on it is a session of its own on this shard, whatever becomes of the request.
    pub(crate) fn begin(mut self, call: Call, way: Way) -> Begun {
        self.has_begun = true;
        let (shard, live) = (Rc::clone(&self.shard), Rc::clone(&self.live));
        live.dialect.set(call.dialect);
        stages::begin(&shard, &live, &call.asked, &call.provider, call.transport);
        let mut tap = stages::tap(&shard, &live, call.asked.clone(), Arc::clone(&call.provider));
        tap.start(&call.place.socket);
        if let Some(told) = &call.told {
            tap.learn(told);
        }
        if call.calls == Calls::Live {
            tap.learn(CREATED);
        }
        call.report_made(&shard, &live);
        shard.connections.set(shard.connections.get() + 1);
        shard.counters.add(Metric::CallsOpened, 1);
        let begun = Begun { shard: Rc::clone(&shard), live: Rc::clone(&live) };
        monoio::spawn(run(shard, live, call, way, tap));
        begun
    }

    pub(crate) fn live(&self) -> &Rc<Live> {
        &self.live
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.has_begun {
            stages::settle(&self.shard, &self.live, None);
        }
    }
}

/// A call that lives by itself.
pub(crate) struct Begun {
    shard: Rc<Shard>,
    live: Rc<Live>,
}

impl Begun {
    /// Waits until the provider's events are heard, for as long as the answer may be held back: what is set or used before that
    /// nobody repeats.
    pub(crate) async fn heard(&self) {
        for _ in 0..HOLD_MS / LOOK_MS {
            if !self.live.silent.get() || self.live.is_ending() {
                return;
            }
            sleep(Duration::from_millis(LOOK_MS)).await;
        }
    }

    /// The application could not be told of it, so nobody will ever speak.
    pub(crate) fn forsake(self) {
        let why = "the application was gone before it knew of its call";
        self.shard.end(&self.live, CloseReason::UpstreamFailed(why.into()));
    }
}

/// Runs a call to its end. A panic ends this call alone.
async fn run(shard: Rc<Shard>, live: Rc<Live>, call: Call, way: Way, mut tap: Tap) {
    let lived = match way {
        Way::Past => caught::caught(pin!(life(&shard, &live, &call, &mut tap))).await,
        Way::Here(relayed) => {
            let course = Box::pin(media::course::relay(&shard, &live, &call, relayed, &mut tap));
            caught::caught(pin!(course)).await
        }
        Way::Nowhere(why) => {
            shard.end(&live, CloseReason::UpstreamFailed(why.into()));
            caught::caught(pin!(hangup::insist(&shard, &live, &call))).await
        }
    };
    if lived.is_none() {
        caught::tell(&shard, &live);
        // Nobody watches it any more.
        caught::caught(pin!(hangup::insist(&shard, &live, &call))).await;
    }
    if let Some(ending) = live.ending() {
        live.close_code.set(Some(ending.close_code()));
    }
    call.report(&shard, CallReport::Over { call: call.id() });
    stages::settle(&shard, &live, Some(tap));
    shard.counters.add(Metric::CallsClosed, 1);
    shard.connections.set(shard.connections.get() - 1);
}

async fn life(shard: &Rc<Shard>, live: &Rc<Live>, call: &Call, tap: &mut Tap) {
    let owed = Owed::new(shard, live, tap);
    let mut tries = Tries::AtFirst;
    let began_at = shard.time().instant;
    loop {
        let attached = Box::pin(attach(shard, live, call, tries)).await;
        match attached {
            Attached::Socket(end) => {
                if tries == Tries::Later {
                    call.report_made(shard, live);
                }
                match Box::pin(socket::watch(shard, live, call, &owed, end)).await {
                    socket::Ended::HungUp => return,
                    socket::Ended::Closed => tries = Tries::Closed,
                    socket::Ended::Lost => tries = Tries::Lost,
                }
            }
            Attached::CallIsOver => return,
            Attached::Not(why) if !live.is_ending() => {
                live.silent.set(true);
                if !goes_on_unwatched(shard, live, call, tries, &why)
                    || shard.time().instant.since(began_at) > UNWATCHED_MS
                {
                    return Box::pin(hangup::insist(shard, live, call)).await;
                }
                live.up.until(pin!(sleep(LATER))).await;
                tries = Tries::Later;
            }
            Attached::Not(_) => {}
        }
        if live.is_ending() {
            return Box::pin(hangup::insist(shard, live, call)).await;
        }
    }
}

/// How long a socket is tried for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    /// Right after the answer: the provider may not know of the call everywhere.
    AtFirst,
    /// The provider has closed it, most probably with the call.
    Closed,
    /// It broke off, and the call may go on.
    Lost,
    /// It was never there, and once more is enough.
    Later,
}

enum Attached {
    Socket(Box<End>),
    CallIsOver,
    Not(String),
}

/// Opens the socket that is attached to the call.
async fn attach(shard: &Rc<Shard>, live: &Rc<Live>, call: &Call, tries: Tries) -> Attached {
    let until = shard.time().instant.plus_ms(ATTACH_MS);
    let mut wait_ms = RETRY_MS;
    loop {
        live.deadline.set(until);
        let websocket_key = generate_key();
        let request =
            upgrade::attach(&call.place.socket, &call.provider, &websocket_key, &call.key, &call.headers);
        let why = match dial::dial(shard, live, &call.provider, request).await {
            Ok(answer) if upgrade::is_accepted(&answer.head, &websocket_key) => {
                live.deadline.set(Instant::MAX);
                return Attached::Socket(Box::new(answer.end));
            }
            Ok(answer) if tries.is_over_by(answer.head.status) => {
                live.upstream.disarm();
                return Attached::CallIsOver;
            }
            Ok(answer) => format!("the provider answered with status {}", answer.head.status),
            Err(error) => error.to_string(),
        };
        live.upstream.disarm();
        let now = shard.time().instant;
        if live.is_ending() || tries == Tries::Later || now.plus_ms(wait_ms) >= until {
            return Attached::Not(why);
        }
        live.up.until(pin!(sleep(Duration::from_millis(wait_ms)))).await;
        wait_ms = (2 * wait_ms).min(RETRY_MS_MAX);
    }
}

impl Tries {
    /// Whether a provider that refuses the socket so does not know the call any more.
    fn is_over_by(self, status: u16) -> bool {
        match self {
            Tries::AtFirst => false,
            Tries::Closed => (400..500).contains(&status),
            Tries::Lost | Tries::Later => [404, 410].contains(&status),
        }
    }
}

/// Whether the operator wants a call to go on that cannot be watched. One that may not is to end.
fn goes_on_unwatched(shard: &Shard, live: &Live, call: &Call, tries: Tries, why: &str) -> bool {
    let user = live.identity.get().map(|identity| identity.user.to_string());
    shard.counters.add(Metric::CallsUnwatched, u64::from(tries != Tries::Later));
    match shard.config.sideband {
        Sideband::Required => {
            tracing::warn!(session = %live.id(), call = call.place.call, user, why, "a call cannot be watched, and is ended");
            let why = format!("the socket that watches its call did not open ({why})");
            shard.end(live, CloseReason::UpstreamFailed(why.into()));
            false
        }
        Sideband::BestEffort => {
            if tries != Tries::Later {
                tracing::warn!(session = %live.id(), call = call.place.call, user, why, "a call goes on unwatched: nothing of it is metered");
                // Whoever else attaches to it meters it.
                call.report(shard, CallReport::Over { call: call.id() });
            }
            true
        }
    }
}

impl Call {
    fn id(&self) -> Arc<str> {
        self.place.call.as_str().into()
    }

    fn report(&self, shard: &Shard, report: CallReport) {
        shard.report(Report::Call(Box::new(report)));
    }

    /// Before anybody can ask for it.
    fn report_made(&self, shard: &Shard, live: &Live) {
        let Some(identity) = live.identity.get() else { return };
        let (user, org) = (identity.user.clone(), identity.org.clone());
        let owner = CallOwner { provider: Arc::clone(&self.provider.name), user, org };
        self.report(shard, CallReport::Made { call: self.id(), owner });
    }
}
