//! Browsers that are signed in.

use std::time::Duration;

use holdfast_protocol::message::config::Secret;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    Error, Store,
    audit::{self, Draft},
    row::{Columns, sql},
    token,
};
use crate::{
    auth::{Principal, PrincipalKind, Scope},
    token::{TokenHash, TokenKind},
    view::SignInView,
};

/// A browser that has proved for whom it speaks.
#[derive(Debug, Clone)]
pub(crate) struct NewSignIn<'a> {
    pub(crate) kind: PrincipalKind,
    /// The id of the user or API token.
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) address: String,
    pub(crate) user_agent: String,
    /// What proved it: `password`, `token`, `setup` or `oidc`.
    pub(crate) by: &'static str,
}

/// How long a sign-in lasts without a request.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(12 * 3600);
/// How long it lasts whatever is asked.
pub(crate) const LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// A request is written down at most this often: a page asks many times a second.
const SEEN_EVERY_MS: i64 = 60_000;
/// Browsers that one user may be signed in with; the one that was away longest goes first.
const SIGN_INS_MAX: i64 = 50;

const SELECT: &str = "SELECT s.id, s.hash, s.created_at, s.last_seen_at, s.expires_at, s.address,
        s.user_agent, u.id AS user_id, u.name AS user_name, u.role AS user_role,
        u.host_groups AS user_groups, t.id AS token_id, t.name AS token_name,
        t.role AS token_role, t.host_groups AS token_groups
    FROM sign_ins s LEFT JOIN users u ON u.id = s.user_id AND NOT u.disabled
        LEFT JOIN api_tokens t ON t.id = s.token_id AND (t.expires_at IS NULL OR t.expires_at > $1)
    WHERE s.expires_at > $1 AND s.last_seen_at > $2
        AND (u.id IS NOT NULL OR t.id IS NOT NULL)";

impl Store {
    /// Signs a browser in: gives the word for its cookie, which is kept only as a hash.
    pub(crate) async fn add_sign_in(
        &self,
        new: &NewSignIn<'_>,
        now: Timestamp,
    ) -> Result<Secret, Error> {
        const PHASE: &str = "signing in";
        let word = TokenKind::SignIn.mint();
        let mut tx = self.begin(PHASE).await?;
        insert(&mut tx, new, &word, now).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(word)
    }

    /// For whom the browser with this word speaks; `None` when it is not, or no more, signed in.
    pub(crate) async fn sign_in(
        &self,
        word: &str,
        now: Timestamp,
    ) -> Result<Option<Principal>, Error> {
        const PHASE: &str = "checking a sign-in";
        let hash = TokenHash::of(word);
        let row = sqlx::query(sql(&[SELECT, " AND s.hash = $3"]))
            .bind(now.as_millisecond())
            .bind(idle_since(now))
            .bind(hash.as_str())
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        let Some(row) = row else { return Ok(None) };
        if !hash.matches(&row.text("hash").map_err(Error::database(PHASE))?) {
            return Ok(None);
        }
        let principal = principal(&row).map_err(Error::database(PHASE))?;
        let seen_at = row.int("last_seen_at").map_err(Error::database(PHASE))?;
        if now.as_millisecond() - seen_at >= SEEN_EVERY_MS {
            self.note_sign_in_seen(&row.text("id").map_err(Error::database(PHASE))?, now).await?;
        }
        Ok(Some(principal))
    }

    /// Whether somebody who was let in may stay: still known, and still what they were.
    pub(crate) async fn is_still(&self, known: &Principal, now: Timestamp) -> Result<bool, Error> {
        const PHASE: &str = "checking a sign-in again";
        let found = match &known.sign_in {
            Some(id) => {
                let row = sqlx::query(sql(&[SELECT, " AND s.id = $3"]))
                    .bind(now.as_millisecond())
                    .bind(idle_since(now))
                    .bind(id)
                    .fetch_optional(self.readers())
                    .await
                    .map_err(Error::database(PHASE))?;
                // Looking on is being there.
                self.note_sign_in_seen(id, now).await?;
                row.as_ref().map(principal).transpose().map_err(Error::database(PHASE))?
            }
            None => self.token_by_id(&known.id, now).await?,
        };
        Ok(found.as_ref() == Some(known))
    }

