//! Holdfast's messages as Backupy says them.

use jiff::Timestamp;

use super::{
    said::{PAUSED, RESUMED},
    wire::{
        AgentConfig, BackupCompleted, Body, CancelJob, ConfigUpdate, Heartbeat, JobStatus,
        JobUpdate, LogEvent, LogLevel, Register, RegisterAck, RunBackup, S3UploadCreds,
    },
};
use crate::{
    Message, Payload,
    dialect::{Ability, Dialect, Ledger, Unsayable, convert},
    message::{
        config::Secret,
        job::{self, Finished, Status},
        link::Facts,
        log,
    },
};

/// Where a run puts its result, and the key it seals it with.
#[derive(Debug, Clone)]
pub struct Upload {
    /// An address that takes one object without further credentials.
    pub presigned_put_url: Secret,
    /// Until when it does, in milliseconds since 1970.
    pub expires_at_ms: u64,
    /// The object's key.
    pub key: String,
    /// The data key: 32 bytes for an agent of the default build.
    pub data_key: DataKey,
}

/// A data key; `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DataKey(pub Vec<u8>);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(…)")
    }
}

/// What our server sends their agent for `message`; `None` for what needs no words there.
///
/// `upload` is for [`Message::CommandRun`] alone, `config` for a change of configuration.
///
/// # Errors
/// [`Unsayable`] for what the dialect, or its agent, cannot do. A cancel can be written and is not
/// refused here: another agent of the same wire may obey it, so the caller decides by
/// [`Dialect::can`].
pub fn command(
    message: &Message,
    ledger: &Ledger,
    upload: Option<Upload>,
    config: Option<&AgentConfig>,
) -> Result<Option<Body>, Unsayable> {
    if let (Message::CommandRun(_), Some(ability)) = (message, Ability::needed_for(message)) {
        Dialect::Backupy.require(ability)?;
    }
    Ok(match message {
        Message::CommandRun(run) => Some(Body::RunBackup(RunBackup {
            job_id: run.tag.clone(),
            run_id: ledger.name_of(run.job_id),
            manual_trigger: true,
            encrypted_dek: upload.as_ref().map(|u| u.data_key.0.clone()).unwrap_or_default(),
            upload_creds: upload.map(S3UploadCreds::from),
        })),
        Message::CommandCancel(cancel) => {
            let job_id = ledger.group_of(cancel.job_id);
            (!job_id.is_empty()).then_some(Body::CancelJob(CancelJob { job_id }))
        }
        Message::ConfigUpdate(_) | Message::ScheduleSet(_) => {
            config.map(|config| Body::ConfigUpdate(ConfigUpdate { config: Some(config.clone()) }))
        }
        Message::CommandPause(_) => return Err(refused(Ability::Pause)),
        Message::CommandResume(_) => return Err(refused(Ability::Resume)),
        _ => None,
    })
}

fn refused(ability: Ability) -> Unsayable {
    Unsayable { dialect: Dialect::Backupy, ability }
}

impl From<Upload> for S3UploadCreds {
    fn from(upload: Upload) -> Self {
        Self {
            presigned_put_url: upload.presigned_put_url.expose().to_owned(),
            expires_at_ms: upload.expires_at_ms,
            final_s3_key: upload.key,
        }
    }
}

/// The first frame of our server: without it within 15 s, or after anything else, their agent
/// leaves.
#[must_use]
pub fn register_ack(
    session_id: impl Into<String>,
    config: AgentConfig,
    heartbeat_interval_sec: u32,
    now: Timestamp,
) -> Body {
    Body::RegisterAck(RegisterAck {
        session_id: session_id.into(),
        config: Some(config),
        heartbeat_interval_sec,
        server_time_iso: convert::text_of_time(now),
    })
}

/// The first frame of our agent.
#[must_use]
pub fn register(facts: &Facts, capabilities: Vec<String>, config_version: i64) -> Body {
    Body::Register(Register {
        agent_version: facts.agent_version.clone(),
        hostname: facts.hostname.clone(),
        os: facts.os.clone(),
        arch: facts.arch.clone(),
        docker_version: String::new(),
        capabilities,
        last_known_config_version: convert::count(config_version),
    })
}

