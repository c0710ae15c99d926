//! Everything the agent must not forget, in one file.
//!
//! * the **outbox**: records for the server, until it has them,
//! * the **inbox** position: how far the server's records have taken effect here,
//! * the **journal**: jobs that have not ended, and the ids of those that have,
//! * the **settings**: the newest configuration and schedules,
//! * the **slots**: how far each schedule has fired,
//! * the **listings**: repositories whose snapshots the server has not heard of.
//!
//! What belongs together changes in one transaction: a command and its answer, a job's end and its
//! result, a slot and its jobs. So after any crash the file tells one consistent story.

mod database;
mod inbox;
mod journal;
mod listings;
mod outbox;
mod settings;
mod slots;
mod table;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use holdfast_engine::Child;
use holdfast_link::{Positions, Record, Store, StoreError, Unsequenced};
use holdfast_protocol::{
    Incarnation, JobId, Message, Payload, ScheduleId, Seq,
    message::{
        job::{Finished, Operation},
        outbox::Reset,
    },
};
use jiff::Timestamp;
use redb::WriteTransaction;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{error::chain, seal::Sealer};
use database::Database;
pub use database::OpenError;
pub use journal::{Again, Entry, Slot, Stage, Wanted};
pub use listings::Due;
pub use settings::Settings;
pub use slots::{Firing, Mark};
use table::{BOOT, INCARNATION, RECEIVED, TEXTS};

/// Words about jobs that somebody who looks may be behind.
const TOLD_MAX: usize = 256;

/// The agent's durable memory.
pub struct State {
    database: Database,
    sealer: Sealer,
    incarnation: Incarnation,
    settings: watch::Sender<Arc<Settings>>,
    outbox_grew: Notify,
    jobs_changed: Notify,
    listings_changed: Notify,
    failed: CancellationToken,
    told: broadcast::Sender<Message>,
}

