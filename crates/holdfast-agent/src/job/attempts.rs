//! The tries of one job: what failed is tried again where that does no harm, and what a long pause
//! has stopped is begun again when it is resumed.
//!
//! Each try is a job of its own, so that its log and its end are its own and the next one can wait
//! in the journal, where no restart of the agent loses it. The end of a try says whether another
//! one follows, so nobody is alarmed by a failure that the next try mends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use holdfast_engine::{Control, Outcome};
use holdfast_protocol::message::{
    command::{Retry, Run},
    job::{Operation, Status},
};

use crate::state::Entry;

/// The longest wait between two tries, however often it was doubled.
const BACKOFF_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The engine's code for a pause that would have outlived restic's lock.
const PAUSE_TOO_LONG: &str = "pause_too_long";

/// Whether a job that was paused for too long waits to be resumed, so that others may run
/// meanwhile.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest(Arc<AtomicBool>);

impl Rest {
    /// Whether it waits right now.
    pub(super) fn is_resting(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for `what`.
    pub(super) async fn during<T>(&self, what: impl Future<Output = T>) -> T {
        self.0.store(true, Ordering::Relaxed);
        let done = what.await;
        self.0.store(false, Ordering::Relaxed);
        done
    }
}

/// What comes after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another try, after a wait.
    Retry(Duration),
    /// The same try again, when somebody resumes the job.
    WhenResumed,
}

/// Where one try stands among the tries of its job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts {
    operation: Operation,
    retry: Retry,
    /// Which try it is, from 1.
    pub(super) number: u32,
}

impl Attempts {
    pub(super) fn of(entry: &Entry) -> Self {
        let Run { operation, retry, .. } = entry.run;
        Self { operation, retry, number: entry.attempt() }
    }

    /// How many there are at most.
    pub(super) fn max(self) -> u32 {
        self.retry.retry_max.saturating_add(1)
    }

    /// What comes after a try with this outcome; `None` when it is the job's end.
    pub(super) fn after(self, outcome: &Outcome, control: &Control) -> Option<Next> {
        if !self.operation.is_idempotent() || control.is_cancelled() {
            return None;
        }
        let code = outcome.error.as_ref().map(|error| error.code.as_str());
        match outcome.status {
            Status::Cancelled if code == Some(PAUSE_TOO_LONG) => Some(Next::WhenResumed),
            Status::Failed if self.number < self.max() => Some(Next::Retry(self.wait())),
            _ => None,
        }
    }

    fn wait(self) -> Duration {
        let doubled = 1_u32.checked_shl(self.number - 1).unwrap_or(u32::MAX);
        let first = Duration::from_secs(u64::from(self.retry.retry_backoff_seconds));
        first.saturating_mul(doubled).min(BACKOFF_MAX)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::message::job::JobError;

    use super::*;

    fn attempts(operation: Operation, number: u32) -> Attempts {
        Attempts { operation, retry: Retry { retry_max: 3, retry_backoff_seconds: 60 }, number }
    }

    fn ended(status: Status, code: &str) -> Outcome {
        let error =
            JobError { code: code.to_owned(), message: String::new(), action: String::new() };
        Outcome { status, exit_code: None, snapshot_id: None, stats: None, error: Some(error) }
    }

    #[test]
    fn each_wait_is_twice_the_one_before_and_the_last_try_is_the_end() {
        let failed = ended(Status::Failed, "restic_failed");
        let after = |number| attempts(Operation::Backup, number).after(&failed, &Control::new());
        let minutes = |count: u64| Some(Next::Retry(Duration::from_secs(60 * count)));
        assert_eq!([1, 2, 3, 4].map(after), [minutes(1), minutes(2), minutes(4), None]);
    }

    #[test]
    fn only_what_does_no_harm_is_repeated() {
        for operation in Operation::ALL {
            let next = attempts(operation, 1)
                .after(&ended(Status::Failed, "restic_failed"), &Control::new());
            assert_eq!(next.is_some(), operation.is_idempotent(), "{}", operation.as_str());
        }
    }

    #[test]
    fn what_somebody_ended_or_what_did_a_part_is_not_repeated() {
        let backup = attempts(Operation::Backup, 1);
        for status in [Status::Succeeded, Status::Partial, Status::Cancelled, Status::Interrupted] {
            assert_eq!(backup.after(&ended(status, "cancelled"), &Control::new()), None);
        }
        let cancelled = Control::new();
        cancelled.cancel();
        assert_eq!(backup.after(&ended(Status::Failed, "timed_out"), &cancelled), None);
    }

    #[test]
    fn a_pause_that_was_too_long_is_gone_on_from() {
        let stopped = ended(Status::Cancelled, PAUSE_TOO_LONG);
        let after = |operation| attempts(operation, 4).after(&stopped, &Control::new());
        assert_eq!(after(Operation::Backup), Some(Next::WhenResumed));
        assert_eq!(after(Operation::Restore), None);
    }
}
