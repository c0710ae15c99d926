//! The agent as an agent of another system: it joins that system's server, or serves its socket.
//!
//! ```text
//! State ◄─► link Client ◄─ memory ─► bridge ◄─► socket ◄─► their server
//! ```
//!
//! The link does not know the difference. Its dialler ([`Dialer`]) opens a connection of the other
//! system, and what it hands to the link is the near end of a pipe whose far end a bridge serves:
//! it takes the agent's records and says them in the other system's words, and turns that system's
//! commands into records for the agent. So the outbox, the journal and the backoff of the agent
//! work as ever: a result stays on disk until the other server has shown to have read it.

mod backupy;
mod bridge;
mod envelope;
mod join;
mod local;
mod nerdbackup;
mod notes;
mod socket;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_link::{
    PlaintextRule, ProxyRule,
    dial::{Dial, DialError, WebSocketDialer},
    session::Rate,
    transport::{Transport, memory},
};
use holdfast_protocol::{
    RepositoryId,
    dialect::Dialect,
    message::config::{Group, GroupOptions, Repository, Secret, Update},
};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::Enrolment;
pub use join::{JoinError, JoinOptions, join};
pub(crate) use local::{Local, LocalSocket, TokenFile};
pub use local::{LocalOptions, ServeError};
pub(crate) use notes::Notes;
use socket::Socket;

/// What this agent is to another system's server; kept in `dialect.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// That system's words.
    pub dialect: String,
    /// The agent's id there, where it has one.
    #[serde(default)]
    pub agent_id: String,
    /// Where backups go, for a server that does not say so.
    #[serde(default)]
    pub repository: Option<LocalRepository>,
    /// What is backed up under each of the server's names, for a server that does not say so.
    #[serde(default)]
    pub groups: BTreeMap<String, Vec<String>>,
}

/// A repository that only this agent knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRepository {
    /// restic's location.
    pub url: Secret,
    /// Its password.
    pub password: Secret,
}

impl Joined {
    /// The dialect; `None` for a word that this build does not know.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        Dialect::from_word(&self.dialect)
    }

    /// The configuration as far as it is kept here: the version is not set.
    pub(crate) fn update(&self, enrolment: &Enrolment) -> Update {
        let id = RepositoryId::from_uuid(uuid::Uuid::new_v5(
            &enrolment.host_id.as_uuid(),
            b"local repository",
        ));
        let repositories = self.repository.iter().map(|repository| Repository {
            id,
            name: "local".to_owned(),
            url: repository.url.clone(),
            password: repository.password.clone(),
            environment: BTreeMap::new(),
            ca_certificate: None,
            admin: None,
        });
        let groups = self.groups.iter().map(|(name, includes)| Group {
            name: name.clone(),
            repository_id: id,
            includes: includes.clone(),
            excludes: Vec::new(),
            options: GroupOptions::default(),
        });
        Update {
            version: 0,
            host_name: enrolment.host_name.clone(),
            repositories: repositories.collect(),
            groups: groups.collect(),
        }
    }
}

/// Opens connections to another system's server.
pub(crate) struct Dialer {
    dialect: Dialect,
    socket: WebSocketDialer,
    notes: Arc<Notes>,
}

/// Frames that may wait in the pipe to the link.
const PIPE_CAPACITY: usize = 16;

/// How long it may take to open a connection and to introduce the agent on it.
pub(crate) const DIAL_MAX: Duration = Duration::from_secs(45);

/// How fast the other end may talk before it is read more slowly.
const RATE: Rate = Rate { frames: 1000, bytes: 8 * 1024 * 1024, burst: Duration::from_secs(10) };

impl Dialer {
    /// A dialler for the server that `enrolment` names.
    ///
    /// # Errors
    /// A sentence that says why its address cannot be used.
    pub(crate) fn new(enrolment: &Enrolment, notes: Arc<Notes>) -> Result<Self, String> {
        let dialect = notes.joined().dialect().ok_or("dialect.json names an unknown dialect")?;
        let endpoint = endpoint(dialect, enrolment)?;
        let tls = match endpoint.scheme() {
            "wss" => Some(enrolment.trust.client_config().map_err(|error| error.to_string())?),
            _ => None,
        };
        let socket = WebSocketDialer::new(endpoint, tls).with_proxy(&ProxyRule::default());
        Ok(Self { dialect, socket, notes })
    }

    /// Opens the socket and introduces the agent on it.
    async fn open(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let socket = Socket::new(self.socket.open(token, Some(RATE)).await?);
        let (near, far) = memory::pair(PIPE_CAPACITY);
        let notes = Arc::clone(&self.notes);
        match self.dialect {
            Dialect::Backupy => bridge::spawn(backupy::greet(socket, notes).await?, far),
            Dialect::Envelope => bridge::spawn(envelope::greet(socket, notes).await?, far),
            _ => bridge::spawn(nerdbackup::greet(socket, notes, token).await?, far),
        }
        Ok(Box::new(near))
    }
}

impl Dial for Dialer {
    async fn dial(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let refused = match self.open(token).await {
            Ok(transport) => return Ok(transport),
            Err(refused) => refused,
        };
        // A server that refuses the token does so on either road.
        let polls = self.dialect == Dialect::Nerdbackup;
        if !polls || matches!(refused, DialError::Unauthorised { .. }) {
            return Err(refused);
        }
        let (near, far) = memory::pair(PIPE_CAPACITY);
        let poll = nerdbackup::poll(Arc::clone(&self.notes), token).await;
        bridge::spawn_polling(poll.map_err(|()| refused)?, far);
        Ok(Box::new(near))
    }

    /// While it polls, it looks for a socket: that is the road that carries commands at once.
    async fn better(&self, token: &Secret) -> Box<dyn Transport> {
        if self.dialect != Dialect::Nerdbackup {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(nerdbackup::LOOK_FOR_SOCKET).await;
            if self.notes.is_polling()
                && let Ok(transport) = self.open(token).await
            {
                return transport;
            }
        }
    }
}

/// Where the socket is: the other systems have their own rules for it.
fn endpoint(dialect: Dialect, enrolment: &Enrolment) -> Result<Url, String> {
    let rule = match enrolment.allow_plaintext {
        true => PlaintextRule::Allow,
        false => PlaintextRule::LoopbackOnly,
    };
    let endpoint = holdfast_link::dial::endpoint(&enrolment.server, dialect.path(), rule);
    endpoint.map_err(|error| error.to_string())
}
