//! Backupy's messages in the words of Holdfast.

use jiff::Timestamp;
use serde_json::json;

use super::wire::{
    BackupCompleted, Body, Envelope, Heartbeat, JobUpdate, LogEvent, LogLevel, Register, RunBackup,
};
use crate::{
    JobId, Message, Payload,
    dialect::{Introduction, Ledger, OpenJob, Said, convert},
    message::{
        command, job,
        job::{Finished, Operation, Progress, Started, StateChange},
        link::Facts,
        log,
    },
};

/// What their agent says, for our server. Log lines are numbered as they come.
#[must_use]
pub fn hear_agent(frame: &Envelope, ledger: &mut Ledger, now: Timestamp) -> Vec<Said> {
    let said = match &frame.payload {
        Some(Body::Register(register)) => introduction(register),
        Some(Body::Heartbeat(heartbeat)) => beat(heartbeat, ledger, now),
        Some(Body::JobUpdate(update)) => return updated(update, ledger, now),
        Some(Body::BackupCompleted(completed)) => done(completed, ledger, now),
        Some(Body::Log(event)) => logged(event, ledger, now),
        Some(other) => carried(other),
        // A number from the future: no error, and nothing to carry.
        None => return Vec::new(),
    };
    vec![said]
}

fn introduction(register: &Register) -> Said {
    let facts = Facts {
        agent_version: register.agent_version.clone(),
        hostname: register.hostname.clone(),
        os: register.os.clone(),
        arch: register.arch.clone(),
        ..Facts::default()
    };
    Said::Introduction(Box::new(Introduction {
        facts,
        capabilities: register.capabilities.clone(),
        config_version: convert::signed(register.last_known_config_version),
        name: None,
    }))
}

fn beat(heartbeat: &Heartbeat, ledger: &Ledger, now: Timestamp) -> Said {
    let named = heartbeat.active_job_ids.iter().map(|name| ledger.job_named(name));
    let queued = heartbeat.metrics.map_or(0, |metrics| metrics.queue_depth);
    Said::Message(Message::Heartbeat(job::Heartbeat {
        sent_at: now,
        active_job_ids: named.collect(),
        queue_depth: queued.into(),
        config_version: convert::signed(heartbeat.config_version),
    }))
}

/// An update of an old agent has no run: it is the group's one open job, or nobody's.
fn updated(update: &JobUpdate, ledger: &Ledger, now: Timestamp) -> Vec<Said> {
    let placed = ledger.place(&update.run_id, &update.job_id);
    let (Some(job_id), Some(status)) = (placed, convert::status_of_number(update.status)) else {
        return vec![Said::unplaced("job_update")];
    };
    if status.is_terminal() {
        return vec![Message::JobFinished(ended(update, job_id, status, ledger, now)).into()];
    }
    if status == job::Status::Queued {
        return Vec::new();
    }
    vec![running(update, job_id, now).into()]
}

/// One number says running and paused; our own agents tell them apart by the step.
fn running(update: &JobUpdate, job_id: JobId, now: Timestamp) -> Message {
    let state = |status| Message::JobState(StateChange { job_id, status, changed_at: now });
    match (update.current_step.as_str(), update.progress_percent) {
        (PAUSED, _) => state(job::Status::Paused),
        (RESUMED, _) => state(job::Status::Running),
        ("", 0) => Message::JobStarted(start(job_id, &update.job_id, now)),
        _ => Message::JobProgress(progress(update, job_id)),
    }
}

/// The step of a paused job, in a state that is running for those who know no pause.
pub(super) const PAUSED: &str = "paused";
/// The step of a job that goes on.
pub(super) const RESUMED: &str = "resumed";

fn start(job_id: JobId, group: &str, started_at: Timestamp) -> Started {
    Started {
        job_id,
        operation: Operation::Backup,
        started_at,
        attempt: 1,
        tag: group.to_owned(),
        schedule_id: None,
        scheduled_at: None,
    }
}

fn progress(update: &JobUpdate, job_id: JobId) -> Progress {
    Progress {
        job_id,
        percent_done: convert::fraction_of_percent(update.progress_percent.into()),
        files_done: 0,
        total_files: 0,
        bytes_done: 0,
        total_bytes: 0,
        eta_seconds: None,
        throughput_bps: 0,
        current_files: Vec::new(),
        error_count: 0,
    }
}

fn ended(
    update: &JobUpdate,
    job_id: JobId,
    status: job::Status,
    ledger: &Ledger,
    now: Timestamp,
) -> Finished {
    let cancelling = ledger.job(job_id).is_some_and(|job| job.cancelling);
    let status = convert::refine(status, &update.error_message, None, cancelling);
    Finished {
        job_id,
        status,
        exit_code: None,
        finished_at: now,
        snapshot_id: None,
        stats: None,
        error: convert::reason(status, &update.error_message),
        next_try: None,
    }
}

