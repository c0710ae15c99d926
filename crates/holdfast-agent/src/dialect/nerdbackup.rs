//! This agent as a NerdBackup agent.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use holdfast_link::dial::DialError;
use holdfast_protocol::{
    Message,
    dialect::{
        Said,
        gojson::{self, Go, Raw},
        nerdbackup::{
            self as words, AgentMessage, Command, Heartbeat, HostMetrics, StartBackup, http,
        },
    },
    message::{
        command::Verb,
        config::Secret,
        job::{Finished, Status},
    },
};
use jiff::Timestamp;
use reqwest::{Method, StatusCode, header, redirect};
use tokio::{
    sync::mpsc,
    time::{Instant, interval},
};
use tokio_tungstenite::tungstenite::Message as Frame;
use url::Url;

use super::{
    Notes,
    bridge::{Greeted, Heard, Orders, Outgoing, Tongue, last_word, note},
    socket::{Gone, Socket},
};
use crate::error::chain;

/// How often the agent tells of itself.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(60);
/// How often commands are asked for while there is no socket. The original takes five minutes,
/// which is long to wait for a backup.
const POLL_EVERY: Duration = Duration::from_secs(30);
/// How often a socket is looked for meanwhile.
pub(super) const LOOK_FOR_SOCKET: Duration = Duration::from_secs(15);
/// Progress is told at most this often over HTTP.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes.
const ANSWER_SIZE_MAX: usize = 4 << 20;

/// What an order that this agent does not obey is answered with.
const NOT_SERVED: &str = "this agent does not do that on command; use the host's own tools";

/// Begins on a socket that is open. There is no handshake, so the configuration is fetched first:
/// a command for a repository that is not known could not be obeyed.
pub(super) async fn greet(
    mut socket: Socket,
    notes: Arc<Notes>,
    token: &Secret,
) -> Result<Greeted<Words>, DialError> {
    let side = Side::new(Arc::clone(&notes), token.clone())?;
    let states = side.config().await.into_iter().collect();
    let mut tongue = Words { side, notes: Arc::clone(&notes), beat_at: None };
    for frame in tongue.tick() {
        let sent = socket.send(frame).await;
        sent.map_err(|Gone| DialError::NotWebSocket { cause: "it closed at once".to_owned() })?;
    }
    Ok(Greeted { tongue, socket, notes, states })
}

/// The words on a socket.
pub(super) struct Words {
    side: Side,
    notes: Arc<Notes>,
    beat_at: Option<Instant>,
}

impl Tongue for Words {
    async fn hear(&mut self, frame: Frame) -> Result<Heard, Gone> {
        let command = match Command::decode(&frame.into_data()) {
            Ok(command) => command,
            Err(error) => {
                tracing::debug!(%error, "a frame is not of this dialect");
                return Ok(Heard::default());
            }
        };
        if command == Command::ConfigUpdate {
            let states = self.side.config().await.into_iter().collect();
            return Ok(Heard { states, ..Heard::default() });
        }
        Ok(obey(&command, &self.side).await)
    }

    fn say(&mut self, message: &Message) -> Vec<Frame> {
        let report = report(message, &self.notes);
        report.map(|report| Frame::Text(report.encode().into())).into_iter().collect()
    }

    fn tick(&mut self) -> Vec<Frame> {
        if self.beat_at.is_some_and(|at| at.elapsed() < HEARTBEAT_EVERY) {
            return Vec::new();
        }
        self.beat_at = Some(Instant::now());
        let beat = AgentMessage::Heartbeat(heartbeat(&self.notes));
        vec![Frame::Text(beat.encode().into())]
    }

    fn goodbye(&self) -> &'static str {
        "agent shutdown"
    }
}

/// What a command means here. A job that nobody has is nobody's: unlike the original, this agent
/// never takes another one instead.
async fn obey(command: &Command, side: &Side) -> Heard {
    let notes = &side.notes;
    let said = notes.with_ledger(|ledger| words::hear_command(command, ledger));
    match said {
        Said::Message(Message::CommandRun(mut run)) => {
            let mut states = Vec::new();
            if !notes.complete(&mut run) {
                states.extend(side.config().await);
                if !notes.complete(&mut run) {
                    notes.ended(run.job_id);
                    return refused(command, "the agent's configuration has no such repository");
                }
            }
            Heard { orders: vec![Message::CommandRun(run)], states, replies: Vec::new() }
        }
        Said::Message(message) => Heard { orders: vec![message], ..Heard::default() },
        Said::Unplaced { kind } => {
            tracing::warn!(kind, "a command names no job of this agent");
            match command {
                Command::StartBackup(_) => {
                    refused(command, "the command names no job or repository")
                }
                _ => Heard::default(),
            }
        }
        Said::Other { .. } | Said::Introduction(_) => refused(command, NOT_SERVED),
    }
}

