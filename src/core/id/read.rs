//! How an id that a client sends is read: the same everywhere, so that one user cannot go by two ids that look alike.
//!
//! Start at [`read()`]. What it gives is read as itself again.

use std::borrow::Cow;
use std::fmt;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The longest id, in bytes, once it has been read.
pub const ID_BYTES_MAX: usize = 256;
/// The longest text that is looked at: composing its characters may make it shorter, and some have ids for parts.
const SENT_BYTES_MAX: usize = 8 * ID_BYTES_MAX;

/// Why a caller's id was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    Empty,
    TooLong,
    NotUtf8 {
        /// How many bytes before it are.
        byte: usize,
    },
    /// It holds what no id may hold.
    Unfit {
        what: Unfit,
        found: char,
        /// Which character of what was sent it is, counted from 1.
        place: usize,
    },
    /// It begins as an id of an org's name space does, and is none.
    Space,
}

/// What no id may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    Control,
    /// It does not show that it is there.
    Invisible,
    /// It looks like a space, and is none.
    Blank,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            IdError::Empty => f.write_str("is empty"),
            IdError::TooLong => f.write_str("is longer than 256 bytes"),
            IdError::Space => f.write_str("begins with ug: and is not of the form ug:ORG:ID"),
            IdError::NotUtf8 { byte } => write!(f, "is not UTF-8 after its first {byte} bytes"),
            IdError::Unfit { what, found, place } => {
                let (what, mend) = match what {
                    Unfit::Control => ("a control character", "leave it out"),
                    Unfit::Invisible => ("an invisible character", "leave it out"),
                    Unfit::Blank => ("a blank that is no space", "write a plain space"),
                };
                let number = u32::from(found);
                write!(f, "contains {what}: U+{number:04X}, its character {place}; {mend}")
            }
        }
    }
}

/// Reads an id: without the blanks around it, in NFC, 1 to 256 bytes. Controls, characters that do not show and blanks
/// other than a space are refused, because what holds them looks like what does not. Case counts.
pub fn read(bytes: &[u8]) -> Result<Cow<'_, str>, IdError> {
    read_text(bytes, |_| false)
}

/// Reads a person's name, as [`read()`] reads ids; but scripts and emoji need the joiners and variants that they have.
pub fn read_name(bytes: &[u8]) -> Result<Cow<'_, str>, IdError> {
    read_text(bytes, shapes_its_neighbours)
}

/// Reads an e-mail address, as [`read()`] reads ids; and in NFKC and lower case, so that one mailbox is one address.
/// Whether mail could be sent there is not looked at.
pub fn read_email(bytes: &[u8]) -> Result<Cow<'_, str>, IdError> {
    let text = read(bytes)?;
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Ok(text);
    }
    // What is compatible with a blank may have become one, and lower case what can be composed.
    let lower = text.nfkc().collect::<String>().to_lowercase();
    let folded: String = lower.nfkc().collect();
    read(folded.as_bytes()).map(|text| text.into_owned().into())
}

/// What an operator searches for, composed as ids are.
pub fn compose(text: String) -> String {
    if is_nfc(&text) { text } else { text.nfc().collect() }
}

fn read_text(bytes: &[u8], is_allowed: impl Fn(char) -> bool) -> Result<Cow<'_, str>, IdError> {
    let text = read_long(bytes, is_allowed)?;
    if text.len() > ID_BYTES_MAX { Err(IdError::TooLong) } else { Ok(text) }
}

/// As [`read()`], of a text that may have ids for parts: how long each of them is has yet to be looked at.
pub(super) fn read_parts(bytes: &[u8]) -> Result<Cow<'_, str>, IdError> {
    read_long(bytes, |_| false)
}

fn read_long(bytes: &[u8], is_allowed: impl Fn(char) -> bool) -> Result<Cow<'_, str>, IdError> {
    let sent = std::str::from_utf8(bytes).map_err(|error| IdError::NotUtf8 { byte: error.valid_up_to() })?;
    let text = sent.trim_matches(is_blank);
    match text.len() {
        0 => return Err(IdError::Empty),
        SENT_BYTES_MAX.. => return Err(IdError::TooLong),
        _ => {}
    }
    let is_plain = text.bytes().all(|byte| (b' '..0x7f).contains(&byte));
    if is_plain {
        return Ok(text.into());
    }
    refuse_unfit(sent, text, is_allowed)?;
    Ok(if is_nfc(text) { text.into() } else { Cow::Owned(text.nfc().collect()) })
}

fn refuse_unfit(sent: &str, text: &str, is_allowed: impl Fn(char) -> bool) -> Result<(), IdError> {
    let trimmed_count = sent.chars().take_while(|&char| is_blank(char)).count();
    for (index, found) in text.chars().enumerate() {
        if let Some(what) = unfit(found).filter(|_| !is_allowed(found)) {
            return Err(IdError::Unfit { what, found, place: trimmed_count + index + 1 });
        }
    }
    Ok(())
}

fn unfit(char: char) -> Option<Unfit> {
    match char {
        // What begins, parts and ends annotations is for programs, and what separates lines and paragraphs, too.
        '\u{fff9}'..='\u{fffb}' | '\u{2028}' | '\u{2029}' => Some(Unfit::Control),
        _ if char.is_control() => Some(Unfit::Control),
        _ if is_default_ignorable(char) => Some(Unfit::Invisible),
        // The pattern of braille without a dot.
        '\u{2800}' => Some(Unfit::Blank),
        _ if char.is_whitespace() && char != ' ' => Some(Unfit::Blank),
        _ => None,
    }
}

