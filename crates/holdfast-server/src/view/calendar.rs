//! When a schedule fires: five-field cron in a time zone.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use holdfast_protocol::message::schedule::{Timing, Window};
use jiff::{SignedDuration, Timestamp, Zoned, civil::Date, tz::TimeZone};

/// A cron expression in a zone.
#[derive(Debug, Clone)]
pub struct Calendar {
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule cannot be.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError {
    /// The expression is not five-field cron.
    #[error("`{expression}` is not a five-field cron expression ({reason})")]
    Expression {
        /// The expression, bounded.
        expression: String,
        /// What is wrong.
        reason: String,
    },
    /// The zone's name is not known.
    #[error("`{zone}` is not a known time zone")]
    Zone {
        /// The name, bounded.
        zone: String,
    },
    /// The expression names a date that never comes, such as 31 February.
    #[error("`{expression}` never comes due")]
    Never {
        /// The expression, bounded.
        expression: String,
    },
}

/// How far and how often [`Calendar::longest_pause`] looks ahead.
const WEEK: SignedDuration = SignedDuration::from_hours(8 * 24);
const PAUSES_MIN: usize = 4;
const PAUSES_MAX: usize = 3000;

impl Calendar {
    /// Reads `expression` in the zone named `zone`, and checks that it comes due after `now`.
    ///
    /// # Errors
    /// [`CalendarError`] says which of the two is wrong.
    pub fn parse(expression: &str, zone: &str, now: Timestamp) -> Result<Self, CalendarError> {
        let calendar = Self::read(expression, zone)?;
        if calendar.next_after(now).is_none() {
            return Err(CalendarError::Never { expression: bounded(expression) });
        }
        Ok(calendar)
    }

    fn read(expression: &str, zone: &str) -> Result<Self, CalendarError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed);
        let cron = parser.build().parse(expression).map_err(|error| CalendarError::Expression {
            expression: bounded(expression),
            reason: error.to_string(),
        })?;
        let zone = TimeZone::get(zone).map_err(|_| CalendarError::Zone { zone: bounded(zone) })?;
        Ok(Self { cron, zone })
    }

    /// The first slot after `time`.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let from = time.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&from, false).ok().map(|slot| slot.timestamp())
    }

    /// The last slot before `time`.
    #[must_use]
    pub fn last_before(&self, time: Timestamp) -> Option<Timestamp> {
        let from = time.to_zoned(self.zone.clone());
        self.cron.find_previous_occurrence(&from, false).ok().map(|slot| slot.timestamp())
    }

    /// When the slot starts at the latest by its schedule: after all of its jitter, and in its
    /// window.
    #[must_use]
    pub fn expected_by(&self, slot: Timestamp, timing: &Timing) -> Timestamp {
        let jitter = SignedDuration::from_secs(timing.jitter_seconds.into());
        let latest = slot.saturating_add(jitter).unwrap_or(slot);
        timing.window.map_or(latest, |window| self.opening(window, latest))
    }

    /// The newest time whose slot must have started by `now`: not one that may still have jitter,
    /// and not one whose window has not opened since.
    #[must_use]
    pub fn started_by(&self, now: Timestamp, timing: &Timing) -> Timestamp {
        let jitter = SignedDuration::from_secs(timing.jitter_seconds.into());
        let open_at = timing.window.map_or(now, |window| self.last_open(window, now));
        open_at.saturating_sub(jitter).unwrap_or(open_at)
    }

    /// The first moment from `time` on at which the window is open.
    fn opening(&self, window: Window, time: Timestamp) -> Timestamp {
        let wall = time.to_zoned(self.zone.clone());
        if is_open(window, &wall) {
            return time;
        }
        let days = std::iter::successors(Some(wall.date()), |day| day.tomorrow().ok()).take(2);
        let mut opens = days.filter_map(|day| self.at(day, window.from_minute));
        opens.find(|opens| *opens > time).unwrap_or(time)
    }

    /// The last moment up to `time` at which the window was open.
    fn last_open(&self, window: Window, time: Timestamp) -> Timestamp {
        let wall = time.to_zoned(self.zone.clone());
        if is_open(window, &wall) {
            return time;
        }
        let days = std::iter::successors(Some(wall.date()), |day| day.yesterday().ok()).take(2);
        let mut closed = days.filter_map(|day| self.at(day, window.until_minute));
        let closed = closed.find(|closed| *closed <= time).unwrap_or(time);
        closed.saturating_sub(SignedDuration::from_millis(1)).unwrap_or(closed)
    }

    /// When the zone's clock shows this minute of the day.
    fn at(&self, day: Date, minute: u16) -> Option<Timestamp> {
        let hour = i8::try_from(minute / 60).ok()?;
        let minute = i8::try_from(minute % 60).ok()?;
        let wall = day.at(hour, minute, 0, 0).to_zoned(self.zone.clone()).ok()?;
        Some(wall.timestamp())
    }

    /// The longest pause between two slots in the weeks after `time`.
    #[must_use]
    pub fn longest_pause(&self, time: Timestamp) -> SignedDuration {
        let slots = std::iter::successors(self.next_after(time), |slot| self.next_after(*slot));
        let mut slots = slots.take(PAUSES_MAX).peekable();
        let (mut longest, mut looked) = (SignedDuration::ZERO, 0);
        while let (Some(slot), Some(next)) = (slots.next(), slots.peek()) {
            longest = longest.max(next.duration_since(slot));
            looked += 1;
            // A week shows what working hours and weekdays do; rarer schedules need a few pauses.
            if looked >= PAUSES_MIN && next.duration_since(time) > WEEK {
                break;
            }
        }
        longest
    }

    /// The expression as a sentence.
    #[must_use]
    pub fn in_words(&self) -> String {
        self.cron.describe()
    }
}

