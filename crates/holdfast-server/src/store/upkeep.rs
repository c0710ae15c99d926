//! What keeps repositories in order: how their checks and prunes went, and what room they have.

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, JobId, Payload, RepositoryId,
    message::{
        job::{Finished, JobError, Operation, Status},
        result::{Forgotten, Pruned},
        snapshot::Room,
    },
};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{
    Error, Store, host,
    row::{Columns, int, json},
};
use crate::{
    verdict::{Ended, LowRoom, Unpruned},
    view::Calendar,
};

/// What is known of repositories beyond the backups into them.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    pub(crate) repositories: BTreeMap<RepositoryId, RepositoryUpkeep>,
    pub(crate) low_room: BTreeMap<(HostId, RepositoryId), LowRoom>,
}

/// What is known of one repository.
#[derive(Debug, Clone)]
pub(crate) struct RepositoryUpkeep {
    /// The newest check, when it failed; its time is that of the first that did.
    pub(crate) check_failed: Option<Ended>,
    /// What was forgotten whose data still lies there.
    pub(crate) unpruned: Option<Unpruned>,
}

/// Room below this is too little, unless less than a tenth of the disk is smaller still.
const LOW_BYTES: u64 = 100 << 30;

const CHECK_PASSED: &str = "INSERT INTO upkeep (repository_id, check_ok_at)
     SELECT repository_id, $2 FROM jobs WHERE id = $1 AND repository_id IS NOT NULL
     ON CONFLICT (repository_id) DO UPDATE SET check_ok_at = excluded.check_ok_at,
         check_failed_at = NULL, check_job_id = NULL, check_error = NULL";
const PRUNED: &str = "INSERT INTO upkeep (repository_id, prune_ok_at)
     SELECT repository_id, $2 FROM jobs WHERE id = $1 AND repository_id IS NOT NULL
     ON CONFLICT (repository_id) DO UPDATE SET prune_ok_at = excluded.prune_ok_at,
         forgot_at = NULL";
const FORGOT: &str = "INSERT INTO upkeep (repository_id, forgot_at)
     SELECT repository_id, $2 FROM jobs WHERE id = $1 AND repository_id IS NOT NULL
     ON CONFLICT (repository_id) DO UPDATE SET
         forgot_at = COALESCE(upkeep.forgot_at, excluded.forgot_at)";

impl Store {
    /// What is known of the repositories of these hosts, or of all.
    pub(crate) async fn upkeep(&self, only: Option<&[HostId]>) -> Result<Upkeep, Error> {
        const PHASE: &str = "reading how repositories are kept";
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT u.repository_id, u.check_failed_at, u.check_job_id, u.check_error, u.forgot_at,
                 m.cron, m.time_zone
             FROM upkeep u LEFT JOIN maintenance m ON m.repository_id = u.repository_id
                 AND m.operation = 'prune' AND m.enabled
             WHERE (u.check_failed_at IS NOT NULL OR u.forgot_at IS NOT NULL)
                 AND u.repository_id IN (SELECT g.repository_id FROM source_groups g WHERE 1 = 1",
        );
        host::only_hosts(&mut query, "g.host_id", only);
        query.push(")");
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        let repositories = rows.iter().map(read).collect::<Result<_, _>>();
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT host_id, repository_id, free_bytes, capacity_bytes, low_since
             FROM repository_room WHERE low_since IS NOT NULL",
        );
        host::only_hosts(&mut query, "host_id", only);
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        let low_room = rows.iter().map(read_room).collect::<Result<_, _>>();
        Ok(Upkeep {
            repositories: repositories.map_err(Error::database(PHASE))?,
            low_room: low_room.map_err(Error::database(PHASE))?,
        })
    }
}

/// Notes how a job that keeps a repository in order ended; returns the hosts whose verdict may
/// change.
pub(super) async fn note_end(
    connection: &mut SqliteConnection,
    operation: Operation,
    end: &Finished,
    now: Timestamp,
) -> Result<Vec<HostId>, sqlx::Error> {
    let done = end.status == Status::Succeeded;
    match operation {
        Operation::Check if done => {
            note_done(&mut *connection, CHECK_PASSED, end.job_id, now).await?;
        }
        Operation::Check if matches!(end.status, Status::Failed | Status::Partial) => {
            check_failed(&mut *connection, end, now).await?;
        }
        Operation::Prune if done && !is_trial(end) => {
            note_done(&mut *connection, PRUNED, end.job_id, now).await?;
        }
        Operation::Forget if done && has_removed(end) => {
            note_done(&mut *connection, FORGOT, end.job_id, now).await?;
        }
        _ => return Ok(Vec::new()),
    }
    let rows = sqlx::query(
        "SELECT DISTINCT g.host_id FROM source_groups g
         JOIN jobs j ON j.repository_id = g.repository_id WHERE j.id = $1",
    )
    .bind(end.job_id.to_string())
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.parsed("host_id")).collect()
}

