//! Hosts whose agents speak another system's words.
//!
//! Such an agent never enrols by the link: its token is made with the host, and the host's
//! incarnation is made up, so that the rest of the store sees an enrolled host like any other.

use holdfast_protocol::{
    HostId, Incarnation, JobId,
    dialect::Dialect,
    message::{
        config::Secret,
        link::{Facts, Hello},
    },
};
use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Error, Opened, Store, audit,
    enrolment::{mint, replace_token},
    host::described,
    row::{Columns, int},
};
use crate::{
    secret::Place,
    token::{TokenHash, TokenKind},
};

/// A host of another system to add.
#[derive(Debug, Clone)]
pub struct NewForeignHost {
    /// Its name in the fleet.
    pub name: String,
    /// How its agent speaks.
    pub dialect: Dialect,
    /// Where the server dials the agent; empty when the agent dials.
    pub address: String,
    /// What the server shows at that address; empty for nothing.
    pub address_token: Secret,
}

/// A host of another system that was added.
#[derive(Debug, Clone)]
pub struct ForeignHost {
    /// Its id.
    pub host_id: HostId,
    /// Its name.
    pub name: String,
    /// What its agent shows; none when the server dials. To be shown once.
    pub agent_token: Option<Secret>,
    /// What an installer of that system may trade for an agent token, once.
    pub install_token: Option<Secret>,
}

/// A job that the host's agent may know of.
#[derive(Debug, Clone)]
pub(crate) struct OpenJobRow {
    pub(crate) id: JobId,
    pub(crate) group: String,
    pub(crate) paused: bool,
    pub(crate) cancel_requested: bool,
    /// The number of the last line of its log that is kept.
    pub(crate) last_line: u64,
    /// The agent has taken it, as far as the server knows.
    pub(crate) taken: bool,
}

/// A host that the server dials.
#[derive(Debug, Clone)]
pub(crate) struct DialledHost {
    pub(crate) id: HostId,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) token: Secret,
}

impl Store {
    /// Adds a host of another system and mints what its agent needs.
    ///
    /// # Errors
    /// [`Error::HostExists`] and [`Error::Database`].
    pub async fn add_foreign_host(
        &self,
        actor: &str,
        host: &NewForeignHost,
    ) -> Result<ForeignHost, Error> {
        const PHASE: &str = "adding a host";
        let id = HostId::from_uuid(Uuid::now_v7());
        let now = self.now();
        let dials = host.address.is_empty();
        let token = dials.then(|| mint_for(host.dialect));
        let mut tx = self.begin(PHASE).await?;
        let sealed = self.seal_address_token(id, &host.address_token);
        let write = async |connection: &mut SqliteConnection| {
            if !insert(connection, id, host, &sealed).await? {
                return Ok(None);
            }
            let mut install = None;
            if let Some(token) = &token {
                replace_token(connection, id, token, now).await?;
                install = Some(mint(connection, id, now).await?.0);
            }
            let after = described(&mut *connection, id).await?;
            audit::changed(connection, (actor, "host.add", &host.name), None, after).await?;
            Ok(Some(install))
        };
        let written = write(&mut tx).await.map_err(Error::database(PHASE))?;
        let Some(install_token) = written else {
            return Err(Error::HostExists { name: host.name.clone() });
        };
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(id);
        Ok(ForeignHost { host_id: id, name: host.name.clone(), agent_token: token, install_token })
    }

