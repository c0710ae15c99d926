//! Source groups: what is backed up on a host, and where to.

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, RepositoryId, ScheduleId,
    message::{
        config::{self, GroupOptions},
        parameters::Retention,
        schedule::Timing,
    },
};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{
    Error, Store, audit, evaluation, host, repository,
    row::{Columns, by_host, int, json},
};

/// A source group to be added.
#[derive(Debug, Clone)]
pub struct NewGroup {
    /// Unique on its host.
    pub name: String,
    /// Where its snapshots go.
    pub repository_id: RepositoryId,
    /// Paths to back up, absolute.
    pub includes: Vec<String>,
    /// restic exclude patterns.
    pub excludes: Vec<String>,
    /// How old the newest snapshot may be, in seconds; `None` lets the schedule decide.
    pub objective_seconds: Option<u64>,
    /// How it is backed up.
    pub options: GroupOptions,
    /// Which snapshots are kept; `None` for all.
    pub retention: Option<Retention>,
}

/// A change of a source group; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct GroupChange {
    /// Where its snapshots go from now on.
    pub repository_id: Option<RepositoryId>,
    /// Paths to back up.
    pub includes: Option<Vec<String>>,
    /// restic exclude patterns.
    pub excludes: Option<Vec<String>>,
    /// How it is backed up.
    pub options: Option<GroupOptions>,
}

/// A stored group with its repository's name and its schedule.
#[derive(Debug, Clone)]
pub(crate) struct GroupRow {
    pub(crate) host_id: HostId,
    pub(crate) name: String,
    pub(crate) repository_id: RepositoryId,
    pub(crate) repository_name: String,
    pub(crate) includes: Vec<String>,
    pub(crate) excludes: Vec<String>,
    pub(crate) objective_seconds: Option<u64>,
    pub(crate) options: GroupOptions,
    pub(crate) retention: Option<Retention>,
    pub(crate) schedule: Option<ScheduleRow>,
}

/// A stored schedule.
#[derive(Debug, Clone)]
pub(crate) struct ScheduleRow {
    pub(crate) id: ScheduleId,
    pub(crate) cron: String,
    pub(crate) time_zone: String,
    pub(crate) enabled: bool,
    pub(crate) timing: Timing,
    /// Since when it is as it is.
    pub(crate) changed_at: Timestamp,
}

impl Store {
    /// Adds a source group to a host and raises its configuration's version.
    ///
    /// # Errors
    /// [`Error::GroupExists`] and [`Error::Database`].
    pub async fn add_group(
        &self,
        actor: &str,
        host: HostId,
        group: &NewGroup,
    ) -> Result<(), Error> {
        const PHASE: &str = "adding a source group";
        self.host_name(host).await?;
        let mut tx = self.begin(PHASE).await?;
        if !insert(&mut tx, host, group).await.map_err(Error::database(PHASE))? {
            return Err(Error::GroupExists { name: group.name.clone() });
        }
        finish(&mut tx, actor, "group.add", (host, &group.name), None)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(host);
        Ok(())
    }

    /// Removes a source group and its schedule. Snapshots and ended jobs stay. Returns the other
    /// hosts whose configuration this changes.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`] and [`Error::Database`].
    pub async fn remove_group(
        &self,
        actor: &str,
        host: HostId,
        name: &str,
    ) -> Result<Vec<HostId>, Error> {
        const PHASE: &str = "removing a source group";
        let mut tx = self.begin(PHASE).await?;
        let found = find(&mut tx, host, name).await.map_err(Error::database(PHASE))?;
        let found = found.ok_or_else(|| not_found(name))?;
        let before = described(&mut tx, host, name).await.map_err(Error::database(PHASE))?;
        sqlx::query("DELETE FROM source_groups WHERE host_id = $1 AND name = $2")
            .bind(host.to_string())
            .bind(name)
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        // Another host may keep the repository in order from now on.
        let others = repository::raise_users(&mut tx, found.repository_id, Some(host))
            .await
            .map_err(Error::database(PHASE))?;
        evaluation::close_form(&mut tx, host, name, self.now())
            .await
            .map_err(Error::database(PHASE))?;
        finish(&mut tx, actor, "group.remove", (host, name), before)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(host);
        Ok(others)
    }

