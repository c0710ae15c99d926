//! What waits without a number, and what happens when there is no room for it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use holdfast_protocol::{Class, FRAME_SIZE_MAX};

use crate::{clock::Moment, store::Unsequenced};

/// Different things of one class that may wait; far more than a sane application has.
const KEYS_MAX: usize = 256;
/// Log messages that may wait.
const LOGS_MAX: usize = 256;
/// Their size in bytes.
const LOG_BYTES_MAX: usize = 1024 * 1024;
/// Room in a frame for everything but the body.
pub(super) const ENVELOPE_BYTES_MAX: usize = 4096;

/// Messages without a number on their way out: the overflow table, as code.
///
/// | class | may wait | when full |
/// |---|---|---|
/// | state | the newest per kind and key | newer replaces older, in its place in the queue |
/// | progress | the newest per kind and key | newer replaces older; beyond 256 keys, the oldest |
/// | log | 256 messages, 1 MiB | the oldest go, and are counted |
/// | heartbeat | one | newer replaces older |
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    states: VecDeque<Unsequenced>,
    progress: VecDeque<Unsequenced>,
    logs: VecDeque<Unsequenced>,
    log_bytes: usize,
    heartbeat: Option<Unsequenced>,
    dropped: Dropped,
}

/// Messages that were not sent because there was no room for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Log messages; their lines show up as a gap in the numbering.
    pub logs: u64,
    /// Progress of more jobs at once than may wait.
    pub progress: u64,
    /// Messages the link does not take: records without a number, bodies larger than a frame, more
    /// different states than may wait. A programmer's mistake, counted so that it is seen.
    pub refused: u64,
}

impl Dropped {
    pub(crate) fn add(&mut self, other: Self) {
        self.logs += other.logs;
        self.progress += other.progress;
        self.refused += other.refused;
    }
}

impl Lanes {
    /// Lets `message` wait, by its class.
    pub(crate) fn push(&mut self, message: Unsequenced) {
        if message.payload.as_str().len() > FRAME_SIZE_MAX - ENVELOPE_BYTES_MAX {
            self.dropped.refused += 1;
            return;
        }
        match message.class {
            Class::Record => self.dropped.refused += 1,
            Class::State => self.push_state(message),
            Class::Progress => self.push_progress(message),
            Class::Log => self.push_log(message),
            Class::Heartbeat => self.heartbeat = Some(message),
        }
    }

    fn push_state(&mut self, message: Unsequenced) {
        let Some(message) = replace(&mut self.states, message) else { return };
        if self.states.len() < KEYS_MAX {
            self.states.push_back(message);
        } else {
            self.dropped.refused += 1;
        }
    }

    fn push_progress(&mut self, message: Unsequenced) {
        let Some(message) = replace(&mut self.progress, message) else { return };
        if self.progress.len() == KEYS_MAX {
            self.progress.pop_front();
            self.dropped.progress += 1;
        }
        self.progress.push_back(message);
    }

    fn push_log(&mut self, message: Unsequenced) {
        self.log_bytes += size(&message);
        self.logs.push_back(message);
        // The newest stays even when it alone is too much: a frame is at most 4 MiB.
        while self.logs.len() > 1 && (self.logs.len() > LOGS_MAX || self.log_bytes > LOG_BYTES_MAX)
        {
            self.take_log();
            self.dropped.logs += 1;
        }
    }

    /// Removes what waits under this kind and key.
    pub(crate) fn withdraw(&mut self, kind: &str, key: &str) {
        self.states.retain(|message| !is(message, kind, key));
        self.progress.retain(|message| !is(message, kind, key));
    }

    pub(super) fn take_heartbeat(&mut self) -> Option<Unsequenced> {
        self.heartbeat.take()
    }

    pub(super) fn take_state(&mut self) -> Option<Unsequenced> {
        self.states.pop_front()
    }

    pub(super) fn take_log(&mut self) -> Option<Unsequenced> {
        let message = self.logs.pop_front()?;
        self.log_bytes -= size(&message);
        Some(message)
    }

    /// The first progress that `pace` lets go.
    pub(super) fn take_progress(&mut self, pace: &mut Pace, now: Moment) -> Option<Unsequenced> {
        let place = self.progress.iter().position(|message| pace.allows(message, now))?;
        let message = self.progress.remove(place)?;
        pace.note(&message, now);
        Some(message)
    }

    /// When `pace` lets the next progress go.
    pub(super) fn progress_deadline(&self, pace: &Pace) -> Option<Moment> {
        self.progress.iter().map(|message| pace.due(message)).min()
    }

    pub(super) fn states(&self) -> usize {
        self.states.len()
    }

