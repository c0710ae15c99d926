//! The state file with its one writer.
//!
//! ```text
//! many callers ──steps──▶ writer thread ──one synced commit──▶ state.redb ──▶ all callers answered
//! ```
//!
//! A sync of the disk is what a write costs, so whatever waits when the writer is free shares one.
//! Readers see committed data only, which is also synced data.

use std::{
    error::Error,
    fmt,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use holdfast_link::{StoreError, crash};
use redb::{
    ReadTransaction, ReadableDatabase, StorageBackend, WriteTransaction, backends::FileBackend,
};
use tokio::sync::{mpsc, oneshot};

use super::table;
use crate::seal::KeyError;

/// The database's page cache. An agent's file is a few hundred KiB; redb's own default is 1 GiB.
const CACHE_SIZE: usize = 1024 * 1024;

/// Steps that may wait for the writer. A caller beyond it waits too, which bounds the memory.
const WAITING_MAX: usize = 1024;

/// Steps that share one commit at most, so that the first of them does not wait for ever.
const BATCH_MAX: usize = 256;

/// Why the state file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file's content is not what this program wrote.
    #[error("the agent's state in {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database found.
        source: redb::Error,
    },
    /// The file could not be created, read or written.
    #[error("the agent's state in {} cannot be opened", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the database or the disk said.
        source: redb::Error,
    },
    /// The key that opens the secrets in it cannot be had.
    #[error(transparent)]
    Key(KeyError),
}

/// The open state file.
pub(super) struct Database {
    redb: Arc<redb::Database>,
    steps: Option<mpsc::Sender<Box<dyn Step>>>,
    writer: Option<JoinHandle<()>>,
}

impl Database {
    /// Opens the file at `path`, creating it when it is missing, and checks all of it.
    ///
    /// The check reads the whole file. It is small, and damage found now is told; damage found
    /// later would be a panic in mid-job.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        private_file(path)
            .map_err(redb::Error::from)
            .and_then(|file| Self::on(FileBackend::new(file)?))
            .map_err(|source| classify(path, source))
    }

    /// As [`Database::open`], on a disk of any kind.
    pub(super) fn on(disk: impl StorageBackend) -> Result<Self, redb::Error> {
        let redb = Arc::new(open_checked(disk)?);
        let (steps, waiting) = mpsc::channel(WAITING_MAX);
        let writer = spawn_writer(Arc::clone(&redb), waiting)?;
        Ok(Self { redb, steps: Some(steps), writer: Some(writer) })
    }

    /// Runs `change` in a transaction that may be shared with others, and waits until it is synced.
    ///
    /// `change` must fail only when the disk refused: its error undoes everyone's step.
    ///
    /// # Errors
    /// [`StoreError`] naming `phase`. Then nothing of `change` took effect.
    ///
    /// # Cancel safety
    /// Dropped early, the change still happens wholly or not at all; only its answer is lost.
    pub(super) async fn write<R, F>(&self, phase: &'static str, change: F) -> Result<R, StoreError>
    where
        R: Send + 'static,
        F: FnOnce(&WriteTransaction) -> Result<R, redb::Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let step = Change { phase, change: Some(change), result: None, reply };
        let gone = || StoreError::new(phase, WriterGone);
        let steps = self.steps.as_ref().ok_or_else(gone)?;
        steps.send(Box::new(step)).await.map_err(|_| gone())?;
        let outcome = answer.await.map_err(|_| gone())?;
        crash::point(phase, "after the commit");
        outcome.map_err(|error| StoreError::new(phase, Shared(error)))
    }

    /// As [`Database::write`], alone in its commit and on the calling thread; only while opening.
    pub(super) fn write_now(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let txn = self.redb.begin_write()?;
        change(&txn)?;
        txn.commit()?;
        Ok(())
    }

    /// Runs `look` over what is committed, away from the async threads.
    pub(super) async fn read<R, F>(&self, phase: &'static str, look: F) -> Result<R, StoreError>
    where
        R: Send + 'static,
        F: FnOnce(&ReadTransaction) -> Result<R, redb::Error> + Send + 'static,
    {
        let redb = Arc::clone(&self.redb);
        let task = tokio::task::spawn_blocking(move || look_at(&redb, look));
        task.await
            .map_err(|error| StoreError::new(phase, error))?
            .map_err(|error| StoreError::new(phase, error))
    }

    /// As [`Database::read`], on the calling thread; for the few rows that synchronous code needs.
    pub(super) fn read_now<R>(
        &self,
        phase: &'static str,
        look: impl FnOnce(&ReadTransaction) -> Result<R, redb::Error>,
    ) -> Result<R, StoreError> {
        look_at(&self.redb, look).map_err(|error| StoreError::new(phase, error))
    }
}

