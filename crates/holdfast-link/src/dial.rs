//! Opening a connection to the server, and what each way of failing means.

use std::{future::Future, io, net::IpAddr, sync::Arc, time::Duration};

use holdfast_protocol::message::config::Secret;
use rustls::{CertificateError, ClientConfig};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, client_async_tls_with_config,
    tungstenite::{
        Error,
        client::IntoClientRequest,
        handshake::client::{Request, Response},
        http::{HeaderMap, HeaderValue, StatusCode, header},
    },
};
use url::{Host, Url};

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

/// No connection came about. Each variant has its own rule for the next try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// 429 or 503: there is too much to do over there.
    #[error("the server is busy (HTTP {status})")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// 404 or 410: there is a web server, but not ours, or a path is missing from the URL.
    #[error("there is no Holdfast server at {server} (HTTP {status}); check the server's URL")]
    NotFound {
        /// The URL that was dialled.
        server: String,
        /// The HTTP status.
        status: u16,
    },
    /// What answers does not speak WebSocket.
    #[error("what answers is not a Holdfast server: {cause}")]
    NotWebSocket {
        /// What was odd.
        cause: String,
    },
    /// A redirect. Following one would hand the token to whoever sent it.
    #[error("the server redirects to {location}; use that as the server's URL if you trust it")]
    Redirected {
        /// Where to, at most 200 characters of it.
        location: String,
    },
    /// Any other answer.
    #[error("the server answered HTTP {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// Nothing came of it in time.
    #[error("cannot reach {server}: no answer within {after:.0?}")]
    TimedOut {
        /// The URL that was dialled.
        server: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection could not be secured.
    #[error("the connection to {server} cannot be secured: {cause}")]
    Tls {
        /// The URL that was dialled.
        server: String,
        /// What was wrong.
        cause: String,
    },
    /// 401 or 403: the token is not known, or no longer.
    #[error(
        "the server does not accept this agent's token (HTTP {status}{}); enrol the host again if \
         it was removed",
        .said.as_ref().map_or(String::new(), |said| format!(", it says: {said}"))
    )]
    Unauthorised {
        /// The HTTP status.
        status: u16,
        /// The server's own sentence, when it gave one; printable, at most 200 characters of it.
        said: Option<String>,
    },
    /// No connection at all.
    #[error("cannot reach {server}: {cause}")]
    Unreachable {
        /// The URL that was dialled.
        server: String,
        /// Why, in a few words.
        cause: String,
    },
    /// The token has characters that no HTTP header can carry.
    #[error("the agent's token is damaged; enrol the host again")]
    UnusableToken,
    /// 426, or an answer that ignores the wish for a WebSocket.
    #[error(
        "WebSocket connections are refused on the way to the server (HTTP {status}); a proxy in \
         between must let upgrades pass"
    )]
    UpgradeRefused {
        /// The HTTP status.
        status: u16,
    },
}

/// When to try again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryRule {
    /// By the backoff.
    Backoff,
    /// Not before this time, and spread.
    NotBefore(Duration),
    /// A person has to do something first; look again once in a while.
    Slowly,
}

impl DialError {
    /// When to try again.
    #[must_use]
    pub fn rule(&self) -> RetryRule {
        match self {
            Self::Busy { retry_after: Some(after), .. } => RetryRule::NotBefore(*after),
            Self::Unauthorised { .. }
            | Self::NotFound { .. }
            | Self::Redirected { .. }
            | Self::UnusableToken => RetryRule::Slowly,
            _ => RetryRule::Backoff,
        }
    }

    /// A stable word for status, logs and tests.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "server_busy",
            Self::NotFound { .. } => "server_not_found",
            Self::NotWebSocket { .. } => "not_a_server",
            Self::Redirected { .. } => "server_redirects",
            Self::Status { .. } => "unexpected_status",
            Self::TimedOut { .. } => "dial_timed_out",
            Self::Tls { .. } => "tls_failed",
            Self::Unauthorised { .. } | Self::UnusableToken => "unauthorised",
            Self::Unreachable { .. } => "unreachable",
            Self::UpgradeRefused { .. } => "upgrade_refused",
        }
    }
}

