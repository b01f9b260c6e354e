//! Rules of an org: made, changed, and what came of them. They are enforced by `tokenist_control::watch`.

use super::path::{OrgItemPath, OrgPath};
use crate::auth::Caller;
use crate::dto::{
    ErrorBody, RuleBody, RuleChange, RuleHistory, RuleList, RulePayload, RuleReply, RuleRequest, RuleToggle,
    RuleTriggers, RulesQuery,
};
use crate::error::ApiError;
use crate::fields::{Body, Nothing, Query};
use crate::{App, now, random};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tokenist_control::store::AuditFilter;
use tokenist_core::retention;
use tokenist_core::rule::{Firings, Rule};

/// An org's rules, the oldest first.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/rules", tag = "rules", params(OrgPath, RulesQuery),
    responses((status = 200, description = "The rules.", body = RuleList))
)]
pub(crate) async fn list_rules(
    State(app): State<App>,
    OrgPath { org }: OrgPath,
    Query(query): Query<RulesQuery>,
) -> Result<Json<RuleList>, ApiError> {
    let mut rules = app.handle.entries::<Rule>().await?;
    rules.retain(|(_, rule)| rule.org == org && query.admits(rule));
    rules.sort_by_key(|(_, rule)| rule.created_at);
    let total = rules.len();
    let mut shown = Vec::new();
    for (id, rule) in rules.iter().skip(query.offset).take(query.limit) {
        shown.push(body_of(&app, id, rule).await?);
    }
    Ok(Json(RuleList { rules: shown, total }))
}

/// Makes a rule. About tokens and cost it is enforced within about a second.
#[utoipa::path(
    post, path = "/admin/orgs/{org}/rules", tag = "rules", params(OrgPath), request_body = RuleRequest,
    responses((status = 201, description = "The rule.", body = RuleBody))
)]
pub(crate) async fn create_rule(
    State(app): State<App>,
    OrgPath { org }: OrgPath,
    caller: Caller,
    Body(payload): Body<RulePayload>,
) -> Result<(StatusCode, Json<RuleBody>), ApiError> {
    let rule = payload.rule(&org, None, now()).map_err(invalid)?;
    check_lookbacks(&app, &rule)?;
    let id = random::id("rule_");
    app.handle.set_entry(&id, Some(&rule)).await?;
    let body = RuleBody::of(&id, &rule, None);
    app.record(&caller, "rule.create", ("rule", &id), (), &body).await;
    Ok((StatusCode::CREATED, Json(body)))
}

/// One rule.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/rules/{id}", tag = "rules", params(OrgItemPath),
    responses(
        (status = 200, description = "The rule.", body = RuleBody),
        (status = 404, description = "The org has no such rule.", body = ErrorBody),
    )
)]
pub(crate) async fn read_rule(State(app): State<App>, path: OrgItemPath) -> Result<Json<RuleBody>, ApiError> {
    let rule = find(&app, &path).await?;
    Ok(Json(body_of(&app, &path.id, &rule).await?))
}

/// Changes a rule. What is absent stays as it is.
#[utoipa::path(
    put, path = "/admin/orgs/{org}/rules/{id}", tag = "rules", params(OrgItemPath), request_body = RuleChange,
    responses(
        (status = 200, description = "The rule.", body = RuleBody),
        (status = 404, description = "The org has no such rule.", body = ErrorBody),
    )
)]
pub(crate) async fn change_rule(
    State(app): State<App>,
    path: OrgItemPath,
    caller: Caller,
    payload: Result<Body<RulePayload>, ApiError>,
) -> Result<Json<RuleBody>, ApiError> {
    let _alone = app.changes.lock().await;
    let before = find(&app, &path).await?;
    let Body(payload) = payload?;
    let rule = payload.rule(&path.org, Some(&before), now()).map_err(invalid)?;
    check_lookbacks(&app, &rule)?;
    change(&app, &caller, "rule.change", &path.id, &before, &rule).await
}

/// Enables or disables a rule. What a disabled rule did to users ends within about a second.
#[utoipa::path(
    patch, path = "/admin/orgs/{org}/rules/{id}/toggle", tag = "rules", params(OrgItemPath),
    request_body = RuleToggle,
    responses(
        (status = 200, description = "The rule.", body = RuleBody),
        (status = 404, description = "The org has no such rule.", body = ErrorBody),
    )
)]
pub(crate) async fn toggle_rule(
    State(app): State<App>,
    path: OrgItemPath,
    caller: Caller,
    Body(RuleToggle { enabled }): Body<RuleToggle>,
) -> Result<Json<RuleBody>, ApiError> {
    let _alone = app.changes.lock().await;
    let before = find(&app, &path).await?;
    let rule = Rule { enabled, updated_at: now(), ..before.clone() };
    change(&app, &caller, "rule.toggle", &path.id, &before, &rule).await
}

