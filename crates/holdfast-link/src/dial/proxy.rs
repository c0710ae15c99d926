//! Through an HTTP proxy: whether there is one, and the tunnel it makes.

use std::fmt;

use holdfast_protocol::message::config::Secret;
use http_body_util::Empty;
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{HOST, PROXY_AUTHORIZATION},
};
use hyper_util::{
    client::proxy::matcher::{Intercept, Matcher},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use url::Url;

use super::endpoint::is_loopback;

/// Whether connections go through an HTTP proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProxyRule {
    /// As the environment says: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper
    /// or lower case, read once. Never to this very machine.
    #[default]
    Environment,
    /// Straight to the server, whatever the environment says.
    Direct,
    /// Through the proxy at this URL, such as `http://user:password@proxy.example:3128`.
    Via(Secret),
}

/// What [`ProxyRule`] came to.
pub(super) struct Proxy {
    matcher: Option<Matcher>,
    even_loopback: bool,
}

impl Proxy {
    pub(super) fn new(rule: &ProxyRule) -> Self {
        match rule {
            ProxyRule::Environment => Self::matching(Matcher::from_env()),
            ProxyRule::Direct => Self { matcher: None, even_loopback: false },
            ProxyRule::Via(url) => {
                let matcher = Matcher::builder().all(url.expose()).build();
                Self { matcher: Some(matcher), even_loopback: true }
            }
        }
    }

    fn matching(matcher: Matcher) -> Self {
        Self { matcher: Some(matcher), even_loopback: false }
    }

    /// The proxy on the way to `endpoint`, if there is one.
    pub(super) fn on_the_way_to(&self, endpoint: &Url) -> Option<Intercept> {
        if is_loopback(endpoint) && !self.even_loopback {
            return None;
        }
        let scheme = if endpoint.scheme() == "wss" { "https" } else { "http" };
        let uri: Uri = format!("{scheme}://{}/", target(endpoint)).parse().ok()?;
        self.matcher.as_ref()?.intercept(&uri)
    }
}

/// Why a proxy made no tunnel, in words for people.
#[derive(Debug)]
pub(super) enum TunnelError {
    Refused(StatusCode),
    Broken,
}

impl fmt::Display for TunnelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => f.write_str(
                "it wants a user name and password (HTTP 407); put them into the proxy's URL",
            ),
            Self::Refused(status) => write!(f, "it answered HTTP {}", status.as_u16()),
            Self::Broken => f.write_str("it ended the connection"),
        }
    }
}

/// The host and port of a URL, as a CONNECT names them.
pub(super) fn target(endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    format!("{host}:{}", endpoint.port_or_known_default().unwrap_or(80))
}

/// Asks the proxy at the other end of `stream` for a tunnel to `target`.
pub(super) async fn tunnel(
    stream: TcpStream,
    target: &str,
    proxy: &Intercept,
) -> Result<TcpStream, TunnelError> {
    let broken = |_: hyper::Error| TunnelError::Broken;
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends when the stream has been taken out of it, or with `sender`.
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::connect(target).header(HOST, target);
    if let Some(auth) = proxy.basic_auth() {
        request = request.header(PROXY_AUTHORIZATION, auth);
    }
    let request = request.body(Empty::new()).map_err(|_| TunnelError::Broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    if !response.status().is_success() {
        return Err(TunnelError::Refused(response.status()));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| TunnelError::Broken)?;
    // In HTTP and TLS alike the dialling side speaks first: what has come already is not the
    // server.
    if parts.read_buf.is_empty() { Ok(parts.io.into_inner()) } else { Err(TunnelError::Broken) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(proxy: &Proxy, endpoint: &str) -> Option<String> {
        let proxy = proxy.on_the_way_to(&endpoint.parse().unwrap())?;
        Some(proxy.uri().authority()?.to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_some_hosts_have_none() {
        let matcher = Matcher::builder()
            .http("http://plain.example:3128")
            .https("http://user:canary@secure.example:3129")
            .no("inside.example,10.0.0.0/8,.corp.example")
            .build();
        let proxy = Proxy::matching(matcher);
        for (endpoint, expected) in [
            ("ws://hold.example/x", Some("plain.example:3128")),
            ("wss://hold.example/x", Some("secure.example:3129")),
            ("wss://hold.example:8443/x", Some("secure.example:3129")),
            ("wss://inside.example/x", None),
            ("wss://10.1.2.3/x", None),
            ("wss://hold.corp.example/x", None),
            ("ws://127.0.0.1:7400/x", None),
            ("ws://localhost:7400/x", None),
            ("ws://[::1]:7400/x", None),
        ] {
            assert_eq!(through(&proxy, endpoint).as_deref(), expected, "{endpoint}");
        }
    }

    #[test]
    fn a_proxy_that_was_named_is_used_for_everything_and_none_for_nothing() {
        let url = Secret::new("http://user:canary@proxy.example:3128");
        let proxy = Proxy::new(&ProxyRule::Via(url.clone()));
        assert_eq!(through(&proxy, "ws://127.0.0.1/").as_deref(), Some("proxy.example:3128"));
        assert_eq!(through(&Proxy::new(&ProxyRule::Direct), "wss://hold.example/"), None);
        assert!(!format!("{:?}", ProxyRule::Via(url)).contains("canary"));
    }

    #[test]
    fn a_connect_names_host_and_port() {
        for (endpoint, expected) in [
            ("wss://hold.example/x", "hold.example:443"),
            ("ws://hold.example/x", "hold.example:80"),
            ("wss://[2001:db8::1]:8443/x", "[2001:db8::1]:8443"),
        ] {
            assert_eq!(target(&endpoint.parse().unwrap()), expected);
        }
    }
}
