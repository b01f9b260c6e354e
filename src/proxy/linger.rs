//! What a provider still owes when nobody listens any more: it is asked to stop what is under way, and heard out.
//!
//! Start at [`Owed::begin`]. A response costs what it has read and said whether or not anybody hears its end, and the
//! provider alone knows how much of that came from its cache. So the application's side of a session ends at once, and
//! the provider's side stays for some seconds: nothing goes on to anybody, and what the provider states is booked. What
//! it does not state by then is booked by estimate. Invariant: how many sessions do so at once, and for how long, is
//! bounded; past either bound a session ends as one that owes nothing.

use crate::environment::{Environment, System};
use crate::live::Live;
use crate::shard::Shard;
use crate::tap::Tap;
use std::cell::RefCell;
use std::fmt;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::ws::frame::{self, Header, Opcode};
use tokenist_core::ws::walk::{Act, Part, Visit};

/// What both pumps of a session know of what its provider owes.
pub struct Owed<'a, E = System> {
    shard: &'a Shard<E>,
    live: &'a Live,
    tap: RefCell<&'a mut Tap<E>>,
}

impl<'a, E: Environment> Owed<'a, E> {
    pub fn new(shard: &'a Shard<E>, live: &'a Live, tap: &'a mut Tap<E>) -> Owed<'a, E> {
        Owed { shard, live, tap: RefCell::new(tap) }
    }

    /// The tap is shown to one at a time, and to nobody over a wait.
    pub(crate) fn tap<T>(&self, look: impl FnOnce(&mut Tap<E>) -> T) -> T {
        look(&mut self.tap.borrow_mut())
    }

    /// Nobody is relayed for any more: from now on the provider is only heard out, if it owes something. Whether it
    /// is. The user's place is free for another session then.
    pub fn begin(&self) -> bool {
        if self.live.lingers() {
            return true;
        }
        let is_failed = matches!(self.live.ending(), Some(CloseReason::UpstreamFailed(_)));
        if is_failed || self.is_settled() {
            return false;
        }
        let Some(until) = self.shard.linger() else { return false };
        self.live.linger_until.set(Some(until));
        self.live.leave_place();
        self.tap(Tap::abandon);
        self.live.up.call();
        self.live.down.call();
        true
    }

    /// Whether nothing more is to be heard.
    pub fn is_settled(&self) -> bool {
        self.live.silent.get() || !self.tap(|tap| tap.awaits_usage())
    }

    /// Whether the provider is about something that an end of the application's words would break off.
    pub fn is_under_way(&self) -> bool {
        !self.live.silent.get() && self.tap(|tap| tap.is_under_way())
    }

    /// Frames that ask the provider to stop. A call goes on without an application that has only looked on, so it is
    /// not stopped for that one's sake.
    pub fn cancels(&self) -> Vec<u8> {
        if self.live.shares_call.get() && !self.live.is_ending() {
            return Vec::new();
        }
        let cancels = self.tap(|tap| tap.cancels());
        let frames = cancels
            .iter()
            .map(|event| frame::write(Opcode::Text, event.as_bytes(), Some(self.live.mask_key())));
        frames.flatten().collect()
    }
}

impl<E> fmt::Debug for Owed<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owed({})", self.live.id())
    }
}

/// The provider's events, as the tap sees them.
#[derive(Debug)]
pub struct Hearing<'a, E = System>(pub &'a Owed<'a, E>);

impl<E: Environment> Visit for Hearing<'_, E> {
    fn blot(&mut self, reason: &mut [u8]) {
        self.0.tap(|tap| tap.blot(reason));
    }

    fn visit(&mut self, header: &Header, payload: &[u8], part: Part) -> Act {
        self.0.tap(|tap| tap.visit(header, payload, part))
    }
}
