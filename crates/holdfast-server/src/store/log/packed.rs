//! Logs of jobs that have ended, compressed. Nobody adds to them any more, and a log of restic's
//! shrinks to a tenth.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use holdfast_protocol::{JobId, message::log::Line};
use jiff::Timestamp;
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::read;
use crate::{
    store::{
        Error, Store,
        row::{Columns, int},
    },
    view::LogLine,
};

/// Lines of one part at most.
const PART_LINES_MAX: usize = 1000;
/// A part unpacks to no more than this, whatever it holds: a thousand lines with all their escapes.
const PART_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// So many jobs are packed in one transaction: others want to write too.
const JOBS_PER_PACKING: i64 = 5;

impl Store {
    /// Compresses the logs of some jobs that ended before `before`; whether there may be more of
    /// them.
    pub(crate) async fn pack_logs(&self, before: Timestamp) -> Result<bool, Error> {
        const PHASE: &str = "compressing logs";
        let mut tx = self.begin(PHASE).await?;
        let jobs: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM jobs WHERE ended_at < $1 AND log_bytes > 0 AND NOT log_packed LIMIT $2",
        )
        .bind(before.as_millisecond())
        .bind(JOBS_PER_PACKING)
        .fetch_all(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        for job in &jobs {
            pack(&mut tx, job).await.map_err(Error::database(PHASE))?;
        }
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(i64::try_from(jobs.len()).unwrap_or(i64::MAX) == JOBS_PER_PACKING)
    }
}

