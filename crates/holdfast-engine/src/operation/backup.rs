//! `restic backup`, from the first look at the sources to one truthful end.

use std::ffi::OsString;
use std::time::Duration;

use holdfast_protocol::message::job::{JobError, Status};
use tokio::time::Instant;

use crate::{
    Access, Code, Control, Outcome, Restic,
    error::job_error,
    event::Reporter,
    operation::{
        init,
        init::Created,
        snapshots,
        sources::{Sources, missing_error},
        unlock,
    },
    restic::{
        exit_code::Cause,
        session::{Report, Session},
    },
};

/// What to back up, and under which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The host's name in the fleet; restic records it as the snapshot's host.
    pub host: String,
    /// The source group's name, the snapshot's only tag. Empty for none.
    pub tag: String,
    /// Paths, absolute.
    pub includes: Vec<String>,
    /// restic exclude patterns.
    pub excludes: Vec<String>,
}

/// Runs the backup. Whatever happens is an [`Outcome`].
pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    backup: &Backup,
    control: &Control,
    reporter: &mut Reporter,
) -> Outcome {
    if control.is_cancelled() {
        return Outcome::cancelled_idle();
    }
    let prepared = backup.check().and_then(|()| {
        let sources = Sources::look(&backup.includes)?;
        Ok((sources, Session::open(restic, access, control, reporter)?))
    });
    match prepared {
        Ok((sources, session)) => Campaign::new(session, access, backup, sources).run().await,
        Err(error) => Outcome::failed(None, error),
    }
}

impl Backup {
    fn check(&self) -> Result<(), JobError> {
        let refuse = |message: &str| Err(job_error(Code::InvalidConfiguration, message));
        if self.host.is_empty() || self.host.contains('\0') {
            return refuse("The host has no name that restic could record.");
        }
        // restic would take the parts for several tags.
        if self.tag.contains([',', '\0']) {
            return refuse("The source group's name holds a comma, which restic's tags cannot.");
        }
        if self.excludes.iter().any(|pattern| pattern.trim().is_empty() || pattern.contains('\0')) {
            return refuse("The source group has an empty exclude pattern.");
        }
        Ok(())
    }

    /// Every value is bound to its option by `=`, and `--` comes before the paths, so that nothing
    /// of the configuration can become an option.
    fn arguments(&self, paths: &[&str]) -> Vec<OsString> {
        let mut arguments = vec!["backup".to_owned(), "--json".to_owned()];
        arguments.push(format!("--host={}", self.host));
        if !self.tag.is_empty() {
            arguments.push(format!("--tag={}", self.tag));
        }
        arguments.extend(self.excludes.iter().map(|pattern| format!("--exclude={pattern}")));
        arguments.push("--".to_owned());
        arguments.extend(paths.iter().map(|&path| path.to_owned()));
        arguments.into_iter().map(OsString::from).collect()
    }
}

/// The tries of one backup.
struct Campaign<'a> {
    session: Session<'a>,
    access: &'a Access,
    backup: &'a Backup,
    sources: Sources<'a>,
    locked_since: Option<Instant>,
    delay: Duration,
    inits: u32,
}

/// How often "there is no repository" is answered with `init`: once for the repository, and some
/// more for one that somebody else is only half-way through creating.
const INITS_MAX: u32 = 8;

impl<'a> Campaign<'a> {
    fn new(
        session: Session<'a>,
        access: &'a Access,
        backup: &'a Backup,
        sources: Sources<'a>,
    ) -> Self {
        let delay = session.restic.patience().retry_min;
        Self { session, access, backup, sources, locked_since: None, delay, inits: 0 }
    }

    async fn run(&mut self) -> Outcome {
        for path in &self.sources.missing {
            self.session.reporter.remark(format!("{path} does not exist and is left out"));
        }
        let arguments = self.backup.arguments(&self.sources.present);
        loop {
            if self.session.control.is_cancelled() {
                return Outcome::cancelled_idle();
            }
            let report = match self.session.run(&arguments).await {
                Ok(report) => report,
                Err(error) => return Outcome::failed(None, error),
            };
            if let Some(outcome) = self.judge(report).await {
                return outcome;
            }
        }
    }

    /// The end that `report` means; `None` to try again.
    async fn judge(&mut self, report: Report) -> Option<Outcome> {
        match report.cause {
            Cause::Complete | Cause::Partial => Some(self.done(&report).await),
            _ if report.ended.stop.is_some() => Some(self.stopped(&report).await),
            Cause::NoRepository => self.create(&report).await.err(),
            Cause::Locked => self.wait_for_lock(&report).await.err(),
            _ => Some(failed(&report)),
        }
    }

    /// restic ended well. Whether that is true shows in the snapshot it names.
    async fn done(&mut self, report: &Report) -> Outcome {
        let Some(id) = report.transcript.snapshot_id() else {
            if report.ended.stop.is_some() {
                return self.stopped(report).await;
            }
            let message = "restic ended as if it had succeeded, but named no snapshot.";
            return Outcome {
                stats: report.transcript.summary().cloned(),
                ..Outcome::failed(
                    report.ended.exit.code(),
                    job_error(Code::SnapshotUnconfirmed, message),
                )
            };
        };
        let error = self.shortfall(report);
        Outcome {
            status: if error.is_some() { Status::Partial } else { Status::Succeeded },
            exit_code: report.ended.exit.code(),
            snapshot_id: Some(self.full_id(id).await),
            stats: report.transcript.summary().cloned(),
            error,
        }
    }

