//! The live view: a snapshot and every update after it.

use holdfast_link::Store as _;
use holdfast_protocol::{Message, message::job::Status};
use holdfast_server::{
    live::{Live, Subscription},
    store::NewSchedule,
    verdict::{Cause, Standing},
    view::{HostState, ObjectiveSource},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::fleet::{self, Fleet, TestHost, eventually, finished, progress, record, started};

/// A live view that keeps itself up to date, until the guard is dropped.
async fn running(fleet: &Fleet) -> (Live, tokio_util::sync::DropGuard) {
    let live = fleet.live().await;
    let stop = CancellationToken::new();
    tokio::spawn(live.clone().run(stop.clone()));
    (live, stop.drop_guard())
}

async fn next(subscription: &mut Subscription) -> Value {
    let limit = std::time::Duration::from_secs(10);
    let text = tokio::time::timeout(limit, subscription.next()).await.unwrap().unwrap();
    serde_json::from_str(text.as_str()).unwrap()
}

/// Reads on until an update fits.
async fn next_where(subscription: &mut Subscription, fits: impl Fn(&Value) -> bool) -> Value {
    loop {
        let update = next(subscription).await;
        if fits(&update) {
            return update;
        }
    }
}

#[tokio::test]
async fn a_subscriber_sees_a_job_from_order_to_end_with_rising_revisions() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let (live, _guard) = running(&fleet).await;
    let mut subscription = live.subscribe();
    let snapshot = next(&mut subscription).await;
    assert_eq!(snapshot["kind"], "snapshot");
    assert_eq!(snapshot["hosts"][0]["name"], "web-1");
    assert_eq!(snapshot["hosts"][0]["state"], "offline");
    let mut rev = snapshot["rev"].as_u64().unwrap();

    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let status = |word: &'static str| {
        move |update: &Value| update["kind"] == "job" && update["job"]["status"] == word
    };
    let queued = next_where(&mut subscription, status("queued")).await;
    assert_eq!(queued["job"]["id"], job.to_string());
    session.apply(vec![record(1, &started(job))]).await.unwrap();
    next_where(&mut subscription, status("running")).await;
    session.receive(progress(job, 0.5)).await.unwrap();
    let update = next_where(&mut subscription, |update| update["kind"] == "job.progress").await;
    assert_eq!(update["progress"]["percent_done"], 0.5);
    session.apply(vec![record(2, &finished(job, Status::Succeeded))]).await.unwrap();
    let ended = next_where(&mut subscription, |update| {
        assert!(update["rev"].as_u64().unwrap() > rev, "revisions rise");
        status("succeeded")(update)
    });
    let ended = ended.await;
    assert!(ended["job"].get("progress").is_none(), "an ended job has no progress");
    rev = ended["rev"].as_u64().unwrap();
    let again = next(&mut live.subscribe()).await;
    assert!(again["rev"].as_u64().unwrap() >= rev);
    assert_eq!(again["jobs"][0]["status"], "succeeded");
}

#[tokio::test]
async fn a_large_fleet_is_told_in_parts_and_in_brief() {
    let fleet = Fleet::new().await;
    fleet.host("web-1").await;
    for number in 0..600 {
        fleet.store.add_host("ops", &format!("db-{number:03}")).await.unwrap();
    }
    let (live, _guard) = running(&fleet).await;
    let mut subscription = live.subscribe();
    let part = next(&mut subscription).await;
    assert_eq!((&part["kind"], &part["number"]), (&"snapshot.part".into(), &1.into()));
    let snapshot = next(&mut subscription).await;
    assert_eq!((&snapshot["kind"], &snapshot["parts"]), (&"snapshot".into(), &1.into()));
    let hosts =
        [&part, &snapshot].map(|told| told["hosts"].as_array().unwrap().as_slice()).concat();
    let names: Vec<&str> = hosts.iter().map(|host| host["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), names[0], names[600]), (601, "db-000", "web-1"));
    assert!(names.is_sorted(), "by name");
    let group = &hosts[600]["groups"][0];
    assert_eq!((&group["name"], &group["verdict"]["standing"]), (&"etc".into(), &"never".into()));
    assert!(group.get("includes").is_none(), "{group}");
    assert!(hosts[600].get("capabilities").is_none(), "of our own agents that goes without saying");

    // What is not told in brief is told to have changed.
    let id = hosts[600]["id"].as_str().unwrap().parse().unwrap();
    fleet.store.set_objective("ops", id, "etc", Some(36_000)).await.unwrap();
    let update = next_where(&mut subscription, |update| update["kind"] == "host").await;
    assert_eq!(update["host"]["name"], "web-1");
}

#[tokio::test]
async fn progress_is_conflated_and_never_of_another_hosts_job() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let other = fleet.host("web-2").await;
    let (live, _guard) = running(&fleet).await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let stranger = fleet.session(&other, 1).await;
    session.apply(vec![record(1, &started(job))]).await.unwrap();
    let mut subscription = live.subscribe();
    eventually(async || {
        let view = live.job(job).await.unwrap();
        (view.status == Status::Running).then_some(())
    })
    .await;
    for step in 1..=100 {
        stranger.receive(progress(job, 0.99)).await.unwrap();
        session.receive(progress(job, f64::from(step) / 100.0)).await.unwrap();
    }
    let mut told = 0;
    loop {
        let is_progress = |update: &Value| update["kind"] == "job.progress";
        let update = next_where(&mut subscription, is_progress).await;
        told += 1;
        if update["progress"]["percent_done"] == 1.0 {
            break;
        }
    }
    assert!(told <= 4, "{told} updates for a hundred reports");
}

#[tokio::test]
async fn a_host_shows_its_groups_its_last_backup_and_when_the_next_is_due() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let nightly = NewSchedule {
        cron: "0 3 * * *".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        enabled: true,
        timing: Default::default(),
    };
    fleet.store.set_schedule("ops", host.id, "etc", &nightly).await.unwrap();
    let live = fleet.live().await;
    assert_eq!(live.overview().await.unwrap().never, 1);

    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let story = [started(job), finished(job, Status::Succeeded)];
    let records = story.iter().zip(1..).map(|(message, seq)| record(seq, message));
    session.apply(records.collect()).await.unwrap();

    let view = live.host(host.id).await.unwrap();
    assert_eq!(view.state, HostState::Offline);
    let schedule = view.groups[0].schedule.as_ref().unwrap();
    assert_eq!(schedule.in_words, "At 03:00.");
    assert_eq!(view.next_backup_at, schedule.next_at);
    assert!(view.next_backup_at.unwrap() > jiff::Timestamp::now());
    assert_eq!(view.last_backup.unwrap().job_id, job);
}