impl State {
    /// Opens the state in the file at `path`, creating it when there is none.
    ///
    /// A damaged file is set aside beside the new one, and the first record of the new one says so.
    ///
    /// # Errors
    /// [`OpenError::Unusable`] when the disk refuses; [`OpenError::Damaged`] when a damaged file
    /// could not be set aside.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        match Self::open_whole(path) {
            Err(OpenError::Damaged { path, source }) => Self::start_over(path, source),
            other => other,
        }
    }

    fn open_whole(path: &Path) -> Result<Self, OpenError> {
        let sealer = Sealer::beside(path).map_err(OpenError::Key)?;
        Self::on(Database::open(path)?, sealer).map_err(|source| OpenError::Damaged {
            path: path.to_owned(),
            source: redb::Error::Corrupted(chain(&source)),
        })
    }

    fn on(database: Database, sealer: Sealer) -> Result<Self, StoreError> {
        let incarnation = database.read_now("reading the incarnation", |txn| {
            Ok(txn.open_table(TEXTS)?.get(INCARNATION)?.map(|row| row.value().to_owned()))
        })?;
        let settings =
            database.read_now("reading the settings", |txn| settings::load(txn, &sealer))?;
        let incarnation = incarnation.and_then(|text| text.parse().ok());
        Ok(Self {
            database,
            sealer,
            incarnation: incarnation.unwrap_or_else(mint),
            settings: watch::Sender::new(Arc::new(settings)),
            outbox_grew: Notify::new(),
            jobs_changed: Notify::new(),
            listings_changed: Notify::new(),
            failed: CancellationToken::new(),
            told: broadcast::Sender::new(TOLD_MAX),
        })
    }

    fn start_over(path: PathBuf, source: redb::Error) -> Result<Self, OpenError> {
        let aside = path.with_extension(format!("damaged-{}", Timestamp::now().as_second()));
        tracing::error!(
            error = %source,
            kept = %aside.display(),
            "the agent's state is damaged: it was set aside and a new one begun; \
             results that were not delivered may be missing",
        );
        if fs::rename(&path, &aside).is_err() {
            return Err(OpenError::Damaged { path, source });
        }
        let state = Self::open_whole(&path)?;
        let kept = aside.file_name().map(|name| name.to_string_lossy().into_owned());
        let note = Message::OutboxReset(Reset { reset_at: Timestamp::now(), kept_as: kept });
        state
            .database
            .write_now(|txn| outbox::append(txn, &note).map(drop))
            .map_err(|source| OpenError::Unusable { path, source })?;
        Ok(state)
    }

    /// Counts a start of the agent and makes the incarnation durable. Returns the number of starts.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn begin_boot(&self) -> Result<u64, StoreError> {
        let incarnation = self.incarnation;
        self.write("counting this start", move |txn| {
            table::set_text(txn, INCARNATION, &incarnation.to_string())?;
            table::take_number(txn, BOOT)
        })
        .await
    }

    /// Which life of the outbox this file is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Makes the file belong to a new enrolment: both directions start at 1 again.
    ///
    /// With `keep`, which is for an enrolment as the same host, what waits for the server and what
    /// was promised stays. Otherwise everything is forgotten: it was another host's.
    ///
    /// # Errors
    /// When the disk refuses; then nothing has changed.
    pub async fn begin_incarnation(
        &self,
        incarnation: Incarnation,
        keep: bool,
    ) -> Result<(), StoreError> {
        self.write("starting a new outbox", move |txn| {
            table::set_text(txn, INCARNATION, &incarnation.to_string())?;
            table::set_number(txn, RECEIVED, 0)?;
            table::set_number(txn, BOOT, 1)?;
            settings::clear(txn)?;
            if keep {
                return outbox::renumber(txn);
            }
            slots::clear(txn)?;
            journal::clear(txn)?;
            listings::clear(txn)?;
            outbox::clear(txn)
        })
        .await
    }

    /// The settings in force; the receiver sees every later change.
    pub fn settings(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.subscribe()
    }

    /// What is put down about jobs from now on, for those who look through the agent's own socket.
    pub(crate) fn told(&self) -> broadcast::Receiver<Message> {
        self.told.subscribe()
    }

    /// Does what somebody on this machine asks of a job: to cancel, pause or resume it. The server
    /// hears of what comes of it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) async fn steer(&self, message: Message) -> Result<(), StoreError> {
        self.write("steering a job", move |txn| inbox::steer(txn, &message)).await?;
        self.outbox_grew.notify_one();
        self.jobs_changed.notify_one();
        Ok(())
    }

    /// Waits until records have been appended that the link may not know of.
    ///
    /// # Cancel safety
    /// Safe: a wake-up that came meanwhile is kept for the next call.
    pub async fn outbox_grew(&self) {
        self.outbox_grew.notified().await;
    }

    /// Waits until jobs, or wishes about jobs, have come.
    ///
    /// # Cancel safety
    /// Safe: a wake-up that came meanwhile is kept for the next call.
    pub async fn jobs_changed(&self) {
        self.jobs_changed.notified().await;
    }

    /// Cancelled once the disk has refused a write: the agent cannot keep its promises any more.
    #[must_use]
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// Every job that has not ended, first received first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn active_jobs(&self) -> Result<Vec<Entry>, StoreError> {
        self.database.read("reading the journal", journal::active).await
    }

    /// Ids of jobs that have not ended and the records that wait; for the heartbeat.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn summary(&self) -> Result<(Vec<JobId>, u64), StoreError> {
        self.database.read_now("reading the journal", |txn| {
            let jobs = journal::active(txn)?.iter().map(Entry::job_id).collect();
            Ok((jobs, outbox::waiting(txn)?))
        })
    }

    /// Up to where the server has our records.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn delivered(&self) -> Result<Seq, StoreError> {
        self.database.read_now("reading the positions", outbox::delivered)
    }

    /// Notes, synced, that a process will be spawned for the job. From here on it is never started
    /// again. `false` when the job is no longer waiting.
    ///
    /// # Errors
    /// When the disk refuses; then nothing may be spawned.
    pub async fn intend(&self, job: JobId) -> Result<bool, StoreError> {
        self.write("noting the intent to start a job", move |txn| {
            match journal::active_one(txn, job)? {
                Some(entry) if entry.stage == Stage::Received => {
                    journal::put(txn, &Entry { stage: Stage::Intent, ..entry })?;
                    Ok(true)
                }
                _ => Ok(false),
            }
        })
        .await
    }

    /// Notes the job's process, and appends `report` with it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn note_child(
        &self,
        job: JobId,
        child: Child,
        report: Option<Message>,
    ) -> Result<(), StoreError> {
        let told = self.copy(report.as_slice());
        self.write("noting a job's process", move |txn| {
            if let Some(entry) = journal::active_one(txn, job)? {
                journal::put(txn, &Entry { stage: Stage::Started(child), ..entry })?;
            }
            if let Some(message) = report {
                outbox::append(txn, &message)?;
            }
            Ok(())
        })
        .await?;
        self.tell(told);
        self.outbox_grew.notify_one();
        Ok(())
    }

    /// Ends a job: its result and the end of its journal entry are one change. `false` when it had
    /// ended before; then this result is dropped.
    ///
    /// Its next try, if it says there is one, is put into the journal by the same change, unless
    /// somebody has asked for the job's end.
    ///
    /// A result that changes which snapshots there are also makes a list of the repository due.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn finish(&self, finished: Finished) -> Result<bool, StoreError> {
        let told = self.copy(&[Message::JobFinished(finished.clone())]);
        let first = self
            .write("storing a job's result", move |txn| {
                let Some(entry) = journal::end(txn, finished.job_id)? else { return Ok(false) };
                let mut finished = finished;
                finished.next_try.take_if(|_| entry.wanted == Wanted::Cancel);
                if finished.snapshot_id.is_some() || changes_list(entry.run.operation) {
                    listings::note(txn, entry.run.repository_id)?;
                }
                if let Some(next) = finished.next_try {
                    journal::try_again(txn, entry, finished.finished_at, next)?;
                }
                outbox::append(txn, &Message::JobFinished(finished))?;
                Ok(true)
            })
            .await?;
        if first {
            self.tell(told);
        }
        self.outbox_grew.notify_one();
        self.jobs_changed.notify_one();
        self.listings_changed.notify_one();
        Ok(first)
    }

    /// Repositories whose snapshots the server should hear of.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn listings_due(&self) -> Result<Vec<Due>, StoreError> {
        self.database.read("reading what is to be listed", listings::due).await
    }

    /// Waits until more repositories may be due.
    ///
    /// # Cancel safety
    /// Safe: a wake-up that came meanwhile is kept for the next call.
    pub async fn listings_changed(&self) {
        self.listings_changed.notified().await;
    }

    /// Appends the list of a repository, and with it settles that it was due.
    ///
    /// # Errors
    /// When the disk refuses; then the list is still due.
    pub async fn append_listing(&self, due: Due, parts: Vec<Message>) -> Result<(), StoreError> {
        self.write("storing a repository's list", move |txn| {
            parts.iter().try_for_each(|part| outbox::append(txn, part).map(drop))?;
            listings::settle(txn, due)
        })
        .await?;
        self.outbox_grew.notify_one();
        Ok(())
    }

    /// Appends records for the server, in order. `Ok` means on disk.
    ///
    /// # Errors
    /// When the disk refuses; then none was stored.
    pub async fn append(&self, messages: Vec<Message>) -> Result<(), StoreError> {
        let told = self.copy(&messages);
        self.write("appending to the outbox", move |txn| {
            messages.iter().try_for_each(|message| outbox::append(txn, message).map(drop))
        })
        .await?;
        self.tell(told);
        self.outbox_grew.notify_one();
        Ok(())
    }

    /// How far each schedule has fired.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn marks(&self) -> Result<BTreeMap<ScheduleId, Mark>, StoreError> {
        self.database.read("reading the schedules' marks", slots::load).await
    }

    /// Replaces all marks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn replace_marks(&self, marks: BTreeMap<ScheduleId, Mark>) -> Result<(), StoreError> {
        self.write("storing the schedules' marks", move |txn| slots::replace(txn, &marks)).await
    }

    /// Fires a slot: its mark, its jobs and its report are one change. Returns the number of jobs.
    ///
    /// # Errors
    /// When the disk refuses; then the slot is still due.
    pub async fn fire(&self, firing: Firing) -> Result<usize, StoreError> {
        let count = self.write("firing a slot", move |txn| slots::fire(txn, firing)).await?;
        self.outbox_grew.notify_one();
        self.jobs_changed.notify_one();
        Ok(count)
    }

    /// Stores a message without a number, when it changes anything.
    async fn take_setting(&self, kind: &str, payload: &Payload) -> Result<(), StoreError> {
        let current = Arc::clone(&self.settings.borrow());
        let change = match current.change(kind, payload) {
            Ok(Some(change)) => change,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(kind, error = %chain(&error), "a message was passed over");
                return Ok(());
            }
        };
        let (stored, sealer) = (change.clone(), self.sealer.clone());
        let store = move |txn: &WriteTransaction| settings::store(txn, &stored, &sealer);
        self.write("storing the settings", store).await?;
        let updated = Settings::clone(&current).with(change);
        self.settings.send_replace(Arc::new(updated));
        self.outbox_grew.notify_one();
        self.jobs_changed.notify_one();
        Ok(())
    }

    /// What those who look on are told once it is on disk; nothing when nobody does, which is the
    /// usual case.
    fn copy(&self, messages: &[Message]) -> Vec<Message> {
        if self.told.receiver_count() == 0 { Vec::new() } else { messages.to_vec() }
    }

    fn tell(&self, messages: Vec<Message>) {
        for message in messages {
            // The last one may have left meanwhile.
            let _ = self.told.send(message);
        }
    }

    /// As [`Database::write`]. After the disk has refused once nothing more is promised.
    async fn write<R, F>(&self, phase: &'static str, change: F) -> Result<R, StoreError>
    where
        R: Send + 'static,
        F: FnOnce(&WriteTransaction) -> Result<R, redb::Error> + Send + 'static,
    {
        let outcome = self.database.write(phase, change).await;
        if let Err(error) = &outcome {
            tracing::error!(error = %chain(error), "the agent's state cannot be written");
            self.failed.cancel();
        }
        outcome
    }
}

impl Store for State {
    async fn positions(&self) -> Result<Positions, StoreError> {
        self.database.read("reading the positions", outbox::positions).await
    }

    async fn load(&self, after: Seq, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.database.read("reading the outbox", move |txn| outbox::load(txn, after, limit)).await
    }

    async fn forget(&self, through: Seq) -> Result<(), StoreError> {
        self.write("forgetting delivered records", move |txn| outbox::forget(txn, through)).await
    }

    async fn apply(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.write("applying the server's records", move |txn| inbox::apply(txn, records)).await?;
        self.outbox_grew.notify_one();
        self.jobs_changed.notify_one();
        Ok(())
    }

    async fn receive(&self, message: Unsequenced) -> Result<(), StoreError> {
        self.take_setting(&message.kind, &message.payload).await
    }
}

/// Whether a job of this operation may have changed which snapshots there are, however it ended; or
/// was for the list itself.
fn changes_list(operation: Operation) -> bool {
    matches!(operation, Operation::Forget | Operation::Snapshots | Operation::Tag)
}

/// A fresh incarnation.
#[must_use]
pub fn mint() -> Incarnation {
    Incarnation::from_uuid(Uuid::new_v4())
}

#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod tests;
