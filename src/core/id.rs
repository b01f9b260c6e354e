//! Names of things. Each is its own type, so a user can never be passed where an org is meant.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The longest id, in bytes, that a caller may send.
pub const ID_BYTES_MAX: usize = 256;

/// Why a caller's id was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    Empty,
    TooLong,
    ControlCharacter,
    NotUtf8,
    /// It begins as an id of an org's name space does, and is none.
    Space,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdError::Empty => "is empty",
            IdError::TooLong => "is longer than 256 bytes",
            IdError::ControlCharacter => "contains a control character",
            IdError::NotUtf8 => "is not UTF-8",
            IdError::Space => "begins with ug: and is not of the form ug:ORG:ID",
        })
    }
}

/// Checks what every id of ours must be: 1 to 256 bytes of UTF-8 without control characters.
pub fn check(bytes: &[u8]) -> Result<&str, IdError> {
    let text = std::str::from_utf8(bytes).map_err(|_| IdError::NotUtf8)?;
    match text {
        "" => Err(IdError::Empty),
        _ if text.len() > ID_BYTES_MAX => Err(IdError::TooLong),
        _ if text.chars().any(char::is_control) => Err(IdError::ControlCharacter),
        _ => Ok(text),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        text_id!($(#[$doc])* $name, check);
    };
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// From a caller's bytes, checked as [`check`] says.
            pub fn parse(bytes: &[u8]) -> Result<$name, IdError> {
                $check(bytes).map($name::from)
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
    UserId, parse_user
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
fn parse_user(bytes: &[u8]) -> Result<&str, IdError> {
    let text = std::str::from_utf8(bytes).map_err(|_| IdError::NotUtf8)?;
    if !text.starts_with(SPACE_PREFIX) {
        return check(bytes);
    }
    let (_, bare) = parts(text).ok_or(IdError::Space)?;
    let user = UserId::from(text);
    let org = user.space().ok_or(IdError::Space)?;
    check(org.as_str().as_bytes())?;
    check(bare.as_bytes())?;
    // Each user has one name.
    let is_plain = !bare.starts_with(SPACE_PREFIX) && UserId::from(bare).spaced(&org) == user;
    if is_plain { Ok(text) } else { Err(IdError::Space) }
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

/// Who a session is for: what its cost is booked under. Everything but the user is optional.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub user: UserId,
    pub org: Option<OrgId>,
    pub feature: Option<Feature>,
    pub conversation: Option<Arc<str>>,
    pub email: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
    /// The tokenist key by which the caller came.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bounded_printable_utf8() {
        assert_eq!(UserId::parse(b"alice@example.com").unwrap().as_str(), "alice@example.com");
        assert_eq!(UserId::parse("żółw".as_bytes()).unwrap().as_str(), "żółw");
        for (bytes, error) in [
            (&b""[..], IdError::Empty),
            (b"a\x00b", IdError::ControlCharacter),
            (b"a\tb", IdError::ControlCharacter),
            ("a\u{85}b".as_bytes(), IdError::ControlCharacter),
            (b"\xff", IdError::NotUtf8),
            (&[b'x'; 257], IdError::TooLong),
        ] {
            assert_eq!(UserId::parse(bytes), Err(error));
        }
    }

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