/// The standing of the host's one group.
async fn standing(live: &Live, host: &TestHost) -> (Standing, Vec<Cause>) {
    let view = live.host(host.id).await.unwrap();
    assert_eq!(view.verdict.standing, view.groups[0].verdict.standing);
    let causes = view.verdict.reasons.iter().map(|reason| reason.code).collect();
    (view.verdict.standing, causes)
}

#[tokio::test]
async fn a_host_is_protected_only_once_its_snapshot_was_seen_in_the_repository() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let live = fleet.live().await;
    assert_eq!(standing(&live, &host).await, (Standing::Never, vec![Cause::NoBackup]));

    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let end = finished(job, Status::Succeeded);
    session.apply(vec![record(1, &started(job)), record(2, &end)]).await.unwrap();
    assert_eq!(standing(&live, &host).await, (Standing::AtRisk, vec![Cause::SnapshotUnseen]));

    session.apply(vec![record(3, &fleet::listing(&host, "abc123"))]).await.unwrap();
    assert_eq!(standing(&live, &host).await, (Standing::Protected, vec![]));
    let overview = live.overview().await.unwrap();
    assert_eq!((overview.hosts_total, overview.protected, overview.never), (1, 1, 0));

    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let records = vec![record(4, &started(job)), record(5, &finished(job, Status::Failed))];
    session.apply(records).await.unwrap();
    assert_eq!(standing(&live, &host).await, (Standing::AtRisk, vec![Cause::Failed]));
    assert_eq!(live.overview().await.unwrap().at_risk, 1);
}

#[tokio::test]
async fn a_job_that_lies_about_its_snapshot_is_found_out_by_the_list() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let live = fleet.live().await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let end = finished(job, Status::Succeeded);
    let Message::SnapshotsReport(mut list) = fleet::listing(&host, "abc123") else { panic!() };
    list.snapshots[0].tags = vec!["other".to_owned(), "e_c".to_owned()];
    let list = Message::SnapshotsReport(list);
    let story = [started(job), end, list];
    let records = story.iter().zip(1..).map(|(message, seq)| record(seq, message));
    session.apply(records.collect()).await.unwrap();
    assert_eq!(standing(&live, &host).await, (Standing::Never, vec![Cause::SnapshotMissing]));
}

#[tokio::test]
async fn the_objective_follows_the_schedule_until_somebody_sets_it() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let live = fleet.live().await;
    let objective = async || {
        let group = live.host(host.id).await.unwrap().groups.remove(0);
        (group.objective_seconds / 3600, group.objective_source)
    };
    assert_eq!(objective().await, (168, ObjectiveSource::Default));
    let daily = NewSchedule {
        cron: "0 3 * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        enabled: true,
        timing: Default::default(),
    };
    fleet.store.set_schedule("ops", host.id, "etc", &daily).await.unwrap();
    assert_eq!(objective().await, (26, ObjectiveSource::Schedule));
    fleet.store.set_objective("ops", host.id, "etc", Some(36_000)).await.unwrap();
    assert_eq!(objective().await, (10, ObjectiveSource::Set));
    fleet.store.set_objective("ops", host.id, "etc", None).await.unwrap();
    assert_eq!(objective().await, (26, ObjectiveSource::Schedule));
    let off = NewSchedule { enabled: false, ..daily };
    fleet.store.set_schedule("ops", host.id, "etc", &off).await.unwrap();
    assert_eq!(standing(&live, &host).await, (Standing::Paused, vec![Cause::Paused]));
}