/// The object's key stands for the snapshot; the data key stays out of every record.
fn done(completed: &BackupCompleted, ledger: &Ledger, now: Timestamp) -> Said {
    let Some(job_id) = ledger.place(&completed.run_id, &completed.job_id) else {
        return Said::unplaced("backup_completed");
    };
    let seconds = std::time::Duration::from_millis(completed.duration_ms).as_secs_f64();
    let stats = json!({
        "message_type": "summary",
        "total_bytes_processed": completed.size_bytes,
        "data_added": completed.size_bytes,
        "total_duration": seconds,
        "sha256": completed.sha256,
        "compression": completed.compression,
        "db_engine_version": completed.db_engine_version,
    });
    Said::Message(Message::JobFinished(Finished {
        job_id,
        status: job::Status::Succeeded,
        exit_code: None,
        finished_at: now,
        snapshot_id: Some(completed.s3_key.clone()).filter(|key| !key.is_empty()),
        stats: Some(Payload::of(&stats)),
        error: None,
        next_try: None,
    }))
}

fn logged(event: &LogEvent, ledger: &mut Ledger, now: Timestamp) -> Said {
    // Their agent may write either id here; a run's wins.
    let run = event.fields.get("run_id").map_or("", String::as_str);
    let by_group = ledger.place("", &event.job_id);
    let by_name = || ledger.place(run, "").or_else(|| event.job_id.parse().ok());
    let placed = by_group.or_else(by_name);
    let Some((job_id, seq)) = placed.and_then(|id| Some((id, ledger.next_line(id)?))) else {
        return carried(&Body::Log(event.clone()));
    };
    let source = match event.level() {
        LogLevel::Warn | LogLevel::Error => log::Source::Stderr,
        _ => log::Source::Event,
    };
    let line = log::Line {
        seq,
        ts: convert::time_of_ms(event.ts_ms).unwrap_or(now),
        stream: source,
        payload: event.message.chars().take(4096).collect(),
    };
    Said::Message(Message::LogStream(log::Stream { job_id, lines: vec![line] }))
}

/// What has no word here, with the fields a person may want to see.
fn carried(body: &Body) -> Said {
    let payload = match body {
        Body::Discovery(report) => json!({
            "containers": report.containers.iter().map(|container| json!({
                "container_id": container.container_id,
                "name": container.name,
                "image": container.image,
                "detected_db_type": container.detected_db_type,
                "networks": container.networks,
            })).collect::<Vec<_>>(),
        }),
        Body::HealthResult(result) => json!({
            "check_id": result.check_id,
            "ts_ms": result.ts_ms,
            "ok": result.ok,
            "latency_ms": result.latency_ms,
            "error": result.error,
            "status_code": result.status_code,
        }),
        Body::Ack(ack) => json!({
            "correlation_id": ack.correlation_id,
            "accepted": ack.accepted,
            "reason": ack.reason,
        }),
        Body::Log(event) => json!({ "ts_ms": event.ts_ms, "message": event.message }),
        Body::RestoreUpdate(update) => json!({
            "restore_id": update.restore_id,
            "status": update.status,
            "progress_percent": update.progress_percent,
            "current_step": update.current_step,
            "error_message": update.error_message,
        }),
        _ => json!(null),
    };
    Said::other(body.kind(), Payload::of(&payload))
}

/// What their server says, for our agent. A configuration comes through [`super::update_of`].
///
/// Opens the job of a run in the ledger. A run that comes twice keeps what is known of the job.
#[must_use]
pub fn hear_server(frame: &Envelope, ledger: &mut Ledger, host_name: &str) -> Vec<Said> {
    let said = match &frame.payload {
        Some(Body::RegisterAck(ack)) => ack.config.as_ref().map(|config| {
            Message::ConfigUpdate(super::update_of(config, ledger, host_name)).into()
        }),
        Some(Body::ConfigUpdate(update)) => update.config.as_ref().map(|config| {
            Message::ConfigUpdate(super::update_of(config, ledger, host_name)).into()
        }),
        Some(Body::RunBackup(run)) => Some(ordered(run, ledger)),
        Some(Body::CancelJob(cancel)) => Some(match ledger.place("", &cancel.job_id) {
            Some(job_id) => Message::CommandCancel(command::Cancel { job_id }).into(),
            None => Said::unplaced("cancel_job"),
        }),
        Some(other) => Some(carried(other)),
        None => None,
    };
    said.into_iter().collect()
}

fn ordered(run: &RunBackup, ledger: &mut Ledger) -> Said {
    if run.run_id.is_empty() {
        return Said::unplaced("run_backup");
    }
    let job_id = ledger.job_named(&run.run_id);
    if !ledger.open_ordered(job_id, OpenJob::of_group(&*run.job_id).named(&*run.run_id)) {
        return Said::unplaced("run_backup");
    }
    Said::Message(Message::CommandRun(command::Run {
        tag: run.job_id.clone(),
        ..command::Run::new(job_id, Operation::Backup, ledger.repository_of(&run.job_id))
    }))
}
