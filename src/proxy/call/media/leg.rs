//! One end of a relayed call: str0m, which reads no socket and no clock of its own, and the way that its datagrams go.
//!
//! Start at [`Leg::take`] with what has come, and at [`Leg::advance`] for the time. Invariants: str0m is changed nowhere else, and
//! gives out all that it has after each change; what waits for the other side, and what it may send, is bounded.

use crate::port::line::Line;
use crate::port::{Place, Port};
use monoio::net::udp::UdpSocket as Ready;
use monoio::time::sleep;
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};
use str0m::channel::{ChannelConfig, ChannelData, ChannelId};
use str0m::format::Codec;
use str0m::media::{Mid, Pt};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::{RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokenist_core::signalling::datagram::Datagram;
use tokenist_core::signalling::description::Description;

/// The longest message that either side is told it may send.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// Messages that were given to str0m and not taken by the other side.
pub(super) const BUFFERED_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// Messages that wait for room there, in bytes and in number. Past a quarter of either nothing more is taken of the side that sends
/// them, but for what it has under way.
const WAITING_MAX: [usize; 2] = [4 * MESSAGE_BYTES_MAX, 4_096];
/// Packets of sound in a second: four times as many as the shortest that Opus knows would make.
const PACKETS_MAX: u32 = 1_600;
/// Sources of sound that are taken from one side.
const SOURCES_MAX: usize = 8;
/// When a goodbye is said again, after the one before.
const AGAIN_MS: [u64; 6] = [100, 200, 400, 800, 1_600, 3_200];

/// The way that datagrams go.
#[derive(Clone)]
pub(super) enum Way {
    /// By the shard's port, which they have in common with those of other calls.
    Port(Rc<Port>),
    /// By a socket of the call's own.
    Own(Rc<Own>),
}

/// A socket of one call's own.
pub(super) struct Own {
    pub(super) socket: UdpSocket,
    /// The same socket, to be waited for.
    pub(super) ready: Ready,
    pub(super) address: SocketAddr,
    /// Where its peer takes TCP, for where UDP does not get through.
    pub(super) fallback: Option<SocketAddr>,
    /// The connection there, and where it comes from.
    pub(super) line: OnceCell<(Line, SocketAddr)>,
}

impl Own {
    /// At a free port of the address from which `peer` is reached.
    pub(super) fn towards(peer: SocketAddr, fallback: Option<SocketAddr>) -> io::Result<Own> {
        let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let probe = UdpSocket::bind(any)?;
        probe.connect(peer)?;
        let socket = UdpSocket::bind((probe.local_addr()?.ip(), 0))?;
        socket.set_nonblocking(true)?;
        let (ready, address) = (Ready::from_std(socket.try_clone()?)?, socket.local_addr()?);
        Ok(Own { socket, ready, address, fallback, line: OnceCell::new() })
    }
}

impl Way {
    fn send(&self, bytes: &[u8], destination: Place) {
        match self {
            Way::Port(port) => port.send(bytes, destination),
            // One that the kernel does not take is lost, as on any network.
            Way::Own(own) => match destination {
                Place::Udp(address) => drop(own.socket.send_to(bytes, address)),
                Place::Tcp(_) => own.line.get().into_iter().for_each(|(line, _)| line.send(bytes)),
            },
        }
    }

    /// Where whoever sends from `source` sends to, as str0m knows it.
    fn address_for(&self, source: Place) -> SocketAddr {
        match self {
            Way::Port(port) => port.address_for(source),
            Way::Own(own) => match (source, own.line.get()) {
                (Place::Tcp(_), Some((_, address))) => *address,
                _ => own.address,
            },
        }
    }
}

/// What comes of a leg.
pub(super) enum News {
    Connected,
    Opened(ChannelId, ChannelConfig),
    Said(ChannelData),
    ChannelClosed(ChannelId),
    /// It has said goodbye.
    Closed,
}

pub(super) struct Leg {
    rtc: Rtc,
    way: Way,
    /// The line of sound, if there is one.
    audio: Option<Mid>,
    /// There is a line of data.
    pub(super) has_data: bool,
    /// The longest message that its peer takes.
    pub(super) message_bytes_max: u64,
    /// When str0m wants to be told the time.
    due: Instant,
    /// When its peer was last heard, beyond doubt.
    heard: Instant,
    pub(super) is_connected: bool,
    /// It is over, by a goodbye of either side or because it has failed.
    is_closed: bool,
    /// While one is said here: what leaves.
    goodbye: Option<Goodbye>,
    sounds: VecDeque<RtpPacket>,
    news: VecDeque<News>,
    waiting: VecDeque<Message>,
    waiting_bytes: usize,
    waits_since: Option<Instant>,
    /// Channels that were opened here and are not open yet.
    opening: Vec<ChannelId>,
    sources: Vec<u32>,
    /// Packets since.
    packets: (u32, Instant),
}

/// The datagrams that have told a peer of its end.
pub(super) struct Goodbye {
    way: Way,
    datagrams: Vec<(Vec<u8>, Place)>,
}

impl Goodbye {
    /// What goes over TCP arrives, and reports on sound tell nobody of an end.
    fn note(&mut self, bytes: &[u8], to: Place) {
        if Datagram::of(bytes) == Datagram::Dtls && matches!(to, Place::Udp(_)) {
            self.datagrams.push((bytes.to_vec(), to));
        }
    }

    /// Says it again, for nobody answers a goodbye that is lost: its peer would wait for half a minute. Of what comes twice the
    /// second is dropped (RFC 6347 §4.1.2.6), and a stack that reads one record of what has come (aiortc) is moved on.
    pub(super) async fn repeat(self) {
        for after_ms in AGAIN_MS {
            sleep(Duration::from_millis(after_ms)).await;
            self.datagrams.iter().for_each(|(bytes, to)| self.way.send(bytes, *to));
        }
    }
}

struct Message {
    channel: ChannelId,
    is_binary: bool,
    bytes: Vec<u8>,
}

impl Leg {
    /// To a peer that describes itself so; without sound, where that `has_no_sound`.
    pub(super) fn new(rtc: Rtc, way: Way, peer: &Description, has_no_sound: bool, now: Instant) -> Leg {
        Leg {
            rtc,
            way,
            audio: peer.audio_mid().filter(|_| !has_no_sound).map(Mid::from),
            has_data: peer.has_data(),
            message_bytes_max: peer.message_bytes_max().min(MESSAGE_BYTES_MAX as u64),
            due: now,
            heard: now,
            is_connected: false,
            is_closed: false,
            goodbye: None,
            sounds: VecDeque::new(),
            news: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waits_since: None,
            opening: Vec::new(),
            sources: Vec::new(),
            packets: (0, now),
        }
    }

    /// It can also be reached there, over a connection that was opened from there.
    pub(super) fn add_line(&mut self, address: SocketAddr, now: Instant) {
        let active = Candidate::builder().tcp().host(address).tcptype(TcpType::Active).build();
        if let Ok(active) = active {
            self.rtc.add_local_candidate(active);
            self.advance(now);
        }
    }

    /// Takes a datagram, if it is this leg's.
    pub(super) fn take(&mut self, now: Instant, bytes: &[u8], source: Place) -> bool {
        let to = self.way.address_for(source);
        let protocol = match source {
            Place::Udp(_) => Protocol::Udp,
            Place::Tcp(_) => Protocol::Tcp,
        };
        let Ok(received) = Receive::new(protocol, source.address(), to, bytes) else { return false };
        let input = Input::Receive(now, received);
        if !self.rtc.accepts(&input) {
            return false;
        }
        match Datagram::of(bytes) {
            Datagram::Rtp { .. } if !self.has_room_for_sound(now) => return true,
            Datagram::Rtp { source } => self.expect(source),
            // An answer to a check of ours. Nobody else knows the call's socket and where its provider is.
            Datagram::Stun if !self.is_shared() => self.heard = now,
            _ => {}
        }
        // What str0m cannot read of a peer is lost; if that is the end, it says so by itself.
        if let Err(error) = self.rtc.handle_input(input) {
            tracing::debug!(%error, "a datagram of a call was not understood");
        }
        self.drain(now);
        true
    }

    fn is_shared(&self) -> bool {
        matches!(self.way, Way::Port(_))
    }

    fn has_room_for_sound(&mut self, now: Instant) -> bool {
        let (count, since) = &mut self.packets;
        if now.duration_since(*since) >= Duration::from_secs(1) {
            (*count, *since) = (0, now);
        }
        *count += 1;
        *count <= PACKETS_MAX
    }

    /// Takes sound of a source that was not announced: there is one line for it.
    fn expect(&mut self, source: u32) {
        let Some(mid) = self.audio.filter(|_| !self.sources.contains(&source)) else { return };
        if self.sources.len() < SOURCES_MAX {
            self.sources.push(source);
            let mut direct = self.rtc.direct_api();
            let ssrc = Ssrc::from(source);
            if direct.stream_rx(&ssrc).is_none() {
                direct.expect_stream_rx(ssrc, None, mid, None);
            }
        }
    }

    /// Tells str0m the time, and sends what follows from that.
    pub(super) fn advance(&mut self, now: Instant) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            tracing::debug!(%error, "a leg of a call has failed");
            self.is_closed = true;
        }
        self.drain(now);
        if !self.waiting.is_empty() {
            self.flush(now);
        }
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(due)) => break self.due = due,
                Ok(Output::Transmit(datagram)) => {
                    // What says yes to a check was shown the password.
                    if datagram.contents.starts_with(&[1, 1]) {
                        self.heard = now;
                    }
                    let to = match datagram.proto {
                        Protocol::Tcp => Place::Tcp(datagram.destination),
                        _ => Place::Udp(datagram.destination),
                    };
                    self.way.send(&datagram.contents, to);
                    if let Some(goodbye) = &mut self.goodbye {
                        goodbye.note(&datagram.contents, to);
                    }
                }
                Ok(Output::Event(event)) => self.note(event, now),
                Err(error) => {
                    tracing::debug!(%error, "a leg of a call has failed");
                    self.rtc.disconnect();
                }
            }
        }
        self.is_closed |= !self.rtc.is_alive();
    }

    fn note(&mut self, event: Event, now: Instant) {
        match event {
            Event::RtpPacket(packet) => {
                self.heard = now;
                self.sounds.push_back(packet);
            }
            Event::Connected => {
                self.is_connected = true;
                self.news.push_back(News::Connected);
            }
            Event::ChannelOpen(id, label) => {
                self.opening.retain(|opening| *opening != id);
                let config = self.rtc.channel(id).and_then(|channel| channel.config().cloned());
                // Of one that was agreed on elsewhere nothing is known but its place.
                let negotiated = self.rtc.direct_api().sctp_stream_id_by_channel_id(id);
                let unknown = || ChannelConfig { label, negotiated, ..ChannelConfig::default() };
                self.news.push_back(News::Opened(id, config.unwrap_or_else(unknown)));
            }
            Event::ChannelData(data) => {
                self.heard = now;
                self.news.push_back(News::Said(data));
            }
            Event::ChannelClose(id) => {
                self.opening.retain(|opening| *opening != id);
                self.news.push_back(News::ChannelClosed(id));
            }
            Event::Closed => self.news.push_back(News::Closed),
            _ => {}
        }
    }

    pub(super) fn next_sound(&mut self) -> Option<RtpPacket> {
        self.sounds.pop_front()
    }

    pub(super) fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Sends a packet of sound, at once.
    pub(super) fn play(&mut self, packet: RtpWrite, now: Instant) {
        let Some(mid) = self.audio.filter(|_| self.is_connected && !self.is_closed) else { return };
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
            stream.write_rtp(packet);
            self.advance(now);
        }
    }

    /// By which number each codec goes on its line of sound.
    pub(super) fn formats(&self) -> Vec<(Codec, Pt, u32)> {
        let Some(media) = self.audio.and_then(|mid| self.rtc.media(mid)) else { return Vec::new() };
        let agreed = media.remote_pts();
        let params = self.rtc.codec_config().iter().filter(|params| agreed.contains(&params.pt()));
        params.map(|params| (params.spec().codec, params.pt(), params.spec().clock_rate.get())).collect()
    }

    /// Opens a channel. `None`: there can be none, or another one is in its place.
    pub(super) fn open(&mut self, config: ChannelConfig, now: Instant) -> Option<ChannelId> {
        let mut direct = self.rtc.direct_api();
        let is_taken = |place: u16| direct.channel_id_by_sctp_stream_id(place).is_some();
        if !self.has_data || config.negotiated.is_some_and(is_taken) {
            return None;
        }
        let id = direct.create_data_channel(config);
        self.opening.push(id);
        self.advance(now);
        Some(id)
    }

    pub(super) fn close_channel(&mut self, id: ChannelId, now: Instant) {
        self.rtc.direct_api().close_data_channel(id);
        self.advance(now);
    }

    /// Sends a message, when there is room for it and its channel is open.
    pub(super) fn say(&mut self, channel: ChannelId, is_binary: bool, bytes: Vec<u8>, now: Instant) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Message { channel, is_binary, bytes });
        self.flush(now);
    }

    fn flush(&mut self, now: Instant) {
        let mut has_written = false;
        while let Some(message) = self.waiting.front() {
            let Message { channel, is_binary, bytes } = message;
            let written = match self.rtc.channel(*channel) {
                Some(mut open) => open.write(*is_binary, bytes),
                None if self.opening.contains(channel) && !self.is_closed => break,
                // It was closed before that could be said.
                None => Ok(true),
            };
            match written {
                Ok(false) => break,
                Ok(true) => has_written = true,
                Err(error) => tracing::debug!(%error, "a message of a call was not sent"),
            }
            self.waiting_bytes -= bytes.len();
            self.waiting.pop_front();
            self.waits_since = None;
        }
        if !self.waiting.is_empty() {
            self.waits_since.get_or_insert(now);
        }
        if has_written {
            if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
                tracing::debug!(%error, "a leg of a call has failed");
            }
            self.drain(now);
        }
    }

    /// Its peer takes less than it is sent: nothing more is to be read for it.
    pub(super) fn is_full(&self) -> bool {
        let [bytes, count] = WAITING_MAX;
        self.waiting_bytes > bytes / 4 || self.waiting.len() > count / 4
    }

    /// Its peer has taken nothing for so long, or too much waits for it.
    pub(super) fn is_stuck(&self, now: Instant, patience: Duration) -> bool {
        let [bytes, count] = WAITING_MAX;
        self.waiting_bytes > bytes
            || self.waiting.len() > count
            || self.waits_since.is_some_and(|since| now.saturating_duration_since(since) >= patience)
    }

    /// All that was said has been taken.
    pub(super) fn is_heard_out(&mut self, channel: ChannelId) -> bool {
        self.waiting.is_empty()
            && self.rtc.channel(channel).is_none_or(|mut channel| channel.buffered_amount() == 0)
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// How long ago its peer was heard.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The name by which its peer's checks tell it.
    pub(super) fn ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    /// Ends it with a goodbye, which it gives to be said again.
    pub(super) fn close(&mut self, now: Instant) -> Option<Goodbye> {
        if !self.is_closed {
            self.goodbye = Some(Goodbye { way: self.way.clone(), datagrams: Vec::new() });
        }
        if self.rtc.close().is_err() {
            self.rtc.disconnect();
        }
        self.advance(now);
        self.is_closed = true;
        self.goodbye.take()
    }

    /// The socket of its own, where it has one.
    pub(super) fn own(&self) -> Option<Rc<Own>> {
        match &self.way {
            Way::Port(_) => None,
            Way::Own(own) => Some(Rc::clone(own)),
        }
    }
}
