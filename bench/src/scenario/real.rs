//! The real agent, enrolled at a server under test.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use holdfast_e2e::{fleet::Agent, process::Process};
use serde_json::json;
use tokio::time::sleep;

use crate::{account::Account, driver::Bench, stage::Server};

/// The host it runs on.
pub(super) const HOST: &str = "real";
/// How long it may take to come online.
const ONLINE_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// A running agent. Dropped, it is killed; the server's folder has its data.
pub(super) struct RealAgent {
    process: Process,
}

impl RealAgent {
    /// Adds the host, enrols, starts and waits until it is online.
    pub(super) async fn start(bench: &Bench, server: &Server, restic: &Path) -> Result<Self> {
        let host = server.operator.post("/api/v1/hosts", &json!({ "name": HOST })).await?;
        let token = host["enrolment_token"].as_str().context("no enrolment token")?;
        let folder = server.folder();
        let agent = Agent::new(bench.agent_program(), restic, &folder, HOST)?;
        agent.enrol(&server.url, token)?;
        let mut command = Command::new(bench.agent_program());
        command.args(["run", "--data"]).arg(agent.data()).arg("--restic").arg(restic);
        let log = folder.join("agent.log");
        let mut process = Process::spawn("the agent", &mut command, &log)?;
        await_online(server, &mut process).await?;
        Ok(Self { process })
    }

    /// What it has used so far.
    pub(super) fn account(&self) -> Result<Account> {
        Account::of(self.process.id())
    }

    /// Ends it the polite way.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.process.stop(ONLINE_MAX)
    }
}

async fn await_online(server: &Server, process: &mut Process) -> Result<()> {
    let path = format!("/api/v1/hosts/{HOST}");
    let started = std::time::Instant::now();
    while started.elapsed() < ONLINE_MAX {
        process.check_running()?;
        if server.operator.fetch(&path).await?.0["state"] == "online" {
            return Ok(());
        }
        sleep(LOOK).await;
    }
    bail!("the agent is not online after {} s", ONLINE_MAX.as_secs())
}
