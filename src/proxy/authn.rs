//! Who is calling: the credential of a request and the user it speaks for, wherever an SDK puts them.
//!
//! Start at [`caller`]. Nothing found here goes upstream except, in the provider's own form, a key that is the
//! provider's.

use crate::config::IdentityRules;
use aws_lc_rs::digest;
use std::fmt;
use std::sync::Arc;
use tokenist_core::close::Ending;
use tokenist_core::http::{Header, RequestHead, decode_query};
use tokenist_core::id::{self, Feature, KeyHash, OrgId, UserId};

/// Header names, lower-case, that carry a credential.
pub(crate) const CREDENTIAL_HEADERS: [&str; 5] =
    ["authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization"];
/// Query parameters that carry a credential.
pub(crate) const CREDENTIAL_PARAMETERS: [&str; 4] = ["key", "api-key", "access_token", "Authorization"];
/// The subprotocol in which browsers send a key.
pub(crate) const KEY_SUBPROTOCOL: &str = "openai-insecure-api-key.";
/// Headers that say who the user is. They are for tokenist alone.
pub(crate) const IDENTITY_HEADERS: [&str; 6] =
    ["x-user-id", "x-org-id", "x-feature", "x-conversation-id", "x-user-email", "x-user-name"];
/// Query parameters that do, where `identity.query` allows them.
pub(crate) const IDENTITY_PARAMETERS: [&str; 3] = ["user_id", "org_id", "feature"];

const TOKENIST_KEY_PREFIX: &str = "ug_";

/// What the caller showed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A tokenist key.
    Key(KeyHash),
    /// The caller's own provider key, to be passed through.
    Own(String),
}

/// Never shows a key.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Key(hash) => hash.fmt(f),
            Credential::Own(_) => f.write_str("Own(…)"),
        }
    }
}

/// A request's credential and claims.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) credential: Credential,
    /// A key may be bound to its user.
    pub(crate) user: Option<UserId>,
    pub(crate) org: Option<OrgId>,
    pub(crate) feature: Option<Feature>,
    pub(crate) conversation: Option<Arc<str>>,
    pub(crate) email: Option<Arc<str>>,
    pub(crate) name: Option<Arc<str>>,
}

/// Finds out who is calling, or says what is missing or malformed.
pub(crate) fn caller(head: &RequestHead, rules: &IdentityRules) -> Result<Caller, Ending> {
    let credential = match credential(head) {
        None => return Err(unauthorized("no API key was sent; put one in `Authorization: Bearer …`")),
        Some(key) if key.starts_with(TOKENIST_KEY_PREFIX) => Credential::Key(hash(&key)),
        Some(_) if !rules.passthrough => {
            return Err(unauthorized("only tokenist keys (ug_…) are accepted here"));
        }
        Some(key) => Credential::Own(key),
    };
    let claim =
        |header: &str, parameter: Option<&str>| claim(head, header, parameter.filter(|_| rules.query));
    let user = claim("x-user-id", Some("user_id"))?.map(|text| UserId::from(&*text));
    if user.is_none() && matches!(credential, Credential::Own(_)) {
        return Err(unauthorized("the x-user-id header is missing"));
    }
    Ok(Caller {
        credential,
        user,
        org: claim("x-org-id", Some("org_id"))?.map(|text| OrgId::from(&*text)),
        feature: claim("x-feature", Some("feature"))?.map(|text| Feature::from(&*text)),
        conversation: claim("x-conversation-id", None)?.map(Arc::from),
        email: claim("x-user-email", None)?.map(Arc::from),
        name: claim("x-user-name", None)?.map(Arc::from),
    })
}

/// The first credential of the request, in the order SDKs mean them.
fn credential(head: &RequestHead) -> Option<String> {
    let header = |name| head.headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
    let bearer = header("authorization").and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let plain = ["x-api-key", "api-key", "x-goog-api-key"].into_iter().find_map(header);
    let query = || {
        let found = head.query().find(|(name, _)| CREDENTIAL_PARAMETERS.contains(name))?;
        let value = decode_query(found.1)?;
        Some(value.strip_prefix("Bearer ").map_or(value.clone(), str::to_owned))
    };
    let subprotocol = || {
        head.headers.tokens("sec-websocket-protocol").find_map(|token| token.strip_prefix(KEY_SUBPROTOCOL))
    };
    bearer
        .or(plain)
        .map(str::to_owned)
        .or_else(query)
        .or_else(|| subprotocol().map(str::to_owned))
        .filter(|key| !key.is_empty())
}

