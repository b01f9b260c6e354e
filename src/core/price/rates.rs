//! What each kind of usage costs, and what is put in where a list says nothing of one.

use crate::money::{Factor, NanoUsd, PricePerMillion};
use crate::usage::{PerKind, Usage};

/// Nano-dollars for a million of each kind; of time for a million minutes. `None`: it is not on the list.
pub type Rates = PerKind<Option<PricePerMillion>>;

/// What an unknown model costs, and what its list does not state of a known one: the dearest realtime prices that were ever
/// on OpenAI's list (gpt-4o-realtime-preview), its present image price, and of all else the dearest of any provider.
/// Rather too much than nothing.
pub const FALLBACK: Rates = Rates {
    text_in: usd(5),
    audio_in: usd(40),
    image_in: usd(5),
    text_out: usd(20),
    audio_out: usd(80),
    duration_ms: usd(80_000),
    characters_in: usd(80),
    items_in: usd(4_000),
    searches: usd(35_000),
    file_searches: usd(10_000),
    ..NOTHING
};

/// No price at all.
pub const NOTHING: Rates = Rates {
    text_in: None,
    audio_in: None,
    image_in: None,
    video_in: None,
    cached_text_in: None,
    cached_audio_in: None,
    cached_image_in: None,
    cache_write_in: None,
    cache_write_long_in: None,
    text_out: None,
    audio_out: None,
    image_out: None,
    video_out: None,
    reasoning_out: None,
    duration_ms: None,
    characters_in: None,
    items_in: None,
    searches: None,
    file_searches: None,
    requests: None,
};

const fn usd(dollars: u64) -> Option<PricePerMillion> {
    Some(PricePerMillion(dollars * 1_000_000_000))
}

impl Rates {
    /// These, and those of `others` where they say something.
    pub(super) fn under(self, others: Rates) -> Rates {
        self.zip(others, |under, over| over.or(under))
    }

    /// What a kind costs that has no price of its own: what it is a part of, or what is most like it.
    pub(super) fn with_likenesses(mut self) -> Rates {
        self.cached_text_in = self.cached_text_in.or(self.text_in);
        self.cached_audio_in = self.cached_audio_in.or(self.audio_in);
        self.cached_image_in = self.cached_image_in.or(self.image_in);
        self.cache_write_in = self.cache_write_in.or(self.text_in);
        self.cache_write_long_in = self.cache_write_long_in.or(self.cache_write_in);
        self.video_in = self.video_in.or(self.image_in);
        self.image_out = self.image_out.or(self.text_out);
        self.video_out = self.video_out.or(self.image_out);
        self
    }

    /// What a usage costs, rounded up once.
    pub(super) fn cost(&self, usage: &Usage, factor: Factor) -> NanoUsd {
        let mut counts = self.bill(usage);
        let rates = self.with_likenesses().zip(FALLBACK.with_likenesses(), Option::or);
        let time = (std::mem::take(&mut counts.duration_ms), rates.duration_ms.unwrap_or_default());
        let counts = counts.zip(rates, |count, rate| (count, rate.unwrap_or_default()));
        NanoUsd::of(&counts.counts(), time, factor)
    }

    /// Whether all of a usage that is billed is on the list.
    pub(super) fn cover(&self, usage: &Usage) -> bool {
        let is_covered = |count, rate: Option<_>| count == 0 || rate.is_some();
        self.bill(usage)
            .zip(self.with_likenesses(), is_covered)
            .counts()
            .into_iter()
            .all(|is_covered| is_covered)
    }

    /// What of a usage is on the bill, each part for itself. Where a list prices only some of tokens, time and characters,
    /// and the usage has some of these, they pay for the others.
    fn bill(&self, usage: &Usage) -> Usage {
        let mut bill = apart(usage.clamped());
        let priced = [self.price_tokens(), self.duration_ms.is_some(), self.characters_in.is_some()];
        let used = [usage.total_tokens(), usage.duration_ms, usage.characters_in].map(|count| count > 0);
        let is_paid = priced.into_iter().zip(used).any(|(is_priced, is_used)| is_priced && is_used);
        let [tokens, time, characters] = priced.map(|is_priced| is_priced || !is_paid);
        if !tokens {
            let Usage { duration_ms, characters_in, items_in, searches, file_searches, .. } = bill;
            bill =
                Usage { duration_ms, characters_in, items_in, searches, file_searches, ..Usage::default() };
        }
        bill.duration_ms *= u64::from(time);
        bill.characters_in *= u64::from(characters);
        bill
    }

    fn price_tokens(&self) -> bool {
        let others = Rates {
            duration_ms: self.duration_ms,
            characters_in: self.characters_in,
            items_in: self.items_in,
            searches: self.searches,
            file_searches: self.file_searches,
            ..NOTHING
        };
        *self != others
    }
}

/// Every token once: parts of the input are what they are and not text, too, and reasoning is text already.
fn apart(usage: Usage) -> Usage {
    Usage {
        text_in: usage.text_in - usage.cached_text_in - usage.cache_write_in - usage.cache_write_long_in,
        audio_in: usage.audio_in - usage.cached_audio_in,
        image_in: usage.image_in - usage.cached_image_in,
        reasoning_out: 0,
        requests: 0,
        ..usage
    }
}
