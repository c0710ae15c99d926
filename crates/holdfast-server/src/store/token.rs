//! API tokens, and whose agent token this is.

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, message::config::Secret};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    Error, Store, audit,
    row::{Columns, json, sql},
};
use crate::{
    auth::{Principal, PrincipalKind, Role, Scope, scope},
    token::{TokenHash, TokenKind},
    view::TokenView,
};

/// An API token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Names it.
    pub name: String,
    /// What it may do: `viewer`, `operator` or `admin`.
    pub role: String,
    /// On hosts of which groups; `*` stands for all.
    pub host_groups: Vec<String>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// A newly made API token.
#[derive(Debug, Clone)]
pub struct NewApiToken {
    /// Its id.
    pub id: String,
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
    /// Makes an API token named `name` for `role` on all hosts, on this machine.
    ///
    /// # Errors
    /// [`Error::TokenExists`] and [`Error::Database`].
    pub async fn create_api_token(&self, name: &str, role: &str) -> Result<NewApiToken, Error> {
        let host_groups = vec![scope::ALL.to_owned()];
        let new = NewToken {
            name: name.to_owned(),
            role: role.to_owned(),
            host_groups,
            expires_at: None,
        };
        self.add_token(audit::LOCAL, &new).await
    }

    /// Makes an API token.
    ///
    /// # Errors
    /// [`Error::TokenExists`] and [`Error::Database`].
    pub async fn add_token(&self, actor: &str, new: &NewToken) -> Result<NewApiToken, Error> {
        const PHASE: &str = "creating a token";
        let (id, token) = (Uuid::now_v7().to_string(), TokenKind::Api.mint());
        let mut tx = self.begin(PHASE).await?;
        let added = insert(&mut tx, &id, new, &TokenHash::of(token.expose()), self.now()).await;
        if !added.map_err(Error::database(PHASE))? {
            return Err(Error::TokenExists { name: new.name.clone() });
        }
        let after = serde_json::json!({
            "role": new.role, "host_groups": new.host_groups, "expires_at": new.expires_at,
        });
        audit::changed(&mut tx, (actor, "token.create", &new.name), None, Some(after))
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(NewApiToken { id, name: new.name.clone(), role: new.role.clone(), token })
    }

    /// All API tokens, by name, with those that have expired.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn tokens(&self) -> Result<Vec<TokenView>, Error> {
        const PHASE: &str = "reading tokens";
        let rows = sqlx::query(
            "SELECT id, name, role, host_groups, created_at, expires_at, last_used_at
             FROM api_tokens ORDER BY name",
        )
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        rows.iter().map(view).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Removes an API token, and signs out who signed in with it.
    ///
    /// # Errors
    /// [`Error::TokenNotFound`] and [`Error::Database`].
    pub async fn remove_token(&self, actor: &str, id: &str) -> Result<(), Error> {
        const PHASE: &str = "removing a token";
        let mut tx = self.begin(PHASE).await?;
        let removed = sqlx::query(
            "DELETE FROM api_tokens WHERE id = $1 OR name = $1
             RETURNING name, role, host_groups, expires_at",
        )
        .bind(id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        let missing = || Error::TokenNotFound { token: id.chars().take(100).collect() };
        let (name, before) =
            described(&removed.ok_or_else(missing)?).map_err(Error::database(PHASE))?;
        audit::changed(&mut tx, (actor, "token.remove", &name), Some(before), None)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_access();
        Ok(())
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
        self.inner.tokens.ask(TokenHash::of(token)).await
    }
}

const PHASE_AGENT: &str = "checking an agent token";

/// Which hosts these agent tokens open the link for, in their order.
pub(super) async fn agents(
    readers: &SqlitePool,
    hashes: &[TokenHash],
) -> Result<Vec<Option<HostId>>, Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT t.hash, t.host_id FROM agent_tokens t JOIN hosts h ON h.id = t.host_id
         WHERE h.removed_at IS NULL AND t.hash IN (",
    );
    let mut list = query.separated(", ");
    for hash in hashes {
        list.push_bind(hash.as_str());
    }
    query.push(")");
    let rows = query.build().fetch_all(readers).await.map_err(Error::database(PHASE_AGENT))?;
    let read = |row: &SqliteRow| Ok((row.text("hash")?, row.parsed("host_id")?));
    let known: BTreeMap<String, HostId> =
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE_AGENT))?;
    let owner = |hash: &TokenHash| {
        let found = known.get_key_value(hash.as_str());
        found.filter(|(stored, _)| hash.matches(stored)).map(|(_, host)| *host)
    };
    Ok(hashes.iter().map(owner).collect())
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

async fn insert(
    connection: &mut SqliteConnection,
    id: &str,
    new: &NewToken,
    hash: &TokenHash,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let added = sqlx::query(
        "INSERT INTO api_tokens (id, name, role, hash, created_at, host_groups, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING",
    )
    .bind(id)
    .bind(&new.name)
    .bind(&new.role)
    .bind(hash.as_str())
    .bind(now.as_millisecond())
    .bind(json(&new.host_groups))
    .bind(new.expires_at.map(Timestamp::as_millisecond))
    .execute(connection)
    .await?;
    Ok(added.rows_affected() == 1)
}

/// The name of a token, and what the audit tells of it.
fn described(row: &SqliteRow) -> Result<(String, Value), sqlx::Error> {
    let told = serde_json::json!({
        "role": row.text("role")?,
        "host_groups": row.json::<Vec<String>>("host_groups")?,
        "expires_at": row.time_opt("expires_at")?,
    });
    Ok((row.text("name")?, told))
}

fn view(row: &SqliteRow) -> Result<TokenView, sqlx::Error> {
    Ok(TokenView {
        id: row.text("id")?,
        name: row.text("name")?,
        role: role(row, "role")?,
        host_groups: row.json("host_groups")?,
        created_at: row.time("created_at")?,
        expires_at: row.time_opt("expires_at")?,
        last_used_at: row.time_opt("last_used_at")?,
    })
}
