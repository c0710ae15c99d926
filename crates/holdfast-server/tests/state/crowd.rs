//! What many hosts' agents want at once is done together, and is each host's own all the same.

use futures_util::future::join_all;
use holdfast_link::Store as _;
use holdfast_protocol::{
    Incarnation, Message,
    message::{config, schedule},
};
use holdfast_server::store::{HostStore, Refusal};
use jiff::Timestamp;
use uuid::Uuid;

use crate::fleet::{self, Fleet, TestHost, record};

const HOSTS: usize = 12;

async fn crowd(fleet: &Fleet) -> Vec<TestHost> {
    let mut hosts = Vec::new();
    for number in 0..HOSTS {
        hosts.push(fleet.host(&format!("web-{number}")).await);
    }
    hosts
}

#[tokio::test]
async fn of_those_who_come_at_once_each_is_judged_alone() {
    let fleet = Fleet::new().await;
    let hosts = crowd(&fleet).await;
    let mut copy = fleet::hello(&hosts[4], 1);
    copy.incarnation = Incarnation::from_uuid(Uuid::new_v4());
    let mut hellos: Vec<_> = hosts.iter().map(|host| (host.id, fleet::hello(host, 1))).collect();
    hellos[4].1 = copy;
    // One agent dials again and again meanwhile.
    hellos.extend((0..5).map(|_| (hosts[2].id, fleet::hello(&hosts[2], 1))));
    let answers = hellos.iter().map(|(host, hello)| fleet.store.open_session(*host, hello));
    let answers: Vec<_> = join_all(answers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(*answers[4].as_ref().unwrap_err(), Refusal::UnknownIncarnation);
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(refused, 1);
    let mut epochs: Vec<u64> = [2]
        .into_iter()
        .chain(HOSTS..HOSTS + 5)
        .map(|index| answers[index].as_ref().unwrap().epoch)
        .collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
    epochs.dedup();
    assert_eq!(epochs.len(), 6, "no two sessions of a host have the same epoch");
}

#[tokio::test]
async fn those_who_ask_at_once_are_each_told_their_own() {
    let fleet = Fleet::new().await;
    let hosts = crowd(&fleet).await;
    // One asks twice, and one is gone.
    let nobody = holdfast_protocol::HostId::from_uuid(Uuid::new_v4());
    let asked: Vec<_> = hosts.iter().map(|host| host.id).chain([hosts[0].id, nobody]).collect();
    let told = join_all(asked.iter().map(|host| fleet.store.config(*host))).await;
    for (index, answer) in told.iter().enumerate().take(HOSTS + 1) {
        let (update, _) = answer.as_ref().unwrap();
        assert_eq!(update.host_name, format!("web-{}", index % HOSTS));
        assert_eq!(update.groups.len(), 1);
        assert_eq!(update.repositories.len(), 1);
        assert_eq!(update.repositories[0].password.expose(), fleet::PASSWORD_CANARY);
    }
    assert!(told[HOSTS + 1].is_err());
    let tokens = hosts.iter().map(|host| fleet.store.agent_token(&host.agent_token));
    let owners: Vec<_> = join_all(tokens).await.into_iter().map(Result::unwrap).collect();
    let theirs: Vec<_> = hosts.iter().map(|host| Some(host.id)).collect();
    assert_eq!(owners, theirs);
}

#[tokio::test]
async fn records_that_come_at_once_move_each_hosts_own_position() {
    let fleet = Fleet::new().await;
    let hosts = crowd(&fleet).await;
    let mut stores: Vec<HostStore> = Vec::new();
    for host in &hosts {
        stores.push(fleet.session(host, 1).await);
    }
    let fenced = stores[3].clone();
    stores[3] = fleet.session(&hosts[3], 1).await;
    let now = Timestamp::now();
    let applied = Message::ConfigApplied(config::Applied { version: 2, applied_at: now });
    let ack = Message::ScheduleAck(schedule::Ack { version: 1, applied_at: now });
    let both = || vec![record(1, &applied), record(2, &ack)];
    let of_host = |store: &HostStore| store.clone();
    let writes = stores
        .iter()
        .map(of_host)
        .chain([fenced])
        .map(|store| async move { store.apply(both()).await });
    let done = join_all(writes).await;
    assert!(done[..HOSTS].iter().all(Result::is_ok), "{done:?}");
    assert!(done[HOSTS].is_err(), "a fenced session writes nothing");
    for store in &stores {
        assert_eq!(store.positions().await.unwrap().received, 2);
    }
    let sql = "SELECT COUNT(*) FROM hosts WHERE config_applied = 2 AND schedule_applied = 1";
    assert_eq!(fleet::count(fleet.dir.path(), sql).await, HOSTS as i64);
}
