//! Which credential opens what: the operator's token, logins by their role, tokenist keys by their scopes, and how
//! often a wrong one may be tried.
//!
//! Invariant: a credential is kept and compared as its hash only, the operator's in constant time. A cookie changes
//! something only for a page of this origin.

use crate::error::ApiError;
use crate::login::{Login, Role};
use crate::operator_token::OperatorToken;
use crate::peer::{Peer, Visitor};
use crate::session::{self, Holder, OPERATOR, Session};
use crate::tether::tether;
use crate::throttle::{Taken, Throttle, network};
use crate::{App, account, now};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokenist_core::id::{KeyHash, OrgId};
use tokenist_core::key::{KEY_PREFIX, Key, Maker};

/// Whose request it is.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Operator,
    /// Holds a key that was not ended when the request came.
    Key(Arc<Key>),
    /// Signed in with a password.
    Login {
        id: Arc<str>,
        login: Arc<Login>,
    },
}

/// What a credential can open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// Looking at what is there.
    Read,
    Change,
    /// Looking at an account of one's own and at its keys.
    AccountRead,
    AccountChange,
    /// Logins.
    Own,
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
    let area = if request.method().is_safe() { Area::Read } else { Area::Change };
    require(&app, area, request, next).await
}

/// Lets a request through that is about the caller's own account.
pub(crate) async fn require_account(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let area = if request.method().is_safe() { Area::AccountRead } else { Area::AccountChange };
    require(&app, area, request, next).await
}

/// Lets a request through that may change the rights of logins.
pub(crate) async fn require_owner(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    require(&app, Area::Own, request, next).await
}

/// Lets a request through that may be made in the SDK's area.
pub(crate) async fn require_sdk(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    require(&app, Area::Sdk, request, next).await
}

/// Handlers find the [`Caller`] among the request's extensions. An answer that takes long ends when the credential does.
async fn require(app: &App, area: Area, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let connection =
        Arc::clone(&request.extensions().get::<Visitor>().expect("serve names every connection").0);
    let peer = *request.extensions().get::<Peer>().expect("serve names every connection's peer");
    let identified = identify(app, request.method(), request.headers(), peer).await;
    connection.is_known(identified.is_ok());
    let (shown, caller) = identified?;
    caller.may_enter(area)?;
    request.extensions_mut().insert(caller);
    let answer = next.run(request).await;
    let app = app.clone();
    let look = move || {
        let (app, shown) = (app.clone(), shown.clone());
        async move {
            match shown.caller(&app).await {
                Ok(Ok(caller)) => caller.may_enter(area).is_ok(),
                Ok(Err(_)) => false,
                // A caller that cannot be told now is told a second later.
                Err(error) => error.status().is_server_error(),
            }
        }
        .boxed()
    };
    Ok(tether(answer, Box::new(look)))
}

/// The caller of a request, and its credential.
async fn identify(
    app: &App,
    method: &Method,
    headers: &HeaderMap,
    peer: Peer,
) -> Result<(Shown, Caller), ApiError> {
    let (shown, hash) = app.guard.shown(method, headers)?;
    match shown.caller(app).await? {
        Ok(caller) => Ok((shown, caller)),
        Err(Unfit::Unknown) => Err(app.guard.wrong(peer.0, &hash, Instant::now())),
        Err(Unfit::Over) => Err(ApiError::unauthorized(SESSION_OVER)),
    }
}

