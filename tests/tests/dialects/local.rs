//! An agent that listens, dialled by our server.

use anyhow::{Context, Result, ensure};
use holdfast_e2e::{peer::Peer, stage::Stage, wait};
use serde_json::{Value, json};

use crate::joined::{GROUP, HOST, SOON};

fn event(kind: &str, payload: &Value) -> Value {
    json!({"type": kind, "payload": payload})
}

fn job_of(stage: &Stage, status: &str) -> Result<Value> {
    wait::until(&format!("a job that is {status}"), SOON, || {
        let all = stage.fleet.operator.json(&["jobs", "--host", HOST])?;
        let jobs = all["jobs"].as_array().context("no list of jobs")?;
        Ok(jobs.iter().find(|job| job["status"] == status).cloned())
    })
}

#[test]
fn a_run_of_an_agent_that_listens_is_seen_paused_and_cancelled() -> Result<()> {
    let stage = Stage::new()?;
    let operator = stage.fleet.operator.clone();
    let mut peer = Peer::start("local")?;
    peer.tell(&json!({"do": "listen", "path": "/ws", "token": "their-token"}))?;
    let port = peer.event("listening")?["port"].clone();
    let address = format!("ws://127.0.0.1:{port}/ws");
    let file = stage.path().join("their-token");
    std::fs::write(&file, "their-token\n")?;
    let file = file.to_str().context("a path of text")?;
    let arguments = [
        "host",
        "add",
        HOST,
        "--dialect",
        "local",
        "--address",
        &address,
        "--address-token-file",
        file,
    ];
    let added = operator.json(&arguments)?;
    ensure!(added["agent_token"].is_null(), "{added}");
    operator.json(&["group", "add", HOST, GROUP, "--repo", "vault", "--include", "/home"])?;
    let opened = peer.event("open")?;
    ensure!(opened["authorization"] == "Bearer their-token", "{opened}");
    operator.await_host(HOST, "online", SOON)?;
    peer.frame("a question for the status", |frame| frame["type"] == "agent:status")?;
    peer.say(&event(
        "agent:status",
        &json!({"status": "idle", "active_jobs": 0, "uptime_secs": 1}),
    ))?;
    let refused = operator.command(&["run", HOST, "--group", GROUP])?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && why.contains("cannot start a backup"), "{why}");

    peer.say(&event("backup:started", &json!({"job_id": "abc-123"})))?;
    let progress = json!({"job_id": "abc-123", "percent": 45.5, "transferred_bytes": 1_048_576,
        "total_bytes": 2_097_152, "bytes_per_second": 524_288, "eta_seconds": 2,
        "current_file": "/data/file.txt", "files_processed": 10, "total_files": 25});
    peer.say(&event("backup:progress", &progress))?;
    let running = job_of(&stage, "running")?;
    let job = running["id"].as_str().context("a job has an id")?.to_owned();
    let half = wait::until("the progress", SOON, || {
        let job = operator.job(&job)?;
        Ok((job["progress"]["percent_done"] == 0.455).then_some(job))
    })?;
    ensure!(half["group"] == GROUP, "{half}");
    let named = |kind: &'static str| {
        move |frame: &Value| frame["type"] == kind && frame["payload"]["job_id"] == "abc-123"
    };
    operator.json(&["pause", &job])?;
    peer.frame("the pause", named("backup:pause"))?;
    operator.json(&["resume", &job])?;
    peer.frame("the resume", named("backup:resume"))?;

    // The line is cut; the server dials again and is told of the same job.
    peer.tell(&json!({"do": "text", "text": "{\"type\":"}))?;
    peer.tell(&json!({"do": "drop"}))?;
    peer.event("close")?;
    peer.event("open")?;
    operator.await_host(HOST, "online", SOON)?;
    peer.say(&event("backup:progress", &progress))?;
    wait::until("the same job", SOON, || {
        Ok((operator.job(&job)?["progress"]["percent_done"] == 0.455).then_some(()))
    })?;
    operator.json(&["cancel", &job])?;
    peer.frame("the cancel", named("backup:cancel"))?;
    peer.say(&event("backup:failed", &json!({"job_id": "abc-123", "error": "killed"})))?;
    job_of(&stage, "cancelled")?;

    peer.say(&event("backup:started", &json!({"job_id": "abc-124"})))?;
    for _ in 0..2 {
        peer.say(&event("backup:completed", &json!({"job_id": "abc-124", "total_bytes": 5})))?;
    }
    let end = job_of(&stage, "succeeded")?;
    ensure!(end["stats"]["total_bytes_processed"] == 5, "{end}");
    let all = operator.json(&["jobs", "--host", HOST])?;
    ensure!(all["jobs"].as_array().map(Vec::len) == Some(2), "{all}");
    Ok(())
}
