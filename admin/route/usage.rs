//! What all users used: at a glance, and by whatever one likes.

use crate::dto::{
    Explorer, ExplorerQuery, Overview, OverviewAnswers, OverviewQuery, OverviewQuestions, RowSpool,
    SpooledRows, Table, TimeRange,
};
use crate::error::ApiError;
use crate::fields::Query;
use crate::{App, now};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use std::io;
use std::sync::Arc;
use tokenist_control::error::CommandError;
use tokenist_control::store::{Dimension, UsageQuery, UsageRow};
use tokenist_core::id::UserId;

/// Everything at a glance. What was used in the last second may be missing.
#[utoipa::path(
    get, path = "/admin/overview", tag = "usage", params(TimeRange, OverviewQuery),
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
    let unpriced = app.handle.unpriced(whole.query.clone());
    let (explored, previous, (top, profiles, active_users), stats, unpriced) =
        tokio::try_join!(app.handle.explore(whole), before, dearest, app.handle.stats(), unpriced,)?;
    let answers = OverviewAnswers {
        explored,
        unpriced,
        top,
        profiles,
        active_users,
        previous,
        live_sessions: stats.sessions,
        blocked_users: stats.blocked,
    };
    Ok(Json(Overview::of(&query, answers, now)))
}

/// What was used in a range of time, by what was asked for, in all and over time. With `Accept: text/csv` the rows as
/// a table, all of them if no limit is said. What was used in the last second may be missing.
#[utoipa::path(
    get, path = "/admin/usage", tag = "usage", params(TimeRange, ExplorerQuery),
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
        let question = query.question(now);
        let unpriced = app.handle.unpriced(question.query.clone());
        let (explored, unpriced) = tokio::try_join!(app.handle.explore(question), unpriced)?;
        let names = names(&app, &explored.rows).await?;
        return Ok((vary, Json(Explorer::of(&query, explored, names, &unpriced, now))).into_response());
    }
    const BUSY: &str = "As many tables are on their way as there may be: ask again when one has arrived";
    let place = Arc::clone(&app.tables).try_acquire_owned();
    let place = place.map_err(|_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, BUSY))?;
    let table = Table::of(&query, now);
    let rows = RowSpool::new(table.clone());
    let rows = app.handle.usage_into(query.table_question(now), rows, RowSpool::take).await?;
    let rows = rows.read().map_err(no_room)?;
    let kind = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", table.file_name())),
    ];
    let mut lines = table.head();
    let mut rows = rows;
    lines.extend(piece(&app, &table, &mut rows).await.map_err(no_room)?.into_iter().flatten());
    let Some(more) = piece(&app, &table, &mut rows).await.map_err(no_room)? else {
        return Ok((vary, kind, lines).into_response());
    };
    let begin = stream::iter([Ok(Bytes::from(lines)), Ok(more)]);
    let rest = stream::unfold((app, table, rows, place), |(app, table, mut rows, place)| async move {
        let next = piece(&app, &table, &mut rows).await.transpose()?;
        Some((next, (app, table, rows, place)))
    });
    Ok((vary, kind, Body::from_stream(begin.chain(rest))).into_response())
}

fn no_room(cause: io::Error) -> ApiError {
    let sentence = format!("There is no room to make the table: {cause}");
    ApiError::new(StatusCode::INSUFFICIENT_STORAGE, sentence)
}

/// Some more lines of the table. An error breaks the answer off, so that no part of it is taken for all.
async fn piece(app: &App, table: &Table, rows: &mut SpooledRows) -> io::Result<Option<Bytes>> {
    let records = rows.by_ref().take(super::SLICE_MAX).collect::<Result<Vec<_>, _>>()?;
    if records.is_empty() {
        return Ok(None);
    }
    let users: Vec<UserId> = records.iter().filter_map(|record| table.user_of(record)).collect();
    let names = match users.is_empty() {
        true => vec![None; records.len()],
        false => app.handle.names(users).await.map_err(io::Error::other)?,
    };
    Ok(Some(table.lines(&records, &names)?.into()))
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
