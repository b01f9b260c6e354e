//! Accepts connections, each shard on sockets of its own: the kernel spreads connections over them.

use crate::session;
use crate::shard::Shard;
use crate::wire::{self, is_cancelled};
use monoio::io::{CancelHandle, Canceller};
use monoio::net::TcpListener;
use monoio::task::JoinHandle;
use monoio::time::{Duration, sleep};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{self, SocketAddr};
use std::rc::Rc;
use tokenist_core::metric::Metric;

const BACKLOG: i32 = 1024;
/// How long to wait where the process may open no more files.
const PAUSE: Duration = Duration::from_millis(50);

/// What one shard listens on.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) plain: Option<net::TcpListener>,
    pub(crate) tls: Option<net::TcpListener>,
}

/// Whether connections begin with a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Plain,
    Tls,
}

/// One socket for each of `count` shards, all on the same address. Port 0 is chosen once.
pub(crate) fn bind(address: Option<SocketAddr>, count: usize) -> io::Result<Vec<Option<net::TcpListener>>> {
    let Some(mut address) = address else { return Ok((0..count).map(|_| None).collect()) };
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = net::TcpListener::from(socket);
        wire::defer_accept(&listener);
        address = listener.local_addr()?;
        sockets.push(Some(listener));
    }
    Ok(sockets)
}

/// The accept loops of a shard.
pub(crate) struct Listeners {
    canceller: Canceller,
    loops: Vec<JoinHandle<()>>,
}

pub(crate) fn listen(shard: &Rc<Shard>, sockets: Sockets) -> Listeners {
    let canceller = Canceller::new();
    let both = [(sockets.plain, Scheme::Plain), (sockets.tls, Scheme::Tls)];
    let loops =
        both.into_iter().filter_map(|(socket, scheme)| Some((TcpListener::from_std(socket?), scheme)));
    let loops = loops.filter_map(|(listener, scheme)| match listener {
        Ok(listener) => Some(monoio::spawn(accept(Rc::clone(shard), listener, scheme, canceller.handle()))),
        Err(error) => {
            tracing::error!(%error, ?scheme, "a shard cannot listen");
            None
        }
    });
    Listeners { loops: loops.collect(), canceller }
}

impl Listeners {
    /// Accepts no more and closes the sockets, so that new connections are refused by the kernel.
    pub(crate) async fn close(self) {
        let _cancelled = self.canceller.cancel();
        for accept_loop in self.loops {
            accept_loop.await;
        }
    }
}

async fn accept(shard: Rc<Shard>, listener: TcpListener, scheme: Scheme, cancel: CancelHandle) {
    loop {
        match listener.cancelable_accept(cancel.clone()).await {
            Ok((stream, peer)) => {
                shard.counters.add(Metric::ConnectionsAccepted, 1);
                monoio::spawn(session::run(Rc::clone(&shard), stream, peer, scheme));
            }
            Err(error) if is_cancelled(&error) => return,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}
