//! The responses of one session that are under way, and what each has been charged so far.

use super::{BOOKED_MAX, Charge, EstimateMode, Reading};
use crate::dialect::{AudioRate, OutputKind, TEXT_BYTES_PER_TOKEN};
use crate::id::Model;
use crate::money::NanoUsd;
use crate::price::Price;
use crate::time::Instant;
use crate::usage::Usage;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Responses {
    /// The one that was touched last is last.
    pub(super) open: Vec<Open>,
    /// Hashes of the ids that were booked; once full, a ring whose oldest is at `booked_at`.
    booked: Vec<u64>,
    booked_at: u8,
    /// What the last peeked at event adds to, if more of it comes.
    pub(super) growing: Option<OutputKind>,
    /// Booked where nothing could be answered; goes out with the next reading.
    pub(super) overdue: Reading,
    /// What was asked for and has not begun.
    pub(super) asked: VecDeque<Asked>,
    /// What was said to it and is not written down yet.
    pub(super) unheard: VecDeque<Unheard>,
    /// What the provider stated last.
    pub(super) stated: Option<Box<Usage>>,
    /// That was on another connection, and nothing has come on this one.
    pub(super) repeatable: bool,
    /// Of the next response so much was booked before, by estimate.
    pub(super) booked_before: Option<Box<(Usage, NanoUsd)>>,
}

/// A response that the application asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) apart: bool,
    /// What it reads in the conversation's place.
    pub(super) input: Option<Usage>,
}

/// A piece of speech that is to be written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unheard {
    pub(super) hash: u64,
    pub(super) sound_ms: u64,
}

/// A response under way.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: Option<Box<str>>,
    pub(super) model: Option<Model>,
    /// Of the time when it began, for estimates; what is booked in the end costs what it does then.
    pub(super) price: Arc<Price>,
    /// `None` if its end was its first sign.
    pub(super) began_at: Option<Instant>,
    pub(super) output_rate: AudioRate,
    pub(super) said_ms_per_token: u32,
    /// Sums of bytes, not of tokens, so that a thousand small pieces do not round up a thousand times.
    pub(super) audio_bytes: u64,
    pub(super) text_bytes: u64,
    /// Tokens that it has said at least, text and audio.
    pub(super) said_at_least: (u64, u64),
    pub(super) charged: Charge,
    /// What it reads, by estimate unless the provider has stated it; `None` where nothing is estimated.
    pub(super) input: Option<Box<Usage>>,
    /// What that costs, where estimates count; charged already, or only foreseen.
    pub(super) input_charge: Charge,
    pub(super) input_is_charged: bool,
    /// How often the web was searched for it, as far as that is told beside its usage.
    pub(super) searches: u32,
    /// It is no part of the conversation.
    pub(super) apart: bool,
    /// It has said all, and its usage may follow.
    pub(super) is_finished: bool,
    /// Where its sound passes elsewhere.
    pub(super) unseen: Option<Box<Unseen>>,
}

/// What tells how long sound is that passes elsewhere: what it says, and how long it is played.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    transcript_bytes: u64,
    played_ms: u64,
    plays_since: Option<Instant>,
}

impl Open {
    /// Adds a piece and charges what the estimate has grown by.
    pub(super) fn grow(&mut self, kind: OutputKind, bytes: u64, estimate: EstimateMode) -> Charge {
        let sum = match kind {
            OutputKind::Audio => &mut self.audio_bytes,
            OutputKind::Text | OutputKind::Transcript => &mut self.text_bytes,
        };
        *sum = sum.saturating_add(bytes).min(OUTPUT_BYTES_MAX);
        if let Some(unseen) = self.unseen.as_mut().filter(|_| kind == OutputKind::Transcript) {
            unseen.transcript_bytes = unseen.transcript_bytes.saturating_add(bytes).min(OUTPUT_BYTES_MAX);
        }
        if estimate != EstimateMode::Enforce {
            return Charge::default();
        }
        let (text_out, audio_out) = self.tokens();
        let read = if self.input_is_charged { self.input_charge } else { Charge::default() };
        let tokens = ((text_out + audio_out) as i64).saturating_add(read.tokens);
        // Text comes in pieces smaller than a token; most change nothing.
        if tokens == self.charged.tokens {
            return Charge::default();
        }
        let total = Charge { cost: self.price.output_cost(text_out, audio_out) + read.cost, tokens };
        let more = total - self.charged;
        self.charged = total;
        more
    }

    /// Its sound is played from now on, or no more; `None`: as before.
    pub(super) fn play(&mut self, is_start: Option<bool>, now: Instant, estimate: EstimateMode) -> Charge {
        let Some(unseen) = &mut self.unseen else { return Charge::default() };
        if let Some(since) = unseen.plays_since {
            unseen.played_ms += now.since(since);
        }
        let plays = is_start.unwrap_or(unseen.plays_since.is_some());
        unseen.plays_since = plays.then_some(now);
        self.grow(OutputKind::Text, 0, estimate)
    }

    /// Charges what it reads, from now on.
    pub(super) fn charge_input(&mut self) -> Reading {
        if std::mem::replace(&mut self.input_is_charged, true) {
            return Reading::default();
        }
        self.charged += self.input_charge;
        Reading {
            charge: self.input_charge,
            foreseen: Charge::default() - self.input_charge,
            ..Reading::default()
        }
    }

