//! The table by hand: what each misfortune makes of a source group that was well.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Noon, nine hours after a good nightly backup that the repository was seen to hold.
fn well() -> Facts {
    let night = "2026-11-21T03:00:";
    Facts {
        now: at("2026-11-21T12:00:00Z"),
        objective: SignedDuration::from_hours(26),
        host: HostFacts {
            enrolled: true,
            online: true,
            last_seen_at: Some(at("2026-11-21T11:59:50Z")),
            clock_offset_ms: Some(12),
        },
        plan: Plan::Due {
            previous: Some(at("2026-11-21T03:00:00Z")),
            next: Some(at("2026-11-22T03:00:00Z")),
        },
        last: Some(run(Status::Succeeded)),
        ran: Some(run(Status::Succeeded)),
        claim: Some(Claim {
            snapshot_id: "abc12345".to_owned(),
            began_at: at(&format!("{night}01Z")),
            finished_at: at(&format!("{night}40Z")),
            ended_at: at(&format!("{night}41Z")),
        }),
        seen: Some(Seen {
            snapshot_id: "abc12345ff".to_owned(),
            taken_at: at(&format!("{night}02Z")),
            first_seen_at: at(&format!("{night}45Z")),
        }),
        listed_at: Some(at(&format!("{night}44Z"))),
        last_run_at: Some(at("2026-11-21T03:00:00Z")),
        running_since: None,
        upkeep: Upkeep::default(),
    }
}

fn run(status: Status) -> Ended {
    let job_id = JobId::from_uuid(uuid::Uuid::from_u128(7));
    Ended { job_id, ended_at: at("2026-11-21T03:00:41Z"), status, error: None }
}

fn changed(change: impl FnOnce(&mut Facts)) -> Verdict {
    let mut facts = well();
    change(&mut facts);
    judge(&facts)
}

fn codes(verdict: &Verdict) -> Vec<Cause> {
    verdict.reasons.iter().map(|reason| reason.code).collect()
}

type Change = fn(&mut Facts);

#[test]
fn every_misfortune_is_judged_as_the_table_says() {
    let table: Vec<(&str, Change, Standing, Vec<Cause>)> = vec![
        ("nothing", |_| {}, Standing::Protected, vec![]),
        ("failed", |f| end(f, Status::Failed), Standing::AtRisk, vec![Cause::Failed]),
        (
            "interrupted",
            |f| end(f, Status::Interrupted),
            Standing::AtRisk,
            vec![Cause::Interrupted],
        ),
        ("partial", |f| end(f, Status::Partial), Standing::AtRisk, vec![Cause::Partial]),
        ("missed", |f| end(f, Status::Missed), Standing::AtRisk, vec![Cause::Missed]),
        ("no run ended", |f| f.last = None, Standing::Protected, vec![]),
        ("never ran", never_ran, Standing::Never, vec![Cause::NoBackup]),
        ("first is running", first_runs, Standing::Never, vec![Cause::NoBackup]),
        ("never enrolled", never_enrolled, Standing::Never, vec![Cause::NotEnrolled]),
        ("lied, and nothing older is there", lied_first, Standing::Never, lie()),
        ("lied, with an older snapshot", lied_later, Standing::AtRisk, lie()),
        ("claimed a minute ago", claimed_now, Standing::AtRisk, vec![Cause::SnapshotUnseen]),
        ("claimed a minute ago, older is there", claimed_again, Standing::Protected, vec![]),
        ("never listed", never_listed, Standing::Never, vec![Cause::SnapshotUnseen]),
        ("claimed an id of two letters", short_id, Standing::AtRisk, lie()),
        ("a newer snapshot was seen", newer_seen, Standing::Protected, vec![]),
        ("too old", too_old, Standing::Stale, vec![Cause::Stale]),
        (
            "too old and failing",
            old_and_failing,
            Standing::Stale,
            vec![Cause::Stale, Cause::Failed],
        ),
        ("snapshot dated in the future", future_snapshot, Standing::Stale, vec![Cause::Stale]),
        ("slot passed", slot_passed, Standing::AtRisk, vec![Cause::Overdue]),
        ("slot passed, marked missed", slot_missed, Standing::AtRisk, vec![Cause::Missed]),
        ("slot passed just now", slot_just_passed, Standing::Protected, vec![]),
        ("slot passed while a run goes on", slot_in_run, Standing::Protected, vec![]),
        ("run of two days", endless, Standing::AtRisk, vec![Cause::Endless]),
        ("away for a night", |f| away(f, 10), Standing::Protected, vec![]),
        ("away for two days", |f| away(f, 48), Standing::AtRisk, vec![Cause::Offline]),
        ("clock ahead", |f| clock(f, 61_000), Standing::AtRisk, vec![Cause::ClockOff]),
        ("clock behind", |f| clock(f, -7_200_000), Standing::AtRisk, vec![Cause::ClockOff]),
        ("clock a little off", |f| clock(f, 59_999), Standing::Protected, vec![]),
        ("switched off", |f| f.plan = Plan::Paused, Standing::Paused, vec![Cause::Paused]),
        ("switched off and failing", paused_failing, Standing::Paused, vec![Cause::Paused]),
        ("its repository's check failed", unchecked, Standing::AtRisk, vec![Cause::CheckFailed]),
        ("forgotten a month ago", |f| forgotten(f, 34), Standing::Protected, vec![]),
        (
            "forgotten, not pruned",
            |f| forgotten(f, 36),
            Standing::AtRisk,
            vec![Cause::PruneOverdue],
        ),
        ("forgotten, pruned tomorrow", |f| forgotten_weekly(f, 24), Standing::Protected, vec![]),
        (
            "forgotten, and Sunday's prune did not come",
            |f| forgotten_weekly(f, 8 * 24),
            Standing::AtRisk,
            vec![Cause::PruneOverdue],
        ),
        ("hardly any room", no_room, Standing::AtRisk, vec![Cause::StorageLow]),
        ("switched off, hardly any room", paused_no_room, Standing::Paused, vec![Cause::Paused]),
        ("no schedule", |f| f.plan = Plan::OnRequest, Standing::Protected, vec![]),
    ];
    for (what, change, standing, causes) in table {
        let verdict = changed(change);
        assert_eq!((verdict.standing, codes(&verdict)), (standing, causes), "{what}");
        for reason in &verdict.reasons {
            assert!(reason.message.ends_with('.') && reason.action.ends_with('.'), "{reason:?}");
        }
    }
}

