//! A connection on which a request is to come: one that was accepted, or one that goes on after a request.

use crate::io::buffer::Buffer;
use crate::io::shut_down::ShutdownHandle;
use crate::io::stream::{Reader, Writer};
use crate::io::tls::Scheme;
use monoio::net::TcpStream;
use std::net::{IpAddr, SocketAddr};

/// It is handed on in a box, because what a future is given stays in it for good.
pub(crate) enum Arrival {
    New(Accepted),
    Kept(Kept),
}

pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) scheme: Scheme,
}

/// A connection whose last request was answered.
pub(crate) struct Kept {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// What came behind that request, in the front of a buffer.
    pub(crate) ahead: Option<(Buffer, usize)>,
    pub(crate) origin: Origin,
    pub(crate) handle: ShutdownHandle,
}

/// Where a connection comes from, whatever its requests say of it.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) peer: IpAddr,
    /// The peer, or who a header of the PROXY protocol says it speaks for.
    pub(crate) client: IpAddr,
    pub(crate) scheme: Scheme,
}
