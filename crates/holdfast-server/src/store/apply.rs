//! What each record of an agent does to the tables.
//!
//! Whether a record makes sense is decided before anything is written, so that a poisonous one
//! leaves nothing behind.

use std::collections::BTreeSet;

use holdfast_link::Record;
use holdfast_protocol::{
    HostId, JobId, Message, Payload,
    message::{
        command::{self, Verb},
        job::{self, JobError, Operation, Status},
        schedule::{self, PASSED_MAX, Passed},
        snapshot,
    },
};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{
    evaluation,
    in_force::InForce,
    job::{tries, withdraw},
    repository::size::{self, Measured},
    row::{Columns, int},
    schedule as schedules, snapshot as snapshots, upkeep,
};
use crate::{bus::Bus, metrics};

/// Whose record it is.
pub(super) struct Origin {
    pub(super) host: HostId,
    pub(super) incarnation: String,
}

#[derive(Debug)]
pub(super) enum ApplyError {
    /// The record itself is to blame.
    Poison(String),
    Database(sqlx::Error),
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// What is told to others once the transaction is committed.
pub(super) struct Effects {
    /// The present, by the server's clock.
    now: Timestamp,
    hosts: BTreeSet<HostId>,
    jobs: BTreeSet<JobId>,
    /// Hosts that have to be told their configuration again.
    configs: BTreeSet<HostId>,
    runs: Vec<metrics::Run>,
    in_force: InForce,
}

impl Effects {
    pub(super) fn at(now: Timestamp) -> Self {
        Self {
            now,
            hosts: BTreeSet::new(),
            jobs: BTreeSet::new(),
            configs: BTreeSet::new(),
            runs: Vec::new(),
            in_force: InForce::default(),
        }
    }

