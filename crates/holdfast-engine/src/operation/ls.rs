//! `restic ls`: one directory of a snapshot, entry by entry.

mod node;
pub(crate) mod stat;

use holdfast_protocol::message::{
    parameters::Ls,
    result::{Entry, EntryKind},
};
use tokio::sync::mpsc::Sender;

pub(crate) use node::Node;

use crate::{
    Access, Code, Control, Outcome, Restic,
    error::job_error,
    event::Reporter,
    operation::{
        campaign::Campaign,
        listing::Telling,
        values::{check_snapshot_id, path_within},
    },
};

/// How many entries a listing has when nobody says.
const ENTRIES_MAX: u64 = 10_000;

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
    let mut directory = Directory::of(path, ls);
    let mut telling = Telling::up_to(ls.limit, ENTRIES_MAX);
    let reading = |output| telling.follow(output, entries, control, |node| directory.entry(node));
    let (report, ()) = campaign.listen(arguments, reading).await?;
    let exit_code = telling.judge(&report, &mut campaign).await?;
    match directory.objection() {
        None => Ok(telling.outcome(exit_code)),
        Some(message) => Err(Outcome::failed(exit_code, job_error(Code::PathNotFound, message))),
    }
}

/// A directory as far as restic came with it.
struct Directory<'a> {
    path: &'a str,
    /// What the path itself is; a listing begins with it.
    itself: Option<EntryKind>,
    to_pass: u64,
}

impl<'a> Directory<'a> {
    fn of(path: &'a str, ls: &Ls) -> Self {
        let itself = (path == "/").then_some(EntryKind::Directory);
        Self { path, itself, to_pass: ls.offset }
    }

    fn entry(&mut self, node: Node) -> Option<Entry> {
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

    /// Why there is nothing to list, if so.
    fn objection(&self) -> Option<String> {
        let what = match self.itself {
            Some(EntryKind::Directory) => return None,
            Some(_) => "is no directory",
            None => "is not in the snapshot",
        };
        Some(format!("{} {what}.", self.path))
    }
}
