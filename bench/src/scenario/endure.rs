//! A whole fleet that stays: heartbeats for ten minutes, and commands all the while.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep_until};

use crate::{
    driver::Bench,
    measure::{Measurement, Rule},
    role::now_ns,
    seed::{self, Size},
    stage::Stage,
    summary::quantile,
};

const STAY: Duration = Duration::from_secs(600);
const COMMANDS: usize = 2_000;
/// A command that takes longer counts as failed.
const ACCEPT_MAX: Duration = Duration::from_secs(60);
const CONNECT_MAX: Duration = Duration::from_secs(180);

/// What came of the commands.
#[derive(Default)]
struct Commands {
    /// Milliseconds from the order until the agent had it.
    arrived: Vec<f64>,
    failed: Vec<String>,
}

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    // The largest fleet there is room for: a smaller one that stays says nothing.
    let Some(agents) = bench.agent_steps().into_iter().max() else { return Ok(()) };
    let size = Size { hosts: agents, ..Size::default() };
    let mut stage = Stage::new(&bench.programs, size).await?;
    let connecting = stage.connect(CONNECT_MAX).await?;
    stage.settle().await?;
    let began_with = stage.standing().await?.failures.values().sum::<u64>();
    let before = stage.server.account()?;
    let commands = bench.pick(COMMANDS, 10);
    let stay = bench.pick(STAY, Duration::from_secs(2));
    let came = order(&mut stage, commands, stay).await;
    let after = stage.server.account()?;
    let standing = stage.standing().await?;
    let lost = standing.failures.values().sum::<u64>() - began_with;
    let away = agents as u64 - standing.connected;
    for failed in &came.failed {
        bench.remark(format!("endure: {failed}"));
    }
    let step = ("agents", agents);
    let figure = |metric: &str, unit, value: f64| {
        Measurement::new("endure", metric.to_owned(), unit, step, vec![value])
    };
    let minutes = stay.as_secs_f64() / 60.0;
    let share = after.since(&before).cpu_seconds / stay.as_secs_f64() * 100.0;
    let none = Rule::ValueAtMost(0.0);
    bench.figure(figure("all connected", "s", connecting));
    bench.figure(figure("stayed", "min", minutes));
    bench.figure(figure("links lost", "count", (lost + away) as f64).goal("G1", none));
    bench.figure(figure("server time", "% of a core", share));
    bench.figure(figure("server memory at the end", "MiB", after.rss_kib / 1024.0));
    report(bench, step, &came);
    let remarks = stage.remarks("endure").await?;
    bench.remarks(remarks);
    Ok(())
}

/// Spreads the commands evenly over the time, each to another host.
async fn order(stage: &mut Stage, commands: usize, stay: Duration) -> Commands {
    let (began, mut came) = (Instant::now(), Commands::default());
    for number in 0..commands {
        sleep_until(began + stay.mul_f64(number as f64 / commands as f64)).await;
        match command(stage, number).await {
            Ok(millis) => came.arrived.push(millis),
            Err(error) => came.failed.push(format!("command {number}: {error:#}")),
        }
    }
    sleep_until(began + stay).await;
    came
}

async fn command(stage: &mut Stage, number: usize) -> Result<f64> {
    let index = number.wrapping_mul(7919) % stage.size.hosts;
    let begin = now_ns();
    let job = stage.server.operator.run(&seed::host_name(index), seed::GROUP).await?;
    let accepted = stage.fleet_of(index)?.accepted(ACCEPT_MAX).await?;
    ensure!(accepted.job == job, "job {} was accepted instead of {job}", accepted.job);
    Ok(accepted.arrived_ns.saturating_sub(begin) as f64 / 1e6)
}

fn report(bench: &mut Bench, step: (&'static str, usize), came: &Commands) {
    let figure = |metric: &str, unit, value: f64| {
        Measurement::new("endure", metric.to_owned(), unit, step, vec![value])
    };
    let none = Rule::ValueAtMost(0.0);
    bench.figure(figure("commands taken", "count", came.arrived.len() as f64));
    bench.figure(figure("commands failed", "count", came.failed.len() as f64).goal("G1", none));
    if !came.arrived.is_empty() {
        bench.figure(figure("command at the agent p50", "ms", quantile(&came.arrived, 0.5)));
        bench.figure(figure("command at the agent p99", "ms", quantile(&came.arrived, 0.99)));
    }
}
