//! NerdBackup's messages in the words of Holdfast.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    AgentMessage, Command, ForgetSnapshot, FsListResponse, FsMkdirResponse, FsSearchResponse,
    Heartbeat, JobReport, JobStarted, JobStats, PitrBaseBackupResult, PitrRestoreResult,
    PitrSetupResult, PitrStatusResult, Progress, Restore, StartBackup, VerifyResult,
};
use crate::{
    JobId, Message, Payload,
    dialect::{Dialect, Introduction, Ledger, OpenJob, Said, convert, gojson::GoTime},
    message::{
        command,
        job::{Finished, Operation, Started, StateChange, Status},
        link::Facts,
        snapshot::RepoStats,
    },
};

/// What their agent says, for our server.
///
/// A report that names no job of ours is a run that the agent started on its own: it gets an id
/// that its group and start decide, so that a repeated report is the same job again.
#[must_use]
pub fn hear_agent(message: &AgentMessage, ledger: &Ledger, now: Timestamp) -> Vec<Said> {
    match message {
        AgentMessage::Heartbeat(heartbeat) => {
            vec![introduction(heartbeat, now), Said::heartbeat(ledger, now)]
        }
        AgentMessage::Progress(progress) => vec![progressed(progress, ledger)],
        AgentMessage::JobStarted(started) => vec![began(started, ledger, now)],
        AgentMessage::JobReport(report) => reported(report, ledger, now),
        AgentMessage::Unknown { kind, data } => vec![Said::other(kind, data.to_payload())],
        known => vec![Said::other(known.kind(), known.data().to_payload())],
    }
}

fn introduction(heartbeat: &Heartbeat, now: Timestamp) -> Said {
    let uptime = SignedDuration::from_secs(heartbeat.uptime_seconds.max(0));
    let facts = Facts {
        agent_version: heartbeat.agent_version.clone(),
        restic_version: heartbeat.restic_version.clone(),
        hostname: heartbeat.hostname.clone(),
        os: heartbeat.platform.clone(),
        arch: heartbeat.arch.clone(),
        boot_time: now.checked_sub(uptime).ok().filter(|_| heartbeat.uptime_seconds > 0),
        time_zone: String::new(),
    };
    Said::Introduction(Box::new(Introduction { facts, ..Introduction::default() }))
}

fn progressed(progress: &Progress, ledger: &Ledger) -> Said {
    let started_at = convert::time_of_text(&progress.started_at);
    let unasked = || started_at.map(|at| ledger.unasked_job(&progress.repo_id, at));
    let placed = ledger.place(&progress.job_id, &progress.repo_id).or_else(unasked);
    let Some(job_id) = placed else { return Said::unplaced("progress") };
    let current = Some(progress.current_file.clone()).filter(|file| !file.is_empty());
    Said::Message(Message::JobProgress(crate::message::job::Progress {
        job_id,
        percent_done: convert::fraction(progress.percent_done),
        files_done: convert::count(progress.files_processed),
        total_files: 0,
        bytes_done: convert::count(progress.bytes_processed),
        total_bytes: 0,
        eta_seconds: None,
        throughput_bps: 0,
        current_files: current.into_iter().collect(),
        error_count: 0,
    }))
}

/// One word of theirs says four things: which, is told by the state and by whether the group is
/// named.
fn began(started: &JobStarted, ledger: &Ledger, now: Timestamp) -> Said {
    let group = started.repo_id.clone().unwrap_or_default();
    let status = convert::status_of_word(Dialect::Nerdbackup, &started.status);
    let (Some(job_id), Some(status)) = (ledger.place(&started.job_id, &group), status) else {
        return Said::unplaced("job_started");
    };
    let message = match status {
        Status::Running if started.repo_id.is_some() => start(job_id, group, now),
        Status::Running | Status::Paused => {
            Message::JobState(StateChange { job_id, status, changed_at: now })
        }
        ended if ended.is_terminal() => ended_early(job_id, ended, ledger, now),
        _ => return Said::unplaced("job_started"),
    };
    message.into()
}

fn start(job_id: JobId, group: String, started_at: Timestamp) -> Message {
    Message::JobStarted(Started {
        job_id,
        operation: Operation::Backup,
        started_at,
        attempt: 1,
        tag: group,
        schedule_id: None,
        scheduled_at: None,
    })
}