fn answered(endpoint: &Url, response: &Response) -> DialError {
    let status = response.status().as_u16();
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            DialError::Unauthorised { status, said: said(response) }
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            DialError::NotFound { server: shown(endpoint), status }
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            DialError::Busy { status, retry_after: retry_after(response.headers()) }
        }
        StatusCode::UPGRADE_REQUIRED => DialError::UpgradeRefused { status },
        code if code.is_success() => DialError::UpgradeRefused { status },
        code if code.is_redirection() => {
            let location = response.headers().get(header::LOCATION);
            let location = location.and_then(|value| value.to_str().ok()).unwrap_or("elsewhere");
            DialError::Redirected { location: location.chars().take(200).collect() }
        }
        _ => DialError::Status { status },
    }
}

/// The title of a problem document, such as our own server sends.
fn said(response: &Response) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Problem {
        title: String,
    }
    let problem: Problem = serde_json::from_slice(response.body().as_deref()?).ok()?;
    let printable = problem.title.chars().filter(|letter| !letter.is_control());
    Some(printable.take(200).collect())
}

/// Only the form in seconds: a date would be a decision by the wall clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The URL as people typed it: with `http` in front, without the endpoint's path.
pub(crate) fn shown(endpoint: &Url) -> String {
    let scheme = if matches!(endpoint.scheme(), "wss" | "https") { "https" } else { "http" };
    let host = endpoint.host_str().unwrap_or_default();
    match endpoint.port() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

/// An I/O error in words for people, without the operating system's number.
pub(crate) fn io_cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable => "the host is unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "the network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection was cut".to_owned(),
        _ => other_cause(error),
    }
}

fn other_cause(error: &io::Error) -> String {
    let text = error.to_string();
    // The standard library has no kind for this one, only these words.
    if text.starts_with("failed to lookup address information") {
        return "the name of the host cannot be resolved".to_owned();
    }
    // "Broken pipe (os error 32)": the number helps nobody.
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// What TLS disliked, in words for people; `None` when it was not TLS.
fn tls_cause(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match inner {
        rustls::Error::InvalidMessage(_) => {
            "what answers does not speak TLS; is it http:// rather than https://?".to_owned()
        }
        rustls::Error::InvalidCertificate(error) => certificate_cause(error),
        other => other.to_string(),
    })
}

fn certificate_cause(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired (or this machine's clock is wrong)".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "its certificate is not signed by an authority this machine trusts".to_owned()
        }
        other => format!("its certificate is not acceptable: {other}"),
    }
}

/// Whether an unencrypted connection is acceptable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PlaintextRule {
    /// Only to this very machine.
    #[default]
    LoopbackOnly,
    /// Also across a network. The token and all that is said can be read on the way.
    Allow,
}

/// The server's URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// A user name or password is in it; the agent has its own token.
    #[error("the server's URL must not contain a user name or password; leave them out")]
    Credentials,
    /// It would send the token unencrypted across a network.
    #[error(
        "{server} is not encrypted and not on this machine, so the agent's token could be read on \
         the way; use https, or allow plaintext by name"
    )]
    Plaintext {
        /// The URL without its path.
        server: String,
    },
    /// Not an http or https URL with a host.
    #[error(
        "the server's URL must begin with https:// (or http:// for this machine) and name a host"
    )]
    Scheme,
}

