//! `restic restore`: brings files back, to where they were or to a place that the host allows.

mod place;

use std::collections::BTreeSet;

use holdfast_protocol::{
    Payload,
    message::{
        job::{JobError, Status},
        parameters::{Overwrite, Restore},
        result::Restored,
    },
};
use serde::Deserialize;

use place::Place;
pub use place::RestorePolicy;

use crate::{
    Access, Code, Control, Outcome, Restic, Version,
    error::job_error,
    event::Reporter,
    operation::{
        campaign::Campaign,
        listing,
        ls::Node,
        values::{check_snapshot_id, path_within, refuse},
    },
    restic::{call::Call, exit_code::Cause, session::Report},
};

/// How many paths one restore may choose: they have to fit into one call.
const PATHS_MAX: usize = 1000;
/// The first restic that can look without writing, or leave files alone.
const CAREFUL: Version = Version::new(0, 17, 0);

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    restore: &Restore,
    policy: &RestorePolicy,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    let paths = check(restic.version(), restore)?;
    let place = Place::find(restore, policy).await?;
    let mut campaign = Campaign::open(restic, access, control, reporter)?;
    look_up(&mut campaign, &restore.snapshot_id, &paths).await?;
    if !restore.dry_run {
        place.prepare().await?;
    }
    let report = campaign.run(&mut Call::new(arguments(restore, &paths, &place))).await?;
    let result = restored(&report, restore, &place);
    let exit_code = report.ended.exit.code();
    match report.cause {
        Cause::Complete if result.error_count == 0 => Ok(Outcome::succeeded(exit_code, &result)),
        Cause::Complete | Cause::Incomplete | Cause::Partial if report.ended.stop.is_none() => {
            Err(incomplete(&report, &result))
        }
        _ => {
            let stats = Some(Payload::of(&result));
            Err(Outcome { stats, ..campaign.end(&report).await })
        }
    }
}

/// The chosen paths, or none for all.
fn check(version: Version, restore: &Restore) -> Result<Vec<&str>, JobError> {
    check_snapshot_id(&restore.snapshot_id)?;
    if restore.paths.len() > PATHS_MAX {
        return refuse(format!("At most {PATHS_MAX} paths can be restored by one job."));
    }
    let careful = restore.dry_run || restore.overwrite != Overwrite::Always;
    if careful && version < CAREFUL {
        let message = format!(
            "restic {version} cannot try out a restore or leave files alone; {CAREFUL} can."
        );
        return Err(job_error(Code::ResticUnsuited, message));
    }
    let paths: Result<Vec<_>, _> = restore.paths.iter().map(|path| path_within(path)).collect();
    let paths = paths?;
    Ok(if paths.contains(&"/") { Vec::new() } else { paths })
}

fn arguments(restore: &Restore, paths: &[&str], place: &Place) -> Vec<String> {
    let overwrite = match restore.overwrite {
        // Older versions do not know the word, and do just that.
        Overwrite::Always => None,
        Overwrite::IfChanged => Some("--overwrite=if-changed"),
        Overwrite::IfNewer => Some("--overwrite=if-newer"),
        Overwrite::Never => Some("--overwrite=never"),
    };
    let flags =
        [overwrite, restore.dry_run.then_some("--dry-run"), restore.verify.then_some("--verify")];
    let mut arguments = vec!["restore".to_owned(), "--json".to_owned()];
    arguments.extend(flags.into_iter().flatten().map(str::to_owned));
    arguments.push(format!("--target={}", place.path()));
    arguments.extend(paths.iter().map(|path| format!("--include={}", literal(path))));
    arguments.extend(["--".to_owned(), restore.snapshot_id.clone()]);
    arguments
}