/// Their agent ends a job this way when the repository is not ready, and sends no report then.
fn ended_early(job_id: JobId, status: Status, ledger: &Ledger, now: Timestamp) -> Message {
    let cancelling = ledger.job(job_id).is_some_and(|job| job.cancelling);
    let status = convert::refine(status, "", None, cancelling);
    let mut error = convert::reason(status, "");
    if let (Status::Failed, Some(error)) = (status, error.as_mut()) {
        "repository_unreachable".clone_into(&mut error.code);
        "The agent could not open the repository.".clone_into(&mut error.message);
    }
    Message::JobFinished(Finished {
        job_id,
        status,
        exit_code: None,
        finished_at: now,
        snapshot_id: None,
        stats: None,
        error,
        next_try: None,
    })
}

fn reported(report: &JobReport, ledger: &Ledger, now: Timestamp) -> Vec<Said> {
    let Some(operation) = convert::operation(&report.operation) else {
        return vec![other_report(report)];
    };
    let status = convert::status_of_word(Dialect::Nerdbackup, &report.status);
    let Some(status) = status.filter(|status| status.is_terminal()) else {
        return vec![other_report(report)];
    };
    let mut said = Vec::new();
    let started_at = report.started_at.known().unwrap_or(now);
    let job_id = if report.dashboard_job_id.is_empty() {
        let job_id = ledger.unasked_job(&report.repo_id, started_at);
        let mut begun = start(job_id, report.repo_id.clone(), started_at);
        if let Message::JobStarted(begun) = &mut begun {
            begun.operation = operation;
        }
        said.push(begun.into());
        job_id
    } else {
        ledger.job_named(&report.dashboard_job_id)
    };
    said.push(Message::JobFinished(finished(report, job_id, status, ledger, now)).into());
    said.extend(sizes(report, ledger));
    said
}

fn other_report(report: &JobReport) -> Said {
    Said::other("job_report", super::Raw::of(report).to_payload())
}

fn finished(
    report: &JobReport,
    job_id: JobId,
    status: Status,
    ledger: &Ledger,
    now: Timestamp,
) -> Finished {
    let exit_code = convert::exit_code_in(&report.error_message);
    let cancelling = ledger.job(job_id).is_some_and(|job| job.cancelling);
    let status = convert::refine(status, &report.error_message, exit_code, cancelling);
    let snapshot = Some(report.restic_snapshot_id.clone()).filter(|id| !id.is_empty());
    Finished {
        job_id,
        status,
        exit_code: exit_code.or((status == Status::Succeeded).then_some(0)),
        finished_at: report.completed_at.known().unwrap_or(now),
        snapshot_id: snapshot,
        stats: (report.operation == "backup").then(|| summary_of(&report.stats)),
        error: convert::reason(status, &report.error_message),
        next_try: None,
    }
}

/// Their figures under restic's own names, as native agents report them.
fn summary_of(stats: &JobStats) -> Payload {
    Payload::of(&json!({
        "message_type": "summary",
        "files_new": stats.files_new,
        "files_changed": stats.files_changed,
        "files_unmodified": stats.files_unmodified,
        "dirs_new": stats.dirs_new,
        "data_added": stats.data_added_bytes,
        "total_files_processed": stats.total_files_processed,
        "total_bytes_processed": stats.total_bytes_processed,
        "total_duration": stats.total_duration_seconds,
    }))
}

fn sizes(report: &JobReport, ledger: &Ledger) -> Option<Said> {
    let known = |size: i64| Some(convert::count(size)).filter(|size| *size > 0);
    let stats = RepoStats {
        repository_id: ledger.repository_of(&report.repo_id),
        total_size_bytes: known(report.stats.repo_restore_size),
        raw_size_bytes: known(report.stats.repo_raw_size),
        snapshot_count: None,
        room: None,
    };
    let anything = stats.total_size_bytes.or(stats.raw_size_bytes).is_some();
    anything.then(|| Message::RepoStats(stats).into())
}

/// What their server orders, for our agent.
///
/// Opens the job of a start in the ledger, with their spelling of its id. An order for an unknown
/// job is [`Said::Unplaced`]: unlike the original, ours never takes another job instead.
#[must_use]
pub fn hear_command(command: &Command, ledger: &mut Ledger) -> Said {
    match command {
        Command::StartBackup(start) => started_by(start, ledger),
        Command::Cancel { job_id } => about(job_id, ledger, "cancel", |job_id| {
            Message::CommandCancel(command::Cancel { job_id })
        }),
        Command::Pause { job_id } => about(job_id, ledger, "pause", |job_id| {
            Message::CommandPause(command::Pause { job_id })
        }),
        Command::Resume { job_id } => about(job_id, ledger, "resume", |job_id| {
            Message::CommandResume(command::Resume { job_id })
        }),
        other => {
            let (action, _, data) = other.parts();
            Said::other(action, data.to_payload())
        }
    }
}

