//! The fleet's messages in the words of Holdfast.

use jiff::Timestamp;

use super::{
    CommandCancel, CommandResult, CommandRun, ConfigUpdate, Frame, Heartbeat, Hello, JobFinished,
    JobProgress, JobStarted, LogLine, RepoStats, ScheduleAck, ScheduleFire, SnapshotsReport, Words,
};
use crate::{
    Message,
    dialect::{
        Dialect, Introduction, Ledger, OpenJob, Said, convert,
        gojson::{GoTime, ReadError},
    },
    message::{command, config, job, job::JobError, link::Facts, log, schedule as plan, snapshot},
};

/// What an agent of the fleet's dialect says, for our server.
///
/// # Errors
/// [`ReadError`] when the body of a known kind has another shape.
pub fn hear_agent(
    frame: &Frame,
    words: &Words,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<Said, ReadError> {
    let body = &frame.payload;
    Ok(match words.ours(&frame.kind) {
        "hello" => introduction(&body.read_as()?),
        "heartbeat" => beat(&body.read_as()?, ledger, now),
        "command.result" => answered(body.read_as()?, ledger),
        "job.started" => began(&body.read_as()?, ledger, now),
        "job.progress" => progressed(&body.read_as()?, ledger),
        "job.finished" => ended(&body.read_as()?, ledger, now),
        "log.stream" => logged(&body.read_as()?, ledger, now),
        "snapshots.report" => listed(&body.read_as()?, ledger, now),
        "repo.stats" => counted(&body.read_as()?, ledger),
        "schedule.ack" => applied(&body.read_as()?, now),
        "schedule.fire" => fired(&body.read_as()?, now),
        _ => Said::other(&frame.kind, body.to_payload()),
    })
}

fn introduction(hello: &Hello) -> Said {
    let facts = Facts {
        agent_version: hello.agent_version.clone(),
        restic_version: hello.restic_version.clone(),
        hostname: hello.hostname.clone(),
        os: hello.os.clone(),
        arch: hello.arch.clone(),
        boot_time: hello.boot_time.known(),
        time_zone: String::new(),
    };
    Said::Introduction(Box::new(Introduction { facts, ..Introduction::default() }))
}

fn beat(heartbeat: &Heartbeat, ledger: &Ledger, now: Timestamp) -> Said {
    Said::heartbeat(ledger, heartbeat.sent_at.known().unwrap_or(now))
}

fn answered(result: CommandResult, ledger: &Ledger) -> Said {
    let Some(job_id) = ledger.place(&result.job_id, "") else {
        return Said::unplaced("command.result");
    };
    let error = (!result.accepted).then(|| JobError {
        code: "refused".to_owned(),
        message: result.error,
        action: "See the agent's own log on the host for more.".to_owned(),
    });
    Said::Message(Message::CommandResult(command::Outcome {
        job_id,
        command: command::Verb::Run,
        accepted: result.accepted,
        error,
    }))
}

fn began(started: &JobStarted, ledger: &Ledger, now: Timestamp) -> Said {
    let operation = convert::operation(&started.kind);
    let (Some(operation), Some(job_id)) = (operation, ledger.place(&started.job_id, "")) else {
        return Said::unplaced("job.started");
    };
    Said::Message(Message::JobStarted(job::Started {
        job_id,
        operation,
        started_at: started.started_at.known().unwrap_or(now),
        attempt: 1,
        tag: ledger.group_of(job_id),
        schedule_id: None,
        scheduled_at: None,
    }))
}

fn progressed(progress: &JobProgress, ledger: &Ledger) -> Said {
    let Some(job_id) = ledger.place(&progress.job_id, "") else {
        return Said::unplaced("job.progress");
    };
    Said::Message(Message::JobProgress(job::Progress {
        job_id,
        percent_done: convert::fraction(progress.percent_done),
        files_done: convert::count(progress.files_done),
        total_files: convert::count(progress.total_files),
        bytes_done: convert::count(progress.bytes_done),
        total_bytes: convert::count(progress.total_bytes),
        eta_seconds: Some(convert::count(progress.eta_seconds)),
        throughput_bps: convert::count(progress.throughput_bps),
        current_files: Vec::new(),
        error_count: 0,
    }))
}

fn ended(finished: &JobFinished, ledger: &Ledger, now: Timestamp) -> Said {
    let status = convert::status_of_word(Dialect::Fleet, &finished.status);
    let status = status.filter(|status| status.is_terminal());
    let (Some(status), Some(job_id)) = (status, ledger.place(&finished.job_id, "")) else {
        return Said::unplaced("job.finished");
    };
    let exit_code = i32::try_from(finished.exit_code).ok();
    let cancelling = ledger.job(job_id).is_some_and(|job| job.cancelling);
    let status = convert::refine(status, &finished.error, exit_code, cancelling);
    let stats = finished.stats.as_str().filter(|text| *text != "null");
    Said::Message(Message::JobFinished(job::Finished {
        job_id,
        status,
        exit_code,
        finished_at: finished.finished_at.known().unwrap_or(now),
        snapshot_id: snapshot_in(finished),
        stats: stats.map(|_| finished.stats.to_payload()),
        error: convert::reason(status, &finished.error),
        next_try: None,
    }))
}

/// The dialect has no field for the snapshot, but restic's summary names it.
fn snapshot_in(finished: &JobFinished) -> Option<String> {
    let summary: serde_json::Value = finished.stats.parse()?;
    summary["snapshot_id"].as_str().map(str::to_owned)
}

fn logged(line: &LogLine, ledger: &Ledger, now: Timestamp) -> Said {
    let Some(job_id) = ledger.place(&line.job_id, "") else {
        return Said::unplaced("log.stream");
    };
    let stream = match line.stream.as_str() {
        "stdout" => log::Source::Stdout,
        "stderr" => log::Source::Stderr,
        _ => log::Source::Event,
    };
    let ts = line.ts.known().unwrap_or(now);
    let payload = line.payload.chars().take(4096).collect();
    let lines = vec![log::Line { seq: convert::count(line.seq), ts, stream, payload }];
    Said::Message(Message::LogStream(log::Stream { job_id, lines }))
}

/// The list does not say of which repository it is: it must be the host's only one.
fn listed(report: &SnapshotsReport, ledger: &Ledger, now: Timestamp) -> Said {
    let Some(repository_id) = ledger.sole_repository() else {
        return Said::unplaced("snapshots.report");
    };
    let listed_at = GoTime::from(now);
    Said::Message(Message::SnapshotsReport(snapshot::Report {
        repository_id,
        report_id: listed_at.to_string(),
        last: true,
        listed_at: now,
        snapshots: report.snapshots.iter().map(|one| one.heard(now)).collect(),
    }))
}

impl super::Snapshot {
    fn heard(&self, now: Timestamp) -> snapshot::Snapshot {
        let known = |figure: i64| (figure > 0).then(|| convert::count(figure));
        snapshot::Snapshot {
            id: self.id.clone(),
            short_id: self.short_id.clone(),
            time: self.time.known().unwrap_or(now),
            hostname: self.hostname.clone(),
            paths: self.paths.clone(),
            tags: self.tags.clone(),
            size_bytes: known(self.size_bytes),
            file_count: known(self.file_count),
        }
    }
}

fn counted(stats: &RepoStats, ledger: &Ledger) -> Said {
    let Some(repository_id) = ledger.sole_repository() else {
        return Said::unplaced("repo.stats");
    };
    Said::Message(Message::RepoStats(snapshot::RepoStats {
        repository_id,
        total_size_bytes: stats.total_size_bytes.map(convert::count),
        raw_size_bytes: stats.raw_size_bytes.map(convert::count),
        snapshot_count: stats.snapshot_count.map(convert::count),
        room: None,
    }))
}

fn applied(ack: &ScheduleAck, now: Timestamp) -> Said {
    let applied_at = ack.applied_at.known().unwrap_or(now);
    Message::ScheduleAck(plan::Ack { version: ack.version, applied_at }).into()
}

/// No job ids: in this dialect the server starts them.
fn fired(fire: &ScheduleFire, now: Timestamp) -> Said {
    let Ok(schedule_id) = fire.schedule_id.parse() else {
        return Said::unplaced("schedule.fire");
    };
    let scheduled_at = fire.scheduled_at.known().unwrap_or(now);
    Message::ScheduleFire(plan::Fire::new(schedule_id, scheduled_at, Vec::new())).into()
}

/// What a server of the fleet's dialect says, for our agent.
///
/// `config.update` changes parts of what the agent has, so it is [`Said::Other`] until
/// [`ConfigUpdate::onto`] is given the configuration in force.
///
/// # Errors
/// [`ReadError`] when the body of a known kind has another shape.
pub fn hear_server(frame: &Frame, words: &Words, ledger: &mut Ledger) -> Result<Said, ReadError> {
    let body = &frame.payload;
    Ok(match words.ours(&frame.kind) {
        "command.run" => ordered(body.read_as()?, ledger)
            .unwrap_or_else(|| Said::other("command.run", body.to_payload())),
        "command.cancel" => {
            let cancel: CommandCancel = body.read_as()?;
            let job_id = ledger.job_named(&cancel.job_id);
            match ledger.job(job_id) {
                Some(_) => Message::CommandCancel(command::Cancel { job_id }).into(),
                None => Said::unplaced("command.cancel"),
            }
        }
        _ => Said::other(&frame.kind, body.to_payload()),
    })
}

/// Of the operations only a backup is taken: the others come with arguments and policies whose
/// spelling is unknown, and a guess could delete. `None` keeps them as they came.
fn ordered(run: CommandRun, ledger: &mut Ledger) -> Option<Said> {
    let operation = convert::operation(&run.kind).filter(|one| *one == job::Operation::Backup)?;
    let Some(job_id) = ledger.place(&run.job_id, "") else {
        return Some(Said::unplaced("command.run"));
    };
    if !ledger.open_ordered(job_id, OpenJob::of_group(&*run.tag).named(&*run.job_id)) {
        return Some(Said::unplaced("command.run"));
    }
    let repository = ledger.sole_repository().unwrap_or_else(|| ledger.repository_of(&run.tag));
    Some(Said::Message(Message::CommandRun(command::Run {
        tag: run.tag,
        includes: run.includes,
        excludes: run.excludes,
        ..command::Run::new(job_id, operation, repository)
    })))
}

impl ConfigUpdate {
    /// Whether these are the admin's credentials, which must never replace the everyday ones.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        !matches!(self.slot.as_str(), "" | "repo")
    }

    /// `repository` with what this update says; what it leaves empty stays.
    ///
    /// `None` for the admin's slot, and for any slot this build does not know.
    #[must_use]
    pub fn onto(&self, repository: &config::Repository) -> Option<config::Repository> {
        if self.is_admin() {
            return None;
        }
        let newer = |new: &config::Secret, old: &config::Secret| {
            if new.expose().is_empty() { old.clone() } else { new.clone() }
        };
        let mut updated = repository.clone();
        updated.url = newer(&self.repo_url, &repository.url);
        updated.password = newer(&self.repo_password, &repository.password);
        let login = [
            ("RESTIC_REST_USERNAME", &self.repo_username),
            ("RESTIC_REST_PASSWORD", &self.repo_credential),
        ];
        for (name, secret) in login.into_iter().filter(|(_, s)| !s.expose().is_empty()) {
            updated.environment.insert(name.to_owned(), secret.clone());
        }
        Some(updated)
    }
}
