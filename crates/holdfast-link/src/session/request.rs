//! Requests and their answers, from both ends: who asked what, and who still waits.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use holdfast_protocol::{FRAME_SIZE_MAX, Payload, message::link::Refusal};
use jiff::Timestamp;

use super::{Frame, overflow::ENVELOPE_BYTES_MAX};
use crate::clock::Moment;

/// Our requests that may wait for an answer.
pub(crate) const ASKED_MAX: usize = 256;
/// The peer's requests that may be under way here.
const ANSWERING_MAX: usize = 64;
/// Answers that may wait for the wire; what comes on top is dropped, and the peer's time runs out.
const ANSWERS_MAX: usize = 256;
/// The size of bodies that wait, in each direction; the one that crosses the line still goes.
const BYTES_MAX: usize = 1024 * 1024;
/// The longest name of a request that is given back.
const ID_LENGTH_MAX: usize = 128;
/// What the kind of an answer that says no ends with.
const REFUSED: &str = ".error";
/// What the kind of any other answer ends with.
const ANSWERED: &str = ".reply";

/// A question from the other side, to be answered by the application.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What is asked.
    pub kind: String,
    /// When, by the asker's clock.
    pub ts: Timestamp,
    /// The body.
    pub payload: Payload,
}

/// A question for the other side.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Names it; unique among the questions of a session.
    pub ticket: u64,
    /// What is asked.
    pub kind: String,
    /// When, by our clock.
    pub ts: Timestamp,
    /// The body.
    pub payload: Payload,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// There is no answer, or it is no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The session ended first.
    #[error(
        "the link was lost before the answer came; whether the other side has acted is not known"
    )]
    Lost,
    /// There is no session.
    #[error("there is no link now; ask again when it is connected")]
    NotConnected,
    /// The other side said no.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// No answer in time.
    #[error("no answer came within {after:.0?}; whether the other side has acted is not known")]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// The body fits into no frame.
    #[error("the request is too large to be sent")]
    TooLarge,
    /// Too many requests wait for an answer.
    #[error("too many requests wait for an answer; ask again when some have come")]
    TooMany,
}

/// What became of a question.
pub type Outcome = Result<Payload, RequestError>;

/// Both directions, for one session.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// By ticket. Each gets exactly one outcome.
    asked: BTreeMap<u64, Asked>,
    questions: Queue,
    answers: Queue,
    answering: usize,
    answering_bytes: usize,
    outcomes: VecDeque<(u64, Outcome)>,
}

#[derive(Debug)]
struct Asked {
    due: Moment,
    timeout: Duration,
}

/// Frames that wait, and the size of their bodies.
#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, frame: Frame) {
        self.bytes += size(&frame);
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= size(&frame);
        Some(frame)
    }

    fn withdraw(&mut self, id: &str) {
        self.frames.retain(|frame| frame.id.as_deref() != Some(id));
        self.bytes = self.frames.iter().map(size).sum();
    }
}

fn size(frame: &Frame) -> usize {
    frame.payload.as_ref().map_or(0, |body| body.as_str().len())
}

/// What to do with a request of the peer.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// The application is to answer it.
    Ours {
        /// To be given back with the answer.
        id: String,
        /// What is asked.
        request: Request,
    },
    /// It was refused, or nothing can be said.
    Done,
}

impl Requests {
    /// Lets a question wait for the wire, and then for its answer.
    pub(super) fn ask(&mut self, question: Question, now: Moment) {
        let Question { ticket, kind, ts, payload, timeout } = question;
        let bytes = payload.as_str().len();
        if bytes > FRAME_SIZE_MAX - ENVELOPE_BYTES_MAX {
            return self.settle(ticket, Err(RequestError::TooLarge));
        }
        if self.asked.len() >= ASKED_MAX || self.questions.bytes >= BYTES_MAX {
            return self.settle(ticket, Err(RequestError::TooMany));
        }
        self.asked.insert(ticket, Asked { due: now + timeout, timeout });
        self.questions.push(Frame::question(ticket, kind, ts, payload));
    }

    /// Refuses a question for which there is no session.
    pub(super) fn turn_down(&mut self, ticket: u64) {
        self.settle(ticket, Err(RequestError::NotConnected));
    }

