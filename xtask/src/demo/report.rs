//! What restic itself says about the backups.

use std::fmt;

use anyhow::{Context, Result};
use holdfast_e2e::restic::Repository;
use serde_json::Value;

use super::data::Host;

/// One row per host.
#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    host: String,
    group: String,
    status: String,
    /// The snapshot's short id, if restic has it under this host's name and group.
    snapshot: Option<String>,
    /// Whether a restored file was the same, byte for byte.
    restored: bool,
}

impl Report {
    /// Asks restic for the snapshot of every one of `jobs`, and restores one file of each.
    pub(crate) fn of(repository: &Repository, hosts: &[Host], jobs: &[Value]) -> Result<Self> {
        let snapshots = repository.snapshots()?;
        let rows = hosts.iter().zip(jobs).map(|(host, job)| {
            let snapshot = find(&snapshots, host, job);
            let restored = match snapshot {
                Some(id) => repository
                    .restores_same(id, &host.proof)
                    .with_context(|| format!("the restore for {} failed", host.name))?,
                None => false,
            };
            Ok(Row::new(host, job, snapshot, restored))
        });
        Ok(Self { rows: rows.collect::<Result<_>>()? })
    }

    /// Whether every host is backed up beyond doubt.
    pub(crate) fn is_good(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(Row::is_good)
    }
}

/// The id that the job claims, if restic knows it, for this host and this group.
fn find<'a>(snapshots: &'a [Value], host: &Host, job: &Value) -> Option<&'a str> {
    let claimed = job["snapshot_id"].as_str()?;
    let snapshot = snapshots.iter().find(|snapshot| {
        let tagged = snapshot["tags"].as_array().into_iter().flatten().any(|tag| tag == host.group);
        snapshot["id"] == claimed && snapshot["hostname"] == host.name && tagged
    })?;
    snapshot["id"].as_str()
}

impl Row {
    fn new(host: &Host, job: &Value, snapshot: Option<&str>, restored: bool) -> Self {
        Self {
            host: host.name.into(),
            group: host.group.into(),
            status: job["status"].as_str().unwrap_or("unknown").into(),
            snapshot: snapshot.map(|id| id.get(..8).unwrap_or(id).to_owned()),
            restored,
        }
    }

    fn is_good(&self) -> bool {
        self.status == "succeeded" && self.snapshot.is_some() && self.restored
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = ["host", "group", "job", "snapshot in restic", "restored file"];
        line(f, title)?;
        for row in &self.rows {
            let snapshot = row.snapshot.as_deref().unwrap_or("MISSING");
            let restored = if row.restored { "same, byte for byte" } else { "NOT PROVEN" };
            line(f, [&row.host, &row.group, &row.status, snapshot, restored])?;
        }
        Ok(())
    }
}

fn line(
    f: &mut fmt::Formatter<'_>,
    [host, group, job, snapshot, restored]: [&str; 5],
) -> fmt::Result {
    writeln!(f, "{host:<9} {group:<9} {job:<10} {snapshot:<19} {restored}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn host() -> Host {
        Host {
            name: "db-1",
            group: "tables",
            cron: "0 3 * * *",
            what: String::new(),
            source: "/data".into(),
            excludes: Vec::new(),
            proof: "/data/a".into(),
        }
    }

    #[test]
    fn a_snapshot_counts_only_under_the_right_name_and_tag() {
        let job = json!({ "status": "succeeded", "snapshot_id": "abc" });
        let snapshot =
            |name: &str, tag: &str| json!({ "id": "abc", "hostname": name, "tags": [tag] });
        assert_eq!(find(&[snapshot("db-1", "tables")], &host(), &job), Some("abc"));
        assert_eq!(find(&[snapshot("web-1", "tables")], &host(), &job), None);
        assert_eq!(find(&[snapshot("db-1", "other")], &host(), &job), None);
        assert_eq!(find(&[], &host(), &job), None);
    }

    #[test]
    fn one_bad_row_makes_a_bad_report() {
        let job = json!({ "status": "succeeded", "snapshot_id": "abc" });
        let good = || Row::new(&host(), &job, Some("abc"), true);
        assert!(Report { rows: vec![good()] }.is_good());
        let unproven = Row::new(&host(), &job, Some("abc"), false);
        let report = Report { rows: vec![good(), unproven] };
        assert!(!report.is_good());
        assert!(report.to_string().contains("NOT PROVEN"));
        let failed = Row::new(&host(), &json!({ "status": "failed" }), None, false);
        assert!(!Report { rows: vec![failed] }.is_good());
        assert!(!Report { rows: Vec::new() }.is_good());
    }
}
