//! D1: the golden vectors, the tolerance protobuf asks for, and what frames mean.

use holdfast_protocol::{
    Message,
    dialect::{
        Dialect, Ledger, OpenJob, Said,
        backupy::{
            self, Upload, agent_config, command as command_body, hear_agent, hear_server, report,
            wire::{
                Ack, AgentConfig, AgentMetrics, Body, CancelJob, ConfigUpdate, Envelope, Heartbeat,
                JobStatus, JobUpdate, LogEvent, LogLevel, Ping, Register, RegisterAck, RetryPolicy,
            },
        },
    },
    message::{
        command,
        config::{Group, Secret, Update},
        job::{Finished, Operation, Progress, StateChange, Status},
        schedule,
    },
};
use prost::Message as _;

use crate::{JOB, empty_ledger, is_unplaced, job, ledger, message, now};

const TS_MS: u64 = 1_700_000_000_000;

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect()
}

fn text(word: &str) -> String {
    word.to_owned()
}

/// The vectors that were computed from the field tables, independently of this code.
fn vectors() -> Vec<(Envelope, &'static str)> {
    let register = Register {
        agent_version: text("1.0.0"),
        hostname: text("h1"),
        os: text("linux"),
        arch: text("amd64"),
        capabilities: vec![text("pg_dump"), text("mysqldump")],
        last_known_config_version: 5,
        ..Register::default()
    };
    let register_ack = RegisterAck {
        session_id: text("sess-1"),
        config: Some(AgentConfig { version: 5, ..AgentConfig::default() }),
        heartbeat_interval_sec: 30,
        ..RegisterAck::default()
    };
    let metrics = AgentMetrics { cpu_percent: 1.5, ..AgentMetrics::default() };
    let beat = Heartbeat { config_version: 5, metrics: Some(metrics), ..Heartbeat::default() };
    let update = JobUpdate {
        job_id: text("j"),
        status: JobStatus::Failed.into(),
        error_message: text("x"),
        run_id: text("r"),
        ..JobUpdate::default()
    };
    let mut ping = Envelope::ping(7, TS_MS, "ping-1");
    ping.payload = Some(Body::Ping(Ping { ts_ms: 123 }));
    let ack = ping.ack(3, TS_MS, None);
    let cancel = CancelJob { job_id: text("j") };
    let of = |seq, body| Envelope::of(seq, TS_MS, body);
    vec![
        (
            of(1, Body::Register(register)),
            "08 01 10 80 d0 95 ff bc 31 52 2f 0a 05 31 2e 30 2e 30 12 02 68 31 1a 05 6c 69 6e 75 \
             78 22 05 61 6d 64 36 34 32 07 70 67 5f 64 75 6d 70 32 09 6d 79 73 71 6c 64 75 6d 70 \
             38 05",
        ),
        (
            of(0, Body::RegisterAck(register_ack)),
            "10 80 d0 95 ff bc 31 92 03 0e 0a 06 73 65 73 73 2d 31 12 02 08 05 18 1e",
        ),
        (of(2, Body::Heartbeat(Heartbeat::default())), "08 02 10 80 d0 95 ff bc 31 5a 00"),
        (
            of(2, Body::Heartbeat(beat)),
            "08 02 10 80 d0 95 ff bc 31 5a 09 08 05 12 05 0d 00 00 c0 3f",
        ),
        (ping, "08 07 10 80 d0 95 ff bc 31 1a 06 70 69 6e 67 2d 31 ca 03 02 08 7b"),
        (
            ack,
            "08 03 10 80 d0 95 ff bc 31 1a 06 70 69 6e 67 2d 31 92 01 0a 0a 06 70 69 6e 67 2d 31 \
             10 01",
        ),
        (
            of(4, Body::JobUpdate(update)),
            "08 04 10 80 d0 95 ff bc 31 6a 0b 0a 01 6a 10 04 2a 01 78 32 01 72",
        ),
        (of(9, Body::CancelJob(cancel)), "08 09 10 80 d0 95 ff bc 31 aa 03 03 0a 01 6a"),
    ]
}

#[test]
fn the_golden_vectors_are_written_and_read() {
    for (envelope, hex) in vectors() {
        assert_eq!(envelope.to_bytes(), bytes(hex));
        assert_eq!(Envelope::from_bytes(&bytes(hex)).unwrap(), envelope);
    }
    let retry = RetryPolicy { max_attempts: 3, backoff_seconds: vec![60, 300, 1800] };
    let hex = "08 03 12 05 3c ac 02 88 0e";
    assert_eq!(retry.encode_to_vec(), bytes(hex));
    assert_eq!(RetryPolicy::decode(&bytes(hex)[..]).unwrap(), retry);
}

