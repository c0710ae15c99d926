//! The greeting: hello, then welcome or reject.

use std::time::Duration;

use holdfast_protocol::{
    Envelope, PROTOCOL_VERSION, Payload, Seq,
    message::link::{HELLO, Hello, REJECT, Reject, WELCOME, Welcome},
};
use serde::de::DeserializeOwned;

use super::{
    Action, Admitted, Ended, Frame, Introduction, Notice, Opened, Phase, Role, Session, Violation,
    short,
};
use crate::{close_code, store::Positions};

impl Session {
    pub(super) fn say_hello(&mut self, introduction: Introduction) {
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            incarnation: introduction.incarnation,
            boot: introduction.boot,
            instance: Some(introduction.instance),
            epoch: introduction.epoch,
            received: self.positions.received,
            oldest: self.positions.oldest,
            capabilities: introduction.capabilities,
            facts: introduction.facts,
        };
        self.greeting.push_back(Frame::control(HELLO, Some(Payload::of(&hello))));
    }

    /// A frame before the session is live.
    pub(super) fn handle_greeting(&mut self, frame: &Envelope) -> Result<(), Violation> {
        match (self.role, frame.kind.as_str()) {
            (Role::Server, HELLO) if self.hello.is_none() => {
                let hello: Hello = parse(frame, HELLO)?;
                check(&[hello.received, hello.oldest], HELLO)?;
                self.take_hello(hello);
            }
            (Role::Agent, WELCOME) => {
                let welcome: Welcome = parse(frame, WELCOME)?;
                check(&[welcome.received, welcome.oldest], WELCOME)?;
                self.take_welcome(&welcome);
            }
            (Role::Agent, REJECT) => self.take_reject(parse(frame, REJECT)?),
            _ => return Err(Violation::OutOfTurn { kind: short(&frame.kind) }),
        }
        Ok(())
    }

    fn take_hello(&mut self, hello: Hello) {
        if hello.protocol_version != PROTOCOL_VERSION {
            return self.refuse(unsupported(hello.protocol_version));
        }
        self.hello = Some((hello.received, hello.oldest));
        self.queue.push_back(Action::Admit(Box::new(hello)));
    }

    /// The gate let the agent in: both streams go on where the two stores say.
    pub(super) fn handle_admitted(&mut self, admitted: &Admitted) {
        let Some((received, oldest)) = self.hello else { return };
        if !matches!(self.phase, Phase::Handshaking) {
            return;
        }
        self.positions = admitted.positions;
        self.redial_spread = admitted.redial_spread;
        if let Err(ended) = self.resume(received, oldest) {
            return self.refuse_set_back(ended);
        }
        self.greeting.push_back(self.welcome(admitted));
        self.go_live(Opened {
            session_id: admitted.session_id,
            epoch: admitted.epoch,
            redial_spread: admitted.redial_spread,
            server_time: admitted.server_time,
        });
    }

    fn welcome(&self, admitted: &Admitted) -> Frame {
        let welcome = Welcome {
            session_id: admitted.session_id,
            epoch: admitted.epoch,
            received: self.positions.received,
            oldest: self.positions.oldest,
            heartbeat_interval_ms: millis(self.config.heartbeat_interval),
            silence_max_ms: millis(self.config.silence_max),
            redial_spread_ms: millis(admitted.redial_spread),
            server_time: admitted.server_time,
            capabilities: Vec::new(),
        };
        Frame::control(WELCOME, Some(Payload::of(&welcome)))
    }

    fn take_welcome(&mut self, welcome: &Welcome) {
        if let Err(ended) = self.resume(welcome.received, welcome.oldest) {
            return self.end(ended, close_code::REJECTED);
        }
        self.liveness.adopt(
            Duration::from_millis(welcome.heartbeat_interval_ms),
            Duration::from_millis(welcome.silence_max_ms),
        );
        self.go_live(Opened {
            session_id: welcome.session_id,
            epoch: welcome.epoch,
            redial_spread: Duration::from_millis(welcome.redial_spread_ms),
            server_time: welcome.server_time,
        });
    }

    fn take_reject(&mut self, reject: Reject) {
        self.end(Ended::Rejected(reject), close_code::NORMAL);
    }

    fn resume(&mut self, peer_received: u64, peer_oldest: u64) -> Result<(), Ended> {
        let Positions { received, .. } = self.positions;
        if let Some(missing) = self.outbox.resume(&self.positions, peer_received)? {
            self.queue.push_back(Action::Notice(Notice::PeerSetBack { missing }));
        }
        if let Some(missing) = self.inbox.resume(received, peer_oldest) {
            self.queue.push_back(Action::Notice(Notice::Missing { missing }));
        }
        Ok(())
    }

    fn go_live(&mut self, opened: Opened) {
        self.phase = Phase::Live;
        self.opening_states = self.lanes.states();
        self.liveness.begin(self.now);
        self.queue.push_back(Action::Opened(opened));
    }

    /// Says no and closes once it is written.
    pub(super) fn refuse(&mut self, reject: Reject) {
        self.greeting.push_back(Frame::control(REJECT, Some(Payload::of(&reject))));
        self.finish_after_writing(Ended::Rejected(reject), close_code::REJECTED);
    }

    fn refuse_set_back(&mut self, ended: Ended) {
        let reject = Reject {
            code: "server_set_back".to_owned(),
            message: "the server's database was set back to an older copy and cannot go on with \
                      this agent; restore a newer copy or enrol the host again"
                .to_owned(),
            retry_after_ms: None,
            fatal: true,
        };
        self.greeting.push_back(Frame::control(REJECT, Some(Payload::of(&reject))));
        self.finish_after_writing(ended, close_code::REJECTED);
    }
}

/// No stream gets this far; a peer that says so wants to break our arithmetic, or that of a
/// database whose integers have a sign.
const SEQ_MAX: Seq = i64::MAX as Seq;

fn check(positions: &[Seq], kind: &'static str) -> Result<(), Violation> {
    if positions.iter().any(|position| *position >= SEQ_MAX) {
        return Err(Violation::Malformed { kind });
    }
    Ok(())
}

/// Reads the body of one of the link's own words.
pub(super) fn parse<T: DeserializeOwned>(
    frame: &Envelope,
    kind: &'static str,
) -> Result<T, Violation> {
    let payload = frame.payload.as_ref().ok_or(Violation::Malformed { kind })?;
    payload.parse().map_err(|_| Violation::Malformed { kind })
}

fn unsupported(version: u32) -> Reject {
    Reject {
        code: "unsupported_version".to_owned(),
        message: format!(
            "the agent speaks version {version} of the protocol, this server version \
             {PROTOCOL_VERSION}; bring both to the same release"
        ),
        retry_after_ms: None,
        fatal: true,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