/// What may stand around an id without being part of it: spaces of any width, and tabs.
fn is_blank(char: char) -> bool {
    char == '\t' || (char.is_whitespace() && unfit(char) != Some(Unfit::Control))
}

/// Zero-width joiners and non-joiners, and what chooses a variant of the character before it.
fn shapes_its_neighbours(char: char) -> bool {
    matches!(char, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Unicode's property Default_Ignorable_Code_Point, whose ranges include what may be assigned in them later.
fn is_default_ignorable(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use icu_properties::CodePointSetData;
    use icu_properties::props::DefaultIgnorableCodePoint;
    use proptest::prelude::*;

    #[test]
    fn what_looks_like_one_id_is_read_as_one() {
        for (sent, id) in [
            ("alice@example.com", "alice@example.com"),
            ("Alice ", "Alice"),
            ("\t Alice", "Alice"),
            ("\u{a0}Alice\u{3000}", "Alice"),
            ("two words", "two words"),
            ("Zoe\u{301}", "Zo\u{e9}"),
            ("\u{212a}elvin", "Kelvin"),
            ("\u{212b}", "\u{c5}"),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
            ("\u{17c}\u{f3}\u{142}w", "\u{17c}\u{f3}\u{142}w"),
            ("alice", "alice"),
            ("ALICE", "ALICE"),
        ] {
            assert_eq!(read(sent.as_bytes()).as_deref(), Ok(id), "{sent:?}");
        }
        // 258 bytes as they are sent, 172 once they are composed.
        assert_eq!(read("e\u{301}".repeat(86).as_bytes()).map(|id| id.len()), Ok(172));
    }

    #[test]
    fn a_refusal_says_which_character_it_is_and_where() {
        for (sent, why) in [
            ("", "is empty"),
            (" \u{a0}\t", "is empty"),
            ("a\0b", "contains a control character: U+0000, its character 2; leave it out"),
            ("a\tb", "contains a control character: U+0009, its character 2; leave it out"),
            ("alice\n", "contains a control character: U+000A, its character 6; leave it out"),
            ("  \u{85}", "contains a control character: U+0085, its character 3; leave it out"),
            ("a\u{2028}b", "contains a control character: U+2028, its character 2; leave it out"),
            ("\u{e9}\u{200b}", "contains an invisible character: U+200B, its character 2; leave it out"),
            ("\u{feff}alice", "contains an invisible character: U+FEFF, its character 1; leave it out"),
            ("a\u{202e}b", "contains an invisible character: U+202E, its character 2; leave it out"),
            ("a\u{fe0f}", "contains an invisible character: U+FE0F, its character 2; leave it out"),
            (" a\u{a0}b", "contains a blank that is no space: U+00A0, its character 3; write a plain space"),
            ("a\u{2003}b", "contains a blank that is no space: U+2003, its character 2; write a plain space"),
            ("a\u{2800}", "contains a blank that is no space: U+2800, its character 2; write a plain space"),
        ] {
            assert_eq!(read(sent.as_bytes()).unwrap_err().to_string(), why, "{sent:?}");
        }
        assert_eq!(read(b"ab\xffc").unwrap_err().to_string(), "is not UTF-8 after its first 2 bytes");
        assert!(read(&[b'x'; 256]).is_ok());
        for long in ["x".repeat(257), "\u{e9}".repeat(129), "e\u{301}".repeat(1_000)] {
            assert_eq!(read(long.as_bytes()), Err(IdError::TooLong));
        }
    }

    #[test]
    fn one_mailbox_is_one_address() {
        let ann = Ok("ann@example.com");
        for sent in [
            "ann@example.com",
            " Ann@EXAMPLE.com\t",
            "\u{ff21}nn@example\u{ff0e}com",
            "ann\u{ff20}example.com",
        ] {
            assert_eq!(read_email(sent.as_bytes()).as_deref(), ann, "{sent:?}");
        }
        let kelvin = Ok("kelvin@example.com");
        assert_eq!(read_email("\u{212a}elvin@example.com".as_bytes()).as_deref(), kelvin);
        for unfit in ["an\u{200b}n@example.com", "ann\u{ad}@example.com", "an\nn@example.com", ""] {
            assert!(read_email(unfit.as_bytes()).is_err(), "{unfit:?}");
        }
    }

    #[test]
    fn a_name_keeps_what_its_script_needs_and_nothing_else_that_does_not_show() {
        for name in
            ["\u{2764}\u{fe0f}", "\u{645}\u{6cc}\u{200c}\u{62e}", "Zo\u{e9} \u{1f469}\u{200d}\u{1f680}"]
        {
            assert_eq!(read_name(name.as_bytes()).as_deref(), Ok(name));
        }
        for unfit in ["a\u{202e}b", "a\u{200b}b", "a\0b", "\u{feff}a"] {
            assert!(read_name(unfit.as_bytes()).is_err(), "{unfit:?}");
        }
    }

    #[test]
    fn what_does_not_show_is_what_unicode_says() {
        let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
        for char in '\0'..=char::MAX {
            assert_eq!(is_default_ignorable(char), ignorable.contains(char), "{char:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_read_is_read_as_itself(sent in "\\PC{0,40}|[\\x00-\\u{2fff} ]{0,8}") {
            for read in [read, read_name, read_email] {
                if let Ok(once) = read(sent.as_bytes()) {
                    let again = read(once.as_bytes()).map(Cow::into_owned);
                    prop_assert_eq!(again.as_deref(), Ok(&*once));
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for read in [read, read_name, read_email] {
                prop_assert!(read(&bytes).is_ok_and(|id| (1..=ID_BYTES_MAX).contains(&id.len())) || read(&bytes).is_err());
            }
        }
    }
}
