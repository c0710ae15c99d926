//! An agent without restic: the product's own state and link, and numbered records.
//!
//! What it appends it writes into a ledger beside its data, before and after: `i 5 9` says that it
//! is about to append the numbers 5 to 9, `d 5 9` that the state has taken them for good. A line is
//! one system call, so a killed process leaves a true ledger; the fate of the last batch may be
//! open. Numbers are never tried twice.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use holdfast_agent::{Directory, state::State};
use holdfast_link::{Client, ClientConfig, Credentials, CredentialsError, Host, Identity};
use holdfast_protocol::{
    Message, Payload,
    message::{
        config::{Applied, Secret},
        job::{Finished, Heartbeat, Status},
        link::Facts,
    },
};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Numbers begin here, far above the versions of a configuration, which travel by the same record.
pub(crate) const FIRST: i64 = 1_000_000;
/// How often a peer that may not go on looks whether it may.
const LOOK: Duration = Duration::from_millis(2);

/// What the peer is to do.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The data directory of an enrolled agent
    #[arg(long)]
    data: PathBuf,
    /// How many numbered records to append in all, over all lives
    #[arg(long, default_value_t = 0)]
    messages: i64,
    /// How many of them at most in one transaction
    #[arg(long, default_value_t = 20)]
    batch: i64,
    /// Never append more than the file beside the data allows at the time
    #[arg(long)]
    rationed: bool,
    /// Append them without ever dialling, and end
    #[arg(long)]
    offline: bool,
    /// The longest wait between two dials, in milliseconds
    #[arg(long, default_value_t = 200)]
    delay_max_ms: u64,
}

/// Runs the peer until SIGTERM.
///
/// # Errors
/// When its state or its ledger refuses.
pub fn run(options: &Options) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime for the peer")?
        .block_on(play(options))
}

async fn play(options: &Options) -> Result<()> {
    let directory = Directory::existing(&options.data);
    let _lock = directory.lock()?;
    let state = Arc::new(State::open(&directory.state_path())?);
    let ledger = Ledger::open(&options.data)?;
    if options.offline {
        return append_all(options, &state, ledger).await;
    }
    let stop = stop_on_sigterm()?;
    let client = client(options, &directory, &state).await?;
    let link = tokio::spawn({
        let (client, stop) = (client.clone(), stop.clone());
        async move { client.run(stop).await }
    });
    let work = async {
        tokio::try_join!(
            append_all(options, &state, ledger),
            finish_jobs(&state),
            wake(&state, &client),
        )
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        worked = work => return worked.map(drop),
    }
    link.await?.context("the link has ended")
}

async fn client(
    options: &Options,
    directory: &Directory,
    state: &Arc<State>,
) -> Result<Client<State>> {
    let enrolment = directory.enrolment()?;
    let mut config = ClientConfig::new(enrolment.server);
    config.path = enrolment.connect_path;
    config.delay_min = Duration::from_millis(20);
    config.delay_max = Duration::from_millis(options.delay_max_ms);
    config.stable_min = Duration::ZERO;
    let boot = state.begin_boot().await?;
    let identity = Identity { incarnation: state.incarnation(), boot };
    let token = Token(directory.clone());
    Ok(Client::new(config, identity, Arc::clone(state), token, Machine)?)
}

/// Appends what is missing of the numbers.
async fn append_all(options: &Options, state: &State, mut ledger: Ledger) -> Result<()> {
    let end = FIRST + options.messages;
    let mut batch = 0;
    while ledger.next < end {
        let allowed = if options.rationed { end.min(ration(&options.data)) } else { end };
        if ledger.next >= allowed {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        // Batches of every size, without dice: the ledger says which.
        batch = batch % options.batch.max(1) + 1;
        let numbers = ledger.next..allowed.min(ledger.next + batch);
        ledger.intend(numbers.start, numbers.end - 1)?;
        state.append(numbers.clone().map(record).collect()).await?;
        ledger.done(numbers.start, numbers.end - 1)?;
        ledger.next = numbers.end;
    }
    if options.offline {
        return Ok(());
    }
    std::future::pending().await
}

/// The number before which a rationed peer stops.
fn ration(data: &Path) -> i64 {
    let text = std::fs::read_to_string(data.with_extension("ration")).unwrap_or_default();
    text.trim().parse().unwrap_or(FIRST)
}

/// Lets a rationed peer append so many records in all.
pub(crate) fn allow(data: &Path, messages: i64) -> Result<()> {
    // Replaced as a whole: half a number would be another number.
    let fresh = data.with_extension("ration.new");
    std::fs::write(&fresh, (FIRST + messages).to_string())
        .and_then(|()| std::fs::rename(&fresh, data.with_extension("ration")))
        .context("cannot write the ration")
}

fn record(number: i64) -> Message {
    Message::ConfigApplied(Applied { version: number, applied_at: Timestamp::now() })
}

/// Ends every job as soon as it has come.
async fn finish_jobs(state: &State) -> Result<()> {
    loop {
        for job in state.active_jobs().await? {
            let finished = Finished {
                job_id: job.job_id(),
                status: Status::Succeeded,
                exit_code: Some(0),
                finished_at: Timestamp::now(),
                snapshot_id: None,
                stats: None,
                error: None,
                next_try: None,
            };
            state.finish(finished).await?;
        }
        state.jobs_changed().await;
    }
}

async fn wake(state: &State, client: &Client<State>) -> Result<()> {
    loop {
        state.outbox_grew().await;
        client.wake();
    }
}

fn stop_on_sigterm() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminated = signal(SignalKind::terminate()).context("no signals here")?;
    let asked = stop.clone();
    tokio::spawn(async move {
        terminated.recv().await;
        asked.cancel();
    });
    Ok(stop)
}

