//! What was due when, and what became of it.

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, JobId, ScheduleId,
    message::schedule::{Passed, Skipped, Timing},
};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{Error, Store, row::Columns};
use crate::{
    verdict::LATE,
    view::EvaluationView,
    watch::{Blocker, Outcome, Reason, SlotJob},
};

/// One form that a schedule has or had.
#[derive(Debug, Clone)]
pub(crate) struct ScheduleForm {
    pub(crate) schedule_id: ScheduleId,
    pub(crate) host_id: HostId,
    pub(crate) group: String,
    pub(crate) cron: String,
    pub(crate) time_zone: String,
    pub(crate) timing: Timing,
    pub(crate) valid_from: Timestamp,
    pub(crate) valid_until: Option<Timestamp>,
    pub(crate) noted_through: Timestamp,
}

/// Slots that have come due, and up to when there are no others.
#[derive(Debug, Clone)]
pub(crate) struct DueSlots {
    pub(crate) form: ScheduleForm,
    /// Each with the moment at which it starts at the latest.
    pub(crate) slots: Vec<(Timestamp, Timestamp)>,
    pub(crate) through: Timestamp,
    /// When to look again; never, when it was the last time.
    pub(crate) next_at: Option<Timestamp>,
}

/// A slot that is not decided, or that was missed and may have been told of since.
#[derive(Debug, Clone)]
pub(crate) struct OpenSlot {
    pub(crate) schedule_id: ScheduleId,
    pub(crate) due_at: Timestamp,
    pub(crate) expected_by: Timestamp,
    pub(crate) host_id: HostId,
    pub(crate) group: String,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<Reason>,
    /// Why it had no job, by the agent's own word.
    pub(crate) told: Option<Skipped>,
    pub(crate) job_id: Option<JobId>,
    pub(crate) enabled: bool,
    pub(crate) own: Option<SlotJob>,
    pub(crate) later: Option<JobId>,
    pub(crate) blocker: Option<Blocker>,
    pub(crate) enrolled: bool,
    pub(crate) in_force: bool,
}

/// What became of a slot.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    /// Whether nothing had been decided about the slot before.
    pub(crate) is_first: bool,
    pub(crate) schedule_id: ScheduleId,
    pub(crate) due_at: Timestamp,
    pub(crate) host_id: HostId,
    pub(crate) group: String,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<Reason>,
    pub(crate) job: Option<JobId>,
}

/// Which evaluations a page shows, newest first.
#[derive(Debug, Clone, Default)]
pub struct EvaluationFilter {
    /// Only of this source group.
    pub group: Option<String>,
    /// Only of slots before this time.
    pub before: Option<Timestamp>,
    /// At most this many.
    pub limit: u32,
}

/// Errors that mean that the host's own policy said no, or could not be used: `refused_by_policy`,
/// `policy_unusable`.
pub(super) const POLICY_CODES: &str = "%policy%";

