//! Orgs: what their users used together.

use super::path::OrgPath;
use crate::auth::Caller;
use crate::dto::{
    Answers, BlockedUser, LIST_MAX, OrgBlocked, OrgFeature, OrgGroup, OrgUser, Questions, Summary,
    SummaryQuery, TierReply, TierRequest, TimeRange,
};
use crate::error::ApiError;
use crate::fields::{Body, Query};
use crate::tier::{OrgTier, limits_of, tier_of};
use crate::{App, now};
use axum::Json;
use axum::extract::State;
use tokenist_control::error::CommandError;
use tokenist_control::store::UsageRow;
use tokenist_control::view::{UserFilter, UserQuery, UserView};

/// What an org used in a period, in all and by user. An org that was never seen has used nothing.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/summary", tag = "orgs", params(OrgPath, TimeRange, SummaryQuery),
    responses((status = 200, description = "The summary.", body = Summary))
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
    let tier = tier_of(&app.handle, &org);
    let all = tokio::try_join!(app.handle.usage_page(by_user), app.handle.usage(whole), month, tier);
    let ((by_user, user_count), whole, this_month, tier) = all?;
    let tier_limits = limits_of(&app.config.tiers, tier).into();
    let names = names(&app, &by_user).await?;
    let answers = Answers { whole, by_user, user_count, names, this_month, tier, tier_limits };
    Ok(Json(Summary::of(&org, &query, answers, now)))
}

/// Users of an org in order of id, at most 10,000.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/users", tag = "orgs", params(OrgPath),
    responses((status = 200, description = "The users.", body = Vec<OrgUser>))
)]
pub(crate) async fn list_org_users(
    State(app): State<App>,
    OrgPath { org }: OrgPath,
) -> Result<Json<Vec<OrgUser>>, ApiError> {
    let users = members(&app, UserFilter { org: Some(org), ..UserFilter::default() }).await?;
    Ok(Json(users.into_iter().map(OrgUser::from).collect()))
}

/// Users of an org whose block holds now, at most 10,000.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/blocked", tag = "orgs", params(OrgPath),
    responses((status = 200, description = "Blocked users.", body = OrgBlocked))
)]
pub(crate) async fn list_org_blocked(
    State(app): State<App>,
    OrgPath { org }: OrgPath,
) -> Result<Json<OrgBlocked>, ApiError> {
    let filter = UserFilter { org: Some(org), blocked: true, ..UserFilter::default() };
    let blocked: Vec<BlockedUser> = members(&app, filter)
        .await?
        .into_iter()
        .filter_map(|view| Some(BlockedUser::of(&view.user, view.block?)))
        .collect();
    Ok(Json(OrgBlocked { count: blocked.len(), blocked }))
}

/// Features that an org ever used.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/features", tag = "orgs", params(OrgPath),
    responses((status = 200, description = "The features, by name.", body = Vec<OrgFeature>))
)]
pub(crate) async fn list_org_features(
    State(app): State<App>,
    OrgPath { org }: OrgPath,
) -> Result<Json<Vec<OrgFeature>>, ApiError> {
    let rows = app.handle.usage(OrgFeature::question(org)).await?;
    Ok(Json(rows.iter().filter_map(OrgFeature::of).collect()))
}

/// Groups of an org. There are none: existing clients ask for them.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/groups", tag = "orgs", params(OrgPath),
    responses((status = 200, description = "An empty list.", body = Vec<OrgGroup>))
)]
pub(crate) async fn list_org_groups(OrgPath { .. }: OrgPath) -> Json<[OrgGroup; 0]> {
    Json([])
}

/// Says what an org has booked.
#[utoipa::path(
    post, path = "/admin/orgs/{org}/tier", tag = "orgs", params(OrgPath), request_body = TierRequest,
    responses((status = 200, description = "The org's tier.", body = TierReply))
)]
pub(crate) async fn set_tier(
    State(app): State<App>,
    OrgPath { org }: OrgPath,
    caller: Caller,
    Body(TierRequest { tier }): Body<TierRequest>,
) -> Result<Json<TierReply>, ApiError> {
    let _alone = app.changes.lock().await;
    let before = app.handle.entry::<OrgTier>(org.as_str()).await?;
    let filter = UserFilter { org: Some(org.clone()), ..UserFilter::default() };
    let users_updated = members(&app, filter).await?.len();
    app.handle.set_entry(org.as_str(), Some(&OrgTier { tier })).await?;
    app.record(&caller, "org.tier", ("org", org.as_str()), before, OrgTier { tier }).await;
    Ok(Json(TierReply { success: true, org_id: org.to_string(), tier, users_updated }))
}

/// The first users that the filter admits.
async fn members(app: &App, filter: UserFilter) -> Result<Vec<UserView>, CommandError> {
    let mut users: Vec<UserView> = Vec::new();
    let mut after = None;
    loop {
        let limit = super::SLICE_MAX.min(LIST_MAX - users.len());
        let page = app.handle.users(UserQuery { after, filter: filter.clone(), limit, window: None }).await?;
        users.extend(page.users);
        after = users.last().filter(|_| page.more).map(|view| view.user.clone());
        if after.is_none() || users.len() >= LIST_MAX {
            return Ok(users);
        }
    }
}

/// What the users of these rows are called.
async fn names(app: &App, rows: &[UsageRow]) -> Result<Vec<Option<std::sync::Arc<str>>>, CommandError> {
    app.handle.names(rows.iter().filter_map(|row| row.key.user.clone()).collect()).await
}
