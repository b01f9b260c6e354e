//! Orgs: what their users used together.

use crate::error::ApiError;
use crate::fields::Query;
use crate::wire::{Answers, ErrorBody, Questions, Summary, SummaryQuery, USERS_MAX};
use crate::{App, now};
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokenist_control::handle::CommandError;
use tokenist_control::store::UsageRow;
use tokenist_core::id::OrgId;
use utoipa::IntoParams;

/// What an org used in a period, in all and by user. An org that was never seen has used nothing.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/summary", tag = "orgs", params(OrgPath, SummaryQuery),
    responses(
        (status = 200, description = "The summary.", body = Summary),
        (status = 400, description = "The id or a parameter is wrong.", body = ErrorBody),
    )
)]
pub(crate) async fn read_summary(
    State(app): State<App>,
    OrgPath { org }: OrgPath,
    Query(query): Query<SummaryQuery>,
) -> Result<Json<Summary>, ApiError> {
    let now = now();
    let Questions { whole, by_user, this_month } = query.questions(&org, now);
    let month = async {
        match this_month {
            Some(question) => app.handle.usage(question).await.map(Some),
            None => Ok(None),
        }
    };
    let all = tokio::try_join!(app.handle.usage(by_user.clone()), app.handle.usage(whole), month);
    let (by_user_rows, whole, this_month) = all?;
    // Only a full list may have been cut.
    let user_count = match by_user_rows.len() {
        USERS_MAX => app.handle.usage_count(by_user).await?,
        count => count,
    };
    let names = names(&app, &by_user_rows).await?;
    let answers = Answers { whole, by_user: by_user_rows, user_count, names, this_month };
    Ok(Json(Summary::of(&org, &query, answers, now)))
}

/// What the users of these rows are called.
async fn names(app: &App, rows: &[UsageRow]) -> Result<Vec<Option<std::sync::Arc<str>>>, CommandError> {
    app.handle.names(rows.iter().filter_map(|row| row.key.user.clone()).collect()).await
}

/// The org that a path names, decoded and checked.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OrgPath {
    /// The org's id, URL-encoded.
    #[param(value_type = String)]
    org: OrgId,
}

impl<S: Send + Sync> FromRequestParts<S> for OrgPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<OrgPath, ApiError> {
        let bad = |why: String| ApiError::new(StatusCode::BAD_REQUEST, format!("Org id {why}"));
        let Path(org) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|_| bad("is not UTF-8".into()))?;
        OrgId::parse(org.as_bytes()).map(|org| OrgPath { org }).map_err(|error| bad(error.to_string()))
    }
}
