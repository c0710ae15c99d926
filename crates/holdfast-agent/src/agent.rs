//! The running agent: wires its parts together and takes them down in order.

use std::{path::PathBuf, sync::Arc, time::Duration};

use holdfast_engine::{DiscoverError, Patience, Restic};
use holdfast_link::{
    Client, ClientConfig, ConfigError, Credentials, CredentialsError, Events, Host, Identity,
    LinkEvent, LinkStatus, PlaintextRule, Request, StoreError,
};
use holdfast_protocol::{
    Payload,
    message::{
        config::Secret,
        job::{Heartbeat, Operation},
        link::{Facts, Refusal},
    },
};
use jiff::Timestamp;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    browse::Browser,
    config::{Directory, DirectoryError, Enrolment, Status},
    dialect::{self, Dialer, Local, LocalOptions, LocalSocket, Notes, ServeError},
    error::{Advice, chain},
    facts,
    job::{Context, Limits, Runner, recover, run_listings},
    schedule,
    state::{OpenError, State},
    trust::TrustError,
};

/// How long the link may take to deliver the last results and to say goodbye.
const BYE_WITHIN: Duration = Duration::from_secs(15);

/// What [`run`] is asked to do.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The agent's directory, with an enrolment in it.
    pub data: PathBuf,
    /// The restic to use, instead of the first on the `PATH`.
    pub restic: Option<PathBuf>,
    /// How the agent's own socket is served; absent for not at all.
    pub local: Option<LocalOptions>,
}

