//! What the agent does right now, for those who look through its socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use holdfast_protocol::{
    HostId, JobId, Message,
    dialect::{Ledger, OPEN_JOBS_MAX, OpenJob, local::AgentStatus},
};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::{
    error::chain,
    state::{Entry, State, Wanted},
};

/// Events that a slow viewer may be behind before it is told how things stand instead.
const EVENTS_MAX: usize = 256;

/// The agent as viewers see it. A clone is another handle to the same.
#[derive(Clone)]
pub(crate) struct Local {
    host: HostId,
    state: Arc<State>,
    began: Instant,
    events: broadcast::Sender<Message>,
    /// The newest progress of each running job.
    newest: Arc<Mutex<BTreeMap<JobId, Message>>>,
}

impl Local {
    /// The view of an agent that tells on `told` what it does.
    pub(crate) fn new(host: HostId, state: Arc<State>) -> Self {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        Self { host, state, began: Instant::now(), events, newest: Arc::default() }
    }

    /// Passes on what the agent tells until stopped.
    pub(crate) async fn run(
        self,
        mut told: broadcast::Receiver<Message>,
        mut said: broadcast::Receiver<holdfast_link::Unsequenced>,
        stop: CancellationToken,
    ) {
        loop {
            let message = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                told = told.recv() => told,
                said = said.recv() => match said {
                    Ok(said) => match Message::decode(&said.kind, &said.payload) {
                        Ok(message) => Ok(message),
                        Err(_) => continue,
                    },
                    Err(error) => Err(error),
                },
            };
            match message {
                Ok(message) => self.pass_on(message),
                // The newest counts, but an end among those that were missed is an end.
                Err(RecvError::Lagged(_)) => self.forget_ended().await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    pub(super) fn host(&self) -> HostId {
        self.host
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Message> {
        self.events.subscribe()
    }

    /// The newest word about each running job.
    pub(super) fn current(&self) -> Vec<Message> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.values().cloned().collect()
    }

    /// What the agent does.
    pub(super) async fn status(&self) -> AgentStatus {
        let jobs = self.state.active_jobs().await.unwrap_or_default();
        let held = jobs.iter().filter(|job| job.wanted == Wanted::Pause).count();
        let status = match (jobs.len(), held) {
            (0, _) => "idle",
            (all, held) if all == held => "paused",
            _ => "running",
        };
        AgentStatus {
            status: status.to_owned(),
            active_jobs: jobs.len() as u64,
            uptime_secs: self.began.elapsed().as_secs(),
        }
    }

    /// The open jobs, by their own ids.
    pub(super) async fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new(self.host);
        let jobs = self.state.active_jobs().await.unwrap_or_default();
        for job in jobs.into_iter().take(OPEN_JOBS_MAX) {
            ledger.open(job.job_id(), OpenJob::of_group(job.run.tag));
        }
        ledger
    }

    /// Does what a viewer asks of a job.
    pub(super) async fn steer(&self, message: Message) {
        tracing::info!(kind = message.kind(), "asked for at the agent's socket");
        if let Err(error) = self.state.steer(message).await {
            tracing::error!(error = %chain(&error), "it could not be stored");
        }
    }

    async fn forget_ended(&self) {
        let Ok(jobs) = self.state.active_jobs().await else { return };
        let open: BTreeSet<JobId> = jobs.iter().map(Entry::job_id).collect();
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.retain(|job, _| open.contains(job));
    }

    fn pass_on(&self, message: Message) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match &message {
            Message::JobStarted(started) => {
                newest.insert(started.job_id, message.clone());
            }
            // Progress takes another way than starts and ends, and may come too late.
            Message::JobProgress(progress) => {
                let Some(latest) = newest.get_mut(&progress.job_id) else { return };
                *latest = message.clone();
            }
            Message::JobFinished(finished) => {
                newest.remove(&finished.job_id);
            }
            _ => {}
        }
        drop(newest);
        // Nobody looking is fine.
        let _ = self.events.send(message);
    }
}
