//! A job from order to end, and what records may and may not change.

use std::collections::BTreeSet;

use holdfast_link::Store as _;
use holdfast_protocol::{
    JobId, Message,
    message::{
        command,
        job::{Finished, NextTry, Started, StateChange, Status},
        schedule,
    },
};
use holdfast_server::store::{Cancelled, JobFilter, NewSchedule};
use jiff::{Timestamp, tz::TimeZone};
use uuid::Uuid;

use crate::fleet::{self, Fleet, finished, record, started};

#[tokio::test]
async fn a_job_goes_from_order_to_end_across_restarts() {
    let mut fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();

    fleet.restart().await;
    let session = fleet.session(&host, 1).await;
    let waiting = session.load(0, 100).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].seq, waiting[0].kind.as_str()), (1, "command.run"));
    let run: command::Run = waiting[0].payload.parse().unwrap();
    assert_eq!((run.job_id, run.tag.as_str()), (job, "etc"));
    assert_eq!(run.includes, ["/etc"]);

    let accepted = Message::CommandResult(command::Outcome {
        job_id: job,
        command: command::Verb::Run,
        accepted: true,
        error: None,
    });
    session.apply(vec![record(1, &accepted), record(2, &started(job))]).await.unwrap();
    session.forget(1).await.unwrap();
    assert_eq!(fleet.job(job).await.status, Status::Running);

    fleet.restart().await;
    let session = fleet.session(&host, 2).await;
    let positions = session.positions().await.unwrap();
    assert_eq!((positions.received, positions.oldest, positions.next), (2, 2, 2));
    let end = finished(job, Status::Succeeded);
    session.apply(vec![record(3, &end)]).await.unwrap();
    let ended = fleet.job(job).await;
    assert_eq!(ended.status, Status::Succeeded);
    assert_eq!(ended.snapshot_id.as_deref(), Some("abc123"));
    assert_eq!(ended.exit_code, Some(0));
}

#[tokio::test]
async fn a_replayed_record_changes_nothing() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let story = vec![record(1, &started(job)), record(2, &finished(job, Status::Failed))];
    session.apply(story.clone()).await.unwrap();
    let before = fleet.job(job).await;
    session.apply(story).await.unwrap();
    session.apply(vec![record(1, &finished(job, Status::Succeeded))]).await.unwrap();
    assert_eq!(fleet.job(job).await, before);
    assert_eq!(session.positions().await.unwrap().received, 2);
}

#[tokio::test]
async fn a_record_out_of_turn_is_refused_and_changes_nothing() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(2, &started(job))]).await.unwrap_err();
    session.apply(vec![record(1, &started(job)), record(3, &started(job))]).await.unwrap_err();
    assert_eq!(fleet.job(job).await.status, Status::Queued);
    assert_eq!(session.positions().await.unwrap().received, 0);
}

#[tokio::test]
async fn a_session_that_was_overtaken_writes_nothing() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let older = fleet.session(&host, 1).await;
    let newer = fleet.session(&host, 1).await;
    let error = older.apply(vec![record(1, &started(job))]).await.unwrap_err();
    assert!(fleet::chain(&error).contains("a newer session has taken over"), "{error:?}");
    older.forget(1).await.unwrap();
    older.receive(fleet::log(job, &[1])).await.unwrap();
    assert_eq!(fleet.job(job).await.status, Status::Queued);
    assert_eq!(newer.load(0, 10).await.unwrap().len(), 1, "the command still waits");
    newer.apply(vec![record(1, &started(job))]).await.unwrap();
    assert_eq!(fleet.job(job).await.status, Status::Running);
    newer.receive(fleet::log(job, &[2])).await.unwrap();
    let page = fleet::eventually(async || {
        let page = fleet.store.job_log(job, 0, 0).await.unwrap();
        (!page.lines.is_empty()).then_some(page)
    })
    .await;
    assert_eq!(page.lines[0].seq, 2, "the older session's line was not heard");
}

#[tokio::test]
async fn a_poisonous_record_is_set_aside_and_the_stream_goes_on() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let other = fleet.host("web-2").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let foreign = fleet.store.create_backup("ops", other.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let mut malformed = record(1, &started(job));
    malformed.payload = holdfast_protocol::Payload::from_text("[1,2]".to_owned()).unwrap();
    let mut unknown = record(2, &started(job));
    unknown.kind = "job.levitated".to_owned();
    let not_theirs = record(3, &finished(foreign, Status::Succeeded));
    let no_end = record(4, &finished(job, Status::Running));
    let not_for_us = record(5, &Message::CommandCancel(command::Cancel { job_id: job }));
    let good = record(6, &started(job));
    session.apply(vec![malformed, unknown, not_theirs, no_end, not_for_us, good]).await.unwrap();
    assert_eq!(session.positions().await.unwrap().received, 6);
    assert_eq!(fleet.job(job).await.status, Status::Running);
    assert_eq!(fleet.job(foreign).await.status, Status::Queued);
    assert_eq!(fleet.store.dead_letter_count(host.id).await.unwrap(), 5);
    assert_eq!(fleet.store.dead_letter_count(other.id).await.unwrap(), 0);
}

