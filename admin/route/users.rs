//! Users: who they are and what they used.

use super::UserPath;
use crate::App;
use crate::error::ApiError;
use crate::fields::Query;
use crate::wire::{ErrorBody, LIST_MAX, Models, PeriodQuery, User, Users, UsersQuery};
use axum::Json;
use axum::extract::State;
use tokenist_control::handle::UserQuery;

/// Users in order of id, with what they used.
#[utoipa::path(
    get, path = "/admin/users", tag = "users", params(UsersQuery),
    responses(
        (status = 200, description = "A page of users.", body = Users),
        (status = 400, description = "A parameter is wrong.", body = ErrorBody),
    )
)]
pub(crate) async fn list_users(
    State(app): State<App>,
    Query(query): Query<UsersQuery>,
) -> Result<Json<Users>, ApiError> {
    let wanted = query.limit.unwrap_or(LIST_MAX);
    let mut users = Vec::new();
    let mut after = query.cursor;
    loop {
        let page = app
            .handle
            .users(UserQuery {
                after,
                search: query.search.clone(),
                org: query.org.clone(),
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

/// What one user used. A user that was never seen has used nothing.
#[utoipa::path(
    get, path = "/admin/users/{id}/usage", tag = "users", params(UserPath, PeriodQuery),
    responses(
        (status = 200, description = "The user's usage.", body = User),
        (status = 400, description = "The id or a parameter is wrong.", body = ErrorBody),
    )
)]
pub(crate) async fn read_usage(
    State(app): State<App>,
    UserPath { id }: UserPath,
    Query(PeriodQuery { period }): Query<PeriodQuery>,
) -> Result<Json<User>, ApiError> {
    let user = match app.handle.user(id.clone(), period).await? {
        Some(view) => User::of(view, period),
        None => User::unknown(id, app.handle.default_limit(), period),
    };
    Ok(Json(user))
}

/// What one user used by feature and model, all kinds of tokens, all time.
#[utoipa::path(
    get, path = "/admin/users/{id}/models", tag = "users", params(UserPath),
    responses(
        (status = 200, description = "The user's usage by feature and model.", body = Models),
        (status = 400, description = "The id is wrong.", body = ErrorBody),
    )
)]
pub(crate) async fn list_models(
    State(app): State<App>,
    UserPath { id }: UserPath,
) -> Result<Json<Models>, ApiError> {
    let models = app.handle.models(id.clone()).await?;
    Ok(Json(Models::of(&id, &models)))
}

/// Users asked for at once, so that no question keeps the ledger from its reports for long.
const SLICE_MAX: usize = 500;
