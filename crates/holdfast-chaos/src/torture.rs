//! SIGKILL of agent and server in turn during a stream of records, over real sockets and real
//! disks.
//!
//! The server is `holdfast server`. The agent is [`crate::peer`]: the product's own state and link,
//! without restic, because restic would be the slowest part by far. Records go up (numbers),
//! commands go down (orders) and their answers and ends go up again. A witness inside the server's
//! database writes down every effect in the transaction that has it, so what was applied twice, not
//! at all or in the wrong order is there to be seen.

mod verdict;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::{data::Numbers, process::Process, wait};

use crate::{
    database::Database,
    peer::{self, Entries},
    stand::{Bench, GROUP, Stand},
};
pub use verdict::Verdict;

/// The host under torture.
const HOST: &str = "victim";
/// How long nothing may move. The longest wait between two dials is two seconds here.
const STUCK_LIMIT: Duration = Duration::from_secs(120);
/// A share of the stream takes about so long from the first append to the last ack.
const MOMENT_MAX_MICROS: u64 = 60_000;

/// How much, and how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Numbered records from the agent
    #[arg(long, default_value_t = 100_000)]
    pub messages: i64,
    /// Kills of agent or server, mostly in turn, now and then both
    #[arg(long, default_value_t = 1_000)]
    pub kills: u32,
    /// Decides who is killed when
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Say nothing until the end
    #[arg(long)]
    pub quiet: bool,
}

/// Runs it and judges.
///
/// # Errors When a program does not do its part, nothing moves for two minutes, or a record was
/// lost, applied twice or out of order.
pub fn run(bench: &Bench, options: &Options) -> Result<Verdict> {
    let mut torture = Torture::start(bench, options)?;
    for kill in 1..=options.kills {
        torture.order();
        torture.let_flow(kill)?;
        torture.strike(kill)?;
        if !options.quiet && kill.is_multiple_of(50) {
            torture.tell(kill)?;
        }
    }
    torture.finish()
}

struct Torture<'a> {
    options: &'a Options,
    stand: Stand,
    data: PathBuf,
    peer: Process,
    database: Database,
    host: String,
    numbers: Numbers,
    orders: u64,
    killed: Killed,
    started: Instant,
}

/// Who was killed how often.
#[derive(Debug, Clone, Copy, Default)]
pub struct Killed {
    /// The agent alone.
    pub agent: u32,
    /// The server alone.
    pub server: u32,
    /// Both at once.
    pub both: u32,
}

impl<'a> Torture<'a> {
    fn start(bench: &Bench, options: &'a Options) -> Result<Self> {
        let stand = Stand::new(bench)?;
        let data = stand.enrol_peer(HOST, stand.fleet.server.url())?;
        let mut database = stand.database()?;
        database.witness()?;
        let host = database.host_id(HOST)?;
        let peer = start_peer(&stand, &data, options)?;
        Ok(Self {
            options,
            stand,
            data,
            peer,
            database,
            host,
            numbers: Numbers::new(options.seed),
            orders: 0,
            killed: Killed::default(),
            started: Instant::now(),
        })
    }

    /// Lets the stream go on by its share, and picks a moment in its midst: some records are only
    /// appended by then, some on the wire, some applied, some acknowledged.
    fn let_flow(&mut self, kill: u32) -> Result<()> {
        let share = self.options.messages / i64::from(self.options.kills + 1);
        let before = share * i64::from(kill - 1);
        self.await_share(before)?;
        peer::allow(&self.data, before + share)?;
        let moment = Duration::from_micros(self.numbers.next_number() % MOMENT_MAX_MICROS);
        wait::pause(moment);
        Ok(())
    }

