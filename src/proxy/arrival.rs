//! A connection that was accepted.

use crate::io::tls::Scheme;
use monoio::net::TcpStream;
use std::net::SocketAddr;

/// It is handed on in a box, because what a future is given stays in it for good.
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) scheme: Scheme,
}
