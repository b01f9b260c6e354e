//! The two pumps of a session. Each has one buffer: what cannot be written is not read, and that is the
//! backpressure.
//!
//! Start at [`relay`]. Bytes go out as they came in. Frames of our own (pings, an `error` event, a close) go where
//! a frame ended. A pump waits in one place only, [`Direction::until`], where it can be called. What happens when a provider
//! still owes something to a session that is over is told in `linger`; here are its two pumps' parts of it.

use crate::client_events::ClientObserver;
use crate::error::{Cause, Phase, SessionError, Side};
use crate::io::buffer::{BUFFER_BYTES, Buffer};
use crate::io::stream::{Ends, Reader, Writer, is_cancelled};
use crate::linger::{Hearing, Owed};
use crate::live::{Direction, Live, Woken};
use crate::pings::PING;
use crate::shard::Shard;
use crate::tap::Tap;
use monoio::time::{Duration, sleep};
use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::metric::Metric;
use tokenist_core::ws::frame::{self, Opcode, Violation};
use tokenist_core::ws::track::{Sender, Track};
use tokenist_core::ws::walk::{Outcome, Visit, Walked, Walker};

/// What a provider is told when we end a session, unless it broke the protocol.
const CLOSE_NORMAL: u16 = 1000;

/// How often an application that says no more is asked whether it still listens.
const PROBE: Duration = Duration::from_millis(500);

/// Relays until both directions have ended. The ends come in a box, because what a future is given stays in it for good.
pub(crate) async fn relay(shard: &Shard, live: &Live, ends: Box<Ends>, tap: &mut Tap) {
    let owed = &Owed::new(shard, live, tap);
    let (mut down, mut up) = pumps(shard, live, *ends, owed);
    let mut hearing = Hearing(owed);
    let mut look = ClientObserver::new(shard, live, owed);
    monoio::join!(down.run(&mut hearing), up.run(&mut look));
}

fn pumps<'a>(shard: &'a Shard, live: &'a Live, ends: Ends, owed: &'a Owed<'a>) -> (Pump<'a>, Pump<'a>) {
    let pump = |sender, from: (Reader, Buffer, usize), writer, direction| Pump {
        shard,
        reader: from.0,
        buffer: Some(from.1),
        filled: from.2,
        outlet: FrameSink {
            live,
            direction,
            owed,
            sender,
            writer,
            walker: Walker::new(Track::new(sender, shard.config.message_max_bytes), BUFFER_BYTES),
            finished: false,
            broken: false,
            asked: false,
            dismissed: false,
        },
    };
    let Ends { downstream, upstream } = ends;
    let provider = (upstream.reader, upstream.buffer, upstream.filled);
    let client = (downstream.reader, downstream.buffer, downstream.filled);
    (
        pump(Sender::Server, provider, downstream.writer, &live.down),
        pump(Sender::Client, client, upstream.writer, &live.up),
    )
}

/// One direction: what is read, walked and written.
struct Pump<'a> {
    shard: &'a Shard,
    reader: Reader,
    /// None while nothing is in it and nothing comes. It is kept here and not in a future, which would hold it twice.
    buffer: Option<Buffer>,
    filled: usize,
    outlet: FrameSink<'a>,
}

/// Where a pump writes, and what it may write there now.
struct FrameSink<'a> {
    live: &'a Live,
    direction: &'a Direction,
    owed: &'a Owed<'a>,
    /// Whose frames pass here.
    sender: Sender,
    writer: Writer,
    walker: Walker,
    /// Nothing more will be written; what is still read is thrown away.
    finished: bool,
    /// What is under way will not be completed: its sender is gone or made no sense.
    broken: bool,
    /// The provider was asked to stop.
    asked: bool,
    /// The provider was told that all is over.
    dismissed: bool,
}

