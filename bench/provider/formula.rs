//! What a response or a transcription of the simulated provider uses: a stated formula, so that whoever knows
//! seed, session and turn can recompute every count.

use tokenist_core::usage::Usage;

/// Milliseconds of pcm16 at 24 kHz: 48 bytes each. G.711 at 8 kHz: 8 bytes each.
const PCM16_BYTES_PER_MS: u64 = 48;
const G711_BYTES_PER_MS: u64 = 8;

/// Which turn of which session of which run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) seed: u64,
    /// Counted from 1 in the order in which sessions opened.
    pub(crate) session: u64,
    /// Counted from 1 in the order in which responses, or transcriptions, were asked for.
    pub(crate) turn: u64,
}

/// What the provider said and heard in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spoken {
    pub(crate) text_out_chunks: u64,
    pub(crate) audio_out_ms: u64,
    pub(crate) audio_in_ms: u64,
    pub(crate) images_in: u64,
}

impl Turn {
    /// With x = splitmix64(seed + session·2³² + turn) and its bytes x0…x7:
    /// text in 40·turn + x0 mod 64; audio in 20·turn + x1 mod 32 + 1 per 100 ms heard; image in 85 per image,
    /// and 170 where x2 mod 4 = 0; from the second turn on, of each kind in x3 mod 5 quarters (at most 4) of its
    /// part that grows with the turn were cached, of image in none or all as x3 is even or odd; text out
    /// 4 per chunk + x4 mod 16; audio out 1 per 50 ms spoken; reasoning x5 mod 8 of text out where x6 mod 4 = 0.
    pub(crate) fn response(self, spoken: Spoken) -> Usage {
        let x = self.bytes();
        let quarters = if self.turn > 1 { x[3] % 5 } else { 0 };
        let (text_grown, audio_grown) = (40 * self.turn, 20 * self.turn);
        let image_in = 85 * spoken.images_in + if x[2].is_multiple_of(4) { 170 } else { 0 };
        let text_out = 4 * spoken.text_out_chunks + x[4] % 16;
        Usage {
            text_in: text_grown + x[0] % 64,
            audio_in: audio_grown + x[1] % 32 + spoken.audio_in_ms.div_ceil(100),
            image_in,
            cached_text_in: text_grown * quarters / 4,
            cached_audio_in: audio_grown * quarters / 4,
            cached_image_in: if self.turn > 1 && x[3] % 2 == 1 { image_in } else { 0 },
            text_out,
            audio_out: spoken.audio_out_ms.div_ceil(50),
            reasoning_out: if x[6].is_multiple_of(4) { (x[5] % 8).min(text_out) } else { 0 },
            requests: 1,
            ..Usage::default()
        }
    }

    /// whisper-1 is billed by time. Any other model: audio in 1 per 100 ms heard, text out 6 + x0 mod 20.
    pub(crate) fn transcription(self, model: &str, audio_in_ms: u64) -> Usage {
        if model.starts_with("whisper") {
            return Usage { duration_ms: audio_in_ms, requests: 1, ..Usage::default() };
        }
        let audio_in = audio_in_ms.div_ceil(100);
        Usage { audio_in, text_out: 6 + self.bytes()[0] % 20, requests: 1, ..Usage::default() }
    }

    /// x7: in what manner a dialect tells the usage, where it has several.
    pub(crate) fn whim(self) -> u64 {
        self.bytes()[7]
    }

    fn bytes(self) -> [u64; 8] {
        let x = self.seed.wrapping_add(self.session << 32).wrapping_add(self.turn);
        splitmix64(x).to_le_bytes().map(u64::from)
    }
}

pub(crate) fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// How long `bytes` of raw audio in a format play.
pub(crate) fn audio_ms(format: &str, bytes: u64) -> u64 {
    bytes / bytes_per_ms(format)
}

/// How many bytes of raw audio in a format play so long.
pub(crate) fn audio_bytes(format: &str, ms: u64) -> u64 {
    ms * bytes_per_ms(format)
}

/// How long `bytes` of 16-bit samples play, in microseconds.
pub(crate) fn pcm16_us(bytes: u64, rate: u64) -> u64 {
    bytes * 500_000 / rate
}

fn bytes_per_ms(format: &str) -> u64 {
    match format {
        "audio/pcmu" | "audio/pcma" | "g711_ulaw" | "g711_alaw" => G711_BYTES_PER_MS,
        _ => PCM16_BYTES_PER_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_from_seed_session_and_turn_alone() {
        let spoken = Spoken { text_out_chunks: 4, audio_out_ms: 401, audio_in_ms: 950, images_in: 1 };
        for session in 1..50 {
            for turn in 1..20 {
                let one = Turn { seed: 7, session, turn };
                let usage = one.response(spoken);
                assert_eq!(usage, one.response(spoken));
                assert_eq!(usage, usage.clamped(), "subsets stay within their wholes");
                assert_eq!(usage.audio_out, 9);
                assert!(usage.audio_in >= 20 * turn + 10 && usage.image_in >= 85);
                assert_ne!(usage, Turn { turn: turn + 1, ..one }.response(spoken));
            }
        }
        assert_eq!(Turn { seed: 7, session: 3, turn: 1 }.response(spoken).cached_tokens(), 0);
    }

    #[test]
    fn transcription_is_billed_as_its_model_is() {
        let turn = Turn { seed: 1, session: 1, turn: 1 };
        assert_eq!(turn.transcription("whisper-1", 1_700).duration_ms, 1_700);
        assert_eq!(turn.transcription("gpt-4o-mini-transcribe", 1_701).audio_in, 18);
    }

    #[test]
    fn audio_plays_as_long_as_its_format_says() {
        assert_eq!(audio_ms("audio/pcm", 4_800), 100);
        assert_eq!(audio_ms("g711_ulaw", 4_800), 600);
        assert_eq!(pcm16_us(640, 16_000), 20_000);
    }
}
