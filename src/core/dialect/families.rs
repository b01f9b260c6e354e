//! All families that there are: what a configuration may name, with what each name brings along.

use super::{
    ApiName, Dialect, Family, GeminiLive, GoogleInteractions, GptLive, GptLiveJoined, OpenaiRealtime,
    OpenaiTranslation, ResponsesWs, Xai, duration, openai_like, spoken_text,
};
use crate::auth_scheme::AuthScheme;

/// All that a configuration may name.
pub static FAMILIES: &[Family] = &[
    Family {
        name: "openai",
        dialects: &[&OpenaiRealtime, &OpenaiTranslation, &GptLive, &GptLiveJoined, &ResponsesWs],
        apis: &[ApiName::Openai],
        like: None,
        auth: AuthScheme::Bearer,
        path_mark: None,
        defaults: ["openai", "https://api.openai.com", "OPENAI_API_KEY"],
    },
    Family {
        name: "gemini",
        dialects: &[&GeminiLive, &GoogleInteractions],
        apis: &[ApiName::Google],
        like: None,
        auth: AuthScheme::Google,
        path_mark: None,
        defaults: ["google", "https://generativelanguage.googleapis.com", "GEMINI_API_KEY"],
    },
    Family {
        name: "anthropic",
        dialects: &[],
        apis: &[ApiName::Anthropic],
        like: None,
        auth: AuthScheme::Header("header:x-api-key"),
        path_mark: None,
        defaults: ["anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"],
    },
    Family {
        name: "azure",
        dialects: &[&openai_like::AZURE, &OpenaiTranslation, &GptLive, &GptLiveJoined, &ResponsesWs],
        apis: &[ApiName::Openai],
        like: Some(&openai_like::AZURE),
        auth: AuthScheme::ApiKey,
        path_mark: Some("/openai/"),
        defaults: ["azure", "", "AZURE_OPENAI_API_KEY"],
    },
    Family {
        name: "azure_voice_live",
        dialects: &[&openai_like::AZURE_VOICE_LIVE],
        apis: &[],
        like: Some(&openai_like::AZURE_VOICE_LIVE),
        auth: AuthScheme::ApiKey,
        path_mark: None,
        defaults: ["azure-voice-live", "", "AZURE_VOICELIVE_API_KEY"],
    },
    Family {
        name: "xai",
        dialects: &[&Xai, &ResponsesWs, &duration::XAI_STT],
        apis: &[ApiName::Openai],
        like: None,
        auth: AuthScheme::Bearer,
        path_mark: None,
        defaults: ["xai", "https://api.x.ai", "XAI_API_KEY"],
    },
    Family {
        name: "qwen_omni",
        dialects: &[&openai_like::QWEN_OMNI],
        apis: &[ApiName::Openai],
        like: Some(&openai_like::QWEN_OMNI),
        auth: AuthScheme::Bearer,
        path_mark: None,
        defaults: ["qwen", "https://dashscope-intl.aliyuncs.com", "DASHSCOPE_API_KEY"],
    },
    Family {
        name: "inworld",
        dialects: &[&openai_like::INWORLD],
        apis: &[],
        like: Some(&openai_like::INWORLD),
        auth: AuthScheme::Basic,
        path_mark: None,
        defaults: ["inworld", "https://api.inworld.ai", "INWORLD_API_KEY"],
    },
    Family {
        name: "elevenlabs_realtime",
        dialects: &[&openai_like::ELEVENLABS],
        apis: &[],
        like: Some(&openai_like::ELEVENLABS),
        auth: AuthScheme::Header("header:xi-api-key"),
        path_mark: None,
        defaults: ["elevenlabs", "https://api.elevenlabs.io", "ELEVENLABS_API_KEY"],
    },
    Family {
        name: "openai_like",
        dialects: &[&openai_like::PLAIN],
        apis: &[ApiName::Openai],
        like: Some(&openai_like::PLAIN),
        auth: AuthScheme::Bearer,
        path_mark: None,
        defaults: ["openai-like", "", "OPENAI_LIKE_API_KEY"],
    },
    Family {
        name: "deepgram",
        dialects: &[&duration::DEEPGRAM, &duration::DEEPGRAM_AGENT],
        apis: &[],
        like: None,
        auth: AuthScheme::Token,
        path_mark: None,
        defaults: ["deepgram", "https://api.deepgram.com", "DEEPGRAM_API_KEY"],
    },
    Family {
        name: "assemblyai",
        dialects: &[&duration::ASSEMBLYAI, &duration::ASSEMBLYAI_AGENT],
        apis: &[],
        like: None,
        auth: AuthScheme::Bare,
        path_mark: None,
        defaults: ["assemblyai", "https://streaming.assemblyai.com", "ASSEMBLYAI_API_KEY"],
    },
    Family {
        name: "elevenlabs",
        dialects: &[&duration::ELEVENLABS_AGENT, &spoken_text::ELEVENLABS],
        apis: &[],
        like: None,
        auth: AuthScheme::Header("header:xi-api-key"),
        path_mark: None,
        defaults: ["elevenlabs", "https://api.elevenlabs.io", "ELEVENLABS_API_KEY"],
    },
    Family {
        name: "cartesia",
        dialects: &[&duration::CARTESIA, &duration::CARTESIA_AGENT, &spoken_text::CARTESIA],
        apis: &[],
        like: None,
        auth: AuthScheme::Header("header:X-API-Key"),
        path_mark: None,
        defaults: ["cartesia", "https://api.cartesia.ai", "CARTESIA_API_KEY"],
    },
    Family {
        name: "speechmatics",
        dialects: &[&duration::SPEECHMATICS],
        apis: &[],
        like: None,
        auth: AuthScheme::Bearer,
        path_mark: None,
        defaults: ["speechmatics", "https://eu2.rt.speechmatics.com", "SPEECHMATICS_API_KEY"],
    },
    Family {
        name: "mistral",
        dialects: &[&duration::MISTRAL, &spoken_text::MISTRAL],
        apis: &[ApiName::Openai],
        like: None,
        auth: AuthScheme::Bearer,
        path_mark: None,
        defaults: ["mistral", "https://api.mistral.ai", "MISTRAL_API_KEY"],
    },
    Family {
        name: "duration",
        dialects: &[&duration::PLAIN],
        apis: &[],
        like: None,
        auth: AuthScheme::Bearer,
        path_mark: None,
        defaults: ["duration", "", "DURATION_API_KEY"],
    },
];

/// The family that a configuration calls so.
pub fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

/// In what a session is spoken to before it is known what it speaks.
pub fn usual() -> &'static dyn Dialect {
    FAMILIES[0].dialects[0]
}
