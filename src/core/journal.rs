//! What of the counts is kept beside the ledger until the ledger has them: as bytes, and back.
//!
//! A journal is a file of lanes, each written by one thread alone: a ring of records, one behind the other. A record is
//! known by its position, which only grows; where it stands is that modulo the lane's length. It tells its length, a
//! checksum, its position and what was counted. Start at [`begin`] and [`seal`] for writing, at [`items`] for reading.
//!
//! Invariant: what is read from a position on is what was written there, one after the other, up to the first record
//! that is not whole. What an earlier round of the ring, another lane or another incarnation has left there is not
//! taken for it, and no bytes whatever make reading fail otherwise.

use crate::id::{Identity, KeyHash, Model, SessionId};
use crate::message::{Delta, Log};
use crate::money::NanoUsd;
use crate::time::Timestamp;
use crate::usage::{KINDS, Usage};
use std::sync::Arc;

/// Which lane of which incarnation of a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    pub incarnation: u64,
    pub number: u32,
}

/// Up to which position a lane is meant. What is booked from a lane is booked up to there, without a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upto {
    pub lane: LaneId,
    /// Where the next record begins.
    pub position: u64,
}

/// A call that did not pass through the proxy, with what its application sent of it if it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub delta: Delta,
    pub log: Option<Log>,
    /// By which it is known if it is sent again; empty where that cannot be told.
    pub ids: Vec<Arc<str>>,
}

/// What a record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Of a session.
    Delta(Box<Delta>),
    Call(Box<Call>),
}

/// How a journal's file is laid out, as its first bytes tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Whose journal it is.
    pub ledger: Arc<str>,
    pub incarnation: u64,
    pub lanes: u32,
    pub lane_bytes: u64,
    pub kinds: Kinds,
}

/// Of which kinds a journal's records have the counts, in their order: a journal outlives the table of kinds that it was
/// written by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds(Arc<[usize]>);

/// Why a file's first bytes tell no layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// It was never written whole, or it is something else.
    Damaged,
    /// By a later version of tokenist.
    Newer,
}

/// What a record has before what it tells.
pub const HEAD_BYTES: usize = 16;
/// What a file has before its first lane.
pub const LAYOUT_BYTES: usize = 4096;

const MAGIC: &[u8; 8] = b"tkstjrnl";
const VERSION: u32 = 2;
/// What journals counted that do not tell it.
const KINDS_OF_VERSION_1: [&str; 12] = [
    "text_in",
    "audio_in",
    "image_in",
    "cached_text_in",
    "cached_audio_in",
    "cached_image_in",
    "text_out",
    "audio_out",
    "image_out",
    "reasoning_out",
    "duration_ms",
    "requests",
];
const OF_SESSION: u8 = 1;
const OF_CALL: u8 = 2;

/// Makes `record` an empty one, behind whose head can be written.
pub fn begin(record: &mut Vec<u8>) {
    record.clear();
    record.resize(HEAD_BYTES, 0);
}

/// Gives a record its head, after which it may be written at this position.
pub fn seal(record: &mut [u8], lane: LaneId, position: u64) {
    let (head, payload) = record.split_at_mut(HEAD_BYTES);
    head[..4].copy_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    head[4..8].copy_from_slice(&checksum(lane, position, payload).to_le_bytes());
    head[8..].copy_from_slice(&position.to_le_bytes());
}

/// What of a session was counted.
pub fn write_delta(delta: &Delta, record: &mut Vec<u8>) {
    let mut pen = Pen(record);
    pen.0.push(OF_SESSION);
    pen.delta(delta);
}

/// A call that was counted.
pub fn write_call(call: &Call, record: &mut Vec<u8>) {
    let Call { delta, log, ids } = call;
    let mut pen = Pen(record);
    pen.0.push(OF_CALL);
    pen.delta(delta);
    pen.number(ids.len() as u64);
    ids.iter().for_each(|id| pen.text(id));
    pen.flag(log.is_some());
    if let Some(log) = log {
        pen.log(log);
    }
}

/// What a lane, whose bytes are `ring`, holds from a position on; each with where the next one begins.
pub fn items<'a>(ring: &'a [u8], lane: LaneId, from: u64, kinds: &'a Kinds) -> Items<'a> {
    Items { ring, lane, position: from, kinds, payload: Vec::new() }
}

#[derive(Debug)]
pub struct Items<'a> {
    ring: &'a [u8],
    lane: LaneId,
    position: u64,
    kinds: &'a Kinds,
    payload: Vec<u8>,
}