impl Pump<'_> {
    async fn run(&mut self, visitor: &mut impl Visit) {
        loop {
            // What came with the head is relayed before anything is read.
            if self.filled > 0 && !self.outlet.finished {
                self.forward(visitor).await;
            }
            if self.outlet.live.is_ending() {
                Box::pin(self.outlet.send_close()).await;
            }
            if self.outlet.live.leaving.get() || self.outlet.live.lingers() {
                Box::pin(self.outlet.part()).await;
                if self.filled > 0 && self.outlet.hears_out() {
                    self.hear_out(visitor);
                }
            }
            if self.outlet.finished && !self.outlet.hears_out() {
                self.filled = 0;
            }
            match self.read().await {
                Ok(count @ 1..) => self.filled += count,
                Err(error) if is_cancelled(&error) => drop(self.buffer.take_if(|_| self.filled == 0)),
                end => return Box::pin(self.on_eof(end.err())).await,
            }
        }
    }

    /// Shows what is in the buffer and writes as much of it as may go on. Keeps what is left.
    async fn forward(&mut self, visitor: &mut impl Visit) {
        let Some(mut buffer) = self.buffer.take() else { return };
        self.shard.note_read();
        let walked = self.outlet.walker.walk(&mut buffer.bytes_mut()[..self.filled], visitor);
        if walked.forward > 0 {
            let result;
            let FrameSink { direction, writer, .. } = &mut self.outlet;
            let writing = direction.writing();
            (result, buffer) = writer.write(buffer, 0..walked.forward).await;
            drop(writing);
            match result {
                Ok(()) => self.count_bytes(walked.forward),
                Err(error) => self.lost_reader(&error),
            }
        }
        self.keep(buffer, &walked);
        match walked.outcome {
            Outcome::Go => {}
            Outcome::Stopped => {
                debug_assert!(
                    self.outlet.live.is_ending() || self.outlet.live.lingers(),
                    "a stop has a reason"
                );
            }
            Outcome::Violated(violation) => self.violated(violation),
        }
        if self.outlet.walker.is_closed() {
            self.heard_close();
            self.outlet.live.end_by(self.shard.now().plus_ms(self.shard.config.close_ms));
        }
    }

    /// What was not seen yet stays at the buffer's beginning.
    fn keep(&mut self, mut buffer: Buffer, walked: &Walked) {
        buffer.bytes_mut().copy_within(walked.seen..walked.filled, 0);
        self.filled = walked.filled - walked.seen;
        self.buffer = Some(buffer);
    }

    /// The side that is read here has said goodbye. A provider that has tells no usage any more.
    fn heard_close(&self) {
        if self.outlet.sender == Sender::Server {
            self.outlet.live.silent.set(true);
        }
    }

    /// Shows what is in the buffer, of which nothing goes on any more. Keeps what is left.
    fn hear_out(&mut self, visitor: &mut impl Visit) {
        let Some(mut buffer) = self.buffer.take() else { return };
        self.shard.note_read();
        let walked = self.outlet.walker.walk_on(&mut buffer.bytes_mut()[..self.filled], visitor);
        self.keep(buffer, &walked);
        if let Outcome::Violated(_) = walked.outcome {
            self.outlet.broken = true;
            self.outlet.live.silent.set(true);
        }
        if self.outlet.walker.has_seen_close() {
            self.heard_close();
        }
        if self.outlet.owed.is_settled() {
            self.outlet.live.up.call();
        }
    }

    /// Reads once; without a buffer it waits for something to come before it takes one. While it waits, it does
    /// what it is called for: pings, and the words that end a session.
    async fn read(&mut self) -> io::Result<usize> {
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => {
                self.outlet.attend(pin!(self.reader.readable())).await?;
                self.shard.pool.take()?
            }
        };
        let direction = self.outlet.direction;
        direction.lent.set(self.filled == 0);
        let coming = self.reader.read(buffer, self.filled, direction.cancel_handle());
        let (result, buffer) = self.outlet.attend(pin!(coming)).await;
        direction.lent.set(false);
        if result.is_ok() {
            direction.heard_at.set(self.shard.now());
        }
        debug_assert!(self.outlet.live.relaying.get(), "pumps run in relay only");
        self.buffer = Some(buffer);
        result
    }

    /// The side that is read here sent what cannot be understood: it is told what that was. A provider that does so has
    /// failed.
    fn violated(&mut self, violation: Violation) {
        if std::mem::replace(&mut self.outlet.broken, true) {
            return;
        }
        let ending = match self.outlet.sender {
            Sender::Client => match violation {
                Violation::MessageTooBig { max_bytes } => CloseReason::MessageTooBig { max_bytes },
                Violation::BadText | Violation::BadCloseReason => CloseReason::NotText(violation.describe()),
                violation => CloseReason::Protocol(violation.describe()),
            },
            Sender::Server => {
                self.outlet.live.violation.set(Some(violation));
                self.failed(Cause::Violated(violation))
            }
        };
        self.shard.end(self.outlet.live, ending);
    }

    /// A failure of the provider: counted, logged, and how the application is told.
    fn failed(&self, cause: Cause) -> CloseReason {
        self.shard.counters.add(Metric::UpstreamFailures, 1);
        let error = SessionError::new(Side::Upstream, Phase::Relay, cause);
        tracing::warn!(session = %self.outlet.live.id(), %error, "session failed");
        error.close_reason()
    }

    /// The side that is read here says no more.
    async fn on_eof(&mut self, error: Option<io::Error>) {
        let shard = self.shard;
        match self.outlet.sender {
            Sender::Server => {
                self.outlet.live.silent.set(true);
                self.outlet.live.up.call();
                // A provider that leaves without a close frame has failed, unless it was asked to go.
                if !self.outlet.walker.is_closed()
                    && !self.outlet.live.leaving.get()
                    && !self.outlet.live.is_ending()
                {
                    let cause = error.map_or(Cause::Malformed("it left without a close frame"), Cause::Io);
                    shard.end(self.outlet.live, self.failed(cause));
                }
                self.outlet.broken = true;
                if self.outlet.live.is_ending() {
                    self.outlet.send_close().await;
                }
                self.outlet.finish().await;
                self.outlet.live.end_by(shard.now().plus_ms(shard.config.close_ms));
            }
            Sender::Client => {
                let is_gone = error.is_some()
                    || self.outlet.live.is_ending()
                    || self.outlet.live.lingers()
                    || self.outlet.live.gone.get();
                self.outlet.live.leaving.set(true);
                if !is_gone {
                    // It may still listen.
                    self.outlet.live.end_by(shard.now().plus_ms(shard.config.half_close_ms));
                    self.outlet.let_finish().await;
                }
                if is_gone || self.outlet.live.gone.get() || self.outlet.live.is_ending() {
                    self.outlet.live.forsake();
                    self.outlet.wind_up().await;
                } else {
                    self.outlet.finish().await;
                    self.outlet.mark_notified();
                }
            }
        }
    }

    /// The side that is written here takes no more.
    fn lost_reader(&mut self, error: &io::Error) {
        tracing::debug!(session = %self.outlet.live.id(), side = ?self.outlet.sender, %error, "a peer takes no more");
        self.outlet.finished = true;
        match self.outlet.sender {
            // The application is gone, and nobody is left to relay for.
            Sender::Server => self.outlet.live.forsake(),
            // The provider may have more to say.
            Sender::Client => {
                self.outlet.mark_notified();
                self.outlet.live.end_by(self.shard.now().plus_ms(self.shard.config.close_ms));
            }
        }
    }

    fn count_bytes(&self, count: usize) {
        let metric = match self.outlet.sender {
            Sender::Server => Metric::BytesDownstream,
            Sender::Client => Metric::BytesUpstream,
        };
        self.shard.counters.add(metric, count as u64);
    }
}

