//! How the agent's end behaves, and the diallers that follow from it.

use std::{sync::Arc, time::Duration};

use holdfast_protocol::{CONNECT_PATH, EXCHANGE_PATH};
use rustls::pki_types::CertificateDer;
use url::Url;

use crate::{
    dial::{self, EndpointError, LongPollDialer, PlaintextRule, ProxyRule, WebSocketDialer},
    dice::Dice,
    session::Config,
    transport::tls::{self, KeyPin, TlsError},
};

/// How the agent's end behaves.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The server's URL, as a person writes it. A path is kept as a prefix.
    pub server: Url,
    /// The endpoint below it.
    pub path: String,
    /// The endpoint of the long-poll road, for networks that let no WebSocket pass; `None` to never
    /// take it.
    pub exchange_path: Option<String>,
    /// Whether an unencrypted connection is acceptable.
    pub allow_plaintext: PlaintextRule,
    /// Certificate authorities trusted besides the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The one key to trust, in place of all certificate authorities.
    pub pin: Option<KeyPin>,
    /// A TLS configuration of your own, in place of all of the above: for a client certificate.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Whether to go through an HTTP proxy.
    pub proxy: ProxyRule,
    /// Whether [`Client::run`] ends when the very first attempt does not lead to a session, so that
    /// whoever has just set up the agent hears of a wrong URL or token at once.
    pub fail_first_connect: bool,
    /// The first redial waits a random time up to this.
    pub delay_min: Duration,
    /// A redial waits a random time up to at most this.
    pub delay_max: Duration,
    /// How long to wait at least when only a person can help. Up to as much again is added.
    pub delay_slow: Duration,
    /// How long a dial may take, from name look-up to the WebSocket.
    pub dial_max: Duration,
    /// A session that lived this long makes the next loss start from `delay_min` again.
    pub stable_min: Duration,
    /// Times and bounds of each session. Heartbeat and silence come from the server; `jitter` is
    /// drawn anew for each.
    pub session: Config,
    /// Where chance comes from.
    pub dice: Dice,
}

impl ClientConfig {
    /// The defaults for this server.
    #[must_use]
    pub fn new(server: Url) -> Self {
        Self {
            server,
            path: CONNECT_PATH.to_owned(),
            exchange_path: Some(EXCHANGE_PATH.to_owned()),
            allow_plaintext: PlaintextRule::default(),
            extra_roots: Vec::new(),
            pin: None,
            tls: None,
            proxy: ProxyRule::default(),
            fail_first_connect: false,
            delay_min: Duration::from_secs(1),
            delay_max: Duration::from_secs(60),
            delay_slow: Duration::from_secs(60),
            dial_max: Duration::from_secs(15),
            stable_min: Duration::from_secs(30),
            session: Config::default(),
            dice: Dice::default(),
        }
    }

    /// The dialler for WebSockets, and for the other road below the same prefix.
    pub(super) fn dialers(&self) -> Result<(WebSocketDialer, Option<LongPollDialer>), ConfigError> {
        let endpoint = dial::endpoint(&self.server, &self.path, self.allow_plaintext)
            .map_err(ConfigError::Endpoint)?;
        let tls = match (&self.tls, endpoint.scheme()) {
            (Some(tls), _) => Some(Arc::clone(tls)),
            (None, "wss") => Some(self.trust().map_err(ConfigError::Tls)?),
            (None, _) => None,
        };
        let other = self.exchange_path.as_ref().map(|path| {
            let mut other = endpoint.clone();
            let prefix = endpoint.path().strip_suffix(&self.path).unwrap_or_default();
            other.set_path(&format!("{prefix}{path}"));
            LongPollDialer::new(other, tls.clone()).with_proxy(&self.proxy)
        });
        let better = WebSocketDialer::new(endpoint, tls)
            .with_proxy(&self.proxy)
            .with_frame_max(self.session.frame_max);
        Ok((better, other))
    }

    fn trust(&self) -> Result<Arc<rustls::ClientConfig>, TlsError> {
        match self.pin {
            Some(pin) => tls::pinned_config(pin),
            None => tls::client_config(&self.extra_roots),
        }
    }
}

/// The link cannot be set up with this configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The server's URL cannot be used.
    #[error(transparent)]
    Endpoint(EndpointError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(TlsError),
}