#[tokio::test]
async fn a_record_that_breaks_a_constraint_is_set_aside_alone() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let other = fleet.host("web-2").await;
    let rule = "CREATE UNIQUE INDEX one_own_job ON jobs (host_id) WHERE cause = 'schedule'";
    fleet::meddle(fleet.dir.path(), rule).await;
    let job = |number| JobId::from_uuid(Uuid::from_u128(number));
    let session = fleet.session(&host, 1).await;
    let neighbour = fleet.session(&other, 1).await;
    let story = vec![
        record(1, &started(job(1))),
        record(2, &started(job(2))),
        record(3, &finished(job(1), Status::Succeeded)),
    ];
    let (ours, theirs) =
        tokio::join!(session.apply(story), neighbour.apply(vec![record(1, &started(job(3)))]));
    ours.unwrap();
    theirs.unwrap();
    assert_eq!(fleet.store.dead_letter_count(host.id).await.unwrap(), 1);
    assert_eq!(fleet.job(job(1)).await.status, Status::Succeeded);
    assert_eq!(fleet.live().await.job(job(2)).await.unwrap_err().code(), "job_not_found");
    assert_eq!(fleet.job(job(3)).await.status, Status::Running);
    assert_eq!(session.positions().await.unwrap().received, 3);
}

#[tokio::test]
async fn a_host_whose_clock_is_ahead_does_not_lead_every_list() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let session = fleet.session(&host, 1).await;
    let job = JobId::from_uuid(Uuid::from_u128(77));
    let ahead: Timestamp = "2190-01-01T00:00:00Z".parse().unwrap();
    let Message::JobStarted(mut body) = started(job) else { unreachable!() };
    body.started_at = ahead;
    let Message::JobFinished(mut end) = finished(job, Status::Succeeded) else { unreachable!() };
    end.finished_at = ahead;
    let story = [Message::JobStarted(body), Message::JobFinished(end)];
    let records = story.iter().zip(1..).map(|(message, seq)| record(seq, message));
    session.apply(records.collect()).await.unwrap();
    assert!(fleet.job(job).await.created_at <= Timestamp::now());

    let next = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let records = vec![record(3, &started(next)), record(4, &finished(next, Status::Failed))];
    session.apply(records).await.unwrap();
    let live = fleet.live().await;
    assert_eq!(live.host(host.id).await.unwrap().last_backup.unwrap().job_id, next);
    assert_eq!(live.overview().await.unwrap().at_risk, 1);
}

#[tokio::test]
async fn every_status_change_is_as_the_table_says() {
    use Status::{Cancelled, Failed, Interrupted, Partial, Paused, Queued, Running, Succeeded};
    let change = |status| {
        move |job_id| {
            Message::JobState(StateChange { job_id, status, changed_at: Timestamp::now() })
        }
    };
    let end = |status| move |job_id| finished(job_id, status);
    type Make = Box<dyn Fn(JobId) -> Message>;
    let table: Vec<(Status, Make, Status)> = vec![
        (Queued, Box::new(started), Running),
        (Queued, Box::new(change(Paused)), Queued),
        (Queued, Box::new(end(Failed)), Failed),
        (Running, Box::new(change(Paused)), Paused),
        (Running, Box::new(end(Partial)), Partial),
        (Paused, Box::new(change(Running)), Running),
        (Paused, Box::new(end(Cancelled)), Cancelled),
        (Running, Box::new(end(Interrupted)), Interrupted),
        (Succeeded, Box::new(started), Succeeded),
        (Succeeded, Box::new(change(Paused)), Succeeded),
        (Succeeded, Box::new(end(Failed)), Succeeded),
        (Failed, Box::new(end(Succeeded)), Failed),
        (Interrupted, Box::new(started), Interrupted),
    ];
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let session = fleet.session(&host, 1).await;
    let mut seq = 0;
    for (from, message, to) in table {
        let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
        let mut story = match from {
            Queued => vec![],
            Running => vec![started(job)],
            Paused => vec![started(job), change(Paused)(job)],
            ended => vec![started(job), finished(job, ended)],
        };
        let last = message(job);
        let what = format!("{} on {}", last.kind(), from.as_str());
        story.push(last);
        let records = story.iter().map(|message| {
            seq += 1;
            record(seq, message)
        });
        session.apply(records.collect()).await.unwrap();
        assert_eq!(fleet.job(job).await.status, to, "{what}");
    }
}

