//! What one path of a snapshot is.

use holdfast_protocol::message::{parameters::Stat, result::Entry};
use tokio::io::DuplexStream;

use super::Node;
use crate::{
    Access, Code, Control, Outcome, Restic,
    error::job_error,
    event::Reporter,
    operation::{
        campaign::Campaign,
        listing,
        values::{check_snapshot_id, path_within, refuse},
    },
    restic::exit_code::Cause,
};

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    stat: &Stat,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    check_snapshot_id(&stat.snapshot_id)?;
    let path = path_within(&stat.path)?;
    if path == "/" {
        return Ok(refuse("The top of a snapshot is a directory and has no entry.")?);
    }
    let mut campaign = Campaign::open(restic, access, control, reporter)?.without_locks();
    let arguments = ["ls", "--json", "--no-lock", "--", &stat.snapshot_id, path];
    let (report, found) = campaign.listen(arguments, |output| find(output, path)).await?;
    let stopped = report.ended.stop.is_some() || report.ended.cut;
    match found {
        // restic was told to end because it would have gone on with what is below.
        Some(entry) => Ok(Outcome::succeeded(None, &entry)),
        None if stopped || report.cause != Cause::Complete => Err(campaign.end(&report).await),
        None => {
            let message = format!("{path} is not in the snapshot.");
            Err(Outcome::failed(report.ended.exit.code(), job_error(Code::PathNotFound, message)))
        }
    }
}

/// The entry of the path itself, with which its listing begins.
async fn find(output: DuplexStream, path: &str) -> Option<Entry> {
    let mut lines = listing::lines(output);
    while let Some(line) = lines.next().await {
        if let Ok(Some(node)) = Node::parse(&line.text)
            && node.path == path
        {
            return Some(node.into_entry());
        }
    }
    None
}
