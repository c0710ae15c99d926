//! Two roads to one server: the better one first, the other where the better is blocked.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use holdfast_protocol::message::config::Secret;

use super::{Dial, DialError};
use crate::{
    dice::Dice,
    transport::{Transport, TransportKind},
};

/// How often the better road may fail in a row before the other is tried.
const REFUSALS_MAX: u32 = 3;
/// How long to stay on the other road before the better one is tried again.
const RETURN_AFTER: Duration = Duration::from_secs(5 * 60);
/// The longest it is put off when it opened and then carried nothing.
const RETURN_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Dials a WebSocket; falls back to the other road after it was refused three times in a row, or at
/// once where the answer says that there are none here; and goes back when it is let through again.
///
/// The working road is never given up for a guess: a session leaves it only when a connection on
/// the better one stands.
pub struct Roads<A, B> {
    better: A,
    other: B,
    dice: Dice,
    map: Mutex<Map>,
}

impl<A: Dial, B: Dial> Roads<A, B> {
    /// `better` first, `other` where that is blocked.
    pub fn new(better: A, other: B, dice: Dice) -> Self {
        Self { better, other, dice, map: Mutex::new(Map::new()) }
    }

    async fn take_better(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let refused = match self.better.dial(token).await {
            Ok(transport) => return Ok(transport),
            Err(refused) => refused,
        };
        if !self.map().refused(&refused) {
            return Err(refused);
        }
        match self.other.dial(token).await {
            Ok(transport) => {
                tracing::info!(reason = %refused, "no WebSocket passes here; using long polls");
                self.map().on_other();
                Ok(transport)
            }
            // What the server itself said is worth more than what the road did.
            Err(said @ (DialError::Unauthorised { .. } | DialError::Busy { .. })) => Err(said),
            Err(_) => Err(refused),
        }
    }

    async fn take_other(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let refused = match self.other.dial(token).await {
            Err(error) if error.blames_the_road() || is_missing(&error) => error,
            dialled => return dialled,
        };
        let transport = self.better.dial(token).await.map_err(|_| refused)?;
        self.map().on_better(false);
        Ok(transport)
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        // Plain values, each change whole.
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Dial, B: Dial> Dial for Roads<A, B> {
    async fn dial(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let on_other = self.map().on_other;
        if on_other { self.take_other(token).await } else { self.take_better(token).await }
    }

    async fn better(&self, token: &Secret) -> Box<dyn Transport> {
        if !self.map().on_other {
            return std::future::pending().await;
        }
        loop {
            let after = self.map().return_after.mul_f64(0.9 + 0.2 * self.dice.roll());
            tokio::time::sleep(after).await;
            match self.better.dial(token).await {
                Ok(transport) => {
                    self.map().on_better(true);
                    return transport;
                }
                Err(error) => tracing::debug!(%error, "still no WebSocket"),
            }
        }
    }

    fn came_of(&self, kind: TransportKind, greeted: bool) {
        match (kind, greeted) {
            (TransportKind::LongPoll, true) => {}
            // Neither road is good; the better one is where a cure shows first.
            (TransportKind::LongPoll, false) => self.map().on_better(false),
            _ => self.map().came_of(greeted),
        }
    }
}

fn is_missing(error: &DialError) -> bool {
    matches!(error, DialError::NotFound { .. })
}

/// Which road to take.
#[derive(Debug)]
struct Map {
    on_other: bool,
    /// Failures of the better road in a row.
    refusals: u32,
    /// The better road was taken on trial, from the other one.
    on_trial: bool,
    return_after: Duration,
}

impl Map {
    fn new() -> Self {
        Self { on_other: false, refusals: 0, on_trial: false, return_after: RETURN_AFTER }
    }

    /// The better road failed; whether to try the other.
    fn refused(&mut self, error: &DialError) -> bool {
        if error.blames_the_road() {
            self.refusals += 1;
        }
        // Whoever says so in so many words need not say it three times.
        error.blames_the_road()
            && (self.refusals >= REFUSALS_MAX
                || matches!(error, DialError::UpgradeRefused { status: 426 }))
    }

    fn on_other(&mut self) {
        self.on_other = true;
        self.on_trial = false;
    }

    fn on_better(&mut self, on_trial: bool) {
        self.on_other = false;
        self.on_trial = on_trial;
    }

    /// What came of a connection on the better road. One that opens and carries nothing counts as a
    /// refusal: some boxes answer the upgrade themselves.
    fn came_of(&mut self, greeted: bool) {
        if greeted {
            *self = Self::new();
        } else if self.on_trial {
            self.return_after = (self.return_after * 2).min(RETURN_AFTER_MAX);
            self.on_other();
        } else {
            self.refusals += 1;
            if self.refusals >= REFUSALS_MAX {
                self.on_other();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_refusals_in_a_row_lead_to_the_other_road_and_426_at_once() {
        let stripped = DialError::Status { status: 400 };
        let mut map = Map::new();
        assert_eq!([(); 3].map(|()| map.refused(&stripped)), [false, false, true]);
        assert!(Map::new().refused(&DialError::UpgradeRefused { status: 426 }));
        let away = DialError::Unreachable { server: String::new(), cause: String::new() };
        let mut map = Map::new();
        assert!(!(0..10).any(|_| map.refused(&away)), "a server that is away blocks both roads");
        assert!(!map.refused(&stripped));
    }

    #[test]
    fn a_greeting_forgives_all_refusals() {
        let stripped = DialError::Status { status: 400 };
        let mut map = Map::new();
        assert!(!map.refused(&stripped) && !map.refused(&stripped));
        map.came_of(true);
        assert!(!map.refused(&stripped));
    }

    #[test]
    fn a_road_that_opens_and_carries_nothing_is_left_and_tried_ever_more_rarely() {
        let mut map = Map::new();
        for on_other in [false, false, true] {
            map.came_of(false);
            assert_eq!(map.on_other, on_other);
        }
        for minutes in [10, 20, 40, 60, 60] {
            map.on_better(true);
            map.came_of(false);
            assert!(map.on_other);
            assert_eq!(map.return_after, Duration::from_secs(minutes * 60));
        }
        map.on_better(true);
        map.came_of(true);
        assert!(!map.on_other && map.return_after == RETURN_AFTER);
    }
}
