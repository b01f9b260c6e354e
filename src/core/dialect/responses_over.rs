//! What a `response` object of the Responses API states once it is over, wherever it stands: its usage, the tier that it was
//! given, and what the provider's own tools have used besides.

use super::ProviderEvent;
use super::fields::{find, object, text};
use super::openai_usage::{tools, usage};
use crate::json::{Field, Fields};
use crate::terms::Terms;
use crate::usage::Usage;
use std::borrow::Cow;

/// The model that makes pictures where the tool does not say.
pub(crate) const PAINTER: &str = "gpt-image-1";

#[derive(Debug, Default)]
pub(super) struct Over<'a> {
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) model: Option<Cow<'a, str>>,
    /// With the searches, if it states any number itself.
    pub(super) usage: Option<Usage>,
    pub(super) terms: Terms<'a>,
    pub(super) failed: bool,
    tools: Usage,
    pictures: Usage,
    painter: Option<Cow<'a, str>>,
}

impl<'a> Over<'a> {
    /// Of the fields of a `response`, or of what has its shape.
    pub(super) fn of(fields: Fields<'a>) -> Over<'a> {
        let mut over = Over::default();
        for field in fields {
            match &*field.key.bytes() {
                b"id" => over.id = text(field),
                b"model" => over.model = text(field),
                b"usage" if !field.cut => over.usage = object(field).and_then(usage),
                b"tool_usage" if !field.cut => object(field).into_iter().for_each(|used| over.take(used)),
                b"tools" if !field.cut => over.painter = painter(field),
                b"status" => over.failed = text(field).as_deref() == Some("failed"),
                b"service_tier" => {
                    if let Some(tier) = text(field) {
                        over.terms = over.terms.with("service_tier", tier);
                    }
                }
                _ => {}
            }
        }
        over.usage = over.usage.map(|usage| usage + over.tools);
        over
    }

    /// Pictures that were made cost what they do at the model that made them.
    pub(super) fn pictures(&self) -> Option<ProviderEvent<'a>> {
        (self.pictures != Usage::default()).then(|| ProviderEvent::Item {
            id: self.id.as_ref().map(|id| Cow::Owned(format!("{id} pictures"))),
            model: Some(self.painter.clone().unwrap_or(Cow::Borrowed(PAINTER))),
            usage: self.pictures,
            terms: Terms::default(),
        })
    }

    fn take(&mut self, used: Fields<'a>) {
        self.pictures = pictures(used.clone());
        self.tools = tools(used);
    }
}

/// What pictures have used by a `tool_usage`; of it that which no part names is text where they are asked for, and picture where
/// they are made.
pub(crate) fn pictures(used: Fields<'_>) -> Usage {
    let Some(fields) = find(used, "image_gen").and_then(object) else { return Usage::default() };
    let count = |name: &str| find(fields.clone(), name).and_then(|field| field.value.count()).unwrap_or(0);
    let part = |of: &str, name: &str| {
        let parts = find(fields.clone(), of).and_then(object);
        parts.and_then(|parts| find(parts, name)).and_then(|field| field.value.count())
    };
    let image_in = part("input_tokens_details", "image_tokens").unwrap_or(0);
    let text_out = part("output_tokens_details", "text_tokens").unwrap_or(0);
    Usage {
        image_in,
        text_in: count("input_tokens").saturating_sub(image_in),
        text_out,
        image_out: count("output_tokens").saturating_sub(text_out),
        cached_text_in: part("cached_tokens_details", "cached_text_tokens").unwrap_or(0),
        cached_image_in: part("cached_tokens_details", "cached_image_tokens").unwrap_or(0),
        ..Usage::default()
    }
}

/// The model of the tool that makes pictures, by the `tools` of a response.
pub(crate) fn painter<'a>(tools: Field<'a>) -> Option<Cow<'a, str>> {
    let tools = tools.value.elements().into_iter().flatten().filter_map(|(tool, _)| tool.fields());
    let named = |name: &str, of: &Fields<'a>| find(of.clone(), name).and_then(text);
    let mut painters = tools.filter(|tool| named("type", tool).as_deref() == Some("image_generation"));
    painters.find_map(|tool| named("model", &tool))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pictures_of(response: &Value) -> String {
        let response = response.to_string();
        format!("{:?}", Over::of(Fields::of(response.as_bytes())).pictures())
    }

    #[test]
    fn pictures_are_billed_at_the_model_that_made_them() {
        let used = json!({"input_tokens": 60, "input_tokens_details": {"image_tokens": 40, "text_tokens": 20},
            "cached_tokens": 10, "cached_tokens_details": {"cached_image_tokens": 8, "cached_text_tokens": 2},
            "output_tokens": 300, "output_tokens_details": {"image_tokens": 290, "text_tokens": 10}, "total_tokens": 360});
        let tools = json!([{"type": "web_search", "model": "no"}, {"type": "image_generation", "model": "gpt-image-2"}]);
        let told = pictures_of(&json!({"id": "r", "tools": tools, "tool_usage": {"image_gen": used}}));
        for part in [
            "r pictures",
            "\"gpt-image-2\"",
            "image_in: 40",
            "text_in: 20",
            "cached_image_in: 8",
            "cached_text_in: 2",
            "text_out: 10",
            "image_out: 290",
            "requests: 0",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let told = pictures_of(
            &json!({"id": "r", "tool_usage": {"image_gen": {"input_tokens": 5, "output_tokens": 7}}}),
        );
        assert!(
            told.contains("\"gpt-image-1\"") && told.contains("text_in: 5") && told.contains("image_out: 7"),
            "{told}"
        );
        let none = json!({"id": "r", "tool_usage": {"image_gen": {"input_tokens": 0, "output_tokens": 0}}});
        assert_eq!(pictures_of(&none), "None");
    }
}
