//! Whom the agent takes for its server.

use std::sync::Arc;

use holdfast_link::{
    ClientConfig, KeyPin,
    transport::tls::{self, ParsePinError, TlsError},
};
use serde::{Deserialize, Serialize};

use crate::error::Advice;

/// Whom to trust at the other end of TLS, besides or in place of the system's authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// Certificate authorities, as PEM: the text itself, for the file may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
    /// The server's one key, as `sha256//` and base64. Nothing else is trusted then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
}

/// What is to be trusted makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is no certificate authority in the text.
    #[error("the certificate authority cannot be used: {0}")]
    Authorities(TlsError),
    /// It is not a pin.
    #[error("the pin cannot be used: {0}")]
    Pin(ParsePinError),
}

impl Trust {
    /// The system's authorities are enough.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Makes a link trust it.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn apply(&self, config: &mut ClientConfig) -> Result<(), TrustError> {
        if let Some(pem) = &self.authorities {
            let added = tls::certificates(pem.as_bytes()).map_err(TrustError::Authorities)?;
            config.extra_roots.extend(added);
        }
        config.pin = self.pin()?;
        Ok(())
    }

    /// The same for the one request of an enrolment.
    ///
    /// # Errors
    /// [`TrustError`].
    pub(crate) fn client_config(&self) -> Result<Arc<rustls::ClientConfig>, TrustError> {
        if let Some(pin) = self.pin()? {
            return tls::pinned_config(pin).map_err(TrustError::Authorities);
        }
        let added = match &self.authorities {
            Some(pem) => tls::certificates(pem.as_bytes()).map_err(TrustError::Authorities)?,
            None => Vec::new(),
        };
        tls::client_config(&added).map_err(TrustError::Authorities)
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// [`TrustError`].
    pub(crate) fn check(&self) -> Result<(), TrustError> {
        self.client_config().map(drop)
    }

    fn pin(&self) -> Result<Option<KeyPin>, TrustError> {
        self.pin.as_deref().map(str::parse).transpose().map_err(TrustError::Pin)
    }
}

impl Advice for TrustError {
    fn advice(&self) -> String {
        match self {
            Self::Authorities(_) => {
                "give --ca-file a PEM file that begins with BEGIN CERTIFICATE".to_owned()
            }
            Self::Pin(_) => "take the pin of the server's certificate with `openssl x509 -in \
                             CERT -pubkey -noout | openssl pkey -pubin -outform der | openssl \
                             dgst -sha256 -binary | base64`, and write sha256// before it"
                .to_owned(),
        }
    }
}
