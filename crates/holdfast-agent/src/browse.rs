//! Showing what snapshots hold, to a server that asks on somebody's behalf.
//!
//! Nothing is kept: an answer that nobody takes is gone, and a restic whose asker has gone is
//! ended. What the host's policy does not allow is not shown either. Reading takes no lock, so it
//! waits for no backup and holds none up.

mod download;

use std::{num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use holdfast_engine::{Access, Control, Outcome, Restic};
use holdfast_link::Request;
use holdfast_protocol::{
    Payload, RepositoryId,
    message::{
        browse::{self, Entries, Matches},
        job::{JobError, Operation},
        link::Refusal,
        parameters::{Find, Ls},
        result::{Entry, Found, Listing},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    config::{Directory, create_private_dir},
    job::{job_error, remove_scratch},
    policy::Policy,
    state::State,
};
use download::Downloads;

/// How many restics work on questions at once, downloads apart; the others wait.
const AT_ONCE: usize = 2;

/// How long a question may take, its wait for a place included. The server asks no longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(170);

/// How much text the entries of one answer hold at most. An answer must fit into a frame, and
/// others wait behind it.
const ENTRIES_SIZE_MAX: usize = 512 * 1024;

/// What an entry takes besides its name.
const ENTRY_SIZE: usize = 200;

/// How many entries one answer holds at most.
const ENTRIES_MAX: u32 = 5000;

/// How many entries may wait between restic and the answer.
const WAITING_MAX: usize = 64;

/// Answers the server's questions. Cheap to clone.
#[derive(Clone)]
pub struct Browser {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Directory,
    restic: Arc<Restic>,
    state: Arc<State>,
    places: Semaphore,
    downloads: Downloads,
}

/// A repository that may be looked at, until this is dropped.
struct Look {
    access: Access,
    restic: Arc<Restic>,
}

impl Drop for Look {
    fn drop(&mut self) {
        remove_scratch(&self.access.scratch_dir);
    }
}

impl Browser {
    /// A browser of what the agent in `directory` can reach.
    #[must_use]
    pub fn new(directory: Directory, restic: Arc<Restic>, state: Arc<State>) -> Self {
        let places = Semaphore::new(AT_ONCE);
        let downloads = Downloads::default();
        Self { inner: Arc::new(Inner { directory, restic, state, places, downloads }) }
    }

    /// The words for what it answers, beside the jobs that the host runs.
    #[must_use]
    pub fn capabilities() -> [&'static str; 2] {
        [Operation::Ls.as_str(), Operation::Dump.as_str()]
    }

    /// Answers one question.
    ///
    /// # Errors
    /// A [`Refusal`] with one of the engine's codes, or that of the host's policy.
    ///
    /// # Cancel safety
    /// Dropped early, its restic is ended; a download keeps its place.
    pub async fn answer(&self, request: Request) -> Result<Payload, Refusal> {
        let answer = Box::pin(self.ask(&request));
        timeout(ANSWER_WITHIN, answer).await.unwrap_or_else(|_| Err(refusal(slow())))
    }

    async fn ask(&self, request: &Request) -> Result<Payload, Refusal> {
        let answer = match request.kind.as_str() {
            browse::LS => self.list(&read(request)?).await.map(|it| Payload::of(&it)),
            browse::STAT => self.stat(&read(request)?).await,
            browse::FIND => self.find(&read(request)?).await.map(|it| Payload::of(&it)),
            browse::DIFF => self.compare(&read(request)?).await,
            browse::READ => self.read(&read(request)?).await.map(|it| Payload::of(&it)),
            kind => return Err(Refusal::unknown(kind)),
        };
        answer.map_err(refusal)
    }

    async fn list(&self, question: &browse::List) -> Result<Entries, JobError> {
        let look = self.look(question.repository_id, Operation::Ls)?;
        let _place = self.inner.places.acquire().await;
        let (entries, incoming) = mpsc::channel(WAITING_MAX);
        let (events, _) = mpsc::channel(1);
        let control = Control::new();
        let wish = Ls { limit: bounded(question.wish.limit), ..question.wish.clone() };
        let listing = Box::pin(look.restic.ls(&look.access, &wish, entries, &control, events));
        let gathering = gather(incoming, |entry: &Entry| entry.name.len());
        let (outcome, (entries, cut)) = tokio::join!(listing, gathering);
        let more = cut || parse::<Listing>(&succeeded(outcome)?)?.more;
        Ok(Entries { entries, more })
    }

    async fn find(&self, question: &browse::Search) -> Result<Matches, JobError> {
        let look = self.look(question.repository_id, Operation::Ls)?;
        let _place = self.inner.places.acquire().await;
        let (matches, incoming) = mpsc::channel(WAITING_MAX);
        let (events, _) = mpsc::channel(1);
        let control = Control::new();
        let wish = Find { limit: bounded(question.wish.limit), ..question.wish.clone() };
        let finding = Box::pin(look.restic.find(&look.access, &wish, matches, &control, events));
        let gathering = gather(incoming, |found: &Found| found.path.len() + found.entry.name.len());
        let (outcome, (entries, cut)) = tokio::join!(finding, gathering);
        let more = cut || parse::<Listing>(&succeeded(outcome)?)?.more;
        Ok(Matches { entries, more })
    }

    async fn stat(&self, question: &browse::Look) -> Result<Payload, JobError> {
        // It comes before a download, and tells of one thing what its listing would tell of all.
        let look = self.look(question.repository_id, Operation::Dump)?;
        let _place = self.inner.places.acquire().await;
        let (events, _) = mpsc::channel(1);
        let control = Control::new();
        succeeded(Box::pin(look.restic.stat(&look.access, &question.wish, &control, events)).await)
    }

    async fn compare(&self, question: &browse::Compare) -> Result<Payload, JobError> {
        let look = self.look(question.repository_id, Operation::Diff)?;
        let _place = self.inner.places.acquire().await;
        let (events, _) = mpsc::channel(1);
        let control = Control::new();
        succeeded(Box::pin(look.restic.diff(&look.access, &question.wish, &control, events)).await)
    }

    async fn read(&self, question: &browse::Read) -> Result<browse::Piece, JobError> {
        let open = || self.look(question.repository_id, Operation::Dump);
        self.inner.downloads.read(question, open).await
    }

    /// The way to a repository, if the host's policy and configuration allow it.
    fn look(&self, id: RepositoryId, operation: Operation) -> Result<Look, JobError> {
        let policy = Policy::load(self.inner.directory.root())?;
        policy.check_operation(operation)?;
        let settings = Arc::clone(&self.inner.state.settings().borrow());
        let repository = settings.repository(id).ok_or_else(unknown_repository)?;
        policy.check_repository(&repository.name, repository.url.expose())?;
        let scratch_dir = self.scratch();
        create_private_dir(&scratch_dir).map_err(|error| no_scratch(&error))?;
        let (url, password, environment) = repository.credentials_for(operation);
        let access = Access {
            url,
            password,
            environment,
            ca_certificate: repository.ca_certificate.clone(),
            cache_dir: self.inner.directory.cache_dir(),
            scratch_dir,
        };
        Ok(Look { access, restic: Arc::clone(&self.inner.restic) })
    }

    fn scratch(&self) -> PathBuf {
        self.inner.directory.run_dir().join(format!("browse-{}", Uuid::new_v4()))
    }
}

fn bounded(limit: Option<NonZeroU32>) -> Option<NonZeroU32> {
    let most = NonZeroU32::new(ENTRIES_MAX);
    limit.min(most).or(most)
}

/// Takes entries until there are no more, or no more fit; whether the latter.
async fn gather<T>(
    mut incoming: mpsc::Receiver<T>,
    text_of: impl Fn(&T) -> usize,
) -> (Vec<T>, bool) {
    let (mut entries, mut size) = (Vec::new(), 0);
    while let Some(entry) = incoming.recv().await {
        size += text_of(&entry) + ENTRY_SIZE;
        if size > ENTRIES_SIZE_MAX && !entries.is_empty() {
            return (entries, true);
        }
        entries.push(entry);
    }
    (entries, false)
}

fn succeeded(outcome: Outcome) -> Result<Payload, JobError> {
    match (outcome.error, outcome.stats) {
        (Some(error), _) => Err(error),
        (None, Some(stats)) => Ok(stats),
        (None, None) => Err(strange()),
    }
}

fn parse<T: DeserializeOwned>(stats: &Payload) -> Result<T, JobError> {
    stats.parse().map_err(|_| strange())
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    request.payload.parse().map_err(|_| Refusal {
        code: "question_not_understood".to_owned(),
        message: "The agent does not understand the question.".to_owned(),
        action: "Bring server and agent to the same release.".to_owned(),
    })
}

fn refusal(error: JobError) -> Refusal {
    Refusal { code: error.code, message: error.message, action: error.action }
}

fn strange() -> JobError {
    job_error("agent_error", "restic ended well without an answer.", "Look at the agent's log.")
}

fn slow() -> JobError {
    job_error(
        "took_too_long",
        "The repository did not answer in time.",
        "Try again; what restic has read is in the host's cache now.",
    )
}

fn unknown_repository() -> JobError {
    job_error(
        "repository_unknown",
        "The host's configuration does not contain this repository.",
        "Ask another host that uses it, or give this one a source group there.",
    )
}

fn no_scratch(error: &std::io::Error) -> JobError {
    let message = format!("The agent could not create a scratch directory: {error}.");
    let action = "Check the free space and the agent's data directory.";
    job_error("scratch_unusable", &message, action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_holds_what_fits_and_says_when_that_is_not_all() {
        for (length, limit, cut) in [(100, 10, false), (100, 5000, true), (600_000, 2, true)] {
            let (sender, incoming) = mpsc::channel(1);
            let sending = tokio::spawn(async move {
                for _ in 0..limit {
                    if sender.send("x".repeat(length)).await.is_err() {
                        return;
                    }
                }
            });
            let (taken, was_cut) = gather(incoming, String::len).await;
            sending.await.unwrap();
            let size: usize = taken.iter().map(|it| it.len() + ENTRY_SIZE).sum();
            assert!(size <= ENTRIES_SIZE_MAX || taken.len() == 1, "{size}");
            assert_eq!((was_cut, taken.is_empty()), (cut, false), "{length} {limit}");
        }
    }

    #[test]
    fn nobody_gets_more_entries_than_an_answer_may_have() {
        let bounded = |limit| bounded(NonZeroU32::new(limit)).unwrap().get();
        assert_eq!([bounded(0), bounded(7), bounded(u32::MAX)], [ENTRIES_MAX, 7, ENTRIES_MAX]);
    }
}
