//! TLS over a connection, both as server and as client.
//!
//! rustls shakes hands (`handshake`) and is then dropped, but for the schedule of its keys. What follows is a record
//! layer (`record`), whose two directions share nothing: a reading half that opens records from one buffer into another
//! (`incoming`), and a writing half that seals a whole write into a buffer and sends it at once (`outgoing`).

mod config;
mod handshake;
mod incoming;
mod outgoing;
mod record;
#[cfg(test)]
mod tests;

pub use config::{CertificateError, client_config, server_config};
pub(crate) use handshake::{accept, connect};
pub(crate) use incoming::TlsReader;
pub(crate) use outgoing::TlsWriter;

use record::Fault;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ConnectionTrafficSecrets, Error, ProtocolVersion};
use std::cell::{Cell, RefCell};
use std::io;

/// "internal_error", for a client whose handshake there is no room for (RFC 8446 §6.2).
pub(crate) const TLS_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// Whether connections begin with a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Plain,
    Tls,
}

/// What the halves of a connection share.
struct Shared {
    schedule: RefCell<Schedule>,
    /// The peer has new keys and asks for new ones of ours, before anything else is sent.
    asked_for_keys: Cell<bool>,
    /// What the peer did wrong, for it to be told when the connection is finished.
    alert: Cell<Option<AlertDescription>>,
}

/// What is left of a handshake: new keys follow from the old ones, and tickets for the next handshake.
enum Schedule {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

type Secrets = (u64, ConnectionTrafficSecrets);

impl Shared {
    fn new(schedule: Schedule) -> Shared {
        Shared { schedule: RefCell::new(schedule), asked_for_keys: Cell::new(false), alert: Cell::new(None) }
    }
}

impl Schedule {
    fn version(&self) -> ProtocolVersion {
        match self {
            Schedule::Server(kernel) => kernel.protocol_version(),
            Schedule::Client(kernel) => kernel.protocol_version(),
        }
    }

    fn next_to_send(&mut self) -> Result<Secrets, Error> {
        match self {
            Schedule::Server(kernel) => kernel.update_tx_secret(),
            Schedule::Client(kernel) => kernel.update_tx_secret(),
        }
    }

    fn next_to_receive(&mut self) -> Result<Secrets, Error> {
        match self {
            Schedule::Server(kernel) => kernel.update_rx_secret(),
            Schedule::Client(kernel) => kernel.update_rx_secret(),
        }
    }

    /// Keeps a ticket for the next handshake with this server.
    fn keep_ticket(&mut self, ticket: &[u8]) -> Result<(), Fault> {
        match self {
            Schedule::Client(kernel) => kernel
                .handle_new_session_ticket(ticket)
                .map_err(|_| record::malformed("it sent a malformed session ticket")),
            Schedule::Server(_) => Err(record::unexpected("a client sent a session ticket")),
        }
    }
}

fn invalid(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}
