//! Jobs: ordered by people, run by agents, and ended exactly once.

pub(super) mod choose;
mod days;
mod ending;
mod lease;
mod order;
mod runs;
pub(super) mod tries;

use holdfast_protocol::{
    HostId, JobId, Payload, RepositoryId,
    dialect::Dialect,
    message::job::{JobError, Operation, Status},
};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, sqlite::SqliteRow};

use super::{Error, Store, row::Columns};
use crate::{
    auth::Scope,
    view::{Cause, WaitingForView},
};

pub(super) use choose::withdraw;
pub(super) use ending::{HOST_REMOVED, end_open, interrupt_unqueued};
pub(super) use lease::lease_of;
pub(super) use order::{Asked, place};
pub use order::{Cancelled, Order, Ordered};
pub(crate) use runs::GroupRuns;

/// What is stored about a job.
#[derive(Debug, Clone)]
pub(crate) struct JobRow {
    pub(crate) id: JobId,
    pub(crate) host_id: HostId,
    pub(crate) host_name: String,
    /// What the host's agent speaks, when it is of another system.
    pub(crate) dialect: Option<Dialect>,
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
    pub(crate) repository_id: Option<RepositoryId>,
    pub(crate) parameters: Option<Payload>,
    pub(crate) retry_of: Option<JobId>,
    pub(crate) retried_by: Option<JobId>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) waiting_for: Option<WaitingForView>,
}

/// The newest good backup of one group.
#[derive(Debug, Clone)]
pub(crate) struct GoodBackup {
    pub(crate) host_name: String,
    pub(crate) group: String,
    pub(crate) finished_at: Timestamp,
}

/// The newest ended backup of one group.
#[derive(Debug, Clone)]
pub(crate) struct LatestBackup {
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
    /// Only of hosts in these host groups; of all when there is no list.
    pub host_groups: Option<Vec<String>>,
    /// Only in this state.
    pub status: Option<Status>,
    /// At most this many; 0 stands for 50, and 500 is the most.
    pub limit: u32,
    /// The `next` of the page before.
    pub before: Option<String>,
}

macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT j.id, j.host_id, h.name AS host_name, h.dialect, j.operation, j.group_name,
                 j.status, j.cause, j.created_at, j.started_at, j.finished_at, j.exit_code,
                 j.snapshot_id, j.attempt, j.error_code, j.error_message, j.error_action, j.stats,
                 j.cancel_requested, j.repository_id, j.parameters, j.retry_of, j.retried_by,
                 j.not_before
             FROM jobs j JOIN hosts h ON h.id = j.host_id ",
            $rest
        )
    };
}

impl Store {
    /// One job.
    pub(crate) async fn job(&self, job: JobId) -> Result<JobRow, Error> {
        const PHASE: &str = "reading a job";
        let row = sqlx::query(select_jobs!("WHERE j.id = $1"))
            .bind(job.to_string())
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        let row = row.ok_or_else(|| not_found(job))?;
        let found = read(&row).map_err(Error::database(PHASE))?;
        let told = self.tell_what_for(vec![found]).await?.into_iter().next();
        told.ok_or_else(|| not_found(job))
    }

    /// Tells of jobs that wait for a repository what they wait for.
    async fn tell_what_for(&self, mut jobs: Vec<JobRow>) -> Result<Vec<JobRow>, Error> {
        const PHASE: &str = "reading what jobs wait for";
        let queued = jobs.iter().filter(|job| job.status == Status::Queued);
        let queued: Vec<JobId> = queued.map(|job| job.id).collect();
        if queued.is_empty() {
            return Ok(jobs);
        }
        let mut connection = self.readers().acquire().await.map_err(Error::database(PHASE))?;
        let waits = lease::waits(&mut connection, &queued, self.now()).await;
        let mut waits = waits.map_err(Error::database(PHASE))?;
        jobs.iter_mut().for_each(|job| job.waiting_for = waits.remove(&job.id));
        Ok(jobs)
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
        if let Some(groups) = &filter.host_groups {
            super::host::only_groups(&mut query, "h.host_group", groups);
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
        Ok((self.tell_what_for(jobs).await?, next))
    }

    /// All jobs that have not ended, and the newest `ended` that have.
    pub(crate) async fn recent_jobs(&self, ended: u32) -> Result<Vec<JobRow>, Error> {
        const PHASE: &str = "reading recent jobs";
        // Two looks into an index; one `OR` would read the whole history.
        let rows = sqlx::query(select_jobs!(
            "WHERE j.id IN (
                 SELECT id FROM jobs WHERE status IN ('queued', 'running', 'paused')
                 UNION ALL
                 SELECT id FROM (SELECT id FROM jobs
                     WHERE status NOT IN ('queued', 'running', 'paused')
                     ORDER BY created_at DESC, id DESC LIMIT $1) newest)
             ORDER BY j.created_at DESC, j.id DESC"
        ))
        .bind(i64::from(ended))
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        self.tell_what_for(read_all(&rows).map_err(Error::database(PHASE))?).await
    }