    /// Changes a source group and raises its host's configuration's version.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`] and [`Error::Database`].
    pub async fn change_group(
        &self,
        actor: &str,
        host: HostId,
        name: &str,
        change: &GroupChange,
    ) -> Result<(), Error> {
        const PHASE: &str = "changing a source group";
        let mut tx = self.begin(PHASE).await?;
        let before = described(&mut tx, host, name).await.map_err(Error::database(PHASE))?;
        let changed = sqlx::query(
            "UPDATE source_groups SET repository_id = COALESCE($3, repository_id),
                 includes = COALESCE($4, includes), excludes = COALESCE($5, excludes),
                 options = COALESCE($6, options)
             WHERE host_id = $1 AND name = $2",
        )
        .bind(host.to_string())
        .bind(name)
        .bind(change.repository_id.map(|id| id.to_string()))
        .bind(change.includes.as_ref().map(json))
        .bind(change.excludes.as_ref().map(json))
        .bind(change.options.as_ref().map(json))
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        if changed.rows_affected() == 0 {
            return Err(not_found(name));
        }
        finish(&mut tx, actor, "group.change", (host, name), before)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(host);
        Ok(())
    }

    /// Sets which snapshots of a group are kept; `None` for all. Only the server's maintenance goes
    /// by it, so the agent's configuration stays as it is.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`] and [`Error::Database`].
    pub async fn set_retention(
        &self,
        actor: &str,
        host: HostId,
        name: &str,
        retention: Option<&Retention>,
    ) -> Result<(), Error> {
        const PHASE: &str = "setting a retention";
        let mut tx = self.begin(PHASE).await?;
        let before = described(&mut tx, host, name).await.map_err(Error::database(PHASE))?;
        let changed =
            sqlx::query("UPDATE source_groups SET retention = $3 WHERE host_id = $1 AND name = $2")
                .bind(host.to_string())
                .bind(name)
                .bind(retention.map(json))
                .execute(&mut *tx)
                .await
                .map_err(Error::database(PHASE))?;
        if changed.rows_affected() == 0 {
            return Err(not_found(name));
        }
        tell(&mut tx, actor, "group.retention", (host, name), before)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(host);
        Ok(())
    }

    /// Sets how old the newest snapshot of a group may be, in seconds; `None` lets the schedule
    /// decide. The agent has nothing to do with it, so its configuration stays as it is.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`] and [`Error::Database`].
    pub async fn set_objective(
        &self,
        actor: &str,
        host: HostId,
        name: &str,
        seconds: Option<u64>,
    ) -> Result<(), Error> {
        const PHASE: &str = "setting an objective";
        let mut tx = self.begin(PHASE).await?;
        let before = described(&mut tx, host, name).await.map_err(Error::database(PHASE))?;
        let changed = sqlx::query(
            "UPDATE source_groups SET objective_seconds = $3 WHERE host_id = $1 AND name = $2",
        )
        .bind(host.to_string())
        .bind(name)
        .bind(seconds.map(int))
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        if changed.rows_affected() == 0 {
            return Err(not_found(name));
        }
        tell(&mut tx, actor, "group.objective", (host, name), before)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(host);
        Ok(())
    }

    /// The groups of these hosts, or of all, by host and name.
    pub(crate) async fn groups(&self, only: Option<&[HostId]>) -> Result<Vec<GroupRow>, Error> {
        const PHASE: &str = "reading source groups";
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT g.host_id, g.name, g.repository_id, r.name AS repository_name, g.includes,
                 g.excludes, g.objective_seconds, g.options, g.retention, s.id AS schedule_id,
                 s.cron, s.time_zone, s.enabled, s.timing, s.changed_at
             FROM source_groups g
             JOIN repositories r ON r.id = g.repository_id
             LEFT JOIN schedules s ON s.host_id = g.host_id AND s.group_name = g.name
             WHERE 1 = 1",
        );
        host::only_hosts(&mut query, "g.host_id", only);
        query.push(" ORDER BY g.host_id, g.name");
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }
}

pub(super) fn not_found(name: &str) -> Error {
    Error::GroupNotFound { group: name.chars().take(100).collect() }
}

/// One group of a host, for a command.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    host: HostId,
    name: &str,
) -> Result<Option<config::Group>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT name, repository_id, includes, excludes, options FROM source_groups
         WHERE host_id = $1 AND name = $2",
    )
    .bind(host.to_string())
    .bind(name)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read_config).transpose()
}

