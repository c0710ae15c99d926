//! The first and the last line of a job's log, in words for people.

use holdfast_engine::{Outcome, Version};
use holdfast_protocol::{
    Payload,
    message::{
        command::Run,
        parameters::{Forget, Parameters, ReadData, Restore, Selection, Target},
        result::{Checked, Forgotten, Pruned, Restored, Sizes, Unlocked},
    },
};
use serde::{Deserialize, de::DeserializeOwned};

use super::attempts::{Attempts, Next};

/// What the job is about to do, and with what.
pub(super) fn beginning(parameters: &Parameters, run: &Run, version: Version) -> String {
    format!("{} begins, with restic {version}", work(parameters, run))
}

fn work(parameters: &Parameters, run: &Run) -> String {
    match parameters {
        Parameters::Backup(options) => {
            let dry_run = if options.dry_run { ", a try without storing anything" } else { "" };
            let paths = counted(run.includes.len(), "path", "paths");
            format!("backup of source group {} ({paths}){dry_run}", run.tag)
        }
        Parameters::Restore(restore) => restoring(restore),
        Parameters::Forget(forget) => forgetting(forget),
        Parameters::Check(check) => match check.read_data {
            None => "check of the repository's structure".to_owned(),
            Some(ReadData::All) => "check of the repository and all of its data".to_owned(),
            Some(ReadData::Percent(percent)) => {
                format!("check of the repository and {percent} % of its data")
            }
            Some(ReadData::Part { number, of }) => {
                format!("check of the repository and part {number} of {of} of its data")
            }
        },
        Parameters::Tag(tag) => {
            let count = counted(tag.snapshot_ids.len(), "snapshot", "snapshots");
            format!("change of tags of {count}")
        }
        Parameters::Unlock(unlock) if unlock.remove_all => "removal of all locks".to_owned(),
        Parameters::Unlock(_) => "removal of abandoned locks".to_owned(),
        other => other.operation().as_str().to_owned(),
    }
}

fn restoring(restore: &Restore) -> String {
    let what = match restore.paths.len() {
        0 => "everything".to_owned(),
        count => counted(count, "path", "paths"),
    };
    let to = match &restore.target {
        Target::Original => "to its original place".to_owned(),
        Target::RestoreRoot => "below the host's restore root".to_owned(),
        Target::Directory(directory) => format!("to {directory}"),
    };
    let dry_run = if restore.dry_run { ", a try without writing anything" } else { "" };
    format!("restore of {what} in snapshot {} {to}{dry_run}", restore.snapshot_id)
}

fn forgetting(forget: &Forget) -> String {
    let what = match &forget.which {
        Selection::Policy { tag, .. } if tag.is_empty() => {
            "forgetting of what the policy does not keep".to_owned()
        }
        Selection::Policy { tag, .. } => {
            format!("forgetting of what the policy does not keep of source group {tag}")
        }
        Selection::Groups(groups) => {
            let count = counted(groups.len(), "source group", "source groups");
            format!("forgetting of what the policies of {count} do not keep")
        }
        Selection::Snapshots(ids) => {
            format!("forgetting of {}", counted(ids.len(), "snapshot", "snapshots"))
        }
    };
    if forget.dry_run { format!("{what}, a try without removing anything") } else { what }
}

/// What a try came to, and when the next one comes.
pub(super) fn between(attempts: Attempts, next: Next, outcome: &Outcome) -> String {
    let why = outcome.error.as_ref().map_or("it failed", |error| error.message.as_str());
    match next {
        Next::Retry(wait) => format!(
            "try {} of {} failed: {why} The next one is a job of its own and begins in {} s",
            attempts.number,
            attempts.max(),
            wait.as_secs()
        ),
        Next::WhenResumed => {
            "the pause is longer than restic's lock is safe: restic is stopped, and begins again \
             when the job is resumed; what was uploaded is not uploaded twice"
                .to_owned()
        }
    }
}

/// How the job ended and what came of it.
pub(super) fn end(parameters: &Parameters, outcome: &Outcome) -> String {
    let mut line = outcome.status.as_str().to_owned();
    if let Some(came) = outcome.stats.as_ref().and_then(|stats| came_of_it(parameters, stats)) {
        line = format!("{line}: {came}");
    }
    if let Some(snapshot) = &outcome.snapshot_id {
        line = format!("{line}; snapshot {}", snapshot.chars().take(8).collect::<String>());
    }
    match &outcome.error {
        Some(error) => format!("{line}; {} ({})", error.message, error.code),
        None => line,
    }
}

