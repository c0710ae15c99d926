//! Repositories and their sealed credentials.

mod credentials;
mod detail;
pub(super) mod size;

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, RepositoryId,
    message::config::{self, Secret},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Error, Store, audit, host::only_hosts, row::Columns};
use crate::{
    secret::{Place, Sealer, SecretError},
    view::RepositoryView,
};

pub(super) use credentials::raise_users;
pub use credentials::{NewCredentials, NewLocation};

/// SQL: the id of the host that keeps the repository `r` in order.
macro_rules! runner {
    () => {
        "COALESCE((SELECT id FROM hosts WHERE id = r.runner_host_id AND removed_at IS NULL),
             (SELECT g.host_id FROM source_groups g WHERE g.repository_id = r.id
              ORDER BY g.created_at, g.host_id LIMIT 1))"
    };
}

/// A repository to be added.
#[derive(Debug, Clone)]
pub struct NewRepository {
    /// What people will call it.
    pub name: String,
    /// `local`, `rest`, `s3`, `sftp`, …
    pub kind: String,
    /// Where it is, without credentials: the only form that is ever shown.
    pub location: String,
    /// restic's repository location, credentials and all.
    pub url: Secret,
    /// The repository password.
    pub password: Secret,
    /// Backend credentials by environment variable name.
    pub environment: BTreeMap<String, Secret>,
    /// The certificates, PEM, that the backend's must be signed by; `None` for those that the hosts
    /// trust.
    pub ca_certificate: Option<String>,
}

impl Store {
    /// Adds a repository. Nothing is contacted: the first backup makes it when it does not exist.
    ///
    /// # Errors
    /// [`Error::RepositoryExists`] and [`Error::Database`].
    pub async fn add_repository(
        &self,
        actor: &str,
        new: &NewRepository,
    ) -> Result<RepositoryId, Error> {
        const PHASE: &str = "adding a repository";
        let id = RepositoryId::from_uuid(Uuid::now_v7());
        let mut tx = self.begin(PHASE).await?;
        let added =
            insert(&mut tx, self.sealer(), id, new).await.map_err(Error::database(PHASE))?;
        if !added {
            return Err(Error::RepositoryExists { name: new.name.clone() });
        }
        let after = serde_json::json!({ "kind": new.kind, "location": new.location });
        audit::changed(&mut tx, (actor, "repository.add", &new.name), None, Some(after))
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(id)
    }

