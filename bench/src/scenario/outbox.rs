//! Durable appends: the agent's outbox and the server's inbox against the disk's own pace.
//!
//! The disk is not the same from one second to the next, so the floor and the stores take turns,
//! commit by commit, and only the ratio of their sums means anything.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, anyhow};
use holdfast_agent::state::State;
use holdfast_link::{Record, Store as _};
use holdfast_protocol::{
    Message,
    message::{
        job::{StateChange, Status},
        link::{Facts, Hello},
    },
};
use holdfast_server::store::{HostStore, Store};
use jiff::Timestamp;

use super::floors::SyncedFile;
use crate::{
    driver::Bench,
    measure::{Measurement, Rule},
    seed::{self, Size},
    summary::{mean, quantile},
};

/// Seconds of each commit.
#[derive(Default)]
struct Commits {
    floor: Vec<f64>,
    agent: Vec<f64>,
    server: Vec<f64>,
}

struct Stores {
    floor: SyncedFile,
    agent: Arc<State>,
    server: Store,
    host: HostStore,
    /// The position of the last record the server has.
    seq: u64,
    /// Goes last.
    _folder: tempfile::TempDir,
}

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let mut stores = Stores::open().await?;
    for group in bench.pick(vec![1, 10, 100, 1_000], vec![1, 10]) {
        let mut rounds = Vec::new();
        for _ in 0..bench.rounds(group) {
            let turns = bench.pick(400 / group.clamp(1, 8), 5);
            rounds.push(stores.take_turns(group, turns).await?);
        }
        report(bench, group, &rounds);
    }
    stores.server.close().await;
    Ok(())
}

fn report(bench: &mut Bench, group: usize, rounds: &[Commits]) {
    let step = ("per commit", group);
    let each = |of: fn(&Commits) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
    let floor = each(|it| mean(&it.floor) * 1e6);
    let agent = each(|it| mean(&it.agent) * 1e6);
    let server = each(|it| mean(&it.server) * 1e6);
    let rule = if group == 1 { Rule::RatioAtMost(1.5) } else { Rule::RatioAtMost(1.0 / 0.6) };
    let goal = if group == 1 { "P17" } else { "P18" };
    let name = "append and fdatasync";
    bench.figure(
        Measurement::new("outbox", "agent's commit, mean", "us", step, agent)
            .against(name, floor.clone())
            .goal(goal, rule),
    );
    bench.figure(
        Measurement::new("outbox", "server's commit, mean", "us", step, server)
            .against(name, floor)
            .goal(goal, rule),
    );
    let tail = each(|it| quantile(&it.server, 0.99) * 1e6);
    let floor_tail = each(|it| quantile(&it.floor, 0.99) * 1e6);
    bench.figure(
        Measurement::new("outbox", "server's commit, p99", "us", step, tail)
            .against(name, floor_tail)
            .goal("P19", Rule::RatioAtMost(5.0)),
    );
}

impl Stores {
    async fn open() -> Result<Self> {
        let folder = Bench::scratch()?;
        let data = folder.path().join("server");
        seed::seed(&data, Size { hosts: 1, running: 1, history: 0 }).await?;
        let server = Store::open(&data).await.context("cannot open the server's store")?;
        let opened = server.open_session(seed::host_id(0), &hello()).await?;
        let epoch = opened.map_err(|refusal| anyhow!("{refusal}"))?.epoch;
        let host = HostStore::new(server.clone(), seed::host_id(0), epoch);
        let agent = State::open(&folder.path().join("state.redb"))?;
        let floor = SyncedFile::new(folder.path())?;
        Ok(Self { floor, agent: Arc::new(agent), server, host, seq: 0, _folder: folder })
    }

    async fn take_turns(&mut self, group: usize, turns: usize) -> Result<Commits> {
        let mut commits = Commits::default();
        for _ in 0..turns {
            commits.floor.push(self.floor.append(group)?);
            commits.agent.push(self.agent_commit(group).await?);
            commits.server.push(self.server_commit(group).await?);
            // What is delivered is forgotten, so that the outbox does not only grow.
            let next = self.agent.positions().await?.next;
            self.agent.forget(next - 1).await?;
        }
        Ok(commits)
    }

    async fn agent_commit(&self, group: usize) -> Result<f64> {
        let messages = (0..group).map(change).collect();
        let started = Instant::now();
        self.agent.append(messages).await?;
        Ok(started.elapsed().as_secs_f64())
    }

    async fn server_commit(&mut self, group: usize) -> Result<f64> {
        let records: Vec<Record> = (0..group).map(|number| self.record(number)).collect();
        let started = Instant::now();
        self.host.apply(records).await?;
        Ok(started.elapsed().as_secs_f64())
    }

    fn record(&mut self, number: usize) -> Record {
        self.seq += 1;
        let message = change(number);
        Record {
            seq: self.seq,
            ts: Timestamp::now(),
            kind: message.kind().to_owned(),
            payload: message.encode(),
        }
    }
}

fn change(number: usize) -> Message {
    let status = if number.is_multiple_of(2) { Status::Paused } else { Status::Running };
    let job_id = seed::running_job(0, 0);
    Message::JobState(StateChange { job_id, status, changed_at: Timestamp::now() })
}

fn hello() -> Hello {
    Hello {
        protocol_version: holdfast_protocol::PROTOCOL_VERSION,
        incarnation: seed::incarnation(0),
        boot: 1,
        instance: None,
        epoch: 0,
        received: 0,
        oldest: 1,
        capabilities: Vec::new(),
        facts: Facts::default(),
    }
}
