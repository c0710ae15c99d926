//! How backups ended, day by day.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;

use crate::{
    store::{Error, Store, row::Columns},
    view::days::{SLICE, Slice},
};

/// The last try of each job counts. By when the server learned of it: an agent whose clock is off
/// must not paint other days. One that was missed stands at the time at which it was due.
const SELECT: &str = "SELECT j.host_id, j.status, j.ended_at / $2 AS slice
    FROM jobs j JOIN hosts h ON h.id = j.host_id
    WHERE h.removed_at IS NULL AND j.operation = 'backup' AND j.status <> 'missed'
        AND j.retried_by IS NULL AND j.ended_at >= $1
    GROUP BY j.host_id, j.status, j.ended_at / $2
    UNION
    SELECT e.host_id, 'missed' AS status, e.due_at / $2 AS slice
    FROM evaluations e JOIN hosts h ON h.id = e.host_id
    WHERE h.removed_at IS NULL AND e.outcome = 'missed' AND e.due_at >= $1
    GROUP BY e.host_id, e.due_at / $2";

impl Store {
    /// How the backups since `since` ended.
    pub(crate) async fn backup_slices(&self, since: Timestamp) -> Result<Vec<Slice>, Error> {
        const PHASE: &str = "reading how backups ended";
        let rows = sqlx::query(SELECT)
            .bind(since.as_millisecond())
            .bind(i64::try_from(SLICE.as_millis()).unwrap_or(i64::MAX))
            .fetch_all(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }
}

fn read(row: &SqliteRow) -> Result<Slice, sqlx::Error> {
    Ok(Slice {
        host_id: row.parsed("host_id")?,
        status: row.status("status")?,
        number: row.int("slice")?,
    })
}
