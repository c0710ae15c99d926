//! The agent's end of the link: dials, serves, redials until it is stopped.

mod attempt;
mod retry;

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use holdfast_protocol::{
    CONNECT_PATH, Class, EXCHANGE_PATH, Incarnation, Payload, Seq, SessionId,
    message::{
        config::Secret,
        link::{Facts, Refusal},
    },
};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::{attempt::Attempt, retry::Retry};
use crate::{
    dial::{
        self, Dial, DialError, EndpointError, LongPollDialer, PlaintextRule, ProxyRule, Roads,
        WebSocketDialer,
    },
    dice::Dice,
    driver::{Answering, wait},
    events::{Announcer, Events},
    post::Post,
    session::{Config, Dropped, Request, RequestError},
    status::{LinkEvent, LinkState, LinkStatus},
    store::{Store, Unsequenced},
    transport::{
        Transport, TransportKind,
        tls::{self, TlsError},
    },
};

/// Different states that are kept for the next session.
const STATES_MAX: usize = 256;

/// How the agent's end behaves.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The server's URL, as a person writes it. A path is kept as a prefix.
    pub server: Url,
    /// The endpoint below it.
    pub path: String,
    /// The endpoint of the long-poll road, for networks that let no WebSocket pass; `None` to never
    /// take it.
    pub exchange_path: Option<String>,
    /// Whether an unencrypted connection is acceptable.
    pub allow_plaintext: PlaintextRule,
    /// Certificate authorities trusted besides the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// A TLS configuration of your own, in place of the system's roots and `extra_roots`: for a
    /// pinned certificate or a client certificate.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Whether to go through an HTTP proxy.
    pub proxy: ProxyRule,
    /// Whether [`Client::run`] ends when the very first attempt does not lead to a session, so that
    /// whoever has just set up the agent hears of a wrong URL or token at once.
    pub fail_first_connect: bool,
    /// The first redial waits a random time up to this.
    pub delay_min: Duration,
    /// A redial waits a random time up to at most this.
    pub delay_max: Duration,
    /// How long to wait at least when only a person can help. Up to as much again is added.
    pub delay_slow: Duration,
    /// How long a dial may take, from name look-up to the WebSocket.
    pub dial_max: Duration,
    /// A session that lived this long makes the next loss start from `delay_min` again.
    pub stable_min: Duration,
    /// Times and bounds of each session. Heartbeat and silence come from the server; `jitter` is
    /// drawn anew for each.
    pub session: Config,
    /// Where chance comes from.
    pub dice: Dice,
}

impl ClientConfig {
    /// The defaults for this server.
    #[must_use]
    pub fn new(server: Url) -> Self {
        Self {
            server,
            path: CONNECT_PATH.to_owned(),
            exchange_path: Some(EXCHANGE_PATH.to_owned()),
            allow_plaintext: PlaintextRule::default(),
            extra_roots: Vec::new(),
            tls: None,
            proxy: ProxyRule::default(),
            fail_first_connect: false,
            delay_min: Duration::from_secs(1),
            delay_max: Duration::from_secs(60),
            delay_slow: Duration::from_secs(60),
            dial_max: Duration::from_secs(15),
            stable_min: Duration::from_secs(30),
            session: Config::default(),
            dice: Dice::default(),
        }
    }

    /// The dialler for WebSockets, and for the other road below the same prefix.
    fn dialers(&self) -> Result<(WebSocketDialer, Option<LongPollDialer>), ConfigError> {
        let endpoint = dial::endpoint(&self.server, &self.path, self.allow_plaintext)
            .map_err(ConfigError::Endpoint)?;
        let tls = match (&self.tls, endpoint.scheme()) {
            (Some(tls), _) => Some(Arc::clone(tls)),
            (None, "wss") => Some(tls::client_config(&self.extra_roots).map_err(ConfigError::Tls)?),
            (None, _) => None,
        };
        let other = self.exchange_path.as_ref().map(|path| {
            let mut other = endpoint.clone();
            let prefix = endpoint.path().strip_suffix(&self.path).unwrap_or_default();
            other.set_path(&format!("{prefix}{path}"));
            LongPollDialer::new(other, tls.clone()).with_proxy(&self.proxy)
        });
        let better = WebSocketDialer::new(endpoint, tls)
            .with_proxy(&self.proxy)
            .with_frame_max(self.session.frame_max);
        Ok((better, other))
    }
}

