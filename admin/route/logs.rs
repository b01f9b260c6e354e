//! Calls that applications described, within their orgs.

use super::path::{OrgItemPath, OrgPath, OrgUserPath};
use crate::App;
use crate::dto::{ErrorBody, Log, Logs, LogsQuery};
use crate::error::ApiError;
use crate::fields::Query;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tokenist_control::store::Filter;

/// An org's logs, the newest first.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/logs", tag = "orgs", params(OrgPath, LogsQuery),
    responses((status = 200, description = "A page of logs.", body = Logs))
)]
pub(crate) async fn list_logs(
    State(app): State<App>,
    OrgPath { org }: OrgPath,
    Query(query): Query<LogsQuery>,
) -> Result<Json<Logs>, ApiError> {
    logs(&app, query.filter(org, None)).await
}

/// One user's logs within an org, the newest first.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/users/{id}/logs", tag = "orgs", params(OrgUserPath, LogsQuery),
    responses((status = 200, description = "A page of logs.", body = Logs))
)]
pub(crate) async fn list_user_logs(
    State(app): State<App>,
    OrgUserPath { org, id }: OrgUserPath,
    Query(query): Query<LogsQuery>,
) -> Result<Json<Logs>, ApiError> {
    logs(&app, query.filter(org, Some(id))).await
}

/// One log. That of another org is none of this one.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/logs/{id}", tag = "orgs", params(OrgItemPath),
    responses(
        (status = 200, description = "The log.", body = Log),
        (status = 404, description = "The org has no such log.", body = ErrorBody),
    )
)]
pub(crate) async fn read_log(
    State(app): State<App>,
    OrgItemPath { org, id }: OrgItemPath,
) -> Result<Json<Log>, ApiError> {
    let log = app.handle.log(id).await?.filter(|log| log.identity.org.as_ref() == Some(&org));
    let log = log.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "Log not found"))?;
    Ok(Json(log.into()))
}

async fn logs(app: &App, filter: Filter) -> Result<Json<Logs>, ApiError> {
    let (logs, total) = tokio::try_join!(app.handle.logs(filter.clone()), app.handle.log_count(filter))?;
    Ok(Json(Logs { logs: logs.into_iter().map(Log::from).collect(), total }))
}