    /// What the agents said is in force with them. It is written in the same transaction.
    pub(super) fn in_force(&self) -> &InForce {
        &self.in_force
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn publish(self, bus: &Bus) {
        self.hosts.into_iter().for_each(|host| bus.touch_host(host));
        self.jobs.into_iter().for_each(|job| bus.touch_job(job));
        self.configs.into_iter().for_each(|host| bus.owe_config(host));
        self.runs.iter().for_each(metrics::run_ended);
    }

    fn touch(&mut self, host: HostId, job: JobId) {
        self.hosts.insert(host);
        self.jobs.insert(job);
    }
}

type Applied = Result<(), ApplyError>;

/// Applies one record.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    origin: &Origin,
    record: &Record,
    effects: &mut Effects,
) -> Applied {
    let message = Message::decode(&record.kind, &record.payload)
        .map_err(|error| ApplyError::Poison(error.to_string()))?;
    let host = origin.host;
    match message {
        Message::CommandResult(body) => command_result(connection, host, &body, effects).await,
        Message::ConfigApplied(body) => {
            effects.in_force.configs.entry(host).or_default().push(body.version);
            Ok(())
        }
        Message::ScheduleAck(body) => {
            effects.in_force.schedules.entry(host).or_default().push(body.version);
            Ok(())
        }
        Message::JobStarted(body) => job_started(connection, host, &body, effects).await,
        Message::JobState(body) => job_state(connection, host, &body, effects).await,
        Message::JobFinished(body) => job_finished(connection, host, &body, effects).await,
        Message::ScheduleFire(body) => {
            schedule_fire(connection, host, &body, record.ts, effects).await
        }
        Message::OutboxReset(_) => outbox_reset(connection, host, effects.now).await,
        Message::RepoStats(body) => repo_stats(connection, host, &body, effects).await,
        Message::SnapshotsReport(body) => {
            snapshots::apply(connection, host, &body, effects.now).await?;
            if body.last {
                effects.hosts.insert(host);
            }
            Ok(())
        }
        other => Err(ApplyError::Poison(format!("`{}` is not for a server", other.kind()))),
    }
}

/// Keeps a record that could not be applied, for a person to look at. An agent that sends nothing
/// else must not fill the disk, so of each host only the first ones are kept; the rest is counted.
pub(super) async fn set_aside(
    connection: &mut SqliteConnection,
    origin: &Origin,
    record: &Record,
    reason: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO dead_letters
             (host_id, incarnation, seq, ts, kind, payload, reason, created_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8
         WHERE (SELECT COUNT(*) FROM dead_letters WHERE host_id = $1) < $9
         ON CONFLICT DO NOTHING",
    )
    .bind(origin.host.to_string())
    .bind(&origin.incarnation)
    .bind(int(record.seq))
    .bind(record.ts.as_millisecond())
    .bind(bounded(&record.kind, 64))
    .bind(record.payload.as_str())
    .bind(bounded(reason, TEXT_MAX))
    .bind(now.as_millisecond())
    .bind(SET_ASIDE_MAX)
    .execute(connection)
    .await?;
    Ok(())
}

const SET_ASIDE_MAX: i64 = 1000;

/// Longer texts of an agent are cut: they are for people.
const TEXT_MAX: usize = 4096;

/// A job as far as applying needs it.
struct Known {
    status: Status,
    operation: Operation,
    started_at: Option<Timestamp>,
}

/// The job, if there is one. A job of another host is nobody's business here.
async fn known(
    connection: &mut SqliteConnection,
    host: HostId,
    job: JobId,
) -> Result<Option<Known>, ApplyError> {
    let row = sqlx::query("SELECT host_id, status, operation, started_at FROM jobs WHERE id = $1")
        .bind(job.to_string())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    if row.parsed::<HostId>("host_id")? != host {
        return Err(ApplyError::Poison("the job belongs to another host".to_owned()));
    }
    Ok(Some(Known {
        status: row.status("status")?,
        operation: row.operation("operation")?,
        started_at: row.time_opt("started_at")?,
    }))
}

/// As [`known`], for a word of the agent that its job has run. The server took a job for missed
/// that nobody told of in time: from here on it is as if it had not.
async fn told(
    connection: &mut SqliteConnection,
    host: HostId,
    job: JobId,
    now: Timestamp,
) -> Result<Option<Known>, ApplyError> {
    let Some(known) = known(&mut *connection, host, job).await? else { return Ok(None) };
    if known.status != Status::Missed {
        return Ok(Some(known));
    }
    sqlx::query(
        "UPDATE jobs SET status = 'queued', accepted_at = $2, finished_at = NULL, ended_at = NULL,
             error_code = NULL, error_message = NULL, error_action = NULL WHERE id = $1",
    )
    .bind(job.to_string())
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(Some(Known { status: Status::Queued, ..known }))
}

async fn command_result(
    connection: &mut SqliteConnection,
    host: HostId,
    body: &command::Outcome,
    effects: &mut Effects,
) -> Applied {
    let Some(job) = known(connection, host, body.job_id).await? else { return Ok(()) };
    if job.status.is_terminal() || body.command != Verb::Run {
        return Ok(());
    }
    if body.accepted {
        sqlx::query("UPDATE jobs SET accepted_at = $2 WHERE id = $1 AND accepted_at IS NULL")
            .bind(body.job_id.to_string())
            .bind(effects.now.as_millisecond())
            .execute(connection)
            .await?;
        return Ok(());
    }
    let refused = body.error.clone().unwrap_or_else(|| JobError {
        code: "refused".to_owned(),
        message: "The agent refused the job without a reason.".to_owned(),
        action: "Look at the agent's log on the host.".to_owned(),
    });
    let end = End { status: Status::Failed, at: effects.now, error: Some(&refused) };
    end_job(connection, body.job_id, &end, effects.now).await?;
    effects.touch(host, body.job_id);
    Ok(())
}

async fn job_started(
    connection: &mut SqliteConnection,
    host: HostId,
    body: &job::Started,
    effects: &mut Effects,
) -> Applied {
    let job = told(connection, host, body.job_id, effects.now).await?;
    if job.as_ref().is_some_and(|job| job.status.is_terminal()) {
        return Ok(());
    }
    if job.is_none() {
        insert_own(connection, host, &Own::started(body), effects.now).await?;
    }
    sqlx::query(
        "UPDATE jobs SET status = 'running', started_at = $2, attempt = $3,
             accepted_at = COALESCE(accepted_at, $4) WHERE id = $1",
    )
    .bind(body.job_id.to_string())
    .bind(body.started_at.as_millisecond())
    .bind(i64::from(body.attempt))
    .bind(effects.now.as_millisecond())
    .execute(connection)
    .await?;
    effects.touch(host, body.job_id);
    Ok(())
}

async fn job_state(
    connection: &mut SqliteConnection,
    host: HostId,
    body: &job::StateChange,
    effects: &mut Effects,
) -> Applied {
    if !matches!(body.status, Status::Running | Status::Paused) {
        return Err(ApplyError::Poison(format!("`{}` is not a change", body.status.as_str())));
    }
    let changed = sqlx::query(
        "UPDATE jobs SET status = $2
         WHERE id = $1 AND host_id = $3 AND status IN ('running', 'paused')",
    )
    .bind(body.job_id.to_string())
    .bind(body.status.as_str())
    .bind(host.to_string())
    .execute(&mut *connection)
    .await?;
    if changed.rows_affected() == 0 {
        // It has ended, or nobody knows it; or it is another host's, which is worth a note.
        known(connection, host, body.job_id).await?;
    }
    effects.touch(host, body.job_id);
    Ok(())
}

async fn job_finished(
    connection: &mut SqliteConnection,
    host: HostId,
    body: &job::Finished,
    effects: &mut Effects,
) -> Applied {
    if !body.status.is_terminal() {
        return Err(ApplyError::Poison(format!("`{}` is not an end", body.status.as_str())));
    }
    if let Some(next) = &body.next_try {
        known(connection, host, next.job_id).await?;
        tries::check(connection, body.job_id, next).await?;
    }
    let job = told(connection, host, body.job_id, effects.now).await?;
    if job.is_none() {
        insert_own(connection, host, &Own::finished(body), effects.now).await?;
    }
    // Also after an end that the server made up: the agent will make the next try.
    if let Some(next) = &body.next_try {
        tries::follow(connection, body.job_id, next, effects.now).await?;
        effects.touch(host, next.job_id);
    }
    if job.as_ref().is_some_and(|job| job.status.is_terminal()) {
        return Ok(());
    }
    let end = End { status: body.status, at: body.finished_at, error: body.error.as_ref() };
    end_job(connection, body.job_id, &end, effects.now).await?;
    write_outcome(connection, body).await?;
    if let Some(job) = job.as_ref().filter(|_| body.next_try.is_none()) {
        let hosts = upkeep::note_end(connection, job.operation, body, effects.now).await?;
        effects.hosts.extend(hosts);
    }
    learn_sizes(connection, body, effects.now).await?;
    if withdraw(connection, host, body.job_id).await? {
        effects.configs.insert(host);
    }
    effects.touch(host, body.job_id);
    if body.next_try.is_some() {
        return Ok(());
    }
    effects.runs.push(metrics::Run {
        host,
        operation: job.as_ref().map_or(Operation::Backup, |job| job.operation),
        status: body.status,
        seconds: job
            .and_then(|job| job.started_at)
            .map(|started_at| body.finished_at.duration_since(started_at).as_secs_f64().max(0.0)),
    });
    Ok(())
}

async fn schedule_fire(
    connection: &mut SqliteConnection,
    host: HostId,
    body: &schedule::Fire,
    fired_at: Timestamp,
    effects: &mut Effects,
) -> Applied {
    let group = schedules::group_of(connection, host, body.schedule_id).await?;
    if let Some(group) = &group {
        let left_out = body.skipped.map(|why| Passed { scheduled_at: body.scheduled_at, why });
        let passed: Vec<Passed> =
            body.passed.iter().take(PASSED_MAX).copied().chain(left_out).collect();
        evaluation::note_words(connection, (host, body.schedule_id, group), &passed).await?;
    }
    for job in body.job_ids.iter().take(FIRED_MAX) {
        if told(connection, host, *job, effects.now).await?.is_none() {
            let own = Own {
                job: *job,
                operation: Operation::Backup,
                group: group.as_deref().unwrap_or_default(),
                schedule: Some((body.schedule_id, body.scheduled_at)),
                created_at: body.scheduled_at,
            };
            insert_own(connection, host, &own, effects.now).await?;
        }
        sqlx::query("UPDATE jobs SET fired_at = $2 WHERE id = $1 AND fired_at IS NULL")
            .bind(job.to_string())
            .bind(fired_at.as_millisecond())
            .execute(&mut *connection)
            .await?;
        effects.touch(host, *job);
    }
    Ok(())
}

/// One slot starts a handful of jobs; more is a mistake or mischief.
const FIRED_MAX: usize = 64;

/// A job that the agent began without being told.
struct Own<'a> {
    job: JobId,
    operation: Operation,
    group: &'a str,
    schedule: Option<(holdfast_protocol::ScheduleId, Timestamp)>,
    created_at: Timestamp,
}

