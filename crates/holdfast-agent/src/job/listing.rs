//! Telling the server what the repositories hold.

use std::time::Duration;

use holdfast_engine::Access;
use holdfast_link::{LinkStatus, StoreError};
use holdfast_protocol::{
    Message, RepositoryId,
    message::snapshot::{REPORT_SNAPSHOTS_MAX, RepoStats, Report as SnapshotReport, Snapshot},
};
use jiff::Timestamp;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Context, room::room, task};
use crate::{config::create_private_dir, state::Due};

/// How long listing one repository may take before it is given up.
const LIST_WITHIN: Duration = Duration::from_secs(300);

/// How soon a list that could not be made is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(300);

/// Lists what is due whenever the server can hear it, until `stop`.
///
/// That a repository could not be listed is no failure of the job that changed it: the snapshot is
/// there. The list stays due.
///
/// # Errors
/// When the state cannot be read or written.
pub async fn run_listings(
    context: Context,
    mut link: watch::Receiver<LinkStatus>,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            listed = list_due(&context, &mut link) => listed?,
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = context.state.listings_changed() => {}
            () = tokio::time::sleep(RETRY_AFTER) => {}
        }
    }
}

/// # Cancel safety
/// Safe: restic is killed, and what was not stored is still due.
async fn list_due(
    context: &Context,
    link: &mut watch::Receiver<LinkStatus>,
) -> Result<(), StoreError> {
    for due in context.state.listings_due().await? {
        // The link lives as long as the agent; when it is gone there is nobody to list for.
        if link.wait_for(LinkStatus::is_connected).await.is_err() {
            return Ok(());
        }
        list(context, due).await?;
    }
    Ok(())
}

async fn list(context: &Context, due: Due) -> Result<(), StoreError> {
    let repository = due.repository;
    let Some(access) = context.access(repository, &format!("list-{repository}")) else {
        // Not this host's any more, so its list is not this host's to tell.
        return context.state.append_listing(due, Vec::new()).await;
    };
    let listed_at = Timestamp::now();
    let snapshots = ask(context, &access).await;
    task::remove(&access.scratch_dir);
    match snapshots {
        Ok(snapshots) => {
            let mut parts = reports(repository, listed_at, &snapshots);
            parts.extend(room_of(repository, &access));
            context.state.append_listing(due, parts).await
        }
        Err(reason) => {
            tracing::warn!(repository_id = %repository, "snapshots not listed: {reason}");
            Ok(())
        }
    }
}

/// What is told of the repository's disk, where it can be asked.
fn room_of(repository_id: RepositoryId, access: &Access) -> Option<Message> {
    let room = room(access.url.expose())?;
    Some(Message::RepoStats(RepoStats {
        repository_id,
        total_size_bytes: None,
        raw_size_bytes: None,
        snapshot_count: None,
        room: Some(room),
    }))
}

async fn ask(context: &Context, access: &Access) -> Result<Vec<Snapshot>, String> {
    create_private_dir(&access.scratch_dir).map_err(|error| error.to_string())?;
    let host = context.host_name();
    match timeout(LIST_WITHIN, context.restic.snapshots(access, &host)).await {
        Ok(listed) => listed.map_err(|error| format!("{} ({})", error.message, error.code)),
        Err(_) => Err("restic took too long".to_owned()),
    }
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
