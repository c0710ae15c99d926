//! Who was heard, who must speak, and what has taken too long.

use std::time::Duration;

use super::Config;
use crate::clock::Moment;

/// The clocks of one session.
#[derive(Debug)]
pub(super) struct Liveness {
    heartbeat_interval: Duration,
    silence_max: Duration,
    write_max: Duration,
    jitter: f64,
    heard_at: Moment,
    /// When this side must next show life; `None` before the session is live.
    beat_due: Option<Moment>,
    /// Since when a frame has been on its way to the transport, or its last part has left.
    writing_since: Option<Moment>,
}

impl Liveness {
    pub(super) fn new(config: &Config, now: Moment) -> Self {
        Self {
            heartbeat_interval: config.heartbeat_interval,
            silence_max: config.silence_max,
            write_max: config.write_max,
            jitter: config.jitter.clamp(0.0, 1.0),
            heard_at: now,
            beat_due: None,
            writing_since: None,
        }
    }

    /// Takes the times the server gave, brought into sane bounds: a hostile or broken server must
    /// make an agent neither spin nor sleep for ever.
    pub(super) fn adopt(&mut self, heartbeat_interval: Duration, silence_max: Duration) {
        let interval =
            heartbeat_interval.clamp(Duration::from_secs(1), Duration::from_secs(10 * 60));
        self.heartbeat_interval = interval;
        self.silence_max = silence_max.clamp(2 * interval, Duration::from_secs(60 * 60));
    }

    /// The session is live: from now on this side shows life.
    pub(super) fn begin(&mut self, now: Moment) {
        self.heard_at = now;
        self.beat_due = Some(now + self.next_interval());
    }

    pub(super) fn heard(&mut self, now: Moment) {
        self.heard_at = now;
    }

    /// Whether a sign of life is due; if so, the next one is planned.
    pub(super) fn poll_beat(&mut self, now: Moment) -> bool {
        let due = self.beat_due.is_some_and(|due| due <= now);
        if due {
            self.beat_due = Some(now + self.next_interval());
        }
        due
    }

    /// The interval, 10 % shorter to 10 % longer, so that a fleet does not beat in step.
    fn next_interval(&self) -> Duration {
        self.heartbeat_interval.mul_f64(0.9 + 0.2 * self.jitter)
    }

    pub(super) fn write_began(&mut self, now: Moment) {
        self.writing_since = Some(now);
    }

    pub(super) fn write_goes_on(&mut self, now: Moment) {
        if let Some(since) = &mut self.writing_since {
            *since = now;
        }
    }

    pub(super) fn write_ended(&mut self) {
        self.writing_since = None;
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writing_since.is_some()
    }

    pub(super) fn silence_max(&self) -> Duration {
        self.silence_max
    }

    pub(super) fn silence_deadline(&self) -> Moment {
        self.heard_at + self.silence_max
    }

    pub(super) fn write_deadline(&self) -> Option<Moment> {
        self.writing_since.map(|since| since + self.write_max)
    }

    pub(super) fn beat_deadline(&self) -> Option<Moment> {
        self.beat_due
    }
}
