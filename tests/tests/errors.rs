//! What people meet when something is wrong: one sentence that says what, one that says what to do,
//! an exit code that is not zero, and never a stack trace.

use std::fs;
use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holdfast_e2e::fleet::Agent;
use holdfast_e2e::operator::Operator;
use holdfast_e2e::programs::{self, Programs};
use holdfast_e2e::slow_restic::write_program;
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

/// A program that refuses says so at once; this is for a busy machine.
const REFUSAL_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_wrong_enrolment_token_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let agent = agent(&stage, "stranger")?;
    let token = "hf_enr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let refusal = refused(&agent.try_enrol(stage.fleet.server.url(), token)?)?;
    ensure!(refusal.contains("token"), "{refusal}");
    ensure!(!refusal.contains(token), "the token is shown: {refusal}");
    Ok(())
}

#[test]
fn a_used_enrolment_token_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let token = stage.fleet.operator.text(&["host", "add", HOST], "enrolment_token")?;
    agent(&stage, "first")?.enrol(stage.fleet.server.url(), &token)?;
    let second = agent(&stage, "second")?;
    let refusal = refused(&second.try_enrol(stage.fleet.server.url(), &token)?)?;
    ensure!(refusal.contains("used"), "{refusal}");
    ensure!(!refusal.contains(&token), "the token is shown: {refusal}");
    Ok(())
}

#[test]
fn an_expired_enrolment_token_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let token = stage.fleet.operator.text(&["host", "add", HOST], "enrolment_token")?;
    let_enrolment_tokens_expire(&stage)?;
    let late = agent(&stage, "late")?;
    let refusal = refused(&late.try_enrol(stage.fleet.server.url(), &token)?)?;
    ensure!(refusal.contains("expired"), "{refusal}");
    ensure!(!refusal.contains(&token), "the token is shown: {refusal}");
    Ok(())
}

#[test]
fn an_unreachable_server_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let programs = Programs::beside_this_test()?;
    let url = nobody_listens()?;
    let agent = Agent::new(&programs.agent, &programs::restic()?, folder.path(), HOST)?;
    let refusal = refused(&agent.try_enrol(&url, "hf_enr_x")?)?;
    ensure!(refusal.contains(url.trim_start_matches("http://")), "{refusal}");

    let operator = Operator::new(programs.holdfast, &url, "hf_api_x");
    let refusal = refused(&operator.command(&["hosts"])?)?;
    ensure!(refusal.contains(url.trim_start_matches("http://")), "{refusal}");
    Ok(())
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Below a file nobody can make a folder, not even root.
    let file = folder.path().join("file");
    fs::write(&file, "")?;
    let data = file.join("data");
    let data = data.to_str().context("not text")?;
    let programs = Programs::beside_this_test()?;

    for arguments in [
        vec!["server", "--listen", "127.0.0.1:0", "--data", data],
        vec!["token", "create", "operator", "--role", "admin", "--data", data],
    ] {
        let operator = Operator::new(programs.holdfast.clone(), "", "");
        let refusal = refused(&operator.command(&arguments)?)?;
        ensure!(refusal.contains(data), "{refusal}");
    }
    let stage = Stage::new()?;
    let token = stage.fleet.operator.text(&["host", "add", HOST], "enrolment_token")?;
    let mut enrol = std::process::Command::new(&programs.agent);
    enrol.args(["enroll", "--server", stage.fleet.server.url(), "--data", data]);
    let token_file = stage.path().join("token");
    fs::write(&token_file, &token)?;
    let refusal = refused(&enrol.arg("--token-file").arg(&token_file).output()?)?;
    ensure!(refusal.contains(data), "{refusal}");
    // What went wrong on the host must not cost the token.
    agent(&stage, HOST)?.enrol(stage.fleet.server.url(), &token)
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let data = folder.path().join("data");
    let data = data.to_str().context("not text")?;
    let operator = Operator::new(Programs::beside_this_test()?.holdfast, "", "");
    let output = operator.command(&["server", "--listen", &address, "--data", data])?;
    let refusal = refused(&output)?;
    ensure!(refusal.contains(&address), "{refusal}");
    Ok(())
}

#[test]
fn a_missing_restic_is_named_with_a_way_to_get_it() -> Result<()> {
    let stage = Stage::new()?;
    let mut agent = enrolled(&stage)?;
    agent.use_restic(&stage.path().join("no-restic-here"));
    let refusal = refuses_to_run(&agent)?;
    ensure!(refusal.contains("no-restic-here"), "{refusal}");
    ensure!(refusal.contains("install"), "{refusal}");
    Ok(())
}

#[test]
fn a_restic_that_is_too_old_is_named_with_what_is_needed() -> Result<()> {
    let stage = Stage::new()?;
    let mut agent = enrolled(&stage)?;
    let old = stage.path().join("old-restic");
    write_program(&old, "#!/bin/sh\necho 'restic 0.9.6 compiled with go1.13.4 on linux/amd64'\n")?;
    agent.use_restic(&old);
    let refusal = refuses_to_run(&agent)?;
    ensure!(refusal.contains("0.9.6") && refusal.contains("0.14.0"), "{refusal}");
    Ok(())
}

#[test]
fn an_agent_that_was_never_enrolled_says_how_to_enrol() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let programs = Programs::beside_this_test()?;
    let agent = Agent::new(&programs.agent, &programs::restic()?, folder.path(), HOST)?;
    let refusal = refuses_to_run(&agent)?;
    ensure!(refusal.contains("holdfast-agent enroll"), "{refusal}");
    Ok(())
}

