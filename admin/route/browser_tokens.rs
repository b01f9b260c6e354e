//! Browsers' tokens, which the data port gives: what was revoked of them.

use crate::auth::Caller;
use crate::dto::{RevokedTokenBody, RevokedTokenList, TokenReply};
use crate::error::ApiError;
use crate::fields::{Nothing, Query};
use crate::{App, now};
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokenist_core::browser_token::{LIFE_SECONDS_MAX, RevokedToken, SKEW_MS, TokenId};
use tokenist_core::time::{SECOND_MS, Timestamp};
use utoipa::IntoParams;

/// Browsers' tokens that were revoked within the last two hours, the newest first. Any other one has run out since.
#[utoipa::path(
    get, path = "/admin/browser-tokens", tag = "keys",
    responses((status = 200, description = "The revoked tokens.", body = RevokedTokenList))
)]
pub(crate) async fn list_revoked_tokens(
    State(app): State<App>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<RevokedTokenList>, ApiError> {
    let at = now();
    let mut revoked = app.handle.entries::<RevokedToken>().await?;
    revoked.retain(|(_, revoked)| !has_run_out(*revoked, at));
    revoked.sort_by_key(|(_, revoked)| std::cmp::Reverse(revoked.revoked_at));
    let tokens = revoked.iter().map(|(id, revoked)| RevokedTokenBody::of(id, revoked.revoked_at)).collect();
    Ok(Json(RevokedTokenList { tokens }))
}

/// Revokes a browser's token. Its live sessions end with 4001, here and on other instances.
#[utoipa::path(
    delete, path = "/admin/browser-tokens/{id}", tag = "keys", params(TokenPath),
    responses(
        (status = 200, description = "The token opens nothing any more.", body = TokenReply),
        (status = 404, description = "No token can have this id.", body = crate::dto::ErrorBody),
    )
)]
pub(crate) async fn revoke_token(
    State(app): State<App>,
    TokenPath { id }: TokenPath,
    caller: Caller,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<TokenReply>, ApiError> {
    let revoked_at = now();
    for (over, revoked) in app.handle.entries::<RevokedToken>().await? {
        if has_run_out(revoked, revoked_at) {
            app.handle.set_entry::<RevokedToken>(&over, None).await?;
        }
    }
    app.handle.set_entry(id.as_str(), Some(&RevokedToken { revoked_at })).await?;
    app.record(&caller, "browser_token.revoke", ("browser_token", id.as_str()), (), ()).await;
    Ok(Json(TokenReply { success: true }))
}

/// Whether no token is good any more that was made before this.
fn has_run_out(revoked: RevokedToken, now: Timestamp) -> bool {
    now.since(revoked.revoked_at) > LIFE_SECONDS_MAX * SECOND_MS + 2 * SKEW_MS
}

/// The token that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TokenPath {
    /// The token's id, as the answer says it in which the token was given: `token_id`, or Google's `tokenId`.
    #[param(value_type = String, pattern = "^[0-9a-f]{16}$")]
    id: TokenId,
}

impl<S: Send + Sync> FromRequestParts<S> for TokenPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<TokenPath, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let is_id =
            |id: &str| id.len() == 16 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = path.ok().filter(|Path(id)| is_id(id)).map(|Path(id)| TokenId::from(&*id));
        id.map(|id| TokenPath { id }).ok_or_else(|| {
            ApiError::new(StatusCode::NOT_FOUND, "Token not found: its id is 16 hexadecimal digits")
        })
    }
}
