//! A request's body on its way up: held where it is small, or else passed as it comes.

use super::outlet::Outlet;
use super::source::{Lost, Portion};
use super::{Client, Exchange, Failed};
use crate::io::stream::Writer;
use crate::live::Live;
use crate::shard::Shard;
use tokenist_core::api::{Asked, Behind, Endpoint, ModelIn, Multipart};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::RequestHead;
use tokenist_core::http::body::Framing;
use tokenist_core::time::Instant;

/// A body up to this size is held, so that it can be sent again on another connection.
const HELD_MAX: u64 = 64 * 1024;
/// A form is held up to this size, because its model may stand behind a file.
const FORM_MAX: u64 = 32 << 20;

/// What was read of a body before anybody was asked.
pub(crate) struct Held {
    pub(super) content: Vec<u8>,
    /// All of it.
    pub(super) is_whole: bool,
    /// As the client frames the body.
    pub(super) framing: Framing,
}

/// In what a request says what it asks for, and so its model.
pub(super) enum Says<'a> {
    /// Nothing of it is to be known.
    Nothing,
    /// In JSON; where its model is named elsewhere, whatever is here is enough.
    Json {
        endpoint: &'a Endpoint,
        names_model: bool,
        /// Where not all of it is held.
        behind: Option<Box<Behind>>,
    },
    Form(Box<Multipart>),
}

impl Held {
    /// Has this go up in place of what was held.
    pub(super) fn replace(&mut self, content: Vec<u8>) {
        if let Framing::Length(bytes) = &mut self.framing {
            *bytes = *bytes - self.content.len() as u64 + content.len() as u64;
        }
        self.content = content;
    }

    /// How the body is framed on its way up.
    pub(super) fn framing_up(&self) -> Framing {
        if self.is_whole { Framing::Length(self.content.len() as u64) } else { self.framing }
    }
}

