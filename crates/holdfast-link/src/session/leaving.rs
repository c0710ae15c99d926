//! Ending a session in good order, from either side, and what an end means once it comes.

use std::time::Duration;

use holdfast_protocol::{
    Payload,
    message::link::{BYE, Bye, GO_AWAY, GoAway},
};

use super::{CloseReason, Ended, Frame, Loss, Phase, Role, Session, handshake::millis};
use crate::{clock::Moment, close_code};

/// Leaving in good order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    pub(super) why: Why,
    pub(super) deadline: Moment,
}

/// Who wants the session to end, which decides what is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    /// We do (agent): send what there is, get it acknowledged, say goodbye.
    Leaving,
    /// The server asked us (agent): finish what flies, say goodbye.
    Asked { after: Duration },
    /// We asked the agent (server): it says goodbye.
    Waiting { reason: CloseReason },
}

impl Session {
    pub(super) fn handle_go_away(&mut self, go_away: &GoAway) {
        let after = Duration::from_millis(go_away.after_ms);
        if !matches!(self.drain, Some(Drain { why: Why::Leaving, .. })) {
            self.begin_drain(Why::Asked { after });
        }
    }

    pub(super) fn handle_stop(&mut self) {
        match (self.phase, self.role) {
            (Phase::Handshaking, _) => self.end(Ended::Stopped, close_code::NORMAL),
            (_, Role::Agent) => {
                // The last results may have been appended a moment ago by someone who stops too,
                // and has no one left to wake us.
                self.outbox.wake();
                self.begin_drain(Why::Leaving);
            }
            (_, Role::Server) => {
                let after = self.redial_spread.mul_f64(self.config.jitter.clamp(0.0, 1.0));
                self.handle_close(CloseReason::Draining { after });
            }
        }
    }

    pub(super) fn handle_close(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::Fenced => self.end(Ended::Closed(reason), close_code::FENCED),
            CloseReason::Revoked => self.end(Ended::Closed(reason), close_code::REVOKED),
            CloseReason::Draining { .. } if !self.is_live() => {
                self.end(Ended::Closed(reason), close_code::RESTART);
            }
            CloseReason::Draining { after } => self.ask_to_leave(after),
        }
    }

    fn ask_to_leave(&mut self, after: Duration) {
        if self.drain.is_some() {
            return;
        }
        let reason = "the server is going away".to_owned();
        let go_away = GoAway { after_ms: millis(after), reason };
        self.greeting.push_back(Frame::control(GO_AWAY, Some(Payload::of(&go_away))));
        self.begin_drain(Why::Waiting { reason: CloseReason::Draining { after } });
    }

    fn begin_drain(&mut self, why: Why) {
        let deadline = match self.drain {
            Some(drain) => drain.deadline,
            None => self.now + self.config.drain_max,
        };
        self.phase = Phase::Draining;
        self.drain = Some(Drain { why, deadline });
        self.inbox.hurry(self.now);
    }

    /// Says goodbye once there is nothing left to wait for.
    pub(super) fn check_drain(&mut self) {
        let Some(drain) = self.drain.filter(|_| self.closing.is_none() && !self.is_ended()) else {
            return;
        };
        let done = match drain.why {
            Why::Leaving => self.outbox.is_empty() && self.lanes.is_empty(),
            Why::Asked { .. } => self.outbox.is_landed(),
            Why::Waiting { .. } => false,
        };
        if done && self.inbox.is_settled() {
            self.say_bye(drain.why);
        }
    }

    fn say_bye(&mut self, why: Why) {
        let (ended, reason) = match why {
            Why::Asked { after } => (Ended::GoAway { after }, "asked to leave"),
            Why::Leaving | Why::Waiting { .. } => (Ended::Stopped, "the agent is stopping"),
        };
        let bye = Bye { reason: reason.to_owned() };
        self.greeting.push_back(Frame::control(BYE, Some(Payload::of(&bye))));
        self.finish_after_writing(ended, close_code::NORMAL);
    }

    /// Leaving in good order took too long: what is unfinished goes on in the next session.
    pub(super) fn end_drain(&mut self) {
        match self.drain.map(|drain| drain.why) {
            Some(Why::Asked { after }) => self.end(Ended::GoAway { after }, close_code::NORMAL),
            Some(Why::Waiting { reason }) => self.end(Ended::Closed(reason), close_code::RESTART),
            Some(Why::Leaving) | None => self.end(Ended::Stopped, close_code::NORMAL),
        }
    }

    pub(super) fn handle_lost(&mut self, loss: Loss) {
        let ended = match (self.closing.take(), self.drain.map(|drain| drain.why)) {
            (Some((ended, _)), _) => ended,
            (None, Some(Why::Asked { after })) => Ended::GoAway { after },
            (None, Some(Why::Waiting { reason })) => Ended::Closed(reason),
            (None, Some(Why::Leaving)) => Ended::Stopped,
            (None, None) => Ended::Lost(loss),
        };
        self.finish(ended);
    }

    pub(super) fn handle_bye(&mut self, bye: Bye) {
        let ended = match self.drain.map(|drain| drain.why) {
            Some(Why::Waiting { reason }) => Ended::Closed(reason),
            Some(Why::Asked { after }) => Ended::GoAway { after },
            Some(Why::Leaving) => Ended::Stopped,
            None => Ended::Bye { reason: bye.reason },
        };
        self.end(ended, close_code::NORMAL);
    }

    /// A side that was asked to leave, or has asked the other to, starts nothing new.
    pub(super) fn starts_new(&self) -> bool {
        match self.drain.map(|drain| drain.why) {
            None | Some(Why::Leaving) => true,
            Some(Why::Asked { .. } | Why::Waiting { .. }) => false,
        }
    }
}
