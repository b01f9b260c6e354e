//! What each provider that bills time says and hears.

use serde_json::{Value, json};

/// Whose words are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    Deepgram,
    /// Deepgram's Flux, which states no figure.
    Flux,
    DeepgramAgent,
    AssemblyAi,
    ElevenLabs,
    Cartesia,
    CartesiaAgent,
    Speechmatics,
    Mistral,
}

/// What time is billed, and in what steps it is stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bills {
    Sound,
    SoundInSeconds,
    Connection,
    ConnectionInSeconds,
}

/// What a message of a client is.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Nothing,
    Answer(Value),
    /// The session begins with it.
    Setup {
        model: Option<String>,
        answer: Value,
    },
    /// Sound is of another form from now on.
    Form {
        encoding: String,
        sample_rate: u64,
        answer: Value,
    },
    /// In base64.
    Sound(String),
    /// No sound follows.
    End,
}

impl Front {
    pub(super) fn of(path: &str) -> Option<Front> {
        let path = path.trim_end_matches('/');
        let ends = [
            ("/v1/listen", Front::Deepgram),
            ("/v2/listen", Front::Flux),
            ("/v1/agent/converse", Front::DeepgramAgent),
            ("/v3/ws", Front::AssemblyAi),
            ("/v1/convai/conversation", Front::ElevenLabs),
            ("/stt/websocket", Front::Cartesia),
            ("/v2", Front::Speechmatics),
            ("/v1/audio/transcriptions/realtime", Front::Mistral),
        ];
        let whole = ends.into_iter().find(|(end, _)| path.ends_with(end)).map(|(_, front)| front);
        whole.or_else(|| path.contains("/agents/websocket/").then_some(Front::CartesiaAgent))
    }

