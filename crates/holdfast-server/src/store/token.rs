//! API tokens, and whose agent token this is.

use holdfast_protocol::{HostId, message::config::Secret};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Error, Store, audit, row::Columns};
use crate::token::{TokenHash, TokenKind};

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
        .bind(Timestamp::now().as_millisecond())
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

    /// Who `token` speaks for; `None` when it is not an API token of this server.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn api_token(&self, token: &str) -> Result<Option<ApiToken>, Error> {
        const PHASE: &str = "checking a token";
        let hash = TokenHash::of(token);
        let row = sqlx::query("SELECT name, role, hash FROM api_tokens WHERE hash = $1")
            .bind(hash.as_str())
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        let Some(row) = row else { return Ok(None) };
        let read = || Ok((row.text("hash")?, row.text("name")?, row.text("role")?));
        let (stored, name, role) = read().map_err(Error::database(PHASE))?;
        Ok(hash.matches(&stored).then_some(ApiToken { name, role }))
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
