//! A panic ends what it happens in, and nothing beside it.

use crate::live::Live;
use crate::shard::Shard;
use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::task::Poll;
use tokenist_core::metric::Metric;

/// What comes of a life; `None`: it panicked.
pub(crate) async fn caught<F: Future>(mut life: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match panic::catch_unwind(AssertUnwindSafe(|| life.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(outcome)) => Poll::Ready(Some(outcome)),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Tells the operator that a session has panicked.
pub(crate) fn tell(shard: &Shard, live: &Live) {
    let user = live.identity.get().map(|identity| identity.user.to_string()).unwrap_or_default();
    shard.counters.add(Metric::SessionsPanicked, 1);
    tracing::error!(session = %live.id(), user, "a session panicked; the others go on");
}
