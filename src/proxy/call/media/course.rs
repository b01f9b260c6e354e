//! The course of a relayed call on its own task: hear → pass on → end → hear out → hang up.
//!
//! Start at [`relay`]. Messages pass one by one, the provider's by the session's tap and the application's by what reads its events,
//! as on a WebSocket. Invariants: what ends a session is said to the application before its leg ends; the provider is asked to end
//! what it has not ended itself.

use super::super::{Call, hangup};
use super::channels::Channels;
use super::leg::News;
use super::{BEAT, Media, Peer, Relayed};
use crate::caught;
use crate::client_events::ClientObserver;
use crate::config::Sideband;
use crate::error::{Cause, Phase, SessionError, Side};
use crate::linger::{Hearing, Owed};
use crate::live::{Live, Woken};
use crate::port::line::Line;
use crate::port::{HalfOpen, Inlet, Place};
use crate::shard::Shard;
use crate::tap::Tap;
use monoio::time::{sleep, sleep_until};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use str0m::channel::{ChannelData, ChannelId};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::metric::Metric;
use tokenist_core::ws::frame::{Header, Opcode};
use tokenist_core::ws::walk::{Act, Part, Visit};

/// A side that has not been heard for so long is gone: it checks its path every few seconds (RFC 7675).
const CONSENT: Duration = Duration::from_secs(20);
/// How long a side may take to connect.
const CONNECT: Duration = Duration::from_secs(15);
/// How long UDP may take to get to a provider that takes TCP as well.
const FALL_BACK: Duration = Duration::from_secs(3);
/// A provider whose events have not been heard for so long is asked for them.
const LISTEN: Duration = Duration::from_secs(2);
/// And one of which none is heard then cannot be metered.
const UNHEARD: Duration = Duration::from_secs(12);
/// How long an application may take over the last words.
const LAST_WORDS_MS: u64 = 1_000;
/// How often it is looked whether it has them, and how long it then has for reading.
const LOOK_MS: u64 = 5;
const READ_MS: u64 = 20;
/// As a WebSocket's close says it (RFC 6455 §7.4.1).
const CLOSE_NORMAL: u16 = 1000;

/// Who has left a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gone {
    peer: Peer,
    /// It has said so.
    said_goodbye: bool,
    why: &'static str,
}

struct Course<'a> {
    shard: &'a Rc<Shard>,
    live: &'a Rc<Live>,
    call: &'a Call,
    media: &'a Rc<Media>,
    owed: &'a Owed<'a>,
    observer: RefCell<ClientObserver<'a>>,
    channels: RefCell<Channels>,
    half_open: Cell<Option<HalfOpen>>,
    /// Since when the provider is connected.
    connected_at: Cell<Option<Instant>>,
    /// It was tried over TCP as well.
    has_fallen_back: Cell<bool>,
    /// Something of it was heard that could be metered.
    is_heard: Cell<bool>,
    gone: Cell<Option<Gone>>,
}

/// Relays a call to its end.
pub(in super::super) async fn relay(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    call: &Call,
    relayed: Relayed,
    tap: &mut Tap,
) {
    let Relayed { media, registration, half_open } = relayed;
    live.silent.set(false);
    let owed = &Owed::new(shard, live, tap);
    let course = Course {
        shard,
        live,
        call,
        media: &media,
        owed,
        observer: RefCell::new(ClientObserver::new(shard, live, owed)),
        channels: RefCell::default(),
        half_open: Cell::new(Some(half_open)),
        connected_at: Cell::new(None),
        has_fallen_back: Cell::new(false),
        is_heard: Cell::new(false),
        gone: Cell::new(None),
    };
    monoio::join!(course.hear(), course.drive(), course.end());
    drop(registration);
}

