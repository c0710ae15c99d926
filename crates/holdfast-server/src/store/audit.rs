//! Who did what: a chain of entries to which one can only add.
//!
//! ```text
//! entry 1 ── hash ──► entry 2 ── hash ──► … ──► entry n ── hash ──► head, sealed with the key
//! ```
//!
//! Each hash covers its entry and the hash before it, so nothing in the middle can be changed,
//! taken out or moved. The head says where the chain ends; it carries a code that only the key file
//! can make, so whoever can write to the database alone can neither shorten the chain nor forge a
//! new one.

use hmac::{Hmac, KeyInit, Mac};
use holdfast_protocol::HostId;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use subtle::ConstantTimeEq;

use super::{
    Error, Store,
    row::{Columns, int},
};
use crate::{
    auth::asking,
    view::{AuditEntryView, AuditHead, AuditPage, AuditVerdict},
};

/// What an entry tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft<'a> {
    pub(super) actor: &'a str,
    /// What sort of actor; found out from who asks when left out.
    pub(super) actor_kind: Option<&'a str>,
    pub(super) action: &'a str,
    pub(super) subject: &'a str,
    /// How it was. Never a secret.
    pub(super) before: Option<Value>,
    /// How it is now. Never a secret.
    pub(super) after: Option<Value>,
}

/// Which entries a page shows, newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only those before this one.
    pub before: Option<u64>,
    /// At most this many.
    pub limit: u32,
    /// Only of this actor.
    pub actor: Option<String>,
    /// Only of this action, or of all actions on this noun.
    pub action: Option<String>,
}

/// An entry as the hash covers it.
struct Link {
    seq: i64,
    at: i64,
    actor: String,
    actor_kind: String,
    address: String,
    action: String,
    subject: String,
    before: Option<String>,
    after: Option<String>,
}

/// Where the chain ends.
struct Head {
    seq: i64,
    hash: String,
}

const SELECT: &str = "SELECT seq, at, actor, actor_kind, address, action, subject, before, after,
    hash FROM audit WHERE 1 = 1";
/// What stands before the first entry.
const ORIGIN: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const PAGE_SIZE: i64 = 1000;
/// The longest path in a subject, in letters.
const SUBJECT_PATH_MAX: usize = 1000;

/// Notes that `actor` did `action` to `subject`, in the transaction that does it.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    actor: &str,
    action: &str,
    subject: &str,
) -> Result<(), sqlx::Error> {
    append(connection, Draft { actor, action, subject, ..Draft::default() }).await
}

/// Adds an entry about a change: how it was, and how it is now. Never a secret.
pub(super) async fn changed(
    connection: &mut SqliteConnection,
    (actor, action, subject): (&str, &str, &str),
    before: Option<Value>,
    after: Option<Value>,
) -> Result<(), sqlx::Error> {
    append(connection, Draft { actor, action, subject, before, after, ..Draft::default() }).await
}

/// Adds an entry to the chain, in the transaction that does what it tells of.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    draft: Draft<'_>,
) -> Result<(), sqlx::Error> {
    let asking = asking::note();
    let kind = if draft.actor == LOCAL { LOCAL } else { asking.kind };
    let text = |value: Option<Value>| value.map(|value| value.to_string());
    let link = Link {
        seq: 0,
        at: Timestamp::now().as_millisecond(),
        actor: draft.actor.to_owned(),
        actor_kind: draft.actor_kind.unwrap_or(kind).to_owned(),
        address: asking.address,
        action: draft.action.to_owned(),
        subject: draft.subject.to_owned(),
        before: text(draft.before),
        after: text(draft.after),
    };
    extend(connection, link).await
}

/// The actor of what is done on the server's own machine, past the API.
pub(super) const LOCAL: &str = "local";

/// Gives a new writing connection the key. It is kept in the connection's memory, not in the file.
pub(super) async fn bring_key(
    connection: &mut SqliteConnection,
    key: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA temp_store = MEMORY").execute(&mut *connection).await?;
    sqlx::query("CREATE TEMPORARY TABLE audit_key (key TEXT NOT NULL)")
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO audit_key (key) VALUES ($1)").bind(key).execute(connection).await?;
    Ok(())
}

/// Begins the chain of a new database, with what was noted before there was one.
pub(super) async fn begin(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let begun: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM audit_head").fetch_one(&mut *tx).await?;
    if begun > 0 {
        return Ok(());
    }
    set_head(&mut tx, &Head { seq: 0, hash: ORIGIN.to_owned() }).await?;
    let old = "SELECT at, actor, action, subject FROM audit_unchained ORDER BY at, id";
    for row in sqlx::query(old).fetch_all(&mut *tx).await? {
        let link = Link {
            seq: 0,
            at: row.int("at")?,
            actor: row.text("actor")?,
            actor_kind: String::new(),
            address: String::new(),
            action: row.text("action")?,
            subject: row.text("subject")?,
            before: None,
            after: None,
        };
        extend(&mut tx, link).await?;
    }
    sqlx::query("DELETE FROM audit_unchained").execute(&mut *tx).await?;
    tx.commit().await
}

