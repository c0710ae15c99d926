//! All agents connect at once: with token check, session and configuration, as after an outage.

use std::time::Duration;

use anyhow::Result;

use super::floors::Floor;
use crate::{
    driver::Bench,
    measure::{Measurement, Rule},
    seed::Size,
    stage::Stage,
};

/// A fleet that is not back by then is not coming.
const STORM_MAX: Duration = Duration::from_secs(180);

#[derive(Default)]
struct Runs {
    seconds: Vec<f64>,
    micros: Vec<f64>,
    failures: Vec<f64>,
    floor_seconds: Vec<f64>,
    floor_micros: Vec<f64>,
}

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    bench.remark("storm over TLS: not measured, the server itself speaks plaintext behind a proxy");
    for agents in bench.agent_steps() {
        let mut runs = Runs::default();
        for _ in 0..bench.rounds(agents) {
            floor(agents, &mut runs).await?;
            holdfast(bench, agents, &mut runs).await?;
        }
        report(bench, agents, runs);
    }
    Ok(())
}

async fn floor(agents: usize, runs: &mut Runs) -> Result<()> {
    let mut floor = Floor::start("axum", agents).await?;
    let (seconds, used) = floor.connect().await?;
    runs.floor_seconds.push(seconds);
    runs.floor_micros.push(used.cpu_seconds * 1e6 / agents as f64);
    Ok(())
}

async fn holdfast(bench: &mut Bench, agents: usize, runs: &mut Runs) -> Result<()> {
    let size = Size { hosts: agents, ..Size::default() };
    let mut stage = Stage::new(&bench.programs, size).await?;
    let before = stage.server.account()?;
    let seconds = stage.connect(STORM_MAX).await?;
    stage.settle().await?;
    let used = stage.server.account()?.since(&before);
    runs.seconds.push(seconds);
    runs.micros.push(used.cpu_seconds * 1e6 / agents as f64);
    let standing = stage.standing().await?;
    runs.failures.push(standing.failures.values().sum::<u64>() as f64);
    let remarks = stage.remarks("storm").await?;
    bench.remarks(remarks);
    Ok(())
}

fn report(bench: &mut Bench, agents: usize, runs: Runs) {
    let step = ("agents", agents);
    bench.figure(
        Measurement::new("storm", "all connected", "s", step, runs.seconds)
            .against("bare axum", runs.floor_seconds)
            .goal("P12", Rule::RatioAtMost(2.5)),
    );
    bench.figure(
        Measurement::new("storm", "server time per agent", "us", step, runs.micros)
            .against("bare axum", runs.floor_micros)
            .goal("P12", Rule::RatioAtMost(2.5)),
    );
    bench.figure(
        Measurement::new("storm", "failed attempts", "count", step, runs.failures)
            .goal("P12", Rule::ValueAtMost(0.0)),
    );
}
