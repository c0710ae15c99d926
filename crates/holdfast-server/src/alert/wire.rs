//! Sending over HTTP: to where the guard says, once, briefly, and without repeating the answer.

use std::{error::Error as StdError, fmt, net::SocketAddr, time::Duration};

use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde::Serialize;
use url::Url;

use super::guard::{Blocked, Guard};

/// Sends notifications. A clone is another handle to the same one.
#[derive(Debug, Clone)]
pub struct Wire {
    guard: Guard,
}

/// One request. Its address and body may be secrets, and are not printed.
#[derive(Clone)]
pub struct Post {
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Why a notification did not arrive. It tells nothing of what was answered, and no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may not go there.
    #[error("it may not be sent: {0}")]
    Blocked(Blocked),
    /// The receiver refused it, and would again.
    #[error("the receiver refused it ({0})")]
    Refused(String),
    /// Another try may succeed.
    #[error("the receiver could not be reached: {0}")]
    Passing(String),
    /// The channel is set so that nothing can be sent.
    #[error("the channel's settings cannot be used: {0}")]
    Settings(&'static str),
}

/// How long one notification may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How much of an answer is read, in bytes. None of it is kept.
const ANSWER_MAX: usize = 64 * 1024;

impl Wire {
    /// Sends to where `guard` allows.
    #[must_use]
    pub fn new(guard: Guard) -> Self {
        Self { guard }
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Sends one request.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn post(&self, post: Post) -> Result<(), SendError> {
        let addresses = self.guard.web(&post.url).await.map_err(SendError::from)?;
        let client = client(&post.url, &addresses)?;
        let request = client.post(post.url).headers(post.headers).body(post.body);
        let mut answer = request.send().await.map_err(|error| unreached(&error))?;
        let mut room = ANSWER_MAX;
        // Read, so that the receiver is not cut off in its answer; a long one is.
        while let Ok(Some(part)) = answer.chunk().await {
            match room.checked_sub(part.len()) {
                Some(left) => room = left,
                None => break,
            }
        }
        judge(answer.status())
    }
}

/// A client for one request: the name stands for the addresses that were checked, and no others.
fn client(url: &Url, addresses: &[SocketAddr]) -> Result<reqwest::Client, SendError> {
    let host = url.host_str().unwrap_or_default();
    reqwest::Client::builder()
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .resolve_to_addrs(host, addresses)
        // A redirect leads to an address that nobody checked, and so would a proxy.
        .redirect(Policy::none())
        .no_proxy()
        .timeout(DEADLINE)
        .build()
        .map_err(|_| SendError::Settings("no HTTP client could be made"))
}

fn judge(status: StatusCode) -> Result<(), SendError> {
    if status.is_success() {
        return Ok(());
    }
    let told = status.to_string();
    let passing = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status);
    if passing { Err(SendError::Passing(told)) } else { Err(SendError::Refused(told)) }
}

fn unreached(error: &reqwest::Error) -> SendError {
    SendError::Passing(failure(error).to_owned())
}

/// The kind of failure. The error's own text would repeat the address, which may hold a secret.
pub(crate) fn failure(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if is_certificate(error) {
        "its certificate is not trusted"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    }
}

fn is_certificate(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().contains("certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Post {
    /// A request with a JSON body.
    #[must_use]
    pub fn json(url: Url, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("messages have a JSON form");
        Self::new(url, "application/json", body)
    }

    pub(super) fn new(url: Url, kind: &'static str, body: Vec<u8>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Self { url, headers, body }
    }

    /// Adds a header that may be a secret.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Result<Self, SendError> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| SendError::Settings("a value does not fit into a header"))?;
        value.set_sensitive(true);
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    #[cfg(test)]
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    #[cfg(test)]
    pub(super) fn plain_headers(&self) -> Vec<(String, String)> {
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        self.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.url.origin().ascii_serialization();
        f.debug_struct("Post").field("origin", &origin).finish_non_exhaustive()
    }
}

impl From<Blocked> for SendError {
    fn from(blocked: Blocked) -> Self {
        // A name server that does not answer now may answer later.
        match blocked {
            Blocked::Unknown => Self::Passing("its name has no address".to_owned()),
            Blocked::Address | Blocked::Port | Blocked::Internal => Self::Blocked(blocked),
        }
    }
}

impl SendError {
    /// Whether another try may succeed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Passing(_))
    }
}
