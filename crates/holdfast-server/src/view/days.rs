//! How a host's days went, one letter for each.

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, message::job::Status};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use utoipa::ToSchema;

/// The days of all hosts, compact because a fleet may have ten thousand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Days {
    /// The first day, in the zone that was asked for.
    #[schema(value_type = String, format = Date)]
    pub from: Date,
    /// How many days there are; the last is today.
    pub days: u16,
    /// By the host's id, one letter a day: `g` every backup was good, `w` one was good and another
    /// was not, or left files out, `f` none was good, `m` one was due and never ran, `c` all were
    /// cancelled, `.` nothing was due and nothing ran. A host without any letter but `.` is absent.
    #[schema(value_type = BTreeMap<Uuid, String>)]
    pub hosts: BTreeMap<HostId, String>,
}

/// Backups of one host that ended, or were missed, within one [`SLICE`] and in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) host_id: HostId,
    pub(crate) status: Status,
    /// In slices since 1970.
    pub(crate) number: i64,
}

/// Every zone's days begin at such a step.
pub(crate) const SLICE: SignedDuration = SignedDuration::from_mins(15);

/// How one day of one host went so far.
#[derive(Debug, Clone, Copy, Default)]
struct Day {
    good: bool,
    left_out: bool,
    failed: bool,
    missed: bool,
    cancelled: bool,
}

impl Day {
    fn take(&mut self, status: Status) {
        match status {
            Status::Succeeded => self.good = true,
            Status::Partial => self.left_out = true,
            Status::Failed | Status::Interrupted => self.failed = true,
            Status::Missed => self.missed = true,
            Status::Cancelled => self.cancelled = true,
            _ => {}
        }
    }

    fn letter(self) -> char {
        match self {
            Self { left_out: true, .. }
            | Self { good: true, failed: true, .. }
            | Self { good: true, missed: true, .. } => 'w',
            Self { good: true, .. } => 'g',
            Self { failed: true, .. } => 'f',
            Self { missed: true, .. } => 'm',
            Self { cancelled: true, .. } => 'c',
            _ => '.',
        }
    }
}

/// The first of the last `days` days, today included.
pub(crate) fn first_day(now: Timestamp, zone: &TimeZone, days: u16) -> Date {
    let today = now.to_zoned(zone.clone()).date();
    let back = jiff::Span::new().days(i64::from(days.saturating_sub(1)));
    today.checked_sub(back).unwrap_or(today)
}

impl Days {
    /// Puts slices into their days. What is before the first or after the last day is left out.
    pub(crate) fn gather(
        slices: impl IntoIterator<Item = Slice>,
        from: Date,
        days: u16,
        zone: &TimeZone,
    ) -> Self {
        let mut hosts: BTreeMap<HostId, Vec<Day>> = BTreeMap::new();
        for slice in slices {
            let Some(index) = day_of(slice.number, from, zone) else { continue };
            let row = hosts
                .entry(slice.host_id)
                .or_insert_with(|| vec![Day::default(); usize::from(days)]);
            if let Some(day) = row.get_mut(index) {
                day.take(slice.status);
            }
        }
        let letters = |row: Vec<Day>| row.into_iter().map(Day::letter).collect();
        Self { from, days, hosts: hosts.into_iter().map(|(id, row)| (id, letters(row))).collect() }
    }
}

fn day_of(number: i64, from: Date, zone: &TimeZone) -> Option<usize> {
    let at = Timestamp::from_second(number.checked_mul(SLICE.as_secs())?).ok()?;
    let date = at.to_zoned(zone.clone()).date();
    usize::try_from(from.until(date).ok()?.get_days()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(host_id: HostId, at: &str, status: Status) -> Slice {
        let at: Timestamp = at.parse().unwrap();
        Slice { host_id, status, number: at.as_second() / SLICE.as_secs() }
    }

    fn letters(slices: &[Slice], zone: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let now = "2026-03-30T10:00:00Z".parse().unwrap();
        let days = Days::gather(slices.to_vec(), first_day(now, &zone, 4), 4, &zone);
        days.hosts.into_values().next().unwrap_or_default()
    }

    #[test]
    fn a_day_has_the_letter_of_what_matters_in_it() {
        let host = HostId::from_uuid(uuid::Uuid::now_v7());
        let day = |number: u8, status| slice(host, &format!("2026-03-{number}T12:00:00Z"), status);
        let story = [
            day(27, Status::Failed),
            day(27, Status::Succeeded),
            day(28, Status::Interrupted),
            day(28, Status::Missed),
            day(29, Status::Succeeded),
            day(29, Status::Cancelled),
            day(30, Status::Partial),
            day(26, Status::Failed),
        ];
        assert_eq!(letters(&story, "UTC"), "wfgw");
        assert_eq!(letters(&[day(28, Status::Missed), day(29, Status::Cancelled)], "UTC"), ".mc.");
    }

    #[test]
    fn a_day_ends_at_midnight_of_the_zone_that_was_asked_for_also_when_the_clocks_change() {
        let host = HostId::from_uuid(uuid::Uuid::now_v7());
        // In Berlin the clocks went forward on the 29th at one o'clock UTC.
        let late = slice(host, "2026-03-28T23:30:00Z", Status::Succeeded);
        assert_eq!(letters(&[late], "UTC"), ".g..");
        assert_eq!(letters(&[late], "Europe/Berlin"), "..g.");
        let later = slice(host, "2026-03-29T22:15:00Z", Status::Succeeded);
        assert_eq!(letters(&[later], "Europe/Berlin"), "...g");
    }
}
