//! What it costs the server to be told something.

use std::time::Duration;

use anyhow::Result;

use super::floors::{Floor, SyncedFile};
use crate::{
    account::Account,
    driver::Bench,
    measure::{Measurement, Rule},
    role::Order,
    seed::Size,
    stage::Stage,
    summary::quantile,
};

/// Running jobs of each agent that tell their progress.
const JOBS: usize = 4;
/// A job tells its progress at most once a second; a little slower, and none is replaced.
const PERIOD: f64 = 1.1;
/// No more messages than this per second; the driver and the server share the cores.
const PER_SECOND_MAX: f64 = 8000.0;
/// Agents that deliver records.
const DELIVERING: usize = 200;
/// What a group commit holds when many agents deliver.
const GROUP: usize = 100;

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    bench.remark(
        "saturated progress (P5, P6) cannot be had through the real encoder, which sends at most \
         one a second per job",
    );
    for agents in bench.agent_steps() {
        progress(bench, agents).await?;
    }
    records(bench).await
}

async fn progress(bench: &mut Bench, agents: usize) -> Result<()> {
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    let seconds = bench.pick(4.5, 1.5);
    let size = Size { hosts: agents, running: JOBS, ..Size::default() };
    let period_seconds = PERIOD.max((agents * JOBS) as f64 / PER_SECOND_MAX);
    let mut stage = Stage::connected(&bench.programs, size).await?;
    for _ in 0..bench.rounds(agents).min(3) {
        let before = stage.server.account()?;
        let (count, _) = stage.all(&Order::Progress { period_seconds, seconds }).await?;
        let used = worked_off(&stage, &before).await?;
        ours.push(used.cpu_seconds * 1e6 / count.max(1) as f64);
        let per_second = count as f64 / seconds;
        floors.push(paced_floor(agents, per_second, seconds).await?);
    }
    bench.figure(
        Measurement::new("ingest", "server time per progress", "us", ("agents", agents), ours)
            .against("bare tokio-tungstenite", floors)
            .goal("P4", Rule::RatioAtMost(1.6)),
    );
    let remarks = stage.remarks("ingest").await?;
    bench.remarks(remarks);
    Ok(())
}

async fn worked_off(stage: &Stage, before: &Account) -> Result<Account> {
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(stage.server.account()?.since(before))
}

async fn paced_floor(peers: usize, per_second: f64, seconds: f64) -> Result<f64> {
    let mut floor = Floor::connected("tungstenite", peers).await?;
    let before = floor.server.account()?;
    let (count, _) = floor.peers.done(&Order::Pace { per_second, seconds }).await?;
    let used = floor.server.account()?.since(&before);
    Ok(used.cpu_seconds * 1e6 / count.max(1) as f64)
}

async fn records(bench: &mut Bench) -> Result<()> {
    let agents = bench.pick(DELIVERING, 8);
    let each = bench.pick(250, 10);
    let (mut per_second, mut micros, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    let size = Size { hosts: agents, running: 1, ..Size::default() };
    let mut stage = Stage::connected(&bench.programs, size).await?;
    for _ in 0..bench.rounds(agents) {
        floors.push(group_floor(bench.pick(100, 5)).await?);
        let before = stage.server.account()?;
        let (count, seconds) = stage.all(&Order::Records { each }).await?;
        let used = worked_off(&stage, &before).await?;
        per_second.push(count as f64 / seconds);
        micros.push(used.cpu_seconds * 1e6 / count as f64);
    }
    let step = ("agents", agents);
    bench.figure(
        Measurement::new("ingest", "durable records end to end", "1/s", step, per_second.clone())
            .goal("G3", Rule::ValueAtLeast(5000.0)),
    );
    bench.figure(
        Measurement::new("ingest", "records against the disk", "1/s", step, per_second)
            .against("append of 100 and fdatasync", floors)
            .goal("P18", Rule::RatioAtLeast(0.6)),
    );
    bench.figure(Measurement::new("ingest", "server time per record", "us", step, micros));
    let remarks = stage.remarks("ingest records").await?;
    bench.remarks(remarks);
    Ok(())
}

/// Records per second of a synced file at this group size.
async fn group_floor(rounds: usize) -> Result<f64> {
    tokio::task::spawn_blocking(move || {
        let folder = Bench::scratch()?;
        let mut file = SyncedFile::new(folder.path())?;
        let times: Result<Vec<f64>> = (0..rounds).map(|_| file.append(GROUP)).collect();
        Ok(GROUP as f64 / quantile(&times?, 0.5))
    })
    .await?
}
