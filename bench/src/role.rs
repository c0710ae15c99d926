//! The other processes of a run, and how the driver talks to them: a line of JSON each way.
//!
//! A role ends when its standard input does, so none outlives the driver.

pub(crate) mod fleet;
pub(crate) mod floor;
pub(crate) mod peers;

use std::future::Future;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, stdin, stdout};
use tokio::sync::mpsc;

/// What the driver asks for. Every order gets one answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Connect all at once.
    Connect,
    /// Say how it stands.
    Status,
    /// Every job of every light agent tells its progress so often, for so long.
    Progress { period_seconds: f64, seconds: f64 },
    /// Every light agent appends so many durable records and delivers them.
    Records { each: usize },
    /// Peers send, or a floor publishes, so many messages a second in all, for so long.
    Pace { per_second: f64, seconds: f64 },
    /// So many round trips, each of one peer after the other.
    Echo { rounds: usize },
}

/// What a role says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub(crate) enum Word {
    /// The floor listens, or the role is set up.
    Ready { port: u16 },
    /// The order is carried out.
    Done { count: u64, seconds: f64 },
    /// How it stands.
    Status(Standing),
    /// Round trips, in microseconds.
    Echoes { micros: Vec<f64> },
    /// A command has reached an agent and its answer the server. Comes unasked.
    Accepted { job: String, arrived_ns: u64, accepted_ns: u64 },
}

/// How a fleet or the peers stand.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Connected now.
    pub(crate) connected: u64,
    /// Sessions or dials that failed, by code.
    pub(crate) failures: std::collections::BTreeMap<String, u64>,
    /// Messages received.
    pub(crate) received: u64,
    /// Bytes received.
    pub(crate) received_bytes: u64,
}

/// The way to the driver.
#[derive(Debug, Clone)]
pub(crate) struct Voice(mpsc::UnboundedSender<Word>);

impl Voice {
    pub(crate) fn say(&self, word: Word) {
        // The driver may be gone; then this process ends as well.
        let _ = self.0.send(word);
    }
}

/// Carries out orders, one after the other, until the driver is gone.
pub(crate) async fn serve<F, Fut>(ready: Word, begin: impl FnOnce(Voice) -> F) -> Result<()>
where
    F: FnMut(Order) -> Fut,
    Fut: Future<Output = Result<Word>>,
{
    let (voice, mut words) = mpsc::unbounded_channel();
    let voice = Voice(voice);
    let mut carry_out = begin(voice.clone());
    let speaking = tokio::spawn(async move {
        let mut out = stdout();
        while let Some(word) = words.recv().await {
            let line = serde_json::to_string(&word).context("a word without JSON")?;
            out.write_all(format!("{line}\n").as_bytes()).await?;
            out.flush().await?;
        }
        anyhow::Ok(())
    });
    voice.say(ready);
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await.context("the driver cannot be heard")? {
        let order = serde_json::from_str(&line).context("an order that is none")?;
        voice.say(carry_out(order).await?);
    }
    speaking.abort();
    Ok(())
}

/// Nanoseconds since 1970: the one clock that all processes of a machine share.
pub(crate) fn now_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
