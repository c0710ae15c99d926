//! A foreign agent's place in the fleet.
//!
//! An agent of another system has no session of the link. Its driver (`crate::dialect`) sits at a
//! desk instead: what the agent says is put into the store exactly as a native agent's records
//! are, under an epoch that fences older connections, and what waits for the host is taken from the
//! same outbox. Nothing else in the server knows the difference.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use holdfast_link::{CloseReason, Delivery, Detached, Mailbox, Record, Store as _, Unsequenced};
use holdfast_protocol::{
    Class, HostId, JobId, Message, Payload, Seq, SessionId,
    dialect::{Introduction, Ledger, OPEN_JOBS_MAX, OpenJob},
    message::{
        config, job,
        job::{Finished, JobError, Status},
        schedule,
    },
};
use jiff::Timestamp;
use uuid::Uuid;

use super::Hub;
use crate::store::{Error, HostStore};

/// The desk of one connection of one host.
pub(crate) struct Desk {
    hub: Hub,
    host: HostId,
    epoch: u64,
    session: SessionId,
    store: HostStore,
    detached: Detached,
    /// The last record that the store has applied.
    received: Seq,
    /// The last order that was taken from the outbox.
    taken: Seq,
    ledger: Ledger,
    traces: BTreeMap<JobId, Trace>,
    opened_at: Instant,
    /// The newest configuration that the agent was told of.
    config_told: i64,
}

/// What was last heard of an open job.
#[derive(Debug, Clone, Copy)]
struct Trace {
    at: Instant,
    /// Heard of by this connection.
    fresh: bool,
    paused: bool,
}

/// One entry of the host's outbox.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// Its position.
    pub(crate) seq: Seq,
    /// What it says.
    pub(crate) message: Message,
}

/// The desk can do no more: the store refused, or a newer connection has the host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// The server is too busy to open one.
    #[error("the server cannot open a session right now")]
    Busy,
    /// The store refused.
    #[error("the store refused")]
    Store(#[source] holdfast_link::StoreError),
    /// The store refused.
    #[error("the store refused")]
    Database(#[source] Error),
}

/// How many orders are taken from the outbox at once.
const ORDERS_MAX: usize = 32;

/// A running job of which nothing is heard for this long is lost: every known agent tells of one
/// within seconds, but hooks before a backup may take their time.
const SILENCE_MAX: Duration = Duration::from_secs(30 * 60);

impl Hub {
    /// Opens the desk of `host`, whose agent's token has been checked. An older connection of the
    /// host is fenced.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn open_desk(&self, host: HostId) -> Result<Desk, DeskError> {
        let _place = self.inner.entrance.enter().await.ok_or(DeskError::Busy)?;
        let opened = self.store().open_foreign(host).await.map_err(DeskError::Database)?;
        let store = HostStore::new(self.store().clone(), host, opened.epoch);
        let positions = store.positions().await.map_err(DeskError::Store)?;
        let session = SessionId::from_uuid(Uuid::now_v7());
        let (mailbox, detached) = Mailbox::detached(session, opened.epoch);
        let mut desk = Desk {
            hub: self.clone(),
            host,
            epoch: opened.epoch,
            session,
            store,
            detached,
            received: positions.received,
            taken: positions.oldest.saturating_sub(1),
            ledger: Ledger::new(host),
            traces: BTreeMap::new(),
            opened_at: Instant::now(),
            config_told: 0,
        };
        desk.fill_ledger().await?;
        if self.inner.registry.open(host, mailbox.clone()) {
            self.live().connected(host, Timestamp::now());
        }
        // What waits already has nobody to wake this desk for it.
        mailbox.wake();
        Ok(desk)
    }
}

impl Desk {
    /// Whose desk it is.
    pub(crate) fn host(&self) -> HostId {
        self.host
    }

    /// This connection, for peers that want a session's name.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// The open jobs.
    pub(crate) fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// The store behind the desk.
    pub(crate) fn store(&self) -> &crate::store::Store {
        self.hub.store()
    }

