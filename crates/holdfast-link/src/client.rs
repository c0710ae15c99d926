//! The agent's end of the link: dials, serves, redials until it is stopped.

mod asked;
mod attempt;
mod config;
mod retry;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub(crate) use asked::{AnyCredentials, AnyDial, AnyHost};
pub use asked::{Credentials, CredentialsError, Host};
pub use config::{ClientConfig, ConfigError};
use holdfast_protocol::{Class, Incarnation, Instance, Payload, Seq, SessionId};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{attempt::Attempt, retry::Retry};
use crate::{
    dial::{self, Dial, Roads},
    driver::wait,
    events::{Announcer, Events},
    post::Post,
    session::{Dropped, RequestError},
    status::{LinkEvent, LinkState, LinkStatus},
    store::{Store, Unsequenced},
};

/// Messages that somebody who overhears may be behind.
const OVERHEARD_MAX: usize = 256;

/// Different states that are kept for the next session.
const STATES_MAX: usize = 256;

/// Which life of the outbox this is.
///
/// Every [`Client`] also shows an id of its own that it makes up when it is made, so that a server
/// can tell two copies of one machine from one that redials. So make one client per start of the
/// process, and count each start in `boot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Minted when the outbox was created.
    pub incarnation: Incarnation,
    /// Process starts of this incarnation, from 1.
    pub boot: u64,
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
         the agent's data directory was set back to an older copy. Start a new incarnation, so \
         that new records are not taken for old ones"
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
    instance: Instance,
    store: Arc<S>,
    credentials: Box<dyn AnyCredentials>,
    host: Box<dyn AnyHost>,
    dialer: Box<dyn AnyDial>,
    post: Post,
    states: Mutex<BTreeMap<(String, String), Unsequenced>>,
    overheard: broadcast::Sender<Unsequenced>,
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
            instance: Instance::from_uuid(Uuid::new_v4()),
            store,
            credentials: Box::new(credentials),
            host: Box::new(host),
            dialer: Box::new(dialer),
            post: Post::default(),
            states: Mutex::default(),
            overheard: broadcast::Sender::new(OVERHEARD_MAX),
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
        // Nobody listening is the usual case.
        if self.shared.overheard.receiver_count() > 0 {
            let _ = self.shared.overheard.send(message.clone());
        }
        if message.class == Class::State {
            self.shared.keep(message.clone());
        }
        self.shared.post.send(message);
    }

    /// What is handed to [`Client::send`] from now on, connected or not. Who is too slow misses
    /// some.
    #[must_use]
    pub fn overhear(&self) -> broadcast::Receiver<Unsequenced> {
        self.shared.overheard.subscribe()
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