fn is_open(window: Window, wall: &Zoned) -> bool {
    let (hour, minute) = (wall.hour().unsigned_abs(), wall.minute().unsigned_abs());
    window.contains(u16::from(hour) * 60 + u16::from(minute))
}

fn bounded(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn slots_are_read_in_the_schedules_zone_across_a_clock_change() {
        let calendar =
            Calendar::parse("30 2 * * *", "Europe/Berlin", at("2026-03-28T12:00:00Z")).unwrap();
        let gap_day = calendar.next_after(at("2026-03-28T12:00:00Z")).unwrap();
        assert_eq!(gap_day, at("2026-03-29T01:00:00Z"));
        assert_eq!(calendar.next_after(gap_day), Some(at("2026-03-30T00:30:00Z")));
        assert_eq!(
            calendar.last_before(at("2026-03-28T12:00:00Z")),
            Some(at("2026-03-28T01:30:00Z"))
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let now = at("2026-03-28T12:00:00Z");
        let refuse = |cron: &str, zone: &str| {
            Calendar::parse(cron, zone, now).expect_err("it must be refused").to_string()
        };
        assert!(refuse("* * * * * *", "UTC").contains("five-field"));
        assert!(refuse("0 0 31 2 *", "UTC").contains("never comes due"));
        assert!(refuse("0 3 * * *", "Mars/Olympus").contains("not a known time zone"));
        assert!(refuse(&"x".repeat(9000), "UTC").len() < 400);
    }

    #[test]
    fn the_longest_pause_is_the_one_that_matters() {
        let now = at("2026-11-21T12:00:00Z");
        let pause = |cron: &str| Calendar::parse(cron, "UTC", now).unwrap().longest_pause(now);
        for (cron, hours) in [
            ("0 * * * *", 1),
            ("0 3 * * *", 24),
            ("0 3 * * 1-5", 72),
            ("*/15 9-17 * * 1-5", 63),
            ("0 3 * * 0", 168),
            ("0 3 1 * *", 744),
        ] {
            let longest = pause(cron);
            assert!(
                (longest - SignedDuration::from_hours(hours)).as_hours() == 0,
                "{cron}: {longest}"
            );
        }
    }

    #[test]
    fn a_slot_is_expected_after_its_jitter_and_in_its_window() {
        let calendar = Calendar::parse("0 * * * *", "Europe/Berlin", at("2026-03-01T00:00:00Z"));
        let window = Some(Window { from_minute: 22 * 60, until_minute: 6 * 60 });
        let night = Timing { window, ..Timing::default() };
        let late = Timing { jitter_seconds: 1800, ..night.clone() };
        let by =
            |slot: &str, timing: &Timing| calendar.as_ref().unwrap().expected_by(at(slot), timing);
        assert_eq!(by("2026-03-28T12:00:00Z", &Timing::default()), at("2026-03-28T12:00:00Z"));
        assert_eq!(by("2026-03-28T02:00:00Z", &night), at("2026-03-28T02:00:00Z"), "it is open");
        assert_eq!(by("2026-03-28T12:00:00Z", &night), at("2026-03-28T21:00:00Z"));
        assert_eq!(by("2026-03-29T12:00:00Z", &night), at("2026-03-29T20:00:00Z"), "summer time");
        assert_eq!(by("2026-03-28T04:00:00Z", &late), at("2026-03-28T04:30:00Z"));
        assert_eq!(by("2026-03-28T04:59:00Z", &late), at("2026-03-28T21:00:00Z"), "it closed");
    }

    #[test]
    fn what_waits_for_its_jitter_or_its_window_need_not_have_started() {
        let calendar = Calendar::parse("0 * * * *", "UTC", at("2026-03-01T00:00:00Z")).unwrap();
        let window = Some(Window { from_minute: 22 * 60, until_minute: 6 * 60 });
        let night = Timing { window, ..Timing::default() };
        let late = Timing { jitter_seconds: 1800, ..Timing::default() };
        let newest = |now: &str, timing: &Timing| {
            let by = calendar.started_by(at(now), timing) + SignedDuration::from_secs(1);
            calendar.last_before(by).unwrap()
        };
        assert_eq!(newest("2026-03-28T12:00:00Z", &Timing::default()), at("2026-03-28T12:00:00Z"));
        assert_eq!(newest("2026-03-28T12:00:00Z", &night), at("2026-03-28T05:00:00Z"));
        assert_eq!(newest("2026-03-28T23:10:00Z", &night), at("2026-03-28T23:00:00Z"));
        assert_eq!(newest("2026-03-28T12:29:00Z", &late), at("2026-03-28T11:00:00Z"));
        assert_eq!(newest("2026-03-28T12:30:00Z", &late), at("2026-03-28T12:00:00Z"));
    }

    #[test]
    fn a_schedule_reads_as_a_sentence() {
        let calendar = Calendar::parse("0 3 * * *", "UTC", at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(calendar.in_words(), "At 03:00.");
    }
}
