//! A fleet that has been there for a while: hosts, groups and history, written before the start.
//!
//! Everything is named by its number, so that the light agents know without being told which ids
//! and tokens are theirs.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use holdfast_protocol::{HostId, Incarnation, JobId, RepositoryId, message::config::Secret};
use holdfast_server::{
    store::{NewRepository, Store},
    token::TokenHash,
};
use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use uuid::Uuid;

/// The source group of every host.
pub(crate) const GROUP: &str = "data";

/// Running jobs of a host are numbered within this.
const JOBS_PER_HOST: usize = 1024;

/// How large the fleet is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) hosts: usize,
    /// Jobs that run, per host.
    pub(crate) running: usize,
    /// Jobs that ended, in all.
    pub(crate) history: usize,
}

/// The id of host `index`.
pub(crate) fn host_id(index: usize) -> HostId {
    HostId::from_uuid(number(1, index as u128))
}

/// The outbox of host `index`.
pub(crate) fn incarnation(index: usize) -> Incarnation {
    Incarnation::from_uuid(number(2, index as u128))
}

/// Job `job` that runs on host `index`.
pub(crate) fn running_job(index: usize, job: usize) -> JobId {
    JobId::from_uuid(number(3, (index * JOBS_PER_HOST + job) as u128))
}

/// The agent token of host `index`. Fixed: it opens nothing but a throw-away server.
pub(crate) fn token(index: usize) -> String {
    format!("hf_agt_{index:043}")
}

fn number(space: u128, number: u128) -> Uuid {
    Uuid::from_u128((space << 96) | (0x7000_u128 << 64) | (0x8000_u128 << 48) | number)
}

/// Makes the data directory `dir` of a server with a fleet of `size`; returns an administrator's
/// token.
pub(crate) async fn seed(dir: &Path, size: Size) -> Result<String> {
    let store = Store::open(dir).await.context("cannot make the server's database")?;
    let admin = store.create_api_token("bench", "admin").await.context("no token")?;
    let repository = store.add_repository("bench", &repository()).await.context("no repository")?;
    store.close().await;
    let options = SqliteConnectOptions::new().filename(dir.join("holdfast.db")).foreign_keys(true);
    let mut connection =
        SqliteConnection::connect_with(&options).await.context("cannot open the database")?;
    sqlx::query("BEGIN").execute(&mut connection).await?;
    for index in 0..size.hosts {
        insert_host(&mut connection, index, repository).await?;
        for job in 0..size.running {
            let id = running_job(index, job);
            insert_running(&mut connection, id, index, repository).await?;
        }
    }
    insert_history(&mut connection, size, repository).await?;
    sqlx::query("COMMIT").execute(&mut connection).await?;
    sqlx::query("ANALYZE").execute(&mut connection).await?;
    connection.close().await?;
    Ok(admin.token.expose().to_owned())
}

/// When the server in `dir` noted that `job` was accepted, in milliseconds since 1970.
pub(crate) async fn accepted_at(dir: &Path, job: &str) -> Result<f64> {
    let options = SqliteConnectOptions::new().filename(dir.join("holdfast.db")).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let at: i64 = sqlx::query_scalar("SELECT accepted_at FROM jobs WHERE id = $1")
        .bind(job)
        .fetch_one(&mut connection)
        .await
        .context("the job was not accepted")?;
    connection.close().await?;
    Ok(at as f64)
}

fn repository() -> NewRepository {
    NewRepository {
        name: "vault".to_owned(),
        kind: "local".to_owned(),
        location: "/srv/vault".to_owned(),
        url: Secret::new("/srv/vault"),
        password: Secret::new("bench"),
        environment: BTreeMap::new(),
        ca_certificate: None,
    }
}

