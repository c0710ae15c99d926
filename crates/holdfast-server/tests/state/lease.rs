//! Who waits for whom on a repository that several hosts share.

use holdfast_link::Store as _;
use holdfast_protocol::{
    JobId, Message,
    message::{
        job::{Operation, Status},
        parameters::{Parameters, Prune},
    },
};
use holdfast_server::store::{Cancelled, HostStore, Order};

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
    assert!(fleet.store.release_held().await.unwrap().is_empty());
    run(&first, 1, job).await;
    assert_eq!(fleet.store.release_held().await.unwrap(), [two.id]);
    assert_eq!(sent(&second).await, 1);
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
