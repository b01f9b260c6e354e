//! Reading what a client says: one word a message, in camelCase or snake_case.

use crate::provider::formula::pcm16_us;
use serde_json::Value;

/// What may be said; `setup` first and only then.
const WORDS: [&str; 4] = ["setup", "clientContent", "realtimeInput", "toolResponse"];
const RATE: u64 = 16_000;

/// What of a setup changes what is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Setup {
    /// As it came, such as `models/gemini-3.8-live` or `projects/P/locations/L/publishers/google/models/M`.
    pub(super) model: String,
    /// It answers in speech, not in text.
    pub(super) audio: bool,
    /// The functions that it may call.
    pub(super) functions: Vec<String>,
    pub(super) transcribes_input: bool,
    pub(super) transcribes_output: bool,
    /// The client says when it speaks.
    pub(super) manual: bool,
    /// What the client says ends what is being said to it.
    pub(super) interruptible: bool,
    pub(super) tells_thoughts: bool,
    /// It is told handles for resumption.
    pub(super) resumable: bool,
    /// The handle of what it resumes.
    pub(super) handle: Option<String>,
}

impl Setup {
    pub(super) fn of(body: &Value) -> Setup {
        let generation = field(body, "generationConfig");
        let modalities = field(generation, "responseModalities").as_array();
        let input = field(body, "realtimeInputConfig");
        let resumption = field(body, "sessionResumption");
        let tools = field(body, "tools").as_array().into_iter().flatten();
        let functions =
            tools.flat_map(|tool| field(tool, "functionDeclarations").as_array().into_iter().flatten());
        Setup {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            audio: modalities.is_none_or(|list| list.iter().any(|modality| modality == "AUDIO")),
            functions: functions
                .filter_map(|function| function["name"].as_str())
                .map(str::to_owned)
                .collect(),
            transcribes_input: field(body, "inputAudioTranscription").is_object(),
            transcribes_output: field(body, "outputAudioTranscription").is_object(),
            manual: field(field(input, "automaticActivityDetection"), "disabled") == true,
            interruptible: field(input, "activityHandling") != "NO_INTERRUPTION",
            tells_thoughts: field(field(generation, "thinkingConfig"), "includeThoughts") == true,
            resumable: resumption.is_object(),
            handle: field(resumption, "handle")
                .as_str()
                .filter(|handle| !handle.is_empty())
                .map(str::to_owned),
        }
    }

    /// The model without what stands before it.
    pub(super) fn model_name(&self) -> &str {
        self.model.rsplit('/').next().unwrap_or_default()
    }
}

/// A field by its camelCase name, spelt so or in snake_case; null where there is none.
pub(super) fn field<'a>(of: &'a Value, camel: &str) -> &'a Value {
    of.get(camel).unwrap_or_else(|| &of[snake(camel)])
}

fn snake(camel: &str) -> String {
    camel
        .chars()
        .flat_map(|c| c.is_ascii_uppercase().then_some('_').into_iter().chain([c.to_ascii_lowercase()]))
        .collect()
}

/// The one word that a message says, and what it says by it.
pub(super) fn word(message: &Value) -> Option<(&'static str, &Value)> {
    let mut fields = message.as_object()?.keys();
    let (name, None) = (fields.next()?, fields.next()) else { return None };
    let word = WORDS.into_iter().find(|word| name == word || *name == snake(word))?;
    Some((word, &message[name]))
}

/// What is said to a message that says none of the words, or several.
pub(super) fn unknown_name(message: &Value) -> String {
    let mut names = message.as_object().into_iter().flatten().map(|(name, _)| name);
    let is_unknown = |name: &&String| !WORDS.iter().any(|word| *name == word || **name == snake(word));
    match names.find(is_unknown) {
        Some(name) => format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."),
        None => super::INVALID.to_owned(),
    }
}

pub(super) fn mime_type(blob: &Value) -> &str {
    field(blob, "mimeType").as_str().unwrap_or_default()
}

/// How long the audio of a blob plays, in microseconds: 16-bit samples, at the rate that its type names.
pub(super) fn audio_us(blob: &Value) -> u64 {
    let rate = mime_type(blob).split("rate=").nth(1).and_then(|rate| rate.trim().parse().ok());
    let data = blob["data"].as_str().unwrap_or_default().trim_end_matches('=');
    pcm16_us(data.len() as u64 * 3 / 4, rate.filter(|&rate| rate > 0).unwrap_or(RATE))
}
