//! The server's database, looked at from outside while the server runs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::runtime::Runtime;

/// A connection of our own.
pub(crate) struct Database {
    runtime: Runtime,
    /// Absent only while it is closed.
    connection: Option<SqliteConnection>,
}

/// Writes down each effect of a record, in the transaction that applies it: what was applied twice
/// is there twice, and in which order is there too.
const WITNESS: [&str; 6] = [
    "CREATE TABLE IF NOT EXISTS witness (
         id INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT NOT NULL, what TEXT NOT NULL,
         value BIGINT NOT NULL, before BIGINT NOT NULL)",
    "CREATE TRIGGER IF NOT EXISTS witness_config AFTER UPDATE OF config_applied ON hosts BEGIN
         INSERT INTO witness (host, what, value, before)
         VALUES (NEW.id, 'config', NEW.config_applied, OLD.config_applied); END",
    "CREATE TRIGGER IF NOT EXISTS witness_schedule AFTER UPDATE OF schedule_applied ON hosts BEGIN
         INSERT INTO witness (host, what, value, before)
         VALUES (NEW.id, 'schedule', NEW.schedule_applied, OLD.schedule_applied); END",
    "CREATE TRIGGER IF NOT EXISTS witness_received AFTER UPDATE OF received ON hosts BEGIN
         INSERT INTO witness (host, what, value, before)
         VALUES (NEW.id, 'received', NEW.received, OLD.received); END",
    "CREATE TRIGGER IF NOT EXISTS witness_accepted AFTER UPDATE OF accepted_at ON jobs
     WHEN OLD.accepted_at IS NULL BEGIN
         INSERT INTO witness (host, what, value, before)
         VALUES (NEW.host_id, 'accepted', 0, 0); END",
    "CREATE TRIGGER IF NOT EXISTS witness_ended AFTER UPDATE OF ended_at ON jobs BEGIN
         INSERT INTO witness (host, what, value, before)
         VALUES (NEW.host_id, 'ended', 0, 0); END",
];

impl Database {
    /// Opens the database in the server's data directory.
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime for the database")?;
        let options = SqliteConnectOptions::new()
            .filename(data.join("holdfast.db"))
            .busy_timeout(Duration::from_secs(30));
        let connection = runtime
            .block_on(SqliteConnection::connect_with(&options))
            .context("cannot open the server's database")?;
        Ok(Self { runtime, connection: Some(connection) })
    }

    /// From now on effects are written down.
    pub(crate) fn witness(&mut self) -> Result<()> {
        WITNESS.iter().try_for_each(|statement| self.run(statement))
    }

    pub(crate) fn run(&mut self, sql: &str) -> Result<()> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(open(&mut self.connection)?);
        self.runtime.block_on(query).with_context(|| format!("the database refused {sql}"))?;
        Ok(())
    }

    /// The one number that `sql` asks for; `host` is put in for `$1`.
    pub(crate) fn number(&mut self, sql: &str, host: &str) -> Result<i64> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .bind(host.to_owned())
            .fetch_one(open(&mut self.connection)?);
        self.runtime.block_on(query).with_context(|| format!("the database refused {sql}"))
    }

    /// The one text that `sql` asks for; `host` is put in for `$1`.
    pub(crate) fn text(&mut self, sql: &str, host: &str) -> Result<String> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .bind(host.to_owned())
            .fetch_one(open(&mut self.connection)?);
        self.runtime.block_on(query).with_context(|| format!("the database refused {sql}"))
    }

    /// What was witnessed of one sort for the host with this id, in order: value and value before.
    pub(crate) fn witnessed(&mut self, host: &str, what: &str) -> Result<Vec<(i64, i64)>> {
        let sql = "SELECT value, before FROM witness WHERE host = $1 AND what = $2 ORDER BY id";
        let query = sqlx::query(sql)
            .bind(host.to_owned())
            .bind(what.to_owned())
            .fetch_all(open(&mut self.connection)?);
        let rows = self.runtime.block_on(query).context("the witness cannot be read")?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The id of the host called `name`.
    pub(crate) fn host_id(&mut self, name: &str) -> Result<String> {
        self.text("SELECT id FROM hosts WHERE name = $1 AND removed_at IS NULL", name)
    }

    /// The server's position in the stream of the host with this id.
    pub(crate) fn received(&mut self, host: &str) -> Result<u64> {
        let received = self.number("SELECT received FROM hosts WHERE id = $1", host)?;
        u64::try_from(received).context("a position below zero")
    }
}

fn open(connection: &mut Option<SqliteConnection>) -> Result<&mut SqliteConnection> {
    connection.as_mut().context("the database is closed")
}

impl Drop for Database {
    /// Waits for the end: a connection that goes later would take the files away under whoever put
    /// others in their place.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // There is nothing to write.
            let _ = self.runtime.block_on(connection.close());
        }
    }
}
