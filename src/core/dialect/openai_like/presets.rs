//! The work-alikes that are known by name.

use super::super::{AudioRate, Rates};
use super::OpenaiLike;

/// As OpenAI has it, for a configuration to say what differs.
pub(in super::super) static PLAIN: OpenaiLike = OpenaiLike { has_calls: true, ..USUAL };

const USUAL: OpenaiLike = OpenaiLike {
    name: "openai_like",
    paths: &[],
    usage: &[],
    events: &[],
    model_in: &[],
    models: &[],
    tails: &[],
    transcribes_apart: true,
    bills_time: false,
    names_session: false,
    has_calls: false,
    rates: Rates {
        input: AudioRate::PCM16_24KHZ,
        output: AudioRate::PCM16_24KHZ,
        heard_ms_per_token: 100,
        said_ms_per_token: 50,
        image_tokens: 85,
        sound_is_read_as_it_comes: false,
        sound_is_billed: false,
    },
};

/// Azure OpenAI: GA, and the preview with its former names.
pub(in super::super) static AZURE: OpenaiLike = OpenaiLike {
    name: "azure",
    paths: &["/openai/v1/realtime", "/openai/realtime"],
    has_calls: true,
    ..USUAL
};

/// Azure Voice Live. Its models' names say where they run. It bills text and sound; what it writes down (by `azure-speech`) has
/// no price of its own.
pub(in super::super) static AZURE_VOICE_LIVE: OpenaiLike = OpenaiLike {
    name: "azure_voice_live",
    paths: &["/voice-live/realtime"],
    tails: &["-global-standard", "-datazone"],
    transcribes_apart: false,
    ..USUAL
};

/// Alibaba's Qwen-Omni-Realtime. What it writes down has no price of its own.
pub(in super::super) static QWEN_OMNI: OpenaiLike = OpenaiLike {
    name: "qwen_omni",
    paths: &["/api-ws/v1/realtime"],
    transcribes_apart: false,
    rates: Rates { input: AudioRate { bytes_per_second: 32_000 }, ..USUAL.rates },
    ..USUAL
};

/// Inworld Realtime, whose usage stands in the response or beside it.
pub(in super::super) static INWORLD: OpenaiLike =
    OpenaiLike { name: "inworld", paths: &["/api/v1/realtime/session"], names_session: true, ..USUAL };

/// ElevenLabs Realtime: the connection's minutes, and tokens.
pub(in super::super) static ELEVENLABS: OpenaiLike =
    OpenaiLike { name: "elevenlabs_realtime", paths: &["/v1/convai/realtime"], bills_time: true, ..USUAL };
