//! What happens to a session between its bytes: it is let in, begins, is shown to a tap, and is settled.
//!
//! Nothing here waits, and nothing knows of sockets. Invariant: every session that was let in is settled, so that no
//! usage is lost and no place stays taken.

use crate::asked::{Asked, Claimant, Onlooker};
use crate::config::{Provider, Refuse};
use crate::environment::Environment;
use crate::holders::Holders;
use crate::live::{CUT_OFF, Http, Live};
use crate::refuse::REFUSALS_MAX;
use crate::shard::Shard;
use crate::tap::Tap;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::{Calls, ModelSource};
use tokenist_core::id::Identity;
use tokenist_core::message::{Closed, Opened, Transport};
use tokenist_core::meter::{Carried, Meter};
use tokenist_core::metric::Metric;
use tokenist_core::signalling;
use tokenist_core::time::{Instant, Now};
use tokenist_handoff::Report;

/// Told to the operator and the metrics where neither side sent a close frame.
const CLOSE_ABNORMAL: u16 = 1006;

/// The verdict on a caller who is known, and a place for its session if it may come in. A request needs none.
///
/// # Errors
/// Why it may not.
pub fn enter<E: Environment>(
    shard: &Shard<E>,
    live: &Live,
    identity: Arc<Identity>,
    holders: Holders,
) -> Result<(), CloseReason> {
    if let Some(reason) = holders.verdict(shard.time().wall) {
        shard.counters.add(Metric::LimitsReached, 1);
        return Err(reason);
    }
    if let Some(reason) = holders.reject() {
        return Err(reason);
    }
    if live.is_request() {
        know(live, identity, holders);
        return Ok(());
    }
    if is_cut_off(shard, live) {
        live.is_storming.set(true);
        return Err(CloseReason::UpstreamFailed("it has ended every session lately that it began".into()));
    }
    let max_sessions = holders.user.state().limit.max_sessions;
    // It may resume one of them, which its first event will tell.
    let may_share = live.dialect.get().model_is_in() == ModelSource::FirstEvent;
    if !live.take_place(&holders, max_sessions) && !may_share {
        return Err(too_many(max_sessions));
    }
    // From here on settle gives the place back.
    know(live, identity, holders);
    Ok(())
}

fn know(live: &Live, identity: Arc<Identity>, holders: Holders) {
    let first = live.holders.set(holders).is_ok() && live.identity.set(identity).is_ok();
    assert!(first, "a session is admitted once");
}

pub(crate) fn too_many(max_sessions: Option<u32>) -> CloseReason {
    CloseReason::TooManySessions { max_sessions: max_sessions.unwrap_or(u32::MAX) }
}

/// Whether the provider greets this caller and ends it, again and again; of no account where nothing is told in HTTP.
fn is_cut_off<E: Environment>(shard: &Shard<E>, live: &Live) -> bool {
    let caller = live.caller.get().filter(|_| shard.config.refuse != Refuse::Close);
    let count = caller.map(|caller| shard.links.refusals.count(&(caller, CUT_OFF), shard.time().instant));
    count.is_some_and(|count| count > REFUSALS_MAX)
}

/// The provider has let it in: no deadline but its caps, and the operator sees it.
pub fn begin<E: Environment>(
    shard: &Shard<E>,
    live: &Live,
    asked: &Asked,
    provider: &Provider,
    transport: Transport,
) {
    let Now { wall, instant } = shard.time();
    live.deadline.set(Instant::MAX);
    live.active_at.set(instant);
    live.up.heard_at.set(instant);
    live.down.heard_at.set(instant);
    live.relaying.set(true);
    shard.counters.add(Metric::SessionsOpened, 1);
    shard.counters.add(Metric::SessionsResumed, u64::from(live.id() != live.connection));
    if let Some(identity) = live.identity.get() {
        let opened = Opened {
            session: live.id(),
            identity: Arc::clone(identity),
            provider: Arc::clone(&provider.name),
            model: asked.models.of_session().cloned(),
            transport,
            call: asked.call.as_deref().filter(|call| signalling::is_id(call)).map(Arc::from),
            at: wall,
        };
        shard.report(Report::Opened(opened));
    }
}

/// What the session's events are shown to.
pub fn tap<E: Environment>(
    shard: &Rc<Shard<E>>,
    live: &Rc<Live>,
    asked: Asked,
    provider: Arc<Provider>,
) -> Tap<E> {
    let mut meter =
        Meter::new(live.dialect.get(), provider.billing.clone(), asked.models, shard.config.estimate);
    if let Some(call) = asked.call {
        live.shares_call.set(true);
        if live.dialect.get().calls() == Some(Calls::Realtime) {
            meter.sees_no_sound();
        }
        match live.looks_on.get() {
            true => meter.share(Box::new(Onlooker)),
            false => meter.share(Box::new(Claimant { call, session: live.id(), shard: Rc::clone(shard) })),
        }
    }
    if let Some(session) = live.shared() {
        meter.resume(Carried::clone(&session.carried.load()));
    }
    Tap::new(Rc::clone(shard), Rc::clone(live), meter, provider)
}

/// Every way out: what was metered is booked, the place is given back, the record is written once.
pub fn settle<E: Environment>(shard: &Shard<E>, live: &Live, tap: Option<Tap<E>>) {
    if let Some(mut tap) = tap {
        tap.settle(shard.time());
    }
    shard.forget(live);
    live.leave_place();
    // A request that was soon over was not listed.
    if live.relaying.get() && live.http.get() != Http::Running {
        let close_code = live.close_code.get().unwrap_or(CLOSE_ABNORMAL);
        shard.counters.add(Metric::SessionsClosed, 1);
        shard.report(Report::Closed(Closed { session: live.id(), at: shard.time().wall, close_code }));
        tracing::debug!(session = %live.id(), close_code, reason = live.ending().map(|ending| ending.message()), "session closed");
    }
}
