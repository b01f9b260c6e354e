//! The media of a relayed call: a leg to the application, which offers, and one to the provider, to which we offer in turn.
//!
//! Start at [`Media::take`] with what has come: sound goes from leg to leg at once, on whichever task that is; all else is left for
//! the call's own task ([`course`]), which knows what is metered. How both legs come about is told in [`offering`]. Invariant: behind
//! [`Media::seal`] nothing of one side goes on to the other.

mod channels;
pub(super) mod course;
mod leg;
pub(crate) mod offering;
mod sound;

use crate::live::{Direction, Live};
use crate::port::{BATCH, DATAGRAM_BYTES_MAX, HalfOpen, Inlet, Place, Registration};
use leg::{Leg, News, Own};
use sound::Track;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokenist_core::metric::Metric;
use tokenist_core::signalling::datagram::Datagram;
use tokenist_handoff::Counters;

/// Time is told to both legs at least so often, and what a peer should have said by now is looked at.
const BEAT: Duration = Duration::from_secs(1);

/// By which packets of sound are counted, by who has sent them.
const SENT_BY: [Metric; 2] = [Metric::PacketsUpstream, Metric::PacketsDownstream];

/// Who is at the other end of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Application = 0,
    Provider = 1,
}

impl Peer {
    const BOTH: [Peer; 2] = [Peer::Application, Peer::Provider];

    fn other(self) -> Peer {
        match self {
            Peer::Application => Peer::Provider,
            Peer::Provider => Peer::Application,
        }
    }
}

/// Both legs of a call, and what has come of them.
pub(crate) struct Media {
    live: Rc<Live>,
    counters: Arc<Counters>,
    legs: [RefCell<Leg>; 2],
    /// By who has sent it.
    tracks: [RefCell<Track>; 2],
    /// Calls the call's own task.
    news: Direction,
    /// When that looks by itself.
    looks_at: Cell<Instant>,
    sealed: Cell<bool>,
    is_over: Cell<bool>,
    has_panicked: Cell<bool>,
    began_at: Instant,
    now: fn() -> Instant,
}

/// What a call has of its shard's port.
pub(crate) struct Relayed {
    pub(crate) media: Rc<Media>,
    registration: Registration,
    half_open: HalfOpen,
}

impl Media {
    fn new(live: Rc<Live>, counters: Arc<Counters>, legs: [Leg; 2], now: fn() -> Instant) -> Media {
        let formats = [legs[0].formats(), legs[1].formats()];
        let tracks = [Track::between(&formats[0], &formats[1]), Track::between(&formats[1], &formats[0])];
        Media {
            live,
            counters,
            legs: legs.map(RefCell::new),
            tracks: tracks.map(RefCell::new),
            news: Direction::default(),
            looks_at: Cell::new(now()),
            sealed: Cell::new(false),
            is_over: Cell::new(false),
            has_panicked: Cell::new(false),
            began_at: now(),
            now,
        }
    }

    fn leg(&self, peer: Peer) -> std::cell::RefMut<'_, Leg> {
        self.legs[peer as usize].borrow_mut()
    }

    /// Takes a datagram of this side, if it is one of this call.
    fn take(&self, peer: Peer, bytes: &[u8], source: Place) -> bool {
        // Whoever sends more than the other side takes is kept waiting as by a network that is full: it sends that again, later.
        if Datagram::of(bytes) == Datagram::Dtls && self.leg(peer.other()).is_full() {
            return true;
        }
        let now = (self.now)();
        let is_taken = self.leg(peer).take(now, bytes, source);
        if is_taken {
            self.pass_sound(peer, now);
            self.call();
        }
        is_taken
    }

    /// Passes on the sound that has come.
    fn pass_sound(&self, peer: Peer, now: Instant) {
        loop {
            let Some(packet) = self.leg(peer).next_sound() else { return };
            if self.is_sealed() {
                continue;
            }
            let passed = self.tracks[peer as usize].borrow_mut().pass(packet, now);
            if let Some(packet) = passed {
                self.leg(peer.other()).play(packet, now);
                self.counters.add(SENT_BY[peer as usize], 1);
            }
        }
    }

    /// Has the call's own task look, if there is something for it, or time is to be told before it looks by itself.
    fn call(&self) {
        let has_news = Peer::BOTH.iter().any(|peer| {
            let leg = self.leg(*peer);
            leg.has_news() || leg.is_closed()
        });
        if has_news || self.due() < self.looks_at.get() {
            self.news.call();
        }
    }

    /// When time is to be told.
    fn due(&self) -> Instant {
        let [one, other] = Peer::BOTH.map(|peer| self.leg(peer).due());
        one.min(other)
    }

    /// Tells both legs the time.
    fn advance(&self) {
        let now = (self.now)();
        for peer in Peer::BOTH {
            self.leg(peer).advance(now);
            self.pass_sound(peer, now);
        }
    }

    /// Nothing goes on any more.
    fn seal(&self) {
        self.sealed.set(true);
    }

    fn is_sealed(&self) -> bool {
        self.sealed.get() || self.live.is_ending() || self.live.lingers()
    }

    fn next_news(&self) -> Option<(Peer, News)> {
        Peer::BOTH.iter().find_map(|peer| self.leg(*peer).next_news().map(|news| (*peer, news)))
    }

    /// Takes what has come from the provider.
    fn receive(&self, own: &Own) {
        let mut bytes = [0; DATAGRAM_BYTES_MAX + 1];
        for _ in 0..BATCH {
            let Ok((length, source)) = own.socket.recv_from(&mut bytes) else { return };
            if length <= DATAGRAM_BYTES_MAX {
                self.take(Peer::Provider, &bytes[..length], Place::Udp(source));
            }
        }
    }

    /// The socket to the provider.
    fn own(&self) -> Rc<Own> {
        self.leg(Peer::Provider).own().expect("the leg to the provider has a socket of its own")
    }
}

/// The port knows the application's side alone.
impl Inlet for Media {
    fn take(&self, bytes: &[u8], source: Place) -> bool {
        Media::take(self, Peer::Application, bytes, source)
    }

    fn fail(&self) {
        self.has_panicked.set(true);
        self.news.call();
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Media({})", self.live.id())
    }
}
