//! Ordering jobs and commanding them: the change and the command for the agent, in one transaction.

use holdfast_protocol::{
    HostId, JobId, Message, RepositoryId, ScheduleId,
    message::{
        command::{self, Retry},
        config,
        job::{Operation, Status},
        parameters::{Bandwidth, Parameters},
    },
};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{choose, lease, not_found, tries};
use crate::{
    store::{Error, Store, audit, group, outbox, row::Columns},
    view::Cause,
};

/// A job that somebody wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// What to do.
    pub operation: Operation,
    /// The source group to do it with.
    pub group: Option<String>,
    /// The repository; `None` for the group's, the one that holds the snapshot, or the host's only
    /// one.
    pub repository: Option<RepositoryId>,
    /// How to do it.
    pub parameters: Option<Parameters>,
    /// How much of the network it may take.
    pub bandwidth: Bandwidth,
    /// How often it is tried again.
    pub retry: Retry,
    /// Whether the host may be given the credentials of a repository that it does not use.
    pub may_grant: bool,
}

/// A job that was ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ordered {
    /// The job.
    pub job_id: JobId,
    /// Whether the agent lacks the configuration that the job was made for.
    pub config_behind: bool,
}

impl Order {
    /// An order for `operation`, with nothing said about how.
    #[must_use]
    pub fn new(operation: Operation) -> Self {
        Self {
            operation,
            group: None,
            repository: None,
            parameters: None,
            bandwidth: Bandwidth::default(),
            retry: Retry::default(),
            may_grant: false,
        }
    }

    fn command(
        &self,
        job_id: JobId,
        repository: RepositoryId,
        config_version: i64,
        group: Option<config::Group>,
    ) -> command::Run {
        let mut run = match group {
            // What the group says holds unless the order says otherwise.
            Some(group) if self.operation == Operation::Backup => group.run(job_id, config_version),
            group => command::Run {
                config_version,
                tag: group.map(|group| group.name).unwrap_or_default(),
                ..command::Run::new(job_id, self.operation, repository)
            },
        };
        if let Some(parameters) = &self.parameters {
            run.parameters = Some(Box::new(parameters.clone()));
        }
        if !self.bandwidth.is_unlimited() {
            run.bandwidth = self.bandwidth;
        }
        if self.retry != Retry::default() {
            run.retry = self.retry;
        }
        run
    }
}

/// What asking for a job's end did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The command was stored for the agent.
    Asked {
        /// The host to wake.
        host: HostId,
    },
    /// No agent will ever see the job, so it ended here.
    AtOnce,
}

impl Store {
    /// Orders a backup: the job and the command for its agent, in one transaction.
    ///
    /// # Errors
    /// As [`create_job`](Self::create_job).
    pub async fn create_backup(
        &self,
        actor: &str,
        host: HostId,
        group: &str,
    ) -> Result<JobId, Error> {
        let order = Order { group: Some(group.to_owned()), ..Order::new(Operation::Backup) };
        self.create_job(actor, host, &order).await.map(|ordered| ordered.job_id)
    }

    /// Orders a job: its row and the command for its agent, in one transaction.
    ///
    /// # Errors
    /// [`Error::HostNotFound`], [`Error::GroupNotFound`], [`Error::RepositoryRequired`],
    /// [`Error::RepositoryNotUsed`], [`Error::OperationUnsupported`], [`Error::OutboxFull`] and
    /// [`Error::Database`].
    pub async fn create_job(
        &self,
        actor: &str,
        host: HostId,
        order: &Order,
    ) -> Result<Ordered, Error> {
        const PHASE: &str = "ordering a job";
        self.host_name(host).await?;
        let mut tx = self.begin(PHASE).await?;
        let asked = Asked { actor, cause: Cause::Manual, at: self.now(), due: None };
        let ordered = place(&mut tx, asked, host, order, PHASE).await?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_job(ordered.job_id);
        Ok(ordered)
    }

