//! What happens, as it happens: server-sent events.

use crate::dto::{self, ErrorBody};
use crate::error::ApiError;
use crate::serve::Stopping;
use crate::{App, now};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

/// Sessions that open and close, limits that are nearly or wholly used up, users that are blocked and unblocked: from
/// now on, as far as this instance has a part in it.
///
/// Each event's data is JSON. `session.opened` has a session as `GET /admin/sessions` lists it, `session.closed` one as
/// `GET /admin/sessions/past` does; `limit.warned` and `limit.reached` have a limit as `GET /admin/limits` lists it, with
/// `sharePercent`, the share that was reached for the first time in its window; `user.blocked` has
/// `{userId, reason?, blockedAt, expiresAt?}`, `user.unblocked` `{userId, at}`. A block that ends by itself is not
/// told. Who reads too slowly is told by `lost` with `{count}` how many events are missing.
///
/// The stream ends after nine minutes, so that its credential is looked at again; event sources reconnect by themselves.
#[utoipa::path(
    get, path = "/admin/stream", tag = "sessions",
    responses(
        (status = 200, description = "Events, as they happen.", body = String, content_type = "text/event-stream"),
        (status = 503, description = "As many streams as there may be, or the ledger is too slow.", body = ErrorBody),
    )
)]
pub(crate) async fn stream_happenings(
    State(app): State<App>,
    Extension(Stopping(stopping)): Extension<Stopping>,
) -> Result<Response, ApiError> {
    const BUSY: &str = "As many streams are open as there may be: close one, or ask again later";
    let place = Arc::clone(&app.streams).try_acquire_owned();
    let place = place.map_err(|_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, BUSY))?;
    let events = app.handle.domain_events().subscribe();
    let end = Instant::now() + STREAM_MAX;
    let events =
        stream::unfold((events, stopping, place), move |(mut events, mut stopping, place)| async move {
            let received = tokio::select! {
                received = events.recv() => received,
                _ = stopping.changed() => return None,
                () = sleep_until(end) => return None,
            };
            let (name, data) = match received {
                Ok(event) => dto::domain_event(&event, now()),
                Err(RecvError::Lagged(count)) => ("lost", serde_json::json!({ "count": count })),
                Err(RecvError::Closed) => return None,
            };
            let event = Event::default().event(name).data(data.to_string());
            Some((Ok::<_, Infallible>(event), (events, stopping, place)))
        });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL)).into_response())
}

/// Sooner than any connection is cut.
const STREAM_MAX: Duration = Duration::from_secs(9 * 60);
/// Proxies between give up on what is silent for a minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
