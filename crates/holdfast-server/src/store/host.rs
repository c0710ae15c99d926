//! Hosts: finding, listing and removing them.

use std::collections::BTreeMap;

use holdfast_protocol::{FRAME_SIZE_MAX, HostId, Incarnation, JobId, Payload, dialect::Dialect};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{
    Error, Store, audit, evaluation, group, job,
    row::{Columns, json},
    schedule,
};

/// What is stored about a host.
#[derive(Debug, Clone)]
pub struct HostRow {
    /// Its id.
    pub id: HostId,
    /// Its name in the fleet.
    pub name: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// Which agent it has; none before enrolment.
    pub incarnation: Option<Incarnation>,
    /// When the agent was last heard, as far as that was written down.
    pub last_seen_at: Option<Timestamp>,
    /// The version of its configuration.
    pub config_version: i64,
    /// The version its agent has in force.
    pub config_applied: i64,
    /// The machine's own name.
    pub hostname: String,
    /// `linux`, `windows`, `darwin`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub arch: String,
    /// The agent's version.
    pub agent_version: String,
    /// restic's version on it.
    pub restic_version: String,
    /// IANA name of the machine's time zone.
    pub time_zone: String,
    /// Sessions it has had.
    pub sessions: u64,
    /// The host group it is in; empty for none.
    pub host_group: String,
    /// What people noted about it.
    pub labels: BTreeMap<String, String>,
    /// How its agent speaks; `None` for Holdfast's own words.
    pub dialect: Option<Dialect>,
}

/// What is to be changed about a host; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct HostChange {
    /// The host group it is in; empty for none.
    pub host_group: Option<String>,
    /// What people note about it.
    pub labels: Option<BTreeMap<String, String>>,
}

const SELECT: &str = "SELECT id, name, created_at, incarnation, last_seen_at, config_version,
    config_applied, hostname, os, arch, agent_version, restic_version, time_zone, sessions,
    host_group, labels, dialect FROM hosts WHERE removed_at IS NULL";

