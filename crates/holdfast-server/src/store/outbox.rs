//! What waits for an agent: records numbered densely per host and incarnation.

use holdfast_link::Record;
use holdfast_protocol::{HostId, Message, Payload, Seq};
use jiff::Timestamp;
use sqlx::{SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::row::{Columns, int};

/// How many commands may wait for one host.
pub const COMMANDS_MAX: u64 = 1000;

/// Appends a record, in the transaction that makes it true.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    host: HostId,
    message: &Message,
) -> Result<(), sqlx::Error> {
    // Taking the number from the host's row in one statement keeps the stream dense: a transaction
    // that fails later gives the number back.
    let next: i64 = sqlx::query_scalar(
        "UPDATE hosts SET next_seq = next_seq + 1 WHERE id = $1 RETURNING next_seq",
    )
    .bind(host.to_string())
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO outbox (host_id, seq, ts, kind, payload) VALUES ($1, $2, $3, $4, $5)")
        .bind(host.to_string())
        .bind(next - 1)
        .bind(Timestamp::now().as_millisecond())
        .bind(message.kind())
        .bind(message.encode().as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// How many records wait.
pub(super) async fn depth(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<u64, sqlx::Error> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM outbox WHERE host_id = $1")
        .bind(host.to_string())
        .fetch_one(connection)
        .await?;
    Ok(count.try_into().unwrap_or(0))
}

/// Records after `after`, in order.
pub(super) async fn load(
    pool: &SqlitePool,
    host: HostId,
    after: Seq,
    limit: usize,
) -> Result<Vec<Record>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT seq, ts, kind, payload FROM outbox WHERE host_id = $1 AND seq > $2
         ORDER BY seq LIMIT $3",
    )
    .bind(host.to_string())
    .bind(int(after))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter().map(read).collect()
}

/// Drops what the agent holds.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    host: HostId,
    through: Seq,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM outbox WHERE host_id = $1 AND seq <= $2")
        .bind(host.to_string())
        .bind(int(through))
        .execute(connection)
        .await?;
    Ok(())
}

/// Numbers what waits anew, from `first` on.
pub(super) async fn renumber(
    connection: &mut SqliteConnection,
    host: HostId,
    first: Seq,
) -> Result<(), sqlx::Error> {
    let count = depth(&mut *connection, host).await?;
    let oldest: Option<i64> = sqlx::query_scalar("SELECT MIN(seq) FROM outbox WHERE host_id = $1")
        .bind(host.to_string())
        .fetch_one(&mut *connection)
        .await?;
    if let Some(oldest) = oldest {
        shift(&mut *connection, host, int(first) - oldest).await?;
    }
    sqlx::query("UPDATE hosts SET next_seq = $2 WHERE id = $1")
        .bind(host.to_string())
        .bind(int(first + count))
        .execute(connection)
        .await?;
    Ok(())
}

/// The stream is dense, so one shift keeps it so. It goes by way of negative numbers, because a key
/// must be unique after every single row.
async fn shift(
    connection: &mut SqliteConnection,
    host: HostId,
    by: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE outbox SET seq = -(seq + $2) WHERE host_id = $1")
        .bind(host.to_string())
        .bind(by)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE outbox SET seq = -seq WHERE host_id = $1")
        .bind(host.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Record, sqlx::Error> {
    let payload = Payload::from_text(row.text("payload")?).map_err(|source| {
        sqlx::Error::ColumnDecode { index: "payload".to_owned(), source: Box::new(source) }
    })?;
    Ok(Record { seq: row.count("seq")?, ts: row.time("ts")?, kind: row.text("kind")?, payload })
}
