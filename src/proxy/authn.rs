//! Who is calling: the credential of a request and the user it speaks for, wherever an SDK puts them.
//!
//! Start at [`caller`]. Nothing found here goes upstream except, in the provider's own form, a key that is the
//! provider's.

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
use tokenist_core::http::{HeadError, Header, RequestHead, Version};
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
/// The same of those who call it otherwise.
const OTHER_MODEL_PARAMETERS: [&str; 2] = ["model_id", "speech_model"];
/// Query parameters that say what a session is attached to, and what it is for.
const PURPOSE_PARAMETERS: [&str; 2] = ["call_id", "intent"];

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
    match query::joined(&head.target, is_read) {
        Ok(target) => {
            head.target = target.into_owned();
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

/// Refuses a request of which two readers could take different credentials or hosts: one that has two of a name, or shows a
/// tokenist key in one place and something else in another. Of a provider's keys in several places the first counts, in
/// the order SDKs mean them, and no other goes anywhere.
pub(crate) fn refuse_ambiguous(head: &RequestHead) -> Result<(), HeadError> {
    let mut single = CREDENTIAL_HEADERS.iter().chain(&[("host", "Host")]);
    let twice = single.find(|(name, _)| head.headers.count(name) > 1);
    if let Some((_, written)) = twice {
        return Err(HeadError::Twice(written));
    }
    if head.version == Version::Http11 && head.headers.get("host").is_none() {
        return Err(HeadError::Malformed("it has no Host: send one"));
    }
    if head.headers.hides_content() {
        return Err(HeadError::Malformed("its Connection names a header that is not for the connection"));
    }
    let names: Vec<_> = head.query().map(Parameter::name).collect();
    let is_twice = |known: &&str| spellings(&names, known).count() > 1;
    if let Some(known) = CREDENTIAL_PARAMETERS.into_iter().find(is_twice) {
        return Err(HeadError::Twice(known));
    }
    let read = MODEL_PARAMETERS.into_iter().chain(OTHER_MODEL_PARAMETERS).chain(PURPOSE_PARAMETERS);
    refuse_unclear(&names, read)?;
    refuse_two_models(head)?;
    if subprotocols(head).count() > 1 {
        return Err(HeadError::Twice("the subprotocol of an API key"));
    }
    let shown = shown(head);
    let tokenist = shown.iter().filter(|key| is_own(key)).count();
    match tokenist > 0 && tokenist < shown.len() {
        true => Err(HeadError::Malformed("it shows a tokenist key and another one; send one of them")),
        false => Ok(()),
    }
}

/// Refuses a request among whose parameters one of these is twice, or in another case than it is read in: to some that is another
/// one.
pub(crate) fn refuse_unclear(
    said: &[Cow<'_, str>],
    mut names: impl Iterator<Item = &'static str>,
) -> Result<(), HeadError> {
    let doubt = |known: &'static str| {
        let mut found = spellings(said, known);
        let first = found.next()?;
        let is_twice = found.next().is_some();
        (is_twice.then_some(HeadError::Twice(known)))
            .or_else(|| (first != known).then_some(HeadError::Spelled(known)))
    };
    names.find_map(doubt).map_or(Ok(()), Err)
}

/// Those that are this name, in whatever case.
fn spellings<'a>(said: &'a [Cow<'_, str>], known: &str) -> impl Iterator<Item = &'a str> {
    said.iter().map(|name| &**name).filter(move |name| name.eq_ignore_ascii_case(known))
}

/// Refuses a request that names two models, one as this provider reads it and one as another does.
fn refuse_two_models(head: &RequestHead) -> Result<(), HeadError> {
    let names = || MODEL_PARAMETERS.iter().chain(&OTHER_MODEL_PARAMETERS);
    let is_model =
        |parameter: &Parameter<'_>| names().any(|name| parameter.name().eq_ignore_ascii_case(name));
    let models = head.query().filter(is_model).map(|parameter| decoded(parameter.value()));
    let mut named = models.filter(|model| !model.is_empty());
    let first = named.next();
    match named.any(|other| first.as_ref() != Some(&other)) {
        true => Err(HeadError::Malformed("its query names two models; name one")),
        false => Ok(()),
    }
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
mod tests {
    use super::*;
    use tokenist_core::http::request_head;

    const OPEN: IdentityRules = IdentityRules { passthrough: true, query: true };
    const SPACED: &str =
        "a user id that begins with ug: is for operators to say; an account's key says the id alone";
    const STRAY: &str = "the query parameter user_id holds a `?` that is none of its own; write it as %3F";

    fn check(target: &str, headers: &[&str], rules: &IdentityRules) -> Result<(String, String), String> {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let head = request_head(format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes()).unwrap();
        let (head, mended) = mended(head, rules);
        let caller = mended
            .and_then(|()| caller(&head, rules, |_| Err(TokenFault::Foreign)))
            .map_err(|ending| ending.message())?;
        let key = match caller.credential {
            Credential::Key(_) => "ug".into(),
            Credential::Own(key) => key.reveal().to_owned(),
            Credential::Token(_) => unreachable!("none is read here"),
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
            ("/v3/ws", vec!["Authorization: sk-1", user]),
            ("/v1/listen", vec!["Authorization: Token sk-1", user]),
            ("/v1/convai/conversation", vec!["xi-api-key: sk-1", user]),
            ("/v1/listen", vec!["Sec-WebSocket-Protocol: token, sk-1", user]),
            ("/v1/listen", vec!["Sec-WebSocket-Protocol: Bearer, sk-1, other", user]),
            ("/v1/realtime?key=sk%2D1", vec![user]),
            ("/v3/ws?token=sk-1&speech_model=m", vec![user]),
            ("/v2?jwt=sk-1", vec![user]),
            ("/v1/realtime?Authorization=Bearer%20sk-1", vec![user]),
            ("/v1/realtime", vec!["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-1", user]),
            ("/v1/realtime", vec!["Sec-WebSocket-Protocol: xai-client-secret.sk-1", user]),
            ("/v1/convai/conversation", vec!["Sec-WebSocket-Protocol: convai, bearer.sk-1", user]),
            ("/v1/realtime?KEY=sk-1", vec![user]),
            ("/v1/realtime?%6bey=sk-1", vec![user]),
            ("/v1/realtime?authorization=bearer+sk-1", vec![user]),
            ("/v1/realtime?key=sk-1?model=m", vec![user]),
            ("/v1/realtime?user_id=alice", vec!["Authorization: Bearer sk-1"]),
            ("/v1/realtime?user_id=alice?model=m", vec!["Authorization: Bearer sk-1"]),
            ("/v1/realtime?model=m?user_id=alice", vec!["Authorization: Bearer sk-1"]),
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
    fn a_user_is_the_same_in_a_header_and_in_the_query_however_the_id_is_written() {
        let key = "Authorization: Bearer sk-1";
        let alice = || Ok(("sk-1".into(), "Alice".into()));
        for query in ["Alice", "Alice%20", "Alice+", "+Alice", "Alice%09", "%C2%A0Alice", "Alice%E3%80%80"] {
            assert_eq!(check(&format!("/?user_id={query}"), &[key], &OPEN), alice(), "{query}");
        }
        for header in ["Alice", "  Alice\t", "\u{a0}Alice", "Alice\u{3000}"] {
            assert_eq!(check("/", &[key, &format!("x-user-id: {header}")], &OPEN), alice(), "{header}");
        }
        let zoe = || Ok(("sk-1".into(), "Zo\u{e9}".into()));
        assert_eq!(check("/", &[key, "x-user-id: Zoe\u{301}"], &OPEN), zoe());
        assert_eq!(check("/?user_id=Zoe%CC%81", &[key], &OPEN), zoe());
        assert_eq!(check("/?user_id=Zo%C3%A9", &[key], &OPEN), zoe());
    }

    #[test]
    fn two_credentials_of_a_name_are_refused_and_two_of_which_one_is_ours() {
        let refused = |target: &str, headers: &[&str]| {
            let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
            let head =
                request_head(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes()).unwrap();
            refuse_ambiguous(&mended(head, &OPEN).0).map_err(|error| error.to_string())
        };
        let two =
            "The request's header is malformed: it shows a tokenist key and another one; send one of them";
        let two_models = "The request's header is malformed: its query names two models; name one";
        let twice = |name: &str| format!("The request gives {name} twice: send it once");
        let bearer = "Authorization: Bearer sk-1";
        for (target, headers, why) in [
            ("/", vec![bearer, "authorization: Bearer sk-2"], twice("Authorization")),
            ("/", vec![bearer, bearer], twice("Authorization")),
            ("/", vec![bearer, "Host: a", "host: a"], twice("Host")),
            ("/", vec![bearer, "Authorization: Basic c2s="], twice("Authorization")),
            ("/", vec!["api-key: sk-1", "Api-Key: sk-2"], twice("api-key")),
            ("/", vec!["x-goog-api-key: sk-1", "x-goog-api-key: sk-1"], twice("x-goog-api-key")),
            ("/?key=a&key=b", vec![], twice("key")),
            ("/?key=a&%4Bey=b", vec![], twice("key")),
            ("/?key=a?key=b", vec![], twice("key")),
            ("/?model=a&%6dodel=b", vec![], twice("model")),
            ("/?model_id=a&MODEL_ID=a", vec![], twice("model_id")),
            ("/?speech_model=a&speech_model=b", vec![], twice("speech_model")),
            ("/?call_id=a&call_id=b", vec![], twice("call_id")),
            ("/?MODEL=a", vec![], "The request gives model in another spelling: write it so".into()),
            ("/?model=a&deployment=b", vec![], two_models.into()),
            ("/?model_id=a&x=y&model=%62", vec![], two_models.into()),
            (
                "/",
                vec![
                    "Sec-WebSocket-Protocol: openai-insecure-api-key.a, realtime, openai-insecure-api-key.b",
                ],
                twice("the subprotocol of an API key"),
            ),
            ("/", vec![bearer, "x-api-key: ug_1"], two.into()),
            ("/?key=ug_1", vec![bearer], two.into()),
            ("/", vec![bearer, "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.ug_1"], two.into()),
            ("/", vec![bearer, "Sec-WebSocket-Protocol: convai, bearer.ug_1"], two.into()),
        ] {
            assert_eq!(refused(target, &headers), Err(why), "{target} {headers:?}");
        }
        let two_of_ours = Err(format!("Not authorized: {TWO_KEYS}"));
        for headers in [vec!["Authorization: Bearer ug_2"], vec!["x-api-key: ek_1"]] {
            assert_eq!(check("/?key=ug_1&user_id=a", &headers, &OPEN), two_of_ours, "{headers:?}");
        }
        for (target, headers) in [
            ("/", vec![]),
            ("/?model=a&deployment=%61&model_id=", vec![]),
            ("/?key=sk-2&authorization=Bearer%20sk-3", vec![bearer, "api-key: sk-4", "x-api-key:"]),
            ("/?key=ug_1", vec!["Authorization: Bearer ug_1", "api-key: ug_1"]),
            ("/", vec![bearer, "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-1"]),
            ("/", vec!["Authorization: Basic c2s=", "api-key: sk-1"]),
        ] {
            assert_eq!(refused(target, &headers), Ok(()), "{target} {headers:?}");
        }
    }

    #[test]
    fn what_is_refused_is_told_apart_by_user_and_credential() {
        let mark = |target: &str, headers: &[&str]| {
            let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
            mark(&request_head(format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes()).unwrap(), &OPEN)
        };
        let (one, other) = ("Authorization: Bearer ug_1", "Authorization: Bearer ug_2");
        assert_eq!(mark("/", &[]), None);
        assert_eq!(mark("/", &[one]), mark("/?x=1", &[one]));
        assert_ne!(mark("/", &[one]), mark("/", &[other]));
        assert_ne!(mark("/", &[one]), mark("/", &[one, "x-user-id: alice"]));
        assert_eq!(mark("/?user_id=alice", &[]), mark("/", &["x-user-id: alice"]));
    }

    #[test]
    fn what_is_missing_or_malformed_is_said() {
        let key = "Authorization: Bearer sk-1";
        let foreign = TokenFault::Foreign.to_string();
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
            ("/", vec![key, "x-user-id: ug:acme:a"], OPEN, SPACED),
            ("/?user_id=ug%3Aacme:a", vec![key], OPEN, SPACED),
            ("/?user_id=+ug:acme:a", vec![key], OPEN, SPACED),
            (
                "/",
                vec![key, "x-user-id: a\tb"],
                OPEN,
                "the x-user-id header contains a control character: U+0009, its character 2; leave it out",
            ),
            ("/", vec![key, "x-user-id: a", "X-User-Id: b"], OPEN, "the x-user-id header is given twice"),
            (
                "/?user_id=%00",
                vec![key],
                OPEN,
                "the query parameter user_id contains a control character: U+0000, its character 1; leave it out",
            ),
            (
                "/?user_id=Al%E2%80%8Bice",
                vec![key],
                OPEN,
                "the query parameter user_id contains an invisible character: U+200B, its character 3; leave it out",
            ),
            (
                "/",
                vec![key, "x-user-id: Al\u{a0}ice"],
                OPEN,
                "the x-user-id header contains a blank that is no space: U+00A0, its character 3; write a plain space",
            ),
            ("/?user_id=%", vec![key], OPEN, "the query parameter user_id is not valid percent-encoding"),
            ("/?user_id=a&user_id=b", vec![key], OPEN, "the query parameter user_id is given twice"),
            ("/?user_id=a?user_id=b", vec![key], OPEN, "the query parameter user_id is given twice"),
            ("/?user_id=a?b", vec![key], OPEN, STRAY),
            ("/?user_id=a?b=c?d=e", vec![key], OPEN, STRAY),
            ("/?key=sk%0d%0aX:1", vec!["x-user-id: a"], OPEN, BAD_KEY),
            ("/?key=%", vec!["x-user-id: a"], OPEN, "the query parameter key is not valid percent-encoding"),
            ("/", vec!["api-key: sk 1", "x-user-id: a"], OPEN, BAD_KEY),
            ("/", vec!["Authorization: Bearer schlüssel", "x-user-id: a"], OPEN, BAD_KEY),
            ("/", vec!["Authorization: Bearer ek_1", "x-user-id: a"], OPEN, &foreign),
            ("/?access_token=auth_tokens/ek_1", vec![], OPEN, &foreign),
            ("/", vec!["Authorization: Bearer ek_1"], IdentityRules { passthrough: false, ..OPEN }, &foreign),
            ("/x/ug_1/v1", vec![key, "x-user-id: a"], OPEN, IN_PATH),
            ("/x/%75g_1/v1", vec![key, "x-user-id: a"], OPEN, IN_PATH),
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
