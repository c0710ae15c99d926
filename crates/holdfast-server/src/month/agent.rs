//! An agent by hand: it fires its slots, tells of its jobs, and keeps what it could not tell.

use holdfast_link::{Record, Store as _};
use holdfast_protocol::{
    HostId, Incarnation, JobId, Message, PROTOCOL_VERSION, RepositoryId, ScheduleId,
    message::{
        job::{Finished, JobError, Operation, Started, Status},
        link::{Facts, Hello},
        schedule::{Ack, Fire},
        snapshot::{RepoStats, Report, Room, Snapshot},
    },
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::table::{Kind, MISFORTUNES};
use crate::{
    live::Live,
    store::{HostStore, Refusal, Store},
    view::Calendar,
};

/// How long a backup takes, and how long a slow one.
const USUAL: SignedDuration = SignedDuration::from_mins(5);
const LONG: SignedDuration = SignedDuration::from_hours(5);

pub(super) struct Agent {
    pub(super) name: String,
    pub(super) host: HostId,
    pub(super) incarnation: Incarnation,
    pub(super) repository: RepositoryId,
    pub(super) schedule: ScheduleId,
    pub(super) calendar: Calendar,
    fired_through: Timestamp,
    boot: u64,
    version: &'static str,
    session: Option<HostStore>,
    told: u64,
    waiting: Vec<(Timestamp, Message)>,
    running: Option<Run>,
    snapshots: Vec<Snapshot>,
    made: u64,
}

struct Run {
    job: JobId,
    operation: Operation,
    began_at: Timestamp,
    ends_at: Timestamp,
    fate: Option<Kind>,
}

/// What goes wrong with a host right now.
pub(super) struct Fate<'a> {
    host: &'a str,
    now: Timestamp,
}

impl Fate<'_> {
    fn is(&self, kind: Kind) -> bool {
        self.kinds().any(|it| it == kind)
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> {
        let befallen = MISFORTUNES.iter().filter(|it| it.lasts(self.now) && it.befalls(self.host));
        befallen.map(|it| it.kind)
    }

    /// How a backup goes that begins now.
    fn of_run(&self) -> Option<Kind> {
        self.kinds().find(|kind| {
            matches!(
                kind,
                Kind::Ends(_)
                    | Kind::Partial
                    | Kind::Lies
                    | Kind::Killed
                    | Kind::Hangs
                    | Kind::Slow
            )
        })
    }

    fn hour(&self) -> i64 {
        self.now.as_second().div_euclid(3600).rem_euclid(24)
    }

    fn is_off(&self) -> bool {
        let night = self.hour() >= 18 || self.hour() < 8;
        self.is(Kind::Off) || (night && self.is(Kind::Nights))
    }

    /// Whether the link is cut for this step.
    fn is_cut(&self) -> bool {
        let minute = self.now.as_second().div_euclid(60).rem_euclid(60);
        let nap = self.hour() == 13 && minute == 0 && self.is(Kind::Old);
        let flap = self.hour() % 2 == 0 && minute == 30 && self.is(Kind::Flaps);
        nap || flap
    }

    fn clock_offset(&self) -> SignedDuration {
        SignedDuration::from_mins(if self.is(Kind::Ahead) { 10 } else { 0 })
    }
}

impl Agent {
    pub(super) fn new(
        name: String,
        (host, incarnation): (HostId, Incarnation),
        repository: RepositoryId,
        (schedule, calendar): (ScheduleId, Calendar),
        now: Timestamp,
    ) -> Self {
        Self {
            name,
            host,
            incarnation,
            repository,
            schedule,
            calendar,
            fired_through: now,
            boot: 1,
            version: "",
            session: None,
            told: 0,
            waiting: Vec::new(),
            running: None,
            snapshots: Vec::new(),
            made: 0,
        }
    }

