//! What has been said in a session so far, and so what its next response reads.

use super::formula::{Spoken, Turn};
use super::sim::{Base, Sim};
use tokenist_core::usage::Usage;

/// Kept by the dialect where a session can be resumed.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversation {
    /// The number of the session that it began as.
    pub(super) index: u64,
    pub(super) responses: u64,
    pub(super) images: u64,
    /// Audio that was committed and not yet answered.
    pub(super) heard_ms: u64,
    pub(super) context: Context,
}

/// What was sent and said in a session so far, in tokens, and what its last response read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    pub(super) text: u64,
    pub(super) audio: u64,
    pub(super) read: Option<(u64, u64)>,
}

/// What a response was asked with: what it reads is settled, what it says is not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) turn: Turn,
    audio_in_ms: u64,
    images_in: u64,
    /// What it reads, where that follows from the conversation.
    input: Option<Usage>,
}

impl Conversation {
    pub(super) fn of(index: u64) -> Conversation {
        Conversation { index, ..Conversation::default() }
    }

    /// A response begins; it answers all that was heard and not yet answered.
    pub(super) fn ask(&mut self, seed: u64, sim: &Sim) -> Asked {
        self.responses += 1;
        Asked {
            turn: Turn { seed, session: self.index, turn: self.responses },
            audio_in_ms: std::mem::take(&mut self.heard_ms),
            images_in: self.images,
            input: sim.context.map(|base| self.context.read(base)),
        }
    }

    pub(super) fn read_text(&mut self, text: &str) {
        self.context.text += (text.len() as u64).div_ceil(4);
    }

    pub(super) fn hear(&mut self, audio_ms: u64) {
        self.heard_ms += audio_ms;
        self.context.audio += audio_ms.div_ceil(100);
    }

    /// What a response has said is read by those that follow.
    pub(super) fn say(&mut self, said: &Usage) {
        self.context.text += said.text_out - said.reasoning_out;
        self.context.audio += said.audio_out;
    }
}

impl Context {
    /// What a response reads that begins now.
    fn read(&mut self, base: Base) -> Usage {
        let (text_in, audio_in) = (base.text + self.text, base.audio + self.audio);
        let (cached_text, cached_audio) = self.read.replace((text_in, audio_in)).unwrap_or_default();
        Usage {
            text_in,
            audio_in,
            cached_text_in: cached_text * base.cached_percent / 100,
            cached_audio_in: cached_audio * base.cached_percent / 100,
            requests: 1,
            ..Usage::default()
        }
    }
}

impl Asked {
    pub(super) fn heard_audio(&self) -> bool {
        self.audio_in_ms > 0
    }

    /// What it uses when it has said so much.
    pub(super) fn usage(&self, text_out_chunks: u64, audio_out_ms: u64) -> Usage {
        let (audio_in_ms, images_in) = (self.audio_in_ms, self.images_in);
        let formula = self.turn.response(Spoken { text_out_chunks, audio_out_ms, audio_in_ms, images_in });
        let Some(input) = self.input else { return formula };
        let Usage { text_out, audio_out, reasoning_out, .. } = formula;
        Usage { text_out, audio_out, reasoning_out, ..input }
    }
}
