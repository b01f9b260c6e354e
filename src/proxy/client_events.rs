//! A read-only look at what the application sends: its close, and how much of it the next response will read.
//!
//! Start at [`ClientObserver`]. Invariants: no byte is changed; sound, which is nearly all that passes here, is neither
//! kept nor read but for the first bytes of its event.

use crate::behind_sound::BehindSound;
use crate::environment::{Environment, System};
use crate::linger::Owed;
use crate::live::Live;
use crate::pings::PING;
use crate::shard::Shard;
use crate::tap::Tap;
use crate::tokens::{Binding, beyond};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::doubt::{Doubt, Keys, Scan};
use tokenist_core::meter::ClientPeeked;
use tokenist_core::metric::Metric;
use tokenist_core::ws::frame::{Header, Opcode, unmask};
use tokenist_core::ws::walk::{Act, Part, Visit};

/// What is enough to tell an event's type, and where its sound begins.
const HEAD_BYTES: usize = 256;
/// Of a longer event only the beginning is read; the rest counts by its length.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// A look at what the application sends: our own pongs, its close, and what its events add to the next response.
#[derive(Debug)]
pub struct ClientObserver<'a, E = System> {
    shard: &'a Shard<E>,
    live: &'a Live,
    owed: &'a Owed<'a, E>,
    requests: Requests<'a, E>,
}

impl<'a, E: Environment> ClientObserver<'a, E> {
    pub fn new(shard: &'a Shard<E>, live: &'a Live, owed: &'a Owed<'a, E>) -> ClientObserver<'a, E> {
        ClientObserver { shard, live, owed, requests: Requests::new(live, owed) }
    }
}

impl<E: Environment> Visit for ClientObserver<'_, E> {
    /// A client's reason is the client's.
    fn blot(&mut self, _: &mut [u8]) {}

    fn visit(&mut self, header: &Header, payload: &[u8], part: Part) -> Act {
        match header.opcode {
            Opcode::Pong if is_ours(header, payload) => return Act::Swallow,
            Opcode::Close => {
                self.live.leaving.set(true);
                if self.live.close_code.get().is_none() {
                    let mut code = [0; 2];
                    if let (Some(bytes), Some(key)) = (payload.get(..2), header.mask) {
                        code.copy_from_slice(bytes);
                        unmask(&mut code, key, 0);
                        self.live.close_code.set(Some(u16::from_be_bytes(code)));
                    }
                }
                if self.owed.begin() {
                    // It would end what is under way without a figure, so the provider is told later.
                    let mut close = payload.to_vec();
                    unmask(&mut close, header.mask.unwrap_or_default(), 0);
                    self.live.held_close.replace(Some(close.into()));
                    self.live.end_by(self.shard.now().plus_ms(self.shard.config.close_ms));
                    return Act::StopBefore;
                }
            }
            Opcode::Ping | Opcode::Pong => {}
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                self.live.active_at.set(self.shard.now());
                let act = self.requests.see(header, payload, part);
                if let Some(reason) = self.requests.refused.take() {
                    self.shard.end(self.live, reason);
                    return Act::Break;
                }
                self.owed.tap(Tap::elapse);
                if act != Act::Pass {
                    return act;
                }
                if header.fin && matches!(part, Part::Whole | Part::Last) {
                    self.shard.counters.add(Metric::MessagesUpstream, 1);
                }
            }
        }
        Act::Pass
    }
}

fn is_ours(header: &Header, payload: &[u8]) -> bool {
    let Some(key) = header.mask else { return payload == PING };
    let mut payload = payload.to_vec();
    unmask(&mut payload, key, 0);
    payload == PING
}

#[derive(Debug)]
struct Requests<'a, E> {
    owed: &'a Owed<'a, E>,
    /// What binds the page's events, all of which are read then.
    token: Option<&'a Binding>,
    /// By what an event is judged.
    deciding: Keys,
    /// By what one is judged that begins as sound.
    behind_sound: Keys,
    /// Why the event that was seen last may not go on.
    refused: Option<CloseReason>,
    /// The message under way is sound as it is.
    is_sound: bool,
    /// A message that comes in several frames or parts.
    gathering: Option<Box<Gathering>>,
}

/// What is kept of a message until its end.
#[derive(Debug, Default)]
struct Gathering {
    /// Unmasked, as far as it is worth keeping.
    bytes: Vec<u8>,
    message_bytes: u64,
    /// How much of the present frame's payload has been seen: masks go on over its parts.
    frame_bytes: usize,
    peeked: Option<ClientPeeked>,
    /// Looks at all of it, as long as it may be judged.
    scan: Option<Scan>,
    /// Looks at what stands behind the sound that it begins with.
    behind_sound: Option<BehindSound>,
}

