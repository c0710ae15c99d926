//! An agent's memory without a disk.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use holdfast_link::{Client, Host, Positions, Record, Store, StoreError, Unsequenced};
use holdfast_protocol::{
    JobId, Message, Payload, Seq,
    message::{command, config, job::Heartbeat, link::Facts, schedule},
};
use jiff::Timestamp;

use crate::role::{Voice, Word, now_ns};

/// The outbox and the inbox position of one light agent.
pub(super) struct LightStore {
    voice: Voice,
    client: OnceLock<Client<LightStore>>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    outbox: VecDeque<Record>,
    appended: Seq,
    received: Seq,
    config_version: i64,
    schedule_version: i64,
    jobs: Vec<JobId>,
    /// Accepted commands whose answer the server has not acknowledged: when each arrived.
    answered: BTreeMap<Seq, (JobId, u64)>,
}

impl LightStore {
    pub(super) fn new(voice: Voice, jobs: Vec<JobId>) -> Self {
        let memory = Mutex::new(Memory { jobs, ..Memory::default() });
        Self { voice, client: OnceLock::new(), memory }
    }

    /// The link to wake when there is something to say.
    pub(super) fn belong_to(&self, client: Client<Self>) {
        // It is called once.
        let _ = self.client.set(client);
    }

    /// Whether the server has everything.
    pub(super) fn is_delivered(&self) -> bool {
        self.memory().outbox.is_empty()
    }

    /// Appends a record; `answers` is the job whose command it answers.
    pub(super) fn append(&self, message: &Message, answers: Option<JobId>) {
        let mut memory = self.memory();
        memory.appended += 1;
        let seq = memory.appended;
        if let Some(job) = answers {
            memory.answered.insert(seq, (job, now_ns()));
            memory.jobs.push(job);
        }
        memory.outbox.push_back(Record {
            seq,
            ts: Timestamp::now(),
            kind: message.kind().to_owned(),
            payload: message.encode(),
        });
    }

    fn take_command(&self, record: &Record) {
        if let Ok(Message::CommandRun(run)) = Message::decode(&record.kind, &record.payload) {
            let job_id = run.job_id;
            let command = command::Verb::Run;
            let answer = command::Outcome { job_id, command, accepted: true, error: None };
            self.append(&Message::CommandResult(answer), Some(job_id));
        }
    }

    fn take_setting(&self, message: &Unsequenced) {
        let answer = match Message::decode(&message.kind, &message.payload) {
            Ok(Message::ConfigUpdate(update)) => self.newer_config(update.version),
            Ok(Message::ScheduleSet(set)) => self.newer_schedule(set.version),
            _ => None,
        };
        if let Some(answer) = answer {
            self.append(&answer, None);
            self.wake();
        }
    }

    fn newer_config(&self, version: i64) -> Option<Message> {
        let mut memory = self.memory();
        let newer = version > memory.config_version;
        memory.config_version = version.max(memory.config_version);
        let applied = config::Applied { version, applied_at: Timestamp::now() };
        newer.then_some(Message::ConfigApplied(applied))
    }

    fn newer_schedule(&self, version: i64) -> Option<Message> {
        let mut memory = self.memory();
        let newer = version > memory.schedule_version;
        memory.schedule_version = version.max(memory.schedule_version);
        newer.then_some(Message::ScheduleAck(schedule::Ack {
            version,
            applied_at: Timestamp::now(),
        }))
    }

    fn wake(&self) {
        if let Some(client) = self.client.get() {
            client.wake();
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        let memory = self.memory();
        Heartbeat {
            sent_at: Timestamp::now(),
            active_job_ids: memory.jobs.clone(),
            queue_depth: memory.outbox.len() as u64,
            config_version: memory.config_version,
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for LightStore {
    async fn positions(&self) -> Result<Positions, StoreError> {
        let memory = self.memory();
        let next = memory.appended + 1;
        let oldest = memory.outbox.front().map_or(next, |record| record.seq);
        Ok(Positions { received: memory.received, oldest, next })
    }

    async fn load(&self, after: Seq, limit: usize) -> Result<Vec<Record>, StoreError> {
        let memory = self.memory();
        let from = memory.outbox.partition_point(|record| record.seq <= after);
        Ok(memory.outbox.iter().skip(from).take(limit).cloned().collect())
    }

    async fn forget(&self, through: Seq) -> Result<(), StoreError> {
        let accepted_ns = now_ns();
        let mut memory = self.memory();
        while memory.outbox.front().is_some_and(|record| record.seq <= through) {
            memory.outbox.pop_front();
        }
        let waiting = memory.answered.split_off(&(through + 1));
        for (job, arrived_ns) in std::mem::replace(&mut memory.answered, waiting).into_values() {
            self.voice.say(Word::Accepted { job: job.to_string(), arrived_ns, accepted_ns });
        }
        Ok(())
    }

    async fn apply(&self, records: Vec<Record>) -> Result<(), StoreError> {
        for record in &records {
            self.take_command(record);
            self.memory().received = record.seq;
        }
        self.wake();
        Ok(())
    }

    async fn receive(&self, message: Unsequenced) -> Result<(), StoreError> {
        self.take_setting(&message);
        Ok(())
    }
}

/// What the link asks of a host, of one that is always the same.
pub(super) struct LightHost {
    store: Arc<LightStore>,
}

impl LightHost {
    pub(super) fn new(store: Arc<LightStore>) -> Self {
        Self { store }
    }
}

impl Host for LightHost {
    fn facts(&self) -> Facts {
        Facts {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            restic_version: "0.18.0".to_owned(),
            hostname: "light".to_owned(),
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            boot_time: None,
            time_zone: "UTC".to_owned(),
        }
    }

    fn capabilities(&self) -> Vec<String> {
        Vec::new()
    }

    fn heartbeat(&self) -> Payload {
        Message::Heartbeat(self.store.heartbeat()).encode()
    }
}
