//! The snapshots of a host, as its agent last listed them.

use holdfast_protocol::{HostId, RepositoryId, message::snapshot};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{
    Error, Store,
    row::{Columns, int, json},
};
use crate::view::SnapshotView;

/// More bind parameters than this do not fit into one statement.
const ROWS_PER_STATEMENT: usize = 500;

impl Store {
    /// The snapshots of a host in all its repositories, newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn snapshots(&self, host: HostId) -> Result<Vec<SnapshotView>, Error> {
        const PHASE: &str = "reading snapshots";
        let rows = sqlx::query(
            "SELECT s.id, s.short_id, s.taken_at, s.hostname, s.paths, s.tags, s.size_bytes,
                 s.file_count, s.repository_id, r.name AS repository_name
             FROM snapshots s
             JOIN snapshot_lists l ON l.host_id = s.host_id
                 AND l.repository_id = s.repository_id AND l.report_id = s.report_id
             JOIN repositories r ON r.id = s.repository_id
             WHERE s.host_id = $1 ORDER BY s.taken_at DESC, s.id",
        )
        .bind(host.to_string())
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }
}

/// Takes one part of a list; the last part puts the list in force.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    host: HostId,
    report: &snapshot::Report,
) -> Result<(), sqlx::Error> {
    if !exists(&mut *connection, report.repository_id).await? {
        // The repository was removed while the report was under way.
        return Ok(());
    }
    drop_unfinished(&mut *connection, host, report).await?;
    for part in report.snapshots.chunks(ROWS_PER_STATEMENT) {
        insert(&mut *connection, host, report, part).await?;
    }
    if report.last { put_in_force(connection, host, report).await } else { Ok(()) }
}

/// Only one list waits beside the one in force: an agent that begins many must not fill the disk.
async fn drop_unfinished(
    connection: &mut SqliteConnection,
    host: HostId,
    report: &snapshot::Report,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM snapshots WHERE host_id = $1 AND repository_id = $2 AND report_id <> $3
             AND report_id NOT IN (SELECT report_id FROM snapshot_lists
                 WHERE host_id = $1 AND repository_id = $2)",
    )
    .bind(host.to_string())
    .bind(report.repository_id.to_string())
    .bind(&report.report_id)
    .execute(connection)
    .await?;
    Ok(())
}

async fn exists(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<bool, sqlx::Error> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM repositories WHERE id = $1")
        .bind(repository.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

async fn insert(
    connection: &mut SqliteConnection,
    host: HostId,
    report: &snapshot::Report,
    part: &[snapshot::Snapshot],
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO snapshots (host_id, repository_id, report_id, id, short_id, taken_at,
             hostname, paths, tags, size_bytes, file_count) ",
    );
    query.push_values(part, |mut row, snapshot| {
        row.push_bind(host.to_string())
            .push_bind(report.repository_id.to_string())
            .push_bind(report.report_id.as_str())
            .push_bind(snapshot.id.as_str())
            .push_bind(snapshot.short_id.as_str())
            .push_bind(snapshot.time.as_millisecond())
            .push_bind(snapshot.hostname.as_str())
            .push_bind(json(&snapshot.paths))
            .push_bind(json(&snapshot.tags))
            .push_bind(snapshot.size_bytes.map(int))
            .push_bind(snapshot.file_count.map(int));
    });
    query.push(" ON CONFLICT DO NOTHING");
    query.build().execute(connection).await?;
    Ok(())
}

async fn put_in_force(
    connection: &mut SqliteConnection,
    host: HostId,
    report: &snapshot::Report,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO snapshot_lists (host_id, repository_id, report_id, listed_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (host_id, repository_id) DO UPDATE SET
             report_id = excluded.report_id, listed_at = excluded.listed_at",
    )
    .bind(host.to_string())
    .bind(report.repository_id.to_string())
    .bind(&report.report_id)
    .bind(report.listed_at.as_millisecond())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM snapshots WHERE host_id = $1 AND repository_id = $2 AND report_id <> $3",
    )
    .bind(host.to_string())
    .bind(report.repository_id.to_string())
    .bind(&report.report_id)
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<SnapshotView, sqlx::Error> {
    let snapshot = snapshot::Snapshot {
        id: row.text("id")?,
        short_id: row.text("short_id")?,
        time: row.time("taken_at")?,
        hostname: row.text("hostname")?,
        paths: row.json("paths")?,
        tags: row.json("tags")?,
        size_bytes: row.count_opt("size_bytes")?,
        file_count: row.count_opt("file_count")?,
    };
    Ok(SnapshotView::new(snapshot, row.parsed("repository_id")?, row.text("repository_name")?))
}
