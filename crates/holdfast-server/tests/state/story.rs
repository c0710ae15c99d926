//! The store through its public face: what it keeps, what it refuses, and what a repeat changes.

use std::collections::BTreeSet;

use holdfast_link::Store as _;
use holdfast_protocol::{
    JobId, Message,
    message::{
        command,
        job::{StateChange, Status},
        log::{Line, Source, Stream},
        schedule, snapshot,
    },
};
use holdfast_server::store::{Cancelled, Error, HostStore, JobFilter, NewSchedule, Refusal};
use jiff::Timestamp;

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
    let job = |number| JobId::from_uuid(uuid::Uuid::from_u128(number));
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
    let job = JobId::from_uuid(uuid::Uuid::from_u128(77));
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
    };
    fleet.store.set_schedule("ops", host.id, "etc", &nightly).await.unwrap();
    let (_, set) = fleet.store.config(host.id).await.unwrap();
    let schedule_id = set.schedules[0].id;
    let scheduled_at: Timestamp = "2026-11-20T02:00:00Z".parse().unwrap();
    let job = JobId::of_slot(host.id, schedule_id, scheduled_at, 1);
    let fire = schedule::Fire { schedule_id, scheduled_at, job_ids: vec![job] };
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &Message::ScheduleFire(fire))]).await.unwrap();
    let view = fleet.job(job).await;
    assert_eq!((view.status, view.group.as_str()), (Status::Queued, "etc"));
    session.apply(vec![record(2, &started(job))]).await.unwrap();
    session.apply(vec![record(3, &finished(job, Status::Succeeded))]).await.unwrap();
    assert_eq!(fleet.job(job).await.status, Status::Succeeded);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_redeems_at_once_one_wins() {
    let fleet = Fleet::new().await;
    let new = fleet.store.add_host("ops", "web-1").await.unwrap();
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (store, enrolment) = (fleet.store.clone(), fleet::enrolment(&new.enrolment_token));
        tries.spawn(async move { store.enrol(&enrolment).await });
    }
    let outcomes = tries.join_all().await;
    let winners: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1);
    let used = |outcome: &&Result<_, Error>| matches!(outcome, Err(Error::EnrolmentTokenUsed));
    assert_eq!(outcomes.iter().filter(used).count(), 99);
    let token = winners[0].agent_token.expose();
    assert_eq!(fleet.store.agent_token(token).await.unwrap(), Some(new.host_id));
}

#[tokio::test]
async fn an_unknown_enrolment_token_and_a_superseded_one_are_refused() {
    let fleet = Fleet::new().await;
    let first = fleet.store.add_host("ops", "web-1").await.unwrap();
    let wrong = fleet::enrolment(&holdfast_server::token::TokenKind::Enrolment.mint());
    let error = fleet.store.enrol(&wrong).await.unwrap_err();
    assert_eq!(error.code(), "enrolment_token_invalid");
    let second = fleet.store.renew_enrolment("ops", first.host_id).await.unwrap();
    let error = fleet.store.enrol(&fleet::enrolment(&first.enrolment_token)).await.unwrap_err();
    assert_eq!(error.code(), "enrolment_token_invalid");
    fleet.store.enrol(&fleet::enrolment(&second.enrolment_token)).await.unwrap();
}

#[tokio::test]
async fn an_expired_enrolment_token_says_so() {
    let fleet = Fleet::new().await;
    let new = fleet.store.add_host("ops", "web-1").await.unwrap();
    fleet::meddle(fleet.dir.path(), "UPDATE enrolment_tokens SET expires_at = 1000").await;
    let error = fleet.store.enrol(&fleet::enrolment(&new.enrolment_token)).await.unwrap_err();
    assert_eq!(error.to_string(), "the enrolment token expired at 1970-01-01T00:00:01Z");
}

