//! What an operator has written down for an org.

use super::path::{OrgItemPath, OrgPath};
use crate::auth::Caller;
use crate::dto::{ErrorBody, PolicyBody, PolicyChange, PolicyReply, PolicyRequest};
use crate::error::ApiError;
use crate::fields::{Body, Nothing, Query};
use crate::policy::Policy;
use crate::{App, now, random};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

/// An org's policies, the oldest first.
#[utoipa::path(
    get, path = "/admin/orgs/{org}/policies", tag = "rules", params(OrgPath),
    responses((status = 200, description = "The policies.", body = Vec<PolicyBody>))
)]
pub(crate) async fn list_policies(
    State(app): State<App>,
    OrgPath { org }: OrgPath,
) -> Result<Json<Vec<PolicyBody>>, ApiError> {
    let mut policies = app.handle.entries::<Policy>().await?;
    policies.retain(|(_, policy)| policy.org == org);
    policies.sort_by_key(|(_, policy)| policy.created_at);
    Ok(Json(policies.iter().map(|(id, policy)| PolicyBody::of(id, policy)).collect()))
}

/// Writes a policy down.
#[utoipa::path(
    post, path = "/admin/orgs/{org}/policies", tag = "rules", params(OrgPath), request_body = PolicyRequest,
    responses((status = 201, description = "The policy.", body = PolicyBody))
)]
pub(crate) async fn create_policy(
    State(app): State<App>,
    OrgPath { org }: OrgPath,
    caller: Caller,
    Body(request): Body<PolicyRequest>,
) -> Result<(StatusCode, Json<PolicyBody>), ApiError> {
    let id = random::id("policy_");
    let policy = Policy {
        org,
        name: request.name.into(),
        description: request.description.into(),
        source: request.source.map(Into::into),
        created_at: now(),
        updated_at: now(),
    };
    app.handle.set_entry(&id, Some(&policy)).await?;
    let body = PolicyBody::of(&id, &policy);
    app.record(&caller, "policy.create", ("policy", &id), (), &body).await;
    Ok((StatusCode::CREATED, Json(body)))
}

/// Changes a policy.
#[utoipa::path(
    put, path = "/admin/orgs/{org}/policies/{id}", tag = "rules", params(OrgItemPath), request_body = PolicyChange,
    responses(
        (status = 200, description = "The policy.", body = PolicyBody),
        (status = 404, description = "The org has no such policy.", body = ErrorBody),
    )
)]
pub(crate) async fn change_policy(
    State(app): State<App>,
    path: OrgItemPath,
    caller: Caller,
    change: Result<Body<PolicyChange>, ApiError>,
) -> Result<Json<PolicyBody>, ApiError> {
    let _alone = app.changes.lock().await;
    let before = find(&app, &path).await?;
    let Body(change) = change?;
    let policy = Policy {
        name: change.name.map_or_else(|| before.name.clone(), Into::into),
        description: change.description.map_or_else(|| before.description.clone(), Into::into),
        source: change.source.map(Into::into).or_else(|| before.source.clone()),
        updated_at: now(),
        ..before.clone()
    };
    app.handle.set_entry(&path.id, Some(&policy)).await?;
    let body = PolicyBody::of(&path.id, &policy);
    let before = PolicyBody::of(&path.id, &before);
    app.record(&caller, "policy.change", ("policy", &path.id), before, &body).await;
    Ok(Json(body))
}

/// Removes a policy.
#[utoipa::path(
    delete, path = "/admin/orgs/{org}/policies/{id}", tag = "rules", params(OrgItemPath),
    responses(
        (status = 200, description = "There is no such policy any more.", body = PolicyReply),
        (status = 404, description = "The org has no such policy.", body = ErrorBody),
    )
)]
pub(crate) async fn remove_policy(
    State(app): State<App>,
    path: OrgItemPath,
    caller: Caller,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<PolicyReply>, ApiError> {
    let _alone = app.changes.lock().await;
    let before = find(&app, &path).await?;
    app.handle.set_entry::<Policy>(&path.id, None).await?;
    app.record(&caller, "policy.remove", ("policy", &path.id), PolicyBody::of(&path.id, &before), ()).await;
    Ok(Json(PolicyReply { success: true }))
}

async fn find(app: &App, path: &OrgItemPath) -> Result<Policy, ApiError> {
    let policy = app.handle.entry::<Policy>(&path.id).await?.filter(|policy| policy.org == path.org);
    policy.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "Policy not found"))
}
