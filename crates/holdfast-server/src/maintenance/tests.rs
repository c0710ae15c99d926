use std::num::NonZeroU32;

use holdfast_link::{Record, Store as _};
use holdfast_protocol::{
    Incarnation, Message, PROTOCOL_VERSION, Payload,
    message::{
        config::{Secret, Slot},
        job::{Finished, Operation, Started, Status},
        link::{Facts, Hello},
        parameters::Retention,
        snapshot::{Report, Snapshot},
    },
};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::{
    clock::Clock,
    fixtures,
    store::{Enrolment, HostStore, JobFilter, NewCredentials, NewMaintenance},
    view::{Cause, JobView, RepositoryDetailView},
};

/// A Thursday.
const BEGINNING: &str = "2026-03-05T00:00:00Z";

/// A repository that two hosts share, and a clock that is set by hand.
struct House {
    _dir: TempDir,
    clock: Clock,
    store: Store,
    live: Live,
    repository: RepositoryId,
    agents: Vec<Agent>,
}

/// An agent that does at once what it is told.
struct Agent {
    host: HostId,
    session: HostStore,
    told: u64,
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(BEGINNING.parse().unwrap());
        let store = Store::open_with(dir.path(), clock.clone()).await.unwrap();
        let live = Live::load(store.clone()).await.unwrap();
        let new = fixtures::repository("vault", "local", "/srv/vault");
        let repository = store.add_repository("ops", &new).await.unwrap();
        let mut agents = Vec::new();
        for name in ["web-1", "web-2"] {
            agents.push(Agent::enrol(&store, name, repository).await);
        }
        let house = Self { _dir: dir, clock, store, live, repository, agents };
        house.connect(0);
        house.connect(1);
        house
    }

    fn connect(&self, agent: usize) {
        self.live.connected(self.agents[agent].host, self.clock.now());
    }

    fn disconnect(&self, agent: usize) {
        let _ = self.live.disconnected(self.agents[agent].host);
    }

    async fn set(&self, operation: Operation, cron: &str) {
        self.set_plan(operation, NewMaintenance { cron: cron.to_owned(), ..plan() }).await;
    }

    async fn set_plan(&self, operation: Operation, plan: NewMaintenance) {
        let set = self.store.set_maintenance("ops", self.repository, operation, &plan);
        set.await.unwrap();
    }

    /// Says what is kept of the group of both hosts.
    async fn set_rules(&self) {
        let keep = Retention { keep_last: NonZeroU32::new(3), ..Retention::default() };
        for agent in &self.agents {
            let set = self.store.set_retention("ops", agent.host, "etc", Some(&keep));
            set.await.unwrap();
        }
    }

    /// Lets time pass until `until` without looking.
    fn sleep(&self, until: &str) {
        self.clock.set(until.parse().unwrap());
    }

    /// A look by a server that may have started a moment ago.
    async fn look(&self) {
        let hub = Hub::new(self.store.clone(), self.live.clone());
        let maintenance = Maintenance::new(self.store.clone(), self.live.clone(), hub);
        maintenance.look(self.clock.now()).await.unwrap();
        self.store.release_held().await.unwrap();
    }

    /// What was ordered, oldest first.
    async fn jobs(&self) -> Vec<JobView> {
        let filter = JobFilter { limit: 500, ..JobFilter::default() };
        let mut jobs = self.live.jobs(&filter).await.unwrap().jobs;
        jobs.reverse();
        jobs
    }

    async fn open(&self) -> Vec<JobView> {
        let jobs = self.jobs().await.into_iter();
        jobs.filter(|job| !job.status.is_terminal()).collect()
    }

    /// The agents do what they were told.
    async fn work(&mut self, status: Status, stats: Option<serde_json::Value>) {
        for job in self.open().await {
            let now = self.clock.now();
            let agent = self.agents.iter_mut().find(|agent| agent.host == job.host_id).unwrap();
            agent.run(&job, status, stats.clone(), now).await;
        }
    }

    async fn detail(&self) -> RepositoryDetailView {
        self.store.repository(self.repository).await.unwrap()
    }

    async fn waits(&self, operation: &str) -> Option<MaintenanceReason> {
        self.detail().await.maintenance[operation].waiting.as_ref().and_then(|it| it.reason)
    }
}

fn plan() -> NewMaintenance {
    NewMaintenance {
        cron: "0 6 * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        enabled: true,
        window: None,
        parameters: None,
    }
}