/// The heartbeat of our agent.
#[must_use]
pub fn heartbeat(heartbeat: &job::Heartbeat, ledger: &Ledger) -> Body {
    let jobs = heartbeat.active_job_ids.iter().map(|id| ledger.name_of(*id));
    Body::Heartbeat(Heartbeat {
        config_version: convert::count(heartbeat.config_version),
        metrics: None,
        active_job_ids: jobs.collect(),
    })
}

/// What our agent tells their server for `message`; nothing for what the dialect has no word for.
#[must_use]
pub fn report(message: &Message, ledger: &Ledger) -> Vec<Body> {
    let update = |id, status: Status| JobUpdate {
        job_id: ledger.group_of(id),
        status: convert::words_of(status).backupy.into(),
        run_id: ledger.name_of(id),
        ..JobUpdate::default()
    };
    match message {
        Message::Heartbeat(beat) => vec![heartbeat(beat, ledger)],
        Message::JobStarted(started) => {
            vec![Body::JobUpdate(update(started.job_id, Status::Running))]
        }
        Message::JobState(change) => {
            let step = if change.status == Status::Paused { PAUSED } else { RESUMED };
            let update = update(change.job_id, change.status);
            vec![Body::JobUpdate(JobUpdate { current_step: step.to_owned(), ..update })]
        }
        Message::JobProgress(progress) => vec![Body::JobUpdate(JobUpdate {
            progress_percent: convert::whole_percent(progress.percent_done),
            current_step: "uploading".to_owned(),
            ..update(progress.job_id, Status::Running)
        })],
        Message::JobFinished(finished) => ended(finished, update(finished.job_id, finished.status)),
        Message::LogStream(stream) => {
            let group = ledger.group_of(stream.job_id);
            stream.lines.iter().map(|line| Body::Log(log_event(line, &group))).collect()
        }
        _ => Vec::new(),
    }
}

/// A success is their word for a finished backup, and a partial one leaves a line in the log beside
/// it; everything else is an update with the reason.
fn ended(finished: &Finished, update: JobUpdate) -> Vec<Body> {
    let text = convert::reason_text(finished.status, finished.error.as_ref());
    if convert::words_of(finished.status).backupy != JobStatus::Success {
        return vec![Body::JobUpdate(JobUpdate { error_message: text, ..update })];
    }
    let mut bodies = Vec::new();
    if !text.is_empty() {
        bodies.push(Body::Log(LogEvent {
            ts_ms: convert::ms_of_time(finished.finished_at),
            level: LogLevel::Warn.into(),
            job_id: update.job_id.clone(),
            message: text,
            ..LogEvent::default()
        }));
    }
    bodies.push(Body::BackupCompleted(completed(finished, update)));
    bodies
}

fn completed(finished: &Finished, update: JobUpdate) -> BackupCompleted {
    let stats: serde_json::Value =
        finished.stats.as_ref().and_then(|body: &Payload| body.parse().ok()).unwrap_or_default();
    let seconds = stats["total_duration"].as_f64().unwrap_or(0.0);
    BackupCompleted {
        job_id: update.job_id,
        run_id: update.run_id,
        s3_key: finished.snapshot_id.clone().unwrap_or_default(),
        size_bytes: stats["total_bytes_processed"].as_u64().unwrap_or(0),
        // A float to an integer saturates.
        duration_ms: (seconds * 1000.0) as u64,
        ..BackupCompleted::default()
    }
}

fn log_event(line: &log::Line, group: &str) -> LogEvent {
    let level = match line.stream {
        log::Source::Stderr => LogLevel::Warn,
        log::Source::Stdout | log::Source::Event => LogLevel::Info,
    };
    LogEvent {
        ts_ms: convert::ms_of_time(line.ts),
        level: level.into(),
        job_id: group.to_owned(),
        message: line.payload.clone(),
        ..LogEvent::default()
    }
}