impl Iterator for Items<'_> {
    type Item = (Item, Upto);

    fn next(&mut self) -> Option<(Item, Upto)> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        copy(self.ring, self.position, HEAD_BYTES, &mut head)?;
        let (length, rest) = head.split_first_chunk::<4>()?;
        let (sum, position) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if position != self.position.to_le_bytes() {
            return None;
        }
        let behind = self.position.checked_add(HEAD_BYTES as u64)?;
        copy(self.ring, behind, length, &mut self.payload)?;
        if checksum(self.lane, self.position, &self.payload) != u32::from_le_bytes(*sum) {
            return None;
        }
        let item = Eye(&self.payload).item(self.kinds)?;
        self.position = behind.checked_add(length as u64)?;
        Some((item, Upto { lane: self.lane, position: self.position }))
    }
}

/// So many bytes of a ring from a position on. `None`: more than a record can have.
fn copy(ring: &[u8], position: u64, count: usize, into: &mut Vec<u8>) -> Option<()> {
    into.clear();
    if ring.is_empty() || count > ring.len() {
        return None;
    }
    let start = usize::try_from(position % ring.len() as u64).ok()?;
    let first = count.min(ring.len() - start);
    into.extend_from_slice(&ring[start..start + first]);
    into.extend_from_slice(&ring[..count - first]);
    Some(())
}

fn checksum(lane: LaneId, position: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&lane.incarnation.to_le_bytes());
    hasher.update(&lane.number.to_le_bytes());
    hasher.update(&position.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

impl Kinds {
    /// What records are written with.
    pub fn present() -> Kinds {
        Kinds((0..KINDS.len()).collect())
    }

    /// `None`: one of them is not in the table, so it is of a later one.
    fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Kinds> {
        let index = |name| KINDS.iter().position(|kind| *kind == name);
        names.into_iter().map(index).collect::<Option<_>>().map(Kinds)
    }

    fn names(&self) -> impl ExactSizeIterator<Item = &'static str> {
        self.0.iter().map(|&index| KINDS[index])
    }
}

impl Layout {
    /// Where a lane begins in the file.
    pub fn start(&self, lane: u32) -> u64 {
        LAYOUT_BYTES as u64 + u64::from(lane) * self.lane_bytes
    }

    /// How long the file is.
    pub fn file_bytes(&self) -> u64 {
        self.start(self.lanes)
    }

    /// The file's first [`LAYOUT_BYTES`].
    pub fn write(&self) -> Vec<u8> {
        let Layout { ledger, incarnation, lanes, lane_bytes, kinds } = self;
        let mut bytes = Vec::with_capacity(LAYOUT_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let mut pen = Pen(&mut bytes);
        pen.text(ledger);
        pen.number(*incarnation);
        pen.number(u64::from(*lanes));
        pen.number(*lane_bytes);
        pen.number(kinds.names().len() as u64);
        kinds.names().for_each(|kind| pen.text(kind));
        bytes.resize(LAYOUT_BYTES - 4, 0);
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads what [`Layout::write`] writes.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(bytes: &[u8]) -> Result<Layout, LayoutError> {
        let Some((body, sum)) = bytes.get(..LAYOUT_BYTES).and_then(<[u8]>::split_last_chunk::<4>) else {
            return Err(LayoutError::Damaged);
        };
        let behind = body.strip_prefix(MAGIC).ok_or(LayoutError::Damaged)?;
        let (version, rest) = behind.split_first_chunk::<4>().ok_or(LayoutError::Damaged)?;
        if crc32fast::hash(body).to_le_bytes() != *sum {
            return Err(LayoutError::Damaged);
        }
        let version = u32::from_le_bytes(*version);
        if !(1..=VERSION).contains(&version) {
            return Err(LayoutError::Newer);
        }
        let (layout, names) = Eye(rest).layout(version).ok_or(LayoutError::Damaged)?;
        let kinds = Kinds::named(names).ok_or(LayoutError::Newer)?;
        Ok(Layout { kinds, ..layout })
    }
}

/// Writes values one behind the other: numbers in seven bits a byte, the lowest first; texts behind their length.
struct Pen<'a>(&'a mut Vec<u8>);

impl Pen<'_> {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Small ones of either sign are short.
    fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    fn flag(&mut self, flag: bool) {
        self.0.push(flag.into());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn usage(&mut self, usage: &Usage) {
        usage.counts().into_iter().for_each(|count| self.number(count));
    }

    fn identity(&mut self, identity: &Identity) {
        let Identity { user, org, feature, conversation, email, name, key } = identity;
        self.text(user.as_str());
        self.maybe(org.as_ref(), |pen, org| pen.text(org.as_str()));
        self.maybe(feature.as_ref(), |pen, feature| pen.text(feature.as_str()));
        for text in [conversation, email, name] {
            self.maybe(text.as_ref(), |pen, text| pen.text(text));
        }
        self.maybe(key.as_ref(), |pen, key| pen.0.extend_from_slice(&key.0));
    }

    fn delta(&mut self, delta: &Delta) {
        let Delta { at, session, identity, provider, model, usage, cost, estimated, latency_ms } = delta;
        self.number(at.0);
        self.0.extend_from_slice(&session.0.to_le_bytes());
        self.identity(identity);
        self.text(provider);
        self.text(model.as_str());
        self.usage(usage);
        self.signed(cost.0);
        self.flag(*estimated);
        self.maybe(*latency_ms, Pen::number);
    }

    fn log(&mut self, log: &Log) {
        let Log { id, at, identity, model, request, response, status, latency_ms, usage } = log;
        self.text(id);
        self.number(at.0);
        self.identity(identity);
        self.text(model.as_str());
        self.maybe(request.as_ref(), |pen, request| pen.text(request));
        self.maybe(response.as_ref(), |pen, response| pen.text(response));
        self.text(status);
        self.maybe(*latency_ms, Pen::number);
        self.maybe(usage.as_ref(), |pen, (usage, cost)| {
            pen.usage(usage);
            pen.signed(cost.0);
        });
    }
}

/// Reads what a [`Pen`] writes; `None` where that cannot be.
struct Eye<'a>(&'a [u8]);

