//! When repositories are kept in order, what is due, and what became of it.
//!
//! A plan is one operation on one repository. A slot that comes due is written down as pending and
//! stays so until a host can do it, however long that takes: what the server slept through is made
//! up for, once.

mod facts;

use holdfast_protocol::{
    HostId, JobId, RepositoryId,
    message::{
        job::Operation,
        parameters::{Forget, GroupRetention, Parameters, Selection},
        schedule::Window,
    },
};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Error, Store, audit,
    job::{Asked, Order, Ordered, place},
    repository::runner,
    row::{Columns, json},
};
use crate::view::{Calendar, Cause, MaintenanceReason};

/// The operations that have a cadence, in the order in which they make sense after each other.
pub(crate) const KINDS: [Operation; 3] = [Operation::Forget, Operation::Prune, Operation::Check];

/// Who orders what is due.
const ACTOR: &str = "maintenance";

/// How many source groups one job forgets for, so that its command stays small.
const GROUPS_PER_JOB: usize = 1000;

/// When an operation keeps a repository in order, and how. It has been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMaintenance {
    /// Five-field cron.
    pub cron: String,
    /// IANA name of the zone the cron expression and the window are read in.
    pub time_zone: String,
    /// Whether it fires.
    pub enabled: bool,
    /// The only time of the day in which it may start.
    pub window: Option<Window>,
    /// How to do it; `None` for the plain operation. Forgetting goes by the source groups' rules.
    pub parameters: Option<Parameters>,
}

/// A plan with its next slot.
#[derive(Debug, Clone)]
pub(crate) struct DuePlan {
    pub(crate) repository_id: RepositoryId,
    pub(crate) operation: Operation,
    pub(crate) cron: String,
    pub(crate) time_zone: String,
    pub(crate) next_at: Timestamp,
}

/// A slot that waits for its turn.
#[derive(Debug, Clone)]
pub(crate) struct WaitingSlot {
    pub(crate) repository_id: RepositoryId,
    pub(crate) operation: Operation,
    pub(crate) due_at: Timestamp,
    pub(crate) time_zone: String,
    pub(crate) window: Option<Window>,
    pub(crate) reason: Option<MaintenanceReason>,
}

/// What ordering a slot did.
#[derive(Debug, Clone)]
pub(crate) enum Placed {
    /// The jobs are stored.
    Ordered(Vec<Ordered>),
    /// There is nothing to do.
    Nothing,
    /// Somebody changed the plan or was faster.
    Gone,
}

impl Store {
    /// Sets when an operation keeps a repository in order. What was due by the plan before is
    /// dropped.
    ///
    /// # Errors
    /// [`Error::RepositoryNotFound`] and [`Error::Database`].
    pub async fn set_maintenance(
        &self,
        actor: &str,
        repository: RepositoryId,
        operation: Operation,
        plan: &NewMaintenance,
    ) -> Result<(), Error> {
        const PHASE: &str = "setting a repository's maintenance";
        let mut tx = self.begin(PHASE).await?;
        let name = super::repository::name(&mut tx, repository, PHASE).await?;
        let subject = format!("{name}/{}", operation.as_str());
        let set = async {
            let before = described(&mut tx, repository, operation).await?;
            upsert(&mut tx, repository, operation, plan, self.now()).await?;
            drop_pending(&mut tx, repository, operation).await?;
            let after = described(&mut tx, repository, operation).await?;
            audit::changed(&mut tx, (actor, "maintenance.set", &subject), before, after).await
        };
        set.await.map_err(Error::database(PHASE))?;
        let users = users(&mut tx, repository).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        // Whether a prune is overdue goes by the plan, and is said of each host that uses it.
        users.into_iter().for_each(|host| self.bus().touch_host(host));
        Ok(())
    }

