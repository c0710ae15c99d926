use holdfast_link::{Store, Unsequenced};
use holdfast_protocol::{
    JobId, Message, RepositoryId,
    message::{
        config,
        job::{Finished, Status},
        schedule::{Fire, PASSED_MAX, Set, Skipped, Timing, Window},
    },
};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

/// An agent's state with one hourly schedule of two groups, and no server.
struct Bench {
    _dir: TempDir,
    state: State,
    marks: BTreeMap<ScheduleId, Mark>,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.redb")).unwrap();
        let bench = Self { _dir: dir, state, marks: BTreeMap::new() };
        bench.receive(&config(&["etc", "home"])).await;
        bench.receive(&schedules(1, true)).await;
        bench
    }

    async fn receive(&self, message: &Message) {
        let message = Unsequenced {
            class: message.class(),
            key: String::new(),
            ts: Timestamp::now(),
            kind: message.kind().to_owned(),
            payload: message.encode(),
        };
        self.state.receive(message).await.unwrap();
    }

    /// One turn of the scheduler at `now`; returns how long it would sleep, in seconds.
    async fn turn(&mut self, now: &str) -> u64 {
        let settings = Arc::clone(&self.state.settings().borrow());
        let pause = turn(&self.state, host(), &settings, &mut self.marks, at(now)).await;
        pause.unwrap().as_secs()
    }

    /// As after a restart: what is known comes from the file.
    async fn restart(&mut self) {
        self.marks = self.state.marks().await.unwrap();
    }

    async fn fired(&self) -> Vec<String> {
        let records = self.state.load(0, 1000).await.unwrap();
        let fires = records.iter().filter(|record| record.kind == "schedule.fire");
        fires.map(|it| it.payload.parse::<Fire>().unwrap().scheduled_at.to_string()).collect()
    }

    async fn jobs(&self) -> Vec<JobId> {
        let entries = self.state.active_jobs().await.unwrap();
        entries.iter().map(crate::state::Entry::job_id).collect()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn host() -> HostId {
    HostId::from_uuid(Uuid::from_u128(1))
}

fn schedule_id() -> ScheduleId {
    ScheduleId::from_uuid(Uuid::from_u128(4))
}

fn config(groups: &[&str]) -> Message {
    let group = |name: &&str| {
        config::Group::new(
            (*name).to_owned(),
            RepositoryId::from_uuid(Uuid::from_u128(9)),
            vec![format!("/{name}")],
            vec![],
        )
    };
    Message::ConfigUpdate(config::Update {
        version: 1,
        host_name: "alpha".to_owned(),
        repositories: vec![],
        groups: groups.iter().map(group).collect(),
    })
}

fn schedules(version: i64, enabled: bool) -> Message {
    let schedule = Schedule { enabled, ..hourly() };
    Message::ScheduleSet(Set { version, schedules: vec![schedule] })
}

fn hourly() -> Schedule {
    Schedule {
        id: schedule_id(),
        cron_expr: "0 * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        enabled: true,
        source_groups: vec!["etc".to_owned(), "home".to_owned()],
        timing: Default::default(),
    }
}

#[tokio::test]
async fn a_slot_makes_its_jobs_without_asking_anybody() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.turn("2026-11-21T09:59:50Z").await, 10, "it sleeps until the slot");
    assert!(bench.fired().await.is_empty(), "a new schedule owes nothing");
    assert_eq!(bench.turn("2026-11-21T10:00:00Z").await, 30, "it looks at the clock in between");
    assert_eq!(bench.fired().await, ["2026-11-21T10:00:00Z"]);
    let slot = at("2026-11-21T10:00:00Z");
    let of = |index, group| JobId::of_slot_group(host(), schedule_id(), slot, 1, index, group);
    assert_eq!(bench.jobs().await, [of(0, "etc"), of(1, "home")]);
    bench.turn("2026-11-21T10:00:30Z").await;
    assert_eq!(bench.fired().await.len(), 1);
}

#[tokio::test]
async fn after_downtime_one_slot_is_made_up_for() {
    let mut bench = Bench::new().await;
    bench.turn("2026-11-21T09:30:00Z").await;
    bench.restart().await;
    bench.turn("2026-11-24T17:45:00Z").await;
    bench.restart().await;
    bench.turn("2026-11-24T17:46:00Z").await;
    assert_eq!(bench.fired().await, ["2026-11-24T17:00:00Z"]);
}

#[tokio::test]
async fn a_slot_that_fired_stays_fired_over_a_restart_and_a_clock_set_back() {
    let mut bench = Bench::new().await;
    bench.turn("2026-11-21T09:30:00Z").await;
    bench.turn("2026-11-21T10:00:01Z").await;
    bench.restart().await;
    bench.turn("2026-11-21T09:50:00Z").await;
    bench.turn("2026-11-21T10:00:01Z").await;
    assert_eq!(bench.fired().await, ["2026-11-21T10:00:00Z"]);
}