impl<'a, E: Environment> Requests<'a, E> {
    fn new(live: &'a Live, owed: &'a Owed<'a, E>) -> Requests<'a, E> {
        let token = live.token.get().map(|token| &**token).filter(|token| token.bounds.is_some());
        let (deciding, behind_sound) = owed.tap(|tap| (tap.deciding(), tap.deciding_behind_sound()));
        Requests { owed, token, deciding, behind_sound, refused: None, is_sound: false, gathering: None }
    }

    /// A part of a message, as it is on the wire, and whether it may go on. One that may not is never completed.
    fn see(&mut self, header: &Header, payload: &[u8], part: Part) -> Act {
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
            true => Box::new(Gathering { scan: self.scan(), ..Gathering::default() }),
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

    fn whole(&mut self, header: &Header, payload: &[u8]) -> Act {
        if let Some(token) = self.token {
            let mut event = payload.to_vec();
            open(&mut event, header, 0);
            self.refused = token.refuses(&event);
            if self.refused.is_some() {
                return Act::Break;
            }
        }
        let mut head = [0; HEAD_BYTES];
        let seen = payload.len().min(HEAD_BYTES);
        head[..seen].copy_from_slice(&payload[..seen]);
        open(&mut head[..seen], header, 0);
        let head = &head[..seen];
        if self.owed.tap(|tap| tap.peek_client(head, payload.len() as u64)) != ClientPeeked::Collect {
            let Some(mut behind) = self.behind_sound(head) else { return Act::Pass };
            behind.read(&payload[seen..], header.mask.unwrap_or_default(), seen);
            return self.judge_sound(behind);
        }
        let mut event = payload.to_vec();
        open(&mut event, header, 0);
        let judged = self.deciding.check(&event);
        self.read(&event, event.len() as u64, judged)
    }

    /// What looks at an event that comes in parts; `None` where none is judged.
    fn scan(&self) -> Option<Scan> {
        (!self.deciding.is_empty()).then(|| Scan::of(self.deciding.clone()))
    }

    /// What looks at an event that begins as sound, if that is judged.
    fn behind_sound(&self, head: &[u8]) -> Option<BehindSound> {
        (!self.behind_sound.is_empty()).then(|| BehindSound::new(&self.behind_sound, head, EVENT_BYTES_MAX))
    }

    /// An event that began as sound is whole: it is read if it is something else as well.
    fn judge_sound(&mut self, behind: BehindSound) -> Act {
        match behind.end() {
            Ok(event) if self.owed.tap(|tap| tap.hear_behind_sound(&event)) => Act::Pass,
            Ok(event) => self.read(&event, event.len() as u64, Ok(())),
            Err(doubt) => self.read(&[], 0, Err(doubt)),
        }
    }

    /// An event of which nothing is in doubt, or may not go on.
    fn read(&mut self, event: &[u8], event_bytes: u64, judged: Result<(), Doubt>) -> Act {
        if let Err(doubt) = judged {
            self.refused = Some(CloseReason::Ambiguous { what: doubt.to_string() });
            return Act::Break;
        }
        self.owed.tap(|tap| tap.read_client(event, event_bytes))
    }

    fn gather(
        &mut self,
        gathering: &mut Gathering,
        header: &Header,
        payload: &[u8],
        part: Part,
        message_bytes: Option<u64>,
        last: bool,
    ) -> Act {
        gathering.keep(header, payload, part, self.token.is_some());
        if let Some(token) = self.token.filter(|_| last) {
            let is_whole = gathering.bytes.len() as u64 == gathering.message_bytes;
            let long = || beyond(format!("an event of it has {EVENT_BYTES_MAX} bytes at most"));
            self.refused = if is_whole { token.refuses(&gathering.bytes) } else { Some(long()) };
            if self.refused.is_some() {
                return Act::Break;
            }
        }
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
                gathering.behind_sound = match peeked {
                    ClientPeeked::Length | ClientPeeked::Pass => self.behind_sound(head),
                    ClientPeeked::Collect => None,
                };
                let rest = &gathering.bytes[head.len()..];
                gathering.behind_sound.iter_mut().for_each(|behind| behind.read(rest, [0; 4], 0));
                gathering.peeked = Some(peeked);
            }
            None => {}
        }
        match gathering.peeked {
            Some(ClientPeeked::Collect) if last => {
                let judged = gathering.scan.take().map_or(Ok(()), Scan::end);
                self.read(&gathering.bytes, gathering.message_bytes, judged)
            }
            _ if last => gathering.behind_sound.take().map_or(Act::Pass, |behind| self.judge_sound(behind)),
            _ => Act::Pass,
        }
    }
}

impl Gathering {
    fn keep(&mut self, header: &Header, payload: &[u8], part: Part, all: bool) {
        if matches!(part, Part::Whole | Part::First) {
            self.frame_bytes = 0;
        }
        let kept_max = match self.peeked {
            None | Some(ClientPeeked::Collect) => EVENT_BYTES_MAX,
            Some(ClientPeeked::Length | ClientPeeked::Pass) if all => EVENT_BYTES_MAX,
            Some(ClientPeeked::Length | ClientPeeked::Pass) => 0,
        };
        let room = kept_max.saturating_sub(self.bytes.len()).min(payload.len());
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&payload[..room]);
        open(&mut self.bytes[from..], header, self.frame_bytes);
        match &mut self.scan {
            Some(_) if matches!(self.peeked, Some(ClientPeeked::Length | ClientPeeked::Pass)) => {
                self.scan = None
            }
            Some(scan) => {
                scan.read(&self.bytes[from..]);
                let mut rest = payload[room..].to_vec();
                open(&mut rest, header, self.frame_bytes + room);
                scan.read(&rest);
            }
            None => {}
        }
        if let Some(behind) = &mut self.behind_sound {
            behind.read(payload, header.mask.unwrap_or_default(), self.frame_bytes);
        }
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
