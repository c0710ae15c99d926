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

use holdfast_protocol::{
    HostId, JobId, Message, RepositoryId,
    message::{command, job::Operation},
};
use jiff::{SignedDuration, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};

use crate::{
    store::{Error, Store, outbox, row::Columns},
    view::LeaseView,
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
        Ok(released.into_iter().map(|(_, host)| host).collect())
    }
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
        && (queue.is_some() || !is_free(&mut *connection, &held, now).await?);
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
             AND j.id NOT IN (SELECT job_id FROM held_commands) AND j.repository_id = ",
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

struct Held {
    job: JobId,
    host: HostId,
    repository: RepositoryId,
    run: command::Run,
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
        if blocked.contains(&held.repository) || !is_free(&mut *connection, &held, now).await? {
            blocked.push(held.repository);
            continue;
        }
        take_back(&mut *connection, held.job).await?;
        send(&mut *connection, &held).await?;
        released.push((held.job, held.host));
    }
    Ok(released)
}

async fn send(connection: &mut SqliteConnection, held: &Held) -> Result<(), sqlx::Error> {
    outbox::append(connection, held.host, &Message::CommandRun(held.run.clone())).await
}

/// Whether the job may begin beside those that are under way.
async fn is_free(
    connection: &mut SqliteConnection,
    held: &Held,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    if held.run.operation.is_exclusive() {
        return Ok(!is_beside(connection, held, Others::All, now).await?);
    }
    if is_beside(&mut *connection, held, Others::Exclusive, now).await? {
        return Ok(false);
    }
    // The first one may have to make the repository, and two that do it break it.
    Ok(exists(&mut *connection, held.repository).await?
        || !is_beside(connection, held, Others::All, now).await?)
}

/// Which operations are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    All,
    Exclusive,
}

/// Whether something is under way on the repository on other hosts: commands that were sent, and
/// what agents began themselves. A host's own jobs on one repository take turns without us.
///
/// Ten thousand hosts may back up into one repository: it looks for one and never at all, which the
/// planner would do when it finds one repository to be all there is.
async fn is_beside(
    connection: &mut SqliteConnection,
    held: &Held,
    others: Others,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let heard_since = now.saturating_sub(SILENT_MAX).unwrap_or(Timestamp::MIN);
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT 1 FROM jobs j INDEXED BY jobs_of_repository_open JOIN hosts h ON h.id = j.host_id
         WHERE j.status IN ('queued', 'running', 'paused') AND j.operation <> 'unlock'
             AND h.incarnation IS NOT NULL AND j.repository_id = ",
    );
    query.push_bind(held.repository.to_string());
    query.push(" AND j.host_id <> ").push_bind(held.host.to_string());
    query.push(" AND COALESCE(h.last_seen_at, j.created_at) >= ");
    query.push_bind(heard_since.as_millisecond());
    query.push(" AND j.id NOT IN (SELECT job_id FROM held_commands)");
    if others == Others::Exclusive {
        only_exclusive(&mut query);
    }
    query.push(" LIMIT 1");
    Ok(query.build().fetch_optional(connection).await?.is_some())
}

/// Whether somebody has worked on the repository with success, so that it is there. On one machine
/// the agents take turns with a directory that is not there yet.
async fn exists(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<bool, sqlx::Error> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM repositories WHERE id = $1 AND kind = 'local')
             OR EXISTS (SELECT 1 FROM snapshot_lists WHERE repository_id = $1)
             OR EXISTS (SELECT 1 FROM jobs WHERE repository_id = $1
                 AND status IN ('succeeded', 'partial'))",
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
