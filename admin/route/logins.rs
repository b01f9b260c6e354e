//! Signing in and out, and the logins that may.

use super::keys::emails;
use crate::auth::{Caller, SESSION_COOKIE, is_own_origin, signed_in};
use crate::dto::{
    ApiKey, ChangedLogin, ErrorBody, LoginBody, LoginChange, LoginList, LoginPath, LoginReply, LoginRequest,
    MadeKeys, Me, SessionsReply, SignInRequest, SignOutRequest, SignedIn, SigningKeyReply, TokenRequest,
};
use crate::error::ApiError;
use crate::fields::{Body, Nothing, Query};
use crate::hashing::Ticket;
use crate::login::{Login, Role, hash_password, is_password_of, login_id};
use crate::peer::Peer;
use crate::session::{self, Holder, OPERATOR, TOKEN_SECONDS};
use crate::space::Space;
use crate::tier::{Tier, tier_of};
use crate::{App, account, now, random};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use std::sync::Arc;
use std::time::Instant;
use tokenist_control::view::KeyQuery;
use tokenist_core::key::{Key, Maker};
use tokenist_core::time::Timestamp;

/// Begins a session of a browser with the operator's token.
#[utoipa::path(
    post, path = "/auth/session", tag = "logins", request_body = TokenRequest,
    responses(
        (status = 200, description = "Signed in; a cookie is set.", body = Me),
        (status = 401, description = "The token is wrong.", body = ErrorBody),
        (status = 403, description = "The request comes from another origin.", body = ErrorBody),
    )
)]
pub(crate) async fn begin_session(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Body(request): Body<TokenRequest>,
) -> Result<Response, ApiError> {
    from_own_page(&headers)?;
    if let Err(error) = app.guard.check_token(&request.token, peer, Instant::now()) {
        app.record_failure("operator", peer.0).await;
        return Err(error);
    }
    let token = app.sessions.begin(&app.handle, Holder::Operator, &app.config.token).await?;
    app.record(&Caller::Operator, "login.sign_in", ("login", OPERATOR), (), ()).await;
    Ok((cookie(&token, &headers), Json(Me::nameless(Role::Owner))).into_response())
}

/// Signs in with a password. The token opens what the login's role allows, as a bearer or as the cookie that is set.
#[utoipa::path(
    post, path = "/auth/login", tag = "logins", request_body = SignInRequest,
    responses(
        (status = 200, description = "Signed in; a cookie is set.", body = SignedIn),
        (status = 401, description = "Email or password is wrong.", body = ErrorBody),
        (status = 403, description = "The request comes from another origin.", body = ErrorBody),
    )
)]
pub(crate) async fn sign_in(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Body(request): Body<SignInRequest>,
) -> Result<Response, ApiError> {
    from_own_page(&headers)?;
    let SignInRequest { email, password } = request;
    let id: Arc<str> = login_id(&email).into();
    let begun = Instant::now();
    let ticket = app.hashing.join(peer.0, Some(&id), app.guard.is_guessing(peer, begun))?;
    let taken = app.guard.take_password(peer, &id, &password, begun)?;
    let login = app.handle.entry::<Login>(&id).await?;
    let Some(login) = with_password(&app, ticket, login, password.clone()).await else {
        app.record_failure(&email, peer.0).await;
        return Err(app.guard.wrong_password(peer, &id, &password, Instant::now()));
    };
    app.guard.right_password(taken);
    let token = begin_login(&app, &id, &login).await?;
    let user = me(&app, &id, &login).await?;
    let caller = Caller::Login { id: Arc::clone(&id), login: Arc::new(login) };
    app.record(&caller, "login.sign_in", ("login", &id), (), ()).await;
    Ok((cookie(&token, &headers), Json(SignedIn { user, token })).into_response())
}