    /// Nobody waits for this answer any more.
    pub(super) fn abandon(&mut self, ticket: u64) {
        self.asked.remove(&ticket);
        self.questions.withdraw(&ticket.to_string());
    }

    /// An answer came. `false` when nobody waits for it: it is late, or was never asked for.
    #[must_use]
    pub(super) fn answered(&mut self, id: &str, kind: &str, payload: Payload) -> bool {
        let Some(ticket) = id.parse().ok().filter(|ticket| self.asked.contains_key(ticket)) else {
            return false;
        };
        self.abandon(ticket);
        let outcome = if kind.ends_with(REFUSED) { Err(refusal(&payload)) } else { Ok(payload) };
        self.settle(ticket, outcome);
        true
    }

    /// Gives up what has waited too long.
    pub(super) fn expire(&mut self, now: Moment) {
        for (ticket, asked) in self.asked.extract_if(.., |_, asked| asked.due <= now) {
            let after = asked.timeout;
            self.questions.withdraw(&ticket.to_string());
            self.outcomes.push_back((ticket, Err(RequestError::TimedOut { after })));
        }
    }

    /// The session ends: nothing that waits will be answered.
    pub(super) fn lose(&mut self) {
        self.questions = Queue::default();
        for ticket in std::mem::take(&mut self.asked).into_keys() {
            self.settle(ticket, Err(RequestError::Lost));
        }
    }

    fn settle(&mut self, ticket: u64, outcome: Outcome) {
        self.outcomes.push_back((ticket, outcome));
    }

    pub(super) fn poll_outcome(&mut self) -> Option<(u64, Outcome)> {
        self.outcomes.pop_front()
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.asked.values().map(|asked| asked.due).min()
    }

    /// The peer asks. What is too much is refused at once.
    pub(super) fn take(&mut self, id: String, request: Request) -> Taken {
        if id.len() > ID_LENGTH_MAX {
            return Taken::Done;
        }
        let waiting = self.answering_bytes + self.answers.bytes;
        if self.answering >= ANSWERING_MAX || waiting >= BYTES_MAX {
            self.answer(id, &request.kind, Err(busy()));
            return Taken::Done;
        }
        self.answering += 1;
        self.answering_bytes += request.payload.as_str().len();
        Taken::Ours { id, request }
    }

    /// The application has answered a request whose body had `bytes`.
    pub(super) fn give(
        &mut self,
        id: String,
        kind: &str,
        bytes: usize,
        result: Result<Payload, Refusal>,
    ) {
        self.answering = self.answering.saturating_sub(1);
        self.answering_bytes = self.answering_bytes.saturating_sub(bytes);
        let fits = |body: &Payload| body.as_str().len() <= FRAME_SIZE_MAX - ENVELOPE_BYTES_MAX;
        let result = match result {
            Ok(body) if !fits(&body) => Err(too_large()),
            result => result,
        };
        self.answer(id, kind, result);
    }

    fn answer(&mut self, id: String, kind: &str, result: Result<Payload, Refusal>) {
        if self.answers.frames.len() >= ANSWERS_MAX {
            return;
        }
        let (suffix, payload) = match result {
            Ok(payload) => (ANSWERED, payload),
            Err(refusal) => (REFUSED, Payload::of(&refusal)),
        };
        self.answers.push(Frame::answer(id, format!("{kind}{suffix}"), payload));
    }

    /// The next frame of either direction; answers first, because somebody waits for them.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        self.answers.pop().or_else(|| self.questions.pop())
    }

    /// Requests and answers held in memory.
    pub(super) fn held(&self) -> usize {
        self.asked.len() + self.answering + self.answers.frames.len()
    }
}

fn refusal(payload: &Payload) -> RequestError {
    RequestError::Refused(payload.parse().unwrap_or_else(|_| Refusal {
        code: "refused".to_owned(),
        message: "the other side refused and gave no reason".to_owned(),
        action: "look at its log".to_owned(),
    }))
}

fn busy() -> Refusal {
    Refusal {
        code: "busy".to_owned(),
        message: "too many requests are under way on this link".to_owned(),
        action: "ask again in a moment".to_owned(),
    }
}

fn too_large() -> Refusal {
    Refusal {
        code: "answer_too_large".to_owned(),
        message: "the answer is too large for one message".to_owned(),
        action: "ask for a smaller part".to_owned(),
    }
}

#[cfg(test)]
mod tests;
