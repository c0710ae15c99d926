//! NerdBackup's agent with our server.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::joined::{GROUP, HOST, Joined};

fn joined() -> Result<Joined> {
    let mut joined = Joined::new("nerdbackup", "/home")?;
    joined.connect()?;
    joined.peer.say(&heartbeat())?;
    joined.await_host("online")?;
    Ok(joined)
}

fn heartbeat() -> Value {
    json!({"type": "heartbeat", "data": {
        "agent_version": "1.9.0", "restic_version": "0.16.4", "platform": "linux", "arch": "amd64",
        "hostname": "nas", "uptime_seconds": 4711, "disk_free_bytes": 1, "cpu_count": 4,
        "memory_total_bytes": 1024,
    }})
}

fn progress(fraction: f64) -> Value {
    json!({"type": "progress", "data": {
        "repo_id": GROUP, "percent_done": fraction, "bytes_processed": 512, "files_processed": 3,
        "started_at": "2026-11-21T10:00:00+01:00",
    }})
}

fn report(job: &str, status: &str, error: &str) -> Value {
    json!({"type": "job_report", "data": {
        "repo_id": GROUP, "dashboard_job_id": job, "operation": "backup", "status": status,
        "started_at": "2026-11-21T10:00:00.123456789+01:00",
        "completed_at": "2026-11-21T10:01:00+01:00",
        "restic_snapshot_id": "5a6b7c8d", "error_message": error,
        "stats": {"files_new": 7, "files_changed": 0, "files_unmodified": 0, "dirs_new": 1,
            "data_added_bytes": 2048, "total_files_processed": 7, "total_bytes_processed": 4096,
            "total_duration_seconds": 60, "repo_raw_size": 999, "repo_restore_size": 4096},
    }})
}

fn command<'a>(action: &'a str, job: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |frame| {
        let id = if action == "start_backup" { &frame["data"]["job_id"] } else { &frame["job_id"] };
        frame["type"] == "command" && frame["action"] == action && id == job
    }
}

#[test]
fn a_whole_job_of_a_nerdbackup_agent_looks_like_any_other() -> Result<()> {
    let mut joined = joined()?;
    let host = joined.host()?;
    ensure!(host["dialect"] == "nerdbackup" && host["hostname"] == "nas", "{host}");
    ensure!(host["restic_version"] == "0.16.4" && host["os"] == "linux", "{host}");
    let can = |word: &str| host["capabilities"].as_array().unwrap().contains(&word.into());
    ensure!(can("pause") && !can("restore"), "{host}");

    let job = joined.run()?;
    let start = joined.peer.frame("the command", command("start_backup", &job))?;
    ensure!(start["data"]["repo_id"] == GROUP, "{start}");
    let began = json!({"job_id": job, "repo_id": GROUP, "status": "running"});
    joined.peer.say(&json!({"type": "job_started", "data": began}))?;
    joined.peer.say(&progress(0.25))?;
    let seen =
        joined.await_job(&job, "a quarter", |job| job["progress"]["percent_done"] == 0.25)?;
    ensure!(seen["status"] == "running" && seen["group"] == GROUP, "{seen}");

    joined.stage.fleet.operator.json(&["pause", &job])?;
    joined.peer.frame("the pause", command("pause", &job))?;
    let paused = json!({"job_id": job, "status": "paused"});
    joined.peer.say(&json!({"type": "job_started", "data": paused}))?;
    joined.await_status(&job, "paused")?;
    joined.stage.fleet.operator.json(&["resume", &job])?;
    joined.peer.frame("the resume", command("resume", &job))?;
    let resumed = json!({"job_id": job, "status": "running"});
    joined.peer.say(&json!({"type": "job_started", "data": resumed}))?;
    joined.await_status(&job, "running")?;

    joined.peer.say(&report(&job, "completed", ""))?;
    let end = joined.await_status(&job, "succeeded")?;
    ensure!(end["snapshot_id"] == "5a6b7c8d" && end["stats"]["files_new"] == 7, "{end}");
    ensure!(end["finished_at"] == "2026-11-21T09:01:00Z", "{end}");

    // The link is cut; the agent comes back and tells it all again.
    joined.peer.tell(&json!({"do": "drop"}))?;
    joined.peer.event("close")?;
    joined.await_host("offline")?;
    joined.connect()?;
    joined.await_host("online")?;
    joined.peer.say(&json!({"type": "job_started", "data": began}))?;
    joined.peer.say(&progress(0.5))?;
    joined.peer.say(&report(&job, "failed", "a replay must change nothing"))?;
    let next = joined.run()?;
    joined.peer.frame("the next command", command("start_backup", &next))?;
    let same = joined.stage.fleet.operator.job(&job)?;
    ensure!(same["status"] == "succeeded" && same["snapshot_id"] == "5a6b7c8d", "{same}");
    ensure!(joined.jobs()?.len() == 2, "{:?}", joined.jobs()?);

    // Their agent says nothing after a cancel.
    joined.stage.fleet.operator.json(&["cancel", &next])?;
    joined.peer.frame("the cancel", command("cancel", &next))?;
    joined.await_status(&next, "cancelled")?;
    let why = joined.refused(&["cancel", &next])?;
    ensure!(why.contains("already ended"), "{why}");
    joined.peer.tell(&json!({"do": "close"}))?;
    joined.await_host("offline")?;
    Ok(())
}

