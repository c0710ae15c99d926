//! A client of the plain envelope with our server.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::joined::{GROUP, HOST, Joined};

const ID: &str = "01J9ZZZZZZZZZZZZZZZZZZZZZZ";

fn register(joined: &mut Joined) -> Result<Value> {
    joined.connect()?;
    joined.peer.say(&json!({"kind": "register", "id": ID, "payload": {
        "name": HOST, "context_mode": "global", "provider": "backup", "port": 0, "pid": 1,
        "started_at": "2026-11-21T10:00:00Z", "capabilities": ["backup"], "home": "/",
        "session_id": "s1", "metadata": {"agent_version": "0.2.0", "os": "linux"},
    }}))?;
    let answer = joined.peer.frame("the answer", |frame| frame["in_reply_to"] == ID)?;
    joined.await_host("online")?;
    Ok(answer)
}

fn event(kind: &str, payload: &Value) -> Value {
    json!({"kind": kind, "payload": payload})
}

fn ordered(kind: &'static str, job: &str) -> impl Fn(&Value) -> bool {
    let job = job.to_owned();
    move |frame| frame["kind"] == kind && frame["payload"]["job_id"] == job
}

#[test]
fn a_whole_job_of_an_envelope_client_looks_like_any_other() -> Result<()> {
    let mut joined = Joined::new("envelope", "/home")?;
    let ack = register(&mut joined)?;
    ensure!(ack["kind"] == "register.ack" && ack["id"].is_null(), "{ack}");
    ensure!(ack["payload"] == json!({"heartbeat_interval_s": 10, "stale_after_s": 30}), "{ack}");

    let job = joined.run()?;
    let run = joined.peer.frame("the command", ordered("command.run", &job))?;
    ensure!(
        run["payload"]["tag"] == GROUP && run["payload"]["includes"] == json!(["/home"]),
        "{run}"
    );
    ensure!(run["id"].as_str().map(str::len) == Some(26), "{run}");
    joined.peer.say(&json!({"kind": "command.result", "in_reply_to": run["id"], "payload":
        {"job_id": job, "command": "run", "accepted": true}}))?;
    let started = json!({"job_id": job, "kind": "backup", "tag": GROUP,
        "started_at": "2026-11-21T10:00:00Z"});
    joined.peer.say(&event("job.started", &started))?;
    joined.peer.say(&event("job.progress", &json!({"job_id": job, "percent_done": 0.5})))?;
    joined.await_job(&job, "half", |job| job["progress"]["percent_done"] == 0.5)?;
    let finished = json!({"job_id": job, "status": "succeeded", "exit_code": 0,
        "finished_at": "2026-11-21T10:01:00Z", "snapshot_id": "abc123"});
    // As a request: the answer says that it is stored.
    let mut asked = event("job.finished", &finished);
    asked["id"] = "01J9ZZZZZZZZZZZZZZZZZZZZZY".into();
    joined.peer.say(&asked)?;
    joined.peer.frame("its acknowledgement", |frame| frame["kind"] == "job.finished.ack")?;
    let end = joined.await_status(&job, "succeeded")?;
    ensure!(end["snapshot_id"] == "abc123", "{end}");

    // Other business of that system: carried, or declined, never left waiting.
    joined.peer.say(&event("chat.send", &json!({"from": HOST, "content": "hello"})))?;
    for (kind, answer) in
        [("ping", "pong"), ("roster.list", "roster.list.error"), ("dispatch", "dispatch.error")]
    {
        joined.peer.say(&json!({"kind": kind, "id": format!("req-{kind}"), "payload": {}}))?;
        let found =
            joined.peer.frame(kind, |frame| frame["in_reply_to"] == format!("req-{kind}"))?;
        ensure!(found["kind"] == answer, "{found}");
    }

    joined.peer.tell(&json!({"do": "drop"}))?;
    joined.peer.event("close")?;
    joined.await_host("offline")?;
    register(&mut joined)?;
    joined.peer.say(&event("job.started", &started))?;
    joined.peer.say(&event(
        "job.finished",
        &json!({"job_id": job, "status": "failed",
        "finished_at": "2026-11-21T10:02:00Z"}),
    ))?;
    let next = joined.run()?;
    let run = joined.peer.frame("the next command", ordered("command.run", &next))?;
    ensure!(joined.stage.fleet.operator.job(&job)?["status"] == "succeeded");
    joined.peer.say(&event(
        "job.started",
        &json!({"job_id": next, "kind": "backup", "tag": GROUP,
        "started_at": "2026-11-21T10:03:00Z"}),
    ))?;
    joined.await_status(&next, "running")?;
    joined.stage.fleet.operator.json(&["cancel", &next])?;
    joined.peer.frame("the cancel", ordered("command.cancel", &next))?;
    joined.peer.say(&event(
        "job.finished",
        &json!({"job_id": next, "status": "cancelled",
        "finished_at": "2026-11-21T10:04:00Z"}),
    ))?;
    joined.await_status(&next, "cancelled")?;

    // A command that the client declines is a job that failed, with its words.
    let last = joined.run()?;
    let declined = joined.peer.frame("the last command", ordered("command.run", &last))?;
    ensure!(declined["id"] != run["id"], "{declined}");
    joined.peer.say(&json!({"kind": "command.run.error", "in_reply_to": declined["id"],
        "payload": {"error": "no room"}}))?;
    let end = joined.await_status(&last, "failed")?;
    ensure!(end["error"]["message"] == "no room", "{end}");

    joined.peer.say(&json!({"kind": "deregister", "id": "req-bye", "payload":
        {"name": HOST, "session_id": "s1"}}))?;
    joined.peer.frame("the goodbye", |frame| frame["in_reply_to"] == "req-bye")?;
    joined.await_host("offline")?;
    Ok(())
}
