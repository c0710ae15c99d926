//! Who may speak for a host: enrolment, copies, restored servers, removal.

use holdfast_link::Store as _;
use holdfast_protocol::{
    Instance,
    message::{command, job::Status, link::Hello},
};
use holdfast_server::store::{Error, HostStore, Refusal};
use uuid::Uuid;

use crate::fleet::{self, Fleet, finished, record, started};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_redeems_at_once_one_wins() {
    let fleet = Fleet::new().await;
    let new = fleet.store.add_host("ops", "web-1").await.unwrap();
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (store, enrolment) = (fleet.store.clone(), fleet::enrolment(&new.enrolment_token));
        tries.spawn(async move { store.enrol(&enrolment).await });
    }
    let outcomes = tries.join_all().await;
    let winners: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1);
    let used = |outcome: &&Result<_, Error>| matches!(outcome, Err(Error::EnrolmentTokenUsed));
    assert_eq!(outcomes.iter().filter(used).count(), 99);
    let token = winners[0].agent_token.expose();
    assert_eq!(fleet.store.agent_token(token).await.unwrap(), Some(new.host_id));
}

#[tokio::test]
async fn an_unknown_enrolment_token_and_a_superseded_one_are_refused() {
    let fleet = Fleet::new().await;
    let first = fleet.store.add_host("ops", "web-1").await.unwrap();
    let wrong = fleet::enrolment(&holdfast_server::token::TokenKind::Enrolment.mint());
    let error = fleet.store.enrol(&wrong).await.unwrap_err();
    assert_eq!(error.code(), "enrolment_token_invalid");
    let second = fleet.store.renew_enrolment("ops", first.host_id).await.unwrap();
    let error = fleet.store.enrol(&fleet::enrolment(&first.enrolment_token)).await.unwrap_err();
    assert_eq!(error.code(), "enrolment_token_invalid");
    fleet.store.enrol(&fleet::enrolment(&second.enrolment_token)).await.unwrap();
}

#[tokio::test]
async fn an_expired_enrolment_token_says_so() {
    let fleet = Fleet::new().await;
    let new = fleet.store.add_host("ops", "web-1").await.unwrap();
    fleet::meddle(fleet.dir.path(), "UPDATE enrolment_tokens SET expires_at = 1000").await;
    let error = fleet.store.enrol(&fleet::enrolment(&new.enrolment_token)).await.unwrap_err();
    assert_eq!(error.to_string(), "the enrolment token expired at 1970-01-01T00:00:01Z");
}

#[tokio::test]
async fn a_new_agent_of_a_host_starts_from_one_and_takes_what_still_waits() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let taken = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let waiting = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &started(taken))]).await.unwrap();
    session.forget(1).await.unwrap();

    let again = fleet.reenrol(&host).await;
    session.apply(vec![record(2, &finished(taken, Status::Succeeded))]).await.unwrap_err();
    assert_eq!(fleet.store.agent_token(&host.agent_token).await.unwrap(), None);
    let old = fleet.store.open_session(host.id, &fleet::hello(&host, 1)).await.unwrap();
    assert_eq!(old.unwrap_err(), Refusal::UnknownIncarnation);

    let session = fleet.session(&again, 1).await;
    let positions = session.positions().await.unwrap();
    assert_eq!((positions.received, positions.oldest, positions.next), (0, 1, 2));
    let records = session.load(0, 10).await.unwrap();
    let run: command::Run = records[0].payload.parse().unwrap();
    assert_eq!((records[0].seq, run.job_id), (1, waiting));
    let lost = fleet.job(taken).await;
    assert_eq!(lost.status, Status::Interrupted);
    assert_eq!(lost.error.unwrap().code, "agent_replaced");
    assert_eq!(fleet.job(waiting).await.status, Status::Queued);
}

#[tokio::test]
async fn a_hello_of_a_copy_is_refused() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let store = &fleet.store;
    let first = store.open_session(host.id, &fleet::hello(&host, 5)).await.unwrap().unwrap();
    let stale = store.open_session(host.id, &fleet::hello(&host, 4)).await.unwrap();
    assert_eq!(stale.unwrap_err(), Refusal::StaleBoot);
    let second = store.open_session(host.id, &fleet::hello(&host, 5)).await.unwrap().unwrap();
    assert!(second.epoch > first.epoch);
}