    /// All repositories, by name, without their secrets.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn repositories(&self) -> Result<Vec<RepositoryView>, Error> {
        const PHASE: &str = "reading repositories";
        let rows = sqlx::query(
            "SELECT r.id, r.name, r.kind, r.location, r.created_at, r.snapshot_count,
                 r.total_size_bytes,
                 (SELECT COUNT(DISTINCT g.host_id) FROM source_groups g
                  WHERE g.repository_id = r.id) AS host_count
             FROM repositories r ORDER BY r.name",
        )
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        rows.iter().map(read_view).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// The id of the repository whose id or name is `text`.
    ///
    /// # Errors
    /// [`Error::RepositoryNotFound`] and [`Error::Database`].
    pub async fn find_repository(&self, text: &str) -> Result<RepositoryId, Error> {
        const PHASE: &str = "looking for a repository";
        let row = sqlx::query(
            "SELECT id FROM repositories WHERE name = $1 OR id = $2
             ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END",
        )
        .bind(text)
        .bind(text.to_ascii_lowercase())
        .fetch_optional(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let row = row.ok_or_else(|| not_found(text))?;
        row.parsed("id").map_err(Error::database(PHASE))
    }
}

/// The repositories that the groups or open jobs of these hosts use or that they keep in order,
/// with their secrets, for their agents. What deletes goes only to the one that keeps the
/// repository in order.
pub(super) async fn of_hosts(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    hosts: &[HostId],
) -> Result<BTreeMap<HostId, Vec<config::Repository>>, Error> {
    let rows = used_by(connection, hosts).await.map_err(Error::database(PHASE_SECRETS))?;
    let mut map: BTreeMap<HostId, Vec<config::Repository>> = BTreeMap::new();
    for row in &rows {
        let host = row.parsed("host_id").map_err(Error::database(PHASE_SECRETS))?;
        let keeps = row.flag("keeps").map_err(Error::database(PHASE_SECRETS))?;
        let admin = if keeps { credentials::open_admin(sealer, row, PHASE_SECRETS)? } else { None };
        let repository =
            config::Repository { admin, ..open_repository(sealer, row, PHASE_SECRETS)? };
        map.entry(host).or_default().push(repository);
    }
    Ok(map)
}

const PHASE_SECRETS: &str = "reading a host's repositories";

async fn used_by(
    connection: &mut SqliteConnection,
    hosts: &[HostId],
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(concat!(
        "SELECT used.host_id, r.id, r.name, r.url, r.password, r.environment, r.ca_certificate,
             r.admin, ",
        runner!(),
        " = used.host_id AS keeps
         FROM (SELECT host_id, repository_id FROM source_groups WHERE 1 = 1"
    ));
    only_hosts(&mut query, "host_id", Some(hosts));
    query.push(
        " UNION SELECT host_id, repository_id FROM jobs
          WHERE status IN ('queued', 'running', 'paused')",
    );
    only_hosts(&mut query, "host_id", Some(hosts));
    query.push(" UNION SELECT runner_host_id, id FROM repositories WHERE 1 = 1");
    only_hosts(&mut query, "runner_host_id", Some(hosts));
    query.push(
        ") AS used JOIN repositories r ON r.id = used.repository_id
         ORDER BY used.host_id, r.name",
    );
    query.build().fetch_all(connection).await
}

fn open_repository(
    sealer: &Sealer,
    row: &SqliteRow,
    phase: &'static str,
) -> Result<config::Repository, Error> {
    let database = Error::database(phase);
    let id: RepositoryId = row.parsed("id").map_err(&database)?;
    let text = id.to_string();
    let open = |column: &'static str| {
        let sealed = row.text(column).map_err(&database)?;
        sealer.unseal(place(&text, column), &sealed).map_err(Error::damaged(phase))
    };
    let environment = open("environment")?;
    Ok(config::Repository {
        id,
        name: row.text("name").map_err(&database)?,
        url: open("url")?,
        password: open("password")?,
        environment: read_sealed(&environment, "environment").map_err(Error::damaged(phase))?,
        ca_certificate: row.text_opt("ca_certificate").map_err(&database)?,
        admin: None,
    })
}

/// Opens one stored secret, so that a lost or exchanged key is noticed at the start and not by the
/// first agent. A database that does not answer shows elsewhere.
pub(super) async fn check_key(pool: &SqlitePool, sealer: &Sealer) -> Result<(), SecretError> {
    let row = sqlx::query("SELECT id, password FROM repositories ORDER BY created_at LIMIT 1")
        .fetch_optional(pool)
        .await;
    let Ok(Some(row)) = row else { return Ok(()) };
    let (Ok(id), Ok(sealed)) = (row.text("id"), row.text("password")) else { return Ok(()) };
    sealer.unseal(place(&id, "password"), &sealed).map(drop)
}

/// The JSON that was sealed in `column`.
fn read_sealed<T: DeserializeOwned>(text: &Secret, column: &'static str) -> Result<T, SecretError> {
    // serde's own text could quote what it read.
    serde_json::from_str(text.expose())
        .map_err(|_| SecretError::Sealed { table: "repositories", column })
}

/// The host that keeps a repository in order, if it has any host at all.
pub(super) async fn runner(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<Option<HostId>, sqlx::Error> {
    let row = sqlx::query(concat!(
        "SELECT ",
        runner!(),
        " AS runner FROM repositories r WHERE r.id = $1"
    ))
    .bind(repository.to_string())
    .fetch_optional(connection)
    .await?;
    row.map_or(Ok(None), |row| row.parsed_opt("runner"))
}

/// The name of a repository.
pub(super) async fn name(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    phase: &'static str,
) -> Result<String, Error> {
    sqlx::query_scalar("SELECT name FROM repositories WHERE id = $1")
        .bind(repository.to_string())
        .fetch_optional(connection)
        .await
        .map_err(Error::database(phase))?
        .ok_or_else(|| not_found(&repository.to_string()))
}

fn not_found(text: &str) -> Error {
    Error::RepositoryNotFound { repository: text.chars().take(100).collect() }
}

fn place<'a>(row: &'a str, column: &'static str) -> Place<'a> {
    Place { table: "repositories", row, column }
}

async fn insert(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    id: RepositoryId,
    new: &NewRepository,
) -> Result<bool, sqlx::Error> {
    let row = id.to_string();
    let environment = Secret::new(super::row::json(&new.environment));
    let seal = |column, secret: &Secret| sealer.seal(place(&row, column), secret.expose());
    let done = sqlx::query(
        "INSERT INTO repositories
             (id, name, kind, location, url, password, environment, created_at, ca_certificate)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name) DO NOTHING",
    )
    .bind(&row)
    .bind(&new.name)
    .bind(&new.kind)
    .bind(&new.location)
    .bind(seal("url", &new.url))
    .bind(seal("password", &new.password))
    .bind(seal("environment", &environment))
    .bind(Timestamp::now().as_millisecond())
    .bind(new.ca_certificate.as_deref())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn read_view(row: &SqliteRow) -> Result<RepositoryView, sqlx::Error> {
    Ok(RepositoryView {
        id: row.parsed("id")?,
        name: row.text("name")?,
        kind: row.text("kind")?,
        location: row.text("location")?,
        created_at: row.time("created_at")?,
        snapshot_count: row.count_opt("snapshot_count")?,
        total_size_bytes: row.count_opt("total_size_bytes")?,
        host_count: row.count("host_count")?,
    })
}

#[cfg(test)]
mod tests {
    use crate::store::row::sql;

    use super::*;

    /// A repository may have a group of every host of a large fleet.
    #[tokio::test]
    async fn who_keeps_a_repository_is_found_without_reading_all_its_groups() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let query = sql(&["EXPLAIN QUERY PLAN SELECT ", runner!(), " FROM repositories r"]);
        let rows = sqlx::query(query).fetch_all(store.readers()).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
        assert!(plan.iter().any(|step| step.contains("COVERING INDEX")), "{plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("ORDER BY")), "{plan:#?}");
    }
}
