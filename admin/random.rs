//! What cannot be guessed: keys, and ids that never meet.

use crate::now;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokenist_core::id::KeyHash;
use tokenist_core::key::{HINT_CHARS, KEY_PREFIX};

/// A new tokenist key. It is shown once; hash and hint are what is kept.
pub(crate) struct NewKey {
    pub(crate) text: String,
    pub(crate) hash: KeyHash,
    pub(crate) hint: Arc<str>,
}

/// A new random token of the form that existing clients expect: `ug_` and 64 hexadecimal digits.
pub fn generate_token() -> String {
    digits(KEY_PREFIX, 32)
}

/// A new id: 32 hexadecimal digits, the second half random. Ids sort in the order they were made in, so that what
/// came about in the same millisecond is listed as it happened.
pub(crate) fn id(prefix: &str) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let clock = now().0 << 16;
    let next = |last: u64| clock.max(last + 1);
    let last = LAST.fetch_update(Relaxed, Relaxed, |last| Some(next(last))).expect("it always has a next");
    digits(&format!("{prefix}{:016x}", next(last)), 8)
}

/// 64 hexadecimal digits.
pub(crate) fn secret() -> String {
    digits("", 32)
}

pub(crate) fn number() -> u32 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    u32::from_be_bytes(bytes)
}

impl NewKey {
    pub(crate) fn generate() -> NewKey {
        let text = generate_token();
        let hash = KeyHash(Sha256::digest(&text).into());
        let hint = text[..HINT_CHARS].into();
        NewKey { text, hash, hint }
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.fmt(f)
    }
}

fn digits(prefix: &str, byte_count: usize) -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes[..byte_count].iter().fold(String::from(prefix), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_prefix_and_64_digits_and_never_the_same() {
        let (key, other) = (NewKey::generate(), NewKey::generate());
        let digits = key.text.strip_prefix("ug_").unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert!(key.text.starts_with(&*key.hint) && key.hint.len() == 12);
        assert!(key.text != other.text && key.hash != other.hash);
        assert!(!format!("{key:?}").contains(&digits[..12]));
    }

    #[test]
    fn ids_sort_as_they_were_made_and_have_32_digits() {
        let ids: Vec<String> = (0..1000).map(|_| id("log_")).collect();
        assert!(ids.is_sorted_by(|earlier, later| earlier < later), "{ids:?}");
        assert!(ids.iter().all(|id| id.len() == "log_".len() + 32));
    }
}
