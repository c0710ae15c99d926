//! This agent as a client of the plain envelope.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use holdfast_link::dial::DialError;
use holdfast_protocol::{
    JobId, Message,
    dialect::{
        OpenJob, Said, convert,
        gojson::{GoTime, Raw},
        plain::{
            self, BAD_FRAMES_MAX, Envelope, Heard as Meant, Register, UlidSource, WorkerStatus,
        },
    },
    message::command::Verb,
};
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message as Frame;
use uuid::Uuid;

use super::{
    Notes,
    bridge::{Greeted, Heard, Tongue},
    socket::{Gone, Socket},
};

/// How long the server may take to answer the registration.
const ACK_WITHIN: Duration = Duration::from_secs(10);
/// How often the agent tells of itself in the dialect's own words.
const STATUS_EVERY: Duration = Duration::from_secs(60);

/// Registers on a socket that is open.
pub(super) async fn greet(
    mut socket: Socket,
    notes: Arc<Notes>,
) -> Result<Greeted<Words>, DialError> {
    let odd = |cause: &str| DialError::NotWebSocket { cause: cause.to_owned() };
    let mut words = Words::new(Arc::clone(&notes));
    let id = words.id();
    let frame = Envelope::request("register", id.clone(), Timestamp::now());
    let frame = text(&frame.with(&words.register()));
    socket.send(frame).await.map_err(|Gone| odd("it closed at once"))?;
    let mut states = Vec::new();
    let answered = async {
        loop {
            let envelope = match socket.next().await {
                Some(Frame::Text(text)) => Envelope::decode(text.as_bytes()).ok(),
                Some(Frame::Close(_)) | None => return Err(odd("it closed the connection")),
                Some(_) => None,
            };
            let Some(envelope) = envelope else { continue };
            if envelope.in_reply_to == id {
                return Ok(envelope);
            }
        }
    };
    let answer = timeout(ACK_WITHIN, answered).await;
    let answer = answer.map_err(|_| odd("it did not answer the registration"))??;
    if answer.kind != "register.ack" {
        let body: plain::ErrorBody = answer.body().unwrap_or_default();
        let said =
            Some(body.error.chars().take(200).collect()).filter(|text: &String| !text.is_empty());
        return Err(DialError::Unauthorised { status: 403, said });
    }
    if notes.joined().repository.is_some() {
        states.push(notes.configure(notes.joined().update(notes.enrolment())));
    }
    Ok(Greeted { tongue: words, socket, notes, states })
}

/// The words on a socket.
pub(super) struct Words {
    notes: Arc<Notes>,
    ids: UlidSource,
    began_at: Timestamp,
    status_at: Option<Instant>,
    bad_frames: u32,
    /// Requests that wait for an answer. Those about one job are answered in their order.
    asked: VecDeque<Asked>,
}

/// A request of the server.
struct Asked {
    job: JobId,
    verb: Verb,
    id: String,
}

/// Requests whose answers may be awaited; an older one is answered without its id.
const ASKED_MAX: usize = 1000;

impl Words {
    fn new(notes: Arc<Notes>) -> Self {
        let began_at = Timestamp::now();
        Self {
            notes,
            ids: UlidSource::default(),
            began_at,
            status_at: None,
            bad_frames: 0,
            asked: VecDeque::new(),
        }
    }

    fn id(&mut self) -> String {
        self.ids.next(convert::ms_of_time(Timestamp::now()), Uuid::new_v4().as_u128())
    }

    fn register(&self) -> Register {
        let facts = self.notes.facts();
        let metadata = [
            ("agent_version", facts.agent_version),
            ("restic_version", facts.restic_version),
            ("hostname", facts.hostname),
            ("os", facts.os),
            ("arch", facts.arch),
            ("time_zone", facts.time_zone),
        ];
        let metadata = metadata.map(|(name, value)| (name.to_owned(), Raw::of(&value)));
        Register {
            name: self.notes.enrolment().host_name.clone(),
            context_mode: "global".to_owned(),
            provider: "holdfast".to_owned(),
            pid: i64::from(std::process::id()),
            started_at: GoTime::from(self.began_at),
            capabilities: ["backup", "cancel", "pause"].map(str::to_owned).to_vec(),
            // The same for the same agent, so that it takes its own older connection over.
            session_id: self.notes.enrolment().host_id.to_string(),
            metadata: Some(metadata.into()),
            ..Register::default()
        }
    }

