//! Why no connection came about, in words for people, and when to try again.

use std::{io, time::Duration};

use rustls::CertificateError;
use tokio_tungstenite::tungstenite::{
    handshake::client::Response,
    http::{HeaderMap, StatusCode, header},
};
use url::Url;

use super::endpoint::shown;
use crate::transport::tls::OtherKey;

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
    /// The HTTP proxy on the way made no tunnel.
    #[error("the proxy {proxy} does not lead to the server: {cause}")]
    Proxy {
        /// The proxy's host.
        proxy: String,
        /// Why, in a few words.
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

    /// Whether a box in between may have refused the WebSocket, rather than the server the agent.
    /// Those that strip the wish for an upgrade leave a request that a server finds malformed.
    pub(super) fn blames_the_road(&self) -> bool {
        match self {
            Self::UpgradeRefused { .. } | Self::NotWebSocket { .. } => true,
            Self::Status { status } => matches!(status, 400 | 405 | 501 | 502),
            _ => false,
        }
    }

    /// A stable word for status, logs and tests.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "server_busy",
            Self::NotFound { .. } => "server_not_found",
            Self::NotWebSocket { .. } => "not_a_server",
            Self::Proxy { .. } => "proxy_refused",
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

/// What an answer other than an upgrade means.
pub(super) fn answered(endpoint: &Url, response: &Response) -> DialError {
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
pub(super) fn tls_cause(error: &io::Error) -> Option<String> {
    tls_trouble(error)
}

/// What TLS disliked, in words for people, whichever library met the error; `None` when it was not
/// TLS.
#[must_use]
pub fn tls_trouble(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    // An I/O error hides what it carries from `source`, and may carry another one.
    if let Some(carrier) = error.downcast_ref::<io::Error>() {
        return tls_trouble(carrier.get_ref()?);
    }
    Some(match error.downcast_ref::<rustls::Error>()? {
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
        CertificateError::Other(other) if other.0.is::<OtherKey>() => other.0.to_string(),
        other => format!("its certificate is not acceptable: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::http::HeaderValue;

    use super::*;

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
