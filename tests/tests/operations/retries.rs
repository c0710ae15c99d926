//! What failed is tried again by jobs of their own, through a death of the agent.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use holdfast_e2e::slow_restic::write_program;
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::{data, programs, wait};
use serde_json::{Value, json};

/// Long enough that the agent is killed and back before the next try begins, on a busy machine.
const WAIT_SECONDS: u64 = 20;

#[test]
fn a_try_that_waits_outlives_its_agent_and_each_try_is_seen_once() -> Result<()> {
    let mut stage = moody_stage()?;
    let (first, second) = fail_once(&stage, WAIT_SECONDS)?;
    stage.fleet.agents[0].kill()?;
    stage.fleet.agents[0].start()?;
    let end = stage.fleet.operator.await_end(&second, BACKUP_LIMIT)?;
    ensure!(end["status"] == "succeeded" && end["attempt"] == 2, "{end}");
    ensure!(end["retry_of"] == first.as_str(), "{end}");
    stage.confirmed_snapshot(&end)?;

    let jobs = stage.fleet.operator.api().get("/jobs")?;
    let jobs = jobs["jobs"].as_array().context("no jobs")?;
    let backups: Vec<&Value> = jobs.iter().filter(|job| job["operation"] == "backup").collect();
    ensure!(backups.len() == 2, "each try is one job: {backups:?}");
    ensure!(stage.fleet.repository().snapshots()?.len() == 1, "a try was made twice");
    let host = stage.fleet.operator.api().get(&format!("/hosts/{HOST}"))?;
    let last = &host["groups"][0]["last_backup"];
    ensure!(last["job_id"] == second.as_str(), "the first try counts: {last}");
    let logs = [&first, &second].map(|job| stage.fleet.operator.json(&["logs", job]));
    for (log, last) in logs.into_iter().zip(["failed", "succeeded"]) {
        let log = log?;
        let lines = log["lines"].as_array().context("no log")?;
        let said = lines.last().and_then(|line| line["payload"].as_str()).unwrap_or_default();
        ensure!(said.starts_with(last), "each try has its own log: {log}");
    }
    stage.fleet.stop()
}

#[test]
fn cancelling_the_try_that_failed_ends_the_one_that_waits() -> Result<()> {
    let mut stage = moody_stage()?;
    let (first, second) = fail_once(&stage, 3600)?;
    stage.fleet.operator.json(&["cancel", &first])?;
    let end = stage.fleet.operator.await_end(&second, BACKUP_LIMIT)?;
    ensure!(end["status"] == "cancelled", "{end}");
    stage.fleet.stop()
}

/// A host whose first backup fails.
fn moody_stage() -> Result<Stage> {
    let mut stage = Stage::new()?;
    let (program, tried) = (stage.path().join("moody-restic"), stage.path().join("tried"));
    write_program(&program, &moody(&programs::restic()?, &tried))?;
    stage.fleet.add_host_with(HOST, &program)?;
    let source = stage.source()?;
    data::small_files(&source, 20, 3)?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    Ok(stage)
}

fn moody(restic: &Path, tried: &Path) -> String {
    format!(
        "#!/bin/sh\ncase \" $* \" in *' backup '*)\n  if [ ! -e '{0}' ]; then\n    : > '{0}'\n    \
         echo 'Fatal: not in the mood' >&2; exit 1\n  fi;;\nesac\nexec '{1}' \"$@\"\n",
        tried.display(),
        restic.display()
    )
}

/// Orders a backup that is tried again after `wait` seconds; gives the try that has failed and the
/// one that waits.
fn fail_once(stage: &Stage, wait: u64) -> Result<(String, String)> {
    let order = json!({"operation": "backup", "group": GROUP, "retry_max": 1,
        "retry_backoff_seconds": wait});
    let end = stage.fleet.operator.ordered(HOST, &order, BACKUP_LIMIT)?;
    ensure!(end["status"] == "failed", "{end}");
    let id = |field: &str| end[field].as_str().map(str::to_owned);
    let first = id("id").context("no id")?;
    let second = id("retried_by").with_context(|| format!("it is not tried again: {end}"))?;
    let waiting = wait::until("the next try", BACKUP_LIMIT, || {
        let job = stage.fleet.operator.api().get(&format!("/jobs/{second}"))?;
        Ok((job["status"] == "queued").then_some(job))
    })?;
    ensure!(waiting["not_before"].is_string(), "{waiting}");
    Ok((first, second))
}
