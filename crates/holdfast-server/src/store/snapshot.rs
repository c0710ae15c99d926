//! The snapshots of a host, as its agent last listed them.

mod named;

use holdfast_protocol::{HostId, RepositoryId, message::snapshot};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{
    Error, Store, host,
    repository::size,
    row::{Columns, int, json},
};
use crate::{verdict::Seen, view::SnapshotView};

/// More bind parameters than this do not fit into one statement.
const ROWS_PER_STATEMENT: usize = 500;

/// What the newest list of its repository showed of a group.
#[derive(Debug, Clone)]
pub(crate) struct SeenRow {
    pub(crate) host_id: HostId,
    pub(crate) group: String,
    /// When the repository was listed, by the agent's clock.
    pub(crate) listed_at: Timestamp,
    pub(crate) newest: Option<Seen>,
}

impl Store {
    /// What was seen of the groups of these hosts, or of all. A group whose repository was never
    /// listed is left out.
    pub(crate) async fn seen_snapshots(
        &self,
        only: Option<&[HostId]>,
    ) -> Result<Vec<SeenRow>, Error> {
        const PHASE: &str = "reading what repositories were seen to hold";
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT g.host_id, g.name, l.listed_at, s.id, s.taken_at, s.first_seen_at
             FROM source_groups g
             JOIN snapshot_lists l ON l.host_id = g.host_id AND l.repository_id = g.repository_id
             LEFT JOIN seen_snapshots s ON s.host_id = g.host_id
                 AND s.repository_id = g.repository_id AND s.group_name = g.name
             WHERE 1 = 1",
        );
        host::only_hosts(&mut query, "g.host_id", only);
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        rows.iter().map(read_seen).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

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
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if !exists(&mut *connection, report.repository_id).await? {
        // The repository was removed while the report was under way.
        return Ok(());
    }
    drop_unfinished(&mut *connection, host, report).await?;
    for part in report.snapshots.chunks(ROWS_PER_STATEMENT) {
        insert(&mut *connection, host, report, part).await?;
    }
    if report.last { put_in_force(connection, host, report, now).await } else { Ok(()) }
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
    now: Timestamp,
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
    .execute(&mut *connection)
    .await?;
    note_newest(&mut *connection, host, report.repository_id, now).await?;
    size::recount(connection, host, report.repository_id, now).await
}

/// Writes down the newest snapshot of each of the host's groups, so that a verdict need not read
/// the whole list.
async fn note_newest(
    connection: &mut SqliteConnection,
    host: HostId,
    repository: RepositoryId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let groups: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM source_groups WHERE host_id = $1 AND repository_id = $2",
    )
    .bind(host.to_string())
    .bind(repository.to_string())
    .fetch_all(&mut *connection)
    .await?;
    for group in groups {
        let newest = newest_of(&mut *connection, host, repository, &group).await?;
        match newest {
            Some(newest) => {
                put_newest(&mut *connection, host, repository, &group, &newest, now).await?;
            }
            None => drop_newest(&mut *connection, host, repository, &group).await?,
        }
    }
    Ok(())
}

/// The list in force is the only one left when this is asked.
async fn newest_of(
    connection: &mut SqliteConnection,
    host: HostId,
    repository: RepositoryId,
    group: &str,
) -> Result<Option<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, taken_at FROM snapshots
         WHERE host_id = $1 AND repository_id = $2 AND tags LIKE $3 ESCAPE '\\'
         ORDER BY taken_at DESC, id LIMIT 1",
    )
    .bind(host.to_string())
    .bind(repository.to_string())
    .bind(tag_pattern(group))
    .fetch_optional(connection)
    .await
}

/// Finds `group` in a JSON list of tags. Names hold no quotes, so a quoted one stands for itself.
fn tag_pattern(group: &str) -> String {
    format!("%\"{}\"%", group.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

async fn put_newest(
    connection: &mut SqliteConnection,
    host: HostId,
    repository: RepositoryId,
    group: &str,
    (id, taken_at): &(String, i64),
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO seen_snapshots
             (host_id, repository_id, group_name, id, taken_at, first_seen_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (host_id, repository_id, group_name) DO UPDATE SET
             first_seen_at = CASE WHEN id = excluded.id THEN first_seen_at
                                  ELSE excluded.first_seen_at END,
             id = excluded.id, taken_at = excluded.taken_at",
    )
    .bind(host.to_string())
    .bind(repository.to_string())
    .bind(group)
    .bind(id)
    .bind(taken_at)
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

async fn drop_newest(
    connection: &mut SqliteConnection,
    host: HostId,
    repository: RepositoryId,
    group: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM seen_snapshots
         WHERE host_id = $1 AND repository_id = $2 AND group_name = $3",
    )
    .bind(host.to_string())
    .bind(repository.to_string())
    .bind(group)
    .execute(connection)
    .await?;
    Ok(())
}

fn read_seen(row: &SqliteRow) -> Result<SeenRow, sqlx::Error> {
    let newest = match row.text_opt("id")? {
        None => None,
        Some(snapshot_id) => Some(Seen {
            snapshot_id,
            taken_at: row.time("taken_at")?,
            first_seen_at: row.time("first_seen_at")?,
        }),
    };
    Ok(SeenRow {
        host_id: row.parsed("host_id")?,
        group: row.text("name")?,
        listed_at: row.time("listed_at")?,
        newest,
    })
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
