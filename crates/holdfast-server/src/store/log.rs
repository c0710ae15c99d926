//! Log lines of jobs: bounded, with every gap visible by its numbers.

mod packed;

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, JobId,
    message::log::{Line, Source, Stream},
};
use jiff::{SignedDuration, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::{
    Error, Store,
    job::not_found,
    row::{Columns, int},
    writer::LogBatch,
};
use crate::view::{LogGap, LogLine, LogPage};

/// The first lines of a job are kept whatever comes after: they say what went wrong first.
const HEAD_LINES: i64 = 2000;
/// Beyond this much text per job, the oldest lines after the head go.
const JOB_BYTES_MAX: i64 = 8 * 1024 * 1024;
/// Trimming goes below the limit by this much, so that not every line trims.
const TRIM_BYTES: i64 = JOB_BYTES_MAX / 8;
/// A longer line is cut.
const LINE_BYTES_MAX: usize = 4096;
const LINES_PER_PAGE_MAX: u32 = 5000;

impl Store {
    /// The lines of a job after number `after`, at most `limit` (0 stands for 1,000).
    ///
    /// # Errors
    /// [`Error::JobNotFound`] and [`Error::Database`].
    pub async fn job_log(&self, job: JobId, after: u64, limit: u32) -> Result<LogPage, Error> {
        const PHASE: &str = "reading a job's log";
        let pruned_at = self.log_pruned_at(job).await?;
        let limit = if limit == 0 { 1000 } else { limit.min(LINES_PER_PAGE_MAX) };
        let rows = sqlx::query(
            "SELECT seq, ts, stream, payload FROM log_lines WHERE job_id = $1 AND seq > $2
             ORDER BY seq LIMIT $3",
        )
        .bind(job.to_string())
        .bind(int(after))
        .bind(i64::from(limit) + 1)
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let wanted = limit as usize + 1;
        let packed = packed::lines(self, job, after, wanted).await;
        let mut lines = packed.map_err(Error::database(PHASE))?;
        for row in &rows {
            let line = read(row).map_err(Error::database(PHASE))?;
            lines.entry(line.seq).or_insert(line);
        }
        let lines = lines.into_values().take(wanted).collect();
        Ok(LogPage { pruned_at, ..page(lines, after, limit as usize) })
    }

    /// When the log of the job was dropped, if it was.
    async fn log_pruned_at(&self, job: JobId) -> Result<Option<Timestamp>, Error> {
        const PHASE: &str = "reading a job";
        let row = sqlx::query("SELECT log_pruned_at FROM jobs WHERE id = $1")
            .bind(job.to_string())
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?
            .ok_or_else(|| not_found(job))?;
        row.time_opt("log_pruned_at").map_err(Error::database(PHASE))
    }
}

/// A job that ended this long ago is told of no more.
pub(crate) const LOG_SETTLES: SignedDuration = SignedDuration::from_mins(10);
/// Log lines live this long after their job has ended.
pub(crate) const LOG_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// So many jobs lose their log in one transaction: others want to write too.
const JOBS_PER_PRUNING: i64 = 20;

impl Store {
    /// Drops the log of some jobs that ended before `before`; whether there may be more of them.
    pub(crate) async fn prune_logs(&self, before: Timestamp) -> Result<bool, Error> {
        const PHASE: &str = "dropping old logs";
        let mut tx = self.begin(PHASE).await?;
        let pruned = prune(&mut tx, before, self.now()).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(pruned == JOBS_PER_PRUNING)
    }
}

async fn prune(
    connection: &mut SqliteConnection,
    before: Timestamp,
    now: Timestamp,
) -> Result<i64, sqlx::Error> {
    let jobs: Vec<String> =
        sqlx::query_scalar("SELECT id FROM jobs WHERE ended_at < $1 AND log_bytes > 0 LIMIT $2")
            .bind(before.as_millisecond())
            .bind(JOBS_PER_PRUNING)
            .fetch_all(&mut *connection)
            .await?;
    for job in &jobs {
        for statement in
            ["DELETE FROM log_lines WHERE job_id = $1", "DELETE FROM log_parts WHERE job_id = $1"]
        {
            sqlx::query(statement).bind(job).execute(&mut *connection).await?;
        }
        sqlx::query("UPDATE jobs SET log_bytes = 0, log_pruned_at = $2 WHERE id = $1")
            .bind(job)
            .bind(now.as_millisecond())
            .execute(&mut *connection)
            .await?;
    }
    Ok(jobs.len().try_into().unwrap_or(i64::MAX))
}

/// What became of a round of lines.
#[derive(Default)]
pub(super) struct Stored {
    /// The jobs whose log has grown.
    pub(super) grown: Vec<JobId>,
    /// Lines of jobs that are not known (yet).
    pub(super) unknown: Vec<LogBatch>,
}

/// Stores the lines of a round in one transaction.
pub(super) async fn commit(pool: &SqlitePool, round: Vec<LogBatch>) -> Result<Stored, sqlx::Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let mut done = Stored::default();
    let mut by_job: BTreeMap<(HostId, JobId), Vec<Line>> = BTreeMap::new();
    for batch in round {
        by_job.entry((batch.host, batch.stream.job_id)).or_default().extend(batch.stream.lines);
    }
    for ((host, job_id), lines) in by_job {
        match owner(&mut tx, job_id).await? {
            Some(owner) if owner == host => {
                store(&mut tx, job_id, &lines).await?;
                done.grown.push(job_id);
            }
            Some(_) => tracing::warn!(%host, %job_id, "log lines for another host's job"),
            None => done.unknown.push(LogBatch { host, stream: Stream { job_id, lines } }),
        }
    }
    tx.commit().await?;
    Ok(done)
}