#[test]
fn every_body_has_the_tag_bytes_of_the_contract() {
    let tags = [
        (Body::Register(Register::default()), "52"),
        (Body::Heartbeat(Heartbeat::default()), "5a"),
        (Body::Discovery(Default::default()), "62"),
        (Body::JobUpdate(JobUpdate::default()), "6a"),
        (Body::BackupCompleted(Default::default()), "72"),
        (Body::HealthResult(Default::default()), "7a"),
        (Body::Log(LogEvent::default()), "82 01"),
        (Body::RestoreUpdate(Default::default()), "8a 01"),
        (Body::Ack(Ack::default()), "92 01"),
        (Body::RegisterAck(RegisterAck::default()), "92 03"),
        (Body::ConfigUpdate(ConfigUpdate::default()), "9a 03"),
        (Body::RunBackup(Default::default()), "a2 03"),
        (Body::CancelJob(CancelJob::default()), "aa 03"),
        (Body::RunHealthCheck(Default::default()), "b2 03"),
        (Body::SelfUpdate(Default::default()), "c2 03"),
        (Body::Ping(Ping::default()), "ca 03"),
    ];
    for (body, hex) in tags {
        let kind = body.kind();
        let written = Envelope::of(0, 0, body).to_bytes();
        assert_eq!(written, bytes(&format!("{hex} 00")), "{kind}");
    }
}

#[test]
fn any_order_unpacked_lists_split_messages_and_unknown_fields_are_read() {
    let backwards = bytes("aa 03 03 0a 01 6a 10 80 d0 95 ff bc 31 08 09");
    assert_eq!(Envelope::from_bytes(&backwards).unwrap(), vectors()[7].0);
    let unpacked = bytes("10 3c 10 ac 02 10 88 0e 08 03");
    assert_eq!(RetryPolicy::decode(&unpacked[..]).unwrap().backoff_seconds, [60, 300, 1800]);
    // A heartbeat in two pieces is one heartbeat.
    let split = bytes("5a 02 08 05 5a 07 12 05 0d 00 00 c0 3f");
    let Some(Body::Heartbeat(beat)) = Envelope::from_bytes(&split).unwrap().payload else {
        panic!()
    };
    assert_eq!((beat.config_version, beat.metrics.unwrap().cpu_percent), (5, 1.5));
    // Number 99 as text, a 64-bit, a 32-bit and a group: all skipped.
    let unknown = bytes(
        "08 09 9a 06 01 78 99 06 01 02 03 04 05 06 07 08 9d 06 01 02 03 04 9b 06 08 01 9c 06",
    );
    let envelope = Envelope::from_bytes(&unknown).unwrap();
    assert_eq!((envelope.seq, envelope.payload), (9, None));
}

#[test]
fn a_body_of_the_future_or_the_past_is_no_error_and_says_nothing() {
    for hex in ["08 09 da 03 02 08 01", "ba 03 02 0a 00"] {
        let envelope = Envelope::from_bytes(&bytes(hex)).unwrap();
        assert_eq!(envelope.payload, None);
        assert_eq!(hear_agent(&envelope, &mut ledger(), now()), []);
    }
}

#[test]
fn half_a_frame_and_text_are_errors() {
    for frame in [&b"{\"type\":\"register\"}"[..], b"\x52\x2f\x0a", b"\x0a\x00"] {
        assert!(Envelope::from_bytes(frame).is_err(), "{frame:02x?}");
    }
}

fn heard(body: Body, ledger: &mut Ledger) -> Vec<Said> {
    hear_agent(&Envelope::of(1, TS_MS, body), ledger, now())
}

fn one(body: Body, ledger: &mut Ledger) -> Message {
    message(heard(body, ledger).pop().expect("something is said"))
}

#[test]
fn a_register_is_an_introduction() {
    let said = hear_agent(&vectors()[0].0, &mut ledger(), now()).pop().unwrap();
    let Said::Introduction(introduction) = said else { panic!("{said:?}") };
    assert_eq!(introduction.facts.hostname, "h1");
    assert_eq!(introduction.capabilities, ["pg_dump", "mysqldump"]);
    assert_eq!(introduction.config_version, 5);
}

fn update(status: JobStatus, percent: u32, step: &str, run: &str) -> Body {
    Body::JobUpdate(JobUpdate {
        job_id: text("home"),
        status: status.into(),
        progress_percent: percent,
        current_step: text(step),
        error_message: String::new(),
        run_id: text(run),
    })
}

