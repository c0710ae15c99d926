//! What was due and what became of it, on a clock that the tests set.

use holdfast_link::{Record, Store as _};
use holdfast_protocol::{
    JobId, Message, ScheduleId,
    message::{
        job::Status,
        schedule::{Fire, Passed, Skipped, Timing, Window},
    },
};
use holdfast_server::{
    store::{EvaluationFilter, HostStore, NewSchedule},
    view::{Calendar, EvaluationView},
    watch::{Outcome, Reason, Watch},
};
use jiff::{SignedDuration, Timestamp};

use crate::fleet::{Fleet, TestHost, finished, meddle, record, started};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// A host whose group `etc` is due every hour, and a watch of a server that has long been up.
struct Hourly {
    fleet: Fleet,
    host: TestHost,
    watch: Watch,
    schedule: ScheduleId,
    /// The first slot to come.
    slot: Timestamp,
}

fn hourly() -> NewSchedule {
    NewSchedule {
        cron: "0 * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        enabled: true,
        timing: Default::default(),
    }
}

impl Hourly {
    async fn new() -> Self {
        let fleet = Fleet::new().await;
        let host = fleet.host("web-1").await;
        fleet.store.set_schedule("ops", host.id, "etc", &hourly()).await.unwrap();
        let (_, set) = fleet.store.config(host.id).await.unwrap();
        let slot = Calendar::parse("0 * * * *", "UTC", Timestamp::now()).unwrap();
        Self {
            watch: Watch::new(fleet.store.clone(), fleet.live().await, Timestamp::UNIX_EPOCH),
            schedule: set.schedules[0].id,
            slot: slot.next_after(Timestamp::now()).unwrap(),
            fleet,
            host,
        }
    }

    fn job(&self, slot: Timestamp) -> JobId {
        JobId::of_slot(self.host.id, self.schedule, slot, 1)
    }

    /// The agent's word that it fired `slot` at `at`.
    fn fire(&self, seq: u64, slot: Timestamp, at: Timestamp) -> Record {
        let fire = Fire::new(self.schedule, slot, vec![self.job(slot)]);
        Record { ts: at, ..record(seq, &Message::ScheduleFire(fire)) }
    }

    async fn session(&self) -> HostStore {
        self.fleet.session(&self.host, 1).await
    }

    async fn told(&self) -> Vec<EvaluationView> {
        let filter = EvaluationFilter { limit: 100, ..EvaluationFilter::default() };
        let mut told = self.fleet.store.evaluations(self.host.id, &filter).await.unwrap();
        told.reverse();
        told
    }

    async fn outcomes(&self) -> Vec<(Outcome, Option<Reason>)> {
        self.told().await.iter().map(|told| (told.outcome, told.reason)).collect()
    }
}

#[tokio::test]
async fn silence_becomes_a_missed_job_on_the_servers_own_clock() {
    let hourly = Hourly::new().await;
    hourly.watch.look(hourly.slot - minutes(1)).await.unwrap();
    assert_eq!(hourly.outcomes().await, []);
    hourly.watch.look(hourly.slot + minutes(15)).await.unwrap();
    assert_eq!(hourly.outcomes().await, [(Outcome::Pending, None)]);
    for _ in 0..2 {
        hourly.watch.look(hourly.slot + minutes(16)).await.unwrap();
    }
    assert_eq!(hourly.outcomes().await, [(Outcome::Missed, Some(Reason::HostOffline))]);
    let job = hourly.fleet.job(hourly.job(hourly.slot)).await;
    assert_eq!((job.status, job.group.as_str()), (Status::Missed, "etc"));
    assert_eq!(job.error.unwrap().code, "host_offline");
}

#[tokio::test]
async fn a_run_that_is_told_of_late_was_not_missed() {
    let hourly = Hourly::new().await;
    hourly.watch.look(hourly.slot + minutes(16)).await.unwrap();
    let job = hourly.job(hourly.slot);
    let session = hourly.session().await;
    let story = vec![
        hourly.fire(1, hourly.slot, hourly.slot),
        record(2, &started(job)),
        record(3, &finished(job, Status::Succeeded)),
    ];
    session.apply(story).await.unwrap();
    let view = hourly.fleet.job(job).await;
    assert_eq!((view.status, view.error), (Status::Succeeded, None));
    hourly.watch.look(hourly.slot + minutes(17)).await.unwrap();
    assert_eq!(hourly.outcomes().await, [(Outcome::Fired, None)]);
    assert_eq!(hourly.told().await[0].job_id, Some(job));
}

