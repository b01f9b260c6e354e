//! Live sessions, and those that are over.

use crate::auth::Caller;
use crate::dto::{
    ErrorBody, LIST_MAX, PastSession, PastSessions, PastSessionsQuery, Session, SessionReply, Sessions,
    SessionsQuery,
};
use crate::error::ApiError;
use crate::fields::{Nothing, Query};
use crate::{App, now};
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokenist_core::id::SessionId;
use utoipa::IntoParams;

/// Live sessions, oldest first.
#[utoipa::path(
    get, path = "/admin/sessions", tag = "sessions", params(SessionsQuery),
    responses((status = 200, description = "Live sessions.", body = Sessions))
)]
pub(crate) async fn list_sessions(
    State(app): State<App>,
    Query(query): Query<SessionsQuery>,
) -> Result<Json<Sessions>, ApiError> {
    let (views, now) = (app.handle.sessions().await?, now());
    let listed = views.iter().take(query.limit.unwrap_or(LIST_MAX));
    let sessions = listed.map(|view| Session::of(view, now)).collect();
    Ok(Json(Sessions { sessions, total: views.len() }))
}

/// Sessions that are over, the last one first, as far back as they are kept.
#[utoipa::path(
    get, path = "/admin/sessions/past", tag = "sessions", params(PastSessionsQuery),
    responses((status = 200, description = "A page of sessions.", body = PastSessions))
)]
pub(crate) async fn list_past_sessions(
    State(app): State<App>,
    Query(query): Query<PastSessionsQuery>,
) -> Result<Json<PastSessions>, ApiError> {
    let records = app.handle.past_sessions(query.filter()).await?;
    Ok(Json(PastSessions { sessions: records.into_iter().map(PastSession::from).collect() }))
}

/// Ends one live session with 4003. Its user may open another.
#[utoipa::path(
    delete, path = "/admin/sessions/{id}", tag = "sessions", params(SessionPath),
    responses(
        (status = 200, description = "The session was told to end.", body = SessionReply),
        (status = 404, description = "No live session has this id.", body = ErrorBody),
    )
)]
pub(crate) async fn close_session(
    State(app): State<App>,
    SessionPath { id }: SessionPath,
    caller: Caller,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<SessionReply>, ApiError> {
    if !app.handle.close_session(id).await? {
        return Err(session_not_found());
    }
    app.record(&caller, "session.end", ("session", &id.to_string()), (), ()).await;
    Ok(Json(SessionReply::of(id)))
}

/// The session that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SessionPath {
    /// The session's id.
    #[param(value_type = String)]
    id: SessionId,
}

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<SessionPath, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(id)| SessionId::parse(&id));
        id.map(|id| SessionPath { id }).ok_or_else(session_not_found)
    }
}

fn session_not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "Session not found")
}
