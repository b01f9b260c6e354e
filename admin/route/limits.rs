//! Limits of users, orgs and keys. A user's is also what existing clients call its threshold.

use super::path::{UserPath, checked, decoded};
use crate::App;
use crate::auth::Caller;
use crate::dto::{
    ErrorBody, HolderKindName, HolderLimit, LimitAnswer, LimitBody, LimitChange, LimitList, LimitRequest,
    LimitTrial, LimitsQuery, Threshold, ThresholdReply, ThresholdRequest,
};
use crate::error::ApiError;
use crate::fields::{Body, Query};
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use std::borrow::Cow;
use tokenist_control::view::SessionView;
use tokenist_core::id::{self, Holder};
use tokenist_core::key::KeyId;
use tokenist_core::limit::Limit;
use utoipa::IntoParams;

/// Replaces a user's threshold. Live sessions that are over the new one end at once with 4004.
#[utoipa::path(
    post, path = "/admin/users/{id}/threshold", tag = "limits", params(UserPath),
    request_body = ThresholdRequest,
    responses((status = 200, description = "The threshold holds.", body = ThresholdReply))
)]
pub(crate) async fn set_threshold(
    State(app): State<App>,
    UserPath { id }: UserPath,
    caller: Caller,
    Body(request): Body<ThresholdRequest>,
) -> Result<Json<ThresholdReply>, ApiError> {
    let before = app.handle.user(id.clone(), None).await?.map(|view| view.limit);
    let default = app.handle.default_limit();
    let models = before.as_ref().unwrap_or(default).models.clone();
    let limit = request.limit(default, models);
    let before = before.as_ref().map(Threshold::from);
    let view = app.handle.set_limit(id, limit).await?;
    let after = Threshold::from(&view.limit);
    app.record(&caller, "user.limit", ("user", view.user.as_str()), before, after).await;
    Ok(Json(ThresholdReply::of(&view)))
}

/// Limits of their own that users, orgs, features and keys have, or with `defaults` all that bind somebody; with the one
/// that binds all other users.
#[utoipa::path(
    get, path = "/admin/limits", tag = "limits", params(LimitsQuery),
    responses((status = 200, description = "Limits.", body = LimitList))
)]
pub(crate) async fn list_limits(
    State(app): State<App>,
    Query(query): Query<LimitsQuery>,
) -> Result<Json<LimitList>, ApiError> {
    let page = match query.defaults {
        true => app.handle.limits_and_defaults(query.into()).await?,
        false => app.handle.limits(query.into()).await?,
    };
    Ok(Json(LimitList::of(app.handle.default_limit(), page)))
}

/// What binds a user, org, feature or key. One that was never seen has used nothing.
#[utoipa::path(
    get, path = "/admin/limits/{kind}/{id}", tag = "limits", params(HolderPath),
    responses(
        (status = 200, description = "The limit.", body = HolderLimit),
        (status = 404, description = "There is no such key, or no such kind of holder.", body = ErrorBody),
    )
)]
pub(crate) async fn read_limit(
    State(app): State<App>,
    HolderPath { kind, id }: HolderPath,
) -> Result<Json<HolderLimit>, ApiError> {
    let holder = holder(&app, kind, &id).await?;
    Ok(Json((&app.handle.limit(holder).await?).into()))
}

/// Replaces a limit. Live sessions that are over the new one end at once with 4004, those of other models with 4003.
#[utoipa::path(
    put, path = "/admin/limits/{kind}/{id}", tag = "limits", params(HolderPath, LimitChange),
    request_body = LimitRequest,
    responses(
        (status = 200, description = "The limit holds, or with `dryRun` what would come of it.", body = LimitAnswer),
        (status = 404, description = "There is no such key, or no such kind of holder.", body = ErrorBody),
    )
)]
pub(crate) async fn set_limit(
    State(app): State<App>,
    HolderPath { kind, id }: HolderPath,
    Query(change): Query<LimitChange>,
    caller: Caller,
    request: Result<Body<LimitRequest>, ApiError>,
) -> Result<Json<LimitAnswer>, ApiError> {
    // That there is no such key is said first, whatever is asked of it.
    holder(&app, kind, &id).await?;
    let Body(request) = request?;
    let limit = request.limit(&default_of(&app, kind));
    match change.dry_run {
        true => try_limit(&app, kind, &id, limit).await,
        false => bind(&app, &caller, kind, &id, Some(limit)).await,
    }
}