    /// Lives through one step: up to `now`, by the server's clock. Says whether a backup has gone
    /// wrong.
    pub(super) async fn step(&mut self, now: Timestamp, server: Option<(&Store, &Live)>) -> bool {
        let name = self.name.clone();
        let fate = Fate { host: &name, now };
        if fate.is_off() {
            self.disconnect(server).await;
            return false;
        }
        let own = now + fate.clock_offset();
        let mut wrong = self.end_run(own, &fate);
        wrong |= self.fire(own, &fate);
        self.check(own, &fate);
        wrong |= self.end_run(own, &fate);
        let Some((store, live)) = server.filter(|_| !fate.is_cut()) else {
            self.disconnect(server).await;
            return wrong;
        };
        if fate.is(Kind::Copied) {
            store.note_refusal(self.host, Refusal::StaleBoot).await.unwrap();
        }
        self.connect(store, live, &fate).await;
        self.tell(own).await;
        let queue_depth = if fate.is(Kind::Crowded) { 12_000 } else { 0 };
        let offset = fate.clock_offset().as_millis();
        live.heard(self.host, queue_depth, i64::try_from(offset).unwrap(), now);
        wrong
    }

    /// A backup that somebody orders by hand.
    pub(super) fn back_up(&mut self, now: Timestamp) {
        let job = JobId::from_uuid(Uuid::now_v7());
        self.begin(job, now, None, None);
    }

    /// The check of the repository that somebody has a timer for.
    fn check(&mut self, own: Timestamp, fate: &Fate<'_>) {
        let checks =
            MISFORTUNES.iter().any(|it| it.kind == Kind::Damaged && it.befalls(&self.name));
        let minute = fate.now.as_second().div_euclid(60).rem_euclid(60);
        if !checks || fate.hour() != 10 || minute != 0 || self.running.is_some() {
            return;
        }
        let job = JobId::from_uuid(Uuid::now_v7());
        let run = fate.is(Kind::Damaged).then_some(Kind::Damaged);
        self.begin_as(Operation::Check, job, own, run, None);
    }

