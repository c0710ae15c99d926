use holdfast_link::{Store, Unsequenced};
use holdfast_protocol::{
    JobId, Message, RepositoryId,
    message::{
        config,
        schedule::{Fire, Set},
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
    let schedule = Schedule {
        id: schedule_id(),
        cron_expr: "0 * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        enabled,
        source_groups: vec!["etc".to_owned(), "home".to_owned()],
        timing: Default::default(),
    };
    Message::ScheduleSet(Set { version, schedules: vec![schedule] })
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
