//! D2: the agent's own socket.

use holdfast_protocol::{
    Message,
    dialect::{
        Said,
        local::{Command, Event, events, hear_agent},
    },
    message::{
        command,
        job::{Finished, Progress, Status},
    },
};

use crate::{JOB, empty_ledger, goldens, is_unplaced, job, ledger, message, now};

#[test]
fn every_event_and_command_reads_and_writes_the_same() {
    for line in goldens("local-events.jsonl") {
        assert_eq!(Event::decode(line.as_bytes()).unwrap().encode(), line);
    }
    for line in goldens("local-commands.jsonl") {
        assert_eq!(Command::decode(line.as_bytes()).unwrap().encode(), line);
    }
}

#[test]
fn order_extra_keys_and_null_make_no_difference() {
    let pause = r#"{"payload":{"extra":1,"job_id":"a"},"more":[],"type":"backup:pause"}"#;
    let read = Command::decode(pause.as_bytes()).unwrap();
    assert!(matches!(read, Command::Pause(job) if job.job_id == "a"));
    for status in [r#"{"type":"agent:status","payload":null}"#, r#"{"type":"agent:status"}"#] {
        assert_eq!(Command::decode(status.as_bytes()).unwrap(), Command::Status);
    }
    let event = r#"{"payload":{"job_id":"a","new":2},"type":"backup:started"}"#;
    assert!(matches!(Event::decode(event.as_bytes()).unwrap(), Event::Started(_)));
}

#[test]
fn unknown_types_and_other_shapes_are_errors_of_that_frame() {
    for frame in [
        r#"{"type":"backup:start","payload":{"job_id":"a"}}"#,
        r#"{"type":"backup:pause"}"#,
        r#"{"type":"backup:pause","payload":{"job_id":7}}"#,
        "[]",
        "",
    ] {
        assert!(Command::decode(frame.as_bytes()).is_err(), "{frame}");
    }
    assert!(Event::decode(b"\xff\xfe").is_err());
}

#[test]
fn a_command_reaches_the_open_job_it_names_and_no_other() {
    let frame = |id: &str| format!(r#"{{"type":"backup:pause","payload":{{"job_id":"{id}"}}}}"#);
    let pause = Command::decode(frame(JOB).as_bytes()).unwrap();
    let said = pause.hear(&ledger()).unwrap();
    assert_eq!(message(said), Message::CommandPause(command::Pause { job_id: job() }));
    assert!(is_unplaced(&pause.hear(&empty_ledger()).unwrap()));
    for id in ["", "abc-123"] {
        let pause = Command::decode(frame(id).as_bytes()).unwrap();
        assert!(is_unplaced(&pause.hear(&ledger()).unwrap()), "{id}");
    }
    assert_eq!(Command::Status.hear(&ledger()), None);
}

fn progress() -> Progress {
    Progress {
        job_id: job(),
        percent_done: 0.5,
        files_done: 10,
        total_files: 20,
        bytes_done: 1024,
        total_bytes: 2048,
        eta_seconds: Some(2),
        throughput_bps: 1536,
        current_files: vec!["/data/file.txt".into()],
        error_count: 0,
    }
}

#[test]
fn our_progress_has_all_that_the_newer_readers_need() {
    let shown = events(&Message::JobProgress(progress()), &ledger());
    let body: serde_json::Value = serde_json::from_str(&shown[0].encode()).unwrap();
    let payload = &body["payload"];
    assert_eq!(body["type"], "backup:progress");
    assert_eq!((&payload["percent"], &payload["speed"]), (&50.0.into(), &"1.5 KB/s".into()));
    for key in ["current_file_bytes", "current_file_total", "current_file_percent"] {
        assert!(payload[key].is_number(), "{key}");
    }
    let read = Event::decode(shown[0].encode().as_bytes()).unwrap();
    let said = message(hear_agent(&read, &mut ledger(), now()));
    assert_eq!(said, Message::JobProgress(progress()));
}

#[test]
fn ends_are_completed_or_failed_and_a_partial_one_warns_first() {
    let end = |status| {
        let finished = Finished {
            job_id: job(),
            status,
            exit_code: None,
            finished_at: now(),
            snapshot_id: None,
            stats: None,
            error: None,
            next_try: None,
        };
        events(&Message::JobFinished(finished), &ledger())
    };
    assert!(matches!(&end(Status::Succeeded)[..], [Event::Completed(_)]));
    assert!(matches!(&end(Status::Partial)[..], [Event::Log(_), Event::Completed(_)]));
    let cancelled = end(Status::Cancelled);
    let [Event::Failed(failed)] = &cancelled[..] else { panic!("{cancelled:?}") };
    assert_eq!(failed.error, "cancelled on request");
    let Message::JobFinished(read) = message(hear_agent(&cancelled[0], &mut ledger(), now()))
    else {
        panic!()
    };
    assert_eq!(read.status, Status::Cancelled);
}

#[test]
fn the_agents_events_reach_the_job_they_name() {
    let mut ledger = ledger();
    let lines = goldens("local-events.jsonl");
    let mut hear =
        |line: &str| hear_agent(&Event::decode(line.as_bytes()).unwrap(), &mut ledger, now());
    let Message::JobProgress(progress) = message(hear(&lines[0])) else { panic!() };
    assert_eq!((progress.percent_done, progress.throughput_bps), (0.455, 524_288));
    let Message::JobStarted(started) = message(hear(&lines[2])) else { panic!() };
    assert_eq!(progress.job_id, started.job_id);
    let line = message(hear(&lines[7]));
    assert!(matches!(line, Message::LogStream(s) if s.job_id == job()), "the one open job's line");
    assert!(matches!(hear(&lines[8]), Said::Other { .. }));
    assert!(is_unplaced(&hear(r#"{"type":"backup:started","payload":{"job_id":""}}"#)));
}