#[tokio::test]
async fn a_disabled_schedule_is_silent_and_owes_nothing_when_it_comes_back() {
    let mut bench = Bench::new().await;
    bench.turn("2026-11-21T09:30:00Z").await;
    bench.receive(&schedules(2, false)).await;
    bench.turn("2026-11-21T12:30:00Z").await;
    bench.receive(&schedules(3, true)).await;
    bench.turn("2026-11-21T13:30:00Z").await;
    assert!(bench.fired().await.is_empty());
    bench.turn("2026-11-21T14:00:00Z").await;
    assert_eq!(bench.fired().await, ["2026-11-21T14:00:00Z"]);
}

impl Bench {
    async fn with(timing: Timing) -> Self {
        let bench = Self::new().await;
        let schedule = Schedule { timing, ..hourly() };
        bench.receive(&Message::ScheduleSet(Set { version: 2, schedules: vec![schedule] })).await;
        bench
    }

    async fn told(&self) -> Vec<Fire> {
        let records = self.state.load(0, 10_000).await.unwrap();
        let fires = records.iter().filter(|record| record.kind == "schedule.fire");
        fires.map(|record| record.payload.parse().unwrap()).collect()
    }

    /// Ends whatever waits, so that the next slot finds nothing in its way.
    async fn end_jobs(&self) {
        for job_id in self.jobs().await {
            let finished = Finished {
                job_id,
                status: Status::Succeeded,
                exit_code: Some(0),
                finished_at: Timestamp::now(),
                snapshot_id: None,
                stats: None,
                error: None,
                next_try: None,
            };
            assert!(self.state.finish(finished).await.unwrap());
        }
    }
}

#[tokio::test]
async fn what_went_by_while_the_machine_was_off_is_counted() {
    let mut bench = Bench::new().await;
    bench.turn("2026-11-21T09:30:00Z").await;
    bench.turn("2026-11-21T14:10:00Z").await;
    let told = bench.told().await;
    assert_eq!((told.len(), told[0].missed, told[0].job_ids.len()), (1, 4, 2));
    assert_eq!(passed(&told[0])[0], ("2026-11-21T10:00:00Z".to_owned(), Skipped::MachineOff));
    assert_eq!(told[0].passed.len(), 4, "each is named");
    bench.end_jobs().await;
    bench.turn("2026-12-21T14:10:00Z").await;
    let told = bench.told().await;
    assert_eq!((told[1].missed, told[1].passed.len()), (30 * 24 - 1, PASSED_MAX));
    let newest = told[1].passed.last().unwrap();
    assert_eq!(newest.scheduled_at, at("2026-12-21T13:00:00Z"), "of many the newest are named");
}

fn passed(fire: &Fire) -> Vec<(String, Skipped)> {
    fire.passed.iter().map(|passed| (passed.scheduled_at.to_string(), passed.why)).collect()
}

#[tokio::test]
async fn a_schedule_that_does_not_catch_up_leaves_the_slot_out_and_says_so() {
    let mut bench = Bench::with(Timing { catch_up: false, ..Timing::default() }).await;
    bench.turn("2026-11-21T09:30:00Z").await;
    bench.turn("2026-11-21T14:30:00Z").await;
    let told = bench.told().await;
    assert_eq!((told[0].skipped, told[0].job_ids.len()), (Some(Skipped::MachineOff), 0));
    assert!(bench.jobs().await.is_empty());
    bench.turn("2026-11-21T15:00:01Z").await;
    assert_eq!(bench.jobs().await.len(), 2, "the next one is on time");
}

#[tokio::test]
async fn a_slot_whose_forerunner_still_runs_is_left_out_and_says_so() {
    let mut bench = Bench::new().await;
    bench.turn("2026-11-21T09:30:00Z").await;
    bench.turn("2026-11-21T10:00:00Z").await;
    bench.turn("2026-11-21T11:00:00Z").await;
    let told = bench.told().await;
    assert_eq!((told[1].skipped, told[1].job_ids.len()), (Some(Skipped::StillRunning), 0));
}

#[tokio::test]
async fn a_slot_waits_for_the_window_to_open_and_runs_once() {
    let window = Some(Window { from_minute: 22 * 60, until_minute: 6 * 60 });
    let mut bench = Bench::with(Timing { window, ..Timing::default() }).await;
    bench.turn("2026-11-21T05:30:00Z").await;
    bench.turn("2026-11-21T12:00:00Z").await;
    assert!(bench.told().await.is_empty());
    bench.turn("2026-11-21T22:00:00Z").await;
    assert_eq!(bench.fired().await, ["2026-11-21T22:00:00Z"]);
    let told = bench.told().await;
    assert_eq!(told[0].missed, 16, "those of the day went by");
    assert!(told[0].passed.iter().all(|passed| passed.why == Skipped::OutsideWindow), "{told:?}");
}

