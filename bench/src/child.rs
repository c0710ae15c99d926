//! A role as the driver sees it.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child as Process, ChildStdin, ChildStdout, Command},
    sync::mpsc,
    time::timeout,
};

use crate::{
    account::Account,
    role::{Order, Standing, Word},
};

/// A role that says nothing for this long is stuck.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where a role looks for a token.
pub(crate) const TOKEN: &str = "HOLDFAST_BENCH_TOKEN";

/// A running role. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    input: ChildStdin,
    answers: mpsc::UnboundedReceiver<Word>,
    accepted: mpsc::UnboundedReceiver<Accepted>,
    /// Where it listens, for a floor.
    pub(crate) port: u16,
}

/// A command that has arrived and was answered; times by the shared clock.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) job: String,
    pub(crate) arrived_ns: u64,
    pub(crate) accepted_ns: u64,
}

impl Child {
    /// Starts the role that `arguments` name and waits until it is set up.
    pub(crate) async fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_with(arguments, None).await
    }

    /// The same with a token, which travels in the environment.
    pub(crate) async fn start_with(arguments: &[&str], token: Option<&str>) -> Result<Self> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut process = Command::new(program)
            .args(arguments)
            .envs(token.map(|token| (TOKEN, token)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            // A terminal's Ctrl-C is the driver's alone; it ends the others in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start the role {}", arguments[0]))?;
        let input = process.stdin.take().context("no way in")?;
        let output = process.stdout.take().context("no way out")?;
        let (answered, answers) = mpsc::unbounded_channel();
        let (accepting, accepted) = mpsc::unbounded_channel();
        tokio::spawn(listen(output, answered, accepting));
        let mut child = Self { process, input, answers, accepted, port: 0 };
        match child.answer().await? {
            Word::Ready { port } => child.port = port,
            other => bail!("a role began with {other:?}"),
        }
        Ok(child)
    }

    /// Gives an order and waits for the answer.
    pub(crate) async fn ask(&mut self, order: &Order) -> Result<Word> {
        self.tell(order).await?;
        self.answer().await
    }

    /// Gives an order; [`Child::answer`] has its answer later.
    pub(crate) async fn tell(&mut self, order: &Order) -> Result<()> {
        let line = serde_json::to_string(order).context("an order without JSON")?;
        self.input.write_all(format!("{line}\n").as_bytes()).await.context("a role is gone")
    }

    /// The answer to the oldest unanswered order.
    pub(crate) async fn answer(&mut self) -> Result<Word> {
        let word = timeout(PATIENCE, self.answers.recv()).await.context("a role is stuck")?;
        word.context("a role has ended; its own words stand above")
    }

    /// Carries out `order`: how many and how many seconds.
    pub(crate) async fn done(&mut self, order: &Order) -> Result<(u64, f64)> {
        let answer = self.ask(order).await?;
        counted(&answer)
    }

    /// How it stands.
    pub(crate) async fn standing(&mut self) -> Result<Standing> {
        match self.ask(&Order::Status).await? {
            Word::Status(standing) => Ok(standing),
            other => bail!("asked how it stands, a role said {other:?}"),
        }
    }

    /// The next command that was accepted.
    pub(crate) async fn accepted(&mut self, limit: Duration) -> Result<Accepted> {
        let next = timeout(limit, self.accepted.recv()).await;
        next.context("a command was not accepted in time")?.context("the fleet has ended")
    }

    /// What it has used so far.
    pub(crate) fn account(&self) -> Result<Account> {
        Account::of(self.process.id().context("a role has ended")?)
    }
}

/// Takes an answer for what it should be.
pub(crate) fn counted(answer: &Word) -> Result<(u64, f64)> {
    match answer {
        Word::Done { count, seconds } => Ok((*count, *seconds)),
        other => bail!("instead of being done, a role said {other:?}"),
    }
}

async fn listen(
    output: ChildStdout,
    answered: mpsc::UnboundedSender<Word>,
    accepting: mpsc::UnboundedSender<Accepted>,
) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // Whoever waits for it sees a closed channel when the child ends; nobody waits is fine.
        let _ = match serde_json::from_str(&line) {
            Ok(Word::Accepted { job, arrived_ns, accepted_ns }) => {
                accepting.send(Accepted { job, arrived_ns, accepted_ns }).is_ok()
            }
            Ok(word) => answered.send(word).is_ok(),
            Err(_) => false,
        };
    }
}
