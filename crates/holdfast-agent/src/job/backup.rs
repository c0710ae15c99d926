//! One backup job, from the journal to its result.

use std::{fs, io, path::Path, time::Duration};

use holdfast_engine::{Access, Backup, Control, Outcome};
use holdfast_link::StoreError;
use holdfast_protocol::{
    JobId, Message, RepositoryId,
    message::{
        job::{Finished, JobError, Status},
        snapshot::{REPORT_SNAPSHOTS_MAX, Report as SnapshotReport, Snapshot},
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

/// How long listing the snapshots may take before it is given up.
const LIST_WITHIN: Duration = Duration::from_secs(300);

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
        let made_snapshot = outcome.snapshot_id.is_some();
        end(&context, job, outcome, stopping.is_cancelled()).await?;
        if made_snapshot && !stopping.is_cancelled() {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                listed = list(&context, entry.run.repository_id, &access) => listed?,
            }
        }
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
        host: host_name(context),
        tag: entry.run.tag.clone(),
        includes: entry.run.includes.clone(),
        excludes: entry.run.excludes.clone(),
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

fn host_name(context: &Context) -> String {
    let settings = context.state.settings();
    let settings = settings.borrow();
    settings.config.as_ref().map(|config| config.host_name.clone()).unwrap_or_default()
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

/// Tells the server what the repository now holds. That it could not be listed is no failure of the
/// job: the snapshot is there.
async fn list(
    context: &Context,
    repository: RepositoryId,
    access: &Access,
) -> Result<(), StoreError> {
    let host = host_name(context);
    let listed_at = Timestamp::now();
    let listing = context.restic.snapshots(access, &host);
    match tokio::time::timeout(LIST_WITHIN, listing).await {
        Ok(Ok(snapshots)) => {
            context.state.append(reports(repository, listed_at, &snapshots)).await?;
        }
        Ok(Err(error)) => {
            tracing::warn!(code = error.code, "the snapshots were not listed: {}", error.message);
        }
        Err(_) => tracing::warn!("the snapshots were not listed: restic took too long"),
    }
    Ok(())
}

/// A list in parts small enough for a frame. An empty list is one part too: it empties the other
/// side's.
fn reports(
    repository_id: RepositoryId,
    listed_at: Timestamp,
    snapshots: &[Snapshot],
) -> Vec<Message> {
    let report_id = uuid::Uuid::now_v7().to_string();
    let mut parts: Vec<&[Snapshot]> = snapshots.chunks(REPORT_SNAPSHOTS_MAX).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let last = parts.len() - 1;
    let part = |(index, snapshots): (usize, &[Snapshot])| {
        Message::SnapshotsReport(SnapshotReport {
            repository_id,
            report_id: report_id.clone(),
            last: index == last,
            listed_at,
            snapshots: snapshots.to_vec(),
        })
    };
    parts.into_iter().enumerate().map(part).collect()
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn snapshot(number: usize) -> Snapshot {
        Snapshot {
            id: number.to_string(),
            short_id: number.to_string(),
            time: Timestamp::UNIX_EPOCH,
            hostname: "alpha".to_owned(),
            paths: vec![],
            tags: vec![],
            size_bytes: None,
            file_count: None,
        }
    }

    fn parts(count: usize) -> Vec<(bool, usize)> {
        let snapshots: Vec<_> = (0..count).map(snapshot).collect();
        let repository = RepositoryId::from_uuid(Uuid::from_u128(1));
        let part = |message| match message {
            Message::SnapshotsReport(report) => (report.last, report.snapshots.len()),
            other => panic!("not a report: {}", other.kind()),
        };
        reports(repository, Timestamp::UNIX_EPOCH, &snapshots).into_iter().map(part).collect()
    }

    #[test]
    fn a_long_list_goes_in_parts_and_only_the_last_says_so() {
        assert_eq!(parts(0), [(true, 0)]);
        assert_eq!(parts(500), [(true, 500)]);
        assert_eq!(parts(1001), [(false, 500), (false, 500), (true, 1)]);
    }
}
