//! What Google's usage objects state, whichever of its protocols words them: counts, and details by modality that need not add
//! up to them.

use super::fields::{find, text};
use super::stated::{Parts, Stated};
use crate::json::{Field, Fields, Text, Value};
use crate::terms::Terms;
use crate::usage::Usage;

/// The numbers of one usage object. Thoughts and what tools were prompted with come on top of the counts of prompt and
/// response; what is cached is part of the prompt.
#[derive(Debug, Default)]
pub(crate) struct GoogleUsage {
    pub(crate) prompt_count: Option<u64>,
    pub(crate) response_count: Option<u64>,
    /// Of all.
    pub(crate) total_count: Option<u64>,
    pub(crate) cached_count: Option<u64>,
    pub(crate) thought_count: Option<u64>,
    pub(crate) tool_count: Option<u64>,
    pub(crate) prompt: Details,
    pub(crate) response: Details,
    pub(crate) cached: Details,
    pub(crate) tools: Details,
}

impl GoogleUsage {
    /// Over HTTP thoughts are in the response's count where that makes up the total without them.
    pub(crate) fn without_thoughts_twice(mut self) -> GoogleUsage {
        let of = |count: Option<u64>| count.unwrap_or(0);
        let thoughts = of(self.thought_count);
        let without = of(self.prompt_count) + of(self.response_count) + of(self.tool_count);
        if thoughts > 0 && self.total_count == Some(without) {
            self.response_count = self.response_count.map(|count| count.saturating_sub(thoughts));
            self.response.text = self.response.text.map(|count| count.saturating_sub(thoughts));
        }
        self
    }

    /// `None` if there is no number in it.
    pub(crate) fn usage(mut self) -> Option<Usage> {
        let counts = [self.prompt_count, self.response_count, self.total_count, self.cached_count];
        let beside = [self.thought_count, self.tool_count];
        counts.iter().chain(&beside).any(Option::is_some).then_some(())?;
        self.prompt.settle(self.prompt_count);
        self.response.settle(self.response_count);
        self.cached.settle(self.cached_count);
        self.tools.settle(self.tool_count);
        let beside: u64 = beside.iter().flatten().sum();
        let stated = Stated {
            input: self.prompt_count,
            output: self.response_count,
            total: self.total_count.map(|total| total.saturating_sub(beside)),
            input_parts: Parts {
                cached: self.cached_count,
                cached_text: self.cached.text,
                cached_audio: self.cached.audio,
                cached_image: self.cached.image,
                ..self.prompt.parts()
            },
            output_parts: self.response.parts(),
            ..Stated::default()
        };
        let mut usage = stated.usage();
        let thoughts = self.thought_count.unwrap_or(0);
        usage.text_out = usage.text_out.saturating_add(thoughts);
        usage.reasoning_out = thoughts;
        let tools = Stated { input: self.tool_count, input_parts: self.tools.parts(), ..Stated::default() };
        Some(Usage { requests: 0, ..tools.usage() } + usage)
    }
}

/// The tier by which a `usageMetadata` was billed, where it was another one than the usual.
pub(super) fn tier(fields: Fields<'_>) -> Terms<'static> {
    let traffic = find(fields, "trafficType").and_then(text).unwrap_or_default();
    let is_of = |(mark, _): &&(&str, &str)| traffic.ends_with(mark);
    match [("PRIORITY", "priority"), ("FLEX", "flex")].iter().find(is_of) {
        Some((_, tier)) => Terms::default().with("service_tier", *tier),
        None => Terms::default(),
    }
}

/// Counts by modality.
#[derive(Debug, Default)]
pub(crate) struct Details {
    text: Option<u64>,
    audio: Option<u64>,
    image: Option<u64>,
    video: Option<u64>,
    /// An entry without a count stands for what the others leave.
    open: Option<Modality>,
}

#[derive(Clone, Copy, Debug)]
enum Modality {
    Text,
    Audio,
    Image,
    Video,
}

impl Details {
    /// Of entries with a `modality` and a `tokenCount` or `tokens`.
    pub(crate) fn of(field: Field<'_>) -> Details {
        let mut details = Details::default();
        for (entry, _) in field.value.elements().into_iter().flatten() {
            let (mut modality, mut count) = (Modality::Text, None);
            for part in entry.fields().into_iter().flatten() {
                match (&*part.key.bytes(), part.value) {
                    (b"modality", Value::Text(name)) => modality = Modality::of(name),
                    (b"tokenCount" | b"tokens", value) => count = value.count(),
                    _ => {}
                }
            }
            match count {
                Some(count) => *details.slot(modality).get_or_insert_default() += count,
                None => details.open = Some(modality),
            }
        }
        details
    }

    fn slot(&mut self, modality: Modality) -> &mut Option<u64> {
        match modality {
            Modality::Text => &mut self.text,
            Modality::Audio => &mut self.audio,
            Modality::Image => &mut self.image,
            Modality::Video => &mut self.video,
        }
    }

    /// Gives the entry without a count what the others leave of `total`.
    fn settle(&mut self, total: Option<u64>) {
        let Some(modality) = self.open.take() else { return };
        let rest = total.unwrap_or(0).saturating_sub(self.parts().sum());
        *self.slot(modality).get_or_insert_default() += rest;
    }

    fn parts(&self) -> Parts {
        Parts { text: self.text, audio: self.audio, image: self.image, video: self.video, ..Parts::default() }
    }
}

impl Modality {
    fn of(name: Text<'_>) -> Modality {
        match &*name.bytes().to_ascii_uppercase() {
            b"AUDIO" => Modality::Audio,
            b"IMAGE" => Modality::Image,
            b"VIDEO" => Modality::Video,
            _ => Modality::Text,
        }
    }
}
