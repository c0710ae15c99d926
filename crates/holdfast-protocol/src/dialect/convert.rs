//! Units and states: how each dialect spells what the canonical set says.
//!
//! The table of states is data ([`STATES`]), read in both directions; the units are one small pair
//! of functions each.

use jiff::Timestamp;
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error as NotAWord};

use super::{Dialect, backupy::wire::JobStatus, gojson::GoTime};
use crate::message::job::{JobError, Operation, Status};

/// The words that some dialects have for a job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateWords {
    /// The canonical state.
    pub status: Status,
    /// NerdBackup's `status`, in `job_started` and `job_report`.
    pub nerdbackup: &'static str,
    /// Backupy's number.
    pub backupy: JobStatus,
    /// The type of the agent-hosted socket's event; empty where only `agent:status` shows it.
    pub local: &'static str,
    /// The fleet's word.
    pub fleet: &'static str,
}

/// Every state in every dialect.
///
/// Where two states share a word, the first row is what the word is read as.
pub const STATES: [StateWords; 9] = [
    states(Status::Queued, "", JobStatus::Queued, "", "queued"),
    states(Status::Running, "running", JobStatus::Running, "backup:started", "running"),
    states(Status::Paused, "paused", JobStatus::Running, "", "running"),
    states(Status::Succeeded, "completed", JobStatus::Success, "backup:completed", "succeeded"),
    states(Status::Failed, "failed", JobStatus::Failed, "backup:failed", "failed"),
    states(Status::Partial, "completed", JobStatus::Success, "backup:completed", "succeeded"),
    states(Status::Cancelled, "failed", JobStatus::Cancelled, "backup:failed", "cancelled"),
    states(Status::Interrupted, "failed", JobStatus::Failed, "backup:failed", "failed"),
    states(Status::Missed, "failed", JobStatus::Failed, "backup:failed", "failed"),
];

const fn states(
    status: Status,
    nerdbackup: &'static str,
    backupy: JobStatus,
    local: &'static str,
    fleet: &'static str,
) -> StateWords {
    StateWords { status, nerdbackup, backupy, local, fleet }
}

/// The row of a state.
#[must_use]
pub fn words_of(status: Status) -> StateWords {
    let row = STATES.into_iter().find(|row| row.status == status);
    row.unwrap_or(STATES[4])
}

/// The state a text dialect means by `word`; `None` for a word it does not have.
///
/// `success` is NerdBackup's second word for it, and `cancelled` one that its agent knows and never
/// sends.
#[must_use]
pub fn status_of_word(dialect: Dialect, word: &str) -> Option<Status> {
    let column = |row: &StateWords| match dialect {
        Dialect::Nerdbackup => row.nerdbackup,
        Dialect::Local => row.local,
        _ => row.fleet,
    };
    let row = STATES.iter().find(|row| !word.is_empty() && column(row) == word);
    match (row, dialect, word) {
        (Some(row), ..) => Some(row.status),
        (None, Dialect::Nerdbackup, "success") => Some(Status::Succeeded),
        (None, Dialect::Nerdbackup, "cancelled" | "canceled") => Some(Status::Cancelled),
        _ => None,
    }
}

/// The state Backupy means by a number; `None` for one it does not have.
#[must_use]
pub fn status_of_number(number: i32) -> Option<Status> {
    let status = JobStatus::try_from(number).ok()?;
    STATES.iter().find(|row| row.backupy == status).map(|row| row.status)
}

/// The error text that tells a cancelled job from a failed one where the dialect has one word.
pub const CANCELLED_TEXT: &str = "cancelled on request";

/// What an end means once everything is known: a text or a code can make the word more exact.
#[must_use]
pub fn refine(status: Status, text: &str, exit_code: Option<i32>, cancelling: bool) -> Status {
    match status {
        Status::Failed if cancelling || text == CANCELLED_TEXT => Status::Cancelled,
        // restic's exit 3: the snapshot is there, some files are not in it.
        Status::Failed | Status::Succeeded if exit_code == Some(3) => Status::Partial,
        Status::Succeeded if !text.is_empty() => Status::Partial,
        other => other,
    }
}

