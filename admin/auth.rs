//! Who may ask for what: the operator's token, tokenist keys by their scopes, and how often a wrong one may be tried.
//!
//! Invariant: a credential is kept and compared as its hash only, the operator's in constant time.

use crate::App;
use crate::error::ApiError;
use crate::now;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use tokenist_core::id::KeyHash;
use tokenist_core::key::{KEY_PREFIX, Key};

/// The operator's credential: SHA-256 of 16 to 512 printable characters without spaces.
#[derive(Clone)]
pub struct OperatorToken([u8; 32]);

/// Why a text cannot be an operator's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    TooShort,
    TooLong,
    NotPrintable,
}

impl OperatorToken {
    pub fn parse(text: &str) -> Result<OperatorToken, TokenError> {
        match text.len() {
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(TokenError::NotPrintable),
            0..TOKEN_CHARS_MIN => Err(TokenError::TooShort),
            TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX => Ok(OperatorToken(Sha256::digest(text).into())),
            _ => Err(TokenError::TooLong),
        }
    }

    fn is(&self, other: &OperatorToken) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(hidden)")
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenError::TooShort => "is shorter than 16 characters",
            TokenError::TooLong => "is longer than 512 characters",
            TokenError::NotPrintable => "holds a space or another character that is not printable ASCII",
        })
    }
}

impl std::error::Error for TokenError {}

/// The address at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Whose request it is.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Operator,
    /// Holds a key that was not ended when the request came.
    Key(Arc<Key>),
}

/// What a credential can open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Admin,
    Sdk,
}

/// Lets a request through that may be made in the admin area.
pub(crate) async fn require_admin(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if app.config.metrics_open && request.uri().path() == "/metrics" {
        return Ok(next.run(request).await);
    }
    require(&app, Area::Admin, request, next).await
}

/// Lets a request through that may be made in the SDK's area.
pub(crate) async fn require_sdk(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    require(&app, Area::Sdk, request, next).await
}

/// Handlers find the [`Caller`] among the request's extensions.
async fn require(app: &App, area: Area, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let peer = *request.extensions().get::<Peer>().expect("serve names every connection's peer");
    let caller = match app.guard.check(request.headers(), peer.0, Instant::now())? {
        Shown::Operator => Caller::Operator,
        Shown::Key(hash) => match app.handle.find_key(hash).await? {
            Some(key) if key.holds_at(now()) => Caller::Key(Arc::new(key)),
            Some(_) | None => return Err(app.guard.wrong(peer.0, OperatorToken(hash.0), Instant::now())),
        },
    };
    caller.may_enter(area)?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

impl Caller {
    fn may_enter(&self, area: Area) -> Result<(), ApiError> {
        let Caller::Key(key) = self else { return Ok(()) };
        // No route makes such a key, but a store may be shared with versions to come.
        let is_admin = key.scopes.admin && key.user.is_none() && key.org.is_none();
        match area {
            _ if is_admin => Ok(()),
            Area::Sdk if key.scopes.sdk => Ok(()),
            Area::Sdk => Err(ApiError::new(StatusCode::FORBIDDEN, SDK_FORBIDDEN)),
            Area::Admin => Err(ApiError::new(StatusCode::FORBIDDEN, ADMIN_FORBIDDEN)),
        }
    }
}

/// Knows the token, and who has tried wrong ones.
#[derive(Debug)]
pub(crate) struct Guard {
    token: OperatorToken,
    wrong: Mutex<Box<[Option<Wrong>]>>,
    hasher: RandomState,
}

/// What a request's credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Operator,
    /// Whether it is known is for the ledger to say.
    Key(KeyHash),
}

/// An address and its wrong tokens since the first of them. A client that keeps sending the same stale token is
/// not guessing: it is counted once, so that it does not shut out an operator behind the same address.
#[derive(Clone, Debug)]
struct Wrong {
    address: IpAddr,
    since: Instant,
    count: u32,
    last: OperatorToken,
}

impl Guard {
    pub(crate) fn new(token: OperatorToken) -> Guard {
        Guard { token, wrong: Mutex::new(vec![None; SLOT_COUNT].into()), hasher: RandomState::new() }
    }

    fn check(&self, headers: &HeaderMap, peer: IpAddr, now: Instant) -> Result<Shown, ApiError> {
        let (text, token) = credential(headers)?;
        if let Some(seconds) = self.retry_after_seconds(network(peer), now) {
            return Err(ApiError::throttled(seconds));
        }
        match token.is(&self.token) {
            true => Ok(Shown::Operator),
            false if text.starts_with(KEY_PREFIX) => Ok(Shown::Key(KeyHash(token.0))),
            false => Err(self.wrong(peer, token, now)),
        }
    }

    /// Notes that this was tried, and says so.
    fn wrong(&self, peer: IpAddr, token: OperatorToken, now: Instant) -> ApiError {
        self.note(network(peer), token, now);
        ApiError::unauthorized("Invalid API key")
    }

