//! One backup job, from the journal to its result.

use std::{fs, io, path::Path};

use holdfast_engine::{Access, Backup, Control, Outcome};
use holdfast_link::StoreError;
use holdfast_protocol::{
    JobId,
    message::{
        job::{Finished, JobError, Status},
        parameters::Backup as BackupOptions,
    },
};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Context, job_error, report::Report};
use crate::{
    config::create_private_dir,
    state::{Entry, Wanted},
};

/// Events that may wait for the reporter; the engine keeps what does not fit.
const EVENTS_MAX: usize = 64;

/// Runs the job and stores its result.
///
/// # Errors
/// When the disk refused to store what must be stored; restic has been ended then.
pub(super) async fn run(
    context: Context,
    entry: Entry,
    control: Control,
    stopping: CancellationToken,
) -> Result<(), StoreError> {
    let job = entry.job_id();
    let access = match prepare(&context, &entry) {
        Ok(access) => access,
        Err(error) => return context.refuse(job, error).await,
    };
    if context.state.intend(job).await? {
        tracing::info!(job_id = %job, group = entry.run.tag, "job starts");
        let outcome = back_up(&context, &entry, &access, &control).await?;
        end(&context, job, outcome, stopping.is_cancelled()).await?;
    }
    remove(&access.scratch_dir);
    Ok(())
}

/// Everything that can be refused before the job counts as tried.
fn prepare(context: &Context, entry: &Entry) -> Result<Access, JobError> {
    let job = entry.job_id();
    let access = context.access(entry.run.repository_id, &job.to_string()).ok_or_else(|| {
        job_error(
            "repository_unknown",
            "The host's configuration does not contain the repository of this job.",
            "Check which repository the source group uses, then run it again.",
        )
    })?;
    create_private_dir(&access.scratch_dir).map_err(|error| {
        let message = format!("The agent could not create the job's scratch directory: {error}.");
        let action = "Check the free space and the permissions of the agent's data directory.";
        job_error("scratch_unusable", &message, action)
    })?;
    Ok(access)
}

async fn back_up(
    context: &Context,
    entry: &Entry,
    access: &Access,
    control: &Control,
) -> Result<Outcome, StoreError> {
    let backup = Backup {
        host: context.host_name(),
        tag: entry.run.tag.clone(),
        includes: entry.run.includes.clone(),
        excludes: entry.run.excludes.clone(),
        options: BackupOptions::default(),
    };
    let (events, incoming) = mpsc::channel(EVENTS_MAX);
    let running = async {
        Ok::<_, StoreError>(context.restic.backup(access, &backup, control, events).await)
    };
    // When the disk refuses a record, restic's future is dropped and with it the process: what it
    // did could not be told any more.
    let reporting = Report::new(context, entry).run(incoming);
    let (outcome, ()) = tokio::try_join!(running, reporting)?;
    Ok(outcome)
}

async fn end(
    context: &Context,
    job: JobId,
    outcome: Outcome,
    stopping: bool,
) -> Result<(), StoreError> {
    let outcome = if stopping { own_up(context, job, outcome).await? } else { outcome };
    let finished = Finished {
        job_id: job,
        status: outcome.status,
        exit_code: outcome.exit_code,
        finished_at: Timestamp::now(),
        snapshot_id: outcome.snapshot_id,
        stats: outcome.stats,
        error: outcome.error,
    };
    tracing::info!(job_id = %job, status = finished.status.as_str(), "job ended");
    context.link.withdraw("job.progress", &job.to_string());
    context.state.finish(finished).await.map(drop)
}

/// A job that the stopping agent cancelled was not cancelled by a person: it is interrupted.
async fn own_up(context: &Context, job: JobId, outcome: Outcome) -> Result<Outcome, StoreError> {
    let entries = context.state.active_jobs().await?;
    let wanted = entries.iter().find(|entry| entry.job_id() == job).map(|entry| entry.wanted);
    if outcome.status != Status::Cancelled || wanted == Some(Wanted::Cancel) {
        return Ok(outcome);
    }
    let error = job_error(
        "agent_shutdown",
        "The agent was stopped while this job ran.",
        "Run it again: what was uploaded already is reused.",
    );
    Ok(Outcome { status: Status::Interrupted, error: Some(error), ..outcome })
}

/// Removes a scratch directory. What stays behind is removed at the next start.
pub(super) fn remove(scratch: &Path) {
    match fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %scratch.display(), %error, "scratch files were left behind");
        }
        _ => {}
    }
}