    /// Messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.states.len()
            + self.progress.len()
            + self.logs.len()
            + usize::from(self.heartbeat.is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Everything that waits, oldest first within its class.
    pub(crate) fn into_messages(self) -> impl Iterator<Item = Unsequenced> {
        self.states.into_iter().chain(self.progress).chain(self.logs).chain(self.heartbeat)
    }
}

/// Puts `message` in the place of an older one about the same thing; gives it back when there is
/// none.
fn replace(lane: &mut VecDeque<Unsequenced>, message: Unsequenced) -> Option<Unsequenced> {
    match lane.iter_mut().find(|waiting| is(waiting, &message.kind, &message.key)) {
        Some(waiting) => {
            *waiting = message;
            None
        }
        None => Some(message),
    }
}

fn is(message: &Unsequenced, kind: &str, key: &str) -> bool {
    message.kind == kind && message.key == key
}

fn size(message: &Unsequenced) -> usize {
    message.payload.as_str().len()
}

/// How often progress about one thing may go on the wire.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    /// By kind, then by key.
    sent_at: BTreeMap<String, BTreeMap<String, Moment>>,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, sent_at: BTreeMap::new() }
    }

    fn due(&self, message: &Unsequenced) -> Moment {
        let sent_at = self.sent_at.get(&message.kind).and_then(|keys| keys.get(&message.key));
        sent_at.map_or(Moment::ORIGIN, |sent_at| *sent_at + self.interval)
    }

    fn allows(&self, message: &Unsequenced, now: Moment) -> bool {
        self.due(message) <= now
    }

    fn note(&mut self, message: &Unsequenced, now: Moment) {
        // What is long past no longer matters, so this stays as small as what was sent of late.
        self.sent_at.retain(|_, keys| {
            keys.retain(|_, sent_at| *sent_at + self.interval > now);
            !keys.is_empty()
        });
        self.sent_at.entry(message.kind.clone()).or_default().insert(message.key.clone(), now);
    }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::Payload;
    use jiff::Timestamp;

    use super::*;

    fn message(class: Class, key: &str, number: u32) -> Unsequenced {
        let payload = Payload::of(&number);
        let (key, kind) = (key.to_owned(), format!("{class:?}").to_lowercase());
        Unsequenced { class, key, ts: Timestamp::UNIX_EPOCH, kind, payload }
    }

    fn bodies(lanes: Lanes) -> Vec<String> {
        lanes.into_messages().map(|message| message.payload.as_str().to_owned()).collect()
    }

    #[test]
    fn newer_state_replaces_older_and_keeps_its_place() {
        let mut lanes = Lanes::default();
        for (key, number) in [("a", 1), ("b", 2), ("a", 3)] {
            lanes.push(message(Class::State, key, number));
        }
        assert_eq!(bodies(lanes), ["3", "2"]);
    }

    #[test]
    fn one_progress_per_key_waits_and_the_oldest_key_goes_when_full() {
        let mut lanes = Lanes::default();
        for number in 0..=256 {
            lanes.push(message(Class::Progress, &number.to_string(), number));
            lanes.push(message(Class::Progress, &number.to_string(), number + 1000));
        }
        assert_eq!(lanes.dropped(), Dropped { progress: 1, ..Dropped::default() });
        let bodies = bodies(lanes);
        assert_eq!((bodies.len(), bodies[0].as_str(), bodies[255].as_str()), (256, "1001", "1256"));
    }

    #[test]
    fn oldest_log_messages_go_and_are_counted() {
        let mut lanes = Lanes::default();
        for number in 0..300 {
            lanes.push(message(Class::Log, "", number));
        }
        assert_eq!(lanes.dropped().logs, 44);
        assert_eq!(bodies(lanes)[0], "44");
    }

    #[test]
    fn log_bytes_are_bounded_but_the_newest_always_stays() {
        let mut lanes = Lanes::default();
        let big = "x".repeat(LOG_BYTES_MAX - 10);
        for _ in 0..3 {
            let mut log = message(Class::Log, "", 0);
            log.payload = Payload::of(&big);
            lanes.push(log);
        }
        assert_eq!((lanes.len(), lanes.dropped().logs), (1, 2));
    }

    #[test]
    fn only_the_newest_heartbeat_waits() {
        let mut lanes = Lanes::default();
        lanes.push(message(Class::Heartbeat, "", 1));
        lanes.push(message(Class::Heartbeat, "", 2));
        assert_eq!(bodies(lanes), ["2"]);
    }

    #[test]
    fn what_the_link_does_not_take_is_counted() {
        let mut lanes = Lanes::default();
        lanes.push(message(Class::Record, "", 1));
        let mut huge = message(Class::State, "", 2);
        huge.payload = Payload::of(&"x".repeat(FRAME_SIZE_MAX));
        lanes.push(huge);
        assert_eq!((lanes.len(), lanes.dropped().refused), (0, 2));
    }

    #[test]
    fn withdrawn_progress_is_not_sent() {
        let mut lanes = Lanes::default();
        lanes.push(message(Class::Progress, "job", 1));
        lanes.push(message(Class::Progress, "other", 2));
        lanes.withdraw("progress", "job");
        assert_eq!(bodies(lanes), ["2"]);
    }

    #[test]
    fn progress_of_one_job_keeps_its_pace_and_does_not_hold_up_another() {
        let mut lanes = Lanes::default();
        let mut pace = Pace::new(Duration::from_secs(1));
        let now = Moment::after_origin(Duration::from_secs(5));
        lanes.push(message(Class::Progress, "a", 1));
        assert!(lanes.take_progress(&mut pace, now).is_some());
        lanes.push(message(Class::Progress, "a", 2));
        lanes.push(message(Class::Progress, "b", 3));
        let taken = lanes.take_progress(&mut pace, now).unwrap();
        assert_eq!(taken.key, "b");
        assert!(lanes.take_progress(&mut pace, now).is_none());
        assert_eq!(lanes.progress_deadline(&pace), Some(now + Duration::from_secs(1)));
        assert!(lanes.take_progress(&mut pace, now + Duration::from_secs(1)).is_some());
    }
}
