//! Tokens for browsers (`ek_…`): what one says, how it is written and read, and why one opens nothing.
//!
//! A token is `ek_`, its claims as JSON in base64url, a dot, and the authentication code of all that stands before the dot. It
//! says again what its maker said of the user, with less: which sessions it opens, until when, how often, and what these are
//! bound to. Its holder can read it, so no secret is in it. What signs it is handed in.

mod bounds;
mod mint;

pub use bounds::{Bounds, impose, prelude};
pub use mint::{Form, Wish, Wrong};

use crate::catalog::Kept;
use crate::id::{Feature, KeyHash, OrgId, UserId};
use crate::time::{SECOND_MS, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What every token begins with.
pub const TOKEN_PREFIX: &str = "ek_";
/// What Google's SDKs tell a token by; behind it stands one as it is everywhere else.
pub const GOOGLE_PREFIX: &str = "auth_tokens/";
/// How far the clocks of two instances may be apart.
pub const SKEW_MS: u64 = 5 * SECOND_MS;
/// The longest that a token is good for.
pub const LIFE_SECONDS_MAX: u64 = 7_200;
/// An authentication code's length: HMAC-SHA256.
pub const CODE_BYTES: usize = 32;

/// A token's name for operators; it opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(Arc<str>);

/// Which sessions a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opens {
    Realtime,
    Transcription,
    Translation,
    Live,
    Gemini,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    pub id: TokenId,
    pub opens: Opens,
    /// As its maker named it; `None` where the key does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<Feature>,
    /// The tokenist key that made it, without which it opens nothing. `None`: the operator's provider key did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyHash>,
    /// The one model that its sessions may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// A JSON object: what its sessions are set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<str>>,
    pub made_at: Timestamp,
    /// Sessions begin before that.
    pub starts_until: Timestamp,
    /// And end at that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// How many sessions it opens; `None`: as many as may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// The process that made it.
    pub run: u64,
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// It is none of tokenist's.
    Foreign,
    /// It does not say what was signed, or was signed with another key.
    Altered,
    /// Its maker's clock is ahead by more than [`SKEW_MS`].
    Early,
    Expired,
    UsedUp,
    /// How often it was used before this process started is not known.
    Restarted,
    Revoked,
    /// The key that made it has ended.
    KeyEnded,
    /// What was asked for is no session.
    SessionsAlone,
    OtherSession(Opens),
}

/// That a token was revoked, as the catalog keeps it under the token's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedToken {
    pub revoked_at: Timestamp,
}

/// What stands in base64url, without padding and in the one way in which it is written, so that nothing can be said in two.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

impl Claims {
    /// Signs them: `code` is the authentication code of what it is given.
    pub fn write(&self, code: impl FnOnce(&[u8]) -> [u8; CODE_BYTES]) -> String {
        let claims = serde_json::to_vec(self).expect("claims are plain values");
        let said = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(claims));
        let code = URL_SAFE_NO_PAD.encode(code(said.as_bytes()));
        format!("{said}.{code}")
    }

    /// What a token says, if the code that `is_code` is shown behind what it is of is right.
    pub fn read(token: &str, is_code: impl FnOnce(&[u8], &[u8]) -> bool) -> Result<Claims, TokenFault> {
        let token = token.strip_prefix(GOOGLE_PREFIX).unwrap_or(token);
        let (said, code) = token.split_once('.').ok_or(TokenFault::Foreign)?;
        let claims = said.strip_prefix(TOKEN_PREFIX).and_then(bytes_of).ok_or(TokenFault::Foreign)?;
        let code = bytes_of(code).filter(|code| code.len() == CODE_BYTES).ok_or(TokenFault::Foreign)?;
        match is_code(said.as_bytes(), &code) {
            false => Err(TokenFault::Altered),
            // Another version of tokenist may bind what this one would not see.
            true => serde_json::from_slice(&claims).map_err(|_| TokenFault::Foreign),
        }
    }

    /// Whether it is good for anything at this time.
    pub fn check_time(&self, now: Timestamp) -> Result<(), TokenFault> {
        if self.made_at > now.plus_ms(SKEW_MS) {
            return Err(TokenFault::Early);
        }
        match now < self.last_moment().plus_ms(SKEW_MS) {
            true => Ok(()),
            false => Err(TokenFault::Expired),
        }
    }

    /// Whether a session may begin at this time. One that goes on may for as long as it lasts.
    pub fn may_begin(&self, now: Timestamp) -> Result<(), TokenFault> {
        match now < self.starts_until.plus_ms(SKEW_MS) {
            true => Ok(()),
            false => Err(TokenFault::Expired),
        }
    }

    /// Past this it is forgotten.
    pub fn last_moment(&self) -> Timestamp {
        self.ends_at.map_or(self.starts_until, |end| end.max(self.starts_until))
    }

    /// Whether this process, which began at `started_at`, knows how often the token was used. One that another instance made
    /// was made after that: of its clock, too.
    pub fn is_countable(&self, run: u64, started_at: Timestamp) -> bool {
        self.uses.is_none() || self.run == run || self.made_at >= started_at.plus_ms(SKEW_MS)
    }
}

impl Opens {
    /// Whether a session of this path is one of these.
    pub fn is_for(self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        match self {
            Opens::Realtime | Opens::Transcription => path.ends_with("/realtime"),
            Opens::Translation => path.ends_with("/realtime/translations"),
            Opens::Live => path.ends_with("/live/sessions"),
            Opens::Gemini => path.contains("BidiGenerateContent"),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Opens::Realtime => "conversations (…/realtime)",
            Opens::Transcription => "transcriptions (…/realtime?intent=transcription)",
            Opens::Translation => "translations (…/realtime/translations)",
            Opens::Live => "GPT-Live (…/live/sessions)",
            Opens::Gemini => "Gemini Live (BidiGenerateContent)",
        }
    }
}

impl TokenFault {
    /// The machine-readable code.
    pub fn code(self) -> &'static str {
        match self {
            TokenFault::Foreign => "token_unknown",
            TokenFault::Altered => "token_altered",
            TokenFault::Early => "token_not_yet_valid",
            TokenFault::Expired => "token_expired",
            TokenFault::UsedUp | TokenFault::Restarted => "token_used_up",
            TokenFault::Revoked | TokenFault::KeyEnded => "token_revoked",
            TokenFault::SessionsAlone | TokenFault::OtherSession(_) => "token_out_of_scope",
        }
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenFault::Foreign => {
                "this token (ek_…) was not made here; ask tokenist for one: POST …/v1/realtime/client_secrets"
            }
            TokenFault::Altered => {
                "this token was altered, or made by a tokenist that has another admin.token"
            }
            TokenFault::Early => {
                "this token is not valid yet: the clock of the instance that made it is ahead"
            }
            TokenFault::Expired => "this token has expired; ask for a new one",
            TokenFault::UsedUp => "this token is used up; ask for a new one",
            TokenFault::Restarted => {
                "this token may have been used before tokenist was started anew; ask for a new one"
            }
            TokenFault::Revoked => "this token was revoked",
            TokenFault::KeyEnded => "the tokenist key that made this token was revoked or has expired",
            TokenFault::SessionsAlone => {
                "this token opens sessions and begins calls, and tells what is left, and no more"
            }
            TokenFault::OtherSession(opens) => {
                return write!(f, "this token is for other sessions: {}", opens.words());
            }
        })
    }
}

impl TokenId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TokenId {
    fn from(text: &str) -> TokenId {
        TokenId(text.into())
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Kept for RevokedToken {
    const KIND: &'static str = "revoked_token";

    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        None
    }
}

#[cfg(test)]
mod tests;
