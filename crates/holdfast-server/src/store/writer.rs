//! One task writes what agents say: the records of many hosts share a commit.
//!
//! A commit waits for the disk, so records that arrive meanwhile form the next one. Nothing waits
//! for a timer: a lone record is committed at once, a flood fills the commits by itself.

use std::collections::{BTreeSet, VecDeque};

use holdfast_link::{Record, crash};
use holdfast_protocol::{HostId, message::log::Stream};
use jiff::Timestamp;
use sqlx::{Connection, Sqlite, SqlitePool, Transaction};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    apply::{self, ApplyError, Effects, Origin},
    background::Background,
    log,
    mark::Marks,
    row::int,
};
use crate::{bus::Bus, clock::Clock, metrics};

/// Where records and log lines go to be written.
pub(super) struct Writer {
    batches: mpsc::Sender<Batch>,
    logs: mpsc::Sender<LogBatch>,
    task: Background,
}

/// Why a batch of records was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchError {
    /// A newer session has the host, or the host was removed.
    #[error("a newer session has taken over")]
    Fenced,
    #[error("record {found} came where {expected} was due")]
    OutOfTurn { expected: i64, found: i64 },
    #[error("the database refused: {0}")]
    Database(String),
    #[error("the server is stopping")]
    Stopping,
}

struct Batch {
    host: HostId,
    epoch: u64,
    records: Vec<Record>,
    reply: oneshot::Sender<Result<(), BatchError>>,
}

pub(super) struct LogBatch {
    pub(super) host: HostId,
    pub(super) stream: Stream,
}

/// One commit holds at most about this many records.
const ROWS_MAX: usize = 256;
/// Waiting beyond these, hosts wait their turn; log lines are dropped, and the numbers show the
/// gap.
const BATCHES_WAITING: usize = 1024;
const LOGS_WAITING: usize = 256;
/// Log lines whose job is not known yet: their `job.started` may be a commit behind.
const LOGS_HELD: usize = 64;

impl Writer {
    pub(super) fn spawn(pool: SqlitePool, bus: Bus, clock: Clock) -> Self {
        let (batches, batches_in) = mpsc::channel(BATCHES_WAITING);
        let (logs, logs_in) = mpsc::channel(LOGS_WAITING);
        let held = VecDeque::new();
        let task = Task { pool, bus, clock, batches: batches_in, logs: logs_in, held };
        Self { batches, logs, task: Background::spawn(|stop| task.run(stop)) }
    }

    /// Puts the effects of `records` on disk, if `epoch` still is the host's.
    pub(super) async fn apply(
        &self,
        host: HostId,
        epoch: u64,
        records: Vec<Record>,
    ) -> Result<(), BatchError> {
        let (reply, answer) = oneshot::channel();
        let batch = Batch { host, epoch, records, reply };
        self.batches.send(batch).await.map_err(|_| BatchError::Stopping)?;
        answer.await.map_err(|_| BatchError::Stopping)?
    }

    /// Hands over log lines, or drops them when too many wait.
    pub(super) fn log(&self, host: HostId, stream: Stream) {
        let lines = stream.lines.len();
        if self.logs.try_send(LogBatch { host, stream }).is_err() {
            metrics::log_lines_dropped(lines);
        }
    }

    /// Writes what waits and ends the task.
    pub(super) async fn close(&self) {
        self.task.close().await;
    }
}

struct Task {
    pool: SqlitePool,
    bus: Bus,
    clock: Clock,
    batches: mpsc::Receiver<Batch>,
    logs: mpsc::Receiver<LogBatch>,
    held: VecDeque<LogBatch>,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            // Records before logs: a job's end must not wait for its chatter.
            tokio::select! {
                biased;
                Some(first) = self.batches.recv() => self.write_records(first).await,
                Some(first) = self.logs.recv() => self.write_logs(first).await,
                () = stop.cancelled() => break,
                else => break,
            }
        }
    }

    async fn write_records(&mut self, first: Batch) {
        let mut rows = first.records.len();
        let mut round = vec![first];
        while rows < ROWS_MAX {
            let Ok(batch) = self.batches.try_recv() else { break };
            rows += batch.records.len();
            round.push(batch);
        }
        match commit_records(&self.pool, &round, self.clock.now()).await {
            Ok((effects, verdicts)) => {
                effects.publish(&self.bus);
                metrics::records_received(rows);
                for (batch, verdict) in round.into_iter().zip(verdicts) {
                    let _ = batch.reply.send(verdict);
                }
                self.retry_held().await;
            }
            Err(error) => refuse_all(round, &error),
        }
    }

    async fn write_logs(&mut self, first: LogBatch) {
        let mut round = vec![first];
        while round.len() < ROWS_MAX {
            let Ok(batch) = self.logs.try_recv() else { break };
            round.push(batch);
        }
        self.commit_logs(round).await;
    }

    async fn retry_held(&mut self) {
        if !self.held.is_empty() {
            let round = std::mem::take(&mut self.held).into();
            self.commit_logs(round).await;
        }
    }

    async fn commit_logs(&mut self, round: Vec<LogBatch>) {
        match log::commit(&self.pool, round).await {
            Ok(stored) => {
                stored.unknown.into_iter().for_each(|batch| self.hold(batch));
                stored.grown.into_iter().for_each(|job| self.bus.touch_log(job));
            }
            Err(error) => tracing::warn!(%error, "log lines were not stored"),
        }
    }

    fn hold(&mut self, batch: LogBatch) {
        if self.held.len() == LOGS_HELD {
            let dropped = self.held.pop_front();
            metrics::log_lines_dropped(dropped.map_or(0, |batch| batch.stream.lines.len()));
        }
        self.held.push_back(batch);
    }
}