#[tokio::test]
async fn a_new_agent_of_a_host_starts_from_one_and_takes_what_still_waits() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let taken = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let waiting = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &started(taken))]).await.unwrap();
    session.forget(1).await.unwrap();

    let again = fleet.reenrol(&host).await;
    session.apply(vec![record(2, &finished(taken, Status::Succeeded))]).await.unwrap_err();
    assert_eq!(fleet.store.agent_token(&host.agent_token).await.unwrap(), None);
    let old = fleet.store.open_session(host.id, &fleet::hello(&host, 1)).await.unwrap();
    assert_eq!(old.unwrap_err(), Refusal::UnknownIncarnation);

    let session = fleet.session(&again, 1).await;
    let positions = session.positions().await.unwrap();
    assert_eq!((positions.received, positions.oldest, positions.next), (0, 1, 2));
    let records = session.load(0, 10).await.unwrap();
    let run: command::Run = records[0].payload.parse().unwrap();
    assert_eq!((records[0].seq, run.job_id), (1, waiting));
    let lost = fleet.job(taken).await;
    assert_eq!(lost.status, Status::Interrupted);
    assert_eq!(lost.error.unwrap().code, "agent_replaced");
    assert_eq!(fleet.job(waiting).await.status, Status::Queued);
}

#[tokio::test]
async fn a_hello_of_a_copy_is_refused() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let store = &fleet.store;
    let first = store.open_session(host.id, &fleet::hello(&host, 5)).await.unwrap().unwrap();
    let stale = store.open_session(host.id, &fleet::hello(&host, 4)).await.unwrap();
    assert_eq!(stale.unwrap_err(), Refusal::StaleBoot);
    let second = store.open_session(host.id, &fleet::hello(&host, 5)).await.unwrap().unwrap();
    assert!(second.epoch > first.epoch);
}

#[tokio::test]
async fn a_restored_server_hands_out_an_epoch_above_the_agents() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let mut hello = fleet::hello(&host, 1);
    hello.epoch = 41;
    let opened = fleet.store.open_session(host.id, &hello).await.unwrap().unwrap();
    assert_eq!(opened.epoch, 42);
    hello.epoch = u64::MAX;
    fleet.store.open_session(host.id, &hello).await.unwrap().unwrap();
    fleet.store.open_session(host.id, &hello).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_restored_server_never_uses_a_number_twice() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let first = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let second = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let mut hello = fleet::hello(&host, 1);
    hello.received = 7;
    let opened = fleet.store.open_session(host.id, &hello).await.unwrap().unwrap();
    let session = HostStore::new(fleet.store.clone(), host.id, opened.epoch);
    let positions = session.positions().await.unwrap();
    assert_eq!((positions.oldest, positions.next), (8, 10));
    let records = session.load(7, 10).await.unwrap();
    let run = |at: usize| records[at].payload.parse::<command::Run>().unwrap().job_id;
    assert_eq!((run(0), run(1)), (first, second));

    // The agent has forgotten what the lost state had acknowledged.
    session.skip(1..=4).await.unwrap();
    assert_eq!(session.positions().await.unwrap().received, 4);
    session.skip(1..=4).await.unwrap();
    session.apply(vec![record(5, &started(first))]).await.unwrap();
    assert_eq!(session.positions().await.unwrap().received, 5);
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
async fn removing_a_host_revokes_it_and_ends_its_jobs() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let queued = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let running = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &started(running))]).await.unwrap();
    fleet.store.remove_host("ops", host.id).await.unwrap();
    assert_eq!(fleet.store.agent_token(&host.agent_token).await.unwrap(), None);
    session.apply(vec![record(2, &started(running))]).await.unwrap_err();
    assert_eq!(fleet.job(queued).await.status, Status::Cancelled);
    assert_eq!(fleet.job(running).await.status, Status::Interrupted);
    let error = fleet.store.find_host("web-1").await.unwrap_err();
    assert_eq!(error.code(), "host_not_found");
    fleet.store.add_host("ops", "web-1").await.expect("the name is free again");
}

