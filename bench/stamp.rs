//! An event that carries when it was due, so that whoever receives it on this machine knows how late it is.
//!
//! The stamp is nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.

use std::time::{Duration, Instant};

const STAMP_DIGITS: usize = 20;
/// Stands before a stamp in text.
const AT: &str = "stamp ";

/// An event in a dialect's words, with room for a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// What stands before the stamp; as long is what stands there in events too small for audio.
    head: &'static str,
    head_of_text: &'static str,
    /// Between the stamp and the audio.
    middle: &'static str,
    end: &'static str,
}

/// `event_id` holds the stamp: the type, as in real events, stands before it.
pub(crate) const OPENAI: Form = Form {
    head: r#"{"type":"response.output_audio.delta","event_id":"event_"#,
    head_of_text: r#"{"type":"response.output_text.delta","event_id":"event_0"#,
    middle: r#"","response_id":"resp_load","item_id":"item_load","output_index":0,"content_index":0,"delta":""#,
    end: r#""}"#,
};

/// The audio begins with the stamp: there is no id. It is laid out as the service does it.
pub(crate) const GEMINI: Form =
    Form { head: GEMINI_HEAD, head_of_text: GEMINI_HEAD, middle: "", end: GEMINI_END };
const GEMINI_HEAD: &str = r#"{
  "serverContent": {
    "modelTurn": {
      "parts": [
        {
          "inlineData": {
            "mimeType": "audio/pcm;rate=24000",
            "data": ""#;
const GEMINI_END: &str = r#""
          }
        }
      ]
    }
  }
}
"#;

const _: () = assert!(OPENAI.head.len() == OPENAI.head_of_text.len(), "the stamp stands at one place");

impl Form {
    /// An event of exactly `bytes` bytes, if it is not less than an event can have: audio, or text where the bytes
    /// are too few for audio.
    pub(crate) fn event(self, bytes: usize) -> Vec<u8> {
        let head = if bytes < 1_024 { self.head_of_text } else { self.head };
        let mut event = head.as_bytes().to_vec();
        event.extend(std::iter::repeat_n(b'0', STAMP_DIGITS));
        event.extend_from_slice(self.middle.as_bytes());
        event.extend(std::iter::repeat_n(b'A', bytes.saturating_sub(event.len() + self.end.len())));
        event.extend_from_slice(self.end.as_bytes());
        event
    }

    /// Writes a stamp into an event made by [`Form::event`].
    pub(crate) fn write(self, stamp: Stamp, event: &mut [u8]) {
        let digits = format!("{:0width$}", stamp.0, width = STAMP_DIGITS);
        event[self.head.len()..self.head.len() + STAMP_DIGITS].copy_from_slice(digits.as_bytes());
    }

    /// The stamp of an event made by [`Form::event`]; `None` for any other bytes.
    pub(crate) fn read(self, event: &[u8]) -> Option<Stamp> {
        read(event.get(self.head.len()..self.head.len() + STAMP_DIGITS)?)
    }
}

fn read(digits: &[u8]) -> Option<Stamp> {
    std::str::from_utf8(digits).ok()?.parse().ok().map(Stamp)
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

    /// Text of `bytes` bytes, or as few as hold it, that says it.
    pub(crate) fn in_words(self, bytes: usize) -> String {
        let mut words = format!("{AT}{:0width$}", self.0, width = STAMP_DIGITS);
        words.extend(std::iter::repeat_n(" said", bytes.saturating_sub(words.len()).div_ceil(5)));
        words.truncate(bytes.max(AT.len() + STAMP_DIGITS));
        words
    }

    /// The first that an event's text says.
    pub(crate) fn of_words(event: &[u8]) -> Option<Stamp> {
        let digits = memchr::memmem::find(event, AT.as_bytes())? + AT.len();
        read(event.get(digits..digits + STAMP_DIGITS)?)
    }

    /// Of nanoseconds that [`Stamp::ns`] gave.
    pub(crate) fn of_ns(ns: u64) -> Stamp {
        Stamp(ns)
    }

    pub(crate) fn ns(self) -> u64 {
        self.0
    }

    pub(crate) fn now() -> Stamp {
        Stamp(monotonic_ns())
    }

    pub(crate) fn since(self, earlier: Stamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
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
        for (form, place) in
            [(OPENAI, "/response_id"), (GEMINI, "/serverContent/modelTurn/parts/0/inlineData")]
        {
            for bytes in [240, 300, 1_023, 1_024, 8_192] {
                let mut event = form.event(bytes);
                assert_eq!(event.len(), bytes);
                let stamp = Stamp::of(Instant::now() + Duration::from_millis(3));
                form.write(stamp, &mut event);
                assert_eq!(form.read(&event), Some(stamp));
                let json: serde_json::Value = serde_json::from_slice(&event).unwrap();
                assert!(json.pointer(place).is_some(), "{json}");
            }
            assert_eq!(form.read(b"{}"), None);
        }
    }

    #[test]
    fn text_is_of_the_size_asked_for_and_keeps_its_stamp() {
        for bytes in [0, 25, 26, 27, 31, 300] {
            let (stamp, text) = (Stamp::now(), Stamp::now().in_words(bytes));
            assert_eq!(text.len(), bytes.max(26), "{text}");
            let event = serde_json::json!({"delta": stamp.in_words(bytes)}).to_string();
            assert_eq!(Stamp::of_words(event.as_bytes()), Some(stamp));
            assert_eq!(Stamp::of_words(&event.as_bytes()[..20]), None);
        }
    }
}
