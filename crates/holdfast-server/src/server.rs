//! Running it all: open the store, listen, serve, and stop without losing anything.
//!
//! Stopping has an order. First the health page says so, while requests are still answered; the
//! agents are sent away, spread over time; then requests under way may finish; last the store is
//! closed. All of it takes five seconds at most.

mod accept;

use std::{
    fs::{File, TryLockError},
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use holdfast_protocol::message::config::Secret;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    alert::{Alarm, Courier, guard::Guard, wire::Wire},
    api::{self, AppState},
    auth::Identity,
    config::ServerConfig,
    dialect::{Dialects, Dialler},
    firing::Firing,
    hub::Hub,
    live::Live,
    maintenance::Maintenance,
    metrics,
    store::{Error, OpenError, Store},
    watch::Watch,
};

/// Why a server could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The data directory or the database cannot be used.
    #[error(transparent)]
    Open(OpenError),
    /// Another server has the data directory.
    #[error("another Holdfast server already uses the data directory {}", path.display())]
    AlreadyRunning {
        /// The directory.
        path: PathBuf,
    },
    /// The lock file cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    Lock {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The fleet could not be read.
    #[error("cannot read the fleet from the database")]
    Load {
        /// Why.
        #[source]
        source: Error,
    },
    /// Somebody else has the address.
    #[error("the address {listen} is already in use")]
    AddressInUse {
        /// The address.
        listen: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ServerError {
    /// What to do about it, in one sentence.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Open(error) => error.action(),
            Self::AlreadyRunning { .. } => "Stop that server first, or choose another directory.",
            Self::Lock { .. } => "Choose a directory that this user may write to.",
            Self::Load { source } => source.action(),
            Self::AddressInUse { .. } => {
                "Choose another port with --listen, or stop the program that has this one."
            }
            Self::Listen { .. } => {
                "Give an address of this machine with a port, such as 127.0.0.1:7400."
            }
        }
    }
}

/// What whoever started the server should know.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// The code that makes the first user, while there is nobody who could sign in.
    pub setup_code: Option<Secret>,
}

/// How long agents and requests have to finish when the server stops.
const LINKS_DRAIN_MAX: Duration = Duration::from_secs(2);
const REQUESTS_DRAIN_MAX: Duration = Duration::from_secs(2);

/// Runs a server until `stop` is cancelled. `on_ready` is called once, when it answers requests.
///
/// # Errors
/// [`ServerError`], before `on_ready` was called.
///
/// # Cancel safety
/// Not safe: dropped early, links and requests are cut off. Cancel `stop` instead.
pub async fn run(
    config: ServerConfig,
    stop: CancellationToken,
    on_ready: impl FnOnce(Ready),
) -> Result<(), ServerError> {
    metrics::install();
    let store = Store::open(&config.data_dir).await.map_err(ServerError::Open)?;
    let _lock = lock(&config.data_dir)?;
    let live = Live::load(store.clone()).await.map_err(|source| ServerError::Load { source })?;
    let hub = Hub::new(store.clone(), live.clone());
    let (listener, address) = listen(&config.listen).await?;

    let identity = Identity::with_names(
        config.trusted_proxies,
        config.metrics_public,
        &config.host_names,
        address.ip().is_loopback(),
    );
    let setup_code = identity.setup_code(&store).await;
    let setup_code = setup_code.map_err(|source| ServerError::Load { source })?;
    let wire = Wire::new(Guard::new(config.notify_allow));
    let helpers = Background::spawn(store.clone(), &live, &hub, wire.clone());
    let dialects = Dialects::new(hub.clone());
    let dialler = Dialler::new(dialects.clone());
    helpers.tasks.spawn(dialler.run(stop.clone()));
    let state = AppState {
        store: store.clone(),
        hub: hub.clone(),
        dialects: dialects.clone(),
        live,
        wire,
        identity,
        stop: stop.clone(),
    };
    let front = accept::Front::spawn(listener, api::router(state));
    on_ready(Ready { address, setup_code });
    stop.cancelled().await;

    tracing::info!("stopping");
    let links = async { tokio::join!(hub.drain(), dialects.drain()) };
    within(LINKS_DRAIN_MAX, "links", async { _ = links.await }).await;
    within(REQUESTS_DRAIN_MAX, "requests", front.finish()).await;
    helpers.finish().await;
    store.close().await;
    Ok(())
}

/// One server per data directory. The lock goes with the file handle, so a crash frees it.
fn lock(dir: &Path) -> Result<File, ServerError> {
    let refused = |source| ServerError::Lock { path: dir.to_owned(), source };
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("server.lock"))
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServerError::AlreadyRunning { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}

async fn listen(listen: &str) -> Result<(TcpListener, SocketAddr), ServerError> {
    let refused = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AddrInUse => ServerError::AddressInUse { listen: listen.to_owned() },
        _ => ServerError::Listen { listen: listen.to_owned(), source },
    };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// The tasks that keep what is shown up to date. They outlive the links, so that the end of each is
/// still noted.
struct Background {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Background {
    fn spawn(store: Store, live: &Live, hub: &Hub, wire: Wire) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(live.clone().run(stop.clone()));
        tasks.spawn(hub.clone().run(stop.clone()));
        let now = store.now();
        tasks.spawn(Alarm::new(store.clone(), live.clone(), now).run(stop.clone()));
        tasks.spawn(Courier::new(store.clone(), live.clone(), wire).run(stop.clone()));
        let maintenance = Maintenance::new(store.clone(), live.clone(), hub.clone());
        tasks.spawn(maintenance.run(stop.clone()));
        let firing = Firing::new(store.clone(), live.clone(), hub.clone());
        tasks.spawn(firing.run(stop.clone()));
        tasks.spawn(Watch::new(store, live.clone(), now).run(stop.clone()));
        tasks.spawn(metrics::run_upkeep(stop.clone()));
        Self { stop, tasks }
    }

    async fn finish(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn within(limit: Duration, what: &str, work: impl Future<Output = ()>) {
    if tokio::time::timeout(limit, work).await.is_err() {
        tracing::warn!(what, "not all could finish before the server stopped");
    }
}