/// The groups of a host, for its agent.
pub(super) async fn config_of(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<Vec<config::Group>, sqlx::Error> {
    let mut groups = configs_of(connection, &[host]).await?;
    Ok(groups.remove(&host).unwrap_or_default())
}

/// The groups of these hosts, for their agents.
pub(super) async fn configs_of(
    connection: &mut SqliteConnection,
    hosts: &[HostId],
) -> Result<BTreeMap<HostId, Vec<config::Group>>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT host_id, name, repository_id, includes, excludes, options FROM source_groups
         WHERE 1 = 1",
    );
    host::only_hosts(&mut query, "host_id", Some(hosts));
    query.push(" ORDER BY host_id, name");
    let rows = query.build().fetch_all(connection).await?;
    by_host(&rows, read_config)
}

/// What every change to a group or its schedule ends with.
pub(super) async fn finish(
    connection: &mut SqliteConnection,
    actor: &str,
    action: &'static str,
    (host, group): (HostId, &str),
    before: Option<Value>,
) -> Result<(), sqlx::Error> {
    host::raise_config_version(&mut *connection, host).await?;
    tell(connection, actor, action, (host, group), before).await
}

/// Tells the audit of a change: how the group was, and how it is now.
async fn tell(
    connection: &mut SqliteConnection,
    actor: &str,
    action: &str,
    (host, group): (HostId, &str),
    before: Option<Value>,
) -> Result<(), sqlx::Error> {
    let after = described(&mut *connection, host, group).await?;
    let subject = format!("{host}/{group}");
    audit::changed(connection, (actor, action, &subject), before, after).await
}

/// A group and its schedule in the words of the audit; `None` when there is none.
pub(super) async fn described(
    connection: &mut SqliteConnection,
    host: HostId,
    name: &str,
) -> Result<Option<Value>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT r.name AS repository, g.includes, g.excludes, g.options, g.retention,
             g.objective_seconds, s.cron, s.time_zone, s.enabled, s.timing
         FROM source_groups g JOIN repositories r ON r.id = g.repository_id
         LEFT JOIN schedules s ON s.host_id = g.host_id AND s.group_name = g.name
         WHERE g.host_id = $1 AND g.name = $2",
    )
    .bind(host.to_string())
    .bind(name)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read_described).transpose()
}

fn read_described(row: &SqliteRow) -> Result<Value, sqlx::Error> {
    let schedule = match row.text_opt("cron")? {
        None => Value::Null,
        Some(cron) => serde_json::json!({
            "cron": cron,
            "time_zone": row.text("time_zone")?,
            "enabled": row.flag("enabled")?,
            "timing": row.json::<Value>("timing")?,
        }),
    };
    Ok(serde_json::json!({
        "repository": row.text("repository")?,
        "includes": row.json::<Value>("includes")?,
        "excludes": row.json::<Value>("excludes")?,
        "options": row.json::<Value>("options")?,
        "retention": row.json_opt::<Value>("retention")?,
        "objective_seconds": row.int_opt("objective_seconds")?,
        "schedule": schedule,
    }))
}

async fn insert(
    connection: &mut SqliteConnection,
    host: HostId,
    group: &NewGroup,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO source_groups
             (host_id, name, repository_id, includes, excludes, created_at, objective_seconds,
              options, retention)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (host_id, name) DO NOTHING",
    )
    .bind(host.to_string())
    .bind(&group.name)
    .bind(group.repository_id.to_string())
    .bind(json(&group.includes))
    .bind(json(&group.excludes))
    .bind(Timestamp::now().as_millisecond())
    .bind(group.objective_seconds.map(int))
    .bind(json(&group.options))
    .bind(group.retention.as_ref().map(json))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn read_config(row: &SqliteRow) -> Result<config::Group, sqlx::Error> {
    Ok(config::Group {
        name: row.text("name")?,
        repository_id: row.parsed("repository_id")?,
        includes: row.json("includes")?,
        excludes: row.json("excludes")?,
        options: row.json("options")?,
    })
}

fn read(row: &SqliteRow) -> Result<GroupRow, sqlx::Error> {
    let schedule = match row.parsed_opt("schedule_id")? {
        None => None,
        Some(id) => Some(ScheduleRow {
            id,
            cron: row.text("cron")?,
            time_zone: row.text("time_zone")?,
            enabled: row.flag("enabled")?,
            timing: row.json("timing")?,
            changed_at: row.time("changed_at")?,
        }),
    };
    Ok(GroupRow {
        host_id: row.parsed("host_id")?,
        name: row.text("name")?,
        repository_id: row.parsed("repository_id")?,
        repository_name: row.text("repository_name")?,
        includes: row.json("includes")?,
        excludes: row.json("excludes")?,
        objective_seconds: row.count_opt("objective_seconds")?,
        options: row.json("options")?,
        retention: row.json_opt("retention")?,
        schedule,
    })
}