impl Store {
    /// The forms of schedules with something to be noted by `now`.
    pub(crate) async fn schedule_forms(&self, now: Timestamp) -> Result<Vec<ScheduleForm>, Error> {
        const PHASE: &str = "reading the schedules' history";
        let rows = sqlx::query(
            "SELECT f.schedule_id, f.host_id, f.group_name, f.cron, f.time_zone, f.timing,
                 f.valid_from, f.valid_until, f.noted_through
             FROM schedule_history f JOIN hosts h ON h.id = f.host_id
             WHERE h.removed_at IS NULL AND f.next_at <= $1",
        )
        .bind(now.as_millisecond())
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        rows.iter().map(read_form).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Notes what has come due.
    pub(crate) async fn note_slots(&self, due: &[DueSlots]) -> Result<(), Error> {
        const PHASE: &str = "noting what is due";
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin(PHASE).await?;
        for due in due {
            note(&mut tx, due).await.map_err(Error::database(PHASE))?;
        }
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// The slots since `since` that may have to be decided, oldest first.
    pub(crate) async fn open_slots(&self, since: Timestamp) -> Result<Vec<OpenSlot>, Error> {
        const PHASE: &str = "reading open slots";
        let rows = sqlx::query(OPEN_SLOTS)
            .bind(since.as_millisecond())
            .bind(POLICY_CODES)
            .bind(i64::try_from(LATE.as_millis()).unwrap_or(i64::MAX))
            .fetch_all(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        rows.iter().map(read_open).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Writes decisions down. The newest missed slot of each schedule also becomes a job, so that
    /// it stands where people look. Says how many were missed.
    pub(crate) async fn settle_slots(
        &self,
        decisions: &[Decision],
        now: Timestamp,
    ) -> Result<usize, Error> {
        const PHASE: &str = "noting what became of due runs";
        if decisions.is_empty() {
            return Ok(0);
        }
        let mut tx = self.begin(PHASE).await?;
        let mut jobs = Vec::new();
        for decision in decisions {
            settle(&mut tx, decision, now).await.map_err(Error::database(PHASE))?;
            jobs.extend(explain(&mut tx, decision).await.map_err(Error::database(PHASE))?);
        }
        for decision in newest_missed(decisions) {
            let job = miss(&mut tx, decision, now).await.map_err(Error::database(PHASE))?;
            jobs.extend(job);
        }
        tx.commit().await.map_err(Error::database(PHASE))?;
        jobs.into_iter().for_each(|job| self.bus().touch_job(job));
        decisions.iter().for_each(|decision| self.bus().touch_host(decision.host_id));
        let missed = |it: &&Decision| it.is_first && it.outcome == Outcome::Missed;
        Ok(decisions.iter().filter(missed).count())
    }

    /// What became of a host's due runs, newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn evaluations(
        &self,
        host: HostId,
        filter: &EvaluationFilter,
    ) -> Result<Vec<EvaluationView>, Error> {
        const PHASE: &str = "reading what became of due runs";
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT schedule_id, group_name, due_at, outcome, reason, job_id, decided_at
             FROM evaluations WHERE host_id = ",
        );
        query.push_bind(host.to_string());
        if let Some(group) = &filter.group {
            query.push(" AND group_name = ").push_bind(group);
        }
        if let Some(before) = filter.before {
            query.push(" AND due_at < ").push_bind(before.as_millisecond());
        }
        query.push(" ORDER BY due_at DESC, schedule_id LIMIT ").push_bind(i64::from(filter.limit));
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        rows.iter().map(read_view).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Drops evaluations of slots before `before`.
    pub(crate) async fn prune_evaluations(&self, before: Timestamp) -> Result<(), Error> {
        const PHASE: &str = "dropping old evaluations";
        let old: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM evaluations WHERE due_at < $1 LIMIT 1")
                .bind(before.as_millisecond())
                .fetch_optional(self.readers())
                .await
                .map_err(Error::database(PHASE))?;
        if old.is_none() {
            return Ok(());
        }
        let mut tx = self.begin(PHASE).await?;
        for statement in [
            "DELETE FROM evaluations WHERE due_at < $1",
            "DELETE FROM schedule_history WHERE valid_until < $1",
        ] {
            sqlx::query(statement)
                .bind(before.as_millisecond())
                .execute(&mut *tx)
                .await
                .map_err(Error::database(PHASE))?;
        }
        tx.commit().await.map_err(Error::database(PHASE))
    }
}

const OPEN_SLOTS: &str =
    "SELECT e.schedule_id, e.due_at, COALESCE(e.expected_by, e.due_at) AS expected_by, e.host_id,
        e.group_name, e.outcome, e.reason, e.told, e.job_id, f.enabled, h.incarnation,
        h.schedule_applied >= h.config_version AS in_force,
        j.id AS own_id, COALESCE(j.fired_at, j.started_at, j.created_at) AS own_fired_at,
        COALESCE(j.error_code LIKE $2, FALSE) AS own_refused,
        (SELECT l.id FROM jobs l
         LEFT JOIN evaluations n ON n.schedule_id = l.schedule_id AND n.due_at = l.scheduled_at
         WHERE l.schedule_id = e.schedule_id AND l.scheduled_at > e.due_at
             AND l.status <> 'missed'
             AND COALESCE(l.fired_at, l.started_at)
                 > COALESCE(n.expected_by, l.scheduled_at) + $3
         ORDER BY l.scheduled_at LIMIT 1) AS later_id,
        b.id AS blocker_id, b.finished_at IS NOT NULL AS blocker_ended
    FROM evaluations e
    JOIN hosts h ON h.id = e.host_id AND h.removed_at IS NULL
    JOIN schedule_history f ON f.schedule_id = e.schedule_id AND f.valid_from < e.due_at
        AND (f.valid_until IS NULL OR f.valid_until >= e.due_at)
    LEFT JOIN jobs j ON j.schedule_id = e.schedule_id AND j.scheduled_at = e.due_at
        AND j.status <> 'missed' AND j.retry_of IS NULL
    LEFT JOIN jobs b ON b.id = (SELECT r.id FROM jobs r
        WHERE r.schedule_id = e.schedule_id AND r.scheduled_at < e.due_at
            AND r.scheduled_at >= e.due_at - 691200000
            AND r.started_at <= e.due_at
            AND (r.finished_at IS NULL OR r.finished_at > e.due_at)
        ORDER BY r.scheduled_at DESC LIMIT 1)
    WHERE e.outcome IN ('pending', 'missed') AND e.due_at >= $1
    ORDER BY e.due_at";

/// Ends the present form of a group's schedule at `now`, if there is one.
pub(super) async fn close_form(
    connection: &mut SqliteConnection,
    host: HostId,
    group: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE schedule_history SET valid_until = $3, next_at = $3
         WHERE host_id = $1 AND group_name = $2 AND valid_until IS NULL",
    )
    .bind(host.to_string())
    .bind(group)
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the present forms of all schedules of a host that is removed, and what they still owed.
pub(super) async fn close_forms_of(
    connection: &mut SqliteConnection,
    host: HostId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE schedule_history SET valid_until = $2, noted_through = $2, next_at = NULL
         WHERE host_id = $1 AND valid_until IS NULL",
    )
    .bind(host.to_string())
    .bind(now.as_millisecond())
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM evaluations WHERE host_id = $1 AND outcome = 'pending'")
        .bind(host.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Begins a form of a group's schedule: the one that stands in the table of schedules.
pub(super) async fn open_form(
    connection: &mut SqliteConnection,
    host: HostId,
    group: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO schedule_history (schedule_id, host_id, group_name, cron, time_zone, timing,
             enabled, valid_from, noted_through, next_at)
         SELECT id, host_id, group_name, cron, time_zone, timing, enabled, $3, $3, $3
         FROM schedules
         WHERE host_id = $1 AND group_name = $2
         ON CONFLICT (schedule_id, valid_from) DO UPDATE SET
             cron = excluded.cron, time_zone = excluded.time_zone, timing = excluded.timing,
             enabled = excluded.enabled, valid_until = NULL, next_at = excluded.next_at",
    )
    .bind(host.to_string())
    .bind(group)
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// Of each schedule the newest slot among the missed ones: a server that was away for a month must
/// not write a job for every hour of it.
fn newest_missed(decisions: &[Decision]) -> Vec<&Decision> {
    let missed = decisions.iter().filter(|it| it.is_first && it.outcome == Outcome::Missed);
    let mut newest: BTreeMap<ScheduleId, &Decision> = BTreeMap::new();
    for decision in missed {
        let of_schedule = newest.entry(decision.schedule_id).or_insert(decision);
        if decision.due_at > of_schedule.due_at {
            *of_schedule = decision;
        }
    }
    newest.into_values().collect()
}

async fn note(connection: &mut SqliteConnection, due: &DueSlots) -> Result<(), sqlx::Error> {
    let form = &due.form;
    for (slot, expected_by) in &due.slots {
        // The agent may have told of it before it was noted here.
        sqlx::query(
            "INSERT INTO evaluations
                 (schedule_id, due_at, host_id, group_name, expected_by, outcome)
             VALUES ($1, $2, $3, $4, $5, 'pending')
             ON CONFLICT (schedule_id, due_at) DO UPDATE SET expected_by = excluded.expected_by",
        )
        .bind(form.schedule_id.to_string())
        .bind(slot.as_millisecond())
        .bind(form.host_id.to_string())
        .bind(&form.group)
        .bind(expected_by.as_millisecond())
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(
        "UPDATE schedule_history SET noted_through = $3, next_at = $4
         WHERE schedule_id = $1 AND valid_from = $2",
    )
    .bind(form.schedule_id.to_string())
    .bind(form.valid_from.as_millisecond())
    .bind(due.through.as_millisecond())
    .bind(due.next_at.map(Timestamp::as_millisecond))
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes an agent's own word on slots that had no job.
pub(super) async fn note_words(
    connection: &mut SqliteConnection,
    (host, schedule, group): (HostId, ScheduleId, &str),
    passed: &[Passed],
) -> Result<(), sqlx::Error> {
    for slot in passed {
        sqlx::query(
            "INSERT INTO evaluations (schedule_id, due_at, host_id, group_name, told, outcome)
             VALUES ($1, $2, $3, $4, $5, 'pending')
             ON CONFLICT (schedule_id, due_at) DO UPDATE SET told = excluded.told",
        )
        .bind(schedule.to_string())
        .bind(slot.scheduled_at.as_millisecond())
        .bind(host.to_string())
        .bind(group)
        .bind(slot.why.as_str())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn settle(
    connection: &mut SqliteConnection,
    decision: &Decision,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE evaluations SET outcome = $3, reason = $4, job_id = $5, decided_at = $6
         WHERE schedule_id = $1 AND due_at = $2",
    )
    .bind(decision.schedule_id.to_string())
    .bind(decision.due_at.as_millisecond())
    .bind(decision.outcome.as_str())
    .bind(decision.reason.map(Reason::as_str))
    .bind(decision.job.map(|job| job.to_string()))
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes to the job that never ran why it did not, where that is better known than before.
async fn explain(
    connection: &mut SqliteConnection,
    decision: &Decision,
) -> Result<Option<JobId>, sqlx::Error> {
    let better = !decision.is_first && decision.outcome == Outcome::Missed;
    let Some(reason) = decision.reason.filter(|_| better) else { return Ok(None) };
    let job = JobId::of_slot(decision.host_id, decision.schedule_id, decision.due_at, 1);
    let done = sqlx::query(
        "UPDATE jobs SET error_code = $2, error_message = $3, error_action = $4
         WHERE id = $1 AND status = 'missed'",
    )
    .bind(job.to_string())
    .bind(reason.as_str())
    .bind(reason.message())
    .bind(reason.action())
    .execute(connection)
    .await?;
    Ok((done.rows_affected() == 1).then_some(job))
}

/// Writes the job that never ran. Its id is the one that the agent would give it: should the agent
/// tell of it after all, it is the same job.
async fn miss(
    connection: &mut SqliteConnection,
    decision: &Decision,
    now: Timestamp,
) -> Result<Option<JobId>, sqlx::Error> {
    let job = JobId::of_slot(decision.host_id, decision.schedule_id, decision.due_at, 1);
    let reason = decision.reason.unwrap_or(Reason::AgentSilent);
    let done = sqlx::query(
        "INSERT INTO jobs (id, host_id, operation, group_name, repository_id, status, cause,
             schedule_id, scheduled_at, created_at, finished_at, ended_at, error_code,
             error_message, error_action)
         VALUES ($1, $2, 'backup', $3,
             (SELECT repository_id FROM source_groups WHERE host_id = $2 AND name = $3),
             'missed', 'schedule', $4, $5, $5, $6, $6, $7, $8, $9)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(job.to_string())
    .bind(decision.host_id.to_string())
    .bind(&decision.group)
    .bind(decision.schedule_id.to_string())
    .bind(decision.due_at.as_millisecond())
    .bind(now.as_millisecond())
    .bind(reason.as_str())
    .bind(reason.message())
    .bind(reason.action())
    .execute(connection)
    .await?;
    Ok((done.rows_affected() == 1).then_some(job))
}

fn read_form(row: &SqliteRow) -> Result<ScheduleForm, sqlx::Error> {
    Ok(ScheduleForm {
        schedule_id: row.parsed("schedule_id")?,
        host_id: row.parsed("host_id")?,
        group: row.text("group_name")?,
        cron: row.text("cron")?,
        time_zone: row.text("time_zone")?,
        timing: row.json("timing")?,
        valid_from: row.time("valid_from")?,
        valid_until: row.time_opt("valid_until")?,
        noted_through: row.time("noted_through")?,
    })
}

fn read_open(row: &SqliteRow) -> Result<OpenSlot, sqlx::Error> {
    let own = match row.parsed_opt("own_id")? {
        None => None,
        Some(id) => Some(SlotJob {
            id,
            fired_at: row.time("own_fired_at")?,
            refused: row.int("own_refused")? != 0,
        }),
    };
    let blocker = match row.parsed_opt("blocker_id")? {
        None => None,
        Some(job) => Some(Blocker { job, ended: row.int("blocker_ended")? != 0 }),
    };
    Ok(OpenSlot {
        blocker,
        schedule_id: row.parsed("schedule_id")?,
        due_at: row.time("due_at")?,
        host_id: row.parsed("host_id")?,
        group: row.text("group_name")?,
        outcome: outcome(row)?,
        expected_by: row.time("expected_by")?,
        reason: row.text_opt("reason")?.and_then(|word| Reason::from_word(&word)),
        told: row.text_opt("told")?.and_then(|word| Skipped::from_word(&word)),
        job_id: row.parsed_opt("job_id")?,
        enabled: row.flag("enabled")?,
        own,
        later: row.parsed_opt("later_id")?,
        enrolled: row.text_opt("incarnation")?.is_some(),
        in_force: row.int("in_force")? != 0,
    })
}

fn read_view(row: &SqliteRow) -> Result<EvaluationView, sqlx::Error> {
    let reason = row.text_opt("reason")?.and_then(|word| Reason::from_word(&word));
    Ok(EvaluationView {
        schedule_id: row.parsed("schedule_id")?,
        group: row.text("group_name")?,
        due_at: row.time("due_at")?,
        outcome: outcome(row)?,
        reason,
        message: reason.map(|reason| reason.message().to_owned()),
        action: reason.map(Reason::action).filter(|text| !text.is_empty()).map(str::to_owned),
        job_id: row.parsed_opt("job_id")?,
        decided_at: row.time_opt("decided_at")?,
    })
}

/// A word that a newer version has written is taken as undecided.
fn outcome(row: &SqliteRow) -> Result<Outcome, sqlx::Error> {
    Ok(Outcome::from_word(&row.text("outcome")?).unwrap_or(Outcome::Pending))
}
