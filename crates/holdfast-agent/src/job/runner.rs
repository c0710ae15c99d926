//! The one task that starts jobs, steers them and waits for them.

use std::{
    collections::{BTreeMap, HashMap},
    future,
    time::Duration,
};

use holdfast_engine::Control;
use holdfast_link::StoreError;
use holdfast_protocol::{JobId, RepositoryId, message::job::Status};
use jiff::Timestamp;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Context, attempts::Rest, job_error, queue, queue::Limits, task, without_result};
use crate::{
    error::chain,
    state::{Entry, Stage, Wanted},
};

/// How long running jobs may take to end when the agent stops. restic gets 20 s to clean up before
/// it is killed; a service manager usually gives 90 s to everything.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

/// How often the clock is looked at while a job waits for its next try.
const CLOCK_LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// How often it is looked whether those that wait may start beside one that rests.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Follows the journal: starts what may start, steers what runs, waits for what ends.
pub struct Runner {
    context: Context,
    limits: Limits,
    running: BTreeMap<JobId, Running>,
    tasks: JoinSet<Result<(), StoreError>>,
    jobs_of_tasks: HashMap<Id, JobId>,
    waiting_since: BTreeMap<JobId, Instant>,
    stopping: CancellationToken,
}

/// How a job's task ended.
type Ended = Result<(Id, Result<(), StoreError>), JoinError>;

struct Running {
    control: Control,
    rest: Rest,
    repository: RepositoryId,
    steered: Wanted,
}

impl Runner {
    /// A runner that has started nothing.
    #[must_use]
    pub fn new(context: Context, limits: Limits) -> Self {
        Self {
            context,
            limits,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            jobs_of_tasks: HashMap::new(),
            waiting_since: BTreeMap::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// Runs jobs until `stop`, then ends those that run.
    ///
    /// # Errors
    /// When the state cannot be read or written. Every running restic has been killed then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        loop {
            let deadline = self.turn().await?;
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.drain().await,
                Some(ended) = self.tasks.join_next_with_id() => self.handle_end(ended).await?,
                () = self.context.state.jobs_changed() => {}
                () = until(deadline) => {}
            }
        }
    }

    /// Compares the journal with what runs. Returns when to look again at the latest.
    async fn turn(&mut self) -> Result<Option<Instant>, StoreError> {
        let entries = self.context.state.active_jobs().await?;
        let version = self.context.state.settings().borrow().config_version();
        self.steer(&entries);
        let deadline = self.give_up_waiting(&entries, version).await?;
        // One that waits to be resumed holds nobody up; its entry is past its intent.
        let awake = self.running.iter().filter(|(_, it)| !it.rest.is_resting());
        let running = awake.map(|(job, it)| (*job, it.repository)).collect();
        let now = Timestamp::now();
        for entry in queue::ready(&entries, &running, version, self.limits, now) {
            self.start(entry);
        }
        // Nobody tells when a job begins to rest.
        let waits = |entry: &Entry| entry.stage == Stage::Received && entry.is_due(now);
        let look = entries.iter().any(waits).then(|| Instant::now() + LOOK_INTERVAL);
        let retry = queue::next_try_at(&entries, now).map(|at| Instant::now() + until_at(at, now));
        Ok(deadline.into_iter().chain(look).chain(retry).min())
    }

    /// Passes wishes on to the jobs they are about.
    fn steer(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Some(running) = self.running.get_mut(&entry.job_id()) else { continue };
            if running.steered == entry.wanted {
                continue;
            }
            tracing::info!(job_id = %entry.job_id(), wanted = ?entry.wanted, "job steered");
            running.steered = entry.wanted;
            match entry.wanted {
                Wanted::Run => running.control.resume(),
                Wanted::Pause => running.control.pause(),
                Wanted::Cancel => running.control.cancel(),
            }
        }
    }

    /// Refuses jobs whose configuration has not come in time. Returns the next such moment.
    async fn give_up_waiting(
        &mut self,
        entries: &[Entry],
        version: i64,
    ) -> Result<Option<Instant>, StoreError> {
        let waiting = queue::waiting_for_config(entries, version);
        self.waiting_since.retain(|job, _| waiting.contains(job));
        let now = Instant::now();
        for job in waiting {
            let since = *self.waiting_since.entry(job).or_insert(now);
            if since + self.limits.config_wait <= now {
                self.waiting_since.remove(&job);
                self.context.refuse(job, config_missing()).await?;
            }
        }
        Ok(self.waiting_since.values().min().map(|since| *since + self.limits.config_wait))
    }

    fn start(&mut self, entry: Entry) {
        let job = entry.job_id();
        let control = Control::new();
        let repository = entry.run.repository_id;
        let rest = Rest::default();
        let running = Running {
            control: control.clone(),
            rest: rest.clone(),
            repository,
            steered: Wanted::Run,
        };
        self.running.insert(job, running);
        let task = task::run(self.context.clone(), entry, control, rest, self.stopping.clone());
        let handle = self.tasks.spawn(task);
        self.jobs_of_tasks.insert(handle.id(), job);
    }

    async fn handle_end(&mut self, ended: Ended) -> Result<(), StoreError> {
        match ended {
            Ok((task, outcome)) => {
                self.forget(task);
                outcome
            }
            Err(error) => self.handle_panic(&error).await,
        }
    }

    /// One job's panic is that job's failure; its restic died with it.
    async fn handle_panic(&mut self, error: &JoinError) -> Result<(), StoreError> {
        tracing::error!(error = %chain(error), "a job's task ended without a result");
        let Some(job) = self.forget(error.id()) else { return Ok(()) };
        let told = job_error(
            "agent_error",
            "The agent made an error of its own while it ran this job.",
            "Look at the agent's log on the host, and report it with the log.",
        );
        self.context.state.finish(without_result(job, Status::Failed, told)).await.map(drop)
    }

    fn forget(&mut self, task: Id) -> Option<JobId> {
        let job = self.jobs_of_tasks.remove(&task)?;
        self.running.remove(&job);
        Some(job)
    }

    /// Ends what runs. A job that does not end in time is killed with its task; its journal entry
    /// stays, and the next start tells it as interrupted.
    async fn drain(&mut self) -> Result<(), StoreError> {
        self.stopping.cancel();
        for running in self.running.values() {
            running.control.cancel();
        }
        let all_ended = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                if let Ok((_, outcome)) = ended {
                    outcome?;
                }
            }
            Ok(())
        };
        match tokio::time::timeout(DRAIN_WITHIN, all_ended).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!("some jobs did not end in time and were killed");
                self.tasks.shutdown().await;
                Ok(())
            }
        }
    }
}

fn config_missing() -> holdfast_protocol::message::job::JobError {
    job_error(
        "config_missing",
        "The configuration this job was made for did not reach the agent.",
        "Check that the host is online, then run the job again.",
    )
}

/// How long to sleep until `at`. The wall clock is looked at again before long: it may be set, and
/// the machine may sleep.
fn until_at(at: Timestamp, now: Timestamp) -> Duration {
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
    wait.min(CLOCK_LOOK_INTERVAL)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => future::pending().await,
    }
}