/// Why the agent could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(DirectoryError),
    /// The stored server address is not acceptable.
    #[error("the server address in agent.json cannot be used")]
    Link(#[source] ConfigError),
    /// What is stored about another system's server is not acceptable.
    #[error("the server this agent has joined cannot be used: {0}")]
    Joined(String),
    /// The agent's own socket cannot be served.
    #[error(transparent)]
    Local(ServeError),
    /// There is no usable restic.
    #[error(transparent)]
    Restic(DiscoverError),
    /// The state file cannot be opened.
    #[error(transparent)]
    State(OpenError),
    /// The disk refused while the agent ran. Going on would break its promises.
    #[error("the agent's state can no longer be read or written")]
    StateLost(#[source] Option<StoreError>),
    /// Whom to trust, as stored, makes no sense.
    #[error(transparent)]
    Trust(TrustError),
}

impl Advice for RunError {
    fn advice(&self) -> String {
        match self {
            Self::Directory(error) => error.advice(),
            Self::Link(_) | Self::Trust(_) => "enrol this agent again with --force".to_owned(),
            Self::Joined(_) => "join that server again with --force".to_owned(),
            Self::Local(error) => error.advice(),
            Self::Restic(error) => error.action().to_owned(),
            Self::State(OpenError::Key(_)) => {
                "check the file's owner and permissions; a key that is lost may be removed, the \
                 server sends the configuration again"
                    .to_owned()
            }
            Self::State(_) | Self::StateLost(_) => {
                "check the disk's free space and health and the data directory's permissions, \
                 then start the agent again"
                    .to_owned()
            }
        }
    }
}

/// Runs the agent until `stop`. `connected` is called once, when the server has first been reached.
///
/// Stopping takes as long as restic needs to clean up, at most a minute and a half: running jobs
/// end as interrupted, and their results are stored, and sent if the server can be reached.
///
/// # Errors
/// [`RunError`]. That the server cannot be reached or refuses is no error: the agent goes on
/// trying.
pub async fn run(
    options: RunOptions,
    stop: CancellationToken,
    connected: impl FnOnce(&Enrolment) + Send + 'static,
) -> Result<(), RunError> {
    let enrolment = Directory::existing(&options.data).enrolment().map_err(RunError::Directory)?;
    let directory = Directory::create(&options.data).map_err(RunError::Directory)?;
    let _lock = directory.lock().map_err(RunError::Directory)?;
    let restic = Restic::discover(options.restic.as_deref()).await.map_err(RunError::Restic)?;
    let restic = restic.with_patience(patience());
    let restic_version = restic.version().to_string();
    tracing::info!(version = restic_version, "restic found");
    let state = Arc::new(State::open(&directory.state_path()).map_err(RunError::State)?);
    let restic = Arc::new(restic);
    let browser = Browser::new(directory.clone(), Arc::clone(&restic), Arc::clone(&state));
    let machine = Machine { restic_version, state: Arc::clone(&state), browser };
    let socket = bind_local(options.local.as_ref(), &directory).await?;
    let link = make_link(&directory, &enrolment, &state, machine).await?;

    let context = Context {
        directory: directory.clone(),
        link: link.clone(),
        restic,
        state: Arc::clone(&state),
    };
    let telling = Telling {
        directory,
        enrolment: enrolment.clone(),
        restic_version: context.restic.version().to_string(),
        status: link.status(),
        events: link.events(),
    };
    let aside = CancellationToken::new();
    if let Some(socket) = socket {
        serve_local(socket, &enrolment, &state, &link, &aside);
    }
    let teller = tokio::spawn(telling.run(aside.clone(), connected));
    let carrier = tokio::spawn(carry(link.clone(), aside.clone()));
    let waker = tokio::spawn(wake_link(state, link, aside.clone()));

    let outcome = Box::pin(work(context, &enrolment, stop)).await;
    aside.cancel();
    let ended = async { tokio::join!(carrier, waker, teller) };
    if timeout(BYE_WITHIN, ended).await.is_err() {
        tracing::info!("the server did not take the last results; it will after the next start");
    }
    outcome
}

/// Another host's prune may take hours, and a backup that waits for it is no failure. The server
/// keeps such things apart as far as it can; slots that fire without it meet here.
fn patience() -> Patience {
    let (lock_wait, retry_max) = (Duration::from_secs(12 * 3600), Duration::from_secs(30));
    Patience { lock_wait, retry_max, ..Patience::default() }
}

async fn make_link(
    directory: &Directory,
    enrolment: &Enrolment,
    state: &Arc<State>,
    machine: Machine,
) -> Result<Client<State>, RunError> {
    let boot = state.begin_boot().await.map_err(|error| RunError::StateLost(Some(error)))?;
    let mut config = ClientConfig::new(enrolment.server.clone());
    config.path.clone_from(&enrolment.connect_path);
    if enrolment.allow_plaintext {
        config.allow_plaintext = PlaintextRule::Allow;
    }
    enrolment.trust.apply(&mut config).map_err(RunError::Trust)?;
    let identity = Identity { incarnation: state.incarnation(), boot };
    let token = TokenFile { directory: directory.clone() };
    if enrolment.dialect.is_none() {
        return Client::new(config, identity, Arc::clone(state), token, machine)
            .map_err(RunError::Link);
    }
    let joined = directory.joined().map_err(RunError::Directory)?;
    let joined = joined.ok_or_else(|| RunError::Joined("dialect.json is missing".to_owned()))?;
    let notes = Arc::new(Notes::open(directory, enrolment, joined, state, &machine.restic_version));
    let dialer = Dialer::new(enrolment, notes).map_err(RunError::Joined)?;
    config.dial_max = dialect::DIAL_MAX;
    Ok(Client::with_dialer(config, identity, Arc::clone(state), token, machine, dialer))
}

async fn bind_local(
    options: Option<&LocalOptions>,
    directory: &Directory,
) -> Result<Option<LocalSocket>, RunError> {
    let Some(options) = options else { return Ok(None) };
    let token = dialect::TokenFile::in_directory(directory);
    let socket = LocalSocket::bind(options, &token).await.map_err(RunError::Local)?;
    tracing::info!(
        address = %socket.address(),
        token = %token.path().display(),
        "the agent's own socket is served at /ws",
    );
    Ok(Some(socket))
}

/// Shows what this agent does at its own socket.
fn serve_local(
    socket: LocalSocket,
    enrolment: &Enrolment,
    state: &Arc<State>,
    link: &Client<State>,
    stop: &CancellationToken,
) {
    let local = Local::new(enrolment.host_id, Arc::clone(state));
    tokio::spawn(local.clone().run(state.told(), link.overhear(), stop.clone()));
    tokio::spawn(socket.serve(local, stop.clone()));
}

/// The agent's own work. Ends when `stop` was asked for and all of it has stopped.
async fn work(
    context: Context,
    enrolment: &Enrolment,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let failed = context.state.failed();
    tokio::select! {
        biased;
        ended = work_until(context, enrolment, stop) => {
            ended.map_err(|error| RunError::StateLost(Some(error)))
        }
        // The link's writes fail outside of that work; dropping it kills what restic runs.
        () = failed.cancelled() => Err(RunError::StateLost(None)),
    }
}

async fn work_until(
    context: Context,
    enrolment: &Enrolment,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        recovered = recover(&context) => recovered?,
    }
    let scheduler = schedule::run(Arc::clone(&context.state), enrolment.host_id, stop.clone());
    let listings = run_listings(context.clone(), context.link.status(), stop.clone());
    let runner = Runner::new(context, Limits::default()).run(stop);
    tokio::try_join!(runner, scheduler, listings).map(drop)
}

