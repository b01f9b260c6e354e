//! A request's way up: over a connection that is there already or a new one, with one key or the next.
//!
//! What is sent again is a request of which nothing came back, on a connection that its provider had closed meanwhile, or
//! one that the provider has refused for its key. Its body has to be whole, and no byte of an answer may have gone down.

use super::answer::Answered;
use super::outlet::Outlet;
use super::source::{Lost, Source};
use super::upload::Held;
use super::{Client, Exchange, Failed, words};
use crate::dial;
use crate::io::shut_down::ShutdownHandle;
use crate::io::stream::Writer;
use crate::keys::is_about_key;
use crate::upstreams::Upstream;
use std::io;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::ResponseHead;
use tokenist_core::http::body::{BadBody, Framing};
use tokenist_core::metric::Metric;
use tokenist_core::time::Instant;

/// A provider that had closed a kept connection tells so when it is sent something; one that takes longer has read it.
const CLOSED_BEFORE_MS: u64 = 250;
/// So much of a body is sent at once; a provider that takes no more of a longer one may have answered.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// A connection to the provider on which a request may go.
struct Line<'a> {
    /// Before the connection, so that nobody shuts down what may be another one by then.
    armed: Armed<'a>,
    source: Source,
    writer: Writer,
    /// It has served nothing before.
    is_new: bool,
}

/// The exchange ends a connection as long as this is held.
struct Armed<'a>(&'a ShutdownHandle);

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.0.disarm();
    }
}

