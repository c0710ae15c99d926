//! Backupy's agent with our server.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::joined::{GROUP, HOST, Joined};

fn joined() -> Result<Joined> {
    let address = "postgresql://app@db:5432/shop?secret=PG_PASSWORD";
    let mut joined = Joined::new("backupy", address)?;
    register(&mut joined)?;
    Ok(joined)
}

/// Connects and registers; the acknowledgement.
fn register(joined: &mut Joined) -> Result<Value> {
    ensure!(joined.token.starts_with("bkpy_live_"), "its agents look at the shape of their key");
    joined.connect()?;
    joined.peer.say(&json!({"seq": 1, "body": "register", "fields": {
        "agent_version": "1.0.0", "hostname": "h1", "os": "linux", "arch": "amd64",
        "capabilities": ["pg_dump", "mysqldump"], "last_known_config_version": 5,
    }}))?;
    let first = joined.peer.event("frame")?;
    joined.peer.say(&json!({"seq": 2, "body": "heartbeat", "fields": {"config_version": 1}}))?;
    joined.await_host("online")?;
    Ok(first["frame"].clone())
}

fn update(job: &str, status: u32, more: &Value) -> Value {
    let mut fields = json!({"job_id": GROUP, "status": status, "run_id": job});
    for (name, value) in more.as_object().into_iter().flatten() {
        fields[name.as_str()] = value.clone();
    }
    json!({"seq": 4, "body": "job_update", "fields": fields})
}

fn completed(job: &str) -> Value {
    json!({"seq": 3, "body": "backup_completed", "fields": {
        "job_id": GROUP, "run_id": job, "s3_key": "site/backupy/home/1", "size_bytes": 4096,
        "sha256": "00ff", "duration_ms": 1500, "encrypted_dek": "a2V5", "compression": "zstd",
    }})
}

fn run_of(job: &str) -> impl Fn(&Value) -> bool + '_ {
    move |frame| frame["body"] == "run_backup" && frame["fields"]["run_id"] == job
}

#[test]
fn a_whole_job_of_a_backupy_agent_looks_like_any_other() -> Result<()> {
    let mut joined = Joined::new("backupy", "postgresql://app@db:5432/shop?secret=PG_PASSWORD")?;
    let ack = register(&mut joined)?;
    ensure!(ack["body"] == "register_ack", "the first frame is {ack}");
    ensure!(ack["fields"]["session_id"].is_string(), "{ack}");
    let config = &ack["fields"]["config"];
    ensure!(config["jobs"][0]["id"] == GROUP && config["targets"][0]["id"] == GROUP, "{ack}");
    let connection = &config["targets"][0]["connection"];
    ensure!(connection["host"] == "db" && connection["port"] == 5432, "{ack}");
    ensure!(connection["password_secret_ref"] == "PG_PASSWORD", "{ack}");
    let ping = joined.peer.frame("a ping in the dialect", |frame| frame["body"] == "ping")?;
    let id = ping["correlation_id"].clone();
    joined.peer.say(&json!({"seq": 3, "body": "ack", "correlation_id": id,
        "fields": {"correlation_id": id, "accepted": true}}))?;
    let host = joined.host()?;
    ensure!(host["dialect"] == "backupy" && host["hostname"] == "h1", "{host}");

    let job = joined.run()?;
    let run = joined.peer.frame("the command", run_of(&job))?;
    ensure!(run["fields"]["job_id"] == GROUP, "{run}");
    joined.peer.say(&update(&job, 2, &json!({})))?;
    joined.await_status(&job, "running")?;
    joined.peer.say(&update(
        &job,
        2,
        &json!({"progress_percent": 37, "current_step": "dumping"}),
    ))?;
    joined.await_job(&job, "37 %", |job| job["progress"]["percent_done"] == 0.37)?;
    joined.peer.say(&json!({"seq": 5, "body": "log", "fields": {
        "ts_ms": 1_700_000_000_000_u64, "level": 2, "job_id": GROUP, "message": "pg_dump: 3 tables",
        "fields": {"run_id": job},
    }}))?;
    ensure!(joined.stage.fleet.operator.job(&job)?["pausable"] == false, "it cannot be paused");
    let why = joined.refused(&["pause", &job])?;
    ensure!(why.contains("cannot pause"), "{why}");
    joined.peer.say(&completed(&job))?;
    let end = joined.await_status(&job, "succeeded")?;
    ensure!(end["snapshot_id"] == "site/backupy/home/1", "{end}");
    ensure!(end["stats"]["total_bytes_processed"] == 4096, "{end}");
    ensure!(!end.to_string().contains("a2V5"), "the data key is in the record");
    let log = joined.stage.fleet.operator.json(&["logs", &job])?;
    ensure!(log.to_string().contains("pg_dump: 3 tables"), "{log}");

    // It comes back as another process: its numbers begin at 1 again, and it replays its queue.
    joined.peer.tell(&json!({"do": "drop"}))?;
    joined.peer.event("close")?;
    joined.await_host("offline")?;
    register(&mut joined)?;
    joined.peer.say(&completed(&job))?;
    joined.peer.say(&update(&job, 4, &json!({"error_message": "a replay must change nothing"})))?;
    let next = joined.run()?;
    joined.peer.frame("the next command", run_of(&next))?;
    ensure!(joined.stage.fleet.operator.job(&job)?["status"] == "succeeded");
    ensure!(joined.jobs()?.len() == 2, "{:?}", joined.jobs()?);

    joined.stage.fleet.operator.json(&["cancel", &next])?;
    let cancel = joined.peer.frame("the cancel", |frame| frame["body"] == "cancel_job")?;
    ensure!(cancel["fields"]["job_id"] == GROUP, "{cancel}");
    joined.peer.say(&update(&next, 5, &json!({})))?;
    joined.await_status(&next, "cancelled")?;
    Ok(())
}

#[test]
fn a_change_of_configuration_is_sent_whole_to_a_backupy_agent() -> Result<()> {
    let mut joined = joined()?;
    let other = "mysql://app@db:3306/blog";
    let arguments = ["group", "add", HOST, "blog", "--repo", "vault", "--include", other];
    joined.stage.fleet.operator.json(&arguments)?;
    let change = joined.peer.frame("the change", |frame| {
        let jobs = frame["fields"]["config"]["jobs"].as_array();
        frame["body"] == "config_update" && jobs.is_some_and(|jobs| jobs.len() == 2)
    })?;
    ensure!(change["fields"]["config"]["targets"].as_array().map(Vec::len) == Some(2), "{change}");
    let folder = ["group", "add", HOST, "etc", "--repo", "vault", "--include", "/etc"];
    let why = joined.refused(&folder)?;
    ensure!(why.contains("databases"), "{why}");
    Ok(())
}
