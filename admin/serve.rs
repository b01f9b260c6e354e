//! Connections: how long, and how they end. Which client has one is for `connections` to say.
//!
//! Invariant: no client, however slow, holds a connection past [`CONNECTION_MS_MAX`] and its last answer.

use crate::connections::{Connection, ConnectionSlot, Connections};
use crate::peer::{Peer, Visitor};
use axum::body::Bytes;
use axum::http::Request;
use axum::{Extension, Router};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokenist_core::client::TrustedProxies;
use tokenist_core::client::announced::announced;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// Turns true when the plane stops: an answer that has no end of its own ends then.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(pub(crate) watch::Receiver<bool>);

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) connection_max: usize,
    pub(crate) request_ms: u64,
    /// Proxies, which stand for many clients.
    pub(crate) trusted: TrustedProxies,
    /// Whose connections begin with a header of the PROXY protocol.
    pub(crate) announcers: TrustedProxies,
}

impl Limits {
    /// With a client that has shown no credential yet.
    fn guest_patience(&self) -> Duration {
        Duration::from_millis(self.request_ms.min(GUEST_MS_MAX))
    }
}

/// Accepts until `stopped` changes or its sender is gone, then waits for answers that are under way.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<()>,
) {
    let connections = Arc::new(Connections::new(limits.connection_max, limits.trusted.clone()));
    let (stopping, _) = watch::channel(false);
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = async {
            let accepted = listener.accept().await;
            connections.room().await;
            accepted
        };
        let accepted = tokio::select! {
            _ = stopped.changed() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let slot = connections.enter(address.ip(), Instant::now());
                let attended =
                    attend(stream, address.ip(), slot, router.clone(), limits.clone(), stopping.subscribe());
                tokio::spawn(attended);
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
    if timeout(Duration::from_millis(limits.request_ms), connections.empty()).await.is_err() {
        tracing::warn!("admin connections were cut at the deadline");
    }
}

/// One connection, from its first byte until it ends or its place is wanted for another.
async fn attend(
    stream: TcpStream,
    peer: IpAddr,
    slot: ConnectionSlot,
    router: Router,
    limits: Limits,
    stopping: watch::Receiver<bool>,
) {
    let connection = Arc::clone(&slot.connection);
    let attended = async {
        if let Some((stream, client)) = announced_peer(stream, peer, &limits).await {
            if client != peer {
                slot.is_of(client);
            }
            let router = router.layer(Extension(Peer(client)));
            let router = router.layer(Extension(Visitor(Arc::clone(&connection))));
            let router = router.layer(Extension(Stopping(stopping.clone())));
            converse(stream, router, &connection, &limits, stopping).await;
        }
    };
    tokio::select! {
        () = attended => {}
        () = connection.ended() => {}
    }
}

/// The client of a connection: the other end, or the one a balancer announces. `None`: one that should announce and
/// did not, or not in time; it is closed.
async fn announced_peer(mut stream: TcpStream, peer: IpAddr, limits: &Limits) -> Option<(TcpStream, IpAddr)> {
    if !limits.announcers.trusts(peer) {
        return Some((stream, peer));
    }
    match timeout(limits.guest_patience(), read_announcement(&mut stream)).await {
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

/// Requests and answers, until the peer leaves, its time is over or the plane stops.
async fn converse(
    stream: TcpStream,
    router: Router,
    connection: &Arc<Connection>,
    limits: &Limits,
    mut stopping: watch::Receiver<bool>,
) {
    let patience = Duration::from_millis(limits.request_ms);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(HEAD_BYTES_MAX);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        connection.began(!request.body().is_end_stream(), Instant::now());
        let connection = Arc::clone(connection);
        let answer = router.call(request.map(|body| Upload { body, connection: Arc::clone(&connection) }));
        async move {
            let answer = answer.await?;
            connection.answers(Instant::now());
            Ok::<_, Infallible>(answer.map(|body| Download { body, connection }))
        }
    });
    let stream = Watched { stream, connection: Arc::clone(connection) };
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        _ = stopping.changed() => None,
        () = sleep(Duration::from_millis(CONNECTION_MS_MAX)) => None,
        () = connection.overdue(limits.guest_patience()) => {
            tracing::debug!("admin connection ended: it kept us waiting and has shown no credential");
            return;
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            serving.as_mut().graceful_shutdown();
            timeout(patience, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(cause = %error, "admin connection broke");
    }
}

/// The body of a request: until it is here, its client is waited for.
struct Upload {
    body: Incoming,
    connection: Arc<Connection>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.connection.has_all(Instant::now());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.connection.has_all(Instant::now());
    }
}

/// The body of an answer.
struct Download {
    body: axum::body::Body,
    connection: Arc<Connection>,
}

impl Body for Download {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.connection.has_answered(Instant::now());
    }
}

/// Notes whether the other side takes what is written.
struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.connection.wrote(wrote.is_ready(), Instant::now());
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.connection.wrote(wrote.is_ready(), Instant::now());
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Above the data plane's 16 KiB, so that whatever passes there can be asked about here.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// An honest client's head comes with its connection, and what it says before it has signed in is short.
const GUEST_MS_MAX: u64 = 3_000;
const CONNECTION_MS_MAX: u64 = 10 * 60 * 1000;
/// Out of file descriptors, mostly: trying again at once would spin.
const ACCEPT_RETRY_MS: u64 = 100;
/// The operator is told of it no more often.
const COMPLAINT: Duration = Duration::from_secs(10);
