//! A repository with all that is known about it.

use holdfast_protocol::RepositoryId;
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{not_found, read_view, runner};
use crate::{
    store::{Error, Store, job, row::Columns},
    view::{RepositoryDetailView, RunnerView},
};

impl Store {
    /// One repository with its maintenance, its sizes and who works on it.
    ///
    /// # Errors
    /// [`Error::RepositoryNotFound`] and [`Error::Database`].
    pub async fn repository(
        &self,
        repository: RepositoryId,
    ) -> Result<RepositoryDetailView, Error> {
        const PHASE: &str = "reading a repository";
        let mut connection = self.readers().acquire().await.map_err(Error::database(PHASE))?;
        let row = sqlx::query(
            "SELECT r.id, r.name, r.kind, r.location, r.created_at, r.snapshot_count,
                 r.total_size_bytes, r.raw_size_bytes, r.runner_host_id,
                 CASE WHEN r.admin IS NULL THEN 0 ELSE 1 END AS has_admin,
                 (SELECT COUNT(DISTINCT g.host_id) FROM source_groups g
                  WHERE g.repository_id = r.id) AS host_count
             FROM repositories r WHERE r.id = $1",
        )
        .bind(repository.to_string())
        .fetch_optional(&mut *connection)
        .await
        .map_err(Error::database(PHASE))?;
        let row = row.ok_or_else(|| not_found(&repository.to_string()))?;
        let read = async {
            Ok(RepositoryDetailView {
                repository: read_view(&row)?,
                raw_size_bytes: row.count_opt("raw_size_bytes")?,
                runner: runner_view(&mut connection, repository, &row).await?,
                has_admin_credentials: row.int("has_admin")? != 0,
                lease: job::lease_of(&mut connection, repository).await?,
                maintenance: Default::default(),
                sizes: Vec::new(),
            })
        };
        let view = read.await.map_err(Error::database(PHASE))?;
        drop(connection);
        let maintenance = self.maintenance_of(repository).await?;
        Ok(RepositoryDetailView { maintenance, sizes: self.sizes(repository).await?, ..view })
    }
}

async fn runner_view(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    row: &SqliteRow,
) -> Result<Option<RunnerView>, sqlx::Error> {
    let Some(host_id) = runner(&mut *connection, repository).await? else { return Ok(None) };
    let host_name = sqlx::query_scalar("SELECT name FROM hosts WHERE id = $1")
        .bind(host_id.to_string())
        .fetch_one(connection)
        .await?;
    let named = row.parsed_opt("runner_host_id")? == Some(host_id);
    Ok(Some(RunnerView { host_id, host_name, named }))
}