/// Removes a rule. What it did to users ends within about a second.
#[utoipa::path(
    delete, path = "/admin/orgs/{org}/rules/{id}", tag = "rules", params(OrgItemPath),
    responses(
        (status = 200, description = "There is no such rule any more.", body = RuleReply),
        (status = 404, description = "The org has no such rule.", body = ErrorBody),
    )
)]
pub(crate) async fn remove_rule(
    State(app): State<App>,
    path: OrgItemPath,
    caller: Caller,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<RuleReply>, ApiError> {
    let _alone = app.changes.lock().await;
    let before = find(&app, &path).await?;
    let body = body_of(&app, &path.id, &before).await?;
    app.handle.set_entry::<Rule>(&path.id, None).await?;
    app.handle.set_entry::<Firings>(&path.id, None).await?;
    app.record(&caller, "rule.remove", ("rule", &path.id), body, ()).await;
    Ok(Json(RuleReply { success: true }))
}

/// What operators changed about a rule, and how it was before. The last fifth of a second may be missing.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/rules/{id}/history", tag = "rules", params(OrgItemPath),
    responses(
        (status = 200, description = "Changes.", body = RuleHistory),
        (status = 404, description = "The org has no such rule.", body = ErrorBody),
    )
)]
pub(crate) async fn read_rule_history(
    State(app): State<App>,
    path: OrgItemPath,
) -> Result<Json<RuleHistory>, ApiError> {
    find(&app, &path).await?;
    let filter = AuditFilter { subject: Some(path.id.into()), limit: HISTORY_MAX, ..AuditFilter::default() };
    Ok(Json(RuleHistory::of(app.handle.audits(filter).await?)))
}

/// When a rule was reached, by whom and by how much.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/rules/{id}/triggers", tag = "rules", params(OrgItemPath),
    responses(
        (status = 200, description = "Triggers.", body = RuleTriggers),
        (status = 404, description = "The org has no such rule.", body = ErrorBody),
    )
)]
pub(crate) async fn list_rule_triggers(
    State(app): State<App>,
    path: OrgItemPath,
) -> Result<Json<RuleTriggers>, ApiError> {
    find(&app, &path).await?;
    Ok(Json(RuleTriggers::of(&app.handle.entry::<Firings>(&path.id).await?.unwrap_or_default())))
}

async fn change(
    app: &App,
    caller: &Caller,
    action: &'static str,
    id: &str,
    before: &Rule,
    rule: &Rule,
) -> Result<Json<RuleBody>, ApiError> {
    app.handle.set_entry(id, Some(rule)).await?;
    let (before, body) = (body_of(app, id, before).await?, body_of(app, id, rule).await?);
    app.record(caller, action, ("rule", id), before, &body).await;
    Ok(Json(body))
}

/// What a rule looks at has to be kept for as long.
fn check_lookbacks(app: &App, rule: &Rule) -> Result<(), ApiError> {
    let days = app.config.rollups_days;
    match rule.lookbacks().find(|lookback| retention::reaches_beyond(lookback.ms(), days)) {
        Some(lookback) => Err(invalid(format!(
            "window must be shorter than {days} days, for hourly usage is kept no longer (store.rollups_days): \
             {lookback} is not"
        ))),
        None => Ok(()),
    }
}

async fn find(app: &App, path: &OrgItemPath) -> Result<Rule, ApiError> {
    let rule = app.handle.entry::<Rule>(&path.id).await?.filter(|rule| rule.org == path.org);
    rule.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "Rule not found"))
}

async fn body_of(app: &App, id: &str, rule: &Rule) -> Result<RuleBody, ApiError> {
    let firings = app.handle.entry::<Firings>(id).await?;
    Ok(RuleBody::of(id, rule, firings.and_then(|firings| firings.last_at)))
}

/// Existing clients know the sentence; what is wrong stands beside it.
fn invalid(details: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "Invalid rule payload").with_details(details)
}

const HISTORY_MAX: usize = 1_000;
