//! Accounts: how one is made, and what it used.

use super::logins::{begin_login, first_epoch, hashed, me};
use crate::auth::Caller;
use crate::dto::{
    AccountUsage, ErrorBody, LoginBody, RegisterRequest, SignedIn, TierLimits, TimeRange, account_questions,
};
use crate::error::ApiError;
use crate::fields::{Body, Query};
use crate::login::{Login, Role, login_id};
use crate::peer::Peer;
use crate::throttle::network;
use crate::tier::{limits_of, tier_of};
use crate::{App, account, now};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;

/// Makes an account: a login that makes keys for its org and sees what that used. The org must be a new one.
#[utoipa::path(
    post, path = "/auth/register", tag = "accounts", request_body = RegisterRequest,
    responses(
        (status = 201, description = "The account, and a token of it.", body = SignedIn),
        (status = 403, description = "Registration is closed.", body = ErrorBody),
        (status = 409, description = "The email has a login, or something is known of the org.", body = ErrorBody),
        (status = 429, description = "Too many accounts from this address.", body = ErrorBody),
    )
)]
pub(crate) async fn register(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Body(request): Body<RegisterRequest>,
) -> Result<(StatusCode, Json<SignedIn>), ApiError> {
    if !app.config.registration {
        return Err(ApiError::new(StatusCode::FORBIDDEN, REGISTRATION_CLOSED));
    }
    let (Some(email), Some(password)) = (request.email, request.password) else {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "Email and password are required"));
    };
    throttle(&app, peer, &email)?;
    let id = login_id(&email);
    let org = request.org_id.unwrap_or_else(|| account::own_org(&id));
    // Before the lock is taken: hashing is slow, and must not keep operators waiting.
    let ticket = app.hashing.join(peer.0, None, false)?;
    let password = hashed(&app, Some(ticket), password).await;
    let _alone = app.changes.lock().await;
    if app.handle.entry::<Login>(&id).await?.is_some() {
        return Err(ApiError::new(StatusCode::CONFLICT, "Email already registered"));
    }
    account::refuse_known(&app.handle, &id, &org).await?;
    if app.handle.entries::<Login>().await?.len() >= app.config.account_bounds.logins_max {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, ACCOUNTS_FULL));
    }
    let login = Login {
        email: email.into(),
        name: request.display_name.map(Into::into),
        role: Role::Member,
        org: Some(org.clone()),
        registered: true,
        password,
        created_at: now(),
        epoch: first_epoch(),
    };
    // The org first: if the login cannot be kept after it, no account has it.
    let claim = account::Claim { login: id.as_str().into() };
    app.handle.set_entry(org.as_str(), Some(&claim)).await?;
    app.handle.set_entry(&id, Some(&login)).await?;
    let token = begin_login(&app, &id.as_str().into(), &login).await?;
    let user = me(&app, &id, &login).await?;
    let body = LoginBody::of(&id, &login);
    let caller = Caller::Login { id: id.as_str().into(), login: Arc::new(login) };
    app.record(&caller, "login.register", ("login", &id), (), &body).await;
    Ok((StatusCode::CREATED, Json(SignedIn { user, token })))
}

/// What the account's org used in a period: this month, if nothing is said.
#[utoipa::path(
    get, path = "/auth/usage", tag = "accounts", params(TimeRange),
    responses((status = 200, description = "The org's usage.", body = AccountUsage))
)]
pub(crate) async fn read_account_usage(
    State(app): State<App>,
    caller: Caller,
    Query(time_range): Query<TimeRange>,
) -> Result<Json<AccountUsage>, ApiError> {
    let Some((_, org)) = caller.account() else {
        return Err(ApiError::new(StatusCode::FORBIDDEN, NO_ACCOUNT));
    };
    let now = now();
    let [asked, month] = account_questions(&org, time_range, now);
    let tier = tier_of(&app.handle, &org);
    let (asked, month, tier) = tokio::try_join!(app.handle.usage(asked), app.handle.usage(month), tier)?;
    let limits = TierLimits::from(limits_of(&app.config.tiers, tier));
    Ok(Json(AccountUsage::of(&org, time_range, [asked, month], (tier, limits), now)))
}

/// Also tries that fail count, or the answer to them would tell which emails have a login.
fn throttle(app: &App, peer: Peer, email: &str) -> Result<(), ApiError> {
    match app.registrations.note(network(peer.0), Sha256::digest(email).into(), Instant::now()) {
        Some(seconds) => {
            Err(ApiError::throttled("Too many registrations from this address, try again later", seconds))
        }
        None => Ok(()),
    }
}

const ACCOUNTS_FULL: &str = "There are as many accounts as may register: ask an owner for a login";
const REGISTRATION_CLOSED: &str = "Registration is closed: set admin.registration = true to open it, or ask an \
    owner for a login";
const NO_ACCOUNT: &str = "Only an account has usage of its own: sign in as one, or ask GET /admin/usage";
