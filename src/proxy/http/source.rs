//! One side of an exchange as it is read: heads, and the content of bodies, a buffer at a time.
//!
//! Start at [`Source::next`]. Invariant: what has come and belongs to nobody yet stays in the buffer, so the next message
//! of the connection begins with it.

mod undoing;

use crate::io::buffer::{BUFFER_BYTES, Buffer, Pool};
use crate::io::stream::{Reader, is_cancelled};
use crate::live::{Direction, Woken};
use std::io;
use std::ops::Range;
use std::pin::pin;
use tokenist_core::http::body::{BadBody, Body, Framing, Unframed};
use tokenist_core::http::coding::Coding;
use tokenist_core::http::{ResponseHead, head_end, response_head};
use undoing::Undoing;

/// What stands before a chunk fits here, and what a head has on its way down beyond what it had on its way here, so that all
/// leave in one write.
pub(crate) const HEADROOM: usize = 256;

pub(crate) struct Source {
    pub(crate) reader: Reader,
    pub(crate) body: Body,
    buffer: Option<Buffer>,
    /// What has come and was not taken.
    unread: Range<usize>,
    /// What takes the coding off a body.
    undoing: Option<Box<Undoing>>,
}

/// Content on its way, in the buffer that it came in.
pub(crate) struct Portion {
    pub(crate) buffer: Buffer,
    pub(crate) content: Range<usize>,
    /// Up to here the buffer may be written to behind the content.
    pub(crate) free_to: usize,
    /// The body ends with it.
    pub(crate) is_last: bool,
}

/// Why nothing more is read.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The peer has ended its side in the middle of a message, or before it.
    Ended,
    Io(io::Error),
    Malformed(BadBody),
    /// Somebody has called, and wants it to end. Nothing is lost.
    Called,
}

impl Source {
    /// `ahead` is what was read already, in the front of a buffer.
    pub(crate) fn new(reader: Reader, ahead: Option<(Buffer, usize)>, framing: Framing) -> Source {
        let (buffer, filled) = ahead.unzip();
        Source { reader, body: Body::new(framing), buffer, unread: 0..filled.unwrap_or(0), undoing: None }
    }

    /// From now on content comes without the coding it is in, if it is in one.
    pub(crate) fn undo(&mut self, coding: Option<Coding>) {
        self.undoing = coding.map(|coding| Box::new(Undoing::new(coding)));
    }

    /// Whether something has come that was not taken.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether all of the body has come already, so that another message can follow without a wait. It is thrown away.
    pub(crate) fn is_here(&mut self) -> bool {
        self.body.is_done() || !self.unread.is_empty() && self.unframe().is_ok() && self.body.is_done()
    }

    /// The next content, or the end of the body, which may be without any; not to be called behind it.
    pub(crate) async fn next(
        &mut self,
        pool: &Pool,
        direction: &Direction,
        is_over: impl Fn() -> bool,
    ) -> Result<Portion, Lost> {
        let Some(mut undoing) = self.undoing.take() else {
            return self.next_as_it_comes(pool, direction, &is_over).await;
        };
        let next = loop {
            match undoing.next(self, pool) {
                Ok(Some(portion)) => break Ok(portion),
                Ok(None) => {}
                Err(lost) => break Err(lost),
            }
            match self.next_as_it_comes(pool, direction, &is_over).await {
                Ok(portion) => undoing.add(portion),
                Err(lost) => break Err(lost),
            }
        };
        self.undoing = Some(undoing);
        next
    }

    async fn next_as_it_comes(
        &mut self,
        pool: &Pool,
        direction: &Direction,
        is_over: &impl Fn() -> bool,
    ) -> Result<Portion, Lost> {
        loop {
            if self.body.is_done() {
                return self.portion(pool, 0..0);
            }
            if self.unread.is_empty() {
                match self.fill(pool, direction, is_over).await {
                    Err(Lost::Ended) if self.body.may_end() => {
                        self.body = Body::new(Framing::Length(0));
                        continue;
                    }
                    filled => filled?,
                }
            }
            let content = self.unframe().map_err(Lost::Malformed)?;
            if !content.is_empty() || self.body.is_done() {
                return self.portion(pool, content);
            }
        }
    }