    /// Asks for a job's end. The agent decides: the job may end on its own first. Whoever means a
    /// try that has failed means the job: its next try is ended.
    ///
    /// # Errors
    /// [`Error::JobNotFound`], [`Error::JobEnded`], [`Error::OutboxFull`] and [`Error::Database`].
    pub async fn cancel_job(&self, actor: &str, job: JobId) -> Result<Cancelled, Error> {
        const PHASE: &str = "cancelling a job";
        let mut tx = self.begin(PHASE).await?;
        let later = tries::open_try(&mut tx, job).await.map_err(Error::database(PHASE))?;
        let job = later.unwrap_or(job);
        let open = open_job(&mut tx, job, PHASE).await?;
        let held = lease::take_back(&mut tx, job).await.map_err(Error::database(PHASE))?;
        let cancelled = if held {
            end_unsent(&mut tx, job).await.map_err(Error::database(PHASE))?;
            Cancelled::AtOnce
        } else if open.reachable {
            refuse_when_full(&mut tx, open.host, PHASE).await?;
            ask_end(&mut tx, open.host, job).await.map_err(Error::database(PHASE))?;
            Cancelled::Asked { host: open.host }
        } else {
            cancel_at_once(&mut tx, job).await.map_err(Error::database(PHASE))?;
            Cancelled::AtOnce
        };
        let asked = matches!(cancelled, Cancelled::Asked { .. });
        let after = if asked { "cancel_requested" } else { Status::Cancelled.as_str() };
        tell(&mut tx, (actor, "job.cancel"), job, open.status, after)
            .await
            .map_err(Error::database(PHASE))?;
        let withdrawn = cancelled == Cancelled::AtOnce
            && choose::withdraw(&mut tx, open.host, job).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_job(job);
        if withdrawn {
            self.bus().owe_config(open.host);
        }
        Ok(cancelled)
    }

    /// Stores `command.pause` for the job's agent and says which host to wake.
    ///
    /// # Errors
    /// As [`cancel_job`](Self::cancel_job).
    pub async fn pause_job(&self, actor: &str, job: JobId) -> Result<HostId, Error> {
        let message = Message::CommandPause(command::Pause { job_id: job });
        self.command_job(actor, PAUSE, job, &message).await
    }

    /// Stores `command.resume` for the job's agent and says which host to wake.
    ///
    /// # Errors
    /// As [`cancel_job`](Self::cancel_job).
    pub async fn resume_job(&self, actor: &str, job: JobId) -> Result<HostId, Error> {
        let message = Message::CommandResume(command::Resume { job_id: job });
        self.command_job(actor, RESUME, job, &message).await
    }

    async fn command_job(
        &self,
        actor: &str,
        action: &'static str,
        job: JobId,
        message: &Message,
    ) -> Result<HostId, Error> {
        const PHASE: &str = "commanding a job";
        let mut tx = self.begin(PHASE).await?;
        let open = open_job(&mut tx, job, PHASE).await?;
        refuse_when_full(&mut tx, open.host, PHASE).await?;
        outbox::append(&mut tx, open.host, message).await.map_err(Error::database(PHASE))?;
        // The agent decides when, and may be too late: what is known is what it was asked for.
        let asked = if action == PAUSE { "pause_requested" } else { "resume_requested" };
        tell(&mut tx, (actor, action), job, open.status, asked)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(open.host)
    }
}

const PAUSE: &str = "job.pause";
const RESUME: &str = "job.resume";

/// Tells the audit what a job was, and what was asked of it.
async fn tell(
    connection: &mut SqliteConnection,
    (actor, action): (&str, &str),
    job: JobId,
    before: Status,
    after: &str,
) -> Result<(), sqlx::Error> {
    let status = |word: &str| Some(serde_json::json!({ "status": word }));
    let subject = job.to_string();
    let (before, after) = (status(before.as_str()), status(after));
    audit::changed(connection, (actor, action, &subject), before, after).await
}

