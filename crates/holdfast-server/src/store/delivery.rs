//! Messages: written down before they are sent, and kept as a log.

use holdfast_protocol::JobId;
use jiff::{SignedDuration, Timestamp};
use sqlx::{SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Error, Store, row::Columns};
use crate::{
    alert::{Event, Log, Told, Wanted},
    view::DeliveryView,
};

/// A message whose time has come.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) id: Uuid,
    pub(crate) channel: Uuid,
    pub(crate) event: Event,
    pub(crate) alert: Option<Uuid>,
    pub(crate) job: Option<JobId>,
    pub(crate) attempts: u64,
    pub(crate) created_at: Timestamp,
}

/// Jobs older than this are no news.
const JOB_NEWS: SignedDuration = SignedDuration::from_hours(48);

/// What a ping channel has not been told of: beginnings of jobs that still run, and ends. A missed
/// job is not told: its silence is what the other side watches for. Of several tries the beginning
/// of the first is told, and the end of the last.
const UNTOLD_JOBS: &str = "SELECT c.id AS channel_id, j.id AS job_id,
        CASE WHEN j.ended_at IS NULL THEN 'job_started' ELSE 'job_ended' END AS event
    FROM channels c JOIN jobs j ON (c.host_id IS NULL OR j.host_id = c.host_id)
        AND (c.group_name IS NULL OR j.group_name = c.group_name)
    WHERE c.kind = 'ping' AND j.operation = 'backup' AND j.created_at >= $1
        AND ((j.ended_at IS NULL AND j.started_at IS NOT NULL AND j.retry_of IS NULL)
            OR (j.ended_at >= c.created_at AND j.status <> 'missed' AND j.retried_by IS NULL))
        AND NOT EXISTS (SELECT 1 FROM deliveries d
            WHERE d.job_id = j.id AND d.channel_id = c.id
                AND d.event = CASE WHEN j.ended_at IS NULL THEN 'job_started'
                                   ELSE 'job_ended' END)
    ORDER BY j.created_at LIMIT 500";

