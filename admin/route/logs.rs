//! Calls that applications described, within their orgs.

use super::orgs::{OrgPath, OrgUserPath, part};
use crate::App;
use crate::error::ApiError;
use crate::fields::Query;
use crate::wire::{ErrorBody, Log, Logs, LogsQuery};
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokenist_control::store::Filter;
use tokenist_core::id::OrgId;
use utoipa::IntoParams;

/// An org's logs, the newest first.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/logs", tag = "orgs", params(OrgPath, LogsQuery),
    responses(
        (status = 200, description = "A page of logs.", body = Logs),
        (status = 400, description = "The id or a parameter is wrong.", body = ErrorBody),
    )
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
    responses(
        (status = 200, description = "A page of logs.", body = Logs),
        (status = 400, description = "An id or a parameter is wrong.", body = ErrorBody),
    )
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
    get, path = "/admin/orgs/{org}/logs/{id}", tag = "orgs", params(LogPath),
    responses(
        (status = 200, description = "The log.", body = Log),
        (status = 400, description = "The org's id is wrong.", body = ErrorBody),
        (status = 404, description = "The org has no such log.", body = ErrorBody),
    )
)]
pub(crate) async fn read_log(
    State(app): State<App>,
    LogPath { org, id }: LogPath,
) -> Result<Json<Log>, ApiError> {
    let log = app.handle.log(id).await?.filter(|log| log.identity.org.as_ref() == Some(&org));
    let log = log.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "Log not found"))?;
    Ok(Json(log.into()))
}

async fn logs(app: &App, filter: Filter) -> Result<Json<Logs>, ApiError> {
    let (logs, total) = tokio::try_join!(app.handle.logs(filter.clone()), app.handle.log_count(filter))?;
    Ok(Json(Logs { logs: logs.into_iter().map(Log::from).collect(), total }))
}

/// The log that a path names. What can be no id is that of no log.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct LogPath {
    /// The org's id, URL-encoded.
    #[param(value_type = String)]
    org: OrgId,
    id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for LogPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<LogPath, ApiError> {
        let Path((org, id)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "Org id is not UTF-8"))?;
        Ok(LogPath { org: part("Org id", &org, OrgId::parse)?, id })
    }
}
