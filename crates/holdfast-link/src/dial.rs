//! Opening a connection to the server.

mod endpoint;
mod error;

use std::{future::Future, io, sync::Arc};

pub(crate) use endpoint::shown;
pub use endpoint::{EndpointError, PlaintextRule, endpoint};
pub(crate) use error::io_cause;
pub use error::{DialError, RetryRule};
use holdfast_protocol::message::config::Secret;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, client_async_tls_with_config,
    tungstenite::{
        Error,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderValue, header},
    },
};
use url::{Host, Url};

use self::error::{answered, tls_cause};
use crate::transport::{
    Transport,
    websocket::{Dialed, limits},
};

/// Opens connections to one server.
pub trait Dial: Send + Sync + 'static {
    /// Opens one, proving who we are with `token`.
    ///
    /// # Errors
    /// [`DialError`], whose [`DialError::rule`] says when to try again.
    ///
    /// # Cancel safety
    /// Safe: dropped early, the attempt is given up.
    fn dial(
        &self,
        token: &Secret,
    ) -> impl Future<Output = Result<Box<dyn Transport>, DialError>> + Send;
}

/// Dials a WebSocket over TCP, with TLS for `wss`.
#[derive(Clone)]
pub struct WebSocketDialer {
    endpoint: Url,
    tls: Option<Arc<ClientConfig>>,
}

impl WebSocketDialer {
    /// Dials `endpoint`, a `ws` or `wss` URL. `tls` is needed for the latter.
    #[must_use]
    pub fn new(endpoint: Url, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { endpoint, tls }
    }

    async fn connect(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let request = self.request(token)?;
        let stream = self.connect_tcp().await?;
        let connector = match &self.tls {
            Some(config) => Connector::Rustls(Arc::clone(config)),
            None => Connector::Plain,
        };
        client_async_tls_with_config(request, stream, Some(limits()), Some(connector))
            .await
            .map(|(socket, _)| Box::new(Dialed::new(socket)) as Box<dyn Transport>)
            .map_err(|error| self.refused(error))
    }

    async fn connect_tcp(&self) -> Result<TcpStream, DialError> {
        let port = self.endpoint.port_or_known_default().unwrap_or(80);
        let stream = match self.endpoint.host() {
            Some(Host::Domain(name)) => TcpStream::connect((name, port)).await,
            Some(Host::Ipv4(address)) => TcpStream::connect((address, port)).await,
            Some(Host::Ipv6(address)) => TcpStream::connect((address, port)).await,
            None => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
        };
        let stream = stream.map_err(|error| self.unreachable(&error))?;
        // Frames are small and wait for nobody; a refusal here only costs a little time.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn request(&self, token: &Secret) -> Result<Request, DialError> {
        let mut request = self
            .endpoint
            .as_str()
            .into_client_request()
            .map_err(|error| DialError::NotWebSocket { cause: error.to_string() })?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| DialError::UnusableToken)?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        Ok(request)
    }

    fn unreachable(&self, error: &io::Error) -> DialError {
        DialError::Unreachable { server: shown(&self.endpoint), cause: io_cause(error) }
    }

    fn refused(&self, error: Error) -> DialError {
        match error {
            Error::Http(response) => answered(&self.endpoint, &response),
            Error::Io(error) => match tls_cause(&error) {
                Some(cause) => DialError::Tls { server: shown(&self.endpoint), cause },
                None => self.unreachable(&error),
            },
            Error::Tls(error) => {
                DialError::Tls { server: shown(&self.endpoint), cause: error.to_string() }
            }
            other => DialError::NotWebSocket { cause: other.to_string() },
        }
    }
}

impl Dial for WebSocketDialer {
    async fn dial(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        self.connect(token).await
    }
}