    /// What the snapshot lacks.
    fn shortfall(&self, report: &Report) -> Option<JobError> {
        let skipped = report.transcript.skipped().iter().map(String::as_str);
        let missing: Vec<_> = self.sources.missing.iter().copied().chain(skipped).collect();
        if !missing.is_empty() {
            return Some(missing_error(&missing));
        }
        (report.cause == Cause::Partial).then(|| {
            let message = match report.transcript.unreadable() {
                (0, _) | (_, None) => "Some files could not be read.".to_owned(),
                (1, Some(first)) => format!("One file could not be read: {first}."),
                (count, Some(first)) => {
                    format!("{count} files could not be read; the first is {first}.")
                }
            };
            job_error(Code::SourceUnreadable, message)
        })
    }

    /// restic before 0.17 tells the first eight digits only; the list of snapshots has them all.
    async fn full_id(&mut self, id: &str) -> String {
        const FULL_LENGTH: usize = 64;
        if id.len() == FULL_LENGTH {
            return id.to_owned();
        }
        let listed = snapshots::list(&mut self.session, id).await.unwrap_or_default();
        let found = listed.into_iter().find(|snapshot| snapshot.id.starts_with(id));
        found.map_or_else(|| id.to_owned(), |snapshot| snapshot.id)
    }

    async fn stopped(&mut self, report: &Report) -> Outcome {
        self.remove_own_lock().await;
        Outcome::cancelled(report.ended.exit.code(), report.error())
    }

    /// A killed restic leaves its lock; its owner is gone, so restic itself takes it for stale. An
    /// interrupted one leaves it too when it was still taking it: for the moment in which it looks for
    /// rivals the lock is in the repository, and restic does not clean it up yet.
    async fn remove_own_lock(&mut self) {
        // Somebody waits for the end of the job, and the next backup removes stale locks too.
        const UNLOCK_WITHIN: Duration = Duration::from_secs(20);
        // The job's own control says "cancelled", which would end the unlock too.
        let unlocking = unlock::run(self.session.restic, self.access);
        let remark = match tokio::time::timeout(UNLOCK_WITHIN, unlocking).await {
            Ok(Ok(())) => "stale locks, if there were any, are removed".to_owned(),
            Ok(Err(error)) => format!("stale locks could not be removed: {}", error.message),
            Err(_) => "stale locks could not be removed in time".to_owned(),
        };
        self.session.reporter.remark(remark);
    }

    async fn create(&mut self, report: &Report) -> Result<(), Outcome> {
        if self.inits == INITS_MAX {
            return Err(failed(report));
        }
        self.inits += 1;
        let exit_code = report.ended.exit.code();
        match init::within(&mut self.session, self.access.url.expose()).await {
            Ok(Created::ByUs) => {
                self.session.reporter.remark("the repository did not exist and was created");
            }
            Ok(Created::BySomebodyElse) if self.inits == INITS_MAX => {
                return Err(Outcome::failed(exit_code, init::half_made()));
            }
            Ok(Created::BySomebodyElse) => {
                self.session.reporter.remark("the repository is being created by somebody else");
                self.pause_between_tries().await;
            }
            Err(error) => return Err(Outcome::failed(exit_code, error)),
        }
        Ok(())
    }

    async fn wait_for_lock(&mut self, report: &Report) -> Result<(), Outcome> {
        let since = *self.locked_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.session.restic.patience().lock_wait {
            return Err(failed(report));
        }
        let reason = report.transcript.reason().unwrap_or_default();
        self.session.reporter.remark(format!("the repository is locked, waiting: {reason}"));
        if let Err(error) = unlock::within(&mut self.session).await {
            let message = format!("stale locks could not be removed: {}", error.message);
            self.session.reporter.remark(message);
        }
        self.pause_between_tries().await;
        Ok(())
    }

    /// Waits, twice as long each time; a cancel ends the wait.
    async fn pause_between_tries(&mut self) {
        let _ = tokio::time::timeout(self.delay, self.session.control.cancelled()).await;
        self.delay = (self.delay * 2).min(self.session.restic.patience().retry_max);
    }
}

fn failed(report: &Report) -> Outcome {
    Outcome {
        stats: report.transcript.summary().cloned(),
        ..Outcome::failed(report.ended.exit.code(), report.error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        Backup {
            host: "-h".to_owned(),
            tag: "--password-command=x".to_owned(),
            includes: vec!["/src".to_owned()],
            excludes: vec!["--x".to_owned()],
        }
    }

    #[test]
    fn no_value_can_become_an_option() {
        let arguments = backup().arguments(&["/src"]);
        let expected = [
            "backup",
            "--json",
            "--host=-h",
            "--tag=--password-command=x",
            "--exclude=--x",
            "--",
            "/src",
        ];
        assert_eq!(arguments, expected.map(OsString::from));
    }

    #[test]
    fn names_that_restic_would_split_are_refused() {
        assert_eq!(backup().check(), Ok(()));
        for broken in [
            Backup { tag: "a,b".to_owned(), ..backup() },
            Backup { host: String::new(), ..backup() },
            Backup { excludes: vec![" ".to_owned()], ..backup() },
        ] {
            assert_eq!(broken.check().unwrap_err().code, "invalid_configuration");
        }
    }
}
