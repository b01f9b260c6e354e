//! What a call's session speaks through: the data channel, the sockets attached beside it, and the line of sound.
//!
//! What is said goes to all of them alike, from when each is there. What is said before the data channel is open waits for
//! it; an attached socket hears nothing of what was before it.

use crate::link::{Bytes, Delivery, HangUp, Outbox, Receipt, Signal};
use crate::peer::{self, Peer, Track};
use crate::sound::{self, PACKET_MS, Passage};
use crate::stamp::Stamp;
use crate::ws::{BINARY, CLOSE, End, FIN, close_payload};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use str0m::channel::{Channel, ChannelId};

/// An attached socket that reads so much too little is left.
const SIDEBAND_BYTES_MAX: usize = 16 << 20;
const SIDEBANDS_MAX: usize = 16;
/// The data channel takes more when it has less than this to send.
const LOW_BYTES: usize = 64 << 10;
/// Longer messages no data channel here has room for.
const MESSAGE_BYTES_MAX: usize = peer::BUFFERED_BYTES;
/// How long what was said last may take to be heard before the call is ended.
const GOODBYE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) peer: Peer,
    /// Longer messages the other end does not take.
    message_bytes_max: usize,
    channel: Cell<Option<ChannelId>>,
    /// What waits for the data channel.
    letters: RefCell<VecDeque<Letter>>,
    queued_bytes: Cell<usize>,
    sidebands: RefCell<Vec<Rc<Outbox>>>,
    /// What is said now is for the data channel alone.
    is_greeting: Cell<bool>,
    state: Cell<State>,
    changed: Signal,
    sound: RefCell<Sound>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more is said; what was said is still heard.
    Ending,
    Over,
}

struct Letter {
    is_binary: bool,
    payload: Vec<u8>,
    receipt: Option<Receipt>,
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Letter({} bytes)", self.payload.len())
    }
}

/// The line of sound: how it goes out, and what is to be heard on it.
#[derive(Debug, Default)]
struct Sound {
    track: Option<Track>,
    playing: VecDeque<Playing>,
    packets_heard: u64,
}

/// What a response says that has not been heard yet.
#[derive(Debug)]
struct Playing {
    id: String,
    left_ms: u64,
    /// It has said all that it will.
    is_whole: bool,
}

impl Wire {
    pub(super) fn over(peer: Peer, message_bytes_max: usize) -> Rc<Wire> {
        Rc::new(Wire {
            peer,
            message_bytes_max: message_bytes_max.min(MESSAGE_BYTES_MAX),
            channel: Cell::new(None),
            letters: RefCell::default(),
            queued_bytes: Cell::new(0),
            sidebands: RefCell::default(),
            is_greeting: Cell::new(false),
            state: Cell::new(State::Open),
            changed: Signal::default(),
            sound: RefCell::default(),
        })
    }

    /// Whether this is the session's data channel, which the first one to be opened is.
    pub(super) fn is_channel(&self, id: ChannelId) -> bool {
        self.channel.get() == Some(id)
    }

    pub(super) fn opened(&self, id: ChannelId) {
        if self.channel.get().is_none() {
            self.channel.set(Some(id));
            let low = |mut channel: Channel<'_>| channel.set_buffered_amount_low_threshold(LOW_BYTES);
            self.peer.with(|rtc| rtc.channel(id).map(low));
            self.flush();
        }
    }

    /// Says what `greeting` does on the data channel alone.
    pub(super) fn greet(&self, greeting: impl FnOnce()) {
        self.is_greeting.set(true);
        greeting();
        self.is_greeting.set(false);
    }

    /// Says a message on the data channel and to all that are attached. The receipt is called once, when the data channel has
    /// taken it or when it never will.
    pub(super) fn say(&self, opcode: u8, payload: &[u8], receipt: Option<Receipt>) {
        if self.state.get() != State::Open {
            receipt.into_iter().for_each(|receipt| receipt(Delivery::Lost));
            return;
        }
        if !self.is_greeting.get() {
            self.say_beside(opcode, payload);
        }
        self.write(opcode == BINARY, payload, receipt);
    }