/// Who orders a job, why and when.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Asked<'a> {
    pub(in crate::store) actor: &'a str,
    pub(in crate::store) cause: Cause,
    pub(in crate::store) at: Timestamp,
    /// The slot of the schedule that orders it.
    pub(in crate::store) due: Option<(ScheduleId, Timestamp)>,
}

/// Writes the job and its command. The transaction is the caller's, who tells of the job when it
/// is committed.
pub(in crate::store) async fn place(
    connection: &mut SqliteConnection,
    asked: Asked<'_>,
    host: HostId,
    order: &Order,
    phase: &'static str,
) -> Result<Ordered, Error> {
    refuse_when_full(&mut *connection, host, phase).await?;
    choose::refuse_what_it_cannot(&mut *connection, host, order.operation, phase).await?;
    let group = match &order.group {
        None => None,
        Some(name) => {
            let found = group::find(&mut *connection, host, name).await;
            let found = found.map_err(Error::database(phase))?;
            Some(found.ok_or_else(|| group::not_found(name))?)
        }
    };
    let repository =
        choose::repository(&mut *connection, host, order, group.as_ref(), phase).await?;
    choose::grant(&mut *connection, host, repository, order, phase).await?;
    let (version, applied) =
        config_versions(&mut *connection, host).await.map_err(Error::database(phase))?;
    let job_id = match asked.due {
        Some((schedule, due_at)) => JobId::of_slot(host, schedule, due_at, 1),
        None => JobId::from_uuid(Uuid::now_v7()),
    };
    let run = order.command(job_id, repository, version, group);
    insert(connection, asked, host, &run).await.map_err(Error::database(phase))?;
    Ok(Ordered { job_id, config_behind: applied < version })
}

struct Open {
    host: HostId,
    status: Status,
    /// Whether an agent can still be told: the host is enrolled and part of the fleet.
    reachable: bool,
}

async fn open_job(
    connection: &mut SqliteConnection,
    job: JobId,
    phase: &'static str,
) -> Result<Open, Error> {
    let row = sqlx::query(
        "SELECT j.host_id, j.status, h.incarnation, h.removed_at FROM jobs j
         JOIN hosts h ON h.id = j.host_id WHERE j.id = $1",
    )
    .bind(job.to_string())
    .fetch_optional(connection)
    .await
    .map_err(Error::database(phase))?;
    let row = row.ok_or_else(|| not_found(job))?;
    let status = row.status("status").map_err(Error::database(phase))?;
    if status.is_terminal() {
        return Err(Error::JobEnded { status: status.as_str() });
    }
    let read = || {
        let enrolled = row.text_opt("incarnation")?.is_some();
        let removed = row.int_opt("removed_at")?.is_some();
        let host = row.parsed("host_id")?;
        Ok(Open { host, status, reachable: enrolled && !removed })
    };
    read().map_err(Error::database(phase))
}

async fn refuse_when_full(
    connection: &mut SqliteConnection,
    host: HostId,
    phase: &'static str,
) -> Result<(), Error> {
    let held = lease::held_jobs(&mut *connection, host).await.map_err(Error::database(phase))?;
    let count =
        outbox::depth(connection, host).await.map_err(Error::database(phase))? + held.len() as u64;
    if count >= outbox::COMMANDS_MAX { Err(Error::OutboxFull { count }) } else { Ok(()) }
}

/// The version of the host's configuration, and the one that its agent has in force.
async fn config_versions(
    connection: &mut SqliteConnection,
    host: HostId,
) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as("SELECT config_version, config_applied FROM hosts WHERE id = $1")
        .bind(host.to_string())
        .fetch_one(connection)
        .await
}