    /// The buffer of a portion that has gone on.
    pub(crate) fn give_back(&mut self, buffer: Buffer) {
        if self.undoing.is_none() {
            self.take_back(buffer);
        }
    }

    /// The buffer of a portion as it came.
    fn take_back(&mut self, buffer: Buffer) {
        self.buffer = Some(buffer).filter(|_| !self.unread.is_empty());
    }

    /// Takes what the buffer holds of the body: where its content is.
    fn unframe(&mut self) -> Result<Range<usize>, BadBody> {
        let Some(buffer) = &mut self.buffer else { return Ok(0..0) };
        let start = self.unread.start;
        let Unframed { content, taken } = self.body.unframe(&mut buffer.bytes_mut()[self.unread.clone()])?;
        self.unread.start += taken;
        Ok(start + content.start..start + content.end)
    }

    fn portion(&mut self, pool: &Pool, content: Range<usize>) -> Result<Portion, Lost> {
        let free_to = if self.unread.is_empty() { BUFFER_BYTES } else { self.unread.start };
        // What is unread must not be lost with a portion that needs no room.
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => pool.take().map_err(Lost::Io)?,
        };
        let free_to = if content.is_empty() { 0 } else { free_to };
        Ok(Portion { buffer, content, free_to, is_last: self.body.is_done() })
    }

    /// Reads a head of an answer; those that only say that it will come are passed over.
    pub(crate) async fn answer_head(
        &mut self,
        pool: &Pool,
        direction: &Direction,
        is_over: impl Fn() -> bool,
    ) -> Result<ResponseHead, Lost> {
        let malformed = |_| Lost::Malformed(BadBody("its answer is not HTTP"));
        loop {
            let unread = self.buffer.as_ref().map(|buffer| &buffer.bytes()[self.unread.clone()]);
            let end = head_end(unread.unwrap_or_default()).map_err(malformed)?;
            let Some(end) = end else {
                self.fill(pool, direction, &is_over).await?;
                continue;
            };
            let head = response_head(&unread.unwrap_or_default()[..end]).map_err(malformed)?;
            self.unread.start += end;
            match head.status {
                101 => {
                    return Err(Lost::Malformed(BadBody("it switches to a protocol that nobody asked for")));
                }
                100..200 => {}
                _ => return Ok(head),
            }
        }
    }

    /// Reads something behind what is unread.
    async fn fill(
        &mut self,
        pool: &Pool,
        direction: &Direction,
        is_over: impl Fn() -> bool,
    ) -> Result<(), Lost> {
        // A call is heard once, perhaps by a read that has given something all the same.
        if is_over() {
            return Err(Lost::Called);
        }
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => pool.take().map_err(Lost::Io)?,
        };
        if self.unread.is_empty() {
            self.unread = HEADROOM..HEADROOM;
        }
        let filled = self.unread.end;
        let (result, buffer) = {
            let mut read = pin!(self.reader.read(buffer, filled, direction.cancel_handle()));
            direction.lent.set(true);
            loop {
                match direction.until(read.as_mut()).await {
                    Woken::Read(read) => break read,
                    // It ends the read, which gives the buffer back.
                    Woken::Called if is_over() => direction.release(),
                    Woken::Called => {}
                }
            }
        };
        direction.lent.set(false);
        self.buffer = Some(buffer);
        match result {
            Ok(0) => Err(Lost::Ended),
            Ok(count) => {
                self.unread.end += count;
                Ok(())
            }
            Err(error) if is_cancelled(&error) => Err(Lost::Called),
            Err(error) => Err(Lost::Io(error)),
        }
    }

    /// The connection, with what came behind the last message in the front of a buffer.
    pub(crate) fn into_parts(self) -> (Reader, Option<(Buffer, usize)>) {
        let Source { reader, buffer, unread, .. } = self;
        let ahead = buffer.filter(|_| !unread.is_empty()).map(|mut buffer| {
            buffer.bytes_mut().copy_within(unread.clone(), 0);
            (buffer, unread.len())
        });
        (reader, ahead)
    }
}
