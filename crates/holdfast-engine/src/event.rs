//! What a running job says, and how it says it without ever waiting for the listener.

use std::collections::VecDeque;
use std::time::Duration;

use holdfast_protocol::message::log::Source;
use tokio::sync::mpsc::{Sender, error::TrySendError};

use crate::{process_group::Child, progress::EngineProgress};

/// Something happened in a running job.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A child was started. A job may start several, one after the other; only the last one lives.
    Spawned(Child),
    /// The process group was stopped on somebody's wish.
    Paused,
    /// The process group goes on.
    Resumed,
    /// How far restic is. Dropped when the listener is slow: only the newest matters.
    Progress(EngineProgress),
    /// A line of output or a remark of the engine, free of secrets and at most 4 KiB long.
    Log {
        /// Where the line comes from.
        stream: Source,
        /// The line, without its end.
        text: String,
    },
}

/// The longest log line, in bytes.
pub(crate) const LOG_TEXT_MAX: usize = 4 * 1024;
/// How many events wait for a slow listener before log lines are dropped.
const BACKLOG_MAX: usize = 1024;

/// Hands events to the listener. Nothing here waits, so a slow listener cannot slow restic.
///
/// What the channel does not take waits in a bounded backlog. Progress is conflated there and log
/// lines that find it full are dropped and counted: the beginning of a flood says more than its
/// end.
#[derive(Debug)]
pub(crate) struct Reporter {
    listener: Option<Sender<Event>>,
    backlog: VecDeque<Event>,
    lost_lines: u64,
}

impl Reporter {
    pub(crate) fn new(listener: Sender<Event>) -> Self {
        Self { listener: Some(listener), backlog: VecDeque::new(), lost_lines: 0 }
    }

    /// A reporter nobody listens to.
    pub(crate) fn silent() -> Self {
        Self { listener: None, backlog: VecDeque::new(), lost_lines: 0 }
    }

    pub(crate) fn emit(&mut self, event: Event) {
        if self.listener.is_none() {
            return;
        }
        match event {
            Event::Progress(_) => self.conflate(event),
            Event::Log { .. } if self.backlog.len() >= BACKLOG_MAX => self.lost_lines += 1,
            _ => self.backlog.push_back(event),
        }
        self.flush();
    }

    /// A remark of the engine in the job's log.
    pub(crate) fn remark(&mut self, text: impl Into<String>) {
        self.log(Source::Event, text.into());
    }

    pub(crate) fn log(&mut self, stream: Source, mut text: String) {
        truncate(&mut text, LOG_TEXT_MAX);
        self.emit(Event::Log { stream, text });
    }

    /// Passes on as much of the backlog as the channel takes.
    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            let Some(listener) = &self.listener else { return };
            match listener.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => return self.backlog.push_front(event),
                Err(TrySendError::Closed(_)) => return self.close(),
            }
        }
        self.confess();
    }

    /// Passes on the rest, waiting a little for a slow listener.
    pub(crate) async fn finish(mut self) {
        const LAST_WAIT: Duration = Duration::from_secs(5);
        let drained = async {
            let Some(listener) = &self.listener else { return };
            let backlog = self.backlog.drain(..).chain(confession(self.lost_lines));
            for event in backlog {
                if listener.send(event).await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(LAST_WAIT, drained).await.is_err() {
            tracing::warn!("the listener of a job's events did not take the last ones");
        }
    }

    fn conflate(&mut self, event: Event) {
        self.backlog.retain(|waiting| !matches!(waiting, Event::Progress(_)));
        self.backlog.push_back(event);
    }

    /// Tells the listener about lines it was too slow for.
    fn confess(&mut self) {
        if let (Some(listener), Some(event)) = (&self.listener, confession(self.lost_lines))
            && listener.try_send(event).is_ok()
        {
            self.lost_lines = 0;
        }
    }

    fn close(&mut self) {
        self.listener = None;
        self.backlog.clear();
    }
}

fn confession(lost_lines: u64) -> Option<Event> {
    let text = format!("{lost_lines} lines of output were dropped here");
    (lost_lines > 0).then_some(Event::Log { stream: Source::Event, text })
}

/// Shortens `text` to at most `max` bytes, on a character's border.
pub(crate) fn truncate(text: &mut String, max: usize) {
    text.truncate(text.floor_char_boundary(max));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(files_done: u64) -> Event {
        Event::Progress(EngineProgress { files_done, ..EngineProgress::default() })
    }

    #[tokio::test]
    async fn a_slow_listener_gets_only_the_newest_progress_and_every_state_change() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let mut reporter = Reporter::new(sender);
        reporter.emit(Event::Paused);
        for done in 0..100 {
            reporter.emit(progress(done));
        }
        reporter.emit(Event::Resumed);
        assert_eq!(receiver.recv().await, Some(Event::Paused));
        let rest = tokio::spawn(reporter.finish());
        assert_eq!(receiver.recv().await, Some(progress(99)));
        assert_eq!(receiver.recv().await, Some(Event::Resumed));
        assert_eq!(receiver.recv().await, None);
        rest.await.unwrap();
    }

    #[test]
    fn dropped_log_lines_are_counted_and_told() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let mut reporter = Reporter::new(sender);
        for line in 0..BACKLOG_MAX + 8 {
            reporter.log(Source::Stderr, line.to_string());
        }
        let mut told = String::new();
        while let Ok(Event::Log { text, .. }) = receiver.try_recv() {
            told = text;
            reporter.flush();
        }
        assert_eq!(told, "7 lines of output were dropped here");
    }

    #[test]
    fn a_long_line_is_cut_on_a_character_border() {
        let mut text = "é".repeat(LOG_TEXT_MAX);
        truncate(&mut text, LOG_TEXT_MAX - 1);
        assert_eq!(text.len(), LOG_TEXT_MAX - 2);
    }
}
