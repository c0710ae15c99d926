//! The whole way from a fleet to its alerts, on a clock that the tests set.

mod house;

use holdfast_protocol::{JobId, message::job::Operation};
use jiff::SignedDuration;
use uuid::Uuid;

use super::{
    Alert, Change, Rule, Severity, State,
    find::{
        Crowded, FleetFacts, Noticed, OwnBackup, RefusedAgent, RefusedJob, ResetOutbox, find,
        notice,
    },
    grouping::{Trouble, gather},
    lifecycle::reconcile,
};
use crate::verdict::Cause;
use house::{House, at, host, reason};

/// Nothing yet.
static NOTICED: Noticed = Noticed::new();

const NOON: &str = "2026-11-21T12:00:00Z";

fn troubles(house: &House) -> Vec<Trouble> {
    troubles_with(house, |_| {})
}

fn troubles_with<'a>(house: &'a House, change: impl FnOnce(&mut FleetFacts<'a>)) -> Vec<Trouble> {
    let mut facts = FleetFacts {
        now: house.now,
        server_since: at("2026-11-01T00:00:00Z"),
        version: "1.4.2",
        hosts: &house.hosts,
        refused: &[],
        crowded: &[],
        reset: &[],
        refused_jobs: &[],
        own_backup: &house.own_backup,
        ahead: None,
        noticed: &NOTICED,
    };
    change(&mut facts);
    let settings = Rule::ALL.map(Rule::default_setting);
    // What tells no time of its own has been so for longer than any grace.
    let mut noticed = notice(&NOTICED, &find(&facts, &settings));
    noticed.values_mut().for_each(|since| *since -= SignedDuration::from_hours(25));
    let lasting = FleetFacts { noticed: &noticed, ..facts };
    let mut troubles = gather(find(&lasting, &settings), &house.repositories);
    troubles.retain(|trouble| trouble.ripe);
    troubles
}

fn titles(troubles: &[Trouble]) -> Vec<&str> {
    troubles.iter().map(|trouble| trouble.title.as_str()).collect()
}

#[test]
fn a_fleet_that_is_well_is_left_in_peace() {
    assert_eq!(titles(&troubles(&House::well(5, NOON))), [""; 0]);
}

#[test]
fn every_reason_rings_or_does_not_as_the_table_says() {
    let table = [
        (Cause::CheckFailed, Some(Rule::CheckFailed)),
        (Cause::ClockOff, Some(Rule::ClockOff)),
        (Cause::Endless, Some(Rule::Endless)),
        (Cause::Failed, Some(Rule::Failed)),
        (Cause::Interrupted, Some(Rule::Failed)),
        (Cause::Missed, Some(Rule::Missed)),
        (Cause::NoBackup, None),
        (Cause::NoGroups, None),
        (Cause::NotEnrolled, None),
        (Cause::Offline, None),
        (Cause::Overdue, None),
        (Cause::Partial, Some(Rule::Partial)),
        (Cause::Paused, None),
        (Cause::PruneOverdue, Some(Rule::PruneOverdue)),
        (Cause::SnapshotMissing, Some(Rule::Unverified)),
        (Cause::SnapshotUnseen, Some(Rule::Unverified)),
        (Cause::Stale, Some(Rule::Stale)),
        (Cause::StorageLow, Some(Rule::StorageLow)),
    ];
    for (cause, rule) in table {
        let mut house = House::well(2, NOON);
        house.hosts[1].groups[0].verdict.reasons = vec![reason(cause, "2026-11-21T03:00:00Z")];
        let found: Vec<Rule> = troubles(&house).iter().map(|trouble| trouble.rule).collect();
        assert_eq!(found, Vec::from_iter(rule), "{cause:?}");
    }
}

#[test]
fn nobody_hears_of_it_before_its_grace_is_over() {
    let mut house = House::well(1, NOON);
    house.away(0, "2026-11-20T12:00:01Z");
    assert_eq!(titles(&troubles(&house)), [""; 0]);
    house.now = at("2026-11-21T12:00:01Z");
    assert_eq!(titles(&troubles(&house)), ["web-0 is away, and so are its backups."]);
}

