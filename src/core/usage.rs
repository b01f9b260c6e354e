//! What a provider says was used: counts by kind.
//!
//! Invariant: cached counts are subsets of the input counts of their kind, and reasoning is a subset of text out.

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign};

/// The table of kinds: from one row a kind follow the fields of [`Usage`], their names and their order wherever they are
/// written one after the other.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident),* $(,)?) => {
        /// Counts of one response, or a sum of several. Tokens unless said otherwise.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct Usage {
            $($(#[$doc])* pub $kind: u64,)*
        }

        /// What the kinds are called wherever they are written by name.
        pub const KINDS: [&str; [$(stringify!($kind)),*].len()] = [$(stringify!($kind)),*];

        impl Usage {
            /// By kind, in the order of [`KINDS`].
            pub fn counts(&self) -> [u64; KINDS.len()] {
                [$(self.$kind),*]
            }

            /// Of counts in the order of [`KINDS`].
            pub fn of(counts: [u64; KINDS.len()]) -> Usage {
                let [$($kind),*] = counts;
                Usage { $($kind),* }
            }

            /// Kind by kind, what `join` makes of both counts.
            pub(crate) fn zip(self, other: Usage, join: impl Fn(u64, u64) -> u64) -> Usage {
                Usage { $($kind: join(self.$kind, other.$kind)),* }
            }
        }
    };
}

kinds! {
    text_in,
    audio_in,
    image_in,
    /// The part of `text_in` that was read from the provider's cache; likewise the next two.
    cached_text_in,
    cached_audio_in,
    cached_image_in,
    text_out,
    audio_out,
    image_out,
    /// The part of `text_out` that was spent on reasoning.
    reasoning_out,
    /// Billed time, for models that cost by the minute.
    duration_ms,
    /// How many responses this stands for.
    requests,
}

impl Usage {
    pub fn input_tokens(&self) -> u64 {
        self.text_in.saturating_add(self.audio_in).saturating_add(self.image_in)
    }

    pub fn cached_tokens(&self) -> u64 {
        self.cached_text_in.saturating_add(self.cached_audio_in).saturating_add(self.cached_image_in)
    }

    pub fn output_tokens(&self) -> u64 {
        self.text_out.saturating_add(self.audio_out).saturating_add(self.image_out)
    }

    pub fn total_tokens(&self) -> u64 {
        self.input_tokens().saturating_add(self.output_tokens())
    }

    /// This usage with every subset cut to its whole, so that no provider's slip can make a cost negative.
    pub fn clamped(mut self) -> Usage {
        self.cached_text_in = self.cached_text_in.min(self.text_in);
        self.cached_audio_in = self.cached_audio_in.min(self.audio_in);
        self.cached_image_in = self.cached_image_in.min(self.image_in);
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
