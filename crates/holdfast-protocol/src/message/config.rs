//! What the server wants a host to know: repositories with their credentials, and source groups.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::RepositoryId;

/// `config.update`: the whole of a host's configuration, replacing what it had.
///
/// It is a state: sent at the start of every session and whenever it changes, and only the newest
/// version counts. A version lower than the one in force is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Rises with every change.
    pub version: i64,
    /// The host's name in the fleet; restic records it as the snapshot's host.
    pub host_name: String,
    /// The repositories this host may use.
    #[serde(default)]
    pub repositories: Vec<Repository>,
    /// The host's source groups.
    #[serde(default)]
    pub groups: Vec<Group>,
}

/// A restic repository and the credentials of one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// The fleet's id for it.
    pub id: RepositoryId,
    /// What people call it.
    pub name: String,
    /// restic's repository location. It may carry credentials, so it is a secret too.
    pub url: Secret,
    /// The repository password.
    pub password: Secret,
    /// Backend credentials by environment variable name, such as `AWS_ACCESS_KEY_ID`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Secret>,
}

/// Named includes and excludes on a host; the name is the tag of its snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Unique on its host.
    pub name: String,
    /// Where its snapshots go.
    pub repository_id: RepositoryId,
    /// Paths to back up, absolute.
    pub includes: Vec<String>,
    /// restic exclude patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
}

/// `config.applied`: this version is stored on the agent and in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The version now in force.
    pub version: i64,
    /// When it was put in force, by the agent's clock.
    pub applied_at: Timestamp,
}

/// Text that must never be printed. `Debug` and `Display` show a placeholder; the wire and the
/// store see the text.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Call it only where the secret is used.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
