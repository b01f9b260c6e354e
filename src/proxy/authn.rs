//! Who is calling: the credential of a request and the user it speaks for, wherever an SDK puts them.
//!
//! Start at [`caller`]. Nothing found here goes upstream except, in the provider's own form, a key that is the
//! provider's.

mod ambiguity;

pub(crate) use self::ambiguity::{refuse_ambiguous, refuse_unclear};
use crate::config::IdentityRules;
use aws_lc_rs::digest;
use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use tokenist_core::authority::Mute;
use tokenist_core::browser_token::{Claims, TokenFault};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::pass::{self, is_key_scheme, key_of_subprotocol};
use tokenist_core::http::query::{self, Parameter};
use tokenist_core::http::write::{HeaderName, HeaderValue};
use tokenist_core::http::{Header, RequestHead};
use tokenist_core::id::{self, Feature, IdError, KeyHash, OrgId, SPACE_PREFIX, UserId};
use tokenist_core::key::{KEY_PREFIX, OWN_PREFIXES, ProviderKey};
use tokenist_core::provider::path::take_key;

/// Headers that carry a credential, lower-case and as they are written, in the order SDKs mean them.
const CREDENTIAL_HEADERS: [(&str, &str); 5] = [
    ("authorization", "Authorization"),
    ("x-api-key", "x-api-key"),
    ("api-key", "api-key"),
    ("x-goog-api-key", "x-goog-api-key"),
    ("xi-api-key", "xi-api-key"),
];
/// Query parameters, lower-case, that carry a credential, in whatever case they come.
const CREDENTIAL_PARAMETERS: [&str; 6] = ["key", "api-key", "access_token", "token", "jwt", "authorization"];
const SUBPROTOCOL_HEADER: &str = "sec-websocket-protocol";
/// Query parameters that say who the user is, where `identity.query` allows them. They are for tokenist alone.
const IDENTITY_PARAMETERS: [&str; 3] = ["user_id", "org_id", "feature"];
/// Where a URL names the model: OpenAI and its like, and Azure, whose deployments are called as operators like.
pub(crate) const MODEL_PARAMETERS: [&str; 2] = ["model", "deployment"];
/// What the caller showed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A tokenist key.
    Key(KeyHash),
    /// The caller's own provider key, to be passed through.
    Own(ProviderKey),
    /// What a browser's token says.
    Token(Box<Claims>),
}

/// Never shows a key.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Key(hash) => hash.fmt(f),
            Credential::Own(_) => f.write_str("Own(…)"),
            Credential::Token(claims) => write!(f, "Token({})", claims.id),
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

impl Caller {
    /// The tokenist key that it shows.
    pub(crate) fn key(&self) -> Option<KeyHash> {
        match self.credential {
            Credential::Key(key) => Some(key),
            Credential::Own(_) => None,
            Credential::Token(ref claims) => claims.key,
        }
    }
}

/// Finds out who is calling, or says what is missing or malformed. `read` says what a browser's token does.
pub(crate) fn caller(
    head: &RequestHead,
    rules: &IdentityRules,
    read: impl FnOnce(&str) -> Result<Claims, TokenFault>,
) -> Result<Caller, CloseReason> {
    if head.path().split('/').any(|piece| pass::holds_own_key(&decoded(piece))) {
        return Err(unauthorized(IN_PATH));
    }
    let mut own = shown(head).into_iter().filter(|key| is_own(key));
    if let Some(first) = own.next()
        && own.any(|key| key != first)
    {
        return Err(unauthorized(TWO_KEYS));
    }
    let credential = match credential(head)? {
        None => return Err(unauthorized("no API key was sent; put one in `Authorization: Bearer …`")),
        Some(key) if key.starts_with(KEY_PREFIX) => Credential::Key(hash(&key)),
        Some(key) if is_own(&key) => return bearer_of(read(&key).map_err(CloseReason::Token)?, head),
        Some(_) if !rules.passthrough => {
            return Err(unauthorized("only tokenist keys (ug_…) are accepted here"));
        }
        Some(key) => Credential::Own(ProviderKey::parse(&key).ok_or_else(|| unauthorized(BAD_KEY))?),
    };
    speaking(head, rules, credential)
}

