//! Who may sign in with a password, and what the token says that they get for it.
//!
//! A token is a JWT (HS256, seven days), sent as a bearer or as a cookie. It names its login and nothing else: what the
//! login may do is looked up with every request, so a changed role or password holds at once.

use crate::auth::OperatorToken;
use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use tokenist_core::catalog::Kept;
use tokenist_core::id::{self, OrgId};
use tokenist_core::time::{DAY_MS, Timestamp};

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

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("email", &self.email).field("role", &self.role).finish_non_exhaustive()
    }
}

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

/// Likewise. Without a login it takes as long, so that nobody learns which emails there are.
pub(crate) fn is_password_of(login: Option<&Login>, password: &str) -> bool {
    const NOBODYS: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5cyBzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let kept = login.map_or(NOBODYS, |login| &login.password);
    let matches = PasswordHash::new(kept)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
    matches && login.is_some()
}

/// Signs tokens and reads them again.
#[derive(Clone)]
pub(crate) struct Signer {
    sign: EncodingKey,
    read: DecodingKey,
}

/// Whom a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// Who has shown the operator's token.
    Operator,
    Login {
        id: Arc<str>,
        epoch: u32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: Arc<str>,
    epoch: u32,
    iat: u64,
    exp: u64,
}

impl Signer {
    /// The key follows from the operator's token, so instances with the same one take each other's tokens, and a new
    /// one ends them all.
    pub(crate) fn new(token: &OperatorToken) -> Signer {
        let key = Sha256::new().chain_update("tokenist login").chain_update(token.hash()).finalize();
        Signer { sign: EncodingKey::from_secret(&key), read: DecodingKey::from_secret(&key) }
    }

    pub(crate) fn sign(&self, bearer: &Bearer, now: Timestamp) -> String {
        let (sub, epoch) = match bearer {
            Bearer::Operator => (OPERATOR.into(), 0),
            Bearer::Login { id, epoch } => (Arc::clone(id), *epoch),
        };
        let iat = now.0 / 1_000;
        let claims = Claims { sub, epoch, iat, exp: iat + TOKEN_SECONDS };
        jsonwebtoken::encode(&Header::default(), &claims, &self.sign).expect("claims are plain values")
    }

    /// `None`: not ours, altered, or over.
    pub(crate) fn read(&self, token: &str) -> Option<Bearer> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.read, &Validation::new(Algorithm::HS256));
        let Claims { sub, epoch, .. } = claims.ok()?.claims;
        Some(match &*sub {
            OPERATOR => Bearer::Operator,
            _ => Bearer::Login { id: sub, epoch },
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

/// How long a token opens something.
pub(crate) const TOKEN_SECONDS: u64 = 7 * DAY_MS / 1_000;
const OPERATOR: &str = "operator";

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        crate::now()
    }

    #[test]
    fn a_token_names_whom_it_was_signed_for_until_it_is_over_or_the_operators_token_changes() {
        let signer = |token: &str| Signer::new(&OperatorToken::parse(token).unwrap());
        let (ours, theirs) = (signer("correct-horse-battery"), signer("wrong-horse-battery!"));
        for bearer in [Bearer::Operator, Bearer::Login { id: "login_1".into(), epoch: 3 }] {
            let token = ours.sign(&bearer, now());
            assert_eq!(ours.read(&token), Some(bearer.clone()));
            assert_eq!(theirs.read(&token), None);
            let old = ours.sign(&bearer, now().minus_ms((TOKEN_SECONDS + 120) * 1_000));
            assert_eq!(ours.read(&old), None);
            let (head, rest) = token.split_once('.').unwrap();
            assert_eq!(ours.read(&format!("{head}.{}", rest.replacen('e', "f", 1))), None);
        }
        // `{"alg":"none"}`
        assert_eq!(ours.read("eyJhbGciOiJub25lIn0.eyJzdWIiOiJvcGVyYXRvciJ9."), None);
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
