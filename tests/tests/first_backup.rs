//! The main job: a host's first backup, seen by restic and restored, with every restic there is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::stage::{GROUP, HOST, Stage};
use holdfast_e2e::{data, programs};

#[test]
fn a_first_backup_is_restored_byte_for_byte_with_every_restic() -> Result<()> {
    for restic in programs::restics()? {
        first_backup(&restic).with_context(|| format!("with {}", restic.display()))?;
    }
    Ok(())
}

fn first_backup(restic: &Path) -> Result<()> {
    let mut stage = Stage::with_restic(restic)?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    let witnesses = lay_out(&source)?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &["*.tmp"])?;

    let snapshot = stage.back_up()?;
    let repository = stage.fleet.repository();
    for witness in witnesses {
        let same = repository.restores_same(&snapshot, &witness)?;
        ensure!(same, "{} came back different", witness.display());
    }
    let excluded = repository.restores_same(&snapshot, &source.join("left-out.tmp"));
    ensure!(excluded.is_err(), "an excluded file was backed up");
    ensure!(listed(&stage)? == [snapshot], "the server lists other snapshots than restic");
    repository.check()?;
    ensure!(repository.locks()?.is_empty(), "a lock was left behind");
    stage.fleet.stop()
}

/// Files with the names that break careless programs.
fn lay_out(source: &Path) -> Result<Vec<PathBuf>> {
    data::small_files(&source.join("small"), 300, 3)?;
    fs::write(source.join("left-out.tmp"), "not wanted")?;
    let names = ["with space", "--dashes", "naïve 文書 🗄", "new\nline", "quote'\"s"];
    let mut witnesses = vec![source.join("small/002/note-00299.dat")];
    for name in names {
        let file = source.join(name);
        fs::write(&file, name.repeat(1000))?;
        witnesses.push(file);
    }
    Ok(witnesses)
}

fn listed(stage: &Stage) -> Result<Vec<String>> {
    let answer = stage.fleet.operator.json(&["snapshots", HOST])?;
    let list = answer["snapshots"].as_array().context("no list of snapshots")?;
    Ok(list.iter().filter_map(|snapshot| snapshot["id"].as_str()).map(str::to_owned).collect())
}

#[test]
fn a_backup_ordered_while_the_agent_is_away_runs_when_it_returns() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    data::small_files(&source, 20, 5)?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    stage.fleet.agents[0].stop()?;

    let job = stage.fleet.operator.run(HOST, GROUP)?;
    ensure!(stage.fleet.operator.job(&job)?["status"] == "queued");
    stage.fleet.agents[0].start()?;

    let end = stage.fleet.operator.await_end(&job, holdfast_e2e::stage::BACKUP_LIMIT)?;
    ensure!(end["status"] == "succeeded", "{end}");
    stage.confirmed_snapshot(&end).map(drop)
}

#[test]
fn hosts_share_a_repository_that_none_of_them_has_made() -> Result<()> {
    let mut stage = Stage::new()?;
    let source = stage.source()?;
    data::small_files(&source, 200, 9)?;
    let hosts = ["web-1", "web-2", "web-3"];
    for host in hosts {
        stage.fleet.add_host(host)?;
        stage.fleet.add_group(host, GROUP, &[&source], &[])?;
    }
    // All at once: each finds no repository, and only one can make it.
    let operator = stage.fleet.operator.clone();
    let jobs: Vec<String> =
        hosts.iter().map(|host| operator.run(host, GROUP)).collect::<Result<_>>()?;
    for job in jobs {
        let end = operator.await_end(&job, holdfast_e2e::stage::BACKUP_LIMIT)?;
        ensure!(end["status"] == "succeeded", "{end}");
    }
    ensure!(stage.fleet.repository().snapshots()?.len() == hosts.len());
    stage.fleet.repository().check()
}
