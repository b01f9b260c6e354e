//! What can be asked: one resource a file. A handler parses, asks the [`Handle`], and shapes the answer.
//!
//! [`Handle`]: tokenist_control::handle::Handle

mod accounts;
mod audit;
mod blocks;
mod browser_tokens;
mod description;
mod keys;
mod limits;
mod logins;
mod logs;
mod orgs;
mod path;
mod policies;
mod prices;
mod process;
mod refusals;
mod rules;
mod sdk;
mod sessions;
mod stream;
mod usage;
mod users;

pub use description::openapi_json;

use crate::auth::Area;
use crate::error::ApiError;
use crate::openapi::{self, Description};
use crate::{App, auth, edge, pages};
use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Everything that is served, with its layers.
pub(crate) fn router(app: App) -> Router {
    let require_admin = middleware::from_fn_with_state(app.clone(), auth::require_admin);
    let require_account = middleware::from_fn_with_state(app.clone(), auth::require_account);
    let require_sdk = middleware::from_fn_with_state(app.clone(), auth::require_sdk);
    let require_owner = middleware::from_fn_with_state(app.clone(), auth::require_owner);
    let router = open_routes()
        .merge(admin_routes().route_layer(require_admin))
        .merge(account_routes().route_layer(require_account))
        .merge(owner_routes().route_layer(require_owner))
        .merge(sdk_routes().route_layer(require_sdk));
    Router::from(router)
        .fallback(pages::serve)
        .method_not_allowed_fallback(not_found)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(app.clone(), edge::edge))
        .with_state(app)
}

/// Everything that is described.
pub(crate) fn routes() -> OpenApiRouter<App> {
    let open = open_routes().merge(admin_routes()).merge(account_routes());
    open.merge(owner_routes()).merge(sdk_routes())
}

fn open_routes() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(process::read_health))
        .routes(routes!(process::read_ready))
        .routes(routes!(description::read_openapi))
        .routes(routes!(logins::begin_session))
        .routes(routes!(logins::sign_in))
        .routes(routes!(logins::sign_out))
        .routes(routes!(accounts::register));
    openapi::admit(router.get_openapi_mut(), BODY_BYTES_MAX);
    router
}

fn admin_routes() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::new()
        .routes(routes!(users::list_users, users::create_user))
        .routes(routes!(users::read_usage))
        .routes(routes!(users::read_history))
        .routes(routes!(users::list_models))
        .routes(routes!(limits::set_threshold))
        .routes(routes!(limits::list_limits))
        .routes(routes!(limits::read_limit, limits::set_limit, limits::remove_limit))
        .routes(routes!(blocks::block_user))
        .routes(routes!(blocks::unblock_user))
        .routes(routes!(blocks::list_blocked))
        .routes(routes!(orgs::read_summary))
        .routes(routes!(orgs::list_org_users))
        .routes(routes!(orgs::list_org_blocked))
        .routes(routes!(orgs::list_org_features))
        .routes(routes!(orgs::list_org_groups))
        .routes(routes!(orgs::set_tier))
        .routes(routes!(policies::list_policies, policies::create_policy))
        .routes(routes!(policies::change_policy, policies::remove_policy))
        .routes(routes!(rules::list_rules, rules::create_rule))
        .routes(routes!(rules::read_rule, rules::change_rule, rules::remove_rule))
        .routes(routes!(rules::toggle_rule))
        .routes(routes!(rules::read_rule_history))
        .routes(routes!(rules::list_rule_triggers))
        .routes(routes!(logs::list_logs))
        .routes(routes!(logs::read_log))
        .routes(routes!(logs::list_user_logs))
        .routes(routes!(usage::read_overview))
        .routes(routes!(usage::explore_usage))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(browser_tokens::list_revoked_tokens))
        .routes(routes!(browser_tokens::revoke_token))
        .routes(routes!(sessions::list_sessions))
        .routes(routes!(sessions::list_past_sessions))
        .routes(routes!(sessions::close_session))
        .routes(routes!(refusals::list_refusals))
        .routes(routes!(stream::stream_happenings))
        .routes(routes!(prices::list_prices))
        .routes(routes!(audit::list_audits))
        .routes(routes!(process::read_settings))
        .routes(routes!(process::read_metrics));
    openapi::guard(router.get_openapi_mut(), Area::Change, BODY_BYTES_MAX);
    router
}

fn account_routes() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::new()
        .routes(routes!(keys::create_key, keys::list_keys))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(logins::read_me))
        .routes(routes!(accounts::read_account_usage));
    openapi::guard(router.get_openapi_mut(), Area::AccountChange, BODY_BYTES_MAX);
    router
}

fn owner_routes() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::new()
        .routes(routes!(logins::list_logins, logins::create_login))
        .routes(routes!(logins::change_login, logins::remove_login))
        .routes(routes!(logins::end_sessions))
        .routes(routes!(logins::rotate_signing_key))
        .routes(routes!(prices::set_price))
        .routes(routes!(prices::remove_price));
    openapi::guard(router.get_openapi_mut(), Area::Own, BODY_BYTES_MAX);
    router
}

/// Nearer to its routes than the general one, this bound of bodies holds for them.
fn sdk_routes() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::new()
        .routes(routes!(sdk::check_call))
        .routes(routes!(sdk::record_call))
        .routes(routes!(sdk::log_call))
        .layer(DefaultBodyLimit::max(SDK_BODY_BYTES_MAX));
    openapi::guard(router.get_openapi_mut(), Area::Sdk, SDK_BODY_BYTES_MAX);
    router
}

async fn not_found() -> ApiError {
    ApiError::not_found()
}

/// Users asked for at once, so that no question keeps the ledger from its reports for long.
const SLICE_MAX: usize = 500;
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Applications log whole conversations.
const SDK_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