fn unchecked(facts: &mut Facts) {
    facts.upkeep.check_failed = Some(run(Status::Failed));
}

fn forgotten(facts: &mut Facts, days: i64) {
    let forgot_at = facts.now - SignedDuration::from_hours(days * 24);
    facts.upkeep.unpruned = Some(Unpruned::new(forgot_at, None));
}

/// Forgotten so many hours ago where every Sunday at 04:00 is pruned; now is Saturday noon.
fn forgotten_weekly(facts: &mut Facts, hours: i64) {
    let forgot_at = facts.now - SignedDuration::from_hours(hours);
    let cadence = Calendar::parse("0 4 * * 0", "UTC", forgot_at).unwrap();
    facts.upkeep.unpruned = Some(Unpruned::new(forgot_at, Some(&cadence)));
}

#[test]
fn a_prune_is_overdue_a_day_after_its_own_slot_and_not_before() {
    let forgot_at = at("2026-11-10T12:00:00Z");
    let due = |cron: &str| {
        let cadence = Calendar::parse(cron, "UTC", forgot_at).unwrap();
        Unpruned::new(forgot_at, Some(&cadence)).due_at
    };
    assert_eq!(due("0 4 * * *"), at("2026-11-12T04:00:00Z"));
    assert_eq!(due("0 4 * * 0"), at("2026-11-16T04:00:00Z"));
    // Twice a year is what somebody wants, and no neglect.
    assert_eq!(due("0 4 1 1,7 *"), at("2027-01-02T04:00:00Z"));
    assert_eq!(Unpruned::new(forgot_at, None).due_at, at("2026-12-15T12:00:00Z"));
}

fn no_room(facts: &mut Facts) {
    let since = at("2026-11-20T12:00:00Z");
    facts.upkeep.low_room = Some(LowRoom { since, free_percent: 4 });
}

fn paused_no_room(facts: &mut Facts) {
    no_room(facts);
    facts.plan = Plan::Paused;
}

fn lie() -> Vec<Cause> {
    vec![Cause::SnapshotMissing]
}

fn end(facts: &mut Facts, status: Status) {
    facts.last = Some(run(status));
}

fn never_ran(facts: &mut Facts) {
    (facts.last, facts.claim, facts.seen, facts.listed_at) = (None, None, None, None);
}

fn first_runs(facts: &mut Facts) {
    never_ran(facts);
    facts.running_since = Some(at("2026-11-21T11:00:00Z"));
}

fn never_enrolled(facts: &mut Facts) {
    never_ran(facts);
    facts.host = HostFacts::default();
    facts.plan = Plan::OnRequest;
}

fn lied_first(facts: &mut Facts) {
    facts.seen = None;
}

fn yesterday() -> Seen {
    Seen {
        snapshot_id: "0ld".to_owned(),
        taken_at: at("2026-11-20T15:00:00Z"),
        first_seen_at: at("2026-11-20T15:01:00Z"),
    }
}

fn lied_later(facts: &mut Facts) {
    facts.seen = Some(yesterday());
}

fn claimed_now(facts: &mut Facts) {
    claim_at(facts, "2026-11-21T11:59:00Z");
    (facts.seen, facts.listed_at) = (None, None);
}

fn claimed_again(facts: &mut Facts) {
    claim_at(facts, "2026-11-21T11:59:00Z");
    facts.seen = Some(yesterday());
}

fn claim_at(facts: &mut Facts, time: &str) {
    let time = at(time);
    facts.claim = Some(Claim {
        snapshot_id: "new".to_owned(),
        began_at: time,
        finished_at: time,
        ended_at: time,
    });
}

fn never_listed(facts: &mut Facts) {
    (facts.seen, facts.listed_at) = (None, None);
}

