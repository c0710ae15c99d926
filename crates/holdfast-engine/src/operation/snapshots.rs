//! `restic snapshots`: what a repository holds.

use holdfast_protocol::message::{job::JobError, snapshot::Snapshot};
use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    Access, Code, Control, Restic, error::job_error, event::Reporter, restic::session::Session,
};

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    host: &str,
) -> Result<Vec<Snapshot>, JobError> {
    let (control, mut reporter) = (Control::new(), Reporter::silent());
    let mut session = Session::open(restic, access, &control, &mut reporter)?;
    list(&mut session, &format!("--host={host}")).await
}

/// Lists the snapshots that `selection`, an option or an id, picks.
///
/// Listing takes no lock: it neither waits for a running prune nor leaves a lock behind when it is
/// killed; at worst it misses a snapshot that is being removed.
pub(crate) async fn list(
    session: &mut Session<'_>,
    selection: &str,
) -> Result<Vec<Snapshot>, JobError> {
    let report = session.ask(&["snapshots", "--json", "--no-lock", selection]).await?;
    parse(report.transcript.captured()).map_err(|error| {
        let message = format!("restic's list of snapshots could not be read: {error}.");
        job_error(Code::ResticFailed, message)
    })
}

/// The snapshots of `host` with `ids`, in the order of the ids.
///
/// # Errors
/// `snapshot_not_found` when one of them is not there, or is another host's.
pub(crate) async fn choose(
    session: &mut Session<'_>,
    host: &str,
    ids: &[String],
) -> Result<Vec<Snapshot>, JobError> {
    let listed = list(session, &format!("--host={host}")).await?;
    let find = |id: &String| {
        let found = listed.iter().find(|snapshot| snapshot.id.starts_with(id.as_str()));
        found.cloned().ok_or_else(|| {
            let message = format!("The repository holds no snapshot {id} of this host.");
            job_error(Code::SnapshotNotFound, message)
        })
    };
    ids.iter().map(find).collect()
}

/// Reads restic's list. An empty repository is `null` to some versions.
fn parse(answer: &str) -> Result<Vec<Snapshot>, serde_json::Error> {
    let listed: Option<Vec<Listed>> = serde_json::from_str(answer)?;
    Ok(listed.unwrap_or_default().into_iter().map(Listed::into_snapshot).collect())
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    short_id: Option<String>,
    time: Timestamp,
    #[serde(default)]
    hostname: String,
    paths: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    summary: Option<Totals>,
}

#[derive(Deserialize)]
struct Totals {
    total_files_processed: Option<u64>,
    total_bytes_processed: Option<u64>,
}

impl Listed {
    fn into_snapshot(self) -> Snapshot {
        let short = || self.id.chars().take(8).collect();
        Snapshot {
            short_id: self.short_id.unwrap_or_else(short),
            time: self.time,
            hostname: self.hostname,
            paths: self.paths.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
            size_bytes: self.summary.as_ref().and_then(|totals| totals.total_bytes_processed),
            file_count: self.summary.as_ref().and_then(|totals| totals.total_files_processed),
            id: self.id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_has_two_spellings() {
        assert_eq!(parse("[]").unwrap(), []);
        assert_eq!(parse("null").unwrap(), []);
        assert!(parse("").is_err());
    }

    #[test]
    fn what_an_old_restic_cannot_tell_is_left_empty() {
        let answer = r#"[{"time":"2026-11-21T14:28:20.66+01:00","tree":"36","hostname":"h",
            "id":"b626d485ea5bb3c6","paths":["/src"]}]"#;
        let snapshots = parse(answer).unwrap();
        assert_eq!(snapshots[0].time.to_string(), "2026-11-21T13:28:20.66Z");
        assert_eq!(snapshots[0].short_id, "b626d485");
        assert_eq!((snapshots[0].size_bytes, snapshots[0].file_count), (None, None));
    }
}
