//! Connections to providers that have answered a request and may take another one: a pool of each provider, on each shard.
//!
//! Invariant: a connection here has nothing under way and nothing unread, and is closed before its provider would probably
//! close it. How many there are is bounded.

use crate::io::shut_down::ShutdownHandle;
use crate::io::stream::{Reader, Writer};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use tokenist_core::time::Instant;

/// Of one provider. There are rarely more than clients that keep theirs.
const IDLE_MAX: usize = 256;
/// Servers that close what is idle do so after 5 s or after a minute; a connection that was closed meanwhile is found out
/// before it is used, and costs one look.
const IDLE_MS: u64 = 55_000;

pub(crate) struct Upstreams(Box<[RefCell<VecDeque<Idle>>]>);

struct Idle {
    line: Upstream,
    until: Instant,
}

/// A connection to a provider.
pub(crate) struct Upstream {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// Disarmed before the connection is closed.
    pub(crate) handle: ShutdownHandle,
}

impl Upstreams {
    pub(crate) fn new(provider_count: usize) -> Upstreams {
        Upstreams((0..provider_count).map(|_| RefCell::default()).collect())
    }

    /// The connection to this provider that was used last, if there is one on which nothing has happened since.
    pub(crate) fn take(&self, provider: usize, now: Instant) -> Option<Upstream> {
        let mut idle = self.0[provider].borrow_mut();
        loop {
            let Idle { line, until } = idle.pop_back()?;
            if now < until && !line.handle.has_news() {
                return Some(line);
            }
        }
    }

    pub(crate) fn put(&self, provider: usize, line: Upstream, now: Instant) {
        let mut idle = self.0[provider].borrow_mut();
        if idle.len() >= IDLE_MAX {
            idle.pop_front();
        }
        idle.push_back(Idle { line, until: now.plus_ms(IDLE_MS) });
    }

    /// Closes what is past its time.
    pub(crate) fn expire(&self, now: Instant) {
        for idle in &self.0 {
            let mut idle = idle.borrow_mut();
            while idle.front().is_some_and(|first| now >= first.until) {
                idle.pop_front();
            }
        }
    }

    /// Closes all of them.
    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|idle| idle.borrow_mut().clear());
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<usize> = self.0.iter().map(|idle| idle.borrow().len()).collect();
        write!(f, "Upstreams({counts:?})")
    }
}