async fn pack(connection: &mut SqliteConnection, job: &str) -> Result<(), sqlx::Error> {
    let rows = sqlx::query(
        "SELECT seq, ts, stream, payload FROM log_lines WHERE job_id = $1 ORDER BY seq",
    )
    .bind(job)
    .fetch_all(&mut *connection)
    .await?;
    let lines: Vec<LogLine> = rows.iter().map(read).collect::<Result<_, _>>()?;
    for part in lines.chunks(PART_LINES_MAX) {
        insert(&mut *connection, job, part).await?;
    }
    for statement in [
        "DELETE FROM log_lines WHERE job_id = $1",
        "UPDATE jobs SET log_packed = TRUE WHERE id = $1",
    ] {
        sqlx::query(statement).bind(job).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn insert(
    connection: &mut SqliteConnection,
    job: &str,
    part: &[LogLine],
) -> Result<(), sqlx::Error> {
    let (Some(first), Some(last)) = (part.first(), part.last()) else { return Ok(()) };
    // A line that came again after it was packed is the same line.
    sqlx::query(
        "INSERT INTO log_parts (job_id, first_seq, last_seq, lines) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
    )
    .bind(job)
    .bind(int(first.seq))
    .bind(int(last.seq))
    .bind(compress(part)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// The packed lines of `job` after `after`, by number: at least `wanted` of them where there are as
/// many.
pub(super) async fn lines(
    store: &Store,
    job: JobId,
    after: u64,
    wanted: usize,
) -> Result<BTreeMap<u64, LogLine>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT first_seq, lines FROM log_parts WHERE job_id = $1 AND last_seq > $2
         ORDER BY first_seq",
    )
    .bind(job.to_string())
    .bind(int(after))
    .fetch_all(store.readers())
    .await?;
    let mut lines = BTreeMap::new();
    for row in &rows {
        let first = row.count("first_seq")?;
        let is_behind = lines.last_key_value().is_some_and(|(last, _)| first > *last);
        if lines.len() >= wanted && is_behind {
            break;
        }
        let part = unpack(row)?.into_iter().filter(|line| line.seq > after);
        lines.extend(part.map(|line| (line.seq, line)));
    }
    Ok(lines)
}

fn compress(part: &[LogLine]) -> Result<Vec<u8>, sqlx::Error> {
    let line = |line: &LogLine| Line {
        seq: line.seq,
        ts: line.ts,
        stream: line.stream,
        payload: line.payload.clone(),
    };
    let text = serde_json::to_vec(&part.iter().map(line).collect::<Vec<_>>()).map_err(encode)?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text).map_err(encode)?;
    encoder.finish().map_err(encode)
}

fn unpack(row: &SqliteRow) -> Result<Vec<LogLine>, sqlx::Error> {
    use sqlx::Row as _;
    let packed: Vec<u8> = row.try_get("lines")?;
    let mut text = Vec::new();
    let decoder = DeflateDecoder::new(packed.as_slice());
    decoder.take(PART_BYTES_MAX).read_to_end(&mut text).map_err(decode)?;
    let lines: Vec<Line> = serde_json::from_slice(&text).map_err(decode)?;
    let line = |line: Line| LogLine {
        seq: line.seq,
        ts: line.ts,
        stream: line.stream,
        payload: line.payload,
    };
    Ok(lines.into_iter().map(line).collect())
}

fn encode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Encode(Box::new(error))
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::{
        HostId,
        message::log::{Source, Stream},
    };
    use uuid::Uuid;

    use super::*;
    use crate::store::writer::LogBatch;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn said(seq: u64) -> Line {
        let stream = if seq.is_multiple_of(2) { Source::Stderr } else { Source::Event };
        Line { seq, ts: at(900), stream, payload: format!("line {seq} of a long log \u{1f41f}") }
    }

    /// A job that ended at second 1000, with the lines of these numbers.
    async fn job_with(store: &Store, seqs: impl Iterator<Item = u64>) -> JobId {
        let host = store.add_host("ops", "web-1").await.unwrap().host_id;
        let job_id = JobId::from_uuid(Uuid::from_u128(1));
        let mut tx = store.begin("a test").await.unwrap();
        sqlx::query(
            "INSERT INTO jobs (id, host_id, operation, group_name, status, cause, created_at,
                 ended_at) VALUES ($1, $2, 'backup', 'etc', 'failed', 'manual', 1, 1000000)",
        )
        .bind(job_id.to_string())
        .bind(host.to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        add(store, host, job_id, seqs).await;
        job_id
    }

    async fn add(store: &Store, host: HostId, job_id: JobId, seqs: impl Iterator<Item = u64>) {
        let stream = Stream { job_id, lines: seqs.map(said).collect() };
        let batch = LogBatch { host, stream };
        super::super::commit(&store.inner.writer, vec![batch]).await.unwrap();
    }

    async fn count(store: &Store, table: &'static str) -> i64 {
        let statement = match table {
            "log_lines" => "SELECT COUNT(*) FROM log_lines",
            _ => "SELECT COUNT(*) FROM log_parts",
        };
        sqlx::query_scalar(statement).fetch_one(store.readers()).await.unwrap()
    }

    #[tokio::test]
    async fn a_packed_log_reads_as_before_in_pages_with_its_gaps() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let job = job_with(&store, (1..=2500).filter(|seq| !(700..720).contains(seq))).await;
        let page = async |after, limit| store.job_log(job, after, limit).await.unwrap();
        let before = [page(0, 1000).await, page(600, 300).await, page(2400, 1000).await];
        assert!(!store.pack_logs(at(2000)).await.unwrap());
        assert_eq!((count(&store, "log_lines").await, count(&store, "log_parts").await), (0, 3));
        let after = [page(0, 1000).await, page(600, 300).await, page(2400, 1000).await];
        assert_eq!(before, after);
        assert_eq!(after[1].gaps.len(), 1, "{:?}", after[1].gaps);
        let size: i64 = sqlx::query_scalar("SELECT SUM(LENGTH(lines)) FROM log_parts")
            .fetch_one(store.readers())
            .await
            .unwrap();
        assert!(size < 2480 * 30 / 4, "{size} bytes are not compressed");
    }

    #[tokio::test]
    async fn a_line_that_comes_late_is_read_and_packed_too() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let job = job_with(&store, [1, 2, 4].into_iter()).await;
        let host = store.find_host("web-1").await.unwrap();
        store.pack_logs(at(2000)).await.unwrap();
        add(&store, host, job, [2, 3, 5].into_iter()).await;
        let seqs = async || {
            let page = store.job_log(job, 0, 0).await.unwrap();
            page.lines.iter().map(|line| line.seq).collect::<Vec<_>>()
        };
        assert_eq!(seqs().await, [1, 2, 3, 4, 5]);
        store.pack_logs(at(2000)).await.unwrap();
        assert_eq!(count(&store, "log_lines").await, 0);
        assert_eq!(seqs().await, [1, 2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn a_job_that_runs_or_has_just_ended_is_not_packed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        job_with(&store, 1..=3).await;
        store.pack_logs(at(1000)).await.unwrap();
        assert_eq!((count(&store, "log_lines").await, count(&store, "log_parts").await), (3, 0));
    }
}