/// The caller whose token for a page is its provider's own, and goes there as its key would.
pub(crate) fn caller_with_foreign_token(
    head: &RequestHead,
    rules: &IdentityRules,
) -> Result<Caller, CloseReason> {
    let token = credential(head)?.and_then(|token| ProviderKey::of_page(&token));
    speaking(head, rules, Credential::Own(token.ok_or_else(|| unauthorized(BAD_KEY))?))
}

/// For whom a request is that shows this, as it says itself.
fn speaking(
    head: &RequestHead,
    rules: &IdentityRules,
    credential: Credential,
) -> Result<Caller, CloseReason> {
    let claim = |header: &str, parameter: Option<&str>, read: Read| {
        claim(head, header, parameter.filter(|_| rules.query), read)
    };
    let user = claim("x-user-id", Some("user_id"), id::read)?.map(|text| UserId::from(&*text));
    if user.as_ref().is_some_and(|user| user.as_str().starts_with(SPACE_PREFIX)) {
        return Err(unauthorized(Mute::Spaced.to_string()));
    }
    if user.is_none() && matches!(credential, Credential::Own(_)) {
        return Err(unauthorized("the x-user-id header is missing"));
    }
    Ok(Caller {
        credential,
        user,
        org: claim("x-org-id", Some("org_id"), id::read)?.map(|text| OrgId::from(&*text)),
        feature: claim("x-feature", Some("feature"), id::read)?.map(|text| Feature::from(&*text)),
        conversation: claim("x-conversation-id", None, id::read)?.map(Arc::from),
        email: claim("x-user-email", None, id::read_email)?.map(Arc::from),
        name: claim("x-user-name", None, id::read_name)?.map(Arc::from),
    })
}

/// The caller that a token speaks for, whatever else its page claims.
fn bearer_of(claims: Claims, head: &RequestHead) -> Result<Caller, CloseReason> {
    Ok(Caller {
        user: claims.user.clone(),
        org: claims.org.clone(),
        feature: claims.feature.clone(),
        conversation: claim(head, "x-conversation-id", None, id::read)?.map(Arc::from),
        email: None,
        name: None,
        credential: Credential::Token(Box::new(claims)),
    })
}

/// The request with its query mended: a `?` in a value that is read here begins the next parameter, as when a client
/// appends a query to an address that has one.
pub(crate) fn mended(mut head: RequestHead, rules: &IdentityRules) -> (RequestHead, Result<(), CloseReason>) {
    let is_read = |name: &str| {
        let is_identity = rules.query && IDENTITY_PARAMETERS.contains(&name);
        is_identity || is_credential(name) || MODEL_PARAMETERS.contains(&name)
    };
    let joined = query::joined(&head.target, is_read);
    match joined.map(|target| if let Cow::Owned(target) = target { Some(target) } else { None }) {
        Ok(None) => (head, Ok(())),
        Ok(Some(target)) => {
            head.target = target;
            (head, Ok(()))
        }
        Err(name) => {
            let why =
                format!("the query parameter {name} holds a `?` that is none of its own; write it as %3F");
            (head, Err(unauthorized(why)))
        }
    }
}

/// The request with a key in front of its path, `/k/ug_…/`, shown as any other credential, and with no other: whatever key an
/// SDK that can set an address alone sends in its usual place is a dummy, unless it is a tokenist key as well.
pub(crate) fn with_path_key(mut head: RequestHead) -> (RequestHead, Result<(), CloseReason>) {
    let path = head.path();
    let Some((key, rest)) = take_key(&path) else { return (head, Ok(())) };
    let is_other = |shown: &Cow<'_, str>| *shown != key && is_own(shown);
    let outcome = match HeaderValue::parse(format!("Bearer {key}")) {
        Ok(_) if shown(&head).iter().any(is_other) => Err(unauthorized(TWO_KEYS)),
        Ok(value) if key.starts_with(KEY_PREFIX) => Ok(value),
        _ => Err(unauthorized(NO_PATH_KEY)),
    };
    let kept = head.query().filter(|parameter| !is_credential(&parameter.name()));
    let query: Vec<&str> = kept.map(Parameter::as_str).collect();
    let separator = if query.is_empty() { "" } else { "?" };
    head.target = format!("{rest}{separator}{}", query.join("&"));
    head.headers.0.retain(|line| !CREDENTIAL_HEADERS.iter().any(|(name, _)| line.is(name)));
    let outcome = outcome.map(|value| {
        head.headers.0.push(Header { name: HeaderName::literal("Authorization"), value });
    });
    drop_key_subprotocols(&mut head);
    (head, outcome)
}

