//! Tokenist keys: made and shown once, listed by what is kept of them, ended.

use super::path::UserPath;
use crate::auth::Caller;
use crate::dto::{
    ApiKey, CreatedKey, Emails, ErrorBody, KeyList, KeyReply, KeyRequest, KeysQuery, RotateRequest,
    RotatedKey,
};
use crate::error::ApiError;
use crate::fields::{Body, Nothing, Query};
use crate::login::Login;
use crate::random::{self, NewKey};
use crate::space::{self, Space};
use crate::{App, now};
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use std::sync::Arc;
use tokenist_control::view::KeyQuery;
use tokenist_core::id::{OrgId, UserId};
use tokenist_core::key::{Key, KeyId, Maker, Scopes};
use tokenist_core::time::Timestamp;
use utoipa::IntoParams;

/// Makes a key. The answer alone shows it. A key that an account makes is of its org.
#[utoipa::path(
    post, path = "/auth/api-keys", tag = "keys", request_body = KeyRequest,
    responses(
        (status = 201, description = "The key.", body = CreatedKey),
        (status = 409, description = "The account has made as many keys as it may.", body = ErrorBody),
    )
)]
pub(crate) async fn create_key(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<KeyRequest>,
) -> Result<(StatusCode, Json<CreatedKey>), ApiError> {
    let mut draft = Draft {
        name: request.name.into(),
        user: request.user_id,
        org: request.org_id,
        scopes: request.scopes,
        account: None,
        expires_at: request.expires_at,
    };
    let _alone = app.changes.lock().await;
    match (caller.account(), &draft.user, &draft.org) {
        (Some((account, org)), ..) => draft = of_account(&app, account, org, draft).await?,
        (None, Some(user), Some(org)) => space::name_user(&app.handle, user, org).await?,
        (None, ..) => {}
    }
    Ok((StatusCode::CREATED, Json(create(&app, &caller, draft).await?)))
}

/// Keys, oldest first. An account sees those that it made.
#[utoipa::path(
    get, path = "/auth/api-keys", tag = "keys", params(KeysQuery),
    responses((status = 200, description = "Keys.", body = KeyList))
)]
pub(crate) async fn list_keys(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<KeysQuery>,
) -> Result<Json<KeyList>, ApiError> {
    let (offset, limit) = (query.offset, query.limit());
    let holds_at = (!query.ended).then(now);
    // Also by its org: an earlier login with the email may have had another, and keys of it.
    let (account, org) = caller.account().map(|(id, org)| (Arc::clone(id), org)).unzip();
    let maker = query.maker();
    let query = KeyQuery { user: query.user_id, org, account, maker, holds_at, offset, limit };
    let page = app.handle.keys(query).await?;
    let emails = emails(&app, &page.keys).await?;
    Ok(Json(KeyList::of(&page.keys, page.total, &Space::of(&caller), &emails)))
}

/// Revokes a key. Its live sessions end at once with 4001.
#[utoipa::path(
    delete, path = "/auth/api-keys/{id}", tag = "keys", params(KeyPath),
    responses(
        (status = 200, description = "The key opens nothing any more.", body = KeyReply),
        (status = 404, description = "There is no such key, or it has been revoked before.", body = ErrorBody),
    )
)]
pub(crate) async fn revoke_key(
    State(app): State<App>,
    KeyPath { id }: KeyPath,
    caller: Caller,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<KeyReply>, ApiError> {
    let no_such_key = || ApiError::new(StatusCode::NOT_FOUND, "API key not found");
    if let Some((account, org)) = caller.account() {
        let key = app.handle.key_of(id.clone()).await?;
        let is_its_own = |key: &Key| key.account.as_ref() == Some(account) && key.org.as_ref() == Some(&org);
        key.filter(is_its_own).ok_or_else(no_such_key)?;
    }
    let key = app.handle.end_key(id.clone(), Timestamp(0)).await?.ok_or_else(no_such_key)?;
    app.record(&caller, "key.revoke", ("key", id.as_str()), ApiKey::from(&key), ()).await;
    Ok(Json(KeyReply { success: true }))
}

/// Makes a user a new key like its newest one. All keys of before end at once, or after a grace.
#[utoipa::path(
    post, path = "/admin/users/{id}/rotate-key", tag = "keys", params(UserPath), request_body = RotateRequest,
    responses(
        (status = 201, description = "The new key.", body = RotatedKey),
        (status = 404, description = "The user has no key.", body = ErrorBody),
    )
)]
pub(crate) async fn rotate_key(
    State(app): State<App>,
    UserPath { id }: UserPath,
    caller: Caller,
    Body(request): Body<RotateRequest>,
) -> Result<(StatusCode, Json<RotatedKey>), ApiError> {
    let _alone = app.changes.lock().await;
    let keys = keys_of(&app, &id).await?;
    let Some(newest) = keys.last() else {
        let sentence = format!("User {id} has no API key; POST /admin/users with this userId makes one");
        return Err(ApiError::new(StatusCode::NOT_FOUND, sentence));
    };
    let draft = Draft {
        name: Arc::clone(&newest.name),
        user: newest.user.clone(),
        org: newest.org.clone(),
        scopes: newest.scopes,
        account: newest.account.clone(),
        expires_at: None,
    };
    // The new key comes first: whatever fails after it, the user is not locked out.
    let created = create(&app, &caller, draft).await?;
    let end = request.end(now());
    let emails = emails(&app, &keys).await?;
    let mut retired = Vec::with_capacity(keys.len());
    for key in &keys {
        // `None`: it was revoked meanwhile.
        if let Some(key) = app.handle.end_key(key.id.clone(), end).await? {
            let retiring = ApiKey::of(&key, &Space::default(), &emails);
            app.record(&caller, "key.retire", ("key", key.id.as_str()), (), &retiring).await;
            retired.push(retiring);
        }
    }
    Ok((StatusCode::CREATED, Json(RotatedKey { created, retired })))
}

