//! Jobs: ordered by people, run by agents, and ended exactly once.

use holdfast_protocol::{
    HostId, JobId, Message, Payload,
    message::{
        command,
        job::{JobError, Operation, Status},
    },
};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Error, Store, audit, group, outbox, row::Columns};
use crate::view::Cause;

/// What is stored about a job.
#[derive(Debug, Clone)]
pub(crate) struct JobRow {
    pub(crate) id: JobId,
    pub(crate) host_id: HostId,
    pub(crate) host_name: String,
    pub(crate) operation: Operation,
    pub(crate) group: String,
    pub(crate) status: Status,
    pub(crate) cause: Cause,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) snapshot_id: Option<String>,
    pub(crate) attempt: u32,
    pub(crate) error: Option<JobError>,
    pub(crate) stats: Option<Payload>,
    pub(crate) cancel_requested: bool,
}

/// The newest ended backup, or the newest good one, of one group.
#[derive(Debug, Clone)]
pub(crate) struct LatestBackup {
    pub(crate) host_id: HostId,
    pub(crate) job_id: JobId,
    pub(crate) group: String,
    pub(crate) status: Status,
    pub(crate) finished_at: Timestamp,
    pub(crate) snapshot_id: Option<String>,
}

/// Which jobs a page shows, newest first.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only of this host.
    pub host: Option<HostId>,
    /// Only in this state.
    pub status: Option<Status>,
    /// At most this many; 0 stands for 50, and 500 is the most.
    pub limit: u32,
    /// The `next` of the page before.
    pub before: Option<String>,
}

/// What asking for a job's end did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The command was stored for the agent.
    Asked {
        /// The host to wake.
        host: HostId,
    },
    /// No agent will ever see the job, so it ended here.
    AtOnce,
}

pub(super) struct End {
    code: &'static str,
    message: &'static str,
    action: &'static str,
}

pub(super) const HOST_REMOVED: End = End {
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

macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT j.id, j.host_id, h.name AS host_name, j.operation, j.group_name, j.status,
                 j.cause, j.created_at, j.started_at, j.finished_at, j.exit_code, j.snapshot_id,
                 j.attempt, j.error_code, j.error_message, j.error_action, j.stats,
                 j.cancel_requested
             FROM jobs j JOIN hosts h ON h.id = j.host_id ",
            $rest
        )
    };
}

impl Store {
    /// Orders a backup: the job and the command for its agent, in one transaction.
    ///
    /// # Errors
    /// [`Error::HostNotFound`], [`Error::GroupNotFound`], [`Error::OutboxFull`] and
    /// [`Error::Database`].
    pub async fn create_backup(
        &self,
        actor: &str,
        host: HostId,
        group: &str,
    ) -> Result<JobId, Error> {
        const PHASE: &str = "ordering a backup";
        self.host_name(host).await?;
        let mut tx = self.begin(PHASE).await?;
        refuse_when_full(&mut tx, host, PHASE).await?;
        let found = group::find(&mut tx, host, group).await.map_err(Error::database(PHASE))?;
        let found = found.ok_or_else(|| group::not_found(group))?;
        let version = config_version(&mut tx, host).await.map_err(Error::database(PHASE))?;
        let run = command::Run {
            job_id: JobId::from_uuid(Uuid::now_v7()),
            operation: Operation::Backup,
            repository_id: found.repository_id,
            config_version: version,
            tag: found.name,
            includes: found.includes,
            excludes: found.excludes,
        };
        order(&mut tx, actor, host, &run).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_job(run.job_id);
        Ok(run.job_id)
    }

    /// Asks for a job's end. The agent decides: the job may end on its own first.
    ///
    /// # Errors
    /// [`Error::JobNotFound`], [`Error::JobEnded`], [`Error::OutboxFull`] and [`Error::Database`].
    pub async fn cancel_job(&self, actor: &str, job: JobId) -> Result<Cancelled, Error> {
        const PHASE: &str = "cancelling a job";
        let mut tx = self.begin(PHASE).await?;
        let open = open_job(&mut tx, job, PHASE).await?;
        let cancelled = if open.reachable {
            refuse_when_full(&mut tx, open.host, PHASE).await?;
            ask_end(&mut tx, open.host, job).await.map_err(Error::database(PHASE))?;
            Cancelled::Asked { host: open.host }
        } else {
            cancel_at_once(&mut tx, job).await.map_err(Error::database(PHASE))?;
            Cancelled::AtOnce
        };
        audit::note(&mut tx, actor, "job.cancel", &job.to_string())
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_job(job);
        Ok(cancelled)
    }

    /// Stores `command.pause` for the job's agent and says which host to wake.
    ///
    /// # Errors
    /// As [`cancel_job`](Self::cancel_job).
    pub async fn pause_job(&self, actor: &str, job: JobId) -> Result<HostId, Error> {
        let message = Message::CommandPause(command::Pause { job_id: job });
        self.command_job(actor, "job.pause", job, &message).await
    }

