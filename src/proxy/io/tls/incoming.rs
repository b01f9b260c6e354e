//! The reading half: records become plaintext.
//!
//! Start at [`TlsReader::take`]. Invariant: what the socket gave is in a buffer of this half, in the reader's, or was
//! handed out, so a read that is cancelled loses nothing. [`Incoming`] is pure.

use super::record::{self, Fault, Opener, malformed, unexpected};
use super::{Shared, invalid};
use crate::io::buffer::{BUFFER_BYTES, Buffer, Pool, Unfilled};
use crate::io::tcp;
use monoio::io::OwnedReadHalf;
use monoio::net::TcpStream;
use rustls::{AlertDescription, ContentType, HandshakeType};
use std::io;
use std::ops::Range;
use std::rc::Rc;

/// Records in a row that carry nothing for the reader; a peer that sends more is up to something.
const VAIN_MAX: u32 = 32;
/// The longest handshake message, as rustls bounds it.
const MESSAGE_MAX: usize = 0xffff;

pub(crate) struct TlsReader {
    pub(crate) raw: OwnedReadHalf<TcpStream>,
    incoming: Incoming,
}

/// What has come of a connection and was not handed out.
pub(super) struct Incoming {
    opener: Opener,
    pool: Pool,
    /// Records that are not opened, the last of them perhaps in part.
    cipher: Option<(Buffer, Range<usize>)>,
    /// What was opened beyond the room that there was.
    plain: Option<(Buffer, Range<usize>)>,
    /// How long the last record was. Where all are as long, reads end with one, and no part of one is to be moved.
    record_bytes: usize,
    control: Control,
    /// Nothing more can be understood.
    fault: Option<Fault>,
}

/// What a connection says about itself.
struct Control {
    shared: Rc<Shared>,
    /// The peer has said that it sends no more.
    is_closed: bool,
    /// A handshake message of which not all has come.
    message: Vec<u8>,
    vain: u32,
}

impl TlsReader {
    pub(super) fn new(raw: OwnedReadHalf<TcpStream>, incoming: Incoming) -> TlsReader {
        TlsReader { raw, incoming }
    }

    /// What has come and is opened, moved into `room`; `None` if the socket has to give more first.
    pub(crate) fn take(&mut self, room: &mut [u8]) -> Option<io::Result<usize>> {
        match self.incoming.take(room) {
            Ok(0) if !self.incoming.is_closed() => None,
            taken => Some(taken.map_err(invalid)),
        }
    }

    /// Where the socket puts what comes next, to be given back by [`TlsReader::received`].
    pub(crate) fn room(&mut self) -> io::Result<Unfilled> {
        self.incoming.room()
    }

    pub(crate) fn received(&mut self, room: Unfilled, count: usize) {
        let filled = room.filled() + count;
        self.incoming.received(room.buffer, filled);
    }

    /// Waits until a read would give something, without a buffer.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.incoming.is_ready() { Ok(()) } else { tcp::readable(&self.raw).await }
    }
}

impl Incoming {
    /// `rest` is what came behind the handshake.
    pub(super) fn new(opener: Opener, shared: Rc<Shared>, pool: Pool, rest: (Buffer, usize)) -> Incoming {
        let control = Control { shared, is_closed: false, message: Vec::new(), vain: 0 };
        let mut incoming =
            Incoming { opener, pool, cipher: None, plain: None, record_bytes: 1, control, fault: None };
        incoming.received(rest.0, rest.1);
        incoming
    }

    /// Where to put what comes next. It is given back by [`Incoming::received`].
    pub(super) fn room(&mut self) -> io::Result<Unfilled> {
        let (mut buffer, range) = match self.cipher.take() {
            Some(part) => part,
            None => (self.pool.take()?, 0..0),
        };
        if range.start > 0 {
            buffer.bytes_mut().copy_within(range.clone(), 0);
        }
        let end = BUFFER_BYTES - BUFFER_BYTES % self.record_bytes;
        debug_assert!(range.len() < end, "a record fits a buffer more than twice");
        Ok(Unfilled::new(buffer, range.len(), end))
    }

    pub(super) fn received(&mut self, buffer: Buffer, filled: usize) {
        self.cipher = Some((buffer, 0..filled)).filter(|_| filled > 0);
    }

    /// The peer has said that it sends no more.
    pub(super) fn is_closed(&self) -> bool {
        self.control.is_closed
    }

    /// Whether [`Incoming::take`] has something to say.
    fn is_ready(&self) -> bool {
        let whole = || {
            self.cipher.as_ref().is_some_and(|(buffer, range)| {
                !matches!(record::whole(&buffer.bytes()[range.clone()]), Ok(None))
            })
        };
        self.plain.is_some() || self.is_closed() || self.fault.is_some() || whole()
    }

    /// Fills `room`, which is not empty, with as much plaintext as is there. Nothing: more has to come, or no more will.
    pub(super) fn take(&mut self, room: &mut [u8]) -> Result<usize, Fault> {
        let mut taken = self.take_opened(room);
        while taken < room.len() && !self.is_closed() && self.fault.is_none() {
            match self.open_next(&mut room[taken..], taken == 0) {
                Ok(Some(count)) => taken += count,
                Ok(None) => break,
                Err(fault) => self.fail(fault),
            }
        }
        match self.fault {
            Some(fault) if taken == 0 => Err(fault),
            _ => Ok(taken),
        }
    }

