//! How long sound plays that is uploaded, by its first bytes and its length.

/// Speech is hardly ever compressed further; so what cannot be measured is rather too long than too short.
const LEAST_BYTES_PER_SECOND: u64 = 4_000;
/// No sound that is compressed within a WAVE file takes more.
const COMPRESSED_BYTES_PER_SECOND: u64 = 24_000;
/// Nobody records more samples in a second, or more channels.
const SAMPLES_MAX: u64 = 192_000;
const CHANNELS_MAX: u64 = 8;
/// What may stand behind the sound; where there is more, it is taken for sound as well.
const BEHIND_MAX: u64 = 64 << 10;

/// In milliseconds, of a file that begins so and has so many bytes.
pub(super) fn length_ms(head: &[u8], bytes: u64) -> u64 {
    let (sound_bytes, bytes_per_second) = wave(head, bytes).unwrap_or((bytes, LEAST_BYTES_PER_SECOND));
    sound_bytes.saturating_mul(1_000) / bytes_per_second
}

/// How many bytes of a WAVE file are sound, and how many of them play in a second.
fn wave(head: &[u8], bytes: u64) -> Option<(u64, u64)> {
    (head.get(..4)? == b"RIFF" && head.get(8..12)? == b"WAVE").then_some(())?;
    let number = |at: usize| Some(u64::from(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?)));
    let (mut at, mut rate) = (12, None::<u64>);
    while let (Some(name), Some(length)) = (head.get(at..at + 4), number(at + 4)) {
        let body = at + 8;
        match name {
            // Of several the slowest counts, for readers take either.
            b"fmt " => {
                let next = bytes_per_second(head.get(body..body + 16)?)?;
                rate = Some(rate.map_or(next, |rate| rate.min(next)));
            }
            b"data" => {
                let there = bytes.saturating_sub(body as u64);
                // What is written while it is recorded states no length, or the greatest.
                let is_stated = length > 0 && there.saturating_sub(length) <= BEHIND_MAX;
                return Some((if is_stated { length.min(there) } else { there }, rate?));
            }
            _ => {}
        }
        at = body.checked_add(usize::try_from(length + length % 2).ok()?)?;
    }
    // The sound begins behind what was kept.
    Some((bytes, rate?))
}

/// By what a format says of its samples; the rate that it states beside that is nobody's who plays it. `None`: it is none.
fn bytes_per_second(format: &[u8]) -> Option<u64> {
    let short = |at: usize| Some(u64::from(u16::from_le_bytes(format.get(at..at + 2)?.try_into().ok()?)));
    let long = |at: usize| Some(u64::from(u32::from_le_bytes(format.get(at..at + 4)?.try_into().ok()?)));
    let (kind, channels, samples, stated, bits) = (short(0)?, short(2)?, long(4)?, long(8)?, short(14)?);
    let rate = match kind {
        // Numbers, whole or not, the two laws of telephony, and what tells its kind elsewhere.
        1 | 3 | 6 | 7 | 0xfffe => {
            samples.min(SAMPLES_MAX) * channels.min(CHANNELS_MAX) * bits.div_ceil(8).min(8)
        }
        _ => stated.min(COMPRESSED_BYTES_PER_SECOND),
    };
    (rate > 0).then_some(rate)
}