impl Store {
    /// Notes a request that changed something and left no entry of its own.
    pub(crate) async fn note_request(&self, actor: &str, request: &str) -> Result<(), Error> {
        const PHASE: &str = "noting a request";
        let mut tx = self.begin(PHASE).await?;
        note(&mut tx, actor, "request", request).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Notes that somebody takes a file out of a snapshot, before they get any of it.
    pub(crate) async fn note_download(
        &self,
        actor: &str,
        host: HostId,
        snapshot: &str,
        path: &str,
    ) -> Result<(), Error> {
        const PHASE: &str = "noting a download";
        let name = self.host_name(host).await?;
        let short: String = snapshot.chars().take(8).collect();
        let path: String = path.chars().take(SUBJECT_PATH_MAX).collect();
        let mut tx = self.begin(PHASE).await?;
        note(&mut tx, actor, "snapshot.download", &format!("{name} {short}:{path}"))
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Notes that somebody was not let in.
    pub(crate) async fn note_refused_sign_in(&self, name: &str) -> Result<(), Error> {
        const PHASE: &str = "noting a refused sign-in";
        let mut tx = self.begin(PHASE).await?;
        note(&mut tx, name, "sign_in.refused", name).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// A page of entries, newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn audit(&self, filter: &AuditFilter) -> Result<AuditPage, Error> {
        const PHASE: &str = "reading the audit";
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        if let Some(before) = filter.before {
            query.push(" AND seq < ").push_bind(int(before));
        }
        if let Some(actor) = &filter.actor {
            query.push(" AND actor = ").push_bind(actor.clone());
        }
        if let Some(action) = &filter.action {
            query.push(" AND (action = ").push_bind(action.clone());
            query.push(" OR substr(action, 1, length(").push_bind(action.clone());
            query.push(") + 1) = ").push_bind(format!("{action}.")).push(")");
        }
        query.push(" ORDER BY seq DESC LIMIT ").push_bind(i64::from(filter.limit) + 1);
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        let entries = rows.iter().map(view).collect::<Result<Vec<_>, _>>();
        let mut entries = entries.map_err(Error::database(PHASE))?;
        let more = entries.len() > filter.limit as usize;
        entries.truncate(filter.limit as usize);
        let next = entries.last().filter(|_| more).map(|entry| entry.seq);
        Ok(AuditPage { entries, next })
    }

    /// Where the chain ends now.
    pub(crate) async fn audit_head(&self) -> Result<AuditHead, sqlx::Error> {
        let row = sqlx::query("SELECT seq, hash FROM audit_head").fetch_one(self.readers()).await?;
        Ok(AuditHead { seq: row.count("seq")?, hash: row.text("hash")? })
    }

    /// Goes along the whole chain. With an `anchor`, a head that somebody wrote down earlier, it
    /// also finds out whether the whole database was put back to before that.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn verify_audit(&self, anchor: Option<&AuditHead>) -> Result<AuditVerdict, Error> {
        const PHASE: &str = "verifying the audit";
        self.walk(anchor).await.map_err(Error::database(PHASE))
    }

    async fn walk(&self, anchor: Option<&AuditHead>) -> Result<AuditVerdict, sqlx::Error> {
        // One transaction: entries that are added meanwhile are not seen, nor is their head.
        let mut tx = self.readers().begin().await?;
        let (mut last, mut at_anchor) = (Head { seq: 0, hash: ORIGIN.to_owned() }, None);
        loop {
            let rows = page(&mut tx, last.seq).await?;
            for row in &rows {
                let link = link(row)?;
                let hash = link.hash(&last.hash);
                if link.seq != last.seq + 1 || !same(&hash, &row.text("hash")?) {
                    return Ok(broken(&last, last.seq + 1));
                }
                last = Head { seq: link.seq, hash };
                if anchor.is_some_and(|anchor| int(anchor.seq) == last.seq) {
                    at_anchor = Some(last.hash.clone());
                }
            }
            if rows.is_empty() {
                break;
            }
        }
        if !self.is_head(&mut tx, &last).await? || (last.seq == 0 && is_in_use(&mut tx).await?) {
            return Ok(broken(&last, last.seq + 1));
        }
        let missed = anchor.filter(|anchor| anchor.seq > 0);
        if let Some(anchor) = missed
            && !at_anchor.is_some_and(|hash| same(&hash, &anchor.hash))
        {
            return Ok(broken(&last, int(anchor.seq)));
        }
        Ok(AuditVerdict { ok: true, ..broken(&last, 0) })
    }

    /// Whether the chain may end there.
    async fn is_head(
        &self,
        connection: &mut SqliteConnection,
        last: &Head,
    ) -> Result<bool, sqlx::Error> {
        let row = sqlx::query("SELECT seq, hash, code FROM audit_head")
            .fetch_optional(connection)
            .await?;
        let Some(row) = row else { return Ok(false) };
        let ours = code(self.sealer().audit_key(), last);
        Ok(row.int("seq")? == last.seq
            && same(&row.text("hash")?, &last.hash)
            && same(&row.text("code")?, &ours))
    }
}

fn broken(last: &Head, first_bad: i64) -> AuditVerdict {
    let number = |value: i64| value.try_into().unwrap_or(0);
    AuditVerdict {
        ok: false,
        entries: number(last.seq),
        first_bad: (first_bad > 0).then(|| number(first_bad)),
        head: AuditHead { seq: number(last.seq), hash: last.hash.clone() },
    }
}

/// Whether there is something whose making is always noted.
async fn is_in_use(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM api_tokens)
             OR EXISTS (SELECT 1 FROM hosts)",
    )
    .fetch_one(connection)
    .await
}