#[test]
fn a_server_that_was_away_itself_calls_nobody_missing() {
    let mut house = House::well(1, NOON);
    house.away(0, "2026-11-11T12:00:00Z");
    let started = at("2026-11-21T11:59:00Z");
    assert_eq!(troubles_with(&house, |facts| facts.server_since = started), []);
}

#[test]
fn one_dead_repository_server_is_one_alert() {
    let mut house = House::well(40, NOON);
    for index in 0..40 {
        // Each host has a repository of its own on the one server.
        house.fail(index, "repository_unreachable");
    }
    let found = troubles(&house);
    assert_eq!(titles(&found), ["The repository server backup.example:8000 is down."]);
    assert_eq!((found[0].subjects.len(), found[0].occurrences.len()), (40, 40));
    let told = "40 source groups on 40 hosts are affected.";
    assert!(found[0].cause.ends_with(told), "{}", found[0].cause);
}

#[test]
fn failures_with_causes_of_their_own_stay_apart() {
    let mut house = House::well(3, NOON);
    house.fail(0, "wrong_password");
    house.fail(1, "wrong_password");
    house.fail(2, "source_missing");
    assert_eq!(
        titles(&troubles(&house)),
        [
            "The backup of `etc` on web-2 failed.",
            "The password of the repository `vault-0` is wrong.",
            "The password of the repository `vault-1` is wrong.",
        ]
    );
}

#[test]
fn a_full_disk_of_one_host_is_not_another_hosts_trouble() {
    let mut house = House::well(2, NOON);
    house.local_repositories();
    house.fail(0, "storage_full");
    house.fail(1, "storage_full");
    assert_eq!(troubles(&house).len(), 2);
}

#[test]
fn a_dead_host_rings_once_from_its_first_missed_run_to_the_end() {
    let mut house = House::well(1, "2026-11-22T03:16:00Z");
    house.away(0, "2026-11-21T20:00:00Z");
    house.miss(0, "2026-11-22T03:15:10Z");
    let mut alerts: Vec<Alert> = Vec::new();
    let mut opened = 0;
    for hours in 0..72 {
        house.now = at("2026-11-22T03:16:00Z") + SignedDuration::from_hours(hours);
        house.own_backup.made_at = Some(house.now);
        house.age(0);
        for change in reconcile(alerts.clone(), troubles(&house), house.now) {
            match change {
                Change::Opened(alert) => {
                    opened += 1;
                    alerts.push(alert);
                }
                Change::Changed(alert) => alerts = vec![alert],
                Change::Resolved(_) => panic!("it is not over"),
            }
        }
    }
    assert_eq!(opened, 1);
    assert_eq!(alerts[0].severity, Severity::Critical, "it has grown stale");
    assert_eq!(alerts[0].title, "web-0 is away, and so are its backups.");
}

#[test]
fn a_host_that_comes_back_may_make_up_before_anybody_calls_it_stale() {
    let mut house = House::well(1, NOON);
    let stale = reason(Cause::Stale, "2026-11-15T00:00:00Z");
    house.hosts[0].groups[0].verdict.reasons = vec![stale];
    house.hosts[0].connected_since = Some(at("2026-11-21T11:59:00Z"));
    assert_eq!(troubles(&house), []);
    house.now = at("2026-11-21T12:59:00Z");
    assert_eq!(titles(&troubles(&house)), ["The newest snapshot of `etc` on web-0 is too old."]);
}

#[test]
fn a_stale_group_that_fails_is_one_trouble() {
    let mut house = House::well(1, NOON);
    house.fail(0, "source_missing");
    let stale = reason(Cause::Stale, "2026-11-21T01:00:00Z");
    house.hosts[0].groups[0].verdict.reasons.push(stale);
    assert_eq!(titles(&troubles(&house)), ["The backup of `etc` on web-0 failed."]);
}

#[test]
fn a_copy_of_a_machine_rings_while_it_knocks() {
    let mut house = House::well(1, NOON);
    let refused = [RefusedAgent { host_id: house.hosts[0].id, at: at("2026-11-21T11:45:00Z") }];
    let found = troubles_with(&house, |facts| facts.refused = &refused);
    assert_eq!(titles(&found), ["Another machine uses the identity of web-0."]);
    house.now = at("2026-11-21T12:15:01Z");
    assert_eq!(troubles_with(&house, |facts| facts.refused = &refused), []);
}