    fn fail(&mut self, fault: Fault) {
        if let Fault::Broken(alert, _) = fault {
            self.control.shared.alert.set(Some(alert));
        }
        self.fault = Some(fault);
    }

    /// Takes of what was opened before.
    fn take_opened(&mut self, room: &mut [u8]) -> usize {
        let Some((buffer, range)) = &mut self.plain else { return 0 };
        let count = range.len().min(room.len());
        room[..count].copy_from_slice(&buffer.bytes()[range.start..range.start + count]);
        range.start += count;
        if range.start == range.end {
            self.plain = None;
        }
        count
    }

    /// Opens the next record, if it is whole: how much of it is in `room` now. One that does not fit there is opened
    /// beside it if it `must`.
    fn open_next(&mut self, room: &mut [u8], must: bool) -> Result<Option<usize>, Fault> {
        let Some((buffer, range)) = &mut self.cipher else { return Ok(None) };
        let bytes = &buffer.bytes()[range.clone()];
        let Some(record_bytes) = record::whole(bytes)? else { return Ok(None) };
        let needed = self.opener.room_bytes(record_bytes);
        if needed > room.len() && !must {
            return Ok(None);
        }
        let mut beside = match needed > room.len() {
            true => Some(self.pool.take().map_err(|_| no_memory())?),
            false => None,
        };
        let place = beside.as_mut().map_or(&mut *room, Buffer::bytes_mut);
        let (kind, count) = self.opener.open(&bytes[..record_bytes], place)?;
        self.record_bytes = record_bytes;
        range.start += record_bytes;
        let is_spent = range.start == range.end;
        let is_data = self.control.hear(kind, &place[..count], &mut self.opener)?;
        if is_spent {
            self.cipher = None;
        }
        self.plain = beside.filter(|_| is_data && count > 0).map(|buffer| (buffer, 0..count));
        Ok(Some(match &self.plain {
            Some(_) => self.take_opened(room),
            None if is_data => count,
            None => 0,
        }))
    }
}

fn no_memory() -> Fault {
    Fault::Broken(AlertDescription::InternalError, "there is no memory to open a TLS record")
}

impl Control {
    /// Whether a record is data. What else it may be is done here.
    fn hear(&mut self, kind: ContentType, said: &[u8], opener: &mut Opener) -> Result<bool, Fault> {
        let is_data = kind == ContentType::ApplicationData;
        self.vain = if is_data && !said.is_empty() { 0 } else { self.vain + 1 };
        if self.vain > VAIN_MAX {
            return Err(unexpected("it sends TLS records that say nothing"));
        }
        match kind {
            ContentType::ApplicationData if self.message.is_empty() => Ok(true),
            ContentType::Alert => self.hear_alert(said, opener.is_tls13()).map(|()| false),
            ContentType::Handshake => {
                self.message.extend_from_slice(said);
                self.hear_messages(opener).map(|()| false)
            }
            _ => Err(unexpected("it sent a TLS record out of place")),
        }
    }

    fn hear_alert(&mut self, said: &[u8], is_tls13: bool) -> Result<(), Fault> {
        const WARNING: u8 = 1;
        let &[level, alert] = said else { return Err(malformed("it sent a malformed TLS alert")) };
        match AlertDescription::from(alert) {
            AlertDescription::CloseNotify => self.is_closed = true,
            AlertDescription::UserCanceled => {}
            _ if level == WARNING && !is_tls13 => {}
            alert => return Err(Fault::Alerted(alert)),
        }
        Ok(())
    }

    fn hear_messages(&mut self, opener: &mut Opener) -> Result<(), Fault> {
        let mut message = std::mem::take(&mut self.message);
        let mut rest = &message[..];
        while let Some((&[kind, a, b, c], behind)) = rest.split_first_chunk() {
            let bytes = u32::from_be_bytes([0, a, b, c]) as usize;
            if bytes > MESSAGE_MAX {
                return Err(malformed("it sent a handshake message too long"));
            }
            let Some((body, behind)) = behind.split_at_checked(bytes) else { break };
            self.hear_message(HandshakeType::from(kind), body, behind.is_empty(), opener)?;
            rest = behind;
        }
        let done = message.len() - rest.len();
        message.drain(..done);
        // Nothing is kept of an idle connection.
        self.message = if message.is_empty() { Vec::new() } else { message };
        Ok(())
    }

    fn hear_message(
        &mut self,
        kind: HandshakeType,
        body: &[u8],
        is_last: bool,
        opener: &mut Opener,
    ) -> Result<(), Fault> {
        let mut schedule = self.shared.schedule.borrow_mut();
        match (kind, opener.is_tls13()) {
            (HandshakeType::NewSessionTicket, true) => schedule.keep_ticket(body),
            (HandshakeType::KeyUpdate, true) => {
                let (&[asks @ (0 | 1)], true) = (body, is_last) else {
                    return Err(malformed("it sent a malformed key update"));
                };
                opener.renew(schedule.next_to_receive().map_err(|_| unexpected("it has no more keys"))?);
                if asks == 1 {
                    self.shared.asked_for_keys.set(true);
                }
                Ok(())
            }
            // A client may ignore that it is asked for another handshake (RFC 5246 §7.4.1.1).
            (HandshakeType::HelloRequest, false) => Ok(()),
            _ => Err(unexpected("it sent a handshake message out of place")),
        }
    }
}
