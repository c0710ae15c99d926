//! Requests: every question gets exactly one outcome, and an answer is the answer to it.

use holdfast_link::{Moment, session::Outcome};

use crate::{
    history::{Asked, History},
    network::{ConnId, Side},
};

/// Judges what became of a question. Everybody in this world answers with the question itself.
pub(crate) fn settled(history: &mut History, ticket: u64, outcome: &Outcome) -> Result<(), String> {
    let Some(asked) = history.asked.get_mut(&ticket) else {
        return Err(format!("question {ticket} has an outcome, and nobody asked it"));
    };
    if std::mem::replace(&mut asked.settled, true) {
        return Err(format!("question {ticket} has a second outcome: {outcome:?}"));
    }
    match outcome {
        Ok(answer) if answer.as_str() != ticket.to_string() => {
            Err(format!("question {ticket} got the answer to {}", answer.as_str()))
        }
        _ => Ok(()),
    }
}

/// Judges the questions of a session that has ended: nobody may still wait.
pub(crate) fn ended(history: &History, conn: ConnId, side: Side) -> Result<(), String> {
    let waits = |asked: &Asked| !asked.settled && (asked.conn, asked.side) == (conn, side);
    match history.asked.iter().find(|(_, asked)| waits(asked)) {
        Some((ticket, _)) => Err(format!("the session ended and question {ticket} still waits")),
        None => Ok(()),
    }
}

/// Judges all questions at the end of a run: none waits beyond its time.
pub(crate) fn check(history: &History, now: Moment) -> Result<(), String> {
    match history.asked.iter().find(|(_, asked)| !asked.settled && asked.due < now) {
        Some((ticket, _)) => Err(format!("question {ticket} waits beyond its time")),
        None => Ok(()),
    }
}