/// Offers the subprotocols that carry no key, as if no other had been offered.
fn drop_key_subprotocols(head: &mut RequestHead) {
    if subprotocols(head).next().is_none() {
        return;
    }
    let offered = offered(head).filter(|(_, key)| key.is_none()).map(|(token, _)| token);
    let offered = offered.collect::<Vec<_>>().join(", ");
    head.headers.0.retain(|line| !line.is(SUBPROTOCOL_HEADER));
    if let Some(value) = HeaderValue::parse(offered).ok().filter(|value| !value.as_bytes().is_empty()) {
        head.headers.0.push(Header { name: HeaderName::literal("Sec-WebSocket-Protocol"), value });
    }
}

/// Whether a credential is tokenist's to read: a key, or a token for one session.
fn is_own(key: &str) -> bool {
    OWN_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// Every credential that a request shows.
fn shown(head: &RequestHead) -> Vec<Cow<'_, str>> {
    let in_query = head.query().filter(|parameter| is_credential(&parameter.name()));
    let in_query = in_query.filter_map(|parameter| query::decode(parameter.value())).map(without_scheme);
    let shown = bearer(head).into_iter().chain(plain(head)).chain(in_query);
    shown.chain(subprotocols(head).map(Cow::from)).filter(|key| !key.is_empty()).collect()
}

/// Whether a parameter of the query is for the provider.
pub(crate) fn is_for_provider(parameter: Parameter<'_>, rules: &IdentityRules) -> bool {
    let name = parameter.name();
    let is_identity = rules.query && IDENTITY_PARAMETERS.contains(&&*name);
    let holds_key = pass::holds_own_key(&decoded(parameter.value())) || pass::holds_own_key(&name);
    !is_credential(&name) && !is_identity && !holds_key
}

/// What tells a caller who is refused from others: the user that it names and the credential that it shows, whatever
/// they are worth. `None`: neither, so only its address does.
pub(crate) fn mark(head: &RequestHead, rules: &IdentityRules) -> Option<u64> {
    static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let user = claim(head, "x-user-id", rules.query.then_some("user_id"), id::read).ok().flatten();
    let credential = credential(head).ok().flatten();
    if user.is_none() && credential.is_none() {
        return None;
    }
    Some(KEYED.hash_one((user, credential)))
}

fn is_credential(name: &str) -> bool {
    CREDENTIAL_PARAMETERS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// As it came if it cannot be decoded.
fn decoded(text: &str) -> Cow<'_, str> {
    query::decode(text).unwrap_or(text.into())
}

/// The first credential of the request, in the order SDKs mean them. It is printable ASCII without blanks.
fn credential(head: &RequestHead) -> Result<Option<Cow<'_, str>>, CloseReason> {
    let key = match bearer(head).or_else(|| plain(head).next()) {
        Some(key) => Some(key),
        None => credential_of_query(head)?.or_else(|| subprotocols(head).next().map(Cow::from)),
    };
    match key.filter(|key| !key.is_empty()) {
        Some(key) if !key.bytes().all(|byte| byte.is_ascii_graphic()) => Err(unauthorized(BAD_KEY)),
        key => Ok(key),
    }
}

