//! Clients of the plain envelope: a registration, then requests, answers and events both ways.

use std::time::Duration;

use holdfast_protocol::{
    HostId, Message,
    dialect::{
        Dialect, Introduction, Ledger, Said, convert,
        plain::{self, BAD_FRAMES_MAX, Envelope, Heard as Meant, RegisterAck, UlidSource},
    },
    message::job::JobError,
};
use jiff::Timestamp;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    converse::{Breach, Heard, Tongue, converse},
    socket::{Frame, Incoming, Socket},
};
use crate::hub::{
    Hub,
    desk::{Desk, DeskError},
};

/// How long a client may take to register; some try again every second after a refusal.
const REGISTER_WITHIN: Duration = Duration::from_secs(30);

/// What the original advertises. Nobody keeps to it.
const ACK: RegisterAck =
    RegisterAck { heartbeat_interval_s: 10, stale_after_s: 30, herald_subject: String::new() };

const TEXT_ONLY: Breach = Breach { code: 1003, reason: "text frames only" };
const TOO_MANY: Breach = Breach { code: 1008, reason: "too many bad frames" };
const REGISTER_FIRST: Breach = Breach { code: 1008, reason: "register first" };

/// Serves a client on its socket.
pub(super) async fn serve(
    hub: &Hub,
    host: HostId,
    mut socket: Socket,
    stop: CancellationToken,
) -> Result<(), DeskError> {
    let name = hub.host_name(host).await.map_err(DeskError::Database)?;
    let (frame, introduction) = match greeting(&name, &mut socket).await {
        Ok(greeting) => greeting,
        Err(breach) => {
            socket.close(breach.code, breach.reason).await;
            return Ok(());
        }
    };
    let mut desk = match hub.open_desk(host).await {
        Ok(desk) => desk,
        Err(error) => {
            let refusal = frame.error("the server cannot open a session right now", now());
            let _ = socket.send(text(&refusal)).await;
            socket.close(1013, "try again later").await;
            return Err(error);
        }
    };
    // A peer that has gone meanwhile is found out by the conversation.
    let _ = socket.send(text(&frame.answer("register.ack", now()).with(&ACK))).await;
    if let Err(error) = settle_in(&introduction, &mut socket, &mut desk).await {
        desk.leave().await;
        return Err(error);
    }
    let (_, calls) = mpsc::channel(1);
    converse(socket, desk, Words { name, ..Words::default() }, calls, stop).await
}

/// A client of ours wants its configuration; another takes it for a kind it does not know.
async fn settle_in(
    introduction: &Introduction,
    socket: &mut Socket,
    desk: &mut Desk,
) -> Result<(), DeskError> {
    desk.introduce(introduction).await?;
    let (update, schedules) = desk.config().await?;
    let version = update.version;
    for message in [Message::ConfigUpdate(update), Message::ScheduleSet(schedules)] {
        let _ = socket.send(text(&Envelope::of_message(&message, None, now()))).await;
    }
    desk.told_config(version).await
}

/// Reads until a registration is complete. A wrong one is answered, and the client may try again.
async fn greeting(name: &str, socket: &mut Socket) -> Result<(Envelope, Introduction), Breach> {
    let deadline = Instant::now() + REGISTER_WITHIN;
    for _ in 0..BAD_FRAMES_MAX {
        let incoming = timeout_at(deadline, socket.next()).await.map_err(|_| REGISTER_FIRST)?;
        let bytes = match incoming {
            Incoming::Frame(Frame::Text(text)) => text.into_bytes(),
            Incoming::Frame(Frame::Binary(_)) => return Err(TEXT_ONLY),
            Incoming::Frame(Frame::Ping(_) | Frame::Pong(_)) => continue,
            Incoming::Broken(code) => {
                return Err(Breach { code, reason: "this frame cannot be read" });
            }
            _ => return Err(REGISTER_FIRST),
        };
        let Ok(frame) = Envelope::decode(&bytes) else { continue };
        let refusal = match registered(name, &frame) {
            Ok(introduction) => return Ok((frame, introduction)),
            Err(Some(refusal)) => refusal,
            Err(None) => return Err(REGISTER_FIRST),
        };
        if socket.send(text(&frame.error(refusal, now()))).await.is_err() {
            return Err(REGISTER_FIRST);
        }
    }
    Err(TOO_MANY)
}

/// The introduction in a registration, or why it is refused; nothing for another kind.
fn registered(name: &str, frame: &Envelope) -> Result<Introduction, Option<String>> {
    let ledger = Ledger::new(HostId::from_uuid(uuid::Uuid::nil()));
    let (register, introduction) = match plain::hear(frame, &ledger) {
        Ok(Meant::Register(register, introduction)) => (register, introduction),
        Ok(_) => return Err(None),
        Err(error) => return Err(Some(format!("{error}"))),
    };
    if let Some(field) = register.missing() {
        return Err(Some(format!("`{field}` must not be empty")));
    }
    if register.name != name {
        return Err(Some("the name is not the one that the token belongs to".to_owned()));
    }
    Ok(introduction)
}

