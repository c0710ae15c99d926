//! The peer's records and messages on their way to the store.

use std::{collections::VecDeque, ops::RangeInclusive, time::Duration};

use holdfast_protocol::{FRAME_SIZE_MAX, Seq};

use super::{Violation, Window};
use crate::{
    clock::Moment,
    store::{Record, Unsequenced},
};

/// Unnumbered messages that may wait for the store before reading stops.
const MAIL_MAX: usize = 256;
/// Their size in bytes.
const MAIL_BYTES_MAX: usize = 1024 * 1024;
/// A gap is asked about once, and again only after this time.
const EXPECT_INTERVAL: Duration = Duration::from_secs(1);

/// The receiving half of the record stream, for one session.
#[derive(Debug)]
pub(super) struct Inbox {
    window: Window,
    /// Everything up to here has taken effect, durably. Only this is ever acknowledged (I1).
    received: Seq,
    /// Everything up to here has come; what lies between waits or is being applied.
    accepted: Seq,
    waiting: VecDeque<Record>,
    waiting_bytes: usize,
    work: Work,
    acked: Seq,
    ack_due: Option<Moment>,
    expected_at: Option<Moment>,
    mail: VecDeque<Unsequenced>,
    mail_bytes: usize,
    delivering: bool,
}

/// What the store is doing with the stream. One thing at a time keeps the order.
#[derive(Debug)]
enum Work {
    Idle,
    /// The store must first be told of records that will never come.
    SkipDue(RangeInclusive<Seq>),
    Skipping,
    Applying {
        through: Seq,
        bytes: usize,
    },
}

/// What became of a record that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It is the next one, and waits for the store.
    Taken,
    /// It came before. It was dropped, and the ack that got lost is due again.
    Duplicate,
    /// One before it is missing. It was dropped.
    Early {
        /// Whether the peer is to be told now.
        ask: bool,
    },
}

impl Inbox {
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            received: 0,
            accepted: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            work: Work::Idle,
            acked: 0,
            ack_due: None,
            expected_at: None,
            mail: VecDeque::new(),
            mail_bytes: 0,
            delivering: false,
        }
    }

    /// Goes on after `received`. `oldest` is the first record the peer can still send; when that is
    /// beyond the next one, the records between are lost, and are given back.
    pub(super) fn resume(&mut self, received: Seq, oldest: Seq) -> Option<RangeInclusive<Seq>> {
        self.received = received;
        self.accepted = received;
        self.acked = received;
        let before_oldest = oldest.saturating_sub(1);
        if before_oldest <= received {
            return None;
        }
        let missing = received + 1..=before_oldest;
        self.accepted = before_oldest;
        self.work = Work::SkipDue(missing.clone());
        Some(missing)
    }

    /// Takes, drops or refuses a record.
    pub(super) fn offer(&mut self, record: Record, now: Moment) -> Result<Offer, Violation> {
        if record.seq <= self.accepted {
            self.ack_due = Some(now);
            return Ok(Offer::Duplicate);
        }
        if record.seq > self.next() {
            let ask = self.expected_at.is_none_or(|asked| now - asked >= EXPECT_INTERVAL);
            self.expected_at = if ask { Some(now) } else { self.expected_at };
            return Ok(Offer::Early { ask });
        }
        self.expected_at = None;
        self.accepted = record.seq;
        self.waiting_bytes += record.payload.as_str().len();
        self.waiting.push_back(record);
        // A correct peer stops at the window, seen from older acks than ours: it can never hold
        // more than this, so whoever does is after our memory.
        if self.waiting.len() > self.window.records || self.waiting_bytes > self.bytes_max() {
            return Err(Violation::WindowExceeded);
        }
        Ok(Offer::Taken)
    }

    fn bytes_max(&self) -> usize {
        self.window.bytes + FRAME_SIZE_MAX
    }

    /// The position the peer is to send next.
    pub(super) fn next(&self) -> Seq {
        self.accepted.saturating_add(1)
    }

    pub(super) fn received(&self) -> Seq {
        self.received
    }

    pub(super) fn poll_skip(&mut self) -> Option<RangeInclusive<Seq>> {
        match std::mem::replace(&mut self.work, Work::Skipping) {
            Work::SkipDue(missing) => Some(missing),
            other => {
                self.work = other;
                None
            }
        }
    }

    pub(super) fn skipped(&mut self) {
        if matches!(self.work, Work::Skipping) {
            self.work = Work::Idle;
        }
    }

    /// Everything that has come while the store was busy, as one batch: one sync for all of it.
    pub(super) fn poll_apply(&mut self) -> Option<Vec<Record>> {
        if !matches!(self.work, Work::Idle) {
            return None;
        }
        let through = self.waiting.back()?.seq;
        let batch = Vec::from(std::mem::take(&mut self.waiting));
        let bytes = std::mem::take(&mut self.waiting_bytes);
        self.work = Work::Applying { through, bytes };
        Some(batch)
    }

    /// The batch is durable: it may be acknowledged, at the latest after `ack_delay`.
    pub(super) fn applied(&mut self, now: Moment, ack_delay: Duration) {
        let Work::Applying { through, bytes } = std::mem::replace(&mut self.work, Work::Idle)
        else {
            return;
        };
        self.received = through;
        let unacked = usize::try_from(self.received - self.acked).unwrap_or(usize::MAX);
        // Waiting for company must not empty the peer's window.
        let soon = unacked >= self.window.records / 4 || bytes >= self.window.bytes / 4;
        let due = if soon { now } else { now + ack_delay };
        self.ack_due = Some(self.ack_due.map_or(due, |earlier| earlier.min(due)));
    }

    pub(super) fn ack_due(&self) -> Option<Moment> {
        self.ack_due
    }

    /// A frame is leaving with our position on it.
    pub(super) fn acknowledge(&mut self) -> Option<Seq> {
        self.acked = self.received;
        self.ack_due = None;
        (self.received > 0).then_some(self.received)
    }

    /// Acks no longer wait for company.
    pub(super) fn hurry(&mut self, now: Moment) {
        if self.acked < self.received {
            self.ack_due = Some(now);
        }
    }

    /// Everything that came is durable and acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.work, Work::Idle)
            && self.waiting.is_empty()
            && self.ack_due.is_none()
            && self.mail.is_empty()
            && !self.delivering
    }

    pub(super) fn deliver(&mut self, message: Unsequenced) {
        self.mail_bytes += message.payload.as_str().len();
        self.mail.push_back(message);
    }

    pub(super) fn poll_delivery(&mut self) -> Option<Unsequenced> {
        if self.delivering {
            return None;
        }
        let message = self.mail.pop_front()?;
        self.mail_bytes -= message.payload.as_str().len();
        self.delivering = true;
        Some(message)
    }

    pub(super) fn delivered(&mut self) {
        self.delivering = false;
    }

    /// Whether there is room for another unnumbered message.
    pub(super) fn has_room(&self) -> bool {
        self.mail.len() < MAIL_MAX && self.mail_bytes < MAIL_BYTES_MAX
    }

    /// Records and messages held in memory for the store.
    pub(super) fn held(&self) -> usize {
        self.waiting.len() + self.mail.len()
    }
}