#[test]
fn too_much_that_waits_rings_on_either_side() {
    let mut house = House::well(2, NOON);
    let crowded = [Crowded { host_id: house.hosts[0].id, waiting: 950 }];
    house.hosts[1].queue_depth = 10_000;
    let found = troubles_with(&house, |facts| facts.crowded = &crowded);
    let causes: Vec<&str> = found.iter().map(|trouble| trouble.cause.as_str()).collect();
    assert!(
        causes[0].starts_with("950 commands") && causes[1].starts_with("Its agent holds 10000")
    );
}

#[test]
fn an_old_agent_is_told_of_and_an_old_patch_is_not() {
    for (version, rings) in [("1.3.9", true), ("0.9.0", true), ("1.4.0", false), ("dev", false)] {
        let mut house = House::well(1, NOON);
        house.hosts[0].agent_version = version.to_owned();
        let found = troubles(&house);
        assert_eq!(found.len(), usize::from(rings), "{version}");
        assert!(found.iter().all(|trouble| trouble.severity == Severity::Info));
    }
}

#[test]
fn what_is_wrong_with_a_repository_is_one_alert_for_all_who_use_it() {
    let mut house = House::well(3, NOON);
    house.share_repository();
    for host in &mut house.hosts {
        let reasons = &mut host.groups[0].verdict.reasons;
        reasons.push(reason(Cause::CheckFailed, "2026-11-21T03:00:00Z"));
        reasons.push(reason(Cause::PruneOverdue, "2026-11-21T03:00:00Z"));
    }
    let found = troubles(&house);
    assert_eq!(
        titles(&found),
        [
            "The check of the repository `vault-0` failed.",
            "The prune of the repository `vault-0` is overdue.",
        ]
    );
    assert!(found.iter().all(|trouble| trouble.subjects.len() == 3));
}

#[test]
fn a_full_disk_of_a_host_is_its_own_and_does_not_hide_that_backups_are_old() {
    let mut house = House::well(2, NOON);
    house.share_repository();
    for host in &mut house.hosts {
        let reasons = &mut host.groups[0].verdict.reasons;
        reasons.push(reason(Cause::StorageLow, "2026-11-21T03:00:00Z"));
    }
    let stale = reason(Cause::Stale, "2026-11-21T03:00:00Z");
    house.hosts[1].groups[0].verdict.reasons.push(stale);
    assert_eq!(
        titles(&troubles(&house)),
        [
            "The newest snapshot of `etc` on web-1 is too old.",
            "The disk of the repository `vault-0` on web-0 is nearly full.",
            "The disk of the repository `vault-0` on web-1 is nearly full.",
        ]
    );
}

#[test]
fn a_lock_that_sticks_is_a_rule_of_its_own() {
    let mut house = House::well(1, NOON);
    house.fail(0, "repository_locked");
    let found = troubles(&house);
    assert_eq!(titles(&found), ["The repository `vault-0` stays locked."]);
    assert_eq!(found[0].rule, Rule::LockStuck);
}

#[test]
fn the_servers_own_backup_rings_when_it_fails_is_late_or_was_never_set_up() {
    let told = |own_backup: OwnBackup| {
        let mut house = House::well(1, NOON);
        house.own_backup = own_backup;
        let found = troubles(&house);
        found.first().map(|trouble| (trouble.title.clone(), trouble.severity))
    };
    let made = |time: &str| OwnBackup { made_at: Some(at(time)), ..OwnBackup::default() };
    let failed = OwnBackup {
        failed_at: Some(at("2026-11-21T03:00:00Z")),
        error: Some("restic could not store the copy.".to_owned()),
        ..made("2026-11-20T03:00:00Z")
    };
    let ringing = |title: &str, severity| Some((title.to_owned(), severity));
    let critical = |title| ringing(title, Severity::Critical);
    assert_eq!(told(failed), critical("The backup of the control plane failed."));
    assert_eq!(told(made("2026-11-19T12:00:01Z")), None);
    let late = made("2026-11-19T12:00:00Z");
    assert_eq!(told(late), critical("The backup of the control plane is overdue."));
    let never = "The control plane itself is not backed up.";
    assert_eq!(told(OwnBackup::default()), ringing(never, Severity::Info));
}