/// Ends the session whose token this request shows, or with `everywhere` all of its login's. Its cookie is gone in any
/// case. The operator's token and keys are no sessions and stay.
#[utoipa::path(
    post, path = "/auth/logout", tag = "logins", request_body = SignOutRequest,
    responses(
        (status = 204, description = "The session is over, and the cookie is gone."),
        (status = 401, description = "Everywhere: but the request shows nobody's session.", body = ErrorBody),
        (status = 403, description = "The request comes from another origin.", body = ErrorBody),
    )
)]
pub(crate) async fn sign_out(
    State(app): State<App>,
    headers: HeaderMap,
    Body(request): Body<SignOutRequest>,
) -> Result<Response, ApiError> {
    from_own_page(&headers)?;
    let signed_in = match signed_in(&app, &Method::POST, &headers).await {
        // What is wrong or over has no need to be ended.
        Err(error) if error.status() == StatusCode::UNAUTHORIZED => None,
        signed_in => signed_in?,
    };
    match signed_in {
        Some((caller, _)) if request.everywhere => {
            app.sessions.end_all(&app.handle, caller.sessions_name()).await?;
            let subject = ("login", caller.sessions_name());
            app.record(&caller, "login.sign_out_everywhere", subject, (), ()).await;
        }
        Some((caller, Some(session))) => {
            app.sessions.end(&app.handle, &session).await?;
            app.record(&caller, "login.sign_out", ("login", session.holder.name()), (), ()).await;
        }
        None if request.everywhere => return Err(ApiError::unauthorized(NO_SESSION)),
        Some((_, None)) | None => {}
    }
    let gone = format!("{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    let gone = HeaderValue::from_str(&gone).expect("plain text");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// Ends all sessions of a login. Its password stays, and so do its keys. With `operator` in the place of an id, all that
/// were begun with the operator's token.
#[utoipa::path(
    delete, path = "/admin/logins/{id}/sessions", tag = "logins", params(LoginPath),
    responses(
        (status = 200, description = "They are over.", body = SessionsReply),
        (status = 404, description = "There is no such login.", body = ErrorBody),
    )
)]
pub(crate) async fn end_sessions(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<SessionsReply>, ApiError> {
    if id != OPERATOR {
        app.handle.entry::<Login>(&id).await?.ok_or_else(no_such_login)?;
    }
    app.sessions.end_all(&app.handle, &id).await?;
    app.record(&caller, "login.end_sessions", ("login", &id), (), ()).await;
    Ok(Json(SessionsReply { success: true }))
}

/// Ends everybody's sessions, on every instance, by replacing what they are signed with. Keys and the operator's token
/// stay.
#[utoipa::path(
    post, path = "/admin/signing-key/rotate", tag = "logins",
    responses((status = 200, description = "Everybody has to sign in again.", body = SigningKeyReply))
)]
pub(crate) async fn rotate_signing_key(
    State(app): State<App>,
    caller: Caller,
    Body(Nothing): Body<Nothing>,
) -> Result<Json<SigningKeyReply>, ApiError> {
    let key = app.sessions.end_everybodys(&app.handle).await?;
    let rotated_at = key.made_at.to_string();
    app.record(&caller, "signing_key.rotate", ("signing_key", "in_force"), (), &rotated_at).await;
    Ok(Json(SigningKeyReply { success: true, rotated_at }))
}

/// Who the credential of this request is.
#[utoipa::path(
    get, path = "/auth/me", tag = "logins",
    responses((status = 200, description = "Who it is.", body = Me))
)]
pub(crate) async fn read_me(State(app): State<App>, caller: Caller) -> Result<Json<Me>, ApiError> {
    Ok(Json(match &caller {
        Caller::Operator | Caller::Key(_) => Me::nameless(caller.role()),
        Caller::Login { id, login } => me(&app, id, login).await?,
    }))
}

