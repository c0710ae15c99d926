//! What the children of one job share: the repository, its secrets, and who steers and listens.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use holdfast_protocol::message::job::JobError;

use crate::{
    Access, Code, Control, Restic,
    error::job_error,
    event::Reporter,
    restic::{
        command::{SecretFiles, command},
        exit_code::Cause,
        redactor::Redactor,
        transcript::Transcript,
    },
    run::{Ended, Stop, Terms, supervise},
};

pub(crate) struct Session<'a> {
    pub(crate) restic: &'a Restic,
    pub(crate) control: &'a Control,
    pub(crate) reporter: &'a mut Reporter,
    access: &'a Access,
    redactor: Redactor,
    secrets: SecretFiles,
}

/// A child's end and its words.
pub(crate) struct Report {
    pub(crate) ended: Ended,
    pub(crate) cause: Cause,
    pub(crate) transcript: Transcript,
}

impl<'a> Session<'a> {
    pub(crate) fn open(
        restic: &'a Restic,
        access: &'a Access,
        control: &'a Control,
        reporter: &'a mut Reporter,
    ) -> Result<Self, JobError> {
        access.check()?;
        let redactor = Redactor::new(access.secrets());
        let secrets = SecretFiles::write(access)?;
        Ok(Self { restic, control, reporter, access, redactor, secrets })
    }

    /// Runs a long operation: no limit but somebody's patience.
    pub(crate) async fn run(&mut self, arguments: &[OsString]) -> Result<Report, JobError> {
        let transcript = Transcript::new(self.redactor.clone());
        let terms = self.terms(None, LINE_MAX);
        self.supervise(arguments, transcript, terms).await
    }

    /// Runs a small command, and ends it when it takes too long.
    pub(crate) async fn run_brief(&mut self, arguments: &[&str]) -> Result<Report, JobError> {
        let transcript = Transcript::new(self.redactor.clone());
        let terms = self.terms(Some(self.restic.patience().command_max), LINE_MAX);
        self.supervise(&owned(arguments), transcript, terms).await
    }

    /// Runs a small command whose answer is one line of JSON, however long.
    pub(crate) async fn ask(&mut self, arguments: &[&str]) -> Result<Report, JobError> {
        let transcript = Transcript::capturing(self.redactor.clone());
        let terms = self.terms(Some(self.restic.patience().command_max), ANSWER_MAX);
        self.supervise(&owned(arguments), transcript, terms).await
    }

    /// Runs a small command that must not be broken off in the middle: a cancel or a pause takes
    /// effect after it.
    pub(crate) async fn run_undisturbed(&mut self, arguments: &[&str]) -> Result<Report, JobError> {
        let transcript = Transcript::new(self.redactor.clone());
        let limit = Some(self.restic.patience().command_max);
        let terms = Terms { control: &Control::new(), ..self.terms(limit, LINE_MAX) };
        self.supervise(&owned(arguments), transcript, terms).await
    }

    fn terms(&self, limit: Option<Duration>, line_max: usize) -> Terms<'a> {
        let patience = self.restic.patience();
        Terms { control: self.control, patience, limit, line_max }
    }

    async fn supervise(
        &mut self,
        arguments: &[OsString],
        mut transcript: Transcript,
        terms: Terms<'_>,
    ) -> Result<Report, JobError> {
        let program = self.restic.program();
        let command = command(program, arguments, self.access, &self.secrets);
        let ended = supervise(command, terms, self.reporter, &mut transcript)
            .await
            .map_err(|error| not_started(self.restic, &error))?;
        let cause = Cause::of(ended.exit, &transcript.said());
        Ok(Report { ended, cause, transcript })
    }
}

impl Report {
    /// What went wrong, for a report that is no success.
    pub(crate) fn error(&self) -> JobError {
        let reason = self.transcript.reason();
        let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        match self.ended.stop {
            Some(Stop::Cancelled) => {
                return job_error(Code::Cancelled, "The job was cancelled.");
            }
            Some(Stop::PausedTooLong) => {
                let message = "The job was paused for longer than restic's lock is safe.";
                return job_error(Code::PauseTooLong, message);
            }
            Some(Stop::TimedOut) => {
                let message = format!("The repository did not answer in time{because}.");
                return job_error(Code::RepositoryUnreachable, message);
            }
            None => {}
        }
        let (code, what) = self.cause.words();
        job_error(code, format!("{what}{because}."))
    }
}

impl Cause {
    fn words(self) -> (Code, String) {
        let (code, what) = match self {
            // Only asked for when the work was not done, so a good end is a broken promise.
            Self::Complete | Self::Partial => {
                (Code::ResticFailed, "restic ended well without the expected answer")
            }
            Self::NoRepository => {
                (Code::RepositoryNotFound, "There is no repository at the location")
            }
            Self::RepositoryExists => {
                (Code::RepositoryInitFailed, "There already is a repository at the location")
            }
            Self::Locked => (Code::RepositoryLocked, "The repository is locked"),
            Self::WrongPassword => {
                (Code::WrongPassword, "The repository cannot be opened with this password")
            }
            Self::Unreachable => (Code::RepositoryUnreachable, "The repository cannot be reached"),
            Self::StorageFull => (Code::StorageFull, "There is no space left"),
            Self::Damaged => {
                (Code::RepositoryDamaged, "The repository's key and config do not belong together")
            }
            Self::SourcesMissing => (Code::SourceMissing, "None of the paths exists on this host"),
            Self::InvalidPattern => {
                (Code::InvalidConfiguration, "An exclude pattern cannot be understood")
            }
            Self::Interrupted => (Code::Interrupted, "restic was interrupted from outside"),
            Self::Killed(signal) => {
                return (Code::ResticKilled, format!("restic was killed by {}", name(signal)));
            }
            Self::Failed(code) => {
                return (Code::ResticFailed, format!("restic ended with code {code}"));
            }
        };
        (code, what.to_owned())
    }
}

fn name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |signal| signal.to_string())
}

fn not_started(restic: &Restic, error: &io::Error) -> JobError {
    let code = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Code::ResticMissing,
        io::ErrorKind::ArgumentListTooLong | io::ErrorKind::InvalidInput => {
            Code::InvalidConfiguration
        }
        _ => Code::ResticFailed,
    };
    job_error(code, format!("{} could not be started: {error}.", restic.program().display()))
}

fn owned(arguments: &[&str]) -> Vec<OsString> {
    arguments.iter().map(OsString::from).collect()
}

/// The longest line of a job's output that is kept.
const LINE_MAX: usize = 64 * 1024;
/// The longest answer: enough for a hundred thousand snapshots.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
