//! The protocols that come with the product: what each provider calls what, and how it says that a session ends.

use super::{Asked, Bills, Duration, Stated, Told};

/// Parameters of the query, under the names that most providers use.
const IN_QUERY: Asked = Asked {
    event: None,
    model: &["model"],
    model_default: "unknown",
    terms: &[],
    kind: "",
    encoding: "encoding",
    encoding_default: "",
    sample_rate: "sample_rate",
    sample_rate_default: 16_000,
    channels: "",
    each_channel: "",
    end: None,
};

/// A protocol that says nothing of what it bills, and whose SDKs tell a close with its reason.
const SILENT: Told =
    Told { kind: "type", settings: &[], begins: None, ends: None, addresses: (&[], ""), error: None };

const DEEPGRAM_ERROR: &str =
    r#"{"type":"Error","code":"{code}","variant":"{code}","description":"{message}","message":"{message}"}"#;

/// What a configuration says is all there is.
pub(in super::super) const PLAIN: Duration = Duration {
    name: "duration",
    paths: &[],
    bills: Bills::Connection,
    asked: Asked { channels: "channels", ..IN_QUERY },
    told: SILENT,
};

/// Speech to text. Each channel is billed where they are written down apart, and the end states how long all was; of Flux
/// there is no such end, and sound alone tells. Without an encoding it is a container.
pub(in super::super) const DEEPGRAM: Duration = Duration {
    name: "deepgram",
    paths: &["/v1/listen", "/v2/listen"],
    bills: Bills::Binary,
    asked: Asked {
        model_default: "base",
        terms: &[("language", "language")],
        channels: "channels",
        each_channel: "multichannel",
        end: Some(r#"{"type":"CloseStream"}"#),
        ..IN_QUERY
    },
    told: Told {
        ends: Some(Stated { event: "Metadata", seconds: "duration", times: "channels" }),
        error: Some(DEEPGRAM_ERROR),
        ..SILENT
    },
};

/// What nobody has told of is how its sound comes, so that its connection is billed.
pub(in super::super) const XAI_STT: Duration = Duration {
    name: "xai_stt",
    paths: &["/v1/stt"],
    bills: Bills::Connection,
    asked: Asked { model_default: "grok-transcribe", ..IN_QUERY },
    told: SILENT,
};

/// What it costs follows from the models that its settings name; they are one price here.
pub(in super::super) const DEEPGRAM_AGENT: Duration = Duration {
    name: "deepgram_agent",
    paths: &["/v1/agent/converse"],
    bills: Bills::Connection,
    asked: Asked { model: &[], model_default: "voice-agent", ..IN_QUERY },
    told: Told { error: Some(DEEPGRAM_ERROR), ..SILENT },
};

/// The session is billed, and not its sound. Its SDKs put words of their own in the place of a close's, but not of this event's.
pub(in super::super) const ASSEMBLYAI: Duration = Duration {
    name: "assemblyai",
    paths: &["/v3/ws"],
    bills: Bills::Connection,
    asked: Asked {
        model: &["speech_model"],
        model_default: "universal-streaming-english",
        end: Some(r#"{"type":"Terminate"}"#),
        ..IN_QUERY
    },
    told: Told {
        begins: Some("Begin"),
        ends: Some(Stated { event: "Termination", seconds: "session_duration_seconds", times: "" }),
        error: Some(r#"{"type":"Error","error_code":{close_code},"error":"{message}"}"#),
        ..SILENT
    },
};

pub(in super::super) const ASSEMBLYAI_AGENT: Duration = Duration {
    name: "assemblyai_agent",
    paths: &["/v1/ws"],
    bills: Bills::Connection,
    asked: Asked { model: &[], model_default: "voice-agent-api", ..IN_QUERY },
    told: Told {
        begins: Some("session.ready"),
        error: Some(r#"{"type":"session.error","code":"{code}","message":"{message}"}"#),
        ..SILENT
    },
};

/// An agent has one price, whatever it is made of: the provider tells nobody of it here. Who may talk to one that is not open to
/// all is told a signed URL.
pub(in super::super) const ELEVENLABS_AGENT: Duration = Duration {
    name: "elevenlabs_agent",
    paths: &["/v1/convai/conversation"],
    bills: Bills::Connection,
    asked: Asked { model: &[], model_default: "convai", ..IN_QUERY },
    told: Told {
        addresses: (
            &["/v1/convai/conversation/get-signed-url", "/v1/convai/conversation/get_signed_url"],
            "signed_url",
        ),
        ..SILENT
    },
};

/// Speech to text.
pub(in super::super) const CARTESIA: Duration = Duration {
    name: "cartesia",
    paths: &["/stt/websocket"],
    bills: Bills::Binary,
    asked: Asked { model_default: "ink-whisper", encoding_default: "pcm_s16le", ..IN_QUERY },
    told: Told { error: Some(r#"{"type":"error","code":{close_code},"message":"{message}"}"#), ..SILENT },
};

pub(in super::super) const CARTESIA_AGENT: Duration = Duration {
    name: "cartesia_agent",
    paths: &["/v1/agents/websocket/*", "/v1/agents/stream/*", "/agents/websocket/*", "/agents/stream/*"],
    bills: Bills::Connection,
    asked: Asked { model: &[], model_default: "line-agent", ..IN_QUERY },
    told: SILENT,
};

/// Sound is what is billed, and nobody tells how much that was. Without an encoding it is a file.
pub(in super::super) const SPEECHMATICS: Duration = Duration {
    name: "speechmatics",
    paths: &["/v2"],
    bills: Bills::Binary,
    asked: Asked {
        event: Some("StartRecognition"),
        model: &["transcription_config.model", "transcription_config.operating_point"],
        model_default: "standard",
        kind: "audio_format.type",
        encoding: "audio_format.encoding",
        sample_rate: "audio_format.sample_rate",
        ..IN_QUERY
    },
    told: Told {
        kind: "message",
        error: Some(r#"{"message":"Error","type":"{code}","reason":"{message}","code":{close_code}}"#),
        ..SILENT
    },
};

/// Speech to text as it is spoken. Errors have a number where others have a word.
pub(in super::super) const MISTRAL: Duration = Duration {
    name: "mistral",
    paths: &["/v1/audio/transcriptions/realtime"],
    bills: Bills::Base64 { event: "input_audio.append", field: "audio" },
    asked: Asked {
        model_default: "voxtral-mini-transcribe-realtime-2602",
        encoding: "session.audio_format.encoding",
        encoding_default: "pcm_s16le",
        sample_rate: "session.audio_format.sample_rate",
        end: Some(r#"{"type":"input_audio.end"}"#),
        ..IN_QUERY
    },
    told: Told {
        settings: &["session.created", "session.updated"],
        ends: Some(Stated { event: "transcription.done", seconds: "usage.prompt_audio_seconds", times: "" }),
        error: Some(r#"{"type":"error","error":{"message":"{message}","code":{close_code}}}"#),
        ..SILENT
    },
};
