//! What is said is what the product reads: each API in each of its forms.

use super::media::Media;
use super::*;
use serde_json::json;
use tokenist_core::api::{Answer, of_family};
use tokenist_core::dialect::{ProviderEvent, family};

const PATHS: [(Api, &str, &str); 11] = [
    (Api::Chat, "openai", "/v1/chat/completions"),
    (Api::Responses, "openai", "/v1/responses"),
    (Api::Embeddings, "openai", "/v1/embeddings"),
    (Api::Messages, "anthropic", "/v1/messages"),
    (Api::Generate, "gemini", "/v1beta/models/m:streamGenerateContent"),
    (Api::GoogleEmbeddings, "gemini", "/v1beta/models/m:batchEmbedContents"),
    (Api::Media(Media::Speech), "openai", "/v1/audio/speech"),
    (Api::Media(Media::Transcription), "openai", "/v1/audio/transcriptions"),
    (Api::Media(Media::Picture), "openai", "/v1/images/generations"),
    (Api::Media(Media::PictureEdit), "openai", "/v1/images/edits"),
    (Api::Media(Media::Decision), "openai", "/v1/decisions"),
];

fn reply(api: Api, form: Form, session: u64) -> Reply {
    Reply {
        api,
        id: "id-1".into(),
        model: "m".into(),
        key: "-".into(),
        sim: Sim::default(),
        turn: Turn { seed: 7, session, turn: 1 },
        form,
        asked: Asked { fields: json!({"input": "some words", "n": 2, "questions": ["q?"]}), sound_ms: 1_500 },
        states_usage: true,
        coding: None,
    }
}

fn speaks(api: Api, form: Form) -> bool {
    match form {
        Form::Whole => api != Api::Media(Media::Speech),
        Form::Events => !matches!(api, Api::Embeddings | Api::GoogleEmbeddings | Api::Media(Media::Decision)),
        Form::Array => api == Api::Generate,
        Form::Bytes => false,
    }
}

fn said(reply: &Reply, usage: &Usage) -> String {
    if reply.form == Form::Whole {
        return reply.api.whole(reply, usage);
    }
    let chunks = (0..u64::from(reply.sim.chunks)).map(|before| {
        let so_far = reply.usage(before + 1);
        reply.api.chunk(reply, before, &so_far)
    });
    let chunks: String = chunks.collect();
    reply.api.begin(reply) + &chunks + &reply.api.end(reply, usage)
}

#[test]
fn what_is_said_is_read_as_what_was_used() {
    for (api, family_name, path) in PATHS {
        for (form, kind) in [
            (Form::Whole, "application/json"),
            (Form::Events, "text/event-stream"),
            (Form::Array, "application/json"),
        ] {
            for session in (1..20).filter(|_| speaks(api, form)) {
                let reply = reply(api, form, session);
                let usage = reply.usage(u64::from(reply.sim.chunks));
                let text = said(&reply, &usage);
                let found = read(family_name, path, kind, &text);
                assert_eq!(found, Some(usage), "{api:?} {form:?}: {text}");
            }
        }
    }
}

/// The usage that an answer states.
fn read(family_name: &str, path: &str, kind: &'static str, text: &str) -> Option<Usage> {
    let api = of_family(family(family_name).unwrap()).next().unwrap();
    let endpoint = api.endpoint("POST", path).unwrap();
    let mut answer = Answer::new(&endpoint, Default::default(), 200, |_| Some(kind));
    let mut stated = None;
    let mut found = |event: ProviderEvent<'_>| {
        if let ProviderEvent::Done { usage, .. } = event {
            stated = usage;
        }
    };
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let read = answer.read(rest, &mut found);
        rest = &rest[read.bytes..];
    }
    answer.end(true, &mut found);
    stated
}