/// All logins, in no particular order.
#[utoipa::path(
    get, path = "/admin/logins", tag = "logins",
    responses((status = 200, description = "Logins.", body = LoginList))
)]
pub(crate) async fn list_logins(State(app): State<App>) -> Result<Json<LoginList>, ApiError> {
    let logins = app.handle.entries::<Login>().await?;
    Ok(Json(LoginList { logins: logins.iter().map(|(id, login)| LoginBody::of(id, login)).collect() }))
}

/// Makes a login.
#[utoipa::path(
    post, path = "/admin/logins", tag = "logins", request_body = LoginRequest,
    responses(
        (status = 201, description = "The login.", body = LoginBody),
        (status = 409, description = "The email has a login.", body = ErrorBody),
    )
)]
pub(crate) async fn create_login(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<LoginRequest>,
) -> Result<(StatusCode, Json<LoginBody>), ApiError> {
    let id = login_id(&request.email);
    // Before the lock is taken: hashing is slow, and must not keep other operators waiting.
    let password = hashed(&app, None, request.password).await;
    let _alone = app.changes.lock().await;
    caller.confirm(&app).await?;
    if app.handle.entry::<Login>(&id).await?.is_some() {
        return Err(ApiError::new(StatusCode::CONFLICT, "Email already registered"));
    }
    let login = Login {
        email: request.email.into(),
        name: request.display_name.map(Into::into),
        role: request.role,
        org: request.org_id,
        registered: false,
        password,
        created_at: now(),
        epoch: first_epoch(),
    };
    app.handle.set_entry(&id, Some(&login)).await?;
    let body = LoginBody::of(&id, &login);
    app.record(&caller, "login.create", ("login", &id), (), &body).await;
    Ok((StatusCode::CREATED, Json(body)))
}

/// Changes a login. A new password ends the sessions that the old one began; a role below `operator` ends the keys with
/// the scope `admin` that it has made.
#[utoipa::path(
    patch, path = "/admin/logins/{id}", tag = "logins", params(LoginPath), request_body = LoginChange,
    responses(
        (status = 200, description = "The login, and what became of its keys.", body = ChangedLogin),
        (status = 404, description = "There is no such login.", body = ErrorBody),
    )
)]
pub(crate) async fn change_login(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Body(change): Body<LoginChange>,
) -> Result<Json<ChangedLogin>, ApiError> {
    let password = match change.password {
        Some(password) => Some(hashed(&app, None, password).await),
        None => None,
    };
    let _alone = app.changes.lock().await;
    caller.confirm(&app).await?;
    let before = app.handle.entry::<Login>(&id).await?.ok_or_else(no_such_login)?;
    let mut login = before.clone();
    if let Some(password) = password {
        login.password = password;
        login.epoch = login.epoch.wrapping_add(1);
    }
    login.role = change.role.unwrap_or(login.role);
    login.name = change.display_name.map(Into::into).or(login.name);
    app.handle.set_entry(&id, Some(&login)).await?;
    let body = LoginBody::of(&id, &login);
    app.record(&caller, "login.change", ("login", &id), LoginBody::of(&id, &before), &body).await;
    let is_same = before.role == login.role && before.epoch == login.epoch;
    let keys = match is_same {
        true => MadeKeys::default(),
        false => look_after_keys(&app, &caller, &id, Some(&login)).await?,
    };
    Ok(Json(ChangedLogin { login: body, keys }))
}