#[tokio::test]
async fn no_secret_is_readable_in_the_files_of_the_database() {
    let mut fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let (update, _) = fleet.store.config(host.id).await.unwrap();
    assert_eq!(update.repositories[0].password.expose(), fleet::PASSWORD_CANARY);
    let tokens = [host.agent_token.clone(), host.enrolment_token.clone()];
    fleet.restart().await;
    let mut files = 0;
    for entry in std::fs::read_dir(fleet.dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in tokens.iter().map(String::as_str).chain(fleet::CANARIES) {
            assert!(!text.contains(secret), "{secret} is readable");
        }
        files += 1;
    }
    assert!(files >= 2, "the database and its key were looked at");
    let debug = format!("{:?} {update:?}", fleet.store.repositories().await.unwrap());
    assert!(fleet::CANARIES.iter().all(|canary| !debug.contains(canary)), "{debug}");
}

#[tokio::test]
async fn configuration_versions_rise_with_every_change() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let store = &fleet.store;
    let version = async || store.config(host.id).await.unwrap().0.version;
    let first = version().await;
    let weekly = NewSchedule { cron: "0 0 * * 0".into(), time_zone: "UTC".into(), enabled: true };
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
async fn a_list_of_snapshots_replaces_the_older_one_when_it_is_whole() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let session = fleet.session(&host, 1).await;
    let report = |report_id: &str, last, ids: &[&str]| {
        Message::SnapshotsReport(snapshot::Report {
            repository_id: host.repository,
            report_id: report_id.to_owned(),
            last,
            listed_at: Timestamp::now(),
            snapshots: ids.iter().map(|id| fleet::snapshot(id)).collect(),
        })
    };
    let ids = async || {
        let snapshots = fleet.store.snapshots(host.id).await.unwrap();
        snapshots.into_iter().map(|snapshot| snapshot.id).collect::<Vec<_>>()
    };
    session.apply(vec![record(1, &report("one", true, &["a", "b"]))]).await.unwrap();
    assert_eq!(ids().await, ["a", "b"]);
    session.apply(vec![record(2, &report("lost", false, &["x"]))]).await.unwrap();
    session.apply(vec![record(3, &report("two", false, &["b"]))]).await.unwrap();
    assert_eq!(ids().await, ["a", "b"], "half a list does not count");
    session.apply(vec![record(4, &report("two", true, &["c"]))]).await.unwrap();
    assert_eq!(ids().await, ["b", "c"]);
}

#[tokio::test]
async fn log_lines_are_kept_with_their_gaps_and_only_for_the_jobs_own_host() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let other = fleet.host("web-2").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let stranger = fleet.session(&other, 1).await;
    stranger.receive(fleet::log(job, &[1, 2, 3])).await.unwrap();
    session.receive(fleet::log(job, &[2, 3])).await.unwrap();
    session.receive(fleet::log(job, &[7])).await.unwrap();
    let page = fleet::eventually(async || {
        let page = fleet.store.job_log(job, 0, 0).await.unwrap();
        (page.lines.len() == 3).then_some(page)
    })
    .await;
    let gaps: Vec<_> = page.gaps.iter().map(|gap| (gap.from, gap.to)).collect();
    assert_eq!(gaps, [(1, 1), (4, 6)]);
    let page = fleet.store.job_log(job, 2, 1).await.unwrap();
    assert_eq!((page.lines[0].seq, page.next), (3, Some(3)));
    assert!(page.gaps.is_empty());
}

