//! The stream below every road: TCP, and TLS where the URL asks for it.

use std::{future::Future, io, pin::Pin, sync::Arc};

use hyper_util::client::proxy::matcher::Intercept;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::{
    DialError, ProxyRule,
    endpoint::shown,
    error::{io_cause, tls_cause},
    proxy::{self, Proxy},
};
use crate::transport::tcp;

/// A stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// A stream that is ready for HTTP.
pub(super) type Stream = Box<dyn ByteStream>;

/// Opens streams of your own making to the server: a tunnel, a socket file, a simulated network.
pub trait Connect: Send + Sync + 'static {
    /// Opens one, ready for HTTP.
    ///
    /// # Errors
    /// When the server cannot be reached.
    ///
    /// # Cancel safety
    /// Must be safe: the link drops it when it gives an attempt up.
    fn connect(&self) -> impl Future<Output = io::Result<Box<dyn ByteStream>>> + Send;
}

type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>>;

/// Any [`Connect`].
trait AnyConnect: Send + Sync {
    fn connect(&self) -> Connecting<'_>;
}

impl<C: Connect> AnyConnect for C {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(Connect::connect(self))
    }
}

/// Opens streams to one server.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) endpoint: Url,
    tls: Option<Arc<ClientConfig>>,
    proxy: Arc<Proxy>,
    /// In place of TCP, TLS and proxy.
    own: Option<Arc<dyn AnyConnect>>,
}

impl Connector {
    /// Opens streams to `endpoint`, a `ws` or `wss` URL. `tls` is needed for the latter.
    pub(super) fn new(endpoint: Url, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { endpoint, tls, proxy: Arc::new(Proxy::new(&ProxyRule::Direct)), own: None }
    }

    pub(super) fn over(self, connect: impl Connect) -> Self {
        Self { own: Some(Arc::new(connect)), ..self }
    }

    pub(super) fn with_proxy(self, rule: &ProxyRule) -> Self {
        Self { proxy: Arc::new(Proxy::new(rule)), ..self }
    }

    /// Opens one.
    ///
    /// # Errors
    /// When the server cannot be reached, or TLS does not trust it.
    ///
    /// # Cancel safety
    /// Safe: the attempt is given up.
    pub(super) async fn open(&self) -> Result<Stream, DialError> {
        if let Some(own) = &self.own {
            return own.connect().await.map_err(|error| self.refused(&error));
        }
        let stream = match self.proxy.on_the_way_to(&self.endpoint) {
            Some(proxy) => self.connect_through(&proxy).await?,
            None => self.connect_tcp().await.map_err(|error| self.refused(&error))?,
        };
        // A refusal here only costs a little time.
        let _ = tcp::tune_agent(&stream);
        match &self.tls {
            Some(config) if self.endpoint.scheme() == "wss" => {
                let connector = TlsConnector::from(Arc::clone(config));
                let secured = connector.connect(self.server_name()?, stream).await;
                let secured = secured.map_err(|error| self.refused(&error))?;
                Ok(Box::new(secured))
            }
            _ => Ok(Box::new(stream)),
        }
    }

    async fn connect_tcp(&self) -> io::Result<TcpStream> {
        let port = self.endpoint.port_or_known_default().unwrap_or(80);
        match self.endpoint.host() {
            Some(Host::Domain(name)) => TcpStream::connect((name, port)).await,
            Some(Host::Ipv4(address)) => TcpStream::connect((address, port)).await,
            Some(Host::Ipv6(address)) => TcpStream::connect((address, port)).await,
            None => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
        }
    }

    /// The name of the server is left to the proxy: inside, it may not even be known.
    async fn connect_through(&self, proxy: &Intercept) -> Result<TcpStream, DialError> {
        let uri = proxy.uri();
        let host = uri.host().unwrap_or_default();
        let refused = |cause: String| DialError::Proxy { proxy: host.to_owned(), cause };
        if uri.scheme_str() != Some("http") {
            return Err(refused("only proxies with an http:// URL are spoken to".to_owned()));
        }
        // An IPv6 address is in brackets in a URL, and without them in a look-up.
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((name, uri.port_u16().unwrap_or(80))).await;
        let stream = stream.map_err(|error| refused(io_cause(&error)))?;
        let tunnel = proxy::tunnel(stream, &proxy::target(&self.endpoint), proxy).await;
        tunnel.map_err(|error| refused(error.to_string()))
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
