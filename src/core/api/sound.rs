//! How long sound plays that comes as it is.

use crate::dialect::AudioRate;

/// How much sound a byte of an answer of this type is; of what is compressed rather too much.
pub(super) fn rate_of(content_type: &str) -> AudioRate {
    let bytes_per_second = match content_type.split(';').next().unwrap_or_default().trim() {
        "audio/pcm" | "audio/wav" | "audio/x-wav" | "audio/l16" => 48_000,
        "audio/flac" => 24_000,
        "audio/opus" | "audio/ogg" => 6_000,
        _ => 12_000,
    };
    AudioRate { bytes_per_second }
}