fn started_by(start: &StartBackup, ledger: &mut Ledger) -> Said {
    if start.job_id.is_empty() || start.repo_id.is_empty() {
        return Said::unplaced("start_backup");
    }
    let job_id = ledger.job_named(&start.job_id);
    if !ledger.open_ordered(job_id, OpenJob::of_group(&*start.repo_id).named(&*start.job_id)) {
        return Said::unplaced("start_backup");
    }
    Said::Message(Message::CommandRun(command::Run {
        tag: start.repo_id.clone(),
        ..command::Run::new(job_id, Operation::Backup, ledger.repository_of(&start.repo_id))
    }))
}

fn about(name: &str, ledger: &Ledger, action: &str, message: impl Fn(JobId) -> Message) -> Said {
    let id = ledger.job_named(name);
    if name.is_empty() || ledger.job(id).is_none() {
        return Said::unplaced(action);
    }
    message(id).into()
}

/// The answer with which an agent declines an order, so that nobody waits for one that never comes.
///
/// `None` where the dialect has no answer: to `file_dump`, and where the order carries no id.
#[must_use]
pub fn refuse(command: &Command, why: &str, now: Timestamp) -> Option<AgentMessage> {
    let error = why.to_owned();
    let failed = || "failed".to_owned();
    let at = || convert::text_of_time(now);
    Some(match command {
        Command::StartBackup(start) => failure("backup", &start.job_id, &start.repo_id, why, now),
        Command::Restore(Restore { job_id, .. }) => failure("restore", job_id, "", why, now),
        Command::FsList(asked) => AgentMessage::FsListResponse(FsListResponse {
            entries: Vec::new(),
            error,
            path: asked.path.clone(),
            request_id: asked.request_id.clone(),
        }),
        Command::FsSearch(asked) => AgentMessage::FsSearchResponse(FsSearchResponse {
            error: Some(error),
            request_id: asked.request_id.clone(),
            results: Some(Vec::new()),
            ..FsSearchResponse::default()
        }),
        Command::FsMkdir(asked) => AgentMessage::FsMkdirResponse(FsMkdirResponse {
            error,
            path: asked.path.clone(),
            request_id: asked.request_id.clone(),
            success: false,
        }),
        Command::PitrSetup(asked) => AgentMessage::PitrSetupResult(PitrSetupResult {
            config_id: asked.config_id.clone(),
            status: failed(),
            error,
            ..PitrSetupResult::default()
        }),
        Command::PitrBaseBackup(asked) => {
            AgentMessage::PitrBaseBackupResult(PitrBaseBackupResult {
                config_id: asked.config_id.clone(),
                status: failed(),
                started_at: at(),
                completed_at: at(),
                error,
                ..PitrBaseBackupResult::default()
            })
        }
        Command::PitrRestore(asked) => AgentMessage::PitrRestoreResult(PitrRestoreResult {
            config_id: asked.config_id.clone(),
            target_time: asked.target_time.clone(),
            restore_dir: asked.restore_dir.clone(),
            status: failed(),
            started_at: at(),
            completed_at: at(),
            error,
        }),
        Command::PitrStatus(asked) => AgentMessage::PitrStatusResult(PitrStatusResult {
            config_id: asked.config_id.clone(),
            status: "error".to_owned(),
            error_message: error,
            ..PitrStatusResult::default()
        }),
        Command::VerifyRepo(asked) => AgentMessage::VerifyResult(VerifyResult {
            error,
            passed: false,
            repo_id: asked.repo_id.clone(),
            request_id: asked.request_id.clone(),
            ..VerifyResult::default()
        }),
        Command::ForgetSnapshot(ForgetSnapshot { .. }) | Command::FileDump(_) => return None,
        _ => return None,
    })
}

fn failure(operation: &str, job: &str, group: &str, why: &str, now: Timestamp) -> AgentMessage {
    AgentMessage::JobReport(Box::new(JobReport {
        repo_id: group.to_owned(),
        dashboard_job_id: job.to_owned(),
        operation: operation.to_owned(),
        status: "failed".to_owned(),
        started_at: GoTime::from(now),
        completed_at: GoTime::from(now),
        error_message: why.to_owned(),
        ..JobReport::default()
    }))
}