    /// The sign-ins of one user or API token, or of all, the newest first.
    pub(crate) async fn sign_ins(
        &self,
        of: Option<&Principal>,
        asking: &Principal,
        now: Timestamp,
    ) -> Result<Vec<SignInView>, Error> {
        const PHASE: &str = "reading sign-ins";
        let own = " AND ($3 = '' OR s.user_id = $3 OR s.token_id = $3)";
        let rows = sqlx::query(sql(&[SELECT, own, " ORDER BY s.last_seen_at DESC, s.id"]))
            .bind(now.as_millisecond())
            .bind(idle_since(now))
            .bind(of.map_or("", |principal| principal.id.as_str()))
            .fetch_all(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        let view = |row| view(row, asking);
        rows.iter().map(view).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Ends a sign-in, if it belongs to `of` (when given).
    ///
    /// # Errors
    /// [`Error::SignInNotFound`] and [`Error::Database`].
    pub(crate) async fn end_sign_in(
        &self,
        actor: &str,
        id: &str,
        of: Option<&str>,
    ) -> Result<(), Error> {
        const PHASE: &str = "ending a sign-in";
        let mut tx = self.begin(PHASE).await?;
        let ended = sqlx::query(sql(&[
            "DELETE FROM sign_ins WHERE id = $1 AND ($2 = '' OR user_id = $2 OR token_id = $2)",
            ENDED,
        ]))
        .bind(id)
        .bind(of.unwrap_or_default())
        .fetch_optional(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        let missing = || Error::SignInNotFound { id: id.chars().take(100).collect() };
        let (_, before) =
            ended_view(&ended.ok_or_else(missing)?).map_err(Error::database(PHASE))?;
        audit::changed(&mut tx, (actor, "sign_in.end", id), Some(before), None)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_access();
        Ok(())
    }

    /// Ends the sign-in of the browser with this word, if there is one.
    pub(crate) async fn sign_out(&self, word: &str) -> Result<(), Error> {
        const PHASE: &str = "signing out";
        let mut tx = self.begin(PHASE).await?;
        let ended = sqlx::query(sql(&["DELETE FROM sign_ins WHERE hash = $1", ENDED]))
            .bind(TokenHash::of(word).as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        let Some(row) = ended else { return Ok(()) };
        let told = async |connection: &mut SqliteConnection| {
            let (name, before) = ended_view(&row)?;
            let of_user = row.text_opt("user_id")?.is_some();
            let kind = if of_user { PrincipalKind::User } else { PrincipalKind::Token };
            let draft = Draft {
                actor: &name,
                actor_kind: Some(kind.as_str()),
                action: "sign_out",
                subject: &name,
                before: Some(before),
                after: None,
            };
            audit::append(connection, draft).await
        };
        told(&mut tx).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_access();
        Ok(())
    }

    async fn note_sign_in_seen(&self, id: &str, now: Timestamp) -> Result<(), Error> {
        const PHASE: &str = "noting a sign-in's use";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query("UPDATE sign_ins SET last_seen_at = $1 WHERE id = $2 AND last_seen_at <= $3")
            .bind(now.as_millisecond())
            .bind(id)
            .bind(now.as_millisecond() - SEEN_EVERY_MS)
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }
}

/// What is told of a sign-in that has just been deleted.
const ENDED: &str = " RETURNING id, user_id, created_at, address, COALESCE(
        (SELECT name FROM users WHERE id = user_id),
        (SELECT name FROM api_tokens WHERE id = token_id), '') AS name";

/// Whose sign-in it was, and what the audit tells of it.
fn ended_view(row: &SqliteRow) -> Result<(String, Value), sqlx::Error> {
    let name = row.text("name")?;
    let told = json!({
        "id": row.text("id")?,
        "user": name,
        "signed_in_at": row.time("created_at")?,
        "address": row.text("address")?,
    });
    Ok((name, told))
}

/// Who has not asked since then has been away too long.
fn idle_since(now: Timestamp) -> i64 {
    now.as_millisecond() - milliseconds(IDLE_MAX)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

async fn insert(
    connection: &mut SqliteConnection,
    new: &NewSignIn<'_>,
    word: &Secret,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let id = Uuid::now_v7().to_string();
    let of = |kind| (new.kind == kind).then_some(new.id);
    make_room(connection, new.id, now).await?;
    sqlx::query(
        "INSERT INTO sign_ins (id, hash, user_id, token_id, created_at, last_seen_at, expires_at,
             address, user_agent)
         VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8)",
    )
    .bind(&id)
    .bind(TokenHash::of(word.expose()).as_str())
    .bind(of(PrincipalKind::User))
    .bind(of(PrincipalKind::Token))
    .bind(now.as_millisecond())
    .bind(now.as_millisecond().saturating_add(milliseconds(LIFE_MAX)))
    .bind(&new.address)
    .bind(&new.user_agent)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE users SET last_sign_in_at = $1 WHERE id = $2")
        .bind(now.as_millisecond())
        .bind(new.id)
        .execute(&mut *connection)
        .await?;
    let draft = Draft {
        actor: new.name,
        actor_kind: Some(new.kind.as_str()),
        action: "sign_in",
        subject: new.name,
        before: None,
        after: Some(json!({ "id": id, "by": new.by, "user_agent": new.user_agent })),
    };
    audit::append(connection, draft).await
}

/// Forgets what has ended, and of one user's sign-ins those beyond the limit.
async fn make_room(
    connection: &mut SqliteConnection,
    of: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM sign_ins WHERE expires_at <= $1 OR last_seen_at <= $2")
        .bind(now.as_millisecond())
        .bind(idle_since(now))
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "DELETE FROM sign_ins WHERE (user_id = $1 OR token_id = $1) AND id NOT IN
             (SELECT id FROM sign_ins WHERE user_id = $1 OR token_id = $1
              ORDER BY last_seen_at DESC, id DESC LIMIT $2)",
    )
    .bind(of)
    .bind(SIGN_INS_MAX - 1)
    .execute(connection)
    .await?;
    Ok(())
}

fn principal(row: &SqliteRow) -> Result<Principal, sqlx::Error> {
    let user: Option<String> = row.try_get("user_id")?;
    let (kind, id, name, role, groups) = match user {
        Some(id) => (PrincipalKind::User, id, "user_name", "user_role", "user_groups"),
        None => {
            let id = row.text("token_id")?;
            (PrincipalKind::Token, id, "token_name", "token_role", "token_groups")
        }
    };
    Ok(Principal {
        name: row.text(name)?,
        role: token::role(row, role)?,
        scope: Scope::of(row.json::<Vec<String>>(groups)?),
        kind,
        id,
        sign_in: Some(row.text("id")?),
    })
}

fn view(row: &SqliteRow, asking: &Principal) -> Result<SignInView, sqlx::Error> {
    let of = principal(row)?;
    let last_seen_at = row.int("last_seen_at")?;
    let idle_end = last_seen_at.saturating_add(milliseconds(IDLE_MAX));
    let expires_at = row.int("expires_at")?.min(idle_end);
    Ok(SignInView {
        current: of.sign_in == asking.sign_in,
        id: row.text("id")?,
        user: of.name,
        created_at: row.time("created_at")?,
        last_seen_at: row.time("last_seen_at")?,
        expires_at: Timestamp::from_millisecond(expires_at).unwrap_or(Timestamp::MAX),
        address: row.text("address")?,
        user_agent: row.text("user_agent")?,
    })
}