async fn owner(
    connection: &mut SqliteConnection,
    job: JobId,
) -> Result<Option<HostId>, sqlx::Error> {
    let row = sqlx::query("SELECT host_id FROM jobs WHERE id = $1")
        .bind(job.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.parsed("host_id")).transpose()
}

async fn store(
    connection: &mut SqliteConnection,
    job: JobId,
    lines: &[Line],
) -> Result<(), sqlx::Error> {
    let mut added = 0;
    for part in lines.chunks(500) {
        insert(&mut *connection, job, part).await?;
        added += part.iter().map(|line| cut(&line.payload).len()).sum::<usize>();
    }
    let total: i64 = sqlx::query_scalar(
        "UPDATE jobs SET log_bytes = log_bytes + $2, log_packed = FALSE WHERE id = $1
         RETURNING log_bytes",
    )
    .bind(job.to_string())
    .bind(i64::try_from(added).unwrap_or(i64::MAX))
    .fetch_one(&mut *connection)
    .await?;
    if total > JOB_BYTES_MAX { trim(connection, job, total).await } else { Ok(()) }
}

async fn insert(
    connection: &mut SqliteConnection,
    job: JobId,
    lines: &[Line],
) -> Result<(), sqlx::Error> {
    let mut query =
        QueryBuilder::<Sqlite>::new("INSERT INTO log_lines (job_id, seq, ts, stream, payload) ");
    query.push_values(lines, |mut row, line| {
        row.push_bind(job.to_string())
            .push_bind(int(line.seq))
            .push_bind(line.ts.as_millisecond())
            .push_bind(word(line.stream))
            .push_bind(cut(&line.payload));
    });
    query.push(" ON CONFLICT DO NOTHING");
    query.build().execute(connection).await?;
    Ok(())
}

/// Drops the oldest lines after the head until the job is well below its limit.
async fn trim(
    connection: &mut SqliteConnection,
    job: JobId,
    total: i64,
) -> Result<(), sqlx::Error> {
    let excess = total - (JOB_BYTES_MAX - TRIM_BYTES);
    let cut: Option<i64> = sqlx::query_scalar(
        "SELECT MAX(seq) FROM (
             SELECT seq, SUM(LENGTH(payload)) OVER (ORDER BY seq) AS passed
             FROM log_lines WHERE job_id = $1 AND seq > $2) sums
         WHERE passed <= $3",
    )
    .bind(job.to_string())
    .bind(HEAD_LINES)
    .bind(excess)
    .fetch_one(&mut *connection)
    .await?;
    let Some(cut) = cut else { return Ok(()) };
    sqlx::query("DELETE FROM log_lines WHERE job_id = $1 AND seq > $2 AND seq <= $3")
        .bind(job.to_string())
        .bind(HEAD_LINES)
        .bind(cut)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "UPDATE jobs SET log_bytes = (SELECT COALESCE(SUM(LENGTH(payload)), 0) FROM log_lines
             WHERE job_id = $1) WHERE id = $1",
    )
    .bind(job.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

fn page(mut lines: Vec<LogLine>, after: u64, limit: usize) -> LogPage {
    let more = lines.len() > limit;
    lines.truncate(limit);
    let mut gaps = Vec::new();
    let mut last = after;
    for line in &lines {
        if line.seq > last + 1 {
            gaps.push(LogGap { from: last + 1, to: line.seq - 1 });
        }
        last = line.seq;
    }
    LogPage { next: more.then_some(last), lines, gaps, pruned_at: None }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LINE_BYTES_MAX)]
}

fn word(source: Source) -> &'static str {
    match source {
        Source::Stdout => "stdout",
        Source::Stderr => "stderr",
        Source::Event => "event",
    }
}

fn read(row: &SqliteRow) -> Result<LogLine, sqlx::Error> {
    let stream = match row.text("stream")?.as_str() {
        "stdout" => Source::Stdout,
        "stderr" => Source::Stderr,
        _ => Source::Event,
    };
    Ok(LogLine {
        seq: row.count("seq")?,
        ts: row.time("ts")?,
        stream,
        payload: row.text("payload")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_logs_of_long_ended_jobs_go_and_the_jobs_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let host = store.add_host("ops", "web-1").await.unwrap().host_id;
        let mut tx = store.begin("a test").await.unwrap();
        for (id, ended_at) in [(1, 1000), (2, 3000)] {
            let id = uuid::Uuid::from_u128(id).to_string();
            sqlx::query(
                "INSERT INTO jobs (id, host_id, operation, group_name, status, cause, created_at,
                     ended_at, log_bytes)
                 VALUES ($1, $2, 'backup', 'etc', 'failed', 'manual', 500, $3, 4)",
            )
            .bind(&id)
            .bind(host.to_string())
            .bind(ended_at)
            .execute(&mut *tx)
            .await
            .unwrap();
            sqlx::query("INSERT INTO log_lines VALUES ($1, 1, 900, 'stderr', 'text')")
                .bind(&id)
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        let more = store.prune_logs(Timestamp::from_millisecond(2000).unwrap()).await.unwrap();
        assert!(!more);
        let lines = async |id| {
            let job = JobId::from_uuid(uuid::Uuid::from_u128(id));
            store.job_log(job, 0, 0).await.unwrap().lines.len()
        };
        assert_eq!((lines(1).await, lines(2).await), (0, 1));
        let pruned = async |id| {
            let job = JobId::from_uuid(uuid::Uuid::from_u128(id));
            store.job_log(job, 0, 0).await.unwrap().pruned_at.is_some()
        };
        assert!(pruned(1).await && !pruned(2).await, "an empty log says why it is empty");
    }
}
