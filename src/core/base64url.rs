//! Bytes as text that can stand in a URL, a header and a subprotocol (RFC 4648 §5, without padding). Of some bytes there is one
//! text, so nothing can be said in two ways.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub fn write(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

/// `None` for what [`write()`] never writes.
pub fn read(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for four in text.as_bytes().chunks(4) {
        let mut digits = four.iter().map(|byte| digit(*byte));
        let bits = digits.try_fold(0u32, |bits, digit| Some(bits << 6 | digit?))? << (6 * (4 - four.len()));
        let [_, whole @ ..] = bits.to_be_bytes();
        let count = four.len() * 6 / 8;
        // A digit that is too many, or bits behind the last byte.
        if count == 0 || whole[count..].iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend(&whole[..count]);
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u32> {
    Some(
        match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        }
        .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_written_as_the_standard_has_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("\u{ff}\u{fe}", "w7_Dvg"),
        ] {
            assert_eq!((write(bytes.as_bytes()), read(text)), (text.to_owned(), Some(bytes.into())));
        }
        for wrong in ["Z", "Zg==", "Zh", "Zm9", "Zm9v+", "Zm9v/", "Zm 9", "Zm9vY"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_what_is_read_was_written_so(bytes: Vec<u8>, text in "[A-Za-z0-9_-]{0,9}") {
            prop_assert_eq!(read(&write(&bytes)), Some(bytes));
            prop_assert!(read(&text).is_none_or(|bytes| write(&bytes) == text));
        }
    }
}