fn short_id(facts: &mut Facts) {
    facts.claim.as_mut().unwrap().snapshot_id = "0l".to_owned();
    facts.seen = Some(yesterday());
}

fn newer_seen(facts: &mut Facts) {
    facts.seen.as_mut().unwrap().snapshot_id = "other".to_owned();
}

fn too_old(facts: &mut Facts) {
    facts.objective = SignedDuration::from_hours(8);
}

fn old_and_failing(facts: &mut Facts) {
    too_old(facts);
    end(facts, Status::Failed);
}

fn future_snapshot(facts: &mut Facts) {
    let seen = facts.seen.as_mut().unwrap();
    seen.taken_at = at("2190-01-01T00:00:00Z");
    seen.first_seen_at = at("2026-11-10T00:00:00Z");
}

fn slot_passed(facts: &mut Facts) {
    let next = Some(at("2026-11-21T18:00:00Z"));
    facts.plan = Plan::Due { previous: Some(at("2026-11-21T11:00:00Z")), next };
}

fn slot_missed(facts: &mut Facts) {
    slot_passed(facts);
    end(facts, Status::Missed);
}

fn slot_just_passed(facts: &mut Facts) {
    facts.plan = Plan::Due { previous: Some(at("2026-11-21T11:50:00Z")), next: None };
}

fn slot_in_run(facts: &mut Facts) {
    slot_passed(facts);
    facts.running_since = Some(at("2026-11-21T10:00:00Z"));
}

fn endless(facts: &mut Facts) {
    facts.running_since = Some(at("2026-11-19T12:00:00Z"));
}

fn away(facts: &mut Facts, hours: i64) {
    facts.host.online = false;
    facts.host.last_seen_at = Some(facts.now - SignedDuration::from_hours(hours));
}

fn clock(facts: &mut Facts, offset_ms: i64) {
    facts.host.clock_offset_ms = Some(offset_ms);
}

fn paused_failing(facts: &mut Facts) {
    facts.plan = Plan::Paused;
    end(facts, Status::Failed);
}

#[test]
fn a_failure_says_what_the_job_said() {
    let verdict = changed(|facts| {
        let error = JobError {
            code: "storage_full".to_owned(),
            message: "The disk is full.".to_owned(),
            action: "Make room.".to_owned(),
        };
        facts.last = Some(Ended { error: Some(error), ..run(Status::Failed) });
    });
    assert_eq!(verdict.reasons[0].message, "The last backup failed: The disk is full.");
    assert_eq!(verdict.reasons[0].action, "Make room.");
    assert_eq!(verdict.reasons[0].error_code.as_deref(), Some("storage_full"));
    assert_eq!(verdict.reasons[0].since, Some(at("2026-11-21T03:00:41Z")));
}

/// The moment that is promised must be one at which the answer is another.
#[test]
fn a_silent_group_turns_red_exactly_when_it_was_foretold() {
    let mut facts = well();
    facts.host.online = false;
    let mut seen = Vec::new();
    while let Some(until) = judge(&facts).until {
        facts.now = until;
        let before = judge(&facts);
        facts.now = until + SignedDuration::from_millis(1);
        let after = judge(&facts);
        if before.standing != after.standing || codes(&before) != codes(&after) {
            seen.push((until, after.standing, codes(&after)));
        }
    }
    let stale = at("2026-11-22T05:00:02Z");
    let away = at("2026-11-22T11:59:50Z");
    assert_eq!(
        seen,
        [
            (stale, Standing::Stale, vec![Cause::Stale]),
            (away, Standing::Stale, vec![Cause::Stale, Cause::Offline]),
        ]
    );
}

#[test]
fn a_host_stands_as_its_worst_group() {
    let good = judge(&well());
    let bad = changed(lied_first);
    let paused = changed(|facts| facts.plan = Plan::Paused);
    let host = judge_host(true, [("etc", &good), ("srv", &bad), ("tmp", &paused)].into_iter());
    assert_eq!(host.standing, Standing::Never);
    let named: Vec<_> = host.reasons.iter().map(|it| it.group.as_deref().unwrap()).collect();
    assert_eq!(named, ["srv", "tmp"]);
    assert_eq!(host.restorable_at, None, "one of its groups cannot be brought back");
    let fine = judge_host(true, [("etc", &good)].into_iter());
    assert_eq!((fine.standing, fine.reasons.len()), (Standing::Protected, 0));
    assert_eq!(fine.restorable_at, good.restorable_at);
}

#[test]
fn a_host_without_groups_is_not_protected() {
    let bare = judge_host(true, [].into_iter());
    assert_eq!((bare.standing, codes(&bare)), (Standing::Never, vec![Cause::NoGroups]));
    let pending = judge_host(false, [].into_iter());
    assert_eq!((pending.standing, codes(&pending)), (Standing::Never, vec![Cause::NotEnrolled]));
}

#[test]
fn the_order_of_standings_is_from_best_to_worst() {
    use Standing::{AtRisk, Never, Paused, Protected, Stale};
    let mut all = [Never, Protected, Stale, Paused, AtRisk];
    all.sort();
    assert_eq!(all, [Protected, Paused, AtRisk, Stale, Never]);
}