#[tokio::test]
async fn the_agents_own_runs_appear_when_it_tells_of_them() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let nightly = NewSchedule {
        cron: "0 3 * * *".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        enabled: true,
        timing: Default::default(),
    };
    fleet.store.set_schedule("ops", host.id, "etc", &nightly).await.unwrap();
    let (_, set) = fleet.store.config(host.id).await.unwrap();
    let schedule_id = set.schedules[0].id;
    let scheduled_at: Timestamp = "2026-11-20T02:00:00Z".parse().unwrap();
    let job = JobId::of_slot(host.id, schedule_id, scheduled_at, 1);
    let fire = schedule::Fire::new(schedule_id, scheduled_at, vec![job]);
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &Message::ScheduleFire(fire))]).await.unwrap();
    let view = fleet.job(job).await;
    assert_eq!((view.status, view.group.as_str()), (Status::Queued, "etc"));
    session.apply(vec![record(2, &started(job))]).await.unwrap();
    session.apply(vec![record(3, &finished(job, Status::Succeeded))]).await.unwrap();
    assert_eq!(fleet.job(job).await.status, Status::Succeeded);
}

fn started_as(job_id: JobId, attempt: u32) -> Message {
    let Message::JobStarted(begun) = started(job_id) else { unreachable!() };
    Message::JobStarted(Started { attempt, ..begun })
}

/// The end of a try that another one follows.
fn failed(job_id: JobId, first: JobId, next: u32) -> Message {
    let Message::JobFinished(end) = finished(job_id, Status::Failed) else { unreachable!() };
    let not_before = "2100-01-01T00:00:00Z".parse().unwrap();
    let next_try = NextTry { job_id: first.of_attempt(next), attempt: next, not_before };
    Message::JobFinished(Finished { next_try: Some(next_try), ..end })
}

#[tokio::test]
async fn each_try_is_a_job_and_only_the_last_one_counts() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let first = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let (second, third) = (first.of_attempt(2), first.of_attempt(3));
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &started(first))]).await.unwrap();
    session.apply(vec![record(2, &failed(first, first, 2))]).await.unwrap();
    let (ended, waiting) = (fleet.job(first).await, fleet.job(second).await);
    assert_eq!((ended.status, ended.retried_by), (Status::Failed, Some(second)));
    assert_eq!((waiting.status, waiting.attempt), (Status::Queued, 2));
    assert_eq!((waiting.retry_of, waiting.group.as_str()), (Some(first), "etc"));
    assert!(waiting.not_before.is_some() && waiting.cancellable);
    let group = async || fleet.live().await.host(host.id).await.unwrap().groups.remove(0);
    assert_eq!(group().await.last_backup, None, "nothing has ended yet");
    let days = fleet.live().await.days(2, &TimeZone::UTC).await.unwrap();
    assert_ne!(days.hosts.get(&host.id).map(|row| row.contains('f')), Some(true), "{days:?}");

    session.apply(vec![record(3, &started_as(second, 2))]).await.unwrap();
    assert_eq!(fleet.job(second).await.not_before, None, "it runs");
    session.apply(vec![record(4, &failed(second, first, 3))]).await.unwrap();
    assert_eq!(fleet.job(third).await.retry_of, Some(first), "all lead to the first");
    let last = [started_as(third, 3), finished(third, Status::Failed)];
    session.apply(vec![record(5, &last[0]), record(6, &last[1])]).await.unwrap();
    assert_eq!(group().await.last_backup.unwrap().job_id, third);
    let days = fleet.live().await.days(2, &TimeZone::UTC).await.unwrap();
    assert_eq!(days.hosts.get(&host.id).map(|row| row.contains('f')), Some(true), "{days:?}");
}

#[tokio::test]
async fn whoever_cancels_a_try_that_failed_cancels_the_one_that_waits() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let first = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &started(first))]).await.unwrap();
    session.apply(vec![record(2, &failed(first, first, 2))]).await.unwrap();
    fleet.store.cancel_job("ops", first).await.unwrap();
    let sent = session.load(0, 100).await.unwrap();
    let cancel: command::Cancel = sent.last().unwrap().payload.parse().unwrap();
    assert_eq!(cancel.job_id, first.of_attempt(2));
    assert!(fleet.job(first.of_attempt(2)).await.cancel_requested);
}

#[tokio::test]
async fn a_next_try_that_is_none_is_set_aside_and_takes_no_id() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let first = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &started(first))]).await.unwrap();
    let other = JobId::from_uuid(Uuid::from_u128(7));
    session.apply(vec![record(2, &failed(first, other, 2))]).await.unwrap();
    session.apply(vec![record(3, &failed(first, first, 3))]).await.unwrap();
    assert_eq!(fleet.job(first).await.status, Status::Running, "neither took effect");
    let jobs = fleet.live().await.jobs(&Default::default()).await.unwrap().jobs;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
}

