//! How much repositories hold, and held.
//!
//! What was measured counts (`repo.stats`, jobs of `stats` and `prune`). Between two measurements
//! the snapshots that agents list and the data that backups add move it on.

use holdfast_protocol::{
    HostId, Payload, RepositoryId,
    message::{
        job::Operation,
        parameters::{Parameters, StatsMode},
        result::{Forgotten, Pruned, Sizes},
    },
};
use jiff::Timestamp;
use serde::Deserialize;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use crate::{
    store::{
        Error, Store,
        row::{Columns, int},
    },
    view::SizeView,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How long every hour is remembered; after that, the last of each day.
const HOURS_LIFE_MS: i64 = 7 * DAY_MS;
const DAYS_LIFE_MS: i64 = 2 * 365 * DAY_MS;

/// What is newly known about a repository; what is `None` stays as it was.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store) struct Measured {
    pub(in crate::store) total_size_bytes: Option<u64>,
    pub(in crate::store) raw_size_bytes: Option<u64>,
    pub(in crate::store) snapshot_count: Option<u64>,
}

impl Store {
    /// How much a repository held, oldest first.
    pub(crate) async fn sizes(&self, repository: RepositoryId) -> Result<Vec<SizeView>, Error> {
        const PHASE: &str = "reading a repository's sizes";
        let rows = sqlx::query(
            "SELECT at, total_size_bytes, raw_size_bytes, snapshot_count FROM repository_sizes
             WHERE repository_id = $1 AND total_size_bytes IS NOT NULL ORDER BY hour",
        )
        .bind(repository.to_string())
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Forgets the hours that are over a week old but for the last of each day, and what is older
    /// than two years.
    pub(crate) async fn prune_sizes(&self, now: Timestamp) -> Result<(), Error> {
        const PHASE: &str = "thinning out the sizes of repositories";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(
            "DELETE FROM repository_sizes WHERE at < $1 OR (at < $2 AND EXISTS (
                 SELECT 1 FROM repository_sizes later
                 WHERE later.repository_id = repository_sizes.repository_id
                     AND later.hour > repository_sizes.hour
                     AND later.hour / 24 = repository_sizes.hour / 24))",
        )
        .bind(now.as_millisecond() - DAYS_LIFE_MS)
        .bind(now.as_millisecond() - HOURS_LIFE_MS)
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }
}

/// Takes a measurement.
pub(in crate::store) async fn measure(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    measured: Measured,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE repositories SET
             total_size_bytes = COALESCE($2, total_size_bytes),
             raw_size_bytes = COALESCE($3, raw_size_bytes),
             snapshot_count = COALESCE($4, snapshot_count)
         WHERE id = $1",
    )
    .bind(repository.to_string())
    .bind(measured.total_size_bytes.map(int))
    .bind(measured.raw_size_bytes.map(int))
    .bind(measured.snapshot_count.map(int))
    .execute(&mut *connection)
    .await?;
    note(connection, repository, now).await
}

/// Takes what a job that ended well tells of sizes.
pub(in crate::store) async fn job_told(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    operation: Operation,
    parameters: Option<&Payload>,
    stats: &Payload,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    match operation {
        Operation::Stats => {
            let Some(measured) = of_stats(parameters, stats) else { return Ok(()) };
            measure(connection, repository, measured, now).await
        }
        Operation::Prune => {
            let Ok(Pruned { dry_run: false, remaining_bytes, .. }) = stats.parse() else {
                return Ok(());
            };
            let measured = Measured { raw_size_bytes: remaining_bytes, ..Measured::default() };
            measure(connection, repository, measured, now).await
        }
        Operation::Forget => {
            let Ok(forgotten) = stats.parse::<Forgotten>() else { return Ok(()) };
            if forgotten.dry_run {
                Ok(())
            } else {
                strike(connection, repository, &forgotten, now).await
            }
        }
        Operation::Backup => {
            let Ok(added) = stats.parse::<Added>() else { return Ok(()) };
            let added = added.data_added_packed.or(added.data_added).unwrap_or(0);
            grow(connection, repository, added, now).await
        }
        _ => Ok(()),
    }
}

/// The part of restic's summary of a backup that tells what is stored now and was not before.
#[derive(Deserialize)]
struct Added {
    data_added: Option<u64>,
    /// After compression; since restic 0.17.
    data_added_packed: Option<u64>,
}

/// The sizes of one snapshot say nothing about the repository.
fn of_stats(parameters: Option<&Payload>, stats: &Payload) -> Option<Measured> {
    let mut asked: serde_json::Value = parameters?.parse().ok()?;
    asked.as_object_mut()?.insert("kind".to_owned(), "stats".into());
    let Ok(Parameters::Stats(asked)) = serde_json::from_value(asked) else { return None };
    let sizes: Sizes = stats.parse().ok()?;
    if asked.snapshot_id.is_some() {
        return None;
    }
    let snapshot_count = Some(sizes.snapshot_count);
    let size = Some(sizes.total_size_bytes);
    Some(match asked.mode {
        StatsMode::RestoreSize => {
            Measured { total_size_bytes: size, snapshot_count, ..Measured::default() }
        }
        StatsMode::RawData => {
            Measured { raw_size_bytes: size, snapshot_count, ..Measured::default() }
        }
    })
}

