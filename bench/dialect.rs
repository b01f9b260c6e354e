//! Which protocol a run speaks, and what that changes ahead of the first word.

use crate::stamp;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dialect {
    /// OpenAI Realtime.
    #[default]
    Openai,
    /// OpenAI's translation sessions.
    Translation,
    /// GPT-Live.
    GptLive,
    /// OpenAI Responses, over WebSocket or, at http://, over HTTP.
    Responses,
    /// OpenAI Realtime as Azure serves it.
    Azure,
    /// xAI's voice agent.
    Xai,
    /// Qwen-Omni-Realtime.
    QwenOmni,
    /// Inworld Realtime.
    Inworld,
    /// Gemini Live, of the Developer API or, by the path, of Vertex.
    Gemini,
    /// Google's Interactions.
    Interactions,
    /// Deepgram's transcription.
    Deepgram,
    /// AssemblyAI's transcription.
    Assemblyai,
    /// An agent of ElevenLabs.
    Elevenlabs,
    /// Cartesia's transcription.
    Cartesia,
    /// Speechmatics' transcription.
    Speechmatics,
    /// Mistral's transcription.
    Mistral,
    /// OpenAI's chat completions, over HTTP.
    Chat,
    /// Anthropic's Messages, over HTTP.
    Messages,
    /// Google's generateContent, over HTTP.
    Generate,
}

/// What a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    WebSocket,
    /// A connection with one request after the other.
    Http,
    /// A call: a data channel and a line of sound.
    WebRtc,
}

