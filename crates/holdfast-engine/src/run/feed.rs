//! The command whose output restic backs up.
//!
//! restic takes the end of its input for the end of the data, so a command that fails half-way
//! would become a good-looking snapshot of half the data. Therefore the writing end of the pipe is
//! held open here too, and let go only after the command has ended well: until then restic waits.
//! It also waits when this process dies in between, as long as the command itself runs.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use holdfast_protocol::message::{config::Secret, job::JobError};
use tokio::process::{self, ChildStderr, Command};

use crate::{
    Child, Code,
    error::job_error,
    event::truncate,
    process_group::ProcessGroup,
    restic::{command, output::plain, redactor::Redactor},
    run::lines::LineReader,
};

/// A command of the host whose standard output is to be backed up.
///
/// It runs as it stands here: no shell reads it, and of the agent's environment it sees only what
/// restic would see too, none of it a secret.
#[derive(Debug, Clone)]
pub struct SourceCommand {
    /// The program, absolute.
    pub program: PathBuf,
    /// Its arguments. Everybody on the host can read them, so there must be no secret in them.
    pub arguments: Vec<OsString>,
    /// Its own environment, secrets allowed.
    pub environment: BTreeMap<String, Secret>,
}

impl SourceCommand {
    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        self.environment.values().map(|value| value.expose().to_owned())
    }
}

/// A running [`SourceCommand`]. Dropped, it kills what is left of it.
pub(crate) struct Feed {
    leader: process::Child,
    group: ProcessGroup,
    stderr: LineReader<ChildStderr>,
    redactor: Redactor,
    /// Keeps restic waiting.
    hold: Option<PipeWriter>,
    ended: Option<io::Result<ExitStatus>>,
    /// What it said last.
    tail: VecDeque<String>,
}

/// Something happened to the command.
pub(crate) enum FeedEvent {
    /// A line of its standard error.
    Said(String),
    /// It ended well.
    Done,
    /// It ended badly; [`Feed::error`] says how.
    Failed,
}

impl Feed {
    /// Starts the command; its output comes out of the reader.
    ///
    /// # Errors
    /// `invalid_configuration` for a program that is not absolute, and `source_command_failed` when
    /// it cannot be started.
    pub(crate) fn start(
        source: &SourceCommand,
        redactor: Redactor,
    ) -> Result<(Self, PipeReader), JobError> {
        if !source.program.is_absolute() {
            let message = "The command to back up is not named by an absolute path.";
            return Err(job_error(Code::InvalidConfiguration, message));
        }
        Self::try_start(source, redactor).map_err(|error| {
            let message = format!("{} could not be started: {error}.", source.program.display());
            job_error(Code::SourceCommandFailed, message)
        })
    }

    fn try_start(source: &SourceCommand, redactor: Redactor) -> io::Result<(Self, PipeReader)> {
        let (reader, hold) = io::pipe()?;
        let mut leader = call(source, hold.try_clone()?).spawn()?;
        let group = ProcessGroup::led_by(Child::of_pid(leader.id().unwrap_or_default()));
        let stderr = LineReader::new(leader.stderr.take(), LINE_MAX);
        let (hold, tail) = (Some(hold), VecDeque::new());
        Ok((Self { leader, group, stderr, redactor, hold, ended: None, tail }, reader))
    }

    /// # Cancel safety
    /// Safe: nothing is lost.
    pub(crate) async fn next(&mut self) -> FeedEvent {
        loop {
            tokio::select! {
                biased;
                line = self.stderr.next(), if self.stderr.is_open() => {
                    if let Some(line) = line {
                        return FeedEvent::Said(self.remember(&line.text));
                    }
                }
                status = self.leader.wait(), if self.ended.is_none() => return self.end(status),
                else => std::future::pending().await,
            }
        }
    }

    fn end(&mut self, status: io::Result<ExitStatus>) -> FeedEvent {
        // What it left behind could hold the pipe open for ever.
        self.group.leader_ended();
        let well = status.as_ref().is_ok_and(ExitStatus::success);
        self.ended = Some(status);
        if !well {
            return FeedEvent::Failed;
        }
        self.hold = None;
        FeedEvent::Done
    }

    fn remember(&mut self, text: &str) -> String {
        const TAIL_LINES: usize = 3;
        let line = self.redactor.redact(plain(text));
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        let mut remembered = line.clone();
        truncate(&mut remembered, REMEMBERED_MAX);
        self.tail.push_back(remembered);
        line
    }

    /// Why it did not end well; `None` when it did, or has not ended.
    pub(crate) fn error(&self) -> Option<JobError> {
        let how = match self.ended.as_ref()? {
            Ok(status) if status.success() => return None,
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let last = self.tail.iter().rev().find(|line| !line.trim().is_empty());
        let because =
            last.map_or_else(String::new, |line| format!(": {}", line.trim_end_matches('.')));
        let message = format!("The command to back up failed ({how}){because}.");
        Some(job_error(Code::SourceCommandFailed, message))
    }
}

fn call(source: &SourceCommand, output: PipeWriter) -> Command {
    let mut command = command::bare(&source.program);
    command.args(&source.arguments);
    command.envs(source.environment.iter().map(|(name, value)| (name, value.expose())));
    command.stdout(Stdio::from(output));
    command
}

/// The longest line of its standard error that is kept, in bytes.
const LINE_MAX: usize = 16 * 1024;
/// How many bytes of a remembered line are kept.
const REMEMBERED_MAX: usize = 512;
