//! Certificates made on the spot, and a directory to put them into.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed on drop.
#[derive(Debug)]
pub struct Scratch(PathBuf);

/// A self-signed certificate for localhost and 127.0.0.1, with its key, as PEM files.
#[derive(Debug)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tokenist-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is in the system's own place for it.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl Certificate {
    /// A fresh one each time, in the same two files.
    pub fn write(scratch: &Scratch) -> Certificate {
        let names = ["localhost", "127.0.0.1"].map(String::from);
        let made = KeyPair::generate().and_then(|key| {
            let certificate = CertificateParams::new(names)?.self_signed(&key)?;
            Ok((certificate.pem(), key.serialize_pem()))
        });
        let (certificate_pem, key_pem) = made.unwrap_or_else(|error| panic!("{error}"));
        let (certificate, key) = (scratch.path().join("cert.pem"), scratch.path().join("key.pem"));
        for (path, pem) in [(&certificate, certificate_pem), (&key, key_pem)] {
            std::fs::write(path, pem).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        Certificate { certificate, key }
    }

    /// A TLS client that trusts this certificate and no other.
    pub fn trust(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let certificates = rustls::pki_types::CertificateDer::pem_file_iter(&self.certificate);
        for certificate in certificates.unwrap_or_else(|error| panic!("{error}")) {
            roots
                .add(certificate.unwrap_or_else(|error| panic!("{error}")))
                .unwrap_or_else(|error| panic!("{error}"));
        }
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }
}

/// The leaf that a server shows to who trusts it; `None` if it shows another.
pub fn leaf(address: SocketAddr, trust: Arc<ClientConfig>) -> Option<Vec<u8>> {
    let mut socket = TcpStream::connect_timeout(&address, crate::PATIENCE).ok()?;
    socket.set_read_timeout(Some(crate::PATIENCE)).ok()?;
    let mut connection = ClientConnection::new(trust, ServerName::try_from("localhost").ok()?).ok()?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).ok()?;
    }
    connection.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec())
}