/// Takes a limit back: the default binds a user again, nothing an org, feature or key.
#[utoipa::path(
    delete, path = "/admin/limits/{kind}/{id}", tag = "limits", params(HolderPath, LimitChange),
    responses(
        (status = 200, description = "What binds the holder now, or with `dryRun` would.", body = LimitAnswer),
        (status = 404, description = "There is no such key, or no such kind of holder.", body = ErrorBody),
    )
)]
pub(crate) async fn remove_limit(
    State(app): State<App>,
    HolderPath { kind, id }: HolderPath,
    Query(change): Query<LimitChange>,
    caller: Caller,
) -> Result<Json<LimitAnswer>, ApiError> {
    match change.dry_run {
        true => try_limit(&app, kind, &id, default_of(&app, kind).into_owned()).await,
        false => bind(&app, &caller, kind, &id, None).await,
    }
}

fn default_of(app: &App, kind: HolderKindName) -> Cow<'_, Limit> {
    match kind {
        HolderKindName::User => Cow::Borrowed(app.handle.default_limit()),
        HolderKindName::Org | HolderKindName::Feature | HolderKindName::Key => Cow::Owned(Limit::default()),
    }
}

/// How the holder would stand, and what of it is live.
async fn try_limit(
    app: &App,
    kind: HolderKindName,
    id: &str,
    limit: Limit,
) -> Result<Json<LimitAnswer>, ApiError> {
    let holder = holder(app, kind, id).await?;
    let (view, sessions) =
        tokio::try_join!(app.handle.try_limit(holder.clone(), limit), app.handle.sessions())?;
    let is_of_holder = |session: &SessionView| session.identity.holders().any(|each| each == holder);
    let live: Vec<_> = sessions.into_iter().filter(is_of_holder).collect();
    Ok(Json(LimitAnswer::Trial(LimitTrial::of(&view, &live))))
}

async fn bind(
    app: &App,
    caller: &Caller,
    kind: HolderKindName,
    id: &str,
    limit: Option<Limit>,
) -> Result<Json<LimitAnswer>, ApiError> {
    let holder = holder(app, kind, id).await?;
    let before = app.handle.limit(holder.clone()).await?;
    let after = HolderLimit::from(&app.handle.bind(holder, limit).await?);
    let (action, subject) = match kind {
        HolderKindName::User => ("user.limit", "user"),
        HolderKindName::Org => ("org.limit", "org"),
        HolderKindName::Feature => ("feature.limit", "feature"),
        HolderKindName::Key => ("key.limit", "key"),
    };
    app.record(caller, action, (subject, id), LimitBody::from(&before.limit), after.limit()).await;
    Ok(Json(LimitAnswer::Limit(after)))
}

async fn holder(app: &App, kind: HolderKindName, id: &str) -> Result<Holder, ApiError> {
    match kind {
        HolderKindName::User => Ok(Holder::User(id.into())),
        HolderKindName::Org => Ok(Holder::Org(id.into())),
        HolderKindName::Feature => Ok(Holder::Feature(id.into())),
        HolderKindName::Key => match app.handle.key_of(KeyId::from(id)).await? {
            Some(key) => Ok(Holder::Key(key.hash)),
            None => Err(ApiError::new(StatusCode::NOT_FOUND, "API key not found")),
        },
    }
}

/// The holder that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct HolderPath {
    kind: HolderKindName,
    /// The user's, org's, feature's or key's id, URL-encoded.
    id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for HolderPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<HolderPath, ApiError> {
        let (kind, id): (String, String) = decoded(parts, state, "The id").await?;
        let Some(kind) = HolderKindName::parse(&kind) else {
            return Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "Limits are held by a user, org, feature or key",
            ));
        };
        let read = |what| checked(what, &id, |bytes| id::read(bytes).map(Cow::into_owned));
        let id = match kind {
            HolderKindName::User => read("User id")?,
            HolderKindName::Org => read("Org id")?,
            HolderKindName::Feature => read("Feature id")?,
            HolderKindName::Key => id,
        };
        Ok(HolderPath { kind, id })
    }
}
