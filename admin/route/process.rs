//! The process itself: health, readiness, metrics.

use crate::dto::{Health, HealthStatus, Ready, RestartedThread, Setting, Settings};
use crate::telemetry::{CONTENT_TYPE, prometheus};
use crate::{App, now};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;
use tokenist_control::error::CommandError;
use tokenist_control::telemetry::Telemetry;
use tokenist_control::view::{Stats, ThreadView};
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
        (status = 200, description = "Alive. Whether all works is told by `status`.", body = Health),
        (status = 503, description = "About to end.", body = Health),
    )
)]
pub(crate) async fn read_health(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let (stats, telemetry) = (stats(&app).await, &app.telemetry);
    let threads = app.handle.supervisor().threads();
    let mut problems = problems(telemetry, stats.as_ref().ok());
    problems.extend(threads.iter().filter(|thread| thread.is_down).map(|thread| {
        let why = thread.failure.as_deref().unwrap_or("no reason given");
        format!("The thread {} has panicked and is about to begin anew: {why}", thread.name)
    }));
    let (status, word) = match stats {
        Err(CommandError::Gone) => (StatusCode::SERVICE_UNAVAILABLE, HealthStatus::Failing),
        _ if telemetry.draining() => (StatusCode::OK, HealthStatus::Draining),
        Ok(_) | Err(_) if problems.is_empty() => (StatusCode::OK, HealthStatus::Ok),
        Ok(_) | Err(_) => (StatusCode::OK, HealthStatus::Degraded),
    };
    let stats = stats.ok();
    let in_cluster = stats.as_ref().filter(|stats| stats.instances.is_some());
    let health = Health {
        status: word,
        problems,
        log_lines_lost: telemetry.log.lost(),
        version: telemetry.version,
        driver: telemetry.driver,
        draining: telemetry.draining(),
        started_at: telemetry.started_at.to_string(),
        uptime_seconds: now().since(telemetry.started_at) / 1000,
        sessions: stats.as_ref().map(|stats| stats.sessions),
        users: stats.as_ref().map(|stats| stats.users),
        accept_failure: telemetry.accept_failure(),
        ledger_full: stats.as_ref().map(|stats| stats.is_full),
        store: telemetry.store,
        store_failing: stats.as_ref().map(|stats| stats.store_failing),
        store_failure: stats.as_ref().and_then(|stats| stats.store_failure.clone()),
        journal_failure: stats.as_ref().and_then(|stats| stats.journal_failure.clone()),
        reports_held: telemetry.reports_held(),
        threads_restarted: restarted(threads),
        mirror_failure: stats.as_ref().and_then(|stats| stats.replication_failure.clone()),
        mirror_waiting: stats.as_ref().and_then(|stats| stats.replication_waiting),
        redis_failing: in_cluster.map(|stats| stats.redis_failing),
        instances: in_cluster.and_then(|stats| stats.instances),
        redis_failure: stats.as_ref().and_then(|stats| stats.redis_failure.clone()),
        stale_files: telemetry.stale.load().iter().map(Into::into).collect(),
    };
    (status, Json(health))
}

/// Whether new sessions should be sent here.
#[utoipa::path(
    get, path = "/ready", tag = "process",
    responses(
        (status = 200, description = "Yes.", body = Ready),
        (status = 503, description = "No: draining, or the ledger or a shard does not answer.", body = Ready),
    )
)]
pub(crate) async fn read_ready(State(app): State<App>) -> (StatusCode, Json<Ready>) {
    let status = match stats(&app).await {
        _ if app.telemetry.draining() => HealthStatus::Draining,
        Ok(_) if stalled_shards(&app.telemetry).next().is_none() => HealthStatus::Ok,
        Ok(_) | Err(_) => HealthStatus::Failing,
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
    let page = prometheus(&app.telemetry, stats(&app).await.ok());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response()
}

/// What an operator should look at, a sentence each.
fn problems(telemetry: &Telemetry, stats: Option<&Stats>) -> Vec<String> {
    let mut problems = Vec::new();
    // A shard that has drained has ended.
    if !telemetry.draining() {
        problems.extend(stalled_shards(telemetry).map(|(shard, age_ms)| {
            format!("Shard {shard} has not done anything for {} s: its sessions hang.", age_ms / 1000)
        }));
    }
    let age_ms = telemetry.aggregator.age_ms();
    if age_ms >= telemetry.stall_ms() {
        problems.push(format!("The ledger has not counted anything for {} s: it hangs.", age_ms / 1000));
    } else if stats.is_none() {
        problems.push(format!("The ledger did not answer within {PULSE_MS_MAX} ms: it is behind."));
    }
    if let Some(failure) = telemetry.accept_failure() {
        problems.push(format!("Sessions are refused: {failure}"));
    }
    let held = telemetry.reports_held();
    if held >= REPORTS_HELD_MAX {
        problems.push(format!("The ledger is behind: {held} reports wait in the shards."));
    }
    if let Some(failure) = telemetry.log.failure() {
        let lost = telemetry.log.lost();
        problems.push(format!("Lines of the log are lost, {lost} so far: {failure}."));
    }
    let stale = telemetry.stale.load();
    problems.extend(stale.iter().map(|file| {
        format!("What {} names could not be read again, the old is in force: {}", file.setting, file.reason)
    }));
    let Some(stats) = stats else { return problems };
    if stats.store_failing {
        let why = stats.store_failure.as_deref().unwrap_or("it is tried again");
        problems.push(format!("The store takes nothing, what is counted waits in memory: {why}"));
    } else if stats.lag.waiting >= COMMIT_MAX {
        let seconds = stats.lag.waiting.as_secs();
        problems.push(format!("What is counted has waited for the store for {seconds} s."));
    }
    if let Some(why) = &stats.journal_failure {
        problems.push(format!(
            "What is counted is in memory alone until the ledger has it, and a kill would lose it: the journal in \
             store.path takes nothing: {why}."
        ));
    }
    if stats.is_full {
        problems.push(
            "New users are refused: nobody in the ledger can be forgotten for them; raise store.users_max."
                .into(),
        );
    }
    if let Some(why) = &stats.replication_failure {
        problems.push(format!("MongoDB is not written or read, its copy waits in the ledger file: {why}"));
    }
    if stats.redis_failing {
        let why = stats.redis_failure.as_deref().unwrap_or("it is tried again");
        problems.push(format!("Limits are not held together with other instances, for want of Redis: {why}"));
    }
    problems
}

/// Those that hang, and for how long they do.
fn stalled_shards(telemetry: &Telemetry) -> impl Iterator<Item = (usize, u64)> {
    telemetry.shard_ages_ms().enumerate().filter(|(_, age_ms)| *age_ms >= telemetry.stall_ms())
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

/// The control plane's stats; busy if it does not answer soon, so that a probe is never kept waiting.
async fn stats(app: &App) -> Result<Stats, CommandError> {
    let patience = Duration::from_millis(PULSE_MS_MAX);
    timeout(patience, app.handle.stats()).await.unwrap_or(Err(CommandError::Busy))
}

const PULSE_MS_MAX: u64 = 1000;
/// What the greatest load holds back for a moment is less.
const REPORTS_HELD_MAX: u64 = 10_000;
/// A commit takes milliseconds.
const COMMIT_MAX: Duration = Duration::from_secs(5);
