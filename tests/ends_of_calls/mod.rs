//! Both ends of a call over WebRTC, on str0m, each on a thread of its own: an application that offers, and a provider that answers.
//!
//! Start at [`Peer::offering`] and [`Peer::answering`]. What comes is heard in order by [`Peer::next`]; every wait has a deadline.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod relay;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive, TcpType, Transmit};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokenist_kit::PATIENCE;

/// What comes to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Connected,
    Opened(String),
    /// A message of text, and when it came.
    Message(String, Instant),
    Binary(Vec<u8>),
    /// A packet of sound: its number, its payload, and when it came.
    Sound(u64, Vec<u8>, Instant),
    Closed,
}

type Deed = Box<dyn FnOnce(&mut End) + Send>;

/// An end of a call.
pub(crate) struct Peer {
    deeds: Option<Sender<Deed>>,
    heard: Receiver<Heard>,
    thread: Option<JoinHandle<()>>,
    pub(crate) address: SocketAddr,
}

struct End {
    rtc: Rtc,
    socket: UdpSocket,
    /// In its place, where it goes over TCP, with what has come of a datagram.
    line: Option<(TcpStream, Vec<u8>)>,
    /// Where one is waited for.
    listener: Option<TcpListener>,
    over_tcp: bool,
    address: SocketAddr,
    heard: Sender<Heard>,
    channel: Option<ChannelId>,
    mid: Option<Mid>,
    pending: Option<SdpPendingOffer>,
    packets: u64,
    due: Instant,
    /// It neither sends nor takes anything.
    is_dead: bool,
    /// The next goodbye does not get to it.
    loses_goodbye: bool,
    /// It has begun a handshake, and is dead when that is answered.
    stops_in_handshake: bool,
}

/// What a DTLS record begins with that holds an alert, as a goodbye is (RFC 6347 §4.1).
const ALERT: u8 = 21;
/// And all of them, also where they are encrypted (RFC 9147 §4.1).
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;

fn config(codecs: &[Codec], message_bytes_max: u32) -> RtcConfig {
    let config =
        Rtc::builder().clear_codecs().set_rtp_mode(true).set_sctp_max_message_size(message_bytes_max);
    let config = config.set_sctp_max_buffered_amount(4 << 20);
    codecs.iter().fold(config, |config, codec| match codec {
        Codec::PCMU => config.enable_pcmu(true, false),
        Codec::PCMA => config.enable_pcma(true, false),
        _ => config.enable_opus(true, false),
    })
}

/// What an application offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) codecs: &'a [Codec],
    /// Of its channel, if it opens one.
    pub(crate) label: Option<&'a str>,
    pub(crate) has_sound: bool,
    pub(crate) message_bytes_max: u32,
    /// It has no way but TCP.
    pub(crate) over_tcp: bool,
    /// It begins a handshake, and is not heard any more when that is answered.
    pub(crate) stops_in_handshake: bool,
}

pub(crate) const USUAL: Wish<'static> = Wish {
    codecs: &[Codec::Opus, Codec::PCMU, Codec::PCMA],
    label: Some("oai-events"),
    has_sound: true,
    message_bytes_max: 262_144,
    over_tcp: false,
    stops_in_handshake: false,
};