    /// The newest good backup of every group, and when it ended.
    pub(crate) async fn good_backups(&self) -> Result<Vec<GoodBackup>, Error> {
        const PHASE: &str = "reading the latest good backups";
        let rows = sqlx::query(
            "SELECT h.name AS host_name, g.name AS group_name, (
                 SELECT finished_at FROM jobs WHERE host_id = g.host_id AND group_name = g.name
                     AND operation = 'backup' AND ended_at IS NOT NULL
                     AND status IN ('succeeded', 'partial')
                 ORDER BY ended_at DESC, id DESC LIMIT 1) AS finished_at
             FROM source_groups g JOIN hosts h ON h.id = g.host_id",
        )
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let good = rows.iter().filter_map(|row| read_good(row).transpose());
        good.collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// How many jobs are in one of these states.
    pub(crate) async fn count_open_jobs(
        &self,
        states: &[Status],
        scope: &Scope,
    ) -> Result<u64, Error> {
        const PHASE: &str = "counting jobs";
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT COUNT(*) FROM jobs j JOIN hosts h ON h.id = j.host_id
             WHERE j.status IN ('queued', 'running', 'paused') AND j.status IN (",
        );
        let mut list = query.separated(", ");
        for status in states {
            list.push_bind(status.as_str());
        }
        query.push(")");
        if let Scope::Groups(groups) = scope {
            super::host::only_groups(&mut query, "h.host_group", groups);
        }
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
            "SELECT host_id, id FROM jobs
             WHERE status IN ('queued', 'running', 'paused') AND status <> 'queued'",
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
            "SELECT id FROM jobs WHERE host_id = $1 AND status IN ('queued', 'running', 'paused')
                 AND (status <> 'queued' OR accepted_at IS NOT NULL)",
        )
        .bind(host.to_string())
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let ids = rows.iter().map(|row| row.parsed("id")).collect::<Result<_, _>>();
        ids.map_err(Error::database(PHASE))
    }
}

pub(super) fn not_found(job: JobId) -> Error {
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
        "maintenance" => Cause::Maintenance,
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
        dialect: Dialect::from_word(&row.text("dialect")?),
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
        repository_id: row.parsed_opt("repository_id")?,
        parameters: row.text_opt("parameters")?.and_then(|text| Payload::from_text(text).ok()),
        retry_of: row.parsed_opt("retry_of")?,
        retried_by: row.parsed_opt("retried_by")?,
        not_before: row.time_opt("not_before")?,
        waiting_for: None,
    })
}

fn read_good(row: &SqliteRow) -> Result<Option<GoodBackup>, sqlx::Error> {
    let Some(finished_at) = row.time_opt("finished_at")? else { return Ok(None) };
    let (host_name, group) = (row.text("host_name")?, row.text("group_name")?);
    Ok(Some(GoodBackup { host_name, group, finished_at }))
}

fn read_latest(row: &SqliteRow) -> Result<LatestBackup, sqlx::Error> {
    Ok(LatestBackup {
        job_id: row.parsed("id")?,
        group: row.text("group_name")?,
        status: row.status("status")?,
        finished_at: row.time("finished_at")?,
        snapshot_id: row.text_opt("snapshot_id")?,
    })
}
