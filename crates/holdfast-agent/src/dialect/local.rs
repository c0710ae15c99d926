//! The agent's own socket at `/ws`: scripts and pages on this machine see its jobs move and may
//! pause, resume and cancel them. It is off unless asked for.
//!
//! The system it comes from asks nobody who they are. Here a connection must show the socket's
//! token, or come from a process of the agent's own user (or root); a page must come from an origin
//! that was allowed by name; and the request must name this socket's own address, so that a name
//! that was bent to lead here leads nowhere.

mod guard;
mod hub;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, RawQuery, State as Shared},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use holdfast_link::{NotAnUpgrade, Upgrade};
use holdfast_protocol::{
    Message,
    dialect::{
        Ledger, Said,
        local::{self as words, Command, Event},
    },
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, broadcast},
    time::{MissedTickBehavior, interval},
};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_util::sync::CancellationToken;

use super::{
    RATE,
    socket::{Gone, Socket},
};
use crate::error::Advice;
use guard::Guard;
pub(crate) use guard::TokenFile;
pub(crate) use hub::Local;

/// How the socket is served.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Where it listens; an address of this machine only.
    pub listen: SocketAddr,
    /// Origins of pages that may use it, such as `http://localhost:3000`.
    pub origins: Vec<String>,
}

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address would be reachable from other machines.
    #[error("{listen} is not an address of this machine alone")]
    NotLocal {
        /// The address.
        listen: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("the agent's socket cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The token cannot be kept.
    #[error("the token of the agent's socket cannot be kept in {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Advice for ServeError {
    fn advice(&self) -> String {
        match self {
            Self::NotLocal { .. } => "use 127.0.0.1 or [::1] with a port".to_owned(),
            Self::Listen { .. } => {
                "choose another port, or stop the program that has this one".to_owned()
            }
            Self::Token { .. } => "check the permissions of the agent's directory".to_owned(),
        }
    }
}

/// Connections at a time; a page that opens more has lost count.
const CONNECTIONS_MAX: usize = 32;
/// The largest command that is read, in bytes.
const COMMAND_SIZE_MAX: usize = 64 * 1024;
/// How often a viewer is asked for a sign of life; one that shows none in between is gone.
const PING_EVERY: Duration = Duration::from_secs(20);

/// The socket, bound but not yet served.
pub(crate) struct LocalSocket {
    listener: TcpListener,
    guard: Guard,
}

impl LocalSocket {
    /// Binds the socket.
    ///
    /// # Errors
    /// [`ServeError`].
    pub(crate) async fn bind(
        options: &LocalOptions,
        token: &TokenFile,
    ) -> Result<Self, ServeError> {
        let listen = options.listen;
        if !listen.ip().is_loopback() {
            return Err(ServeError::NotLocal { listen });
        }
        let token = token.read_or_mint()?;
        let bound = TcpListener::bind(listen).await;
        let listener = bound.map_err(|source| ServeError::Listen { listen, source })?;
        let address = listener.local_addr().unwrap_or(listen);
        Ok(Self { listener, guard: Guard::new(address, token, &options.origins) })
    }

    /// Where it listens.
    #[must_use]
    pub(crate) fn address(&self) -> SocketAddr {
        self.guard.address()
    }

    /// Serves it until stopped.
    pub(crate) async fn serve(self, local: Local, stop: CancellationToken) {
        let door = Arc::new(Door {
            guard: self.guard,
            local,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            stop: stop.clone(),
        });
        let router = Router::new().route(words::PATH, get(open)).with_state(door);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let served = axum::serve(self.listener, service);
        if let Err(error) = served.with_graceful_shutdown(stop.cancelled_owned()).await {
            tracing::warn!(%error, "the agent's socket is no longer served");
        }
    }
}

struct Door {
    guard: Guard,
    local: Local,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

async fn open(
    Shared(door): Shared<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Result<Upgrade, NotAnUpgrade>,
) -> Response {
    if let Err(refusal) = door.guard.admit(peer, &headers, query.as_deref()) {
        tracing::warn!(%peer, why = refusal.sentence(), "a connection to the agent's socket was refused");
        return (refusal.status(), refusal.sentence()).into_response();
    }
    let Ok(place) = Arc::clone(&door.places).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections").into_response();
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(odd) => return odd.into_response(),
    };
    upgrade.open(async move |socket| {
        let _place = place;
        let socket = Socket::new(socket.into_websocket(RATE, COMMAND_SIZE_MAX).await);
        let mut viewer = Viewer { socket, local: door.local.clone(), alive: true };
        if viewer.run(&door.stop).await.is_ok() {
            viewer.socket.close(1001, "the agent stops").await;
        }
    })
}

/// One connection.
struct Viewer {
    socket: Socket,
    local: Local,
    alive: bool,
}

impl Viewer {
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), Gone> {
        let mut events = self.local.subscribe();
        self.catch_up().await?;
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                frame = self.socket.next() => match frame {
                    Some(frame) => self.take(frame).await?,
                    None => return Err(Gone),
                },
                event = events.recv() => match event {
                    Ok(message) => self.show(&message).await?,
                    // A slow viewer misses events; it is told how things stand and goes on.
                    Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up().await?,
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                _ = pings.tick() => {
                    if !self.alive {
                        return Err(Gone);
                    }
                    self.alive = false;
                    self.socket.send(Frame::Ping(Vec::new().into())).await?;
                }
            }
        }
    }

    /// How things stand: the agent, and each running job as far as it is.
    async fn catch_up(&mut self) -> Result<(), Gone> {
        let status = self.local.status().await;
        self.event(&Event::Status(status)).await?;
        for message in self.local.current() {
            self.show(&message).await?;
        }
        Ok(())
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Gone> {
        self.alive = true;
        let Frame::Text(text) = frame else { return Ok(()) };
        let command = match Command::decode(text.as_bytes()) {
            Ok(command) => command,
            Err(error) => {
                // One bad frame costs that frame only.
                tracing::debug!(%error, "a command was not understood");
                return Ok(());
            }
        };
        let ledger = self.local.ledger().await;
        match command.hear(&ledger) {
            None => {
                let status = self.local.status().await;
                self.event(&Event::Status(status)).await
            }
            Some(Said::Message(message)) => {
                self.local.steer(message).await;
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    async fn show(&mut self, message: &Message) -> Result<(), Gone> {
        // Jobs go by the agent's own ids here, for which no ledger is needed.
        let ledger = Ledger::new(self.local.host());
        for event in words::events(message, &ledger) {
            self.event(&event).await?;
        }
        Ok(())
    }

    async fn event(&mut self, event: &Event) -> Result<(), Gone> {
        self.socket.send(Frame::Text(event.encode().into())).await
    }
}