impl<'a> Says<'a> {
    pub(super) fn of(endpoint: &'a Endpoint, head: &RequestHead) -> Says<'a> {
        let content_type = head.headers.get("content-type").and_then(|kind| std::str::from_utf8(kind).ok());
        let form = content_type.filter(|_| endpoint.model_in() == ModelIn::Multipart).and_then(Multipart::of);
        let names_model = matches!(endpoint.model_in(), ModelIn::Json | ModelIn::Multipart);
        match form {
            _ if !endpoint.is_metered() => Says::Nothing,
            Some(form) => Says::Form(Box::new(form)),
            None => Says::Json { endpoint, names_model, behind: None },
        }
    }

    /// What is asked for, as far as is known.
    pub(super) fn asked(&self, held: &[u8]) -> Asked {
        match self {
            Says::Nothing => Asked::default(),
            Says::Json { endpoint, .. } => endpoint.asked(held),
            Says::Form(form) => form.asked().clone(),
        }
    }

    /// Whether a provider might read another model in what was not held, and nobody would notice.
    pub(super) fn may_name_another(&self) -> bool {
        matches!(self, Says::Json { names_model: true, .. })
    }

    /// The rest of the body passes as it comes, behind what is held.
    pub(super) fn pass_behind(&mut self, held: &[u8]) {
        if let Says::Json { endpoint, names_model: true, behind } = self {
            *behind = Some(Box::new(endpoint.behind(held)));
        }
    }

    /// How much is held until the model is known, where it has to be.
    fn held_max(&self, shard: &Shard) -> Option<u64> {
        match self {
            Says::Nothing | Says::Json { names_model: false, .. } => None,
            Says::Json { .. } => Some(shard.config.body_max_bytes),
            Says::Form(_) => Some(shard.config.body_max_bytes.max(FORM_MAX)),
        }
    }

    /// Reads more of the body; whether more of it has to be held.
    pub(super) fn read(&mut self, content: &[u8]) -> Result<bool, Failed> {
        match self {
            Says::Nothing | Says::Json { names_model: false, .. } => Ok(false),
            Says::Json { behind: Some(behind), .. } => match behind.read(content) {
                Some(problem) => Err(Failed::Malformed(problem)),
                None => Ok(false),
            },
            Says::Json { .. } => Ok(true),
            Says::Form(form) => {
                form.read(content);
                match form.problem() {
                    Some(problem) => Err(Failed::Malformed(problem)),
                    None => Ok(form.asked().model.is_none()),
                }
            }
        }
    }
}

/// Reads a body as long as it is here or soon will be, or has to be held.
pub(super) async fn hold(
    shard: &Shard,
    live: &Live,
    head: &RequestHead,
    client: &mut Client,
    framing: Framing,
    says: &mut Says<'_>,
) -> Result<Held, Failed> {
    welcome(head, client).await?;
    let mut held = Held { content: Vec::new(), is_whole: framing.is_empty(), framing };
    let held_max = says.held_max(shard);
    let is_small = matches!(framing, Framing::Length(bytes) if bytes <= HELD_MAX);
    let mut wants_more = held_max.is_some();
    while !held.is_whole && (is_small || wants_more || client.source.has_unread()) {
        let Portion { buffer, content, is_last, .. } = next_of(shard, live, client).await?;
        let read = says.read(&buffer.bytes()[content.clone()]);
        held.content.extend_from_slice(&buffer.bytes()[content]);
        client.source.give_back(buffer);
        held.is_whole = is_last;
        wants_more = read?;
        if let Some(max_bytes) = held_max.filter(|max| held.content.len() as u64 > *max && wants_more) {
            return match says.asked(&held.content).model {
                Some(_) => Ok(held),
                None => Err(Failed::Refused(CloseReason::MessageTooBig { max_bytes })),
            };
        }
    }
    Ok(held)
}

/// Reads all of a body that nobody else is to have.
pub(super) async fn hold_all(
    shard: &Shard,
    live: &Live,
    head: &RequestHead,
    client: &mut Client,
    max_bytes: u64,
) -> Result<Vec<u8>, Failed> {
    welcome(head, client).await?;
    let mut content = Vec::new();
    loop {
        let portion = next_of(shard, live, client).await?;
        content.extend_from_slice(&portion.buffer.bytes()[portion.content.clone()]);
        client.source.give_back(portion.buffer);
        if content.len() as u64 > max_bytes {
            return Err(Failed::Refused(CloseReason::MessageTooBig { max_bytes }));
        }
        if portion.is_last {
            return Ok(content);
        }
    }
}

/// Tells a client that waits for it to send its body.
async fn welcome(head: &RequestHead, client: &mut Client) -> Result<(), Failed> {
    let is_awaited = head.expects_continue() && !client.source.has_unread();
    if is_awaited && !client.source.body.is_done() {
        let said = client.writer.write_bytes(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()).await;
        said.map_err(|_| Failed::Gone)?;
    }
    Ok(())
}

async fn next_of(shard: &Shard, live: &Live, client: &mut Client) -> Result<Portion, Failed> {
    live.deadline.set(Instant::MAX);
    live.up.heard_at.set(shard.now());
    let next = client.source.next(&shard.pool, &live.up, || live.is_ending() || live.gone.get()).await;
    next.map_err(|lost| match lost {
        Lost::Malformed(bad) => Failed::Malformed(bad.0),
        Lost::Called => live.ending().map_or(Failed::Gone, Failed::Ended),
        Lost::Ended | Lost::Io(_) => Failed::Gone,
    })
}

impl Exchange<'_> {
    /// Sends the rest of a body as it comes, until all has gone or nobody wants more. A client that leaves ends the exchange.
    pub(super) async fn upload(&self, client: &mut super::Source, writer: &mut Writer, mut outlet: Outlet) {
        while !self.is_over.get() {
            let is_over = || self.is_over.get() || self.must_end();
            self.live.up.heard_at.set(self.shard.now());
            let portion = match client.next(&self.shard.pool, &self.live.up, is_over).await {
                Ok(portion) => portion,
                Err(Lost::Malformed(bad)) => return self.break_off(bad.0),
                Err(Lost::Called) => return,
                Err(Lost::Ended | Lost::Io(_)) if self.is_over.get() => return,
                Err(Lost::Ended | Lost::Io(_)) => return self.live.forsake(),
            };
            self.note_progress();
            // A provider might read another model in what comes behind the first.
            let content = &portion.buffer.bytes()[portion.content.clone()];
            if let Err(Failed::Malformed(what)) = self.says.borrow_mut().read(content) {
                return self.break_off(what);
            }
            let is_last = portion.is_last;
            let writing = self.live.up.writing();
            let (sent, buffer) = outlet.send(writer, portion).await;
            drop(writing);
            client.give_back(buffer);
            // A provider that takes no more may have answered already.
            if sent.is_err() {
                return;
            }
            if is_last {
                return self.is_sent.set(true);
            }
        }
    }

    /// The body makes no sense: nothing more of it goes up, and the client is told.
    fn break_off(&self, what: &'static str) {
        self.fault.set(Some(what));
        self.live.down.call();
    }
}
