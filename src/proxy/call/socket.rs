//! The socket that is attached to a call: what the provider says on it is heard and goes on to nobody; what is said on it is a
//! pong, a ping, and that all is to stop.

use super::{Call, hangup};
use crate::io::buffer::{BUFFER_BYTES, Buffer};
use crate::io::stream::{End, Reader, Writer, is_cancelled};
use crate::linger::{Hearing, Owed};
use crate::live::{Live, Woken};
use crate::pings::PING;
use crate::shard::Shard;
use crate::tap::Tap;
use crate::tokens::beyond;
use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use tokenist_core::ws::frame::{self, Header, Opcode};
use tokenist_core::ws::track::{Sender, Track};
use tokenist_core::ws::walk::{Act, Outcome, Part, Visit, Walker};

/// What waits to be said at most.
const WORDS_BYTES_MAX: usize = 16 << 10;
/// Settings that are longer are not judged.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Why nothing more is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The call was asked to end, and has.
    HungUp,
    /// The provider has said goodbye.
    Closed,
    /// The connection broke off.
    Lost,
}

/// Both halves of a socket, and what they have to do with each other.
struct Watch<'a> {
    shard: &'a Rc<Shard>,
    live: &'a Rc<Live>,
    call: &'a Call,
    owed: &'a Owed<'a>,
    /// Frames that are to be said.
    words: RefCell<Vec<u8>>,
}

/// Hears the provider until the socket ends. If the session is to end meanwhile, has the call end, and hears that out.
pub(super) async fn watch<'a>(
    shard: &'a Rc<Shard>,
    live: &'a Rc<Live>,
    call: &'a Call,
    owed: &'a Owed<'a>,
    end: Box<End>,
) -> Ended {
    let End { reader, writer, buffer, filled } = *end;
    live.silent.set(false);
    live.close_code.set(None);
    live.down.heard_at.set(shard.now());
    let watch = Watch { shard, live, call, owed, words: RefCell::default() };
    monoio::join!(watch.hear(reader, buffer, filled), watch.tend(writer));
    live.upstream.disarm();
    match live.close_code.get() {
        _ if live.hung_up.get() => Ended::HungUp,
        Some(_) => Ended::Closed,
        None => Ended::Lost,
    }
}