    /// The plans with a slot that has come due by `now`.
    pub(crate) async fn due_maintenance(&self, now: Timestamp) -> Result<Vec<DuePlan>, Error> {
        const PHASE: &str = "reading what maintenance is due";
        let rows = sqlx::query(
            "SELECT repository_id, operation, cron, time_zone, next_at FROM maintenance
             WHERE enabled AND next_at <= $1",
        )
        .bind(now.as_millisecond())
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        rows.iter().map(read_due).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Writes down that the slot `due_at` of a plan is due, and when the next one is. One that
    /// comes while another still waits is left out: the repository is kept in order once for both.
    pub(crate) async fn note_maintenance(
        &self,
        plan: &DuePlan,
        due_at: Timestamp,
        next_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Error> {
        const PHASE: &str = "noting that maintenance is due";
        let mut tx = self.begin(PHASE).await?;
        let noted = note(&mut tx, plan, due_at, next_at, now).await;
        noted.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// The slots that wait, in the order in which they should run.
    pub(crate) async fn waiting_maintenance(&self) -> Result<Vec<WaitingSlot>, Error> {
        const PHASE: &str = "reading what maintenance waits";
        let rows = sqlx::query(
            "SELECT s.repository_id, s.operation, s.due_at, s.reason, m.time_zone, m.only_within
             FROM maintenance_slots s
             JOIN maintenance m ON m.repository_id = s.repository_id AND m.operation = s.operation
             WHERE s.outcome = 'pending' ORDER BY s.repository_id, s.due_at",
        )
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let slots: Result<Vec<_>, _> = rows.iter().map(read_waiting).collect();
        let mut slots = slots.map_err(Error::database(PHASE))?;
        let rank = |operation| KINDS.iter().position(|kind| *kind == operation);
        slots.sort_by_key(|slot| (slot.repository_id, rank(slot.operation)));
        Ok(slots)
    }

    /// The hosts that may do `operation` on a repository, the one that should first.
    pub(crate) async fn keepers(
        &self,
        repository: RepositoryId,
        operation: Operation,
    ) -> Result<Vec<HostId>, Error> {
        const PHASE: &str = "looking for a host that keeps a repository in order";
        let mut connection = self.readers().acquire().await.map_err(Error::database(PHASE))?;
        keepers(&mut connection, repository, operation).await.map_err(Error::database(PHASE))
    }

    /// Whether maintenance of a repository is under way.
    pub(crate) async fn is_maintained(&self, repository: RepositoryId) -> Result<bool, Error> {
        const PHASE: &str = "reading a repository's maintenance";
        let found = sqlx::query_scalar::<_, i64>(OPEN)
            .bind(repository.to_string())
            .fetch_optional(self.readers())
            .await;
        Ok(found.map_err(Error::database(PHASE))?.is_some())
    }

    /// Orders the job of a slot on `host`: job, command and what became of the slot in one
    /// transaction.
    pub(crate) async fn place_maintenance(
        &self,
        slot: &WaitingSlot,
        host: HostId,
    ) -> Result<Placed, Error> {
        const PHASE: &str = "ordering maintenance";
        let mut tx = self.begin(PHASE).await?;
        let Some(orders) = orders(&mut tx, slot).await.map_err(Error::database(PHASE))? else {
            return Ok(Placed::Gone);
        };
        let asked = Asked { actor: ACTOR, cause: Cause::Maintenance, at: self.now(), due: None };
        let mut ordered = Vec::new();
        for order in &orders {
            ordered.push(Box::pin(place(&mut tx, asked, host, order, PHASE)).await?);
        }
        let job = ordered.last().map(|ordered| ordered.job_id);
        settle(&mut tx, slot, job, self.now()).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        ordered.iter().for_each(|ordered| self.bus().touch_job(ordered.job_id));
        Ok(if ordered.is_empty() { Placed::Nothing } else { Placed::Ordered(ordered) })
    }

    /// Notes why a slot waits.
    pub(crate) async fn hold_maintenance(
        &self,
        slot: &WaitingSlot,
        reason: MaintenanceReason,
    ) -> Result<(), Error> {
        const PHASE: &str = "noting why maintenance waits";
        if slot.reason == Some(reason) {
            return Ok(());
        }
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(
            "UPDATE maintenance_slots SET reason = $4
             WHERE repository_id = $1 AND operation = $2 AND due_at = $3 AND outcome = 'pending'",
        )
        .bind(slot.repository_id.to_string())
        .bind(slot.operation.as_str())
        .bind(slot.due_at.as_millisecond())
        .bind(reason.as_str())
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Drops what was decided before `before`.
    pub(crate) async fn prune_maintenance(&self, before: Timestamp) -> Result<(), Error> {
        const PHASE: &str = "dropping old maintenance";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query("DELETE FROM maintenance_slots WHERE decided_at < $1")
            .bind(before.as_millisecond())
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }
}

const OPEN: &str = "SELECT 1 FROM jobs WHERE repository_id = $1 AND cause = 'maintenance'
     AND status IN ('queued', 'running', 'paused') LIMIT 1";

/// A plan as the audit tells of it; `None` when there is none.
async fn described(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    operation: Operation,
) -> Result<Option<Value>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT cron, time_zone, enabled, only_within, parameters FROM maintenance
         WHERE repository_id = $1 AND operation = $2",
    )
    .bind(repository.to_string())
    .bind(operation.as_str())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(serde_json::json!({
        "cron": row.text("cron")?,
        "time_zone": row.text("time_zone")?,
        "enabled": row.flag("enabled")?,
        "only_within": row.json_opt::<Value>("only_within")?,
        "parameters": row.json_opt::<Value>("parameters")?,
    })))
}

async fn upsert(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    operation: Operation,
    plan: &NewMaintenance,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let calendar = Calendar::parse(&plan.cron, &plan.time_zone, now).ok();
    let next = calendar.filter(|_| plan.enabled).and_then(|it| it.next_after(now));
    sqlx::query(
        "INSERT INTO maintenance
             (repository_id, operation, cron, time_zone, enabled, only_within, parameters, next_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (repository_id, operation) DO UPDATE SET
             cron = excluded.cron, time_zone = excluded.time_zone, enabled = excluded.enabled,
             only_within = excluded.only_within, parameters = excluded.parameters,
             next_at = excluded.next_at",
    )
    .bind(repository.to_string())
    .bind(operation.as_str())
    .bind(&plan.cron)
    .bind(&plan.time_zone)
    .bind(plan.enabled)
    .bind(plan.window.as_ref().map(json))
    .bind(plan.parameters.as_ref().map(json))
    .bind(next.map(Timestamp::as_millisecond))
    .execute(connection)
    .await?;
    Ok(())
}

async fn drop_pending(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    operation: Operation,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM maintenance_slots
         WHERE repository_id = $1 AND operation = $2 AND outcome = 'pending'",
    )
    .bind(repository.to_string())
    .bind(operation.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

async fn note(
    connection: &mut SqliteConnection,
    plan: &DuePlan,
    due_at: Timestamp,
    next_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO maintenance_slots
             (repository_id, operation, due_at, outcome, reason, decided_at)
         SELECT $1, $2, $3,
             CASE WHEN waits.n = 0 THEN 'pending' ELSE 'skipped' END,
             CASE WHEN waits.n = 0 THEN NULL ELSE $4 END,
             CASE WHEN waits.n = 0 THEN NULL ELSE $5 END
         FROM (SELECT COUNT(*) AS n FROM maintenance_slots
             WHERE repository_id = $1 AND operation = $2 AND outcome = 'pending') waits
         WHERE 1 = 1 ON CONFLICT DO NOTHING",
    )
    .bind(plan.repository_id.to_string())
    .bind(plan.operation.as_str())
    .bind(due_at.as_millisecond())
    .bind(MaintenanceReason::StillWaiting.as_str())
    .bind(now.as_millisecond())
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE maintenance SET next_at = $3 WHERE repository_id = $1 AND operation = $2")
        .bind(plan.repository_id.to_string())
        .bind(plan.operation.as_str())
        .bind(next_at.map(Timestamp::as_millisecond))
        .execute(connection)
        .await?;
    Ok(())
}

/// The orders of a slot that is still to be ordered; `None` when it is not.
async fn orders(
    connection: &mut SqliteConnection,
    slot: &WaitingSlot,
) -> Result<Option<Vec<Order>>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT m.parameters FROM maintenance_slots s
         JOIN maintenance m ON m.repository_id = s.repository_id AND m.operation = s.operation
         WHERE s.repository_id = $1 AND s.operation = $2 AND s.due_at = $3
             AND s.outcome = 'pending' AND m.enabled",
    )
    .bind(slot.repository_id.to_string())
    .bind(slot.operation.as_str())
    .bind(slot.due_at.as_millisecond())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let open: Option<i64> = sqlx::query_scalar(OPEN)
        .bind(slot.repository_id.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    if open.is_some() {
        return Ok(None);
    }
    let order = |parameters| Order {
        repository: Some(slot.repository_id),
        parameters,
        // It is the one that keeps the repository in order, whether it backs up there or not.
        may_grant: true,
        ..Order::new(slot.operation)
    };
    if slot.operation != Operation::Forget {
        return Ok(Some(vec![order(row.json_opt("parameters")?)]));
    }
    let rules = rules(connection, slot.repository_id).await?;
    let forget = |part: &[GroupRetention]| {
        let which = Selection::Groups(part.to_vec());
        order(Some(Parameters::Forget(Forget { which, dry_run: false })))
    };
    Ok(Some(rules.chunks(GROUPS_PER_JOB).map(forget).collect()))
}

/// What to keep of each source group that says so.
async fn rules(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<Vec<GroupRetention>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT h.name AS host, g.name AS tag, g.retention FROM source_groups g
         JOIN hosts h ON h.id = g.host_id
         WHERE g.repository_id = $1 AND g.retention IS NOT NULL AND h.removed_at IS NULL
         ORDER BY h.name, g.name",
    )
    .bind(repository.to_string())
    .fetch_all(connection)
    .await?;
    let read = |row: &SqliteRow| {
        let (host, tag) = (row.text("host")?, row.text("tag")?);
        Ok(GroupRetention { host, tag, keep: row.json("retention")? })
    };
    rows.iter().map(read).collect()
}