impl Exchange<'_> {
    /// Asks with a body that is all there.
    pub(super) async fn ask_with_all(&self, client: &mut Client, held: &Held) -> Answered {
        let mut may_reuse = true;
        let mut keys_left = self.provider.keys.len();
        loop {
            let (key, wire) = self.request(held);
            let mut line = match self.connect(may_reuse).await {
                Ok(line) => line,
                Err(failed) => return Answered::Nothing(failed),
            };
            let mut outlet = Outlet::new(wire, false);
            // Where it takes no more it may have answered already.
            let sent = self.send_held(&mut outlet, &mut line.writer, &held.content, true).await;
            let sent_at = self.shard.time().instant;
            self.is_asked.set(true);
            let head = match self.answer_head(&mut line.source).await {
                Ok(head) => head,
                Err(Lost::Ended | Lost::Io(_)) if self.may_repeat(&line, sent_at) => {
                    may_reuse = false;
                    continue;
                }
                Err(lost) => {
                    let lost =
                        sent.err().map(Lost::Io).filter(|_| matches!(lost, Lost::Ended)).unwrap_or(lost);
                    return Answered::Nothing(self.failed(lost));
                }
            };
            if self.rests(key, &head) {
                keys_left -= 1;
                if keys_left > 0 {
                    continue;
                }
            }
            let answered = self.pass(&head, &mut line.source, &mut client.writer).await;
            self.keep(&head, line, &answered);
            return answered;
        }
    }

    /// Asks with a body that is still coming, or is so long that a provider may answer before it has taken all of it.
    pub(super) async fn ask_while_it_goes(&self, client: &mut Client, held: &Held) -> Answered {
        for keys_left in (1..=self.provider.keys.len().max(1)).rev() {
            if let Some(answered) = self.ask_beside(client, held, keys_left > 1).await {
                return answered;
            }
        }
        unreachable!("with the last key its answer is the answer")
    }

    /// `None`: the provider refuses the key, and another one may be tried.
    async fn ask_beside(&self, client: &mut Client, held: &Held, may_try_another: bool) -> Option<Answered> {
        let (key, wire) = self.request(held);
        let mut line = match self.connect(false).await {
            Ok(line) => line,
            Err(failed) => return Some(Answered::Nothing(failed)),
        };
        let mut outlet = Outlet::new(wire, held.framing_up() == Framing::Chunked);
        self.is_sent.set(false);
        self.is_over.set(false);
        self.is_asked.set(true);
        let (source, writer) = (&mut client.source, &mut client.writer);
        let uploading = async {
            // Where it takes no more it may have answered already.
            let is_all = held.is_whole;
            match self.send_held(&mut outlet, &mut line.writer, &held.content, is_all).await {
                Ok(()) if is_all => self.is_sent.set(true),
                Ok(()) => self.upload(source, &mut line.writer, outlet).await,
                Err(_) => {}
            }
        };
        let answering = async {
            let answered = match self.answer_head(&mut line.source).await {
                Ok(head) if self.rests(key, &head) && may_try_another && self.is_sent.get() => None,
                Ok(head) => {
                    let answered = self.pass(&head, &mut line.source, writer).await;
                    Some((answered, Some(head)))
                }
                Err(lost) => Some((Answered::Nothing(self.failed(lost)), None)),
            };
            self.is_over.set(true);
            if !held.is_whole {
                self.live.up.call();
            }
            if !self.is_sent.get() {
                self.live.upstream.shut_down();
            }
            answered
        };
        let ((), answered) = monoio::join!(uploading, answering);
        let (answered, head) = answered?;
        if let Some(head) = head {
            self.keep(&head, line, &answered);
        }
        Some(answered)
    }

    /// The head of the request, with the operator's key that is in it, if one is.
    fn request(&self, held: &Held) -> (Option<usize>, Vec<u8>) {
        let Exchange { shard, live, head, provider, .. } = self;
        let ring = &shard.key_rings[live.provider.get().unwrap_or_default()];
        let index = if self.own_key.is_some() { None } else { ring.take(shard.now()) };
        live.operators_key.set(index);
        let operators = index.map(|index| &provider.keys[index]);
        let key = self.own_key.as_ref().or(operators).expect("a request is admitted with a key or for one");
        let rules = &shard.config.identity;
        (
            index,
            words::request(head, self.path, provider, key, rules, held.framing_up(), self.codings.as_ref()),
        )
    }

    /// Lets the key rest that the answer refuses; whether it does.
    fn rests(&self, key: Option<usize>, head: &ResponseHead) -> bool {
        let Some(index) = key.filter(|_| is_about_key(head.status)) else { return false };
        let provider = self.live.provider.get().unwrap_or_default();
        self.shard.key_rings[provider].rest(index, self.shard.now());
        true
    }

    async fn connect(&self, may_reuse: bool) -> Result<Line<'_>, Failed> {
        let (shard, live) = (self.shard, self.live);
        let provider = live.provider.get().unwrap_or_default();
        let kept = if may_reuse { shard.upstreams.take(provider, shard.now()) } else { None };
        if let Some(Upstream { reader, writer, handle }) = kept {
            live.upstream.take_over(&handle);
            return Ok(Line { armed: Armed(&live.upstream), source: source(reader), writer, is_new: false });
        }
        live.deadline.set(shard.time().instant.plus_ms(shard.config.dial_ms));
        let armed = Armed(&live.upstream);
        let opened = Box::pin(dial::open(shard, live, &self.provider)).await;
        let (reader, writer) = opened.map_err(|error| self.failed_by(error.close_reason()))?;
        match self.must_end() {
            true => Err(self.failed(Lost::Called)),
            false => Ok(Line { armed, source: source(reader), writer, is_new: true }),
        }
    }

    async fn answer_head(&self, source: &mut Source) -> Result<ResponseHead, Lost> {
        self.note_progress();
        self.live.dialling.set(true);
        let head = source.answer_head(&self.shard.pool, &self.live.down, || self.must_end()).await;
        self.live.dialling.set(false);
        head
    }

    /// The provider has some time from now on, unless all is to end.
    pub(super) fn note_progress(&self) {
        if self.live.is_ending() {
            return;
        }
        self.live.deadline.set(self.shard.now().plus_ms(self.patience_ms));
    }

    /// Whether it cannot have seen the request: it had closed the connection before, which shows at once.
    fn may_repeat(&self, line: &Line<'_>, sent_at: Instant) -> bool {
        let shows_at_once = self.shard.time().instant.since(sent_at) < CLOSED_BEFORE_MS;
        shows_at_once && !line.is_new && !line.source.has_unread() && !self.must_end()
    }

    /// Sends what is held of the body, in pieces: it may take long, as long as it goes on.
    async fn send_held(
        &self,
        outlet: &mut Outlet,
        writer: &mut Writer,
        content: &[u8],
        is_all: bool,
    ) -> io::Result<()> {
        let mut left = content;
        loop {
            self.note_progress();
            let (piece, rest) = left.split_at(left.len().min(PIECE_BYTES));
            outlet.send_bytes(writer, piece, is_all && rest.is_empty()).await?;
            if rest.is_empty() {
                return Ok(());
            }
            left = rest;
        }
    }

    /// Why there is no answer, or no more of it.
    pub(super) fn failed(&self, lost: Lost) -> Failed {
        if self.live.gone.get() {
            return Failed::Gone;
        }
        if let Some(what) = self.fault.get() {
            return Failed::Malformed(what);
        }
        if let Some(reason) = self.live.ending() {
            return Failed::Ended(reason);
        }
        let is_late = self.shard.time().instant >= self.live.deadline.get();
        let why = match lost {
            _ if is_late => "it did not answer in time".to_owned(),
            Lost::Ended | Lost::Called => "it closed the connection before its answer was whole".to_owned(),
            Lost::Io(error) => error.to_string(),
            Lost::Malformed(BadBody(what)) => what.to_owned(),
        };
        self.failed_by(CloseReason::UpstreamFailed(why.into()))
    }

    pub(super) fn failed_by(&self, reason: CloseReason) -> Failed {
        self.shard.counters.add(Metric::UpstreamFailures, 1);
        Failed::Upstream(reason)
    }

    /// Keeps the connection for another request, if both sides agree where the last one ended.
    fn keep(&self, head: &ResponseHead, line: Line<'_>, answered: &Answered) {
        let Line { armed, source, writer, .. } = line;
        let is_over = matches!(answered, Answered::Whole) && source.body.is_done() && self.is_sent.get();
        let framing = Framing::of_answer(head, &self.head.method);
        let ends_by_itself = framing.is_ok_and(|framing| framing != Framing::UntilClose);
        let (reader, ahead) = source.into_parts();
        let handle = ShutdownHandle::default();
        handle.take_over(&self.live.upstream);
        drop(armed);
        if is_over && ends_by_itself && head.keeps_alive() && ahead.is_none() && !self.shard.is_draining() {
            let provider = self.live.provider.get().unwrap_or_default();
            self.shard.upstreams.put(provider, Upstream { reader, writer, handle }, self.shard.now());
        }
    }
}

fn source(reader: crate::io::stream::Reader) -> Source {
    Source::new(reader, None, Framing::Length(0))
}
