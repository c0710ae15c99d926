//! The tries of one job, each a job of its own.

use holdfast_protocol::{JobId, message::job::NextTry};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::store::{apply::ApplyError, row::Columns};

/// Refuses what is not the try that follows `failed`.
pub(in crate::store) async fn check(
    connection: &mut SqliteConnection,
    failed: JobId,
    next: &NextTry,
) -> Result<(), ApplyError> {
    let row =
        sqlx::query("SELECT attempt, COALESCE(retry_of, id) AS first FROM jobs WHERE id = $1")
            .bind(failed.to_string())
            .fetch_optional(connection)
            .await?;
    let (first, attempt) = match row {
        Some(row) => (row.parsed("first")?, row.int("attempt")?),
        None => (failed, 1),
    };
    let follows = i64::from(next.attempt) == attempt.saturating_add(1)
        && first.of_attempt(next.attempt) == next.job_id;
    let poison = || ApplyError::Poison("it is not the next try of the job".to_owned());
    follows.then_some(()).ok_or_else(poison)
}

/// Writes the next try of a job that failed, like it in all but its own life.
pub(in crate::store) async fn follow(
    connection: &mut SqliteConnection,
    failed: JobId,
    next: &NextTry,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    insert(&mut *connection, failed, next, now).await?;
    sqlx::query("UPDATE jobs SET retried_by = $2 WHERE id = $1")
        .bind(failed.to_string())
        .bind(next.job_id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert(
    connection: &mut SqliteConnection,
    failed: JobId,
    next: &NextTry,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO jobs (id, host_id, operation, group_name, repository_id, status, cause,
             schedule_id, scheduled_at, fired_at, parameters, created_at, accepted_at, attempt,
             retry_of, not_before)
         SELECT $2, host_id, operation, group_name, repository_id, 'queued', cause,
             schedule_id, scheduled_at, fired_at, parameters, $3, $3, $4,
             COALESCE(retry_of, id), $5
         FROM jobs WHERE id = $1 ON CONFLICT (id) DO NOTHING",
    )
    .bind(failed.to_string())
    .bind(next.job_id.to_string())
    .bind(now.as_millisecond())
    .bind(i64::from(next.attempt))
    .bind(next.not_before.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// The try of the same job that has not ended, for one that has.
pub(super) async fn open_try(
    connection: &mut SqliteConnection,
    ended: JobId,
) -> Result<Option<JobId>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT later.id FROM jobs j JOIN jobs later ON later.retry_of = COALESCE(j.retry_of, j.id)
         WHERE j.id = $1 AND j.retried_by IS NOT NULL
             AND later.status IN ('queued', 'running', 'paused') LIMIT 1",
    )
    .bind(ended.to_string())
    .fetch_optional(connection)
    .await?;
    row.map(|row| row.parsed("id")).transpose()
}