async fn settle(
    connection: &mut SqliteConnection,
    slot: &WaitingSlot,
    job: Option<JobId>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let (outcome, reason) = match job {
        Some(_) => ("ordered", None),
        None => ("skipped", Some(MaintenanceReason::NoRules.as_str())),
    };
    sqlx::query(
        "UPDATE maintenance_slots SET outcome = $4, reason = $5, job_id = $6, decided_at = $7
         WHERE repository_id = $1 AND operation = $2 AND due_at = $3",
    )
    .bind(slot.repository_id.to_string())
    .bind(slot.operation.as_str())
    .bind(slot.due_at.as_millisecond())
    .bind(outcome)
    .bind(reason)
    .bind(job.map(|job| job.to_string()))
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// The host that a person named does it and no other; so does the one that alone has what it takes
/// to delete. Otherwise any host that uses the repository will do.
async fn keepers(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    operation: Operation,
) -> Result<Vec<HostId>, sqlx::Error> {
    let first = runner(&mut *connection, repository).await?;
    let row = sqlx::query(
        "SELECT runner_host_id, CASE WHEN admin IS NULL THEN 0 ELSE 1 END AS guarded
         FROM repositories WHERE id = $1",
    )
    .bind(repository.to_string())
    .fetch_one(&mut *connection)
    .await?;
    let guarded = row.int("guarded")? != 0 && operation.needs_delete_authority();
    let named = first.is_some() && row.parsed_opt("runner_host_id")? == first;
    let mut hosts: Vec<HostId> = first.into_iter().collect();
    if !named && !guarded {
        hosts.extend(users(&mut *connection, repository).await?);
    }
    able(connection, hosts, operation).await
}

async fn users(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<Vec<HostId>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT host_id, MIN(created_at) AS since FROM source_groups WHERE repository_id = $1
         GROUP BY host_id ORDER BY since, host_id",
    )
    .bind(repository.to_string())
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.parsed("host_id")).collect()
}