#[test]
fn a_nerdbackup_run_of_its_own_is_known_once_and_by_its_group() -> Result<()> {
    let mut joined = joined()?;
    joined.peer.say(&json!({"type": "job_started", "data":
        {"job_id": "", "repo_id": GROUP, "status": "running"}}))?;
    joined.peer.say(&progress(0.5))?;
    for _ in 0..2 {
        joined.peer.say(&report("", "completed", ""))?;
    }
    let wait = || {
        let jobs = joined.jobs()?;
        Ok(jobs.iter().any(|job| job["status"] == "succeeded").then_some(jobs))
    };
    let jobs = holdfast_e2e::wait::until("the run", crate::joined::SOON, wait)?;
    ensure!(jobs.len() == 1 && jobs[0]["group"] == GROUP, "{jobs:?}");
    ensure!(jobs[0]["snapshot_id"] == "5a6b7c8d", "{jobs:?}");
    Ok(())
}

#[test]
fn two_runs_of_a_group_reach_a_nerdbackup_agent_one_after_the_other() -> Result<()> {
    let mut joined = joined()?;
    let (first, second) = (joined.run()?, joined.run()?);
    joined.peer.frame("the first", command("start_backup", &first))?;
    let third = joined.run()?;
    joined.stage.fleet.operator.json(&["cancel", &third])?;
    joined.await_status(&third, "cancelled")?;
    ensure!(
        !joined.peer.has_seen(|event| command("start_backup", &second)(&event["frame"])),
        "the second was sent while the first runs"
    );
    joined.peer.say(&report(&first, "failed", "wrapped: exit status 3"))?;
    let end = joined.await_status(&first, "partial")?;
    ensure!(end["exit_code"] == 3, "{end}");
    joined.peer.frame("the second", command("start_backup", &second))?;
    ensure!(
        !joined.peer.has_seen(|event| command("start_backup", &third)(&event["frame"])),
        "the third was sent although it was cancelled"
    );
    Ok(())
}

#[test]
fn a_nerdbackup_agent_without_a_socket_works_over_http() -> Result<()> {
    let mut joined = Joined::new("nerdbackup", "/home")?;
    let base = joined.stage.fleet.server.url().to_owned();
    let token = joined.token.clone();
    let path = format!("{base}/api/v1/agents/{}", joined.host_id);
    let mut ask = |method: &str, what: &str, body: Option<&Value>, etag: Option<&str>| {
        let mut order = json!({"method": method, "url": format!("{path}/{what}"), "token": token});
        if let Some(body) = body {
            order["body"] = body.clone();
        }
        if let Some(etag) = etag {
            order["headers"] = json!({"if-none-match": etag});
        }
        joined.peer.http(&order)
    };
    let answer = ask("POST", "heartbeat", Some(&heartbeat()["data"]), None)?;
    ensure!(answer["status"] == 200, "{answer}");
    ensure!(answer["body"]["data"]["config_changed"] == true, "{answer}");
    ensure!(answer["body"]["meta"]["request_id"].is_string(), "{answer}");

    let answer = ask("GET", "repos", None, None)?;
    let repo = &answer["body"]["data"][0];
    ensure!(repo["id"] == GROUP && repo["paths"] == json!(["/home"]), "{answer}");
    ensure!(repo["restic_password"] == "correct horse battery staple", "{answer}");
    let etag = answer["etag"].as_str().unwrap_or_default().to_owned();
    let answer = ask("GET", "repos", None, Some(&etag))?;
    ensure!(answer["status"] == 304, "{answer}");
    let answer = ask("POST", "heartbeat", Some(&heartbeat()["data"]), None)?;
    ensure!(answer["body"]["data"]["config_changed"] == false, "{answer}");

    let job = joined.stage.fleet.operator.run(HOST, GROUP)?;
    let answer = ask("GET", "pending-backups", None, None)?;
    let pending = &answer["body"]["data"][0];
    ensure!(pending["jobId"] == job.as_str() && pending["repoId"] == GROUP, "{answer}");
    let answer = ask("GET", "pending-backups", None, None)?;
    ensure!(answer["body"]["data"] == json!([]), "{answer}");
    let answer = ask("GET", "pending-restores", None, None)?;
    ensure!(answer["body"]["data"] == json!([]), "{answer}");
    for (what, body) in [("progress", progress(0.5)), ("report", report(&job, "completed", ""))] {
        for _ in 0..2 {
            let answer = ask("POST", what, Some(&body["data"]), None)?;
            ensure!(answer["status"] == 200, "{what}: {answer}");
        }
    }
    joined.await_status(&job, "succeeded")?;
    joined.await_host("online")?;

    let other = json!({"method": "GET", "token": joined.token, "url":
        format!("{base}/api/v1/agents/{}/repos", uuid_of_nobody())});
    let answer = joined.peer.http(&other)?;
    ensure!(answer["status"] == 404, "{answer}");
    let stranger =
        json!({"method": "GET", "token": "hf_agt_wrong", "url": format!("{path}/repos")});
    let answer = joined.peer.http(&stranger)?;
    ensure!(answer["status"] == 401, "{answer}");

    // Its socket takes over what the polling had.
    joined.connect()?;
    let next = joined.run()?;
    joined.peer.frame("the command", command("start_backup", &next))?;
    joined.stage.fleet.operator.json(&[
        "group",
        "add",
        HOST,
        "etc",
        "--repo",
        "vault",
        "--include",
        "/etc",
    ])?;
    joined.peer.frame("the change", |frame| frame["action"] == "config_update")?;
    Ok(())
}

fn uuid_of_nobody() -> &'static str {
    "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b"
}