/// The words of one connection.
#[derive(Debug, Default)]
struct Words {
    name: String,
    bad_frames: u32,
    ids: UlidSource,
}

impl Words {
    fn bad(&mut self) -> Result<Heard, Breach> {
        self.bad_frames += 1;
        if self.bad_frames >= BAD_FRAMES_MAX { Err(TOO_MANY) } else { Ok(Heard::default()) }
    }

    fn meant(&self, frame: &Envelope, ledger: &Ledger, now: Timestamp) -> Heard {
        let reply = |envelope: Option<Envelope>| envelope.iter().map(text).collect();
        match plain::hear(frame, ledger) {
            Ok(Meant::Register(..)) => {
                Heard { replies: vec![self.again(frame, now)], ..Heard::default() }
            }
            Ok(Meant::Deregister) => Heard {
                replies: reply(plain::reaction(frame, now)),
                leaves: true,
                said: Vec::new(),
            },
            Ok(Meant::Answer(said)) => Heard::said(vec![said]),
            Ok(Meant::Said(said)) => asked(frame, said, now),
            Err(error) => {
                let answer = frame.is_request().then(|| frame.error(format!("{error}"), now));
                Heard { replies: reply(answer), ..Heard::default() }
            }
        }
    }

    /// Who registers once more on the same connection is who it was.
    fn again(&self, frame: &Envelope, now: Timestamp) -> Frame {
        match registered(&self.name, frame) {
            Ok(_) => text(&frame.answer("register.ack", now).with(&ACK)),
            Err(refusal) => text(&frame.error(refusal.unwrap_or_default(), now)),
        }
    }
}

/// What a client says on its own or asks. A report of ours that wants an answer gets it once it is
/// stored, because answers go after what was said has been heard.
fn asked(frame: &Envelope, said: Said, now: Timestamp) -> Heard {
    let for_a_server = !matches!(
        &said,
        Said::Message(
            Message::CommandRun(_)
                | Message::CommandCancel(_)
                | Message::CommandPause(_)
                | Message::CommandResume(_)
                | Message::ConfigUpdate(_)
                | Message::ScheduleSet(_)
        )
    );
    let answer = match plain::reaction(frame, now) {
        Some(reaction) => Some(reaction),
        None if !frame.is_request() => None,
        None if for_a_server && matches!(said, Said::Message(_)) => {
            Some(frame.answer(format!("{}.ack", frame.kind), now))
        }
        None => Some(frame.error("this server does not take it from an agent", now)),
    };
    let said = if for_a_server { vec![said] } else { Vec::new() };
    Heard { said, replies: answer.iter().map(text).collect(), leaves: false }
}

impl Tongue for Words {
    fn dialect(&self) -> Dialect {
        Dialect::Envelope
    }

    fn hear(&mut self, frame: Frame, ledger: &mut Ledger, now: Timestamp) -> Result<Heard, Breach> {
        let Frame::Text(text) = frame else { return Err(TEXT_ONLY) };
        let Ok(envelope) = Envelope::decode(text.as_bytes()) else { return self.bad() };
        self.bad_frames = 0;
        Ok(self.meant(&envelope, ledger, now))
    }

    async fn say(&mut self, order: &Message, desk: &mut Desk) -> Result<Vec<Frame>, JobError> {
        let job = match order {
            Message::CommandRun(run) => Some(run.job_id),
            Message::CommandCancel(cancel) => Some(cancel.job_id),
            Message::CommandPause(pause) => Some(pause.job_id),
            Message::CommandResume(resume) => Some(resume.job_id),
            _ => None,
        };
        let now = now();
        let id = job.map(|job| {
            let id = self.ids.next(convert::ms_of_time(now), rand::random());
            desk.ledger().mark_request(job, &*id);
            id
        });
        let frame = text(&Envelope::of_message(order, id, now));
        if matches!(&frame, Frame::Text(text) if text.len() > plain::FRAME_SIZE_MAX) {
            return Err(JobError {
                code: "command_too_large".to_owned(),
                message: "The command is larger than the host's agent reads.".to_owned(),
                action: "Split the source group.".to_owned(),
            });
        }
        Ok(vec![frame])
    }
}

fn text(envelope: &Envelope) -> Frame {
    // Every envelope made here has a kind.
    Frame::Text(envelope.encode().unwrap_or_default())
}

fn now() -> Timestamp {
    Timestamp::now()
}
