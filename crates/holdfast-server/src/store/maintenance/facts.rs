//! What is known about how a repository is kept in order.

use std::collections::BTreeMap;

use holdfast_protocol::{JobId, RepositoryId, message::job::Operation};
use jiff::{Timestamp, tz::TimeZone};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::KINDS;
use crate::{
    store::{Error, Store, row::Columns},
    view::{Calendar, MaintenanceReason, MaintenanceView, WaitingView},
};

/// How the runs of one operation on one repository went, by cadence or by hand. A forget counts
/// when it was for the whole repository, and a try without effect never does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LastRuns {
    /// What was done.
    operation: Operation,
    /// The job that was ordered last.
    last_job: Option<JobId>,
    /// When one last succeeded.
    last_ok_at: Option<Timestamp>,
}

impl Store {
    /// The plans of a repository by operation; what nobody has set is told as a suggestion.
    pub(crate) async fn maintenance_of(
        &self,
        repository: RepositoryId,
    ) -> Result<BTreeMap<&'static str, MaintenanceView>, Error> {
        const PHASE: &str = "reading a repository's maintenance";
        let mut connection = self.readers().acquire().await.map_err(Error::database(PHASE))?;
        maintenance_of(&mut connection, repository, self.now())
            .await
            .map_err(Error::database(PHASE))
    }
}

async fn maintenance_of(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    now: Timestamp,
) -> Result<BTreeMap<&'static str, MaintenanceView>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT operation, cron, time_zone, enabled, only_within, parameters FROM maintenance
         WHERE repository_id = $1",
    )
    .bind(repository.to_string())
    .fetch_all(&mut *connection)
    .await?;
    let mut plans: BTreeMap<&str, MaintenanceView> =
        KINDS.iter().map(|kind| (kind.as_str(), suggested(repository, *kind))).collect();
    for row in &rows {
        plans.insert(row.operation("operation")?.as_str(), read(row, now)?);
    }
    for runs in last_runs(&mut *connection, repository).await? {
        if let Some(plan) = plans.get_mut(runs.operation.as_str()) {
            (plan.last_job, plan.last_ok_at) = (runs.last_job, runs.last_ok_at);
        }
    }
    for (operation, waiting) in waiting(connection, repository).await? {
        if let Some(plan) = plans.get_mut(operation.as_str()) {
            plan.waiting = Some(waiting);
        }
    }
    Ok(plans)
}

/// A cadence that suits most, at a minute of the repository's own so that many do not come at once.
fn suggested(repository: RepositoryId, operation: Operation) -> MaintenanceView {
    let minute = repository.as_uuid().as_bytes()[15] % 60;
    let cron = match operation {
        Operation::Forget => format!("{minute} 5 * * *"),
        Operation::Prune => format!("{minute} 6 * * 0"),
        _ => format!("{minute} 12 1 * *"),
    };
    let zone = TimeZone::system();
    MaintenanceView {
        in_words: in_words(&cron, "UTC"),
        cron,
        time_zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        enabled: false,
        suggested: true,
        window: None,
        parameters: None,
        next_at: None,
        waiting: None,
        last_job: None,
        last_ok_at: None,
    }
}

fn read(row: &SqliteRow, now: Timestamp) -> Result<MaintenanceView, sqlx::Error> {
    let (cron, time_zone) = (row.text("cron")?, row.text("time_zone")?);
    let enabled = row.flag("enabled")?;
    let calendar = Calendar::parse(&cron, &time_zone, now).ok().filter(|_| enabled);
    let window: Option<holdfast_protocol::message::schedule::Window> =
        row.json_opt("only_within")?;
    let parameters: Option<serde_json::Map<String, serde_json::Value>> =
        row.json_opt("parameters")?;
    let without_kind = |mut fields: serde_json::Map<String, serde_json::Value>| {
        fields.remove("kind");
        serde_json::Value::Object(fields)
    };
    Ok(MaintenanceView {
        in_words: in_words(&cron, &time_zone),
        next_at: calendar.and_then(|calendar| calendar.next_after(now)),
        cron,
        time_zone,
        enabled,
        suggested: false,
        window: window.map(Into::into),
        parameters: parameters.map(without_kind),
        waiting: None,
        last_job: None,
        last_ok_at: None,
    })
}

fn in_words(cron: &str, zone: &str) -> String {
    let calendar = Calendar::parse(cron, zone, Timestamp::UNIX_EPOCH);
    calendar.map(|calendar| calendar.in_words()).unwrap_or_default()
}

async fn waiting(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<Vec<(Operation, WaitingView)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT operation, due_at, reason FROM maintenance_slots
         WHERE repository_id = $1 AND outcome = 'pending'",
    )
    .bind(repository.to_string())
    .fetch_all(connection)
    .await?;
    let read = |row: &SqliteRow| {
        let reason = row.text_opt("reason")?.and_then(|word| MaintenanceReason::from_word(&word));
        let message = reason.map(|reason| reason.message().to_owned());
        let due_at = row.time("due_at")?;
        Ok((row.operation("operation")?, WaitingView { due_at, reason, message }))
    };
    rows.iter().map(read).collect()
}

/// One look into the index of a repository's jobs for each operation.
async fn last_runs(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<Vec<LastRuns>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT k.operation,
             (SELECT j.id FROM jobs j WHERE j.repository_id = r.id AND j.operation = k.operation
                  AND (k.operation <> 'forget' OR j.cause = 'maintenance')
              ORDER BY j.created_at DESC, j.id DESC LIMIT 1) AS last_job,
             (SELECT MAX(j.finished_at) FROM jobs j
              WHERE j.repository_id = r.id AND j.operation = k.operation
                  AND j.status = 'succeeded'
                  AND (k.operation <> 'forget' OR j.cause = 'maintenance')
                  AND COALESCE(j.parameters, '') NOT LIKE '%\"dry_run\":true%') AS last_ok_at
         FROM repositories r
         CROSS JOIN (SELECT 'forget' AS operation
             UNION ALL SELECT 'prune' UNION ALL SELECT 'check') k
         WHERE r.id = $1",
    )
    .bind(repository.to_string())
    .fetch_all(connection)
    .await?;
    let read = |row: &SqliteRow| {
        Ok(LastRuns {
            operation: row.operation("operation")?,
            last_job: row.parsed_opt("last_job")?,
            last_ok_at: row.time_opt("last_ok_at")?,
        })
    };
    rows.iter().map(read).collect()
}
