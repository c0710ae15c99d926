//! `restic init`, guarded against what would make a repository that nobody can open.
//!
//! `init` first looks for a config file, then writes a key and then the config, all of it at its
//! own pace. Two at once each write a key, one config wins, and the other key opens the repository
//! for nothing: that repository is broken, in every version up to 0.19.1 at least. The same happens
//! after an `init` that was broken off between key and config. So within one machine only one job
//! has the turn, the command is never broken off, and a directory that already has keys is left
//! alone. Between machines that share a remote repository the control plane has to see to it that
//! only one backup comes first.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use holdfast_protocol::message::{job::JobError, result::Initialised};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    Access, Code, Control, Outcome, Restic,
    error::job_error,
    event::Reporter,
    operation::campaign::Campaign,
    restic::{
        call::Call,
        exit_code::Cause,
        session::{Report, Session},
    },
};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    ByUs,
    /// There is one by now, or the beginnings of one.
    BySomebodyElse,
}

/// Creates the repository as a job. That there is one by now, and that it opens, is good too.
pub(crate) async fn job(
    restic: &Restic,
    access: &Access,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    let mut campaign = Campaign::open(restic, access, control, reporter)?.without_locks();
    let mut created = false;
    for _ in 0..TRIES_MAX {
        let mut look = Call::new(["cat", "config", "--no-lock"]).brief().capturing();
        let report = campaign.run(&mut look).await?;
        match report.cause {
            Cause::Complete => return Ok(initialised(&report, created)),
            Cause::NoRepository if report.ended.stop.is_none() => {}
            _ => return Err(campaign.end(&report).await),
        }
        match within(&mut campaign.session).await? {
            Created::ByUs => created = true,
            Created::BySomebodyElse => campaign.pause_between_tries().await,
        }
    }
    Err(half_made().into())
}

/// How often somebody else's half-made repository is looked at again.
pub(crate) const TRIES_MAX: u32 = 8;

#[derive(Deserialize)]
struct Config {
    id: String,
    version: u32,
}

fn initialised(report: &Report, created: bool) -> Outcome {
    let exit_code = report.ended.exit.code();
    match serde_json::from_str::<Config>(report.transcript.captured()) {
        Ok(Config { id: restic_id, version: format_version }) => {
            Outcome::succeeded(exit_code, &Initialised { created, restic_id, format_version })
        }
        Err(error) => {
            let message = format!("The repository's config could not be read: {error}.");
            Outcome::failed(exit_code, job_error(Code::ResticFailed, message))
        }
    }
}

/// Creates the repository unless there is one by now.
///
/// # Errors
/// `repository_init_failed`, or the plain cause when restic tells it (full, unreachable).
pub(crate) async fn within(session: &mut Session<'_>) -> Result<Created, JobError> {
    let place = local_path(session.access.url.expose());
    let _turn = match place {
        Some(place) => wait_for_turn(place, session.control).await,
        None => None,
    };
    if place.is_some_and(has_keys) {
        return Ok(Created::BySomebodyElse);
    }
    let report = session.run(&mut Call::new(["init"]).brief().undisturbed()).await?;
    match report.cause {
        _ if report.ended.stop.is_some() => Err(report.error()),
        Cause::Complete => Ok(Created::ByUs),
        Cause::RepositoryExists => Ok(Created::BySomebodyElse),
        Cause::Failed(_) | Cause::NoRepository => {
            let reason = report.transcript.reason().unwrap_or_default();
            let message = format!("The repository could not be created: {reason}.");
            Err(job_error(Code::RepositoryInitFailed, message))
        }
        _ => Err(report.error()),
    }
}

/// The error of a place that has the beginnings of a repository and never gets the rest.
pub(crate) fn half_made() -> JobError {
    JobError {
        code: Code::RepositoryInitFailed.as_str().to_owned(),
        message: "The repository has keys but no config file: its creation was broken off, or the file was lost.".to_owned(),
        action: "Bring the config file back, or, if nothing was ever backed up there, delete what is at the location; then start the job again.".to_owned(),
    }
}

fn has_keys(place: &Path) -> bool {
    fs::read_dir(place.join("keys")).is_ok_and(|mut keys| keys.next().is_some())
}

/// Waits until no other job of this machine creates a repository in the same directory.
///
/// The lock is on the directory above the repository, leaves no trace, and ends with the guard or
/// the process. Where it cannot be had (a file system without locks, a directory that may not be
/// made) `init` goes on without, or says what is wrong.
async fn wait_for_turn(place: &Path, control: &Control) -> Option<File> {
    const WAIT_MAX: Duration = Duration::from_secs(60);
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    const OWNER_ONLY: u32 = 0o700;
    // `init` would make the directory too; made before, it is the same one for everybody.
    let above = place.parent().unwrap_or(place);
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(above).ok()?;
    let directory = File::open(above).ok()?;
    let deadline = Instant::now() + WAIT_MAX;
    while let Err(TryLockError::WouldBlock) = directory.try_lock() {
        let cancelled = tokio::time::timeout(LOOK_EVERY, control.cancelled()).await.is_ok();
        if cancelled || Instant::now() >= deadline {
            return None;
        }
    }
    Some(directory)
}

/// The directory of a local repository.
fn local_path(url: &str) -> Option<&Path> {
    let path = Path::new(url.strip_prefix("local:").unwrap_or(url));
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_job_at_a_time_has_the_turn() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("not/yet/there");
        let first = wait_for_turn(&place, &Control::new()).await.unwrap();
        let wait = async move { wait_for_turn(&place, &Control::new()).await.is_some() };
        let second = tokio::spawn(wait);
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap());
    }

    #[tokio::test]
    async fn a_cancelled_job_does_not_wait_for_its_turn() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("repository");
        let _first = wait_for_turn(&place, &Control::new()).await.unwrap();
        let control = Control::new();
        control.cancel();
        assert!(wait_for_turn(&place, &control).await.is_none());
    }

    #[test]
    fn remote_repositories_have_no_directory_to_lock() {
        assert_eq!(local_path("rest:http://host/x"), None);
        assert_eq!(local_path("sftp:host:/x"), None);
        assert_eq!(local_path("local:/a/b"), Some(Path::new("/a/b")));
    }
}
