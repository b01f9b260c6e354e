//! Users: their profiles and what they used.

use super::SLICE_MAX;
use super::keys::{self, Draft};
use super::path::UserPath;
use crate::auth::Caller;
use crate::dto::{
    CreatedUser, ErrorBody, History, HistoryQuery, LIST_MAX, Models, ModelsQuery, PeriodQuery, Since, User,
    UserRequest, Users, UsersFilter, UsersQuery, key_name,
};
use crate::error::ApiError;
use crate::fields::{Body, Query};
use crate::{App, now, random, space};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tokenist_control::store::{Dimension, UsageQuery};
use tokenist_control::view::UserQuery;
use tokenist_core::id::Identity;

/// Users, in order of id unless said otherwise, with what they used.
#[utoipa::path(
    get, path = "/admin/users", tag = "users", params(UsersQuery, UsersFilter),
    responses((status = 200, description = "A page of users.", body = Users))
)]
pub(crate) async fn list_users(
    State(app): State<App>,
    Query(query): Query<UsersQuery>,
) -> Result<Json<Users>, ApiError> {
    let wanted = query.limit.unwrap_or(LIST_MAX);
    if let Some(ranking) = query.ranking(wanted, app.handle.default_limit().window) {
        let page = app.handle.ranked_users(ranking.clone()).await?;
        let next_cursor = page.last.as_ref().map(|rank| UsersQuery::cursor_of(&ranking, rank));
        let users = page.users.into_iter().map(|view| User::of(view, ranking.window)).collect();
        return Ok(Json(Users { users, next_cursor }));
    }
    let mut users = Vec::new();
    let mut after = query.cursor.map(|cursor| cursor.user);
    loop {
        let page = app
            .handle
            .users(UserQuery {
                after,
                filter: query.filter.clone(),
                limit: SLICE_MAX.min(wanted - users.len()),
                window: query.period,
            })
            .await?;
        after = page.users.last().filter(|_| page.more).map(|view| view.user.clone());
        users.extend(page.users.into_iter().map(|view| User::of(view, query.period)));
        if after.is_none() || users.len() >= wanted {
            return Ok(Json(Users { users, next_cursor: after.map(|user| user.to_string()) }));
        }
    }
}

/// Makes a user known and gives it a key, which the answer alone shows. A user may be known already; only one that
/// has a key is refused, so that asking twice leaves no key that nobody remembers.
#[utoipa::path(
    post, path = "/admin/users", tag = "users", request_body = UserRequest,
    responses(
        (status = 201, description = "The user and its key.", body = CreatedUser),
        (status = 409, description = "The user has a key.", body = ErrorBody),
    )
)]
pub(crate) async fn create_user(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<UserRequest>,
) -> Result<(StatusCode, Json<CreatedUser>), ApiError> {
    let user = request.user_id.unwrap_or_else(|| random::id("user_").as_str().into());
    if let Some(org) = &request.org_id {
        space::refuse_other_space(&user, org)?;
    }
    let _alone = app.changes.lock().await;
    if !keys::keys_of(&app, &user).await?.is_empty() {
        let sentence = format!(
            "User {user} has an API key already; POST /admin/users/:id/rotate-key replaces it, and POST \
             /auth/api-keys with this userId adds another"
        );
        return Err(ApiError::new(StatusCode::CONFLICT, sentence));
    }
    let identity = Identity {
        org: request.org_id.clone().or_else(|| user.space()),
        email: request.email,
        name: request.name,
        ..Identity::of(user.clone())
    };
    let view = app.handle.introduce(identity).await?;
    let draft = Draft {
        name: key_name(&user),
        user: Some(user),
        org: request.org_id,
        scopes: request.scopes,
        account: None,
        expires_at: request.expires_at,
    };
    let created = keys::create(&app, &caller, draft).await?;
    Ok((StatusCode::CREATED, Json(CreatedUser::of(view, created))))
}

/// What one user used. A user that was never seen has used nothing.
#[utoipa::path(
    get, path = "/admin/users/{id}/usage", tag = "users", params(UserPath, PeriodQuery),
    responses((status = 200, description = "The user's usage.", body = User))
)]
pub(crate) async fn read_usage(
    State(app): State<App>,
    UserPath { id }: UserPath,
    Query(query): Query<PeriodQuery>,
) -> Result<Json<User>, ApiError> {
    let user = match app.handle.user(id.clone(), query.period).await? {
        Some(view) => User::of(view, query.period),
        None => User::unknown(id.clone(), app.handle.default_limit(), query.period),
    };
    let Some(span) = query.range(now()) else { return Ok(Json(user)) };
    let question = UsageQuery { from: span.from, to: span.to, users: vec![id], ..UsageQuery::default() };
    let rows = app.handle.usage(question).await?;
    Ok(Json(user.over(span, &rows.first().map(|row| row.totals).unwrap_or_default())))
}

/// What one user used, point by point. What was used in the last second may be missing.
#[utoipa::path(
    get, path = "/admin/users/{id}/usage/history", tag = "users", params(UserPath, HistoryQuery),
    responses((status = 200, description = "The user's history.", body = History))
)]
pub(crate) async fn read_history(
    State(app): State<App>,
    UserPath { id }: UserPath,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<History>, ApiError> {
    let now = now();
    let rows = app.handle.usage(query.question(&id, now)).await?;
    let history = History::of(&id, &query, &rows, now).map_err(|issue| ApiError::invalid(vec![issue]))?;
    Ok(Json(history))
}

/// What one user used by feature and model, all kinds of tokens; the dearest 10,000 of all time.
#[utoipa::path(
    get, path = "/admin/users/{id}/models", tag = "users", params(UserPath, ModelsQuery),
    responses((status = 200, description = "The user's usage by feature and model.", body = Models))
)]
pub(crate) async fn list_models(
    State(app): State<App>,
    UserPath { id }: UserPath,
    Query(query): Query<ModelsQuery>,
) -> Result<Json<Models>, ApiError> {
    let Some(Since::Start) = query.since else {
        let by = vec![Dimension::Feature, Dimension::Model];
        let question = UsageQuery { users: vec![id.clone()], by, limit: LIST_MAX, ..UsageQuery::default() };
        return Ok(Json(Models::stored(&id, app.handle.usage(question).await?)));
    };
    Ok(Json(Models::of(&id, &app.handle.models(id.clone()).await?)))
}