/// What a backup added, on top of what was measured.
async fn grow(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    added: u64,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let done = sqlx::query(
        "UPDATE repositories SET raw_size_bytes = raw_size_bytes + $2
         WHERE id = $1 AND raw_size_bytes IS NOT NULL",
    )
    .bind(repository.to_string())
    .bind(int(added))
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 { Ok(()) } else { note(connection, repository, now).await }
}

/// Strikes what was forgotten from the lists of those whose it was: their agents list only when
/// they next work on the repository.
async fn strike(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    forgotten: &Forgotten,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut hosts: Vec<HostId> = Vec::new();
    for judged in forgotten.groups.iter().flat_map(|group| &group.remove) {
        let rows = sqlx::query(
            "DELETE FROM snapshots WHERE repository_id = $1 AND id = $2 RETURNING host_id",
        )
        .bind(repository.to_string())
        .bind(&judged.snapshot_id)
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            let host = row.parsed("host_id")?;
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
    }
    for host in hosts {
        recount(&mut *connection, host, repository, now).await?;
    }
    Ok(())
}

/// Adds up a host's list in force, and moves what the repository holds by as much as that changed.
pub(in crate::store) async fn recount(
    connection: &mut SqliteConnection,
    host: HostId,
    repository: RepositoryId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let before = listed(&mut *connection, host, repository).await?;
    sqlx::query(
        "UPDATE snapshot_lists SET (snapshot_count, size_bytes) = (
             SELECT COUNT(*), CASE WHEN COUNT(*) = COUNT(s.size_bytes)
                 THEN COALESCE(SUM(s.size_bytes), 0) ELSE NULL END
             FROM snapshots s WHERE s.host_id = $1 AND s.repository_id = $2
                 AND s.report_id = snapshot_lists.report_id)
         WHERE host_id = $1 AND repository_id = $2",
    )
    .bind(host.to_string())
    .bind(repository.to_string())
    .execute(&mut *connection)
    .await?;
    let after = listed(&mut *connection, host, repository).await?;
    let moved = |before: Option<i64>, after: Option<i64>| Some(after? - before.unwrap_or(0));
    // Where nobody has measured yet, the lists of all hosts together are what is known.
    sqlx::query(
        "UPDATE repositories SET
             snapshot_count = CASE WHEN snapshot_count IS NULL THEN all_lists.snapshots
                 WHEN snapshot_count + $2 < 0 THEN 0 ELSE snapshot_count + $2 END,
             total_size_bytes = CASE WHEN total_size_bytes IS NULL THEN all_lists.bytes
                 WHEN $3 IS NULL THEN total_size_bytes
                 WHEN total_size_bytes + $3 < 0 THEN 0 ELSE total_size_bytes + $3 END
         FROM (SELECT SUM(snapshot_count) AS snapshots,
                   CASE WHEN COUNT(*) = COUNT(size_bytes)
                       THEN SUM(size_bytes) ELSE NULL END AS bytes
               FROM snapshot_lists WHERE repository_id = $1) all_lists
         WHERE repositories.id = $1",
    )
    .bind(repository.to_string())
    .bind(moved(before.0, after.0).unwrap_or(0))
    .bind(moved(before.1, after.1))
    .execute(&mut *connection)
    .await?;
    note(connection, repository, now).await
}

async fn listed(
    connection: &mut SqliteConnection,
    host: HostId,
    repository: RepositoryId,
) -> Result<(Option<i64>, Option<i64>), sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot_count, size_bytes FROM snapshot_lists
         WHERE host_id = $1 AND repository_id = $2",
    )
    .bind(host.to_string())
    .bind(repository.to_string())
    .fetch_optional(connection)
    .await?;
    row.map_or(Ok((None, None)), |row| Ok((row.try_get(0)?, row.try_get(1)?)))
}

/// Writes down what is known now as what is known of this hour.
async fn note(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO repository_sizes
             (repository_id, hour, at, total_size_bytes, raw_size_bytes, snapshot_count)
         SELECT id, $2, $3, total_size_bytes, raw_size_bytes, snapshot_count FROM repositories
         WHERE id = $1
         ON CONFLICT (repository_id, hour) DO UPDATE SET at = excluded.at,
             total_size_bytes = excluded.total_size_bytes,
             raw_size_bytes = excluded.raw_size_bytes, snapshot_count = excluded.snapshot_count",
    )
    .bind(repository.to_string())
    .bind(now.as_millisecond().div_euclid(HOUR_MS))
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<SizeView, sqlx::Error> {
    Ok(SizeView {
        at: row.time("at")?,
        total_size_bytes: row.count("total_size_bytes")?,
        raw: row.count_opt("raw_size_bytes")?,
        snapshot_count: row.count_opt("snapshot_count")?,
    })
}
