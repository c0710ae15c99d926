//! A job's log on its way to the link: numbered at capture, sent in handfuls.

use std::time::Duration;

use holdfast_protocol::{
    JobId,
    message::log::{Line, Source, Stream},
};
use jiff::Timestamp;
use tokio::time::Instant;

/// Lines of one message at most.
const LINES_MAX: usize = 100;

/// How long a line waits for company at most.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// Lines that have been captured and not sent. At most [`LINES_MAX`].
///
/// The numbers are given here, before anything can be dropped, so whatever is lost between here and
/// the reader's screen shows as a jump.
#[derive(Debug)]
pub(super) struct LogBuffer {
    job: JobId,
    seq_next: u64,
    lines: Vec<Line>,
    due: Option<Instant>,
}

impl LogBuffer {
    pub(super) fn new(job: JobId) -> Self {
        Self { job, seq_next: 1, lines: Vec::new(), due: None }
    }

    /// Captures a line. Returns a message when one is full.
    pub(super) fn push(&mut self, stream: Source, text: String, now: Instant) -> Option<Stream> {
        let line = Line { seq: self.seq_next, ts: Timestamp::now(), stream, payload: text };
        self.seq_next += 1;
        self.lines.push(line);
        self.due.get_or_insert(now + WAIT_MAX);
        if self.lines.len() >= LINES_MAX { self.take() } else { None }
    }

    /// When the waiting lines should go.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The waiting lines, if there are any.
    pub(super) fn take(&mut self) -> Option<Stream> {
        self.due = None;
        if self.lines.is_empty() {
            return None;
        }
        Some(Stream { job_id: self.job, lines: std::mem::take(&mut self.lines) })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn lines_are_numbered_densely_across_messages_and_leave_in_handfuls() {
        let mut log = LogBuffer::new(JobId::from_uuid(Uuid::from_u128(1)));
        let now = Instant::now();
        let mut sent = Vec::new();
        for number in 0..250 {
            sent.extend(log.push(Source::Stderr, number.to_string(), now));
        }
        assert_eq!(sent.len(), 2);
        assert_eq!(log.due(), Some(now + WAIT_MAX));
        sent.extend(log.take());
        let seqs: Vec<_> = sent.iter().flat_map(|part| &part.lines).map(|line| line.seq).collect();
        assert_eq!(seqs, (1..=250).collect::<Vec<_>>());
        assert!(log.take().is_none());
        assert!(log.due().is_none());
    }
}
