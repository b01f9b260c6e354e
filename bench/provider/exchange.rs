//! Plain requests over HTTP that are answered by a model: whole, as a stream of events, or as an array that grows. One
//! connection has one after the other.
//!
//! Start at [`answer`]. What an API says for itself is in `words`; paces, faults and the audit are common to all of them.

mod asked;
mod event;
mod free;
mod media;
mod packing;
#[cfg(test)]
mod tests;
mod words;

use super::Shard;
use super::audit::Fact;
use super::formula::{Spoken, Turn};
use super::handshake;
use super::openai::OpenAi;
use super::refusal::{Credential, Refusal};
use super::session::QUEUED_BYTES;
use super::sim::{Coding, Fault, Load, Pace, Point, Sim, UsageForm};
use crate::http::Request;
use crate::link::{Bytes, Delivery, HangUp, Outbox};
use crate::stamp::Stamp;
use crate::ws::Inbound;
use asked::Asked;
pub(super) use free::answer as answer_free;
use packing::Packer;
use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;
use tokenist_core::usage::Usage;
pub(super) use words::Api;

/// What is being answered.
#[derive(Debug)]
struct Reply {
    api: Api,
    id: String,
    model: String,
    /// For whom the audit counts it.
    key: String,
    sim: Sim,
    turn: Turn,
    form: Form,
    asked: Asked,
    /// Some answers never do, and some streams only if they were asked to.
    states_usage: bool,
    coding: Option<Coding>,
}

/// How the answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Whole,
    Events,
    Array,
    /// As they come, until they end.
    Bytes,
}

/// Answers a request; whether another one may follow on the connection.
pub(super) async fn answer(
    shard: &Rc<Shard>,
    api: Api,
    (request, body): (&Request, &[u8]),
    inbound: &mut Inbound,
    outbox: &Rc<Outbox>,
) -> bool {
    shard.audit().handshake(request);
    let reply = match Reply::of(shard, api, request, body) {
        Ok(reply) => reply,
        Err(refusal) => {
            outbox.put(Bytes::Owned(handshake::refuse::<OpenAi>(&refusal)));
            return false;
        }
    };
    monoio::time::sleep(Duration::from_millis(reply.sim.delay_ms)).await;
    if reply.sim.silent {
        until_gone(inbound).await;
        return false;
    }
    match reply.form {
        Form::Whole => reply.tell_whole(shard, outbox),
        Form::Events | Form::Array | Form::Bytes => reply.tell_in_pieces(shard, inbound, outbox).await,
    }
}

impl Reply {
    fn of(shard: &Shard, api: Api, request: &Request, body: &[u8]) -> Result<Reply, Refusal> {
        let asked = Asked::of(request, body).map_err(|error| Refusal::new(400, "invalid_body", &error))?;
        let fields = &asked.fields;
        let mut sim = handshake::sim(shard, request)?;
        if let Some(words) = fields["metadata"]["sim"].as_str() {
            sim = sim.with(words).map_err(|error| Refusal::new(400, "sim", &error))?;
        }
        let credential = handshake::credential(shard, key(request));
        if credential != Credential::Right {
            return Err(Refusal::new(401, "invalid_api_key", "Incorrect API key provided."));
        }
        if let Some((status, retry_after_seconds)) = sim.refuse {
            let refusal = Refusal::new(status, "simulated_refusal", "The request was refused on command.");
            return Err(Refusal { retry_after_seconds, ..refusal });
        }
        if let Some(Load::Words { chunks, period_ms, .. }) = sim.load {
            (sim.chunks, sim.pace) = (chunks, Pace::Millis(period_ms));
        }
        let model = sim.model.clone().or_else(|| api.model(request, fields));
        let model = model.ok_or_else(|| Refusal::new(400, "missing_model", "The request names no model."))?;
        let index = shard.next_index(None);
        let audit = request.parameter("audit").or(fields["metadata"]["audit"].as_str().map(str::to_owned));
        let key = audit.unwrap_or_else(|| "-".to_owned());
        let id = format!("{}-{index:08x}", api.name());
        shard.audit().opened(&id, &key, &model);
        let form = api.form(request, fields);
        let accepted = request.header("accept-encoding").unwrap_or_default();
        let accepts = |coding: &Coding| {
            let names = accepted.split(',').filter_map(|offer| offer.split(';').next());
            sim.compress_unasked || names.into_iter().any(|name| name.trim() == coding.name())
        };
        Ok(Reply {
            form,
            states_usage: api.states_usage(form, fields),
            coding: sim.compress.filter(accepts),
            asked,
            turn: Turn { seed: shard.options.seed, session: index, turn: 1 },
            api,
            id,
            model,
            key,
            sim,
        })
    }