fn stats<T: serde::de::DeserializeOwned>(end: &Finished) -> Option<T> {
    end.stats.as_ref().and_then(|stats: &Payload| stats.parse().ok())
}

fn is_trial(end: &Finished) -> bool {
    stats::<Pruned>(end).is_some_and(|pruned| pruned.dry_run)
}

fn has_removed(end: &Finished) -> bool {
    stats::<Forgotten>(end).is_some_and(|it| !it.dry_run && it.removed_count > 0)
}

async fn check_failed(
    connection: &mut SqliteConnection,
    end: &Finished,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO upkeep (repository_id, check_failed_at, check_job_id, check_error)
         SELECT repository_id, $2, $1, $3 FROM jobs WHERE id = $1 AND repository_id IS NOT NULL
         ON CONFLICT (repository_id) DO UPDATE SET
             check_failed_at = COALESCE(upkeep.check_failed_at, excluded.check_failed_at),
             check_job_id = excluded.check_job_id, check_error = excluded.check_error",
    )
    .bind(end.job_id.to_string())
    .bind(now.as_millisecond())
    .bind(end.error.as_ref().map(json))
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that `job` has done well what `statement` is about.
async fn note_done(
    connection: &mut SqliteConnection,
    statement: &'static str,
    job: JobId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(statement).bind(job.to_string()).bind(now.as_millisecond());
    query.execute(connection).await.map(drop)
}

/// Notes the room on a host's disk. Only hosts that use a repository have a say.
pub(super) async fn note_room(
    connection: &mut SqliteConnection,
    host: HostId,
    repository: RepositoryId,
    room: Room,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO repository_room
             (host_id, repository_id, free_bytes, capacity_bytes, measured_at, low_since)
         SELECT $1, $2, $3, $4, $5, CASE WHEN $6 THEN $5 END
         WHERE EXISTS (SELECT 1 FROM source_groups WHERE host_id = $1 AND repository_id = $2)
         ON CONFLICT (host_id, repository_id) DO UPDATE SET free_bytes = excluded.free_bytes,
             capacity_bytes = excluded.capacity_bytes, measured_at = excluded.measured_at,
             low_since = CASE WHEN $6 THEN COALESCE(repository_room.low_since, $5) END",
    )
    .bind(host.to_string())
    .bind(repository.to_string())
    .bind(int(room.free_bytes))
    .bind(int(room.capacity_bytes))
    .bind(now.as_millisecond())
    .bind(is_low(room))
    .execute(connection)
    .await?;
    Ok(())
}

fn is_low(room: Room) -> bool {
    room.free_bytes < (room.capacity_bytes / 10).min(LOW_BYTES)
}

fn read(row: &SqliteRow) -> Result<(RepositoryId, RepositoryUpkeep), sqlx::Error> {
    let failed_at = row.time_opt("check_failed_at")?;
    let check_failed = match (failed_at, row.parsed_opt("check_job_id")?) {
        (Some(ended_at), Some(job_id)) => {
            let error: Option<JobError> = row.json_opt("check_error")?;
            Some(Ended { job_id, ended_at, status: Status::Failed, error })
        }
        _ => None,
    };
    let unpruned = match row.time_opt("forgot_at")? {
        Some(forgot_at) => Some(Unpruned::new(forgot_at, cadence(row, forgot_at)?.as_ref())),
        None => None,
    };
    Ok((row.parsed("repository_id")?, RepositoryUpkeep { check_failed, unpruned }))
}

/// When the repository is pruned, where somebody has said so.
fn cadence(row: &SqliteRow, after: Timestamp) -> Result<Option<Calendar>, sqlx::Error> {
    let (cron, zone) = (row.text_opt("cron")?, row.text_opt("time_zone")?);
    let (Some(cron), Some(zone)) = (cron, zone) else { return Ok(None) };
    // What was checked when it was stored may be unknown to this machine's list of zones.
    Ok(Calendar::parse(&cron, &zone, after).ok())
}

fn read_room(row: &SqliteRow) -> Result<((HostId, RepositoryId), LowRoom), sqlx::Error> {
    let (free, capacity) = (row.count("free_bytes")?, row.count("capacity_bytes")?);
    let low = LowRoom {
        since: row.time("low_since")?,
        free_percent: free.saturating_mul(100) / capacity.max(1),
    };
    Ok(((row.parsed("host_id")?, row.parsed("repository_id")?), low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_low_below_a_tenth_and_a_hundred_gibibytes() {
        const GIB: u64 = 1 << 30;
        for (free, capacity, low) in [
            (3 * GIB, 40 * GIB, true),
            (4 * GIB, 40 * GIB, false),
            (99 * GIB, 20_000 * GIB, true),
            (101 * GIB, 20_000 * GIB, false),
            (0, 1, false),
        ] {
            let room = Room { free_bytes: free, capacity_bytes: capacity };
            assert_eq!(is_low(room), low, "{free} of {capacity}");
        }
    }
}
