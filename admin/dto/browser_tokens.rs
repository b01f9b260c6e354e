//! Browsers' tokens that were revoked.

use serde::Serialize;
use tokenist_core::time::Timestamp;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevokedTokenList {
    /// The newest first.
    pub(crate) tokens: Vec<RevokedTokenBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevokedTokenBody {
    id: String,
    #[schema(format = DateTime)]
    revoked_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenReply {
    pub(crate) success: bool,
}

impl RevokedTokenBody {
    pub(crate) fn of(id: &str, revoked_at: Timestamp) -> RevokedTokenBody {
        RevokedTokenBody { id: id.to_owned(), revoked_at: revoked_at.to_string() }
    }
}
