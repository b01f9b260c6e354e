//! The operator's credential.

use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// The operator's credential: SHA-256 of 16 to 512 printable characters without spaces.
#[derive(Clone)]
pub struct OperatorToken([u8; 32]);

/// Why a text cannot be an operator's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    TooShort,
    TooLong,
    NotPrintable,
}

impl OperatorToken {
    pub fn parse(text: &str) -> Result<OperatorToken, TokenError> {
        match text.len() {
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(TokenError::NotPrintable),
            0..TOKEN_CHARS_MIN => Err(TokenError::TooShort),
            TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX => Ok(OperatorToken(Sha256::digest(text).into())),
            _ => Err(TokenError::TooLong),
        }
    }

    /// Why this text, though it can be a token, had better not be one; of a random one nothing is said.
    pub fn weakness(text: &str) -> Option<&'static str> {
        let mut seen = [false; 256];
        text.bytes().for_each(|byte| seen[usize::from(byte)] = true);
        let kinds = seen.iter().filter(|seen| **seen).count();
        match text.len() {
            0..TOKEN_CHARS_SAFE => Some("is shorter than 32 characters"),
            _ if kinds < TOKEN_KINDS_SAFE => Some("has few different characters"),
            _ => None,
        }
    }

    pub(crate) fn hash(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn is(&self, other: &OperatorToken) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(hidden)")
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenError::TooShort => "is shorter than 16 characters",
            TokenError::TooLong => "is longer than 512 characters",
            TokenError::NotPrintable => "holds a space or another character that is not printable ASCII",
        })
    }
}

impl std::error::Error for TokenError {}

const TOKEN_CHARS_MIN: usize = 16;
const TOKEN_CHARS_MAX: usize = 512;
/// As many hexadecimal digits are 128 bits.
const TOKEN_CHARS_SAFE: usize = 32;
/// Of 32 random digits fewer than so many are different once in some hundred million times.
const TOKEN_KINDS_SAFE: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_guessed_is_told_from_what_is_random() {
        for (text, is_weak) in [
            ("correct-horse-battery", true),
            (&"x".repeat(64), true),
            (&"abcabc".repeat(8), true),
            ("0123456789abcdef0123456789abcdef", false),
        ] {
            assert_eq!(OperatorToken::weakness(text).is_some(), is_weak, "{text}");
        }
        assert!((0..100).all(|_| OperatorToken::weakness(&crate::generate_token()).is_none()));
    }

    #[test]
    fn tokens_are_long_and_printable() {
        assert!(OperatorToken::parse(&crate::generate_token()).is_ok());
        for (text, error) in [
            ("", TokenError::TooShort),
            ("fifteen-chars-x", TokenError::TooShort),
            ("sixteen chars in", TokenError::NotPrintable),
            ("żółty-żółw-żółty", TokenError::NotPrintable),
        ] {
            assert_eq!(OperatorToken::parse(text).unwrap_err(), error, "{text}");
        }
        assert_eq!(OperatorToken::parse(&"x".repeat(513)).unwrap_err(), TokenError::TooLong);
        assert!(!format!("{:?}", OperatorToken::parse("correct-horse-battery").unwrap()).contains("horse"));
    }
}
