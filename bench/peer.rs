//! One end of a call over WebRTC: str0m, which reads no socket and no clock of its own, over a UDP socket on this thread.
//!
//! Start at [`Peer::with`], which changes the call and sends what follows from that, and at [`Peer::event`], which waits for
//! what comes. Invariant: str0m is changed nowhere else, and gives out all that it has after each change.

use crate::link::Signal;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use str0m::format::Codec;
use str0m::media::{Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// No datagram of a call is longer: both ends keep to an MTU below it.
const DATAGRAM_BYTES_MAX: usize = 2_000;
/// How many are read before what they brought is looked at.
const BATCH: usize = 64;
/// What may wait in a data channel, and so the longest message.
pub(crate) const BUFFERED_BYTES: usize = 1 << 20;
/// After so long without a word the other end is gone (RFC 7675).
const CONSENT: Duration = Duration::from_secs(30);

/// An end with an address of its own.
pub(crate) struct Peer {
    rtc: RefCell<Rtc>,
    socket: UdpSocket,
    /// The same socket, to be waited for.
    ready: monoio::net::udp::UdpSocket,
    address: SocketAddr,
    /// When str0m wants to be told the time.
    due: Cell<Instant>,
    heard: Cell<Instant>,
    events: RefCell<VecDeque<Event>>,
    changed: Signal,
    /// It has failed, or there is nobody at the other end.
    lost: Cell<bool>,
}

impl Peer {
    /// What both ends of the bench speak: Opus and G.711, packet by packet.
    pub(crate) fn config() -> RtcConfig {
        let codecs = Rtc::builder().clear_codecs().enable_opus(true, false);
        let codecs = codecs.enable_pcmu(true, false).enable_pcma(true, false);
        codecs.set_rtp_mode(true).set_sctp_max_buffered_amount(BUFFERED_BYTES)
    }

    /// An end at a free port of `host`, which is its one candidate.
    pub(crate) fn bind(config: RtcConfig, host: IpAddr) -> io::Result<Peer> {
        let socket = UdpSocket::bind((host, 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let ready = monoio::net::udp::UdpSocket::from_std(socket.try_clone()?)?;
        let now = Instant::now();
        let mut rtc = config.build(now);
        let candidate =
            Candidate::host(address, "udp").map_err(|error| io::Error::other(error.to_string()))?;
        rtc.add_local_candidate(candidate);
        Ok(Peer {
            rtc: RefCell::new(rtc),
            socket,
            ready,
            address,
            due: Cell::new(now),
            heard: Cell::new(now),
            events: RefCell::default(),
            changed: Signal::default(),
            lost: Cell::new(false),
        })
    }

    /// Changes the call, and sends what follows from that.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Rtc) -> T) -> T {
        let mut rtc = self.rtc.borrow_mut();
        let value = change(&mut rtc);
        self.drain(&mut rtc);
        value
    }

    /// Whether there is, as far as one knows, somebody at the other end.
    pub(crate) fn is_alive(&self) -> bool {
        !self.lost.get() && self.rtc.borrow().is_alive()
    }

    /// Ends the call with a goodbye.
    pub(crate) fn close(&self) {
        self.with(|rtc| drop(rtc.close()));
    }

    /// Ends the call without a word.
    pub(crate) fn abandon(&self) {
        self.lost.set(true);
        self.changed.ring();
    }

    /// What comes next; `None` when the call is over.
    pub(crate) async fn event(&self) -> Option<Event> {
        loop {
            let next = self.events.borrow_mut().pop_front();
            match next {
                Some(event) => return Some(event),
                None if self.is_alive() => self.wait().await,
                None => return None,
            }
        }
    }

    fn drain(&self, rtc: &mut Rtc) {
        let before = self.due.get();
        let mut has_news = false;
        loop {
            match rtc.poll_output() {
                Ok(Output::Timeout(due)) => break self.due.set(due),
                // A datagram that the kernel does not take is one that is lost, as on any network.
                Ok(Output::Transmit(datagram)) => {
                    drop(self.socket.send_to(&datagram.contents, datagram.destination));
                }
                Ok(Output::Event(event)) => {
                    has_news = true;
                    self.events.borrow_mut().push_back(event);
                }
                Err(_) => break self.lost.set(true),
            }
        }
        if has_news || self.lost.get() || !rtc.is_alive() || self.due.get() < before {
            self.changed.ring();
        }
    }

    /// Waits for a datagram, for the time that was asked for, or for another task's change.
    async fn wait(&self) {
        let due = self.due.get().min(self.heard.get() + CONSENT);
        let news = || {
            let is_news = !self.events.borrow().is_empty() || self.due.get() < due || !self.is_alive();
            is_news.then_some(())
        };
        monoio::select! {
            _ = self.ready.readable(false) => self.receive(),
            () = monoio::time::sleep_until(due.into()) => {}
            () = self.changed.until(news) => {}
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.heard.get()) >= CONSENT {
            self.abandon();
        }
        if now >= self.due.get() && self.with(|rtc| rtc.handle_input(Input::Timeout(now))).is_err() {
            self.abandon();
        }
    }

    fn receive(&self) {
        let mut bytes = [0; DATAGRAM_BYTES_MAX + 1];
        for _ in 0..BATCH {
            let Ok((length, source)) = self.socket.recv_from(&mut bytes) else { return };
            if length <= DATAGRAM_BYTES_MAX {
                self.take(&bytes[..length], source);
            }
        }
    }

    /// Takes a datagram that is the call's; any other is passed over.
    fn take(&self, bytes: &[u8], source: SocketAddr) {
        let Ok(received) = Receive::new(Protocol::Udp, source, self.address, bytes) else { return };
        let now = Instant::now();
        let input = Input::Receive(now, received);
        let is_ours = self.rtc.borrow().accepts(&input);
        if is_ours {
            self.heard.set(now);
            // What str0m cannot read of the other end is lost; if that is the end of the call, it says so by itself.
            self.with(|rtc| drop(rtc.handle_input(input)));
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peer({}, {})", self.address, if self.is_alive() { "alive" } else { "over" })
    }
}

/// A line of sound as it was agreed: in what codec packets are sent, and which is next.
#[derive(Debug)]
pub(crate) struct Track {
    mid: Mid,
    pub(crate) codec: Codec,
    payload_type: Pt,
    packets: u64,
    time: u32,
}

impl Track {
    /// The line, in the first of `codecs` that both ends speak; `None` where they speak none of them.
    pub(crate) fn agreed(peer: &Peer, mid: Mid, codecs: &[Codec]) -> Option<Track> {
        let rtc = peer.rtc.borrow();
        let agreed = rtc.media(mid)?.remote_pts();
        let of_codec = |codec: &Codec| {
            let params = rtc
                .codec_config()
                .find(|known| known.spec().codec == *codec && agreed.contains(&known.pt()))?;
            Some(Track { mid, codec: *codec, payload_type: params.pt(), packets: 0, time: 0 })
        };
        codecs.iter().find_map(of_codec)
    }

    /// The codec of a packet that came by its payload type.
    pub(crate) fn codec_of(peer: &Peer, payload_type: Pt) -> Option<Codec> {
        let rtc = peer.rtc.borrow();
        rtc.codec_config().find(|known| known.pt() == payload_type).map(|known| known.spec().codec)
    }

    /// Sends the next packet, of so many milliseconds.
    pub(crate) fn send(&mut self, peer: &Peer, payload: &[u8], ms: u64) {
        let (sequence, time) = (self.packets, self.time);
        self.packets += 1;
        let samples_per_ms = if self.codec == Codec::Opus { 48 } else { 8 };
        self.time = time.wrapping_add((ms * samples_per_ms) as u32);
        let now = Instant::now();
        let sent = peer.with(|rtc| {
            if let Some(stream) = rtc.direct_api().stream_tx_by_mid(self.mid, None) {
                let packet = RtpWrite::new(self.payload_type, sequence.into(), time, now, payload);
                stream.write_rtp(packet.marker(sequence == 0));
            }
            // str0m gives out a packet once time has gone on behind it.
            rtc.handle_input(Input::Timeout(now))
        });
        if sent.is_err() {
            peer.abandon();
        }
    }

    /// How many packets it has sent.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }
}
