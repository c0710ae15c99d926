//! What the dashboard asks for, over a long history and over a large fleet.

use anyhow::{Context, Result};

use super::floors::Floor;
use crate::{
    child::Child,
    driver::Bench,
    measure::{Measurement, Rule},
    operator::Operator,
    role::Order,
    seed::Size,
    stage::Server,
};

/// Hosts that share the history.
const HOSTS: usize = 100;
/// The dashboard's script is larger than this; what is smaller stands in for it.
const SCRIPT_BYTES_MIN: usize = 4096;
/// How deep a person pages.
const DEPTH: usize = 20;

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    bench.remark(
        "ui: the tree of a snapshot (1,000,000 entries) is not measured: the server asks the agent \
         for it, and a light agent has no restic",
    );
    for history in bench.pick(vec![10_000, 100_000, 1_000_000], vec![200]) {
        pages(bench, history).await?;
    }
    for hosts in bench.agent_steps() {
        fleet(bench, hosts).await?;
    }
    Ok(())
}

/// Pages of jobs while the history grows.
async fn pages(bench: &mut Bench, history: usize) -> Result<()> {
    let size = Size { hosts: HOSTS, running: 0, history };
    let server = Server::start(&bench.programs, size).await?;
    let rounds = bench.pick(20, 2);
    let floor = page_floor(rounds).await?;
    let step = ("jobs", history);
    let figure = |metric: &str, values| Measurement::new("ui", metric, "ms", step, values);
    let operator = &server.operator;
    let first = times(operator, "/api/v1/jobs?limit=50", rounds).await?;
    let of_host = times(operator, "/api/v1/jobs?limit=50&host=host-00007", rounds).await?;
    let failed = times(operator, "/api/v1/jobs?limit=50&status=failed", rounds).await?;
    let rare = times(operator, "/api/v1/jobs?limit=50&status=missed", rounds).await?;
    let deep = deep(operator).await?;
    let overview = times(operator, "/api/v1/overview", rounds.min(5)).await?;
    bench.figure(
        figure("first page of jobs", first)
            .against("axum, a fixed page", floor)
            .goal("4.1", Rule::ValueAtMost(50.0)),
    );
    bench.figure(figure("page of one host's jobs", of_host));
    bench.figure(figure("page of failed jobs", failed));
    bench.figure(figure("page of a status nobody has", rare));
    bench.figure(figure("twentieth page", vec![deep]));
    bench.figure(figure("overview", overview));
    let start = server.start_seconds * 1e3;
    bench.figure(figure("server start over the history", vec![start]));
    Ok(())
}

/// What is read as a whole, while the fleet grows.
async fn fleet(bench: &mut Bench, hosts: usize) -> Result<()> {
    let size = Size { hosts, running: 0, history: hosts * 10 };
    let server = Server::start(&bench.programs, size).await?;
    let rounds = bench.pick(5, 1);
    let step = ("hosts", hosts);
    let figure = |metric: &str, unit, values| Measurement::new("ui", metric, unit, step, values);
    let list = times(&server.operator, "/api/v1/hosts", rounds).await?;
    let found = "/api/v1/hosts?search=host&sort=last_backup";
    let found = times(&server.operator, found, rounds).await?;
    let overview = times(&server.operator, "/api/v1/overview", rounds).await?;
    let metrics = times(&server.operator, "/metrics", rounds).await?;
    let (seconds, bytes) = snapshot(&server).await?;
    bench.figure(figure("first page of hosts", "ms", list));
    bench.figure(figure("page of hosts found by a word", "ms", found));
    bench.figure(figure("overview of the fleet", "ms", overview));
    bench.figure(figure("metrics", "ms", metrics));
    bench.figure(
        figure("live snapshot at the browser", "ms", vec![seconds * 1e3])
            .goal("4.1", Rule::ValueAtMost(1000.0)),
    );
    bench.figure(figure("size of the live snapshot", "KiB", vec![bytes / 1024.0]));
    script(bench, &server, step).await
}

/// All script that the page asks for at once, as it travels.
async fn script(bench: &mut Bench, server: &Server, step: (&'static str, usize)) -> Result<()> {
    let (_, page) = server.operator.compressed("/").await?;
    let mut bytes = 0;
    for name in page.split('"').filter(|word| word.ends_with(".js")) {
        let path = format!("/{}", name.trim_start_matches(['.', '/']));
        bytes += server.operator.compressed(&path).await?.0;
    }
    if bytes < SCRIPT_BYTES_MIN {
        bench.remark("ui: built without the dashboard, so its script was not measured");
        return Ok(());
    }
    let kilobytes = bytes as f64 / 1e3;
    bench.figure(
        Measurement::new("ui", "script of the page, compressed", "kB", step, vec![kilobytes])
            .goal("4.1", Rule::ValueAtMost(250.0)),
    );
    Ok(())
}

async fn times(operator: &Operator, path: &str, rounds: usize) -> Result<Vec<f64>> {
    // The first one opens the connection and fills the caches.
    operator.fetch(path).await?;
    let mut millis = Vec::new();
    for _ in 0..rounds {
        millis.push(operator.fetch(path).await?.1);
    }
    Ok(millis)
}

/// Follows the cursor; the time of the last page, in milliseconds.
async fn deep(operator: &Operator) -> Result<f64> {
    let (mut page, mut millis) = operator.fetch("/api/v1/jobs?limit=50").await?;
    for _ in 1..DEPTH {
        let Some(next) = page["next"].as_str() else { break };
        let path = format!("/api/v1/jobs?limit=50&before={next}");
        (page, millis) = operator.fetch(&path).await?;
    }
    Ok(millis)
}

/// Seconds until a browser has the whole fleet, and how many bytes that is.
async fn snapshot(server: &Server) -> Result<(f64, f64)> {
    let url = format!("{}/api/v1/live", server.url);
    let arguments = ["peers", "--url", &url, "--count", "1", "--listen"];
    let mut peer = Child::start_with(&arguments, Some(&server.token)).await?;
    let (_, seconds) = peer.done(&Order::Connect).await?;
    let standing = peer.standing().await?;
    anyhow::ensure!(standing.received > 0, "no snapshot came: {:?}", standing.failures);
    Ok((seconds, standing.received_bytes as f64))
}

async fn page_floor(rounds: usize) -> Result<Vec<f64>> {
    let floor = Floor::start("axum", 1).await?;
    let base = format!("http://127.0.0.1:{}", floor.server.port);
    let operator = Operator::new(&base, "none")?;
    times(&operator, "/page", rounds).await.context("the floor serves no page")
}
