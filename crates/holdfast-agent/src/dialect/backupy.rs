//! This agent as a Backupy agent.
//!
//! That system backs databases up into a bucket; this agent backs folders up into the repository
//! that it was given when it joined. What the server calls a job is a source group here, and the
//! snapshot's id stands for the object's key.

use std::{sync::Arc, time::Duration};

use holdfast_link::dial::DialError;
use holdfast_protocol::{
    Message,
    dialect::{
        Said,
        backupy::{
            self as words,
            wire::{AgentConfig, Body, Envelope, JobStatus, JobUpdate},
        },
        convert,
    },
    message::command::Verb,
};
use jiff::Timestamp;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::{
    Notes,
    bridge::{Greeted, Heard, Tongue},
    socket::{Gone, Socket},
};

/// How long the server may take to answer the registration.
const ACK_WITHIN: Duration = Duration::from_secs(15);

/// Registers on a socket that is open. The first frame of the server must be its answer.
pub(super) async fn greet(
    mut socket: Socket,
    notes: Arc<Notes>,
) -> Result<Greeted<Words>, DialError> {
    let odd = |cause: &str| DialError::NotWebSocket { cause: cause.to_owned() };
    let mut words = Words { notes: Arc::clone(&notes), seq: first_seq(), version: 0 };
    let register = words::register(&notes.facts(), vec!["restic".to_owned()], 0);
    let register = words.frame(register);
    socket.send(register).await.map_err(|Gone| odd("it closed at once"))?;
    let first = timeout(ACK_WITHIN, first(&mut socket)).await;
    let first = first.map_err(|_| odd("it did not answer the registration"))?;
    let ack = match first {
        Ok(Some(Body::RegisterAck(ack))) => ack,
        Ok(_) => {
            socket.close(1008, "handshake failed").await;
            return Err(odd("its first frame is not the answer to the registration"));
        }
        Err(closed) => return Err(closed.unwrap_or_else(|| odd("it closed the connection"))),
    };
    let states = words.configured(ack.config.as_ref());
    Ok(Greeted { tongue: words, socket, notes, states })
}

/// The body of the first data frame, or why there is none.
async fn first(socket: &mut Socket) -> Result<Option<Body>, Option<DialError>> {
    loop {
        match socket.next().await {
            Some(Frame::Binary(bytes)) => {
                return Ok(Envelope::from_bytes(&bytes).ok().and_then(|frame| frame.payload));
            }
            Some(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_)) => {}
            Some(Frame::Text(_)) => return Ok(None),
            // The server closes with 1008 what it does not let in.
            Some(Frame::Close(Some(frame))) if u16::from(frame.code) == 1008 => {
                let said = frame.reason.chars().filter(|letter| !letter.is_control());
                let said = Some(said.take(200).collect()).filter(|said: &String| !said.is_empty());
                return Err(Some(DialError::Unauthorised { status: 403, said }));
            }
            _ => return Err(None),
        }
    }
}

/// Numbers that rise through restarts: the milliseconds leave room for what one process says.
fn first_seq() -> u64 {
    convert::ms_of_time(Timestamp::now()) * 1000
}

/// The words on a socket.
pub(super) struct Words {
    notes: Arc<Notes>,
    seq: u64,
    /// The server's number of its configuration.
    version: u64,
}

impl Words {
    fn frame(&mut self, body: Body) -> Frame {
        self.seq += 1;
        let now = convert::ms_of_time(Timestamp::now());
        Frame::Binary(Envelope::of(self.seq, now, body).to_bytes().into())
    }

    /// Their configuration, with where the data is and goes from this agent's own.
    fn configured(&mut self, config: Option<&AgentConfig>) -> Vec<Message> {
        let mut update = self.notes.joined().update(self.notes.enrolment());
        if let Some(config) = config {
            self.version = config.version;
            update.groups.retain(|group| config.jobs.iter().any(|job| job.id == group.name));
        }
        vec![self.notes.configure(update)]
    }

    fn ordered(&mut self, mut run: holdfast_protocol::message::command::Run) -> Heard {
        if self.notes.complete(&mut run) {
            return Heard { orders: vec![Message::CommandRun(run)], ..Heard::default() };
        }
        let refusal = Body::JobUpdate(JobUpdate {
            job_id: run.tag.clone(),
            status: JobStatus::Failed.into(),
            error_message: "this agent does not know what to back up for this job: join again \
                            with --group NAME=PATH"
                .to_owned(),
            run_id: self.notes.with_ledger(|ledger| ledger.name_of(run.job_id)),
            ..JobUpdate::default()
        });
        self.notes.ended(run.job_id);
        Heard { replies: vec![self.frame(refusal)], ..Heard::default() }
    }
}

impl Tongue for Words {
    async fn hear(&mut self, frame: Frame) -> Result<Heard, Gone> {
        let Frame::Binary(bytes) = frame else { return Ok(Heard::default()) };
        let envelope = Envelope::from_bytes(&bytes).map_err(|error| {
            tracing::debug!(%error, "the server sent what is no envelope");
            Gone
        })?;
        match &envelope.payload {
            Some(Body::Ping(_)) => {
                self.seq += 1;
                let now = convert::ms_of_time(Timestamp::now());
                let ack = envelope.ack(self.seq, now, None).to_bytes();
                return Ok(Heard { replies: vec![Frame::Binary(ack.into())], ..Heard::default() });
            }
            Some(Body::ConfigUpdate(update)) => {
                let states = self.configured(update.config.as_ref());
                return Ok(Heard { states, ..Heard::default() });
            }
            // A second one is ignored, as the original does.
            Some(Body::RegisterAck(_)) | None => return Ok(Heard::default()),
            Some(_) => {}
        }
        let name = self.notes.enrolment().host_name.clone();
        let said = self.notes.with_ledger(|ledger| words::hear_server(&envelope, ledger, &name));
        let mut heard = Heard::default();
        for said in said {
            match said {
                Said::Message(Message::CommandRun(run)) => {
                    let ordered = self.ordered(run);
                    heard.orders.extend(ordered.orders);
                    heard.replies.extend(ordered.replies);
                }
                Said::Message(message) => heard.orders.push(message),
                Said::Other { kind, .. } | Said::Unplaced { kind } => {
                    tracing::warn!(kind, "a command of the server has no place here");
                }
                Said::Introduction(_) => {}
            }
        }
        Ok(heard)
    }

    fn say(&mut self, message: &Message) -> Vec<Frame> {
        let bodies = match message {
            Message::CommandResult(outcome) => {
                let refused = outcome.command == Verb::Run && !outcome.accepted;
                let why = outcome.error.as_ref().map(|error| error.message.clone());
                let body = refused.then(|| {
                    self.notes.with_ledger(|ledger| {
                        Body::JobUpdate(JobUpdate {
                            job_id: ledger.group_of(outcome.job_id),
                            status: JobStatus::Failed.into(),
                            error_message: why.unwrap_or_default(),
                            run_id: ledger.name_of(outcome.job_id),
                            ..JobUpdate::default()
                        })
                    })
                });
                body.into_iter().collect()
            }
            Message::Heartbeat(beat) => {
                let version = convert::signed(self.version);
                let beat = holdfast_protocol::message::job::Heartbeat {
                    config_version: version,
                    ..beat.clone()
                };
                vec![self.notes.with_ledger(|ledger| words::heartbeat(&beat, ledger))]
            }
            other => self.notes.with_ledger(|ledger| words::report(other, ledger)),
        };
        bodies.into_iter().map(|body| self.frame(body)).collect()
    }

    fn goodbye(&self) -> &'static str {
        "client done"
    }
}