/// Where the agent's token comes from.
pub trait Credentials: Send + Sync + 'static {
    /// The token, asked for before every dial, so that a rotated one is taken up at once. After a
    /// token was refused it is also asked for every few seconds, and a different one is tried then.
    ///
    /// # Errors
    /// When there is none now. The last one that the server accepted is then tried.
    fn token(&self) -> impl Future<Output = Result<Secret, CredentialsError>> + Send;
}

/// No token could be had.
#[derive(Debug)]
pub struct CredentialsError {
    source: Box<dyn Error + Send + Sync>,
}

impl CredentialsError {
    /// An error with this cause. The cause must not contain the token.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the agent's token cannot be read")
    }
}

impl Error for CredentialsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// What the link asks the agent. The first three must answer at once.
pub trait Host: Send + Sync + 'static {
    /// What the machine and the agent are; asked at every hello.
    fn facts(&self) -> Facts;
    /// Names of optional abilities; asked at every hello.
    fn capabilities(&self) -> Vec<String>;
    /// The body of a heartbeat; asked whenever one is due.
    fn heartbeat(&self) -> Payload;
    /// The server asks. It may take its time; others are asked meanwhile. The default knows
    /// nothing.
    ///
    /// # Errors
    /// A [`Refusal`], which is sent as it is.
    ///
    /// # Cancel safety
    /// Dropped half-way when the session ends.
    fn answer(&self, request: Request) -> impl Future<Output = Result<Payload, Refusal>> + Send {
        std::future::ready(Err(Refusal::unknown(&request.kind)))
    }
}

/// Which life of the outbox this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Minted when the outbox was created.
    pub incarnation: Incarnation,
    /// Process starts of this incarnation, from 1.
    pub boot: u64,
}

/// The link cannot be set up with this configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The server's URL cannot be used.
    #[error(transparent)]
    Endpoint(EndpointError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(TlsError),
}

/// The link cannot go on, and trying again would do harm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fatal {
    /// The first attempt failed, and [`ClientConfig::fail_first_connect`] is set.
    #[error("{reason}")]
    FirstConnect {
        /// A stable word.
        code: String,
        /// Why, in one sentence.
        reason: String,
    },
    /// The server holds more of our records than were ever written here.
    #[error(
        "the server holds {theirs} records of this agent, but only {ours} were ever written here: \
         the agent's data directory was set back to an older copy. Start a new incarnation, so that \
         new records are not taken for old ones"
    )]
    SetBack {
        /// The newest record written here.
        ours: Seq,
        /// The newest record the server has.
        theirs: Seq,
    },
}

/// A handle to the agent's end of the link. Cheap to clone; all clones are the same link.
pub struct Client<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<S> {
    config: ClientConfig,
    /// The server's URL for people.
    server: String,
    identity: Identity,
    store: Arc<S>,
    credentials: Box<dyn AnyCredentials>,
    host: Box<dyn AnyHost>,
    dialer: Box<dyn AnyDial>,
    post: Post,
    states: Mutex<BTreeMap<(String, String), Unsequenced>>,
    status: watch::Sender<LinkStatus>,
    events: Announcer,
    /// Held by the one `run`.
    retry: tokio::sync::Mutex<Retry>,
}

impl<S: Store> Client<S> {
    /// A link that dials the configured server over WebSocket, and over long polls where those are
    /// blocked.
    ///
    /// # Errors
    /// [`ConfigError`] when the URL cannot be used or TLS cannot be set up.
    pub fn new(
        config: ClientConfig,
        identity: Identity,
        store: Arc<S>,
        credentials: impl Credentials,
        host: impl Host,
    ) -> Result<Self, ConfigError> {
        let (better, other) = config.dialers()?;
        Ok(match other {
            Some(other) => {
                let roads = Roads::new(better, other, config.dice.clone());
                Self::with_dialer(config, identity, store, credentials, host, roads)
            }
            None => Self::with_dialer(config, identity, store, credentials, host, better),
        })
    }