    /// What a piece says that is said now.
    fn words(&self) -> Cow<'static, str> {
        match self.sim.load {
            Some(Load::Words { text_bytes, .. }) => Stamp::now().in_words(text_bytes).into(),
            _ => event::WORDS.into(),
        }
    }

    fn usage(&self, chunks: u64) -> Usage {
        let usage = self.turn.response(Spoken { text_out_chunks: chunks, ..Spoken::default() });
        self.api.tellable(self, super::responses::of_text(usage), chunks)
    }

    /// What the audit counts if the end of it leaves.
    fn fact(&self, usage: Usage) -> Fact {
        match self.sim.usage {
            UsageForm::Once if !self.states_usage => Fact::ResponseWithoutUsage(usage),
            form => Fact::told_by(form, usage),
        }
    }

    fn tell_whole(&self, shard: &Rc<Shard>, outbox: &Rc<Outbox>) -> bool {
        let usage = self.usage(u64::from(self.sim.chunks));
        let mut packer = Packer::new(self.coding);
        let mut body = packed(packer.pack(&self.api.whole(self, &usage)));
        body.extend(packed(packer.finish()));
        let head = self.head(self.api.content_type(self), &format!("content-length: {}", body.len()));
        self.send_last(shard, outbox, [head, body].concat(), usage);
        !self.sim.faults_at(Point::Done).any(|fault| hang_up(fault, outbox))
    }

    async fn tell_in_pieces(&self, shard: &Rc<Shard>, inbound: &mut Inbound, outbox: &Rc<Outbox>) -> bool {
        outbox.put(Bytes::Owned(self.head(self.api.content_type(self), "transfer-encoding: chunked")));
        let mut packer = Packer::new(self.coding);
        self.put(outbox, &mut packer, &self.api.begin(self));
        let (mut said, half) = (0, u64::from(self.sim.chunks) / 2);
        let mut is_cut = self.fail(Point::Created, inbound, outbox, &mut packer, &mut said).await;
        while !is_cut && said < u64::from(self.sim.chunks) {
            self.chunk(outbox, &mut packer, &mut said).await;
            is_cut = said == half && self.fail(Point::Middle, inbound, outbox, &mut packer, &mut said).await;
        }
        is_cut = is_cut || self.fail(Point::End, inbound, outbox, &mut packer, &mut said).await;
        let usage = self.usage(said);
        if is_cut || !outbox.is_open() {
            shard.audit().count(&self.id, &self.key, &self.model, Fact::Undelivered(usage));
            return false;
        }
        let last = self.api.end(self, &usage);
        let mut rest = if last.is_empty() { Vec::new() } else { packed(packer.pack(&last)) };
        rest.extend(packed(packer.finish()));
        let mut bytes = if rest.is_empty() { Vec::new() } else { chunked(&rest) };
        bytes.extend_from_slice(b"0\r\n\r\n");
        self.send_last(shard, outbox, bytes, usage);
        !self.sim.faults_at(Point::Done).any(|fault| hang_up(fault, outbox))
    }

    async fn chunk(&self, outbox: &Rc<Outbox>, packer: &mut Packer, said: &mut u64) {
        if outbox.room(QUEUED_BYTES).await {
            self.put(outbox, packer, &self.api.chunk(self, *said, &self.usage(*said + 1)));
            *said += 1;
        }
        match self.sim.pace {
            Pace::Millis(0) => {}
            Pace::Millis(ms) => monoio::time::sleep(Duration::from_millis(ms)).await,
            // A few words take as long.
            Pace::Speech => monoio::time::sleep(Duration::from_millis(100)).await,
        }
    }

    /// Commits the faults that are due; whether nothing may follow.
    async fn fail(
        &self,
        point: Point,
        inbound: &mut Inbound,
        outbox: &Rc<Outbox>,
        packer: &mut Packer,
        said: &mut u64,
    ) -> bool {
        for fault in self.sim.faults_at(point) {
            match fault {
                Fault::Runaway => {
                    while outbox.is_open() {
                        self.chunk(outbox, packer, said).await;
                        // So that others have their turn, and what is said can be told.
                        monoio::time::sleep(Duration::from_millis(1)).await;
                    }
                    return true;
                }
                Fault::Stall => {
                    until_gone(inbound).await;
                    return true;
                }
                fault if hang_up(fault, outbox) => return true,
                _ => {}
            }
        }
        false
    }

    fn put(&self, outbox: &Rc<Outbox>, packer: &mut Packer, text: &str) {
        if !text.is_empty() {
            let chunk = chunked(&packed(packer.pack(text)));
            outbox.put_with(Bytes::Owned(chunk), self.sim.split_bytes, None);
        }
    }

    fn head(&self, kind: &str, framing: &str) -> Vec<u8> {
        let coding = self.coding.map(|coding| format!("content-encoding: {}\r\n", coding.name()));
        let coding = coding.unwrap_or_default();
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{coding}{framing}\r\n\r\n").into_bytes()
    }

    /// The last bytes, with which the audit counts it.
    fn send_last(&self, shard: &Rc<Shard>, outbox: &Rc<Outbox>, bytes: Vec<u8>, usage: Usage) {
        let (shard, fact) = (shard.clone(), self.fact(usage));
        let (id, key, model) = (self.id.clone(), self.key.clone(), self.model.clone());
        let receipt = Box::new(move |delivery| {
            let fact = if delivery == Delivery::Whole { fact } else { Fact::Undelivered(usage) };
            shard.audit().count(&id, &key, &model, fact);
        });
        outbox.put_with(Bytes::Owned(bytes), self.sim.split_bytes, Some(receipt));
    }
}

async fn until_gone(inbound: &mut Inbound) {
    while matches!(inbound.fill().await, Ok(true)) {}
}

/// Whether the fault ends the connection.
fn hang_up(fault: &Fault, outbox: &Outbox) -> bool {
    match fault {
        Fault::Die => outbox.hang_up(HangUp::Fin),
        Fault::Reset => outbox.hang_up(HangUp::Reset),
        _ => return false,
    }
    true
}

fn packed(packed: std::io::Result<Vec<u8>>) -> Vec<u8> {
    packed.expect("memory takes all that is written to it")
}

fn chunked(content: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat()
}

/// The key that a request shows, wherever a provider has it.
fn key(request: &Request) -> Option<String> {
    let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let named = || ["x-api-key", "api-key", "x-goog-api-key"].iter().find_map(|name| request.header(name));
    bearer.or_else(named).map(str::to_owned).or_else(|| request.parameter("key"))
}
