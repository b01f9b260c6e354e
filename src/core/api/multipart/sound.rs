//! How long sound plays that is uploaded, by its first bytes and its length.

/// Speech is hardly ever compressed further; so what cannot be measured is rather too long than too short.
const LEAST_BYTES_PER_SECOND: u64 = 4_000;

/// In milliseconds, of a file that begins so and has so many bytes.
pub(super) fn length_ms(head: &[u8], bytes: u64) -> u64 {
    let (sound_bytes, bytes_per_second) = wave(head, bytes).unwrap_or((bytes, LEAST_BYTES_PER_SECOND));
    sound_bytes.saturating_mul(1_000) / bytes_per_second
}

/// How many bytes of a WAVE file are sound, and how many of them play in a second.
fn wave(head: &[u8], bytes: u64) -> Option<(u64, u64)> {
    (head.get(..4)? == b"RIFF" && head.get(8..12)? == b"WAVE").then_some(())?;
    let number = |at: usize| Some(u64::from(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?)));
    let (mut at, mut rate) = (12, None);
    while let (Some(name), Some(length)) = (head.get(at..at + 4), number(at + 4)) {
        let body = at + 8;
        match name {
            b"fmt " => rate = number(body + 8).filter(|rate| *rate > 0),
            b"data" => {
                let there = bytes.saturating_sub(body as u64);
                // What is written while it is recorded states no length, or the greatest.
                return Some((if length == 0 { there } else { length.min(there) }, rate?));
            }
            _ => {}
        }
        at = body.checked_add(usize::try_from(length + length % 2).ok()?)?;
    }
    // The sound begins behind what was kept.
    Some((bytes, rate?))
}
