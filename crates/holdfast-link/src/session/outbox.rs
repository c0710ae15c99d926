//! Our records on their way to the peer: what to load, what may fly, what may be forgotten.

use std::{collections::VecDeque, ops::RangeInclusive, time::Duration};

use holdfast_protocol::Seq;

use super::{Ended, Violation, Window};
use crate::{
    clock::Moment,
    store::{Positions, Record},
};

/// Requests for records that the peer has acknowledged already. A few may be echoes of a middle box
/// that repeats frames; more mean that the peer has lost records in mid-session, which only a new
/// handshake sorts out.
const STALE_REQUESTS_MAX: u32 = 8;

/// Records asked for at a time. Few enough that a backlog of large ones stays small in memory.
const LOAD_MAX: usize = 64;

/// The sending half of the record stream, for one session.
#[derive(Debug)]
pub(super) struct Outbox {
    window: Window,
    /// The peer has everything up to here, durably.
    acked: Seq,
    /// The last record given to the wire. It goes back when the peer asks for an earlier one.
    sent: Seq,
    /// The highest record ever given to the wire in this session.
    sent_max: Seq,
    /// Loaded and not sent; continues after `sent`.
    ready: VecDeque<Record>,
    /// Sent and not acknowledged, with their sizes.
    flying: VecDeque<(Seq, usize)>,
    flying_bytes: usize,
    /// What was asked of the store.
    loading: Option<Load>,
    /// There may be records after the loaded ones.
    more: bool,
    forgotten: Seq,
    forgetting: Option<Seq>,
    stale_requests: u32,
    /// When the peer last took something, or the first record took off.
    moved_at: Moment,
}

#[derive(Debug, Clone, Copy)]
struct Load {
    after: Seq,
    limit: usize,
}

