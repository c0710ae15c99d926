//! The dashboard over a real fleet, in a real browser.

use anyhow::Result;
use holdfast_e2e::browser::Visit;
use holdfast_e2e::data;
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};

#[test]
fn browser_shows_a_backup_move_and_comes_back_after_a_server_restart() -> Result<()> {
    let (mut stage, _slow) = Stage::with_slow_host(90)?;
    stage.fleet.operator.run(HOST, GROUP)?;
    let arguments = ["--expect-online", HOST, "--expect-running", "--survive-restart"];
    let mut visit = Visit::start(&stage.fleet, "restart", &arguments)?;
    visit.forget_screenshot("reconnecting")?;

    visit.await_line("restart: now")?;
    stage.fleet.server.kill()?;
    visit.await_screenshot("reconnecting")?;
    stage.fleet.server.restart()?;
    visit.finish()?;
    stage.fleet.stop()
}

#[test]
fn browser_starts_a_backup_and_sees_the_host_go_and_return() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    data::small_files(&source, 200, 11)?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;

    let button = format!("{HOST}/{GROUP}");
    let arguments = ["--expect-online", HOST, "--back-up", &button, "--expect-succeeded", "1"];
    Visit::start(&stage.fleet, "back-up", &arguments)?.finish()?;
    let snapshots = stage.fleet.repository().snapshots()?;
    anyhow::ensure!(snapshots.len() == 1, "restic knows {} snapshots", snapshots.len());

    stage.fleet.agents[0].kill()?;
    Visit::start(&stage.fleet, "gone", &["--expect-offline", HOST])?.finish()?;
    stage.fleet.agents[0].start()?;
    Visit::start(&stage.fleet, "back", &["--expect-online", HOST])?.finish()
}

#[test]
fn browser_adds_a_host_whose_agent_then_enrols() -> Result<()> {
    let mut stage = Stage::new()?;
    let step = format!("add-host={HOST}");
    let mut visit = Visit::steps(&stage.fleet, "add-host", &[&step])?;
    let token = visit.await_rest("enrol: ")?;
    stage.fleet.enrol(HOST, &token)?;
    visit.finish()?;
    stage.fleet.stop()
}

#[test]
fn browser_follows_a_backup_to_its_end_and_plans_the_next() -> Result<()> {
    let (mut stage, _slow) = Stage::with_slow_host(12)?;
    let (back_up, schedule) =
        (format!("back-up={HOST}/{GROUP}"), format!("schedule={HOST}/{GROUP}"));
    Visit::steps(&stage.fleet, "whole", &[&back_up, &schedule])?.finish()?;
    let host = stage.fleet.operator.host(HOST)?;
    let cron = &host["groups"][0]["schedule"]["cron"];
    anyhow::ensure!(cron == "15 3 * * *", "the schedule is {cron}");
    anyhow::ensure!(stage.fleet.repository().snapshots()?.len() == 1, "restic has no snapshot");
    stage.fleet.stop()
}

#[test]
fn browser_pauses_resumes_and_cancels() -> Result<()> {
    let (mut stage, _slow) = Stage::with_slow_host(120)?;
    let (pause, cancel) = (format!("pause={HOST}/{GROUP}"), format!("cancel={HOST}/{GROUP}"));
    Visit::steps(&stage.fleet, "steer", &[&pause, &cancel])?.finish()?;
    anyhow::ensure!(stage.fleet.repository().snapshots()?.is_empty(), "a cancelled one is there");
    stage.fleet.stop()
}

#[test]
fn browser_takes_on_the_alert_of_a_backup_that_failed() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let gone = stage.path().join("nowhere");
    stage.fleet.add_group(HOST, GROUP, &[&gone], &[])?;
    let job = stage.fleet.operator.run(HOST, GROUP)?;
    let end = stage.fleet.operator.await_end(&job, BACKUP_LIMIT)?;
    anyhow::ensure!(end["status"] == "failed", "it should have failed: {end}");
    Visit::steps(&stage.fleet, "alert", &["alert=failed"])?.finish()?;
    stage.fleet.stop()
}
