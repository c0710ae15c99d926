//! When to dial again.

use std::time::Duration;

use holdfast_protocol::{message::config::Secret, message::link::Reject};

use super::{ClientConfig, Fatal, attempt::Attempt};
use crate::{
    backoff::{Backoff, spread},
    close_code,
    dial::RetryRule,
    session::{Ended, Loss, Opened},
};

/// The longest a server can make an agent stay away.
const HINT_MAX: Duration = Duration::from_secs(60 * 60);

/// What is remembered from one attempt to the next.
pub(super) struct Retry {
    backoff: Backoff,
    delay_slow: Duration,
    stable_min: Duration,
    /// The last token a server accepted.
    pub(super) good_token: Option<Secret>,
    /// The epoch of the last welcome.
    pub(super) epoch: u64,
}

impl Retry {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            backoff: Backoff::new(config.delay_min, config.delay_max),
            delay_slow: config.delay_slow,
            stable_min: config.stable_min,
            good_token: None,
            epoch: 0,
        }
    }

    /// How long to wait after `attempt`.
    pub(super) fn after(&mut self, attempt: &Attempt) -> Result<Duration, Fatal> {
        match attempt {
            Attempt::NoToken(_) | Attempt::Store(_) | Attempt::Stopped => {
                Ok(self.by(RetryRule::Backoff))
            }
            Attempt::Dial(error) => Ok(self.by(error.rule())),
            Attempt::Ended { ended, lived } => self.after_session(ended, lived.as_ref()),
        }
    }

    fn after_session(
        &mut self,
        ended: &Ended,
        lived: Option<&(Opened, Duration)>,
    ) -> Result<Duration, Fatal> {
        if let Ended::PeerAhead { ours, theirs } = *ended {
            return Err(Fatal::SetBack { ours, theirs });
        }
        // Only a session that lasted proves that dialling works: a server that accepts and drops at
        // once must not be dialled in a tight loop.
        if lived.is_some_and(|(_, lived)| *lived >= self.stable_min) {
            self.backoff.reset();
        }
        let delay = self.by(rule_after(ended));
        // One restart wakes the whole fleet: even the first redial is spread as the server wished.
        let wished = lived.map_or(Duration::ZERO, |(opened, _)| opened.redial_spread.min(HINT_MAX));
        Ok(delay.max(spread(Duration::ZERO, wished, rand::random())))
    }

    fn by(&mut self, rule: RetryRule) -> Duration {
        let backoff = self.backoff.advance(rand::random());
        match rule {
            RetryRule::Backoff => backoff,
            RetryRule::NotBefore(hint) => hint.min(HINT_MAX).saturating_add(backoff),
            RetryRule::Slowly => spread(self.delay_slow, self.delay_slow, rand::random()),
        }
    }
}

fn rule_after(ended: &Ended) -> RetryRule {
    match ended {
        Ended::GoAway { after } => RetryRule::NotBefore(*after),
        // Whoever was shut out by a second live copy of itself must not fight it.
        Ended::Lost(Loss::Closed {
            code: Some(close_code::FENCED | close_code::REVOKED), ..
        })
        | Ended::Rejected(Reject { fatal: true, .. }) => RetryRule::Slowly,
        Ended::Rejected(Reject { retry_after_ms: Some(millis), .. }) => {
            RetryRule::NotBefore(Duration::from_millis(*millis))
        }
        _ => RetryRule::Backoff,
    }
}
