//! How the agents of a world reach their server: each in a way of its own.

use std::io;

use holdfast_link::{
    Dice,
    dial::{ByteStream, Connect, Dial, DialError, LongPollDialer, Roads, WebSocketDialer},
    transport::{Transport, TransportKind},
};
use holdfast_protocol::message::config::Secret;
use turmoil::net::TcpStream;
use url::Url;

/// Where WebSockets are taken.
pub(crate) const WEB_SOCKETS: u16 = 7400;
/// Where exchanges are answered.
pub(crate) const EXCHANGES: u16 = 7401;
/// A box on the way to the WebSockets, which lets none pass some of the time.
pub(crate) const BOX: u16 = 7402;

/// The real dialers, over the simulated network.
pub(crate) enum Road {
    WebSocket(WebSocketDialer),
    LongPoll(LongPollDialer),
    Both(Box<Roads<WebSocketDialer, LongPollDialer>>),
}

impl Road {
    pub(crate) fn of(number: usize, dice: Dice) -> Self {
        let web_sockets = |port| WebSocketDialer::new(endpoint(), None).over(Port(port));
        let exchanges = LongPollDialer::new(endpoint(), None).over(Port(EXCHANGES));
        match number % 3 {
            0 => Self::WebSocket(web_sockets(WEB_SOCKETS)),
            1 => Self::LongPoll(exchanges),
            _ => Self::Both(Box::new(Roads::new(web_sockets(BOX), exchanges, dice))),
        }
    }
}

impl Dial for Road {
    async fn dial(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        match self {
            Self::WebSocket(road) => road.dial(token).await,
            Self::LongPoll(road) => road.dial(token).await,
            Self::Both(roads) => roads.dial(token).await,
        }
    }

    async fn better(&self, token: &Secret) -> Box<dyn Transport> {
        match self {
            Self::Both(roads) => roads.better(token).await,
            Self::WebSocket(_) | Self::LongPoll(_) => std::future::pending().await,
        }
    }

    fn came_of(&self, kind: TransportKind, greeted: bool) {
        if let Self::Both(roads) = self {
            roads.came_of(kind, greeted);
        }
    }
}

fn endpoint() -> Url {
    Url::parse("ws://server/").unwrap()
}

/// A port of the server in the simulated network.
struct Port(u16);

impl Connect for Port {
    async fn connect(&self) -> io::Result<Box<dyn ByteStream>> {
        Ok(Box::new(TcpStream::connect(("server", self.0)).await?))
    }
}
