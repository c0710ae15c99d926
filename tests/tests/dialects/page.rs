//! The agent's own socket, used by a page in a real browser.

use std::{net::TcpListener, path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use holdfast_e2e::{
    process::{self, Process},
    stage::{BACKUP_LIMIT, GROUP, HOST, Stage},
    wait,
};

const LIMIT: Duration = Duration::from_secs(120);

/// Two ports that were free a moment ago.
fn ports() -> Result<(u16, u16)> {
    let (one, two) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?.port(), two.local_addr()?.port()))
}

fn await_word(page: &mut Process, word: &str) -> Result<()> {
    wait::until(&format!("the page to say {word:?}"), LIMIT, || {
        let said = page.log().lines().any(|line| line == word);
        if !said {
            page.check_running()?;
        }
        Ok(said.then_some(()))
    })
}

#[test]
fn browser_sees_a_backup_move_at_the_agents_own_socket_and_pauses_it() -> Result<()> {
    let (mut stage, slow) = Stage::with_slow_host(60)?;
    let (page_port, agent_port) = ports()?;
    let agent = &mut stage.fleet.agents[0];
    agent.stop()?;
    let listen = format!("127.0.0.1:{agent_port}");
    let origin = format!("http://127.0.0.1:{page_port}");
    agent.set_arguments(&["--local-socket", &listen, "--local-origin", &origin]);
    agent.start()?;
    stage.fleet.operator.await_host(HOST, "online", LIMIT)?;
    let job = stage.fleet.operator.run(HOST, GROUP)?;
    stage.fleet.operator.await_progress(&job, BACKUP_LIMIT)?;

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/page.mjs");
    let mut node = Command::new("node");
    node.arg(script).args([page_port.to_string(), agent_port.to_string()]);
    node.env("TMPDIR", stage.path());
    let mut page = Process::spawn("the page", &mut node, &stage.path().join("page.log"))?;
    for word in ["stranger refused", "moving", "pressed", "paused"] {
        await_word(&mut page, word)?;
    }
    let paused = || Ok((stage.fleet.operator.job(&job)?["status"] == "paused").then_some(()));
    wait::until("the job to be paused", LIMIT, paused)?;
    let stands = process::naming(stage.path()).into_iter().any(process::is_stopped);
    ensure!(stands, "restic goes on although the page paused the job");
    stage.fleet.operator.json(&["resume", &job])?;
    await_word(&mut page, "moving again")?;
    ensure!(page.wait(LIMIT)?.success(), "{}", page.last_words());
    stage.fleet.operator.json(&["cancel", &job])?;
    drop(slow);
    stage.fleet.stop()
}
