//! How repositories are kept, from the agents' words to the verdict.

use holdfast_link::Store as _;
use holdfast_protocol::{
    Message, Payload,
    message::{
        job::{Finished, Operation, Status},
        outbox::Reset,
        result::Forgotten,
        snapshot::{RepoStats, Room},
    },
};
use holdfast_server::{
    alert::{Alarm, Rule},
    clock::Clock,
    store::{AlertFilter, HostStore, NewMaintenance, Order},
    verdict::Cause,
};
use jiff::Timestamp;

use crate::fleet::{Fleet, TestHost, finished, record, started};

struct Keeper {
    fleet: Fleet,
    host: TestHost,
    session: HostStore,
    seq: u64,
}

impl Keeper {
    async fn new() -> Self {
        Self::on(Clock::real()).await
    }

    async fn on(clock: Clock) -> Self {
        let fleet = Fleet::on(clock).await;
        let host = fleet.host("web-1").await;
        // Another host that uses the same repository.
        fleet.host("web-2").await;
        let session = fleet.session(&host, 1).await;
        Self { fleet, host, session, seq: 0 }
    }

    async fn says(&mut self, messages: &[Message]) {
        for message in messages {
            self.seq += 1;
            self.session.apply(vec![record(self.seq, message)]).await.unwrap();
        }
    }

    async fn runs(&mut self, operation: Operation, status: Status, stats: Option<Payload>) {
        let order = Order::new(operation);
        let ordered = self.fleet.store.create_job("ops", self.host.id, &order).await.unwrap();
        let Message::JobFinished(end) = finished(ordered.job_id, status) else { panic!() };
        let end = Message::JobFinished(Finished { stats, ..end });
        self.says(&[started(ordered.job_id), end]).await;
    }

    /// What is wrong with the repository of each host.
    async fn causes(&self) -> Vec<Vec<Cause>> {
        let hosts = self.fleet.live().await.hosts().await;
        let of_host = |host: &holdfast_server::view::HostView| {
            let causes = host.verdict.reasons.iter().map(|reason| reason.code);
            let theirs = [Cause::CheckFailed, Cause::PruneOverdue, Cause::StorageLow];
            causes.filter(|cause| theirs.contains(cause)).collect()
        };
        hosts.iter().map(of_host).collect()
    }
}

#[tokio::test]
async fn a_failed_check_endangers_all_who_use_the_repository_until_one_passes() {
    let mut keeper = Keeper::new().await;
    keeper.runs(Operation::Check, Status::Failed, None).await;
    assert_eq!(keeper.causes().await, [[Cause::CheckFailed], [Cause::CheckFailed]]);
    // One that was cut off says nothing about the repository.
    keeper.runs(Operation::Check, Status::Interrupted, None).await;
    assert_eq!(keeper.causes().await, [[Cause::CheckFailed], [Cause::CheckFailed]]);
    keeper.runs(Operation::Check, Status::Succeeded, None).await;
    assert_eq!(keeper.causes().await, [[], []]);
}

#[tokio::test]
async fn what_was_forgotten_must_be_pruned_within_weeks() {
    let clock = Clock::manual(Timestamp::now());
    let mut keeper = Keeper::on(clock.clone()).await;
    let forgot = |dry_run, removed_count| {
        let none = Vec::new();
        let told = Forgotten { dry_run, kept_count: 3, removed_count, groups: none, omitted: 0 };
        Some(Payload::of(&told))
    };
    keeper.runs(Operation::Forget, Status::Succeeded, forgot(true, 4)).await;
    keeper.runs(Operation::Forget, Status::Succeeded, forgot(false, 0)).await;
    clock.set(clock.now() + jiff::SignedDuration::from_hours(36 * 24));
    assert_eq!(keeper.causes().await, [[], []], "nothing was forgotten");
    keeper.runs(Operation::Forget, Status::Succeeded, forgot(false, 4)).await;
    assert_eq!(keeper.causes().await, [[], []], "there is time");
    clock.set(clock.now() + jiff::SignedDuration::from_hours(36 * 24));
    assert_eq!(keeper.causes().await, [[Cause::PruneOverdue], [Cause::PruneOverdue]]);
    keeper.runs(Operation::Prune, Status::Succeeded, None).await;
    assert_eq!(keeper.causes().await, [[], []]);
}