/// The URL to dial: `http` becomes `ws`, `https` becomes `wss`, and a path in `server` (a server
/// behind a prefix of a proxy) stays in front of `path`.
///
/// # Errors
/// [`EndpointError`].
pub fn endpoint(server: &Url, path: &str, rule: PlaintextRule) -> Result<Url, EndpointError> {
    let scheme = match server.scheme() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return Err(EndpointError::Scheme),
    };
    if !server.username().is_empty() || server.password().is_some() {
        return Err(EndpointError::Credentials);
    }
    let mut url = server.clone();
    url.set_scheme(scheme).map_err(|()| EndpointError::Scheme)?;
    if scheme == "ws" && rule == PlaintextRule::LoopbackOnly && !is_loopback(&url) {
        return Err(EndpointError::Plaintext { server: shown(&url) });
    }
    let prefix = url.path().trim_end_matches('/');
    let prefix = prefix.strip_suffix(path).unwrap_or(prefix).to_owned();
    url.set_path(&format!("{prefix}{path}"));
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/api/v1/agent/connect";

    fn dialled(server: &str, rule: PlaintextRule) -> Result<String, EndpointError> {
        endpoint(&server.parse().unwrap(), PATH, rule).map(String::from)
    }

    #[test]
    fn schemes_become_websocket_schemes_and_prefixes_stay() {
        let rule = PlaintextRule::LoopbackOnly;
        for (server, url) in [
            ("https://hold.example", "wss://hold.example/api/v1/agent/connect"),
            ("https://hold.example/", "wss://hold.example/api/v1/agent/connect"),
            (
                "wss://hold.example:8443/fleet/?x=1#y",
                "wss://hold.example:8443/fleet/api/v1/agent/connect",
            ),
            (
                "https://hold.example/fleet/api/v1/agent/connect",
                "wss://hold.example/fleet/api/v1/agent/connect",
            ),
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/api/v1/agent/connect"),
            ("http://[::1]:8080", "ws://[::1]:8080/api/v1/agent/connect"),
            ("http://localhost", "ws://localhost/api/v1/agent/connect"),
        ] {
            assert_eq!(dialled(server, rule).as_deref(), Ok(url));
        }
    }

    #[test]
    fn plaintext_across_a_network_is_refused_unless_allowed() {
        let server = "http://hold.example/fleet";
        let refused = dialled(server, PlaintextRule::LoopbackOnly).unwrap_err();
        assert!(
            refused.to_string().starts_with("http://hold.example is not encrypted"),
            "{refused}"
        );
        assert!(dialled(server, PlaintextRule::Allow).is_ok());
        assert!(dialled("http://127.0.0.1.example", PlaintextRule::LoopbackOnly).is_err());
    }

    #[test]
    fn odd_urls_are_refused() {
        let rule = PlaintextRule::Allow;
        assert_eq!(dialled("ftp://hold.example", rule), Err(EndpointError::Scheme));
        assert_eq!(
            dialled("https://me:canary@hold.example", rule),
            Err(EndpointError::Credentials)
        );
    }

    #[test]
    fn causes_are_words_for_people() {
        for (error, words) in [
            (io::Error::from_raw_os_error(111), "connection refused"),
            (io::Error::from_raw_os_error(32), "broken pipe"),
            (
                io::Error::other("failed to lookup address information: Name or service not known"),
                "the name of the host cannot be resolved",
            ),
        ] {
            assert_eq!(io_cause(&error), words);
        }
        let tls = |error: rustls::Error| tls_cause(&io::Error::other(error)).unwrap();
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(tls(unknown).contains("not signed by an authority"));
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert!(tls(expired).contains("has expired"));
        assert_eq!(tls_cause(&io::Error::other("something else")), None);
    }

    #[test]
    fn the_servers_own_sentence_is_shown_without_its_tricks() {
        for (body, text) in [
            (
                r#"{"title":"The host was\u001b[2J removed.","status":401}"#,
                "(HTTP 401, it says: The host was[2J removed.)",
            ),
            ("<html>", "(HTTP 401);"),
            (r#"{"detail":"x"}"#, "(HTTP 401);"),
        ] {
            let mut response = Response::new(Some(body.as_bytes().to_vec()));
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            let error = answered(&"ws://127.0.0.1/".parse().unwrap(), &response).to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn each_answer_has_its_rule() {
        let slow = RetryRule::Slowly;
        for (status, extra, code, rule) in [
            (401, None, "unauthorised", slow),
            (403, None, "unauthorised", slow),
            (404, None, "server_not_found", slow),
            (302, Some(("location", "https://elsewhere")), "server_redirects", slow),
            (426, None, "upgrade_refused", RetryRule::Backoff),
            (200, None, "upgrade_refused", RetryRule::Backoff),
            (500, None, "unexpected_status", RetryRule::Backoff),
            (503, None, "server_busy", RetryRule::Backoff),
            (
                503,
                Some(("retry-after", "7")),
                "server_busy",
                RetryRule::NotBefore(Duration::from_secs(7)),
            ),
            (
                429,
                Some(("retry-after", " 3 ")),
                "server_busy",
                RetryRule::NotBefore(Duration::from_secs(3)),
            ),
            (429, Some(("retry-after", "-1")), "server_busy", RetryRule::Backoff),
        ] {
            let mut response = Response::new(None::<Vec<u8>>);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some((name, value)) = extra {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            let error = answered(&"ws://127.0.0.1/".parse().unwrap(), &response);
            assert_eq!((error.code(), error.rule()), (code, rule), "HTTP {status}");
        }
    }
}
