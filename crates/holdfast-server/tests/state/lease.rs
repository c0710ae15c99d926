//! Who waits for whom on a repository that several hosts share.

use holdfast_link::Store as _;
use holdfast_protocol::{
    JobId, Message,
    message::{
        command,
        config::{Secret, Slot},
        job::{Operation, Status},
        parameters::{Parameters, Prune},
    },
};
use holdfast_server::store::{Cancelled, HostStore, JobFilter, NewCredentials, NewLocation, Order};

use crate::fleet::{Fleet, TestHost, finished, record, started};

async fn prune(fleet: &Fleet, host: &TestHost) -> JobId {
    let order = Order {
        repository: Some(host.repository),
        parameters: Some(Parameters::Prune(Prune::default())),
        ..Order::new(Operation::Prune)
    };
    fleet.store.create_job("ops", host.id, &order).await.unwrap().job_id
}

async fn backup(fleet: &Fleet, host: &TestHost) -> JobId {
    fleet.store.create_backup("ops", host.id, "etc").await.unwrap()
}

/// How many commands the host's agent has been sent.
async fn sent(session: &HostStore) -> usize {
    session.load(0, 100).await.unwrap().len()
}

/// Whether the first backup that the host's agent was sent may make the repository.
async fn may_create(session: &HostStore) -> Option<bool> {
    let sent = session.load(0, 100).await.unwrap();
    let run: command::Run = sent[0].payload.parse().unwrap();
    run.may_create
}

/// Tells that the job ran to its end, in two records from `seq` on.
async fn run(session: &HostStore, seq: u64, job: JobId) {
    let end: Message = finished(job, Status::Succeeded);
    session.apply(vec![record(seq, &started(job)), record(seq + 1, &end)]).await.unwrap();
}

#[tokio::test]
async fn the_first_backup_into_a_repository_goes_alone() {
    let fleet = Fleet::new().await;
    let (one, two) = (fleet.host("web-1").await, fleet.host("web-2").await);
    let (first, second) = (fleet.session(&one, 1).await, fleet.session(&two, 1).await);
    let job = backup(&fleet, &one).await;
    backup(&fleet, &two).await;
    assert_eq!((sent(&first).await, sent(&second).await), (1, 0));
    assert_eq!(may_create(&first).await, Some(true));
    assert!(fleet.store.release_held().await.unwrap().is_empty());
    run(&first, 1, job).await;
    assert_eq!(fleet.store.release_held().await.unwrap(), [two.id]);
    assert_eq!(sent(&second).await, 1);
    assert_eq!(may_create(&second).await, Some(false), "it is there, or something is wrong");
    // From now on backups go side by side.
    backup(&fleet, &one).await;
    assert_eq!(sent(&first).await, 2);
}

#[tokio::test]
async fn a_prune_waits_for_backups_and_those_that_come_later_for_it() {
    let fleet = Fleet::new().await;
    let (one, two) = (fleet.host("web-1").await, fleet.host("web-2").await);
    let (first, second) = (fleet.session(&one, 1).await, fleet.session(&two, 1).await);
    let earlier = backup(&fleet, &one).await;
    let pruning = prune(&fleet, &two).await;
    let later = backup(&fleet, &one).await;
    assert_eq!((sent(&first).await, sent(&second).await), (1, 0));
    let waits = async |job| fleet.job(job).await.waiting_for.unwrap();
    assert_eq!(waits(pruning).await.job_id, earlier);
    assert_eq!(waits(pruning).await.host_name.unwrap(), "web-1");
    assert_eq!(waits(later).await.operation, Operation::Prune, "it came after the prune");
    run(&first, 1, earlier).await;
    assert_eq!(fleet.store.release_held().await.unwrap(), [two.id], "one exclusive at a time");
    assert_eq!((sent(&first).await, sent(&second).await), (1, 1));
    run(&second, 1, pruning).await;
    assert_eq!(fleet.store.release_held().await.unwrap(), [one.id]);
    assert_eq!(fleet.job(later).await.status, Status::Queued);
    assert_eq!(sent(&first).await, 2);
}

#[tokio::test]
async fn a_job_that_waits_is_cancelled_at_once_and_never_sent() {
    let fleet = Fleet::new().await;
    let (one, two) = (fleet.host("web-1").await, fleet.host("web-2").await);
    let (first, second) = (fleet.session(&one, 1).await, fleet.session(&two, 1).await);
    let job = backup(&fleet, &one).await;
    let waiting = prune(&fleet, &two).await;
    assert_eq!(fleet.store.cancel_job("ops", waiting).await.unwrap(), Cancelled::AtOnce);
    assert_eq!(fleet.job(waiting).await.status, Status::Cancelled);
    run(&first, 1, job).await;
    assert!(fleet.store.release_held().await.unwrap().is_empty());
    assert_eq!(sent(&second).await, 0);
}

/// A host of its own beside them, so that who waits for whom is not a matter of one machine.
#[tokio::test]
async fn a_backup_waits_for_the_prune_before_it_and_not_for_other_backups() {
    let fleet = Fleet::new().await;
    let (one, two) = (fleet.host("web-1").await, fleet.host("web-2").await);
    let three = fleet.host("web-3").await;
    let first = fleet.session(&one, 1).await;
    let made = backup(&fleet, &one).await;
    run(&first, 1, made).await;
    let running = backup(&fleet, &one).await;
    let pruning = prune(&fleet, &two).await;
    let later = backup(&fleet, &three).await;
    let waits = async |job| fleet.job(job).await.waiting_for.map(|it| it.job_id);
    assert_eq!(waits(running).await, None, "it was sent");
    assert_eq!(waits(pruning).await, Some(running));
    assert_eq!(waits(later).await, Some(pruning), "the backup is not in its way");
    let page = fleet.live().await.jobs(&JobFilter::default()).await.unwrap();
    let waits = page.jobs.iter().map(|job| job.waiting_for.as_ref().map(|it| it.job_id));
    let told: Vec<_> = waits.collect();
    assert_eq!(told, [Some(pruning), Some(running), None, None]);
}

#[tokio::test]
async fn a_repository_that_was_moved_may_be_made_anew_by_its_first_backup() {
    let fleet = Fleet::new().await;
    let one = fleet.host("web-1").await;
    let first = fleet.session(&one, 1).await;
    let made = backup(&fleet, &one).await;
    run(&first, 1, made).await;
    let elsewhere = NewLocation {
        url: Secret::new("rest:https://other.example/"),
        kind: "rest".to_owned(),
        location: "rest:https://other.example/".to_owned(),
    };
    let new = NewCredentials { url: Some(elsewhere), ..NewCredentials::default() };
    fleet.store.set_credentials("ops", one.repository, Slot::Repo, &new).await.unwrap();
    backup(&fleet, &one).await;
    let sent = first.load(1, 100).await.unwrap();
    let run: command::Run = sent[0].payload.parse().unwrap();
    assert_eq!(run.may_create, Some(true), "what was seen at the old place says nothing");
}
