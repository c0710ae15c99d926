//! A backup under the agent against the same backup by plain restic.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use holdfast_e2e::data;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::real::{HOST, RealAgent};
use crate::{
    driver::Bench,
    measure::{Measurement, Rule},
    seed::Size,
    stage::Server,
};

const PASSWORD: &str = "bench";
/// A backup of this size that takes longer is stuck.
const BACKUP_MAX: Duration = Duration::from_secs(300);
/// Asking costs time on the same cores, so it is done rarely; the end itself says when it was.
const LOOK: Duration = Duration::from_millis(200);

/// What one backup took.
struct Backup {
    wall: f64,
    cpu: f64,
}

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    bench.remark("overhead with a server that never reads (P23) is not measured yet");
    let Some(restic) = bench.restic.clone() else {
        bench.remark("overhead: not measured, no restic here");
        return Ok(());
    };
    let server = Server::start(&bench.programs, Size::default()).await?;
    let folder = server.folder();
    let source = folder.join("source");
    data::small_files(&source.join("small"), bench.pick(20_000, 50), 1)?;
    let bytes = bench.pick(512 << 20, 4 << 20);
    data::random_file(&source.join("big.dat"), bytes, 2)?;
    let mut agent = RealAgent::start(bench, &server, &restic).await?;
    let (mut wall, mut plain_wall, mut share) = (vec![], vec![], vec![]);
    // The first pair warms the page cache and is dropped.
    let pairs = bench.rounds(1);
    for pair in bench.pick(0, 1)..=pairs {
        let mut plain = None;
        let mut ours = None;
        for turn in 0..2 {
            if (pair + turn) % 2 == 0 {
                let repository = init(&restic, &folder, &format!("plain-{pair}"))?;
                plain = Some(plain_backup(&restic, &repository, &source, &folder)?);
            } else {
                let repository = init(&restic, &folder, &format!("agent-{pair}"))?;
                ours = Some(agent_backup(&server, &agent, &repository, &source, pair).await?);
            }
        }
        let (plain, (ours, agent_cpu)) = plain.zip(ours).context("half a pair")?;
        if pair > 0 {
            share.push(agent_cpu / ours.cpu.max(0.01) * 100.0);
            wall.push(ours.wall);
            plain_wall.push(plain.wall);
        }
    }
    agent.stop()?;
    report(bench, wall, plain_wall, share);
    Ok(())
}

fn report(bench: &mut Bench, wall: Vec<f64>, plain: Vec<f64>, share: Vec<f64>) {
    let step = ("files", bench.pick(20_001, 51));
    bench.figure(
        Measurement::new("overhead", "supervised backup", "s", step, wall)
            .against("plain restic", plain)
            .goal("P20", Rule::RatioAtMost(1.02)),
    );
    bench.figure(
        Measurement::new("overhead", "agent's time", "% of restic's", step, share)
            .goal("P22", Rule::ValueAtMost(0.5)),
    );
}

fn init(restic: &Path, folder: &Path, name: &str) -> Result<PathBuf> {
    let repository = folder.join(format!("repository-{name}"));
    let status = plain(restic, &repository, folder).arg("init").status()?;
    ensure!(status.success(), "restic cannot make a repository");
    Ok(repository)
}

fn plain(restic: &Path, repository: &Path, folder: &Path) -> Command {
    let mut command = Command::new(restic);
    command
        .env("RESTIC_REPOSITORY", repository)
        .env("RESTIC_PASSWORD", PASSWORD)
        .env("RESTIC_CACHE_DIR", folder.join("plain-cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn plain_backup(restic: &Path, repository: &Path, source: &Path, folder: &Path) -> Result<Backup> {
    let before = children_cpu()?;
    let started = Instant::now();
    let mut command = plain(restic, repository, folder);
    let status = command.args(["backup", "--host", HOST, "--tag", "data"]).arg(source).status()?;
    let wall = started.elapsed().as_secs_f64();
    ensure!(status.success(), "plain restic failed: {status}");
    Ok(Backup { wall, cpu: children_cpu()? - before })
}

/// The time of all children that have ended.
fn children_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

async fn agent_backup(
    server: &Server,
    agent: &RealAgent,
    repository: &Path,
    source: &Path,
    pair: usize,
) -> Result<(Backup, f64)> {
    let group = format!("data-{pair}");
    let name = format!("vault-{pair}");
    let new = json!({ "name": name, "url": repository, "password": PASSWORD });
    server.operator.post("/api/v1/repositories", &new).await?;
    let new = json!({ "name": group, "repository": name, "includes": [source] });
    server.operator.post(&format!("/api/v1/hosts/{HOST}/groups"), &new).await?;
    let before = agent.account()?;
    let ordered = jiff::Timestamp::now();
    let job = server.operator.run(HOST, &group).await?;
    let ended = await_end(server, &job).await?;
    let used = agent.account()?.since(&before);
    let finished: jiff::Timestamp =
        ended["finished_at"].as_str().context("an end without a time")?.parse()?;
    let wall = finished.duration_since(ordered).as_secs_f64();
    Ok((Backup { wall, cpu: used.children_cpu_seconds }, used.cpu_seconds))
}

async fn await_end(server: &Server, job: &str) -> Result<Value> {
    let started = Instant::now();
    while started.elapsed() < BACKUP_MAX {
        sleep(LOOK).await;
        let (seen, _) = server.operator.fetch(&format!("/api/v1/jobs/{job}")).await?;
        match seen["status"].as_str() {
            Some("queued" | "running" | "paused") => {}
            Some("succeeded") => return Ok(seen),
            _ => bail!("the backup under the agent did not succeed: {seen}"),
        }
    }
    bail!("the backup under the agent takes more than {} s", BACKUP_MAX.as_secs())
}
