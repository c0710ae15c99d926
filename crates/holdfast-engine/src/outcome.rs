//! How a job ended.

use holdfast_protocol::{
    Payload,
    message::job::{JobError, Status},
};
use serde::Serialize;

use crate::error::{Code, job_error};

/// The one end of a job, as the engine knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// A terminal state.
    pub status: Status,
    /// restic's exit code; absent when it was killed or never started.
    pub exit_code: Option<i32>,
    /// The snapshot that now exists: restic's full id wherever restic can be made to tell it.
    pub snapshot_id: Option<String>,
    /// What came of it: one of the types in [`holdfast_protocol::message::result`], and for a
    /// backup restic's summary object as restic wrote it.
    pub stats: Option<Payload>,
    /// Why the status is not [`Status::Succeeded`].
    pub error: Option<JobError>,
}

impl Outcome {
    /// A job that did what it was for, and what came of it.
    pub(crate) fn succeeded(exit_code: Option<i32>, result: &impl Serialize) -> Self {
        Self {
            status: Status::Succeeded,
            exit_code,
            snapshot_id: None,
            stats: Some(Payload::of(result)),
            error: None,
        }
    }

    /// A job that made nothing.
    pub(crate) fn failed(exit_code: Option<i32>, error: JobError) -> Self {
        Self {
            status: Status::Failed,
            exit_code,
            snapshot_id: None,
            stats: None,
            error: Some(error),
        }
    }

    /// A job that ended on somebody's wish; the process is gone.
    pub(crate) fn cancelled(exit_code: Option<i32>, error: JobError) -> Self {
        Self { status: Status::Cancelled, ..Self::failed(exit_code, error) }
    }

    /// A job whose output nobody takes any more.
    pub(crate) fn abandoned(exit_code: Option<i32>) -> Self {
        Self::cancelled(exit_code, job_error(Code::Cancelled, UNWANTED))
    }

    /// A job that was cancelled while no process of it was running.
    pub(crate) fn cancelled_idle() -> Self {
        Self::cancelled(None, job_error(Code::Cancelled, "The job was cancelled."))
    }
}

/// Why a job ended that had still something to say.
pub(crate) const UNWANTED: &str = "Nobody takes the output any more.";

/// A job that was refused before anything was started.
impl From<JobError> for Outcome {
    fn from(error: JobError) -> Self {
        Self::failed(None, error)
    }
}
