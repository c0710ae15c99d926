//! `restic diff`: what changed between two snapshots.

use holdfast_protocol::message::{
    parameters::Diff,
    result::{Amount, Change, ChangeKind, Difference},
};
use serde::Deserialize;
use tokio::io::DuplexStream;

use crate::{
    Access, Code, Control, Outcome, Restic,
    error::job_error,
    event::Reporter,
    operation::{campaign::Campaign, listing, values::check_snapshot_id},
};

/// How many changes are told when nobody says.
const CHANGES_MAX: usize = 10_000;
/// How many bytes of paths are told in any case, so that a result fits into a frame.
const PATHS_SIZE_MAX: usize = 1024 * 1024;

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    diff: &Diff,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    check_snapshot_id(&diff.from_snapshot_id)?;
    check_snapshot_id(&diff.to_snapshot_id)?;
    let mut campaign = Campaign::open(restic, access, control, reporter)?.without_locks();
    let metadata = diff.metadata.then_some("--metadata");
    let ids = ["--", &diff.from_snapshot_id, &diff.to_snapshot_id];
    let arguments = ["diff", "--json", "--no-lock"].into_iter().chain(metadata).chain(ids);
    let reading = |output| gather(output, diff);
    let (report, gathered) = campaign.listen_to_all(arguments, reading).await?;
    let exit_code = report.ended.exit.code();
    gathered.into_difference().map(|result| Outcome::succeeded(exit_code, &result)).ok_or_else(
        || {
            let message = "restic's comparison could not be read.";
            Outcome::failed(exit_code, job_error(Code::ResticFailed, message))
        },
    )
}

#[derive(Deserialize)]
#[serde(tag = "message_type", rename_all = "snake_case")]
enum Line {
    Change { path: String, modifier: String },
    Statistics { changed_files: u64, added: Side, removed: Side },
}

#[derive(Deserialize)]
struct Side {
    files: u64,
    dirs: u64,
    others: u64,
    bytes: u64,
}

impl From<Side> for Amount {
    fn from(side: Side) -> Self {
        Self {
            files: side.files,
            directories: side.dirs,
            others: side.others,
            size_bytes: side.bytes,
        }
    }
}

/// What was heard so far.
struct Gathered {
    changes: Vec<Change>,
    paths_size: usize,
    limit: usize,
    omitted: u64,
    totals: Option<(u64, Amount, Amount)>,
    garbled: bool,
}

async fn gather(output: DuplexStream, diff: &Diff) -> Gathered {
    let asked = diff.limit.and_then(|limit| usize::try_from(limit.get()).ok());
    let limit = asked.unwrap_or(CHANGES_MAX).min(CHANGES_MAX);
    let mut gathered = Gathered {
        changes: Vec::new(),
        paths_size: 0,
        limit,
        omitted: 0,
        totals: None,
        garbled: false,
    };
    let mut lines = listing::lines(output);
    while let Some(line) = lines.next().await {
        gathered.hear(&line.text);
    }
    gathered
}

impl Gathered {
    fn hear(&mut self, line: &str) {
        match serde_json::from_str(line) {
            Ok(Line::Change { path, modifier }) => self.change(path, &modifier),
            Ok(Line::Statistics { changed_files, added, removed }) => {
                self.totals = Some((changed_files, added.into(), removed.into()));
            }
            Err(_) => self.garbled |= !line.trim().is_empty(),
        }
    }

    fn change(&mut self, path: String, modifier: &str) {
        let size = self.paths_size + path.len();
        if self.changes.len() >= self.limit || size > PATHS_SIZE_MAX {
            self.omitted += 1;
            return;
        }
        self.paths_size = size;
        self.changes.push(Change { path, kind: kind(modifier) });
    }

    /// `None` when restic did not come to its totals, or said what nobody understands.
    fn into_difference(self) -> Option<Difference> {
        let (changed_files, added, removed) = self.totals.filter(|_| !self.garbled)?;
        let (changes, omitted) = (self.changes, self.omitted);
        Some(Difference { changes, omitted, changed_files, added, removed })
    }
}

fn kind(modifier: &str) -> ChangeKind {
    match modifier.chars().next() {
        Some('+') => ChangeKind::Added,
        Some('-') => ChangeKind::Removed,
        Some('M') => ChangeKind::Content,
        Some('U') => ChangeKind::Metadata,
        Some('T') => ChangeKind::Kind,
        _ => ChangeKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn gathered(text: &str, limit: u32) -> Gathered {
        let (mut input, output) = tokio::io::duplex(10_000_000);
        input.write_all(text.as_bytes()).await.unwrap();
        drop(input);
        let diff = Diff {
            from_snapshot_id: String::new(),
            to_snapshot_id: String::new(),
            metadata: false,
            limit: std::num::NonZeroU32::new(limit),
        };
        gather(output, &diff).await
    }

    const TOTALS: &str = r#"{"message_type":"statistics","changed_files":3,"added":{"files":1,"dirs":2,"others":3,"bytes":4},"removed":{"files":0,"dirs":0,"others":0,"bytes":0}}"#;

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_the_totals_are_whole() {
        let long = "x".repeat(60_000);
        let line = |path: &str| {
            format!("{{\"message_type\":\"change\",\"path\":\"/{path}\",\"modifier\":\"M\"}}\n")
        };
        let few = format!("{}{}{}{TOTALS}", line("a"), line("b"), line("c"));
        let difference = gathered(&few, 2).await.into_difference().unwrap();
        assert_eq!((difference.changes.len(), difference.omitted), (2, 1));
        assert_eq!((difference.changed_files, difference.added.directories), (3, 2));
        let large = line(&long).repeat(30) + TOTALS;
        let difference = gathered(&large, 0).await.into_difference().unwrap();
        assert_eq!((difference.changes.len(), difference.omitted), (17, 13));
    }

    #[tokio::test]
    async fn a_comparison_without_its_end_is_none() {
        assert!(gathered("", 0).await.into_difference().is_none());
        assert!(gathered(&format!("{{\n{TOTALS}"), 0).await.into_difference().is_none());
    }
}