/// An id from a header, else from a query parameter if one may carry it.
fn claim(head: &RequestHead, header: &str, parameter: Option<&str>) -> Result<Option<String>, Ending> {
    let mut values =
        head.headers.0.iter().filter(|line| line.is(header)).map(|line: &Header| line.value.trim_ascii());
    let checked = |bytes: &[u8], what: &str| match id::check(bytes) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(error) => Err(unauthorized(format!("{what} {error}"))),
    };
    if let Some(value) = values.next() {
        if values.next().is_some() {
            return Err(unauthorized(format!("the {header} header is given twice")));
        }
        return checked(value, &format!("the {header} header"));
    }
    let Some(name) = parameter else { return Ok(None) };
    match head.query().find(|(found, _)| *found == name) {
        None => Ok(None),
        Some((_, value)) => match decode_query(value) {
            Some(text) => checked(text.as_bytes(), &format!("the query parameter {name}")),
            None => Err(unauthorized(format!("the query parameter {name} is not valid percent-encoding"))),
        },
    }
}

fn hash(key: &str) -> KeyHash {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    KeyHash(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
}

fn unauthorized(why: impl Into<std::borrow::Cow<'static, str>>) -> Ending {
    Ending::Unauthorized(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::http::request_head;

    const OPEN: IdentityRules = IdentityRules { passthrough: true, query: true };

    fn check(target: &str, headers: &[&str], rules: &IdentityRules) -> Result<(String, String), String> {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let head = request_head(format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes()).unwrap();
        let caller = caller(&head, rules).map_err(|ending| ending.message())?;
        let key = match caller.credential {
            Credential::Key(_) => "ug".into(),
            Credential::Own(key) => key,
        };
        Ok((key, caller.user.map_or("-".into(), |user| user.to_string())))
    }

    #[test]
    fn credentials_and_users_are_found_wherever_sdks_put_them() {
        let user = "x-user-id: alice";
        for (target, headers) in [
            ("/v1/realtime", vec!["Authorization: Bearer sk-1", user]),
            ("/v1/realtime", vec!["authorization: bearer sk-1", user]),
            ("/v1/realtime", vec!["api-key: sk-1", user]),
            ("/v1/realtime", vec!["x-goog-api-key: sk-1", user]),
            ("/v1/realtime?key=sk%2D1", vec![user]),
            ("/v1/realtime?Authorization=Bearer%20sk-1", vec![user]),
            ("/v1/realtime", vec!["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-1", user]),
            ("/v1/realtime?user_id=alice", vec!["Authorization: Bearer sk-1"]),
        ] {
            assert_eq!(
                check(target, &headers, &OPEN),
                Ok(("sk-1".into(), "alice".into())),
                "{target} {headers:?}"
            );
        }
        let bound = check("/v1/realtime", &["Authorization: Bearer ug_00"], &OPEN);
        assert_eq!(bound, Ok(("ug".into(), "-".into())));
    }

    #[test]
    fn what_is_missing_or_malformed_is_said() {
        let key = "Authorization: Bearer sk-1";
        for (target, headers, rules, why) in [
            ("/", vec!["x-user-id: a"], OPEN, "no API key was sent; put one in `Authorization: Bearer …`"),
            (
                "/",
                vec!["Authorization: Bearer ", "x-user-id: a"],
                OPEN,
                "no API key was sent; put one in `Authorization: Bearer …`",
            ),
            ("/", vec![key], OPEN, "the x-user-id header is missing"),
            ("/", vec![key, "x-user-id: "], OPEN, "the x-user-id header is empty"),
            ("/", vec![key, "x-user-id: a\tb"], OPEN, "the x-user-id header contains a control character"),
            ("/", vec![key, "x-user-id: a", "X-User-Id: b"], OPEN, "the x-user-id header is given twice"),
            ("/?user_id=%00", vec![key], OPEN, "the query parameter user_id contains a control character"),
            (
                "/?user_id=a",
                vec![key],
                IdentityRules { query: false, ..OPEN },
                "the x-user-id header is missing",
            ),
            (
                "/",
                vec![key, "x-user-id: a"],
                IdentityRules { passthrough: false, ..OPEN },
                "only tokenist keys (ug_…) are accepted here",
            ),
        ] {
            assert_eq!(
                check(target, &headers, &rules),
                Err(format!("Not authorized: {why}")),
                "{target} {headers:?}"
            );
        }
    }
}
