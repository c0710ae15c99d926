//! Browsers on the live socket.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::floors::Floor;
use crate::{
    child::Child,
    driver::Bench,
    measure::{Measurement, Rule},
    role::Order,
    seed::Size,
    stage::Stage,
};

/// A job tells its progress at most once a second; a little slower, and none is replaced.
const PERIOD: f64 = 1.1;

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    bench.remark("stalled browsers (P11) are not measured yet");
    let agents = bench.pick(200, 10);
    let size = Size { hosts: agents, running: 1, ..Size::default() };
    let mut stage = Stage::connected(&bench.programs, size).await?;
    for browsers in bench.pick(vec![2, 20, 200], vec![3]) {
        let (mut ours, mut floors, mut logical) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.rounds(browsers).min(3) {
            let run = deliver(bench, &mut stage, browsers).await?;
            ours.push(run.micros);
            logical.push(run.micros_per_update);
            floors.push(floor(browsers, run.per_second, run.seconds).await?);
        }
        let step = ("browsers", browsers);
        bench.figure(
            Measurement::new("fan-out", "server time per delivered update", "us", step, ours)
                .against("shared bytes over axum", floors)
                .goal("P9", Rule::RatioAtMost(1.25)),
        );
        bench.figure(Measurement::new(
            "fan-out",
            "server time per update to all",
            "us",
            step,
            logical,
        ));
    }
    let remarks = stage.remarks("fan-out").await?;
    bench.remarks(remarks);
    Ok(())
}

struct Delivery {
    /// Server time per delivered message, without what it costs with nobody watching.
    micros: f64,
    micros_per_update: f64,
    /// Updates to each browser.
    per_second: f64,
    seconds: f64,
}

async fn deliver(bench: &Bench, stage: &mut Stage, browsers: usize) -> Result<Delivery> {
    let seconds = bench.pick(4.5, 1.5);
    let unwatched = watch(stage, seconds).await?;
    let url = format!("{}/api/v1/live", stage.server.url);
    let count = browsers.to_string();
    let arguments = ["peers", "--url", &url, "--count", &count, "--listen"];
    let mut peers = Child::start_with(&arguments, Some(&stage.server.token)).await?;
    let (joined, _) = peers.done(&Order::Connect).await?;
    anyhow::ensure!(joined == browsers as u64, "{joined} of {browsers} browsers were let in");
    let before = peers.standing().await?.received;
    let started = Instant::now();
    let watched = watch(stage, seconds).await?;
    let delivered = peers.standing().await?.received.saturating_sub(before).max(1) as f64;
    let micros = (watched - unwatched).max(0.0) * 1e6 / delivered;
    Ok(Delivery {
        micros,
        micros_per_update: micros * browsers as f64,
        per_second: delivered / browsers as f64 / started.elapsed().as_secs_f64(),
        seconds,
    })
}

/// Server time while all jobs tell their progress.
async fn watch(stage: &mut Stage, seconds: f64) -> Result<f64> {
    let before = stage.server.account()?;
    stage.all(&Order::Progress { period_seconds: PERIOD, seconds }).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(stage.server.account()?.since(&before).cpu_seconds)
}

async fn floor(browsers: usize, per_second: f64, seconds: f64) -> Result<f64> {
    let mut floor = Floor::connected("fan", browsers).await?;
    let before = floor.server.account()?;
    let heard = floor.peers.standing().await?.received;
    floor.server.done(&Order::Pace { per_second, seconds }).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let used = floor.server.account()?.since(&before).cpu_seconds;
    let delivered = floor.peers.standing().await?.received.saturating_sub(heard).max(1);
    Ok(used * 1e6 / delivered as f64)
}