/// restic's exit code as Go's `os/exec` words it at the end of an error text.
#[must_use]
pub fn exit_code_in(text: &str) -> Option<i32> {
    let (_, tail) = text.rsplit_once("exit status ")?;
    let digits = tail.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The reason of an end that came without one, or with a text of the peer's.
#[must_use]
pub fn reason(status: Status, text: &str) -> Option<JobError> {
    let (code, sentence) = match status {
        Status::Partial => ("source_unreadable", "Some files could not be read."),
        Status::Cancelled => ("cancelled", "The job was cancelled."),
        Status::Interrupted => ("interrupted", "The agent stopped while the job ran."),
        Status::Failed | Status::Missed => ("restic_failed", "The agent gave no reason."),
        _ => return None,
    };
    let message = if text.is_empty() { sentence.to_owned() } else { shortened(text) };
    let action = "See the agent's own log on the host for more.".to_owned();
    Some(JobError { code: code.to_owned(), message, action })
}

/// Peers send whole outputs as an error text; a reason is read by people.
fn shortened(text: &str) -> String {
    text.chars().take(2000).collect()
}

/// The text that says a reason to a dialect which has one string for it.
#[must_use]
pub fn reason_text(status: Status, error: Option<&JobError>) -> String {
    match (status, error) {
        (Status::Cancelled, _) => CANCELLED_TEXT.to_owned(),
        (_, Some(error)) => error.message.clone(),
        (Status::Succeeded, None) => String::new(),
        (other, None) => reason(other, "").map(|error| error.message).unwrap_or_default(),
    }
}

/// The operation named by `word`, when Holdfast has it.
#[must_use]
pub fn operation(word: &str) -> Option<Operation> {
    enum_of_word(word)
}

fn enum_of_word<T: DeserializeOwned>(word: &str) -> Option<T> {
    let read: Result<T, NotAWord> = T::deserialize(word.into_deserializer());
    read.ok()
}

/// A fraction within 0 to 1; what is not a number is 0.
#[must_use]
pub fn fraction(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

/// A fraction from a percentage.
#[must_use]
pub fn fraction_of_percent(percent: f64) -> f64 {
    fraction(percent / 100.0)
}

/// A percentage from a fraction.
#[must_use]
pub fn percent(value: f64) -> f64 {
    fraction(value) * 100.0
}

/// A whole percentage from a fraction; it says 100 only when all is done.
#[must_use]
pub fn whole_percent(value: f64) -> u32 {
    // 0.29 * 100 is a hair below 29; the hair must not cost a percent.
    let percent = (percent(value) + 1e-9).floor();
    // In range by the clamp of `fraction`.
    percent as u32
}

/// The moment that Backupy's milliseconds name; 0 stands for unknown.
#[must_use]
pub fn time_of_ms(ms: u64) -> Option<Timestamp> {
    let ms = i64::try_from(ms).ok().filter(|ms| *ms > 0)?;
    Timestamp::from_millisecond(ms).ok()
}

/// A moment in milliseconds since 1970; what lies before is 0.
#[must_use]
pub fn ms_of_time(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

/// The moment that an RFC 3339 text names, in whatever zone.
#[must_use]
pub fn time_of_text(text: &str) -> Option<Timestamp> {
    text.parse::<GoTime>().ok()?.known()
}

/// A moment as RFC 3339 with whole seconds, as NerdBackup's string fields have it.
#[must_use]
pub fn text_of_time(at: Timestamp) -> String {
    let whole = Timestamp::from_second(at.as_second()).unwrap_or(at);
    GoTime::from(whole).to_string()
}

/// Milliseconds from whole seconds.
#[must_use]
pub fn ms_of_seconds(seconds: u64) -> u64 {
    seconds.saturating_mul(1000)
}

/// Whole seconds from milliseconds, rounded down.
#[must_use]
pub fn seconds_of_ms(ms: u64) -> u64 {
    ms / 1000
}

/// Bytes per second from NerdBackup's KiB per second.
#[must_use]
pub fn bytes_of_kib(kib: u64) -> u64 {
    kib.saturating_mul(1024)
}

/// NerdBackup's KiB per second from bytes per second; a limit never becomes "no limit".
#[must_use]
pub fn kib_of_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}

/// A count that a peer may have given as a negative number.
#[must_use]
pub fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A count for a peer whose numbers have a sign.
#[must_use]
pub fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