    fn status(&self) -> Frame {
        let now = Timestamp::now();
        let jobs = self.notes.with_ledger(|ledger| {
            let jobs: Vec<_> = ledger.jobs().collect();
            jobs.first().map(|job| ledger.name_of(*job))
        });
        let state = if jobs.is_some() { "running" } else { "done" };
        let status = WorkerStatus {
            agent: self.notes.enrolment().host_name.clone(),
            work_item_id: jobs.unwrap_or_default(),
            state: state.to_owned(),
            auth_ok: true,
            last_heartbeat: GoTime::from(now),
            started_at: GoTime::from(self.began_at),
            ..WorkerStatus::default()
        };
        text(&Envelope::event("worker.status", now).with(&status))
    }

    /// A command; the id of the request is kept, so that the answer can name it.
    fn ordered(&mut self, frame: &Envelope, message: Message) -> Heard {
        let (job, verb) = match &message {
            Message::CommandRun(run) => (run.job_id, Verb::Run),
            Message::CommandCancel(cancel) => (cancel.job_id, Verb::Cancel),
            Message::CommandPause(pause) => (pause.job_id, Verb::Pause),
            Message::CommandResume(resume) => (resume.job_id, Verb::Resume),
            state @ (Message::ConfigUpdate(_) | Message::ScheduleSet(_)) => {
                return Heard { states: vec![state.clone()], ..Heard::default() };
            }
            _ => return self.unserved(frame),
        };
        let known = self.notes.with_ledger(|ledger| {
            let open = |tag: &str| OpenJob::of_group(tag);
            ledger.job(job).is_some()
                || matches!(&message, Message::CommandRun(run)
                    if ledger.open_ordered(job, open(&run.tag)))
        });
        if known {
            self.asked.push_back(Asked { job, verb, id: frame.id.clone() });
            if self.asked.len() > ASKED_MAX {
                self.asked.pop_front();
            }
            return Heard { orders: vec![self.filled(message)], ..Heard::default() };
        }
        let refusal = frame.error("this agent has no such job", Timestamp::now());
        Heard { replies: vec![text(&refusal)], ..Heard::default() }
    }

    /// The request that a message answers.
    fn request_of(&mut self, message: &Message) -> Option<String> {
        let Message::CommandResult(outcome) = message else { return None };
        let is_it = |asked: &Asked| (asked.job, asked.verb) == (outcome.job_id, outcome.command);
        let place = self.asked.iter().position(is_it)?;
        self.asked.remove(place).map(|asked| asked.id)
    }

    /// What a server without a configuration for us leaves out.
    fn filled(&self, message: Message) -> Message {
        match message {
            Message::CommandRun(mut run) if run.includes.is_empty() => {
                self.notes.complete(&mut run);
                Message::CommandRun(run)
            }
            other => other,
        }
    }

    fn unserved(&self, frame: &Envelope) -> Heard {
        let now = Timestamp::now();
        let answer = plain::reaction(frame, now)
            .or_else(|| frame.is_request().then(|| frame.error("this agent keeps backups", now)));
        Heard { replies: answer.iter().map(text).collect(), ..Heard::default() }
    }
}

impl Tongue for Words {
    async fn hear(&mut self, frame: Frame) -> Result<Heard, Gone> {
        let Frame::Text(text) = frame else { return Ok(Heard::default()) };
        let Ok(envelope) = Envelope::decode(text.as_bytes()) else {
            self.bad_frames += 1;
            return if self.bad_frames >= BAD_FRAMES_MAX {
                Err(Gone)
            } else {
                Ok(Heard::default())
            };
        };
        self.bad_frames = 0;
        if envelope.kind == "shutdown" {
            return Err(Gone);
        }
        let meant = self.notes.with_ledger(|ledger| plain::hear(&envelope, ledger));
        Ok(match meant {
            Ok(Meant::Said(Said::Message(message))) => self.ordered(&envelope, message),
            // Nobody waits for an answer here: all that is asked is the registration.
            Ok(Meant::Answer(_)) => Heard::default(),
            Ok(_) | Err(_) => self.unserved(&envelope),
        })
    }

    fn say(&mut self, message: &Message) -> Vec<Frame> {
        let now = Timestamp::now();
        let envelope = Envelope::of_message(message, None, now);
        let in_reply_to = self.request_of(message).unwrap_or_default();
        vec![text(&Envelope { in_reply_to, ..envelope })]
    }

    fn tick(&mut self) -> Vec<Frame> {
        if self.status_at.is_some_and(|at| at.elapsed() < STATUS_EVERY) {
            return Vec::new();
        }
        self.status_at = Some(Instant::now());
        vec![self.status()]
    }

    fn goodbye(&self) -> &'static str {
        "client shutdown"
    }
}

fn text(envelope: &Envelope) -> Frame {
    // Every envelope made here has a kind.
    Frame::Text(envelope.encode().unwrap_or_default().into())
}
