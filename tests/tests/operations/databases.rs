//! Databases as sources, for real: dumped into restic while they live, restored through the fleet,
//! loaded back, and the same row by row. A dump that breaks off is never a snapshot.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holdfast_e2e::postgresql::{KEEPER, Postgresql};
use holdfast_e2e::stage::{BACKUP_LIMIT, HOST, Stage};
use holdfast_e2e::wait;
use serde_json::{Value, json};

/// How soon a restarted agent is back.
const ONLINE_LIMIT: Duration = Duration::from_secs(60);

/// Rows that careless copies lose: quotes, line breaks, tabs, NULL, bytes, other scripts.
const SHOP: &str = r"
CREATE TABLE orders (id serial PRIMARY KEY, said text, bytes bytea, at timestamptz, price numeric);
INSERT INTO orders (said, bytes, at, price)
    SELECT E'row ' || n || E'\t\\N ''quoted'' \n naïve 文書 🗄', decode(md5(n::text), 'hex'),
        to_timestamp(n * 1000.25), n / 7.0
    FROM generate_series(1, 5000) AS n;
INSERT INTO orders (said) VALUES (NULL), (''), (E'\\.');
CREATE TABLE zz_private (id int, owner text);
INSERT INTO zz_private SELECT n, 'somebody' FROM generate_series(1, 5000) AS n;
ALTER TABLE zz_private ENABLE ROW LEVEL SECURITY;
CREATE ROLE clerk LOGIN;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO clerk;
";
const ALL_ORDERS: &str = "COPY (SELECT * FROM orders ORDER BY id) TO STDOUT";

#[test]
fn a_postgresql_database_comes_back_row_by_row_and_half_a_dump_never_does() -> Result<()> {
    let Some(cluster) = Postgresql::start()? else { return Ok(()) };
    cluster.ask("postgres", "CREATE DATABASE shop")?;
    cluster.ask("shop", SHOP)?;
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let source = |user: &str| {
        let socket = cluster.socket().display();
        format!("environment = {{ PGHOST = \"{socket}\", PGUSER = \"{user}\" }}\n")
    };
    let policy = |user: &str| format!("[sources.postgresql.shop]\n{}", source(user));
    write_policy(&stage, &policy(KEEPER))?;
    find_programs_in(&mut stage, cluster.programs())?;
    add_source(&stage, "shop", "postgresql", "shop")?;

    let end = back_up(&stage, "shop")?;
    ensure!(end["status"] == "succeeded", "{end}");
    let file = restored(&stage, &end, "shop.sql")?;
    cluster.ask("postgres", "CREATE DATABASE copy")?;
    cluster.load("copy", &file)?;
    let (before, after) = (cluster.ask("shop", ALL_ORDERS)?, cluster.ask("copy", ALL_ORDERS)?);
    ensure!(before.lines().count() >= 5003, "the original has lost its rows");
    ensure!(before == after, "the copy has other rows than the original");

    // This user may read the first table and is stopped at the last one, with half of it written.
    write_policy(&stage, &policy("clerk"))?;
    let end = back_up(&stage, "shop")?;
    ensure!(end["status"] == "failed", "{end}");
    ensure!(end["error"]["code"] == "source_command_failed", "{end}");
    ensure!(end["snapshot_id"].is_null(), "{end}");
    let message = end["error"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("pg_dump"), "it is not said what failed: {end}");
    ensure!(stage.fleet.repository().snapshots()?.len() == 1, "half a dump became a snapshot");
    ensure!(stage.fleet.repository().locks()?.is_empty(), "a lock was left behind");
    stage.fleet.stop()
}

#[test]
fn a_live_sqlite_database_comes_back_row_by_row_and_a_broken_one_never_does() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let database = stage.path().join("notes.db");
    sqlite(&database, NOTES)?;
    let policy = format!("[sources.sqlite.notes]\npath = \"{}\"\n", database.display());
    write_policy(&stage, &policy)?;
    add_source(&stage, "notes", "sqlite", "notes")?;

    // Somebody writes all the while and has not decided yet.
    let mut writer = Writer::begin(&database)?;
    let end = back_up(&stage, "notes")?;
    ensure!(end["status"] == "succeeded", "{end}");
    writer.roll_back()?;
    let copy = restored(&stage, &end, "notes.sqlite")?;
    let all = "PRAGMA integrity_check; SELECT *, hex(bytes) FROM notes ORDER BY id";
    let (before, after) = (sqlite(&database, all)?, sqlite(&copy, all)?);
    ensure!(before.starts_with("ok") && before.lines().count() > 3000, "{before}");
    ensure!(before == after, "the copy has other rows than the original");

    fs::write(&database, "this is no database, and never was one")?;
    for side in ["-wal", "-shm"] {
        // Whether they are there depends on who closed the database last.
        let _ = fs::remove_file(stage.path().join(format!("notes.db{side}")));
    }
    let end = back_up(&stage, "notes")?;
    ensure!(end["status"] == "failed", "{end}");
    ensure!(end["error"]["code"] == "source_command_failed", "{end}");
    ensure!(stage.fleet.repository().snapshots()?.len() == 1, "a broken copy became a snapshot");
    stage.fleet.stop()
}

