//! What a provider says in a session, and what it states that was used.

use crate::chance::Random;
use std::time::Duration;
use tokenist_core::ws::frame::Header;
use tokenist_core::ws::walk::Part;

/// What the provider knows of a call, however many sessions listen to it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Tells it from all others.
    pub(crate) number: u64,
    pub(crate) responses: Vec<Response>,
    response_count: u64,
    /// Responses that were booked by the provider's figure.
    pub(crate) metered_count: usize,
    /// Something was heard of a response that began longer ago than any claim to it holds.
    pub(crate) is_slow: bool,
}

/// A response as the provider knows it.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) id: String,
    pub(crate) begun: Duration,
    /// Its usage was stated; all tokens of it.
    pub(crate) stated: Option<u64>,
}

/// How long a session's claim to meter a response of its call holds at least.
const CLAIM_HOLDS: Duration = Duration::from_secs(900);

impl Call {
    pub(crate) fn new(number: u64) -> Call {
        Call { number, responses: Vec::new(), response_count: 0, metered_count: 0, is_slow: false }
    }

    /// Those whose usage is not stated.
    pub(crate) fn open(&self) -> Vec<usize> {
        (0..self.responses.len()).filter(|&index| self.responses[index].stated.is_none()).collect()
    }

    pub(crate) fn stated_count(&self) -> usize {
        self.responses.len() - self.open().len()
    }

    /// A response begins.
    pub(crate) fn begin(&mut self, now: Duration) -> Event {
        self.response_count += 1;
        let id = format!("resp_{}_{}", self.number, self.response_count);
        let begun = begun(&id);
        self.responses.push(Response { id, begun: now, stated: None });
        begun
    }

    /// A response begins that bears the name of another one.
    pub(crate) fn begin_again(&mut self, index: usize, now: Duration) -> Event {
        let id = self.responses[index].id.clone();
        let begun = begun(&id);
        self.responses.push(Response { id, begun: now, stated: None });
        begun
    }

    /// The id of the response that something is said of.
    pub(crate) fn name(&mut self, index: usize, now: Duration) -> String {
        let response = &self.responses[index];
        self.is_slow |= response.is_old(now);
        response.id.clone()
    }

    /// Something is heard now that may have been said long ago, of any of them.
    pub(crate) fn be_late(&mut self, now: Duration) {
        self.is_slow |= self.responses.iter().any(|response| response.is_old(now));
    }

    /// States what one of them has used.
    pub(crate) fn state(&mut self, index: usize, usage: Usage) -> Event {
        let (event, tokens) = done(&self.responses[index].id, usage);
        self.responses[index].stated = Some(tokens);
        event
    }
}

impl Response {
    /// Nobody's claim to it need hold any more.
    fn is_old(&self, now: Duration) -> bool {
        now >= self.begun + CLAIM_HOLDS
    }
}

/// A frame, or a part of one, as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
    pub(crate) part: Part,
}

/// An event, or its beginning where the rest does not matter.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) head: String,
    /// How long all of it is.
    pub(crate) bytes: u64,
}

impl Event {
    fn whole(text: String) -> Event {
        Event { bytes: text.len() as u64, head: text }
    }

    /// All of it, with as much sound as it has.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut payload = self.head.clone().into_bytes();
        if self.bytes > payload.len() as u64 {
            payload.resize(self.bytes as usize - 2, b'A');
            payload.extend_from_slice(b"\"}");
        }
        payload
    }
}

pub(crate) const MODELS: [&str; 3] = ["gpt-realtime", "gpt-realtime-mini", "made-up"];

pub(crate) fn created(model: &str) -> Event {
    Event::whole(format!(r#"{{"type":"session.created","session":{{"model":"{model}"}}}}"#))
}

/// Likewise, without a word of the model.
pub(crate) fn created_without_model() -> Event {
    Event::whole(r#"{"type":"session.created","session":{}}"#.into())
}

fn begun(id: &str) -> Event {
    Event::whole(format!(r#"{{"type":"response.created","response":{{"id":"{id}"}}}}"#))
}

/// So many tokens of speech, as they are estimated.
pub(crate) fn speech(id: &str, tokens: u64) -> Event {
    let head = format!(r#"{{"type":"response.output_audio.delta","response_id":"{id}","delta":""#);
    // 24,000 samples of two bytes a second in base64, of which a token is a twentieth.
    Event { bytes: head.len() as u64 + tokens * 3_200 + 2, head: format!("{head}AAAA") }
}

pub(crate) fn text(id: &str, tokens: u64) -> Event {
    let text = "word".repeat(tokens as usize);
    Event::whole(format!(r#"{{"type":"response.output_text.delta","response_id":"{id}","delta":"{text}"}}"#))
}

/// So many seconds of speech of the application's, sixteenths of them.
pub(crate) fn sound(sixteenths: u64) -> Event {
    let sound = "A".repeat(4_000 * sixteenths as usize);
    Event::whole(format!(r#"{{"type":"input_audio_buffer.append","audio":"{sound}"}}"#))
}

pub(crate) fn commit() -> Event {
    Event::whole(r#"{"type":"input_audio_buffer.commit"}"#.into())
}

/// So many words of the application's.
pub(crate) fn item(words: u64) -> Event {
    let text = "word ".repeat(words as usize);
    Event::whole(format!(
        r#"{{"type":"conversation.item.create","item":{{"type":"message","role":"user","content":[{{"type":"input_text","text":"{text}"}}]}}}}"#
    ))
}

/// The application asks for a response.
pub(crate) fn respond() -> Event {
    Event::whole(r#"{"type":"response.create"}"#.into())
}

/// Its end, with usage if there is any, and how many tokens that is in all.
pub(crate) fn done(id: &str, usage: Usage) -> (Event, u64) {
    let Usage { text_in, audio_in, cached, text_out, audio_out } = usage;
    let (input, output) = (text_in + audio_in, text_out + audio_out);
    let event = format!(
        r#"{{"type":"response.done","response":{{"id":"{id}","status":"completed","usage":{{"total_tokens":{},"input_tokens":{input},"output_tokens":{output},"input_token_details":{{"text_tokens":{text_in},"audio_tokens":{audio_in},"cached_tokens":{cached},"cached_tokens_details":{{"text_tokens":{cached},"audio_tokens":0}}}},"output_token_details":{{"text_tokens":{text_out},"audio_tokens":{audio_out}}}}}}}}}"#,
        input + output
    );
    (Event::whole(event), input + output)
}

/// Its end without a figure.
pub(crate) fn died(id: &str) -> Event {
    Event::whole(format!(
        r#"{{"type":"response.done","response":{{"id":"{id}","status":"failed","usage":null}}}}"#
    ))
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) text_in: u64,
    pub(crate) audio_in: u64,
    pub(crate) cached: u64,
    pub(crate) text_out: u64,
    pub(crate) audio_out: u64,
}

impl Usage {
    pub(crate) fn any(chance: &mut Random) -> Usage {
        let text_in = chance.below(60);
        Usage {
            text_in,
            audio_in: chance.below(20),
            cached: chance.below(text_in + 1),
            text_out: chance.below(20),
            audio_out: chance.below(30),
        }
    }
}