impl Course<'_> {
    /// Takes what the provider sends.
    async fn hear(&self) {
        let own = self.media.own();
        while !self.media.is_over.get() {
            let mut ready = pin!(own.ready.readable(false));
            loop {
                match self.live.down.until(ready.as_mut()).await {
                    Woken::Read(Ok(())) => break self.media.receive(&own),
                    Woken::Read(Err(_)) => break sleep(BEAT).await,
                    Woken::Called => self.owed.tap(Tap::elapse),
                }
                if self.media.is_over.get() {
                    return;
                }
            }
        }
    }

    /// Tells both legs the time, and does what comes of them.
    async fn drive(&self) {
        loop {
            while let Some((peer, news)) = self.media.next_news() {
                self.take(peer, news);
            }
            self.look();
            if self.media.is_over.get() {
                return;
            }
            // What is overdue is not asked for without a pause.
            let now = (self.media.now)();
            let due = self.media.due().clamp(now + Duration::from_millis(1), now + BEAT);
            self.media.looks_at.set(due);
            if let Woken::Read(()) = self.media.news.until(pin!(sleep_until(due.into()))).await {
                self.media.advance();
            }
        }
    }

    fn take(&self, peer: Peer, news: News) {
        let now = (self.media.now)();
        match (peer, news) {
            (Peer::Application, News::Connected) => drop(self.half_open.take()),
            (Peer::Provider, News::Connected) => self.connected_at.set(Some(now)),
            (_, News::Opened(id, config)) => {
                self.channels.borrow_mut().opened(self.media, peer, id, config, now);
            }
            (_, News::ChannelClosed(id)) => self.channels.borrow_mut().closed(self.media, peer, id, now),
            (Peer::Provider, News::Said(data)) => self.hear_provider(data),
            (Peer::Application, News::Said(data)) => self.hear_application(data),
            (_, News::Closed) => self.note_gone(peer, true, "it has ended the call"),
        }
    }

    fn hear_provider(&self, data: ChannelData) {
        self.is_heard.set(true);
        self.shard.note_read();
        let was_sealed = self.media.is_sealed();
        let act = Hearing(self.owed).visit(&header(&data), &data.data, Part::Whole);
        if !was_sealed && matches!(act, Act::Pass | Act::StopAfter) {
            self.pass_on(Peer::Provider, data);
        }
    }

    fn hear_application(&self, data: ChannelData) {
        if self.media.is_sealed() {
            return;
        }
        if !data.binary && std::str::from_utf8(&data.data).is_err() {
            return self.shard.end(self.live, CloseReason::NotText("a message of text is no UTF-8"));
        }
        self.shard.note_read();
        let act = self.observer.borrow_mut().visit(&header(&data), &data.data, Part::Whole);
        if matches!(act, Act::Pass | Act::StopAfter) {
            self.pass_on(Peer::Application, data);
        }
    }

    /// Passes on a message of this side, if the other takes one so long.
    fn pass_on(&self, from: Peer, data: ChannelData) {
        // Where nothing is said there is nothing to pass on.
        if data.data.is_empty() {
            return;
        }
        let Some(channel) = self.channels.borrow().beyond(from, data.id) else { return };
        let (to, bytes) = (from.other(), data.data.len() as u64);
        let max_bytes = self.media.leg(to).message_bytes_max;
        if bytes > max_bytes {
            tracing::debug!(session = %self.live.id(), ?to, bytes, max_bytes, "a message is longer than its reader takes");
            self.tell(&CloseReason::MessageTooBig { max_bytes });
            return;
        }
        let metric = match to {
            Peer::Application => Metric::BytesDownstream,
            Peer::Provider => Metric::BytesUpstream,
        };
        self.shard.counters.add(metric, bytes);
        self.media.leg(to).say(channel, data.binary, data.data, (self.media.now)());
    }

    /// Tells the application in an event what is wrong.
    fn tell(&self, reason: &CloseReason) -> Option<ChannelId> {
        let channel = self.channels.borrow().first(Peer::Application)?;
        let event = self.live.error_event(reason)?;
        self.media.leg(Peer::Application).say(channel, false, event.into_bytes(), (self.media.now)());
        Some(channel)
    }

    fn note_gone(&self, peer: Peer, said_goodbye: bool, why: &'static str) {
        if self.gone.get().is_none() {
            let is_connected = self.media.leg(peer).is_connected;
            self.shard.counters.add(Metric::CallsUnconnected, u64::from(!is_connected));
            self.gone.set(Some(Gone { peer, said_goodbye, why }));
        }
        if peer == Peer::Provider {
            self.live.silent.set(true);
        }
        self.live.up.call();
    }

    /// Looks who is still there.
    fn look(&self) {
        assert!(!self.media.has_panicked.get(), "a datagram of this call has made its leg panic");
        let now = (self.media.now)();
        for peer in Peer::BOTH {
            let leg = self.media.leg(peer);
            let (silent, is_connected, is_closed) = (leg.silent_for(now), leg.is_connected, leg.is_closed());
            let is_stuck = leg.is_stuck(now, Duration::from_millis(3 * self.shard.config.ping_ms));
            drop(leg);
            if is_closed {
                self.note_gone(peer, false, "its leg has failed");
            } else if silent >= CONSENT {
                self.note_gone(peer, false, "it is not heard any more");
            } else if !is_connected && now.duration_since(self.media.began_at) >= CONNECT {
                self.note_gone(peer, false, "it has not connected in time");
            } else if is_stuck && !self.live.is_ending() {
                self.end_stuck(peer);
            } else if peer == Peer::Provider && silent < 2 * BEAT {
                self.live.down.heard_at.set(self.shard.now());
            }
        }
        self.fall_back(now);
        self.listen(now);
        if self.live.lingers() && self.owed.is_settled() {
            self.live.up.call();
        }
    }

    fn end_stuck(&self, peer: Peer) {
        let reason = match peer {
            Peer::Application => CloseReason::NotReading { seconds: 3 * self.shard.config.ping_ms / 1_000 },
            Peer::Provider => self.failed("it takes nothing of what it is sent"),
        };
        self.shard.end(self.live, reason);
    }

    /// Goes to the provider over TCP, where UDP has not got there.
    fn fall_back(&self, now: Instant) {
        let is_late = now.duration_since(self.media.began_at) >= FALL_BACK;
        if !is_late || self.connected_at.get().is_some() || self.has_fallen_back.replace(true) {
            return;
        }
        if let Some(peer) = self.media.own().fallback {
            let media = Rc::clone(self.media);
            monoio::spawn(async move {
                if caught::caught(pin!(line(&media, peer))).await.is_none() {
                    media.fail();
                }
            });
        }
    }

    /// Has the provider's events heard, also where the application does not ask for them.
    fn listen(&self, now: Instant) {
        let since = self.connected_at.get().map(|since| now.duration_since(since));
        let Some(since) = since.filter(|_| !self.is_heard.get() && !self.media.is_sealed()) else { return };
        // Where the application cannot ask for them it is not waited for.
        if since >= LISTEN || !self.media.leg(Peer::Application).has_data {
            self.channels.borrow_mut().listen(self.media, now);
        }
        if since >= UNHEARD && self.shard.config.sideband == Sideband::Required {
            self.shard
                .end(self.live, self.failed("none of its events are heard, so its call cannot be metered"));
        }
    }

    /// A failure of the provider: counted, logged, and how the application is told.
    fn failed(&self, why: &'static str) -> CloseReason {
        self.shard.counters.add(Metric::UpstreamFailures, 1);
        let error = SessionError::new(Side::Upstream, Phase::Relay, Cause::Malformed(why));
        tracing::warn!(session = %self.live.id(), %error, "session failed");
        error.close_reason()
    }

    /// Waits until the call is to end, and ends it.
    async fn end(&self) {
        while !self.live.is_ending() && self.gone.get().is_none() {
            self.live.up.until(pin!(pending::<()>())).await;
        }
        self.media.seal();
        let close_code = self.note_end();
        let is_heard_out = !self.live.silent.get() && self.owed.begin();
        if is_heard_out {
            self.cancel();
        }
        self.say_last_words().await;
        self.say_goodbye();
        if is_heard_out {
            self.hear_out().await;
        }
        let has_ended = self.gone.get().is_some_and(|gone| gone.peer == Peer::Provider && gone.said_goodbye);
        // It is asked to end the call besides.
        self.media.leg(Peer::Provider).close((self.media.now)());
        self.media.is_over.set(true);
        self.media.own().line.get().into_iter().for_each(|(line, _)| line.shut_down());
        self.media.news.call();
        self.live.down.call();
        if !has_ended {
            Box::pin(hangup::insist(self.shard, self.live, self.call)).await;
        }
        self.live.close_code.set(close_code);
    }

    /// Who has left, for the record.
    fn note_end(&self) -> Option<u16> {
        let gone = self.gone.get()?;
        tracing::debug!(session = %self.live.id(), peer = ?gone.peer, why = gone.why, "a side has left its call");
        match gone.peer {
            Peer::Application => self.live.forsake(),
            Peer::Provider if !gone.said_goodbye && !self.live.is_ending() => {
                self.shard.end(self.live, self.failed(gone.why));
            }
            Peer::Provider => {}
        }
        gone.said_goodbye.then_some(CLOSE_NORMAL)
    }

    /// Asks the provider to stop what it is about.
    fn cancel(&self) {
        let Some(channel) = self.channels.borrow().first(Peer::Provider) else { return };
        for event in self.owed.tap(|tap| tap.cancels()) {
            self.media.leg(Peer::Provider).say(channel, false, event.into_bytes(), (self.media.now)());
        }
    }

    /// Tells the application why its session ends, and waits until it has been told.
    async fn say_last_words(&self) {
        let Some(reason) = self.live.ending().filter(|_| !self.live.gone.get()) else { return };
        let Some(channel) = self.tell(&reason) else { return };
        for _ in 0..LAST_WORDS_MS / LOOK_MS {
            if self.media.leg(Peer::Application).is_heard_out(channel) {
                // What its system has taken it is still to read.
                return sleep(Duration::from_millis(READ_MS)).await;
            }
            sleep(Duration::from_millis(LOOK_MS)).await;
        }
    }

    /// Ends the application's leg, in two ways: one in ten of werift's ends hears none but that of its channel.
    fn say_goodbye(&self) {
        let now = (self.media.now)();
        self.channels.borrow().close(self.media, Peer::Application, now);
        let goodbye = self.media.leg(Peer::Application).close(now);
        goodbye.map(|goodbye| monoio::spawn(goodbye.repeat()));
    }

    /// Waits for what the provider still owes, for as long as it may take.
    async fn hear_out(&self) {
        while !self.owed.is_settled() {
            let left = self.live.linger_until.get().map(|until| until.since(self.shard.time().instant));
            let Some(left @ 1..) = left else { return };
            self.live.up.until(pin!(sleep(Duration::from_millis(left)))).await;
        }
    }
}

/// Takes what a provider sends over TCP, for as long as its call lasts.
async fn line(media: &Media, peer: SocketAddr) {
    let until = monoio::time::Instant::now() + CONNECT;
    let own = media.own();
    let opened = Line::connect(peer, until).await.and_then(|line| Ok((line.local_address()?, line)));
    let (address, line) = match opened {
        Ok(opened) if !media.is_over.get() => opened,
        Ok(_) => return,
        Err(error) => return tracing::debug!(?media, %error, "a provider is not reached over TCP either"),
    };
    let (line, _) = own.line.get_or_init(|| (line, address));
    media.leg(Peer::Provider).add_line(address, (media.now)());
    media.news.call();
    let take = |datagram: &[u8]| {
        Media::take(media, Peer::Provider, datagram, Place::Tcp(peer));
    };
    line.run(until, take).await;
}

/// A message, as a frame that holds all of it.
fn header(data: &ChannelData) -> Header {
    let opcode = if data.binary { Opcode::Binary } else { Opcode::Text };
    let payload_bytes = data.data.len() as u64;
    Header { fin: true, opcode, mask: None, header_bytes: 0, payload_bytes }
}
