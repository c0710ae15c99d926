use holdfast_protocol::{
    HostId, JobId, Message,
    dialect::Dialect,
    message::{
        config::Secret,
        job::{Finished, Operation, Started, Status},
        schedule::{Timing, Window},
    },
};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::{
    clock::Clock,
    fixtures,
    hub::desk::Desk,
    store::{EvaluationFilter, JobFilter, NewForeignHost, NewSchedule},
    view::{Cause, JobView},
    watch::{Outcome, Reason, Watch},
};

const BEGINNING: &str = "2026-03-05T00:30:00Z";

/// A host of another system with a group that is due every hour, and a clock that is set by hand.
struct House {
    _dir: TempDir,
    clock: Clock,
    store: Store,
    live: Live,
    hub: Hub,
    host: HostId,
}

impl House {
    async fn new(dialect: Dialect, timing: Timing) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(BEGINNING.parse().unwrap());
        let store = Store::open_with(dir.path(), clock.clone()).await.unwrap();
        let live = Live::load(store.clone()).await.unwrap();
        let hub = Hub::new(store.clone(), live.clone());
        let host = add(&store, dialect).await;
        let schedule = NewSchedule {
            cron: "0 * * * *".to_owned(),
            time_zone: "UTC".to_owned(),
            enabled: true,
            timing,
        };
        store.set_schedule("ops", host, "home", &schedule).await.unwrap();
        Self { _dir: dir, clock, store, live, hub, host }
    }

    async fn connect(&self) -> Desk {
        self.hub.open_desk(self.host).await.unwrap()
    }

    /// Sets the clock, and lets the server look twice.
    async fn at(&self, time: &str) {
        self.clock.set(time.parse().unwrap());
        let since = BEGINNING.parse().unwrap();
        for _ in 0..2 {
            let watch = Watch::new(self.store.clone(), self.live.clone(), since);
            watch.look(self.clock.now()).await.unwrap();
            let firing = Firing::new(self.store.clone(), self.live.clone(), self.hub.clone());
            firing.look(self.clock.now()).await.unwrap();
        }
    }

    /// What was ordered or begun, oldest first.
    async fn runs(&self) -> Vec<JobView> {
        let filter = JobFilter { limit: 500, ..JobFilter::default() };
        let jobs = self.live.jobs(&filter).await.unwrap().jobs;
        jobs.into_iter().rev().filter(|job| job.status != Status::Missed).collect()
    }

    async fn outcomes(&self) -> Vec<(Outcome, Option<Reason>)> {
        let filter = EvaluationFilter { limit: 100, ..EvaluationFilter::default() };
        let told = self.store.evaluations(self.host, &filter).await.unwrap();
        told.iter().rev().map(|told| (told.outcome, told.reason)).collect()
    }

    fn started(&self, job_id: JobId) -> Message {
        Message::JobStarted(Started {
            job_id,
            operation: Operation::Backup,
            started_at: self.clock.now(),
            attempt: 1,
            tag: "home".to_owned(),
            schedule_id: None,
            scheduled_at: None,
        })
    }

    fn ended(&self, job_id: JobId) -> Message {
        Message::JobFinished(Finished {
            job_id,
            status: Status::Succeeded,
            exit_code: None,
            finished_at: self.clock.now(),
            snapshot_id: None,
            stats: None,
            error: None,
            next_try: None,
        })
    }
}

async fn add(store: &Store, dialect: Dialect) -> HostId {
    let new = fixtures::repository("vault", "local", "/srv/vault");
    let repository_id = store.add_repository("ops", &new).await.unwrap();
    let host = NewForeignHost {
        name: "nas".to_owned(),
        dialect,
        address: String::new(),
        address_token: Secret::new(""),
    };
    let added = store.add_foreign_host("ops", &host).await.unwrap();
    let group = fixtures::group("home", repository_id);
    store.add_group("ops", added.host_id, &group).await.unwrap();
    added.host_id
}

