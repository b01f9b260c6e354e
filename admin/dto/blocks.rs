//! Blocks.

use crate::fields::{Fields, FromFields};
use serde::Serialize;
use tokenist_core::id::UserId;
use tokenist_core::limit::Block;
use tokenist_core::time::Timestamp;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockEntry {
    end_user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[schema(format = DateTime)]
    blocked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    expires_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlockList {
    /// In order of id.
    pub(crate) blocked: Vec<BlockedUser>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockedUser {
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[schema(format = DateTime)]
    blocked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    expires_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockReply {
    success: bool,
    user_id: String,
    blocked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    expires_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnblockReply {
    success: bool,
    user_id: String,
    was_blocked: bool,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct BlockRequest {
    #[schema(nullable = false, max_length = 1000)]
    pub(crate) reason: Option<String>,
    /// ISO 8601 with an offset, or a date. Without it the block lasts until it is lifted.
    #[schema(value_type = String, nullable = false, required = false, format = DateTime)]
    pub(crate) expires_at: Option<Timestamp>,
}

impl FromFields for BlockRequest {
    const MAY_BE_MISSING: bool = true;

    fn from_fields(fields: &mut Fields) -> Option<BlockRequest> {
        Some(BlockRequest {
            reason: fields.text("reason", 0..=REASON_CHARS_MAX),
            expires_at: fields.time("expiresAt"),
        })
    }
}

impl BlockedUser {
    pub(crate) fn of(user: &UserId, block: Block) -> BlockedUser {
        BlockedUser {
            user_id: user.to_string(),
            reason: block.reason.map(|reason| reason.to_string()),
            blocked_at: block.blocked_at.to_string(),
            expires_at: block.expires_at.map(|at| at.to_string()),
        }
    }
}

impl BlockReply {
    pub(crate) fn of(user: &UserId, request: BlockRequest) -> BlockReply {
        BlockReply {
            success: true,
            user_id: user.to_string(),
            blocked: true,
            reason: request.reason,
            expires_at: request.expires_at.map(|at| at.to_string()),
        }
    }
}

impl UnblockReply {
    pub(crate) fn of(user: &UserId, was_blocked: bool) -> UnblockReply {
        UnblockReply { success: true, user_id: user.to_string(), was_blocked }
    }
}

impl BlockEntry {
    pub(crate) fn of(user: &UserId, block: Block) -> BlockEntry {
        BlockEntry {
            end_user_id: user.to_string(),
            reason: block.reason.map(|reason| reason.to_string()),
            blocked_at: block.blocked_at.to_string(),
            expires_at: block.expires_at.map(|at| at.to_string()),
        }
    }
}

const REASON_CHARS_MAX: usize = 1000;
