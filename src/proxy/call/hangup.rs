//! How a call is ended: by a request, again and again until the provider has ended it.

use super::Call;
use crate::dial;
use crate::live::{Live, Woken};
use crate::shard::Shard;
use crate::upgrade;
use monoio::time::{Duration, sleep};
use std::pin::pin;
use std::rc::Rc;
use tokenist_core::metric::Metric;
use tokenist_handoff::CallReport;

/// How long the provider may take to answer that it has ended a call.
const ANSWER_MS: u64 = 2_000;
/// The first wait before another try, and the longest.
const RETRY_MS: [u64; 2] = [100, 5_000];
/// How long it is tried where nothing is heard of the call any more.
const UNHEARD_MS: u64 = 15_000;
/// How long a process that drains waits for its last calls.
const DRAINED_MS: u64 = 5_000;
/// How long a call whose end was answered may take to end.
const HEARD_OUT_MS: u64 = 1_000;

/// Has the provider end the call. While its socket is there this goes on until that ends, for a call that goes on costs;
/// `between` says on it what is to be said meanwhile.
pub(super) async fn until_over(shard: &Rc<Shard>, live: &Live, call: &Call, mut between: impl AsyncFnMut()) {
    let began_at = shard.time().instant;
    let (mut wait_ms, mut fails) = (RETRY_MS[0], false);
    loop {
        let (asked, ()) = monoio::join!(ask(shard, call), between());
        if asked.is_ok() {
            hear_out(live, shard.config.linger_ms.max(HEARD_OUT_MS), &mut between).await;
        }
        let why = match asked {
            _ if live.silent.get() && live.close_code.get().is_some() => break,
            Ok(()) if live.silent.get() => break,
            Ok(()) => "it was asked to end, and goes on".to_owned(),
            Err(why) => why,
        };
        shard.counters.add(Metric::HangupsFailed, 1);
        if !std::mem::replace(&mut fails, true) {
            tracing::error!(session = %live.id(), call = call.place.call, why, "a call does not end, and is charged on");
            call.report(shard, CallReport::Hangup { session: live.id(), fails });
        }
        let now = shard.time().instant;
        let is_given_up = live.silent.get() && now.since(began_at) >= UNHEARD_MS
            || shard.drain_by.get().is_some_and(|by| now >= by.plus_ms(DRAINED_MS));
        if is_given_up {
            shard.counters.add(Metric::CallsGivenUp, 1);
            tracing::error!(session = %live.id(), call = call.place.call, why, "a call may go on, and nothing is heard of it");
            break;
        }
        pause(live, wait_ms, &mut between).await;
        wait_ms = (2 * wait_ms).min(RETRY_MS[1]);
    }
    live.upstream.shut_down();
}

/// The same of a call of which nothing is heard.
pub(super) async fn insist(shard: &Rc<Shard>, live: &Live, call: &Call) {
    if live.hung_up.get() {
        return;
    }
    live.silent.set(true);
    live.close_code.set(None);
    until_over(shard, live, call, async || {}).await;
}

/// Waits until nothing more is heard, or for so long.
async fn hear_out(live: &Live, ms: u64, between: &mut impl AsyncFnMut()) {
    let mut waited = pin!(sleep(Duration::from_millis(ms)));
    while !live.silent.get() {
        match live.up.until(waited.as_mut()).await {
            Woken::Read(()) => return,
            Woken::Called => between().await,
        }
    }
}

/// Waits for so long, whatever is heard.
async fn pause(live: &Live, ms: u64, between: &mut impl AsyncFnMut()) {
    let mut waited = pin!(sleep(Duration::from_millis(ms)));
    while let Woken::Called = live.up.until(waited.as_mut()).await {
        between().await;
    }
}

/// Asks once. A call that the provider does not know any more is over.
async fn ask(shard: &Rc<Shard>, call: &Call) -> Result<(), String> {
    // A line of its own, beside the call's.
    let line = shard.open().ok_or("this shard holds as many connections as it may")?;
    line.deadline.set(shard.time().instant.plus_ms(ANSWER_MS));
    let request = upgrade::hangup(&call.place.hangup, &call.provider, &call.key, &call.headers);
    let answer = dial::dial(shard, &line, &call.provider, request).await;
    shard.forget(&line);
    match answer.map(|answer| answer.head.status) {
        Ok(200..300 | 404 | 410) => Ok(()),
        Ok(status) => Err(format!("the provider answered with status {status}")),
        Err(error) => Err(error.to_string()),
    }
}
