//! The chain of who did what: no tampering with it goes unnoticed.

use std::fs;

use holdfast_protocol::message::link::Hello;
use holdfast_server::{
    alert::{Alarm, Rule},
    store::{AlertFilter, AuditFilter, Store},
};
use jiff::Timestamp;
use serde_json::json;
use sqlx::{Connection, Executor, SqliteConnection};
use tempfile::TempDir;

use crate::fleet::{Fleet, TestHost, hello};

const ENTRIES: u64 = 8;

/// A store with a few entries, and a thief's own way into its file.
async fn chain() -> (TempDir, Store, SqliteConnection) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    for n in 0..ENTRIES {
        store.create_api_token(&format!("token-{n}"), "viewer").await.unwrap();
    }
    let file = format!("sqlite://{}", dir.path().join("holdfast.db").display());
    let mut thief = SqliteConnection::connect(&file).await.unwrap();
    thief.execute("CREATE TABLE saved AS SELECT * FROM audit").await.unwrap();
    thief.execute("CREATE TABLE saved_head AS SELECT * FROM audit_head").await.unwrap();
    (dir, store, thief)
}

/// Does `tampering`, tells whether it was noticed, and undoes it.
async fn is_noticed(store: &Store, thief: &mut SqliteConnection, tampering: &str) -> Option<u64> {
    thief.execute(sqlx::AssertSqlSafe(tampering.to_owned())).await.unwrap();
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!(verdict.ok, verdict.first_bad.is_none());
    let undo = "DELETE FROM audit; INSERT INTO audit SELECT * FROM saved;
        DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM saved_head";
    thief.execute(undo).await.unwrap();
    verdict.first_bad
}

#[tokio::test]
async fn an_edited_deleted_moved_or_missing_entry_is_always_noticed() {
    let (_dir, store, mut thief) = chain().await;
    let whole = store.verify_audit(None).await.unwrap();
    assert!(whole.ok && whole.entries == ENTRIES, "{whole:?}");
    let mut tries = Vec::new();
    for seq in 1..=ENTRIES {
        for column in ["actor", "actor_kind", "address", "action", "subject", "before", "after"] {
            let edit = format!("UPDATE audit SET {column} = '\"x\"' WHERE seq = {seq}");
            tries.push((seq, edit));
        }
        tries.push((seq, format!("UPDATE audit SET at = at + 1 WHERE seq = {seq}")));
        tries.push((
            seq,
            format!("UPDATE audit SET hash = lower(hex(randomblob(32))) WHERE seq = {seq}"),
        ));
        tries.push((seq, format!("DELETE FROM audit WHERE seq = {seq}")));
        tries.push((seq, format!("DELETE FROM audit WHERE seq >= {seq}")));
        // What follows closes up.
        let closed = format!(
            "DELETE FROM audit WHERE seq = {seq};
             UPDATE audit SET seq = -seq WHERE seq > {seq};
             UPDATE audit SET seq = -seq - 1 WHERE seq < 0;
             UPDATE audit_head SET seq = seq - 1"
        );
        tries.push((seq, closed));
        // Cut off, and the head moved back to fit.
        let head = format!(
            "DELETE FROM audit WHERE seq > {seq} - 1;
             UPDATE audit_head SET seq = {seq} - 1,
                 hash = COALESCE((SELECT hash FROM audit WHERE seq = {seq} - 1), '{}')",
            "0".repeat(64)
        );
        tries.push((seq, head));
        for other in seq + 1..=ENTRIES {
            let swap = format!(
                "UPDATE audit SET seq = -1 WHERE seq = {seq};
                 UPDATE audit SET seq = {seq} WHERE seq = {other};
                 UPDATE audit SET seq = {other} WHERE seq = -1"
            );
            tries.push((seq, swap));
        }
    }
    tries.push((1, "DELETE FROM audit; DELETE FROM audit_head".to_owned()));
    let more = "INSERT INTO audit SELECT seq + 1, at, actor, actor_kind, address, action, subject,
        before, after, hash FROM audit ORDER BY seq DESC LIMIT 1";
    tries.push((ENTRIES + 1, more.to_owned()));
    for (first, tampering) in tries {
        let noticed = is_noticed(&store, &mut thief, &tampering).await;
        assert_eq!(noticed, Some(first), "{tampering}");
    }
    assert!(store.verify_audit(None).await.unwrap().ok, "every tampering was undone");
}

#[tokio::test]
async fn a_database_that_was_put_back_is_noticed_by_an_anchor() {
    let (_dir, store, mut thief) = chain().await;
    let before = store.verify_audit(None).await.unwrap().head;
    store.create_api_token("later", "viewer").await.unwrap();
    let anchor = store.verify_audit(Some(&before)).await.unwrap().head;
    assert_eq!(anchor.seq, ENTRIES + 1);
    // The whole database of before, head and code and all.
    let back = format!(
        "DELETE FROM audit WHERE seq > {ENTRIES};
         DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM saved_head"
    );
    thief.execute(sqlx::AssertSqlSafe(back)).await.unwrap();
    assert!(store.verify_audit(None).await.unwrap().ok, "alone it is whole");
    let verdict = store.verify_audit(Some(&anchor)).await.unwrap();
    assert_eq!((verdict.ok, verdict.first_bad), (false, Some(ENTRIES + 1)));
}

