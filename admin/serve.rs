//! Connections: how many, how long, and how they end.
//!
//! Invariant: no client, however slow, holds a connection past [`CONNECTION_MS_MAX`] and its last answer.

use crate::auth::Peer;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};

/// Turns true when the plane stops: an answer that has no end of its own ends then.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(pub(crate) watch::Receiver<bool>);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connection_max: usize,
    pub(crate) request_ms: u64,
}

/// Accepts until `stopped` resolves or its sender is gone, then waits for answers that are under way.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stopped: oneshot::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(limits.connection_max));
    let (stopping, _) = watch::channel(false);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = &mut stopped => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let stopping = stopping.subscribe();
                let router = router.clone().layer(Extension(Peer(address.ip())));
                let router = router.layer(Extension(Stopping(stopping.clone())));
                tokio::spawn(async move {
                    converse(stream, router, limits, stopping).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(cause = %error, "admin listener cannot accept");
                sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let all = u32::try_from(limits.connection_max).unwrap_or(u32::MAX);
    if timeout(Duration::from_millis(limits.request_ms), places.acquire_many(all)).await.is_err() {
        tracing::warn!("admin connections were cut at the deadline");
    }
}

/// One connection, until the peer leaves, its time is over or the plane stops.
async fn converse(stream: TcpStream, router: Router, limits: Limits, mut stopping: watch::Receiver<bool>) {
    let patience = Duration::from_millis(limits.request_ms);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopping.changed() => None,
        () = sleep(Duration::from_millis(CONNECTION_MS_MAX)) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(patience, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(cause = %error, "admin connection broke");
    }
}

/// Above the data plane's 16 KiB, so that whatever passes there can be asked about here.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const CONNECTION_MS_MAX: u64 = 10 * 60 * 1000;
/// Out of file descriptors, mostly: trying again at once would spin.
const ACCEPT_RETRY_MS: u64 = 100;
