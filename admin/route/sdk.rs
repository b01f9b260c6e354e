//! Calls that do not pass through the proxy: may they be made, what did they use, what was said.

use crate::auth::Caller;
use crate::dto::{CheckReply, CheckRequest, Issue, LogReply, LogRequest, RecordReply, RecordRequest};
use crate::error::ApiError;
use crate::fields::Body;
use crate::random;
use crate::repeat::{Ids, Scope};
use crate::space::{self, Space};
use crate::tier::{Quotas, limits_of, tier_of};
use crate::{App, now};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde_json::Value;
use std::sync::Arc;
use tokenist_control::store::UsageQuery;
use tokenist_control::view::Call;
use tokenist_core::batch::Log;
use tokenist_core::id::{Feature, Identity, Model, OrgId, SessionId, UserId};
use tokenist_core::message::Delta;
use tokenist_core::time::Timestamp;
use tokenist_core::usage::Usage;
use tokenist_core::verdict::Verdict;

/// Whether a user may make a call now. Nothing is reserved.
#[utoipa::path(
    post, path = "/sdk/check", tag = "sdk", request_body = CheckRequest,
    responses((status = 200, description = "Yes or no.", body = CheckReply))
)]
pub(crate) async fn check_call(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<CheckRequest>,
) -> Result<Json<CheckReply>, ApiError> {
    let identity = identity(&caller, request.user_id, request.org_id, request.feature)?;
    let judged = app.handle.judge(identity, request.model).await?;
    let is_over =
        !matches!(judged.verdict, Verdict::Block(_)) && is_over_quota(&app, judged.org.clone()).await?;
    Ok(Json(if is_over { CheckReply::over_quota(&judged) } else { CheckReply::of(&judged) }))
}

/// Counts what a call used. Live sessions of its user end if that reaches a limit. What is sent again with the same
/// `Idempotency-Key`, or of the same response, is counted once.
#[utoipa::path(
    post, path = "/sdk/record", tag = "sdk", request_body = RecordRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same for all attempts at telling of one call.")),
    responses((status = 200, description = "It is counted.", body = RecordReply))
)]
pub(crate) async fn record_call(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Body(request): Body<RecordRequest>,
) -> Result<Json<RecordReply>, ApiError> {
    let usage = request.usage();
    let mut ids = Ids::of(Scope::Record, &caller, &headers)?;
    if let Some(response) = &request.response_id {
        let counts = format!("{} {}", request.input_tokens, request.output_tokens);
        ids.add(&[response, request.user_id.as_str(), request.model.as_str(), &counts]);
    }
    let identity = identity(&caller, request.user_id, request.org_id, request.feature)?;
    let (model, at) = (request.model, request.timestamp.unwrap_or(Timestamp::MAX).min(now()));
    let delta = delta(&app, Arc::new(identity), model, usage, Some(request.latency_ms), at);
    Ok(Json(RecordReply::of(&app.handle.record(Call { delta, log: None, ids: ids.all() }).await?)))
}

/// Keeps a call's request and response, and counts what the response states. What is sent again with the same
/// `Idempotency-Key`, or with the same response that has an id, is kept and counted once, and answered alike.
#[utoipa::path(
    post, path = "/sdk/log", tag = "sdk", request_body = LogRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same for all attempts at telling of one call.")),
    responses((status = 201, description = "It is kept.", body = LogReply))
)]
pub(crate) async fn log_call(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Body(request): Body<LogRequest>,
) -> Result<(StatusCode, Json<LogReply>), ApiError> {
    let (usage, response_id, at) = (request.usage(), request.response_id(), now());
    let user = request.user_id.or_else(|| default_user(&caller)).ok_or_else(|| {
        let (path, message) = (vec!["userId".to_owned()], "Required".to_owned());
        ApiError::invalid(vec![Issue { path, message, code: "invalid_type" }])
    })?;
    let mut ids = Ids::of(Scope::Log, &caller, &headers)?;
    if let Some(id) = response_id {
        // A server may use an id for another response again, but then it says something else.
        let said = Value::Object(request.response.clone().unwrap_or_default()).to_string();
        ids.add(&[&id, user.as_str(), request.model.as_str(), &said]);
    }
    let named = |prefix: &str| ids.name(prefix).unwrap_or_else(|| random::id(prefix));
    let conversation = request.conversation_id.unwrap_or_else(|| named("conv_").into());
    let identity = Arc::new(Identity {
        conversation: Some(Arc::clone(&conversation)),
        email: request.user_email,
        name: request.user_name,
        ..identity(&caller, user, request.org_id, request.feature)?
    });
    let counted = usage.unwrap_or(Usage { requests: 1, ..Usage::default() });
    let model = request.model.clone();
    let delta = delta(&app, Arc::clone(&identity), model, counted, request.latency_ms, at);
    let cost = usage.map(|_| delta.cost);
    let id = named("log_");
    let log = Log {
        id: id.as_str().into(),
        at,
        identity,
        model: request.model,
        request: Some(Value::Object(request.request).to_string().into()),
        response: request.response.map(|response| Value::Object(response).to_string().into()),
        status: request.status.as_deref().unwrap_or("success").into(),
        latency_ms: request.latency_ms,
        usage: usage.zip(cost),
    };
    app.handle.record(Call { delta, log: Some(log), ids: ids.all() }).await?;
    Ok((StatusCode::CREATED, Json(LogReply::of(id, &conversation, cost))))
}