/// The caller of a request that is signed in, and the session if it is made in one. `None`: no login's.
pub(crate) async fn signed_in(
    app: &App,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<(Caller, Option<Session>)>, ApiError> {
    match app.guard.shown(method, headers)?.0 {
        Shown::Operator => Ok(Some((Caller::Operator, None))),
        Shown::Key(_) => Ok(None),
        Shown::Token(text) => {
            let Some(session) = read_session(app, &text).await? else { return Ok(None) };
            let caller = session_caller(app, &session).await?;
            Ok(caller.ok().map(|caller| (caller, Some(session))))
        }
    }
}

async fn read_session(app: &App, text: &str) -> Result<Option<Session>, ApiError> {
    let key = session::signing_key(&app.handle).await?;
    Ok(key.and_then(|key| key.read(text, &app.config.token)))
}

async fn session_caller(app: &App, session: &Session) -> Result<Result<Caller, Unfit>, ApiError> {
    if session::is_over(&app.handle, session).await? {
        return Ok(Err(Unfit::Over));
    }
    let Holder::Login { id, epoch } = &session.holder else { return Ok(Ok(Caller::Operator)) };
    match app.handle.entry::<Login>(id).await? {
        Some(login) if login.epoch == *epoch => {
            if login.role == Role::Member {
                account::check(&app.handle, id, &login).await?;
            }
            Ok(Ok(Caller::Login { id: Arc::clone(id), login: Arc::new(login) }))
        }
        Some(_) | None => Ok(Err(Unfit::Over)),
    }
}

/// A key opens the admin area for as long as its maker may let it.
async fn key_caller(app: &App, hash: KeyHash) -> Result<Result<Caller, Unfit>, ApiError> {
    let Some(mut key) = app.handle.find_key(hash).await?.filter(|key| key.holds_at(now())) else {
        return Ok(Err(Unfit::Unknown));
    };
    if key.scopes.admin
        && let Some(Maker::Login(id)) = key.maker()
    {
        let maker = app.handle.entry::<Login>(&id).await?;
        key.scopes.admin = maker.is_some_and(|maker| maker.may_keep(&key));
    }
    Ok(Ok(Caller::Key(Arc::new(key))))
}

impl Shown {
    /// The caller it belongs to, or why there is none.
    async fn caller(&self, app: &App) -> Result<Result<Caller, Unfit>, ApiError> {
        match self {
            Shown::Operator => Ok(Ok(Caller::Operator)),
            Shown::Key(hash) => key_caller(app, *hash).await,
            Shown::Token(text) => match read_session(app, text).await? {
                Some(session) => session_caller(app, &session).await,
                None => Ok(Err(Unfit::Unknown)),
            },
        }
    }
}

impl Caller {
    /// As which login it counts.
    pub(crate) fn role(&self) -> Role {
        match self {
            Caller::Operator => Role::Owner,
            Caller::Key(_) => Role::Operator,
            Caller::Login { login, .. } => login.role,
        }
    }

    /// Refuses a login that has lost its right since its request came. Call it while changes are locked, as a handler
    /// that takes that right does, before anything is done that outlasts it.
    pub(crate) async fn confirm(&self, app: &App) -> Result<(), ApiError> {
        let Caller::Login { id, login } = self else { return Ok(()) };
        let is_same = |now: Login| now.role == login.role && now.epoch == login.epoch;
        match app.handle.entry::<Login>(id).await?.is_some_and(is_same) {
            true => Ok(()),
            false => Err(ApiError::unauthorized(SESSION_OVER)),
        }
    }

    /// By whose right it makes keys.
    pub(crate) fn maker(&self) -> Option<Maker> {
        match self {
            Caller::Operator => Some(Maker::Operator),
            Caller::Key(key) => key.maker(),
            Caller::Login { id, .. } => Some(Maker::Login(Arc::clone(id))),
        }
    }

    /// Under which its sessions are ended. A key has none.
    pub(crate) fn sessions_name(&self) -> &str {
        match self {
            Caller::Login { id, .. } => id,
            Caller::Operator | Caller::Key(_) => OPERATOR,
        }
    }

    /// The login's id and the org, where it is an account.
    pub(crate) fn account(&self) -> Option<(&Arc<str>, OrgId)> {
        match self {
            Caller::Login { id, login } => Some((id, account::org_of(id, login)?)),
            Caller::Operator | Caller::Key(_) => None,
        }
    }

    fn may_enter(&self, area: Area) -> Result<(), ApiError> {
        let forbidden = |sentence| Err(ApiError::new(StatusCode::FORBIDDEN, sentence));
        let needed = match area {
            Area::Read | Area::AccountRead => Role::Viewer,
            Area::Change | Area::AccountChange | Area::Sdk => Role::Operator,
            Area::Own => Role::Owner,
        };
        let Caller::Key(key) = self else {
            return match (self.role(), area) {
                (Role::Member, Area::AccountRead | Area::AccountChange) => Ok(()),
                (Role::Member, _) => forbidden(MEMBER_STAYS),
                (role, _) if role >= needed => Ok(()),
                (_, Area::Own) => forbidden(OWNER_ONLY),
                (_, _) => forbidden(VIEWER_READS),
            };
        };
        // No route makes such a key, but a store may be shared with versions to come.
        let is_admin = key.scopes.admin && key.user.is_none() && key.org.is_none();
        match area {
            Area::Own => forbidden(OWNER_ONLY),
            _ if is_admin => Ok(()),
            Area::Sdk if key.scopes.sdk => Ok(()),
            Area::Sdk => forbidden(SDK_FORBIDDEN),
            Area::Read | Area::Change | Area::AccountRead | Area::AccountChange => forbidden(ADMIN_FORBIDDEN),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, ApiError> {
        Ok(parts.extensions.get::<Caller>().expect("every route that asks for it requires a caller").clone())
    }
}

/// Knows the token, and which addresses have tried wrong ones. What is right passes wherever it comes from, because
/// behind one address there may be many; a password alone is not even looked at once too many have been tried for its
/// login.
#[derive(Debug)]
pub(crate) struct Guard {
    token: OperatorToken,
    /// By network.
    wrong: Throttle<IpAddr>,
    /// By network and login.
    wrong_passwords: Throttle<Door>,
}

/// What a request's credential is. Whether it is right is for the ledger to say, but of the operator's token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Operator,
    Key(KeyHash),
    /// Of a session, if it is anything.
    Token(Arc<str>),
}

/// Why a credential opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    /// It may be a guess.
    Unknown,
    /// It was right once.
    Over,
}

impl Guard {
    pub(crate) fn new(token: OperatorToken) -> Guard {
        let wrong_passwords = Throttle::new(WRONG_MAX, WRONG_SPAN);
        Guard { token, wrong: Throttle::new(WRONG_MAX, WRONG_SPAN), wrong_passwords }
    }

    /// What a request shows, and its hash.
    fn shown(&self, method: &Method, headers: &HeaderMap) -> Result<(Shown, OperatorToken), ApiError> {
        let (text, token) = credential(headers)?;
        if !headers.contains_key(header::AUTHORIZATION) && !method.is_safe() && !is_own_origin(headers) {
            return Err(ApiError::foreign_origin());
        }
        let shown = match token.is(&self.token) {
            // The cookie is for sessions that were begun; the token itself does not belong in it.
            true if headers.contains_key(header::AUTHORIZATION) => Shown::Operator,
            false if text.starts_with(KEY_PREFIX) => Shown::Key(KeyHash(*token.hash())),
            true | false => Shown::Token(text.into()),
        };
        Ok((shown, token))
    }

    /// Whether this is the operator's token.
    pub(crate) fn check_token(&self, text: &str, peer: Peer, now: Instant) -> Result<(), ApiError> {
        match OperatorToken::parse(text.trim()) {
            Ok(token) if token.is(&self.token) => Ok(()),
            Ok(_) | Err(_) => {
                let tried = Sha256::digest(text).into();
                Err(self.refuse(peer.0, tried, "This is not the operator's token", now))
            }
        }
    }

    /// Takes a try of this password for this login, before it is looked at. Refused where too many wrong ones have come
    /// from, or are looked at.
    pub(crate) fn take_password(
        &self,
        peer: Peer,
        login: &str,
        password: &str,
        now: Instant,
    ) -> Result<Try, ApiError> {
        self.wrong_passwords.take(door(peer, login), tried(login, password), now).map_err(throttled)
    }

    /// Gives the try back.
    pub(crate) fn right_password(&self, taken: Try) {
        self.wrong_passwords.give_back(taken);
    }

    /// Whether so much that is wrong came from there that its passwords have to be looked at one by one.
    pub(crate) fn is_guessing(&self, peer: Peer, now: Instant) -> bool {
        self.wrong.retry_after_seconds(network(peer.0), now).is_some()
    }

    /// Notes that this password was wrong for this login, and says so.
    pub(crate) fn wrong_password(&self, peer: Peer, login: &str, password: &str, now: Instant) -> ApiError {
        self.refuse(peer.0, tried(login, password), "Invalid email or password", now)
    }

    /// Notes that this token or key was tried, and says so.
    fn wrong(&self, peer: IpAddr, token: &OperatorToken, now: Instant) -> ApiError {
        self.refuse(peer, *token.hash(), "Invalid API key", now)
    }

    fn refuse(&self, peer: IpAddr, tried: [u8; 32], sentence: &'static str, now: Instant) -> ApiError {
        match self.wrong.note(network(peer), tried, now) {
            Some(seconds) => throttled(seconds),
            None => ApiError::unauthorized(sentence),
        }
    }
}

/// Where passwords for a login come in from a network.
type Door = (IpAddr, [u8; 32]);

/// A password that is looked at.
pub(crate) type Try = Taken<Door>;

fn door(peer: Peer, login: &str) -> Door {
    (network(peer.0), Sha256::digest(login).into())
}

fn tried(login: &str, password: &str) -> [u8; 32] {
    Sha256::new().chain_update(login).chain_update(password).finalize().into()
}

fn throttled(seconds: u64) -> ApiError {
    ApiError::throttled("Too many wrong credentials, try again later", seconds)
}

/// The token that a request shows, and its hash.
fn credential(headers: &HeaderMap) -> Result<(&str, OperatorToken), ApiError> {
    const MISSING: &str = "Authorization header required";
    const MALFORMED: &str = "Invalid API key format";
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        let token = session_cookies(headers).next().ok_or(ApiError::unauthorized(MISSING))?;
        let hash = OperatorToken::parse(token).map_err(|_| ApiError::unauthorized(MALFORMED))?;
        return Ok((token, hash));
    };
    let value = value.to_str().map_err(|_| ApiError::unauthorized(MALFORMED))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::unauthorized(MISSING));
    }
    let token = token.trim();
    let hash = OperatorToken::parse(token).map_err(|_| ApiError::unauthorized(MALFORMED))?;
    Ok((token, hash))
}