impl Dialect {
    /// The path unless one is given.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Dialect::Openai | Dialect::Xai => "/v1/realtime",
            Dialect::Translation => "/v1/realtime/translations",
            Dialect::GptLive => "/v1/live/sessions",
            Dialect::Responses => "/v1/responses",
            Dialect::Azure => "/openai/v1/realtime",
            Dialect::QwenOmni => "/api-ws/v1/realtime",
            Dialect::Inworld => "/api/v1/realtime/session",
            Dialect::Gemini => {
                "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
            }
            Dialect::Interactions => "/v1beta/interactions/live",
            Dialect::Deepgram => "/v1/listen",
            Dialect::Assemblyai => "/v3/ws",
            Dialect::Elevenlabs => "/v1/convai/conversation",
            Dialect::Cartesia => "/stt/websocket",
            Dialect::Speechmatics => "/v2",
            Dialect::Mistral => "/v1/audio/transcriptions/realtime",
            Dialect::Chat => "/v1/chat/completions",
            Dialect::Messages => "/v1/messages",
            Dialect::Generate => "/v1beta/models",
        }
    }

    /// The model unless one is given.
    pub(crate) fn model(self) -> &'static str {
        match self {
            Dialect::Openai | Dialect::Azure => "gpt-realtime-2.1",
            Dialect::Translation => "gpt-realtime-translate",
            Dialect::GptLive => "gpt-live-1",
            Dialect::Responses | Dialect::Chat => "gpt-6-sol",
            Dialect::Xai => "grok-voice-latest",
            Dialect::QwenOmni => "qwen-audio-3.1-realtime-flash",
            Dialect::Inworld => "gpt-realtime-mini",
            Dialect::Gemini => "gemini-3.8-live",
            Dialect::Interactions | Dialect::Generate => "gemini-3.8-flash",
            Dialect::Messages => "claude-sonnet-5-5",
            Dialect::Deepgram => "nova-3",
            Dialect::Assemblyai => "universal-3.6-pro-realtime",
            Dialect::Elevenlabs => "convai",
            Dialect::Cartesia => "ink-2",
            Dialect::Speechmatics => "enhanced",
            Dialect::Mistral => "voxtral-mini-transcribe-realtime-2602",
        }
    }

    /// The path that calls are asked for at unless one is given.
    ///
    /// # Errors
    /// It has no calls.
    pub(crate) fn path_of_calls(self) -> Result<&'static str, String> {
        match self {
            Dialect::Openai => Ok("/v1/realtime/calls"),
            Dialect::Azure => Ok("/openai/v1/realtime/calls"),
            Dialect::GptLive => Ok(self.path()),
            _ => Err(format!("{self:?} has no calls over WebRTC; openai, azure and gpt-live have")),
        }
    }

    /// The session that a call is asked for with.
    pub(crate) fn session_of_call(self, model: &str) -> Value {
        match self {
            Dialect::GptLive => json!({"model": model}),
            _ => json!({"type": "realtime", "model": model}),
        }
    }

    /// What is at an address of this scheme.
    pub(crate) fn over(self, scheme: &str) -> Result<Over, String> {
        let is_http = scheme.starts_with("http");
        match self {
            Dialect::Chat | Dialect::Messages | Dialect::Generate if !is_http => {
                Err(format!("{scheme}://: {self:?} is spoken at http:// or https://"))
            }
            Dialect::Chat | Dialect::Messages | Dialect::Generate => Ok(Over::Http),
            Dialect::Responses if is_http => Ok(Over::Http),
            _ => Ok(Over::WebSocket),
        }
    }

    /// Over HTTP: what stands behind the path, and in the query.
    pub(crate) fn method(self, model: &str, is_streamed: bool) -> (String, &'static str) {
        match (self, is_streamed) {
            (Dialect::Generate, true) => (format!("/{model}:streamGenerateContent"), "alt=sse"),
            (Dialect::Generate, false) => (format!("/{model}:generateContent"), ""),
            _ => (String::new(), ""),
        }
    }

    /// Over HTTP: what a request must say besides its credential.
    pub(crate) fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Dialect::Messages => &[("anthropic-version", "2023-06-01")],
            _ => &[],
        }
    }

    /// The model is in the first message.
    fn is_opened_by_client(self) -> bool {
        let by_client = [Dialect::GptLive, Dialect::Responses, Dialect::Gemini];
        by_client.contains(&self) || [Dialect::Interactions, Dialect::Speechmatics].contains(&self)
    }

    /// The provider says nothing before it hears sound.
    pub(crate) fn is_silent(self) -> bool {
        [Dialect::Deepgram, Dialect::Cartesia].contains(&self)
    }

    /// The microphone is heard in binary.
    pub(crate) fn hears_binary(self) -> bool {
        self.is_silent() || [Dialect::Assemblyai, Dialect::Speechmatics].contains(&self)
    }

    /// What the query says of the model.
    pub(crate) fn query(self, model: &str) -> String {
        match self {
            Dialect::Deepgram => format!("model={model}&encoding=linear16&sample_rate=16000"),
            Dialect::Assemblyai => format!("speech_model={model}&sample_rate=16000"),
            Dialect::Elevenlabs => "agent_id=agent_1".to_owned(),
            Dialect::Cartesia => format!("model={model}&encoding=pcm_s16le&sample_rate=16000"),
            _ if self.is_opened_by_client() => String::new(),
            _ => format!("model={model}"),
        }
    }

    /// The header that holds the key.
    pub(crate) fn credential(self, key: &str) -> String {
        match self {
            Dialect::Gemini | Dialect::Interactions | Dialect::Generate => format!("x-goog-api-key: {key}"),
            Dialect::Deepgram => format!("authorization: Token {key}"),
            Dialect::Assemblyai => format!("authorization: {key}"),
            Dialect::Elevenlabs => format!("xi-api-key: {key}"),
            Dialect::Cartesia | Dialect::Messages => format!("x-api-key: {key}"),
            Dialect::Azure => format!("api-key: {key}"),
            _ => format!("authorization: Bearer {key}"),
        }
    }

    /// What the client says before it is greeted, if anything; by `handle` it goes on with a session, and with an empty one it
    /// wants to be given such.
    pub(crate) fn first_message(self, model: &str, path: &str, handle: Option<&str>) -> Option<String> {
        let family = if path.contains("aiplatform") { "publishers/google/models" } else { "models" };
        match self {
            Dialect::GptLive => {
                let delegation = json!({"type": "responses", "responses": {"model": "gpt-6-luna"}});
                let session = json!({"model": model, "delegation": delegation});
                Some(json!({"type": "session.start", "session": session}).to_string())
            }
            Dialect::Responses => Some(response_request(model)),
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
            Dialect::Interactions => {
                Some(json!({"event_type": "interaction.create", "model": model}).to_string())
            }
            Dialect::Elevenlabs => Some(json!({"type": "conversation_initiation_client_data"}).to_string()),
            Dialect::Speechmatics => {
                let form = json!({"type": "raw", "encoding": "pcm_s16le", "sample_rate": 16_000});
                let config = json!({"language": "en", "operating_point": model});
                let start = json!({"message": "StartRecognition", "audio_format": form,
                    "transcription_config": config});
                Some(start.to_string())
            }
            _ => None,
        }
    }

    /// Whether a first message is the greeting.
    pub(crate) fn is_greeting(self, payload: &[u8]) -> bool {
        let has = |word: &str| memchr::memmem::find(payload, word.as_bytes()).is_some();
        match self {
            Dialect::GptLive => has("\"session.started\""),
            Dialect::Responses => has("\"response.created\""),
            Dialect::Gemini => has("\"setupComplete\""),
            _ => true,
        }
    }

    /// A piece of what the microphone hears, in base64; of those who hear it in binary it is not asked.
    pub(crate) fn append(self, audio: &str) -> String {
        match self {
            Dialect::Gemini => {
                format!(
                    r#"{{"realtimeInput":{{"audio":{{"mimeType":"audio/pcm;rate=16000","data":"{audio}"}}}}}}"#
                )
            }
            Dialect::Translation => {
                format!(r#"{{"type":"session.input_audio_buffer.append","audio":"{audio}"}}"#)
            }
            Dialect::GptLive => format!(r#"{{"type":"session.input_audio.append","audio":"{audio}"}}"#),
            Dialect::Interactions => {
                format!(r#"{{"event_type":"input","content":[{{"type":"audio","data":"{audio}"}}]}}"#)
            }
            Dialect::Elevenlabs => format!(r#"{{"user_audio_chunk":"{audio}"}}"#),
            Dialect::Mistral => format!(r#"{{"audio":"{audio}","type":"input_audio.append"}}"#),
            _ => format!(r#"{{"type":"input_audio_buffer.append","audio":"{audio}"}}"#),
        }
    }

    /// What sessions that are only load say and hear.
    pub(crate) fn load(self) -> stamp::Form {
        if self == Dialect::Gemini { stamp::GEMINI } else { stamp::OPENAI }
    }
}

/// What asks for a response where each names its model.
pub(crate) fn response_request(model: &str) -> String {
    json!({"type": "response.create", "model": model, "input": "Count to three."}).to_string()
}
