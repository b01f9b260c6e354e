//! A call of the load generator: offered in HTTP, spoken on a data channel and a line of sound.
//!
//! Start at [`Run::call`]. Each call sends 50 packets of sound a second, each of which says when it was sent; [`Ear`] makes of
//! what comes back how much was lost on which way and how long it took.

use crate::dialect::Dialect;
use crate::http;
use crate::link::{self, Bytes, HangUp, Outbox};
use crate::opening::OPEN_WAIT;
use crate::peer::{Peer, Track};
use crate::run::Run;
use crate::schedule::Schedule;
use crate::sound::{self, PACKET, PACKET_MS, Passage};
use crate::stamp::Stamp;
use crate::tally::Media;
use crate::ws::Inbound;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};
use str0m::Event;
use str0m::change::SdpAnswer;
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::rtp::RtpPacket;

const LABEL: &str = "oai-events";

/// A call that is open: its greeting has been read.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) peer: Peer,
    channel: ChannelId,
    mid: Mid,
    pub(crate) greeting: Vec<u8>,
    ear: RefCell<Ear>,
    /// Packets of sound that were sent, and those of them in the measured window.
    sent: Cell<u64>,
    sent_measured: Cell<u64>,
}

/// What came on a call while it was measured. How long it took is with that of all others, for a histogram is large.
#[derive(Debug, Default)]
struct Ear {
    received: u64,
    /// The first and the last place in the sequence of packets that came.
    places: Option<(u64, u64)>,
    /// Of the first echo and the last: which packet it was, and how many had come to who echoed it.
    echoes: Option<[(u64, u64); 2]>,
    echo_count: u64,
    transit: Option<Duration>,
    jitter: Duration,
}

impl Run {
    /// Opens a call that was due at `due`; counts it, or why it failed.
    pub(crate) async fn call(&self, index: usize, due: Instant) -> Option<Rc<Call>> {
        let word = match monoio::time::timeout(OPEN_WAIT, self.dial(index)).await {
            Ok(Ok(call)) => {
                let mut tally = self.tally.borrow_mut();
                tally.sessions_opened += 1;
                tally.connect.record(due.elapsed());
                return Some(Rc::new(call));
            }
            Ok(Err(error)) => format!("open: {error}"),
            Err(_) => "open: timed out".to_owned(),
        };
        self.tally.borrow_mut().error(&word);
        None
    }

    async fn dial(&self, index: usize) -> io::Result<Call> {
        let peer = Peer::bind(Peer::config(), host_towards(self.target.address)?)?;
        let (offer, pending, mid, channel) = peer.with(|rtc| {
            let mut change = rtc.sdp_api();
            let mid = change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
            let channel = change.add_channel(LABEL.to_owned());
            let (offer, pending) = change.apply().expect("there are changes");
            (offer.to_sdp_string(), pending, mid, channel)
        });
        let answer = self.ask(index, &offer).await?;
        let answer =
            SdpAnswer::from_sdp_string(&answer).map_err(|error| io::Error::other(error.to_string()))?;
        let accepted = peer.with(|rtc| rtc.sdp_api().accept_answer(pending, answer));
        accepted.map_err(|error| io::Error::other(error.to_string()))?;
        let (ear, sent, sent_measured) = Default::default();
        let mut call = Call { peer, channel, mid, greeting: Vec::new(), ear, sent, sent_measured };
        call.greeting = call.message().await.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(call)
    }

    /// Asks for a call, and gives the answer to the offer.
    async fn ask(&self, index: usize, offer: &str) -> io::Result<String> {
        let link = link::connect(self.target.address, self.target.tls.clone()).await?;
        let (mut inbound, outbox) = (Inbound::new(link.read), Outbox::start(link.write));
        let user = self.user(index);
        let words = self.scenario.query_on_call(&user);
        outbox.put(Bytes::Owned(self.target.call(&user, words.as_deref(), offer)));
        let response = http::read_response(&mut inbound).await?;
        outbox.hang_up(HangUp::Fin);
        if response.status != 201 {
            return Err(io::Error::other(format!("HTTP {}", response.status)));
        }
        let body = String::from_utf8_lossy(&response.body).into_owned();
        if self.target.handshake.dialect != Dialect::GptLive {
            return Ok(body);
        }
        let body: Value = serde_json::from_str(&body)?;
        let answer = body["transport"]["sdp"].as_str();
        answer.map(str::to_owned).ok_or_else(|| io::Error::other("an answer without transport.sdp"))
    }
}

