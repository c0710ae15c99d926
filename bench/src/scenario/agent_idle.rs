//! The real agent with nothing to do.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use tokio::time::sleep;

use super::{floors::Floor, real::RealAgent};
use crate::{
    driver::Bench,
    measure::{Measurement, Rule},
    role::Order,
    seed::Size,
    stage::Server,
};

/// Seconds between two heartbeats of the floor's client, as between those of the agent.
const HEARTBEAT: f64 = 20.0;

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let window = bench.pick(Duration::from_secs(60), Duration::from_secs(2));
    let mut floor = Floor::connected("tungstenite", 1).await?;
    // An idle agent starts no restic; without one it runs all the same.
    let restic = bench.restic.clone().unwrap_or_else(|| PathBuf::from("/usr/bin/true"));
    let server = Server::start(&bench.programs, Size::default()).await?;
    let mut agent = RealAgent::start(bench, &server, &restic).await?;
    // The first seconds are for starting, not for idling.
    sleep(bench.pick(Duration::from_secs(10), Duration::from_secs(1))).await;
    let (before, before_floor) = (agent.account()?, floor.peers.account()?);
    let seconds = window.as_secs_f64();
    floor.peers.tell(&Order::Pace { per_second: 1.0 / HEARTBEAT, seconds }).await?;
    sleep(window).await;
    let (after, after_floor) = (agent.account()?, floor.peers.account()?);
    let (used, used_floor) = (after.since(&before), after_floor.since(&before_floor));
    floor.peers.answer().await?;
    agent.stop()?;
    let name = "bare tungstenite client";
    let one = |metric: &str, unit, value| {
        Measurement::new("agent-idle", metric, unit, ("agent", 1), vec![value])
    };
    bench.figure(
        one("memory", "MiB", after.rss_kib / 1024.0)
            .against(name, vec![after_floor.rss_kib / 1024.0])
            .goal("G22", Rule::ValueAtMost(25.0)),
    );
    bench.figure(
        one("time", "% of a core", used.cpu_seconds / seconds * 100.0)
            .against(name, vec![used_floor.cpu_seconds / seconds * 100.0])
            .goal("G22", Rule::ValueAtMost(0.1)),
    );
    bench.figure(one("wake-ups", "1/s", used.waits / seconds).goal("G22", Rule::ValueAtMost(2.0)));
    let size = std::fs::metadata(bench.agent_program())?.len() as f64 / 1e6;
    bench.figure(one("program on disk", "MB", size).goal("4.1", Rule::ValueAtMost(10.0)));
    Ok(())
}