    /// Trades an install token for an agent token, for an installer of `dialect`.
    ///
    /// # Errors
    /// [`Error::EnrolmentTokenInvalid`] and [`Error::Database`].
    pub(crate) async fn install(
        &self,
        dialect: Dialect,
        token: &Secret,
    ) -> Result<(HostId, Secret), Error> {
        const PHASE: &str = "installing an agent";
        let now = Timestamp::now();
        let agent_token = mint_for(dialect);
        let mut tx = self.begin(PHASE).await?;
        let host: Option<String> = sqlx::query_scalar(
            "UPDATE enrolment_tokens SET used_at = $1
             WHERE hash = $2 AND used_at IS NULL AND expires_at > $1
               AND host_id IN (SELECT id FROM hosts WHERE removed_at IS NULL AND dialect = $3)
             RETURNING host_id",
        )
        .bind(now.as_millisecond())
        .bind(TokenHash::of(token.expose()).as_str())
        .bind(dialect.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        let host = host.and_then(|host| host.parse::<HostId>().ok());
        let host = host.ok_or(Error::EnrolmentTokenInvalid)?;
        let name = self.host_name(host).await?;
        let settle = async |connection: &mut SqliteConnection| {
            replace_token(connection, host, &agent_token, now).await?;
            let after = described(connection, host).await?;
            audit::changed(connection, (&name, "host.enrol", &name), None, after).await
        };
        settle(&mut tx).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok((host, agent_token))
    }

    /// Takes a host's agent token back. The host stays, and so does all it has told.
    pub(crate) async fn revoke_agent(&self, host: HostId) -> Result<(), Error> {
        const PHASE: &str = "revoking an agent token";
        let name = self.host_name(host).await?;
        let mut tx = self.begin(PHASE).await?;
        sqlx::query("DELETE FROM agent_tokens WHERE host_id = $1")
            .bind(host.to_string())
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        let before = described(&mut tx, host).await.map_err(Error::database(PHASE))?;
        audit::changed(&mut tx, (&name, "host.leave", &name), before, None)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// How the agent of a host speaks; `None` for Holdfast's own.
    ///
    /// # Errors
    /// [`Error::HostNotFound`] and [`Error::Database`].
    pub async fn dialect_of(&self, host: HostId) -> Result<Option<Dialect>, Error> {
        const PHASE: &str = "reading a host";
        let word: Option<String> =
            sqlx::query_scalar("SELECT dialect FROM hosts WHERE id = $1 AND removed_at IS NULL")
                .bind(host.to_string())
                .fetch_optional(self.readers())
                .await
                .map_err(Error::database(PHASE))?;
        let word = word.ok_or_else(|| Error::HostNotFound { host: host.to_string() })?;
        Ok(Dialect::from_word(&word))
    }

    /// The host that a job runs on.
    pub(crate) async fn host_of(&self, job: JobId) -> Result<HostId, Error> {
        Ok(self.job(job).await?.host_id)
    }

    /// Takes the epoch for a session of an agent that has no hello. What is known of its machine
    /// stays, until it tells.
    pub(crate) async fn open_foreign(&self, host: HostId) -> Result<Opened, Error> {
        let hello = self.hello_of(host).await?;
        let opened = self.open_session(host, &hello).await?;
        opened.map_err(|_| Error::HostNotFound { host: host.to_string() })
    }

    async fn hello_of(&self, host: HostId) -> Result<Hello, Error> {
        const PHASE: &str = "opening a session";
        let row = sqlx::query(
            "SELECT incarnation, boot, hostname, os, arch, agent_version, restic_version, time_zone
             FROM hosts WHERE id = $1 AND removed_at IS NULL",
        )
        .bind(host.to_string())
        .fetch_optional(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let row = row.ok_or_else(|| Error::HostNotFound { host: host.to_string() })?;
        let read = || {
            let incarnation: Option<Incarnation> = row.parsed_opt("incarnation")?;
            Ok(Hello {
                protocol_version: holdfast_protocol::PROTOCOL_VERSION,
                incarnation: incarnation.unwrap_or(Incarnation::from_uuid(Uuid::nil())),
                boot: row.count("boot")?,
                instance: None,
                epoch: 0,
                received: 0,
                oldest: 1,
                capabilities: Vec::new(),
                facts: Facts {
                    agent_version: row.text("agent_version")?,
                    restic_version: row.text("restic_version")?,
                    hostname: row.text("hostname")?,
                    os: row.text("os")?,
                    arch: row.text("arch")?,
                    boot_time: None,
                    time_zone: row.text("time_zone")?,
                },
            })
        };
        read().map_err(Error::database(PHASE))
    }

    /// Writes down what an agent said about its machine; what it left out stays as it was.
    pub(crate) async fn note_facts(
        &self,
        host: HostId,
        epoch: u64,
        facts: &Facts,
    ) -> Result<(), Error> {
        const PHASE: &str = "noting a host's facts";
        let bounded = |text: &str| text.chars().take(256).collect::<String>();
        let mut tx = self.begin(PHASE).await?;
        let changed = sqlx::query(
            "UPDATE hosts SET
                 agent_version = COALESCE(NULLIF($3, ''), agent_version),
                 restic_version = COALESCE(NULLIF($4, ''), restic_version),
                 hostname = COALESCE(NULLIF($5, ''), hostname),
                 os = COALESCE(NULLIF($6, ''), os),
                 arch = COALESCE(NULLIF($7, ''), arch),
                 time_zone = COALESCE(NULLIF($8, ''), time_zone)
             WHERE id = $1 AND epoch = $2",
        )
        .bind(host.to_string())
        .bind(int(epoch))
        .bind(bounded(&facts.agent_version))
        .bind(bounded(&facts.restic_version))
        .bind(bounded(&facts.hostname))
        .bind(bounded(&facts.os))
        .bind(bounded(&facts.arch))
        .bind(bounded(&facts.time_zone))
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?
        .rows_affected();
        tx.commit().await.map_err(Error::database(PHASE))?;
        if changed > 0 {
            self.bus().touch_host(host);
        }
        Ok(())
    }

    /// The jobs of a host that have not ended.
    pub(crate) async fn open_jobs(&self, host: HostId) -> Result<Vec<OpenJobRow>, Error> {
        const PHASE: &str = "reading a host's open jobs";
        let rows = sqlx::query(
            "SELECT id, group_name, status, cancel_requested, accepted_at,
                 (SELECT MAX(seq) FROM log_lines WHERE job_id = jobs.id) AS last_line
             FROM jobs WHERE host_id = $1 AND status IN ('queued', 'running', 'paused')
             ORDER BY created_at, id",
        )
        .bind(host.to_string())
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let status = row.text("status")?;
            Ok(OpenJobRow {
                id: row.parsed("id")?,
                group: row.text("group_name")?,
                paused: status == "paused",
                cancel_requested: row.flag("cancel_requested")?,
                last_line: row.count_opt("last_line")?.unwrap_or(0),
                taken: status != "queued" || row.int_opt("accepted_at")?.is_some(),
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// The hosts that the server dials.
    pub(crate) async fn dialled_hosts(&self) -> Result<Vec<DialledHost>, Error> {
        const PHASE: &str = "reading the hosts to dial";
        let rows = sqlx::query(
            "SELECT id, name, address, address_token FROM hosts
             WHERE removed_at IS NULL AND address <> '' ORDER BY name",
        )
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        rows.iter().map(|row| self.read_dialled(row, PHASE)).collect()
    }

    fn read_dialled(
        &self,
        row: &sqlx::sqlite::SqliteRow,
        phase: &'static str,
    ) -> Result<DialledHost, Error> {
        let database = Error::database(phase);
        let id: HostId = row.parsed("id").map_err(&database)?;
        let sealed = row.text("address_token").map_err(&database)?;
        let token = if sealed.is_empty() {
            Secret::default()
        } else {
            let text = id.to_string();
            self.sealer().unseal(address_token(&text), &sealed).map_err(Error::damaged(phase))?
        };
        Ok(DialledHost {
            id,
            name: row.text("name").map_err(&database)?,
            address: row.text("address").map_err(&database)?,
            token,
        })
    }

    fn seal_address_token(&self, host: HostId, token: &Secret) -> String {
        if token.expose().is_empty() {
            return String::new();
        }
        self.sealer().seal(address_token(&host.to_string()), token.expose())
    }

    /// The data key of a run: the one it has, else `fresh`, which is kept first.
    pub(crate) async fn data_key(&self, job: JobId, fresh: &Secret) -> Result<Secret, Error> {
        const PHASE: &str = "keeping a data key";
        let text = job.to_string();
        let mut tx = self.begin(PHASE).await?;
        let kept: String = sqlx::query_scalar(
            "INSERT INTO data_keys (job_id, data_key, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (job_id) DO UPDATE SET job_id = excluded.job_id RETURNING data_key",
        )
        .bind(&text)
        .bind(self.sealer().seal(data_key(&text), fresh.expose()))
        .bind(Timestamp::now().as_millisecond())
        .fetch_one(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.sealer().unseal(data_key(&text), &kept).map_err(Error::damaged(PHASE))
    }
}

fn address_token(host: &str) -> Place<'_> {
    Place { table: "hosts", row: host, column: "address_token" }
}

fn data_key(job: &str) -> Place<'_> {
    Place { table: "data_keys", row: job, column: "data_key" }
}

/// Some agents look at the shape of their key before they use it.
fn mint_for(dialect: Dialect) -> Secret {
    if dialect == Dialect::Backupy { TokenKind::mint_backupy() } else { TokenKind::Agent.mint() }
}

async fn insert(
    connection: &mut SqliteConnection,
    id: HostId,
    host: &NewForeignHost,
    sealed: &str,
) -> Result<bool, sqlx::Error> {
    let now = Timestamp::now().as_millisecond();
    let added = sqlx::query(
        "INSERT INTO hosts (id, name, created_at, enrolled_at, incarnation, dialect, address,
             address_token)
         VALUES ($1, $2, $3, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(id.to_string())
    .bind(&host.name)
    .bind(now)
    .bind(Uuid::now_v7().to_string())
    .bind(host.dialect.as_str())
    .bind(&host.address)
    .bind(sealed)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(added > 0)
}
