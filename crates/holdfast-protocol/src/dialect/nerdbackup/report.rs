//! Holdfast's messages as NerdBackup says them: our server to their agent, our agent to their
//! server.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    AgentMessage, Command, Heartbeat, JobReport, JobStarted, JobStats, Progress, StartBackup,
};
use crate::{
    JobId, Message, Payload,
    dialect::{Ability, Dialect, Ledger, Unsayable, convert, gojson::GoTime},
    message::{
        job::{self, Finished, Started, Status},
        link::Facts,
    },
};

impl Command {
    /// What our server sends their agent for `message`; `None` for what needs no words there.
    ///
    /// A cancel, pause or resume goes out only for a job that is open: their agent takes an id it
    /// does not know for any job, or for all of them.
    ///
    /// # Errors
    /// [`Unsayable`] for what the dialect has no words for.
    pub fn of(message: &Message, ledger: &Ledger) -> Result<Option<Self>, Unsayable> {
        if let Some(ability) = Ability::needed_for(message) {
            // Schedules travel inside the list that `config_update` makes the agent fetch.
            if ability != Ability::Schedule {
                Dialect::Nerdbackup.require(ability)?;
            }
        }
        let open = |id: JobId| ledger.job(id).is_some().then(|| ledger.name_of(id));
        Ok(match message {
            Message::CommandRun(run) => Some(Self::StartBackup(StartBackup {
                repo_id: run.tag.clone(),
                job_id: ledger.name_of(run.job_id),
            })),
            Message::CommandCancel(cancel) => {
                open(cancel.job_id).map(|job_id| Self::Cancel { job_id })
            }
            Message::CommandPause(pause) => open(pause.job_id).map(|job_id| Self::Pause { job_id }),
            Message::CommandResume(resume) => {
                open(resume.job_id).map(|job_id| Self::Resume { job_id })
            }
            Message::ConfigUpdate(_) | Message::ScheduleSet(_) => Some(Self::ConfigUpdate),
            _ => None,
        })
    }
}

/// What a heartbeat of theirs says about the machine and ours does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostMetrics {
    /// Seconds since the machine started.
    pub uptime_seconds: u64,
    /// Free bytes on the disk that holds the agent's data.
    pub disk_free_bytes: u64,
    /// Processors.
    pub cpu_count: u32,
    /// Bytes of memory.
    pub memory_total_bytes: u64,
}

impl Heartbeat {
    /// The heartbeat of our agent.
    #[must_use]
    pub fn of(facts: &Facts, metrics: HostMetrics) -> Self {
        Self {
            agent_version: facts.agent_version.clone(),
            restic_version: facts.restic_version.clone(),
            platform: facts.os.clone(),
            arch: facts.arch.clone(),
            hostname: facts.hostname.clone(),
            uptime_seconds: convert::signed(metrics.uptime_seconds),
            disk_free_bytes: convert::signed(metrics.disk_free_bytes),
            cpu_count: i64::from(metrics.cpu_count),
            memory_total_bytes: convert::signed(metrics.memory_total_bytes),
        }
    }
}

/// What our agent tells their server for `message`: nothing for what the dialect has no word for.
///
/// `started_at` is when the job of a progress or an end was started.
#[must_use]
pub fn reports(message: &Message, ledger: &Ledger, started_at: Timestamp) -> Option<AgentMessage> {
    Some(match message {
        Message::JobStarted(started) => AgentMessage::JobStarted(began(started, ledger)),
        Message::JobState(change) => AgentMessage::JobStarted(JobStarted {
            job_id: ledger.name_of(change.job_id),
            repo_id: None,
            status: convert::words_of(change.status).nerdbackup.to_owned(),
        }),
        Message::JobProgress(progress) => {
            AgentMessage::Progress(progressed(progress, ledger, started_at))
        }
        Message::JobFinished(finished) => {
            AgentMessage::JobReport(Box::new(ended(finished, ledger, started_at)))
        }
        _ => return None,
    })
}

fn began(started: &Started, ledger: &Ledger) -> JobStarted {
    JobStarted {
        job_id: ledger.name_of(started.job_id),
        repo_id: Some(started.tag.clone()),
        status: convert::words_of(Status::Running).nerdbackup.to_owned(),
    }
}

fn progressed(progress: &job::Progress, ledger: &Ledger, started_at: Timestamp) -> Progress {
    Progress {
        repo_id: ledger.group_of(progress.job_id),
        job_id: ledger.name_of(progress.job_id),
        percent_done: convert::fraction(progress.percent_done),
        bytes_processed: convert::signed(progress.bytes_done),
        files_processed: convert::signed(progress.files_done),
        current_file: progress.current_files.first().cloned().unwrap_or_default(),
        started_at: convert::text_of_time(started_at),
    }
}

fn ended(finished: &Finished, ledger: &Ledger, started_at: Timestamp) -> JobReport {
    JobReport {
        repo_id: ledger.group_of(finished.job_id),
        dashboard_job_id: ledger.name_of(finished.job_id),
        operation: "backup".to_owned(),
        status: convert::words_of(finished.status).nerdbackup.to_owned(),
        started_at: GoTime::from(started_at),
        completed_at: GoTime::from(finished.finished_at),
        restic_snapshot_id: finished.snapshot_id.clone().unwrap_or_default(),
        stats: JobStats::of(finished.stats.as_ref()),
        error_message: convert::reason_text(finished.status, finished.error.as_ref()),
        ..JobReport::default()
    }
}

impl JobStats {
    /// Their figures from restic's own summary; what it does not tell is 0.
    fn of(summary: Option<&Payload>) -> Self {
        let summary: Value = summary.and_then(|body| body.parse().ok()).unwrap_or_default();
        let figure = |name: &str| summary[name].as_i64().unwrap_or(0);
        Self {
            files_new: figure("files_new"),
            files_changed: figure("files_changed"),
            files_unmodified: figure("files_unmodified"),
            dirs_new: figure("dirs_new"),
            data_added_bytes: figure("data_added"),
            total_files_processed: figure("total_files_processed"),
            total_bytes_processed: figure("total_bytes_processed"),
            // restic gives seconds with a fraction; a float to an integer saturates.
            total_duration_seconds: summary["total_duration"].as_f64().unwrap_or(0.0) as i64,
            ..Self::default()
        }
    }
}
