//! TLS for the dialing side: the system's roots, and those the operator adds.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

/// TLS cannot be set up on this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// One of the added certificates is not a certificate.
    #[error("an added root certificate cannot be read; give it as a PEM or DER certificate")]
    BadRoot(#[source] rustls::Error),
    /// No certificate authority is known.
    #[error(
        "this machine knows no certificate authorities; install the package `ca-certificates` or \
         name the server's own certificate authority"
    )]
    NoRoots,
    /// The cryptography library offers no protocol version we speak.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// A client configuration that trusts the system's certificate authorities and `added`.
///
/// The cryptography provider is named here rather than installed for the process, so that a library
/// elsewhere in the program cannot change it.
///
/// # Errors
/// [`TlsError`] when nothing would be trusted or a certificate cannot be read.
pub fn client_config(added: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    // A broken certificate among the system's is the system's business, and common; those that can
    // be read are used.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in added {
        roots.add(certificate.clone()).map_err(TlsError::BadRoot)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