type Verdicts = Vec<Result<(), BatchError>>;

fn refuse_all(round: Vec<Batch>, error: &sqlx::Error) {
    tracing::error!(%error, batches = round.len(), "records were not stored");
    for batch in round {
        let _ = batch.reply.send(Err(BatchError::Database(error.to_string())));
    }
}

/// Writes a round in one transaction. The quick way has no savepoints; when some content breaks a
/// constraint, the round is done again with one per record, so that only that record is set aside.
async fn commit_records(
    pool: &SqlitePool,
    round: &[Batch],
    now: Timestamp,
) -> Result<(Effects, Verdicts), sqlx::Error> {
    match attempt(pool, round, Care::Quick, now).await {
        Err(error) if is_content(&error) => attempt(pool, round, Care::EachRecord, now).await,
        done => done,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    Quick,
    EachRecord,
}

/// Whether a record's content is to blame, and not the disk or the database.
fn is_content(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.is_unique_violation()
            || error.is_foreign_key_violation()
            || error.is_check_violation()
    })
}

async fn attempt(
    pool: &SqlitePool,
    round: &[Batch],
    care: Care,
    now: Timestamp,
) -> Result<(Effects, Verdicts), sqlx::Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let mut effects = Effects::at(now);
    let mut verdicts = Vec::with_capacity(round.len());
    let hosts: BTreeSet<HostId> = round.iter().map(|batch| batch.host).collect();
    let mut marks = Marks::read(&mut tx, &Vec::from_iter(hosts)).await?;
    for batch in round {
        verdicts.push(write_batch(&mut tx, batch, care, &mut marks, &mut effects).await?);
    }
    marks.write(&mut tx, now).await?;
    effects.in_force().write(&mut tx).await?;
    crash::point("applying records", "before the commit");
    tx.commit().await?;
    crash::point("applying records", "after the commit");
    Ok((effects, verdicts))
}

async fn write_batch(
    tx: &mut Transaction<'static, Sqlite>,
    batch: &Batch,
    care: Care,
    marks: &mut Marks,
    effects: &mut Effects,
) -> Result<Result<(), BatchError>, sqlx::Error> {
    let Some(mark) = marks.of(batch.host, batch.epoch) else {
        return Ok(Err(BatchError::Fenced));
    };
    let received = mark.received();
    let fresh = batch.records.iter().filter(|record| int(record.seq) > received);
    let fresh: Vec<&Record> = fresh.collect();
    if let Some(error) = out_of_turn(&fresh, received) {
        return Ok(Err(error));
    }
    let origin = mark.origin();
    for record in &fresh {
        write_record(tx, origin, record, care, effects).await?;
    }
    let last = fresh.last().map_or(received, |record| int(record.seq));
    marks.advance(batch.host, last);
    Ok(Ok(()))
}

fn out_of_turn(fresh: &[&Record], received: i64) -> Option<BatchError> {
    let due = received + 1..;
    let mut pairs = due.zip(fresh.iter().map(|record| int(record.seq)));
    pairs
        .find(|(expected, found)| expected != found)
        .map(|(expected, found)| BatchError::OutOfTurn { expected, found })
}

async fn write_record(
    tx: &mut Transaction<'static, Sqlite>,
    origin: &Origin,
    record: &Record,
    care: Care,
    effects: &mut Effects,
) -> Result<(), sqlx::Error> {
    let done = match care {
        Care::Quick => apply::apply(tx, origin, record, effects).await,
        Care::EachRecord => {
            let mut savepoint = tx.begin().await?;
            let done = apply::apply(&mut savepoint, origin, record, effects).await;
            if done.is_ok() {
                savepoint.commit().await?;
            } else {
                savepoint.rollback().await?;
            }
            done
        }
    };
    match done {
        Ok(()) => Ok(()),
        Err(ApplyError::Poison(reason)) => {
            set_aside(tx, origin, record, &reason, effects.now()).await
        }
        Err(ApplyError::Database(error)) if care == Care::EachRecord && is_content(&error) => {
            set_aside(tx, origin, record, &error.to_string(), effects.now()).await
        }
        Err(ApplyError::Database(error)) => Err(error),
    }
}

async fn set_aside(
    tx: &mut Transaction<'static, Sqlite>,
    origin: &Origin,
    record: &Record,
    reason: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    tracing::warn!(host = %origin.host, seq = record.seq, kind = record.kind, reason,
        "a record could not be applied and was set aside");
    metrics::record_set_aside();
    apply::set_aside(tx, origin, record, reason, now).await
}
