//! When to dial again.

use std::time::Duration;

use holdfast_protocol::{message::config::Secret, message::link::Reject};

use super::{ClientConfig, Fatal, attempt::Attempt};
use crate::{
    backoff::{Backoff, spread},
    close_code,
    dial::RetryRule,
    dice::Dice,
    session::{Ended, Loss, Opened},
    transport::Transport,
};

/// The longest a server can make an agent stay away.
const HINT_MAX: Duration = Duration::from_secs(60 * 60);

/// What is remembered from one attempt to the next.
pub(super) struct Retry {
    backoff: Backoff,
    dice: Dice,
    delay_slow: Duration,
    stable_min: Duration,
    /// How far the last server wanted its agents spread.
    spread: Duration,
    /// The last token shown to a server.
    pub(super) used_token: Option<Secret>,
    /// The last token a server accepted.
    pub(super) good_token: Option<Secret>,
    /// The epoch of the last welcome.
    pub(super) epoch: u64,
    /// An open connection for the next session.
    pub(super) successor: Option<Box<dyn Transport>>,
}

impl Retry {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            backoff: Backoff::new(config.delay_min, config.delay_max),
            dice: config.dice.clone(),
            delay_slow: config.delay_slow,
            stable_min: config.stable_min,
            spread: Duration::ZERO,
            used_token: None,
            good_token: None,
            epoch: 0,
            successor: None,
        }
    }

    /// How long to wait after `attempt`.
    pub(super) fn after(&mut self, attempt: &Attempt) -> Result<Duration, Fatal> {
        match attempt {
            Attempt::Moving | Attempt::NoToken(_) | Attempt::Store(_) | Attempt::Stopped => {
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
        self.note_lived(lived);
        if let Some((opened, _)) = lived {
            self.spread = opened.redial_spread.min(HINT_MAX);
        }
        Ok(match ended {
            // The server has spread its agents by this already.
            Ended::GoAway { after } => {
                let backoff = self.backoff.advance(self.dice.roll());
                after.min(&HINT_MAX).saturating_add(backoff).max(self.wished())
            }
            _ => self.by(rule_after(ended)),
        })
    }

    /// One restart wakes the whole fleet: as long as there is no session again, every redial is
    /// spread as the server wished, also those after a dial that came too early.
    fn wished(&self) -> Duration {
        spread(Duration::ZERO, self.spread, self.dice.roll())
    }

    /// Only a session that lasted proves that dialling works: a server that accepts and drops at
    /// once must not be dialled in a tight loop.
    pub(super) fn note_lived(&mut self, lived: Option<&(Opened, Duration)>) {
        if lived.is_some_and(|(_, lived)| *lived >= self.stable_min) {
            self.backoff.reset();
        }
    }

    fn by(&mut self, rule: RetryRule) -> Duration {
        let delay = self.backoff.advance(self.dice.roll()).max(self.wished());
        match rule {
            RetryRule::Backoff => delay,
            RetryRule::NotBefore(hint) => hint.min(HINT_MAX).saturating_add(delay),
            RetryRule::Slowly => spread(self.delay_slow, self.delay_slow, self.dice.roll()),
        }
    }
}

fn rule_after(ended: &Ended) -> RetryRule {
    match ended {
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

#[cfg(test)]
mod tests {
    use holdfast_protocol::SessionId;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::dial::DialError;

    fn retry() -> Retry {
        Retry::new(&ClientConfig::new("http://localhost".parse().unwrap()))
    }

    fn lived(seconds: u64, spread: u64) -> Option<(Opened, Duration)> {
        let opened = Opened {
            session_id: SessionId::from_uuid(Uuid::nil()),
            epoch: 1,
            redial_spread: Duration::from_secs(spread),
            server_time: Timestamp::UNIX_EPOCH,
        };
        Some((opened, Duration::from_secs(seconds)))
    }

    #[test]
    fn a_server_cannot_keep_an_agent_away_for_ever() {
        let far = Duration::from_secs(u64::MAX);
        let hints = [
            Attempt::Dial(DialError::Busy { status: 503, retry_after: Some(far) }),
            Attempt::Ended { ended: Ended::GoAway { after: far }, lived: lived(60, u64::MAX) },
        ];
        for attempt in hints {
            let delay = retry().after(&attempt).unwrap();
            assert!(delay <= HINT_MAX + Duration::from_secs(60), "{delay:?}");
        }
    }

    #[test]
    fn a_dial_that_came_too_early_is_spread_as_the_server_wished() {
        let mut retry = retry();
        let ended = Ended::Lost(Loss::Failed { cause: String::new() });
        retry.after(&Attempt::Ended { ended, lived: lived(60, 100) }).unwrap();
        let busy = Attempt::Dial(DialError::Busy { status: 503, retry_after: None });
        let late = (0..100).filter(|_| {
            retry.backoff.reset();
            retry.after(&busy).unwrap() > Duration::from_secs(10)
        });
        assert!(late.count() > 50);
    }

    #[test]
    fn only_a_session_that_lasted_starts_the_backoff_over() {
        let mut retry = retry();
        for _ in 0..10 {
            let attempt = Attempt::Ended { ended: Ended::Stalled, lived: lived(29, 0) };
            retry.after(&attempt).unwrap();
        }
        assert_eq!(retry.backoff.ceiling(), Duration::from_secs(60));
        let attempt = Attempt::Ended { ended: Ended::Stalled, lived: lived(30, 0) };
        assert!(retry.after(&attempt).unwrap() <= Duration::from_secs(1));
    }

    #[test]
    fn what_only_a_person_can_mend_is_looked_at_slowly() {
        let fenced = Loss::Closed { code: Some(close_code::FENCED), reason: String::new() };
        let attempts = [
            Attempt::Dial(DialError::Unauthorised { status: 401, said: None }),
            Attempt::Dial(DialError::UnusableToken),
            Attempt::Ended { ended: Ended::Lost(fenced), lived: lived(3600, 0) },
        ];
        for attempt in attempts {
            let delay = retry().after(&attempt).unwrap().as_secs();
            assert!((60..=120).contains(&delay), "{delay}");
        }
    }
}
