//! The slots that a server has to fire itself, and their jobs.

use holdfast_protocol::{
    HostId, JobId, ScheduleId,
    dialect::{Ability, Dialect},
    message::{job::Operation, schedule::Timing},
};
use jiff::{SignedDuration, Timestamp};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Error, Store,
    job::{Asked, Order, Ordered, place},
    row::Columns,
};
use crate::{verdict::LATE, view::Cause};

/// The latest slot of a schedule that is due and has no run.
#[derive(Debug, Clone)]
pub(crate) struct UnfiredSlot {
    pub(crate) schedule_id: ScheduleId,
    pub(crate) host_id: HostId,
    pub(crate) group: String,
    pub(crate) due_at: Timestamp,
    pub(crate) time_zone: String,
    pub(crate) timing: Timing,
}

/// Who orders what is due.
const ACTOR: &str = "schedule";

/// How far an agent's clock may be ahead when it begins by itself.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);

impl Store {
    /// The latest slot of each schedule that its host's agent leaves to the server, if it is due
    /// between `since` and `until`, has no run, and nothing else of its group is under way.
    pub(crate) async fn unfired_slots(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<UnfiredSlot>, Error> {
        const PHASE: &str = "reading what is to be fired";
        let rows = sqlx::query(UNFIRED)
            .bind(since.as_millisecond())
            .bind(until.as_millisecond())
            .bind(millis(AHEAD))
            .fetch_all(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        let slots: Result<Vec<_>, _> =
            rows.iter().filter_map(|row| read(row).transpose()).collect();
        slots.map_err(Error::database(PHASE))
    }

    /// Orders the run of a slot: the job and its command in one transaction. When the agent has
    /// begun by itself, or somebody was faster, there is nothing to order.
    pub(crate) async fn fire_slot(&self, slot: &UnfiredSlot) -> Result<Option<Ordered>, Error> {
        const PHASE: &str = "firing a schedule";
        let mut tx = self.begin(PHASE).await?;
        let taken = take(&mut tx, slot).await.map_err(Error::database(PHASE))?;
        let mut ordered = None;
        if let Taken::Nobody = taken {
            let due = Some((slot.schedule_id, slot.due_at));
            let asked = Asked { actor: ACTOR, cause: Cause::Schedule, at: self.now(), due };
            let order = Order { group: Some(slot.group.clone()), ..Order::new(Operation::Backup) };
            ordered = Some(Box::pin(place(&mut tx, asked, slot.host_id, &order, PHASE)).await?);
        }
        tx.commit().await.map_err(Error::database(PHASE))?;
        let begun = if let Taken::ByItself(job) = taken { Some(job) } else { None };
        let touched = ordered.map(|ordered| ordered.job_id).or(begun);
        touched.into_iter().for_each(|job| self.bus().touch_job(job));
        Ok(ordered)
    }
}

const UNFIRED: &str =
    "SELECT e.schedule_id, e.host_id, e.group_name, MAX(e.due_at) AS due_at, h.dialect,
        s.time_zone, s.timing
    FROM evaluations e
    JOIN hosts h ON h.id = e.host_id AND h.removed_at IS NULL AND h.dialect <> ''
    JOIN schedules s ON s.id = e.schedule_id AND s.enabled
    JOIN schedule_history f ON f.schedule_id = e.schedule_id AND f.enabled
        AND f.valid_from < e.due_at AND (f.valid_until IS NULL OR f.valid_until >= e.due_at)
    WHERE e.outcome IN ('pending', 'missed') AND e.due_at >= $1 AND e.due_at <= $2
        AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.schedule_id = e.schedule_id
            AND j.scheduled_at >= e.due_at AND j.status <> 'missed')
        AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.host_id = e.host_id
            AND o.group_name = e.group_name AND o.operation = 'backup'
            AND o.status IN ('queued', 'running', 'paused')
            AND NOT (o.cause = 'schedule' AND o.schedule_id IS NULL
                AND o.created_at >= e.due_at - $3))
    GROUP BY e.schedule_id, e.host_id, e.group_name, h.dialect, s.time_zone, s.timing
    ORDER BY due_at";

/// Who has the run of a slot.
#[derive(Debug, Clone, Copy)]
enum Taken {
    /// It is to be ordered.
    Nobody,
    /// The agent, with this job.
    ByItself(JobId),
    /// Somebody else's look ordered it.
    Before,
}

async fn take(connection: &mut SqliteConnection, slot: &UnfiredSlot) -> Result<Taken, sqlx::Error> {
    let (schedule, due_at) = (slot.schedule_id.to_string(), slot.due_at.as_millisecond());
    let before: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM jobs WHERE schedule_id = $1 AND scheduled_at >= $2 AND status <> 'missed'",
    )
    .bind(&schedule)
    .bind(due_at)
    .fetch_optional(&mut *connection)
    .await?;
    if before.is_some() {
        return Ok(Taken::Before);
    }
    // The word that it was missed is taken back.
    sqlx::query("DELETE FROM jobs WHERE schedule_id = $1 AND scheduled_at = $2")
        .bind(&schedule)
        .bind(due_at)
        .execute(&mut *connection)
        .await?;
    let by_itself: Option<String> = sqlx::query_scalar(
        "UPDATE jobs SET schedule_id = $1, scheduled_at = $2,
             fired_at = COALESCE(fired_at, started_at, created_at)
         WHERE id = (SELECT id FROM jobs WHERE host_id = $3 AND group_name = $4
             AND operation = 'backup' AND cause = 'schedule' AND schedule_id IS NULL
             AND created_at BETWEEN $2 - $5 AND $2 + $6 ORDER BY created_at LIMIT 1)
         RETURNING id",
    )
    .bind(schedule)
    .bind(due_at)
    .bind(slot.host_id.to_string())
    .bind(&slot.group)
    .bind(millis(AHEAD))
    .bind(millis(LATE))
    .fetch_optional(connection)
    .await?;
    let job = by_itself.and_then(|id| id.parse().ok());
    Ok(job.map_or(Taken::Nobody, Taken::ByItself))
}

fn millis(span: SignedDuration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// `None` when the host's agent fires by itself, or takes no backups.
fn read(row: &SqliteRow) -> Result<Option<UnfiredSlot>, sqlx::Error> {
    let dialect = Dialect::from_word(&row.text("dialect")?);
    let waits = |it: Dialect| it.can(Ability::Backup) && !it.can(Ability::Schedule);
    if !dialect.is_some_and(waits) {
        return Ok(None);
    }
    Ok(Some(UnfiredSlot {
        schedule_id: row.parsed("schedule_id")?,
        host_id: row.parsed("host_id")?,
        group: row.text("group_name")?,
        due_at: row.time("due_at")?,
        time_zone: row.text("time_zone")?,
        timing: row.json("timing")?,
    }))
}