impl Drop for Database {
    /// Waits for the writer, so that the file is closed when this returns and can be opened again.
    fn drop(&mut self) {
        drop(self.steps.take());
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has told its callers already.
            let _ = writer.join();
        }
    }
}

/// Opens `path` for this user alone: the configuration in it carries credentials.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn open_checked(disk: impl StorageBackend) -> Result<redb::Database, redb::Error> {
    let redb = redb::Database::builder()
        .set_cache_size(CACHE_SIZE)
        .set_check_integrity_on_open(true)
        .create_with_backend(disk)?;
    let txn = redb.begin_write()?;
    table::create_all(&txn)?;
    txn.commit()?;
    Ok(redb)
}

/// Damage is set aside and told; anything else (no space, no permission) is the person's to mend.
fn classify(path: &Path, source: redb::Error) -> OpenError {
    let path = path.to_owned();
    let damaged = match &source {
        redb::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput
        ),
        redb::Error::Corrupted(_)
        | redb::Error::RepairAborted
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. } => true,
        _ => false,
    };
    if damaged { OpenError::Damaged { path, source } } else { OpenError::Unusable { path, source } }
}

fn look_at<R>(
    redb: &redb::Database,
    look: impl FnOnce(&ReadTransaction) -> Result<R, redb::Error>,
) -> Result<R, redb::Error> {
    look(&redb.begin_read()?)
}

fn spawn_writer(
    redb: Arc<redb::Database>,
    waiting: mpsc::Receiver<Box<dyn Step>>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("state-writer".to_owned())
        .spawn(move || run_writer(&redb, waiting))
}

fn run_writer(redb: &redb::Database, mut waiting: mpsc::Receiver<Box<dyn Step>>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(step) = waiting.try_recv()
        {
            batch.push(step);
        }
        let outcome = commit(redb, &mut batch).map_err(Arc::new);
        for step in batch {
            step.settle(&outcome);
        }
    }
}

fn commit(redb: &redb::Database, batch: &mut [Box<dyn Step>]) -> Result<(), redb::Error> {
    let txn = redb.begin_write()?;
    for step in batch {
        step.apply(&txn)?;
    }
    txn.commit()?;
    Ok(())
}

/// One caller's share of a commit.
trait Step: Send {
    /// Writes into the shared transaction.
    fn apply(&mut self, txn: &WriteTransaction) -> Result<(), redb::Error>;
    /// Tells the caller how the commit went.
    fn settle(self: Box<Self>, outcome: &Result<(), Arc<redb::Error>>);
}

struct Change<F, R> {
    phase: &'static str,
    change: Option<F>,
    result: Option<R>,
    reply: oneshot::Sender<Result<R, Arc<redb::Error>>>,
}

impl<F, R> Step for Change<F, R>
where
    R: Send,
    F: FnOnce(&WriteTransaction) -> Result<R, redb::Error> + Send,
{
    fn apply(&mut self, txn: &WriteTransaction) -> Result<(), redb::Error> {
        if let Some(change) = self.change.take() {
            self.result = Some(change(txn)?);
            crash::point(self.phase, "before the commit");
        }
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: &Result<(), Arc<redb::Error>>) {
        let answer = match (outcome, self.result) {
            (Ok(()), Some(result)) => Ok(result),
            (Err(error), _) => Err(Arc::clone(error)),
            (Ok(()), None) => return,
        };
        // A caller that has gone away does not want the answer; the change stands.
        let _ = self.reply.send(answer);
    }
}

/// The one error of a commit, handed to everyone who shared it.
#[derive(Debug)]
struct Shared(Arc<redb::Error>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Shared {}

/// The writer thread has ended: the program is stopping, or a step panicked.
#[derive(Debug, thiserror::Error)]
#[error("the state file is closed")]
struct WriterGone;