async fn insert_host(
    connection: &mut SqliteConnection,
    index: usize,
    repository: RepositoryId,
) -> Result<()> {
    let now = Timestamp::now().as_millisecond();
    let host = host_id(index).to_string();
    sqlx::query(
        "INSERT INTO hosts (id, name, created_at, enrolled_at, incarnation, boot, last_seen_at)
         VALUES ($1, $2, $3, $3, $4, 1, $3)",
    )
    .bind(&host)
    .bind(host_name(index))
    .bind(now)
    .bind(incarnation(index).to_string())
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO agent_tokens (hash, host_id, created_at) VALUES ($1, $2, $3)")
        .bind(TokenHash::of(&token(index)).as_str())
        .bind(&host)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO source_groups (host_id, name, repository_id, includes, excludes, created_at)
         VALUES ($1, $2, $3, '[\"/srv\"]', '[]', $4)",
    )
    .bind(&host)
    .bind(GROUP)
    .bind(repository.to_string())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// The name of host `index`.
pub(crate) fn host_name(index: usize) -> String {
    format!("host-{index:05}")
}

async fn insert_running(
    connection: &mut SqliteConnection,
    job: JobId,
    index: usize,
    repository: RepositoryId,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO jobs (id, host_id, operation, group_name, repository_id, status, cause,
             created_at, accepted_at, started_at)
         VALUES ($1, $2, 'backup', $3, $4, 'running', 'manual', $5, $5, $5)",
    )
    .bind(job.to_string())
    .bind(host_id(index).to_string())
    .bind(GROUP)
    .bind(repository.to_string())
    .bind(Timestamp::now().as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// A minute between two jobs, round robin over the hosts; nearly all succeeded.
async fn insert_history(
    connection: &mut SqliteConnection,
    size: Size,
    repository: RepositoryId,
) -> Result<()> {
    if size.history == 0 || size.hosts == 0 {
        return Ok(());
    }
    sqlx::query(
        "WITH RECURSIVE numbers (i) AS
             (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < $1)
         INSERT INTO jobs (id, host_id, operation, group_name, repository_id, status, cause,
             created_at, accepted_at, started_at, finished_at, ended_at, exit_code, snapshot_id)
         SELECT printf('00000003-0000-7000-9000-%012x', i),
             printf('00000001-0000-7000-8000-%012x', i % $2), 'backup', $3, $4,
             CASE WHEN i % 97 = 96 THEN 'failed' ELSE 'succeeded' END, 'schedule',
             $5 - i * 60000, $5 - i * 60000, $5 - i * 60000, $5 - i * 60000 + 30000,
             $5 - i * 60000 + 30000, 0, printf('%064x', i)
         FROM numbers",
    )
    .bind(i64::try_from(size.history)?)
    .bind(i64::try_from(size.hosts)?)
    .bind(GROUP)
    .bind(repository.to_string())
    .bind(Timestamp::now().as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use holdfast_server::store::JobFilter;

    use super::*;

    #[test]
    fn no_two_things_share_an_id() {
        let ids = [
            host_id(1).as_uuid(),
            host_id(2).as_uuid(),
            incarnation(1).as_uuid(),
            running_job(1, 0).as_uuid(),
            running_job(0, 1).as_uuid(),
            running_job(10_000, 9).as_uuid(),
        ];
        let distinct: std::collections::BTreeSet<Uuid> = ids.into_iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }

    #[tokio::test]
    async fn a_seeded_server_knows_its_hosts_and_their_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let size = Size { hosts: 3, running: 2, history: 10 };
        let admin = seed(&data, size).await.unwrap();
        assert!(admin.starts_with("hf_api_"));
        let store = Store::open(&data).await.unwrap();
        let live = holdfast_server::live::Live::load(store.clone()).await.unwrap();
        let hosts = live.hosts().await;
        assert_eq!(hosts.len(), 3);
        assert_eq!(hosts[1].running_jobs.len(), 2);
        assert_eq!(hosts[1].name, host_name(1));
        let history = live.jobs(&JobFilter { limit: 100, ..JobFilter::default() }).await.unwrap();
        assert_eq!(history.jobs.len(), 3 * 2 + 10);
        store.close().await;
    }
}
