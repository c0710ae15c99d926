//! API tokens, and whose agent token this is.

use holdfast_protocol::{HostId, message::config::Secret};
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::{
    Error, Store, audit,
    row::{Columns, sql},
};
use crate::{
    auth::{Principal, PrincipalKind, Role, Scope},
    token::{TokenHash, TokenKind},
};

/// A newly made API token.
#[derive(Debug, Clone)]
pub struct NewApiToken {
    /// Names this token.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// The token itself, to be shown once.
    pub token: Secret,
}

/// Who an API token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// The token's name.
    pub name: String,
    /// What it may do: `viewer`, `operator` or `admin`.
    pub role: String,
}

/// A use is written down at most this often: a script may ask many times a second.
const USED_EVERY_MS: i64 = 60_000;

const SELECT: &str = "SELECT id, name, role, hash, host_groups, last_used_at FROM api_tokens";
/// What a token must be at the time `$1`.
const GOOD: &str = " AND (expires_at IS NULL OR expires_at > $1)";

impl Store {
    /// Makes an API token named `name` for `role`.
    ///
    /// # Errors
    /// [`Error::TokenExists`] and [`Error::Database`].
    pub async fn create_api_token(&self, name: &str, role: &str) -> Result<NewApiToken, Error> {
        const PHASE: &str = "creating a token";
        let token = TokenKind::Api.mint();
        let mut tx = self.begin(PHASE).await?;
        let added = sqlx::query(
            "INSERT INTO api_tokens (id, name, role, hash, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(Uuid::now_v7().to_string())
        .bind(name)
        .bind(role)
        .bind(TokenHash::of(token.expose()).as_str())
        .bind(self.now().as_millisecond())
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?
        .rows_affected();
        if added == 0 {
            return Err(Error::TokenExists { name: name.to_owned() });
        }
        audit::note(&mut tx, "local", "token.create", name)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(NewApiToken { name: name.to_owned(), role: role.to_owned(), token })
    }

    /// Who `token` speaks for; `None` when it is not an API token of this server, or no more.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn api_token(&self, token: &str) -> Result<Option<ApiToken>, Error> {
        let found = self.bearer(token, self.now()).await?;
        Ok(found.map(|found| ApiToken { name: found.name, role: found.role.as_str().to_owned() }))
    }

    /// The principal that `token` speaks for.
    pub(crate) async fn bearer(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Principal>, Error> {
        const PHASE: &str = "checking a token";
        let hash = TokenHash::of(token);
        let row = sqlx::query(sql(&[SELECT, " WHERE hash = $2", GOOD]))
            .bind(now.as_millisecond())
            .bind(hash.as_str())
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        let Some(row) = row else { return Ok(None) };
        if !hash.matches(&row.text("hash").map_err(Error::database(PHASE))?) {
            return Ok(None);
        }
        let used_at = row.int_opt("last_used_at").map_err(Error::database(PHASE))?;
        let principal = principal(&row).map_err(Error::database(PHASE))?;
        if used_at.is_none_or(|at| now.as_millisecond() - at >= USED_EVERY_MS) {
            self.note_token_used(&principal.id, now).await?;
        }
        Ok(Some(principal))
    }

    /// The principal that the token with this id speaks for.
    pub(super) async fn token_by_id(
        &self,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Principal>, Error> {
        const PHASE: &str = "checking a token again";
        let row = sqlx::query(sql(&[SELECT, " WHERE id = $2", GOOD]))
            .bind(now.as_millisecond())
            .bind(id)
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        row.as_ref().map(principal).transpose().map_err(Error::database(PHASE))
    }

    async fn note_token_used(&self, id: &str, now: Timestamp) -> Result<(), Error> {
        const PHASE: &str = "noting a token's use";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(
            "UPDATE api_tokens SET last_used_at = $1
             WHERE id = $2 AND (last_used_at IS NULL OR last_used_at <= $3)",
        )
        .bind(now.as_millisecond())
        .bind(id)
        .bind(now.as_millisecond() - USED_EVERY_MS)
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Which host `token` opens the link for; `None` when it is no agent token, or its host was
    /// removed.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn agent_token(&self, token: &str) -> Result<Option<HostId>, Error> {
        const PHASE: &str = "checking an agent token";
        let hash = TokenHash::of(token);
        let row = sqlx::query(
            "SELECT t.hash, t.host_id FROM agent_tokens t JOIN hosts h ON h.id = t.host_id
             WHERE t.hash = $1 AND h.removed_at IS NULL",
        )
        .bind(hash.as_str())
        .fetch_optional(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let Some(row) = row else { return Ok(None) };
        let read = || Ok((row.text("hash")?, row.parsed("host_id")?));
        let (stored, host): (String, HostId) = read().map_err(Error::database(PHASE))?;
        Ok(hash.matches(&stored).then_some(host))
    }
}

/// A role out of a row.
pub(super) fn role(row: &SqliteRow, column: &'static str) -> Result<Role, sqlx::Error> {
    let word = row.text(column)?;
    Role::from_word(&word).ok_or_else(|| super::row::unknown(column, word))
}

fn principal(row: &SqliteRow) -> Result<Principal, sqlx::Error> {
    Ok(Principal {
        name: row.text("name")?,
        role: role(row, "role")?,
        scope: Scope::of(row.json::<Vec<String>>("host_groups")?),
        kind: PrincipalKind::Token,
        id: row.text("id")?,
        sign_in: None,
    })
}
