//! Connected agents that say nothing but that they live.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::floors::Floor;
use crate::{
    driver::Bench,
    measure::{Measurement, Rule},
    seed::Size,
    stage::Stage,
};

/// Long enough for a heartbeat of every agent.
const WINDOW: Duration = Duration::from_secs(23);
/// The first heartbeat of an agent tells something new, its clock; idle is who has told it.
const FIRST_HEARTBEATS: Duration = Duration::from_secs(23);
/// A window is long, and what it shows hardly moves from one run to the next.
const ROUNDS_MAX: usize = 1;
const SMOKE_WINDOW: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Runs {
    kib: Vec<f64>,
    total_mib: Vec<f64>,
    core_percent: Vec<f64>,
    written: Vec<f64>,
    floor_kib: Vec<f64>,
}

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    for agents in bench.agent_steps() {
        let mut runs = Runs::default();
        for _ in 0..bench.rounds(agents).min(ROUNDS_MAX) {
            let mut floor = Floor::start("tungstenite", agents).await?;
            let (_, used) = floor.connect().await?;
            runs.floor_kib.push(used.rss_kib / agents as f64);
            drop(floor);
            holdfast(bench, agents, &mut runs).await?;
        }
        report(bench, agents, runs);
    }
    Ok(())
}

async fn holdfast(bench: &mut Bench, agents: usize, runs: &mut Runs) -> Result<()> {
    let size = Size { hosts: agents, ..Size::default() };
    let mut stage = Stage::new(&bench.programs, size).await?;
    let alone = stage.server.account()?;
    stage.connect(Duration::from_secs(180)).await?;
    stage.settle().await?;
    sleep(bench.pick(FIRST_HEARTBEATS, SMOKE_WINDOW)).await;
    let window = bench.pick(WINDOW, SMOKE_WINDOW);
    let before = stage.server.account()?;
    sleep(window).await;
    let after = stage.server.account()?;
    let used = after.since(&before);
    runs.kib.push((after.rss_kib - alone.rss_kib) / agents as f64);
    runs.total_mib.push(after.rss_kib / 1024.0);
    runs.core_percent.push(used.cpu_seconds / window.as_secs_f64() * 100.0);
    runs.written.push(used.written_bytes / 1024.0);
    let remarks = stage.remarks("idle").await?;
    bench.remarks(remarks);
    Ok(())
}

fn report(bench: &mut Bench, agents: usize, runs: Runs) {
    let step = ("agents", agents);
    bench.figure(
        Measurement::new("idle", "memory per agent", "KiB", step, runs.kib)
            .against("bare tokio-tungstenite", runs.floor_kib)
            .goal("P1", Rule::RatioAtMost(1.5)),
    );
    bench.figure(
        Measurement::new("idle", "server memory", "MiB", step, runs.total_mib)
            .goal("G1", Rule::ValueAtMost(1536.0)),
    );
    bench.figure(
        Measurement::new("idle", "server time", "% of a core", step, runs.core_percent)
            .goal("P7", Rule::ValueAtMost(1.0)),
    );
    bench.figure(
        Measurement::new("idle", "written to disk in the window", "KiB", step, runs.written)
            .goal("P8", Rule::ValueAtMost(0.0)),
    );
}