const NOTES: &str = "PRAGMA journal_mode=wal;
CREATE TABLE notes (id INTEGER PRIMARY KEY, said TEXT, bytes BLOB);
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3000)
INSERT INTO notes (said, bytes) SELECT 'note ''' || n || ''' 文書', randomblob(200) FROM numbers;
INSERT INTO notes (said) VALUES (NULL), ('');";

/// Somebody in the middle of a transaction.
struct Writer(Child);

impl Writer {
    fn begin(database: &Path) -> Result<Self> {
        let mut command = Command::new("sqlite3");
        let command = command.arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut writer = Self(command.spawn().context("cannot start sqlite3")?);
        writer
            .say("BEGIN IMMEDIATE; INSERT INTO notes (said) VALUES ('perhaps'); SELECT 'begun';")?;
        let mut heard = [0; 5];
        let output = writer.0.stdout.as_mut().context("no output")?;
        std::io::Read::read_exact(output, &mut heard)?;
        ensure!(&heard == b"begun", "sqlite3 said {heard:?}");
        Ok(writer)
    }

    fn roll_back(&mut self) -> Result<()> {
        self.say("ROLLBACK;\n.quit\n")?;
        ensure!(self.0.wait()?.success());
        Ok(())
    }

    fn say(&mut self, words: &str) -> Result<()> {
        let input = self.0.stdin.as_mut().context("no input")?;
        writeln!(input, "{words}")?;
        Ok(input.flush()?)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sqlite(database: &Path, words: &str) -> Result<String> {
    let output = Command::new("sqlite3").arg(database).arg(words).output();
    let output = output.context("sqlite3 is missing; type: cargo xtask tools")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn write_policy(stage: &Stage, text: &str) -> Result<()> {
    Ok(fs::write(stage.fleet.agents[0].data().join("policy.toml"), text)?)
}

/// The agent looks for the usual commands where its administrator's `PATH` leads.
fn find_programs_in(stage: &mut Stage, folder: &Path) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders)?;
    let path = path.to_str().context("PATH is not text")?;
    let agent = &mut stage.fleet.agents[0];
    agent.stop()?;
    agent.start_with("PATH", path)?;
    stage.fleet.operator.await_host(HOST, "online", ONLINE_LIMIT)
}

fn add_source(stage: &Stage, group: &str, preset: &str, database: &str) -> Result<()> {
    let source = json!({"preset": preset, "database": database});
    let group = json!({"name": group, "repository": "vault", "options": {"source": source}});
    stage.fleet.operator.api().post(&format!("/hosts/{HOST}/groups"), &group).map(drop)
}

fn back_up(stage: &Stage, group: &str) -> Result<Value> {
    let job = stage.fleet.operator.run(HOST, group)?;
    stage.fleet.operator.await_end(&job, BACKUP_LIMIT)
}

/// Restores the snapshot of `job` through the fleet; gives the file called `name` in it.
fn restored(stage: &Stage, job: &Value, name: &str) -> Result<PathBuf> {
    let operator = &stage.fleet.operator;
    let snapshot = job["snapshot_id"].as_str().context("no snapshot")?;
    wait::until("the list of snapshots", BACKUP_LIMIT, || {
        let listed = operator.json(&["snapshots", HOST])?;
        Ok(listed.to_string().contains(snapshot).then_some(()))
    })?;
    let restore = operator.text(&["restore", HOST, snapshot], "job_id")?;
    let end = operator.await_end(&restore, BACKUP_LIMIT)?;
    ensure!(end["status"] == "succeeded", "{end}");
    let target = end["result"]["target"].as_str().context("the job tells no place")?;
    Ok(Path::new(target).join(name))
}