#[tokio::test]
async fn a_slot_in_the_open_window_is_told_from_one_outside_it() {
    let window = Some(Window { from_minute: 22 * 60, until_minute: 6 * 60 });
    let mut bench = Bench::with(Timing { window, ..Timing::default() }).await;
    bench.turn("2026-11-21T04:30:00Z").await;
    bench.restart().await;
    bench.turn("2026-11-21T22:00:00Z").await;
    let told = passed(&bench.told().await[0]);
    assert_eq!(told[0], ("2026-11-21T05:00:00Z".to_owned(), Skipped::MachineOff));
    assert_eq!(told[1], ("2026-11-21T06:00:00Z".to_owned(), Skipped::OutsideWindow));
}

#[tokio::test]
async fn jitter_moves_the_start_and_not_the_name_of_a_slot() {
    let mut bench = Bench::with(Timing { jitter_seconds: 1800, ..Timing::default() }).await;
    let schedule =
        Schedule { timing: Timing { jitter_seconds: 1800, ..Timing::default() }, ..hourly() };
    let by = schedule.timing.delay(host(), schedule.id);
    assert!(by > SignedDuration::ZERO && by <= SignedDuration::from_mins(30), "{by:?}");
    let slot = at("2026-11-21T10:00:00Z");
    bench.turn("2026-11-21T09:45:00Z").await;
    bench.turn(&(slot + by - SignedDuration::from_secs(1)).to_string()).await;
    assert!(bench.fired().await.is_empty());
    bench.turn(&(slot + by).to_string()).await;
    assert_eq!(bench.fired().await, ["2026-11-21T10:00:00Z"]);
    let others = (2..50).map(|number| HostId::from_uuid(Uuid::from_u128(number)));
    let spread: std::collections::BTreeSet<_> =
        others.map(|host| schedule.timing.delay(host, schedule.id).as_secs()).collect();
    assert!(spread.len() > 40, "hosts spread over the span: {spread:?}");
}

/// Thirty days over a change of the clocks, with a restart of the agent every day and never a word
/// from a server.
#[tokio::test]
async fn thirty_days_without_a_server_fire_every_slot_once() {
    let mut bench = Bench::new().await;
    let zoned = |number, cron: &str, zone: &str, jitter_seconds| Schedule {
        id: ScheduleId::from_uuid(Uuid::from_u128(number)),
        cron_expr: cron.to_owned(),
        time_zone: zone.to_owned(),
        enabled: true,
        source_groups: vec!["etc".to_owned()],
        timing: Timing { jitter_seconds, ..Timing::default() },
    };
    let schedules = vec![
        zoned(1, "0 * * * *", "UTC", 0),
        zoned(2, "30 2 * * *", "Europe/Berlin", 900),
        zoned(3, "15 4 * * 1", "America/New_York", 0),
    ];
    bench.receive(&Message::ScheduleSet(Set { version: 2, schedules })).await;
    let (from, until) = (at("2026-10-10T00:15:00Z"), at("2026-11-09T00:15:00Z"));
    let (mut now, mut day) = (from, 0);
    while now < until {
        let pause = bench.turn(&now.to_string()).await;
        bench.end_jobs().await;
        // The scheduler looks every half minute; nothing can come due before the pause is over, so
        // the days in between are passed over.
        now += SignedDuration::from_secs(i64::try_from(pause).unwrap().max(1))
            .max(if pause == 30 { SignedDuration::from_secs(300) } else { SignedDuration::ZERO });
        if now.duration_since(from).as_hours() / 24 > day {
            day += 1;
            bench.restart().await;
        }
    }
    let told = bench.told().await;
    let of = |number| {
        let id = ScheduleId::from_uuid(Uuid::from_u128(number));
        told.iter().filter(move |fire| fire.schedule_id == id)
    };
    assert_eq!(of(1).count(), 30 * 24);
    assert_eq!(of(2).count(), 30, "the night with 25 hours has one run");
    assert_eq!(of(3).count(), 4);
    let slots: std::collections::BTreeSet<_> =
        told.iter().map(|fire| (fire.schedule_id, fire.scheduled_at)).collect();
    let jobs: std::collections::BTreeSet<_> =
        told.iter().flat_map(|fire| fire.job_ids.clone()).collect();
    assert_eq!((slots.len(), jobs.len()), (754, 754), "no slot and no job comes twice");
    assert!(told.iter().all(|fire| fire.missed == 0 && fire.skipped.is_none()));
}
