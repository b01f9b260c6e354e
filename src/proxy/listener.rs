//! Accepts connections, each shard on sockets of its own: the kernel spreads connections over them.
//!
//! Start at [`bind`] for who may have an address, at [`listen`] for who comes in. Invariant: whoever was accepted is
//! served or refused, and once a shard listens no more the kernel refuses for it.

use crate::arrival::{Accepted, Arrival};
use crate::io::stream::{is_cancelled, is_out_of_files};
use crate::io::tcp;
use crate::io::tls::{Scheme, TLS_ALERT};
use crate::port;
use crate::refuse::in_http_words;
use crate::session;
use crate::shard::Shard;
use monoio::io::{CancelHandle, Canceller};
use monoio::net::{TcpListener, TcpStream};
use monoio::task::JoinHandle;
use monoio::time::{Duration, sleep};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::fs::File;
use std::io::{self, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::rc::Rc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::metric::Metric;

const BACKLOG: i32 = 1024;
/// How long to wait where the process may open no more files.
const PAUSE: Duration = Duration::from_millis(50);
/// How many are refused then between two pauses.
const UNSERVED_MAX: usize = 64;

/// What one shard listens on.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) plain: Option<net::TcpListener>,
    pub(crate) tls: Option<net::TcpListener>,
    /// Where calls are relayed.
    pub(crate) media: Option<port::bind::Sockets>,
}

/// Whether an address may be one that another process listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// No: two that share a port without knowing of each other would each hold every limit by itself.
    Alone,
    /// Yes, of the same user: it is about to be drained.
    Beside,
}

/// One socket for each of `count` shards, all on the same address. Port 0 is chosen once. `key` names the setting in
/// errors.
pub(crate) fn bind(
    key: &str,
    address: Option<SocketAddr>,
    count: usize,
    claim: Claim,
) -> io::Result<Vec<Option<net::TcpListener>>> {
    let Some(mut address) = address else { return Ok((0..count).map(|_| None).collect()) };
    let asked = address;
    let told = |error| taken(key, asked, error);
    // It is held until all shards listen, so that nobody can come in between.
    let claim = match claim {
        Claim::Alone => Some(hold_alone(address).map_err(told)?),
        Claim::Beside => None,
    };
    if let Some(claim) = &claim {
        address = claim.local_addr()?.as_socket().unwrap_or(address);
    }
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = stream_socket(address)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into()).and_then(|()| socket.listen(BACKLOG)).map_err(told)?;
        let listener = net::TcpListener::from(socket);
        tcp::defer_accept(&listener);
        address = listener.local_addr()?;
        sockets.push(Some(listener));
    }
    Ok(sockets)
}

/// Listens on an address as the only one, which the kernel judges: it knows which addresses overlap. Those who share
/// a port by SO_REUSEPORT would let one more in, so this asks without it, and sets it once the address is held.
fn hold_alone(address: SocketAddr) -> io::Result<Socket> {
    let socket = stream_socket(address)?;
    socket.bind(&address.into())?;
    socket.listen(1)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// Connections that a process has left behind keep nobody from its address; listeners do.
fn stream_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn taken(key: &str, address: SocketAddr, error: io::Error) -> io::Error {
    let said = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{key}: {address} is taken, somebody listens there. End that process or choose another port; to take over \
             from a tokenist that you drain next, start this one with proxy.takeover = true"
        ),
        _ => format!("{key}: {address} cannot be listened on: {error}"),
    };
    io::Error::new(error.kind(), said)
}

/// The accept loops of a shard.
pub(crate) struct Listeners {
    canceller: Canceller,
    loops: Vec<JoinHandle<()>>,
    /// The same sockets: what the kernel holds ready when the loops have ended is taken from here.
    sockets: Vec<(Rc<net::TcpListener>, Scheme)>,
}

pub(crate) fn listen(shard: &Rc<Shard>, sockets: Sockets) -> Listeners {
    let mut listeners = Listeners { canceller: Canceller::new(), loops: Vec::new(), sockets: Vec::new() };
    for (socket, scheme) in [(sockets.plain, Scheme::Plain), (sockets.tls, Scheme::Tls)] {
        let Some(socket) = socket else { continue };
        let listener = socket.try_clone().and_then(TcpListener::from_std);
        match listener {
            Ok(listener) => {
                let socket = Rc::new(socket);
                let waiting = Waiting { socket: Rc::clone(&socket), scheme, spare: spare().ok() };
                let accepting = accept(Rc::clone(shard), listener, waiting, listeners.canceller.handle());
                listeners.loops.push(monoio::spawn(accepting));
                listeners.sockets.push((socket, scheme));
            }
            Err(error) => tracing::error!(%error, ?scheme, "a shard cannot listen"),
        }
    }
    listeners
}