/// What was to be appended, and what was.
pub(crate) struct Ledger {
    file: File,
    next: i64,
}

impl Ledger {
    fn open(data: &Path) -> Result<Self> {
        let path = path(data);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let next = Entries::read(data)?.intended.last().map_or(FIRST, |(_, last)| last + 1);
        Ok(Self { file, next })
    }

    fn intend(&mut self, first: i64, last: i64) -> Result<()> {
        self.line('i', first, last)
    }

    fn done(&mut self, first: i64, last: i64) -> Result<()> {
        self.line('d', first, last)
    }

    fn line(&mut self, what: char, first: i64, last: i64) -> Result<()> {
        let line = format!("{what} {first} {last}\n");
        self.file.write_all(line.as_bytes()).context("cannot write the ledger")
    }
}

/// A ledger as it can be read: batches, by their first and last number.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) intended: Vec<(i64, i64)>,
    pub(crate) done: Vec<(i64, i64)>,
}

impl Entries {
    pub(crate) fn read(data: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path(data)).unwrap_or_default();
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut entries = Self::default();
        for line in text.lines() {
            let wrong = || anyhow!("the ledger says {line:?}");
            let mut words = line.split(' ');
            let what = words.next().ok_or_else(wrong)?;
            let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong);
            let batch = (number()?, number()?);
            match what {
                "i" => entries.intended.push(batch),
                "d" => entries.done.push(batch),
                _ => return Err(wrong()),
            }
        }
        Ok(entries)
    }
}

/// The last number that was tried and the last that was kept, from the end of the ledger; those
/// before the first when there is none.
pub(crate) fn newest(data: &Path) -> Result<(i64, i64)> {
    const TAIL_BYTES: usize = 256;
    let bytes = std::fs::read(path(data)).unwrap_or_default();
    let tail = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
    // The first line of the tail may be half a line, and the last one half written.
    let whole = tail.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = if bytes.len() > TAIL_BYTES {
        whole.split_once('\n').map_or("", |(_, l)| l)
    } else {
        whole
    };
    let entries = Entries::parse(lines)?;
    let last = |batches: &[(i64, i64)]| batches.last().map_or(FIRST - 1, |(_, last)| *last);
    Ok((last(&entries.intended), last(&entries.done)))
}

/// The ledger of the peer whose data is in `data`.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.with_extension("ledger")
}

struct Token(Directory);

impl Credentials for Token {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        self.0.token().map_err(CredentialsError::new)
    }
}

struct Machine;

impl Host for Machine {
    fn facts(&self) -> Facts {
        Facts { agent_version: "peer".to_owned(), ..Facts::default() }
    }

    fn capabilities(&self) -> Vec<String> {
        vec!["backup".to_owned()]
    }

    fn heartbeat(&self) -> Payload {
        Payload::of(&Heartbeat {
            sent_at: Timestamp::now(),
            active_job_ids: Vec::new(),
            queue_depth: 0,
            config_version: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_life_goes_on_after_the_last_intent() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("peer");
        let mut ledger = Ledger::open(&data).unwrap();
        assert_eq!(ledger.next, FIRST);
        ledger.intend(FIRST, FIRST + 4).unwrap();
        ledger.done(FIRST, FIRST + 4).unwrap();
        ledger.intend(FIRST + 5, FIRST + 7).unwrap();
        assert_eq!(Ledger::open(&data).unwrap().next, FIRST + 8);
        let entries = Entries::read(&data).unwrap();
        assert_eq!((entries.intended.len(), entries.done.len()), (2, 1));
        assert!(Entries::parse("x 1 2").is_err());
    }
}
