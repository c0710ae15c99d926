//! Holdfast's messages as the fleet says them.

use super::{
    CommandCancel, CommandResult, CommandRun, ConfigUpdate, Frame, Group, Heartbeat, Hello,
    JobFinished, JobProgress, JobStarted, LogLine, PROTOCOL_VERSION, RepoStats, Schedule,
    ScheduleAck, ScheduleFire, ScheduleSet, Snapshot, SnapshotsReport,
};
use crate::{
    Message,
    dialect::{
        Ability, Dialect, Ledger, Unsayable, convert,
        gojson::{GoTime, Raw},
    },
    message::{config, job, link::Facts, log, schedule as plan, snapshot},
};

impl Hello {
    /// The hello of our agent.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        Self {
            protocol_version: PROTOCOL_VERSION,
            agent_version: facts.agent_version.clone(),
            restic_version: facts.restic_version.clone(),
            hostname: facts.hostname.clone(),
            os: facts.os.clone(),
            arch: facts.arch.clone(),
            boot_time: facts.boot_time.map(GoTime::from).unwrap_or_default(),
        }
    }
}

/// What our server sends an agent of the dialect for `message`; nothing for what needs no words.
///
/// `config` is the configuration whose groups a schedule refers to.
///
/// # Errors
/// [`Unsayable`] for a pause and a resume, which the dialect does not know, and for operations
/// other than a backup: nobody knows how it spells a policy, and half of a wish to delete is worse
/// than none of it.
pub fn commands(
    message: &Message,
    ledger: &Ledger,
    config: Option<&config::Update>,
) -> Result<Vec<Frame>, Unsayable> {
    if let Some(ability) = Ability::needed_for(message) {
        Dialect::Fleet.require(ability)?;
    }
    Ok(match message {
        Message::CommandRun(run) => vec![Frame::of(
            message.kind(),
            &CommandRun {
                job_id: ledger.name_of(run.job_id),
                kind: run.operation.as_str().to_owned(),
                includes: run.includes.clone(),
                excludes: run.excludes.clone(),
                tag: run.tag.clone(),
                ..CommandRun::default()
            },
        )],
        Message::CommandCancel(cancel) => {
            let job_id = ledger.name_of(cancel.job_id);
            vec![Frame::of(message.kind(), &CommandCancel { job_id })]
        }
        Message::ConfigUpdate(update) => {
            update.repositories.iter().take(1).map(|one| config_update(message, one)).collect()
        }
        Message::ScheduleSet(set) => vec![Frame::of(message.kind(), &schedules(set, config))],
        _ => Vec::new(),
    })
}

/// The dialect has one repository per host: the first.
fn config_update(message: &Message, repository: &config::Repository) -> Frame {
    let variable = |name| repository.environment.get(name).cloned().unwrap_or_default();
    Frame::of(
        message.kind(),
        &ConfigUpdate {
            repo_url: repository.url.clone(),
            repo_password: repository.password.clone(),
            repo_username: variable("RESTIC_REST_USERNAME"),
            repo_credential: variable("RESTIC_REST_PASSWORD"),
            ..ConfigUpdate::default()
        },
    )
}

fn schedules(set: &plan::Set, config: Option<&config::Update>) -> ScheduleSet {
    let named = |name: &String| {
        let group = config.and_then(|all| all.groups.iter().find(|group| group.name == *name));
        Group {
            name: name.clone(),
            includes: group.map(|group| group.includes.clone()).unwrap_or_default(),
            excludes: group.map(|group| group.excludes.clone()).unwrap_or_default(),
            ..Group::default()
        }
    };
    let schedule = |one: &plan::Schedule| Schedule {
        id: one.id.to_string(),
        cron_expr: one.cron_expr.clone(),
        enabled: one.enabled,
        source_groups: one.source_groups.iter().map(named).collect(),
    };
    ScheduleSet { version: set.version, schedules: set.schedules.iter().map(schedule).collect() }
}

