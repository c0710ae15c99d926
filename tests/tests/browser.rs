//! The dashboard over a real fleet, in a real browser.

use std::fs;

use anyhow::{Context, Result};
use holdfast_e2e::browser::Visit;
use holdfast_e2e::data;
use holdfast_e2e::programs;
use holdfast_e2e::slow_restic::write_program;
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::wait;

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
fn browser_reads_a_log_as_it_grows_and_over_a_server_restart() -> Result<()> {
    let mut stage = Stage::new()?;
    let talker = stage.path().join("talkative-restic");
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' backup '*)\n  for number in $(seq 1 120); do\n    \
         echo \"word $number\" >&2; sleep 0.1\n  done ;;\nesac\nexec '{}' \"$@\"\n",
        programs::restic()?.display()
    );
    write_program(&talker, &script)?;
    stage.fleet.add_host_with(HOST, &talker)?;
    let source = stage.source()?;
    data::small_files(&source, 20, 3)?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    let step = format!("log={HOST}/{GROUP}");
    let mut visit = Visit::steps(&stage.fleet, "log", &[&step])?;
    visit.await_line("log: flows")?;
    stage.fleet.server.kill()?;
    stage.fleet.server.restart()?;
    visit.finish()?;
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
fn browser_looks_into_snapshots_and_brings_files_back() -> Result<()> {
    // Old restics cannot look first; where there is a newer one, that is seen too.
    let newest = programs::restics()?.pop().context("there is no restic")?;
    let mut stage = Stage::with_restic(&newest)?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    let photo = source.join("deep/photo.dat");
    fs::create_dir_all(source.join("deep"))?;
    data::random_file(&photo, 3_000_000, 5)?;
    let hostile = source.join("<img src=x onerror=hacked=1>");
    fs::write(&hostile, "text")?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    stage.back_up()?;
    let later = source.join("later.txt");
    fs::write(&later, "later")?;
    stage.back_up()?;
    wait::until("both snapshots in the list", BACKUP_LIMIT, || {
        let listed = stage.fleet.operator.json(&["snapshots", HOST])?;
        Ok((listed["snapshots"].as_array().map(Vec::len) == Some(2)).then_some(()))
    })?;
    let restored = stage.path().join("restored");
    fs::create_dir(&restored)?;
    let policy = format!("[restore]\nroots = [\"{}\"]\n", restored.display());
    fs::write(stage.fleet.agents[0].data().join("policy.toml"), policy)?;

    let (photo_path, restored_path) = (photo.display(), restored.display());
    let steps = [
        format!("browse={HOST}:{}", hostile.display()),
        format!("download={HOST}:{photo_path}:{photo_path}"),
        format!("search={HOST}:PHOTO:{photo_path}"),
        format!("compare={HOST}:{}", later.display()),
        format!("restore={HOST}:{photo_path}:{restored_path}"),
        format!("hostile={HOST}"),
    ];
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    Visit::steps(&stage.fleet, "look", &steps)?.finish()?;
    let copy = restored.join(photo.strip_prefix("/")?);
    anyhow::ensure!(fs::read(copy)? == fs::read(&photo)?, "the restored file is another");
    stage.fleet.stop()
}

#[test]
fn browser_comes_in_by_an_identity_provider() -> Result<()> {
    let mut stage = Stage::new()?;
    let mut visit = Visit::steps(&stage.fleet, "provider", &["provider=mira/ops"])?;
    let issuer = visit.await_rest("provider: ")?;
    let secret = stage.path().join("client-secret");
    fs::write(&secret, "a secret of the provider")?;
    let secret = secret.to_str().context("a path is not text")?.to_owned();
    let operator = stage.fleet.operator.clone();
    let page = stage.fleet.server.url().to_owned();
    let set = operator.json(&[
        "oidc",
        "set",
        "--issuer",
        &issuer,
        "--client-id",
        "holdfast",
        "--client-secret-file",
        &secret,
        "--page",
        &page,
        "--label",
        "Example ID",
        "--role",
        "chiefs=admin",
        "--role",
        "ops=operator",
    ])?;
    anyhow::ensure!(set["has_client_secret"] == true, "{set}");
    visit.finish()?;
    let users = operator.json(&["user", "list"])?;
    let mira = &users["users"][0];
    anyhow::ensure!(mira["name"] == "mira" && mira["role"] == "operator", "{users}");
    anyhow::ensure!(mira["single_sign_on"] == true, "{users}");
    let audit = operator.json(&["audit", "list", "--action", "sign_in"])?;
    let entry = &audit["entries"][0];
    anyhow::ensure!(entry["actor"] == "mira" && entry["after"]["by"] == "oidc", "{audit}");
    operator.json(&["oidc", "clear"])?;
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