/// The pattern that matches `path` and nothing else, and what is below it.
fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '\\' | '*' | '?' | '[' | ']') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Makes sure that the snapshot holds every path: restic restores nothing and calls it a success.
async fn look_up(
    campaign: &mut Campaign<'_>,
    snapshot_id: &str,
    paths: &[&str],
) -> Result<(), Outcome> {
    if paths.is_empty() {
        return Ok(());
    }
    let head = ["ls", "--json", "--no-lock", "--", snapshot_id];
    let arguments = head.into_iter().chain(paths.iter().copied());
    let mut missing: BTreeSet<&str> = paths.iter().copied().collect();
    let looking = async |output| {
        let mut lines = listing::lines(output);
        while let Some(line) = lines.next().await {
            if let Ok(Some(node)) = Node::parse(&line.text) {
                missing.remove(node.path.as_str());
            }
        }
    };
    let (report, ()) = campaign.listen_to_all(arguments, looking).await?;
    let exit_code = report.ended.exit.code();
    let Some(path) = missing.first() else { return Ok(()) };
    let message = match missing.len() {
        1 => format!("{path} is not in the snapshot."),
        count => format!("{path} and {} more are not in the snapshot.", count - 1),
    };
    Err(Outcome::failed(exit_code, job_error(Code::PathNotFound, message)))
}

/// restic's own summary, of version 0.16 and newer.
#[derive(Default, Deserialize)]
struct Summary {
    total_files: Option<u64>,
    files_restored: Option<u64>,
    files_skipped: Option<u64>,
    total_bytes: Option<u64>,
    bytes_restored: Option<u64>,
}

fn restored(report: &Report, restore: &Restore, place: &Place) -> Restored {
    let summary = report.transcript.summary();
    let told: Option<Summary> = summary.and_then(|summary| summary.parse().ok());
    // A count that restic leaves out is zero.
    let count = |count: fn(&Summary) -> Option<u64>| {
        told.as_ref().map(|summary| count(summary).unwrap_or(0))
    };
    Restored {
        target: place.path().to_owned(),
        dry_run: restore.dry_run,
        total_files: count(|summary| summary.total_files),
        files_restored: count(|summary| summary.files_restored),
        files_skipped: count(|summary| summary.files_skipped),
        total_bytes: count(|summary| summary.total_bytes),
        bytes_restored: count(|summary| summary.bytes_restored),
        error_count: report.transcript.unreadable().0 as u64,
    }
}

fn incomplete(report: &Report, result: &Restored) -> Outcome {
    let message = match report.transcript.unreadable() {
        (0, _) | (_, None) => "Not everything could be restored.".to_owned(),
        (1, Some(first)) => format!("One file could not be restored: {first}."),
        (count, Some(first)) => {
            format!("{count} files could not be restored; the first is {first}.")
        }
    };
    Outcome {
        status: Status::Partial,
        stats: Some(Payload::of(result)),
        ..Outcome::failed(report.ended.exit.code(), job_error(Code::RestoreIncomplete, message))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::message::parameters::Target;

    use super::*;

    fn restore(paths: &[&str]) -> Restore {
        Restore {
            snapshot_id: "0123abcd".to_owned(),
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            target: Target::Original,
            overwrite: Overwrite::Always,
            dry_run: false,
            verify: false,
        }
    }

    #[test]
    fn names_with_the_signs_of_patterns_are_taken_as_they_are() {
        assert_eq!(literal("/a*[b]?\\c/-d"), "/a\\*\\[b\\]\\?\\\\c/-d");
        assert_eq!(literal("/new\nline é"), "/new\nline é");
    }

    #[test]
    fn an_old_restic_is_not_asked_for_what_it_would_ignore_or_refuse() {
        let old = Version::new(0, 16, 4);
        assert_eq!(check(old, &restore(&["/a/"])), Ok(vec!["/a"]));
        for wish in [
            Restore { dry_run: true, ..restore(&[]) },
            Restore { overwrite: Overwrite::Never, ..restore(&[]) },
        ] {
            assert_eq!(check(old, &wish).unwrap_err().code, "restic_unsuited");
            assert_eq!(check(CAREFUL, &wish), Ok(Vec::new()));
        }
    }

    #[test]
    fn the_top_stands_for_everything() {
        assert_eq!(check(CAREFUL, &restore(&["/a", "/"])), Ok(Vec::new()));
        for path in ["a", "/a/../b", "", "-a"] {
            assert!(check(CAREFUL, &restore(&[path])).is_err(), "{path}");
        }
        let latest = Restore { snapshot_id: "latest".to_owned(), ..restore(&[]) };
        assert!(check(CAREFUL, &latest).is_err());
    }
}
