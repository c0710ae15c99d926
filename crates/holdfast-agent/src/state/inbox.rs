//! The effects of the server's records, each in the transaction that moves the inbox position.

use holdfast_link::Record;
use holdfast_protocol::{
    DecodeError, JobId, Message,
    message::command::{Outcome, Run, Verb},
    message::job::{Finished, JobError, Status},
};
use jiff::Timestamp;
use redb::WriteTransaction;

use crate::job::parameters_of;

use super::{
    journal::{self, Entry, Known, Stage, Wanted},
    outbox,
    table::{self, DEAD_LETTERS, IGNORED, RECEIVED, Row},
};

/// With this many records waiting for the server, new commands are refused. Results of what was
/// accepted, and of schedules, still find room.
const OUTBOX_MAX: u64 = 50_000;

/// With this many jobs that have not ended, new commands are refused.
const JOBS_MAX: u64 = 1000;

/// Records kept aside because they could not be understood; older ones make room.
const DEAD_LETTERS_MAX: u64 = 256;

/// Applies `records` in order and moves the position.
pub(super) fn apply(txn: &WriteTransaction, records: Vec<Record>) -> Result<(), redb::Error> {
    let mut received = table::number(txn, RECEIVED, 0)?;
    for record in records {
        if record.seq <= received {
            continue;
        }
        received = record.seq;
        apply_one(txn, record)?;
    }
    table::set_number(txn, RECEIVED, received)
}

fn apply_one(txn: &WriteTransaction, record: Record) -> Result<(), redb::Error> {
    match Message::decode(&record.kind, &record.payload) {
        Ok(Message::CommandRun(run)) => accept(txn, run),
        Ok(Message::CommandCancel(cancel)) => cancel_job(txn, cancel.job_id),
        Ok(Message::CommandPause(pause)) => hold(txn, pause.job_id, Verb::Pause, Wanted::Pause),
        Ok(Message::CommandResume(resume)) => hold(txn, resume.job_id, Verb::Resume, Wanted::Run),
        // Words of ours in the server's mouth, or of a newer server: nothing to do, not an error.
        Ok(_) | Err(DecodeError::UnknownKind { .. }) => ignore(txn, &record.kind),
        Err(error @ DecodeError::Malformed { .. }) => {
            refuse_unread(txn, &record)?;
            keep_aside(txn, record, &error)
        }
    }
}

/// Does what somebody on this machine asks of a job. Nobody waits for an answer: a job that is not
/// there, or that is to do so already, is left alone.
pub(super) fn steer(txn: &WriteTransaction, message: &Message) -> Result<(), redb::Error> {
    let (job, wanted) = match message {
        Message::CommandCancel(cancel) => (cancel.job_id, Wanted::Cancel),
        Message::CommandPause(pause) => (pause.job_id, Wanted::Pause),
        Message::CommandResume(resume) => (resume.job_id, Wanted::Run),
        _ => return Ok(()),
    };
    let entry = match journal::known(txn, job)? {
        Known::Active(entry) => entry,
        Known::Ended if wanted == Wanted::Cancel => match journal::later_try(txn, job)? {
            Some(later) => Box::new(later),
            None => return Ok(()),
        },
        Known::Ended | Known::No => return Ok(()),
    };
    if entry.wanted == wanted || entry.wanted == Wanted::Cancel {
        return Ok(());
    }
    if wanted == Wanted::Cancel && entry.stage == Stage::Received {
        return end_waiting(txn, &entry);
    }
    journal::put(txn, &Entry { wanted, ..*entry })
}

/// Journals the job and answers. A command that comes twice is answered twice and run once.
fn accept(txn: &WriteTransaction, run: Run) -> Result<(), redb::Error> {
    let job = run.job_id;
    if journal::known(txn, job)? != Known::No {
        return answer(txn, job, Verb::Run, Ok(()));
    }
    if let Err(error) = parameters_of(&run) {
        return answer(txn, job, Verb::Run, Err(error));
    }
    if outbox::depth(txn)? >= OUTBOX_MAX {
        return answer(txn, job, Verb::Run, Err(outbox_full()));
    }
    if journal::count(txn)? >= JOBS_MAX {
        return answer(txn, job, Verb::Run, Err(queue_full()));
    }
    journal::receive(txn, run, None)?;
    answer(txn, job, Verb::Run, Ok(()))
}

/// Answers an order that this agent cannot read, so that nobody waits for it. Half of a wish to
/// delete or to overwrite must not be guessed at.
fn refuse_unread(txn: &WriteTransaction, record: &Record) -> Result<(), redb::Error> {
    #[derive(serde::Deserialize)]
    struct Order {
        job_id: JobId,
    }
    if record.kind != "command.run" {
        return Ok(());
    }
    let Ok(order) = record.payload.parse::<Order>() else { return Ok(()) };
    if journal::known(txn, order.job_id)? != Known::No {
        return Ok(());
    }
    answer(txn, order.job_id, Verb::Run, Err(not_understood()))
}

