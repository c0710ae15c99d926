//! What the server remembers: of hosts that are gone, of logs that were too long, of old days.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holdfast_e2e::slow_restic::write_program;
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::{data, programs, wait};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

/// How soon a server that has started looks for what is too old, on a busy machine.
const PRUNING_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_jobs_log_and_result_outlive_its_host_and_its_log_goes_before_its_result() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    data::small_files(&source, 20, 3)?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    let job = stage.fleet.operator.run(HOST, GROUP)?;
    let end = stage.fleet.operator.await_end(&job, BACKUP_LIMIT)?;
    ensure!(end["status"] == "succeeded", "{end}");
    let api = stage.fleet.operator.api();
    let log = wait::until("the job's last line", BACKUP_LIMIT, || {
        let log = api.get(&format!("/jobs/{job}/log"))?;
        let last = log["lines"].as_array().and_then(|lines| lines.last());
        let said = last.and_then(|line| line["payload"].as_str()).unwrap_or_default();
        Ok(said.starts_with("succeeded").then(|| log.clone()))
    })?;

    api.delete(&format!("/hosts/{HOST}"))?;
    ensure!(api.ask("GET", &format!("/api/v1/hosts/{HOST}"), None)?.status == 404);
    let remembered = api.get(&format!("/jobs/{job}"))?;
    for field in ["id", "host_name", "status", "snapshot_id", "stats", "started_at", "finished_at"]
    {
        ensure!(remembered[field] == end[field], "{field} is lost: {remembered}");
    }
    ensure!(api.get(&format!("/jobs/{job}/log"))? == log, "the log is another");
    let listed = api.get("/jobs")?;
    ensure!(listed.to_string().contains(&job), "the job is not listed any more: {listed}");
    stage.fleet.agents.remove(0).kill()?;

    // An hour later it is compressed, and reads as before.
    stage.fleet.server.stop()?;
    let hour = 3_600_000_i64;
    change(&stage, &format!("UPDATE jobs SET ended_at = ended_at - {hour}"))?;
    stage.fleet.server.restart()?;
    wait::until("the log to be compressed", PRUNING_LIMIT, || {
        let lines = number(&stage, "SELECT COUNT(*) FROM log_lines")?;
        let parts = number(&stage, "SELECT COUNT(*) FROM log_parts")?;
        Ok((lines == 0 && parts > 0).then_some(()))
    })?;
    ensure!(api.get(&format!("/jobs/{job}/log"))? == log, "the compressed log is another");

    // A month later.
    stage.fleet.server.stop()?;
    let month = 31 * 86_400_000_i64;
    let moved = change(&stage, &format!("UPDATE jobs SET ended_at = ended_at - {month}"))?;
    ensure!(moved == 1, "{moved} jobs");
    stage.fleet.server.restart()?;
    wait::until("the old log to go", PRUNING_LIMIT, || {
        let log = api.get(&format!("/jobs/{job}/log"))?;
        let is_empty = log["lines"].as_array().is_some_and(Vec::is_empty);
        Ok((is_empty && log["pruned_at"].is_string()).then_some(()))
    })?;
    let said = stage.fleet.operator.command(&["logs", &job])?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.contains("logs are kept for 30 days"), "it is silently empty: {said}");
    let remembered = api.get(&format!("/jobs/{job}"))?;
    ensure!(remembered["stats"] == end["stats"], "the result went with the log: {remembered}");
    stage.fleet.stop()
}

/// How much a restic that cannot stop talking says: more than anybody can take in.
const LINES: u64 = 30_000;

#[test]
fn a_log_that_is_too_long_says_how_much_is_missing() -> Result<()> {
    let mut stage = Stage::new()?;
    let talkative = stage.path().join("talkative-restic");
    let restic = programs::restic()?;
    // The last words are said after the noise, and must be there.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *backup*)\n  awk 'BEGIN {{ for (i = 1; i <= {LINES}; i++) printf \
         \"noise %d %0400d\\n\", i, i }}' >&2;; esac\nexec '{}' \"$@\"\n",
        restic.display()
    );
    write_program(&talkative, &script)?;
    stage.fleet.add_host_with(HOST, &talkative)?;
    let source = stage.source()?;
    fs::write(source.join("file"), "content")?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    let job = stage.fleet.operator.run(HOST, GROUP)?;
    let end = stage.fleet.operator.await_end(&job, BACKUP_LIMIT)?;
    ensure!(end["status"] == "succeeded", "{end}");

    let (lines, missing) = wait::until("the log's last line", BACKUP_LIMIT, || {
        let (lines, missing) = whole_log(&stage, &job)?;
        let last = lines.last().and_then(|line| line["payload"].as_str()).unwrap_or_default();
        Ok(last.starts_with("succeeded").then_some((lines, missing)))
    })?;
    let first = lines[0]["payload"].as_str().unwrap_or_default();
    ensure!(first.contains("begins, with restic"), "{first}");
    let last = lines.last().and_then(|line| line["seq"].as_u64()).context("no last line")?;
    let kept = u64::try_from(lines.len())?;
    ensure!(kept + missing == last, "{kept} lines and {missing} missing are not {last}");

    // What nobody was fast enough to number is told in a line of its own.
    let says = |line: &Value| line["payload"].as_str().unwrap_or_default().to_owned();
    let noise = lines.iter().filter(|line| says(line).starts_with("noise ")).count();
    let dropped: u64 = lines.iter().filter_map(|line| dropped(&says(line))).sum();
    let told = u64::try_from(noise)? + missing + dropped;
    ensure!(told >= LINES, "of {LINES} lines {noise} are kept, {missing} and {dropped} told");
    ensure!(missing + dropped > 0, "all of {LINES} lines were kept");
    stage.fleet.stop()
}

/// How many lines the agent says it dropped, if `line` says so.
fn dropped(line: &str) -> Option<u64> {
    line.strip_suffix(" lines of output were dropped here")?.parse().ok()
}

/// Every line, and how many are said to be missing.
fn whole_log(stage: &Stage, job: &str) -> Result<(Vec<Value>, u64)> {
    let (mut lines, mut missing, mut after) = (Vec::new(), 0, 0);
    loop {
        let path = format!("/jobs/{job}/log?after={after}&limit=1000");
        let page = stage.fleet.operator.api().get(&path)?;
        for gap in page["gaps"].as_array().into_iter().flatten() {
            let side = |side: &str| gap[side].as_u64().context("a gap without ends");
            missing += side("to")? + 1 - side("from")?;
        }
        lines.extend(page["lines"].as_array().context("no lines")?.iter().cloned());
        let Some(next) = page["next"].as_u64() else { return Ok((lines, missing)) };
        after = next;
    }
}

/// A number out of the server's database.
fn number(stage: &Stage, question: &'static str) -> Result<i64> {
    let options = SqliteConnectOptions::new().filename(stage.path().join("server/holdfast.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async {
        let mut database = SqliteConnection::connect_with(&options).await?;
        sqlx::query_scalar(question).fetch_one(&mut database).await
    })?;
    Ok(asked)
}

/// Changes the server's database, which no program offers and no test can wait for.
fn change(stage: &Stage, statement: &str) -> Result<u64> {
    let options = SqliteConnectOptions::new().filename(stage.path().join("server/holdfast.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let changed = runtime.block_on(async {
        let mut database = SqliteConnection::connect_with(&options).await?;
        let done = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut database);
        done.await
    })?;
    Ok(changed.rows_affected())
}
