//! How a machine joins: a host is added, a one-use token is carried to it, an agent redeems it.

use std::time::Duration;

use holdfast_protocol::{HostId, Incarnation, JobId, message::config::Secret};
use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{Error, Store, audit, host::described, job, outbox, row::Columns};
use crate::token::{TokenHash, TokenKind};

/// How long an enrolment token may be used.
const ENROLMENT_LIFE: Duration = Duration::from_secs(3600);

/// A host that waits for its agent.
#[derive(Debug, Clone)]
pub struct NewHost {
    /// Its id.
    pub host_id: HostId,
    /// Its name.
    pub name: String,
    /// What the agent enrols with, to be shown once.
    pub enrolment_token: Secret,
    /// When the token stops working.
    pub expires_at: Timestamp,
}

/// What an agent brings to be enrolled.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The enrolment token.
    pub token: Secret,
    /// Which life of an outbox this is.
    pub incarnation: Incarnation,
    /// The machine's own name.
    pub hostname: String,
    /// `linux`, `windows`, `darwin`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub arch: String,
    /// The agent's version.
    pub agent_version: String,
}

/// What an enrolled agent takes home.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// The host it now is.
    pub host_id: HostId,
    /// That host's name.
    pub host_name: String,
    /// What opens the link from now on.
    pub agent_token: Secret,
}

