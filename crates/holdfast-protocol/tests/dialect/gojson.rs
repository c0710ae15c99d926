//! Go's `encoding/json`, fact by fact.

use std::collections::BTreeMap;

use holdfast_protocol::dialect::gojson::{
    Go, GoTime, Raw, compact, float, from_slice, from_text, same_key, string, to_text,
};
use holdfast_protocol::dialect::nerdbackup::{Heartbeat, JobStarted, Progress};
use proptest::prelude::*;

fn written(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

#[test]
fn floats_are_written_as_go_writes_them() {
    let cases = [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (45.5, "45.5"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (1e-6, "0.000001"),
        (9.99e-7, "9.99e-7"),
        (1e-9, "1e-9"),
        (5e-324, "5e-324"),
        (f64::NAN, "0"),
        (f64::INFINITY, "0"),
    ];
    for (number, text) in cases {
        assert_eq!(written(|out| float(out, number)), text);
    }
}

#[test]
fn strings_escape_what_html_and_javascript_could_misread() {
    let cases = [
        ("a<b>&c", r#""a\u003cb\u003e\u0026c""#),
        ("\u{2028}\u{2029}", r#""\u2028\u2029""#),
        ("\"\\/", r#""\"\\/""#),
        ("\n\r\t\u{8}\u{c}", r#""\n\r\t\b\f""#),
        ("\u{0}\u{1f}\u{7f}", "\"\\u0000\\u001f\u{7f}\""),
        ("ü€😀", "\"ü€😀\""),
    ];
    for (text, json) in cases {
        assert_eq!(written(|out| string(out, text)), json);
    }
}

#[test]
fn times_keep_their_zone_and_lose_trailing_zeros() {
    let cases = [
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
        ("2026-11-21T10:00:00.500Z", "2026-11-21T10:00:00.5Z"),
        ("2026-11-21T10:00:00.123456789+05:30", "2026-11-21T10:00:00.123456789+05:30"),
        ("2026-11-21T10:00:00-08:00", "2026-11-21T10:00:00-08:00"),
        ("2026-11-21T10:00:00+00:00", "2026-11-21T10:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ];
    for (text, same) in cases {
        assert_eq!(text.parse::<GoTime>().unwrap().to_string(), same);
    }
    assert_eq!(GoTime::default().known(), None, "the year 1 stands for unknown");
    for text in ["", "yesterday", "2026-11-21", "2026-11-21T10:00:00"] {
        assert!(text.parse::<GoTime>().is_err(), "{text}");
    }
}

#[test]
fn keys_match_without_regard_to_case_and_the_last_wins() {
    let text = r#"{"AGENT_VERSION":"1","agent_version":"2","Agent_Version":"3","other":{}}"#;
    let heartbeat: Heartbeat = from_text(text).unwrap();
    assert_eq!(heartbeat.agent_version, "3");
    assert!(same_key("hostname", "hostname"));
    assert!(same_key("ho\u{17f}tname", "hostname"), "the long s folds onto s");
    assert!(same_key("\u{212a}ind", "kind"), "the sign for kelvin folds onto k");
    assert!(!same_key("host_name", "hostname"));
}

#[test]
fn null_and_missing_leave_the_zero_value() {
    let progress: Progress =
        from_text(r#"{"repo_id":"a","repo_id":null,"percent_done":null}"#).unwrap();
    assert_eq!(progress, Progress { repo_id: "a".into(), ..Progress::default() });
    let nothing: Progress = from_text("null").unwrap();
    assert_eq!(nothing, Progress::default());
}

#[test]
fn a_wrong_type_is_an_error_that_names_the_field_and_not_the_value() {
    let cases = [
        (r#"{"repo_id":7}"#, "repo_id is not a string"),
        (r#"{"repo_id":["canary"]}"#, "repo_id is not a string"),
        (r#"{"percent_done":"canary"}"#, "percent_done is not a number"),
        (r#"{"percent_done":1e999}"#, "percent_done is not a number"),
        (r#"{"bytes_processed":1.5}"#, "bytes_processed is not a whole number in range"),
        (
            r#"{"bytes_processed":99999999999999999999}"#,
            "bytes_processed is not a whole number in range",
        ),
        ("[]", "the message is not an object"),
        ("{", "the message is not JSON"),
    ];
    for (text, error) in cases {
        assert_eq!(from_text::<Progress>(text).unwrap_err().to_string(), error, "{text}");
    }
}

#[test]
fn lists_take_null_and_keep_the_two_apart_where_it_matters() {
    let list: Vec<String> = from_text("null").unwrap();
    assert_eq!(to_text(&list), "[]");
    let nullable: Option<Vec<String>> = from_text("null").unwrap();
    assert_eq!(to_text(&nullable), "null");
    let nullable: Option<Vec<String>> = from_text("[]").unwrap();
    assert_eq!(to_text(&nullable), "[]");
}

#[test]
fn a_pointer_to_zero_is_written_and_none_is_not() {
    let mut started = JobStarted { repo_id: Some(String::new()), ..JobStarted::default() };
    assert_eq!(to_text(&started), r#"{"job_id":"","repo_id":"","status":""}"#);
    started.repo_id = None;
    assert_eq!(to_text(&started), r#"{"job_id":"","status":""}"#);
}

#[test]
fn maps_are_sorted_by_bytes() {
    let map: BTreeMap<String, i64> = from_text(r#"{"b":2,"a":1,"B":3,"é":4}"#).unwrap();
    assert_eq!(to_text(&map), r#"{"B":3,"a":1,"b":2,"é":4}"#);
}

#[test]
fn passed_through_json_is_compacted_and_escaped_but_not_rewritten() {
    let text = "{ \"b\" : 1.50 ,\n\"a\":[ 1e3, \" < \\\" > \" ] }";
    assert_eq!(compact(text), r#"{"b":1.50,"a":[1e3," \u003c \" \u003e "]}"#);
    let literal: Raw = from_text("null").unwrap();
    assert!(!literal.is_empty(), "a literal null is not absent");
    assert!(Raw::ABSENT.is_empty());
}

#[test]
fn half_a_surrogate_pair_and_broken_utf8_become_the_replacement_character() {
    let text: String = from_text(r#""a\ud800b\udc00\ud83d\ude00""#).unwrap();
    assert_eq!(text, "a\u{fffd}b\u{fffd}😀");
    let text: String = from_slice(b"\"a\xffb\"").unwrap();
    assert_eq!(text, "a\u{fffd}b");
    let map: BTreeMap<String, i64> = from_text(r#"{"\ud800":1}"#).unwrap();
    assert_eq!(map.get("\u{fffd}"), Some(&1));
}

#[test]
fn deep_nesting_in_what_is_skipped_or_carried_is_harmless() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let text = format!(r#"{{"x":{deep},"repo_id":"a"}}"#);
    assert_eq!(from_text::<Progress>(&text).unwrap().repo_id, "a");
    assert!(from_text::<Vec<String>>(&deep).is_err());
}

proptest! {
    #[test]
    fn any_string_survives_and_reads_the_same_for_other_readers(text in ".{0,64}") {
        let json = written(|out| string(out, &text));
        prop_assert_eq!(&from_text::<String>(&json).unwrap(), &text);
        prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &text);
    }

    #[test]
    fn any_finite_float_survives(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
        let json = written(|out| float(out, number));
        prop_assert_eq!(from_text::<f64>(&json).unwrap().to_bits(), number.to_bits());
        prop_assert!(serde_json::from_str::<f64>(&json).is_ok(), "{} is JSON", json);
    }

    #[test]
    fn any_moment_survives(
        second in -62_135_596_800_i64..253_402_207_200,
        nanos in 0..1_000_000_000_i32,
    ) {
        let at = GoTime::from(jiff::Timestamp::new(second, nanos).unwrap());
        prop_assert_eq!(at.to_string().parse::<GoTime>().unwrap(), at);
    }

    #[test]
    fn compacting_changes_no_value(value in crate::total::any_json()) {
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let compacted = compact(&pretty);
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&compacted).unwrap(), value);
    }
}