#[tokio::test]
async fn a_repository_that_is_pruned_at_a_cadence_must_be_pruned_by_it() {
    let clock = Clock::manual("2026-11-21T12:00:00Z".parse().unwrap());
    let mut keeper = Keeper::on(clock.clone()).await;
    let told = Forgotten {
        dry_run: false,
        kept_count: 3,
        removed_count: 4,
        groups: Vec::new(),
        omitted: 0,
    };
    keeper.runs(Operation::Forget, Status::Succeeded, Some(Payload::of(&told))).await;
    let plan = |cron: &str, enabled| NewMaintenance {
        cron: cron.to_owned(),
        time_zone: "UTC".to_owned(),
        enabled,
        window: None,
        parameters: None,
    };
    let (store, repository) = (keeper.fleet.store.clone(), keeper.host.repository);
    let set = async |plan: NewMaintenance| {
        store.set_maintenance("ops", repository, Operation::Prune, &plan).await.unwrap();
    };
    // Every Sunday: tomorrow, and a day's grace.
    set(plan("0 4 * * 0", true)).await;
    clock.set("2026-11-23T03:59:00Z".parse().unwrap());
    assert_eq!(keeper.causes().await, [[], []], "there is time");
    clock.set("2026-11-23T04:01:00Z".parse().unwrap());
    assert_eq!(keeper.causes().await, [[Cause::PruneOverdue], [Cause::PruneOverdue]]);
    // A plan that is switched off promises nothing, and one that comes twice a year is in time.
    set(plan("0 4 * * 0", false)).await;
    assert_eq!(keeper.causes().await, [[], []]);
    set(plan("0 4 1 1,7 *", true)).await;
    clock.set("2026-12-31T04:00:00Z".parse().unwrap());
    assert_eq!(keeper.causes().await, [[], []]);
    clock.set("2027-01-02T04:01:00Z".parse().unwrap());
    assert_eq!(keeper.causes().await, [[Cause::PruneOverdue], [Cause::PruneOverdue]]);
    keeper.runs(Operation::Prune, Status::Succeeded, None).await;
    assert_eq!(keeper.causes().await, [[], []]);
}

#[tokio::test]
async fn a_disk_that_fills_endangers_the_host_it_is_in() {
    let mut keeper = Keeper::new().await;
    let room = |free_bytes| {
        Message::RepoStats(RepoStats {
            repository_id: keeper.host.repository,
            total_size_bytes: None,
            raw_size_bytes: None,
            snapshot_count: None,
            room: Some(Room { free_bytes, capacity_bytes: 1000 }),
        })
    };
    let (low, enough) = (room(99), room(100));
    keeper.says(&[low]).await;
    assert_eq!(keeper.causes().await, [vec![Cause::StorageLow], vec![]]);
    keeper.says(&[enough]).await;
    assert_eq!(keeper.causes().await, [[], []]);
}

#[tokio::test]
async fn an_agent_that_lost_its_outbox_is_told_of() {
    let mut keeper = Keeper::new().await;
    let reset = Reset { reset_at: Timestamp::UNIX_EPOCH, kept_as: None };
    keeper.says(&[Message::OutboxReset(reset)]).await;
    let store = &keeper.fleet.store;
    let alarm = Alarm::new(store.clone(), keeper.fleet.live().await, store.now());
    alarm.look(store.now()).await.unwrap();
    let filter = AlertFilter { limit: 10, ..AlertFilter::default() };
    let alerts = store.alerts(&filter, store.now()).await.unwrap().alerts;
    let told: Vec<_> = alerts.iter().map(|alert| (alert.rule, alert.title.as_str())).collect();
    assert_eq!(told, [(Rule::OutboxReset, "What web-1 told may have a gap.")]);
    assert_eq!(store.dead_letter_count(keeper.host.id).await.unwrap(), 0);
}
