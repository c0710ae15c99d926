//! Opening a connection to the server.

mod connector;
mod endpoint;
mod error;
pub(crate) mod long_poll;
mod proxy;
mod roads;

use std::{future::Future, sync::Arc};

pub use connector::{ByteStream, Connect};
pub(crate) use endpoint::shown;
pub use endpoint::{EndpointError, PlaintextRule, endpoint};
pub(crate) use error::io_cause;
pub use error::{DialError, RetryRule, tls_trouble};
use holdfast_protocol::{FRAME_SIZE_MAX, message::config::Secret};
pub use long_poll::LongPollDialer;
pub use proxy::ProxyRule;
pub use roads::Roads;
use rustls::ClientConfig;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderValue, header},
    },
};
use url::Url;

use self::{connector::Connector, error::answered};
use crate::{
    session::Rate,
    transport::{
        Transport, TransportKind,
        metered::Metered,
        websocket::{Socket, limits},
    },
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

    /// Looks for a better road while a session is on a connection of this dialler: ends with an
    /// open connection once there is one. The session then leaves in good order and the next one
    /// takes it. The default never looks.
    ///
    /// # Cancel safety
    /// Safe: dropped early, the search is given up.
    fn better(&self, token: &Secret) -> impl Future<Output = Box<dyn Transport>> + Send {
        let _ = token;
        std::future::pending()
    }

    /// What came of a connection: whether frames passed both ways. The default takes no notice.
    fn came_of(&self, kind: TransportKind, greeted: bool) {
        let _ = (kind, greeted);
    }
}

/// A WebSocket as it was dialled.
pub type RawSocket = WebSocketStream<Metered<Box<dyn ByteStream>>>;

/// Dials a WebSocket over TCP, with TLS for `wss`.
#[derive(Clone)]
pub struct WebSocketDialer {
    connector: Connector,
    frame_max: usize,
}

impl WebSocketDialer {
    /// Dials `endpoint`, a `ws` or `wss` URL. `tls` is needed for the latter.
    #[must_use]
    pub fn new(endpoint: Url, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { connector: Connector::new(endpoint, tls), frame_max: FRAME_SIZE_MAX }
    }

    /// The same, through the proxy that `rule` names.
    #[must_use]
    pub fn with_proxy(self, rule: &ProxyRule) -> Self {
        Self { connector: self.connector.with_proxy(rule), ..self }
    }

    /// The same, over streams of your own making in place of TCP, TLS and proxies.
    #[must_use]
    pub fn over(self, connect: impl Connect) -> Self {
        Self { connector: self.connector.over(connect), ..self }
    }

    /// The same, with a limit to what is read, in bytes per frame.
    #[must_use]
    pub fn with_frame_max(self, frame_max: usize) -> Self {
        Self { frame_max, ..self }
    }

    /// Opens one for another conversation than the link's, whose frames need not be text. It reads
    /// at most as many pieces of messages a second as `rate` allows frames. An empty token is not
    /// shown.
    ///
    /// # Errors
    /// As [`Dial::dial`].
    ///
    /// # Cancel safety
    /// Safe: dropped early, the attempt is given up.
    pub async fn open(&self, token: &Secret, rate: Option<Rate>) -> Result<RawSocket, DialError> {
        let request = self.request(token)?;
        let stream = self.connector.open().await?;
        let limits =
            limits().max_message_size(Some(self.frame_max)).max_frame_size(Some(self.frame_max));
        let stream = Metered::new(stream).limit_after_head(rate);
        client_async_with_config(request, stream, Some(limits))
            .await
            .map(|(socket, _)| socket)
            .map_err(|error| self.refused(error))
    }

    async fn connect(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let socket = self.open(token, None).await?;
        Ok(Box::new(Socket::new(socket)))
    }

    fn request(&self, token: &Secret) -> Result<Request, DialError> {
        let mut request = self
            .connector
            .endpoint
            .as_str()
            .into_client_request()
            .map_err(|error| DialError::NotWebSocket { cause: error.to_string() })?;
        if !token.expose().is_empty() {
            request.headers_mut().insert(header::AUTHORIZATION, bearer(token)?);
        }
        Ok(request)
    }

    fn refused(&self, error: Error) -> DialError {
        match error {
            Error::Http(response) => answered(&self.connector.endpoint, &response),
            Error::Io(error) => self.connector.refused(&error),
            other => DialError::NotWebSocket { cause: other.to_string() },
        }
    }
}

impl Dial for WebSocketDialer {
    async fn dial(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        self.connect(token).await
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, DialError> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        .map_err(|_| DialError::UnusableToken)?;
    bearer.set_sensitive(true);
    Ok(bearer)
}
