//! By what a call is known that an application tells of again: its `Idempotency-Key`, or the response that it is of.
//!
//! Start at [`Ids::of`]. An id is a digest, of the key and what it tells of: no key's ids meet another's.

use crate::auth::Caller;
use crate::error::ApiError;
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Record,
    Log,
}

/// All that a call is known by; nothing where the application does not say.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    teller: String,
    ids: Vec<Arc<str>>,
}

const HEADER: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 255;
/// Half of a digest: 128 bits meet by chance once in longer than anything is kept.
const ID_BYTES: usize = 16;

impl Ids {
    /// As the request's headers say. An answer says what is wrong with a key that is none.
    pub(crate) fn of(scope: Scope, caller: &Caller, headers: &HeaderMap) -> Result<Ids, ApiError> {
        let mut ids = Ids { teller: format!("{scope:?} {}", teller(caller)), ids: Vec::new() };
        let mut keys = headers.get_all(HEADER).iter();
        match (keys.next(), keys.next()) {
            (None, _) => {}
            (Some(key), None) if (1..=KEY_BYTES_MAX).contains(&key.len()) => {
                ids.ids.push(ids.digest(&[b"key", key.as_bytes()]));
            }
            _ => {
                let sentence =
                    format!("Idempotency-Key must be given once, with 1 to {KEY_BYTES_MAX} characters");
                return Err(ApiError::new(StatusCode::BAD_REQUEST, sentence));
            }
        }
        Ok(ids)
    }

    /// What is the same each time that the call is told of.
    pub(crate) fn add(&mut self, parts: &[&str]) {
        let mut bytes: Vec<&[u8]> = vec![b"response"];
        bytes.extend(parts.iter().map(|part| part.as_bytes()));
        let id = self.digest(&bytes);
        // Before the key, which an application may make anew for each attempt.
        self.ids.insert(0, id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<str>> {
        self.ids.clone()
    }

    /// A name for what is made of the call, the same each time.
    pub(crate) fn name(&self, prefix: &str) -> Option<String> {
        self.ids.first().map(|id| format!("{prefix}{id}"))
    }

    fn digest(&self, parts: &[&[u8]]) -> Arc<str> {
        let mut hasher = Sha256::new();
        for part in std::iter::once(self.teller.as_bytes()).chain(parts.iter().copied()) {
            // With its length, so that no two lists of parts read alike.
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let mut id = String::with_capacity(2 * ID_BYTES);
        for byte in &digest[..ID_BYTES] {
            write!(id, "{byte:02x}").expect("a string grows");
        }
        id.into()
    }
}

/// A key of an org may take another's place, so it is the org that tells; else the key, whose id outlives its text.
fn teller(caller: &Caller) -> String {
    match caller {
        Caller::Operator | Caller::Login { .. } => "operator".to_owned(),
        Caller::Key(key) => match &key.org {
            Some(org) => format!("org {org}"),
            None => format!("key {}", key.id.as_str()),
        },
    }
}
