//! Jobs that end without their agent's word.

use holdfast_protocol::{HostId, JobId, message::command};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::store::{Error, Store, row::Columns};

pub(in crate::store) struct End {
    code: &'static str,
    message: &'static str,
    action: &'static str,
}

pub(in crate::store) const HOST_REMOVED: End = End {
    code: "host_removed",
    message: "The host was removed from the fleet before the job had ended.",
    action: "Add the host again if it should be backed up.",
};
const AGENT_REPLACED: End = End {
    code: "agent_replaced",
    message: "The host was enrolled anew, and the agent that had the job is gone.",
    action: "Start the job again.",
};
const AGENT_FORGOT: End = End {
    code: "agent_forgot",
    message: "The agent no longer knows the job, so what became of it is unknown.",
    action: "Look at the host's snapshots, and start the job again if there is no new one.",
};

impl Store {
    /// Ends a job that its agent no longer knows. Does nothing when it has ended meanwhile.
    pub(crate) async fn interrupt_forgotten(&self, job: JobId) -> Result<(), Error> {
        const PHASE: &str = "interrupting a job";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(
            "UPDATE jobs SET status = 'interrupted', finished_at = $2, ended_at = $2, error_code = $3,
                 error_message = $4, error_action = $5
             WHERE id = $1 AND status IN ('queued', 'running', 'paused')",
        )
        .bind(job.to_string())
        .bind(self.now().as_millisecond())
        .bind(AGENT_FORGOT.code)
        .bind(AGENT_FORGOT.message)
        .bind(AGENT_FORGOT.action)
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_job(job);
        Ok(())
    }
}

/// Ends every open job of a host: what waited is cancelled, what ran is interrupted.
pub(in crate::store) async fn end_open(
    connection: &mut SqliteConnection,
    host: HostId,
    end: &End,
    now: Timestamp,
) -> Result<Vec<JobId>, sqlx::Error> {
    let rows = sqlx::query(
        "UPDATE jobs SET finished_at = $2, ended_at = $2, error_code = $3, error_message = $4, error_action = $5,
             status = CASE WHEN status = 'queued' THEN 'cancelled' ELSE 'interrupted' END
         WHERE host_id = $1 AND status IN ('queued', 'running', 'paused') RETURNING id",
    )
    .bind(host.to_string())
    .bind(now.as_millisecond())
    .bind(end.code)
    .bind(end.message)
    .bind(end.action)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.parsed("id")).collect()
}

/// Ends the jobs that only a host's former agent knew: all open ones whose command no longer waits.
pub(in crate::store) async fn interrupt_unqueued(
    connection: &mut SqliteConnection,
    host: HostId,
    now: Timestamp,
) -> Result<Vec<JobId>, sqlx::Error> {
    let mut waiting = waiting_runs(&mut *connection, host).await?;
    waiting.extend(super::lease::held_jobs(&mut *connection, host).await?);
    let rows = sqlx::query(
        "SELECT id FROM jobs WHERE host_id = $1 AND status IN ('queued', 'running', 'paused')",
    )
    .bind(host.to_string())
    .fetch_all(&mut *connection)
    .await?;
    let mut ended = Vec::new();
    for row in rows {
        let job: JobId = row.parsed("id")?;
        if waiting.contains(&job) {
            continue;
        }
        sqlx::query(
            "UPDATE jobs SET status = 'interrupted', finished_at = $2, ended_at = $2, error_code = $3,
                 error_message = $4, error_action = $5 WHERE id = $1",
        )
        .bind(job.to_string())
        .bind(now.as_millisecond())
        .bind(AGENT_REPLACED.code)
        .bind(AGENT_REPLACED.message)
        .bind(AGENT_REPLACED.action)
        .execute(&mut *connection)
        .await?;
        ended.push(job);
    }
    Ok(ended)
}

async fn waiting_runs(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<Vec<JobId>, sqlx::Error> {
    let payloads: Vec<String> = sqlx::query_scalar(
        "SELECT payload FROM outbox WHERE host_id = $1 AND kind = 'command.run'",
    )
    .bind(host.to_string())
    .fetch_all(connection)
    .await?;
    let runs = payloads.iter().filter_map(|text| serde_json::from_str::<command::Run>(text).ok());
    Ok(runs.map(|run| run.job_id).collect())
}