impl<'a> Own<'a> {
    fn started(body: &'a job::Started) -> Self {
        let at = body.scheduled_at.unwrap_or(body.started_at);
        Self {
            job: body.job_id,
            operation: body.operation,
            group: &body.tag,
            schedule: body.schedule_id.map(|id| (id, at)),
            created_at: at,
        }
    }

    fn finished(body: &'a job::Finished) -> Self {
        Self {
            job: body.job_id,
            operation: Operation::Backup,
            group: "",
            schedule: None,
            created_at: body.finished_at,
        }
    }
}

async fn insert_own(
    connection: &mut SqliteConnection,
    host: HostId,
    own: &Own<'_>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    // A host whose clock is ahead must not lead every list until that time has come.
    let created_at = own.created_at.min(now);
    sqlx::query(
        "INSERT INTO jobs (id, host_id, operation, group_name, repository_id, status, cause,
             schedule_id, scheduled_at, created_at, accepted_at)
         VALUES ($1, $2, $3, $4,
             (SELECT repository_id FROM source_groups WHERE host_id = $2 AND name = $4),
             'queued', 'schedule', $5, $6, $7, $8)",
    )
    .bind(own.job.to_string())
    .bind(host.to_string())
    .bind(own.operation.as_str())
    .bind(bounded(own.group, 256))
    .bind(own.schedule.map(|(id, _)| id.to_string()))
    .bind(own.schedule.map(|(_, at)| at.as_millisecond()))
    .bind(created_at.as_millisecond())
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