async fn insert(
    connection: &mut SqliteConnection,
    asked: Asked<'_>,
    host: HostId,
    run: &command::Run,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO jobs (id, host_id, operation, group_name, repository_id, status, cause,
             created_at, parameters, schedule_id, scheduled_at, fired_at)
         VALUES ($1, $2, $3, $4, $5, 'queued', $8, $6, $7, $9, $10, $11)",
    )
    .bind(run.job_id.to_string())
    .bind(host.to_string())
    .bind(run.operation.as_str())
    .bind(&run.tag)
    .bind(run.repository_id.to_string())
    .bind(asked.at.as_millisecond())
    .bind(run.parameters.as_deref().and_then(as_asked))
    .bind(asked.cause.as_str())
    .bind(asked.due.map(|(schedule, _)| schedule.to_string()))
    .bind(asked.due.map(|(_, due_at)| due_at.as_millisecond()))
    .bind(asked.due.map(|_| asked.at.as_millisecond()))
    .execute(&mut *connection)
    .await?;
    lease::dispatch(&mut *connection, host, run, asked.at).await?;
    let after = serde_json::json!({
        "host_id": host, "operation": run.operation, "group": run.tag,
        "repository_id": run.repository_id,
    });
    let job = run.job_id.to_string();
    audit::changed(connection, (asked.actor, "job.run", &job), None, Some(after)).await
}

/// The parameters as people gave them: without the word that names the operation.
fn as_asked(parameters: &Parameters) -> Option<String> {
    let mut asked = serde_json::to_value(parameters).ok()?;
    let fields = asked.as_object_mut()?;
    fields.remove("kind");
    // A list of all groups of a large fleet would be in every page that shows the job.
    if let Some(groups) = asked.pointer_mut("/which/groups").filter(|it| many(it)) {
        *groups = groups.as_array().map_or(0, Vec::len).into();
    }
    let fields = asked.as_object()?;
    (!fields.is_empty()).then(|| asked.to_string())
}

fn many(groups: &Value) -> bool {
    groups.as_array().is_some_and(|groups| groups.len() > 20)
}

async fn ask_end(
    connection: &mut SqliteConnection,
    host: HostId,
    job: JobId,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE jobs SET cancel_requested = TRUE WHERE id = $1")
        .bind(job.to_string())
        .execute(&mut *connection)
        .await?;
    let message = Message::CommandCancel(command::Cancel { job_id: job });
    outbox::append(connection, host, &message).await
}

/// Ends a job that no agent has heard of, and takes its command back: the agent that comes one day
/// must not run it.
async fn cancel_at_once(connection: &mut SqliteConnection, job: JobId) -> Result<(), sqlx::Error> {
    let host = end_unsent(&mut *connection, job).await?;
    take_back(connection, &host, job).await
}

/// Ends a job whose command no agent has; returns its host.
async fn end_unsent(connection: &mut SqliteConnection, job: JobId) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE jobs SET status = 'cancelled', cancel_requested = TRUE, finished_at = $2,
             ended_at = $2
         WHERE id = $1 RETURNING host_id",
    )
    .bind(job.to_string())
    .bind(Timestamp::now().as_millisecond())
    .fetch_one(connection)
    .await
}

/// Removes a job's command from the outbox of a host without an agent, and closes the hole.
async fn take_back(
    connection: &mut SqliteConnection,
    host: &str,
    job: JobId,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query("SELECT seq, payload FROM outbox WHERE host_id = $1 ORDER BY seq")
        .bind(host)
        .fetch_all(&mut *connection)
        .await?;
    let needle = job.to_string();
    let mut next = 1;
    for row in rows {
        let seq = row.int("seq")?;
        if row.text("payload")?.contains(&needle) {
            sqlx::query("DELETE FROM outbox WHERE host_id = $1 AND seq = $2")
                .bind(host)
                .bind(seq)
                .execute(&mut *connection)
                .await?;
            continue;
        }
        if seq != next {
            sqlx::query("UPDATE outbox SET seq = $3 WHERE host_id = $1 AND seq = $2")
                .bind(host)
                .bind(seq)
                .bind(next)
                .execute(&mut *connection)
                .await?;
        }
        next += 1;
    }
    sqlx::query("UPDATE hosts SET next_seq = $2 WHERE id = $1")
        .bind(host)
        .bind(next)
        .execute(connection)
        .await?;
    Ok(())
}