    /// A link over connections of your own making.
    pub fn with_dialer(
        config: ClientConfig,
        identity: Identity,
        store: Arc<S>,
        credentials: impl Credentials,
        host: impl Host,
        dialer: impl Dial,
    ) -> Self {
        let retry = tokio::sync::Mutex::new(Retry::new(&config));
        let shared = Shared {
            server: dial::shown(&config.server),
            config,
            identity,
            store,
            credentials: Box::new(credentials),
            host: Box::new(host),
            dialer: Box::new(dialer),
            post: Post::default(),
            states: Mutex::default(),
            status: watch::Sender::default(),
            events: Announcer::default(),
            retry,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Dials, serves and redials until `stop` is cancelled. Then what is in the outbox is sent and
    /// acknowledged as far as that goes within a few seconds, and the server is told goodbye.
    ///
    /// A server that does not know us, or wants us gone, does not end this: the link looks again
    /// slowly, and says so in its status. A second call waits for the first to end.
    ///
    /// # Errors
    /// [`Fatal`] when going on would do harm.
    ///
    /// # Cancel safety
    /// Not safe: store work under way would be dropped. Cancel `stop` instead.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), Fatal> {
        let shared = &self.shared;
        let mut retry = shared.retry.lock().await;
        loop {
            let attempt = shared.attempt(&mut retry, &stop).await;
            if stop.is_cancelled() || matches!(attempt, Attempt::Stopped) {
                break;
            }
            if matches!(attempt, Attempt::Moving) {
                continue;
            }
            shared.report(&attempt);
            if let Some(fatal) = shared.first_failure() {
                shared.stopped();
                return Err(fatal);
            }
            let delay = match retry.after(&attempt) {
                Ok(delay) => delay,
                Err(fatal) => {
                    shared.stopped();
                    return Err(fatal);
                }
            };
            shared.waiting(delay);
            let goes_on = if attempt.is_about_the_token() {
                let used = retry.used_token.as_ref();
                wait::for_token(delay, &*shared.credentials, used, &stop).await
            } else {
                wait::run(delay, &stop).await
            };
            if !goes_on {
                break;
            }
        }
        shared.stopped();
        Ok(())
    }

    /// Records were appended to the store: send them. Never waits.
    pub fn wake(&self) {
        self.shared.post.wake();
    }

    /// Sends a message without number, by its class and the overflow table. Never waits.
    ///
    /// A state is kept, and sent again at the start of every session until a newer one of the same
    /// kind and key replaces it or it is withdrawn.
    pub fn send(&self, message: Unsequenced) {
        if message.class == Class::State {
            self.shared.keep(message.clone());
        }
        self.shared.post.send(message);
    }

    /// Takes back what has not been sent under this kind and key: the progress of a job whose end
    /// is on its way as a record.
    pub fn withdraw(&self, kind: &str, key: &str) {
        self.shared.states().remove(&(kind.to_owned(), key.to_owned()));
        self.shared.post.withdraw(kind, key);
    }

    /// Asks the server and waits for its answer, at most `timeout`.
    ///
    /// A question is not kept: it needs a session, and when that ends first nobody knows whether
    /// the server has acted. What must happen exactly once belongs into a record.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe: the answer is dropped when it comes.
    pub async fn request(
        &self,
        kind: &str,
        payload: Payload,
        timeout: Duration,
    ) -> Result<Payload, RequestError> {
        self.shared.post.ask(kind, payload, timeout).await
    }

    /// Messages without number that found no room so far. What the present session dropped is
    /// counted when it ends.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.shared.post.dropped()
    }

