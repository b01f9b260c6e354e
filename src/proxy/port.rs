//! The port of one shard which the applications of all its relayed calls send to: over UDP, and over TCP where that is on.
//!
//! Start at [`Port::run`]. Whose a datagram is, is known by where it comes from, once a check has come from there that was shown
//! with its call's password; until then by the name in the check. Each shard has ports of its own, for the kernel would give the
//! first datagrams of a call to any of several sockets that share one. Invariant: what nobody has registered for is dropped at once
//! and leaves nothing behind.

pub(crate) mod bind;
mod half_open;
pub(crate) mod line;

use bind::Sockets;
pub(crate) use half_open::HalfOpen;
use half_open::Waiting;
use line::Line;
use monoio::net::TcpListener as ReadyListener;
use monoio::net::udp::UdpSocket as Ready;
use monoio::time::{Duration, Instant, sleep};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use str0m::config::DtlsCert;
use tokenist_core::id::UserId;
use tokenist_core::signalling::datagram::Datagram;

/// No datagram of a call is longer: both ends keep to an MTU below it.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 2_048;
/// How many are read before others have their turn.
pub(crate) const BATCH: usize = 64;
/// Places that one call is heard from at a time.
const PLACES_MAX: usize = 8;
/// Connections over TCP of which no call is known yet, and how long they may be so.
const STRANGERS_MAX: usize = 256;
const STRANGE: Duration = Duration::from_secs(5);
/// How long to wait where a port cannot be read.
const PAUSE: Duration = Duration::from_millis(50);

/// Where a datagram has come from, or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Udp(SocketAddr),
    Tcp(SocketAddr),
}

impl Place {
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Place::Udp(address) | Place::Tcp(address) => address,
        }
    }
}

/// Takes the datagrams of one call.
pub(crate) trait Inlet {
    /// Whether it is the call's, by all that can be told.
    fn take(&self, bytes: &[u8], source: Place) -> bool;

    /// It has panicked over one.
    fn fail(&self);
}

/// A panic ends the call that it happens in, and nothing beside it.
fn hand(inlet: &dyn Inlet, bytes: &[u8], source: Place) -> bool {
    panic::catch_unwind(AssertUnwindSafe(|| inlet.take(bytes, source))).unwrap_or_else(|_| {
        inlet.fail();
        false
    })
}

pub(crate) struct Port {
    socket: UdpSocket,
    /// The same socket, to be waited for.
    ready: Ready,
    /// Likewise, where there is one.
    listener: Option<(TcpListener, ReadyListener)>,
    /// Where applications are told to send.
    addresses: Vec<Place>,
    /// It takes addresses of IPv4 as such of IPv6.
    is_dual: bool,
    calls: RefCell<HashMap<String, Entry>>,
    places: RefCell<HashMap<Place, Rc<dyn Inlet>>>,
    lines: RefCell<HashMap<SocketAddr, Rc<Line>>>,
    half_open: Waiting,
    /// By which both legs of its calls are known: making one a leg would take time and room.
    certificate: DtlsCert,
    strangers: Cell<usize>,
}

struct Entry {
    inlet: Rc<dyn Inlet>,
    places: VecDeque<Place>,
}

impl Port {
    /// # Errors
    /// A socket cannot be waited for.
    pub(crate) fn new(sockets: Sockets, public_ips: &[IpAddr]) -> io::Result<Port> {
        let Sockets { udp, tcp } = sockets;
        let ready = Ready::from_std(udp.try_clone()?)?;
        let local = udp.local_addr()?;
        let tcp_port = tcp.as_ref().map(TcpListener::local_addr).transpose()?.map(|local| local.port());
        let waited_for = |listener: TcpListener| {
            let ready = ReadyListener::from_std(listener.try_clone()?)?;
            io::Result::Ok((listener, ready))
        };
        let udp_places = public_ips.iter().map(|ip| Place::Udp(SocketAddr::new(*ip, local.port())));
        let tcp_places = tcp_port
            .into_iter()
            .flat_map(|port| public_ips.iter().map(move |ip| Place::Tcp(SocketAddr::new(*ip, port))));
        Ok(Port {
            addresses: udp_places.chain(tcp_places).collect(),
            is_dual: local.is_ipv6(),
            listener: tcp.map(waited_for).transpose()?,
            socket: udp,
            ready,
            calls: RefCell::default(),
            places: RefCell::default(),
            lines: RefCell::default(),
            half_open: Waiting::default(),
            certificate: certificate()?,
            strangers: Cell::new(0),
        })
    }

    /// Takes datagrams for good.
    pub(crate) async fn run(self: Rc<Port>) {
        monoio::join!(self.receive_all(), self.accept_all());
    }

    async fn receive_all(&self) {
        loop {
            if let Err(error) = self.ready.readable(false).await {
                tracing::error!(%error, "a port of calls cannot be waited for");
                sleep(PAUSE).await;
            }
            self.receive();
        }
    }

    fn receive(&self) {
        let mut bytes = [0; DATAGRAM_BYTES_MAX + 1];
        for _ in 0..BATCH {
            let Ok((length, source)) = self.socket.recv_from(&mut bytes) else { return };
            if length <= DATAGRAM_BYTES_MAX {
                self.take(&bytes[..length], Place::Udp(canonical(source)));
            }
        }
    }

