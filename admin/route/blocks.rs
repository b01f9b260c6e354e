//! Blocks: users that may not open sessions.

use super::path::UserPath;
use crate::auth::Caller;
use crate::dto::{BlockList, BlockReply, BlockRequest, BlockedUser, UnblockReply};
use crate::error::ApiError;
use crate::fields::{Body, Nothing};
use crate::{App, now};
use axum::Json;
use axum::extract::State;
use tokenist_core::id::UserId;
use tokenist_core::limit::Block;

/// Blocks a user. Live sessions end at once with 4003. A block that has expired counts as none.
#[utoipa::path(
    post, path = "/admin/users/{id}/block", tag = "blocks", params(UserPath), request_body = BlockRequest,
    responses((status = 200, description = "The user is blocked.", body = BlockReply))
)]
pub(crate) async fn block_user(
    State(app): State<App>,
    UserPath { id }: UserPath,
    caller: Caller,
    Body(request): Body<BlockRequest>,
) -> Result<Json<BlockReply>, ApiError> {
    let block = Block {
        reason: request.reason.as_deref().map(Into::into),
        blocked_at: now(),
        expires_at: request.expires_at,
    };
    let before = standing_block(&app, &id).await?;
    app.handle.block(id.clone(), block.clone()).await?;
    app.record(&caller, "user.block", ("user", id.as_str()), before, BlockedUser::of(&id, block)).await;
    Ok(Json(BlockReply::of(&id, request)))
}

/// Lifts a user's block, if there is one.
#[utoipa::path(
    post, path = "/admin/users/{id}/unblock", tag = "blocks", params(UserPath),
    responses((status = 200, description = "The user is not blocked.", body = UnblockReply))
)]
pub(crate) async fn unblock_user(
    State(app): State<App>,
    UserPath { id }: UserPath,
    caller: Caller,
    Body(Nothing): Body<Nothing>,
) -> Result<Json<UnblockReply>, ApiError> {
    let before = standing_block(&app, &id).await?;
    let was_blocked = app.handle.unblock(id.clone()).await?;
    if was_blocked {
        app.record(&caller, "user.unblock", ("user", id.as_str()), before, ()).await;
    }
    Ok(Json(UnblockReply::of(&id, was_blocked)))
}

/// Every block that holds now.
#[utoipa::path(
    get, path = "/admin/blocked", tag = "blocks",
    responses((status = 200, description = "Blocked users.", body = BlockList))
)]
pub(crate) async fn list_blocked(State(app): State<App>) -> Result<Json<BlockList>, ApiError> {
    let blocked = app.handle.blocked().await?;
    let blocked = blocked.into_iter().map(|(user, block)| BlockedUser::of(&user, block)).collect();
    Ok(Json(BlockList { blocked }))
}

async fn standing_block(app: &App, id: &UserId) -> Result<Option<BlockedUser>, ApiError> {
    let view = app.handle.user(id.clone(), None).await?;
    Ok(view.and_then(|view| view.block).map(|block| BlockedUser::of(id, block)))
}
