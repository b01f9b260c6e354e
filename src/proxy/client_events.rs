//! A read-only look at what the application sends: how much of it the next response will read.
//!
//! Start at [`Requests::see`]. Invariants: no byte is changed; sound, which is nearly all that passes here, is neither
//! kept nor read but for the first bytes of its event.

use crate::linger::Owed;
use tokenist_core::meter::ClientPeeked;
use tokenist_core::ws::frame::{Header, Opcode, unmask};
use tokenist_core::ws::walk::{Act, Part};

/// What is enough to tell an event's type, and where its sound begins.
const HEAD_BYTES: usize = 256;
/// Of a longer event only the beginning is read; the rest counts by its length.
const EVENT_BYTES_MAX: usize = 1 << 20;

pub(crate) struct Requests<'a> {
    owed: &'a Owed<'a>,
    /// The message under way is sound as it is.
    is_sound: bool,
    /// A message that comes in several frames or parts.
    gathering: Option<Box<Gathering>>,
}

/// What is kept of a message until its end.
#[derive(Default)]
struct Gathering {
    /// Unmasked, as far as it is worth keeping.
    bytes: Vec<u8>,
    message_bytes: u64,
    /// How much of the present frame's payload has been seen: masks go on over its parts.
    frame_bytes: usize,
    peeked: Option<ClientPeeked>,
}

impl<'a> Requests<'a> {
    pub(crate) fn new(owed: &'a Owed<'a>) -> Requests<'a> {
        Requests { owed, is_sound: false, gathering: None }
    }

    /// A part of a message, as it is on the wire, and whether it may go on. One that may not is never completed.
    pub(crate) fn see(&mut self, header: &Header, payload: &[u8], part: Part) -> Act {
        let first = header.opcode != Opcode::Continuation && matches!(part, Part::Whole | Part::First);
        let last = header.fin && matches!(part, Part::Whole | Part::Last);
        if first {
            self.is_sound = header.opcode == Opcode::Binary && self.owed.tap(|tap| tap.hears_binary());
        }
        if self.is_sound {
            self.owed.tap(|tap| tap.hear(payload.len() as u64));
            return Act::Pass;
        }
        if first && last {
            return self.whole(header, payload);
        }
        let mut gathering = match first {
            true => Box::default(),
            false => match self.gathering.take() {
                Some(gathering) => gathering,
                None => return Act::Pass,
            },
        };
        // The length of a message in one frame is known from the start.
        let message_bytes = (first && header.fin).then_some(header.payload_bytes);
        let act = self.gather(&mut gathering, header, payload, part, message_bytes, last);
        self.gathering = (!last).then_some(gathering);
        act
    }

    fn whole(&self, header: &Header, payload: &[u8]) -> Act {
        let mut head = [0; HEAD_BYTES];
        let seen = payload.len().min(HEAD_BYTES);
        head[..seen].copy_from_slice(&payload[..seen]);
        open(&mut head[..seen], header, 0);
        let head = &head[..seen];
        if self.owed.tap(|tap| tap.peek_client(head, payload.len() as u64)) != ClientPeeked::Collect {
            return Act::Pass;
        }
        let mut event = payload.to_vec();
        open(&mut event, header, 0);
        self.owed.tap(|tap| tap.read_client(&event, event.len() as u64))
    }

    fn gather(
        &self,
        gathering: &mut Gathering,
        header: &Header,
        payload: &[u8],
        part: Part,
        message_bytes: Option<u64>,
        last: bool,
    ) -> Act {
        gathering.keep(header, payload, part);
        match gathering.peeked {
            Some(ClientPeeked::Length) => self.owed.tap(|tap| tap.grow_client(payload.len() as u64)),
            Some(ClientPeeked::Pass | ClientPeeked::Collect) => {}
            None if last || gathering.bytes.len() >= HEAD_BYTES => {
                let head = &gathering.bytes[..gathering.bytes.len().min(HEAD_BYTES)];
                let known = message_bytes.unwrap_or(gathering.message_bytes);
                let peeked = match self.owed.tap(|tap| tap.peek_client(head, known)) {
                    // All of it has been counted.
                    ClientPeeked::Length if message_bytes.is_some() => ClientPeeked::Pass,
                    peeked => peeked,
                };
                gathering.peeked = Some(peeked);
            }
            None => {}
        }
        match last && gathering.peeked == Some(ClientPeeked::Collect) {
            true => self.owed.tap(|tap| tap.read_client(&gathering.bytes, gathering.message_bytes)),
            false => Act::Pass,
        }
    }
}

impl Gathering {
    fn keep(&mut self, header: &Header, payload: &[u8], part: Part) {
        if matches!(part, Part::Whole | Part::First) {
            self.frame_bytes = 0;
        }
        let kept_max = match self.peeked {
            None | Some(ClientPeeked::Collect) => EVENT_BYTES_MAX,
            Some(ClientPeeked::Length | ClientPeeked::Pass) => 0,
        };
        let room = kept_max.saturating_sub(self.bytes.len()).min(payload.len());
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&payload[..room]);
        open(&mut self.bytes[from..], header, self.frame_bytes);
        self.frame_bytes += payload.len();
        self.message_bytes += payload.len() as u64;
    }
}

/// Undoes the mask of what stands at `offset` in a frame's payload.
fn open(payload: &mut [u8], header: &Header, offset: usize) {
    if let Some(key) = header.mask {
        unmask(payload, key, offset);
    }
}
