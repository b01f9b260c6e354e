//! The runtime that every thread of the bench runs on.

use std::future::Future;

const RING_ENTRIES: u32 = 4_096;

/// Runs `future` on a ring of this thread's own, or on epoll where rings are forbidden.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
        .with_entries(RING_ENTRIES)
        .enable_timer()
        .build()
        .expect("a runtime needs a ring or an epoll descriptor")
        .block_on(future)
}