#[tokio::test]
async fn of_two_processes_with_the_same_number_of_starts_the_second_is_refused() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let hello = |boot, instance: u128| Hello {
        instance: (instance > 0).then(|| Instance::from_uuid(Uuid::from_u128(instance))),
        ..fleet::hello(&host, boot)
    };
    let admit = async |boot, instance| {
        let answer = fleet.store.open_session(host.id, &hello(boot, instance)).await.unwrap();
        answer.map(drop)
    };
    // An agent from before the field, and the same one after its upgrade: a start lies in between.
    assert_eq!(admit(4, 0).await, Ok(()));
    assert_eq!(admit(4, 0).await, Ok(()));
    assert_eq!(admit(5, 1).await, Ok(()));
    assert_eq!(admit(5, 1).await, Ok(()), "it dials again");
    assert_eq!(admit(5, 2).await, Err(Refusal::Cloned));
    assert_eq!(admit(5, 0).await, Err(Refusal::Cloned));
    assert_eq!(admit(5, 1).await, Ok(()), "who was let in first stays");
    assert_eq!(admit(6, 3).await, Ok(()), "a start is no copy");
    assert_eq!(admit(5, 1).await, Err(Refusal::StaleBoot));
}

#[tokio::test]
async fn a_host_from_before_instances_were_noted_takes_the_first_one_that_comes() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let old = fleet.store.open_session(host.id, &fleet::hello(&host, 5)).await.unwrap();
    old.unwrap();
    let instance = Some(Instance::from_uuid(Uuid::from_u128(1)));
    let hello = Hello { instance, ..fleet::hello(&host, 5) };
    fleet.store.open_session(host.id, &hello).await.unwrap().unwrap();
    let copy = fleet.store.open_session(host.id, &fleet::hello(&host, 5)).await.unwrap();
    assert_eq!(copy.unwrap_err(), Refusal::Cloned);
}

#[tokio::test]
async fn a_restored_server_hands_out_an_epoch_above_the_agents() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let mut hello = fleet::hello(&host, 1);
    hello.epoch = 41;
    let opened = fleet.store.open_session(host.id, &hello).await.unwrap().unwrap();
    assert_eq!(opened.epoch, 42);
    hello.epoch = u64::MAX;
    fleet.store.open_session(host.id, &hello).await.unwrap().unwrap();
    fleet.store.open_session(host.id, &hello).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_restored_server_never_uses_a_number_twice() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let first = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let second = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let mut hello = fleet::hello(&host, 1);
    hello.received = 7;
    let opened = fleet.store.open_session(host.id, &hello).await.unwrap().unwrap();
    let session = HostStore::new(fleet.store.clone(), host.id, opened.epoch);
    let positions = session.positions().await.unwrap();
    assert_eq!((positions.oldest, positions.next), (8, 10));
    let records = session.load(7, 10).await.unwrap();
    let run = |at: usize| records[at].payload.parse::<command::Run>().unwrap().job_id;
    assert_eq!((run(0), run(1)), (first, second));

    // The agent has forgotten what the lost state had acknowledged.
    session.skip(1..=4).await.unwrap();
    assert_eq!(session.positions().await.unwrap().received, 4);
    session.skip(1..=4).await.unwrap();
    session.apply(vec![record(5, &started(first))]).await.unwrap();
    assert_eq!(session.positions().await.unwrap().received, 5);
}

#[tokio::test]
async fn removing_a_host_revokes_it_and_ends_its_jobs() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let queued = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let running = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &started(running))]).await.unwrap();
    fleet.store.remove_host("ops", host.id).await.unwrap();
    assert_eq!(fleet.store.agent_token(&host.agent_token).await.unwrap(), None);
    session.apply(vec![record(2, &started(running))]).await.unwrap_err();
    assert_eq!(fleet.job(queued).await.status, Status::Cancelled);
    assert_eq!(fleet.job(running).await.status, Status::Interrupted);
    let error = fleet.store.find_host("web-1").await.unwrap_err();
    assert_eq!(error.code(), "host_not_found");
    fleet.store.add_host("ops", "web-1").await.expect("the name is free again");
}

#[tokio::test]
async fn a_token_made_by_another_process_works_at_once() {
    let fleet = Fleet::new().await;
    let second = holdfast_server::store::Store::open(fleet.dir.path()).await.unwrap();
    let made = second.create_api_token("laptop", "admin").await.unwrap();
    let known = fleet.store.api_token(made.token.expose()).await.unwrap().unwrap();
    assert_eq!((known.name.as_str(), known.role.as_str()), ("laptop", "admin"));
    assert_eq!(fleet.store.api_token("hf_api_wrong").await.unwrap(), None);
    let error = second.create_api_token("laptop", "viewer").await.unwrap_err();
    assert_eq!(error.code(), "token_exists");
}
