//! An event that carries when it was due, so that whoever receives it on this machine knows how late it is.
//!
//! The stamp is nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.

use std::time::{Duration, Instant};

/// Where the stamp's digits begin in an event, and how many there are.
const STAMP_AT: usize = HEAD.len();
const STAMP_DIGITS: usize = 20;
/// `event_id` holds the stamp: the type, as in real events, stands before it.
const HEAD: &str = r#"{"type":"response.output_audio.delta","event_id":"event_"#;
const TEXT_HEAD: &str = r#"{"type":"response.output_text.delta","event_id":"event_0"#;
const TAIL: &str =
    r#"","response_id":"resp_load","item_id":"item_load","output_index":0,"content_index":0,"delta":""#;
const END: &str = r#""}"#;

/// An event of exactly `bytes` bytes, if it is not less than an event can have: audio, or text where the bytes
/// are too few for audio.
pub(crate) fn event(bytes: usize) -> Vec<u8> {
    const { assert!(HEAD.len() == TEXT_HEAD.len(), "the stamp stands at one place") };
    let head = if bytes < 1_024 { TEXT_HEAD } else { HEAD };
    let mut event = head.as_bytes().to_vec();
    event.extend(std::iter::repeat_n(b'0', STAMP_DIGITS));
    event.extend_from_slice(TAIL.as_bytes());
    event.extend(std::iter::repeat_n(b'A', bytes.saturating_sub(event.len() + END.len())));
    event.extend_from_slice(END.as_bytes());
    event
}

/// A moment of this machine's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(u64);

impl Stamp {
    pub(crate) fn of(at: Instant) -> Stamp {
        let (now, ns) = (Instant::now(), monotonic_ns());
        Stamp(match at.checked_duration_since(now) {
            Some(ahead) => ns + ahead.as_nanos() as u64,
            None => ns.saturating_sub((now - at).as_nanos() as u64),
        })
    }

    pub(crate) fn now() -> Stamp {
        Stamp(monotonic_ns())
    }

    pub(crate) fn since(self, earlier: Stamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Writes this into an event made by [`event`].
    pub(crate) fn write(self, event: &mut [u8]) {
        let digits = format!("{:0width$}", self.0, width = STAMP_DIGITS);
        event[STAMP_AT..STAMP_AT + STAMP_DIGITS].copy_from_slice(digits.as_bytes());
    }

    /// The stamp of an event made by [`event`]; `None` for any other bytes.
    pub(crate) fn read(event: &[u8]) -> Option<Stamp> {
        let digits = event.get(STAMP_AT..STAMP_AT + STAMP_DIGITS)?;
        std::str::from_utf8(digits).ok()?.parse().ok().map(Stamp)
    }
}

#[allow(unsafe_code, reason = "Instant hides its value, and two processes must compare theirs")]
fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable and outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_of_the_size_asked_for_and_keeps_its_stamp() {
        for bytes in [200, 300, 1_023, 1_024, 8_192] {
            let mut event = event(bytes);
            assert_eq!(event.len(), bytes);
            let due = Instant::now() + Duration::from_millis(3);
            let stamp = Stamp::of(due);
            stamp.write(&mut event);
            assert_eq!(Stamp::read(&event), Some(stamp));
            let json: serde_json::Value = serde_json::from_slice(&event).unwrap();
            assert_eq!(json["response_id"], "resp_load");
        }
        assert_eq!(Stamp::read(b"{}"), None);
    }
}
