//! The agent-hosted `/ws` (D2): scripts and dashboards dial the agent, see its jobs move and can
//! pause, resume and cancel them.
//!
//! Events and commands are serde's adjacently tagged enums, as in the original: `type`, then
//! `payload`, in either order on input. Fields beyond the first document of this dialect are
//! optional here; a reader of the newer revision needs those that [`Progress::speed`] and its
//! neighbours fill.

use serde::{Deserialize, Serialize, de::Error as _};

use super::{Ledger, Said, convert};
use crate::{
    JobId, Message, Payload,
    message::{
        command,
        job::{self, Finished, Operation, Started, Status},
        log,
    },
};

/// Where the agent listens.
pub const PATH: &str = "/ws";

/// What the agent says, to everyone who is connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload")]
pub enum Event {
    /// How far a job is.
    #[serde(rename = "backup:progress")]
    Progress(Progress),
    /// A job's process runs.
    #[serde(rename = "backup:started")]
    Started(JobRef),
    /// A job is done.
    #[serde(rename = "backup:completed")]
    Completed(Completed),
    /// A job ended otherwise.
    #[serde(rename = "backup:failed")]
    Failed(Failed),
    /// What the agent does; also the answer to [`Command::Status`].
    #[serde(rename = "agent:status")]
    Status(AgentStatus),
    /// A line of the agent's own log.
    #[serde(rename = "agent:log")]
    Log(LogLine),
    /// A folder's entries; their fields are not known, so they stay as they came.
    #[serde(rename = "fs:browse:response")]
    Browsed(Browsed),
}

/// What those who are connected may say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload")]
pub enum Command {
    /// Stop a job where it stands.
    #[serde(rename = "backup:pause")]
    Pause(JobRef),
    /// Let a paused job go on.
    #[serde(rename = "backup:resume")]
    Resume(JobRef),
    /// End a job.
    #[serde(rename = "backup:cancel")]
    Cancel(JobRef),
    /// Ask for [`Event::Status`]; the payload is absent or `null`.
    #[serde(rename = "agent:status")]
    Status,
}

/// A job by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRef {
    /// The job.
    pub job_id: String,
}

/// `backup:progress`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The job.
    pub job_id: String,
    /// From 0 to 100.
    pub percent: f64,
    /// Bytes done.
    pub transferred_bytes: u64,
    /// Bytes found so far.
    pub total_bytes: u64,
    /// Bytes per second.
    pub bytes_per_second: u64,
    /// Seconds left.
    pub eta_seconds: u64,
    /// The file being read; `null` when none is known.
    pub current_file: Option<String>,
    /// Files done.
    pub files_processed: u64,
    /// Files found so far.
    pub total_files: u64,
    /// The rate for people, such as `512 B/s`; the newer revision needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<String>,
    /// Bytes done of the current file; the newer revision needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_file_bytes: Option<u64>,
    /// Bytes of the current file; the newer revision needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_file_total: Option<u64>,
    /// From 0 to 100, of the current file; the newer revision needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_file_percent: Option<f64>,
    /// Files being read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active_files: Vec<ActiveFile>,
    /// Files left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_files: Option<u64>,
    /// Bytes left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_bytes: Option<u64>,
    /// Such as `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<String>,
}

/// One file being read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveFile {
    /// Its path.
    pub path: String,
    /// Bytes done.
    pub transferred_bytes: u64,
    /// Bytes of it.
    pub total_bytes: u64,
    /// From 0 to 100.
    pub percent: f64,
}

/// `backup:completed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The job.
    pub job_id: String,
    /// Bytes of the backup.
    pub total_bytes: u64,
    /// Files of the backup; the newer revision needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_files: Option<u64>,
    /// Bytes stored anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred_bytes: Option<u64>,
    /// Files stored anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred_files: Option<u64>,
    /// Files that were as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_files: Option<u64>,
    /// Their bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_bytes: Option<u64>,
    /// Files that are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_files: Option<u64>,
    /// Such as `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<String>,
}

/// `backup:failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The job.
    pub job_id: String,
    /// One sentence.
    pub error: String,
}

/// `agent:status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// `idle`, `running` or `paused`.
    pub status: String,
    /// Jobs that have not ended.
    pub active_jobs: u64,
    /// Seconds since the agent started.
    pub uptime_secs: u64,
}

/// `agent:log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// `info`, `warn`, `error`, …
    pub level: String,
    /// The line.
    pub message: String,
}

/// `fs:browse:response`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Browsed {
    /// The request it answers.
    pub request_id: String,
    /// The entries.
    #[serde(default)]
    pub entries: Vec<serde_json::Value>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The frame is not of this dialect. The connection goes on: only this frame is lost.
#[derive(Debug, thiserror::Error)]
#[error("not a message of the agent's socket")]
pub struct FrameError {
    #[from]
    source: serde_json::Error,
}

impl Event {
    /// Reads one frame of an agent.
    ///
    /// # Errors
    /// [`FrameError`] for an unknown type as well as for another shape.
    pub fn decode(frame: &[u8]) -> Result<Self, FrameError> {
        Ok(serde_json::from_slice(frame)?)
    }