    /// Waits until something was put in for the agent.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn delivery(&self) -> Delivery {
        self.detached.next().await
    }

    /// Puts what the agent says into the store. A repeat changes nothing.
    ///
    /// # Errors
    /// [`DeskError::Store`], also when a newer connection has the host.
    pub(crate) async fn hear(&mut self, message: Message) -> Result<(), DeskError> {
        let message = self.complete(message);
        if self.is_replay(&message).await? {
            return Ok(());
        }
        self.note(&message);
        if message.class() != Class::Record {
            let state = unsequenced(&message);
            return self.store.receive(state).await.map_err(DeskError::Store);
        }
        let record = Record {
            seq: self.received + 1,
            ts: Timestamp::now(),
            kind: message.kind().to_owned(),
            payload: message.encode(),
        };
        self.store.apply(vec![record]).await.map_err(DeskError::Store)?;
        self.received += 1;
        Ok(())
    }

    /// Writes down what the agent said about itself.
    ///
    /// # Errors
    /// [`DeskError::Database`].
    pub(crate) async fn introduce(&self, introduction: &Introduction) -> Result<(), DeskError> {
        let noted = self.store().note_facts(self.host, self.epoch, &introduction.facts).await;
        noted.map_err(DeskError::Database)
    }

    /// The next orders, in order; empty when none waits. Orders that cannot be read are passed
    /// over.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub(crate) async fn orders(&mut self) -> Result<Vec<Order>, DeskError> {
        let records = self.store.load(self.taken, ORDERS_MAX).await.map_err(DeskError::Store)?;
        self.taken = records.last().map_or(self.taken, |record| record.seq);
        let order = |record: Record| {
            let message = Message::decode(&record.kind, &record.payload).ok()?;
            Some(Order { seq: record.seq, message })
        };
        Ok(records.into_iter().filter_map(order).collect())
    }

    /// The last order that was taken.
    pub(crate) fn taken(&self) -> Seq {
        self.taken
    }

    /// Forgets the orders up to `through`: the agent has them.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub(crate) async fn settle(&self, through: Seq) -> Result<(), DeskError> {
        self.store.forget(through).await.map_err(DeskError::Store)
    }

    /// The host's configuration as it is now.
    ///
    /// # Errors
    /// [`DeskError::Database`].
    pub(crate) async fn config(&self) -> Result<(config::Update, schedule::Set), DeskError> {
        self.store().config(self.host).await.map_err(DeskError::Database)
    }

    /// The agent was told of this version of its configuration.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub(crate) async fn told_config(&mut self, version: i64) -> Result<(), DeskError> {
        if version <= self.config_told {
            return Ok(());
        }
        self.config_told = version;
        let applied = config::Applied { version, applied_at: Timestamp::now() };
        self.hear(Message::ConfigApplied(applied)).await
    }

    /// The newest configuration that the agent was told of.
    pub(crate) fn config_told(&self) -> i64 {
        self.config_told
    }

    /// Notes a job that the agent is told to run.
    pub(crate) fn open_job(&mut self, id: JobId, group: &str) {
        self.ledger.open(id, OpenJob::of_group(group));
        self.traces.insert(id, Trace { at: Instant::now(), fresh: true, paused: false });
    }

    /// Ends a job of which the agent will say nothing more.
    ///
    /// # Errors
    /// As [`hear`](Self::hear).
    pub(crate) async fn end_job(
        &mut self,
        job_id: JobId,
        status: Status,
        error: JobError,
    ) -> Result<(), DeskError> {
        let finished = Finished {
            job_id,
            status,
            exit_code: None,
            finished_at: Timestamp::now(),
            snapshot_id: None,
            stats: None,
            error: Some(error),
            next_try: None,
        };
        self.hear(Message::JobFinished(finished)).await
    }

    /// Ends the jobs that can be given up: those of which nothing was heard for too long, and,
    /// where an agent's runs die with its connection, those it came back without within `orphans`.
    ///
    /// # Errors
    /// As [`hear`](Self::hear).
    pub(crate) async fn give_up(&mut self, orphans: Option<Duration>) -> Result<(), DeskError> {
        let now = Instant::now();
        let grace = orphans.filter(|grace| now.duration_since(self.opened_at) > *grace);
        let lost = |trace: &Trace| {
            let silent = !trace.paused && now.duration_since(trace.at) > SILENCE_MAX;
            silent || (grace.is_some() && !trace.fresh)
        };
        let jobs = self.traces.iter().filter(|(_, trace)| lost(trace));
        for job in jobs.map(|(job, _)| *job).collect::<Vec<_>>() {
            tracing::warn!(host = %self.host, %job, "the agent no longer speaks of a job");
            self.end_job(job, Status::Interrupted, silent()).await?;
        }
        Ok(())
    }

    /// Why the hub wants the connection gone, for the peer.
    pub(crate) fn farewell(reason: &CloseReason) -> &'static str {
        match reason {
            CloseReason::Fenced => "a newer connection has taken over",
            CloseReason::Revoked => "the agent token was taken back",
            CloseReason::Draining { .. } => "the server is going away",
        }
    }

    /// Leaves the desk: the host is offline, unless a newer connection has it.
    pub(crate) async fn leave(self) {
        if !self.hub.inner.registry.closed(self.host, self.session) {
            return;
        }
        let heard = self.hub.live().disconnected(self.host).map(|at| (self.host, at));
        if let Err(error) = self.hub.store().note_seen(heard.as_slice()).await {
            tracing::warn!(host = %self.host, %error, "the end of a link was not noted");
        }
    }

    /// Reads the jobs that the agent has, and where its groups go.
    async fn fill_ledger(&mut self) -> Result<(), DeskError> {
        let jobs = self.store().open_jobs(self.host).await.map_err(DeskError::Database)?;
        for job in jobs.into_iter().filter(|job| job.taken) {
            self.ledger.open(job.id, OpenJob::of_group(job.group));
            self.ledger.resume_lines(job.id, job.last_line);
            if job.cancel_requested {
                self.ledger.mark_cancelling(job.id);
            }
            let trace = Trace { at: Instant::now(), fresh: false, paused: job.paused };
            self.traces.insert(job.id, trace);
        }
        self.learn_groups().await
    }

    /// Reads again where the host's groups go.
    ///
    /// # Errors
    /// [`DeskError::Database`].
    pub(crate) async fn learn_groups(&mut self) -> Result<(), DeskError> {
        let (update, _) = self.config().await?;
        for group in update.groups {
            self.ledger.set_repository(group.name, group.repository_id);
        }
        Ok(())
    }

    /// Fills in what the dialects leave unsaid. Their heartbeats seldom name all jobs, so silence
    /// about one is judged here and not by the heartbeat.
    fn complete(&self, message: Message) -> Message {
        let Message::Heartbeat(mut beat) = message else { return message };
        let missing = self.ledger.jobs().filter(|job| !beat.active_job_ids.contains(job));
        let missing: Vec<JobId> = missing.collect();
        beat.active_job_ids.extend(missing);
        if beat.config_version == 0 {
            beat.config_version = self.config_told;
        }
        Message::Heartbeat(beat)
    }

    /// Whether it is the start of a job that has ended, told once more; or of more jobs at once
    /// than a host has.
    async fn is_replay(&self, message: &Message) -> Result<bool, DeskError> {
        let Message::JobStarted(started) = message else { return Ok(false) };
        if self.ledger.job(started.job_id).is_some() {
            return Ok(false);
        }
        Ok(self.traces.len() >= OPEN_JOBS_MAX || self.has_ended(started.job_id).await?)
    }

    /// Keeps ledger and traces up to date.
    fn note(&mut self, message: &Message) {
        let mut seen = |id: JobId, paused: bool| {
            if let Some(trace) = self.traces.get_mut(&id) {
                *trace = Trace { at: Instant::now(), fresh: true, paused };
            }
        };
        match message {
            Message::JobStarted(started) => {
                if self.ledger.job(started.job_id).is_none() {
                    self.open_job(started.job_id, &started.tag);
                }
                self.see(started.job_id);
            }
            Message::JobState(change) => seen(change.job_id, change.status == Status::Paused),
            Message::JobProgress(progress) => seen(progress.job_id, false),
            Message::LogStream(stream) => seen(stream.job_id, false),
            Message::JobFinished(finished) => {
                self.ledger.close(finished.job_id);
                self.traces.remove(&finished.job_id);
            }
            _ => {}
        }
    }

    /// The agent has named the job.
    pub(crate) fn see(&mut self, job: JobId) {
        if let Some(trace) = self.traces.get_mut(&job) {
            *trace = Trace { at: Instant::now(), fresh: true, ..*trace };
        }
    }

    /// Whether somebody asked for the job's end before the agent ever heard of it.
    ///
    /// # Errors
    /// [`DeskError::Database`].
    pub(crate) async fn is_unwanted(&self, job: JobId) -> Result<bool, DeskError> {
        match self.store().job(job).await {
            Ok(row) => Ok(row.cancel_requested),
            Err(Error::JobNotFound { .. }) => Ok(true),
            Err(error) => Err(DeskError::Database(error)),
        }
    }

    /// Whether the job is known to have ended.
    ///
    /// # Errors
    /// [`DeskError::Database`].
    pub(crate) async fn has_ended(&self, job: JobId) -> Result<bool, DeskError> {
        match self.store().job(job).await {
            Ok(row) => Ok(row.status.is_terminal()),
            Err(Error::JobNotFound { .. }) => Ok(false),
            Err(error) => Err(DeskError::Database(error)),
        }
    }
}

fn silent() -> JobError {
    JobError {
        code: "agent_silent".to_owned(),
        message: "The agent no longer speaks of this job; what became of it is unknown.".to_owned(),
        action: "Look at the agent's log on the host, then run the job again.".to_owned(),
    }
}

fn unsequenced(message: &Message) -> Unsequenced {
    let key = match message {
        Message::JobProgress(job::Progress { job_id, .. }) => job_id.to_string(),
        _ => String::new(),
    };
    let payload: Payload = message.encode();
    let (class, kind) = (message.class(), message.kind().to_owned());
    Unsequenced { class, key, ts: Timestamp::now(), kind, payload }
}
