use holdfast_protocol::{HostId, RepositoryId, message::config};
use uuid::Uuid;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn rule(expression: &str, zone: &str) -> Rule {
    Rule::parse(expression, zone).unwrap()
}

/// Every slot after `from`, up to `to`, as the zone's wall clock shows it.
fn slots(expression: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let rule = rule(expression, zone);
    let zone = jiff::tz::TimeZone::get(zone).unwrap();
    let due = |after| rule.next_after(after).filter(|slot| *slot <= at(to));
    std::iter::successors(due(at(from)), |slot| due(*slot))
        .map(|slot| slot.to_zoned(zone.clone()).strftime("%d %H:%M%:z").to_string())
        .collect()
}

fn schedule(cron_expr: &str, enabled: bool) -> Schedule {
    Schedule {
        id: ScheduleId::from_uuid(Uuid::from_u128(7)),
        cron_expr: cron_expr.to_owned(),
        time_zone: "UTC".to_owned(),
        enabled,
        source_groups: vec!["etc".to_owned(), "home".to_owned(), "gone".to_owned()],
        timing: Default::default(),
    }
}

fn marks_of(
    set: &Set,
    marks: &BTreeMap<ScheduleId, Mark>,
    now: &str,
) -> BTreeMap<ScheduleId, Mark> {
    settle(set, marks, at(now))
}

#[test]
fn slots_survive_the_clock_changes() {
    let (berlin, london) = ("Europe/Berlin", "Europe/London");
    let spring = ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    let autumn = ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    type Case = (&'static str, &'static str, (&'static str, &'static str), &'static [&'static str]);
    let table: &[Case] = &[
        // 02:30 does not exist: it runs once, when the gap ends.
        ("30 2 * * *", berlin, spring, &["29 03:00+02:00"]),
        // 02:30 comes twice: it runs once.
        ("30 2 * * *", berlin, autumn, &["25 02:30+02:00"]),
        (
            "0 0 * * *",
            london,
            ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"),
            &["29 00:00+00:00"],
        ),
        (
            "*/30 1-3 * * *",
            berlin,
            spring,
            &["29 01:00+01:00", "29 01:30+01:00", "29 03:00+02:00", "29 03:30+02:00"],
        ),
        (
            "*/30 2 * * *",
            berlin,
            autumn,
            &["25 02:00+02:00", "25 02:30+02:00", "25 02:00+01:00", "25 02:30+01:00"],
        ),
    ];
    for (expression, zone, (from, to), expected) in table {
        assert_eq!(slots(expression, zone, from, to), *expected, "{expression} in {zone}");
    }
}

#[test]
fn after_a_long_night_only_the_latest_slot_is_due() {
    let hourly = rule("0 * * * *", "UTC");
    let due = latest_due(&hourly, at("2026-11-01T00:00:00Z"), at("2026-11-21T09:59:59Z"));
    assert_eq!(due, Some(at("2026-11-21T09:00:00Z")));
}

#[test]
fn a_rare_slot_is_found_however_long_ago_it_was() {
    let yearly = rule("0 3 1 1 *", "UTC");
    let due = latest_due(&yearly, at("2025-06-01T00:00:00Z"), at("2026-11-21T10:00:00Z"));
    assert_eq!(due, Some(at("2026-01-01T03:00:00Z")));
}

#[test]
fn a_slot_is_due_at_its_very_instant_and_only_once() {
    let daily = rule("0 3 * * *", "UTC");
    let slot = at("2026-11-21T03:00:00Z");
    assert_eq!(latest_due(&daily, at("2026-11-20T12:00:00Z"), slot), Some(slot));
    assert_eq!(latest_due(&daily, slot, at("2026-11-21T23:00:00Z")), None);
    assert_eq!(latest_due(&daily, at("2026-11-21T23:00:00Z"), slot), None);
}

#[test]
fn new_edited_and_reenabled_schedules_start_now() {
    let set = |schedule| Set { version: 1, schedules: vec![schedule] };
    let new = marks_of(&set(schedule("0 3 * * *", true)), &BTreeMap::new(), "2026-11-21T10:00:00Z");
    let mark = new.values().next().unwrap();
    assert_eq!(mark.fired_through, at("2026-11-21T10:00:00Z"));

    let kept = marks_of(&set(schedule("0 3 * * *", true)), &new, "2026-11-22T10:00:00Z");
    assert_eq!(kept, new, "an unchanged schedule keeps its debt");

    let edited = marks_of(&set(schedule("0 4 * * *", true)), &new, "2026-11-22T10:00:00Z");
    assert_eq!(edited.values().next().unwrap().fired_through, at("2026-11-22T10:00:00Z"));

    let disabled = marks_of(&set(schedule("0 3 * * *", false)), &new, "2026-11-22T10:00:00Z");
    assert!(disabled.is_empty(), "so that enabling it starts afresh");
}

#[test]
fn a_mark_from_a_clock_that_ran_ahead_is_pulled_back() {
    let schedule = schedule("0 3 * * *", true);
    let marks = BTreeMap::from([(schedule.id, Mark::new(&schedule, at("2035-01-01T00:00:00Z")))]);
    let set = Set { version: 1, schedules: vec![schedule] };
    let settled = marks_of(&set, &marks, "2026-11-21T10:00:00Z");
    assert_eq!(settled.values().next().unwrap().fired_through, at("2026-11-21T10:00:00Z"));
}

#[test]
fn a_firing_has_one_job_per_known_group_with_the_same_ids_every_time() {
    let group = |name: &str| {
        config::Group::new(
            name.to_owned(),
            RepositoryId::from_uuid(Uuid::from_u128(3)),
            vec![format!("/{name}")],
            vec![],
        )
    };
    let config = config::Update {
        version: 5,
        host_name: "alpha".to_owned(),
        repositories: vec![],
        groups: vec![group("home"), group("etc")],
    };
    let settings = Settings { config: Some(config), schedules: None };
    let host = HostId::from_uuid(Uuid::from_u128(1));
    let make = || firing(host, &schedule("0 3 * * *", true), at("2026-11-21T03:00:00Z"), &settings);
    let firing = make();
    let tags: Vec<_> = firing.runs.iter().map(|run| run.tag.as_str()).collect();
    assert_eq!(tags, ["etc", "home"]);
    assert_ne!(firing.runs[0].job_id, firing.runs[1].job_id);
    assert_eq!(firing.runs, make().runs);
    assert_eq!(firing.mark.fired_through, at("2026-11-21T03:00:00Z"));
}