    /// Stores `command.resume` for the job's agent and says which host to wake.
    ///
    /// # Errors
    /// As [`cancel_job`](Self::cancel_job).
    pub async fn resume_job(&self, actor: &str, job: JobId) -> Result<HostId, Error> {
        let message = Message::CommandResume(command::Resume { job_id: job });
        self.command_job(actor, "job.resume", job, &message).await
    }

    async fn command_job(
        &self,
        actor: &str,
        action: &'static str,
        job: JobId,
        message: &Message,
    ) -> Result<HostId, Error> {
        const PHASE: &str = "commanding a job";
        let mut tx = self.begin(PHASE).await?;
        let open = open_job(&mut tx, job, PHASE).await?;
        refuse_when_full(&mut tx, open.host, PHASE).await?;
        outbox::append(&mut tx, open.host, message).await.map_err(Error::database(PHASE))?;
        audit::note(&mut tx, actor, action, &job.to_string())
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(open.host)
    }

    /// One job.
    pub(crate) async fn job(&self, job: JobId) -> Result<JobRow, Error> {
        const PHASE: &str = "reading a job";
        let row = sqlx::query(select_jobs!("WHERE j.id = $1"))
            .bind(job.to_string())
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        let row = row.ok_or_else(|| not_found(job))?;
        read(&row).map_err(Error::database(PHASE))
    }

    /// Jobs that match, newest first, and the cursor of the next page.
    pub(crate) async fn jobs(
        &self,
        filter: &JobFilter,
    ) -> Result<(Vec<JobRow>, Option<String>), Error> {
        const PHASE: &str = "reading jobs";
        let limit = if filter.limit == 0 { 50 } else { filter.limit.min(500) } as usize;
        let mut query = QueryBuilder::<Sqlite>::new(select_jobs!("WHERE 1 = 1"));
        if let Some(host) = filter.host {
            query.push(" AND j.host_id = ").push_bind(host.to_string());
        }
        if let Some(status) = filter.status {
            query.push(" AND j.status = ").push_bind(status.as_str());
        }
        if let Some(cursor) = &filter.before {
            let (at, id) = parse_cursor(cursor)?;
            query.push(" AND (j.created_at, j.id) < (").push_bind(at);
            query.push(", ").push_bind(id.to_string()).push(")");
        }
        query.push(" ORDER BY j.created_at DESC, j.id DESC LIMIT ");
        query.push_bind(i64::try_from(limit + 1).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        let mut jobs = read_all(&rows).map_err(Error::database(PHASE))?;
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        let next = jobs.last().filter(|_| more).map(cursor);
        Ok((jobs, next))
    }

    /// All jobs that have not ended, and the newest `ended` that have.
    pub(crate) async fn recent_jobs(&self, ended: u32) -> Result<Vec<JobRow>, Error> {
        const PHASE: &str = "reading recent jobs";
        let rows = sqlx::query(select_jobs!(
            "WHERE j.status IN ('queued', 'running', 'paused') OR j.id IN (
                 SELECT id FROM jobs WHERE status NOT IN ('queued', 'running', 'paused')
                 ORDER BY created_at DESC, id DESC LIMIT $1)
             ORDER BY j.created_at DESC, j.id DESC"
        ))
        .bind(i64::from(ended))
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        read_all(&rows).map_err(Error::database(PHASE))
    }

