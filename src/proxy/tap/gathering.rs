//! Messages that come in several frames or parts: what is kept of one until its end, and when it is read.

use super::Tap;
use crate::environment::Environment;
use tokenist_core::abridged::Abridged;
use tokenist_core::dialect::Rest;
use tokenist_core::meter::Peeked;
use tokenist_core::metric::Metric;
use tokenist_core::ws::frame::{Header, Opcode};
use tokenist_core::ws::walk::{Act, HEAD_BYTES, Part};

/// What is kept at most of an event that comes in parts: of a longer one its long texts are cut short. One that should carry usage, and
/// is too long even so, counts as unmetered.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// What is kept of a message until its end.
pub(super) struct Gathering {
    /// The message so far, as long as it is worth keeping and no longer than an event is kept.
    bytes: Vec<u8>,
    /// The same of a longer one.
    abridged: Option<Abridged>,
    message_bytes: u64,
    wanted: Wanted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Not enough has come to tell.
    Unsure,
    /// To be read when it is whole.
    Whole,
    /// Only how long it gets: a piece of output whose length no header told.
    Length,
    Nothing,
}

impl Gathering {
    fn keep(&mut self, part: &[u8]) {
        self.message_bytes += part.len() as u64;
        if matches!(self.wanted, Wanted::Length | Wanted::Nothing) {
            return;
        }
        if self.abridged.is_none() && self.bytes.len() + part.len() > EVENT_BYTES_MAX {
            let mut abridged = Abridged::new(EVENT_BYTES_MAX);
            abridged.read(&std::mem::take(&mut self.bytes));
            self.abridged = Some(abridged);
        }
        match &mut self.abridged {
            Some(abridged) => abridged.read(part),
            None => self.bytes.extend_from_slice(part),
        }
    }
}

impl<E: Environment> Tap<E> {
    /// A message that comes in more than one part begins. A large frame's header tells its length; that of a
    /// fragmented message is not known before its end.
    fn begin(&mut self, header: &Header, payload: &[u8]) {
        let message_bytes = header.fin.then_some(header.payload_bytes);
        let gathering =
            Gathering { bytes: Vec::new(), abridged: None, message_bytes: 0, wanted: Wanted::Unsure };
        let mut gathering = Box::new(gathering);
        self.gather(&mut gathering, payload, message_bytes, false);
        self.gathering = Some(gathering);
    }

    /// Takes the next part of a message. What it charges may end the session, but never inside the message.
    fn gather(&mut self, gathering: &mut Gathering, part: &[u8], message_bytes: Option<u64>, last: bool) {
        gathering.keep(part);
        if gathering.wanted == Wanted::Length {
            let charge = self.meter.grow(part.len() as u64);
            self.charge(charge);
        }
        if gathering.wanted == Wanted::Unsure && (last || gathering.bytes.len() >= HEAD_BYTES) {
            let rest = match message_bytes.map(|bytes| bytes.saturating_sub(gathering.message_bytes)) {
                Some(0) => Rest::Nothing,
                Some(bytes) => Rest::Bytes(bytes),
                None if last => Rest::Nothing,
                None => Rest::Unknown,
            };
            gathering.wanted = match self.peek(&gathering.bytes, rest) {
                Peeked::Pass => Wanted::Nothing,
                Peeked::Collect => Wanted::Whole,
                Peeked::Charge(charge) => {
                    self.charge(charge);
                    if message_bytes.is_some() { Wanted::Nothing } else { Wanted::Length }
                }
            };
        }
        if last && gathering.wanted == Wanted::Whole {
            match gathering.abridged.as_ref().map(Abridged::kept) {
                None => {
                    self.read(&gathering.bytes);
                }
                Some((event, true)) => {
                    self.read(event);
                }
                Some((beginning, false)) => self.unmetered(beginning),
            }
        }
    }

    /// An event that should be read but is too long to keep. Its beginning may still tell which response is over.
    fn unmetered(&mut self, beginning: &[u8]) {
        tracing::warn!(session = %self.live.id(), bytes_max = EVENT_BYTES_MAX, "an event is too long to be metered");
        let head = &beginning[..beginning.len().min(HEAD_BYTES)];
        let reading = self.meter.unmetered(head, &self.shard.prices.load(), self.now);
        self.book(reading);
        self.judge_model();
    }

    pub(super) fn data(&mut self, header: &Header, payload: &[u8], part: Part) -> Act {
        let first = header.opcode != Opcode::Continuation && matches!(part, Part::Whole | Part::First);
        let last = header.fin && matches!(part, Part::Whole | Part::Last);
        if first {
            match self.may_begin() {
                // The rest is seen only to be counted.
                Act::Pass => {}
                stop if last => {
                    self.shard.counters.add(Metric::EventsWithheld, 1);
                    self.event(payload);
                    return stop;
                }
                stop => {
                    self.begin(header, payload);
                    return stop;
                }
            }
            if last {
                return self.event(payload);
            }
            self.begin(header, payload);
            return Act::Pass;
        }
        let Some(mut gathering) = self.gathering.take() else { return Act::Pass };
        self.gather(&mut gathering, payload, None, last);
        match (last, self.live.is_ending()) {
            (false, _) => {
                self.gathering = Some(gathering);
                Act::Pass
            }
            // Its first part went before the session began to end, so it is completed, and is the last.
            (true, true) => Act::StopAfter,
            (true, false) => Act::Pass,
        }
    }
}
