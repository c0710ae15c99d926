//! What a running job says, on its way to the server.

use std::{future, time::Duration};

use holdfast_engine::{Child, EngineProgress, Event};
use holdfast_link::{StoreError, Unsequenced};
use holdfast_protocol::{
    JobId, Message,
    message::{
        job::{Started, StateChange, Status},
        log::Source,
    },
};
use jiff::Timestamp;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Context, log::LogBuffer};
use crate::state::Entry;

/// How often a job's progress is sent at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Turns one job's events into messages.
pub(super) struct Report<'a> {
    context: &'a Context,
    entry: &'a Entry,
    is_started: bool,
    log: LogBuffer,
    progress: Option<EngineProgress>,
    progress_due: Instant,
}

impl<'a> Report<'a> {
    pub(super) fn new(context: &'a Context, entry: &'a Entry) -> Self {
        Self {
            context,
            entry,
            is_started: false,
            log: LogBuffer::new(entry.job_id()),
            progress: None,
            progress_due: Instant::now(),
        }
    }

    /// The job.
    pub(super) fn entry(&self) -> &'a Entry {
        self.entry
    }

    /// The first line of the job's log.
    pub(super) fn begin(&mut self, line: &str) {
        self.capture(Source::Event, line.to_owned());
    }

    /// A line that is told at once: what comes next may be long in coming.
    pub(super) fn tell(&mut self, line: &str) {
        self.capture(Source::Event, line.to_owned());
        self.send_log();
    }

    /// What a long pause has stopped runs again.
    ///
    /// # Errors
    /// When the disk refused the record.
    pub(super) async fn go_on(&mut self) -> Result<(), StoreError> {
        self.change(Status::Running).await
    }

    /// The last line of the job's log.
    pub(super) fn conclude(&mut self, line: &str) {
        self.tell(line);
    }

    /// Passes events on until there are no more.
    ///
    /// # Errors
    /// When the disk refused a record.
    pub(super) async fn run(
        &mut self,
        mut events: mpsc::Receiver<Event>,
    ) -> Result<(), StoreError> {
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = until(due) => self.send_due(Instant::now()),
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await?,
                    None => break,
                },
            }
        }
        // Progress that was not sent is not worth sending: the result says more.
        Ok(())
    }

    async fn handle(&mut self, event: Event) -> Result<(), StoreError> {
        match event {
            Event::Spawned(child) => return self.note_child(child).await,
            Event::Paused => return self.change(Status::Paused).await,
            Event::Resumed => return self.change(Status::Running).await,
            Event::Progress(progress) => self.progress = Some(progress),
            Event::Log { stream, text } => self.capture(stream, text),
        }
        Ok(())
    }

    /// The first child of a job is its start; a later one only changes what to look for after a
    /// crash.
    async fn note_child(&mut self, child: Child) -> Result<(), StoreError> {
        let started = (!self.is_started).then(|| Message::JobStarted(self.started()));
        self.is_started = true;
        self.context.state.note_child(self.entry.job_id(), child, started).await
    }

    fn started(&self) -> Started {
        let Entry { run, slot, .. } = self.entry;
        Started {
            job_id: run.job_id,
            operation: run.operation,
            started_at: Timestamp::now(),
            attempt: self.entry.attempt(),
            tag: run.tag.clone(),
            schedule_id: slot.map(|slot| slot.schedule_id),
            scheduled_at: slot.map(|slot| slot.scheduled_at),
        }
    }

    async fn change(&mut self, status: Status) -> Result<(), StoreError> {
        let job_id = self.entry.job_id();
        let change = StateChange { job_id, status, changed_at: Timestamp::now() };
        self.context.state.append(vec![Message::JobState(change)]).await
    }

    fn capture(&mut self, stream: Source, text: String) {
        if let Some(full) = self.log.push(stream, text, Instant::now()) {
            self.send(&Message::LogStream(full));
        }
    }

    fn due(&self) -> Option<Instant> {
        let progress = self.progress.as_ref().map(|_| self.progress_due);
        progress.into_iter().chain(self.log.due()).min()
    }

    fn send_due(&mut self, now: Instant) {
        if self.log.due().is_some_and(|due| due <= now) {
            self.send_log();
        }
        if self.progress_due <= now
            && let Some(progress) = self.progress.take()
        {
            self.progress_due = now + PROGRESS_EVERY;
            self.send(&Message::JobProgress(progress.of_job(self.entry.job_id())));
        }
    }

    fn send_log(&mut self) {
        if let Some(lines) = self.log.take() {
            self.send(&Message::LogStream(lines));
        }
    }

    fn send(&self, message: &Message) {
        self.context.link.send(unsequenced(self.entry.job_id(), message));
    }
}

fn unsequenced(job: JobId, message: &Message) -> Unsequenced {
    Unsequenced {
        class: message.class(),
        key: job.to_string(),
        ts: Timestamp::now(),
        kind: message.kind().to_owned(),
        payload: message.encode(),
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => future::pending().await,
    }
}