#[test]
fn an_update_is_a_start_progress_a_pause_or_an_end() {
    let mut ledger = ledger();
    let ledger = &mut ledger;
    let started = one(update(JobStatus::Running, 0, "", JOB), ledger);
    assert!(matches!(started, Message::JobStarted(s) if s.job_id == job() && s.tag == "home"));
    let progress = one(update(JobStatus::Running, 45, "uploading", JOB), ledger);
    assert!(matches!(progress, Message::JobProgress(p) if p.percent_done == 0.45));
    let paused = one(update(JobStatus::Running, 45, "paused", JOB), ledger);
    assert!(matches!(paused, Message::JobState(s) if s.status == Status::Paused));
    for (number, status) in [
        (JobStatus::Success, Status::Succeeded),
        (JobStatus::Failed, Status::Failed),
        (JobStatus::Cancelled, Status::Cancelled),
    ] {
        let ended = one(update(number, 0, "", JOB), ledger);
        assert!(matches!(ended, Message::JobFinished(f) if f.status == status));
    }
    assert_eq!(heard(update(JobStatus::Queued, 0, "", JOB), ledger), []);
}

#[test]
fn an_old_agents_update_without_a_run_finds_the_one_open_job_of_its_group() {
    let mut open = ledger();
    let failed = one(update(JobStatus::Failed, 0, "", ""), &mut open);
    assert!(matches!(failed, Message::JobFinished(f) if f.job_id == job()));
    let said = heard(update(JobStatus::Failed, 0, "", ""), &mut empty_ledger());
    assert!(is_unplaced(&said[0]));
    let said = heard(update(JobStatus::Unspecified, 0, "", JOB), &mut open);
    assert!(is_unplaced(&said[0]), "a number without a meaning ends nothing");
}

fn ended(status: Status) -> Finished {
    Finished {
        job_id: job(),
        status,
        exit_code: None,
        finished_at: now(),
        snapshot_id: Some(text("k")),
        stats: None,
        error: None,
        next_try: None,
    }
}

#[test]
fn our_reports_are_read_back_as_what_they_were() {
    for status in [Status::Succeeded, Status::Failed, Status::Cancelled] {
        let mut ledger = ledger();
        let bodies = report(&Message::JobFinished(ended(status)), &ledger);
        let read = one(bodies.last().unwrap().clone(), &mut ledger);
        assert!(matches!(read, Message::JobFinished(f) if f.status == status), "{status:?}");
    }
    for status in [Status::Paused, Status::Running] {
        let mut ledger = ledger();
        let change = StateChange { job_id: job(), status, changed_at: now() };
        let bodies = report(&Message::JobState(change.clone()), &ledger);
        assert_eq!(one(bodies[0].clone(), &mut ledger), Message::JobState(change));
    }
}

#[test]
fn a_partial_end_is_a_completed_backup_with_a_line_in_the_log_before_it() {
    let mut ledger = ledger();
    let bodies = report(&Message::JobFinished(ended(Status::Partial)), &ledger);
    let kinds: Vec<_> = bodies.iter().map(Body::kind).collect();
    assert_eq!(kinds, ["log", "backup_completed"]);
    let line = one(bodies[0].clone(), &mut ledger);
    assert!(
        matches!(line, Message::LogStream(s) if s.lines[0].payload.contains("could not be read"))
    );
}

#[test]
fn progress_goes_out_as_a_whole_percentage() {
    let progress = Progress {
        job_id: job(),
        percent_done: 0.999,
        files_done: 0,
        total_files: 0,
        bytes_done: 0,
        total_bytes: 0,
        eta_seconds: None,
        throughput_bps: 0,
        current_files: Vec::new(),
        error_count: 0,
    };
    let bodies = report(&Message::JobProgress(progress), &ledger());
    let [Body::JobUpdate(update)] = &bodies[..] else { panic!("{bodies:?}") };
    assert_eq!((update.progress_percent, update.status()), (99, JobStatus::Running));
    assert_eq!((update.job_id.as_str(), update.run_id.as_str()), ("home", JOB));
}

#[test]
fn log_lines_are_numbered_as_they_come() {
    let mut ledger = ledger();
    let line = |level: LogLevel| {
        Body::Log(LogEvent {
            ts_ms: TS_MS,
            level: level.into(),
            job_id: text("home"),
            message: text("m"),
            ..LogEvent::default()
        })
    };
    for seq in 1..=3 {
        let said = one(line(LogLevel::Error), &mut ledger);
        assert!(matches!(said, Message::LogStream(s) if s.lines[0].seq == seq));
    }
    let said = heard(line(LogLevel::Info), &mut empty_ledger());
    assert!(matches!(&said[..], [Said::Other { kind, .. }] if kind == "log"));
}

