//! The table of units and states, row by row and in both directions.

use holdfast_protocol::{
    dialect::{
        Ability, Dialect,
        backupy::wire::JobStatus,
        convert::{
            self, CANCELLED_TEXT, STATES, bytes_of_kib, fraction, fraction_of_percent,
            kib_of_bytes, ms_of_seconds, ms_of_time, percent, refine, seconds_of_ms,
            status_of_number, status_of_word, text_of_time, time_of_ms, time_of_text,
            whole_percent, words_of,
        },
    },
    message::job::Status,
};

/// State, then its spelling in D0, D1, D2 and D3.
type Row = (Status, &'static str, JobStatus, &'static str, &'static str);

const TABLE: [Row; 7] = [
    (Status::Queued, "", JobStatus::Queued, "", "queued"),
    (Status::Running, "running", JobStatus::Running, "backup:started", "running"),
    (Status::Paused, "paused", JobStatus::Running, "", "running"),
    (Status::Succeeded, "completed", JobStatus::Success, "backup:completed", "succeeded"),
    (Status::Failed, "failed", JobStatus::Failed, "backup:failed", "failed"),
    (Status::Cancelled, "failed", JobStatus::Cancelled, "backup:failed", "cancelled"),
    (Status::Partial, "completed", JobStatus::Success, "backup:completed", "succeeded"),
];

#[test]
fn every_state_has_its_word_in_every_dialect() {
    for (status, d0, d1, d2, d3) in TABLE {
        let words = words_of(status);
        let spelled = (words.nerdbackup, words.backupy, words.local, words.fleet);
        assert_eq!(spelled, (d0, d1, d2, d3), "{status:?}");
    }
    for row in STATES {
        assert_eq!(words_of(row.status), row, "every state has exactly one row");
    }
}

#[test]
fn words_are_read_as_the_state_they_stand_for_alone() {
    let cases = [
        (Dialect::Nerdbackup, "running", Some(Status::Running)),
        (Dialect::Nerdbackup, "paused", Some(Status::Paused)),
        (Dialect::Nerdbackup, "completed", Some(Status::Succeeded)),
        (Dialect::Nerdbackup, "success", Some(Status::Succeeded)),
        (Dialect::Nerdbackup, "failed", Some(Status::Failed)),
        (Dialect::Nerdbackup, "cancelled", Some(Status::Cancelled)),
        (Dialect::Nerdbackup, "", None),
        (Dialect::Local, "backup:completed", Some(Status::Succeeded)),
        (Dialect::Local, "backup:failed", Some(Status::Failed)),
        (Dialect::Fleet, "succeeded", Some(Status::Succeeded)),
        (Dialect::Fleet, "cancelled", Some(Status::Cancelled)),
        (Dialect::Fleet, "canceled", None),
        (Dialect::Fleet, "sideways", None),
    ];
    for (dialect, word, status) in cases {
        assert_eq!(status_of_word(dialect, word), status, "{dialect:?} {word:?}");
    }
    let numbers = [
        (1, Some(Status::Queued)),
        (2, Some(Status::Running)),
        (3, Some(Status::Succeeded)),
        (4, Some(Status::Failed)),
        (5, Some(Status::Cancelled)),
        (0, None),
        (99, None),
        (-1, None),
    ];
    for (number, status) in numbers {
        assert_eq!(status_of_number(number), status, "{number}");
    }
}

#[test]
fn a_text_a_code_or_a_wish_makes_an_end_more_exact() {
    let cases = [
        (Status::Failed, "restic: exit status 1", Some(1), false, Status::Failed),
        (Status::Failed, CANCELLED_TEXT, None, false, Status::Cancelled),
        (Status::Failed, "signal: killed", None, true, Status::Cancelled),
        (Status::Failed, "exit status 3", Some(3), false, Status::Partial),
        (Status::Succeeded, "", Some(3), false, Status::Partial),
        (Status::Succeeded, "2 files unreadable", None, false, Status::Partial),
        (Status::Succeeded, "", Some(0), true, Status::Succeeded),
        (Status::Cancelled, "", None, false, Status::Cancelled),
    ];
    for (status, text, code, cancelling, exact) in cases {
        assert_eq!(refine(status, text, code, cancelling), exact, "{status:?} {text:?}");
    }
    assert_eq!(convert::exit_code_in("restic backup failed: exit status 3"), Some(3));
    assert_eq!(convert::exit_code_in("exit status 12: no space"), Some(12));
    assert_eq!(convert::exit_code_in("signal: killed"), None);
}

#[test]
fn a_cancelled_and_a_partial_end_survive_the_dialect_that_has_no_word_for_them() {
    for (status, code) in [(Status::Cancelled, None), (Status::Partial, Some(3))] {
        let word = words_of(status).nerdbackup;
        let text = convert::reason_text(status, None);
        let read = status_of_word(Dialect::Nerdbackup, word).unwrap();
        assert_eq!(refine(read, &text, None, false), status);
        let read = status_of_word(Dialect::Fleet, words_of(status).fleet).unwrap();
        assert_eq!(refine(read, "", code, false), status);
    }
}

#[test]
fn progress_is_converted_between_fraction_and_percent() {
    let cases =
        [(0.0, 0.0, 0), (0.455, 45.5, 45), (0.29, 29.0, 29), (0.999, 99.9, 99), (1.0, 100.0, 100)];
    for (canonical, d2, d1) in cases {
        assert!((percent(canonical) - d2).abs() < 1e-9, "{canonical}");
        assert!((fraction_of_percent(d2) - canonical).abs() < 1e-9, "{d2}");
        assert_eq!(whole_percent(canonical), d1, "{canonical}");
    }
    for wild in [f64::NAN, f64::NEG_INFINITY, -0.5] {
        assert_eq!((fraction(wild), whole_percent(wild)), (0.0, 0), "{wild}");
    }
    for wild in [f64::INFINITY, 1.5, 1e300] {
        assert_eq!((fraction(wild), whole_percent(wild)), (1.0, 100), "{wild}");
    }
}

#[test]
fn every_whole_percent_survives_the_way_there_and_back() {
    for number in 0..=100 {
        assert_eq!(whole_percent(fraction_of_percent(f64::from(number))), number);
    }
}

#[test]
fn times_are_converted_between_text_and_milliseconds() {
    let at = time_of_text("2023-11-15T00:13:20+02:00").unwrap();
    assert_eq!(ms_of_time(at), 1_700_000_000_000);
    assert_eq!(time_of_ms(1_700_000_000_000), Some(at));
    assert_eq!(text_of_time(at), "2023-11-14T22:13:20Z");
    let fine = time_of_text("2023-11-14T22:13:20.987654321Z").unwrap();
    assert_eq!(text_of_time(fine), "2023-11-14T22:13:20Z", "D0's texts have whole seconds");
    assert_eq!(time_of_text("0001-01-01T00:00:00Z"), None, "Go's zero time is unknown");
    assert_eq!((time_of_ms(0), time_of_ms(u64::MAX)), (None, None));
    assert_eq!(time_of_text("noon"), None);
}

#[test]
fn durations_and_limits_are_converted() {
    assert_eq!((ms_of_seconds(90), seconds_of_ms(90_999)), (90_000, 90));
    assert_eq!(ms_of_seconds(u64::MAX), u64::MAX);
    assert_eq!((bytes_of_kib(512), kib_of_bytes(524_288)), (524_288, 512));
    assert_eq!(kib_of_bytes(1), 1, "a small limit is still a limit");
    assert_eq!((kib_of_bytes(0), bytes_of_kib(0)), (0, 0), "0 is no limit");
}

#[test]
fn only_the_dialects_with_a_pause_can_pause() {
    let able: Vec<&str> = Dialect::ALL
        .into_iter()
        .filter(|dialect| dialect.can(Ability::Pause))
        .map(Dialect::as_str)
        .collect();
    assert_eq!(able, ["envelope", "local", "nerdbackup"]);
}