async fn page(
    connection: &mut SqliteConnection,
    after: i64,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(" AND seq > ").push_bind(after);
    query.push(" ORDER BY seq LIMIT ").push_bind(PAGE_SIZE);
    query.build().fetch_all(connection).await
}

/// Puts `link` at the end of the chain.
async fn extend(connection: &mut SqliteConnection, mut link: Link) -> Result<(), sqlx::Error> {
    let row = sqlx::query("SELECT seq, hash FROM audit_head").fetch_one(&mut *connection).await?;
    link.seq = row.int("seq")? + 1;
    let hash = link.hash(&row.text("hash")?);
    sqlx::query(
        "INSERT INTO audit (seq, at, actor, actor_kind, address, action, subject, before, after,
             hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(link.seq)
    .bind(link.at)
    .bind(&link.actor)
    .bind(&link.actor_kind)
    .bind(&link.address)
    .bind(&link.action)
    .bind(&link.subject)
    .bind(&link.before)
    .bind(&link.after)
    .bind(&hash)
    .execute(&mut *connection)
    .await?;
    set_head(connection, &Head { seq: link.seq, hash }).await
}

async fn set_head(connection: &mut SqliteConnection, head: &Head) -> Result<(), sqlx::Error> {
    let key: String =
        sqlx::query_scalar("SELECT key FROM audit_key").fetch_one(&mut *connection).await?;
    sqlx::query(
        "INSERT INTO audit_head (id, seq, hash, code) VALUES (1, $1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET
             seq = excluded.seq, hash = excluded.hash, code = excluded.code",
    )
    .bind(head.seq)
    .bind(&head.hash)
    .bind(code(&key, head))
    .execute(connection)
    .await?;
    Ok(())
}

impl Link {
    /// The hash of this entry after the one with the hash `last`. A JSON list keeps the fields
    /// apart: nothing can move from one to the next.
    fn hash(&self, last: &str) -> String {
        let fields = serde_json::json!([
            last,
            self.seq,
            self.at,
            self.actor,
            self.actor_kind,
            self.address,
            self.action,
            self.subject,
            self.before,
            self.after
        ]);
        hex(&Sha256::digest(fields.to_string().as_bytes()))
    }
}

fn code(key: &str, head: &Head) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{}:{}", head.seq, head.hash).as_bytes());
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn link(row: &SqliteRow) -> Result<Link, sqlx::Error> {
    Ok(Link {
        seq: row.int("seq")?,
        at: row.int("at")?,
        actor: row.text("actor")?,
        actor_kind: row.text("actor_kind")?,
        address: row.text("address")?,
        action: row.text("action")?,
        subject: row.text("subject")?,
        before: row.text_opt("before")?,
        after: row.text_opt("after")?,
    })
}

fn view(row: &SqliteRow) -> Result<AuditEntryView, sqlx::Error> {
    let value = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
    Ok(AuditEntryView {
        seq: row.count("seq")?,
        at: row.time("at")?,
        actor: row.text("actor")?,
        actor_kind: row.text("actor_kind")?,
        address: row.text("address")?,
        action: row.text("action")?,
        subject: row.text("subject")?,
        before: value(row.text_opt("before")?),
        after: value(row.text_opt("after")?),
        hash: row.text("hash")?,
    })
}
