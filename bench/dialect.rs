//! Which protocol a run speaks, and what that changes ahead of the first word.

use crate::stamp;
use serde_json::json;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dialect {
    /// OpenAI Realtime.
    #[default]
    Openai,
    /// Gemini Live, of the Developer API or, by the path, of Vertex.
    Gemini,
}

impl Dialect {
    /// The path unless one is given.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Dialect::Openai => "/v1/realtime",
            Dialect::Gemini => {
                "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
            }
        }
    }

    /// The model unless one is given.
    pub(crate) fn model(self) -> &'static str {
        match self {
            Dialect::Openai => "gpt-realtime-2.1",
            Dialect::Gemini => "gemini-3.8-live",
        }
    }

    /// What the query says of the model.
    pub(crate) fn query(self, model: &str) -> String {
        match self {
            Dialect::Openai => format!("model={model}"),
            Dialect::Gemini => String::new(),
        }
    }

    /// The header that holds the key.
    pub(crate) fn credential(self, key: &str) -> String {
        match self {
            Dialect::Openai => format!("authorization: Bearer {key}"),
            Dialect::Gemini => format!("x-goog-api-key: {key}"),
        }
    }

    /// What the client says before it is greeted, if anything; by `handle` it goes on with a session, and with an empty one it
    /// wants to be given such.
    pub(crate) fn first_message(self, model: &str, path: &str, handle: Option<&str>) -> Option<String> {
        let family = if path.contains("aiplatform") { "publishers/google/models" } else { "models" };
        match self {
            Dialect::Openai => None,
            Dialect::Gemini => {
                let config = json!({"responseModalities": ["AUDIO"]});
                let manual = json!({"automaticActivityDetection": {"disabled": true}});
                let mut setup = json!({"model": format!("{family}/{model}"), "generationConfig": config,
                    "realtimeInputConfig": manual, "outputAudioTranscription": {}});
                match handle {
                    None => {}
                    Some("") => setup["sessionResumption"] = json!({}),
                    Some(handle) => setup["sessionResumption"] = json!({"handle": handle}),
                }
                Some(json!({"setup": setup}).to_string())
            }
        }
    }

    /// Whether a first message is the greeting.
    pub(crate) fn is_greeting(self, payload: &[u8]) -> bool {
        match self {
            Dialect::Openai => true,
            Dialect::Gemini => memchr::memmem::find(payload, b"\"setupComplete\"").is_some(),
        }
    }

    /// A piece of what the microphone hears, in base64.
    pub(crate) fn append(self, audio: &str) -> String {
        match self {
            Dialect::Openai => format!(r#"{{"type":"input_audio_buffer.append","audio":"{audio}"}}"#),
            Dialect::Gemini => {
                format!(
                    r#"{{"realtimeInput":{{"audio":{{"mimeType":"audio/pcm;rate=16000","data":"{audio}"}}}}}}"#
                )
            }
        }
    }

    /// What sessions that are only load say and hear.
    pub(crate) fn load(self) -> stamp::Form {
        match self {
            Dialect::Openai => stamp::OPENAI,
            Dialect::Gemini => stamp::GEMINI,
        }
    }
}