/// Ends a waiting job at once; a running one is ended by the runner, which reads the wish. Whoever
/// means a try that has failed means the job: its next try is ended.
fn cancel_job(txn: &WriteTransaction, job: JobId) -> Result<(), redb::Error> {
    let entry = match journal::known(txn, job)? {
        Known::No => return answer(txn, job, Verb::Cancel, Err(unknown_job())),
        Known::Ended => match journal::later_try(txn, job)? {
            Some(later) => later,
            None => return answer(txn, job, Verb::Cancel, Err(job_ended())),
        },
        Known::Active(entry) => *entry,
    };
    answer(txn, job, Verb::Cancel, Ok(()))?;
    if entry.stage == Stage::Received {
        return end_waiting(txn, &entry);
    }
    journal::put(txn, &Entry { wanted: Wanted::Cancel, ..entry })
}

fn end_waiting(txn: &WriteTransaction, entry: &Entry) -> Result<(), redb::Error> {
    let job = entry.job_id();
    journal::end(txn, job)?;
    let told = match entry.again {
        None => "The job was cancelled before it started.",
        Some(_) => "The job was cancelled between two tries.",
    };
    let finished = Finished {
        job_id: job,
        status: Status::Cancelled,
        exit_code: None,
        finished_at: Timestamp::now(),
        snapshot_id: None,
        stats: None,
        error: Some(error("cancelled", told, "")),
        next_try: None,
    };
    outbox::append(txn, &Message::JobFinished(finished))?;
    Ok(())
}

/// Notes that a job is to stand still or to go on.
fn hold(txn: &WriteTransaction, job: JobId, verb: Verb, wanted: Wanted) -> Result<(), redb::Error> {
    let entry = match journal::known(txn, job)? {
        Known::No => return answer(txn, job, verb, Err(unknown_job())),
        Known::Ended => return answer(txn, job, verb, Err(job_ended())),
        Known::Active(entry) => *entry,
    };
    if entry.wanted == Wanted::Cancel {
        return answer(txn, job, verb, Err(job_ended()));
    }
    journal::put(txn, &Entry { wanted, ..entry })?;
    answer(txn, job, verb, Ok(()))
}

fn answer(
    txn: &WriteTransaction,
    job_id: JobId,
    command: Verb,
    verdict: Result<(), JobError>,
) -> Result<(), redb::Error> {
    let accepted = verdict.is_ok();
    let outcome = Outcome { job_id, command, accepted, error: verdict.err() };
    outbox::append(txn, &Message::CommandResult(outcome))?;
    Ok(())
}

fn ignore(txn: &WriteTransaction, kind: &str) -> Result<(), redb::Error> {
    tracing::debug!(kind, "a record of a kind this agent does not know was passed over");
    table::take_number(txn, IGNORED)?;
    Ok(())
}

/// One bad record must not stop the stream: it is kept for a person to look at.
fn keep_aside(
    txn: &WriteTransaction,
    record: Record,
    error: &DecodeError,
) -> Result<(), redb::Error> {
    tracing::warn!(seq = record.seq, kind = record.kind, %error, "a record was kept aside");
    let row = Row { ts: record.ts, kind: record.kind, payload: record.payload };
    let mut letters = txn.open_table(DEAD_LETTERS)?;
    letters.insert(record.seq, table::to_json(&row).as_str())?;
    if redb::ReadableTableMetadata::len(&letters)? > DEAD_LETTERS_MAX {
        letters.pop_first()?;
    }
    Ok(())
}

fn unknown_job() -> JobError {
    error("unknown_job", "This agent does not know the job.", "Look at the list of jobs again.")
}

fn job_ended() -> JobError {
    error("job_ended", "The job has ended already.", "")
}

fn not_understood() -> JobError {
    error(
        "command_not_understood",
        "The agent does not understand all of what was asked, so it does none of it.",
        "Update the agent of this host, or ask for less.",
    )
}

fn queue_full() -> JobError {
    error(
        "queue_full",
        "Too many jobs are waiting on the agent already.",
        "Wait until some have ended, then run the job again.",
    )
}

fn outbox_full() -> JobError {
    error(
        "outbox_full",
        "The agent holds too many results that the server has not taken.",
        "Wait until the agent has delivered them, then run the job again.",
    )
}

fn error(code: &str, message: &str, action: &str) -> JobError {
    JobError { code: code.to_owned(), message: message.to_owned(), action: action.to_owned() }
}
