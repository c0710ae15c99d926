//! The worst day: files come back from a snapshot, byte for byte, with every restic there is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::tree::{self, Tree};
use holdfast_e2e::{programs, wait};
use serde_json::Value;

/// Another host, whose machine is new.
const HEIR: &str = "db-2";

#[test]
fn a_restore_brings_everything_back_with_every_restic() -> Result<()> {
    for restic in programs::restics()? {
        restores(&restic).with_context(|| format!("with {}", restic.display()))?;
    }
    Ok(())
}

fn restores(restic: &Path) -> Result<()> {
    let mut stage = Stage::with_restic(restic)?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    let files = tree::lay_out(&source)?;
    let whole = Tree::of(&source)?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    let snapshot = stage.back_up()?;

    // Everything, into a directory of the job's own.
    let end = restore(&stage, HOST, &[&snapshot])?;
    let target = target(&end)?;
    let home = fs::canonicalize(stage.fleet.agents[0].data().join("restore"))?;
    ensure!(target.starts_with(&home), "{} is not below {}", target.display(), home.display());
    whole.must_equal(&Tree::of(&tree::restored(&target, &source))?)?;

    // Two paths with the signs of patterns, and nothing else.
    let chosen: Vec<&str> = files.iter().filter_map(|file| file.to_str()).take(7).collect();
    let arguments: Vec<&str> = chosen.iter().flat_map(|path| ["--path", path]).collect();
    let end = restore(&stage, HOST, &[&[snapshot.as_str()], arguments.as_slice()].concat())?;
    let part = Tree::of(&tree::restored(&self::target(&end)?, &source))?;
    // The folder `deep`, and the files.
    ensure!(part.count() == 1 + chosen.len(), "{} things came back: {part:?}", part.count());

    to_where_they_were(&mut stage, &snapshot, &source)?;
    whole.must_equal(&Tree::of(&source)?)?;
    stage.fleet.repository().check()?;
    ensure!(stage.fleet.repository().locks()?.is_empty(), "a lock was left behind");
    stage.fleet.stop()
}

/// The host refuses to overwrite what lies on it until its administrator allows it.
fn to_where_they_were(stage: &mut Stage, snapshot: &str, source: &Path) -> Result<()> {
    fs::remove_dir_all(source.join("deep"))?;
    // Up to 0.16, restic replaces files but not links.
    fs::remove_file(source.join("near"))?;
    fs::remove_file(source.join("far"))?;
    fs::write(source.join("nothing"), "spoiled")?;
    let end = ordered(stage, HOST, &[snapshot, "--original"])?;
    ensure!(end["error"]["code"] == "refused_by_policy", "{end}");
    let advice = end["error"]["action"].as_str().unwrap_or_default();
    ensure!(advice.contains("policy.toml") && advice.contains("original = true"), "{end}");
    ensure!(!source.join("deep").exists(), "a refused restore wrote something");

    let policy = stage.fleet.agents[0].data().join("policy.toml");
    fs::write(policy, "[restore]\noriginal = true\n")?;
    restore(stage, HOST, &[snapshot, "--original"]).map(drop)
}

#[test]
fn a_new_machine_gets_the_files_of_a_lost_one() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    tree::lay_out(&source)?;
    let whole = Tree::of(&source)?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    stage.back_up()?;
    wait::until("the list of snapshots", BACKUP_LIMIT, || {
        let listed = stage.fleet.operator.json(&["snapshots", HOST])?;
        Ok(listed["snapshots"].as_array().is_some_and(|list| !list.is_empty()).then_some(()))
    })?;
    stage.fleet.agents.remove(0).kill()?;
    fs::remove_dir_all(&source)?;

    // It has no source group, so its agent has never heard of the repository.
    stage.fleet.add_host(HEIR)?;
    let end = restore(&stage, HEIR, &["latest", "--from", HOST])?;
    whole.must_equal(&Tree::of(&tree::restored(&target(&end)?, &source))?)?;
    stage.fleet.stop()
}

/// Orders a restore that must succeed.
fn restore(stage: &Stage, host: &str, arguments: &[&str]) -> Result<Value> {
    let end = ordered(stage, host, arguments)?;
    ensure!(end["status"] == "succeeded", "the restore did not succeed: {end}");
    let log = stage.fleet.operator.json(&["logs", end["id"].as_str().context("no id")?])?;
    let lines = log["lines"].as_array().context("no log")?;
    let first = lines.first().and_then(|line| line["payload"].as_str()).unwrap_or_default();
    let last = lines.last().and_then(|line| line["payload"].as_str()).unwrap_or_default();
    ensure!(first.contains(" begins, with restic "), "the log does not tell the beginning: {log}");
    ensure!(last.starts_with("succeeded"), "the log does not tell the end: {log}");
    Ok(end)
}

fn ordered(stage: &Stage, host: &str, arguments: &[&str]) -> Result<Value> {
    let operator = &stage.fleet.operator;
    let job = operator.text(&[&["restore", host], arguments].concat(), "job_id")?;
    operator.await_end(&job, BACKUP_LIMIT)
}

/// Where the files are.
fn target(end: &Value) -> Result<PathBuf> {
    let target = end["result"]["target"].as_str();
    target.map(PathBuf::from).with_context(|| format!("the job tells no place: {end}"))
}
