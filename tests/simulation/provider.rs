//! What a provider says in a session, and what it states that was used.

use crate::chance::Random;

/// A response as the provider knows it.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) id: String,
    /// Its usage was stated; all tokens of it.
    pub(crate) stated: Option<u64>,
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
}

pub(crate) const MODELS: [&str; 3] = ["gpt-realtime", "gpt-realtime-mini", "made-up"];

pub(crate) fn created(model: &str) -> Event {
    Event::whole(format!(r#"{{"type":"session.created","session":{{"model":"{model}"}}}}"#))
}

pub(crate) fn begun(id: &str) -> Event {
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
    text_in: u64,
    audio_in: u64,
    cached: u64,
    text_out: u64,
    audio_out: u64,
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
