//! Providers that speak OpenAI Realtime with differences of their own: where they tell usage, and what they bill.

use super::OpenAi;
use super::event::{self, Names};
use crate::http::Request;
use crate::provider::audit::{Booking, Fact};
use crate::provider::session::Session;
use crate::provider::sim::UsageForm;
use serde_json::{Value, json};
use tokenist_core::usage::Usage;

/// Whose front it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// Also Azure's.
    OpenAi,
    /// Azure's preview: former names.
    AzurePreview,
    /// Azure Voice Live: former names; what is written down is not told with its usage.
    VoiceLive,
    /// Usage beside the response with a running figure of seconds; items of text are billed each, tokens not.
    Xai,
    /// Former names, and details in the plural.
    Qwen,
    /// Usage beside the response.
    Inworld,
}

impl Front {
    /// By the path, and xAI, whose path is OpenAI's, by its models.
    pub(super) fn of(request: &Request) -> Front {
        let model = request.parameter("model").unwrap_or_default();
        match () {
            () if request.path.contains("/api-ws/") => Front::Qwen,
            () if request.path.contains("/realtime/session") => Front::Inworld,
            () if request.path.contains("/voice-live/") => Front::VoiceLive,
            () if request.path.ends_with("/openai/realtime") => Front::AzurePreview,
            () if model.starts_with("grok") => Front::Xai,
            () => Front::OpenAi,
        }
    }

    pub(super) fn is_beta(self) -> bool {
        matches!(self, Front::AzurePreview | Front::VoiceLive | Front::Qwen)
    }

    /// Whether what is written down is told with its usage, at a price of its own.
    pub(super) fn bills_transcriptions(self) -> bool {
        matches!(self, Front::OpenAi | Front::AzurePreview | Front::Inworld)
    }

    /// In which names it tells usage: Voice Live in today's, whatever it calls events.
    pub(super) fn usage_names(self, names: Names) -> Names {
        if self == Front::VoiceLive { Names::Ga } else { names }
    }

    /// What is billed for a response with this usage: at xAI the time as well that was said in it.
    pub(super) fn billed(self, usage: Usage) -> Usage {
        let duration_ms = if self == Front::Xai { 50 * usage.audio_out } else { 0 };
        Usage { duration_ms, ..usage }
    }
}

impl Session<OpenAi> {
    /// xAI names the conversation, and some of its clients wait for that.
    pub(super) fn tell_conversation(&self) {
        if self.dialect.front == Front::Xai {
            let id = self.id().replacen("sess", "conv", 1);
            let conversation = json!({"id": id, "object": "realtime.conversation"});
            self.say("conversation.created", json!({"conversation": conversation}));
        }
    }

    /// Places a usage in a `response.done` body, as this front does it or as it is asked to.
    pub(super) fn tell_usage(&self, body: &mut Value, form: UsageForm, usage: &Usage) {
        let front = self.dialect.front;
        let mut told = event::usage(usage, front.usage_names(self.dialect.names));
        if front == Front::Xai {
            let mut state = self.dialect.state.borrow_mut();
            state.billed_ms += front.billed(*usage).duration_ms;
            told["billable_audio_seconds"] = json!(state.billed_ms as f64 / 1_000.0);
        }
        if front == Front::Qwen {
            for direction in ["input", "output"] {
                told[format!("{direction}_tokens_details")] =
                    told[format!("{direction}_token_details")].take();
            }
        }
        let form = match (front, form) {
            (Front::Xai | Front::Inworld, UsageForm::Once) => UsageForm::TopLevel,
            (_, form) => form,
        };
        event::place_usage(body, form, told);
    }

    /// An item of text is billed by itself, where items are.
    pub(super) fn bill_item(&self, item: &Value) {
        let has_sound =
            item["content"].as_array().into_iter().flatten().any(|part| part["type"] == "input_audio");
        if self.dialect.front != Front::Xai || has_sound || item["type"] == "function_call_output" {
            return;
        }
        let fact = Fact::Item(Usage { items_in: 1, ..Usage::default() });
        let (key, model) = (self.key.clone(), self.model());
        self.count(&Booking { key, model, delivered: fact, lost: fact, once: None }, fact);
    }
}

impl Names {
    /// What remains of a usage in these names.
    pub(super) fn tellable(self, usage: Usage) -> Usage {
        match self {
            Names::Ga => usage,
            Names::Beta => event::as_beta(usage),
        }
    }
}
