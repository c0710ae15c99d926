//! What lies on the disk: acknowledged records, sealed secrets, the schema's version.

use holdfast_link::Store as _;
use holdfast_protocol::message::job::Status;
use holdfast_server::store::HostStore;

use crate::fleet::{self, Fleet, record, started};

#[tokio::test]
async fn no_secret_is_readable_in_the_files_of_the_database() {
    let mut fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let (update, _) = fleet.store.config(host.id).await.unwrap();
    assert_eq!(update.repositories[0].password.expose(), fleet::PASSWORD_CANARY);
    let tokens = [host.agent_token.clone(), host.enrolment_token.clone()];
    fleet.restart().await;
    let mut files = 0;
    for entry in std::fs::read_dir(fleet.dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in tokens.iter().map(String::as_str).chain(fleet::CANARIES) {
            assert!(!text.contains(secret), "{secret} is readable");
        }
        files += 1;
    }
    assert!(files >= 2, "the database and its key were looked at");
    let debug = format!("{:?} {update:?}", fleet.store.repositories().await.unwrap());
    assert!(fleet::CANARIES.iter().all(|canary| !debug.contains(canary)), "{debug}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_with_one_sentence() {
    let fleet = Fleet::new().await;
    let dir = fleet.dir;
    fleet.store.close().await;
    let newer = "INSERT INTO _sqlx_migrations
         (version, description, installed_on, success, checksum, execution_time)
         VALUES (9999, 'future', '2030-01-01', TRUE, x'00', 0)";
    fleet::meddle(dir.path(), newer).await;
    let error = holdfast_server::store::Store::open(dir.path()).await.err().unwrap();
    assert!(error.to_string().contains("written by a newer version of Holdfast"), "{error}");
    assert!(!error.action().is_empty());
}

#[tokio::test]
async fn an_exchanged_key_is_noticed_at_the_start() {
    let fleet = Fleet::new().await;
    let dir = fleet.dir;
    fleet.store.close().await;
    std::fs::remove_file(dir.path().join("key")).unwrap();
    let error = holdfast_server::store::Store::open(dir.path()).await.err().unwrap();
    assert!(fleet::chain(&error).contains("does not open with the key file"), "{error}");
    assert!(error.action().contains("Restore the file `key`"));
}

#[tokio::test]
async fn what_was_acknowledged_is_on_disk_at_that_moment() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &started(job))]).await.unwrap();
    // A crash leaves the files as they are now, with whatever memory knew gone.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["holdfast.db", "holdfast.db-wal", "key"] {
        std::fs::copy(fleet.dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    let store = holdfast_server::store::Store::open(crashed.path()).await.unwrap();
    let live = holdfast_server::live::Live::load(store.clone()).await.unwrap();
    assert_eq!(live.job(job).await.unwrap().status, Status::Running);
    let opened = store.open_session(host.id, &fleet::hello(&host, 2)).await.unwrap().unwrap();
    let positions = HostStore::new(store, host.id, opened.epoch).positions().await.unwrap();
    assert_eq!((positions.received, positions.oldest, positions.next), (1, 1, 2));
}
