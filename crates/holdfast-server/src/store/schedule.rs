//! Schedules: at most one per source group. The agent is the one that fires them.

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, ScheduleId,
    message::schedule::{self, Timing},
};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    Error, Store, evaluation, group,
    host::only_hosts,
    row::{Columns, by_host, json},
};

/// A schedule to be set. It has been checked with [`Calendar`](crate::view::Calendar).
#[derive(Debug, Clone)]
pub struct NewSchedule {
    /// Five-field cron.
    pub cron: String,
    /// IANA name of the zone the cron expression is read in.
    pub time_zone: String,
    /// Whether it fires.
    pub enabled: bool,
    /// How exactly its slots are kept.
    pub timing: Timing,
}

impl Store {
    /// Sets or replaces the schedule of a group and raises the configuration's version.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`] and [`Error::Database`].
    pub async fn set_schedule(
        &self,
        actor: &str,
        host: HostId,
        group: &str,
        schedule: &NewSchedule,
    ) -> Result<(), Error> {
        const PHASE: &str = "setting a schedule";
        let mut tx = self.begin(PHASE).await?;
        let found = group::find(&mut tx, host, group).await.map_err(Error::database(PHASE))?;
        found.ok_or_else(|| group::not_found(group))?;
        let before =
            group::described(&mut tx, host, group).await.map_err(Error::database(PHASE))?;
        let replaced = replace(&mut tx, host, group, schedule, self.now()).await;
        replaced.map_err(Error::database(PHASE))?;
        group::finish(&mut tx, actor, "schedule.set", (host, group), before)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(host);
        Ok(())
    }

    /// Removes the schedule of a group.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::ScheduleNotFound`] and [`Error::Database`].
    pub async fn remove_schedule(
        &self,
        actor: &str,
        host: HostId,
        group: &str,
    ) -> Result<(), Error> {
        const PHASE: &str = "removing a schedule";
        let mut tx = self.begin(PHASE).await?;
        let found = group::find(&mut tx, host, group).await.map_err(Error::database(PHASE))?;
        found.ok_or_else(|| group::not_found(group))?;
        let before =
            group::described(&mut tx, host, group).await.map_err(Error::database(PHASE))?;
        let removed = sqlx::query("DELETE FROM schedules WHERE host_id = $1 AND group_name = $2")
            .bind(host.to_string())
            .bind(group)
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?
            .rows_affected();
        if removed == 0 {
            return Err(Error::ScheduleNotFound { group: group.to_owned() });
        }
        evaluation::close_form(&mut tx, host, group, self.now())
            .await
            .map_err(Error::database(PHASE))?;
        group::finish(&mut tx, actor, "schedule.remove", (host, group), before)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_host(host);
        Ok(())
    }
}

/// The schedules of a host, for its agent.
pub(super) async fn config_of(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<Vec<schedule::Schedule>, sqlx::Error> {
    let mut schedules = configs_of(connection, &[host]).await?;
    Ok(schedules.remove(&host).unwrap_or_default())
}

/// The schedules of these hosts, for their agents.
pub(super) async fn configs_of(
    connection: &mut SqliteConnection,
    hosts: &[HostId],
) -> Result<BTreeMap<HostId, Vec<schedule::Schedule>>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT host_id, id, group_name, cron, time_zone, enabled, timing FROM schedules
         WHERE 1 = 1",
    );
    only_hosts(&mut query, "host_id", Some(hosts));
    query.push(" ORDER BY host_id, group_name");
    let rows = query.build().fetch_all(connection).await?;
    by_host(&rows, read)
}

/// The group that a schedule of `host` backs up; `None` when the schedule is gone.
pub(super) async fn group_of(
    connection: &mut SqliteConnection,
    host: HostId,
    schedule: ScheduleId,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT group_name FROM schedules WHERE id = $1 AND host_id = $2")
        .bind(schedule.to_string())
        .bind(host.to_string())
        .fetch_optional(connection)
        .await
}

/// Puts a schedule in force. One that says the same as the one before goes on as if nothing was.
async fn replace(
    connection: &mut SqliteConnection,
    host: HostId,
    group: &str,
    schedule: &NewSchedule,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let same: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM schedules WHERE host_id = $1 AND group_name = $2 AND cron = $3
             AND time_zone = $4 AND enabled = $5 AND timing = $6",
    )
    .bind(host.to_string())
    .bind(group)
    .bind(&schedule.cron)
    .bind(&schedule.time_zone)
    .bind(schedule.enabled)
    .bind(json(&schedule.timing))
    .fetch_optional(&mut *connection)
    .await?;
    if same.is_some() {
        return Ok(());
    }
    upsert(&mut *connection, host, group, schedule, now).await?;
    evaluation::close_form(&mut *connection, host, group, now).await?;
    evaluation::open_form(connection, host, group, now).await
}

async fn upsert(
    connection: &mut SqliteConnection,
    host: HostId,
    group: &str,
    schedule: &NewSchedule,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO schedules
             (id, host_id, group_name, cron, time_zone, enabled, created_at, changed_at, timing)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)
         ON CONFLICT (host_id, group_name) DO UPDATE SET
             cron = excluded.cron, time_zone = excluded.time_zone, enabled = excluded.enabled,
             changed_at = excluded.changed_at, timing = excluded.timing",
    )
    .bind(ScheduleId::from_uuid(Uuid::now_v7()).to_string())
    .bind(host.to_string())
    .bind(group)
    .bind(&schedule.cron)
    .bind(&schedule.time_zone)
    .bind(schedule.enabled)
    .bind(now.as_millisecond())
    .bind(json(&schedule.timing))
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<schedule::Schedule, sqlx::Error> {
    Ok(schedule::Schedule {
        id: row.parsed("id")?,
        cron_expr: row.text("cron")?,
        time_zone: row.text("time_zone")?,
        enabled: row.flag("enabled")?,
        source_groups: vec![row.text("group_name")?],
        timing: row.json("timing")?,
    })
}
