//! D3: the payloads in any envelope.

use holdfast_protocol::{
    Message, RepositoryId,
    dialect::{
        Ledger, Said,
        fleet::{
            self, CommandCancel, CommandResult, CommandRun, ConfigUpdate, Frame, Heartbeat, Hello,
            JobFinished, JobProgress, JobStarted, Keys, LogLine, RepoStats, ScheduleAck,
            ScheduleFire, ScheduleSet, SnapshotsReport, UpdateAvailable, Words, commands,
            hear_agent, hear_server, reports,
        },
        gojson::{Go, Raw},
    },
    message::{
        command,
        config::{Repository, Secret},
        job::{Finished, Status},
    },
};

use crate::{JOB, empty_ledger, goldens, is_unplaced, job, ledger, message, now};

fn rewritten<T: Go>(payload: &Raw) -> Raw {
    Raw::of(&payload.read_as::<T>().expect("a golden fits its type"))
}

fn through_its_type(frame: &Frame) -> Raw {
    let body = &frame.payload;
    match frame.kind.as_str() {
        "hello" => rewritten::<Hello>(body),
        "heartbeat" => rewritten::<Heartbeat>(body),
        "command.result" => rewritten::<CommandResult>(body),
        "job.started" => rewritten::<JobStarted>(body),
        "job.progress" => rewritten::<JobProgress>(body),
        "job.finished" => rewritten::<JobFinished>(body),
        "log.stream" => rewritten::<LogLine>(body),
        "snapshots.report" => rewritten::<SnapshotsReport>(body),
        "repo.stats" => rewritten::<RepoStats>(body),
        "schedule.ack" => rewritten::<ScheduleAck>(body),
        "schedule.fire" => rewritten::<ScheduleFire>(body),
        "command.run" => rewritten::<CommandRun>(body),
        "command.cancel" => rewritten::<CommandCancel>(body),
        "config.update" => rewritten::<ConfigUpdate>(body),
        "schedule.set" => rewritten::<ScheduleSet>(body),
        "agent.update.available" => rewritten::<UpdateAvailable>(body),
        other => panic!("{other} has no type"),
    }
}

#[test]
fn every_payload_reads_and_writes_the_same() {
    for line in goldens("fleet.jsonl") {
        let mut frame = Frame::decode(line.as_bytes()).unwrap();
        frame.payload = through_its_type(&frame);
        assert_eq!(frame.encode(Keys::default(), &Words::default()), line);
    }
}