    /// Whether `address` has used up its tries, and how long that lasts.
    fn retry_after_seconds(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let slots = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = slots[self.slot(address)].as_ref().filter(|wrong| wrong.address == address)?;
        let left = SPAN.checked_sub(now.saturating_duration_since(wrong.since))?;
        (wrong.count >= WRONG_MAX && !left.is_zero()).then(|| left.as_secs().max(1))
    }

    /// Two addresses may share a slot: then the newer one takes it, and the table never grows.
    fn note(&self, address: IpAddr, token: OperatorToken, now: Instant) {
        let mut slots = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[self.slot(address)];
        let known = slot
            .as_mut()
            .filter(|wrong| wrong.address == address && now.saturating_duration_since(wrong.since) < SPAN);
        match known {
            Some(wrong) if wrong.last.is(&token) => {}
            Some(wrong) => {
                wrong.count += 1;
                wrong.last = token;
            }
            None => *slot = Some(Wrong { address, since: now, count: 1, last: token }),
        }
    }

    fn slot(&self, address: IpAddr) -> usize {
        self.hasher.hash_one(address) as usize % SLOT_COUNT
    }
}

/// The token that a request shows, and its hash.
fn credential(headers: &HeaderMap) -> Result<(&str, OperatorToken), ApiError> {
    const MISSING: &str = "Authorization header required";
    const MALFORMED: &str = "Invalid API key format";
    let value = headers.get(header::AUTHORIZATION).ok_or(ApiError::unauthorized(MISSING))?;
    let value = value.to_str().map_err(|_| ApiError::unauthorized(MALFORMED))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::unauthorized(MISSING));
    }
    let token = token.trim();
    let hash = OperatorToken::parse(token).map_err(|_| ApiError::unauthorized(MALFORMED))?;
    Ok((token, hash))
}

/// What one party is assumed to hold: an IPv4 address or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

const ADMIN_FORBIDDEN: &str = "This API key does not have the admin scope: use one that was created with \
    \"scopes\": [\"admin\"], or the operator's token";
const SDK_FORBIDDEN: &str = "This API key has neither the sdk nor the admin scope: use one that was created with \
    \"scopes\": [\"sdk\"]";
const TOKEN_CHARS_MIN: usize = 16;
const TOKEN_CHARS_MAX: usize = 512;
/// Different wrong tokens from one address within [`SPAN`], after which it is refused unheard.
const WRONG_MAX: u32 = 10;
const SPAN: Duration = Duration::from_secs(10);
const SLOT_COUNT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use axum::response::IntoResponse;

    const TOKEN: &str = "correct-horse-battery";

    fn guard() -> Guard {
        Guard::new(OperatorToken::parse(TOKEN).unwrap())
    }

    fn ask(guard: &Guard, authorization: &str, peer: &str, now: Instant) -> StatusCode {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        match guard.check(&headers, peer.parse().unwrap(), now) {
            Ok(_) => StatusCode::OK,
            Err(error) => error.into_response().status(),
        }
    }

    #[test]
    fn guessing_is_throttled_until_the_span_is_over() {
        let (guard, start) = (guard(), Instant::now());
        for n in 0..WRONG_MAX {
            assert_eq!(ask(&guard, &format!("Bearer guess-number-{n:06}"), "10.0.0.1", start), 401);
        }
        assert_eq!(ask(&guard, &format!("Bearer {TOKEN}"), "10.0.0.1", start + SPAN / 2), 429);
        assert_eq!(ask(&guard, &format!("Bearer {TOKEN}"), "10.0.0.2", start + SPAN / 2), 200);
        assert_eq!(ask(&guard, &format!("Bearer {TOKEN}"), "10.0.0.1", start + SPAN), 200);
    }

    #[test]
    fn one_stale_token_shuts_nobody_out() {
        let (guard, start) = (guard(), Instant::now());
        for _ in 0..WRONG_MAX * 3 {
            assert_eq!(ask(&guard, "Bearer a-token-of-last-year", "10.0.0.1", start), 401);
        }
        assert_eq!(ask(&guard, &format!("bearer {TOKEN}"), "10.0.0.1", start), 200);
    }

    #[test]
    fn a_party_is_an_address_or_a_slash_64() {
        for (address, party) in [
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(network(address.parse().unwrap()), party.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn tokens_are_long_and_printable() {
        assert!(OperatorToken::parse(&crate::generate_token()).is_ok());
        for (text, error) in [
            ("", TokenError::TooShort),
            ("fifteen-chars-x", TokenError::TooShort),
            ("sixteen chars in", TokenError::NotPrintable),
            ("żółty-żółw-żółty", TokenError::NotPrintable),
        ] {
            assert_eq!(OperatorToken::parse(text).unwrap_err(), error, "{text}");
        }
        assert_eq!(OperatorToken::parse(&"x".repeat(513)).unwrap_err(), TokenError::TooLong);
        assert!(!format!("{:?}", OperatorToken::parse(TOKEN).unwrap()).contains("horse"));
    }
}
