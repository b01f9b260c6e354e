//! What of an event of the application is not the middle of its sound: an event may begin as sound and turn out to be something
//! else.
//!
//! Start at [`BehindSound::new`] with the beginning of an event. Invariant: what is kept is bounded, and reads as the event does
//! but for a text that is cut short.

use tokenist_core::doubt::{Doubt, Keys, Scan};
use tokenist_core::ws::frame::unmask;
use tokenist_core::ws::masked::OpenText;

/// Reads an event in parts.
#[derive(Debug)]
pub(crate) struct BehindSound {
    scan: Scan,
    kept: Vec<u8>,
    kept_max: usize,
    /// The text that was open where the beginning ended, as long as it goes on.
    sound: Option<OpenText>,
}

impl BehindSound {
    /// Of an event that begins so and is judged by these keys; so much is kept of it at most.
    pub(crate) fn new(keys: &Keys, head: &[u8], kept_max: usize) -> BehindSound {
        let mut scan = Scan::of(keys.clone());
        scan.read(head);
        let sound = scan.is_within_text().then(OpenText::default);
        BehindSound { scan, kept: head.to_vec(), kept_max, sound }
    }

    /// Reads on in a payload that is masked with `key`, where `payload[0]` is at `offset` in the frame's.
    pub(crate) fn read(&mut self, payload: &[u8], key: [u8; 4], offset: usize) {
        let from = match &mut self.sound {
            None => 0,
            Some(sound) => match sound.end(payload, key, offset) {
                None => return,
                Some(end) => end,
            },
        };
        self.sound = None;
        let mut rest = payload[from..].to_vec();
        unmask(&mut rest, key, offset + from);
        self.scan.read(&rest);
        rest.truncate(self.kept_max.saturating_sub(self.kept.len()));
        self.kept.extend_from_slice(&rest);
    }

    /// # Errors
    /// What of it another reader could take otherwise.
    pub(crate) fn end(self) -> Result<Vec<u8>, Doubt> {
        self.scan.end().map(|()| self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_middle_of_the_sound_is_kept_however_it_is_split() {
        let keys = Keys::of(&["type"]);
        let sound = "A".repeat(900);
        let event = format!(r#"{{"audio":"{sound}\/\"","type":"a","x":"{sound}"}}"#);
        let wanted = format!(r#"{{"audio":"{}","type":"a","x":"{sound}"}}"#, &sound[..190]);
        let twice = event.replace(r#""x""#, r#""type""#);
        for (event, is_clear) in [(event, true), (twice, false)] {
            let mut masked = event.clone().into_bytes();
            unmask(&mut masked, [1, 2, 3, 4], 0);
            for split in 200..masked.len() {
                let mut behind = BehindSound::new(&keys, &event.as_bytes()[..200], 1 << 20);
                behind.read(&masked[200..split], [1, 2, 3, 4], 200);
                behind.read(&masked[split..], [1, 2, 3, 4], split);
                match behind.end() {
                    Ok(kept) => assert!(is_clear && kept == wanted.as_bytes(), "{split}"),
                    Err(doubt) => assert_eq!((is_clear, doubt), (false, Doubt::Twice("type"))),
                }
            }
        }
    }
}