    /// Says a message on the data channel alone; of one that is too long for it, that it is.
    pub(super) fn write(&self, is_binary: bool, payload: &[u8], receipt: Option<Receipt>) {
        if payload.len() <= self.message_bytes_max {
            return self.queue(is_binary, payload, receipt);
        }
        receipt.into_iter().for_each(|receipt| receipt(Delivery::Lost));
        let (bytes, bytes_max) = (payload.len(), self.message_bytes_max);
        let message = format!("An event of {bytes} bytes was left out: the data channel takes {bytes_max}.");
        let error = json!({"type": "server_error", "code": "message_too_long", "message": message,
            "param": null, "event_id": null});
        let event = json!({"type": "error", "event_id": "event_too_long", "error": error}).to_string();
        self.queue(false, event.as_bytes(), None);
    }

    fn queue(&self, is_binary: bool, payload: &[u8], receipt: Option<Receipt>) {
        self.queued_bytes.set(self.queued_bytes.get() + payload.len());
        self.letters.borrow_mut().push_back(Letter { is_binary, payload: payload.to_vec(), receipt });
        self.flush();
    }

    /// Hands the data channel what it takes.
    pub(super) fn flush(&self) {
        let Some(id) = self.channel.get() else { return };
        loop {
            let Some(letter) = self.letters.borrow_mut().pop_front() else { return };
            let write = |mut channel: Channel<'_>| channel.write(letter.is_binary, &letter.payload);
            let delivery = match self.peer.with(|rtc| rtc.channel(id).map(write)) {
                Some(Ok(true)) => Delivery::Whole,
                // There is no room for it yet.
                Some(Ok(false)) => return self.letters.borrow_mut().push_front(letter),
                // The channel is closed.
                Some(Err(_)) | None => Delivery::Lost,
            };
            self.queued_bytes.set(self.queued_bytes.get() - letter.payload.len());
            letter.receipt.into_iter().for_each(|receipt| receipt(delivery));
            self.changed.ring();
        }
    }

    /// Whether anybody is attached.
    pub(super) fn is_attended(&self) -> bool {
        !self.sidebands.borrow().is_empty()
    }

    /// Says a message to all that are attached, and to them alone.
    pub(super) fn say_beside(&self, opcode: u8, payload: &[u8]) {
        self.sidebands.borrow_mut().retain(|outbox| outbox.is_open());
        for outbox in self.sidebands.borrow().iter() {
            let mut frame = Vec::new();
            End::Server.frame(FIN | opcode, payload, &mut frame);
            outbox.put(Bytes::Owned(frame));
            if outbox.queued_bytes() > SIDEBAND_BYTES_MAX {
                outbox.hang_up(HangUp::Fin);
            }
        }
    }

