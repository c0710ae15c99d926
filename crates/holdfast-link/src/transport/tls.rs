//! TLS for the dialing side: whom it trusts.
//!
//! Three ways, from the least work to the most certain: the system's certificate authorities, those
//! with the operator's own beside them, or one pinned key and nobody else.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use sha2::{Digest, Sha256};

/// TLS cannot be set up on this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// One of the added certificates is not a certificate.
    #[error("an added root certificate cannot be read; give it as a PEM or DER certificate")]
    BadRoot(#[source] rustls::Error),
    /// There is no certificate where there should be one.
    #[error("there is no certificate in it; give a PEM file that begins with BEGIN CERTIFICATE")]
    NoCertificate,
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
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A client configuration that trusts whoever holds the key of `pin`, and nobody else.
///
/// No authority is asked, so names and dates in the certificate do not matter: it may be
/// self-signed, and renewed as long as its key stays.
///
/// # Errors
/// [`TlsError::Setup`].
pub fn pinned_config(pin: KeyPin) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pin, algorithms }))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The certificates in a PEM file.
///
/// # Errors
/// [`TlsError::NoCertificate`] when there is none, or one of them is damaged.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or(TlsError::NoCertificate)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The SHA-256 of a server's public key (its `SubjectPublicKeyInfo`), written as curl does it:
/// `sha256//` and base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyPin([u8; 32]);

/// What a pin is written with in front.
const PREFIX: &str = "sha256//";

/// The text is not a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pin is `sha256//` and the base64 of a SHA-256, 44 characters that end in `=`")]
pub struct ParsePinError;

impl KeyPin {
    /// The pin of a certificate's key.
    ///
    /// # Errors
    /// When it is not a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        Ok(Self(Sha256::digest(parsed.subject_public_key_info().as_ref()).into()))
    }
}

impl FromStr for KeyPin {
    type Err = ParsePinError;

    fn from_str(text: &str) -> Result<Self, ParsePinError> {
        let text = text.strip_prefix(PREFIX).ok_or(ParsePinError)?;
        let bytes = STANDARD.decode(text).map_err(|_| ParsePinError)?;
        bytes.try_into().map(Self).map_err(|_| ParsePinError)
    }
}

impl fmt::Display for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The server has proven that it holds a key, and it is another one.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("its key is {shown}, not the pinned one")]
pub(crate) struct OtherKey {
    shown: KeyPin,
}

/// Trusts one key.
#[derive(Debug)]
struct Pinned {
    pin: KeyPin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = KeyPin::of(end_entity)?;
        if shown == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        let other = OtherError(Arc::new(OtherKey { shown }));
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
    }

    // A certificate is public; that the server holds its key is shown here.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_written_as_it_is_read() {
        let text = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let pin: KeyPin = text.parse().unwrap();
        assert_eq!((pin.to_string(), format!("{pin:?}")), (text.to_owned(), text.to_owned()));
        for wrong in [
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256//47DEQpj8HBSa",
            "sha256//not base64 at all, whatever it may be.....=",
            "sha1//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "",
        ] {
            assert_eq!(wrong.parse::<KeyPin>(), Err(ParsePinError), "{wrong}");
        }
    }
}