fn refused(command: &Command, why: &str) -> Heard {
    let refusal = words::refuse(command, why, Timestamp::now());
    let replies = refusal.map(|refusal| Frame::Text(refusal.encode().into()));
    Heard { replies: replies.into_iter().collect(), ..Heard::default() }
}

/// What the agent says, in their words. A refused command is the failure of its job: they have no
/// word for a refusal.
fn report(message: &Message, notes: &Notes) -> Option<AgentMessage> {
    let ended = match message {
        Message::CommandResult(outcome) if outcome.command == Verb::Run && !outcome.accepted => {
            Message::JobFinished(Finished {
                job_id: outcome.job_id,
                status: Status::Failed,
                exit_code: None,
                finished_at: Timestamp::now(),
                snapshot_id: None,
                stats: None,
                error: outcome.error.clone(),
                next_try: None,
            })
        }
        other => other.clone(),
    };
    let job = match &ended {
        Message::JobStarted(started) => started.job_id,
        Message::JobState(change) => change.job_id,
        Message::JobProgress(progress) => progress.job_id,
        Message::JobFinished(finished) => finished.job_id,
        _ => return None,
    };
    let started_at = notes.started_at(job);
    notes.with_ledger(|ledger| words::reports(&ended, ledger, started_at))
}

fn heartbeat(notes: &Notes) -> Heartbeat {
    Heartbeat::of(&notes.facts(), metrics(notes))
}

/// The machine in numbers; what cannot be found out is 0.
fn metrics(notes: &Notes) -> HostMetrics {
    let number = |file: &str, find: fn(&str) -> Option<u64>| {
        std::fs::read_to_string(file).ok().and_then(|text| find(&text)).unwrap_or(0)
    };
    let free = nix::sys::statvfs::statvfs(notes.directory().root());
    HostMetrics {
        uptime_seconds: number("/proc/uptime", |text| text.split('.').next()?.parse().ok()),
        disk_free_bytes: free.map_or(0, |disk| disk.blocks_available() * disk.fragment_size()),
        cpu_count: std::thread::available_parallelism()
            .map_or(0, |count| u32::try_from(count.get()).unwrap_or(0)),
        memory_total_bytes: number("/proc/meminfo", |text| {
            let kib: u64 =
                text.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok()?;
            Some(kib * 1024)
        }),
    }
}

/// Begins to poll a server that takes no socket.
pub(super) async fn poll(notes: Arc<Notes>, token: &Secret) -> Result<Polling, ()> {
    let side = Side::new(Arc::clone(&notes), token.clone()).map_err(drop)?;
    side.post("heartbeat", &heartbeat(&notes)).await.map_err(drop)?;
    let states = side.config().await.into_iter().collect();
    notes.set_polling(true);
    tracing::info!("the server takes no socket; it is polled");
    Ok(Polling { side, notes, states, progress_at: None })
}

/// The agent without a socket.
pub(super) struct Polling {
    side: Side,
    notes: Arc<Notes>,
    states: Vec<Message>,
    progress_at: Option<Instant>,
}

impl Polling {
    /// The agent's notes.
    pub(super) fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }

    /// What the agent must know first.
    pub(super) fn states(&self) -> Vec<Message> {
        self.states.clone()
    }

    /// Polls until the server no longer answers.
    pub(super) async fn run(mut self, mut outgoing: mpsc::Receiver<Outgoing>, orders: Arc<Orders>) {
        let mut polls = interval(POLL_EVERY);
        let mut beats = interval(HEARTBEAT_EVERY);
        loop {
            let went_well = tokio::select! {
                biased;
                Some(message) = outgoing.recv() => self.tell(message).await,
                _ = beats.tick() => self.beat(&orders).await,
                _ = polls.tick() => self.ask(&orders).await,
            };
            if let Err(why) = went_well {
                tracing::info!(why, "the server no longer answers");
                return;
            }
        }
    }

    async fn tell(&mut self, outgoing: Outgoing) -> Result<(), String> {
        let Outgoing { message, done } = outgoing;
        note(&self.notes, &message);
        match report(&message, &self.notes) {
            Some(AgentMessage::JobReport(report)) => self.side.post("report", &*report).await?,
            Some(AgentMessage::Progress(progress)) => {
                let due = self.progress_at.is_none_or(|at| at.elapsed() > PROGRESS_EVERY);
                if due {
                    self.progress_at = Some(Instant::now());
                    self.side.post("progress", &progress).await?;
                }
            }
            _ => {}
        }
        if let Some(job) = last_word(&message) {
            self.notes.ended(job);
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
        Ok(())
    }

    async fn beat(&self, orders: &Orders) -> Result<(), String> {
        let answer = self.side.post_for("heartbeat", &heartbeat(&self.notes)).await?;
        let answer: http::HeartbeatAnswer = answer.read_as().unwrap_or_default();
        if answer.config_changed {
            self.side.config().await.iter().for_each(|state| orders.state(state));
        }
        Ok(())
    }

    async fn ask(&self, orders: &Orders) -> Result<(), String> {
        let pending = self.side.get("pending-backups").await?;
        let pending: Vec<http::PendingBackup> = pending.read_as().unwrap_or_default();
        for backup in pending {
            let start = StartBackup { repo_id: backup.repo_id, job_id: backup.job_id };
            let command = Command::StartBackup(start);
            let heard = obey(&command, &self.side).await;
            heard.states.iter().for_each(|state| orders.state(state));
            let taken = heard.orders.iter().filter(|order| orders.push(order)).count();
            if taken == 0
                && let Some(AgentMessage::JobReport(report)) =
                    words::refuse(&command, "the agent cannot run it", Timestamp::now())
            {
                self.side.post("report", &*report).await?;
            }
        }
        Ok(())
    }
}