#[test]
fn a_database_that_was_set_back_is_told_of_by_the_fleet() {
    let house = House::well(2, NOON);
    let ahead = ("web-1".to_owned(), at("2026-11-21T11:45:00Z"));
    let found = troubles_with(&house, |facts| facts.ahead = Some(&ahead));
    assert_eq!(titles(&found), ["The server's database is older than its agents remember."]);
    assert_eq!(found[0].cause, "web-1 has met a later state of it.");
}

#[test]
fn a_lost_outbox_is_told_of() {
    let house = House::well(1, NOON);
    let reset = [ResetOutbox { host_id: house.hosts[0].id, at: at("2026-11-21T11:45:00Z") }];
    let found = troubles_with(&house, |facts| facts.reset = &reset);
    assert_eq!(titles(&found), ["What web-0 told may have a gap."]);
}

#[test]
fn a_digest_says_first_what_is_to_be_done() {
    use std::collections::BTreeMap;

    use crate::alert::digest::{DigestFacts, write};
    let mut house = House::well(3, NOON);
    house.hosts[1].verdict.standing = crate::verdict::Standing::Stale;
    house.hosts[1].verdict.reasons = vec![reason(Cause::Stale, "2026-11-20T03:00:00Z")];
    house.fail(2, "source_missing");
    let mut alerts = Vec::new();
    look(&mut alerts, &house);
    let backups = BTreeMap::from([("succeeded", 20), ("failed", 1), ("interrupted", 1)]);
    let facts = |host| DigestFacts {
        from: at("2026-11-14T12:00:00Z"),
        until: at(NOON),
        zone: jiff::tz::TimeZone::get("Europe/Berlin").unwrap(),
        host,
        hosts: &house.hosts,
        backups: &backups,
        alerts: &alerts,
        repositories: &[],
        own_backup: &house.own_backup,
    };
    let digest = write(&facts(None));
    assert_eq!(digest.title, "Backups: 2 of 3 hosts are protected.");
    assert_eq!(
        digest.text,
        "From 2026-11-14 13:00 to 2026-11-21 13:00.\n\n\
         Not protected:\n- web-1: It went wrong.\n\n\
         Backups: 20 good, 2 failed.\n\n\
         Alerts: 1 opened, 0 resolved, 1 still open:\n\
         - The backup of `etc` on web-2 failed. Since 2026-11-21 04:00.\n\n\
         The control plane's own backup is of 2026-11-21 13:00."
    );
    let of_one = write(&facts(Some(house.hosts[0].id)));
    assert_eq!(of_one.title, "Backups are well: 1 of 1 hosts are protected.");
    assert!(of_one.text.ends_with("Alerts: 0 opened, 0 resolved, none open."), "{}", of_one.text);
}

#[test]
fn what_a_policy_forbids_is_told_as_such() {
    // What the agent says.
    for code in ["refused_by_policy", "policy_unusable"] {
        let mut house = House::well(1, NOON);
        house.fail(0, code);
        assert_eq!(troubles(&house)[0].rule, Rule::PolicyRefused, "{code}");
    }
}

#[test]
fn a_refused_job_that_is_no_backup_is_told_too() {
    let house = House::well(2, NOON);
    let refused = |number: u128, operation| RefusedJob {
        host_id: house.hosts[0].id,
        job_id: JobId::from_uuid(Uuid::from_u128(number)),
        operation,
        at: house.now,
        message: "This host's policy does not allow it.".to_owned(),
    };
    let jobs = [refused(2, Operation::Restore), refused(1, Operation::Prune)];
    let found = troubles_with(&house, |facts| facts.refused_jobs = &jobs);
    assert_eq!(found[0].rule, Rule::PolicyRefused);
    assert_eq!(titles(&found), ["web-0 refused a job: `restore`."]);
}