    /// Takes connections, where that is on.
    async fn accept_all(self: &Rc<Port>) {
        let Some((listener, ready)) = &self.listener else { return };
        loop {
            let waited = ready.readable(false).await;
            match waited.and_then(|()| listener.accept()) {
                Ok((stream, source)) => self.admit(stream, source),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::debug!(%error, "a connection for a call could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// One of which no call is known yet; one that is too many is closed.
    fn admit(self: &Rc<Port>, stream: TcpStream, source: SocketAddr) {
        let source = canonical(source);
        let count = self.strangers.get();
        let line = match Line::new(stream) {
            Ok(line) if count < STRANGERS_MAX => Rc::new(line),
            _ => return,
        };
        self.strangers.set(count + 1);
        self.lines.borrow_mut().insert(source, Rc::clone(&line));
        let port = Rc::clone(self);
        monoio::spawn(async move {
            let until = Instant::now() + STRANGE;
            line.run(until, |datagram| port.take(datagram, Place::Tcp(source))).await;
            if !line.is_known.get() {
                port.strangers.set(port.strangers.get() - 1);
            }
            port.lines.borrow_mut().remove(&source);
        });
    }

    fn take(&self, bytes: &[u8], source: Place) {
        match Datagram::of(bytes) {
            Datagram::Check { ufrag } => {
                let inlet = self.calls.borrow().get(ufrag).map(|entry| Rc::clone(&entry.inlet));
                if inlet.is_some_and(|inlet| hand(&*inlet, bytes, source)) {
                    self.learn(ufrag, source);
                }
            }
            // Nobody here asks.
            Datagram::Stun | Datagram::Unknown => {}
            Datagram::Dtls | Datagram::Rtp { .. } | Datagram::Rtcp => {
                let inlet = self.places.borrow().get(&source).cloned();
                inlet.map(|inlet| hand(&*inlet, bytes, source));
            }
        }
    }

    /// A call is heard from there.
    fn learn(&self, ufrag: &str, source: Place) {
        let mut calls = self.calls.borrow_mut();
        let Some(entry) = calls.get_mut(ufrag).filter(|entry| !entry.places.contains(&source)) else {
            return;
        };
        if entry.places.len() == PLACES_MAX
            && let Some(oldest) = entry.places.pop_front()
        {
            self.unlearn(oldest, &entry.inlet);
        }
        entry.places.push_back(source);
        self.places.borrow_mut().insert(source, Rc::clone(&entry.inlet));
        if let Some(line) = self.line(source)
            && !line.is_known.replace(true)
        {
            self.strangers.set(self.strangers.get() - 1);
        }
    }

    /// Another call may have come from there since.
    fn unlearn(&self, place: Place, inlet: &Rc<dyn Inlet>) {
        let mut places = self.places.borrow_mut();
        if places.get(&place).is_some_and(|other| Rc::ptr_eq(other, inlet)) {
            places.remove(&place);
            if let Some(line) = self.line(place) {
                line.shut_down();
            }
        }
    }

    fn line(&self, place: Place) -> Option<Rc<Line>> {
        match place {
            Place::Udp(_) => None,
            Place::Tcp(address) => self.lines.borrow().get(&address).cloned(),
        }
    }

    /// Sends a datagram. One that the kernel does not take is lost, as on any network.
    pub(crate) fn send(&self, bytes: &[u8], destination: Place) {
        let address = match destination {
            Place::Udp(address) => address,
            Place::Tcp(_) => return self.line(destination).into_iter().for_each(|line| line.send(bytes)),
        };
        let address = match address.ip() {
            IpAddr::V4(ip) if self.is_dual => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            _ => address,
        };
        if let Err(error) = self.socket.send_to(bytes, address) {
            tracing::trace!(%error, "a datagram was not sent");
        }
    }

    /// Where applications are told to send.
    pub(crate) fn addresses(&self) -> &[Place] {
        &self.addresses
    }

    /// Where whoever sends from `source` sends to, as far as it was told.
    pub(crate) fn address_for(&self, source: Place) -> SocketAddr {
        let is_alike = |other: &&Place| {
            matches!((other, source), (Place::Udp(_), Place::Udp(_)) | (Place::Tcp(_), Place::Tcp(_)))
        };
        let mut alike = self.addresses.iter().filter(is_alike).map(|place| place.address());
        let first = alike.clone().next();
        let of_family = alike.find(|address| address.is_ipv4() == source.address().is_ipv4());
        of_family.or(first).unwrap_or(source.address())
    }

    pub(crate) fn certificate(&self) -> DtlsCert {
        self.certificate.clone()
    }

    /// Room for a call of this user's whose application has not connected yet, if there is some.
    pub(crate) fn half_open(&self, user: &UserId) -> Option<HalfOpen> {
        self.half_open.take(user)
    }

    /// Has a call's datagrams go to `inlet`, until the registration is dropped.
    pub(crate) fn register(self: &Rc<Port>, ufrag: &str, inlet: Rc<dyn Inlet>) -> Registration {
        let entry = Entry { inlet, places: VecDeque::new() };
        self.calls.borrow_mut().insert(ufrag.to_owned(), entry);
        Registration { port: Rc::clone(self), ufrag: ufrag.to_owned() }
    }
}

fn certificate() -> io::Result<DtlsCert> {
    let made = str0m::crypto::from_feature_flags().dtls_provider.generate_certificate();
    made.ok_or_else(|| io::Error::other("a certificate for calls could not be made"))
}

/// An address of IPv4 as such.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A call's datagrams find it.
pub(crate) struct Registration {
    port: Rc<Port>,
    ufrag: String,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let entry = self.port.calls.borrow_mut().remove(&self.ufrag);
        for (place, inlet) in
            entry.iter().flat_map(|entry| entry.places.iter().map(|place| (place, &entry.inlet)))
        {
            self.port.unlearn(*place, inlet);
        }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({:?})", self.addresses)
    }
}