/// Runs the link. When it cannot go on the agent does: backups matter more than telling of them.
async fn carry(link: Client<State>, stop: CancellationToken) {
    if let Err(fatal) = link.run(stop).await {
        tracing::error!(
            error = %chain(&fatal),
            "the link to the server has ended; backups go on. Stop this agent and enrol it again \
             with --force to connect it",
        );
    }
}

/// Tells the link whenever the outbox has grown.
async fn wake_link(state: Arc<State>, link: Client<State>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = state.outbox_grew() => link.wake(),
        }
    }
}

/// The agent token, read anew for every dial: a new enrolment takes effect without a restart.
struct TokenFile {
    directory: Directory,
}

impl Credentials for TokenFile {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        self.directory.token().map_err(CredentialsError::new)
    }
}

/// What the link asks about this machine.
struct Machine {
    restic_version: String,
    state: Arc<State>,
    browser: Browser,
}

impl Host for Machine {
    fn facts(&self) -> Facts {
        facts::collect(&self.restic_version)
    }

    fn capabilities(&self) -> Vec<String> {
        let orders = Operation::ALL.into_iter().filter(|operation| operation.is_job());
        let abilities = orders.map(Operation::as_str).chain(["pause", "schedule"]);
        abilities.chain(Browser::capabilities()).map(str::to_owned).collect()
    }

    fn heartbeat(&self) -> Payload {
        // A state that cannot be read stops the agent elsewhere; the heartbeat says nothing then.
        let (active_job_ids, queue_depth) = self.state.summary().unwrap_or_default();
        let config_version = self.state.settings().borrow().config_version();
        Payload::of(&Heartbeat {
            sent_at: Timestamp::now(),
            active_job_ids,
            queue_depth,
            config_version,
        })
    }

    async fn answer(&self, request: Request) -> Result<Payload, Refusal> {
        self.browser.answer(request).await
    }
}

/// Keeps `status.json` and the log up to date with what happens to the link.
struct Telling {
    directory: Directory,
    enrolment: Enrolment,
    restic_version: String,
    status: watch::Receiver<LinkStatus>,
    events: Events,
}

impl Telling {
    async fn run(mut self, stop: CancellationToken, connected: impl FnOnce(&Enrolment) + Send) {
        let mut connected = Some(connected);
        self.store();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(event) = self.events.recv() => {
                    self.log(&event);
                    let is_up = matches!(event, LinkEvent::Connected { .. });
                    if let Some(connected) = connected.take_if(|_| is_up) {
                        connected(&self.enrolment);
                    }
                }
                Ok(()) = self.status.changed() => self.store(),
            }
        }
    }

    /// What the link does not log itself.
    fn log(&self, event: &LinkEvent) {
        let Enrolment { server, host_name, .. } = &self.enrolment;
        match event {
            LinkEvent::Connected { session_id, transport, .. } => {
                tracing::info!(%session_id, road = ?transport, "connected to {server} as host {host_name}");
            }
            LinkEvent::Fenced => tracing::warn!(
                "another process connected as this host: if this goes on, its data directory was \
                 copied, and one of the two must be enrolled as a host of its own",
            ),
            LinkEvent::Gap { missing } => tracing::error!(
                ?missing,
                "records are missing: this agent's data or the server's was set back to a copy",
            ),
            _ => {}
        }
    }

    fn store(&mut self) {
        let link = self.status.borrow_and_update().clone();
        let status = Status {
            pid: std::process::id(),
            connected: link.is_connected(),
            transport: link.transport.map(|road| road.name().to_owned()),
            last_error: link.last_error.clone(),
            at: Timestamp::now(),
            restic_version: self.restic_version.clone(),
        };
        if let Err(error) = self.directory.store_status(&status) {
            tracing::warn!(error = %chain(&error), "status.json was not written");
        }
    }
}
