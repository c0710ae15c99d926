//! A job's log lines, numbered at capture so that a gap can be seen and shown.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::JobId;

/// `log.stream`: some lines of one job, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The job.
    pub job_id: JobId,
    /// The lines. Numbers rise; a jump is a gap of lines that were dropped on the way.
    pub lines: Vec<Line>,
}

/// One line of a job's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// From 1, dense at capture.
    pub seq: u64,
    /// When it was captured, by the agent's clock.
    pub ts: Timestamp,
    /// Where it came from.
    pub stream: Source,
    /// The text, at most 4 KiB of it.
    pub payload: String,
}

/// Where a log line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// The agent's own remark, such as "the repository did not exist and was created".
    Event,
}
