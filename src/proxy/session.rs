//! One session's life, top to bottom: admit, dial, relay, settle.
//!
//! Start at [`run`]. Bytes move in `relay`, meaning is found in `tap`.
//! Invariant: every way out of `run` goes through `settle`, so no usage is lost and no place stays taken.

use crate::admit::{self, Outcome};
use crate::arrival::Arrival;
use crate::caught;
use crate::connect::{self, Connected};
use crate::error::{SessionError, Side};
use crate::http;
use crate::io::stream::Ends;
use crate::live::Live;
use crate::refuse;
use crate::relay;
use crate::shard::Shard;
use crate::stages;
use crate::tap::Tap;
use std::pin::pin;
use std::rc::Rc;

/// Runs one connection to its end, be it a session or one request after the other. A panic ends this connection alone.
pub(crate) async fn run(shard: Rc<Shard>, arrival: Box<Arrival>) {
    let mut next = Some(arrival);
    while let Some(arrival) = next {
        let Some(live) = shard.open() else {
            return Box::pin(refuse::reject(&shard, *arrival)).await;
        };
        next = serve(&shard, &live, arrival).await;
    }
}

/// From a connection's first byte, or the first behind a request, to the end of what it asks for. The connection, if it goes on.
async fn serve(shard: &Rc<Shard>, live: &Rc<Live>, arrival: Box<Arrival>) -> Option<Box<Arrival>> {
    let mut tap = None;
    let outcome = caught::caught(pin!(life(shard, live, arrival, &mut tap))).await;
    stages::settle(shard, live, tap);
    tell(shard, live, &outcome);
    outcome?.ok()?
}

async fn life(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    arrival: Box<Arrival>,
    tap: &mut Option<Tap>,
) -> Result<Option<Box<Arrival>>, SessionError> {
    // Each phase is boxed, so that a connection carries the size of the one that it is in.
    if let Arrival::Kept(kept) = &*arrival
        && !Box::pin(http::keep::wait(shard, live, kept)).await
    {
        return Ok(None);
    }
    let admitted = match Box::pin(admit::admit(shard, live, arrival)).await? {
        Outcome::Answered => return Ok(None),
        Outcome::Request(asking) => return Box::pin(http::exchange(shard, live, tap, asking)).await,
        Outcome::Session(admitted) => admitted,
    };
    let Some(connected) = Box::pin(connect::connect(shard, live, *admitted)).await? else { return Ok(None) };
    let (tap, ends) = begin(shard, live, tap, *connected);
    Box::pin(relay::relay(shard, live, ends, tap)).await;
    Ok(None)
}

/// What is metered from now on, and what is relayed. Apart from [`life`], which would go on holding what is used up here.
fn begin<'a>(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    tap: &'a mut Option<Tap>,
    connected: Connected,
) -> (&'a mut Tap, Box<Ends>) {
    let Connected { target, asked, provider, opening, ends } = connected;
    let tap = tap.insert(stages::tap(shard, live, asked, provider));
    tap.start(&target);
    if let Some(event) = opening {
        tap.read_client(&event, event.len() as u64);
    }
    (tap, Box::new(ends))
}

/// Tells the operator how it went, if not well.
fn tell<T>(shard: &Shard, live: &Live, outcome: &Option<Result<T, SessionError>>) {
    let user = || live.identity.get().map(|identity| identity.user.to_string()).unwrap_or_default();
    let client = live.client.get().map(tracing::field::display);
    match outcome {
        Some(Ok(_)) => {}
        Some(Err(error)) if error.side == Side::Downstream => {
            tracing::debug!(session = %live.id(), client, %error, "session failed")
        }
        Some(Err(error)) => {
            tracing::warn!(session = %live.id(), user = user(), client, %error, "session failed")
        }
        None => caught::tell(shard, live),
    }
}