/// What our agent tells a server of the dialect for `message`; nothing for what it has no word for.
#[must_use]
pub fn reports(message: &Message, ledger: &Ledger) -> Vec<Frame> {
    let kind = message.kind();
    let frame = match message {
        Message::Heartbeat(beat) => {
            Frame::of(kind, &Heartbeat { sent_at: GoTime::from(beat.sent_at) })
        }
        Message::CommandResult(outcome) => Frame::of(
            kind,
            &CommandResult {
                job_id: ledger.name_of(outcome.job_id),
                accepted: outcome.accepted,
                error: outcome
                    .error
                    .as_ref()
                    .map(|error| error.message.clone())
                    .unwrap_or_default(),
            },
        ),
        Message::JobStarted(started) => Frame::of(
            kind,
            &JobStarted {
                job_id: ledger.name_of(started.job_id),
                kind: started.operation.as_str().to_owned(),
                started_at: GoTime::from(started.started_at),
            },
        ),
        Message::JobProgress(progress) => Frame::of(kind, &progressed(progress, ledger)),
        Message::JobFinished(finished) => Frame::of(kind, &ended(finished, ledger)),
        Message::LogStream(stream) => {
            let job = ledger.name_of(stream.job_id);
            return stream.lines.iter().map(|l| Frame::of(kind, &line(l, &job))).collect();
        }
        Message::SnapshotsReport(report) => Frame::of(
            kind,
            &SnapshotsReport { snapshots: report.snapshots.iter().map(Snapshot::of).collect() },
        ),
        Message::RepoStats(stats) => Frame::of(kind, &counted(stats)),
        Message::ScheduleAck(ack) => Frame::of(
            kind,
            &ScheduleAck { version: ack.version, applied_at: GoTime::from(ack.applied_at) },
        ),
        Message::ScheduleFire(fire) => Frame::of(
            kind,
            &ScheduleFire {
                schedule_id: fire.schedule_id.to_string(),
                scheduled_at: GoTime::from(fire.scheduled_at),
            },
        ),
        _ => return Vec::new(),
    };
    vec![frame]
}

fn progressed(progress: &job::Progress, ledger: &Ledger) -> JobProgress {
    JobProgress {
        job_id: ledger.name_of(progress.job_id),
        percent_done: convert::fraction(progress.percent_done),
        files_done: convert::signed(progress.files_done),
        total_files: convert::signed(progress.total_files),
        bytes_done: convert::signed(progress.bytes_done),
        total_bytes: convert::signed(progress.total_bytes),
        eta_seconds: convert::signed(progress.eta_seconds.unwrap_or(0)),
        throughput_bps: convert::signed(progress.throughput_bps),
    }
}

/// A process that never exited has no code; -1 is what Go calls that. The code is all that tells a
/// partial end from a whole one.
fn ended(finished: &job::Finished, ledger: &Ledger) -> JobFinished {
    let exit_code = match finished.status {
        job::Status::Partial => 3,
        _ => finished.exit_code.unwrap_or(-1),
    };
    JobFinished {
        job_id: ledger.name_of(finished.job_id),
        status: convert::words_of(finished.status).fleet.to_owned(),
        exit_code: exit_code.into(),
        finished_at: GoTime::from(finished.finished_at),
        stats: finished.stats.as_ref().map(Raw::of_payload).unwrap_or_default(),
        error: convert::reason_text(finished.status, finished.error.as_ref()),
    }
}

fn line(line: &log::Line, job: &str) -> LogLine {
    let stream = match line.stream {
        log::Source::Stdout => "stdout",
        log::Source::Stderr => "stderr",
        log::Source::Event => "event",
    };
    LogLine {
        job_id: job.to_owned(),
        seq: convert::signed(line.seq),
        ts: GoTime::from(line.ts),
        stream: stream.to_owned(),
        payload: line.payload.clone(),
    }
}

impl Snapshot {
    fn of(one: &snapshot::Snapshot) -> Self {
        Self {
            id: one.id.clone(),
            short_id: one.short_id.clone(),
            time: GoTime::from(one.time),
            hostname: one.hostname.clone(),
            paths: one.paths.clone(),
            tags: one.tags.clone(),
            size_bytes: convert::signed(one.size_bytes.unwrap_or(0)),
            file_count: convert::signed(one.file_count.unwrap_or(0)),
        }
    }
}

fn counted(stats: &snapshot::RepoStats) -> RepoStats {
    RepoStats {
        total_size_bytes: stats.total_size_bytes.map(convert::signed),
        raw_size_bytes: stats.raw_size_bytes.map(convert::signed),
        snapshot_count: stats.snapshot_count.map(convert::signed),
        ..RepoStats::default()
    }
}