    /// The provider states what it has used so far: what is read is known then, and charged as what is said.
    pub(super) fn state(&mut self, so_far: Usage, estimate: EstimateMode) -> Reading {
        let Usage { text_out, audio_out, .. } = so_far;
        let input = Usage { text_out: 0, audio_out: 0, requests: 0, ..so_far };
        self.said_at_least = (text_out, audio_out);
        let before = (self.charged, self.foreseen());
        if std::mem::replace(&mut self.input_is_charged, true) {
            self.charged = self.charged - self.input_charge;
        }
        self.input_charge = match estimate {
            EstimateMode::Enforce => Charge::of(self.price.plain_cost(&input), &input),
            EstimateMode::Observe | EstimateMode::Off => Charge::default(),
        };
        self.charged += self.input_charge;
        self.input = Some(Box::new(input));
        self.grow(OutputKind::Text, 0, estimate);
        Reading {
            charge: self.charged - before.0,
            foreseen: Charge::default() - before.1,
            ..Reading::default()
        }
    }

    /// What can be measured of it from outside, in place of what is foreseen; it is charged when it is booked.
    pub(super) fn measure(&mut self, measured: Usage) {
        let Usage { text_out, audio_out, .. } = measured;
        self.said_at_least = (text_out, audio_out);
        if let Some(input) = &mut self.input {
            **input = Usage { text_out: 0, audio_out: 0, ..measured };
        }
    }

    pub(super) fn foreseen(&self) -> Charge {
        if self.input_is_charged { Charge::default() } else { self.input_charge }
    }

    pub(super) fn usage(&self) -> Usage {
        let (text_out, audio_out) = self.tokens();
        Usage { text_out, audio_out, requests: 1, ..self.input.as_deref().copied().unwrap_or_default() }
    }

    /// The estimate, text and audio: a token for 4 bytes of text, and one for so much sound.
    pub(super) fn tokens(&self) -> (u64, u64) {
        // Four characters of base64 are three bytes of sound.
        let bytes_per_second = u64::from(self.output_rate.bytes_per_second.max(1));
        let ms_per_token = u64::from(self.said_ms_per_token.max(1));
        let audio = (self.audio_bytes * 3 * 1_000).div_ceil(bytes_per_second * 4 * ms_per_token);
        let audio = audio.max(self.unseen.as_ref().map_or(0, |unseen| unseen.ms() / ms_per_token));
        let text = self.text_bytes.div_ceil(TEXT_BYTES_PER_TOKEN);
        (text.max(self.said_at_least.0), audio.max(self.said_at_least.1))
    }
}

impl Unseen {
    /// How long the sound is at least: as it is played, and as what is said of it by now usually takes.
    fn ms(&self) -> u64 {
        self.played_ms.max(self.transcript_bytes.saturating_mul(1_000) / SPOKEN_BYTES_PER_SECOND)
    }
}

impl Responses {
    /// The oldest response of that sort that was asked for, which is the one that begins.
    pub(super) fn take_asked(&mut self, apart: bool) -> Option<Asked> {
        let index = self.asked.iter().position(|asked| asked.apart == apart)?;
        self.asked.remove(index)
    }

    pub(super) fn take_unheard(&mut self, hash: u64) -> Option<Unheard> {
        let index = self.unheard.iter().position(|unheard| unheard.hash == hash)?;
        self.unheard.remove(index)
    }

    pub(super) fn has_booked(&self, hash: u64) -> bool {
        self.booked.contains(&hash)
    }

    /// Whether this is what was stated last, of a response that nobody has seen begin on this connection: it greets with it
    /// a session that it resumes.
    pub(super) fn is_repeated(&mut self, usage: Option<&Usage>) -> bool {
        std::mem::take(&mut self.repeatable) && self.open.is_empty() && usage == self.stated.as_deref()
    }

    pub(super) fn forget(&mut self, hash: u64) {
        // What is oldest is first again, so that the ring goes on behind the last.
        self.booked.rotate_left(std::mem::take(&mut self.booked_at).into());
        self.booked.retain(|booked| *booked != hash);
    }

    pub(super) fn remember(&mut self, hash: u64) {
        if self.booked.len() < BOOKED_MAX {
            self.booked.push(hash);
        } else {
            self.booked[usize::from(self.booked_at)] = hash;
            self.booked_at = (self.booked_at + 1) % BOOKED_MAX as u8;
        }
    }
}

pub(super) fn response_hash(id: &str) -> u64 {
    hash_of(&("response", id))
}

pub(super) fn item_hash(id: &str) -> u64 {
    hash_of(&("item", id))
}

pub(super) fn transcription_hash(item: &str, content_index: u64) -> u64 {
    hash_of(&("transcription", item, content_index))
}

pub(super) fn total_hash(key: &str) -> u64 {
    hash_of(&("total", key))
}

fn hash_of(id: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// How much text is spoken in a second.
const SPOKEN_BYTES_PER_SECOND: u64 = 14;

/// More than a petabyte in one response is a length that somebody made up; it stops adding.
const OUTPUT_BYTES_MAX: u64 = 1 << 50;
