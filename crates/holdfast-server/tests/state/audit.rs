//! The chain of who did what: no tampering with it goes unnoticed.

use holdfast_server::store::{AuditFilter, Store};
use sqlx::{Connection, Executor, SqliteConnection};
use tempfile::TempDir;

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
