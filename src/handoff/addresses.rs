//! Where upstreams are: an answer for every provider host, looked up off the shards.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Addresses by `host:port`, as they were asked for. Shards read it from a [`crate::Published`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(HashMap<String, Vec<SocketAddr>>);

impl Addresses {
    /// Every address of a host, in the order in which to try them; none if it has never been resolved.
    pub fn find(&self, host_port: &str) -> &[SocketAddr] {
        self.0.get(host_port).map_or(&[], Vec::as_slice)
    }

    pub fn insert(&mut self, host_port: &str, found: Vec<SocketAddr>) {
        self.0.insert(host_port.to_owned(), found);
    }
}