/// Those of `hosts` whose agent is one of Holdfast's own and knows the operation.
async fn able(
    connection: &mut SqliteConnection,
    hosts: Vec<HostId>,
    operation: Operation,
) -> Result<Vec<HostId>, sqlx::Error> {
    let mut able: Vec<HostId> = Vec::new();
    for host in hosts {
        let row = sqlx::query(
            "SELECT capabilities FROM hosts
             WHERE id = $1 AND removed_at IS NULL AND incarnation IS NOT NULL AND dialect = ''",
        )
        .bind(host.to_string())
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { continue };
        let words: Option<Vec<String>> = row.json_opt("capabilities")?;
        let knows = words.is_none_or(|words| words.iter().any(|it| it == operation.as_str()));
        if knows && !able.contains(&host) {
            able.push(host);
        }
    }
    Ok(able)
}

fn read_due(row: &SqliteRow) -> Result<DuePlan, sqlx::Error> {
    Ok(DuePlan {
        repository_id: row.parsed("repository_id")?,
        operation: row.operation("operation")?,
        cron: row.text("cron")?,
        time_zone: row.text("time_zone")?,
        next_at: row.time("next_at")?,
    })
}

fn read_waiting(row: &SqliteRow) -> Result<WaitingSlot, sqlx::Error> {
    Ok(WaitingSlot {
        repository_id: row.parsed("repository_id")?,
        operation: row.operation("operation")?,
        due_at: row.time("due_at")?,
        time_zone: row.text("time_zone")?,
        window: row.json_opt("only_within")?,
        reason: row.text_opt("reason")?.and_then(|word| MaintenanceReason::from_word(&word)),
    })
}
