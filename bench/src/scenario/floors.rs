//! Floors and their clients, and the disk's own pace.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    account::Account,
    child::Child,
    role::{Order, Word},
};

/// How long a floor's memory takes to come to rest.
const REST: Duration = Duration::from_millis(300);

/// A floor's server and its clients.
pub(super) struct Floor {
    pub(super) server: Child,
    pub(super) peers: Child,
    /// What the server had used before the first peer.
    pub(super) before: Account,
}

impl Floor {
    /// The floor of this kind, with `count` peers that have not connected yet.
    pub(super) async fn start(kind: &str, count: usize) -> Result<Self> {
        let server = Child::start(&["floor", kind]).await?;
        let url = format!("http://127.0.0.1:{}/", server.port);
        let count = count.to_string();
        let mut arguments = vec!["peers", "--url", &url, "--count", &count];
        if kind == "fan" {
            arguments.push("--listen");
        }
        let peers = Child::start(&arguments).await?;
        let before = server.account()?;
        Ok(Self { server, peers, before })
    }

    /// The same with all peers connected.
    pub(super) async fn connected(kind: &str, count: usize) -> Result<Self> {
        let mut floor = Self::start(kind, count).await?;
        floor.connect().await?;
        Ok(floor)
    }

    /// Connects all peers at once: seconds, and what it cost the server.
    pub(super) async fn connect(&mut self) -> Result<(f64, Account)> {
        let (_, seconds) = self.peers.done(&Order::Connect).await?;
        let standing = self.peers.standing().await?;
        if !standing.failures.is_empty() {
            bail!("peers of a floor failed: {:?}", standing.failures);
        }
        tokio::time::sleep(REST).await;
        Ok((seconds, self.server.account()?.since(&self.before)))
    }

    /// Round trips in microseconds.
    pub(super) async fn echo(&mut self, rounds: usize) -> Result<Vec<f64>> {
        match self.peers.ask(&Order::Echo { rounds }).await? {
            Word::Echoes { micros } => Ok(micros),
            other => bail!("instead of echoes, peers said {other:?}"),
        }
    }
}

/// A file that is appended to and synced: the least a durable store can do.
pub(super) struct SyncedFile {
    file: File,
}

/// The size of a typical record on disk.
const RECORD_BYTES: usize = 300;

impl SyncedFile {
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let file =
            File::create(folder.join("floor.log")).context("cannot make the floor's file")?;
        Ok(Self { file })
    }

    /// Appends `group` records with one sync; seconds it took.
    pub(super) fn append(&mut self, group: usize) -> Result<f64> {
        let bytes = vec![b'x'; RECORD_BYTES * group];
        let started = Instant::now();
        self.file.write_all(&bytes).context("the disk refuses")?;
        self.file.sync_data().context("the disk refuses")?;
        Ok(started.elapsed().as_secs_f64())
    }
}

/// A synced append of one record, in seconds, so many times.
pub(super) async fn sync_floor(rounds: usize) -> Result<Vec<f64>> {
    let folder = crate::driver::Bench::scratch()?;
    tokio::task::spawn_blocking(move || {
        let mut file = SyncedFile::new(folder.path())?;
        (0..rounds).map(|_| file.append(1)).collect()
    })
    .await
    .context("the floor's file panicked")?
}