#[tokio::test]
async fn an_emptied_audit_does_not_begin_anew_when_the_server_starts() {
    let (dir, store, mut thief) = chain().await;
    store.close().await;
    thief.execute("DELETE FROM audit; DELETE FROM audit_head").await.unwrap();
    drop(thief);
    let store = Store::open(dir.path()).await.unwrap();
    assert_eq!(store.verify_audit(None).await.unwrap().first_bad, Some(1));
}

#[tokio::test]
async fn pages_go_back_in_time_and_can_be_narrowed() {
    let (_dir, store, _) = chain().await;
    store.add_host("ops", "web-1").await.unwrap();
    let mut filter = AuditFilter { limit: 5, ..AuditFilter::default() };
    let first = store.audit(&filter).await.unwrap();
    assert_eq!(first.entries[0].action, "host.add");
    assert_eq!((first.entries.len(), first.next), (5, Some(5)));
    filter.before = first.next;
    let second = store.audit(&filter).await.unwrap();
    assert_eq!((second.entries[0].seq, second.next), (4, None));
    let of = async |actor: Option<&str>, action: Option<&str>| {
        let text = |word: Option<&str>| word.map(str::to_owned);
        let filter =
            AuditFilter { limit: 50, actor: text(actor), action: text(action), before: None };
        store.audit(&filter).await.unwrap().entries.len()
    };
    assert_eq!((of(Some("ops"), None).await, of(None, Some("host")).await), (1, 1));
    assert_eq!((of(None, Some("token.create")).await, of(None, Some("hos")).await), (8, 0));
}

/// The whole server of another day: what `work` did in between is gone from it, audit and head
/// and all.
async fn put_back(fleet: &mut Fleet, work: impl AsyncFnOnce(&Fleet)) {
    let file = fleet.dir.path().join("holdfast.db");
    fleet.store.close().await;
    let copy = fs::read(&file).unwrap();
    fleet.restart().await;
    work(fleet).await;
    fleet.store.close().await;
    for sidecar in ["holdfast.db-wal", "holdfast.db-shm"] {
        _ = fs::remove_file(fleet.dir.path().join(sidecar));
    }
    fs::write(&file, copy).unwrap();
    fleet.restart().await;
}

/// What was noted of a database that was put back, and whether it rings.
async fn witnessed(fleet: &Fleet) -> (Vec<serde_json::Value>, bool) {
    let filter = AuditFilter { limit: 50, ..AuditFilter::default() };
    let filter = AuditFilter { action: Some("server.set_back".to_owned()), ..filter };
    let entries = fleet.store.audit(&filter).await.unwrap().entries;
    let alarm = Alarm::new(fleet.store.clone(), fleet.live().await, Timestamp::UNIX_EPOCH);
    alarm.look(Timestamp::now()).await.unwrap();
    let alerts = fleet
        .store
        .alerts(&AlertFilter { limit: 50, ..AlertFilter::default() }, Timestamp::now())
        .await
        .unwrap();
    let rings = alerts.alerts.iter().any(|alert| alert.rule == Rule::ServerSetBack);
    (
        entries
            .into_iter()
            .map(|entry| json!([entry.subject, entry.before, entry.after]))
            .collect(),
        rings,
    )
}

async fn greet(fleet: &Fleet, host: &TestHost, boot: u64, epoch: u64, received: u64) -> u64 {
    let hello = Hello { epoch, received, ..hello(host, boot) };
    fleet.store.open_session(host.id, &hello).await.unwrap().unwrap().epoch
}

#[tokio::test]
async fn the_first_agent_that_met_a_later_state_of_the_database_bears_witness() {
    let mut fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let known = greet(&fleet, &host, 1, 0, 0).await;
    let mut met = 0;
    put_back(&mut fleet, async |fleet| {
        met = greet(fleet, &host, 1, known, 0).await;
        // What a thief wants forgotten.
        fleet.store.create_api_token("backdoor", "admin").await.unwrap();
    })
    .await;
    assert!(met > known);
    assert!(fleet.store.verify_audit(None).await.unwrap().ok, "alone the older copy is whole");
    assert_eq!(witnessed(&fleet).await, (vec![], false), "nobody has come yet");

    let next = greet(&fleet, &host, 1, met, 0).await;
    assert!(next > met, "no epoch is handed out twice");
    let told = json!([
        "web-1",
        {"epoch": known, "next_record": 1},
        {"epoch": met, "received": 0},
    ]);
    assert_eq!(witnessed(&fleet).await, (vec![told.clone()], true));
    // Told once: what it meets from here on is this database.
    greet(&fleet, &host, 1, next, 0).await;
    assert_eq!(witnessed(&fleet).await, (vec![told], true));
}

#[tokio::test]
async fn a_record_that_was_never_numbered_here_bears_witness_too() {
    let mut fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let known = greet(&fleet, &host, 1, 0, 0).await;
    put_back(&mut fleet, async |fleet| {
        fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    })
    .await;
    greet(&fleet, &host, 1, known, 1).await;
    let (entries, rings) = witnessed(&fleet).await;
    assert_eq!((entries.len(), rings), (1, true), "{entries:?}");
}

#[tokio::test]
async fn agents_of_a_database_that_was_never_put_back_are_no_witnesses() {
    let mut fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let mut epoch = 0;
    for boot in 1..4 {
        epoch = greet(&fleet, &host, boot, epoch, 0).await;
        fleet.restart().await;
    }
    fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    epoch = greet(&fleet, &host, 4, epoch, 1).await;
    let again = fleet.reenrol(&host).await;
    greet(&fleet, &again, 1, epoch, 0).await;
    assert_eq!(witnessed(&fleet).await, (vec![], false));
}
