//! What everybody used: at a glance, and by whatever one likes.

use crate::error::ApiError;
use crate::fields::Query;
use crate::wire::{
    Explorer, ExplorerQuery, Overview, OverviewAnswers, OverviewQuery, OverviewQuestions, Stretch, table,
};
use crate::{App, now};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use tokenist_control::handle::CommandError;
use tokenist_control::store::{Dimension, UsageQuery, UsageRow};

/// Everything at a glance. What was used in the last second may be missing.
#[utoipa::path(
    get, path = "/admin/overview", tag = "usage", params(Stretch, OverviewQuery),
    responses((status = 200, description = "The overview.", body = Overview))
)]
pub(crate) async fn read_overview(
    State(app): State<App>,
    Query(query): Query<OverviewQuery>,
) -> Result<Json<Overview>, ApiError> {
    let now = now();
    let OverviewQuestions { whole, top, previous } = query.questions(now);
    let before = async {
        let Some(question) = previous else { return Ok(None) };
        let users = UsageQuery { by: vec![Dimension::User], ..question.clone() };
        let (rows, user_count) = tokio::try_join!(app.handle.usage(question), app.handle.usage_count(users))?;
        Ok::<_, CommandError>(Some((rows.first().map(|row| row.totals).unwrap_or_default(), user_count)))
    };
    let dearest = async {
        let (top, user_count) = app.handle.usage_page(top).await?;
        let users = top.iter().filter_map(|row| row.key.user.clone()).collect();
        let profiles = app.handle.profiles(users).await?;
        Ok::<_, CommandError>((top, profiles, user_count))
    };
    let (explored, previous, (top, profiles, active_users), pulse) =
        tokio::try_join!(app.handle.explore(whole), before, dearest, app.handle.pulse())?;
    let answers = OverviewAnswers {
        explored,
        top,
        profiles,
        active_users,
        previous,
        live_sessions: pulse.sessions,
        blocked_users: pulse.blocked,
    };
    Ok(Json(Overview::of(&query, answers, now)))
}

/// What was used in a stretch of time, by what was asked for, in all and over time. With `Accept: text/csv` the rows as
/// a table. What was used in the last second may be missing.
#[utoipa::path(
    get, path = "/admin/usage", tag = "usage", params(Stretch, ExplorerQuery),
    responses((status = 200, description = "The usage.", content((Explorer = "application/json"), (String = "text/csv"))))
)]
pub(crate) async fn explore_usage(
    State(app): State<App>,
    headers: HeaderMap,
    Query(query): Query<ExplorerQuery>,
) -> Result<Response, ApiError> {
    let now = now();
    let vary = [(header::VARY, "accept")];
    if !wants_table(&headers) {
        let explored = app.handle.explore(query.question(now)).await?;
        let names = names(&app, &explored.rows).await?;
        return Ok((vary, Json(Explorer::of(&query, explored, names, now))).into_response());
    }
    let explored = app.handle.explore(query.table_question(now)).await?;
    let names = names(&app, &explored.rows).await?;
    let table = table(&query, &explored.rows, &names).map_err(|issue| ApiError::invalid(vec![issue]))?;
    let kind = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"usage.csv\""),
    ];
    Ok((vary, kind, table).into_response())
}

/// What the users of these rows are called, row by row.
async fn names(app: &App, rows: &[UsageRow]) -> Result<Vec<Option<Arc<str>>>, CommandError> {
    let mut names = Vec::with_capacity(rows.len());
    // So many at once that no question keeps the ledger from its reports for long.
    for rows in rows.chunks(super::SLICE_MAX) {
        let users: Vec<_> = rows.iter().filter_map(|row| row.key.user.clone()).collect();
        if users.is_empty() {
            names.extend(rows.iter().map(|_| None));
        } else {
            names.extend(app.handle.names(users).await?);
        }
    }
    Ok(names)
}

/// Whether a table is named before JSON is.
fn wants_table(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds =
        accepted.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or(range));
    let mut kinds = kinds.map(str::trim).filter_map(|kind| match kind {
        "text/csv" => Some(true),
        "application/json" | "application/*" | "*/*" => Some(false),
        _ => None,
    });
    kinds.next().unwrap_or(false)
}
