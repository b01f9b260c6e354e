//! Refusals, and their reasons.

use crate::App;
use crate::dto::{RefusalList, RefusalsQuery};
use crate::error::ApiError;
use crate::fields::Query;
use axum::Json;
use axum::extract::State;

/// Refusals of users and keys that are known here, the newest first: one for each of them, reason and minute. Of an
/// hour the first 10,000 are kept; all others, and those of strangers, are in the metrics alone. The last fifth of a
/// second may be missing.
#[utoipa::path(
    get, path = "/admin/refusals", tag = "sessions", params(RefusalsQuery),
    responses((status = 200, description = "Refusals.", body = RefusalList))
)]
pub(crate) async fn list_refusals(
    State(app): State<App>,
    Query(query): Query<RefusalsQuery>,
) -> Result<Json<RefusalList>, ApiError> {
    let (refusals, stats) = tokio::try_join!(app.handle.refusals(query.filter()), app.handle.stats())?;
    Ok(Json(RefusalList::of(&query, refusals, stats.refused_recently)))
}
