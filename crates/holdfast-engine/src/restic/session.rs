//! What the children of one job share: the repository, its secrets, and who steers and listens.

use std::ffi::OsString;
use std::io;
use std::num::NonZeroU32;

use holdfast_protocol::message::job::JobError;

use crate::{
    Access, Code, Control, Restic,
    error::job_error,
    event::Reporter,
    outcome::UNWANTED,
    restic::{
        call::Call,
        command::{SecretFiles, command},
        exit_code::Cause,
        redactor::Redactor,
        transcript::Transcript,
    },
    run::{Connections, Ended, Stop, Terms, feed::Feed, supervise},
};

pub(crate) struct Session<'a> {
    pub(crate) restic: &'a Restic,
    pub(crate) control: &'a Control,
    pub(crate) reporter: &'a mut Reporter,
    pub(crate) access: &'a Access,
    redactor: Redactor,
    secrets: SecretFiles,
}

/// A child's end and its words.
pub(crate) struct Report {
    pub(crate) ended: Ended,
    pub(crate) cause: Cause,
    pub(crate) transcript: Transcript,
    /// Why the command that fed restic ended badly, if it did.
    pub(crate) source_error: Option<JobError>,
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

    /// Runs `call`.
    ///
    /// # Errors
    /// When restic or the command that feeds it could not be started.
    pub(crate) async fn run(&mut self, call: &mut Call<'_>) -> Result<Report, JobError> {
        let redactor = call.source.map_or_else(
            || self.redactor.clone(),
            |source| Redactor::new(self.access.secrets().into_iter().chain(source.secrets())),
        );
        let mut command =
            command(self.restic.program(), &self.arguments(call), self.access, &self.secrets);
        let mut feed = None;
        if let Some(source) = call.source {
            let (started, output) = Feed::start(source, redactor.clone())?;
            feed = Some(started);
            command.stdin(output);
        }
        let mut transcript = Transcript::new(redactor, call.capturing);
        let connections = Connections { tap: call.tap.as_deref_mut(), feed: feed.as_mut() };
        let undisturbed = Control::new();
        let terms = Terms {
            control: if call.undisturbed { &undisturbed } else { self.control },
            patience: self.restic.patience(),
            limit: call.brief.then_some(self.restic.patience().command_max),
            line_max: if call.capturing { ANSWER_MAX } else { LINE_MAX },
        };
        let mut ended = supervise(command, connections, terms, self.reporter, &mut transcript)
            .await
            .map_err(|error| not_started(self.restic, &error))?;
        let cause = match Cause::of(ended.exit, &transcript.said()) {
            // It passes over ids that no snapshot has, and calls that a success.
            Cause::Complete if transcript.names_unknown_snapshot() => Cause::NoSnapshot,
            cause
                if cause.may_hide_a_deletion() && transcript.not_deleted(ended.exit).is_some() =>
            {
                Cause::NotDeleted
            }
            cause => cause,
        };
        let mut source_error = feed.and_then(|feed| feed.error());
        // A command that nobody reads any more breaks off too; that is no cause but a consequence.
        if ended.stop != Some(Stop::SourceFailed) {
            source_error = None;
        } else if cause.is_restics_own() {
            (ended.stop, source_error) = (None, None);
        }
        Ok(Report { ended, cause, transcript, source_error })
    }

    /// Asks restic something small; the answer is what it writes to standard output.
    ///
    /// # Errors
    /// What kept it from answering.
    pub(crate) async fn ask(&mut self, arguments: &[&str]) -> Result<Report, JobError> {
        let report = self.run(&mut Call::new(arguments).brief().capturing()).await?;
        if report.cause != Cause::Complete || report.ended.stop.is_some() {
            return Err(report.error());
        }
        Ok(report)
    }

    fn arguments(&self, call: &Call<'_>) -> Vec<OsString> {
        let limits = self.restic.bandwidth();
        let limit = |name: &str, limit: Option<NonZeroU32>| {
            limit.map(|limit| OsString::from(format!("--limit-{name}={limit}")))
        };
        limit("upload", limits.upload_kib_s)
            .into_iter()
            .chain(limit("download", limits.download_kib_s))
            .chain(call.arguments.iter().cloned())
            .collect()
    }
}

impl Report {
    /// What went wrong, for a report that is no success.
    pub(crate) fn error(&self) -> JobError {
        if let Some(error) = &self.source_error {
            return error.clone();
        }
        let reason = match self.cause {
            Cause::NotDeleted => self.transcript.not_deleted(self.ended.exit).map(str::to_owned),
            _ => self.transcript.reason(),
        };
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
            Some(Stop::Unwanted) => {
                return job_error(Code::Cancelled, UNWANTED);
            }
            Some(Stop::SourceFailed) | None => {}
        }
        let (code, what) = self.cause.words();
        job_error(code, format!("{what}{because}."))
    }
}

impl Cause {
    /// Whether restic, ending for this, may have left something that it was to delete.
    fn may_hide_a_deletion(self) -> bool {
        matches!(self, Self::Complete | Self::Partial | Self::Unreachable | Self::Failed(_))
    }

    /// Whether restic ended for a reason that it tells, and not because it was told to.
    fn is_restics_own(self) -> bool {
        !matches!(
            self,
            Self::Complete | Self::Partial | Self::Interrupted | Self::Killed(_) | Self::Failed(_)
        )
    }

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
            Self::NoSnapshot => (Code::SnapshotNotFound, "The repository holds no such snapshot"),
            Self::NoPath => (Code::PathNotFound, "The snapshot holds no such file or directory"),
            Self::ErrorsFound => (Code::RepositoryErrorsFound, "The repository has errors"),
            Self::Incomplete => (Code::RestoreIncomplete, "Not everything could be restored"),
            Self::NotDeleted => {
                (Code::DeleteRefused, "Not all that was to be deleted could be deleted")
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

/// The longest line of a job's output that is kept.
const LINE_MAX: usize = 64 * 1024;
/// The longest answer: enough for a hundred thousand snapshots.
pub(crate) const ANSWER_MAX: usize = 64 * 1024 * 1024;
