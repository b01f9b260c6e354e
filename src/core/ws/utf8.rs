//! Follows text in whatever pieces it comes, and tells at once where it is none (RFC 6455 §8.1).

use super::frame::unmask;

/// How much is unmasked at a time; whole keys, so that each piece begins with the key's first byte.
const PIECE_BYTES: usize = 1024;

/// One text. Nearly all that passes is ASCII, which is told by its high bits, masked or not, without a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8 {
    /// The beginning of a character whose rest has not come.
    begun: [u8; 4],
    begun_bytes: usize,
}

impl Utf8 {
    /// Takes what comes next, masked with `key` (all zeros: not masked), whose first byte is that of `bytes`. Fails with
    /// the position of the first byte after which this can be no text any more; then it is over.
    pub fn take(&mut self, bytes: &[u8], key: [u8; 4]) -> Result<(), usize> {
        if key == [0; 4] && self.is_whole() && bytes.is_ascii() {
            return Ok(());
        }
        for (index, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
            if self.is_whole() && is_ascii(piece, key) {
                continue;
            }
            let mut plain = [0; PIECE_BYTES];
            let plain = &mut plain[..piece.len()];
            plain.copy_from_slice(piece);
            unmask(plain, key, 0);
            self.take_plain(plain).map_err(|at| index * PIECE_BYTES + at)?;
        }
        Ok(())
    }

    /// Whether it may end here.
    pub fn is_whole(&self) -> bool {
        self.begun_bytes == 0
    }

    fn take_plain(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        while !self.is_whole() && at < bytes.len() {
            self.take_byte(bytes[at]).map_err(|()| at)?;
            at += 1;
        }
        let Err(error) = std::str::from_utf8(&bytes[at..]) else { return Ok(()) };
        // What is left begins with a character that is not whole, or with none.
        at += error.valid_up_to();
        while at < bytes.len() {
            self.take_byte(bytes[at]).map_err(|()| at)?;
            at += 1;
        }
        Ok(())
    }

    fn take_byte(&mut self, byte: u8) -> Result<(), ()> {
        self.begun[self.begun_bytes] = byte;
        self.begun_bytes += 1;
        match std::str::from_utf8(&self.begun[..self.begun_bytes]) {
            Ok(_) => self.begun_bytes = 0,
            Err(error) if error.error_len().is_some() => return Err(()),
            Err(_) => {}
        }
        Ok(())
    }
}

fn is_ascii(bytes: &[u8], key: [u8; 4]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let [a, b, c, d] = key;
    let wide_key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks::<8>();
    let high = words.iter().fold(0, |high, word| high | (u64::from_ne_bytes(*word) ^ wide_key));
    high & HIGH == 0 && rest.iter().zip(key.into_iter().cycle()).all(|(byte, key)| (byte ^ key).is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// Takes `text` in two pieces, plain and masked; both must say the same.
    fn takes(text: &[u8], split: usize) -> bool {
        let taken = [[0; 4], KEY].map(|key| {
            let mut masked = text.to_vec();
            unmask(&mut masked, key, 0);
            let mut shifted = key;
            shifted.rotate_left(split % 4);
            let mut utf8 = Utf8::default();
            let first = utf8.take(&masked[..split], key);
            first.and_then(|()| utf8.take(&masked[split..], shifted)).is_ok() && utf8.is_whole()
        });
        assert_eq!(taken[0], taken[1]);
        taken[0]
    }

    #[test]
    fn text_is_text_and_nothing_else_is() {
        for (text, is_text) in [
            (&b""[..], true),
            (b"plain", true),
            ("größe, 好, 🚂".as_bytes(), true),
            (b"\xef\xbb\xbf", true),
            (b"\xf4\x8f\xbf\xbf", true),
            (b"\x80", false),
            (b"\xff", false),
            (b"\xc3\x28", false),
            (b"\xe2\x82", false),
            // Overlong, a surrogate, past the last character.
            (b"\xc0\xaf", false),
            (b"\xe0\x80\xaf", false),
            (b"\xed\xa0\x80", false),
            (b"\xf4\x90\x80\x80", false),
            (b"\xf8\x88\x80\x80\x80", false),
        ] {
            for split in 0..=text.len() {
                assert_eq!(takes(text, split), is_text, "{text:x?} split at {split}");
            }
        }
    }

    #[test]
    fn what_can_become_no_character_is_told_before_it_is_whole() {
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.take(b"so far \xf4", [0; 4]), Ok(()));
        assert!(!utf8.is_whole());
        assert_eq!(utf8.take(b"\x90", [0; 4]), Err(0));
        for (bytes, at) in
            [(&b"ab\xff"[..], 2), (b"a\xc3\x28", 2), (b"\xe2\x82\x28", 2), (b"\xc3\xb6\x80", 2)]
        {
            assert_eq!(Utf8::default().take(bytes, [0; 4]), Err(at), "{bytes:x?}");
            let (mut late, shift) = (Utf8::default(), vec![b'.'; 3 * PIECE_BYTES]);
            assert_eq!(late.take(&[&shift, bytes].concat(), [0; 4]), Err(shift.len() + at));
        }
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_is_judged_as_the_whole(
            mut bytes in proptest::collection::vec(prop_oneof![20 => 0x20u8..0x7f, 1 => any::<u8>()], 0..3000),
            text: String,
            at: usize,
            split: usize,
        ) {
            let at = at % (bytes.len() + 1);
            bytes.splice(at..at, text.into_bytes());
            let split = split % (bytes.len() + 1);
            prop_assert_eq!(takes(&bytes, split), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
