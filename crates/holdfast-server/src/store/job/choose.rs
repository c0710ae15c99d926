//! Which repository an order is about, and whether the host can and may work on it.

use holdfast_protocol::{
    HostId, JobId, RepositoryId,
    message::{
        config,
        job::Operation,
        parameters::{Forget, Parameters, Selection},
    },
};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::Order;
use crate::store::{Error, Store, host, row::Columns};

/// Refuses what the host's agent has not said it can do. One that has said nothing is asked itself.
pub(super) async fn refuse_what_it_cannot(
    connection: &mut SqliteConnection,
    host: HostId,
    operation: Operation,
    phase: &'static str,
) -> Result<(), Error> {
    let words: Option<String> = sqlx::query_scalar("SELECT capabilities FROM hosts WHERE id = $1")
        .bind(host.to_string())
        .fetch_one(connection)
        .await
        .map_err(Error::database(phase))?;
    let words: Option<Vec<String>> = words.and_then(|text| serde_json::from_str(&text).ok());
    let operation = operation.as_str();
    match words {
        Some(words) if !words.iter().any(|word| word == operation) => {
            Err(Error::OperationUnsupported { operation })
        }
        _ => Ok(()),
    }
}

impl Store {
    /// Refuses what the host's agent has not said it can do. One that has said nothing is asked
    /// itself.
    ///
    /// # Errors
    /// [`Error::OperationUnsupported`] and [`Error::Database`].
    pub(crate) async fn require_operation(
        &self,
        host: HostId,
        operation: Operation,
    ) -> Result<(), Error> {
        const PHASE: &str = "reading what an agent can do";
        let mut connection = self.readers().acquire().await.map_err(Error::database(PHASE))?;
        refuse_what_it_cannot(&mut connection, host, operation, PHASE).await
    }
}

/// The repository: as ordered, else the group's, else the one that holds the snapshots of the
/// order, else the only one the host uses.
pub(super) async fn repository(
    connection: &mut SqliteConnection,
    host: HostId,
    order: &Order,
    group: Option<&config::Group>,
    phase: &'static str,
) -> Result<RepositoryId, Error> {
    let chosen = match (group, order.repository) {
        // A backup goes where the group says: nobody would look for it elsewhere.
        (Some(group), _) if order.operation == Operation::Backup => Some(group.repository_id),
        (_, Some(repository)) => Some(repository),
        (Some(group), None) => Some(group.repository_id),
        (None, None) => None,
    };
    if let Some(chosen) = chosen {
        return Ok(chosen);
    }
    let snapshot = order.parameters.as_ref().and_then(snapshot_of);
    let found = match snapshot {
        Some(snapshot) => holding(&mut *connection, host, snapshot).await,
        None => Ok(None),
    };
    let found = match found.map_err(Error::database(phase))? {
        Some(found) => Some(found),
        None => only_one(connection, host).await.map_err(Error::database(phase))?,
    };
    found.ok_or(Error::RepositoryRequired)
}

/// Lets the host have the repository's credentials for as long as the job is open.
///
/// A machine that replaces a lost one has no source groups yet, and that is when a restore is
/// needed most.
pub(super) async fn grant(
    connection: &mut SqliteConnection,
    host: HostId,
    repository: RepositoryId,
    order: &Order,
    phase: &'static str,
) -> Result<(), Error> {
    if uses(&mut *connection, host, repository).await.map_err(Error::database(phase))? {
        return Ok(());
    }
    if !order.may_grant {
        return Err(Error::RepositoryNotUsed);
    }
    host::raise_config_version(connection, host).await.map_err(Error::database(phase))
}

/// Takes back what was granted for a job that has ended, unless something else needs it. True when
/// the host has to be told.
pub(in crate::store) async fn withdraw(
    connection: &mut SqliteConnection,
    host: HostId,
    job: JobId,
) -> Result<bool, sqlx::Error> {
    let repository: Option<String> =
        sqlx::query_scalar("SELECT repository_id FROM jobs WHERE id = $1")
            .bind(job.to_string())
            .fetch_one(&mut *connection)
            .await?;
    let Some(repository) = repository.and_then(|id| id.parse().ok()) else { return Ok(false) };
    if uses(&mut *connection, host, repository).await? {
        return Ok(false);
    }
    host::raise_config_version(connection, host).await.map(|()| true)
}

/// Whether the host's configuration has the repository already.
async fn uses(
    connection: &mut SqliteConnection,
    host: HostId,
    repository: RepositoryId,
) -> Result<bool, sqlx::Error> {
    // By the host, of which there is one, and not by the repository (`+`), which all may share.
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM source_groups
                 WHERE host_id = $1 AND +repository_id = $2)
             OR EXISTS (SELECT 1 FROM jobs WHERE host_id = $1 AND +repository_id = $2
                 AND status IN ('queued', 'running', 'paused'))",
    )
    .bind(host.to_string())
    .bind(repository.to_string())
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}

/// The first snapshot that the parameters name.
fn snapshot_of(parameters: &Parameters) -> Option<&str> {
    match parameters {
        Parameters::Restore(restore) => Some(&restore.snapshot_id),
        Parameters::Diff(diff) => Some(&diff.from_snapshot_id),
        Parameters::Tag(tag) => tag.snapshot_ids.first().map(String::as_str),
        Parameters::Forget(Forget { which: Selection::Snapshots(ids), .. }) => {
            ids.first().map(String::as_str)
        }
        Parameters::Stats(stats) => stats.snapshot_id.as_deref(),
        _ => None,
    }
}

/// The one repository that holds the snapshot: by the host's own lists, else by anybody's.
pub(in crate::store) async fn holding(
    connection: &mut SqliteConnection,
    host: HostId,
    snapshot: &str,
) -> Result<Option<RepositoryId>, sqlx::Error> {
    if snapshot.len() < 8 || !snapshot.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let rows = sqlx::query(
        "SELECT repository_id, MAX(CASE WHEN host_id = $1 THEN 1 ELSE 0 END) AS own
         FROM snapshots WHERE id LIKE $2 GROUP BY repository_id ORDER BY own DESC LIMIT 3",
    )
    .bind(host.to_string())
    .bind(format!("{}%", snapshot.to_ascii_lowercase()))
    .fetch_all(connection)
    .await?;
    let own: Vec<&SqliteRow> =
        rows.iter().filter(|row| row.int("own").is_ok_and(|own| own == 1)).collect();
    match (own.as_slice(), rows.as_slice()) {
        ([row], _) => row.parsed("repository_id").map(Some),
        ([], [row]) => row.parsed("repository_id").map(Some),
        _ => Ok(None),
    }
}

/// The only repository that the host's groups use.
pub(in crate::store) async fn only_one(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<Option<RepositoryId>, sqlx::Error> {
    let rows =
        sqlx::query("SELECT DISTINCT repository_id FROM source_groups WHERE host_id = $1 LIMIT 2")
            .bind(host.to_string())
            .fetch_all(connection)
            .await?;
    match rows.as_slice() {
        [row] => row.parsed("repository_id").map(Some),
        _ => Ok(None),
    }
}