impl Watch<'_> {
    async fn hear(&self, mut reader: Reader, buffer: Buffer, mut filled: usize) {
        let track = Track::new(Sender::Server, self.shard.config.message_max_bytes);
        let mut walker = Walker::new(track, BUFFER_BYTES);
        let mut visitor = Watched { watch: self, message: Vec::new() };
        let mut buffer = Some(buffer);
        loop {
            if let Some(full) = buffer.as_mut().filter(|_| filled > 0) {
                self.shard.note_read();
                let walked = walker.walk_on(&mut full.bytes_mut()[..filled], &mut visitor);
                full.bytes_mut().copy_within(walked.seen..walked.filled, 0);
                filled = walked.filled - walked.seen;
                if matches!(walked.outcome, Outcome::Violated(_)) || walker.has_seen_close() {
                    break;
                }
            }
            match self.read(&mut reader, &mut buffer, filled).await {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if is_cancelled(&error) => drop(buffer.take_if(|_| filled == 0)),
                Err(_) => break,
            }
        }
        self.live.silent.set(true);
        self.live.up.call();
    }

    /// Reads once; without a buffer it waits for something to come before it takes one.
    async fn read(&self, reader: &mut Reader, kept: &mut Option<Buffer>, filled: usize) -> io::Result<usize> {
        let buffer = match kept.take() {
            Some(buffer) => buffer,
            None => {
                self.attend(pin!(reader.readable())).await?;
                self.shard.pool.take()?
            }
        };
        let down = &self.live.down;
        down.lent.set(filled == 0);
        let (read, buffer) = self.attend(pin!(reader.read(buffer, filled, down.cancel_handle()))).await;
        down.lent.set(false);
        if read.is_ok() {
            down.heard_at.set(self.shard.now());
        }
        *kept = Some(buffer);
        read
    }

    /// Waits for something to come, and meanwhile lets time be charged.
    async fn attend<F: Future>(&self, mut coming: Pin<&mut F>) -> F::Output {
        loop {
            match self.live.down.until(coming.as_mut()).await {
                Woken::Read(output) => return output,
                Woken::Called => self.owed.tap(Tap::elapse),
            }
        }
    }

    /// Says what is to be said, until nothing is heard any more, or the session is to end and its call has.
    async fn tend(&self, writer: Writer) {
        let writer = RefCell::new(Some(writer));
        while !self.live.silent.get() && !self.live.is_ending() {
            self.speak(&writer).await;
            if !self.live.is_ending() {
                self.live.up.until(pin!(pending::<()>())).await;
            }
        }
        if self.live.silent.get() && !self.live.is_ending() {
            return;
        }
        self.live.hung_up.set(true);
        self.words.borrow_mut().extend(self.owed.cancels());
        hangup::until_over(self.shard, self.live, self.call, async || self.speak(&writer).await).await;
    }

    async fn speak(&self, writer: &RefCell<Option<Writer>>) {
        if self.live.up.take_ping() {
            self.say(Opcode::Ping, PING);
        }
        if self.words.borrow().is_empty() || self.live.silent.get() {
            return;
        }
        // Who is speaking already says what has come meanwhile when it is asked next.
        let Some(mut taken) = writer.borrow_mut().take() else { return };
        let words = std::mem::take(&mut *self.words.borrow_mut());
        let writing = self.live.up.writing();
        // Who takes nothing any more is noticed by who hears.
        taken.write_bytes(words).await.ok();
        drop(writing);
        // It stays, for the line may still be cut by its descriptor.
        writer.replace(Some(taken));
    }

    fn say(&self, opcode: Opcode, payload: &[u8]) {
        let mut words = self.words.borrow_mut();
        // A provider that takes no pong needs no more of them.
        if words.len() < WORDS_BYTES_MAX {
            words.extend(frame::write(opcode, payload, Some(self.live.mask_key())));
        }
    }

    /// Ends the session if its page has set more for it than its token allows.
    fn judge(&self, event: &[u8]) {
        let bounds = self.live.token.get().and_then(|token| token.bounds.as_ref());
        if let Some(what) = bounds.and_then(|bounds| bounds.check_stated(event).err()) {
            self.refuse(what);
        }
    }

    fn refuse(&self, what: String) {
        if !self.live.is_ending() {
            self.shard.end(self.live, beyond(what));
        }
    }
}

/// The provider's frames, as they are heard.
struct Watched<'a, 'b> {
    watch: &'a Watch<'b>,
    /// The message under way, where a token binds what its page may set.
    message: Vec<u8>,
}

impl Watched<'_, '_> {
    /// A part of a message, and whether that ends it.
    fn gather(&mut self, payload: &[u8], is_first: bool, is_last: bool) {
        if self.watch.live.token.get().is_none_or(|token| token.bounds.is_none()) {
            return;
        }
        if is_first {
            self.message.clear();
        }
        if self.message.len() + payload.len() > EVENT_BYTES_MAX {
            return self.watch.refuse(format!("its settings have more than {EVENT_BYTES_MAX} bytes"));
        }
        self.message.extend_from_slice(payload);
        if is_last {
            self.watch.judge(&self.message);
        }
    }
}

impl Visit for Watched<'_, '_> {
    fn blot(&mut self, reason: &mut [u8]) {
        Hearing(self.watch.owed).blot(reason);
    }

    fn visit(&mut self, header: &Header, payload: &[u8], part: Part) -> Act {
        let act = Hearing(self.watch.owed).visit(header, payload, part);
        let (begins, ends) =
            (matches!(part, Part::Whole | Part::First), matches!(part, Part::Whole | Part::Last));
        match header.opcode {
            Opcode::Ping => {
                self.watch.say(Opcode::Pong, payload);
                self.watch.live.up.call();
            }
            Opcode::Text | Opcode::Binary => self.gather(payload, begins, ends && header.fin),
            Opcode::Continuation => self.gather(payload, false, ends && header.fin),
            Opcode::Close | Opcode::Pong => {}
        }
        act
    }
}