impl Store {
    /// A channel's messages, newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn deliveries(&self, channel: Uuid, limit: u32) -> Result<Vec<DeliveryView>, Error> {
        const PHASE: &str = "reading the delivery log";
        let rows = sqlx::query(
            "SELECT id, event, alert_id, job_id, state, attempts, next_at, error, created_at,
                 ended_at
             FROM deliveries WHERE channel_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2",
        )
        .bind(channel.to_string())
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let read = rows.iter().filter_map(|row| read(row).transpose());
        read.collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Writes a test message down that has been sent, or not.
    pub(crate) async fn log_test(
        &self,
        id: Uuid,
        channel: Uuid,
        error: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        const PHASE: &str = "noting a test";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(
            "INSERT INTO deliveries
                 (id, channel_id, event, state, attempts, next_at, error, created_at, ended_at)
             VALUES ($1, $2, 'test', $3, 1, $4, $5, $4, $4)",
        )
        .bind(id.to_string())
        .bind(channel.to_string())
        .bind(if error.is_some() { "failed" } else { "sent" })
        .bind(now.as_millisecond())
        .bind(error)
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// What every channel was told of every alert.
    pub(crate) async fn told(&self) -> Result<Log, Error> {
        const PHASE: &str = "reading what was told";
        let rows = sqlx::query(
            "SELECT channel_id, alert_id,
                 SUM(CASE WHEN event = 'opened' THEN 1 ELSE 0 END) AS opened,
                 SUM(CASE WHEN event = 'opened' AND state = 'sent' THEN 1 ELSE 0 END) AS sent,
                 SUM(CASE WHEN event = 'resolved' THEN 1 ELSE 0 END) AS resolved
             FROM deliveries WHERE alert_id IS NOT NULL GROUP BY channel_id, alert_id",
        )
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let read = |row: &SqliteRow| {
            let told = Told {
                opened: row.count("opened")?,
                opened_sent: row.count("sent")?,
                resolved: row.count("resolved")?,
            };
            Ok(((row.parsed("channel_id")?, row.parsed("alert_id")?), told))
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Writes down what is to be told of alerts.
    pub(crate) async fn queue_alerts(
        &self,
        wanted: &[Wanted],
        now: Timestamp,
    ) -> Result<(), Error> {
        const PHASE: &str = "writing down what is to be told";
        if wanted.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin(PHASE).await?;
        for wanted in wanted {
            let (channel, alert) = (wanted.channel.to_string(), wanted.alert.to_string());
            queue(&mut tx, &channel, wanted.event, Some(&alert), None, now)
                .await
                .map_err(Error::database(PHASE))?;
        }
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Writes down what is to be told of jobs.
    pub(crate) async fn queue_jobs(&self, now: Timestamp) -> Result<(), Error> {
        const PHASE: &str = "writing down which jobs are to be told of";
        let since = now.saturating_sub(JOB_NEWS).unwrap_or(Timestamp::MIN);
        let rows = sqlx::query(UNTOLD_JOBS)
            .bind(since.as_millisecond())
            .fetch_all(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin(PHASE).await?;
        for row in &rows {
            queue_job(&mut tx, row, now).await.map_err(Error::database(PHASE))?;
        }
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// The messages to be sent at `now`, oldest first.
    pub(crate) async fn due_deliveries(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Due>, Error> {
        const PHASE: &str = "reading what is to be told";
        let rows = sqlx::query(
            "SELECT id, channel_id, event, alert_id, job_id, attempts, created_at FROM deliveries
             WHERE state = 'waiting' AND next_at <= $1 ORDER BY created_at, id LIMIT $2",
        )
        .bind(now.as_millisecond())
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let due = rows.iter().filter_map(|row| read_due(row).transpose());
        due.collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Notes that a message has arrived.
    pub(crate) async fn delivered(&self, id: Uuid, now: Timestamp) -> Result<(), Error> {
        const PHASE: &str = "noting a delivery";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(
            "UPDATE deliveries SET state = 'sent', attempts = attempts + 1, error = NULL,
                 ended_at = $2 WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(now.as_millisecond())
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Notes that a message has not arrived; without a `next` time it is given up.
    pub(crate) async fn not_delivered(
        &self,
        id: Uuid,
        error: &str,
        next: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Error> {
        const PHASE: &str = "noting a failed delivery";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(
            "UPDATE deliveries SET attempts = attempts + 1, error = $2, state = $3,
                 next_at = COALESCE($4, next_at), ended_at = $5 WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(error)
        .bind(if next.is_some() { "waiting" } else { "failed" })
        .bind(next.map(Timestamp::as_millisecond))
        .bind(next.is_none().then(|| now.as_millisecond()))
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Forgets a message that is no news any more.
    pub(crate) async fn drop_delivery(&self, id: Uuid) -> Result<(), Error> {
        const PHASE: &str = "dropping a message";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query("DELETE FROM deliveries WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Drops messages that ended before `before`, but for those of alerts that last: without them
    /// the alert would be told of again.
    pub(crate) async fn prune_deliveries(&self, before: Timestamp) -> Result<(), Error> {
        const PHASE: &str = "dropping old messages";
        const OLD: &str = "ended_at < $1 AND (alert_id IS NULL OR alert_id NOT IN (
            SELECT id FROM alerts WHERE state <> 'resolved'))";
        let query = sqlx::AssertSqlSafe(format!("SELECT 1 FROM deliveries WHERE {OLD} LIMIT 1"));
        let old: Option<i64> = sqlx::query_scalar(query)
            .bind(before.as_millisecond())
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        if old.is_none() {
            return Ok(());
        }
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM deliveries WHERE {OLD}")))
            .bind(before.as_millisecond())
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }
}

async fn queue_job(
    connection: &mut SqliteConnection,
    row: &SqliteRow,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let event = match row.text("event")?.as_str() {
        "job_started" => Event::JobStarted,
        _ => Event::JobEnded,
    };
    let (channel, job) = (row.text("channel_id")?, row.text("job_id")?);
    queue(connection, &channel, event, None, Some(&job), now).await
}

pub(super) async fn queue(
    connection: &mut SqliteConnection,
    channel: &str,
    event: Event,
    alert: Option<&str>,
    job: Option<&str>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO deliveries
             (id, channel_id, event, alert_id, job_id, state, next_at, created_at)
         VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $6)",
    )
    .bind(Uuid::now_v7().to_string())
    .bind(channel)
    .bind(event.as_str())
    .bind(alert)
    .bind(job)
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// The message; `None` for an event that only a newer version knows.
fn read_due(row: &SqliteRow) -> Result<Option<Due>, sqlx::Error> {
    let Some(event) = Event::from_word(&row.text("event")?) else { return Ok(None) };
    Ok(Some(Due {
        id: row.parsed("id")?,
        channel: row.parsed("channel_id")?,
        event,
        alert: row.parsed_opt("alert_id")?,
        job: row.parsed_opt("job_id")?,
        attempts: row.count("attempts")?,
        created_at: row.time("created_at")?,
    }))
}

fn read(row: &SqliteRow) -> Result<Option<DeliveryView>, sqlx::Error> {
    let Some(event) = Event::from_word(&row.text("event")?) else { return Ok(None) };
    let state = row.text("state")?;
    let next_at = if state == "waiting" { Some(row.time("next_at")?) } else { None };
    Ok(Some(DeliveryView {
        id: row.parsed("id")?,
        event,
        alert_id: row.parsed_opt("alert_id")?,
        job_id: row.parsed_opt("job_id")?,
        state,
        attempts: row.count("attempts")?,
        next_at,
        error: row.text_opt("error")?,
        created_at: row.time("created_at")?,
        ended_at: row.time_opt("ended_at")?,
    }))
}
