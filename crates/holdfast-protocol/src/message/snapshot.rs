//! What is in a repository, as the agent last saw it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::RepositoryId;

/// `snapshots.report`: one part of the full list of a host's snapshots in one repository.
///
/// A long list comes in parts of the same `report_id`, in order. The list replaces the older one
/// when the part with `last` has come; until then the older one stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The repository that was listed.
    pub repository_id: RepositoryId,
    /// The same in all parts of one list.
    pub report_id: String,
    /// Whether this part ends the list.
    pub last: bool,
    /// When the repository was asked, by the agent's clock.
    pub listed_at: Timestamp,
    /// The snapshots of this part.
    pub snapshots: Vec<Snapshot>,
}

/// How many snapshots one [`Report`] carries at most.
pub const REPORT_SNAPSHOTS_MAX: usize = 500;

/// One restic snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// restic's full id.
    pub id: String,
    /// Its first eight characters.
    pub short_id: String,
    /// When it was made.
    pub time: Timestamp,
    /// The host recorded in it.
    pub hostname: String,
    /// The paths recorded in it.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Bytes in it; absent before restic 0.17, which does not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Files in it; absent before restic 0.17.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_count: Option<u64>,
}

/// `repo.stats`: facts about a repository. A partial update: an absent field means "no change".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoStats {
    /// The repository.
    pub repository_id: RepositoryId,
    /// Bytes that all snapshots would restore to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_size_bytes: Option<u64>,
    /// Bytes stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_size_bytes: Option<u64>,
    /// Snapshots in it, of all hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_count: Option<u64>,
    /// How much room it has; known only of a repository in a directory of the host itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
}

/// The room on the disk that a repository lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Bytes that the agent may still fill.
    pub free_bytes: u64,
    /// Bytes that there are.
    pub capacity_bytes: u64,
}