struct End<'a> {
    status: Status,
    at: Timestamp,
    error: Option<&'a JobError>,
}

async fn end_job(
    connection: &mut SqliteConnection,
    job: JobId,
    end: &End<'_>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE jobs SET status = $2, finished_at = $3, error_code = $4, error_message = $5,
             error_action = $6, ended_at = $7
         WHERE id = $1 AND status IN ('queued', 'running', 'paused')",
    )
    .bind(job.to_string())
    .bind(end.status.as_str())
    .bind(end.at.as_millisecond())
    .bind(end.error.map(|error| bounded(&error.code, 64)))
    .bind(end.error.map(|error| bounded(&error.message, TEXT_MAX)))
    .bind(end.error.map(|error| bounded(&error.action, TEXT_MAX)))
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_outcome(
    connection: &mut SqliteConnection,
    body: &job::Finished,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE jobs SET exit_code = $2, snapshot_id = $3, stats = $4 WHERE id = $1")
        .bind(body.job_id.to_string())
        .bind(body.exit_code.map(i64::from))
        .bind(body.snapshot_id.as_deref().map(|id| bounded(id, 128)))
        .bind(body.stats.as_ref().map(|stats| stats.as_str().to_owned()))
        .execute(connection)
        .await?;
    Ok(())
}

/// A partial update: what the report leaves out stays as it was. Only hosts that use a repository
/// have a say.
async fn repo_stats(
    connection: &mut SqliteConnection,
    host: HostId,
    body: &snapshot::RepoStats,
    effects: &mut Effects,
) -> Applied {
    if let Some(room) = body.room {
        upkeep::note_room(connection, host, body.repository_id, room, effects.now).await?;
        effects.hosts.insert(host);
    }
    let uses: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM source_groups WHERE host_id = $1 AND repository_id = $2 LIMIT 1",
    )
    .bind(host.to_string())
    .bind(body.repository_id.to_string())
    .fetch_optional(&mut *connection)
    .await?;
    if uses.is_none() {
        return Ok(());
    }
    let measured = Measured {
        total_size_bytes: body.total_size_bytes,
        raw_size_bytes: body.raw_size_bytes,
        snapshot_count: body.snapshot_count,
    };
    size::measure(connection, body.repository_id, measured, effects.now).await?;
    Ok(())
}

/// The agent lost what it had not delivered; an operator should know that there may be a gap.
async fn outbox_reset(connection: &mut SqliteConnection, host: HostId, now: Timestamp) -> Applied {
    sqlx::query("UPDATE hosts SET outbox_reset_at = $2 WHERE id = $1")
        .bind(host.to_string())
        .bind(now.as_millisecond())
        .execute(connection)
        .await?;
    Ok(())
}

/// What a job that ended well tells of its repository.
async fn learn_sizes(
    connection: &mut SqliteConnection,
    body: &job::Finished,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let good = matches!(body.status, Status::Succeeded | Status::Partial);
    let Some(stats) = body.stats.as_ref().filter(|_| good) else { return Ok(()) };
    let row = sqlx::query("SELECT operation, repository_id, parameters FROM jobs WHERE id = $1")
        .bind(body.job_id.to_string())
        .fetch_one(&mut *connection)
        .await?;
    let Some(repository) = row.parsed_opt("repository_id")? else { return Ok(()) };
    let parameters = row.text_opt("parameters")?.and_then(|it| Payload::from_text(it).ok());
    let operation = row.operation("operation")?;
    size::job_told(connection, repository, operation, parameters.as_ref(), stats, now).await
}

fn bounded(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