impl Peer {
    /// An application with its offer.
    pub(crate) fn offering(wish: Wish<'_>) -> (Peer, String) {
        let (mut end, heard) = End::new(config(wish.codecs, wish.message_bytes_max), wish.over_tcp);
        let mut changes = end.rtc.sdp_api();
        end.mid = wish
            .has_sound
            .then(|| changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None));
        end.channel = wish.label.map(|label| changes.add_channel(label.to_owned()));
        let (offer, pending) = changes.apply().expect("something is offered");
        end.pending = Some(pending);
        end.stops_in_handshake = wish.stops_in_handshake;
        (Peer::run(end, heard), offer.to_sdp_string())
    }

    /// A provider with its answer to an offer.
    pub(crate) fn answering(offer: &str, codecs: &[Codec]) -> (Peer, String) {
        Peer::answer(offer, End::new(config(codecs, 262_144).set_ice_lite(true), false))
    }

    /// Likewise of one that is reached over TCP alone.
    pub(crate) fn answering_over_tcp(offer: &str, codecs: &[Codec]) -> (Peer, String) {
        let (mut end, heard) = End::new(config(codecs, 262_144).set_ice_lite(true), true);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        end.address = listener.local_addr().unwrap();
        let passive = Candidate::builder().tcp().host(end.address).tcptype(TcpType::Passive).build().unwrap();
        end.rtc.add_local_candidate(passive);
        end.listener = Some(listener);
        Peer::answer(offer, (end, heard))
    }

    /// The answer alone, of one that is not there.
    pub(crate) fn answer_of_nobody(offer: &str) -> String {
        let (mut end, _) = End::new(config(&[Codec::Opus], 262_144).set_ice_lite(true), false);
        let offer = SdpOffer::from_sdp_string(offer).expect("an offer");
        end.rtc.sdp_api().accept_offer(offer).expect("it can be served").to_sdp_string()
    }

    fn answer(offer: &str, (mut end, heard): (End, Receiver<Heard>)) -> (Peer, String) {
        let offer = SdpOffer::from_sdp_string(offer).expect("an offer");
        let answer = end.rtc.sdp_api().accept_offer(offer).expect("it can be served").to_sdp_string();
        end.mid = answer
            .split("m=")
            .find(|line| line.starts_with("audio"))
            .and_then(|line| line.lines().find_map(|line| line.strip_prefix("a=mid:")))
            .map(Mid::from);
        (Peer::run(end, heard), answer)
    }

    fn run(end: End, heard: Receiver<Heard>) -> Peer {
        let (deeds, to_do) = mpsc::channel();
        let address = end.address;
        let thread = thread::spawn(move || end.live(&to_do));
        Peer { deeds: Some(deeds), heard, thread: Some(thread), address }
    }

    fn ask(&self, deed: impl FnOnce(&mut End) + Send + 'static) {
        let deeds = self.deeds.as_ref().expect("it lives");
        drop(deeds.send(Box::new(deed)));
    }

    pub(crate) fn accept(&self, answer: &str) {
        let passive = answer.lines().find(|line| line.starts_with("a=candidate") && line.contains(" tcp "));
        let passive = passive.map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            format!("{}:{}", words[4], words[5]).parse::<SocketAddr>().unwrap()
        });
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer");
        self.ask(move |end| {
            if end.over_tcp {
                end.connect(passive.expect("a way over TCP"));
            }
            let pending = end.pending.take().expect("an offer");
            end.rtc.sdp_api().accept_answer(pending, answer).expect("an answer to the offer");
        });
    }

    /// Sends a message of text on its channel, which is open.
    pub(crate) fn say(&self, text: &str) {
        let text = text.to_owned();
        self.ask(move |end| end.write(false, text.as_bytes()));
    }

    pub(crate) fn say_bytes(&self, is_binary: bool, bytes: Vec<u8>) {
        self.ask(move |end| end.write(is_binary, &bytes));
    }

    /// Sends so many packets of sound at once, each of which says its number.
    pub(crate) fn play(&self, count: u64, codec: Codec) {
        self.ask(move |end| (0..count).for_each(|_| end.play(codec)));
    }

    /// Opens another channel, which is its own from then on.
    pub(crate) fn open(&self, label: &str) {
        let config = ChannelConfig { label: label.to_owned(), ..ChannelConfig::default() };
        self.ask(move |end| end.channel = Some(end.rtc.direct_api().create_data_channel(config)));
    }

    /// Closes its channel.
    pub(crate) fn close_channel(&self) {
        self.ask(|end| {
            let id = end.channel.take().expect("it has one");
            end.rtc.direct_api().close_data_channel(id);
        });
    }

    /// Ends the call with a goodbye.
    pub(crate) fn close(&self) {
        self.ask(|end| drop(end.rtc.close()));
    }

    /// Ends it without a word.
    pub(crate) fn die(&self) {
        self.ask(|end| end.is_dead = true);
    }

    /// The other end's goodbye is lost on its way, once.
    pub(crate) fn lose_a_goodbye(&self) {
        self.ask(|end| end.loses_goodbye = true);
    }

    /// What comes next, within this time.
    pub(crate) fn poll(&self, patience: Duration) -> Option<Heard> {
        self.heard.recv_timeout(patience).ok()
    }

    #[track_caller]
    pub(crate) fn next(&self) -> Heard {
        self.poll(PATIENCE).expect("something comes")
    }

    /// The first that fits, of all that comes.
    #[track_caller]
    pub(crate) fn find<T>(&self, what: &str, fits: impl Fn(&Heard) -> Option<T>) -> T {
        // A silence is one after 20 s.
        let until = Instant::now() + 2 * PATIENCE;
        while let Some(heard) = self.poll(until.saturating_duration_since(Instant::now())) {
            if let Some(found) = fits(&heard) {
                return found;
            }
        }
        panic!("{what} does not come");
    }

    /// The next message of text.
    #[track_caller]
    pub(crate) fn message(&self) -> String {
        self.find("a message", |heard| match heard {
            Heard::Message(text, _) => Some(text.clone()),
            _ => None,
        })
    }

    /// Waits until its channel is open.
    #[track_caller]
    pub(crate) fn opened(&self) -> String {
        self.find("a channel", |heard| match heard {
            Heard::Opened(label) => Some(label.clone()),
            _ => None,
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.deeds.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl End {
    fn new(config: RtcConfig, over_tcp: bool) -> (End, Receiver<Heard>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let now = Instant::now();
        let mut rtc = config.build(now);
        if !over_tcp {
            rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        }
        let (heard, hears) = mpsc::channel();
        let end = End {
            rtc,
            socket,
            line: None,
            listener: None,
            over_tcp,
            address,
            heard,
            channel: None,
            mid: None,
            pending: None,
            packets: 0,
            due: now,
            is_dead: false,
            loses_goodbye: false,
            stops_in_handshake: false,
        };
        (end, hears)
    }

    fn connect(&mut self, to: SocketAddr) {
        let line = TcpStream::connect(to).expect("it is listened there");
        line.set_nonblocking(true).unwrap();
        self.address = line.local_addr().unwrap();
        let active = Candidate::builder().tcp().host(self.address).tcptype(TcpType::Active).build().unwrap();
        self.rtc.add_local_candidate(active);
        self.line = Some((line, Vec::new()));
    }

    /// The datagrams that have come over TCP.
    fn read_line(&mut self) {
        if let Some((line, _)) = self.listener.as_ref().and_then(|listener| listener.accept().ok()) {
            line.set_nonblocking(true).unwrap();
            self.line = Some((line, Vec::new()));
        }
        let Some((line, gathered)) = &mut self.line else { return };
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = line.read(&mut bytes) {
            gathered.extend_from_slice(&bytes[..count]);
        }
        let from = line.peer_addr().unwrap();
        let mut datagrams = Vec::new();
        while let Some((header, behind)) = gathered.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*header));
            let Some(datagram) = behind.get(..length) else { break };
            datagrams.push(datagram.to_vec());
            gathered.drain(..2 + length);
        }
        for datagram in datagrams {
            self.take(Protocol::Tcp, &datagram, from);
        }
    }

    fn take(&mut self, protocol: Protocol, bytes: &[u8], source: SocketAddr) {
        if self.loses_goodbye && bytes.first() == Some(&ALERT) {
            self.loses_goodbye = false;
            return;
        }
        if self.stops_in_handshake && bytes.first().is_some_and(|first| DTLS.contains(first)) {
            self.is_dead = true;
            self.heard.send(Heard::Closed).ok();
            return;
        }
        let Ok(received) = Receive::new(protocol, source, self.address, bytes) else { return };
        let input = Input::Receive(Instant::now(), received);
        if self.rtc.accepts(&input) {
            self.rtc.handle_input(input).ok();
        }
        self.drain();
    }

    fn send(&mut self, datagram: &Transmit) {
        match &mut self.line {
            Some((line, _)) if datagram.proto == Protocol::Tcp => {
                let length = (datagram.contents.len() as u16).to_be_bytes();
                line.write_all(&[&length[..], &datagram.contents].concat()).ok();
            }
            _ => drop(self.socket.send_to(&datagram.contents, datagram.destination)),
        }
    }

    fn write(&mut self, is_binary: bool, bytes: &[u8]) {
        let channel = self.channel.and_then(|id| self.rtc.channel(id));
        let is_written = channel.expect("its channel is open").write(is_binary, bytes).expect("it goes");
        assert!(is_written, "there is room for it");
    }

    fn play(&mut self, codec: Codec) {
        let number = self.packets;
        self.packets += 1;
        let mid = self.mid.expect("there is a line of sound");
        let agreed = self.rtc.media(mid).expect("it is agreed on").remote_pts().to_vec();
        let params = self.rtc.codec_config().iter();
        let format =
            params.clone().find(|params| params.spec().codec == codec && agreed.contains(&params.pt()));
        let format = format.expect("the codec is agreed on").pt();
        let payload = [&b"sound"[..], &number.to_be_bytes()].concat();
        let packet =
            RtpWrite::new(format, (700 + number).into(), 960 * number as u32, Instant::now(), payload);
        self.rtc.direct_api().stream_tx_by_mid(mid, None).expect("it sends").write_rtp(packet);
        // A packet leaves when time moves on.
        self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
        self.drain();
    }

    fn live(mut self, to_do: &Receiver<Deed>) {
        self.socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let mut bytes = [0; 2_048];
        loop {
            match to_do.try_recv() {
                Ok(deed) => deed(&mut self),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            if !self.is_dead {
                self.drain();
            }
            let received = self.socket.recv_from(&mut bytes);
            if self.is_dead {
                continue;
            }
            self.read_line();
            let now = Instant::now();
            if let Ok((length, source)) = received {
                self.take(Protocol::Udp, &bytes[..length], source);
            } else if now >= self.due {
                self.rtc.handle_input(Input::Timeout(now)).ok();
            }
        }
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(due)) => break self.due = due,
                Ok(Output::Transmit(datagram)) => self.send(&datagram),
                Ok(Output::Event(event)) => self.tell(event),
                Err(_) => break self.rtc.disconnect(),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let now = Instant::now();
        let heard = match event {
            Event::Connected => Heard::Connected,
            Event::ChannelOpen(id, label) => {
                self.channel.get_or_insert(id);
                Heard::Opened(label)
            }
            Event::ChannelData(data) if data.binary => Heard::Binary(data.data),
            Event::ChannelData(data) => Heard::Message(String::from_utf8(data.data).unwrap(), now),
            Event::RtpPacket(packet) => Heard::Sound(*packet.seq_no, packet.payload.to_vec(), now),
            Event::Closed => Heard::Closed,
            _ => return,
        };
        self.heard.send(heard).ok();
    }
}
