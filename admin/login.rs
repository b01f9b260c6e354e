//! Logins, which sign in with a password.

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use tokenist_core::catalog::Kept;
use tokenist_core::id::{self, OrgId};
use tokenist_core::key::Key;
use tokenist_core::time::Timestamp;

/// A login as it is kept, under [`login_id`] of its email.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) email: Arc<str>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) role: Role,
    /// Whose keys and usage an account sees; `None`: one of its own.
    #[serde(default)]
    pub(crate) org: Option<OrgId>,
    /// Its owner made it, and no owner of this tokenist.
    #[serde(default)]
    pub(crate) registered: bool,
    /// Argon2id, in the PHC string format.
    pub(crate) password: Arc<str>,
    pub(crate) created_at: Timestamp,
    /// Grows with each new password: tokens of before open nothing.
    pub(crate) epoch: u32,
}

/// What a login may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// See the usage of its org, and make keys for it.
    Member,
    /// Read.
    Viewer,
    /// Change everything but logins.
    Operator,
    Owner,
}

impl Kept for Login {
    const KIND: &'static str = "login";

    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        self.org.as_ref().map(OrgId::as_str)
    }
}

impl Login {
    /// Whether a key that was made by its right may go on to open what it does. One that was made before the login was
    /// is of another login, whose email it had.
    pub(crate) fn may_keep(&self, key: &Key) -> bool {
        let is_its_own = key.created_at.plus_ms(CLOCKS_DIFFER_MS) >= self.created_at;
        !key.scopes.admin || (self.role >= Role::Operator && is_its_own)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("email", &self.email).field("role", &self.role).finish_non_exhaustive()
    }
}

/// By how much instances' clocks may differ.
const CLOCKS_DIFFER_MS: u64 = 60_000;

/// One mailbox has one login, however it is written. What is no address has none, but an id all the same.
pub(crate) fn login_id(email: &str) -> String {
    let email = id::read_email(email.as_bytes()).unwrap_or(email.into());
    let hash = Sha256::digest(&*email);
    hash[..16].iter().fold(String::from("login_"), |id, byte| format!("{id}{byte:02x}"))
}

/// Takes some 20 ms of a CPU and 19 MiB, so it is for a thread that may block.
pub(crate) fn hash_password(password: &str) -> Arc<str> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.expect("a password of bounded length can be hashed").to_string().into()
}

/// Likewise. Without a login it takes as long, so that a client does not learn which emails there are.
pub(crate) fn is_password_of(login: Option<&Login>, password: &str) -> bool {
    const NOBODYS: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5cyBzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let kept = login.map_or(NOBODYS, |login| &login.password);
    let matches = PasswordHash::new(kept)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
    matches && login.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        crate::now()
    }

    #[test]
    fn a_password_is_kept_as_its_hash_and_fits_its_login_alone() {
        let password = hash_password("correct horse");
        assert!(password.starts_with("$argon2id$") && !password.contains("horse"));
        let login = Login {
            email: "Ann@example.com".into(),
            name: None,
            role: Role::Owner,
            org: None,
            registered: false,
            password,
            created_at: now(),
            epoch: 0,
        };
        assert!(is_password_of(Some(&login), "correct horse"));
        assert!(!is_password_of(Some(&login), "correct horse "));
        assert!(!is_password_of(None, "correct horse"));
        assert!(!format!("{login:?}").contains("argon2"));
        for same in ["ann@EXAMPLE.com", " ann@example.com ", "\u{ff21}nn@example.com"] {
            assert_eq!(login_id("Ann@example.com"), login_id(same), "{same:?}");
        }
    }
}