impl Outbox {
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            acked: 0,
            sent: 0,
            sent_max: 0,
            ready: VecDeque::new(),
            flying: VecDeque::new(),
            flying_bytes: 0,
            loading: None,
            more: false,
            forgotten: 0,
            forgetting: None,
            stale_requests: 0,
            moved_at: Moment::ORIGIN,
        }
    }

    /// Goes on after `theirs`, the last record the peer has.
    ///
    /// Gives the records that neither side has any more, when there are some.
    pub(super) fn resume(
        &mut self,
        ours: &Positions,
        theirs: Seq,
    ) -> Result<Option<RangeInclusive<Seq>>, Ended> {
        let newest = ours.next.saturating_sub(1);
        if theirs > newest {
            return Err(Ended::PeerAhead { ours: newest, theirs });
        }
        let before_oldest = ours.oldest.saturating_sub(1).min(newest);
        let start = theirs.max(before_oldest);
        self.acked = start;
        self.sent = start;
        self.sent_max = start;
        self.forgotten = before_oldest;
        // A wake may have come already, for a record that is not in these positions.
        self.more |= start < newest;
        Ok((theirs < before_oldest).then(|| theirs + 1..=before_oldest))
    }

    /// Records were appended.
    pub(super) fn wake(&mut self) {
        self.more = true;
    }

    pub(super) fn poll_load(&mut self) -> Option<(Seq, usize)> {
        let room = self.window.records.saturating_sub(self.flying.len());
        if !self.more || self.loading.is_some() || !self.ready.is_empty() || room == 0 {
            return None;
        }
        let load = Load { after: self.sent, limit: room.min(LOAD_MAX) };
        self.loading = Some(load);
        self.more = false;
        Some((load.after, load.limit))
    }

    /// Takes what the store gave. `false` when it has holes, which a correct store never gives.
    #[must_use]
    pub(super) fn loaded(&mut self, after: Seq, mut records: Vec<Record>) -> bool {
        let Some(load) = self.loading.take_if(|load| load.after == after) else { return true };
        if load.after != self.sent {
            // The peer asked for something else in the meantime.
            self.more = true;
            return true;
        }
        records.truncate(load.limit);
        let dense = records.iter().zip(load.after + 1..).all(|(record, seq)| record.seq == seq);
        self.more |= records.len() == load.limit;
        self.ready = records.into();
        dense
    }

    /// The next record for the wire, if the window has room for it.
    pub(super) fn take(&mut self, now: Moment) -> Option<Record> {
        if !self.has_room() {
            return None;
        }
        let record = self.ready.pop_front()?;
        let size = record.payload.as_str().len();
        if self.flying.is_empty() {
            self.moved_at = now;
        }
        self.sent = record.seq;
        self.sent_max = self.sent_max.max(record.seq);
        self.flying.push_back((record.seq, size));
        self.flying_bytes += size;
        Some(record)
    }

    fn has_room(&self) -> bool {
        self.flying.len() < self.window.records && self.flying_bytes < self.window.bytes
    }

    /// The peer has everything up to `ack`.
    pub(super) fn acknowledge(&mut self, ack: Seq, now: Moment) -> Result<(), Violation> {
        if ack > self.sent_max {
            return Err(Violation::AckBeyondSent { ack, sent: self.sent_max });
        }
        if ack <= self.acked {
            return Ok(());
        }
        self.acked = ack;
        self.moved_at = now;
        while let Some((_, size)) = self.flying.pop_front_if(|(seq, _)| *seq <= ack) {
            self.flying_bytes -= size;
        }
        if ack > self.sent {
            // It was asked for again and has arrived after all.
            self.sent = ack;
            self.ready.clear();
            self.more = true;
        }
        Ok(())
    }

    /// The peer wants `next` next: everything from there on is sent again.
    pub(super) fn rewind(&mut self, next: Seq) -> Result<(), Violation> {
        let stale = next <= self.acked;
        self.stale_requests += u32::from(stale);
        if next > self.sent_max + 1 || self.stale_requests > STALE_REQUESTS_MAX {
            return Err(Violation::ExpectOutOfRange { next });
        }
        if !stale && next <= self.sent {
            self.send_again_from(next);
        }
        Ok(())
    }

    fn send_again_from(&mut self, next: Seq) {
        while let Some((_, size)) = self.flying.pop_back_if(|(seq, _)| *seq >= next) {
            self.flying_bytes -= size;
        }
        self.sent = next - 1;
        self.ready.clear();
        self.more = true;
    }

    /// When what flies is taken for lost.
    ///
    /// TCP loses nothing, but a middle box may: without this, the last record before a quiet time
    /// could hang for ever on a session that looks healthy.
    pub(super) fn stall_deadline(&self, stall_max: Duration) -> Option<Moment> {
        (!self.flying.is_empty()).then(|| self.moved_at + stall_max)
    }

    /// Sends everything unacknowledged again. Harmless when it was not lost: the peer drops it.
    pub(super) fn send_again(&mut self, now: Moment) {
        self.moved_at = now;
        self.send_again_from(self.acked + 1);
    }

    pub(super) fn poll_forget(&mut self) -> Option<Seq> {
        if self.forgetting.is_some() || self.acked <= self.forgotten {
            return None;
        }
        self.forgetting = Some(self.acked);
        self.forgetting
    }

    pub(super) fn forgotten(&mut self) {
        if let Some(through) = self.forgetting.take() {
            self.forgotten = through;
        }
    }

    /// Nothing is unacknowledged.
    pub(super) fn is_landed(&self) -> bool {
        self.flying.is_empty()
    }

    /// Nothing is unacknowledged, and as far as is known nothing more is to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.is_landed() && self.ready.is_empty() && self.loading.is_none() && !self.more
    }

    pub(super) fn acked(&self) -> Seq {
        self.acked
    }

    /// Records held in memory: loaded ones and those that fly.
    pub(super) fn held(&self) -> usize {
        self.ready.len() + self.flying.len()
    }
}
