//! The stream below every road: TCP, and TLS where the URL asks for it.

use std::{io, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::MaybeTlsStream;
use url::{Host, Url};

use super::{
    DialError,
    endpoint::shown,
    error::{io_cause, tls_cause},
};

/// A stream that is ready for HTTP.
pub(super) type Stream = MaybeTlsStream<TcpStream>;

/// Opens streams to one server.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) endpoint: Url,
    tls: Option<Arc<ClientConfig>>,
}

impl Connector {
    /// Opens streams to `endpoint`, a `ws` or `wss` URL. `tls` is needed for the latter.
    pub(super) fn new(endpoint: Url, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { endpoint, tls }
    }

    /// Opens one.
    ///
    /// # Errors
    /// When the server cannot be reached, or TLS does not trust it.
    ///
    /// # Cancel safety
    /// Safe: the attempt is given up.
    pub(super) async fn open(&self) -> Result<Stream, DialError> {
        let stream = self.connect_tcp().await?;
        // Frames are small and wait for nobody; a refusal here only costs a little time.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            Some(config) if self.endpoint.scheme() == "wss" => {
                let connector = TlsConnector::from(Arc::clone(config));
                let secured = connector.connect(self.server_name()?, stream).await;
                secured.map(MaybeTlsStream::Rustls).map_err(|error| self.refused(&error))
            }
            _ => Ok(MaybeTlsStream::Plain(stream)),
        }
    }

    async fn connect_tcp(&self) -> Result<TcpStream, DialError> {
        let port = self.endpoint.port_or_known_default().unwrap_or(80);
        let stream = match self.endpoint.host() {
            Some(Host::Domain(name)) => TcpStream::connect((name, port)).await,
            Some(Host::Ipv4(address)) => TcpStream::connect((address, port)).await,
            Some(Host::Ipv6(address)) => TcpStream::connect((address, port)).await,
            None => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
        };
        stream.map_err(|error| self.refused(&error))
    }

    fn server_name(&self) -> Result<ServerName<'static>, DialError> {
        match self.endpoint.host() {
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).map_err(|error| {
                DialError::Tls { server: shown(&self.endpoint), cause: error.to_string() }
            }),
            Some(Host::Ipv4(address)) => Ok(std::net::IpAddr::from(address).into()),
            Some(Host::Ipv6(address)) => Ok(std::net::IpAddr::from(address).into()),
            None => Err(self.refused(&io::Error::from(io::ErrorKind::AddrNotAvailable))),
        }
    }

    /// What an I/O error on the way means.
    pub(super) fn refused(&self, error: &io::Error) -> DialError {
        let server = shown(&self.endpoint);
        match tls_cause(error) {
            Some(cause) => DialError::Tls { server, cause },
            None => DialError::Unreachable { server, cause: io_cause(error) },
        }
    }
}
