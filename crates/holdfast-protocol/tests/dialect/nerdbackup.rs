//! D0: frames byte for byte, and what they mean.

use std::{collections::BTreeSet, num::NonZeroU32};

use holdfast_protocol::{
    Message, RepositoryId,
    dialect::{
        Ability, Ledger, OpenJob, Said, Unsayable,
        nerdbackup::{
            AgentMessage, Command, Heartbeat, HostMetrics, hear_agent, hear_command, http, refuse,
            reports,
        },
    },
    message::{
        command,
        config::{Group, GroupOptions, Repository, Secret, Update},
        job::{Finished, JobError, Progress, Status},
        link::Facts,
        parameters::Bandwidth,
        schedule,
    },
};

use crate::{JOB, empty_ledger, goldens, is_unplaced, job, ledger, message, now};

fn heard(frame: &str, ledger: &Ledger) -> Vec<Said> {
    hear_agent(&AgentMessage::decode(frame.as_bytes()).expect("a frame"), ledger, now())
}

fn one(frame: &str, ledger: &Ledger) -> Message {
    message(heard(frame, ledger).pop().expect("something is said"))
}

#[test]
fn every_agent_frame_reads_and_writes_the_same_and_ends_in_a_line_break() {
    let mut kinds = BTreeSet::new();
    for line in goldens("nerdbackup-agent.jsonl") {
        let read = AgentMessage::decode(line.as_bytes()).unwrap();
        assert_eq!(read.encode(), format!("{line}\n"));
        kinds.insert(read.kind().to_owned());
    }
    let missing: Vec<_> =
        AgentMessage::KINDS.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(missing.is_empty(), "kinds without a golden: {missing:?}");
}

#[test]
fn every_command_frame_reads_and_writes_the_same() {
    let lines = goldens("nerdbackup-server.jsonl");
    for line in &lines {
        assert_eq!(Command::decode(line.as_bytes()).unwrap().encode(), *line);
    }
    for action in Command::ACTIONS {
        let word = format!("\"action\":\"{action}\"");
        assert!(lines.iter().any(|line| line.contains(&word)), "{action} has no golden");
    }
}