#[test]
fn a_rule_that_is_switched_off_finds_nothing() {
    let mut house = House::well(1, NOON);
    house.fail(0, "source_missing");
    let facts = FleetFacts {
        now: house.now,
        server_since: house.now,
        version: "1.4.2",
        hosts: &house.hosts,
        refused: &[],
        crowded: &[],
        reset: &[],
        refused_jobs: &[],
        own_backup: &house.own_backup,
        ahead: None,
        noticed: &NOTICED,
    };
    let mut settings = Rule::ALL.map(Rule::default_setting);
    assert_eq!(find(&facts, &settings).len(), 1);
    let failed = settings.iter_mut().find(|setting| setting.rule == Rule::Failed);
    failed.unwrap().enabled = false;
    assert_eq!(find(&facts, &settings).len(), 0);
}

/// One look: what changed, by kind, and the alerts afterwards.
fn look(alerts: &mut Vec<Alert>, house: &House) -> Vec<&'static str> {
    let changes = reconcile(alerts.clone(), troubles(house), house.now);
    let mut told = Vec::new();
    for change in changes {
        let (word, alert) = match change {
            Change::Opened(alert) => ("opened", alert),
            Change::Changed(alert) => ("changed", alert),
            Change::Resolved(alert) => ("resolved", alert),
        };
        told.push(word);
        alerts.retain(|known| known.id != alert.id);
        alerts.push(alert);
    }
    told
}

#[test]
fn an_alert_is_opened_once_counts_and_resolves_itself() {
    let mut house = House::well(1, NOON);
    let mut alerts = Vec::new();
    house.fail(0, "source_missing");
    assert_eq!(look(&mut alerts, &house), ["opened"]);
    assert_eq!(look(&mut alerts, &house), [""; 0], "the same again is no news");
    house.fail(0, "source_missing");
    assert_eq!(look(&mut alerts, &house), ["changed"]);
    assert_eq!((alerts[0].count, alerts[0].first_seen_at), (2, at(NOON)));
    house.hosts[0] = host(0, NOON);
    house.now = at("2026-11-21T13:00:00Z");
    assert_eq!(look(&mut alerts, &house), ["resolved"]);
    assert_eq!(alerts[0].resolved_at, Some(house.now));
    assert_eq!(look(&mut alerts, &house), [""; 0]);
}

#[test]
fn what_flaps_is_one_alert_and_what_returns_later_is_another() {
    let mut house = House::well(1, NOON);
    let mut alerts = Vec::new();
    let well = host(0, NOON);
    house.fail(0, "source_missing");
    let failing = house.hosts[0].clone();
    look(&mut alerts, &house);
    alerts[0].state = State::Acknowledged;
    alerts[0].acknowledged_at = Some(house.now);
    house.hosts[0] = well.clone();
    assert_eq!(look(&mut alerts, &house), ["resolved"]);
    house.now = at("2026-11-21T12:59:00Z");
    house.hosts[0] = failing.clone();
    assert_eq!(look(&mut alerts, &house), ["changed"]);
    assert_eq!((alerts.len(), alerts[0].state), (1, State::Acknowledged));
    house.hosts[0] = well;
    assert_eq!(look(&mut alerts, &house), ["resolved"]);
    house.now = at("2026-11-21T14:00:00Z");
    house.hosts[0] = failing;
    // What was resolved long ago is not among what is compared.
    let mut later = Vec::new();
    assert_eq!(look(&mut later, &house), ["opened"]);
    assert_ne!(later[0].id, alerts[0].id);
}

#[test]
fn an_alert_that_lasts_is_noted_now_and_then() {
    let mut house = House::well(1, NOON);
    let mut alerts = Vec::new();
    house.fail(0, "source_missing");
    look(&mut alerts, &house);
    house.now = at("2026-11-21T12:09:59Z");
    assert_eq!(look(&mut alerts, &house), [""; 0]);
    house.now = at("2026-11-21T12:10:00Z");
    assert_eq!(look(&mut alerts, &house), ["changed"]);
    assert_eq!((alerts[0].last_seen_at, alerts[0].count), (house.now, 1));
}

#[test]
fn the_words_of_rules_states_and_severities_lead_back() {
    for rule in Rule::ALL {
        assert_eq!(Rule::from_word(rule.as_str()), Some(rule));
        assert!(rule.default_setting().grace >= SignedDuration::ZERO);
    }
    for state in [State::Open, State::Acknowledged, State::Resolved] {
        assert_eq!(State::from_word(state.as_str()), Some(state));
    }
    for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
        assert_eq!(Severity::from_word(severity.as_str()), Some(severity));
    }
}
