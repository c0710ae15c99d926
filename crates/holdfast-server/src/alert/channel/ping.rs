//! Pings of jobs, for a watchman elsewhere: he rings when *nothing* comes, even when this server
//! and all it runs on are gone.

use holdfast_protocol::message::{config::Secret, job::Status};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Event, HttpChannel, Note, Post, SendError, Unfit, below, origin, stored, web};

/// A check of healthchecks.io or of what speaks like it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// The check's ping address, which is its key too.
    #[schema(value_type = String)]
    pub url: Secret,
}

impl Ping {
    pub(super) fn check(&self) -> Result<(), Unfit> {
        web("url", self.url.expose()).map(drop)
    }
}

impl HttpChannel for Ping {
    fn request(&self, note: &Note) -> Result<Option<Post>, SendError> {
        let (signal, run): (&[&str], _) = match (note.event, &note.job) {
            (Event::Test, _) => (&["log"], None),
            (Event::JobStarted, Some(job)) => (&["start"], Some(job.id)),
            (Event::JobEnded, Some(job)) => (signal(job.status), Some(job.id)),
            (
                Event::Opened
                | Event::Resolved
                | Event::Digest
                | Event::JobStarted
                | Event::JobEnded,
                _,
            ) => return Ok(None),
        };
        let mut url = below(&stored(self.url.expose())?, signal);
        if let Some(run) = run {
            // Pairs the end with its beginning, and tells the run's length.
            url.query_pairs_mut().append_pair("rid", &run.to_string());
        }
        Ok(Some(Post::new(url, "text/plain; charset=utf-8", note.whole().into_bytes())))
    }

    fn target(&self) -> String {
        origin(self.url.expose())
    }
}

/// The path that tells how a job ended; the bare address is success.
fn signal(status: Status) -> &'static [&'static str] {
    match status {
        Status::Succeeded => &[],
        Status::Failed | Status::Interrupted | Status::Missed | Status::Partial => &["fail"],
        Status::Cancelled | Status::Queued | Status::Running | Status::Paused => &["log"],
    }
}
