//! Backupy's agents: protobuf, a registration, and a configuration that is always sent whole.

use std::time::Duration;

use holdfast_protocol::{
    HostId, Message,
    dialect::{
        Dialect, Introduction, Ledger, Said,
        backupy::{
            self as words, agent_config,
            wire::{AgentConfig, Body, Envelope},
        },
        convert,
    },
    message::job::JobError,
};
use jiff::Timestamp;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    converse::{Breach, Heard, Tongue, converse},
    socket::{Frame, Incoming, Socket},
    upload,
};
use crate::hub::{
    Hub,
    desk::{Desk, DeskError},
};

/// How long an agent may take to register.
const REGISTER_WITHIN: Duration = Duration::from_secs(15);
/// What the agents are told, although they keep their own pace.
const HEARTBEAT_SECONDS: u32 = 30;
/// Their runs die with the connection. What an agent kept through it is in the first batch that it
/// sends again, or in its next heartbeat.
const ORPHANS_AFTER: Duration = Duration::from_secs(75);
/// After this many frames in a row that are no binary, the peer is no agent.
const WRONG_FRAMES_MAX: u32 = 16;

const REGISTER_FIRST: Breach = Breach { code: 1008, reason: "register first" };
const UNREADABLE: Breach = Breach { code: 1007, reason: "not an envelope of this dialect" };

/// Serves an agent on its socket.
pub(super) async fn serve(
    hub: &Hub,
    host: HostId,
    mut socket: Socket,
    stop: CancellationToken,
) -> Result<(), DeskError> {
    let introduction = match greeting(&mut socket).await {
        Ok(introduction) => introduction,
        Err(breach) => {
            socket.close(breach.code, breach.reason).await;
            return Ok(());
        }
    };
    let mut desk = match hub.open_desk(host).await {
        Ok(desk) => desk,
        Err(error) => {
            socket.close(1013, "try again later").await;
            return Err(error);
        }
    };
    let mut words = Words::default();
    if let Err(error) = welcome(&mut words, &introduction, &mut socket, &mut desk).await {
        desk.leave().await;
        return Err(error);
    }
    let (_, calls) = mpsc::channel(1);
    converse(socket, desk, words, calls, stop).await
}

/// The first frame, which must be a registration.
async fn greeting(socket: &mut Socket) -> Result<Introduction, Breach> {
    let first = async {
        loop {
            match socket.next().await {
                Incoming::Frame(Frame::Ping(_) | Frame::Pong(_)) => {}
                other => break other,
            }
        }
    };
    let Ok(Incoming::Frame(Frame::Binary(bytes))) = timeout(REGISTER_WITHIN, first).await else {
        return Err(REGISTER_FIRST);
    };
    let envelope = Envelope::from_bytes(&bytes).map_err(|_| REGISTER_FIRST)?;
    let said = words::hear_agent(&envelope, &mut Ledger::new(nobody()), Timestamp::now());
    match said.into_iter().next() {
        Some(Said::Introduction(introduction)) => Ok(*introduction),
        _ => Err(REGISTER_FIRST),
    }
}

/// Nothing is placed in the ledger of a greeting.
fn nobody() -> HostId {
    HostId::from_uuid(Uuid::nil())
}

/// Answers the registration. The agent knows the version of its configuration after a restart, but
/// not the content: so the whole always goes along.
async fn welcome(
    words: &mut Words,
    introduction: &Introduction,
    socket: &mut Socket,
    desk: &mut Desk,
) -> Result<(), DeskError> {
    desk.introduce(introduction).await?;
    let (version, config) = config_of(desk).await?;
    let session = desk.session().to_string();
    let ack = words::register_ack(session, config, HEARTBEAT_SECONDS, Timestamp::now());
    // A peer that has gone meanwhile is found out by the conversation.
    let _ = socket.send(words.frame(ack)).await;
    desk.told_config(version).await
}

async fn config_of(desk: &Desk) -> Result<(i64, AgentConfig), DeskError> {
    let (update, schedules) = desk.config().await?;
    Ok((update.version, agent_config(&update, Some(&schedules))))
}

/// The words of one connection.
#[derive(Debug, Default)]
struct Words {
    seq: u64,
    pings: u64,
    wrong_frames: u32,
}

impl Words {
    fn frame(&mut self, body: Body) -> Frame {
        self.seq += 1;
        let ts_ms = convert::ms_of_time(Timestamp::now());
        Frame::Binary(Envelope::of(self.seq, ts_ms, body).to_bytes())
    }
}

impl Tongue for Words {
    fn dialect(&self) -> Dialect {
        Dialect::Backupy
    }

    fn hear(&mut self, frame: Frame, ledger: &mut Ledger, now: Timestamp) -> Result<Heard, Breach> {
        let Frame::Binary(bytes) = frame else {
            self.wrong_frames += 1;
            if self.wrong_frames >= WRONG_FRAMES_MAX {
                return Err(Breach { code: 1003, reason: "binary frames only" });
            }
            return Ok(Heard::default());
        };
        self.wrong_frames = 0;
        let envelope = Envelope::from_bytes(&bytes).map_err(|_| UNREADABLE)?;
        Ok(Heard::said(words::hear_agent(&envelope, ledger, now)))
    }

    async fn say(&mut self, order: &Message, desk: &mut Desk) -> Result<Vec<Frame>, JobError> {
        let upload = match order {
            Message::CommandRun(run) => upload::of(run, desk).await?,
            _ => None,
        };
        let config = match order {
            Message::ConfigUpdate(_) | Message::ScheduleSet(_) => {
                config_of(desk).await.ok().map(|(_, config)| config)
            }
            _ => None,
        };
        let body = words::command(order, desk.ledger(), upload, config.as_ref());
        let body = body.map_err(|refusal| JobError {
            code: "not_in_dialect".to_owned(),
            message: crate::api::problem::sentence(&refusal.to_string()),
            action: holdfast_protocol::dialect::Unsayable::ACTION.to_owned(),
        })?;
        Ok(body.map(|body| self.frame(body)).into_iter().collect())
    }

    /// Their link dies after 90 s without a data frame, and the WebSocket's own pings are none.
    fn tick(&mut self, now: Timestamp) -> Vec<Frame> {
        self.seq += 1;
        self.pings += 1;
        let correlation = format!("ping-{}", self.pings);
        let ping = Envelope::ping(self.seq, convert::ms_of_time(now), correlation);
        vec![Frame::Binary(ping.to_bytes())]
    }

    fn orphans_after(&self) -> Option<Duration> {
        Some(ORPHANS_AFTER)
    }
}
