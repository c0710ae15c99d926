//! `restic ls`: one directory of a snapshot, entry by entry.

mod node;
pub(crate) mod stat;

use holdfast_protocol::message::{
    parameters::Ls,
    result::{Entry, EntryKind, Listing},
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc::Sender;

pub(crate) use node::Node;

use crate::{
    Access, Code, Control, Outcome, Restic,
    error::job_error,
    event::Reporter,
    operation::{
        campaign::Campaign,
        values::{check_snapshot_id, path_within},
    },
    restic::{call::Call, exit_code::Cause, session::Report},
    run::lines::LineReader,
};

/// How many entries a listing has when nobody says.
const ENTRIES_MAX: u64 = 10_000;
/// How much of restic's output waits to be read.
pub(crate) const TAP_SIZE: usize = 64 * 1024;
/// The longest line of a listing: a path and some numbers.
pub(crate) const NODE_LINE_MAX: usize = 64 * 1024;

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    ls: &Ls,
    entries: Sender<Entry>,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    check_snapshot_id(&ls.snapshot_id)?;
    let path = path_within(&ls.path)?;
    let mut campaign = Campaign::open(restic, access, control, reporter)?.without_locks();
    let arguments = ["ls", "--json", "--no-lock", "--", &ls.snapshot_id, path];
    let (mut tap, output) = tokio::io::duplex(TAP_SIZE);
    let mut directory = Directory::of(path, ls);
    let running = async {
        let report = campaign.run(&mut Call::new(arguments).tapped(&mut tap)).await;
        drop(tap);
        report
    };
    let (report, ()) = tokio::join!(running, directory.follow(output, entries, control));
    directory.judge(&report?, &mut campaign).await
}

/// A directory as far as it was told.
struct Directory<'a> {
    path: &'a str,
    /// What the path itself is; a listing begins with it.
    itself: Option<EntryKind>,
    to_pass: u64,
    limit: u64,
    told: u64,
    more: bool,
    /// Nobody took what there was to tell.
    abandoned: bool,
    /// A line that is no entry.
    garbled: bool,
}

impl<'a> Directory<'a> {
    fn of(path: &'a str, ls: &Ls) -> Self {
        let limit = ls.limit.map_or(ENTRIES_MAX, |limit| u64::from(limit.get()));
        let itself = (path == "/").then_some(EntryKind::Directory);
        Self {
            path,
            itself,
            to_pass: ls.offset,
            limit,
            told: 0,
            more: false,
            abandoned: false,
            garbled: false,
        }
    }

    /// Tells entries until there are no more, or nobody wants more; restic notices that its output
    /// is not taken.
    async fn follow(&mut self, output: DuplexStream, entries: Sender<Entry>, control: &Control) {
        let mut lines = LineReader::new(Some(output), NODE_LINE_MAX);
        while let Some(line) = lines.next().await {
            let Some(entry) = self.entry(&line.text) else { continue };
            if self.told == self.limit {
                self.more = true;
                return;
            }
            let sent = tokio::select! {
                sent = entries.send(entry) => sent.is_ok(),
                () = control.cancelled() => false,
            };
            if !sent {
                self.abandoned = true;
                return;
            }
            self.told += 1;
        }
    }

    fn entry(&mut self, line: &str) -> Option<Entry> {
        let Ok(node) = Node::parse(line) else {
            self.garbled = true;
            return None;
        };
        let node = node?;
        if node.path == self.path {
            self.itself = Some(node.kind());
            return None;
        }
        if self.to_pass > 0 {
            self.to_pass -= 1;
            return None;
        }
        Some(node.into_entry())
    }

    async fn judge(
        &self,
        report: &Report,
        campaign: &mut Campaign<'_>,
    ) -> Result<Outcome, Outcome> {
        let stopped = report.ended.stop.is_some() || report.ended.cut;
        if !self.more && (stopped || report.cause != Cause::Complete) {
            return Err(campaign.end(report).await);
        }
        let exit_code = report.ended.exit.code();
        if self.abandoned {
            return Err(Outcome::abandoned(exit_code));
        }
        if self.garbled {
            let message = "restic's listing of the directory could not be read.";
            return Err(Outcome::failed(exit_code, job_error(Code::ResticFailed, message)));
        }
        if self.itself != Some(EntryKind::Directory) {
            let what =
                if self.itself.is_none() { "is not in the snapshot" } else { "is no directory" };
            let message = format!("{} {what}.", self.path);
            return Err(Outcome::failed(exit_code, job_error(Code::PathNotFound, message)));
        }
        // The listing is good also when restic was told to end because it would have gone on.
        let exit_code = if self.more { None } else { exit_code };
        Ok(Outcome::succeeded(exit_code, &Listing { entry_count: self.told, more: self.more }))
    }
}