impl Agent {
    async fn enrol(store: &Store, name: &str, repository: RepositoryId) -> Self {
        let added = store.add_host("ops", name).await.unwrap();
        let group = fixtures::group("etc", repository);
        store.add_group("ops", added.host_id, &group).await.unwrap();
        let incarnation = Incarnation::from_uuid(Uuid::new_v4());
        let enrolment = Enrolment {
            token: added.enrolment_token,
            incarnation,
            hostname: name.to_owned(),
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            agent_version: "0.1.0".to_owned(),
        };
        store.enrol(&enrolment).await.unwrap();
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            incarnation,
            boot: 1,
            instance: None,
            epoch: 0,
            received: 0,
            oldest: 1,
            capabilities: vec![],
            facts: Facts::default(),
        };
        let opened = store.open_session(added.host_id, &hello).await.unwrap().unwrap();
        let session = HostStore::new(store.clone(), added.host_id, opened.epoch);
        Self { host: added.host_id, session, told: 0 }
    }

    async fn tell(&mut self, message: &Message, now: Timestamp) {
        self.told += 1;
        let (kind, payload) = (message.kind().to_owned(), message.encode());
        let record = Record { seq: self.told, ts: now, kind, payload };
        self.session.apply(vec![record]).await.unwrap();
    }

    async fn run(
        &mut self,
        job: &JobView,
        status: Status,
        stats: Option<serde_json::Value>,
        now: Timestamp,
    ) {
        let started = Started {
            job_id: job.id,
            operation: job.operation,
            started_at: now,
            attempt: 1,
            tag: String::new(),
            schedule_id: None,
            scheduled_at: None,
        };
        self.tell(&Message::JobStarted(started), now).await;
        let finished = Finished {
            job_id: job.id,
            status,
            exit_code: None,
            finished_at: now,
            snapshot_id: None,
            stats: stats.map(|stats| Payload::of(&stats)),
            error: None,
            next_try: None,
        };
        self.tell(&Message::JobFinished(finished), now).await;
    }

    async fn list(&mut self, repository: RepositoryId, snapshots: &[(&str, u64)], now: Timestamp) {
        let snapshot = |(id, size): &(&str, u64)| Snapshot {
            id: (*id).to_owned(),
            short_id: (*id).to_owned(),
            time: now,
            hostname: "web".to_owned(),
            paths: vec![],
            tags: vec!["etc".to_owned()],
            size_bytes: Some(*size),
            file_count: None,
        };
        let report = Report {
            repository_id: repository,
            report_id: Uuid::now_v7().to_string(),
            last: true,
            listed_at: now,
            snapshots: snapshots.iter().map(snapshot).collect(),
        };
        self.tell(&Message::SnapshotsReport(report), now).await;
    }
}

#[tokio::test]
async fn in_a_month_every_slot_is_kept_once_and_one_operation_at_a_time() {
    let mut house = House::new().await;
    house.set_rules().await;
    house.set(Operation::Forget, "0 6 * * *").await;
    house.set(Operation::Prune, "0 6 * * 0").await;
    house.set(Operation::Check, "0 6 1 * *").await;
    for half_hour in 1..=30 * 48_i64 {
        let start: Timestamp = BEGINNING.parse().unwrap();
        house.clock.set(start + SignedDuration::from_mins(30 * half_hour));
        house.look().await;
        assert!(house.open().await.len() <= 1, "{:?}", house.open().await);
        house.work(Status::Succeeded, None).await;
    }
    let jobs = house.jobs().await;
    let times = |operation| {
        let kept = jobs.iter().filter(move |job| job.operation == operation);
        kept.map(|job| job.created_at).collect::<Vec<_>>()
    };
    let counts = [Operation::Forget, Operation::Prune, Operation::Check].map(|it| times(it).len());
    assert_eq!(counts, [30, 4, 1]);
    assert!(jobs.iter().all(|job| job.cause == Cause::Maintenance));
    // On the first of April its turn came when forget had had its own.
    let check = times(Operation::Check)[0];
    assert_eq!(check, "2026-04-01T06:30:00Z".parse().unwrap());
    assert_eq!(times(Operation::Prune)[0], "2026-03-08T06:30:00Z".parse().unwrap());
    let detail = house.detail().await;
    assert_eq!(detail.maintenance["check"].last_ok_at, Some(check));
    assert_eq!(detail.lease, None);
}

