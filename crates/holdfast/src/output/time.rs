//! Points in time and lengths of time.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// `2026-11-21 14:25 (3 min ago)`: the absolute time for the record, the relative one for the eye.
pub(super) fn when(time: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let absolute = time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
    format!("{absolute} ({})", relative(time, now))
}

/// `3 min ago`, `in 2 h`, `now`.
fn relative(time: Timestamp, now: Timestamp) -> String {
    let distance = time.duration_since(now);
    let size = coarse(distance.abs());
    match size {
        None => "now".to_owned(),
        Some(size) if distance.is_negative() => format!("{size} ago"),
        Some(size) => format!("in {size}"),
    }
}

/// One number and one unit; nothing when shorter than a second.
fn coarse(length: SignedDuration) -> Option<String> {
    let seconds = length.as_secs();
    match seconds {
        ..1 => None,
        1..60 => Some(format!("{seconds} s")),
        60..3_600 => Some(format!("{} min", seconds / 60)),
        3_600..172_800 => Some(format!("{} h", seconds / 3_600)),
        _ => Some(format!("{} days", seconds / 86_400)),
    }
}

/// `90 s`, `15 min`, `26 h`, `7 days`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `0.4 s`, `8 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub(super) fn length(length: SignedDuration) -> String {
    let length = length.max(SignedDuration::ZERO);
    let seconds = length.as_secs();
    match seconds {
        ..10 if length.subsec_millis() > 0 => format!("{:.1} s", length.as_secs_f64()),
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_times_name_one_unit() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let cases = [
            (0, "now"),
            (-59, "59 s ago"),
            (-60, "1 min ago"),
            (-7_200, "2 h ago"),
            (-172_800, "2 days ago"),
            (90, "in 1 min"),
        ];
        for (offset, text) in cases {
            let time = Timestamp::from_second(1_800_000_000 + offset).unwrap();
            assert_eq!(relative(time, now), text);
        }
    }

    #[test]
    fn a_span_names_one_unit() {
        let cases = [(90, "90 s"), (900, "15 min"), (93_600, "26 h"), (604_800, "7 days")];
        for (seconds, text) in cases {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn a_time_is_shown_in_the_wanted_zone() {
        let time: Timestamp = "2026-11-21T13:25:00Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(when(time, time, &zone), "2026-11-21 14:25 (now)");
    }

    #[test]
    fn lengths_have_at_most_two_units() {
        let cases = [
            (400, "0.4 s"),
            (8_000, "8 s"),
            (12_000, "12 s"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
            (-5_000, "0 s"),
        ];
        for (millis, text) in cases {
            assert_eq!(length(SignedDuration::from_millis(millis)), text);
        }
    }
}
