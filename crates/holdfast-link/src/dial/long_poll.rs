//! Dials the long-poll road: plain HTTP requests, for networks that let no WebSocket pass.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use holdfast_protocol::{
    FRAME_SIZE_MAX,
    message::{config::Secret, exchange::Exchange},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use url::{Position, Url};
use uuid::Uuid;

use super::{Connect, Dial, DialError, ProxyRule, bearer, connector::Connector, error, shown};
use crate::transport::{Transport, long_poll::LongPoll};

/// Connections kept between exchanges: one that is held, and one that relieves it.
const IDLE_MAX: usize = 2;
/// The largest answer: a full batch and the frame that crossed the line.
const ANSWER_SIZE_MAX: usize = FRAME_SIZE_MAX + 512 * 1024;
/// The server holds an exchange for 25 s; after this it has been lost.
const EXCHANGE_MAX: Duration = Duration::from_secs(40);

/// Opens links over long polls.
#[derive(Clone)]
pub struct LongPollDialer {
    connector: Connector,
}

impl LongPollDialer {
    /// Dials `endpoint`, a `ws` or `wss` URL as [`super::endpoint()`] gives. `tls` is needed for
    /// the latter.
    #[must_use]
    pub fn new(endpoint: Url, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { connector: Connector::new(endpoint, tls) }
    }

    /// The same, through the proxy that `rule` names.
    #[must_use]
    pub fn with_proxy(self, rule: &ProxyRule) -> Self {
        Self { connector: self.connector.with_proxy(rule) }
    }

    /// The same, over streams of your own making in place of TCP, TLS and proxies.
    #[must_use]
    pub fn over(self, connect: impl Connect) -> Self {
        Self { connector: self.connector.over(connect) }
    }

    async fn open(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let desk = Arc::new(Desk {
            connector: self.connector.clone(),
            bearer: bearer(token)?,
            idle: Mutex::default(),
        });
        let link = Uuid::new_v4();
        let opening =
            Exchange { link, number: 0, received: 0, first: 0, frames: Vec::new(), close: None };
        let answer = desk.exchange(&opening).await?;
        if serde_json::from_slice::<holdfast_protocol::message::exchange::Answer>(&answer).is_err()
        {
            let cause = "the answer is not an exchange".to_owned();
            return Err(DialError::NotWebSocket { cause });
        }
        Ok(Box::new(LongPoll::new(link, Box::new(Poster(desk)))))
    }
}

impl Dial for LongPollDialer {
    async fn dial(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        self.open(token).await
    }
}

/// An exchange under way; it needs nobody to stay.
pub(crate) type Posting = Pin<Box<dyn Future<Output = Result<Bytes, DialError>> + Send>>;

/// Whatever brings an exchange to the server and the answer back.
pub(crate) trait Post: Send {
    fn post(&self, exchange: &Exchange) -> Posting;
}

struct Poster(Arc<Desk>);

impl Post for Poster {
    fn post(&self, exchange: &Exchange) -> Posting {
        let desk = Arc::clone(&self.0);
        let exchange = exchange.clone();
        Box::pin(async move {
            let server = shown(&desk.connector.endpoint);
            let lost = DialError::TimedOut { server, after: EXCHANGE_MAX };
            tokio::time::timeout(EXCHANGE_MAX, desk.exchange(&exchange)).await.unwrap_or(Err(lost))
        })
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// Where one link's exchanges are made, and the connections it keeps.
struct Desk {
    connector: Connector,
    bearer: HeaderValue,
    idle: Mutex<Vec<Sender>>,
}

impl Desk {
    async fn exchange(&self, exchange: &Exchange) -> Result<Bytes, DialError> {
        let request = self.request(exchange)?;
        let mut sender = match self.take_idle() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = sender.send_request(request).await.map_err(|error| self.cut(&error))?;
        let (head, body) = response.into_parts();
        let body = self.read(body).await?;
        self.put_back(sender);
        if head.status != hyper::StatusCode::OK {
            let response = Response::from_parts(head, Some(body.to_vec()));
            return Err(error::answered(&self.connector.endpoint, &response));
        }
        Ok(body)
    }

    fn request(&self, exchange: &Exchange) -> Result<Request<Full<Bytes>>, DialError> {
        let endpoint = &self.connector.endpoint;
        let body = serde_json::to_vec(exchange).expect("an exchange has a JSON form");
        Request::post(endpoint.path())
            .header(header::HOST, &endpoint[Position::BeforeHost..Position::AfterPort])
            .header(header::AUTHORIZATION, self.bearer.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| DialError::NotWebSocket { cause: error.to_string() })
    }

    async fn connect(&self) -> Result<Sender, DialError> {
        let stream = self.connector.open().await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.cut(&error))?;
        // It ends with the last handle to it, which the desk or an exchange holds.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection for exchanges ended");
            }
        });
        Ok(sender)
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, DialError> {
        let body = Limited::new(body, ANSWER_SIZE_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| DialError::Unreachable {
            server: shown(&self.connector.endpoint),
            cause: error.to_string(),
        })
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().position(Sender::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    fn put_back(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }

    fn cut(&self, error: &hyper::Error) -> DialError {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return self.connector.refused(error);
            }
            cause = error.source();
        }
        DialError::Unreachable {
            server: shown(&self.connector.endpoint),
            cause: "the connection was cut".to_owned(),
        }
    }
}