/// Removes a login. Its sessions end, and so do the keys of an account and those with the scope `admin` that it has made.
#[utoipa::path(
    delete, path = "/admin/logins/{id}", tag = "logins", params(LoginPath),
    responses(
        (status = 200, description = "There is no such login any more.", body = LoginReply),
        (status = 404, description = "There is no such login.", body = ErrorBody),
    )
)]
pub(crate) async fn remove_login(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<LoginReply>, ApiError> {
    let _alone = app.changes.lock().await;
    caller.confirm(&app).await?;
    let before = app.handle.entry::<Login>(&id).await?.ok_or_else(no_such_login)?;
    app.handle.set_entry::<Login>(&id, None).await?;
    let keys = look_after_keys(&app, &caller, &id, None).await?;
    session::forget(&app.handle, &id).await?;
    app.record(&caller, "login.remove", ("login", &id), LoginBody::of(&id, &before), ()).await;
    Ok(Json(LoginReply { success: true, keys }))
}

/// Ends the keys that a login has made and may make no more; all of an account's, where it is gone.
async fn look_after_keys(
    app: &App,
    caller: &Caller,
    id: &str,
    login: Option<&Login>,
) -> Result<MadeKeys, ApiError> {
    let holding = || KeyQuery { holds_at: Some(now()), limit: usize::MAX, ..KeyQuery::default() };
    let by_right = KeyQuery { maker: Some(Maker::Login(id.into())), ..holding() };
    let mut made = app.handle.keys(by_right).await?.keys;
    // An operator may have made an account a new key.
    let of_account = app.handle.keys(KeyQuery { account: Some(id.into()), ..holding() }).await?.keys;
    made.extend(of_account.into_iter().filter(|key| key.maker() != Some(Maker::Login(id.into()))));
    let emails = emails(app, &made).await?;
    let may_stay = |key: &Key| match login {
        Some(login) => login.may_keep(key),
        None => !key.scopes.admin && key.account.is_none(),
    };
    let mut keys = MadeKeys::default();
    for key in made {
        let shown = ApiKey::of(&key, &Space::default(), &emails);
        if may_stay(&key) {
            keys.keys_left.push(shown);
            continue;
        }
        app.handle.end_key(key.id.clone(), Timestamp(0)).await?;
        app.record(caller, "key.revoke", ("key", key.id.as_str()), &shown, ()).await;
        keys.keys_ended.push(shown);
    }
    Ok(keys)
}

fn no_such_login() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "Login not found")
}

/// A login that is made again after it was removed must not take the tokens of the old one, however soon it is, and
/// however often the old one's password was changed.
pub(super) fn first_epoch() -> u32 {
    random::number()
}

/// A session's token for a login that has shown its password.
pub(super) async fn begin_login(app: &App, id: &Arc<str>, login: &Login) -> Result<String, ApiError> {
    let holder = Holder::Login { id: Arc::clone(id), epoch: login.epoch };
    app.sessions.begin(&app.handle, holder, &app.config.token).await
}

/// The login, if the password is its own.
async fn with_password(app: &App, ticket: Ticket, login: Option<Login>, password: String) -> Option<Login> {
    let check = move || is_password_of(login.as_ref(), &password).then_some(login).flatten();
    app.hashing.run(Some(ticket), check).await
}

/// `ticket`: of a client that is not signed in.
pub(super) async fn hashed(app: &App, ticket: Option<Ticket>, password: String) -> Arc<str> {
    app.hashing.run(ticket, move || hash_password(&password)).await
}

/// A login, with the tier of its org.
pub(super) async fn me(app: &App, id: &str, login: &Login) -> Result<Me, ApiError> {
    let tier = match account::org_of(id, login) {
        Some(org) => tier_of(&app.handle, &org).await?,
        None => Tier::Free,
    };
    Ok(Me::of(id, login, tier))
}

/// A page of another origin must not sign its visitor in as another login.
fn from_own_page(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.contains_key(header::ORIGIN) && !is_own_origin(headers) {
        true => Err(ApiError::foreign_origin()),
        false => Ok(()),
    }
}

fn cookie(token: &str, headers: &HeaderMap) -> [(header::HeaderName, HeaderValue); 1] {
    let is_tls = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let secure = if is_tls { "; Secure" } else { "" };
    let cookie = format!(
        "{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={TOKEN_SECONDS}{secure}"
    );
    [(header::SET_COOKIE, HeaderValue::from_str(&cookie).expect("a token is plain text"))]
}

const NO_SESSION: &str = "This request shows no session: only who is signed in can sign out everywhere";
