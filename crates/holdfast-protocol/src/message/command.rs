//! Commands and their answers. All are records: none is lost, each takes effect once.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::{
    JobId, RepositoryId,
    message::{
        config::{CommandSource, Hooks},
        job::{JobError, Operation},
        parameters::{Bandwidth, Parameters},
    },
};

/// `command.run`: start this job. The field names are those of the fleet protocol; `repository_id`
/// and `config_version` are Holdfast's.
///
/// A command that comes twice is recognised by `job_id` and run once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// How to do it. Absent where the operation has nothing to choose: a plain backup of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Box<Parameters>>,
    /// How much of the network the job may take.
    #[serde(default, skip_serializing_if = "Bandwidth::is_unlimited")]
    pub bandwidth: Bandwidth,
    /// How often a failed job is tried again.
    #[serde(flatten)]
    pub retry: Retry,
    /// How long the job may take before it is ended; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<NonZeroU32>,
    /// What the host runs before and after.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// Back up what a command of the host writes, instead of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<CommandSource>,
    /// Whether a backup makes the repository when there is none. The server says so to one host at
    /// a time, because restic does not survive two: see [`Operation::is_exclusive`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_create: Option<bool>,
}

impl Run {
    /// The command to do `operation`, with nothing said about how.
    #[must_use]
    pub fn new(job_id: JobId, operation: Operation, repository_id: RepositoryId) -> Self {
        Self {
            job_id,
            operation,
            repository_id,
            config_version: 0,
            tag: String::new(),
            includes: Vec::new(),
            excludes: Vec::new(),
            parameters: None,
            bandwidth: Bandwidth::default(),
            retry: Retry::default(),
            timeout_seconds: None,
            hooks: Hooks::default(),
            source: None,
            may_create: None,
        }
    }
}

/// How often, and how soon, a failed job is tried again. Only what does no harm when it is repeated
/// ([`Operation::is_idempotent`]) ever is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How often at most, after the first try.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_max: u32,
    /// How long to wait before the second try, in seconds; twice as long before each later one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_backoff_seconds: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
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