fn configuration() -> Update {
    let group = |name: &str, include: &str| {
        Group::new(text(name), empty_ledger().repository_of(name), vec![text(include)], Vec::new())
    };
    Update {
        version: 6,
        host_name: text("db-1"),
        repositories: Vec::new(),
        groups: vec![
            group("shop", "postgresql://app@db:5432/shop?secret=PG_PASSWORD"),
            group("files", "/home"),
        ],
    }
}

#[test]
fn a_source_group_is_a_job_with_its_target_and_comes_back() {
    let update = configuration();
    let set = schedule::Set {
        version: 1,
        schedules: ["UTC", "Europe/Berlin"]
            .map(|zone| schedule::Schedule {
                id: holdfast_protocol::ScheduleId::from_uuid(uuid::Uuid::nil()),
                cron_expr: format!("0 2 * * * # {zone}"),
                time_zone: text(zone),
                enabled: true,
                source_groups: vec![text("shop")],
                timing: Default::default(),
            })
            .into(),
    };
    let config = agent_config(&update, Some(&set));
    assert_eq!((config.version, config.jobs.len(), config.targets.len()), (6, 1, 1));
    assert_eq!(config.jobs[0].target_id, config.targets[0].id);
    assert_eq!(config.jobs[0].cron, "0 2 * * * # UTC", "their cron knows no other zone");
    let read = backupy::update_of(&config, &empty_ledger(), "db-1");
    assert_eq!(read.groups, update.groups[..1]);
}

#[test]
fn our_agent_obeys_their_server_and_answers_pings_with_both_ids() {
    let mut ledger = empty_ledger();
    let run = Message::CommandRun(command::Run {
        tag: text("shop"),
        ..command::Run::new(job(), Operation::Backup, ledger.repository_of("shop"))
    });
    let body = command_body(&run, &ledger, None, None).unwrap().unwrap();
    let heard = hear_server(&Envelope::of(1, TS_MS, body), &mut ledger, "db-1");
    assert_eq!(heard, [Said::Message(run)]);
    let cancel =
        |group: &str| Envelope::of(2, TS_MS, Body::CancelJob(CancelJob { job_id: text(group) }));
    let heard = hear_server(&cancel("shop"), &mut ledger, "db-1").pop().unwrap();
    assert_eq!(message(heard), Message::CommandCancel(command::Cancel { job_id: job() }));
    assert!(is_unplaced(&hear_server(&cancel("files"), &mut ledger, "db-1")[0]));
    let refusal = Envelope::ping(7, TS_MS, "c").ack(8, TS_MS, Some("busy"));
    let Some(Body::Ack(ack)) = refusal.payload else { panic!() };
    assert_eq!((refusal.correlation_id.as_str(), ack.correlation_id.as_str()), ("c", "c"));
    assert_eq!((ack.accepted, ack.reason.as_str()), (false, "busy"));
}

#[test]
fn a_configuration_always_goes_out_whole_and_a_pause_is_refused() {
    let update = Message::ConfigUpdate(configuration());
    let config = agent_config(&configuration(), None);
    let body = command_body(&update, &ledger(), None, Some(&config)).unwrap().unwrap();
    let Body::ConfigUpdate(ConfigUpdate { config: Some(sent) }) = &body else { panic!() };
    assert_eq!(*sent, config);
    let heard = hear_server(&Envelope::of(1, TS_MS, body), &mut empty_ledger(), "db-1");
    assert!(matches!(&heard[..], [Said::Message(Message::ConfigUpdate(u))] if u.version == 6));
    let pause = Message::CommandPause(command::Pause { job_id: job() });
    let refusal = command_body(&pause, &ledger(), None, None).unwrap_err();
    assert_eq!(refusal.dialect, Dialect::Backupy);
}

#[test]
fn keys_and_upload_addresses_never_reach_debug_output() {
    let mut ledger = empty_ledger();
    ledger.open(job(), OpenJob::of_group("shop"));
    let upload = Upload {
        presigned_put_url: Secret::new("https://canary"),
        expires_at_ms: 1,
        key: text("k"),
        data_key: backupy::DataKey(b"canary".to_vec()),
    };
    assert!(!format!("{upload:?}").contains("canary"));
    let run = Message::CommandRun(command::Run {
        tag: text("shop"),
        ..command::Run::new(job(), Operation::Backup, ledger.repository_of("shop"))
    });
    let body = command_body(&run, &ledger, Some(upload), None).unwrap().unwrap();
    let shown = format!("{body:?}");
    assert!(!shown.contains("canary") && !shown.contains("99, 97, 110"), "{shown}");
    let bytes = Envelope::of(1, TS_MS, body).to_bytes();
    assert!(bytes.windows(6).any(|window| window == b"canary"), "but it is on the wire");
}
