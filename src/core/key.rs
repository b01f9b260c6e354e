//! Tokenist keys: what is known of one without knowing the key itself.
//!
//! A key is `ug_` and 64 hexadecimal digits, shown once. Its SHA-256 and its first characters are kept.

use crate::browser_token::TOKEN_PREFIX;
use crate::id::{KeyHash, OrgId, UserId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What every tokenist key begins with.
pub const KEY_PREFIX: &str = "ug_";
/// What a credential begins with that is for tokenist, or for the app that made it, and goes to no provider: a
/// tokenist key, or a token for browsers.
pub const OWN_PREFIXES: [&str; 3] = [KEY_PREFIX, TOKEN_PREFIX, "auth_tokens/ek_"];
/// How many characters of a key are kept to tell it by.
pub const HINT_CHARS: usize = 12;

/// A provider's key: printable ASCII without blanks, so it can stand in any head. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderKey(Arc<str>);

impl ProviderKey {
    /// `None` if it is empty or holds anything else, or is for no provider.
    pub fn parse(key: &str) -> Option<ProviderKey> {
        let is_printable = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        let is_own = OWN_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
        (is_printable && !is_own).then(|| ProviderKey(key.into()))
    }

    /// A provider's own token for a page, which begins as tokenist's do. `None` if it could be one of those: they have a dot.
    pub fn of_page(token: &str) -> Option<ProviderKey> {
        let rest = token.strip_prefix(TOKEN_PREFIX)?;
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'.';
        (!rest.is_empty() && rest.bytes().all(is_plain)).then(|| ProviderKey(token.into()))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderKey(…)")
    }
}

/// A key's name for operators; it opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Arc<str>);

/// What a key opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scopes {
    /// Sessions through the proxy.
    pub proxy: bool,
    /// Checking, recording and logging calls that do not pass through the proxy.
    pub sdk: bool,
    /// The admin API.
    pub admin: bool,
}

/// By whose right a key was made. One that was made with a key is its maker's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maker {
    /// The operator's token.
    Operator,
    /// A login, by its id.
    Login(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub id: KeyId,
    pub hash: KeyHash,
    pub name: Arc<str>,
    /// The key's first characters.
    pub hint: Arc<str>,
    /// The user the key speaks for. `None`: the request names the user.
    pub user: Option<UserId>,
    /// The org that everything under this key counts for. `None`: the request may name one.
    pub org: Option<OrgId>,
    pub scopes: Scopes,
    /// The login of the account that made it, which may then speak for no user of another org.
    #[serde(default)]
    pub account: Option<Arc<str>>,
    /// `None`: from before this was kept; [`Key::maker`] says it of accounts' keys all the same.
    #[serde(default)]
    pub maker: Option<Maker>,
    pub created_at: Timestamp,
    /// `None` lasts until it is revoked.
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl Key {
    /// `None` is unknown.
    pub fn maker(&self) -> Option<Maker> {
        self.maker.clone().or_else(|| self.account.clone().map(Maker::Login))
    }

    /// When the key stops to open anything.
    pub fn ends_at(&self) -> Option<Timestamp> {
        match (self.expires_at, self.revoked_at) {
            (Some(expiry), Some(revocation)) => Some(expiry.min(revocation)),
            (end, None) | (None, end) => end,
        }
    }

    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.ends_at().is_none_or(|end| now < end)
    }
}

impl KeyId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for KeyId {
    fn from(text: &str) -> KeyId {
        KeyId(text.into())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_own_token_for_a_page_is_none_of_tokenists() {
        for (token, is_providers) in [
            ("ek_68a1b2", true),
            ("ek_a.b", false),
            ("ek_", false),
            ("ek_a b", false),
            ("ug_1", false),
            ("sk-1", false),
        ] {
            assert_eq!(ProviderKey::of_page(token).is_some(), is_providers, "{token}");
        }
    }

    #[test]
    fn a_key_of_before_makers_were_kept_is_read_and_an_accounts_is_its_accounts() {
        let old = r#"{"id":"key_1","hash":"HASH","name":"ci","hint":"ug_0","user":null,"org":null,
            "scopes":{"proxy":true,"sdk":false,"admin":false},"account":ACCOUNT,"created_at":1,"expires_at":null,
            "revoked_at":null}"#;
        let hash = KeyHash([7; 32]).to_string();
        for (account, maker) in [("null", None), ("\"login_1\"", Some(Maker::Login("login_1".into())))] {
            let key = old.replace("HASH", &hash).replace("ACCOUNT", account);
            let key: Key = serde_json::from_str(&key).unwrap();
            assert_eq!(key.maker(), maker);
            assert_eq!(serde_json::from_str::<Key>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
        }
    }

    #[test]
    fn a_key_ends_at_the_first_of_its_ends() {
        let key = |expires: Option<u64>, revoked: Option<u64>| Key {
            id: KeyId::from("key_1"),
            hash: KeyHash([0; 32]),
            name: "ci".into(),
            hint: "ug_000000000".into(),
            user: None,
            org: None,
            scopes: Scopes::default(),
            account: None,
            maker: None,
            created_at: Timestamp(0),
            expires_at: expires.map(Timestamp),
            revoked_at: revoked.map(Timestamp),
        };
        for (expires, revoked, end) in [
            (None, None, None),
            (Some(5), None, Some(5)),
            (None, Some(7), Some(7)),
            (Some(5), Some(7), Some(5)),
        ] {
            let key = key(expires, revoked);
            assert_eq!(key.ends_at(), end.map(Timestamp));
            assert!(end.is_none_or(|end| key.holds_at(Timestamp(end - 1)) && !key.holds_at(Timestamp(end))));
        }
    }
}