fn came_of_it(parameters: &Parameters, stats: &Payload) -> Option<String> {
    match parameters {
        Parameters::Backup(_) => told(stats, |it| backed_up(&it)),
        Parameters::Restore(_) => told(stats, |it| restored(&it)),
        Parameters::Forget(_) => told(stats, |it: Forgotten| {
            format!("{} removed, {} kept", it.removed_count, it.kept_count)
        }),
        Parameters::Prune(_) => told(stats, |it| pruned(&it)),
        Parameters::Check(_) => told(stats, |it: Checked| {
            counted(usize::try_from(it.error_count).unwrap_or(usize::MAX), "error", "errors")
        }),
        Parameters::Stats(_) => told(stats, |it: Sizes| bytes(it.total_size_bytes)),
        Parameters::Unlock(_) => told(stats, |it: Unlocked| {
            format!("{} locks removed, {} left", it.locks_removed, it.locks_left)
        }),
        _ => None,
    }
}

fn told<T: DeserializeOwned>(stats: &Payload, say: impl FnOnce(T) -> String) -> Option<String> {
    stats.parse().ok().map(say)
}

/// The part of restic's own summary that is told.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    files_new: u64,
    files_changed: u64,
    files_unmodified: u64,
    total_bytes_processed: u64,
    data_added: u64,
}

/// What was looked at and what was added are far apart when little has changed; both are told.
fn backed_up(summary: &Summary) -> String {
    let Summary { files_new, files_changed, files_unmodified, .. } = summary;
    format!(
        "{files_new} files new, {files_changed} changed, {files_unmodified} unchanged; {} looked \
         at, {} added",
        bytes(summary.total_bytes_processed),
        bytes(summary.data_added),
    )
}

fn restored(restored: &Restored) -> String {
    let files = match (restored.files_restored, restored.total_files) {
        (Some(done), Some(total)) => format!("{done} of {total} files and directories, "),
        _ => String::new(),
    };
    let size = restored.bytes_restored.map(|size| format!("{}, ", bytes(size))).unwrap_or_default();
    format!("{files}{size}to {}", restored.target)
}

fn pruned(pruned: &Pruned) -> String {
    match pruned.freed_bytes {
        Some(freed) if pruned.dry_run => format!("{} would be freed", bytes(freed)),
        Some(freed) => format!("{} freed", bytes(freed)),
        None => "nothing told".to_owned(),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// `3.2 MiB`.
fn bytes(size: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if size < 1024 {
        return counted(usize::try_from(size).unwrap_or(0), "byte", "bytes");
    }
    let mut value = size as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"KiB");
    while value >= 1024.0
        && let Some(next) = units.next()
    {
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::{
        JobId, RepositoryId,
        message::{
            job::{Operation, Status},
            parameters::{Backup, Overwrite},
        },
    };
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn run() -> Run {
        let (job, repository) = (Uuid::from_u128(1), Uuid::from_u128(2));
        Run {
            tag: "etc".to_owned(),
            includes: vec!["/etc".to_owned()],
            ..Run::new(
                JobId::from_uuid(job),
                Operation::Backup,
                RepositoryId::from_uuid(repository),
            )
        }
    }

    fn ended(stats: &serde_json::Value) -> Outcome {
        Outcome {
            status: Status::Succeeded,
            exit_code: Some(0),
            snapshot_id: None,
            stats: Some(Payload::of(stats)),
            error: None,
        }
    }

    #[test]
    fn a_backup_tells_what_it_looked_at_apart_from_what_it_added() {
        let backup = Parameters::Backup(Backup::default());
        let first = beginning(&backup, &run(), Version::new(0, 18, 0));
        assert_eq!(first, "backup of source group etc (1 path) begins, with restic 0.18.0");
        let outcome = Outcome {
            snapshot_id: Some("0123456789abcdef".to_owned()),
            ..ended(&json!({"files_new": 1, "files_unmodified": 40,
                "total_bytes_processed": 3_221_225_472_u64, "data_added": 700}))
        };
        assert_eq!(
            end(&backup, &outcome),
            "succeeded: 1 files new, 0 changed, 40 unchanged; 3.0 GiB looked at, 700 bytes added; \
             snapshot 01234567"
        );
    }

    #[test]
    fn a_restore_tells_where_the_files_are() {
        let restore = Parameters::Restore(Restore {
            snapshot_id: "0123abcd".to_owned(),
            paths: vec!["/etc/a".to_owned(), "/etc/b".to_owned()],
            target: Target::Directory("/srv/x".to_owned()),
            overwrite: Overwrite::Always,
            dry_run: true,
            verify: false,
        });
        assert_eq!(
            beginning(&restore, &run(), Version::new(0, 14, 0)),
            "restore of 2 paths in snapshot 0123abcd to /srv/x, a try without writing anything \
             begins, with restic 0.14.0"
        );
        let told = json!({"target": "/srv/x", "total_files": 3, "files_restored": 2,
            "bytes_restored": 2048});
        let line = end(&restore, &ended(&told));
        assert_eq!(line, "succeeded: 2 of 3 files and directories, 2.0 KiB, to /srv/x");
        assert_eq!(end(&restore, &ended(&json!({"target": "/x"}))), "succeeded: to /x");
    }
}
