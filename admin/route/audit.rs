//! What operators have changed.

use crate::App;
use crate::dto::{AuditList, AuditQuery};
use crate::error::ApiError;
use crate::fields::Query;
use axum::Json;
use axum::extract::State;

/// Changes, the newest first. The last fifth of a second may be missing.
#[utoipa::path(
    get, path = "/admin/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, description = "Changes.", body = AuditList))
)]
pub(crate) async fn list_audits(
    State(app): State<App>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditList>, ApiError> {
    let audits = app.handle.audits(query.filter()).await?;
    Ok(Json(AuditList::of(&query, audits)))
}