    /// Where the link stands, now and whenever that changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<LinkStatus> {
        self.shared.status.subscribe()
    }

    /// Records flow.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.shared.status.borrow().is_connected()
    }

    /// The session, while it is live.
    #[must_use]
    pub fn session_id(&self) -> Option<SessionId> {
        self.shared.status.borrow().session_id
    }

    /// Sessions after the first.
    #[must_use]
    pub fn reconnect_count(&self) -> u64 {
        self.shared.status.borrow().reconnect_count
    }

    /// What happens to the link from now on. Every subscriber gets all of it: one that does not
    /// read for more than a day of redialling is cut off, and told so, but never misses one in
    /// between.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.events.subscribe()
    }
}

impl<S> Shared<S> {
    /// Why to give up, when that was asked for and nothing ever came of dialling.
    fn first_failure(&self) -> Option<Fatal> {
        let status = self.status.borrow();
        if !self.config.fail_first_connect || status.epoch > 0 {
            return None;
        }
        let code = status.last_error_code.clone().unwrap_or_default();
        let reason = status.last_error.clone().unwrap_or_default();
        Some(Fatal::FirstConnect { code, reason })
    }

    fn keep(&self, state: Unsequenced) {
        let mut states = self.states();
        let name = (state.kind.clone(), state.key.clone());
        if states.len() < STATES_MAX || states.contains_key(&name) {
            states.insert(name, state);
        }
    }

    fn states(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Unsequenced>> {
        // A map of whole values has no half-made state worth dying for.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) {
        self.enter(LinkState::Stopped, "asked to", |_| {});
        self.tell(&LinkEvent::Stopped);
    }

    /// The one place where the state changes, so that every change is in the log with its cause.
    fn enter(&self, state: LinkState, cause: &str, change: impl FnOnce(&mut LinkStatus)) {
        self.status.send_modify(|status| {
            if status.state != state {
                tracing::debug!(old = ?status.state, new = ?state, cause, "link state");
                status.since = Some(jiff::Timestamp::now());
            }
            status.state = state;
            status.retry_at = None;
            if state != LinkState::Live {
                status.session_id = None;
                status.transport = None;
            }
            change(status);
        });
    }

    fn tell(&self, event: &LinkEvent) {
        self.events.tell(event);
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Credentials`] behind a pointer.
pub(crate) trait AnyCredentials: Send + Sync {
    fn token(&self) -> Boxed<'_, Result<Secret, CredentialsError>>;
}

impl<C: Credentials> AnyCredentials for C {
    fn token(&self) -> Boxed<'_, Result<Secret, CredentialsError>> {
        Box::pin(Credentials::token(self))
    }
}

/// [`Host`] behind a pointer.
pub(crate) trait AnyHost: Send + Sync {
    fn facts(&self) -> Facts;
    fn capabilities(&self) -> Vec<String>;
    fn heartbeat(&self) -> Payload;
    fn answer(&self, request: Request) -> Answering<'_>;
}

impl<H: Host> AnyHost for H {
    fn facts(&self) -> Facts {
        Host::facts(self)
    }

    fn capabilities(&self) -> Vec<String> {
        Host::capabilities(self)
    }

    fn heartbeat(&self) -> Payload {
        Host::heartbeat(self)
    }

    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(Host::answer(self, request))
    }
}

/// [`Dial`] behind a pointer.
pub(crate) trait AnyDial: Send + Sync {
    fn dial<'a>(&'a self, token: &'a Secret) -> Boxed<'a, Result<Box<dyn Transport>, DialError>>;
    fn better<'a>(&'a self, token: &'a Secret) -> Boxed<'a, Box<dyn Transport>>;
    fn came_of(&self, kind: TransportKind, greeted: bool);
}

impl<D: Dial> AnyDial for D {
    fn dial<'a>(&'a self, token: &'a Secret) -> Boxed<'a, Result<Box<dyn Transport>, DialError>> {
        Box::pin(Dial::dial(self, token))
    }

    fn better<'a>(&'a self, token: &'a Secret) -> Boxed<'a, Box<dyn Transport>> {
        Box::pin(Dial::better(self, token))
    }

    fn came_of(&self, kind: TransportKind, greeted: bool) {
        Dial::came_of(self, kind, greeted);
    }
}
