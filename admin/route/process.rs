//! The process itself: health, readiness, metrics.

use crate::telemetry::{CONTENT_TYPE, prometheus};
use crate::wire::{Health, HealthStatus, Ready, RestartedThread, Setting, Settings};
use crate::{App, now};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;
use tokenist_control::handle::CommandError;
use tokenist_control::view::{Pulse, ThreadView};
use tokio::time::timeout;

/// The configuration that is in force, without secrets.
#[utoipa::path(
    get, path = "/admin/settings", tag = "process",
    responses((status = 200, description = "Settings.", body = Settings))
)]
pub(crate) async fn read_settings(State(app): State<App>) -> Json<Settings> {
    let settings = app.config.settings.iter().cloned();
    let settings = settings.map(|(section, key, value)| Setting { section, key, value }).collect();
    Json(Settings { settings })
}

/// Whether the process lives, and how it does. 503 once it cannot go on.
#[utoipa::path(
    get, path = "/health", tag = "process",
    responses(
        (status = 200, description = "Alive.", body = Health),
        (status = 503, description = "About to end.", body = Health),
    )
)]
pub(crate) async fn read_health(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let (pulse, telemetry) = (pulse(&app).await, &app.telemetry);
    let (status, word) = match pulse {
        Err(CommandError::Gone) => (StatusCode::SERVICE_UNAVAILABLE, HealthStatus::Failing),
        _ if telemetry.draining() => (StatusCode::OK, HealthStatus::Draining),
        Ok(ref pulse) if is_degraded(pulse) || !telemetry.stale.load().is_empty() => {
            (StatusCode::OK, HealthStatus::Degraded)
        }
        Ok(_) | Err(_) => (StatusCode::OK, HealthStatus::Ok),
    };
    let pulse = pulse.ok();
    let in_fleet = pulse.as_ref().filter(|pulse| pulse.instances.is_some());
    let health = Health {
        status: word,
        version: telemetry.version,
        driver: telemetry.driver,
        draining: telemetry.draining(),
        started_at: telemetry.started_at.to_string(),
        uptime_seconds: now().since(telemetry.started_at) / 1000,
        sessions: pulse.as_ref().map(|pulse| pulse.sessions),
        users: pulse.as_ref().map(|pulse| pulse.users),
        store: telemetry.store,
        store_failing: pulse.as_ref().map(|pulse| pulse.store_failing),
        store_failure: pulse.as_ref().and_then(|pulse| pulse.store_failure.clone()),
        reports_held: telemetry.reports_held(),
        threads_restarted: restarted(app.handle.supervisor().threads()),
        mirror_failure: pulse.as_ref().and_then(|pulse| pulse.mirror_failure.clone()),
        mirror_waiting: pulse.as_ref().and_then(|pulse| pulse.mirror_waiting),
        redis_failing: in_fleet.map(|pulse| pulse.redis_failing),
        instances: in_fleet.and_then(|pulse| pulse.instances),
        redis_failure: pulse.as_ref().and_then(|pulse| pulse.redis_failure.clone()),
        stale_files: telemetry.stale.load().iter().map(Into::into).collect(),
    };
    (status, Json(health))
}

/// Whether something that is set does not work. Sessions are served all the same.
fn is_degraded(pulse: &Pulse) -> bool {
    pulse.store_failing || pulse.mirror_failure.is_some() || pulse.redis_failing
}

/// Whether new sessions should be sent here.
#[utoipa::path(
    get, path = "/ready", tag = "process",
    responses(
        (status = 200, description = "Yes.", body = Ready),
        (status = 503, description = "No: draining, or the ledger does not answer.", body = Ready),
    )
)]
pub(crate) async fn read_ready(State(app): State<App>) -> (StatusCode, Json<Ready>) {
    let status = match pulse(&app).await {
        _ if app.telemetry.draining() => HealthStatus::Draining,
        Ok(_) => HealthStatus::Ok,
        Err(_) => HealthStatus::Failing,
    };
    let code = match status {
        HealthStatus::Ok | HealthStatus::Degraded => StatusCode::OK,
        HealthStatus::Draining | HealthStatus::Failing => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(Ready { status }))
}

/// Metrics in Prometheus text format 0.0.4.
#[utoipa::path(
    get, path = "/metrics", tag = "process",
    responses((status = 200, description = "Metrics.", body = String, content_type = CONTENT_TYPE))
)]
pub(crate) async fn read_metrics(State(app): State<App>) -> Response {
    let page = prometheus(&app.telemetry, pulse(&app).await.ok());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response()
}

fn restarted(threads: Vec<ThreadView>) -> Vec<RestartedThread> {
    let restarted = threads.into_iter().filter(|thread| thread.restarts > 0);
    let shape = |ThreadView { name, restarts, is_down, failure }| RestartedThread {
        name,
        restarts,
        down: is_down,
        failure,
    };
    restarted.map(shape).collect()
}

/// The control plane's pulse; busy if it does not answer soon, so that a probe is never kept waiting.
async fn pulse(app: &App) -> Result<Pulse, CommandError> {
    let patience = Duration::from_millis(PULSE_MS_MAX);
    timeout(patience, app.handle.pulse()).await.unwrap_or(Err(CommandError::Busy))
}

const PULSE_MS_MAX: u64 = 1000;