    /// The newest ended backup of every group of these hosts (or of all), good or not.
    pub(crate) async fn latest_backups(
        &self,
        only: Option<&[HostId]>,
        good: bool,
    ) -> Result<Vec<LatestBackup>, Error> {
        const PHASE: &str = "reading the latest backups";
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT host_id, id, group_name, status, finished_at, snapshot_id FROM (
                 SELECT host_id, id, group_name, status, finished_at, snapshot_id,
                     ROW_NUMBER() OVER (PARTITION BY host_id, group_name
                                        ORDER BY finished_at DESC, id DESC) AS place
                 FROM jobs WHERE operation = 'backup' AND finished_at IS NOT NULL",
        );
        if good {
            query.push(" AND status IN ('succeeded', 'partial')");
        } else {
            query.push(" AND status NOT IN ('queued', 'running', 'paused')");
        }
        super::host::only_hosts(&mut query, "host_id", only);
        query.push(") newest WHERE place = 1");
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        rows.iter().map(read_latest).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// How many jobs are in one of these states.
    pub(crate) async fn count_jobs(&self, states: &[Status]) -> Result<u64, Error> {
        const PHASE: &str = "counting jobs";
        let mut query = QueryBuilder::<Sqlite>::new("SELECT COUNT(*) FROM jobs WHERE status IN (");
        let mut list = query.separated(", ");
        for status in states {
            list.push_bind(status.as_str());
        }
        query.push(")");
        let count: i64 = query
            .build_query_scalar()
            .fetch_one(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        Ok(count.try_into().unwrap_or(0))
    }

    /// Jobs of these hosts, or of all, that run or are paused; oldest first.
    pub(crate) async fn running_jobs(
        &self,
        only: Option<&[HostId]>,
    ) -> Result<Vec<(HostId, JobId)>, Error> {
        const PHASE: &str = "reading running jobs";
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT host_id, id FROM jobs WHERE status IN ('running', 'paused')",
        );
        super::host::only_hosts(&mut query, "host_id", only);
        query.push(" ORDER BY created_at, id");
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        let read = |row: &SqliteRow| Ok((row.parsed("host_id")?, row.parsed("id")?));
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Jobs that the agent of `host` has taken and not ended, as far as the server knows.
    pub(crate) async fn accepted_jobs(&self, host: HostId) -> Result<Vec<JobId>, Error> {
        const PHASE: &str = "reading a host's open jobs";
        let rows = sqlx::query(
            "SELECT id FROM jobs WHERE host_id = $1 AND (status IN ('running', 'paused')
                 OR (status = 'queued' AND accepted_at IS NOT NULL))",
        )
        .bind(host.to_string())
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let ids = rows.iter().map(|row| row.parsed("id")).collect::<Result<_, _>>();
        ids.map_err(Error::database(PHASE))
    }

    /// Ends a job that its agent no longer knows. Does nothing when it has ended meanwhile.
    pub(crate) async fn interrupt_forgotten(&self, job: JobId) -> Result<(), Error> {
        const PHASE: &str = "interrupting a job";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(
            "UPDATE jobs SET status = 'interrupted', finished_at = $2, error_code = $3,
                 error_message = $4, error_action = $5
             WHERE id = $1 AND status IN ('queued', 'running', 'paused')",
        )
        .bind(job.to_string())
        .bind(Timestamp::now().as_millisecond())
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

struct Open {
    host: HostId,
    /// Whether an agent can still be told: the host is enrolled and part of the fleet.
    reachable: bool,
}

async fn open_job(
    connection: &mut SqliteConnection,
    job: JobId,
    phase: &'static str,
) -> Result<Open, Error> {
    let row = sqlx::query(
        "SELECT j.host_id, j.status, h.incarnation, h.removed_at FROM jobs j
         JOIN hosts h ON h.id = j.host_id WHERE j.id = $1",
    )
    .bind(job.to_string())
    .fetch_optional(connection)
    .await
    .map_err(Error::database(phase))?;
    let row = row.ok_or_else(|| not_found(job))?;
    let status = row.status("status").map_err(Error::database(phase))?;
    if status.is_terminal() {
        return Err(Error::JobEnded { status: status.as_str() });
    }
    let read = || {
        let enrolled = row.text_opt("incarnation")?.is_some();
        let removed = row.int_opt("removed_at")?.is_some();
        Ok(Open { host: row.parsed("host_id")?, reachable: enrolled && !removed })
    };
    read().map_err(Error::database(phase))
}

async fn refuse_when_full(
    connection: &mut SqliteConnection,
    host: HostId,
    phase: &'static str,
) -> Result<(), Error> {
    let count = outbox::depth(connection, host).await.map_err(Error::database(phase))?;
    if count >= outbox::COMMANDS_MAX { Err(Error::OutboxFull { count }) } else { Ok(()) }
}

async fn config_version(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT config_version FROM hosts WHERE id = $1")
        .bind(host.to_string())
        .fetch_one(connection)
        .await
}

async fn order(
    connection: &mut SqliteConnection,
    actor: &str,
    host: HostId,
    run: &command::Run,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO jobs (id, host_id, operation, group_name, repository_id, status, cause,
             created_at) VALUES ($1, $2, $3, $4, $5, 'queued', 'manual', $6)",
    )
    .bind(run.job_id.to_string())
    .bind(host.to_string())
    .bind(run.operation.as_str())
    .bind(&run.tag)
    .bind(run.repository_id.to_string())
    .bind(Timestamp::now().as_millisecond())
    .execute(&mut *connection)
    .await?;
    outbox::append(&mut *connection, host, &Message::CommandRun(run.clone())).await?;
    audit::note(connection, actor, "job.run", &run.job_id.to_string()).await
}

async fn ask_end(
    connection: &mut SqliteConnection,
    host: HostId,
    job: JobId,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE jobs SET cancel_requested = TRUE WHERE id = $1")
        .bind(job.to_string())
        .execute(&mut *connection)
        .await?;
    let message = Message::CommandCancel(command::Cancel { job_id: job });
    outbox::append(connection, host, &message).await
}

/// Ends a job that no agent has heard of, and takes its command back: the agent that comes one day
/// must not run it.
async fn cancel_at_once(connection: &mut SqliteConnection, job: JobId) -> Result<(), sqlx::Error> {
    let host: String = sqlx::query_scalar(
        "UPDATE jobs SET status = 'cancelled', cancel_requested = TRUE, finished_at = $2
         WHERE id = $1 RETURNING host_id",
    )
    .bind(job.to_string())
    .bind(Timestamp::now().as_millisecond())
    .fetch_one(&mut *connection)
    .await?;
    take_back(connection, &host, job).await
}

/// Removes a job's command from the outbox of a host without an agent, and closes the hole.
async fn take_back(
    connection: &mut SqliteConnection,
    host: &str,
    job: JobId,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query("SELECT seq, payload FROM outbox WHERE host_id = $1 ORDER BY seq")
        .bind(host)
        .fetch_all(&mut *connection)
        .await?;
    let needle = job.to_string();
    let mut next = 1;
    for row in rows {
        let seq = row.int("seq")?;
        if row.text("payload")?.contains(&needle) {
            sqlx::query("DELETE FROM outbox WHERE host_id = $1 AND seq = $2")
                .bind(host)
                .bind(seq)
                .execute(&mut *connection)
                .await?;
            continue;
        }
        if seq != next {
            sqlx::query("UPDATE outbox SET seq = $3 WHERE host_id = $1 AND seq = $2")
                .bind(host)
                .bind(seq)
                .bind(next)
                .execute(&mut *connection)
                .await?;
        }
        next += 1;
    }
    sqlx::query("UPDATE hosts SET next_seq = $2 WHERE id = $1")
        .bind(host)
        .bind(next)
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends every open job of a host: what waited is cancelled, what ran is interrupted.
pub(super) async fn end_open(
    connection: &mut SqliteConnection,
    host: HostId,
    end: &End,
    now: Timestamp,
) -> Result<Vec<JobId>, sqlx::Error> {
    let rows = sqlx::query(
        "UPDATE jobs SET finished_at = $2, error_code = $3, error_message = $4, error_action = $5,
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
pub(super) async fn interrupt_unqueued(
    connection: &mut SqliteConnection,
    host: HostId,
    now: Timestamp,
) -> Result<Vec<JobId>, sqlx::Error> {
    let waiting = waiting_runs(&mut *connection, host).await?;
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
            "UPDATE jobs SET status = 'interrupted', finished_at = $2, error_code = $3,
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

fn not_found(job: JobId) -> Error {
    Error::JobNotFound { job: job.to_string() }
}

fn cursor(job: &JobRow) -> String {
    format!("{}_{}", job.created_at.as_millisecond(), job.id)
}

fn parse_cursor(text: &str) -> Result<(i64, JobId), Error> {
    let parts = text.split_once('_').ok_or(Error::InvalidCursor)?;
    let at = parts.0.parse().map_err(|_| Error::InvalidCursor)?;
    let id = parts.1.parse().map_err(|_| Error::InvalidCursor)?;
    Ok((at, id))
}

fn read_all(rows: &[SqliteRow]) -> Result<Vec<JobRow>, sqlx::Error> {
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<JobRow, sqlx::Error> {
    let cause = match row.text("cause")?.as_str() {
        "schedule" => Cause::Schedule,
        _ => Cause::Manual,
    };
    let error = row.text_opt("error_code")?.map(|code| {
        Ok::<_, sqlx::Error>(JobError {
            code,
            message: row.text_opt("error_message")?.unwrap_or_default(),
            action: row.text_opt("error_action")?.unwrap_or_default(),
        })
    });
    Ok(JobRow {
        id: row.parsed("id")?,
        host_id: row.parsed("host_id")?,
        host_name: row.text("host_name")?,
        operation: row.operation("operation")?,
        group: row.text("group_name")?,
        status: row.status("status")?,
        cause,
        created_at: row.time("created_at")?,
        started_at: row.time_opt("started_at")?,
        finished_at: row.time_opt("finished_at")?,
        exit_code: row.int_opt("exit_code")?.and_then(|code| code.try_into().ok()),
        snapshot_id: row.text_opt("snapshot_id")?,
        attempt: row.int("attempt")?.try_into().unwrap_or(1),
        error: error.transpose()?,
        stats: row.text_opt("stats")?.and_then(|text| Payload::from_text(text).ok()),
        cancel_requested: row.flag("cancel_requested")?,
    })
}

fn read_latest(row: &SqliteRow) -> Result<LatestBackup, sqlx::Error> {
    Ok(LatestBackup {
        host_id: row.parsed("host_id")?,
        job_id: row.parsed("id")?,
        group: row.text("group_name")?,
        status: row.status("status")?,
        finished_at: row.time("finished_at")?,
        snapshot_id: row.text_opt("snapshot_id")?,
    })
}
