//! After a crash: what the agent's earlier life left behind is ended, told and cleared away.

use std::{collections::BTreeSet, fs, os::unix::ffi::OsStrExt, path::Path, time::Duration};

use holdfast_engine::{Child, reap_orphan};
use holdfast_link::StoreError;
use holdfast_protocol::{RepositoryId, message::job::Status};
use tokio::time::{Instant, sleep};

use super::{Context, job_error, task, without_result};
use crate::{
    config::create_private_dir,
    state::{Entry, Stage},
};

/// How long removing stale locks may take. A repository that cannot be reached must not keep the
/// others waiting; the next backup removes stale locks too.
const UNLOCK_WITHIN: Duration = Duration::from_secs(30);

/// How long an ended process may stay in the process table.
const BURIAL_WITHIN: Duration = Duration::from_secs(5);

/// Ends every job that an earlier life of the agent had begun.
///
/// A job past its intent may have run to its end, or not at all: nobody knows, so it is told as
/// interrupted and never run again by itself. Jobs that only waited go on waiting. It must have
/// ended before anything else uses restic: it takes every process with our scratch files for an
/// orphan.
///
/// # Errors
/// When the state cannot be read or written.
pub async fn recover(context: &Context) -> Result<(), StoreError> {
    let mut begun = context.state.active_jobs().await?;
    begun.retain(|entry| entry.stage != Stage::Received);
    end_processes(context, &begun).await;
    let mut repositories = BTreeSet::new();
    for entry in &begun {
        tell_interrupted(context, entry).await?;
        repositories.insert(entry.run.repository_id);
    }
    clear_scratch(&context.directory.run_dir());
    for repository in repositories {
        unlock(context, repository).await;
    }
    Ok(())
}

/// Ends what still runs: first what the journal names, then whatever works with our scratch files.
/// The latter finds a process that was spawned in the moment before the crash.
async fn end_processes(context: &Context, begun: &[Entry]) {
    for entry in begun {
        if let Stage::Started(child) = entry.stage {
            let reaped = reap_orphan(child).await;
            tracing::info!(job_id = %entry.job_id(), pid = child.pid, ?reaped, "orphan of a crash");
            await_burial(child).await;
        }
    }
    for child in processes_of(&context.directory.run_dir()) {
        let reaped = reap_orphan(child).await;
        tracing::info!(pid = child.pid, ?reaped, "orphan of a crash, by its scratch files");
    }
}

/// Waits until an ended process has left the process table, which is up to the system's init.
///
/// restic takes a lock for stale when its process does not exist. One that has ended and that
/// nobody has asked about still exists in that sense.
async fn await_burial(child: Child) {
    let start = Instant::now();
    while start.elapsed() < BURIAL_WITHIN
        && self::child(child.pid).is_some_and(|other| other.start_time == child.start_time)
    {
        sleep(Duration::from_millis(50)).await;
    }
}

async fn tell_interrupted(context: &Context, entry: &Entry) -> Result<(), StoreError> {
    let error = job_error(
        "agent_stopped",
        "The agent stopped while this job ran; what it had done until then is not known.",
        "Start it again: what a backup has uploaded already is reused.",
    );
    tracing::warn!(job_id = %entry.job_id(), "a job of an earlier life is interrupted");
    let finished = without_result(entry.job_id(), Status::Interrupted, error);
    context.state.finish(finished).await.map(drop)
}

/// Removes the locks of processes that are gone, so that the next run need not wait for them.
async fn unlock(context: &Context, repository: RepositoryId) {
    let Some(access) = context.access(repository, &format!("unlock-{repository}")) else { return };
    if let Err(error) = create_private_dir(&access.scratch_dir) {
        tracing::warn!(%error, "stale locks were not removed: no scratch directory");
        return;
    }
    match tokio::time::timeout(UNLOCK_WITHIN, context.restic.unlock_stale(&access)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(code = error.code, "stale locks were not removed: {}", error.message);
        }
        Err(_) => tracing::warn!("stale locks were not removed: restic took too long"),
    }
    task::remove(&access.scratch_dir);
}

fn clear_scratch(run_dir: &Path) {
    let Ok(leftovers) = fs::read_dir(run_dir) else { return };
    for leftover in leftovers.flatten() {
        task::remove(&leftover.path());
    }
}

/// The processes whose environment names a file below `run_dir`.
fn processes_of(run_dir: &Path) -> Vec<Child> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let below = [run_dir.as_os_str().as_bytes(), b"/"].concat();
    processes
        .flatten()
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id() && has_in_environment(*pid, &below))
        .filter_map(child)
        .collect()
}

fn has_in_environment(pid: u32, text: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.windows(text.len()).any(|window| window == text)
}

/// The process as a later reader of the same number would recognise it.
pub(super) fn child(pid: u32) -> Option<Child> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; the start time is the 20th field after it.
    let (_, fields) = stat.rsplit_once(')')?;
    let start_time = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Child { pid, start_time })
}