    /// Writes the frame: one text message.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("an event always has a JSON form")
    }
}

impl Command {
    /// Reads one frame of a script or dashboard.
    ///
    /// # Errors
    /// [`FrameError`] for an unknown type as well as for another shape.
    pub fn decode(frame: &[u8]) -> Result<Self, FrameError> {
        #[derive(Deserialize)]
        struct Frame {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            payload: Option<JobRef>,
        }
        let frame: Frame = serde_json::from_slice(frame)?;
        let job = || frame.payload.ok_or_else(|| serde_json::Error::missing_field("payload"));
        Ok(match frame.kind.as_str() {
            "backup:pause" => Self::Pause(job()?),
            "backup:resume" => Self::Resume(job()?),
            "backup:cancel" => Self::Cancel(job()?),
            "agent:status" => Self::Status,
            _ => return Err(serde_json::Error::custom("unknown type").into()),
        })
    }

    /// Writes the frame: one text message.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("a command always has a JSON form")
    }

    /// What is asked of our agent; `None` for [`Command::Status`], which is answered at once.
    ///
    /// An id that is no open job is [`Said::Unplaced`]: it never stands for another job.
    #[must_use]
    pub fn hear(&self, ledger: &Ledger) -> Option<Said> {
        let (kind, job, message): (_, _, fn(JobId) -> Message) = match self {
            Self::Pause(job) => {
                ("backup:pause", job, |job_id| Message::CommandPause(command::Pause { job_id }))
            }
            Self::Resume(job) => {
                ("backup:resume", job, |job_id| Message::CommandResume(command::Resume { job_id }))
            }
            Self::Cancel(job) => {
                ("backup:cancel", job, |job_id| Message::CommandCancel(command::Cancel { job_id }))
            }
            Self::Status => return None,
        };
        let id = ledger.job_named(&job.job_id);
        let open = ledger.job(id).is_some();
        Some(if open { message(id).into() } else { Said::unplaced(kind) })
    }

    /// What our server sends such an agent for `message`; `None` for what the dialect cannot say.
    #[must_use]
    pub fn of(message: &Message, ledger: &Ledger) -> Option<Self> {
        let job = |id| JobRef { job_id: ledger.name_of(id) };
        match message {
            Message::CommandPause(pause) => Some(Self::Pause(job(pause.job_id))),
            Message::CommandResume(resume) => Some(Self::Resume(job(resume.job_id))),
            Message::CommandCancel(cancel) => Some(Self::Cancel(job(cancel.job_id))),
            _ => None,
        }
    }
}

/// What our agent shows for `message`: nothing for what the dialect has no word for.
#[must_use]
pub fn events(message: &Message, ledger: &Ledger) -> Vec<Event> {
    match message {
        Message::JobStarted(started) => {
            vec![Event::Started(JobRef { job_id: ledger.name_of(started.job_id) })]
        }
        Message::JobProgress(progress) => vec![Event::Progress(Progress::of(progress, ledger))],
        Message::JobFinished(finished) => ended(finished, ledger),
        Message::LogStream(stream) => {
            stream.lines.iter().map(|line| Event::Log(LogLine::of(line))).collect()
        }
        _ => Vec::new(),
    }
}

impl Progress {
    fn of(progress: &job::Progress, ledger: &Ledger) -> Self {
        Self {
            job_id: ledger.name_of(progress.job_id),
            percent: convert::percent(progress.percent_done),
            transferred_bytes: progress.bytes_done,
            total_bytes: progress.total_bytes,
            bytes_per_second: progress.throughput_bps,
            eta_seconds: progress.eta_seconds.unwrap_or(0),
            current_file: progress.current_files.first().cloned(),
            files_processed: progress.files_done,
            total_files: progress.total_files,
            speed: Some(speed(progress.throughput_bps)),
            current_file_bytes: Some(0),
            current_file_total: Some(0),
            current_file_percent: Some(0.0),
            skipped_files: Some(progress.error_count),
            ..Self::default()
        }
    }
}

/// A rate for people, in steps of 1024.
fn speed(bytes_per_second: u64) -> String {
    const UNITS: [&str; 4] = ["KB/s", "MB/s", "GB/s", "TB/s"];
    if bytes_per_second < 1024 {
        return format!("{bytes_per_second} B/s");
    }
    let mut rate = bytes_per_second as f64 / 1024.0;
    let mut unit = 0;
    while rate >= 1024.0 && unit + 1 < UNITS.len() {
        rate /= 1024.0;
        unit += 1;
    }
    format!("{rate:.1} {}", UNITS[unit])
}

impl LogLine {
    fn of(line: &log::Line) -> Self {
        let level = match line.stream {
            log::Source::Stderr => "warn",
            log::Source::Stdout | log::Source::Event => "info",
        };
        Self { level: level.to_owned(), message: line.payload.clone() }
    }
}

