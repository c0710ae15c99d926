//! Who may work on a repository: never two exclusive operations at once, on whatever hosts, and
//! nobody beside the first one that makes the repository.
//!
//! A lease is not written down. It is what the open jobs of the repository say: so it ends with its
//! job, however that ends, and no crash leaves one behind. A command that may not begin yet is kept
//! here instead of in its host's outbox, and goes there when its turn comes, first come first
//! served: a prune that waits for backups holds up those that come after it.
//!
//! Slots that fire on the agents ask nobody; there restic's own locks and the agents' patience with
//! them decide. See `docs/decisions/0006-repository-lease.md`.

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, JobId, Message, RepositoryId,
    message::{command, job::Operation},
};
use jiff::{SignedDuration, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use crate::{
    store::{Error, Store, outbox, row::Columns},
    view::{LeaseView, WaitingForView},
};

/// A host that was silent for this long no longer keeps others waiting: by then others may remove
/// the lock of its restic too.
const SILENT_MAX: SignedDuration = SignedDuration::from_mins(30);

impl Store {
    /// Sends the commands whose turn has come to their hosts' outboxes; returns those hosts.
    ///
    /// # Errors
    /// [`Error::Database`]; then nothing was sent.
    pub async fn release_held(&self) -> Result<Vec<HostId>, Error> {
        const PHASE: &str = "sending what waited for a repository";
        let waiting: Option<i64> = sqlx::query_scalar("SELECT 1 FROM held_commands LIMIT 1")
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        if waiting.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin(PHASE).await?;
        let released = release(&mut tx, self.now()).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        released.iter().for_each(|(job, _)| self.bus().touch_job(*job));
        if !released.is_empty() {
            // Those that wait on wait for somebody else now.
            let held = held(self.readers()).await.map_err(Error::database(PHASE))?;
            held.into_iter().for_each(|job| self.bus().touch_job(job));
        }
        Ok(released.into_iter().map(|(_, host)| host).collect())
    }
}

async fn held(pool: &SqlitePool) -> Result<Vec<JobId>, sqlx::Error> {
    let rows = sqlx::query("SELECT job_id FROM held_commands").fetch_all(pool).await?;
    rows.iter().map(|row| row.parsed("job_id")).collect()
}

/// Sends the command of `run`, whose job is stored, to its agent; or keeps it until the repository
/// is free and all that came before it have had their turn.
pub(super) async fn dispatch(
    connection: &mut SqliteConnection,
    host: HostId,
    run: &command::Run,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let held = Held { job: run.job_id, host, repository: run.repository_id, run: run.clone() };
    let queue: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM held_commands WHERE repository_id = $1 LIMIT 1")
            .bind(run.repository_id.to_string())
            .fetch_optional(&mut *connection)
            .await?;
    let waits = run.operation != Operation::Unlock
        && (queue.is_some() || in_the_way(&mut *connection, &held.waiting(), now).await?.is_some());
    if !waits {
        return send(connection, &held).await;
    }
    sqlx::query(
        "INSERT INTO held_commands (job_id, host_id, repository_id, payload, created_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(run.job_id.to_string())
    .bind(host.to_string())
    .bind(run.repository_id.to_string())
    .bind(Message::CommandRun(run.clone()).encode().as_str())
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes back a command that waits here; false when it does not.
pub(super) async fn take_back(
    connection: &mut SqliteConnection,
    job: JobId,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("DELETE FROM held_commands WHERE job_id = $1")
        .bind(job.to_string())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// The jobs of a host whose commands wait here.
pub(super) async fn held_jobs(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<Vec<JobId>, sqlx::Error> {
    let rows = sqlx::query("SELECT job_id FROM held_commands WHERE host_id = $1")
        .bind(host.to_string())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| row.parsed("job_id")).collect()
}

/// Who has a repository for itself: the exclusive operation whose command was sent first.
pub(in crate::store) async fn lease_of(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<Option<LeaseView>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT j.id, j.operation, h.name AS host_name, COALESCE(j.started_at, j.created_at) AS since
         FROM jobs j INDEXED BY jobs_of_repository_open JOIN hosts h ON h.id = j.host_id
         WHERE j.status IN ('queued', 'running', 'paused')
             AND j.id NOT IN (SELECT job_id FROM held_commands)
             AND (j.status <> 'queued' OR j.not_before IS NULL) AND j.repository_id = ",
    );
    query.push_bind(repository.to_string());
    only_exclusive(&mut query);
    query.push(
        " ORDER BY CASE WHEN j.status = 'queued' THEN 1 ELSE 0 END, j.created_at, j.id LIMIT 1",
    );
    let row = query.build().fetch_optional(connection).await?;
    let lease = |row: &SqliteRow| {
        Ok(LeaseView {
            holder_job: row.parsed("id")?,
            operation: row.operation("operation")?,
            host_name: row.text("host_name")?,
            since: row.time("since")?,
        })
    };
    row.as_ref().map(lease).transpose()
}

fn only_exclusive(query: &mut QueryBuilder<Sqlite>) {
    let mut exclusive = query.push(" AND j.operation IN (").separated(", ");
    for operation in Operation::ALL.iter().filter(|operation| operation.is_exclusive()) {
        exclusive.push_bind(operation.as_str());
    }
    query.push(")");
}

/// What each of `jobs` whose command waits here waits for: what is under way and does not go with
/// it, else what came before it.
pub(in crate::store) async fn waits(
    connection: &mut SqliteConnection,
    jobs: &[JobId],
    now: Timestamp,
) -> Result<BTreeMap<JobId, WaitingForView>, sqlx::Error> {
    let mut waits = BTreeMap::new();
    for job in jobs {
        if let Some(waiting) = waiting(&mut *connection, *job).await? {
            let found = match in_the_way(&mut *connection, &waiting, now).await? {
                Some(found) => Some(found),
                None => head_of_queue(&mut *connection, *job, &waiting).await?,
            };
            waits.extend(found.map(|found| (*job, found)));
        }
    }
    Ok(waits)
}

/// What decides whether a command has to wait.
struct Waiting {
    host: HostId,
    repository: RepositoryId,
    operation: Operation,
}

/// The command of `job`, if it waits here.
async fn waiting(
    connection: &mut SqliteConnection,
    job: JobId,
) -> Result<Option<Waiting>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT w.host_id, w.repository_id, j.operation FROM held_commands w
         JOIN jobs j ON j.id = w.job_id WHERE w.job_id = $1",
    )
    .bind(job.to_string())
    .fetch_optional(connection)
    .await?;
    let read = |row: SqliteRow| {
        Ok(Waiting {
            host: row.parsed("host_id")?,
            repository: row.parsed("repository_id")?,
            operation: row.operation("operation")?,
        })
    };
    row.map(read).transpose()
}

/// The command that has waited longest, unless that is the job's own.
async fn head_of_queue(
    connection: &mut SqliteConnection,
    job: JobId,
    waiting: &Waiting,
) -> Result<Option<WaitingForView>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT w.job_id AS id, j.operation,
             CASE WHEN h.host_group = own.host_group THEN h.name ELSE NULL END AS host_name
         FROM held_commands w JOIN jobs j ON j.id = w.job_id JOIN hosts h ON h.id = w.host_id
         JOIN hosts own ON own.id = $2
         WHERE w.repository_id = $1 ORDER BY w.created_at, w.job_id LIMIT 1",
    )
    .bind(waiting.repository.to_string())
    .bind(waiting.host.to_string())
    .fetch_optional(connection)
    .await?;
    let head = row.as_ref().map(read_waiting_for).transpose()?;
    Ok(head.filter(|head| head.job_id != job))
}

