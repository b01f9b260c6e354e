//! Connections: how many, how long, and how they end.
//!
//! Invariant: no client, however slow, holds a connection past [`CONNECTION_MS_MAX`] and its last answer.

use crate::auth::Peer;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokenist_core::client::TrustedProxies;
use tokenist_core::client::announced::announced;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

/// Turns true when the plane stops: an answer that has no end of its own ends then.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(pub(crate) watch::Receiver<bool>);

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) connection_max: usize,
    pub(crate) request_ms: u64,
    /// Whose connections begin with a header of the PROXY protocol.
    pub(crate) announcers: TrustedProxies,
}

/// Accepts until `stopped` changes or its sender is gone, then waits for answers that are under way.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(limits.connection_max));
    let (stopping, _) = watch::channel(false);
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = stopped.changed() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let stopping = stopping.subscribe();
                let (router, limits) = (router.clone(), limits.clone());
                tokio::spawn(async move {
                    if let Some((stream, peer)) = announced_peer(stream, address.ip(), &limits).await {
                        let router = router.layer(Extension(Peer(peer)));
                        let router = router.layer(Extension(Stopping(stopping.clone())));
                        converse(stream, router, &limits, stopping).await;
                    }
                    drop(place);
                });
            }
            Err(error) => {
                if complained.is_none_or(|before| before.elapsed() >= COMPLAINT) {
                    complained = Some(Instant::now());
                    tracing::warn!(cause = %error, "admin listener cannot accept");
                }
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

/// Whose connection it is: the other end, or whom a balancer announces. `None`: one that should announce and did not, or
/// not in time; it is closed.
async fn announced_peer(mut stream: TcpStream, peer: IpAddr, limits: &Limits) -> Option<(TcpStream, IpAddr)> {
    if !limits.announcers.trusts(peer) {
        return Some((stream, peer));
    }
    let read = timeout(Duration::from_millis(limits.request_ms), read_announcement(&mut stream)).await;
    match read {
        Ok(Ok(client)) => Some((stream, client.unwrap_or(peer))),
        Ok(Err(error)) => {
            tracing::warn!(%peer, cause = %error, "admin connection closed: see proxy.proxy_protocol");
            None
        }
        Err(_) => {
            tracing::warn!(%peer, "admin connection closed: its PROXY protocol header did not come in time");
            None
        }
    }
}

/// Byte by byte, because what is behind the header is not ours to read here.
async fn read_announcement(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut header = Vec::new();
    loop {
        header.push(stream.read_u8().await?);
        let announced =
            announced(&header).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some(announced) = announced {
            return Ok(announced.client);
        }
    }
}

/// One connection, until the peer leaves, its time is over or the plane stops.
async fn converse(stream: TcpStream, router: Router, limits: &Limits, mut stopping: watch::Receiver<bool>) {
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
/// The operator is told of it no more often.
const COMPLAINT: Duration = Duration::from_secs(10);