#[tokio::test]
async fn a_late_start_is_told_from_a_missed_one_after_a_crash_in_between() {
    let hourly = Hourly::new().await;
    hourly.watch.look(hourly.slot + minutes(16)).await.unwrap();
    let job = hourly.job(hourly.slot);
    let session = hourly.session().await;
    session.apply(vec![hourly.fire(1, hourly.slot, hourly.slot)]).await.unwrap();
    assert_eq!(hourly.fleet.job(job).await.status, Status::Queued);
    hourly.watch.look(hourly.slot + minutes(17)).await.unwrap();
    assert_eq!(hourly.fleet.job(job).await.status, Status::Queued, "not missed again");
}

#[tokio::test]
async fn after_a_nights_sleep_one_run_makes_up_for_all() {
    let hourly = Hourly::new().await;
    let third = hourly.slot + HOUR * 2;
    hourly.watch.look(third + minutes(20)).await.unwrap();
    let missed = (Outcome::Missed, Some(Reason::HostOffline));
    assert_eq!(hourly.outcomes().await, [missed; 3]);
    let session = hourly.session().await;
    session.apply(vec![hourly.fire(1, third, third + minutes(21))]).await.unwrap();
    hourly.watch.look(third + minutes(22)).await.unwrap();
    let made_up = (Outcome::CaughtUp, Some(Reason::MadeUpLater));
    assert_eq!(hourly.outcomes().await, [made_up, made_up, (Outcome::CaughtUp, None)]);
    let jobs: Vec<_> = hourly.told().await.iter().map(|told| told.job_id).collect();
    assert_eq!(jobs, [Some(hourly.job(third)); 3]);
}

/// The agent was off at a slot that it does not make up for, and says so when it is back.
#[tokio::test]
async fn the_agents_own_word_explains_a_missed_slot() {
    let hourly = Hourly::new().await;
    hourly.watch.look(hourly.slot + minutes(16)).await.unwrap();
    assert_eq!(hourly.outcomes().await, [(Outcome::Missed, Some(Reason::HostOffline))]);
    let session = hourly.session().await;
    let left_out = Fire {
        skipped: Some(Skipped::MachineOff),
        ..Fire::new(hourly.schedule, hourly.slot, vec![])
    };
    session.apply(vec![record(1, &Message::ScheduleFire(left_out))]).await.unwrap();
    hourly.watch.look(hourly.slot + minutes(20)).await.unwrap();
    assert_eq!(hourly.outcomes().await, [(Outcome::Missed, Some(Reason::MachineOff))]);
    let job = hourly.fleet.job(hourly.job(hourly.slot)).await;
    assert_eq!((job.status, job.error.unwrap().code.as_str()), (Status::Missed, "machine_off"));
}

#[tokio::test]
async fn a_slot_that_went_by_is_told_with_the_next_one_before_or_after_it_was_noted() {
    let hourly = Hourly::new().await;
    let [second, third] = [1, 2].map(|hours| hourly.slot + HOUR * hours);
    hourly.watch.look(hourly.slot + minutes(1)).await.unwrap();
    let session = hourly.session().await;
    let word = |scheduled_at, why| Passed { scheduled_at, why };
    let fire = Fire {
        missed: 2,
        passed: vec![
            word(hourly.slot, Skipped::OutsideWindow),
            word(second, Skipped::StillRunning),
        ],
        ..Fire::new(hourly.schedule, third, vec![hourly.job(third)])
    };
    let told = Record { ts: third, ..record(1, &Message::ScheduleFire(fire)) };
    session.apply(vec![told]).await.unwrap();
    hourly.watch.look(third + minutes(1)).await.unwrap();
    let wanted = [
        (Outcome::Skipped, Some(Reason::OutsideWindow)),
        (Outcome::Blocked, Some(Reason::StillRunning)),
        (Outcome::Fired, None),
    ];
    assert_eq!(hourly.outcomes().await, wanted);
    let jobs = hourly.fleet.live().await.jobs(&Default::default()).await.unwrap().jobs;
    assert_eq!(jobs.len(), 1, "nothing was missed: {jobs:?}");
}