    /// Waits until every number before `allowed` was tried, and the server has those that were
    /// kept. What a kill has cut off is not waited for: nobody knows whether it will come.
    fn await_share(&mut self, allowed: i64) -> Result<()> {
        let (mut best, mut moved) = (0, Instant::now());
        loop {
            let (tried, kept) = peer::newest(&self.data)?;
            let applied = "SELECT config_applied FROM hosts WHERE id = $1";
            let applied = self.database.number(applied, &self.host)?;
            let arrived = kept < peer::FIRST || applied >= kept;
            if tried >= peer::FIRST + allowed - 1 && arrived {
                return Ok(());
            }
            if applied > best {
                (best, moved) = (applied, Instant::now());
            }
            self.peer.check_running()?;
            self.stand.fleet.server.check_running()?;
            ensure!(
                moved.elapsed() < STUCK_LIMIT,
                "stuck: {applied} is the last number applied, {kept} the last one kept, {tried} the \
                 last one tried; the peer says:\n{}",
                self.peer.last_words(),
            );
            wait::pause(Duration::from_millis(2));
        }
    }

    /// Orders a job or two; a server that is being killed may have taken an order or not.
    fn order(&mut self) {
        for _ in 0..1 + self.numbers.next_number() % 2 {
            if self.stand.api.order(HOST, GROUP).is_ok() {
                self.orders += 1;
            }
        }
    }

    fn strike(&mut self, kill: u32) -> Result<()> {
        let both = self.numbers.next_number().is_multiple_of(10);
        let agent = both || kill.is_multiple_of(2);
        let server = both || !agent;
        if server {
            self.stand.fleet.server.kill()?;
        }
        if agent {
            self.peer.kill()?;
        }
        let count = match (agent, server) {
            (true, true) => &mut self.killed.both,
            (true, false) => &mut self.killed.agent,
            _ => &mut self.killed.server,
        };
        *count += 1;
        if server {
            self.stand.fleet.server.restart()?;
        }
        if agent {
            self.peer = start_peer(&self.stand, &self.data, self.options)?;
        }
        Ok(())
    }

    fn tell(&mut self, kill: u32) -> Result<()> {
        let received = self.database.received(&self.host)?;
        println!(
            "{kill} kills, {received} records applied, {} s",
            self.started.elapsed().as_secs()
        );
        Ok(())
    }

    /// Lets the stream end in peace and judges what is there.
    fn finish(mut self) -> Result<Verdict> {
        let limit = Duration::from_secs(300);
        peer::allow(&self.data, self.options.messages)?;
        let last = peer::FIRST + self.options.messages - 1;
        wait::until("the last record to be taken on", limit, || {
            let done = Entries::read(&self.data)?.intended.last().copied();
            Ok(done.filter(|(_, number)| *number >= last))
        })?;
        wait::until("the last job to end", limit, || {
            let open = "SELECT COUNT(*) FROM jobs WHERE host_id = $1 AND ended_at IS NULL";
            Ok((self.database.number(open, &self.host)? == 0).then_some(()))
        })?;
        self.peer.stop(Duration::from_secs(30)).context("the peer did not end well")?;
        let positions = crate::stand::positions(&self.data.join("state.redb"))?;
        verdict::judge(&verdict::Evidence {
            ledger: &Entries::read(&self.data)?,
            positions,
            received: self.database.received(&self.host)?,
            commands: self
                .database
                .number("SELECT next_seq - 1 FROM hosts WHERE id = $1", &self.host)?,
            config: &self.database.witnessed(&self.host, "config")?,
            schedule: self.database.witnessed(&self.host, "schedule")?.len(),
            accepted: self.database.witnessed(&self.host, "accepted")?.len(),
            ended: self.database.witnessed(&self.host, "ended")?.len(),
            steps: &self.database.witnessed(&self.host, "received")?,
            orders: self.orders,
            killed: self.killed,
            took: self.started.elapsed(),
        })
    }
}

fn start_peer(stand: &Stand, data: &Path, options: &Options) -> Result<Process> {
    stand.peer(data, &["--rationed", "--messages", &options.messages.to_string()])
}