    /// Another socket hears what is said from now on; false if there are too many, or the call is over.
    pub(super) fn attach(&self, outbox: Rc<Outbox>) -> bool {
        let mut sidebands = self.sidebands.borrow_mut();
        sidebands.retain(|outbox| outbox.is_open());
        let is_attached = self.is_open() && sidebands.len() < SIDEBANDS_MAX;
        if is_attached {
            sidebands.push(outbox);
        }
        is_attached
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    /// Waits until less than `bytes` wait for the data channel; false if nothing is said any more.
    pub(super) async fn room(&self, bytes: usize) -> bool {
        self.changed
            .until(|| match self.state.get() {
                State::Open if self.queued_bytes.get() >= bytes => None,
                state => Some(state == State::Open),
            })
            .await
    }

    /// Ends the call once what was said has been heard, and lets who is attached know why.
    pub(super) fn end(self: &Rc<Wire>, code: u16, reason: &str) {
        if self.state.get() == State::Open {
            self.state.set(State::Ending);
            self.leave_sidebands(code, reason);
            let wire = self.clone();
            monoio::spawn(async move {
                drop(monoio::time::timeout(GOODBYE, wire.heard()).await);
                if let Some(id) = wire.channel.get() {
                    wire.peer.with(|rtc| rtc.direct_api().close_data_channel(id));
                }
                wire.peer.close();
            });
        }
    }

    /// Ends the call as when a process ends.
    pub(super) fn die(&self) {
        self.peer.abandon();
        self.settle();
    }

    /// The call is over: nothing that waits is heard any more.
    pub(super) fn settle(&self) {
        self.leave_sidebands(1000, "");
        self.state.set(State::Over);
        let letters = self.letters.take();
        letters.into_iter().filter_map(|letter| letter.receipt).for_each(|receipt| receipt(Delivery::Lost));
        self.queued_bytes.set(0);
        self.changed.ring();
    }

    fn leave_sidebands(&self, code: u16, reason: &str) {
        for outbox in self.sidebands.take() {
            let mut frame = Vec::new();
            End::Server.frame(FIN | CLOSE, &close_payload(code, reason), &mut frame);
            outbox.put(Bytes::Owned(frame));
            outbox.finish();
        }
        self.changed.ring();
    }

    /// Waits until all that was said has come to the other end.
    async fn heard(&self) {
        let left = |rtc: &mut str0m::Rtc| {
            let Some(id) = self.channel.get() else { return 0 };
            rtc.channel(id).map_or(0, |mut channel| channel.buffered_amount())
        };
        while !self.letters.borrow().is_empty() || self.peer.with(left) > 0 {
            monoio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn sounds_by(&self, track: Track) {
        self.sound.borrow_mut().track.get_or_insert(track);
    }

    pub(super) fn has_track(&self) -> bool {
        self.sound.borrow().track.is_some()
    }

    /// Whether there is nothing to be played.
    pub(super) fn is_hushed(&self) -> bool {
        self.sound.borrow().playing.is_empty()
    }

    /// Waits until there is something to be played, or the call is over.
    pub(super) async fn speaks(&self) {
        self.changed.until(|| (!self.is_hushed() || !self.is_open()).then_some(())).await;
    }

    /// A response says so many milliseconds more; true if it is the first of them.
    pub(super) fn play(&self, id: &str, ms: u64) -> bool {
        self.changed.ring();
        let playing = &mut self.sound.borrow_mut().playing;
        match playing.iter_mut().find(|playing| playing.id == id) {
            Some(playing) => {
                playing.left_ms += ms;
                false
            }
            None => {
                playing.push_back(Playing { id: id.to_owned(), left_ms: ms, is_whole: false });
                true
            }
        }
    }

    /// A response has said all that it will.
    pub(super) fn played(&self, id: &str) {
        let playing = &mut self.sound.borrow_mut().playing;
        playing.iter_mut().filter(|playing| playing.id == id).for_each(|playing| playing.is_whole = true);
    }

    /// What is to be heard is forgotten: of which responses?
    pub(super) fn hush(&self) -> Vec<String> {
        self.sound.borrow_mut().playing.drain(..).map(|playing| playing.id).collect()
    }

    /// Plays the next packet of sound, and sends it if it is to be heard; the responses that have been played to their end with it.
    pub(super) fn sound(&self, is_heard: bool) -> Vec<String> {
        let Sound { track, playing, .. } = &mut *self.sound.borrow_mut();
        let now = playing.iter_mut().find(|playing| playing.left_ms > 0);
        if let Some(track) = track.as_mut().filter(|_| is_heard) {
            let payload = if now.is_some() { sound::tone(track.codec) } else { sound::silence(track.codec) };
            track.send(&self.peer, &payload, PACKET_MS);
        }
        if let Some(now) = now {
            now.left_ms = now.left_ms.saturating_sub(PACKET_MS);
        }
        let mut over = Vec::new();
        while playing.front().is_some_and(|playing| playing.is_whole && playing.left_ms == 0) {
            over.extend(playing.pop_front().map(|playing| playing.id));
        }
        over
    }

    /// A packet of sound came.
    pub(super) fn hear(&self) {
        self.sound.borrow_mut().packets_heard += 1;
    }

    /// Sends a packet back, with the moment of that where it has room for it.
    pub(super) fn echo(&self, payload: &[u8]) {
        let Sound { track, packets_heard, .. } = &mut *self.sound.borrow_mut();
        let Some(track) = track else { return };
        let ms = sound::packet_ms(track.codec, payload);
        match Passage::of(payload) {
            Some(passage) => {
                let echoed = Some((*packets_heard, Stamp::now()));
                track.send(&self.peer, &Passage { echoed, ..passage }.packet(), ms);
            }
            None => track.send(&self.peer, payload, ms),
        }
    }
}
