//! Frames of the plain envelope in the words of Holdfast, and the answers that need no thought.

use jiff::Timestamp;

use super::{
    Dispatch, DispatchError, DispatchStatus, Envelope, FrameError, Register, RunCancel,
    WorkerStatus,
};
use crate::{
    Message,
    dialect::{Introduction, Ledger, Said},
    message::{
        command,
        job::{Heartbeat, JobError},
        link::Facts,
    },
};

/// What a frame is to its receiver.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// The client introduces itself; answer with `register.ack` or [`Envelope::error`].
    Register(Box<Register>, Introduction),
    /// It says goodbye; answer with the same kind and no body.
    Deregister,
    /// An answer to a request of ours. One that nobody waits for is dropped if its kind means
    /// nothing by itself.
    Answer(Said),
    /// Something said on its own, or asked.
    Said(Said),
}

/// What `frame` says, to a server or to a client.
///
/// # Errors
/// [`FrameError`] when the body of a kind that is understood has another shape.
pub fn hear(frame: &Envelope, ledger: &Ledger) -> Result<Heard, FrameError> {
    let said = match frame.kind.as_str() {
        "register" => return registered(frame),
        "deregister" if frame.in_reply_to.is_empty() => return Ok(Heard::Deregister),
        "worker.status" => beat(&frame.body()?, ledger),
        "dispatch.status" => dispatched(&frame.body()?, ledger),
        "run.cancel" => cancelled(&frame.body()?, ledger),
        kind => match refused(kind, frame, ledger) {
            Some(said) => said,
            None => ours_or_other(frame),
        },
    };
    Ok(if frame.in_reply_to.is_empty() { Heard::Said(said) } else { Heard::Answer(said) })
}

fn registered(frame: &Envelope) -> Result<Heard, FrameError> {
    let register: Register = frame.body()?;
    let metadata = |name: &str| {
        let value = register.metadata.as_ref().and_then(|all| all.get(name)?.parse::<String>());
        value.unwrap_or_default()
    };
    let facts = Facts {
        agent_version: metadata("agent_version"),
        restic_version: metadata("restic_version"),
        hostname: metadata("hostname"),
        os: metadata("os"),
        arch: metadata("arch"),
        boot_time: None,
        time_zone: metadata("time_zone"),
    };
    let introduction = Introduction {
        facts,
        capabilities: register.capabilities.clone(),
        config_version: 0,
        name: Some(register.name.clone()),
    };
    Ok(Heard::Register(Box::new(register), introduction))
}

fn beat(status: &WorkerStatus, ledger: &Ledger) -> Said {
    let busy = !matches!(status.state.as_str(), "done" | "failed");
    let job = Some(&status.work_item_id).filter(|name| busy && !name.is_empty());
    let Some(sent_at) = status.last_heartbeat.known() else {
        return Said::unplaced("worker.status");
    };
    Said::Message(Message::Heartbeat(Heartbeat {
        sent_at,
        active_job_ids: job.map(|name| ledger.job_named(name)).into_iter().collect(),
        queue_depth: 0,
        config_version: 0,
    }))
}

fn dispatched(status: &DispatchStatus, ledger: &Ledger) -> Said {
    let accepted = status.status == "accepted";
    let Some(job_id) = ledger.place(&status.run_id, "") else {
        return Said::unplaced("dispatch.status");
    };
    let error = (!accepted).then(|| refusal(&status.reason));
    let verb = command::Verb::Run;
    Said::Message(Message::CommandResult(command::Outcome {
        job_id,
        command: verb,
        accepted,
        error,
    }))
}

fn cancelled(cancel: &RunCancel, ledger: &Ledger) -> Said {
    let job_id = ledger.job_named(&cancel.run_id);
    match ledger.job(job_id) {
        Some(_) => Message::CommandCancel(command::Cancel { job_id }).into(),
        None => Said::unplaced("run.cancel"),
    }
}

/// `command.run.error` and its like: our own commands, declined in the dialect's way. The answer
/// names the request, and the ledger knows which job that was about.
fn refused(kind: &str, frame: &Envelope, ledger: &Ledger) -> Option<Said> {
    let verb = match kind.strip_suffix(".error")? {
        "command.run" => command::Verb::Run,
        "command.cancel" => command::Verb::Cancel,
        "command.pause" => command::Verb::Pause,
        "command.resume" => command::Verb::Resume,
        _ => return None,
    };
    let body: super::ErrorBody = frame.body().unwrap_or_default();
    let job_id = ledger.job_asked_by(&frame.in_reply_to)?;
    let error = Some(refusal(&body.error));
    let outcome = command::Outcome { job_id, command: verb, accepted: false, error };
    Some(Message::CommandResult(outcome).into())
}

fn refusal(reason: &str) -> JobError {
    let message = if reason.is_empty() { "The agent gave no reason." } else { reason };
    JobError {
        code: "refused".to_owned(),
        message: message.chars().take(2000).collect(),
        action: "See the agent's own log on the host for more.".to_owned(),
    }
}

/// Holdfast's own kinds are taken at their word; a body of theirs that does not fit, and every
/// other kind, stays as it came.
fn ours_or_other(frame: &Envelope) -> Said {
    let payload = frame.payload.to_payload();
    match Message::decode(&frame.kind, &payload) {
        Ok(message) => message.into(),
        Err(_) => Said::other(&frame.kind, payload),
    }
}

/// The answer a server owes at once to what it does not serve; `None` when nobody waits for one, or
/// when the kind is one of ours and gets its own.
///
/// Answers and events are never answered: two servers could otherwise talk for ever.
#[must_use]
pub fn reaction(frame: &Envelope, now: Timestamp) -> Option<Envelope> {
    let served = Message::class_of(&frame.kind).is_some()
        || matches!(frame.kind.as_str(), "register" | "run.cancel");
    if !frame.is_request() || served {
        return None;
    }
    Some(match frame.kind.as_str() {
        "ping" => frame.answer("pong", now),
        "deregister" => frame.answer("deregister", now),
        "dispatch" => declined(frame, now),
        _ => frame.error("this server does not serve it: it keeps backups", now),
    })
}

fn declined(frame: &Envelope, now: Timestamp) -> Envelope {
    let dispatch: Dispatch = frame.body().unwrap_or_default();
    frame.answer("dispatch.error", now).with(&DispatchError {
        aspect: dispatch.aspect,
        dispatch_id: dispatch.dispatch_id,
        reason: "this server dispatches nothing: it keeps backups".to_owned(),
        code: "no_dispatcher".to_owned(),
        ..DispatchError::default()
    })
}