fn read_waiting_for(row: &SqliteRow) -> Result<WaitingForView, sqlx::Error> {
    Ok(WaitingForView {
        job_id: row.parsed("id")?,
        operation: row.operation("operation")?,
        host_name: row.text_opt("host_name")?,
    })
}

struct Held {
    job: JobId,
    host: HostId,
    repository: RepositoryId,
    run: command::Run,
}

impl Held {
    fn waiting(&self) -> Waiting {
        Waiting { host: self.host, repository: self.repository, operation: self.run.operation }
    }
}

async fn release(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<(JobId, HostId)>, sqlx::Error> {
    // What ended while it waited waits no more.
    sqlx::query(
        "DELETE FROM held_commands
         WHERE job_id NOT IN (SELECT id FROM jobs WHERE status = 'queued')",
    )
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query(
        "SELECT job_id, host_id, repository_id, payload FROM held_commands
         ORDER BY created_at, job_id",
    )
    .fetch_all(&mut *connection)
    .await?;
    let (mut released, mut blocked) = (Vec::new(), Vec::new());
    for row in &rows {
        let held = read(row)?;
        if blocked.contains(&held.repository)
            || in_the_way(&mut *connection, &held.waiting(), now).await?.is_some()
        {
            blocked.push(held.repository);
            continue;
        }
        take_back(&mut *connection, held.job).await?;
        send(&mut *connection, &held).await?;
        released.push((held.job, held.host));
    }
    Ok(released)
}

/// Whoever may have to make the repository goes alone and is told so; those that come later find it
/// there, or something is wrong. A path is another directory on every host, so that its own agent
/// decides.
async fn send(connection: &mut SqliteConnection, held: &Held) -> Result<(), sqlx::Error> {
    let mut run = held.run.clone();
    if run.operation == Operation::Backup && !is_local(&mut *connection, held.repository).await? {
        run.may_create = Some(!exists(&mut *connection, held.repository).await?);
    }
    outbox::append(connection, held.host, &Message::CommandRun(run)).await
}

async fn is_local(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<bool, sqlx::Error> {
    let kind: String = sqlx::query_scalar("SELECT kind FROM repositories WHERE id = $1")
        .bind(repository.to_string())
        .fetch_one(connection)
        .await?;
    Ok(kind == "local")
}

/// A job under way beside which this one may not begin.
async fn in_the_way(
    connection: &mut SqliteConnection,
    waiting: &Waiting,
    now: Timestamp,
) -> Result<Option<WaitingForView>, sqlx::Error> {
    if waiting.operation.is_exclusive() {
        return beside(connection, waiting, Others::All, now).await;
    }
    let exclusive = beside(&mut *connection, waiting, Others::Exclusive, now).await?;
    if exclusive.is_some() || exists(&mut *connection, waiting.repository).await? {
        return Ok(exclusive);
    }
    // The first one may have to make the repository, and two that do it break it.
    beside(connection, waiting, Others::All, now).await
}

/// Which operations are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    All,
    Exclusive,
}

/// Something that is under way on the repository on another host: a command that was sent, or what
/// an agent began itself. A host's own jobs on one repository take turns without us. What waits for
/// its next try keeps nobody waiting: its agent begins it, and meets restic's lock like a slot.
///
/// Ten thousand hosts may back up into one repository: it looks for one and never at all, which the
/// planner would do when it finds one repository to be all there is.
async fn beside(
    connection: &mut SqliteConnection,
    waiting: &Waiting,
    others: Others,
    now: Timestamp,
) -> Result<Option<WaitingForView>, sqlx::Error> {
    let heard_since = now.saturating_sub(SILENT_MAX).unwrap_or(Timestamp::MIN);
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT j.id, j.operation,
             CASE WHEN h.host_group = own.host_group THEN h.name ELSE NULL END AS host_name
         FROM jobs j INDEXED BY jobs_of_repository_open JOIN hosts h ON h.id = j.host_id
         CROSS JOIN hosts own
         WHERE j.status IN ('queued', 'running', 'paused') AND j.operation <> 'unlock'
             AND h.incarnation IS NOT NULL AND j.repository_id = ",
    );
    query.push_bind(waiting.repository.to_string());
    query.push(" AND own.id = ").push_bind(waiting.host.to_string());
    query.push(" AND j.host_id <> own.id AND COALESCE(h.last_seen_at, j.created_at) >= ");
    query.push_bind(heard_since.as_millisecond());
    query.push(" AND j.id NOT IN (SELECT job_id FROM held_commands)");
    query.push(" AND (j.status <> 'queued' OR COALESCE(j.not_before, 0) <= ");
    query.push_bind(now.as_millisecond()).push(")");
    if others == Others::Exclusive {
        only_exclusive(&mut query);
    }
    query.push(" LIMIT 1");
    let row = query.build().fetch_optional(connection).await?;
    row.as_ref().map(read_waiting_for).transpose()
}

/// Whether somebody has worked on the repository with success since it was pointed at its present
/// place, so that it is there. On one machine the agents take turns with a directory that is not
/// there yet.
async fn exists(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<bool, sqlx::Error> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM repositories r WHERE r.id = $1 AND (r.kind = 'local'
             OR EXISTS (SELECT 1 FROM jobs j WHERE j.repository_id = r.id
                 AND j.status IN ('succeeded', 'partial')
                 AND j.created_at > COALESCE(r.located_at, 0))
             OR r.located_at IS NULL
                 AND EXISTS (SELECT 1 FROM snapshot_lists l WHERE l.repository_id = r.id))",
    )
    .bind(repository.to_string())
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}

fn read(row: &SqliteRow) -> Result<Held, sqlx::Error> {
    Ok(Held {
        job: row.parsed("job_id")?,
        host: row.parsed("host_id")?,
        repository: row.parsed("repository_id")?,
        run: row.json("payload")?,
    })
}