#[tokio::test]
async fn log_lines_that_come_before_their_jobs_start_are_not_lost() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let session = fleet.session(&host, 1).await;
    let job = JobId::from_uuid(uuid::Uuid::from_u128(77));
    session.receive(fleet::log(job, &[1])).await.unwrap();
    // Another host's commit in between proves that the line was looked at before its job came.
    let other = fleet.host("web-2").await;
    fleet.session(&other, 1).await.apply(vec![]).await.unwrap();
    session.apply(vec![record(1, &started(job))]).await.unwrap();
    fleet::eventually(async || {
        let page = fleet.store.job_log(job, 0, 0).await.unwrap();
        (page.lines.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_log_lines_keeps_the_head_and_the_newest_within_the_limit() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let lines: Vec<u64> = (1..=6000).collect();
    for part in lines.chunks(500) {
        let stream =
            Stream { job_id: job, lines: part.iter().map(|seq| long_line(*seq)).collect() };
        session.receive(fleet::unsequenced(&Message::LogStream(stream))).await.unwrap();
        fleet::eventually(async || {
            let after = part[part.len() - 1] - 1;
            let page = fleet.store.job_log(job, after, 1).await.unwrap();
            (!page.lines.is_empty()).then_some(())
        })
        .await;
    }
    let head = fleet.store.job_log(job, 0, 5000).await.unwrap();
    assert!(head.lines.len() <= 4096, "{} lines of 2 KiB are kept", head.lines.len());
    assert!((1..=2000).all(|seq| head.lines[seq as usize - 1].seq == seq));
    assert_eq!(head.lines.last().unwrap().seq, 6000);
    assert_eq!(head.gaps.len(), 1);
    assert_eq!(head.gaps[0].from, 2001);
}

fn long_line(seq: u64) -> Line {
    let payload = "x".repeat(2048);
    Line { seq, ts: Timestamp::now(), stream: Source::Stdout, payload }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_with_one_sentence() {
    let fleet = Fleet::new().await;
    let dir = fleet.dir;
    fleet.store.close().await;
    let newer = "INSERT INTO _sqlx_migrations
         (version, description, installed_on, success, checksum, execution_time)
         VALUES (9999, 'future', '2030-01-01', TRUE, x'00', 0)";
    fleet::meddle(dir.path(), newer).await;
    let error = holdfast_server::store::Store::open(dir.path()).await.err().unwrap();
    assert!(error.to_string().contains("written by a newer version of Holdfast"), "{error}");
    assert!(!error.action().is_empty());
}

#[tokio::test]
async fn an_exchanged_key_is_noticed_at_the_start() {
    let fleet = Fleet::new().await;
    let dir = fleet.dir;
    fleet.store.close().await;
    std::fs::remove_file(dir.path().join("key")).unwrap();
    let error = holdfast_server::store::Store::open(dir.path()).await.err().unwrap();
    assert!(fleet::chain(&error).contains("does not open with the key file"), "{error}");
    assert!(error.action().contains("Restore the file `key`"));
}

#[tokio::test]
async fn what_was_acknowledged_is_on_disk_at_that_moment() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    session.apply(vec![record(1, &started(job))]).await.unwrap();
    // A crash leaves the files as they are now, with whatever memory knew gone.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["holdfast.db", "holdfast.db-wal", "key"] {
        std::fs::copy(fleet.dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    let store = holdfast_server::store::Store::open(crashed.path()).await.unwrap();
    let live = holdfast_server::live::Live::load(store.clone()).await.unwrap();
    assert_eq!(live.job(job).await.unwrap().status, Status::Running);
    let opened = store.open_session(host.id, &fleet::hello(&host, 2)).await.unwrap().unwrap();
    let positions = HostStore::new(store, host.id, opened.epoch).positions().await.unwrap();
    assert_eq!((positions.received, positions.oldest, positions.next), (1, 1, 2));
}

#[tokio::test]
async fn a_token_made_by_another_process_works_at_once() {
    let fleet = Fleet::new().await;
    let second = holdfast_server::store::Store::open(fleet.dir.path()).await.unwrap();
    let made = second.create_api_token("laptop", "admin").await.unwrap();
    let known = fleet.store.api_token(made.token.expose()).await.unwrap().unwrap();
    assert_eq!((known.name.as_str(), known.role.as_str()), ("laptop", "admin"));
    assert_eq!(fleet.store.api_token("hf_api_wrong").await.unwrap(), None);
    let error = second.create_api_token("laptop", "viewer").await.unwrap_err();
    assert_eq!(error.code(), "token_exists");
}