/// The address of this machine that who is there sees.
fn host_towards(target: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if target.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

/// What comes on a call.
#[derive(Debug)]
pub(crate) enum Heard {
    Message(Vec<u8>),
    Sound(Box<RtpPacket>),
}

impl Call {
    /// What comes next; `None` when the call is over.
    pub(crate) async fn next(&self) -> Option<Heard> {
        loop {
            match self.peer.event().await? {
                Event::ChannelData(data) if data.id == self.channel => {
                    return Some(Heard::Message(data.data));
                }
                Event::RtpPacket(packet) => return Some(Heard::Sound(Box::new(packet))),
                Event::ChannelClose(id) if id == self.channel => return None,
                Event::Closed => return None,
                _ => {}
            }
        }
    }

    /// The next message, whatever is heard beside it.
    async fn message(&self) -> Option<Vec<u8>> {
        loop {
            if let Heard::Message(message) = self.next().await? {
                return Some(message);
            }
        }
    }

    /// Sends a message, when there is room for it; false when the call takes nothing any more.
    pub(crate) async fn send(&self, payload: &[u8]) -> bool {
        while self.peer.is_alive() {
            let write = |rtc: &mut str0m::Rtc| {
                rtc.channel(self.channel).map(|mut channel| channel.write(false, payload))
            };
            match self.peer.with(write) {
                Some(Ok(true)) => return true,
                Some(Ok(false)) => monoio::time::sleep(Duration::from_millis(1)).await,
                Some(Err(_)) | None => return false,
            }
        }
        false
    }

    /// Sends sound, packet after packet, until the window is over or the call is.
    pub(crate) async fn speak(self: Rc<Call>, run: Rc<Run>, index: usize) {
        let Some(mut track) = Track::agreed(&self.peer, self.mid, &[Codec::PCMU, Codec::PCMA]) else {
            return run.tally.borrow_mut().error("sound: no codec agreed on");
        };
        let schedule = Schedule::every(PACKET, run.scenario.sessions, index);
        for act in run.next_act(schedule).. {
            if run.due(schedule, act).await.is_none() || !self.peer.is_alive() {
                return;
            }
            let passage = Passage { number: track.packets(), sent: Stamp::now(), echoed: None };
            track.send(&self.peer, &passage.packet(), PACKET_MS);
            self.sent.set(track.packets());
            self.sent_measured.set(self.sent_measured.get() + u64::from(run.measuring()));
        }
    }

    /// Waits until so many packets have been sent, or the call or the run is over.
    pub(crate) async fn spoken(&self, run: &Run, packets: u64) {
        while self.sent.get() < packets && self.peer.is_alive() && run.goes_on() {
            monoio::time::sleep(PACKET / 2).await;
        }
    }

    pub(crate) fn packets_sent(&self) -> u64 {
        self.sent.get()
    }

    /// Takes a packet of sound.
    pub(crate) fn hear(&self, packet: &RtpPacket, media: &mut Media) {
        let codec = Track::codec_of(&self.peer, packet.header.payload_type);
        self.ear.borrow_mut().hear((*packet.seq_no, codec, &packet.payload), Stamp::now(), media);
    }

    /// Counts what was sent and what of it was heard, where it is echoed; the call is over.
    pub(crate) fn count(&self, is_echoed: bool, media: &mut Media) {
        let sent = self.sent_measured.get();
        media.sent += sent;
        self.ear.borrow().count(if is_echoed { sent } else { 0 }, media);
    }
}

impl Ear {
    /// Takes a packet: its place in the sequence, its codec if that is known, and what is in it.
    fn hear(&mut self, (place, codec, payload): (u64, Option<Codec>, &[u8]), now: Stamp, media: &mut Media) {
        self.received += 1;
        let (first, last) = self.places.unwrap_or((place, place));
        self.places = Some((first.min(place), last.max(place)));
        if codec.is_some_and(|codec| sound::tone_share(codec, payload) > 0.9) {
            media.tones += 1;
        }
        let Some(Passage { number, sent, echoed: Some((count, at)) }) = Passage::of(payload) else { return };
        let [first, last] = self.echoes.unwrap_or([(number, count); 2]);
        self.echoes = Some([first.min((number, count)), last.max((number, count))]);
        self.echo_count += 1;
        media.up.record(at.since(sent));
        let transit = now.since(at);
        media.down.record(transit);
        // RFC 3550, 6.4.1: a sixteenth of each difference.
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.abs_diff(before);
            self.jitter = self.jitter + difference / 16 - self.jitter / 16;
        }
    }

    /// Of so many echoes were awaited.
    fn count(&self, awaited: u64, media: &mut Media) {
        media.received += self.received;
        media.lost += awaited.saturating_sub(self.echo_count);
        let between = |first: u64, last: u64| last.saturating_sub(first) + 1;
        match (self.echoes, self.places) {
            // Whoever stands between may number packets anew.
            (Some([(first, first_count), (last, last_count)]), _) => {
                let echoed = between(first_count, last_count);
                media.lost_up += between(first, last).saturating_sub(echoed);
                media.lost_down += echoed.saturating_sub(self.echo_count);
                media.jitter.record(self.jitter);
            }
            (None, Some((first, last))) => {
                media.lost_down += between(first, last).saturating_sub(self.received);
            }
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ear_tells_what_was_lost_on_which_way_and_how_long_the_rest_took() {
        let (start, ms) = (Stamp::now().ns(), 1_000_000);
        let (mut ear, mut media) = (Ear::default(), Media::default());
        // Of ten that were sent, two do not arrive there, and of the eight that are echoed one does not come back.
        let echoed: Vec<u64> = (0..10).filter(|number| ![3, 7].contains(number)).collect();
        for (place, &number) in echoed.iter().enumerate().filter(|(place, _)| *place != 5) {
            let sent = start + number * 20 * ms;
            let echoed = Some((place as u64 + 1, Stamp::of_ns(sent + 2 * ms)));
            let packet = Passage { number, sent: Stamp::of_ns(sent), echoed }.packet();
            let heard = (place as u64, Some(Codec::PCMU), &*packet);
            ear.hear(heard, Stamp::of_ns(sent + 5 * ms), &mut media);
        }
        ear.hear((7, Some(Codec::PCMU), &sound::tone(Codec::PCMU)), Stamp::now(), &mut media);
        // Of the last two nothing more is heard, so nobody knows which way they were lost.
        ear.count(12, &mut media);
        assert_eq!((media.received, media.lost, media.tones), (8, 5, 1));
        assert_eq!((media.lost_up, media.lost_down), (2, 1));
        assert!((1_990.0..2_010.0).contains(&media.up.us(0.5)), "{}", media.up.us(0.5));
        assert!((2_990.0..3_010.0).contains(&media.down.us(0.5)), "{}", media.down.us(0.5));
        assert!(media.jitter.us_max() < 1.0, "{}", media.jitter.us_max());

        // Of a tone only the places in the sequence tell.
        let (mut ear, mut media) = (Ear::default(), Media::default());
        for place in [4, 5, 8, 7] {
            ear.hear((place, Some(Codec::PCMU), &sound::tone(Codec::PCMU)), Stamp::now(), &mut media);
        }
        ear.count(0, &mut media);
        assert_eq!((media.received, media.lost_up, media.lost_down, media.tones), (4, 0, 1, 4));

        // Whoever hears nothing at all has lost it all.
        let (ear, mut media) = (Ear::default(), Media::default());
        ear.count(50, &mut media);
        assert_eq!((media.lost, media.lost_up, media.lost_down), (50, 0, 0));
    }
}