impl Store {
    /// The id of the host whose id or name is `text`.
    ///
    /// # Errors
    /// [`Error::HostNotFound`] and [`Error::Database`].
    pub async fn find_host(&self, text: &str) -> Result<HostId, Error> {
        const PHASE: &str = "looking for a host";
        // An id wins over a name, so that nobody can hide a host by naming another after its id.
        let row = sqlx::query(
            "SELECT id FROM hosts WHERE removed_at IS NULL AND (name = $1 OR id = $2)
             ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END",
        )
        .bind(text)
        .bind(text.to_ascii_lowercase())
        .fetch_optional(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let row = row.ok_or_else(|| not_found(text))?;
        row.parsed("id").map_err(Error::database(PHASE))
    }

    /// The name of a host that has not been removed.
    pub(crate) async fn host_name(&self, host: HostId) -> Result<String, Error> {
        const PHASE: &str = "reading a host";
        sqlx::query_scalar("SELECT name FROM hosts WHERE id = $1 AND removed_at IS NULL")
            .bind(host.to_string())
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?
            .ok_or_else(|| not_found(&host.to_string()))
    }

    /// The hosts with these ids, or all of them, by name.
    pub(crate) async fn hosts(&self, only: Option<&[HostId]>) -> Result<Vec<HostRow>, Error> {
        const PHASE: &str = "reading hosts";
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        only_hosts(&mut query, "id", only);
        query.push(" ORDER BY name");
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Changes which host group a host is in, and what people note about it.
    ///
    /// # Errors
    /// [`Error::HostNotFound`] and [`Error::Database`].
    pub async fn change_host(
        &self,
        actor: &str,
        host: HostId,
        change: &HostChange,
    ) -> Result<(), Error> {
        const PHASE: &str = "changing a host";
        let mut tx = self.begin(PHASE).await?;
        let before = described(&mut tx, host).await.map_err(Error::database(PHASE))?;
        let name: Option<String> = sqlx::query_scalar(
            "UPDATE hosts SET host_group = COALESCE($2, host_group), labels = COALESCE($3, labels)
             WHERE id = $1 AND removed_at IS NULL RETURNING name",
        )
        .bind(host.to_string())
        .bind(&change.host_group)
        .bind(change.labels.as_ref().map(json))
        .fetch_optional(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        let name = name.ok_or_else(|| not_found(&host.to_string()))?;
        let after = described(&mut tx, host).await.map_err(Error::database(PHASE))?;
        audit::changed(&mut tx, (actor, "host.change", &name), before, after)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(host);
        self.bus().touch_access();
        Ok(())
    }

    /// Takes a host out of the fleet: its tokens stop working, what waits for it is dropped and its
    /// open jobs end. Its ended jobs stay.
    ///
    /// # Errors
    /// [`Error::HostNotFound`] and [`Error::Database`].
    pub async fn remove_host(&self, actor: &str, host: HostId) -> Result<(), Error> {
        const PHASE: &str = "removing a host";
        let mut tx = self.begin(PHASE).await?;
        let removed =
            remove(&mut tx, actor, host, self.now()).await.map_err(Error::database(PHASE))?;
        let Some(jobs) = removed else { return Err(not_found(&host.to_string())) };
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().remove_host(host);
        jobs.into_iter().for_each(|job| self.bus().touch_job(job));
        Ok(())
    }

    /// How many records of a host could not be applied and were set aside.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn dead_letter_count(&self, host: HostId) -> Result<u64, Error> {
        const PHASE: &str = "counting set-aside records";
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM dead_letters WHERE host_id = $1")
            .bind(host.to_string())
            .fetch_one(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        Ok(count.try_into().unwrap_or(0))
    }

    /// Writes down when these hosts were last heard.
    pub(crate) async fn note_seen(&self, seen: &[(HostId, Timestamp)]) -> Result<(), Error> {
        const PHASE: &str = "noting when hosts were heard";
        // Others want to write too, so a large fleet is written in parts.
        for part in seen.chunks(SEEN_PER_COMMIT) {
            let mut tx = self.begin(PHASE).await?;
            note_seen(&mut tx, part).await.map_err(Error::database(PHASE))?;
            tx.commit().await.map_err(Error::database(PHASE))?;
        }
        Ok(())
    }
}

/// So many hosts at a time; each takes two of a statement's parameters.
const SEEN_PER_COMMIT: usize = 500;

/// Writes down when these hosts were last heard, in one statement.
pub(super) async fn note_seen(
    connection: &mut SqliteConnection,
    seen: &[(HostId, Timestamp)],
) -> Result<(), sqlx::Error> {
    if seen.is_empty() {
        return Ok(());
    }
    let mut query =
        QueryBuilder::<Sqlite>::new("UPDATE hosts SET last_seen_at = heard.column2 FROM (");
    query.push_values(seen, |mut row, (host, at)| {
        row.push_bind(host.to_string()).push_bind(at.as_millisecond());
    });
    query.push(") AS heard WHERE hosts.id = heard.column1");
    query.build().execute(connection).await?;
    Ok(())
}

/// Narrows a query with a `WHERE` to some hosts.
pub(super) fn only_hosts(
    query: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    only: Option<&[HostId]>,
) {
    let Some(only) = only else { return };
    query.push(" AND ").push(column).push(" IN (");
    let mut list = query.separated(", ");
    for host in only {
        list.push_bind(host.to_string());
    }
    query.push(")");
}

/// Narrows a query with a `WHERE` to hosts of some host groups.
pub(super) fn only_groups<'a>(
    query: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    groups: impl IntoIterator<Item = &'a String>,
) {
    query.push(" AND ").push(column).push(" IN (");
    let mut list = query.separated(", ");
    for group in groups {
        list.push_bind(group.clone());
    }
    query.push(")");
}

/// A whole configuration travels in one frame. What is not counted here is well below the rest.
const CONFIG_BYTES_MAX: usize = FRAME_SIZE_MAX - 512 * 1024;

/// A configuration that no frame can carry to its agent. It travels as an error of the database
/// from wherever a configuration is changed, and [`Error::database`] gives it its own face.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is too large for the agent: {bytes} bytes")]
pub(super) struct ConfigTooLarge {
    pub(super) bytes: usize,
}

/// Raises the version of a host's configuration, in the transaction that changes it. One that could
/// never reach the agent is refused here, while somebody is looking.
pub(super) async fn raise_config_version(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<(), sqlx::Error> {
    let bytes = config_bytes(&mut *connection, host).await?;
    if bytes > CONFIG_BYTES_MAX {
        return Err(sqlx::Error::Encode(ConfigTooLarge { bytes }.into()));
    }
    sqlx::query("UPDATE hosts SET config_version = config_version + 1 WHERE id = $1")
        .bind(host.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

async fn config_bytes(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<usize, sqlx::Error> {
    let groups = group::config_of(&mut *connection, host).await?;
    let schedules = schedule::config_of(&mut *connection, host).await?;
    // Sealed they are longer than open.
    let repositories: i64 = sqlx::query_scalar(
        "SELECT COALESCE(SUM(LENGTH(url) + LENGTH(password) + LENGTH(environment)), 0)
         FROM repositories
         WHERE id IN (SELECT repository_id FROM source_groups WHERE host_id = $1)",
    )
    .bind(host.to_string())
    .fetch_one(connection)
    .await?;
    let open = [Payload::of(&groups), Payload::of(&schedules)].map(|part| part.as_str().len());
    Ok(open.iter().sum::<usize>() + usize::try_from(repositories).unwrap_or(usize::MAX / 2))
}

fn not_found(host: &str) -> Error {
    Error::HostNotFound { host: host.chars().take(100).collect() }
}

fn read(row: &SqliteRow) -> Result<HostRow, sqlx::Error> {
    Ok(HostRow {
        id: row.parsed("id")?,
        name: row.text("name")?,
        created_at: row.time("created_at")?,
        incarnation: row.parsed_opt("incarnation")?,
        last_seen_at: row.time_opt("last_seen_at")?,
        config_version: row.int("config_version")?,
        config_applied: row.int("config_applied")?,
        hostname: row.text("hostname")?,
        os: row.text("os")?,
        arch: row.text("arch")?,
        agent_version: row.text("agent_version")?,
        restic_version: row.text("restic_version")?,
        time_zone: row.text("time_zone")?,
        sessions: row.count("sessions")?,
        host_group: row.text("host_group")?,
        labels: row.json("labels")?,
        dialect: Dialect::from_word(&row.text("dialect")?),
    })
}

/// A host as the audit tells of it: what people decide about it, and which machine it is.
pub(super) async fn described(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<Option<Value>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT id, host_group, labels, dialect, address, hostname, incarnation FROM hosts
         WHERE id = $1",
    )
    .bind(host.to_string())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let groups: Vec<String> =
        sqlx::query_scalar("SELECT name FROM source_groups WHERE host_id = $1 ORDER BY name")
            .bind(host.to_string())
            .fetch_all(connection)
            .await?;
    Ok(Some(serde_json::json!({
        "id": row.text("id")?,
        "host_group": row.text("host_group")?,
        "labels": row.json::<Value>("labels")?,
        "dialect": row.text("dialect")?,
        "address": row.text("address")?,
        "hostname": row.text("hostname")?,
        "incarnation": row.text_opt("incarnation")?,
        "groups": groups,
    })))
}

async fn remove(
    connection: &mut SqliteConnection,
    actor: &str,
    host: HostId,
    now: Timestamp,
) -> Result<Option<Vec<JobId>>, sqlx::Error> {
    let before = described(&mut *connection, host).await?;
    let name: Option<String> = sqlx::query_scalar(
        "UPDATE hosts SET removed_at = $1, epoch = epoch + 1
         WHERE id = $2 AND removed_at IS NULL RETURNING name",
    )
    .bind(now.as_millisecond())
    .bind(host.to_string())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(name) = name else { return Ok(None) };
    for statement in [
        "DELETE FROM agent_tokens WHERE host_id = $1",
        "DELETE FROM enrolment_tokens WHERE host_id = $1",
        "DELETE FROM outbox WHERE host_id = $1",
        "DELETE FROM schedules WHERE host_id = $1",
        "DELETE FROM source_groups WHERE host_id = $1",
    ] {
        sqlx::query(statement).bind(host.to_string()).execute(&mut *connection).await?;
    }
    evaluation::close_forms_of(&mut *connection, host, now).await?;
    let jobs = job::end_open(&mut *connection, host, &job::HOST_REMOVED, now).await?;
    audit::changed(connection, (actor, "host.remove", &name), before, None).await?;
    Ok(Some(jobs))
}
