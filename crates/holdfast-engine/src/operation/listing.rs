//! A listing of restic's that is told on, entry by entry, while restic still writes it.

use std::num::NonZeroU32;

use holdfast_protocol::message::result::Listing;
use tokio::{io::DuplexStream, sync::mpsc::Sender};

use crate::{
    Code, Control, Outcome,
    error::job_error,
    operation::{campaign::Campaign, ls::Node},
    restic::{exit_code::Cause, session::Report},
    run::lines::LineReader,
};

/// The longest line of a listing: a path and some numbers.
const LINE_MAX: usize = 64 * 1024;

/// The lines of a listing or a comparison.
pub(crate) fn lines(output: DuplexStream) -> LineReader<DuplexStream> {
    LineReader::new(Some(output), LINE_MAX)
}

/// A listing as far as it was told.
pub(crate) struct Telling {
    limit: u64,
    told: u64,
    more: bool,
    /// Nobody took what there was to tell.
    abandoned: bool,
    /// A line that is no entry.
    garbled: bool,
}

impl Telling {
    /// Tells at most `limit` entries, or `usual` when nobody says how many.
    pub(crate) fn up_to(limit: Option<NonZeroU32>, usual: u64) -> Self {
        let limit = limit.map_or(usual, |limit| u64::from(limit.get()));
        Self { limit, told: 0, more: false, abandoned: false, garbled: false }
    }

    /// Tells what `pick` makes of the entries until there are no more, or nobody wants more; restic
    /// notices that its output is not taken.
    pub(crate) async fn follow<T>(
        &mut self,
        output: DuplexStream,
        listener: Sender<T>,
        control: &Control,
        mut pick: impl FnMut(Node) -> Option<T>,
    ) {
        let mut lines = lines(output);
        while let Some(line) = lines.next().await {
            let Some(entry) = self.parse(&line.text).and_then(&mut pick) else { continue };
            if self.told == self.limit {
                self.more = true;
                return;
            }
            let sent = tokio::select! {
                sent = listener.send(entry) => sent.is_ok(),
                () = control.cancelled() => false,
            };
            if !sent {
                self.abandoned = true;
                return;
            }
            self.told += 1;
        }
    }

    fn parse(&mut self, line: &str) -> Option<Node> {
        Node::parse(line).unwrap_or_else(|_| {
            self.garbled = true;
            None
        })
    }

    /// The exit code of a call whose listing can be believed.
    ///
    /// # Errors
    /// How the job ends when it cannot.
    pub(crate) async fn judge(
        &self,
        report: &Report,
        campaign: &mut Campaign<'_>,
    ) -> Result<Option<i32>, Outcome> {
        let stopped = report.ended.stop.is_some() || report.ended.cut;
        if !self.more && (stopped || report.cause != Cause::Complete) {
            return Err(campaign.end(report).await);
        }
        // The listing is good also when restic was told to end because it would have gone on.
        let exit_code = report.ended.exit.code().filter(|_| !self.more);
        if self.abandoned {
            return Err(Outcome::abandoned(exit_code));
        }
        if self.garbled {
            let message = "restic's listing could not be read.";
            return Err(Outcome::failed(exit_code, job_error(Code::ResticFailed, message)));
        }
        Ok(exit_code)
    }

    pub(crate) fn outcome(&self, exit_code: Option<i32>) -> Outcome {
        Outcome::succeeded(exit_code, &Listing { entry_count: self.told, more: self.more })
    }
}