/// The tokens in a browser's cookies. More than one is refused before anything else is looked at.
pub(crate) fn session_cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| name.trim() == SESSION_COOKIE).map(|(_, token)| token.trim())
}

/// Whether a browser says that a page of the origin that it asks has made the request. Behind something that ends TLS
/// the scheme is not known here, so the host decides.
pub(crate) fn is_own_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    let origin_host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    origin_host.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

const ADMIN_FORBIDDEN: &str = "This API key does not have the admin scope: use one that was created with \
    \"scopes\": [\"admin\"], or the operator's token";
const SDK_FORBIDDEN: &str = "This API key has neither the sdk nor the admin scope: use one that was created with \
    \"scopes\": [\"sdk\"]";
const OWNER_ONLY: &str = "Only an owner may do this: sign in as one, or use the operator's token";
const MEMBER_STAYS: &str = "An account opens its own keys and usage under /auth alone: sign in as an operator, or, \
    for /sdk, use one of the account's API keys";
const VIEWER_READS: &str = "A viewer may only read: ask an owner for the role of an operator";
const SESSION_OVER: &str = "This session is over: sign in again";
/// The cookie of a browser's session.
pub(crate) const SESSION_COOKIE: &str = "tokenist_session";
/// Different wrong credentials from one address within [`WRONG_SPAN`], after which more of them are told to wait; and
/// wrong passwords for one login, after which none is looked at.
const WRONG_MAX: u32 = 10;
const WRONG_SPAN: Duration = Duration::from_secs(10);

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
        let refused = match guard.shown(&Method::GET, &headers) {
            Ok((Shown::Operator, _)) => return StatusCode::OK,
            Ok((Shown::Key(_) | Shown::Token(_), hash)) => guard.wrong(peer.parse().unwrap(), &hash, now),
            Err(error) => error,
        };
        refused.into_response().status()
    }

    #[test]
    fn what_is_wrong_has_to_wait_until_the_span_is_over_and_what_is_right_passes() {
        let (guard, start) = (guard(), Instant::now());
        let guess = |n: u32, at| ask(&guard, &format!("Bearer guess-number-{n:06}"), "10.0.0.1", at);
        for n in 0..WRONG_MAX {
            assert_eq!(guess(n, start), 401);
        }
        let during = start + WRONG_SPAN / 2;
        for n in 0..3 * WRONG_MAX {
            assert_eq!(guess(WRONG_MAX + n, during), 429);
            assert_eq!(ask(&guard, &format!("Bearer {TOKEN}"), "10.0.0.1", during), 200);
        }
        assert_eq!(ask(&guard, "Bearer guess-elsewhere-0", "10.0.0.2", during), 401);
        assert_eq!(guess(0, start + WRONG_SPAN), 401);
    }

    #[test]
    fn passwords_of_one_login_are_not_looked_at_once_too_many_were_wrong() {
        let (guard, start) = (guard(), Instant::now());
        let (here, there) = (Peer([10, 0, 0, 1].into()), Peer([10, 0, 0, 2].into()));
        let is_open = |peer, login, at| {
            let taken = guard.take_password(peer, login, "right", at);
            taken.map(|taken| guard.right_password(taken)).is_ok()
        };
        for n in 0..WRONG_MAX {
            assert!(is_open(here, "alice", start));
            let guess = format!("guess {n}");
            guard.take_password(here, "alice", &guess, start).unwrap();
            guard.wrong_password(here, "alice", &guess, start);
        }
        assert!(!is_open(here, "alice", start));
        assert!(is_open(here, "bob", start) && is_open(there, "alice", start), "others are not shut out");
        assert!(guard.is_guessing(here, start) && !guard.is_guessing(there, start));
        assert!(is_open(here, "alice", start + WRONG_SPAN));
    }

    #[test]
    fn a_cookie_changes_something_only_for_a_page_of_this_origin() {
        let guard = guard();
        let cookie = format!("theme=dark; {SESSION_COOKIE}=a-session-of-a-browser");
        let ask = |method: Method, origin: Option<&str>| {
            let pairs = [
                (header::HOST, Some("ops:8081")),
                (header::COOKIE, Some(&*cookie)),
                (header::ORIGIN, origin),
            ];
            let pairs = pairs
                .into_iter()
                .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value?).unwrap())));
            let headers = HeaderMap::from_iter(pairs);
            let shown = guard.shown(&method, &headers);
            shown.map_or_else(|error| error.into_response().status(), |_| StatusCode::OK)
        };
        assert_eq!(ask(Method::GET, None), 200);
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for (origin, status) in [
                (Some("http://ops:8081"), 200),
                (Some("https://OPS:8081"), 200),
                (Some("http://ops"), 403),
                (Some("http://evil.example"), 403),
                (Some("null"), 403),
                (None, 403),
            ] {
                assert_eq!(ask(method.clone(), origin), status, "{method} {origin:?}");
            }
        }
    }

    #[test]
    fn the_operators_token_itself_is_no_cookie() {
        let guard = guard();
        let cookie = HeaderValue::from_str(&format!("{SESSION_COOKIE}={TOKEN}")).unwrap();
        let headers = HeaderMap::from_iter([(header::COOKIE, cookie)]);
        let (shown, _) = guard.shown(&Method::GET, &headers).unwrap();
        assert_eq!(shown, Shown::Token(TOKEN.into()), "it is no session's");
    }

    #[test]
    fn one_stale_token_shuts_nobody_out() {
        let (guard, start) = (guard(), Instant::now());
        for _ in 0..WRONG_MAX * 3 {
            assert_eq!(ask(&guard, "Bearer a-token-of-last-year", "10.0.0.1", start), 401);
        }
        assert_eq!(ask(&guard, &format!("bearer {TOKEN}"), "10.0.0.1", start), 200);
    }
}