#[test]
fn a_second_agent_on_the_same_data_is_refused() -> Result<()> {
    let mut stage = Stage::new()?;
    let running = stage.fleet.add_host(HOST)?;
    let refusal = refuses_to_run(running)?;
    ensure!(refusal.contains("already"), "{refusal}");
    running.check_running()
}

#[test]
fn a_source_path_that_is_not_there_fails_the_job() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let missing = stage.path().join("nothing-here");
    stage.fleet.add_group(HOST, GROUP, &[&missing], &[])?;
    let error = failed_job(&stage, GROUP, "source_missing")?;
    ensure!(error.contains("nothing-here"), "{error}");
    Ok(())
}

#[test]
fn a_wrong_repository_password_fails_the_job_and_changes_nothing() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    fs::write(source.join("file"), "content")?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    stage.back_up()?;

    let password = "not the password";
    stage.fleet.add_repository("wrong", &stage.fleet.repository_folder(), password)?;
    stage.fleet.add_group_in("wrong", HOST, "locked-out", &[&source], &[])?;
    let error = failed_job(&stage, "locked-out", "wrong_password")?;
    ensure!(!error.contains(password), "the password is shown: {error}");
    ensure!(stage.fleet.repository().snapshots()?.len() == 1);
    Ok(())
}

#[test]
fn an_operator_without_a_valid_token_is_told_how_to_get_one() -> Result<()> {
    let stage = Stage::new()?;
    let program = Programs::beside_this_test()?.holdfast;
    let stranger = Operator::new(program, stage.fleet.server.url(), "hf_api_wrong");
    let refusal = refused(&stranger.command(&["hosts"])?)?;
    ensure!(refusal.contains("token"), "{refusal}");
    ensure!(!refusal.contains("hf_api_wrong"), "the token is shown: {refusal}");
    Ok(())
}

#[test]
fn a_host_that_is_not_there_is_named() -> Result<()> {
    let stage = Stage::new()?;
    let refusal = refused(&stage.fleet.operator.command(&["run", "bd-1", "--group", GROUP])?)?;
    ensure!(refusal.contains("bd-1"), "{refusal}");
    Ok(())
}

/// Moves the end of every enrolment token's hour into the past: no program offers to do so, and no
/// test can wait for it.
fn let_enrolment_tokens_expire(stage: &Stage) -> Result<()> {
    let database = stage.path().join("server/holdfast.db");
    let options = SqliteConnectOptions::new().filename(database);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let changed = runtime.block_on(async {
        let mut database = SqliteConnection::connect_with(&options).await?;
        sqlx::query("UPDATE enrolment_tokens SET expires_at = created_at")
            .execute(&mut database)
            .await
    })?;
    ensure!(changed.rows_affected() == 1, "there is not the one token to expire");
    Ok(())
}

/// Runs `group` and returns the error the job ends with, as a person reads it.
fn failed_job(stage: &Stage, group: &str, code: &str) -> Result<String> {
    let job = stage.fleet.operator.run(HOST, group)?;
    let end = stage.fleet.operator.await_end(&job, BACKUP_LIMIT)?;
    ensure!(end["status"] == "failed", "{end}");
    ensure!(end["error"]["code"] == code, "{end}");
    ensure!(end["snapshot_id"] == Value::Null, "a failed job names a snapshot: {end}");

    let shown = stage.fleet.operator.command(&["run", HOST, "--group", group, "--wait"])?;
    ensure!(shown.status.code() == Some(1), "--wait ends with the job's outcome: {shown:?}");
    let said = |field: &str| end["error"][field].as_str().unwrap_or_default().to_owned();
    ensure!(!said("message").is_empty() && !said("action").is_empty(), "{end}");
    Ok(format!("{} {}", said("message"), said("action")))
}

fn agent(stage: &Stage, name: &str) -> Result<Agent> {
    let programs = Programs::beside_this_test()?;
    Agent::new(&programs.agent, &programs::restic()?, stage.path(), name)
}

fn enrolled(stage: &Stage) -> Result<Agent> {
    let token = stage.fleet.operator.text(&["host", "add", HOST], "enrolment_token")?;
    let agent = agent(stage, HOST)?;
    agent.enrol(stage.fleet.server.url(), &token)?;
    Ok(agent)
}

fn refuses_to_run(agent: &Agent) -> Result<String> {
    let (status, said) = agent.run_to_end(REFUSAL_LIMIT)?;
    ensure!(status.code() == Some(1), "{status}: {said}");
    clear(&said)
}

/// What a command said that must have failed, if it is fit for people.
fn refused(output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    clear(&said)
}

/// `said`, if it is one sentence of what is wrong and one of what to do.
fn clear(said: &str) -> Result<String> {
    let count = |start: &str| said.lines().filter(|line| line.trim().starts_with(start)).count();
    ensure!(count("error: ") == 1, "not one error: {said}");
    ensure!(count("what to do: ") == 1, "does not say what to do: {said}");
    for trace in ["panicked", "stack backtrace", "RUST_BACKTRACE", "Caused by"] {
        ensure!(!said.contains(trace), "shows {trace:?}: {said}");
    }
    Ok(said.to_owned())
}

/// An address on which nobody listens, because its port was just given back.
fn nobody_listens() -> Result<String> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    Ok(format!("http://{address}"))
}