/// The user a call counts for, as it is told here: which one a key speaks for the ledger says. What a key is bound to
/// no call can say otherwise.
fn identity(
    caller: &Caller,
    user: UserId,
    org: Option<OrgId>,
    feature: Option<Feature>,
) -> Result<Identity, ApiError> {
    let unbound = Identity { org, feature, ..Identity::of(user) };
    let Caller::Key(key) = caller else { return of_operator(unbound) };
    let forbidden = |sentence: String| Err(ApiError::new(StatusCode::FORBIDDEN, sentence));
    let user = Space::of_key(key).said(unbound.user.clone());
    if let Some(own) = key.user.as_ref().filter(|own| **own != user && **own != unbound.user) {
        let own = Space::of_key(key).shown(own);
        return forbidden(format!(
            "This API key speaks for user {own} only: send that userId, or use another key"
        ));
    }
    if let Some(own) = key.org.as_ref().filter(|own| unbound.org.as_ref().is_some_and(|org| org != *own)) {
        return forbidden(format!(
            "This API key counts for org {own} only: leave out orgId, or use another key"
        ));
    }
    Ok(Identity { key: Some(key.hash), ..unbound })
}

/// A user of an org's name space counts for that org, also where an operator tells of it.
fn of_operator(said: Identity) -> Result<Identity, ApiError> {
    if let Some(org) = &said.org {
        space::refuse_other_space(&said.user, org)?;
    }
    Ok(Identity { org: said.org.or_else(|| said.user.space()), ..said })
}

/// Whether an org has made as many requests this month as its tier has. The last fifth of a second may be missing.
async fn is_over_quota(app: &App, org: Option<OrgId>) -> Result<bool, ApiError> {
    let Some(org) = org.filter(|_| app.config.tiers != Quotas::default()) else { return Ok(false) };
    let Some(quota) = limits_of(&app.config.tiers, tier_of(&app.handle, &org).await?) else {
        return Ok(false);
    };
    let month = UsageQuery { org: Some(org), from: now().month_start(), ..UsageQuery::default() };
    let used = app.handle.usage(month).await?;
    Ok(used.first().is_some_and(|row| row.totals.usage.requests >= quota))
}

/// Whose call it is if that is not said: that of the key's user, or else of the key, as if it were a user.
fn default_user(caller: &Caller) -> Option<UserId> {
    match caller {
        Caller::Operator | Caller::Login { .. } => None,
        Caller::Key(key) => Some(key.user.clone().unwrap_or_else(|| key.id.as_str().into())),
    }
}

fn delta(
    app: &App,
    identity: Arc<Identity>,
    model: Model,
    usage: Usage,
    latency_ms: Option<u64>,
    at: Timestamp,
) -> Delta {
    let cost = app.handle.cost(PROVIDER, &model, &usage, at);
    Delta {
        at,
        session: SessionId::NONE,
        identity,
        provider: PROVIDER.into(),
        model,
        usage,
        cost,
        estimated: false,
        latency_ms,
    }
}

/// Whose prices come first. The SDK's requests name none; a model of another provider is found by its name.
const PROVIDER: &str = "openai";
