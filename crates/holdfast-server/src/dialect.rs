//! Agents of other systems: the drivers that hold their sockets.
//!
//! ```text
//! socket ──► tongue (one dialect's words) ──► desk ──► store, live view: as from a native agent
//! socket ◄── tongue ◄────────────────────── desk ◄── the host's outbox, its configuration
//! ```
//!
//! [`converse`](converse::converse) is the same for all: it reads one frame at a time, so that a
//! fast talker waits for the store; it takes a command for delivered when the peer has answered
//! the WebSocket ping behind it, because none of these agents confirms commands itself; and it
//! leaves a peer that shows no life. What differs is in a [`Tongue`](converse::Tongue) each.

mod backupy;
mod converse;
mod envelope;
mod local;
mod nerdbackup;
mod socket;
mod upload;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use holdfast_link::{Accepted, session::Rate};
use holdfast_protocol::{HostId, dialect::Dialect};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::hub::{Hub, desk::DeskError};
pub(crate) use local::Dialler;
pub(crate) use nerdbackup::{Answer, Ask};
use socket::Socket;

/// The drivers of all foreign connections. A clone is another handle to the same.
#[derive(Clone)]
pub struct Dialects {
    inner: Arc<Inner>,
}

struct Inner {
    hub: Hub,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Who takes what a host's agent asks over HTTP.
    counters: Mutex<HashMap<HostId, mpsc::Sender<nerdbackup::Call>>>,
    /// When each host's last connection began.
    begun: Mutex<HashMap<HostId, Instant>>,
}

/// The largest frame that is read from a foreign agent, in bytes. The originals' own limits on
/// what they read lie between one and four times this.
const FRAME_SIZE_MAX: usize = 4 << 20;

/// How fast one foreign agent may talk before it is read more slowly. The fastest original gives
/// 10,000 frames that it kept back at once.
const RATE: Rate = Rate { frames: 1000, bytes: 8 * 1024 * 1024, burst: Duration::from_secs(10) };

/// Some agents redial at once, however the last connection ended. So the second connection within
/// this time waits for its end before it costs the store anything.
const PAUSE_MIN: Duration = Duration::from_secs(1);

impl Dialects {
    /// Drivers for the agents of `hub`'s foreign hosts.
    #[must_use]
    pub fn new(hub: Hub) -> Self {
        let inner = Inner {
            hub,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            counters: Mutex::default(),
            begun: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Serves an agent of `dialect` on a connection whose token has been checked, until it ends.
    pub(crate) async fn serve(&self, host: HostId, dialect: Dialect, socket: Accepted) {
        let socket = Socket::new(socket.into_websocket(RATE, FRAME_SIZE_MAX).await);
        let serve = Box::pin(self.serve_on(host, dialect, socket));
        if let Err(error) = self.inner.tasks.track_future(serve).await {
            tracing::warn!(%host, dialect = dialect.as_str(), error = %chain(&error), "link ended");
        }
    }

    async fn serve_on(
        &self,
        host: HostId,
        dialect: Dialect,
        socket: Socket,
    ) -> Result<(), DeskError> {
        let stop = self.inner.stop.child_token();
        self.space(host, &stop).await;
        match dialect {
            Dialect::Backupy => backupy::serve(&self.inner.hub, host, socket, stop).await,
            Dialect::Envelope => envelope::serve(&self.inner.hub, host, socket, stop).await,
            Dialect::Local => local::serve(&self.inner.hub, host, socket, stop).await,
            Dialect::Nerdbackup => nerdbackup::serve(self, host, socket, stop).await,
            Dialect::Fleet => Ok(()),
        }
    }

    /// Ends all connections and waits for their ends.
    pub async fn drain(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    /// Keeps connections of one host apart.
    async fn space(&self, host: HostId, stop: &CancellationToken) {
        let pause = {
            let mut begun = lock(&self.inner.begun);
            begun.retain(|_, at| at.elapsed() < PAUSE_MIN);
            let last = begun.insert(host, Instant::now());
            last.map(|at| PAUSE_MIN.saturating_sub(at.elapsed()))
        };
        if let Some(pause) = pause {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn counters(&self) -> MutexGuard<'_, HashMap<HostId, mpsc::Sender<nerdbackup::Call>>> {
        lock(&self.inner.counters)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while holding it")
}

fn chain(error: &DeskError) -> String {
    crate::api::problem::chain(error)
}
