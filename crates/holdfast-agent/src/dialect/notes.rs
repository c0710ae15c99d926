//! What the agent must remember of another system beside its own state: how that system spells
//! the jobs, and which configuration it gave.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use holdfast_protocol::{
    HostId, JobId, Message, Seq,
    dialect::{Ledger, OpenJob},
    message::{command::Run, config::Update, job::Heartbeat, link::Facts},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Joined;
use crate::{
    config::{Directory, Enrolment, NOTES},
    error::chain,
    facts,
    state::State,
};

/// The notes. All connections to the other server share them.
pub(crate) struct Notes {
    directory: Directory,
    enrolment: Enrolment,
    joined: Joined,
    state: Arc<State>,
    restic_version: String,
    polling: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    ledger: Ledger,
    kept: Kept,
    update: Option<Update>,
    /// Jobs that the last heartbeat did not know.
    missed: BTreeSet<JobId>,
}

/// What is on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// The agent's own number of the configuration; theirs may fall.
    version: i64,
    /// What it was made of.
    fingerprint: String,
    jobs: BTreeMap<JobId, Noted>,
}

/// One job that has not ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Noted {
    group: String,
    name: String,
    #[serde(default)]
    started_at: Option<Timestamp>,
}

impl Notes {
    /// Reads what was noted before. Notes that cannot be read are begun anew: what they cost is the
    /// other system's spelling of jobs under way.
    pub(crate) fn open(
        directory: &Directory,
        enrolment: &Enrolment,
        joined: Joined,
        state: &Arc<State>,
        restic_version: &str,
    ) -> Self {
        let kept: Kept = directory.read_json(NOTES).ok().flatten().unwrap_or_default();
        let mut ledger = Ledger::new(enrolment.host_id);
        for (job, noted) in &kept.jobs {
            ledger.open(*job, OpenJob::of_group(&*noted.group).named(&*noted.name));
        }
        Self {
            directory: directory.clone(),
            enrolment: enrolment.clone(),
            joined,
            state: Arc::clone(state),
            restic_version: restic_version.to_owned(),
            polling: AtomicBool::new(false),
            inner: Mutex::new(Inner { ledger, kept, update: None, missed: BTreeSet::new() }),
        }
    }

    /// What this agent is to the other system.
    pub(crate) fn joined(&self) -> &Joined {
        &self.joined
    }

    /// Which server it is.
    pub(crate) fn enrolment(&self) -> &Enrolment {
        &self.enrolment
    }

    /// Up to where the other server has shown to have the agent's records. The agent keeps some of
    /// those, for a server of our own that comes back from an older copy.
    pub(crate) fn delivered(&self) -> Seq {
        self.state.delivered().unwrap_or_else(|error| {
            tracing::warn!(error = %chain(&error), "records may be told again");
            0
        })
    }

    /// This machine.
    pub(crate) fn facts(&self) -> Facts {
        facts::collect(&self.restic_version)
    }

    /// The agent's directory.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether the other server is polled, for want of a socket.
    pub(crate) fn is_polling(&self) -> bool {
        self.polling.load(Ordering::Relaxed)
    }

    /// Notes whether it is.
    pub(crate) fn set_polling(&self, polling: bool) {
        self.polling.store(polling, Ordering::Relaxed);
    }

    /// Works with the open jobs. Those that come to be open are on disk afterwards: their names
    /// are needed to tell of their ends, also after a restart.
    pub(crate) fn with_ledger<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut inner = self.lock();
        let outcome = work(&mut inner.ledger);
        let open: Vec<JobId> = inner.ledger.jobs().collect();
        let mut changed = false;
        for job in open {
            if inner.kept.jobs.contains_key(&job) {
                continue;
            }
            let known = inner.ledger.job(job).cloned().unwrap_or_default();
            let noted = Noted { group: known.group, name: known.name, started_at: None };
            inner.kept.jobs.insert(job, noted);
            changed = true;
        }
        if changed {
            self.store(&inner.kept);
        }
        outcome
    }

    /// Notes when a job's process was started.
    pub(crate) fn started(&self, job: JobId, group: &str, at: Timestamp) {
        let mut inner = self.lock();
        if inner.ledger.job(job).is_none() {
            inner.ledger.open(job, OpenJob::of_group(group));
        }
        let noted = inner.kept.jobs.entry(job).or_default();
        if noted.group.is_empty() {
            group.clone_into(&mut noted.group);
        }
        noted.started_at = Some(at);
        self.store(&inner.kept);
    }

    /// When it was; now for one that never was.
    pub(crate) fn started_at(&self, job: JobId) -> Timestamp {
        let noted = self.lock().kept.jobs.get(&job).and_then(|noted| noted.started_at);
        noted.unwrap_or_else(Timestamp::now)
    }

    /// Forgets a job whose end the other server has.
    pub(crate) fn ended(&self, job: JobId) {
        let mut inner = self.lock();
        inner.ledger.close(job);
        if inner.kept.jobs.remove(&job).is_some() {
            self.store(&inner.kept);
        }
    }

    /// Forgets jobs that the agent does not have, and of which nothing waits to be told: orders
    /// that came for a job that had ended before. One that two heartbeats do not know is no job on
    /// its way to the agent.
    pub(crate) fn settle(&self, beat: &Heartbeat) {
        if beat.queue_depth > 0 {
            return;
        }
        let mut inner = self.lock();
        let open = inner.ledger.jobs().filter(|job| !beat.active_job_ids.contains(job));
        let missed: BTreeSet<JobId> = open.collect();
        let gone: Vec<JobId> = missed.intersection(&inner.missed).copied().collect();
        for job in &gone {
            inner.ledger.close(*job);
            inner.kept.jobs.remove(job);
        }
        inner.missed = missed;
        if !gone.is_empty() {
            self.store(&inner.kept);
        }
    }

    /// Takes a configuration. It gets a higher number whenever it differs from the one before.
    pub(crate) fn configure(&self, mut update: Update) -> Message {
        let mut inner = self.lock();
        update.version = 0;
        // A fingerprint, not the text: it holds passwords.
        let text = serde_json::to_string(&update).unwrap_or_default();
        let print = uuid::Uuid::new_v5(&self.host().as_uuid(), text.as_bytes()).to_string();
        if inner.kept.fingerprint != print {
            inner.kept.version += 1;
            inner.kept.fingerprint = print;
            self.store(&inner.kept);
        }
        update.version = inner.kept.version;
        for group in &update.groups {
            inner.ledger.set_repository(group.name.clone(), group.repository_id);
        }
        inner.update = Some(update.clone());
        Message::ConfigUpdate(update)
    }

    /// Fills in what the other system's command leaves to the configuration; false when that does
    /// not know the source group.
    pub(crate) fn complete(&self, run: &mut Run) -> bool {
        let inner = self.lock();
        let Some(update) = &inner.update else { return false };
        let Some(group) = update.groups.iter().find(|group| group.name == run.tag) else {
            return false;
        };
        *run = group.run(run.job_id, update.version);
        true
    }

    fn host(&self) -> HostId {
        self.enrolment.host_id
    }

    fn store(&self, kept: &Kept) {
        if let Err(error) = self.directory.write_json(NOTES, kept) {
            tracing::warn!(error = %chain(&error), "the notes of the other system were not stored");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
