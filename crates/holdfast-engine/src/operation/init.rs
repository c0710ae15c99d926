//! `restic init`, guarded against two jobs of one machine doing it at the same time.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use holdfast_protocol::message::job::JobError;
use tokio::time::Instant;

use crate::{
    Code, Control,
    error::job_error,
    restic::{exit_code::Cause, session::Session},
};

/// What `init` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    ByUs,
    BySomebodyElse,
}

/// Creates the repository at `url` unless there is one by now.
///
/// # Errors
/// `repository_init_failed`, or the plain cause when restic tells it (full, unreachable).
pub(crate) async fn within(session: &mut Session<'_>, url: &str) -> Result<Created, JobError> {
    let _turn = wait_for_turn(url, session.control).await;
    let report = session.run_brief(&["init"]).await?;
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

/// Waits until no other job of this machine creates a repository in the same directory.
///
/// restic's own check is not atomic on a local directory: two inits at once can each write a key,
/// and the loser's key then opens nothing. The lock is on the nearest directory that exists, leaves
/// no trace, and ends with the guard or the process. It is a courtesy: where it cannot be had
/// (remote repositories, file systems without locks), init goes on without.
async fn wait_for_turn(url: &str, control: &Control) -> Option<File> {
    const WAIT_MAX: Duration = Duration::from_secs(60);
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let directory = local_path(url)?.ancestors().find_map(|path| File::open(path).ok())?;
    let deadline = Instant::now() + WAIT_MAX;
    while let Err(TryLockError::WouldBlock) = directory.try_lock() {
        let cancelled = tokio::time::timeout(LOOK_EVERY, control.cancelled()).await.is_ok();
        if cancelled || Instant::now() >= deadline {
            return None;
        }
    }
    Some(directory)
}

fn local_path(url: &str) -> Option<&Path> {
    let path = Path::new(url.strip_prefix("local:").unwrap_or(url));
    path.is_absolute().then(|| path.parent().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_job_at_a_time_has_the_turn() {
        let home = tempfile::tempdir().unwrap();
        let url = format!("local:{}/not/yet/there", home.path().display());
        let first = wait_for_turn(&url, &Control::new()).await.unwrap();
        let second =
            tokio::spawn(async move { wait_for_turn(&url, &Control::new()).await.is_some() });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap());
    }

    #[test]
    fn remote_repositories_have_no_directory_to_lock() {
        assert_eq!(local_path("rest:http://host/x"), None);
        assert_eq!(local_path("sftp:host:/x"), None);
        assert_eq!(local_path("/a/b"), Some(Path::new("/a")));
    }
}
