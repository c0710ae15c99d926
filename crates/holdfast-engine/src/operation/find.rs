//! A search in all of a snapshot by name, match by match.
//!
//! restic's own `find` tells one long line for each snapshot and knows no part of a name; its
//! listing tells a line for each file and reads the same trees.

mod pattern;

use holdfast_protocol::message::{
    job::JobError,
    parameters::Find,
    result::{Found, Listing},
};
use tokio::{io::DuplexStream, sync::mpsc::Sender};

use self::pattern::Pattern;
use crate::{
    Access, Code, Control, Outcome, Restic,
    error::job_error,
    event::Reporter,
    operation::{
        campaign::Campaign,
        ls::{NODE_LINE_MAX, Node, TAP_SIZE},
        values::check_snapshot_id,
    },
    restic::{call::Call, exit_code::Cause, session::Report},
    run::lines::LineReader,
};

/// How many matches are told when nobody says.
const MATCHES_MAX: u64 = 1000;

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    find: &Find,
    matches: Sender<Found>,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    check_snapshot_id(&find.snapshot_id)?;
    let mut search = Search::new(find)?;
    let mut campaign = Campaign::open(restic, access, control, reporter)?.without_locks();
    let arguments = ["ls", "--json", "--no-lock", "--", &find.snapshot_id];
    let (mut tap, output) = tokio::io::duplex(TAP_SIZE);
    let running = async {
        let report = campaign.run(&mut Call::new(arguments).tapped(&mut tap)).await;
        drop(tap);
        report
    };
    let (report, ()) = tokio::join!(running, search.follow(output, matches, control));
    search.judge(&report?, &mut campaign).await
}

/// A search as far as it has come.
struct Search {
    pattern: Pattern,
    limit: u64,
    told: u64,
    more: bool,
    /// Nobody took what there was to tell.
    abandoned: bool,
    /// A line that is no entry.
    garbled: bool,
}

impl Search {
    fn new(find: &Find) -> Result<Self, JobError> {
        let limit = find.limit.map_or(MATCHES_MAX, |limit| u64::from(limit.get()));
        let pattern = Pattern::new(&find.pattern)?;
        Ok(Self { pattern, limit, told: 0, more: false, abandoned: false, garbled: false })
    }

    /// Tells matches until there are no more, or nobody wants more.
    async fn follow(&mut self, output: DuplexStream, matches: Sender<Found>, control: &Control) {
        let mut lines = LineReader::new(Some(output), NODE_LINE_MAX);
        while let Some(line) = lines.next().await {
            let Some(found) = self.hear(&line.text) else { continue };
            if self.told == self.limit {
                self.more = true;
                return;
            }
            let sent = tokio::select! {
                sent = matches.send(found) => sent.is_ok(),
                () = control.cancelled() => false,
            };
            if !sent {
                self.abandoned = true;
                return;
            }
            self.told += 1;
        }
    }

    fn hear(&mut self, line: &str) -> Option<Found> {
        let Ok(node) = Node::parse(line) else {
            self.garbled = true;
            return None;
        };
        let node = node.filter(|node| self.pattern.fits(&node.path))?;
        Some(Found { path: node.path.clone(), entry: node.into_entry() })
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
        let exit_code = report.ended.exit.code().filter(|_| !self.more);
        if self.abandoned {
            return Err(Outcome::abandoned(exit_code));
        }
        if self.garbled {
            let message = "restic's listing of the snapshot could not be read.";
            return Err(Outcome::failed(exit_code, job_error(Code::ResticFailed, message)));
        }
        Ok(Outcome::succeeded(exit_code, &Listing { entry_count: self.told, more: self.more }))
    }
}