#[test]
fn what_is_no_command_is_ignored_and_what_is_no_json_is_an_error() {
    for frame in
        [r#"{"type":"ack"}"#, r#"{"type":"command"}"#, r#"{"type":"Command","action":"x"}"#, "{}"]
    {
        assert_eq!(Command::decode(frame.as_bytes()).unwrap(), Command::Ignored, "{frame}");
    }
    for frame in [&b"{"[..], b"\xff", b"[1]", br#"{"type":7}"#] {
        assert!(Command::decode(frame).is_err());
        assert!(AgentMessage::decode(frame).is_err());
    }
}

#[test]
fn the_job_id_beside_the_data_counts_only_without_a_repository() {
    let order = |data: &str| {
        let frame =
            format!(r#"{{"type":"command","action":"start_backup","job_id":"top","data":{data}}}"#);
        match Command::decode(frame.as_bytes()).unwrap() {
            Command::StartBackup(start) => (start.repo_id, start.job_id),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(order(r#"{"repo_id":"home"}"#), ("home".into(), String::new()));
    assert_eq!(order(r#"{"repo_id":"home","job_id":"j"}"#), ("home".into(), "j".into()));
    assert_eq!(order("{}"), (String::new(), "top".into()));
    assert_eq!(order("null"), (String::new(), "top".into()));
}

#[test]
fn a_heartbeat_introduces_the_agent_and_proves_its_life() {
    let said = heard(&goldens("nerdbackup-agent.jsonl")[0], &ledger());
    let [Said::Introduction(introduction), Said::Message(Message::Heartbeat(beat))] = &said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!(introduction.facts.hostname, "web-1");
    assert_eq!(introduction.facts.boot_time, Some("2026-11-20T10:00:00Z".parse().unwrap()));
    assert_eq!((beat.sent_at, &beat.active_job_ids[..]), (now(), &[job()][..]));
}

#[test]
fn progress_without_a_job_id_finds_the_job_of_its_repository() {
    let frame = &goldens("nerdbackup-agent.jsonl")[1];
    let Message::JobProgress(progress) = one(frame, &ledger()) else { panic!() };
    assert_eq!(
        (progress.job_id, progress.percent_done, progress.bytes_done),
        (job(), 0.455, 1048576)
    );
}

#[test]
fn one_word_says_start_pause_resume_and_early_failure() {
    let frame = |fields: &str| format!(r#"{{"type":"job_started","data":{{{fields}}}}}"#);
    let named = format!(r#""job_id":"{JOB}","#);
    let started = one(&frame(r#""job_id":"","repo_id":"home","status":"running""#), &ledger());
    assert!(matches!(&started, Message::JobStarted(s) if s.job_id == job() && s.tag == "home"));
    for (word, status) in [("paused", Status::Paused), ("running", Status::Running)] {
        let said = one(&frame(&format!(r#"{named}"status":"{word}""#)), &ledger());
        assert!(matches!(&said, Message::JobState(change) if change.status == status), "{said:?}");
    }
    let said = one(&frame(&format!(r#"{named}"status":"failed""#)), &ledger());
    let Message::JobFinished(finished) = said else { panic!() };
    assert_eq!(finished.status, Status::Failed);
    assert_eq!(finished.error.unwrap().code, "repository_unreachable");
    let said = heard(&frame(r#""job_id":"","status":"paused""#), &ledger());
    assert!(is_unplaced(&said[0]), "a pause of nobody's job touches nobody's job");
}

fn report(fields: &str) -> String {
    let times = r#""started_at":"2026-11-21T09:00:00.7Z","completed_at":"2026-11-21T09:30:00Z""#;
    let data = format!(r#"{{"repo_id":"home","operation":"backup",{times},{fields}}}"#);
    format!(r#"{{"type":"job_report","data":{data}}}"#)
}

fn finished(fields: &str, ledger: &Ledger) -> Finished {
    match one(&report(fields), ledger) {
        Message::JobFinished(finished) => finished,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_report_ends_the_job_with_restics_own_figures() {
    let stats = r#""stats":{"files_new":1,"data_added_bytes":5,"total_duration_seconds":8}"#;
    let ended = r#""status":"completed","restic_snapshot_id":"ab""#;
    let fields = format!(r#""dashboard_job_id":"{JOB}",{ended},{stats}"#);
    let end = finished(&fields, &ledger());
    assert_eq!((end.job_id, end.status, end.exit_code), (job(), Status::Succeeded, Some(0)));
    assert_eq!((end.snapshot_id.as_deref(), end.error), (Some("ab"), None));
    let stats: serde_json::Value = end.stats.unwrap().parse().unwrap();
    assert_eq!((&stats["files_new"], &stats["data_added"]), (&1.into(), &5.into()));
    assert_eq!(stats["message_type"], "summary");
}

#[test]
fn an_end_is_partial_or_cancelled_when_the_text_or_our_own_wish_says_so() {
    let failed = |text: &str| {
        format!(r#""dashboard_job_id":"{JOB}","status":"failed","error_message":"{text}""#)
    };
    let partial = finished(&failed("restic backup failed: exit status 3"), &ledger());
    assert_eq!((partial.status, partial.exit_code), (Status::Partial, Some(3)));
    let plain = finished(&failed("restic backup failed: exit status 1"), &ledger());
    assert_eq!((plain.status, plain.exit_code), (Status::Failed, Some(1)));
    let mut cancelling = ledger();
    cancelling.mark_cancelling(job());
    assert_eq!(finished(&failed("signal: killed"), &cancelling).status, Status::Cancelled);
}

#[test]
fn a_run_of_the_agents_own_is_the_same_job_however_often_it_is_reported() {
    let frame = report(r#""status":"completed""#);
    let first = heard(&frame, &ledger());
    assert_eq!(first, heard(&frame, &ledger()));
    let [Said::Message(Message::JobStarted(started)), Said::Message(Message::JobFinished(end))] =
        &first[..]
    else {
        panic!("{first:?}")
    };
    assert_eq!(started.job_id, end.job_id);
    assert_ne!(end.job_id, job(), "a job of ours is not ended by a report that does not name it");
    assert_eq!(started.tag, "home");
    let data = r#"{"repo_id":"home","percent_done":0.5,"started_at":"2026-11-21T10:00:00+01:00"}"#;
    let progress = format!(r#"{{"type":"progress","data":{data}}}"#);
    let Message::JobProgress(progress) = one(&progress, &empty_ledger()) else { panic!() };
    assert_eq!(progress.job_id, end.job_id, "and its progress, with whole seconds, finds it");
}

#[test]
fn sizes_in_a_report_become_the_repositorys() {
    let mut ledger = ledger();
    let repository = RepositoryId::from_uuid(uuid::Uuid::from_u128(3));
    ledger.set_repository("home", repository);
    let stats = r#""stats":{"repo_raw_size":9,"repo_restore_size":10}"#;
    let fields = format!(r#""dashboard_job_id":"{JOB}","status":"completed",{stats}"#);
    let said = one(&report(&fields), &ledger);
    let Message::RepoStats(stats) = said else { panic!("{said:?}") };
    assert_eq!(stats.repository_id, repository);
    assert_eq!((stats.raw_size_bytes, stats.total_size_bytes), (Some(9), Some(10)));
}

#[test]
fn a_restores_report_ends_its_job_without_a_backups_figures() {
    let fields = format!(r#""dashboard_job_id":"{JOB}","status":"completed""#);
    let said = one(&report(&fields).replace("backup", "restore"), &ledger());
    let Message::JobFinished(end) = said else { panic!("{said:?}") };
    assert_eq!((end.job_id, end.status, end.stats), (job(), Status::Succeeded, None));
}

#[test]
fn operations_states_and_kinds_without_a_word_here_are_kept() {
    let completed = report(r#""status":"completed""#);
    let odd = [
        completed.replace("backup", "teleport"),
        completed.replace("completed\"", "sideways\""),
        r#"{"type":"tomorrow","data":{"a":1}}"#.to_owned(),
    ];
    for frame in odd {
        let said = heard(&frame, &ledger());
        assert!(matches!(&said[..], [Said::Other { .. }]), "{said:?}");
    }
}

#[test]
fn commands_go_out_only_for_open_jobs() {
    let cancel = Message::CommandCancel(command::Cancel { job_id: job() });
    let sent = Command::of(&cancel, &ledger()).unwrap();
    assert_eq!(sent, Some(Command::Cancel { job_id: JOB.into() }));
    // Their agent would take an unknown id for all its jobs.
    assert_eq!(Command::of(&cancel, &empty_ledger()).unwrap(), None);
    let pause = Message::CommandPause(command::Pause { job_id: job() });
    assert_eq!(Command::of(&pause, &ledger()), Ok(Some(Command::Pause { job_id: JOB.into() })));
}

#[test]
fn a_run_names_group_and_job_and_a_configuration_is_to_be_fetched() {
    let run = Message::CommandRun(command::Run {
        config_version: 1,
        tag: "home".into(),
        includes: vec!["/home".into()],
        ..command::Run::new(
            job(),
            holdfast_protocol::message::job::Operation::Backup,
            RepositoryId::from_uuid(uuid::Uuid::nil()),
        )
    });
    let frame = Command::of(&run, &empty_ledger()).unwrap().unwrap().encode();
    let data = format!(r#"{{"repo_id":"home","job_id":"{JOB}"}}"#);
    assert_eq!(
        frame,
        format!(r#"{{"type":"command","action":"start_backup","job_id":"{JOB}","data":{data}}}"#)
    );
    let schedules = Message::ScheduleSet(schedule::Set { version: 1, schedules: Vec::new() });
    assert_eq!(Command::of(&schedules, &ledger()), Ok(Some(Command::ConfigUpdate)));
}

#[test]
fn our_agent_obeys_their_server_and_never_takes_another_job_instead() {
    let mut ledger = ledger();
    let order = |text: &str| Command::decode(text.as_bytes()).unwrap();
    let start = order(
        r#"{"type":"command","action":"start_backup","data":{"repo_id":"srv","job_id":"their-7"}}"#,
    );
    let Message::CommandRun(run) = message(hear_command(&start, &mut ledger)) else { panic!() };
    assert_eq!(run.tag, "srv");
    let Message::CommandRun(again) = message(hear_command(&start, &mut ledger)) else { panic!() };
    assert_eq!(run.job_id, again.job_id, "a repeated order is the same job");
    let cancel = order(r#"{"type":"command","action":"cancel","job_id":"their-7"}"#);
    let said = message(hear_command(&cancel, &mut ledger));
    assert_eq!(said, Message::CommandCancel(command::Cancel { job_id: run.job_id }));
    for id in [r#","job_id":"other""#, ""] {
        let cancel = order(&format!(r#"{{"type":"command","action":"cancel"{id}}}"#));
        assert!(is_unplaced(&hear_command(&cancel, &mut ledger)), "{id}");
    }
}

#[test]
fn our_agents_reports_are_read_back_as_what_they_were() {
    let mut ledger = empty_ledger();
    ledger.open(job(), OpenJob::of_group("home"));
    let error = JobError { code: "x".into(), message: "Two files.".into(), action: String::new() };
    for (status, error) in [
        (Status::Succeeded, None),
        (Status::Partial, Some(error.clone())),
        (Status::Cancelled, None),
        (Status::Failed, Some(error)),
    ] {
        let end = Finished {
            job_id: job(),
            status,
            exit_code: None,
            finished_at: now(),
            snapshot_id: Some("ab".into()),
            stats: None,
            error,
            next_try: None,
        };
        let frame = reports(&Message::JobFinished(end), &ledger, now()).unwrap().encode();
        let Message::JobFinished(read) = one(&frame, &ledger) else { panic!() };
        assert_eq!((read.job_id, read.status), (job(), status));
    }
}

#[test]
fn our_agents_progress_fills_what_theirs_leaves_empty() {
    let progress = Progress {
        job_id: job(),
        percent_done: 0.5,
        files_done: 1,
        total_files: 2,
        bytes_done: 3,
        total_bytes: 6,
        eta_seconds: None,
        throughput_bps: 0,
        current_files: vec!["/home/a".into(), "/home/b".into()],
        error_count: 0,
    };
    let frame = reports(&Message::JobProgress(progress), &ledger(), now()).unwrap().encode();
    assert_eq!(
        frame,
        format!(
            concat!(
                r#"{{"type":"progress","data":{{"repo_id":"home","job_id":"{job}","#,
                r#""percent_done":0.5,"bytes_processed":3,"files_processed":1,"#,
                r#""current_file":"/home/a","started_at":"2026-11-21T10:00:00Z"}}}}"#,
                "\n"
            ),
            job = JOB
        )
    );
}

#[test]
fn our_agents_heartbeat_carries_facts_and_metrics() {
    let facts = Facts { os: "linux".into(), hostname: "web-1".into(), ..Facts::default() };
    let metrics = HostMetrics { uptime_seconds: 5, cpu_count: 2, ..HostMetrics::default() };
    let beat = Heartbeat::of(&facts, metrics);
    assert_eq!((beat.platform.as_str(), beat.uptime_seconds, beat.cpu_count), ("linux", 5, 2));
}

#[test]
fn every_command_that_waits_for_an_answer_can_be_declined() {
    for line in goldens("nerdbackup-server.jsonl") {
        let command = Command::decode(line.as_bytes()).unwrap();
        let answer = refuse(&command, "not here", now());
        let silent = [
            "cancel",
            "pause",
            "resume",
            "file_dump",
            "forget_snapshot",
            "config_update",
            "from_the_future",
        ];
        let expected = !silent.iter().any(|word| line.contains(&format!("\"action\":\"{word}\"")));
        assert_eq!(answer.is_some(), expected, "{line}");
        for id in ["r1", "r2", "r3", "r4", "c1", "j2"] {
            if expected && line.contains(&format!("\"{id}\"")) {
                let frame = answer.as_ref().unwrap().encode();
                assert!(frame.contains(&format!("\"{id}\"")), "{frame} does not echo {id}");
            }
        }
    }
}

fn configuration() -> Update {
    let id = RepositoryId::from_uuid(uuid::Uuid::from_u128(3));
    let bandwidth = Bandwidth { upload_kib_s: NonZeroU32::new(512), download_kib_s: None };
    Update {
        version: 4,
        host_name: "web-1".into(),
        repositories: vec![Repository {
            id,
            name: "main".into(),
            url: Secret::new("s3:https://s3.example/bucket"),
            password: Secret::new("canary"),
            environment: [("AWS_ACCESS_KEY_ID".to_owned(), Secret::new("canary-key"))].into(),
            ca_certificate: None,
            admin: None,
        }],
        groups: vec![Group {
            options: GroupOptions { bandwidth, ..GroupOptions::default() },
            ..Group::new("home", id, vec!["/home".into()], vec!["*.tmp".into()])
        }],
    }
}

#[test]
fn a_configuration_becomes_the_list_their_agent_fetches_and_comes_back() {
    let update = configuration();
    let repos = http::repos_of(&update, None);
    let body = http::answer(&repos, "q1");
    assert!(body.starts_with(r#"{"data":[{"id":"home","storage_backend_id":"#), "{body}");
    assert!(body.contains(r#""bandwidth_limit_kib":512,"#), "{body}");
    assert!(body.ends_with(r#""config_hash":"4"}],"meta":{"request_id":"q1"}}"#), "{body}");
    let mut ledger = empty_ledger();
    ledger.set_repository("home", update.repositories[0].id);
    let read = http::update_of(&repos, &ledger, 4, "web-1");
    assert_eq!(read.groups, update.groups);
    assert_eq!(read.repositories[0].url, update.repositories[0].url);
    assert_eq!(read.repositories[0].environment, update.repositories[0].environment);
}

#[test]
fn secrets_never_reach_debug_output() {
    let repos = http::repos_of(&configuration(), None);
    assert!(!format!("{repos:?}").contains("canary"));
    for line in goldens("nerdbackup-server.jsonl") {
        let command = Command::decode(line.as_bytes()).unwrap();
        assert!(!format!("{command:?}").contains("canary"), "{}", line.len());
        let said = hear_command(&command, &mut empty_ledger());
        assert!(!format!("{said:?}").contains("canary"));
    }
}

#[test]
fn what_the_dialect_cannot_say_is_refused() {
    let refusal = holdfast_protocol::dialect::Dialect::Nerdbackup.require(Ability::Snapshots);
    let Err(Unsayable { ability, .. }) = refusal else { panic!() };
    assert_eq!(ability, Ability::Snapshots);
}
