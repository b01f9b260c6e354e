//! TLS over a monoio stream, both as server and as client.
//!
//! One `rustls::Connection` is shared by a reading and a writing half. It is never borrowed across an await, so the
//! halves cannot meet in it. Ciphertext moves in whole buffers: one send for a write of up to 64 KiB.

use crate::io::buffer::{BUFFER_BYTES, Buffer, Pool, Unfilled};
use crate::io::stream::{Reader, Writer};
use crate::io::tcp::{WriteHalf, write_filled};
use monoio::io::{CancelHandle, CancelableAsyncReadRent, Canceller, OwnedReadHalf};
use monoio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// Plaintext for one send: with its record headers and tags it fits a buffer of ciphertext.
const PLAIN_BYTES_MAX: usize = BUFFER_BYTES - 1024;

/// "internal_error", for a client whose handshake there is no room for (RFC 8446 §6.2).
pub(crate) const TLS_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// Whether connections begin with a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Plain,
    Tls,
}

type Shared = Rc<RefCell<Connection>>;

pub(crate) struct TlsReader {
    raw: OwnedReadHalf<TcpStream>,
    connection: Shared,
    pool: Pool,
    /// Ciphertext that the connection has not taken yet.
    rest: Option<(Buffer, Range<usize>)>,
}

pub(crate) struct TlsWriter {
    raw: WriteHalf,
    connection: Shared,
    pool: Pool,
}

/// Why certificates could not be loaded: which file, and what is wrong with it.
#[derive(Debug)]
pub struct CertificateError {
    path: PathBuf,
    cause: String,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for CertificateError {}

/// A server's configuration from PEM files: the chain, leaf first, and its key.
pub fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let wrong = |path: &Path, cause: String| CertificateError { path: path.to_owned(), cause };
    let chain = certificates(cert)?;
    let private_key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(cert, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private_key)
            .map_err(|error| wrong(cert, format!("it does not fit its key: {error}")))?;
    config.ticketer =
        rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| wrong(key, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client's configuration: the web's roots, and those in `ca_file` if one is given.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, CertificateError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            let added = roots.add(certificate);
            added.map_err(|error| CertificateError { path: path.to_owned(), cause: error.to_string() })?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the default provider speaks the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let wrong = |cause: String| CertificateError { path: path.to_owned(), cause };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?.collect();
    match chain.map_err(|error| wrong(error.to_string()))? {
        chain if chain.is_empty() => Err(wrong("it holds no certificate in PEM form".into())),
        chain => Ok(chain),
    }
}

/// Shakes hands as the server that a client has connected to. `early` is what was read of the connection already, with
/// how much that is.
pub(crate) async fn accept(
    plain: (Reader, Writer),
    early: Option<(Buffer, usize)>,
    config: Arc<ServerConfig>,
    pool: &Pool,
) -> io::Result<(Reader, Writer)> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    shake_hands(plain, early, connection.into(), pool).await
}

/// Shakes hands with the server called `name`.
pub(crate) async fn connect(
    plain: (Reader, Writer),
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    pool: &Pool,
) -> io::Result<(Reader, Writer)> {
    let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    shake_hands(plain, None, connection.into(), pool).await
}

async fn shake_hands(
    plain: (Reader, Writer),
    early: Option<(Buffer, usize)>,
    mut connection: Connection,
    pool: &Pool,
) -> io::Result<(Reader, Writer)> {
    let (Reader::Plain(raw_reader), Writer::Plain(raw_writer)) = plain else {
        unreachable!("TLS is put on plain connections only");
    };
    connection.set_buffer_limit(None);
    let connection = Rc::new(RefCell::new(connection));
    let mut writer = TlsWriter { raw: raw_writer, connection: Rc::clone(&connection), pool: pool.clone() };
    let rest = early.filter(|(_, filled)| *filled > 0).map(|(buffer, filled)| (buffer, 0..filled));
    let mut reader = TlsReader { raw: raw_reader, connection, pool: pool.clone(), rest };
    while reader.connection.borrow().is_handshaking() {
        writer.flush().await?;
        if !reader.connection.borrow().is_handshaking() {
            break;
        }
        let fed = reader.feed(Canceller::new().handle()).await;
        if !matches!(fed, Ok(true)) {
            // An alert may wait to be sent; if that fails too, the first error is the one to tell.
            let flushed = writer.flush().await;
            return Err(fed.err().or(flushed.err()).unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
        }
    }
    writer.flush().await?;
    Ok((Reader::Tls(Box::new(reader)), Writer::Tls(Box::new(writer))))
}

impl TlsReader {
    pub(crate) async fn read(
        &mut self,
        mut buffer: Buffer,
        filled: usize,
        cancel: CancelHandle,
    ) -> (io::Result<usize>, Buffer) {
        loop {
            let decrypted = self.connection.borrow_mut().reader().read(&mut buffer.bytes_mut()[filled..]);
            match decrypted {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A peer that leaves without saying so has left all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return (Ok(0), buffer),
                result => return (result, buffer),
            }
            match self.feed(cancel.clone()).await {
                Ok(true) => {}
                Ok(false) => return (Ok(0), buffer),
                Err(error) => return (Err(error), buffer),
            }
        }
    }

    /// Ciphertext is left over from the last read.
    pub(crate) fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    pub(crate) fn raw(&self) -> &OwnedReadHalf<TcpStream> {
        &self.raw
    }

    /// Gives the connection as much ciphertext as it takes, read from the peer if none is left over. False at the
    /// end of the stream.
    async fn feed(&mut self, cancel: CancelHandle) -> io::Result<bool> {
        let (buffer, mut range) = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let room = Unfilled { buffer: self.pool.take()?, filled: 0 };
                let (result, room) = self.raw.cancelable_read(room, cancel).await;
                match result? {
                    0 => return Ok(false),
                    count => (room.buffer, 0..count),
                }
            }
        };
        let mut connection = self.connection.borrow_mut();
        let mut bytes = &buffer.bytes()[range.clone()];
        let taken = connection.read_tls(&mut bytes)?;
        range.start += taken;
        connection
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if !range.is_empty() {
            self.rest = Some((buffer, range));
        }
        Ok(true)
    }
}

impl TlsWriter {
    pub(crate) async fn write(&mut self, buffer: Buffer, range: Range<usize>) -> (io::Result<()>, Buffer) {
        let result = self.write_bytes(&buffer.bytes()[range]).await;
        (result, buffer)
    }

    pub(crate) async fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        for plain in bytes.chunks(PLAIN_BYTES_MAX) {
            self.connection.borrow_mut().writer().write_all(plain)?;
            self.flush().await?;
        }
        Ok(())
    }

    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.connection.borrow_mut().send_close_notify();
        self.flush().await?;
        self.raw.shutdown()
    }

    /// Sends what the connection wants sent: data, handshake, tickets, alerts.
    async fn flush(&mut self) -> io::Result<()> {
        while self.connection.borrow().wants_write() {
            let mut buffer = self.pool.take()?;
            let filled = {
                let mut connection = self.connection.borrow_mut();
                let mut room = buffer.bytes_mut();
                while connection.wants_write() && !room.is_empty() {
                    connection.write_tls(&mut room)?;
                }
                BUFFER_BYTES - room.len()
            };
            write_filled(&mut self.raw, buffer, 0..filled).await.0?;
        }
        Ok(())
    }
}