#[tokio::test]
async fn a_refused_command_ends_its_job_with_the_agents_reason() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let refused = Message::CommandResult(command::Outcome {
        job_id: job,
        command: command::Verb::Run,
        accepted: false,
        error: Some(fleet::job_error("restic_missing")),
    });
    session.apply(vec![record(1, &refused)]).await.unwrap();
    let view = fleet.job(job).await;
    assert_eq!(view.status, Status::Failed);
    assert_eq!(view.error.unwrap().code, "restic_missing");
}

#[tokio::test]
async fn cancelling_goes_through_the_agent_unless_there_is_none() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let asked = fleet.store.cancel_job("ops", job).await.unwrap();
    assert_eq!(asked, Cancelled::Asked { host: host.id });
    let view = fleet.job(job).await;
    assert_eq!((view.status, view.cancel_requested), (Status::Queued, true));

    // Until it has ended, others wait for it: it may have to make the repository.
    let agent = fleet.session(&host, 1).await;
    agent.apply(vec![record(1, &finished(job, Status::Cancelled))]).await.unwrap();

    let lonely = fleet.pending_host("web-2").await;
    let first = fleet.store.create_backup("ops", lonely.host_id, "etc").await.unwrap();
    let second = fleet.store.create_backup("ops", lonely.host_id, "etc").await.unwrap();
    assert_eq!(fleet.store.cancel_job("ops", first).await.unwrap(), Cancelled::AtOnce);
    assert_eq!(fleet.job(first).await.status, Status::Cancelled);
    let error = fleet.store.cancel_job("ops", first).await.unwrap_err();
    assert_eq!(error.code(), "job_ended");

    let host = fleet.enrol(&lonely).await;
    let session = fleet.session(&host, 1).await;
    let records = session.load(0, 10).await.unwrap();
    assert_eq!(records.len(), 1, "the cancelled job's command was taken back");
    let run: command::Run = records[0].payload.parse().unwrap();
    assert_eq!((records[0].seq, run.job_id), (1, second));
}

#[tokio::test]
async fn configuration_versions_rise_with_every_change() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let store = &fleet.store;
    let version = async || store.config(host.id).await.unwrap().0.version;
    let first = version().await;
    let weekly = NewSchedule {
        cron: "0 0 * * 0".into(),
        time_zone: "UTC".into(),
        enabled: true,
        timing: Default::default(),
    };
    store.set_schedule("ops", host.id, "etc", &weekly).await.unwrap();
    let second = version().await;
    assert!(second > first);
    store.remove_group("ops", host.id, "etc").await.unwrap();
    let (update, set) = store.config(host.id).await.unwrap();
    assert!(update.version > second);
    assert!(update.groups.is_empty() && update.repositories.is_empty());
    assert!(set.schedules.is_empty(), "a schedule goes with its group");
}

#[tokio::test]
async fn too_many_waiting_commands_are_refused() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    for _ in 0..holdfast_server::store::COMMANDS_MAX {
        fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    }
    let error = fleet.store.create_backup("ops", host.id, "etc").await.unwrap_err();
    assert_eq!(error.code(), "outbox_full");
}

#[tokio::test]
async fn a_page_of_jobs_leads_to_the_next_without_gap_or_repeat() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let mut made = BTreeSet::new();
    for _ in 0..7 {
        made.insert(fleet.store.create_backup("ops", host.id, "etc").await.unwrap());
    }
    let live = fleet.live().await;
    let mut seen = Vec::new();
    let mut filter = JobFilter { limit: 3, ..JobFilter::default() };
    loop {
        let page = live.jobs(&filter).await.unwrap();
        seen.extend(page.jobs.iter().map(|job| job.id));
        filter.before = page.next;
        if filter.before.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), made);
    filter.before = Some("rubbish".to_owned());
    assert_eq!(live.jobs(&filter).await.unwrap_err().code(), "invalid_cursor");
}

#[tokio::test]
async fn the_days_of_a_host_tell_how_its_backups_ended() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let session = fleet.session(&host, 1).await;
    for (index, status) in [Status::Succeeded, Status::Failed].into_iter().enumerate() {
        let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
        let seq = 2 * index as u64 + 1;
        let story = vec![record(seq, &started(job)), record(seq + 1, &finished(job, status))];
        session.apply(story).await.unwrap();
    }
    let days = fleet.live().await.days(2, &TimeZone::UTC).await.unwrap();
    assert_eq!(days.hosts.get(&host.id).map(|row| row.contains('w')), Some(true), "{days:?}");
}