impl<'a> Eye<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        self.number().map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn maybe<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    fn shared(&mut self) -> Option<Arc<str>> {
        self.text().map(Arc::from)
    }

    fn usage(&mut self, kinds: &Kinds) -> Option<Usage> {
        let mut counts = [0; KINDS.len()];
        for &kind in &*kinds.0 {
            counts[kind] = self.number()?;
        }
        Some(Usage::of(counts))
    }

    fn identity(&mut self) -> Option<Identity> {
        Some(Identity {
            user: self.text()?.into(),
            org: self.maybe(Eye::text)?.map(Into::into),
            feature: self.maybe(Eye::text)?.map(Into::into),
            conversation: self.maybe(Eye::shared)?,
            email: self.maybe(Eye::shared)?,
            name: self.maybe(Eye::shared)?,
            key: self.maybe(|eye| eye.bytes().map(KeyHash))?,
        })
    }

    fn delta(&mut self, kinds: &Kinds) -> Option<Delta> {
        Some(Delta {
            at: Timestamp(self.number()?),
            session: SessionId(u64::from_le_bytes(self.bytes()?)),
            identity: Arc::new(self.identity()?),
            provider: self.shared()?,
            model: Model::from(self.text()?),
            usage: self.usage(kinds)?,
            cost: NanoUsd(self.signed()?),
            estimated: self.flag()?,
            latency_ms: self.maybe(Eye::number)?,
        })
    }

    fn log(&mut self, kinds: &Kinds) -> Option<Log> {
        Some(Log {
            id: self.shared()?,
            at: Timestamp(self.number()?),
            identity: Arc::new(self.identity()?),
            model: Model::from(self.text()?),
            request: self.maybe(Eye::shared)?,
            response: self.maybe(Eye::shared)?,
            status: self.shared()?,
            latency_ms: self.maybe(Eye::number)?,
            usage: self.maybe(|eye| Some((eye.usage(kinds)?, NanoUsd(eye.signed()?))))?,
        })
    }

    fn item(&mut self, kinds: &Kinds) -> Option<Item> {
        let item = match self.byte()? {
            OF_SESSION => Item::Delta(Box::new(self.delta(kinds)?)),
            OF_CALL => {
                let delta = self.delta(kinds)?;
                let count = self.number()?;
                let ids = (0..count).map(|_| self.shared()).collect::<Option<_>>()?;
                Item::Call(Box::new(Call { delta, ids, log: self.maybe(|eye| eye.log(kinds))? }))
            }
            _ => return None,
        };
        self.0.is_empty().then_some(item)
    }

    /// A layout of a version, but for its kinds, which are told by name.
    fn layout(&mut self, version: u32) -> Option<(Layout, Vec<&'a str>)> {
        let layout = Layout {
            ledger: self.shared()?,
            incarnation: self.number()?,
            lanes: u32::try_from(self.number()?).ok()?,
            lane_bytes: self.number()?,
            kinds: Kinds::present(),
        };
        let names = match version {
            1 => KINDS_OF_VERSION_1.into(),
            _ => (0..self.number()?).map(|_| self.text()).collect::<Option<_>>()?,
        };
        Some((layout, names))
    }
}

#[cfg(test)]
mod tests;