impl Listeners {
    /// Takes whoever has connected already, and nobody after that: from here on the kernel refuses.
    pub(crate) async fn close(self, shard: &Rc<Shard>) {
        let _cancelled = self.canceller.cancel();
        for accept_loop in self.loops {
            accept_loop.await;
        }
        for (socket, scheme) in self.sockets {
            while let Ok((stream, peer)) = socket.accept() {
                let nonblocking = stream.set_nonblocking(true);
                match nonblocking.and_then(|()| TcpStream::from_std(stream)) {
                    Ok(stream) => serve(shard, stream, peer, scheme),
                    Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
                }
            }
            // At once, where closing waits for the ring to be looked at.
            if let Err(error) = SockRef::from(&socket).shutdown(Shutdown::Both) {
                tracing::warn!(%error, "a port could not be closed before its shard ends");
            }
        }
    }
}

async fn accept(shard: Rc<Shard>, listener: TcpListener, mut waiting: Waiting, cancel: CancelHandle) {
    loop {
        match listener.cancelable_accept(cancel.clone()).await {
            Ok((stream, peer)) => serve(&shard, stream, peer, waiting.scheme),
            Err(error) if is_cancelled(&error) => return,
            Err(error) if is_out_of_files(&error) => until_there_is_room(&shard, &mut waiting, &error).await,
            Err(error) => {
                if shard.may_complain() {
                    tracing::warn!(%error, "a connection could not be accepted");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Refuses whoever connects, until files can be opened again.
async fn until_there_is_room(shard: &Shard, waiting: &mut Waiting, error: &io::Error) {
    let is_news = shard.may_complain();
    if is_news {
        tracing::error!(%error, "no more files can be opened, so connections are refused; raise the limit of open \
            files, or lower proxy.session_max");
    }
    shard.counters.set_out_of_files(true);
    let mut unserved = 0;
    while shard.counters.out_of_files() && !shard.is_draining() {
        let refused = waiting.refuse(shard);
        shard.counters.add(Metric::ConnectionsUnserved, refused);
        unserved += refused;
        sleep(PAUSE).await;
        shard.counters.set_out_of_files(spare().is_err());
    }
    if is_news {
        tracing::info!(unserved, "files can be opened again");
    }
}

/// Whoever waits at a socket to be accepted.
struct Waiting {
    socket: Rc<net::TcpListener>,
    scheme: Scheme,
    /// Holds a descriptor, to be given up for a connection that has to be told that there are none.
    spare: Option<File>,
}

fn spare() -> io::Result<File> {
    File::open("/dev/null")
}

impl Waiting {
    /// Takes those who wait one by one, each in the place of the spare descriptor, and says no. Silence would have them
    /// wait for as long as they can, and come back all at once.
    fn refuse(&mut self, shard: &Shard) -> u64 {
        for refused in 0..UNSERVED_MAX {
            drop(self.spare.take());
            let accepted = self.socket.accept();
            let Ok((stream, _)) = accepted else {
                self.spare = spare().ok();
                return refused as u64;
            };
            if let Err(error) = say_no(shard, stream, self.scheme) {
                tracing::trace!(%error, "a client that was not served is gone");
            }
            self.spare = spare().ok();
        }
        UNSERVED_MAX as u64
    }
}

fn say_no(shard: &Shard, mut stream: net::TcpStream, scheme: Scheme) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    tcp::discard(&stream);
    match scheme {
        Scheme::Plain => {
            let full = CloseReason::Overloaded("no more connections can be opened".into());
            stream.write_all(&in_http_words(shard, &full))?;
        }
        Scheme::Tls => stream.write_all(&TLS_ALERT)?,
    }
    stream.shutdown(Shutdown::Write)
}

/// The shard stays until this connection has ended.
fn serve(shard: &Rc<Shard>, stream: TcpStream, peer: SocketAddr, scheme: Scheme) {
    shard.counters.add(Metric::ConnectionsAccepted, 1);
    shard.connections.set(shard.connections.get() + 1);
    let shard = Rc::clone(shard);
    let arrival = Box::new(Arrival::New(Accepted { stream, peer, scheme }));
    monoio::spawn(async move {
        session::run(Rc::clone(&shard), arrival).await;
        shard.connections.set(shard.connections.get() - 1);
    });
}
