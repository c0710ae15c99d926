//! The logs that one browser follows.
//!
//! A browser reads a log as far as it goes by the API, and follows it from its last line on. What
//! is told then is read from the store behind the same number, so no line is missed and none comes
//! twice, however fast the log grows. What a slow browser has not read yet waits in the store.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use holdfast_protocol::JobId;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use utoipa::ToSchema;

use crate::{
    api::problem::sentence,
    auth::Scope,
    bus::Follower,
    store::{Error, Store},
    view::{LogGap, LogLine, LogPage},
};

/// The logs of one connection.
pub(crate) struct Logs {
    store: Store,
    scope: Scope,
    follower: Follower,
    /// By the name that the browser gave each.
    followed: BTreeMap<String, Followed>,
    /// Names of those that may have more, in the order of their turn.
    due: VecDeque<String>,
    next_at: Instant,
}

#[derive(Clone, Copy)]
struct Followed {
    job: JobId,
    /// The last line that the browser has.
    after: u64,
}

/// What a browser says over the live socket.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind")]
#[schema(as = LogWish)]
pub(crate) enum Said {
    /// Follow the log of a job, from behind line number `after`, under a name of the browser's.
    #[serde(rename = "log.follow")]
    Follow {
        follow: String,
        #[schema(value_type = Uuid)]
        job_id: JobId,
        after: u64,
    },
    /// Follow it no longer.
    #[serde(rename = "log.leave")]
    Leave { follow: String },
}

/// What the live socket says of a log that the browser follows.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind")]
#[schema(as = LogEvent)]
pub(crate) enum Told<'a> {
    /// The lines after number `after`, up to `last`.
    #[serde(rename = "log")]
    Log {
        follow: &'a str,
        after: u64,
        last: u64,
        #[schema(value_type = Vec<LogLine>)]
        lines: &'a [LogLine],
        #[schema(value_type = Vec<LogGap>)]
        gaps: &'a [LogGap],
    },
    /// There will be no lines.
    #[serde(rename = "log.refused")]
    Refused { follow: &'a str, code: &'static str, title: &'a str, action: &'static str },
}

/// Logs that one connection may follow; the tabs of a browser share one.
const LOGS_MAX: usize = 32;
/// Lines in one frame. A line has at most 4 KiB.
const LINES_MAX: u32 = 250;
/// Between two frames at least, so that a noisy job leaves room for the rest of the fleet.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);
/// After the store has failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Logs {
    /// No log yet, of the hosts in `scope` only.
    pub(crate) fn new(store: Store, scope: Scope) -> Self {
        let follower = store.bus().follower();
        let (followed, due) = (BTreeMap::new(), VecDeque::new());
        Self { store, scope, follower, followed, due, next_at: Instant::now() }
    }

    /// Takes in what the browser says; the answer, where there is one at once.
    pub(crate) fn hear(&mut self, text: &str) -> Option<Utf8Bytes> {
        // A newer page may say more than this server understands.
        match serde_json::from_str(text).ok()? {
            Said::Follow { follow, .. }
                if self.followed.len() >= LOGS_MAX && !self.followed.contains_key(&follow) =>
            {
                let title = format!("More than {LOGS_MAX} logs cannot be followed at once.");
                let action = "Close pages of other jobs, then load this one again.";
                Some(refused(&follow, "too_many_logs", &title, action))
            }
            Said::Follow { follow, job_id, after } => {
                self.leave(&follow);
                self.follower.follow(job_id);
                self.followed.insert(follow.clone(), Followed { job: job_id, after });
                self.due.push_back(follow);
                None
            }
            Said::Leave { follow } => {
                self.leave(&follow);
                None
            }
        }
    }

    /// Waits until there may be something to tell.
    ///
    /// # Cancel safety
    /// Safe: what is due stays due.
    pub(crate) async fn ready(&mut self) {
        // Also while others are due: a noisy log must not hide that a quiet one has grown.
        let grown = self.follower.take();
        self.note(&grown);
        while self.due.is_empty() {
            let grown = self.follower.grown().await;
            self.note(&grown);
        }
        sleep_until(self.next_at).await;
    }

    /// What is to be told of the log whose turn it is, if it has anything new.
    pub(crate) async fn tell(&mut self) -> Option<Utf8Bytes> {
        let name = self.due.pop_front()?;
        let Followed { job, after } = self.followed.get(&name).copied()?;
        match self.read(job, after).await {
            Ok(page) => self.page(name, after, &page),
            Err(error @ Error::Database { .. }) => {
                tracing::error!(%job, %error, "a log that is followed could not be read");
                self.due.push_back(name);
                self.next_at = Instant::now() + RETRY_AFTER;
                None
            }
            Err(error) => {
                self.leave(&name);
                Some(refused(&name, error.code(), &sentence(&error.to_string()), error.action()))
            }
        }
    }

    /// A host that went elsewhere takes its logs along, so whose they are is asked each time.
    async fn read(&self, job: JobId, after: u64) -> Result<LogPage, Error> {
        let id = job.to_string();
        if self.scope != Scope::All && !self.store.is_job_in(&id, &self.scope).await? {
            return Err(Error::JobNotFound { job: id });
        }
        self.store.job_log(job, after, LINES_MAX).await
    }

    fn page(&mut self, name: String, after: u64, page: &LogPage) -> Option<Utf8Bytes> {
        let last = page.lines.last()?.seq;
        let told =
            Told::Log { follow: &name, after, last, lines: &page.lines, gaps: &page.gaps }.text();
        if let Some(followed) = self.followed.get_mut(&name) {
            followed.after = last;
        }
        if page.next.is_some() {
            self.due.push_back(name);
        }
        self.next_at = Instant::now() + FRAME_INTERVAL;
        Some(told)
    }

    fn note(&mut self, grown: &BTreeSet<JobId>) {
        for (name, followed) in &self.followed {
            if grown.contains(&followed.job) && !self.due.contains(name) {
                self.due.push_back(name.clone());
            }
        }
    }

    fn leave(&mut self, name: &str) {
        self.due.retain(|due| due != name);
        let Some(Followed { job, .. }) = self.followed.remove(name) else { return };
        if self.followed.values().all(|other| other.job != job) {
            self.follower.leave(job);
        }
    }
}

impl Told<'_> {
    fn text(&self) -> Utf8Bytes {
        serde_json::to_string(self).expect("views have a JSON form").into()
    }
}

fn refused(follow: &str, code: &'static str, title: &str, action: &'static str) -> Utf8Bytes {
    Told::Refused { follow, code, title, action }.text()
}
