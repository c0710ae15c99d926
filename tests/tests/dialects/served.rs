//! The socket of our own agent, through a whole job.

use std::{net::TcpListener, time::Duration};

use anyhow::{Result, ensure};
use holdfast_e2e::{
    peer::Peer,
    slow_restic::SlowRestic,
    stage::{BACKUP_LIMIT, GROUP, HOST, Stage},
    wait,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

/// How things stand.
fn is_asked(frame: &Value) -> bool {
    frame["type"] == "agent:status"
}

/// Our agent with its socket served, and a peer that has not connected.
pub(crate) fn serving() -> Result<(Stage, SlowRestic, Peer, String)> {
    let (mut stage, slow) = Stage::with_slow_host(60)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let listen = format!("127.0.0.1:{port}");
    let agent = &mut stage.fleet.agents[0];
    agent.stop()?;
    agent.set_arguments(&["--local-socket", &listen]);
    agent.start()?;
    stage.fleet.operator.await_host(HOST, "online", LIMIT)?;
    Ok((stage, slow, Peer::start("local")?, format!("ws://{listen}/ws")))
}

/// Connects, and waits to be told how things stand.
pub(crate) fn look(peer: &mut Peer, url: &str) -> Result<Value> {
    peer.tell(&json!({"do": "connect", "url": url}))?;
    peer.event("open")?;
    peer.frame("how things stand", is_asked)
}

#[test]
fn a_caller_of_our_agents_socket_sees_a_whole_job_and_steers_it() -> Result<()> {
    let (mut stage, slow, mut peer, url) = serving()?;
    let operator = stage.fleet.operator.clone();
    let idle = look(&mut peer, &url)?;
    ensure!(idle["payload"]["status"] == "idle", "{idle}");
    let job = operator.run(HOST, GROUP)?;
    let of_job = |kind: &'static str| {
        let job = job.clone();
        move |frame: &Value| frame["type"] == kind && frame["payload"]["job_id"] == job.as_str()
    };
    peer.frame("the start", of_job("backup:started"))?;
    let moves = |frame: &Value| {
        of_job("backup:progress")(frame) && frame["payload"]["percent"].as_f64() > Some(0.0)
    };
    let moved = peer.frame("progress", moves)?;
    ensure!(moved["payload"]["percent"].as_f64() <= Some(100.0), "{moved}");
    for (word, status) in [("pause", "paused"), ("resume", "running")] {
        // A wish that comes twice is one.
        for _ in 0..2 {
            let kind = format!("backup:{word}");
            peer.say(&json!({"type": kind, "payload": {"job_id": job}}))?;
        }
        let seen = || Ok((operator.job(&job)?["status"] == status).then_some(()));
        wait::until(status, BACKUP_LIMIT, seen)?;
    }
    // Who comes back is told of the job that runs.
    peer.tell(&json!({"do": "drop"}))?;
    peer.event("close")?;
    peer.forget();
    let stands = look(&mut peer, &url)?;
    ensure!(stands["payload"]["active_jobs"] == 1, "{stands}");
    peer.frame("the job that runs", moves)?;
    peer.say(&json!({"type": "backup:cancel", "payload": {"job_id": job}}))?;
    let end = peer.frame("its end", of_job("backup:failed"))?;
    ensure!(end["payload"]["error"] == "cancelled on request", "{end}");
    let end = operator.await_end(&job, BACKUP_LIMIT)?;
    ensure!(end["status"] == "cancelled", "{end}");
    drop(slow);
    stage.fleet.stop()
}
