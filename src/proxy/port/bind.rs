//! The sockets of calls' ports, bound before anything is served.

use crate::config::MediaListen;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

/// What the kernel is to hold for a port: without it datagrams are lost from a hundred calls on.
const RECEIVE_BYTES: usize = 4 << 20;
const BACKLOG: i32 = 128;

/// Those of one shard.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: Option<TcpListener>,
}

/// Those of `count` shards: at these ports and the ones after them, or at any where UDP's is 0. Without one for TCP there is none.
///
/// # Errors
/// One of them is taken.
pub(crate) fn bind(listen: &MediaListen, count: usize) -> io::Result<Vec<Sockets>> {
    let &MediaListen { ref public_ips, udp_port, tcp_port } = listen;
    let host = host(public_ips);
    let at = |port: u16, index: usize| {
        let offset = u16::try_from(index).unwrap_or(u16::MAX);
        SocketAddr::new(host, if port == 0 { 0 } else { port.saturating_add(offset) })
    };
    let of_shard = |index: usize| {
        let (udp, tcp) = (at(udp_port, index), tcp_port.map(|port| at(port, index)));
        let told = |key, address| move |error| taken(key, address, &error);
        Ok(Sockets {
            udp: datagrams(udp).map_err(told("webrtc.udp_port", udp))?,
            tcp: tcp.map(|tcp| connections(tcp).map_err(told("webrtc.tcp_port", tcp))).transpose()?,
        })
    };
    let sockets: io::Result<Vec<Sockets>> = (0..count).map(of_shard).collect();
    let sockets = sockets?;
    if let Some(first) = sockets.first() {
        warn_of_little_room(&first.udp);
    }
    Ok(sockets)
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn connections(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn taken(key: &str, address: SocketAddr, error: &io::Error) -> io::Error {
    let said = format!("{key}: {address} cannot be had for calls: {error}; each shard takes one more port");
    io::Error::new(error.kind(), said)
}

/// Where to listen, to be reached under these addresses: they need not be this machine's.
fn host(public_ips: &[IpAddr]) -> IpAddr {
    let is_local = public_ips.iter().all(IpAddr::is_loopback);
    match public_ips.iter().any(IpAddr::is_ipv6) {
        true if is_local && public_ips.len() == 1 => Ipv6Addr::LOCALHOST.into(),
        true => Ipv6Addr::UNSPECIFIED.into(),
        false if is_local => Ipv4Addr::LOCALHOST.into(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    }
}

fn warn_of_little_room(socket: &UdpSocket) {
    // The kernel counts twice what it was asked for.
    let room = socket2::SockRef::from(socket).recv_buffer_size().unwrap_or_default() / 2;
    if room < RECEIVE_BYTES {
        tracing::warn!(
            room,
            wanted = RECEIVE_BYTES,
            "the kernel holds little of what comes for calls, so sound may be lost; raise net.core.rmem_max"
        );
    }
}