    pub(super) fn model_parameter(self) -> &'static str {
        if self == Front::AssemblyAi { "speech_model" } else { "model" }
    }

    /// Where none is named.
    pub(super) fn model(self) -> &'static str {
        match self {
            Front::Deepgram => "base",
            Front::Flux => "flux-general-en",
            Front::DeepgramAgent => "voice-agent",
            Front::AssemblyAi => "universal-streaming-english",
            Front::ElevenLabs => "convai",
            Front::Cartesia => "ink-whisper",
            Front::CartesiaAgent => "line-agent",
            Front::Speechmatics => "standard",
            Front::Mistral => "voxtral-mini-transcribe-realtime-2602",
        }
    }

    pub(super) fn bills(self) -> Bills {
        match self {
            Front::Deepgram | Front::Flux | Front::Cartesia | Front::Speechmatics => Bills::Sound,
            Front::Mistral => Bills::SoundInSeconds,
            Front::AssemblyAi => Bills::ConnectionInSeconds,
            Front::DeepgramAgent | Front::ElevenLabs | Front::CartesiaAgent => Bills::Connection,
        }
    }

    /// Nothing is heard before the client has said what it wants.
    pub(super) fn waits_for_setup(self) -> bool {
        self == Front::Speechmatics
    }

    /// What it says first, if it says something before the client does.
    pub(super) fn greeting(self, id: &str, model: &str) -> Option<Value> {
        match self {
            Front::Deepgram | Front::Cartesia | Front::CartesiaAgent | Front::Speechmatics => None,
            Front::Flux => Some(json!({"type": "Connected", "request_id": id, "sequence_id": 0})),
            Front::DeepgramAgent => Some(json!({"type": "Welcome", "request_id": id})),
            Front::AssemblyAi => Some(json!({"type": "Begin", "id": id, "expires_at": 1_797_000_000})),
            Front::ElevenLabs => Some(json!({
                "type": "conversation_initiation_metadata",
                "conversation_initiation_metadata_event": {"conversation_id": id,
                    "agent_output_audio_format": "pcm_16000", "user_input_audio_format": "pcm_16000"},
            })),
            Front::Mistral => {
                let session = mistral_session(id, model, "pcm_s16le", 16_000);
                Some(json!({"type": "session.created", "session": session}))
            }
        }
    }

    pub(super) fn hear(self, message: &Value) -> Heard {
        let kind = message["type"].as_str().or(message["message"].as_str()).or(message["event"].as_str());
        match (self, kind.unwrap_or_default()) {
            (Front::Deepgram | Front::Flux, "CloseStream") => Heard::End,
            (Front::AssemblyAi, "Terminate") => Heard::End,
            (Front::Speechmatics, "EndOfStream") => Heard::End,
            (Front::Mistral, "input_audio.end") => Heard::End,
            (Front::DeepgramAgent, "Settings") => Heard::Answer(json!({"type": "SettingsApplied"})),
            (Front::CartesiaAgent, "start") => {
                Heard::Answer(json!({"event": "ack", "stream_id": "stream_1", "config": message["config"]}))
            }
            (Front::Speechmatics, "StartRecognition") => {
                let config = &message["transcription_config"];
                let model =
                    config["model"].as_str().or(config["operating_point"].as_str()).map(str::to_owned);
                let pack = json!({"language_description": "English", "word_delimiter": " ",
                    "writing_direction": "left-to-right", "itn": true, "adapted": false});
                let answer = json!({"message": "RecognitionStarted", "id": "sm-1", "orchestrator_version": "2026.10",
                    "language_pack_info": pack});
                Heard::Setup { model, answer }
            }
            (Front::Mistral, "session.update") => {
                let form = &message["session"]["audio_format"];
                let encoding = form["encoding"].as_str().unwrap_or("pcm_s16le").to_owned();
                let sample_rate = form["sample_rate"].as_u64().unwrap_or(16_000);
                let session = mistral_session("again", self.model(), &encoding, sample_rate);
                let answer = json!({"type": "session.updated", "session": session});
                Heard::Form { encoding, sample_rate, answer }
            }
            (Front::Mistral, "input_audio.append") => sound(&message["audio"]),
            (Front::CartesiaAgent, "media_input") => sound(&message["media"]["payload"]),
            (Front::ElevenLabs, "user_message") => Heard::Answer(self.transcript("-", true)),
            (Front::ElevenLabs, _) if message["user_audio_chunk"].is_string() => {
                sound(&message["user_audio_chunk"])
            }
            _ => Heard::Nothing,
        }
    }

    /// What it has understood, or answers.
    pub(super) fn transcript(self, id: &str, is_final: bool) -> Value {
        match self {
            Front::Deepgram => json!({
                "type": "Results", "channel_index": [0, 1], "duration": 0.1, "start": 0.0, "is_final": is_final,
                "speech_final": is_final, "from_finalize": false,
                "channel": {"alternatives": [{"transcript": "hello there", "confidence": 0.9, "words": []}]},
                "metadata": {"request_id": id, "model_uuid": "uuid-1",
                    "model_info": {"name": "general", "version": "2026-07-02.0", "arch": "nova-3"}},
            }),
            Front::Flux => json!({
                "type": "TurnInfo", "request_id": id, "sequence_id": 1, "turn_index": 0, "words": [],
                "event": if is_final { "EndOfTurn" } else { "Update" }, "audio_window_start": 0.0,
                "audio_window_end": 0.1, "transcript": "hello there", "end_of_turn_confidence": 0.9,
            }),
            Front::DeepgramAgent => {
                json!({"type": "ConversationText", "role": "assistant", "content": "hello there"})
            }
            Front::AssemblyAi => json!({
                "type": "Turn", "turn_order": 0, "turn_is_formatted": true, "end_of_turn": is_final,
                "transcript": "hello there", "end_of_turn_confidence": 0.9, "words": [],
            }),
            Front::ElevenLabs => json!({
                "type": "agent_response", "agent_response_event": {"agent_response": "hello there"},
            }),
            Front::Cartesia => json!({
                "type": "transcript", "is_final": is_final, "request_id": id, "text": "hello there",
                "duration": 0.1, "language": "en",
            }),
            Front::CartesiaAgent => {
                json!({"event": "media_output", "stream_id": "stream_1", "media": {"payload": "AAAA"}})
            }
            Front::Speechmatics => json!({
                "message": if is_final { "AddTranscript" } else { "AddPartialTranscript" }, "format": "2.9",
                "metadata": {"start_time": 0.0, "end_time": 0.1, "transcript": "hello there "}, "results": [],
            }),
            Front::Mistral => json!({"type": "transcription.text.delta", "text": "hello there "}),
        }
    }

    /// What it says last, with so much time where it states it.
    pub(super) fn end(self, id: &str, ms: u64, channels: u64) -> Value {
        match self {
            Front::Deepgram => json!({
                "type": "Metadata", "transaction_key": "deprecated", "request_id": id, "sha256": "00",
                "created": "2026-11-28T09:00:00.000Z", "duration": ms as f64 / channels as f64 / 1e3, "channels": channels,
            }),
            Front::AssemblyAi => json!({
                "type": "Termination", "audio_duration_seconds": 0, "session_duration_seconds": ms / 1_000,
            }),
            Front::Mistral => json!({
                "type": "transcription.done", "model": self.model(), "text": "hello there", "language": "en",
                "segments": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0,
                    "prompt_audio_seconds": ms / 1_000},
            }),
            Front::Speechmatics => json!({"message": "EndOfTranscript"}),
            Front::Cartesia => json!({"type": "done", "request_id": id}),
            Front::Flux | Front::DeepgramAgent | Front::ElevenLabs | Front::CartesiaAgent => {
                self.transcript(id, true)
            }
        }
    }
}

/// Takes what states a time out of a last message.
pub(super) fn forget_figures(end: &mut Value) {
    let Some(fields) = end.as_object_mut() else { return };
    fields.retain(|name, _| !["duration", "session_duration_seconds", "usage"].contains(&name.as_str()));
}

fn sound(base64: &Value) -> Heard {
    Heard::Sound(base64.as_str().unwrap_or_default().to_owned())
}

fn mistral_session(id: &str, model: &str, encoding: &str, sample_rate: u64) -> Value {
    let form = json!({"encoding": encoding, "sample_rate": sample_rate});
    json!({"request_id": id, "model": model, "audio_format": form, "target_streaming_delay_ms": null})
}
