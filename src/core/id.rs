//! Names of things. Each is its own type, so a user can never be passed where an org is meant.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

mod read;

use read::read_parts;
pub use read::{ID_BYTES_MAX, IdError, Unfit, compose, read, read_email, read_name};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        text_id!($(#[$doc])* $name, read);
    };
    ($(#[$doc:meta])* $name:ident, $read:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// From a caller's bytes, by [`read()`].
            pub fn parse(bytes: &[u8]) -> Result<$name, IdError> {
                $read(bytes).map(|text| $name(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                $name(text.into())
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Whose usage is metered, as the application names its user, or [spaced](UserId::spaced).
    UserId, read_user
);
text_id!(
    /// The customer or team a user belongs to.
    OrgId
);
text_id!(
    /// The part of the application that a session serves.
    Feature
);
text_id!(
    /// A model as the provider names it.
    Model
);

/// What ids of name spaces begin with, and no other id.
pub const SPACE_PREFIX: &str = "ug:";

/// Ids of accounts' keys are each org's own: stored as `ug:`, the org, `:` and the id as the application says it. In the
/// org `%` and `:` are written `%25` and `%3A`, so the first colon after it ends it, whatever the id holds.
impl UserId {
    /// This id in the name space of an org.
    pub fn spaced(&self, org: &OrgId) -> UserId {
        let org = org.as_str().replace('%', "%25").replace(':', "%3A");
        UserId::from(&*format!("{SPACE_PREFIX}{org}:{}", self.0))
    }

    /// The org in whose name space the id is.
    pub fn space(&self) -> Option<OrgId> {
        let (org, _) = parts(self.as_str())?;
        Some(OrgId::from(&*org.replace("%3A", ":").replace("%25", "%")))
    }

    /// The id as the application of its org says it: without the name space, if it is in one.
    pub fn bare(&self) -> &str {
        parts(self.as_str()).map_or(self.as_str(), |(_, bare)| bare)
    }
}

/// The org, as it is written, and the bare id of one that is in a name space.
fn parts(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(SPACE_PREFIX)?.split_once(':')
}

/// As operators name a user: plain, or in a name space, whose parts are ids each.
fn read_user(bytes: &[u8]) -> Result<Cow<'_, str>, IdError> {
    let text = read_parts(bytes)?;
    if !text.starts_with(SPACE_PREFIX) {
        return if text.len() > ID_BYTES_MAX { Err(IdError::TooLong) } else { Ok(text) };
    }
    let user = UserId::from(&*text);
    let (_, bare) = parts(&text).ok_or(IdError::Space)?;
    let org = user.space().ok_or(IdError::Space)?;
    // Each user has one name.
    if UserId::from(bare).spaced(&org) != user {
        return Err(IdError::Space);
    }
    let bare = UserId::from(&*read(bare.as_bytes())?);
    match bare.as_str().starts_with(SPACE_PREFIX) {
        true => Err(IdError::Space),
        false => Ok(bare.spaced(&OrgId::parse(org.as_str().as_bytes())?).as_str().to_owned().into()),
    }
}

/// One session, unique in this process's life and, by its random upper half, across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl SessionId {
    /// What did not pass through a session is booked under this.
    pub const NONE: SessionId = SessionId(0);

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<SessionId> {
        let digits = text.strip_prefix("sess_")?;
        if digits.len() != 16 {
            return None;
        }
        u64::from_str_radix(digits, 16).ok().map(SessionId)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sess_{:016x}", self.0)
    }
}

/// SHA-256 of a tokenist key. The key itself is never kept. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<KeyHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(KeyHash(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for KeyHash {
    type Error = &'static str;
    fn try_from(text: String) -> Result<KeyHash, &'static str> {
        KeyHash::parse(&text).ok_or("a key's hash is 64 hexadecimal digits")
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// What a session is for: what its cost is booked under. Everything but the user is optional.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub user: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<Feature>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// The tokenist key by which the caller came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyHash>,
}

impl Identity {
    pub fn of(user: UserId) -> Identity {
        Identity { user, org: None, feature: None, conversation: None, email: None, name: None, key: None }
    }

    /// Whose limits bind it, the user first.
    pub fn holders(&self) -> impl Iterator<Item = Holder> + use<> {
        let org = self.org.clone().map(Holder::Org);
        let feature = self.feature.clone().map(Holder::Feature);
        [Some(Holder::User(self.user.clone())), org, feature, self.key.map(Holder::Key)].into_iter().flatten()
    }
}

/// What a limit binds: each holder has one account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    User(UserId),
    Org(OrgId),
    Feature(Feature),
    Key(KeyHash),
}

impl Holder {
    /// The holder that is meant where this one's id is sent, if that is another one: by versions that read ids as they
    /// came, it may have been kept so. `None` also where no client can send it any more.
    pub fn renamed(&self) -> Option<Holder> {
        let other = match self {
            Holder::User(user) => Holder::User(UserId::parse(user.as_str().as_bytes()).ok()?),
            Holder::Org(org) => Holder::Org(OrgId::parse(org.as_str().as_bytes()).ok()?),
            Holder::Feature(feature) => Holder::Feature(Feature::parse(feature.as_str().as_bytes()).ok()?),
            Holder::Key(_) => return None,
        };
        (other != *self).then_some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_name_spaces_meet_no_others() {
        for (org, bare) in
            [("acme", "alice"), ("a:b", "c"), ("a", "b:c"), ("a%3Ab", "c"), ("%", ":"), ("ug", "ug")]
        {
            let (org, user) = (OrgId::from(org), UserId::from(bare));
            let spaced = user.spaced(&org);
            assert_eq!((spaced.space(), spaced.bare()), (Some(org), bare), "{spaced}");
            assert_eq!(UserId::parse(spaced.as_str().as_bytes()), Ok(spaced));
            assert_eq!((user.space(), user.bare()), (None, bare));
        }
        for sent in [" ug:acme:Zoe\u{301}", "ug:acme: Zo\u{e9}", "ug: acme :Zo\u{e9} "] {
            assert_eq!(UserId::parse(sent.as_bytes()).unwrap().as_str(), "ug:acme:Zo\u{e9}", "{sent:?}");
        }
        let long = "x".repeat(ID_BYTES_MAX);
        let spaced = UserId::from(&*long).spaced(&OrgId::from(&*long));
        assert_eq!(UserId::parse(spaced.as_str().as_bytes()), Ok(spaced));
        for (text, error) in [
            ("ug:", IdError::Space),
            ("ug:acme", IdError::Space),
            ("ug:acme:", IdError::Empty),
            ("ug::alice", IdError::Empty),
            ("ug:a%41:b", IdError::Space),
            ("ug:a%3a:b", IdError::Space),
            ("ug:acme:ug:acme:b", IdError::Space),
            ("ug:acme: ug:acme:b", IdError::Space),
            ("ug:acme: ", IdError::Empty),
        ] {
            assert_eq!(UserId::parse(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn session_ids_read_back() {
        let id = SessionId(0xdead_beef);
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        assert_eq!(SessionId::parse("sess_zz"), None);
        let hash = KeyHash([0xa5; 32]);
        assert_eq!(KeyHash::parse(&hash.to_string()), Some(hash));
        assert_eq!(KeyHash::parse("a5"), None);
    }
}