#[test]
fn any_of_the_three_envelopes_is_understood_and_spoken() {
    let frame = Frame::of("command.cancel", &CommandCancel { job_id: "j1".into() });
    for keys in Keys::ALL {
        let text = frame.encode(keys, &Words::default());
        assert!(text.starts_with(&format!("{{\"{}\":\"command.cancel\"", keys.kind)), "{text}");
        assert!(text.contains(&format!("\"{}\":{{", keys.payload)), "{text}");
        assert_eq!(Frame::decode(text.as_bytes()).unwrap(), frame);
    }
    for text in ["{}", "[]", "", r#"{"payload":{}}"#, r#"{"type":5}"#] {
        assert!(Frame::decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn another_word_for_a_kind_is_a_matter_of_a_table() {
    let words = Words(vec![("job.progress", "progress.tick".to_owned())]);
    let frame =
        Frame::of("job.progress", &JobProgress { job_id: JOB.into(), ..JobProgress::default() });
    let text = frame.encode(Keys::TYPE_DATA, &words);
    assert!(text.starts_with(r#"{"type":"progress.tick","data":"#), "{text}");
    let read = Frame::decode(text.as_bytes()).unwrap();
    let said = hear_agent(&read, &words, &ledger(), now()).unwrap();
    assert!(matches!(message(said), Message::JobProgress(p) if p.job_id == job()));
    let said = hear_agent(&read, &Words::default(), &ledger(), now()).unwrap();
    assert!(matches!(said, Said::Other { kind, .. } if kind == "progress.tick"));
}

fn heard(line: &str, ledger: &Ledger) -> Said {
    let frame = Frame::decode(line.as_bytes()).expect("a frame");
    hear_agent(&frame, &Words::default(), ledger, now()).expect("a known shape")
}

#[test]
fn an_agents_messages_are_understood() {
    let lines = goldens("fleet.jsonl");
    let mut ledger = ledger();
    ledger.set_repository("home", RepositoryId::from_uuid(uuid::Uuid::from_u128(3)));
    let Said::Introduction(introduction) = heard(&lines[0], &ledger) else { panic!() };
    assert_eq!(introduction.facts.boot_time, None, "the year 1 is no boot time");
    let kinds = [
        (1, "heartbeat"),
        (2, "command.result"),
        (3, "job.started"),
        (4, "job.progress"),
        (5, "job.finished"),
        (6, "job.finished"),
        (7, "log.stream"),
        (8, "snapshots.report"),
        (9, "repo.stats"),
        (10, "schedule.ack"),
        (11, "schedule.fire"),
    ];
    for (line, kind) in kinds {
        assert_eq!(message(heard(&lines[line], &ledger)).kind(), kind);
    }
    let Message::JobFinished(end) = message(heard(&lines[5], &ledger)) else { panic!() };
    assert_eq!(end.snapshot_id.as_deref(), Some("aaaaaaaa"), "it is in the summary");
    assert!(end.stats.unwrap().as_str().contains("1.50"), "the summary is restic's own text");
    let Message::RepoStats(stats) = message(heard(&lines[9], &ledger)) else { panic!() };
    assert_eq!((stats.total_size_bytes, stats.raw_size_bytes), (Some(0), None));
}

#[test]
fn a_list_of_snapshots_is_nobodys_when_the_host_has_two_repositories() {
    let lines = goldens("fleet.jsonl");
    let mut ledger = ledger();
    for (number, group) in [(1, "home"), (2, "etc")] {
        ledger.set_repository(group, RepositoryId::from_uuid(uuid::Uuid::from_u128(number)));
    }
    assert!(is_unplaced(&heard(&lines[8], &ledger)));
    assert!(is_unplaced(&heard(&lines[9], &ledger)));
}

#[test]
fn frames_without_a_job_touch_no_job() {
    for kind in ["job.started", "job.progress", "job.finished", "command.result", "log.stream"] {
        let line =
            format!(r#"{{"kind":"{kind}","payload":{{"status":"failed","kind":"backup"}}}}"#);
        assert!(is_unplaced(&heard(&line, &ledger())), "{kind}");
    }
}

#[test]
fn our_reports_are_read_back_as_what_they_were() {
    for status in [Status::Succeeded, Status::Partial, Status::Failed, Status::Cancelled] {
        let end = Message::JobFinished(Finished {
            job_id: job(),
            status,
            exit_code: None,
            finished_at: now(),
            snapshot_id: None,
            stats: None,
            error: None,
            next_try: None,
        });
        let frames = reports(&end, &ledger());
        let line = frames[0].encode(Keys::TYPE_PAYLOAD, &Words::default());
        let Message::JobFinished(read) = message(heard(&line, &ledger())) else { panic!() };
        assert_eq!(read.status, status);
    }
}

#[test]
fn our_agent_obeys_their_server_and_an_unknown_job_is_nobodys() {
    let lines = goldens("fleet.jsonl");
    let mut ledger = empty_ledger();
    let mut hear = |line: &str| {
        hear_server(&Frame::decode(line.as_bytes()).unwrap(), &Words::default(), &mut ledger)
            .unwrap()
    };
    assert!(is_unplaced(&hear(&lines[14])), "nothing runs yet");
    let Message::CommandRun(run) = message(hear(&lines[12])) else { panic!() };
    assert_eq!((run.tag.as_str(), &run.includes[..]), ("home", &["/home".to_owned()][..]));
    let cancel = message(hear(&lines[14]));
    assert_eq!(cancel, Message::CommandCancel(command::Cancel { job_id: run.job_id }));
    assert!(matches!(hear(&lines[13]), Said::Other { .. }), "a policy is not guessed at");
    assert!(matches!(hear(&lines[16]), Said::Other { .. }));
}

#[test]
fn a_partial_configuration_changes_only_what_it_names_and_never_takes_the_admins() {
    let stored = Repository {
        id: RepositoryId::from_uuid(uuid::Uuid::nil()),
        name: "main".into(),
        url: Secret::new("/old"),
        password: Secret::new("old"),
        environment: Default::default(),
        ca_certificate: None,
        admin: None,
    };
    let update = ConfigUpdate { repo_url: Secret::new("/new"), ..ConfigUpdate::default() };
    let updated = update.onto(&stored).unwrap();
    assert_eq!((updated.url.expose(), updated.password.expose()), ("/new", "old"));
    for slot in ["admin", "of_the_future"] {
        let update = ConfigUpdate { slot: slot.into(), ..update.clone() };
        assert_eq!(update.onto(&stored), None, "{slot}");
    }
    assert!(!format!("{update:?}").contains("/new"));
}

#[test]
fn our_server_has_words_for_all_but_pause_and_resume() {
    let cancel = Message::CommandCancel(command::Cancel { job_id: job() });
    let frames = commands(&cancel, &ledger(), None).unwrap();
    let text = frames[0].encode(Keys::default(), &Words::default());
    assert_eq!(text, format!(r#"{{"kind":"command.cancel","payload":{{"job_id":"{JOB}"}}}}"#));
    let pause = Message::CommandPause(command::Pause { job_id: job() });
    assert!(commands(&pause, &ledger(), None).is_err());
    assert_eq!(fleet::PROTOCOL_VERSION, 1);
}
