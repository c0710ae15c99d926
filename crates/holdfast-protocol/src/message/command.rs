//! Commands and their answers. All are records: none is lost, each takes effect once.

use serde::{Deserialize, Serialize};

use crate::{JobId, RepositoryId, message::job::JobError, message::job::Operation};

/// `command.run`: start this job. The field names are those of the fleet protocol; `repository_id`
/// and `config_version` are Holdfast's.
///
/// A command that comes twice is recognised by `job_id` and run once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The job, minted by the server; the key that makes a repeat harmless.
    pub job_id: JobId,
    /// The operation; on the wire `kind`, as in the fleet protocol.
    #[serde(rename = "kind")]
    pub operation: Operation,
    /// The repository to work on; its address and credentials come with `config.update`.
    pub repository_id: RepositoryId,
    /// The job may start once a configuration of at least this version is in force on the agent.
    pub config_version: i64,
    /// The source group's name, which is also the snapshot's tag. Empty for whole-repository work.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
    /// Paths to back up, absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<String>,
    /// restic exclude patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
}

/// `command.cancel`: end this job. An unknown id is answered with an error, never taken as "all".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The job to end.
    pub job_id: JobId,
}

/// `command.pause`: stop the job's process group where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The job to pause.
    pub job_id: JobId,
}

/// `command.resume`: let a paused job go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The job to resume.
    pub job_id: JobId,
}

/// `command.result`: the command is stored on the agent, or refused. Not the job's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The job the command was about.
    pub job_id: JobId,
    /// Which command this answers: `run`, `cancel`, `pause` or `resume`.
    pub command: Verb,
    /// Whether it was taken.
    pub accepted: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// Which command an [`Outcome`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// `command.run`.
    Run,
    /// `command.cancel`.
    Cancel,
    /// `command.pause`.
    Pause,
    /// `command.resume`.
    Resume,
}
