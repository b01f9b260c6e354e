//! Where a request comes from, as its handlers find it among its extensions.

use crate::connections::Connection;
use std::net::IpAddr;
use std::sync::Arc;

/// Where a request comes from: the other end of the connection, or the client a trusted proxy names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The connection that a request comes by.
#[derive(Clone, Debug)]
pub(crate) struct Visitor(pub(crate) Arc<Connection>);
