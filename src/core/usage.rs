//! What a provider says was used: counts by kind.
//!
//! Invariant: cached counts are subsets of the input counts of their kind, what is written to a cache is a subset of text in
//! beside what is read from it, and reasoning is a subset of text out. Only tokens are summed as tokens.

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign};

/// The table of kinds: from one row a kind follow the fields of [`Usage`], their names and their order wherever they are
/// written one after the other.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident),* $(,)?) => {
        /// Something of each kind, such as its count or its price. Tokens unless said otherwise.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(default)]
        pub struct PerKind<T> {
            $($(#[$doc])* pub $kind: T,)*
        }

        /// What the kinds are called wherever they are written by name.
        pub const KINDS: [&str; [$(stringify!($kind)),*].len()] = [$(stringify!($kind)),*];

        impl<T> PerKind<T> {
            /// In the order of [`KINDS`].
            pub fn counts(self) -> [T; KINDS.len()] {
                [$(self.$kind),*]
            }

            /// Of what is in the order of [`KINDS`].
            pub fn of(counts: [T; KINDS.len()]) -> PerKind<T> {
                let [$($kind),*] = counts;
                PerKind { $($kind),* }
            }

            /// Kind by kind, what `join` makes of both.
            pub fn zip<U, V>(self, other: PerKind<U>, join: impl Fn(T, U) -> V) -> PerKind<V> {
                PerKind { $($kind: join(self.$kind, other.$kind)),* }
            }
        }
    };
}

kinds! {
    text_in,
    audio_in,
    image_in,
    video_in,
    /// The part of `text_in` that was read from the provider's cache; likewise the next two.
    cached_text_in,
    cached_audio_in,
    cached_image_in,
    /// The part of `text_in` that was written to the provider's cache for minutes; the next for hours.
    cache_write_in,
    cache_write_long_in,
    text_out,
    audio_out,
    image_out,
    video_out,
    /// The part of `text_out` that was spent on reasoning.
    reasoning_out,
    /// Billed time, for models that cost by the minute.
    duration_ms,
    /// Characters of text, for models that cost by them.
    characters_in,
    /// Items of a conversation that are billed each.
    items_in,
    /// Searches of the web, by request or by query as the provider bills them; then those of files.
    searches,
    file_searches,
    /// How many responses this stands for.
    requests,
}

/// Counts of one response, or a sum of several.
pub type Usage = PerKind<u64>;

impl Usage {
    pub fn input_tokens(&self) -> u64 {
        sum([self.text_in, self.audio_in, self.image_in, self.video_in])
    }

    pub fn cached_tokens(&self) -> u64 {
        sum([self.cached_text_in, self.cached_audio_in, self.cached_image_in])
    }

    pub fn output_tokens(&self) -> u64 {
        sum([self.text_out, self.audio_out, self.image_out, self.video_out])
    }

    pub fn total_tokens(&self) -> u64 {
        self.input_tokens().saturating_add(self.output_tokens())
    }

    /// This usage with every subset cut to its whole, so that no provider's slip can make a cost negative.
    pub fn clamped(mut self) -> Usage {
        self.cached_text_in = self.cached_text_in.min(self.text_in);
        self.cached_audio_in = self.cached_audio_in.min(self.audio_in);
        self.cached_image_in = self.cached_image_in.min(self.image_in);
        self.cache_write_in = self.cache_write_in.min(self.text_in - self.cached_text_in);
        self.cache_write_long_in =
            self.cache_write_long_in.min(self.text_in - self.cached_text_in - self.cache_write_in);
        self.reasoning_out = self.reasoning_out.min(self.text_out);
        self
    }
}

impl Add for Usage {
    type Output = Usage;
    fn add(self, other: Usage) -> Usage {
        self.zip(other, u64::saturating_add)
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        *self = *self + other;
    }
}

fn sum<const N: usize>(counts: [u64; N]) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_are_summed_as_tokens() {
        let one_of_each = Usage::of([1; KINDS.len()]);
        assert_eq!((one_of_each.input_tokens(), one_of_each.output_tokens()), (4, 4));
        assert_eq!((one_of_each.total_tokens(), one_of_each.cached_tokens()), (8, 3));
        assert_eq!(Usage { text_in: u64::MAX, audio_out: 1, ..Usage::default() }.total_tokens(), u64::MAX);
    }

    #[test]
    fn a_part_is_never_more_than_its_whole() {
        let parts = |whole| Usage {
            text_in: whole,
            cached_text_in: 5,
            cache_write_in: 3,
            cache_write_long_in: 2,
            ..Usage::default()
        };
        let clamped = |whole| {
            let Usage { cached_text_in, cache_write_in, cache_write_long_in, .. } = parts(whole).clamped();
            [cached_text_in, cache_write_in, cache_write_long_in]
        };
        assert_eq!([10, 9, 7, 4].map(clamped), [[5, 3, 2], [5, 3, 1], [5, 2, 0], [4, 0, 0]]);
    }
}
