//! Where a JSON text ends in a payload that is still masked: sound is nearly all that an application says, and is not copied to be
//! looked at.

/// A text that is open.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenText {
    /// The byte before was a backslash that counts.
    is_escaped: bool,
}

/// So many bytes are looked at in one step.
const STEP: usize = 32;

impl OpenText {
    /// Where its closing quote is, if it is in these bytes, of which the first is at `offset` in a frame's payload; else they are
    /// its next part.
    pub fn end(&mut self, payload: &[u8], key: [u8; 4], offset: usize) -> Option<usize> {
        let mut at = 0;
        while at < payload.len() {
            if std::mem::take(&mut self.is_escaped) {
                at += 1;
                continue;
            }
            at += plain_bytes(&payload[at..], rotated(key, offset + at));
            match payload.get(at).map(|byte| byte ^ key[(offset + at) % 4])? {
                b'"' => return Some(at),
                _ => self.is_escaped = true,
            }
            at += 1;
        }
        None
    }
}

fn rotated(mut key: [u8; 4], by: usize) -> [u8; 4] {
    key.rotate_left(by % 4);
    key
}

/// How many bytes there are before the first quote or backslash.
fn plain_bytes(payload: &[u8], key: [u8; 4]) -> usize {
    let mut mask = [0; STEP];
    mask.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte = *key);
    let is_special = |(byte, mask): (&u8, &u8)| matches!(byte ^ mask, b'"' | b'\\');
    let (steps, _) = payload.as_chunks::<STEP>();
    // Without an end in between, so that a step is a few instructions.
    let has_special =
        |step: &[u8; STEP]| step.iter().zip(&mask).fold(false, |any, pair| any | is_special(pair));
    let plain = steps.iter().take_while(|step| !has_special(step)).count() * STEP;
    let rest = &payload[plain..];
    plain + rest.iter().zip(mask.iter().cycle()).position(is_special).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frame::unmask;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_text_ends_where_it_does_without_the_mask(
            text in "[a-z]{0,70}([\\\\\"a]{0,3}[a-z]{0,40}){0,3}",
            key: [u8; 4],
            offset in 0usize..9,
            split: usize,
        ) {
            let (mut wanted, mut is_escaped) = (None, false);
            for (at, byte) in text.bytes().enumerate() {
                match byte {
                    _ if is_escaped => is_escaped = false,
                    b'\\' => is_escaped = true,
                    b'"' => { wanted = Some(at); break; }
                    _ => {}
                }
            }
            let mut masked = text.into_bytes();
            unmask(&mut masked, key, offset);
            let split = split % (masked.len() + 1);
            let mut open = OpenText::default();
            let first = open.end(&masked[..split], key, offset);
            let found = first.or_else(|| Some(split + open.end(&masked[split..], key, offset + split)?));
            prop_assert_eq!(found, wanted);
        }
    }
}