#[tokio::test]
async fn a_slot_that_an_agent_leaves_to_its_server_is_fired_once() {
    let house = House::new(Dialect::Nerdbackup, Timing::default()).await;
    let mut desk = house.connect().await;
    house.at("2026-03-05T01:00:30Z").await;
    assert_eq!(house.runs().await, [], "the agent may begin by itself");
    house.at("2026-03-05T01:01:00Z").await;
    house.at("2026-03-05T01:01:30Z").await;
    let runs = house.runs().await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!((runs[0].cause, runs[0].status), (Cause::Schedule, Status::Queued));
    desk.hear(house.started(runs[0].id)).await.unwrap();
    desk.hear(house.ended(runs[0].id)).await.unwrap();
    house.at("2026-03-05T01:40:00Z").await;
    assert_eq!(house.outcomes().await, [(Outcome::Fired, None)]);
    assert_eq!(house.runs().await.len(), 1);
}

#[tokio::test]
async fn of_what_went_by_while_the_host_was_away_the_latest_is_made_up_for() {
    let house = House::new(Dialect::Backupy, Timing::default()).await;
    for hour in 1..=4 {
        house.at(&format!("2026-03-05T0{hour}:20:00Z")).await;
    }
    assert_eq!(house.runs().await, []);
    assert!(house.outcomes().await.iter().all(|(outcome, _)| *outcome == Outcome::Missed));
    let _desk = house.connect().await;
    house.at("2026-03-05T04:30:00Z").await;
    house.at("2026-03-05T04:31:00Z").await;
    let runs = house.runs().await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    let made_up = (Outcome::CaughtUp, Some(Reason::MadeUpLater));
    let wanted = [made_up, made_up, made_up, (Outcome::CaughtUp, None)];
    assert_eq!(house.outcomes().await, wanted);
}

#[tokio::test]
async fn an_agent_that_began_by_itself_is_not_told_to_begin_again() {
    let house = House::new(Dialect::Nerdbackup, Timing::default()).await;
    let mut desk = house.connect().await;
    house.at("2026-03-05T01:00:05Z").await;
    let own = JobId::from_uuid(Uuid::now_v7());
    desk.hear(house.started(own)).await.unwrap();
    house.at("2026-03-05T01:02:00Z").await;
    let runs = house.runs().await;
    assert_eq!(runs.iter().map(|job| job.id).collect::<Vec<_>>(), [own]);
    desk.hear(house.ended(own)).await.unwrap();
    house.at("2026-03-05T01:40:00Z").await;
    assert_eq!(house.outcomes().await, [(Outcome::Fired, None)]);
    house.at("2026-03-05T02:02:00Z").await;
    assert_eq!(house.runs().await.len(), 2, "the next slot is another");
}

#[tokio::test]
async fn a_slot_waits_for_a_run_that_a_person_began() {
    let house = House::new(Dialect::Nerdbackup, Timing::default()).await;
    let mut desk = house.connect().await;
    house.clock.set("2026-03-05T00:58:00Z".parse().unwrap());
    let job = house.store.create_backup("ops", house.host, "home").await.unwrap();
    desk.hear(house.started(job)).await.unwrap();
    house.at("2026-03-05T01:30:00Z").await;
    assert_eq!(house.runs().await.len(), 1);
    desk.hear(house.ended(job)).await.unwrap();
    house.at("2026-03-05T01:31:00Z").await;
    assert_eq!(house.runs().await.len(), 2);
}

#[tokio::test]
async fn a_window_and_the_wish_for_no_late_runs_are_kept() {
    let window = Window { from_minute: 3 * 60, until_minute: 5 * 60 };
    let house =
        House::new(Dialect::Nerdbackup, Timing { window: Some(window), ..Timing::default() }).await;
    let _desk = house.connect().await;
    house.at("2026-03-05T01:05:00Z").await;
    assert_eq!(house.runs().await, []);
    house.at("2026-03-05T03:00:00Z").await;
    assert_eq!(house.runs().await.len(), 1, "what waited for the window");

    let punctual = Timing { catch_up: false, ..Timing::default() };
    let house = House::new(Dialect::Nerdbackup, punctual).await;
    house.at("2026-03-05T01:30:00Z").await;
    let _desk = house.connect().await;
    house.at("2026-03-05T01:40:00Z").await;
    assert_eq!(house.runs().await, []);
    house.at("2026-03-05T02:02:00Z").await;
    assert_eq!(house.runs().await.len(), 1);
}

#[tokio::test]
async fn an_agent_that_fires_by_itself_is_left_alone() {
    let house = House::new(Dialect::Envelope, Timing::default()).await;
    let _desk = house.connect().await;
    house.at("2026-03-05T01:05:00Z").await;
    assert_eq!(house.runs().await, []);
}
