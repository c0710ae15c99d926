//! The dashboard over a real fleet, in a real browser.

use anyhow::Result;
use holdfast_e2e::browser::Visit;
use holdfast_e2e::data;
use holdfast_e2e::stage::{GROUP, HOST, Stage};

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
