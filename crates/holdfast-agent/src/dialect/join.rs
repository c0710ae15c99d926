//! Joining another system's server: no enrolment, only what that server gave out.

use std::{collections::BTreeMap, path::PathBuf};

use holdfast_protocol::{HostId, dialect::Dialect, message::config::Secret};
use url::Url;
use uuid::Uuid;

use super::{Joined, LocalRepository};
use crate::{
    config::{Directory, DirectoryError, Enrolment},
    enrol::{EnrolError, check_url, earlier_enrolment},
    error::Advice,
    facts,
    state::{self, State},
    trust::Trust,
};

/// What [`join`] is asked to do.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// The other system's words.
    pub dialect: Dialect,
    /// Its server's address.
    pub server: Url,
    /// What the server gave out for this agent.
    pub token: Secret,
    /// The agent's id there, where it has one.
    pub agent_id: String,
    /// The agent's name there; empty for the machine's own.
    pub name: String,
    /// Where backups go, for a server that does not say so.
    pub repository: Option<LocalRepository>,
    /// What is backed up under each of the server's names.
    pub groups: BTreeMap<String, Vec<String>>,
    /// The agent's directory.
    pub data: PathBuf,
    /// Whether the token may go unencrypted to another machine.
    pub allow_plaintext: bool,
    /// Whom to trust at the other end.
    pub trust: Trust,
    /// Whether an enrolment that is there may be replaced.
    pub force: bool,
}

/// Why the agent did not join. Nothing has been changed on this machine then.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// As for an enrolment.
    #[error(transparent)]
    Enrol(EnrolError),
    /// The dialect has no server that an agent could join.
    #[error("an agent cannot join a server that speaks {dialect}")]
    NoServer {
        /// The dialect.
        dialect: &'static str,
    },
    /// Something that this system's agents need was not given.
    #[error("{dialect} needs {what}")]
    Missing {
        /// The dialect.
        dialect: &'static str,
        /// What is missing.
        what: &'static str,
    },
}

impl Advice for JoinError {
    fn advice(&self) -> String {
        match self {
            Self::Enrol(error) => error.advice(),
            Self::NoServer { .. } => "use nerdbackup, backupy or envelope".to_owned(),
            Self::Missing { what, .. } => format!("give {what}; docs/migrating.md has an example"),
        }
    }
}

/// Stores which server this agent belongs to.
///
/// # Errors
/// [`JoinError`].
pub async fn join(options: &JoinOptions) -> Result<Enrolment, JoinError> {
    check(options)?;
    check_url(&options.server, options.allow_plaintext).map_err(JoinError::Enrol)?;
    options.trust.check().map_err(|error| JoinError::Enrol(EnrolError::Trust(error)))?;
    let unusable = |error: DirectoryError| JoinError::Enrol(EnrolError::Directory(error));
    let directory = Directory::create(&options.data).map_err(unusable)?;
    let _lock = directory.lock().map_err(unusable)?;
    earlier_enrolment(&directory, options.force).map_err(JoinError::Enrol)?;
    let broken = |source| JoinError::Enrol(EnrolError::State { source });
    let state = State::open(&directory.state_path()).map_err(|error| broken(Box::new(error)))?;
    let begun = state.begin_incarnation(state::mint(), false).await;
    begun.map_err(|error| broken(Box::new(error)))?;
    let enrolment = enrolment_of(options);
    let joined = Joined {
        dialect: options.dialect.as_str().to_owned(),
        agent_id: options.agent_id.clone(),
        repository: options.repository.clone(),
        groups: options.groups.clone(),
    };
    directory.forget_notes().map_err(unusable)?;
    directory.store_joined(&joined).map_err(unusable)?;
    directory.store_enrolment(&enrolment, &options.token).map_err(unusable)?;
    Ok(enrolment)
}

fn check(options: &JoinOptions) -> Result<(), JoinError> {
    let dialect = options.dialect.as_str();
    let missing = |what| Err(JoinError::Missing { dialect, what });
    match options.dialect {
        Dialect::Nerdbackup if options.agent_id.is_empty() => missing("--agent-id"),
        Dialect::Backupy if options.repository.is_none() => missing("--repository"),
        Dialect::Nerdbackup | Dialect::Backupy | Dialect::Envelope => Ok(()),
        Dialect::Local | Dialect::Fleet => Err(JoinError::NoServer { dialect }),
    }
}

fn enrolment_of(options: &JoinOptions) -> Enrolment {
    let name = match options.name.as_str() {
        "" => facts::collect("").hostname,
        name => name.to_owned(),
    };
    // The id is only this agent's: made of what the server knows it by, so that joining again
    // finds the same jobs.
    let known_as = format!("{}\u{0}{}\u{0}{name}", options.server, options.agent_id);
    Enrolment {
        server: options.server.clone(),
        connect_path: options.dialect.path().to_owned(),
        host_id: HostId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_URL, known_as.as_bytes())),
        host_name: name,
        allow_plaintext: options.allow_plaintext,
        trust: options.trust.clone(),
        dialect: Some(options.dialect.as_str().to_owned()),
    }
}
