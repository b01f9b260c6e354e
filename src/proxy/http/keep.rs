//! A client's connection between two requests.

use crate::arrival::Kept;
use crate::live::{Http, Live};
use crate::shard::Shard;

/// Waits for another request, without a buffer, and for no longer than a connection is kept. Whether one comes: the end of
/// the connection is none.
pub(crate) async fn wait(shard: &Shard, live: &Live, kept: &Kept) -> bool {
    live.downstream.take_over(&kept.handle);
    if kept.ahead.is_none() {
        live.http.set(Http::Idle);
        live.deadline.set(shard.time().instant.plus_ms(shard.config.keep_alive_ms));
        if kept.reader.readable().await.is_err() {
            return false;
        }
        live.http.set(Http::No);
    }
    let now = shard.time().instant;
    live.opened_at.set(now);
    live.deadline.set(now.plus_ms(shard.config.head_ms));
    true
}