impl FrameSink<'_> {
    /// Waits for something to come from the other side, and does meanwhile what the pump is called for.
    async fn attend<F: Future>(&mut self, mut coming: Pin<&mut F>) -> F::Output {
        loop {
            match self.direction.until(coming.as_mut()).await {
                Woken::Read(output) => return output,
                // Boxed, because they are rare and a waiting pump should be small.
                Woken::Called => Box::pin(self.attend_call()).await,
            }
        }
    }

    async fn attend_call(&mut self) {
        if self.sender == Sender::Server {
            self.owed.tap(Tap::elapse);
        }
        match self.live.is_ending() {
            true => self.send_close().await,
            false => self.ping().await,
        }
        self.part().await;
    }

    /// What is read here goes on to nobody, but is heard.
    fn hears_out(&self) -> bool {
        self.sender == Sender::Server && self.finished && !self.broken && self.live.lingers()
    }

    /// Does this side's part where the application is leaving and the provider may still owe something.
    async fn part(&mut self) {
        match self.sender {
            Sender::Server => self.part_from_application().await,
            Sender::Client if self.live.lingers() => {
                self.finished = true;
                if !std::mem::replace(&mut self.asked, true) && self.walker.between_messages() {
                    let cancels = self.owed.cancels();
                    self.say(cancels).await;
                }
                if self.owed.is_settled() && !std::mem::replace(&mut self.dismissed, true) {
                    self.dismiss().await;
                }
            }
            Sender::Client => {}
        }
    }

    async fn part_from_application(&mut self) {
        if self.live.gone.get() {
            self.finished = true;
            if !self.owed.begin() {
                self.live.upstream.shut_down();
            }
        }
        let close = self.live.held_close.borrow().clone();
        if let Some(payload) = close.filter(|_| !self.finished && self.walker.between_frames()) {
            self.say(frame::write(Opcode::Close, &payload, None)).await;
            self.finish().await;
        }
        // Whoever waits for the provider in the other direction is waiting for this.
        if self.live.leaving.get() && !self.owed.is_under_way() {
            self.live.up.call();
        }
    }

    /// The provider owes nothing more: it is told what the application said, or that all is over.
    async fn dismiss(&mut self) {
        if self.walker.between_frames() {
            let mask = Some(self.live.mask_key());
            let said = self.live.held_close.borrow_mut().take();
            let close = match said {
                Some(payload) => frame::write(Opcode::Close, &payload, mask),
                None => frame::write_close(CLOSE_NORMAL, "", mask),
            };
            self.say(close).await;
        }
        self.live.upstream.shut_down();
    }

    /// Waits until nothing is under way that the end of this direction would break off, or nobody listens: who says no
    /// more may be gone, and a ping finds that out where the provider is silent, too.
    async fn let_finish(&mut self) {
        while self.owed.is_under_way() && !self.live.gone.get() && !self.live.is_ending() {
            self.live.down.ask_ping();
            self.direction.until(pin!(sleep(PROBE))).await;
        }
    }

    /// The application is gone: the provider is heard out, if it owes something, and its line cut.
    async fn wind_up(&mut self) {
        if !self.owed.begin() {
            return self.live.upstream.shut_down();
        }
        loop {
            Box::pin(self.part()).await;
            if self.dismissed {
                return;
            }
            self.direction.until(pin!(pending::<()>())).await;
        }
    }

    /// Says what is to be said when a session ends: to the application the reason, to the provider a plain close, to
    /// whoever broke the protocol nothing but that. An event waits for the end of a message that has been begun, a
    /// close for that of a frame, or for the session's deadline.
    async fn send_close(&mut self) {
        let Some(ending) = self.live.ending().filter(|_| !self.finished) else { return };
        let is_heard_out = self.owed.begin();
        let event = self.live.words_before_close(&ending);
        let (between_messages, between_frames) =
            (self.walker.between_messages(), self.walker.between_frames());
        match self.sender {
            Sender::Server
                if between_messages
                    || between_frames && event.is_none()
                    || self.broken
                    || self.walker.is_closed() =>
            {
                let mut last_words = Vec::new();
                if let Some(event) = event.filter(|_| between_messages) {
                    last_words = frame::write(Opcode::Text, event.as_bytes(), None);
                }
                if between_frames {
                    self.live.close_code.set(Some(ending.close_code()));
                    last_words.extend(frame::write_close(ending.close_code(), &ending.message(), None));
                    self.say(last_words).await;
                }
                self.finish().await;
                self.mark_notified();
            }
            Sender::Server => {}
            Sender::Client => {
                if !is_heard_out && between_frames {
                    let violation = self.live.violation.get();
                    let (code, reason) = violation.map_or((CLOSE_NORMAL, ""), |violation| {
                        (violation.close_code(), violation.describe())
                    });
                    self.say(frame::write_close(code, reason, Some(self.live.mask_key()))).await;
                }
                self.finished = true;
                self.mark_notified();
            }
        }
    }

    /// This side knows that the session ends, or cannot be told. When both do, the provider's last words are no longer
    /// wanted: its pending read ends with its line.
    fn mark_notified(&self) {
        self.direction.notified.set(true);
        let is_over = self.live.is_ending() && !self.live.lingers();
        if is_over && self.live.up.notified.get() && self.live.down.notified.get() {
            self.live.upstream.shut_down();
        }
    }

    async fn ping(&mut self) {
        if self.direction.take_ping() && self.walker.between_frames() && !self.finished {
            let mask = (self.sender == Sender::Client).then(|| self.live.mask_key());
            self.say(frame::write(Opcode::Ping, PING, mask)).await;
        }
    }

    /// Writes frames of our own. A peer that does not take them is noticed by whoever reads it; an application that says
    /// no more is noticed here.
    async fn say(&mut self, frames: Vec<u8>) {
        if frames.is_empty() {
            return;
        }
        let writing = self.direction.writing();
        let written = self.writer.write_bytes(frames).await;
        drop(writing);
        if let Err(error) = written {
            tracing::debug!(session = %self.live.id(), to = ?self.sender, %error, "could not be said");
            if self.sender == Sender::Server && self.live.leaving.get() {
                self.live.forsake();
            }
        }
    }

    async fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.writer.finish().await;
        }
    }
}