/// What a key is to be.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: Arc<str>,
    pub(super) user: Option<UserId>,
    pub(super) org: Option<OrgId>,
    pub(super) scopes: Scopes,
    /// The login of the account that makes it.
    pub(super) account: Option<Arc<str>>,
    pub(super) expires_at: Option<Timestamp>,
}

/// What an account may make of what it asks for.
async fn of_account(app: &App, account: &Arc<str>, org: OrgId, draft: Draft) -> Result<Draft, ApiError> {
    let forbidden = |sentence: String| Err(ApiError::new(StatusCode::FORBIDDEN, sentence));
    if draft.scopes.admin {
        return forbidden("An account makes no key with the admin scope: leave it out of scopes".into());
    }
    if draft.org.as_ref().is_some_and(|asked| *asked != org) {
        return forbidden(format!("The keys of this account are of organization {org}: leave out orgId"));
    }
    let user = match draft.user {
        Some(user) => Some(space::bound_user(&app.handle, &org, user).await?),
        None => None,
    };
    let made = KeyQuery { account: Some(Arc::clone(account)), limit: 1, ..KeyQuery::default() };
    if app.handle.keys(made).await?.total >= ACCOUNT_KEYS_MAX {
        let sentence = format!(
            "This account has made {ACCOUNT_KEYS_MAX} keys, as many as it may, revoked ones included: ask an operator"
        );
        return Err(ApiError::new(StatusCode::CONFLICT, sentence));
    }
    if app.handle.stats().await?.keys >= app.config.account_bounds.keys_max {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, KEYS_SPENT));
    }
    Ok(Draft { user, org: Some(org), account: Some(Arc::clone(account)), ..draft })
}

/// Call it while changes are locked: the caller is looked at again, for it may have lost its right while it waited.
pub(super) async fn create(app: &App, caller: &Caller, draft: Draft) -> Result<CreatedKey, ApiError> {
    let secret = NewKey::generate();
    let Draft { name, user, org, scopes, account, expires_at } = draft;
    let mut emails = Emails::new();
    caller.confirm(app).await?;
    if let Caller::Login { id, login } = caller {
        emails.insert(Arc::clone(id), Arc::clone(&login.email));
    }
    // A key that opens everything does not outlive the one that it was made with.
    let end = match caller {
        Caller::Key(key) if scopes.admin => key.ends_at(),
        Caller::Key(_) | Caller::Operator | Caller::Login { .. } => None,
    };
    let expires_at = expires_at.into_iter().chain(end).min();
    let key = Key {
        id: KeyId::from(&*random::id("key_")),
        hash: secret.hash,
        name,
        hint: secret.hint,
        user,
        org,
        scopes,
        account,
        maker: caller.maker(),
        created_at: now(),
        expires_at,
        revoked_at: None,
    };
    app.handle.set_key(key.clone()).await?;
    let kept = ApiKey::of(&key, &Space::default(), &emails);
    app.record(caller, "key.create", ("key", key.id.as_str()), (), kept).await;
    Ok(CreatedKey { api_key: secret.text, key: ApiKey::of(&key, &Space::of(caller), &emails) })
}

/// The emails of the logins that made these keys.
pub(super) async fn emails(app: &App, keys: &[Key]) -> Result<Emails, ApiError> {
    if !keys.iter().any(|key| matches!(key.maker(), Some(Maker::Login(_)))) {
        return Ok(Emails::new());
    }
    let logins = app.handle.entries::<Login>().await?;
    Ok(logins.into_iter().map(|(id, login)| (id, login.email)).collect())
}

/// A user's keys that open something, the oldest first.
pub(super) async fn keys_of(app: &App, user: &UserId) -> Result<Vec<Key>, ApiError> {
    let query = KeyQuery {
        user: Some(user.clone()),
        holds_at: Some(now()),
        limit: usize::MAX,
        ..KeyQuery::default()
    };
    Ok(app.handle.keys(query).await?.keys)
}

/// The key that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct KeyPath {
    /// The key's id.
    #[param(value_type = String)]
    id: KeyId,
}

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<KeyPath, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| KeyPath { id: KeyId::from(&*id) })
            .map_err(|_| ApiError::new(StatusCode::NOT_FOUND, "API key not found"))
    }
}

/// Revoked keys are kept, so a login may not make them without end.
const ACCOUNT_KEYS_MAX: usize = 1_000;
const KEYS_SPENT: &str = "There are as many keys as accounts may make: ask an operator for one";