/// What `Authorization` holds, behind a scheme that is known or alone.
fn bearer(head: &RequestHead) -> Option<Cow<'_, str>> {
    let value = head.headers.get("authorization")?;
    let is_scheme = |word: &[u8]| std::str::from_utf8(word).is_ok_and(is_key_scheme);
    let key = match value.iter().position(|byte| *byte == b' ') {
        Some(at) => value.get(at..).filter(|_| is_scheme(&value[..at]))?,
        None => Some(value).filter(|value| !is_scheme(value))?,
    };
    Some(String::from_utf8_lossy(key.trim_ascii()))
}

/// What stands in the headers that hold a key and nothing else.
fn plain(head: &RequestHead) -> impl Iterator<Item = Cow<'_, str>> {
    let names = CREDENTIAL_HEADERS.iter().filter(|(name, _)| *name != "authorization");
    names.filter_map(|(name, _)| head.headers.get(name)).map(String::from_utf8_lossy)
}

/// The keys among the subprotocols that are offered.
fn subprotocols(head: &RequestHead) -> impl Iterator<Item = &str> {
    offered(head).filter_map(|(_, key)| key)
}

/// The subprotocols that are offered, with the key that one is, or ends with.
fn offered(head: &RequestHead) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut is_announced = false;
    head.headers.tokens(SUBPROTOCOL_HEADER).map(move |token| {
        match std::mem::replace(&mut is_announced, is_key_scheme(token)) {
            true => (token, Some(token)),
            false => (token, key_of_subprotocol(token)),
        }
    })
}

fn credential_of_query(head: &RequestHead) -> Result<Option<Cow<'_, str>>, CloseReason> {
    let Some(parameter) = head.query().find(|parameter| is_credential(&parameter.name())) else {
        return Ok(None);
    };
    let value = query::decode(parameter.value()).ok_or_else(|| broken_escape(&parameter.name()))?;
    Ok(Some(without_scheme(value)))
}

fn without_scheme(value: Cow<'_, str>) -> Cow<'_, str> {
    match value.split_once(' ').filter(|(scheme, _)| is_key_scheme(scheme)) {
        Some((_, key)) => key.to_owned().into(),
        None => value,
    }
}

/// How what is claimed is read.
type Read = for<'a> fn(&'a [u8]) -> Result<Cow<'a, str>, IdError>;

/// What `read` makes of a header, else of a query parameter if one may carry it.
fn claim(
    head: &RequestHead,
    header: &str,
    parameter: Option<&str>,
    read: Read,
) -> Result<Option<String>, CloseReason> {
    let mut values = head.headers.0.iter().filter(|line| line.is(header)).map(|line| line.value.as_bytes());
    let checked = |bytes: &[u8], what: &dyn Fn() -> String| match read(bytes) {
        Ok(text) => Ok(Some(text.into_owned())),
        Err(error) => Err(unauthorized(format!("{} {error}", what()))),
    };
    if let Some(value) = values.next() {
        if values.next().is_some() {
            return Err(unauthorized(format!("the {header} header is given twice")));
        }
        return checked(value, &|| format!("the {header} header"));
    }
    let Some(name) = parameter else { return Ok(None) };
    let mut found = head.query().filter(|parameter| parameter.name() == name);
    let Some(first) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(unauthorized(format!("the query parameter {name} is given twice")));
    }
    let text = query::decode(first.value()).ok_or_else(|| broken_escape(name))?;
    checked(text.as_bytes(), &|| format!("the query parameter {name}"))
}

fn broken_escape(name: &str) -> CloseReason {
    unauthorized(format!("the query parameter {name} is not valid percent-encoding"))
}

fn hash(key: &str) -> KeyHash {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    KeyHash(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
}

fn unauthorized(why: impl Into<Cow<'static, str>>) -> CloseReason {
    CloseReason::Unauthorized(why.into())
}

const IN_PATH: &str =
    "a tokenist key stands in `Authorization: Bearer …`, or in front of the path: /k/ug_…/v1/realtime";
const NO_PATH_KEY: &str = "what stands behind /k/ in the path is no tokenist key (ug_…)";
const TWO_KEYS: &str = "it shows two different tokenist keys; send one of them";
const BAD_KEY: &str = "the API key holds a blank, a control character or one that is not ASCII";

#[cfg(test)]
mod tests;
