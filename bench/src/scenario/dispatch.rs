//! An operator's command, until the agent's answer is stored on the server.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::floors::{Floor, sync_floor};
use crate::{
    driver::Bench,
    measure::{Measurement, Rule},
    role::{Order, now_ns},
    seed::{self, Size},
    stage::Stage,
    summary::quantile,
};

/// A command that takes longer is lost for this measure.
const ACCEPT_MAX: Duration = Duration::from_secs(60);
/// How fast progress comes meanwhile, at most; the goal asks for this many.
const LOAD_PER_SECOND: f64 = 5000.0;
/// A job tells its progress at most once a second; a little slower, and none is replaced.
const PERIOD_MIN: f64 = 1.1;

/// Milliseconds from the order.
#[derive(Default)]
struct Latencies {
    /// The operator has the job's id.
    answered: Vec<f64>,
    /// The agent has the command.
    arrived: Vec<f64>,
    /// The server writes the agent's answer; the commit that holds it follows.
    accepted: Vec<f64>,
    /// The agent knows that its answer is stored. Acknowledgements wait for company.
    acknowledged: Vec<f64>,
}

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    for agents in bench.agent_steps() {
        let mut floor = Floor::connected("axum", agents).await?;
        let echoes = floor.echo(bench.pick(2_000, 50)).await?;
        drop(floor);
        let syncs = sync_floor(bench.pick(300, 20)).await?;
        // Two hops, and two commits: the order, and its acceptance.
        let floor = |share| quantile(&echoes, share) / 1e3 + 2.0 * quantile(&syncs, share) * 1e3;
        let floor = [floor(0.5), floor(0.99)];
        let size = Size { hosts: agents, running: 1, ..Size::default() };
        let mut stage = Stage::connected(&bench.programs, size).await?;
        let commands = bench.pick(250, 10);
        let calm = dispatch(&mut stage, commands).await?;
        report(bench, "at rest", agents, &calm, floor);
        let loaded = under_load(&mut stage, commands).await?;
        report(bench, "under load", agents, &loaded, floor);
        let remarks = stage.remarks("dispatch").await?;
        bench.remarks(remarks);
    }
    Ok(())
}

/// One after the other, each to another host.
async fn dispatch(stage: &mut Stage, commands: usize) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    for number in 0..commands {
        let index = number.wrapping_mul(7919) % stage.size.hosts;
        let host = seed::host_name(index);
        let begin = now_ns();
        let job = stage.server.operator.run(&host, seed::GROUP).await?;
        let answered = now_ns();
        let accepted = stage.fleet_of(index)?.accepted(ACCEPT_MAX).await?;
        ensure!(accepted.job == job, "job {} was accepted instead of {job}", accepted.job);
        let millis = |at: u64| at.saturating_sub(begin) as f64 / 1e6;
        latencies.answered.push(millis(answered));
        latencies.arrived.push(millis(accepted.arrived_ns));
        latencies.acknowledged.push(millis(accepted.accepted_ns));
        let stored = seed::accepted_at(&stage.server.data(), &job).await?;
        latencies.accepted.push((stored * 1e6 - begin as f64).max(0.0) / 1e6);
    }
    Ok(latencies)
}

/// The same while all running jobs tell their progress.
async fn under_load(stage: &mut Stage, commands: usize) -> Result<Latencies> {
    let period_seconds = (stage.size.hosts as f64 / LOAD_PER_SECOND).max(PERIOD_MIN);
    let order = Order::Progress { period_seconds, seconds: 8.0_f64.min(commands as f64 / 5.0) };
    stage.begin(&order).await?;
    let latencies = dispatch(stage, commands).await?;
    stage.finish().await?;
    Ok(latencies)
}

fn report(bench: &mut Bench, when: &str, agents: usize, latencies: &Latencies, floor: [f64; 2]) {
    let step = ("agents", agents);
    let name = "echo and two synced appends";
    let figure = |what: &str, values: &[f64], share: f64| {
        let metric = format!("{what}, {when}");
        Measurement::new("dispatch", metric, "ms", step, vec![quantile(values, share)])
    };
    bench.figure(figure("command answered p50", &latencies.answered, 0.5));
    bench.figure(figure("command at the agent p50", &latencies.arrived, 0.5));
    bench.figure(figure("acceptance acknowledged p50", &latencies.acknowledged, 0.5));
    bench.figure(
        figure("command accepted p50", &latencies.accepted, 0.5)
            .against(name, vec![floor[0]])
            .goal("P16", Rule::RatioAtMost(2.0)),
    );
    bench.figure(
        figure("command accepted p99", &latencies.accepted, 0.99)
            .against(name, vec![floor[1]])
            .goal("P16", Rule::RatioAtMost(3.0)),
    );
    let goals = [(0.5, "p50", 50.0), (0.99, "p99", 500.0)];
    for (share, word, bound) in goals {
        let figure = figure(&format!("G4 {word}"), &latencies.accepted, share);
        bench.figure(figure.goal("G4", Rule::ValueAtMost(bound)));
    }
}
