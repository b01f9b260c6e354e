//! One session's life, top to bottom: admit, dial, relay, settle.
//!
//! Start at [`run`]. Bytes move in `relay`, meaning is found in `tap`.
//! Invariant: every way out of `run` goes through `settle`, so no usage is lost and no place stays taken.

use crate::admit;
use crate::arrival::Arrival;
use crate::connect::{self, Connected};
use crate::error::{SessionError, Side};
use crate::io::stream::Ends;
use crate::live::Live;
use crate::refuse;
use crate::relay;
use crate::shard::Shard;
use crate::stages;
use crate::tap::Tap;
use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use tokenist_core::metric::Metric;

/// Runs one connection to its end. A panic ends this session alone.
pub(crate) async fn run(shard: Rc<Shard>, arrival: Box<Arrival>) {
    let Some(live) = shard.open() else {
        return Box::pin(refuse::reject(&shard, *arrival)).await;
    };
    let mut tap = None;
    let outcome = {
        let mut life = pin!(life(&shard, &live, arrival, &mut tap));
        poll_fn(|context| match panic::catch_unwind(AssertUnwindSafe(|| life.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => Poll::Ready(Some(outcome)),
            Err(_) => Poll::Ready(None),
        })
        .await
    };
    stages::settle(&shard, &live, tap);
    tell(&shard, &live, outcome);
}

async fn life(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    arrival: Box<Arrival>,
    tap: &mut Option<Tap>,
) -> Result<(), SessionError> {
    // The phases before relay are boxed, so that a session in relay does not carry their size.
    let Some(admitted) = Box::pin(admit::admit(shard, live, *arrival)).await? else { return Ok(()) };
    let Some(connected) = Box::pin(connect::connect(shard, live, admitted)).await? else { return Ok(()) };
    let (tap, ends) = begin(shard, live, tap, *connected);
    relay::relay(shard, live, ends, tap).await;
    Ok(())
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
fn tell(shard: &Shard, live: &Live, outcome: Option<Result<(), SessionError>>) {
    let user = || live.identity.get().map(|identity| identity.user.to_string()).unwrap_or_default();
    let client = live.client.get().map(tracing::field::display);
    match outcome {
        Some(Ok(())) => {}
        Some(Err(error)) if error.side == Side::Downstream => {
            tracing::debug!(session = %live.id(), client, %error, "session failed")
        }
        Some(Err(error)) => {
            tracing::warn!(session = %live.id(), user = user(), client, %error, "session failed")
        }
        None => {
            shard.counters.add(Metric::SessionsPanicked, 1);
            tracing::error!(session = %live.id(), user = user(), "a session panicked; the others go on");
        }
    }
}