    async fn connect(&mut self, store: &Store, live: &Live, fate: &Fate<'_>) {
        let version = if fate.is(Kind::Old) { "0.0.9" } else { env!("CARGO_PKG_VERSION") };
        if self.session.is_some() && version == self.version {
            return;
        }
        self.version = version;
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            incarnation: self.incarnation,
            boot: self.boot,
            instance: None,
            epoch: 0,
            received: 0,
            oldest: 1,
            capabilities: vec![],
            facts: Facts { agent_version: version.to_owned(), ..Facts::default() },
        };
        let opened = store.open_session(self.host, &hello).await.unwrap().unwrap();
        self.session = Some(HostStore::new(store.clone(), self.host, opened.epoch));
        live.connected(self.host, fate.now);
        let ack = Ack { version: opened.config_version, applied_at: fate.now };
        self.waiting.push((fate.now, Message::ScheduleAck(ack)));
    }

    async fn disconnect(&mut self, server: Option<(&Store, &Live)>) {
        if self.session.take().is_none() {
            return;
        }
        if let Some((store, live)) = server {
            let heard = live.disconnected(self.host).map(|at| (self.host, at));
            store.note_seen(heard.as_slice()).await.unwrap();
        }
    }

    async fn tell(&mut self, now: Timestamp) {
        let Some(session) = &self.session else { return };
        let told = self.told + 1;
        let records = self.waiting.drain(..).zip(told..).map(|((ts, message), seq)| Record {
            seq,
            ts: ts.min(now),
            kind: message.kind().to_owned(),
            payload: message.encode(),
        });
        let records: Vec<Record> = records.collect();
        self.told += records.len() as u64;
        if !records.is_empty() {
            session.apply(records).await.unwrap();
        }
    }

    /// Fires the newest slot that has come due, as the real one does.
    fn fire(&mut self, own: Timestamp, fate: &Fate<'_>) -> bool {
        if fate.is(Kind::Idle) {
            let next = self.calendar.next_after(self.fired_through);
            return next.is_some_and(|slot| slot <= own);
        }
        if fate.is(Kind::SwitchedOff) {
            return false;
        }
        let next = |time: &Timestamp| self.calendar.next_after(*time).filter(|slot| *slot <= own);
        let due = std::iter::successors(next(&self.fired_through), next).last();
        let Some(slot) = due else { return false };
        // A machine that slept fires when it wakes, and not in its sleep.
        let late = own.duration_since(slot) > super::STEP;
        let fired_at = if late { own } else { slot };
        self.fired_through = slot;
        if self.running.is_some() {
            // As the real one does: the slot is left out.
            return false;
        }
        let job = JobId::of_slot(self.host, self.schedule, slot, 1);
        let fire = Fire::new(self.schedule, slot, vec![job]);
        self.waiting.push((fired_at, Message::ScheduleFire(fire)));
        let run = fate.of_run();
        self.begin(job, fired_at, run, Some(slot));
        false
    }

    fn begin(&mut self, job: JobId, at: Timestamp, fate: Option<Kind>, slot: Option<Timestamp>) {
        self.begin_as(Operation::Backup, job, at, fate, slot);
    }

    fn begin_as(
        &mut self,
        operation: Operation,
        job: JobId,
        at: Timestamp,
        fate: Option<Kind>,
        slot: Option<Timestamp>,
    ) {
        let started = Started {
            job_id: job,
            operation,
            started_at: at,
            attempt: 1,
            tag: "home".to_owned(),
            schedule_id: slot.map(|_| self.schedule),
            scheduled_at: slot,
        };
        self.waiting.push((at, Message::JobStarted(started)));
        let length = if fate == Some(Kind::Slow) { LONG } else { USUAL };
        self.running = Some(Run { job, operation, began_at: at, ends_at: at + length, fate });
    }

    /// Ends what runs, when it is time. Says whether it went wrong, as soon as that can be seen.
    fn end_run(&mut self, own: Timestamp, fate: &Fate<'_>) -> bool {
        let hangs = |run: &Run| run.fate == Some(Kind::Hangs) && fate.is(Kind::Hangs);
        if self.running.as_ref().is_some_and(hangs) {
            return true;
        }
        let Some(run) = self.running.take_if(|run| run.ends_at <= own) else { return false };
        let (status, code) = match run.fate {
            Some(Kind::Ends(code)) => (Status::Failed, Some(code)),
            Some(Kind::Damaged) => (Status::Failed, Some("repository_damaged")),
            Some(Kind::Killed) => (Status::Interrupted, Some("agent_restarted")),
            Some(Kind::Partial) => (Status::Partial, None),
            Some(Kind::Hangs) => (Status::Cancelled, None),
            _ => (Status::Succeeded, None),
        };
        let good = matches!(status, Status::Succeeded | Status::Partial);
        let good = good && run.operation == Operation::Backup;
        let snapshot_id = good.then(|| self.snapshot(&run));
        let error = code.map(|code| JobError {
            code: code.to_owned(),
            message: "It did not work.".to_owned(),
            action: "Mend it.".to_owned(),
        });
        let finished = Finished {
            job_id: run.job,
            status,
            exit_code: Some(i32::from(!good)),
            finished_at: run.ends_at.max(own.min(run.ends_at)),
            snapshot_id,
            stats: None,
            error,
            next_try: None,
        };
        self.waiting.push((run.ends_at, Message::JobFinished(finished)));
        self.waiting.push((own, Message::SnapshotsReport(self.listing(own))));
        self.waiting.push((own, Message::RepoStats(self.room(fate))));
        if status == Status::Cancelled {
            // Whoever cancels what hangs backs it up anew.
            self.back_up(own);
        }
        !matches!(run.fate, None | Some(Kind::Slow | Kind::Hangs))
    }

    /// The id of the snapshot that a backup says it made; a lying one has made none.
    fn snapshot(&mut self, run: &Run) -> String {
        self.made += 1;
        let id = format!("{:032x}{:032x}", self.host.as_uuid().as_u128(), self.made);
        let id = id.chars().rev().collect::<String>();
        if run.fate != Some(Kind::Lies) {
            self.snapshots.push(Snapshot {
                id: id.clone(),
                short_id: id[..8].to_owned(),
                time: run.began_at,
                hostname: self.name.clone(),
                paths: vec!["/home".to_owned()],
                tags: vec!["home".to_owned()],
                size_bytes: None,
                file_count: None,
            });
            let kept = self.snapshots.len().saturating_sub(3);
            self.snapshots.drain(..kept);
        }
        id
    }

    fn room(&self, fate: &Fate<'_>) -> RepoStats {
        let free_bytes = if fate.is(Kind::Filling) { 5 } else { 50 };
        RepoStats {
            repository_id: self.repository,
            total_size_bytes: None,
            raw_size_bytes: None,
            snapshot_count: None,
            room: Some(Room { free_bytes, capacity_bytes: 100 }),
        }
    }

    fn listing(&self, own: Timestamp) -> Report {
        Report {
            repository_id: self.repository,
            report_id: Uuid::now_v7().to_string(),
            last: true,
            listed_at: own,
            snapshots: self.snapshots.clone(),
        }
    }
}