#[tokio::test]
async fn what_was_due_while_the_server_was_away_is_made_up_for_once() {
    let mut house = House::new().await;
    house.set(Operation::Prune, "0 6 * * *").await;
    house.sleep("2026-03-09T13:00:00Z");
    house.look().await;
    let jobs = house.jobs().await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    house.work(Status::Failed, None).await;
    house.look().await;
    assert_eq!(house.jobs().await.len(), 1, "one that failed waits for its next slot");
    let plan = &house.detail().await.maintenance["prune"];
    assert_eq!((plan.last_job, plan.last_ok_at), (Some(jobs[0].id), None));
    assert_eq!(plan.next_at, Some("2026-03-10T06:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn what_no_host_can_do_now_waits_and_says_so() {
    let house = House::new().await;
    house.set(Operation::Check, "0 6 * * *").await;
    house.disconnect(0);
    house.disconnect(1);
    for day in 6..9 {
        house.sleep(&format!("2026-03-0{day}T07:00:00Z"));
        house.look().await;
    }
    assert_eq!(house.jobs().await, []);
    assert_eq!(house.waits("check").await, Some(MaintenanceReason::NoHostOnline));
    house.connect(1);
    house.look().await;
    let jobs = house.jobs().await;
    assert_eq!((jobs.len(), jobs[0].host_id), (1, house.agents[1].host), "once for all three");
    assert_eq!(house.waits("check").await, None);
}

#[tokio::test]
async fn only_the_host_that_may_delete_does_and_the_one_that_is_named_does_all() {
    let house = House::new().await;
    let admin = NewCredentials { password: Some(Secret::new("y")), ..NewCredentials::default() };
    house.store.set_credentials("ops", house.repository, Slot::Admin, &admin).await.unwrap();
    let [first, second] = [house.agents[0].host, house.agents[1].host];
    house.disconnect(0);
    let hosts = |operation| house.store.keepers(house.repository, operation);
    assert_eq!(hosts(Operation::Prune).await.unwrap(), [first]);
    assert_eq!(hosts(Operation::Check).await.unwrap(), [first, second]);
    house.set(Operation::Prune, "0 6 * * *").await;
    house.sleep("2026-03-06T07:00:00Z");
    house.look().await;
    assert_eq!(house.waits("prune").await, Some(MaintenanceReason::NoHostOnline));
    house.store.set_runner("ops", house.repository, Some(second)).await.unwrap();
    assert_eq!(hosts(Operation::Check).await.unwrap(), [second]);
    house.look().await;
    assert_eq!(house.jobs().await[0].host_id, second);
    let detail = house.detail().await;
    assert!(detail.has_admin_credentials && detail.runner.unwrap().named);
    assert_eq!(detail.lease.unwrap().operation, Operation::Prune);
}

#[tokio::test]
async fn a_slot_outside_its_window_waits_for_it() {
    let house = House::new().await;
    let window = Some(Window { from_minute: 22 * 60, until_minute: 4 * 60 });
    let zone = "Asia/Kolkata".to_owned();
    let late = NewMaintenance { window, time_zone: zone, ..plan() };
    house.set_plan(Operation::Check, late).await;
    house.sleep("2026-03-05T12:00:00Z");
    house.look().await;
    assert_eq!(house.waits("check").await, Some(MaintenanceReason::OutsideWindow));
    house.sleep("2026-03-05T16:29:00Z");
    house.look().await;
    assert_eq!(house.jobs().await, []);
    house.sleep("2026-03-05T16:30:00Z");
    house.look().await;
    assert_eq!(house.jobs().await.len(), 1, "it is 22:00 in Kolkata");
}

#[tokio::test]
async fn what_is_off_or_was_never_set_is_suggested_and_does_not_fire() {
    let house = House::new().await;
    house.set_plan(Operation::Prune, NewMaintenance { enabled: false, ..plan() }).await;
    house.sleep("2026-06-05T00:00:00Z");
    house.look().await;
    assert_eq!(house.jobs().await, []);
    let detail = house.detail().await;
    assert!(!detail.maintenance["prune"].suggested && detail.maintenance["forget"].suggested);
    assert!(detail.maintenance.values().all(|plan| !plan.enabled && plan.next_at.is_none()));
    for plan in detail.maintenance.values() {
        Calendar::parse(&plan.cron, &plan.time_zone, house.clock.now()).unwrap();
    }
}

#[tokio::test]
async fn a_plan_that_is_changed_owes_nothing_for_the_past() {
    let house = House::new().await;
    house.set(Operation::Check, "0 6 * * *").await;
    house.disconnect(0);
    house.disconnect(1);
    house.sleep("2026-03-05T07:00:00Z");
    house.look().await;
    house.set(Operation::Check, "0 5 * * *").await;
    house.connect(0);
    house.look().await;
    assert_eq!(house.jobs().await, []);
    house.sleep("2026-03-06T05:00:00Z");
    house.look().await;
    assert_eq!(house.jobs().await.len(), 1);
}

#[tokio::test]
async fn one_host_forgets_for_all_and_the_lists_of_the_others_follow() {
    let mut house = House::new().await;
    house.set(Operation::Forget, "0 6 * * *").await;
    house.sleep("2026-03-05T06:00:00Z");
    house.look().await;
    assert_eq!(house.jobs().await, [], "nobody says what to keep");
    house.set_rules().await;
    let (repository, now) = (house.repository, house.clock.now());
    house.agents[0].list(repository, &[("a1", 10), ("a2", 20)], now).await;
    house.agents[1].list(repository, &[("b1", 100), ("b2", 200)], now).await;
    assert_eq!(house.detail().await.repository.total_size_bytes, Some(330));

    house.sleep("2026-03-06T06:00:00Z");
    house.look().await;
    let jobs = house.jobs().await;
    let asked: serde_json::Value = jobs[0].parameters.as_ref().unwrap().parse().unwrap();
    let keep = json!({"keep_last": 3});
    let group = |host| json!({"host": host, "tag": "etc", "keep": keep});
    assert_eq!(asked["which"], json!({"groups": [group("web-1"), group("web-2")]}));
    let gone = json!({"snapshot_id": "b1", "time": BEGINNING});
    let told = json!({"dry_run": false, "kept_count": 3, "removed_count": 1,
        "groups": [{"host": "web-2", "tags": ["etc"], "keep": [], "remove": [gone]}]});
    house.work(Status::Succeeded, Some(told)).await;
    let left = house.store.snapshots(house.agents[1].host).await.unwrap();
    assert_eq!(left.len(), 1);
    let detail = house.detail().await;
    assert_eq!(detail.repository.total_size_bytes, Some(230));
    assert_eq!(detail.repository.snapshot_count, Some(3));
    let sizes: Vec<u64> = detail.sizes.iter().map(|point| point.total_size_bytes).collect();
    assert_eq!(sizes, [330, 230], "by the hour");
}

#[tokio::test]
async fn sizes_that_were_measured_move_with_what_is_added_and_freed() {
    let mut house = House::new().await;
    let (repository, host) = (house.repository, house.agents[0].host);
    let ask = async |house: &mut House, operation, parameters: serde_json::Value, stats| {
        let mut fields = parameters;
        fields["kind"] = json!(operation);
        let order = crate::store::Order {
            repository: Some(repository),
            parameters: serde_json::from_value(fields).unwrap(),
            ..crate::store::Order::new(operation)
        };
        house.store.create_job("ops", host, &order).await.unwrap();
        house.work(Status::Succeeded, Some(stats)).await;
        house.detail().await.raw_size_bytes
    };
    let stats = json!({"total_size_bytes": 1000, "snapshot_count": 4});
    let measured = ask(&mut house, Operation::Stats, json!({"mode": "raw_data"}), stats).await;
    assert_eq!(measured, Some(1000));
    house.store.create_backup("ops", host, "etc").await.unwrap();
    house.work(Status::Succeeded, Some(json!({"data_added": 90, "data_added_packed": 40}))).await;
    assert_eq!(house.detail().await.raw_size_bytes, Some(1040));
    let pruned = json!({"dry_run": true, "remaining_bytes": 1});
    let tried = ask(&mut house, Operation::Prune, json!({"dry_run": true}), pruned).await;
    assert_eq!(tried, Some(1040), "a try changes nothing");
    let pruned = json!({"dry_run": false, "remaining_bytes": 700});
    assert_eq!(ask(&mut house, Operation::Prune, json!({}), pruned).await, Some(700));
    let prune = &house.detail().await.maintenance["prune"];
    assert!(prune.last_ok_at.is_some() && prune.last_job.is_some());
}

#[tokio::test]
async fn old_hours_are_thinned_out_to_days() {
    let mut house = House::new().await;
    let repository = house.repository;
    for hour in 0..72 {
        let start: Timestamp = BEGINNING.parse().unwrap();
        let now = start + SignedDuration::from_hours(hour);
        house.clock.set(now);
        house.agents[0].list(repository, &[("a1", 10)], now).await;
    }
    assert_eq!(house.detail().await.sizes.len(), 72);
    house.sleep("2026-03-13T12:00:00Z");
    house.store.prune_sizes(house.clock.now()).await.unwrap();
    assert_eq!(house.detail().await.sizes.len(), 1 + 12 + 24, "a day, and what is a week old");
    house.sleep("2029-03-13T12:00:00Z");
    house.store.prune_sizes(house.clock.now()).await.unwrap();
    assert_eq!(house.detail().await.sizes.len(), 0);
}