/// A partial end is a completed one with a line in the log beside it: the dialect has no word for
/// it.
fn ended(finished: &Finished, ledger: &Ledger) -> Vec<Event> {
    let job_id = ledger.name_of(finished.job_id);
    let text = convert::reason_text(finished.status, finished.error.as_ref());
    if convert::words_of(finished.status).local != "backup:completed" {
        return vec![Event::Failed(Failed { job_id, error: text })];
    }
    let stats: serde_json::Value =
        finished.stats.as_ref().and_then(|stats| stats.parse().ok()).unwrap_or_default();
    let figure = |name: &str| stats[name].as_u64();
    let completed = Event::Completed(Completed {
        job_id,
        total_bytes: figure("total_bytes_processed").unwrap_or(0),
        total_files: Some(figure("total_files_processed").unwrap_or(0)),
        transferred_bytes: figure("data_added"),
        transferred_files: figure("files_new"),
        unchanged_files: figure("files_unmodified"),
        ..Completed::default()
    });
    let warning = LogLine { level: "warn".to_owned(), message: text };
    let warned = !warning.message.is_empty();
    warned.then_some(Event::Log(warning)).into_iter().chain([completed]).collect()
}

/// What such an agent says, for our server. Log lines belong to the one open job, or to none.
#[must_use]
pub fn hear_agent(event: &Event, ledger: &mut Ledger, now: jiff::Timestamp) -> Said {
    let Some(job_id) = ledger.place(event.job(), "") else {
        return without_job(event, ledger, now);
    };
    let message = match event {
        Event::Progress(progress) => Message::JobProgress(progress.heard(job_id)),
        Event::Started(_) => Message::JobStarted(Started {
            job_id,
            operation: Operation::Backup,
            started_at: now,
            attempt: 1,
            tag: String::new(),
            schedule_id: None,
            scheduled_at: None,
        }),
        Event::Completed(completed) => Message::JobFinished(completed.heard(job_id, now)),
        Event::Failed(failed) => Message::JobFinished(failed.heard(job_id, ledger, now)),
        other => return without_job(other, ledger, now),
    };
    message.into()
}

fn without_job(event: &Event, ledger: &mut Ledger, now: jiff::Timestamp) -> Said {
    match event {
        Event::Status(_) => Said::heartbeat(ledger, now),
        Event::Log(line) => logged(line, ledger, now),
        Event::Browsed(browsed) => Said::other("fs:browse:response", Payload::of(browsed)),
        _ => Said::unplaced("backup"),
    }
}

impl Event {
    /// The job it is about; empty when it is about none.
    fn job(&self) -> &str {
        match self {
            Self::Progress(progress) => &progress.job_id,
            Self::Started(job) => &job.job_id,
            Self::Completed(completed) => &completed.job_id,
            Self::Failed(failed) => &failed.job_id,
            Self::Status(_) | Self::Log(_) | Self::Browsed(_) => "",
        }
    }
}

impl Progress {
    fn heard(&self, job_id: JobId) -> job::Progress {
        job::Progress {
            job_id,
            percent_done: convert::fraction_of_percent(self.percent),
            files_done: self.files_processed,
            total_files: self.total_files,
            bytes_done: self.transferred_bytes,
            total_bytes: self.total_bytes,
            eta_seconds: Some(self.eta_seconds),
            throughput_bps: self.bytes_per_second,
            current_files: self.current_file.clone().into_iter().collect(),
            error_count: self.skipped_files.unwrap_or(0),
        }
    }
}

impl Completed {
    fn heard(&self, job_id: JobId, now: jiff::Timestamp) -> Finished {
        let stats = serde_json::json!({
            "message_type": "summary",
            "total_bytes_processed": self.total_bytes,
            "total_files_processed": self.total_files.unwrap_or(0),
            "data_added": self.transferred_bytes.unwrap_or(0),
            "files_new": self.transferred_files.unwrap_or(0),
            "files_unmodified": self.unchanged_files.unwrap_or(0),
        });
        Finished {
            job_id,
            status: Status::Succeeded,
            exit_code: None,
            finished_at: now,
            snapshot_id: None,
            stats: Some(Payload::of(&stats)),
            error: None,
            next_try: None,
        }
    }
}

impl Failed {
    fn heard(&self, job_id: JobId, ledger: &Ledger, now: jiff::Timestamp) -> Finished {
        let cancelling = ledger.job(job_id).is_some_and(|job| job.cancelling);
        let status = convert::refine(Status::Failed, &self.error, None, cancelling);
        Finished {
            job_id,
            status,
            exit_code: None,
            finished_at: now,
            snapshot_id: None,
            stats: None,
            error: convert::reason(status, &self.error),
            next_try: None,
        }
    }
}

fn logged(line: &LogLine, ledger: &mut Ledger, now: jiff::Timestamp) -> Said {
    let placed = ledger.sole_job().and_then(|id| Some((id, ledger.next_line(id)?)));
    let Some((job_id, seq)) = placed else {
        return Said::other("agent:log", Payload::of(line));
    };
    let stream = match line.level.to_ascii_lowercase().as_str() {
        "warn" | "warning" | "error" => log::Source::Stderr,
        _ => log::Source::Event,
    };
    let payload = line.message.chars().take(4096).collect();
    let lines = vec![log::Line { seq, ts: now, stream, payload }];
    Message::LogStream(log::Stream { job_id, lines }).into()
}
