//! Certificates and whom to trust, from files.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    config.enable_secret_extraction = true;
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
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the default provider speaks the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.enable_secret_extraction = true;
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
