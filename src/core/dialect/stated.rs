//! What a provider's usage object states, and what follows from it: totals that exceed their parts, and cached tokens that no
//! part names.

use crate::json::Fields;
use crate::usage::Usage;

/// Without any of these nobody can tell what was used.
const COUNTS: [&[u8]; 11] = [
    b"input_tokens",
    b"prompt_tokens",
    b"output_tokens",
    b"completion_tokens",
    b"seconds",
    b"characters",
    b"promptTokenCount",
    b"responseTokenCount",
    b"candidatesTokenCount",
    b"total_input_tokens",
    b"total_output_tokens",
];

/// Whether a usage object states a count that nobody can have used.
pub(crate) fn is_misstated(mut usage: Fields<'_>) -> bool {
    usage.any(|field| COUNTS.contains(&&*field.key.bytes()) && field.value.misstates())
}

/// The numbers of a `usage` object as they stand there.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Stated {
    pub(crate) total: Option<u64>,
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) input_parts: Parts,
    pub(crate) output_parts: Parts,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) characters: Option<u64>,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parts {
    pub(crate) text: Option<u64>,
    pub(crate) audio: Option<u64>,
    pub(crate) image: Option<u64>,
    pub(crate) video: Option<u64>,
    pub(crate) reasoning: Option<u64>,
    pub(crate) cached: Option<u64>,
    pub(crate) cached_text: Option<u64>,
    pub(crate) cached_audio: Option<u64>,
    pub(crate) cached_image: Option<u64>,
    pub(crate) cache_write: Option<u64>,
    pub(crate) cache_write_long: Option<u64>,
}

impl Parts {
    pub(crate) fn sum(&self) -> u64 {
        [self.text, self.audio, self.image, self.video].into_iter().flatten().sum()
    }
}

impl Stated {
    pub(crate) fn has_number(&self) -> bool {
        *self != Stated::default()
    }

    /// Some leave reasoning out of the output; then it takes all three to make up the total.
    pub(crate) fn with_all_reasoning(mut self) -> Stated {
        if let (Some(input), Some(output), Some(reasoning)) =
            (self.input, self.output, self.output_parts.reasoning)
            && reasoning > 0
            && self.total == Some(input + output + reasoning)
        {
            self.output = Some(output + reasoning);
        }
        self
    }

    /// What the totals say beyond the parts is text: a whole usage without parts, and output that no part names,
    /// which is reasoning.
    pub(crate) fn usage(&self) -> Usage {
        let (input, output) = (&self.input_parts, &self.output_parts);
        let known_output = self.output.unwrap_or(0).max(output.sum());
        let total_in = self.input.or_else(|| self.total.map(|total| total.saturating_sub(known_output)));
        let total_out = self.output.or_else(|| Some(self.total?.saturating_sub(self.input?)));
        let rest = |total: Option<u64>, parts: &Parts| total.unwrap_or(0).saturating_sub(parts.sum());
        let usage = Usage {
            text_in: input.text.unwrap_or(0) + rest(total_in, input),
            audio_in: input.audio.unwrap_or(0),
            image_in: input.image.unwrap_or(0),
            video_in: input.video.unwrap_or(0),
            text_out: output.text.unwrap_or(0) + rest(total_out, output),
            audio_out: output.audio.unwrap_or(0),
            image_out: output.image.unwrap_or(0),
            video_out: output.video.unwrap_or(0),
            reasoning_out: output.reasoning.unwrap_or(0),
            cache_write_in: input.cache_write.unwrap_or(0),
            cache_write_long_in: input.cache_write_long.unwrap_or(0),
            duration_ms: self.duration_ms.unwrap_or(0),
            characters_in: self.characters.unwrap_or(0),
            requests: 1,
            ..Usage::default()
        };
        self.with_cached(usage)
    }

    /// Cached tokens that no part names are put to text first, then audio, then images. A cache holds the beginning
    /// of a conversation, and that is instructions and tools; and where the guess is wrong it errs upwards, because
    /// caching saves the least on text.
    fn with_cached(&self, mut usage: Usage) -> Usage {
        let parts = &self.input_parts;
        usage.cached_text_in = parts.cached_text.unwrap_or(0);
        usage.cached_audio_in = parts.cached_audio.unwrap_or(0);
        usage.cached_image_in = parts.cached_image.unwrap_or(0);
        usage = usage.clamped();
        let mut rest = parts.cached.unwrap_or(0).saturating_sub(usage.cached_tokens());
        for (whole, cached) in [
            (usage.text_in, &mut usage.cached_text_in),
            (usage.audio_in, &mut usage.cached_audio_in),
            (usage.image_in, &mut usage.cached_image_in),
        ] {
            let more = rest.min(whole - *cached);
            *cached += more;
            rest -= more;
        }
        usage
    }
}
