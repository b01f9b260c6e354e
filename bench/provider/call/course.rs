//! One call from its answer to its end: what comes on it is heard, and what its session says is heard on it.

use crate::link::{Bytes, Outbox};
use crate::peer::Track;
use crate::provider::session::{Callable, Session};
use crate::provider::sim::{Load, Sound};
use crate::provider::wire::Wire;
use crate::sound::{self, PACKET};
use crate::ws::{BINARY, CLOSE, End, FIN, Inbound, Message, PING, PONG, TEXT};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use str0m::format::Codec;
use str0m::media::{MediaKind, Mid, Pt};
use str0m::{Event, IceConnectionState};

/// Who has asked for a call and does not come is waited for so long.
const CONNECT_WAIT: Duration = Duration::from_secs(30);
/// The first of them that the client speaks sound is sent in, unless it is said otherwise.
const CODECS: [Codec; 3] = [Codec::Opus, Codec::PCMU, Codec::PCMA];

/// What a call has come to.
struct Course<D: Callable> {
    session: Rc<Session<D>>,
    wire: Rc<Wire>,
    mid: Option<Mid>,
    is_connected: bool,
}

/// Runs a call to its end, and returns the code that its session is closed with.
pub(super) async fn run<D: Callable>(session: Rc<Session<D>>, wire: Rc<Wire>) -> u16 {
    let mut course = Course { session, wire: wire.clone(), mid: None, is_connected: false };
    let deadline = Instant::now() + CONNECT_WAIT;
    loop {
        let event = match course.is_connected {
            true => wire.peer.event().await,
            false => {
                let left = deadline.saturating_duration_since(Instant::now());
                monoio::time::timeout(left, wire.peer.event()).await.unwrap_or(None)
            }
        };
        let Some(event) = event else { break 1006 };
        if course.take(event) {
            break 1000;
        }
        wire.flush();
    }
}

impl<D: Callable> Course<D> {
    /// Takes what comes; true if it is the client's goodbye.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Connected => {
                if !std::mem::replace(&mut self.is_connected, true) {
                    monoio::spawn(play(self.session.clone(), self.wire.clone()));
                }
                self.sound();
            }
            Event::MediaAdded(added) if added.kind == MediaKind::Audio => {
                self.mid = Some(added.mid);
                self.sound();
            }
            Event::ChannelOpen(id, _) => {
                self.wire.opened(id);
                self.session.fail_once_greeted();
            }
            Event::ChannelData(data) if self.wire.is_channel(data.id) => self.hear(data.binary, &data.data),
            Event::RtpPacket(packet) => self.hear_sound(packet.header.payload_type, &packet.payload),
            // One that is closed here is nobody's goodbye.
            Event::ChannelClose(id) => return self.wire.is_open() && self.wire.is_channel(id),
            Event::Closed => return true,
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => self.wire.peer.abandon(),
            _ => {}
        }
        false
    }

    /// Responses are heard from now on, if they are to be. str0m tells of a line of sound before or after it is connected.
    fn sound(&self) {
        if !self.is_connected || self.wire.has_track() || self.session.sim.sound != Sound::Tone {
            return;
        }
        let named = self.session.sim.codec;
        let codecs: Vec<Codec> =
            CODECS.into_iter().filter(|codec| named.is_none_or(|named| named == *codec)).collect();
        if let Some(track) = self.mid.and_then(|mid| Track::agreed(&self.wire.peer, mid, &codecs)) {
            self.wire.sounds_by(track);
        }
    }

    fn hear(&self, is_binary: bool, payload: &[u8]) {
        let opcode = if is_binary { BINARY } else { TEXT };
        match self.session.sim.load {
            Some(Load::Echo) => self.wire.write(is_binary, payload, None),
            _ => {
                self.session.take(&Message { opcode, payload });
            }
        }
    }

    fn hear_sound(&self, payload_type: Pt, payload: &[u8]) {
        let Some(codec) = Track::codec_of(&self.wire.peer, payload_type) else { return };
        self.wire.hear();
        if self.session.sim.sound == Sound::Echo {
            if let Some(mid) = self.mid.filter(|_| !self.wire.has_track()) {
                Track::agreed(&self.wire.peer, mid, &[codec])
                    .into_iter()
                    .for_each(|track| self.wire.sounds_by(track));
            }
            self.wire.echo(payload);
        }
        D::hear_sound(&self.session, sound::packet_ms(codec, payload));
    }
}

/// Plays what responses say, packet after packet, until the call is over: as a tone, or where that is not to be heard unheard.
async fn play<D: Callable>(session: Rc<Session<D>>, wire: Rc<Wire>) {
    let (beat, is_heard) = (session.shard.beat.clone(), session.sim.sound == Sound::Tone);
    let mut due = beat.on_beat(Instant::now());
    while wire.is_open() && wire.peer.is_alive() {
        if !is_heard && wire.is_hushed() {
            wire.speaks().await;
            due = beat.on_beat(Instant::now());
        }
        beat.until(due).await;
        for id in wire.sound(is_heard) {
            D::played(&session, &id);
        }
        due += PACKET;
    }
}

/// Hears who is attached until that socket closes, or is closed.
pub(super) async fn attend<D: Callable>(
    session: &Rc<Session<D>>,
    inbound: &mut Inbound,
    outbox: &Rc<Outbox>,
) -> io::Result<()> {
    while let Some(message) = inbound.message().await? {
        let opcode = match message.opcode {
            TEXT | BINARY => {
                session.take(&message);
                continue;
            }
            PING => PONG,
            CLOSE => CLOSE,
            _ => continue,
        };
        let mut frame = Vec::new();
        End::Server.frame(FIN | opcode, message.payload, &mut frame);
        outbox.put(Bytes::Owned(frame));
        if opcode == CLOSE {
            return Ok(());
        }
    }
    Ok(())
}