/// The HTTP beside the socket.
struct Side {
    client: reqwest::Client,
    base: Url,
    token: Secret,
    notes: Arc<Notes>,
    etag: Mutex<Option<String>>,
}

impl Side {
    fn new(notes: Arc<Notes>, token: Secret) -> Result<Self, DialError> {
        let refused = |cause: String| DialError::NotWebSocket { cause };
        let client =
            reqwest::Client::builder().redirect(redirect::Policy::none()).timeout(ANSWER_WITHIN);
        let trust = &notes.enrolment().trust;
        let client = match trust.is_empty() {
            true => client,
            false => {
                let tls = trust.client_config().map_err(|error| refused(error.to_string()))?;
                client.tls_backend_preconfigured((*tls).clone())
            }
        };
        let client = client.build().map_err(|error| refused(error.to_string()))?;
        // Their address has no path of its own: it is replaced.
        let mut base = notes.enrolment().server.clone();
        base.set_path("/");
        let agent = format!("api/v1/agents/{}/", notes.joined().agent_id);
        let base = base.join(&agent).map_err(|error| refused(error.to_string()))?;
        Ok(Self { client, base, token, notes, etag: Mutex::default() })
    }

    /// The configuration, when it has changed.
    async fn config(&self) -> Option<Message> {
        let known = self.etag.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (repos, etag) = match self.repos(known).await {
            Ok(Some(found)) => found,
            Ok(None) => return None,
            Err(why) => {
                tracing::warn!(why, "the configuration could not be fetched");
                return None;
            }
        };
        *self.etag.lock().unwrap_or_else(PoisonError::into_inner) = etag;
        let name = self.notes.enrolment().host_name.clone();
        let update = self.notes.with_ledger(|ledger| http::update_of(&repos, ledger, 0, &name));
        Some(self.notes.configure(update))
    }

    async fn repos(
        &self,
        etag: Option<String>,
    ) -> Result<Option<(Vec<http::Repo>, Option<String>)>, String> {
        let mut request = self.request(Method::GET, "repos")?;
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(told)?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let etag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let etag = etag.map(str::to_owned);
        let data = answer(response).await?;
        let repos = data.read_as().map_err(|error| error.to_string())?;
        Ok(Some((repos, etag)))
    }

    async fn get(&self, what: &str) -> Result<Raw, String> {
        answer(self.request(Method::GET, what)?.send().await.map_err(told)?).await
    }

    async fn post<T: Go>(&self, what: &str, body: &T) -> Result<(), String> {
        // What it says beside its status is nothing that this agent asked for.
        received(self.send(what, body).await?).map(drop)
    }

    async fn post_for<T: Go>(&self, what: &str, body: &T) -> Result<Raw, String> {
        answer(self.send(what, body).await?).await
    }

    async fn send<T: Go>(&self, what: &str, body: &T) -> Result<reqwest::Response, String> {
        let request = self.request(Method::POST, what)?;
        let request =
            request.header(header::CONTENT_TYPE, "application/json").body(gojson::to_text(body));
        request.send().await.map_err(told)
    }

    fn request(&self, method: Method, what: &str) -> Result<reqwest::RequestBuilder, String> {
        let url = self.base.join(what).map_err(|error| error.to_string())?;
        Ok(self.client.request(method, url).bearer_auth(self.token.expose()))
    }
}

/// An answer that is no refusal.
fn received(response: reqwest::Response) -> Result<reqwest::Response, String> {
    let status = response.status();
    if status.is_success() { Ok(response) } else { Err(format!("HTTP {status}")) }
}

/// The data of an answer. One that is too large is not read to its end.
async fn answer(response: reqwest::Response) -> Result<Raw, String> {
    let mut response = received(response)?;
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(told)? {
        if body.len() + part.len() > ANSWER_SIZE_MAX {
            return Err("the answer is too large".to_owned());
        }
        body.extend_from_slice(&part);
    }
    if body.is_empty() {
        return Ok(Raw::ABSENT);
    }
    let answer: http::Answer = gojson::from_slice(&body).map_err(|error| error.to_string())?;
    Ok(answer.data)
}

fn told(error: reqwest::Error) -> String {
    chain(&error.without_url())
}