#[tokio::test]
async fn a_slot_that_waits_for_its_window_is_not_missed_meanwhile() {
    let hourly = Hourly::new().await;
    let opens = hourly.slot + HOUR * 3;
    let minute_of = |at: Timestamp| u16::try_from(at.as_second() / 60 % 1440).unwrap();
    let window = Window { from_minute: minute_of(opens), until_minute: minute_of(opens + HOUR) };
    let timing = Timing { window: Some(window), ..Timing::default() };
    let windowed = NewSchedule { timing, ..self::hourly() };
    let store = &hourly.fleet.store;
    store.set_schedule("ops", hourly.host.id, "etc", &windowed).await.unwrap();
    hourly.watch.look(hourly.slot + minutes(30)).await.unwrap();
    assert_eq!(hourly.outcomes().await, [(Outcome::Pending, None)]);
    hourly.watch.look(opens + minutes(16)).await.unwrap();
    let missed = (Outcome::Missed, Some(Reason::HostOffline));
    assert_eq!(hourly.outcomes().await, [missed; 4], "nothing came when it opened");
}

#[tokio::test]
async fn the_next_regular_run_does_not_undo_a_missed_one() {
    let hourly = Hourly::new().await;
    let second = hourly.slot + HOUR;
    hourly.watch.look(hourly.slot + minutes(16)).await.unwrap();
    let session = hourly.session().await;
    session.apply(vec![hourly.fire(1, second, second)]).await.unwrap();
    hourly.watch.look(second + minutes(1)).await.unwrap();
    let missed = (Outcome::Missed, Some(Reason::HostOffline));
    assert_eq!(hourly.outcomes().await, [missed, (Outcome::Fired, None)]);
}

#[tokio::test]
async fn every_form_of_a_schedule_owes_its_own_slots() {
    let hourly = Hourly::new().await;
    let earlier = "UPDATE schedule_history SET valid_from = valid_from - 10800000,
                       noted_through = noted_through - 10800000";
    meddle(hourly.fleet.dir.path(), earlier).await;
    let store = &hourly.fleet.store;
    let (host, off) = (hourly.host.id, NewSchedule { enabled: false, ..self::hourly() });
    store.set_schedule("ops", host, "etc", &self::hourly()).await.unwrap();
    store.set_schedule("ops", host, "etc", &off).await.unwrap();
    hourly.watch.look(hourly.slot + minutes(30)).await.unwrap();
    let missed = (Outcome::Missed, Some(Reason::HostOffline));
    let skipped = (Outcome::Skipped, Some(Reason::SwitchedOff));
    assert_eq!(hourly.outcomes().await, [missed, missed, missed, skipped]);

    let missed_jobs = hourly.fleet.live().await.jobs(&Default::default()).await.unwrap().jobs;
    assert_eq!(missed_jobs.len(), 1, "only the newest of them stands among the jobs");
    store.remove_group("ops", host, "etc").await.unwrap();
    hourly.watch.look(hourly.slot + HOUR * 5).await.unwrap();
    assert_eq!(hourly.outcomes().await.len(), 4, "a group that is gone owes nothing");
}

#[tokio::test]
async fn a_server_that_was_away_gives_its_agents_time_to_come_back() {
    let hourly = Hourly::new().await;
    let started_at = hourly.slot + HOUR;
    let live = hourly.fleet.live().await;
    let watch = Watch::new(hourly.fleet.store.clone(), live, started_at);
    watch.look(started_at + minutes(5)).await.unwrap();
    assert_eq!(hourly.outcomes().await, [(Outcome::Pending, None); 2]);
    watch.look(started_at + minutes(6)).await.unwrap();
    assert_eq!(hourly.outcomes().await[0], (Outcome::Missed, Some(Reason::HostOffline)));
}

#[tokio::test]
async fn what_is_older_than_forty_days_is_dropped() {
    let hourly = Hourly::new().await;
    hourly.watch.look(hourly.slot + minutes(1)).await.unwrap();
    assert_eq!(hourly.told().await.len(), 1);
    hourly.fleet.store.remove_schedule("ops", hourly.host.id, "etc").await.unwrap();
    hourly.watch.look(hourly.slot + HOUR * 24 * 41).await.unwrap();
    assert_eq!(hourly.told().await.len(), 0);
}