impl Store {
    /// Adds a host and mints its enrolment token.
    ///
    /// # Errors
    /// [`Error::HostExists`] and [`Error::Database`].
    pub async fn add_host(&self, actor: &str, name: &str) -> Result<NewHost, Error> {
        const PHASE: &str = "adding a host";
        let (id, now) = (HostId::from_uuid(Uuid::now_v7()), self.now());
        let mut tx = self.begin(PHASE).await?;
        let added = sqlx::query(
            "INSERT INTO hosts (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(id.to_string())
        .bind(name)
        .bind(now.as_millisecond())
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?
        .rows_affected();
        if added == 0 {
            return Err(Error::HostExists { name: name.to_owned() });
        }
        let (token, expires_at) = mint(&mut tx, id, now).await.map_err(Error::database(PHASE))?;
        let after = described(&mut tx, id).await.map_err(Error::database(PHASE))?;
        audit::changed(&mut tx, (actor, "host.add", name), None, after)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(id);
        Ok(NewHost { host_id: id, name: name.to_owned(), enrolment_token: token, expires_at })
    }

    /// Mints another enrolment token for a host. Its older unused ones stop working; its agent
    /// token goes on working until the new one is redeemed.
    ///
    /// # Errors
    /// [`Error::HostNotFound`] and [`Error::Database`].
    pub async fn renew_enrolment(&self, actor: &str, host: HostId) -> Result<NewHost, Error> {
        const PHASE: &str = "making an enrolment token";
        let name = self.host_name(host).await?;
        let mut tx = self.begin(PHASE).await?;
        let renew = async |connection: &mut SqliteConnection| {
            sqlx::query("DELETE FROM enrolment_tokens WHERE host_id = $1 AND used_at IS NULL")
                .bind(host.to_string())
                .execute(&mut *connection)
                .await?;
            let minted = mint(&mut *connection, host, self.now()).await?;
            let after = serde_json::json!({ "token_expires_at": minted.1 });
            let what = (actor, "host.renew_enrolment", name.as_str());
            audit::changed(connection, what, None, Some(after)).await?;
            Ok(minted)
        };
        let (token, expires_at) = renew(&mut tx).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(NewHost { host_id: host, name, enrolment_token: token, expires_at })
    }

    /// Trades an enrolment token for an agent token. Of any number of tries at once, one wins.
    ///
    /// An agent with another outbox than the host had starts from nothing: what waits for it is
    /// numbered from 1 again, and jobs only the old agent knew about are interrupted.
    ///
    /// # Errors
    /// [`Error::EnrolmentTokenInvalid`], [`Error::EnrolmentTokenUsed`],
    /// [`Error::EnrolmentTokenExpired`] and [`Error::Database`].
    pub async fn enrol(&self, enrolment: &Enrolment) -> Result<Enrolled, Error> {
        const PHASE: &str = "enrolling an agent";
        let now = self.now();
        let hash = TokenHash::of(enrolment.token.expose());
        let mut tx = self.begin(PHASE).await?;
        let host = redeem(&mut tx, &hash, now).await.map_err(Error::database(PHASE))?;
        let Some(host) = host else {
            return Err(why_not(&mut tx, &hash).await.unwrap_or_else(Error::database(PHASE)));
        };
        let agent_token = TokenKind::Agent.mint();
        let settled = settle(&mut tx, host, enrolment, &agent_token, now).await;
        let (host_name, touched) = settled.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(host);
        touched.into_iter().for_each(|job| self.bus().touch_job(job));
        Ok(Enrolled { host_id: host, host_name, agent_token })
    }
}

pub(super) async fn mint(
    connection: &mut SqliteConnection,
    host: HostId,
    now: Timestamp,
) -> Result<(Secret, Timestamp), sqlx::Error> {
    let token = TokenKind::Enrolment.mint();
    // What is told is what is stored: whole seconds.
    let expires_at = Timestamp::from_second((now + ENROLMENT_LIFE).as_second()).unwrap_or(now);
    sqlx::query(
        "INSERT INTO enrolment_tokens (hash, host_id, created_at, expires_at)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(TokenHash::of(token.expose()).as_str())
    .bind(host.to_string())
    .bind(now.as_millisecond())
    .bind(expires_at.as_millisecond())
    .execute(connection)
    .await?;
    Ok((token, expires_at))
}

/// The one statement that decides who wins.
async fn redeem(
    connection: &mut SqliteConnection,
    hash: &TokenHash,
    now: Timestamp,
) -> Result<Option<HostId>, sqlx::Error> {
    let row = sqlx::query(
        "UPDATE enrolment_tokens SET used_at = $1
         WHERE hash = $2 AND used_at IS NULL AND expires_at > $1
           AND host_id IN (SELECT id FROM hosts WHERE removed_at IS NULL)
         RETURNING host_id",
    )
    .bind(now.as_millisecond())
    .bind(hash.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(|row| row.parsed("host_id")).transpose()
}

async fn why_not(
    connection: &mut SqliteConnection,
    hash: &TokenHash,
) -> Result<Error, sqlx::Error> {
    let row = sqlx::query(
        "SELECT t.used_at, t.expires_at FROM enrolment_tokens t JOIN hosts h ON h.id = t.host_id
         WHERE t.hash = $1 AND h.removed_at IS NULL",
    )
    .bind(hash.as_str())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(Error::EnrolmentTokenInvalid) };
    Ok(match row.time_opt("used_at")? {
        Some(_) => Error::EnrolmentTokenUsed,
        None => Error::EnrolmentTokenExpired { expired_at: row.time("expires_at")? },
    })
}

/// Writes the new agent's identity, and what that means for what was under way.
async fn settle(
    connection: &mut SqliteConnection,
    host: HostId,
    enrolment: &Enrolment,
    agent_token: &Secret,
    now: Timestamp,
) -> Result<(String, Vec<JobId>), sqlx::Error> {
    let row = sqlx::query("SELECT name, incarnation FROM hosts WHERE id = $1")
        .bind(host.to_string())
        .fetch_one(&mut *connection)
        .await?;
    let name = row.text("name")?;
    let known: Option<Incarnation> = row.parsed_opt("incarnation")?;
    let before = described(&mut *connection, host).await?;
    let mut touched = Vec::new();
    if known != Some(enrolment.incarnation) {
        touched = job::interrupt_unqueued(&mut *connection, host, now).await?;
        outbox::renumber(&mut *connection, host, 1).await?;
    }
    replace_token(&mut *connection, host, agent_token, now).await?;
    write_identity(&mut *connection, host, enrolment, now).await?;
    let after = described(&mut *connection, host).await?;
    audit::changed(connection, (&name, "host.enrol", &name), before, after).await?;
    Ok((name, touched))
}

pub(super) async fn replace_token(
    connection: &mut SqliteConnection,
    host: HostId,
    agent_token: &Secret,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM agent_tokens WHERE host_id = $1")
        .bind(host.to_string())
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO agent_tokens (hash, host_id, created_at) VALUES ($1, $2, $3)")
        .bind(TokenHash::of(agent_token.expose()).as_str())
        .bind(host.to_string())
        .bind(now.as_millisecond())
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_identity(
    connection: &mut SqliteConnection,
    host: HostId,
    enrolment: &Enrolment,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    // The epoch rises so that a session of the agent before this one can write nothing more. Who
    // enrols speaks our words, whatever the agent before it spoke.
    sqlx::query(
        "UPDATE hosts SET
             boot = CASE WHEN incarnation = $2 THEN boot ELSE 0 END,
             received = CASE WHEN incarnation = $2 THEN received ELSE 0 END,
             incarnation = $2, instance = NULL, enrolled_at = $3, epoch = epoch + 1,
             dialect = '', address = '',
             hostname = $4, os = $5, arch = $6, agent_version = $7
         WHERE id = $1",
    )
    .bind(host.to_string())
    .bind(enrolment.incarnation.to_string())
    .bind(now.as_millisecond())
    .bind(&enrolment.hostname)
    .bind(&enrolment.os)
    .bind(&enrolment.arch)
    .bind(&enrolment.agent_version)
    .execute(connection)
    .await?;
    Ok(())
}
