//! Any bytes give a message or an error; nothing panics, and what is written reads back.

use holdfast_protocol::{
    Message,
    dialect::{
        Dialect, backupy,
        backupy::wire::{BackupJobSpec, Body, DiscoveredContainer, DiscoveryReport, JobUpdate},
        fleet::{self, Words},
        gojson::Raw,
        local, nerdbackup, plain,
    },
    message::{command, job::Operation},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{goldens, job, ledger, now};

pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,24}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z_]{1,12}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Takes the bytes through every decoder and whatever follows from it.
fn take_in(bytes: &[u8]) {
    let mut ledger = ledger();
    if let Ok(message) = nerdbackup::AgentMessage::decode(bytes) {
        let _ = nerdbackup::hear_agent(&message, &ledger, now());
        let again = nerdbackup::AgentMessage::decode(message.encode().as_bytes());
        assert_eq!(again.expect("it reads back").encode(), message.encode());
    }
    if let Ok(command) = nerdbackup::Command::decode(bytes) {
        let _ = nerdbackup::hear_command(&command, &mut ledger);
        let _ = nerdbackup::refuse(&command, "no", now());
        let _ = command.encode();
    }
    if let Ok(envelope) = backupy::wire::Envelope::from_bytes(bytes) {
        let _ = backupy::hear_agent(&envelope, &mut ledger, now());
        let _ = backupy::hear_server(&envelope, &mut ledger, "host");
        let _ = format!("{envelope:?}");
        let _ = backupy::wire::Envelope::from_bytes(&envelope.to_bytes()).expect("it reads back");
    }
    if let Ok(event) = local::Event::decode(bytes) {
        let _ = local::hear_agent(&event, &mut ledger, now());
        let _ = event.encode();
    }
    if let Ok(command) = local::Command::decode(bytes) {
        let _ = command.hear(&ledger);
        assert_eq!(local::Command::decode(command.encode().as_bytes()).expect("ours"), command);
    }
    if let Ok(frame) = fleet::Frame::decode(bytes) {
        let _ = fleet::hear_agent(&frame, &Words::default(), &ledger, now());
        let _ = fleet::hear_server(&frame, &Words::default(), &mut ledger);
    }
    if let Ok(envelope) = plain::Envelope::decode(bytes) {
        let _ = plain::hear(&envelope, &ledger);
        let _ = plain::reaction(&envelope, now());
        let again = plain::Envelope::decode(envelope.encode().expect("it has a kind").as_bytes());
        assert_eq!(again.expect("it reads back").kind, envelope.kind);
    }
}

const FILES: [&str; 6] = [
    "nerdbackup-agent.jsonl",
    "nerdbackup-server.jsonl",
    "local-events.jsonl",
    "local-commands.jsonl",
    "fleet.jsonl",
    "plain.jsonl",
];

/// Every known kind, in every envelope, so that a random body reaches its decoder.
fn framed(kind: &str, body: &Value) -> [Value; 3] {
    [
        json!({"type": kind, "data": body, "payload": body}),
        json!({"type": "command", "action": kind, "data": body}),
        json!({"kind": kind, "payload": body, "ts": "2026-11-21T10:00:00Z", "id": "01X"}),
    ]
}

fn any_kind() -> impl Strategy<Value = String> {
    let lines = FILES.into_iter().flat_map(goldens);
    let values = lines.map(|line| serde_json::from_str::<Value>(&line).expect("a golden is JSON"));
    let mut kinds: Vec<String> = values
        .flat_map(|value| {
            ["type", "action", "kind"].map(|key| value[key].as_str().map(str::to_owned))
        })
        .flatten()
        .collect();
    kinds.sort();
    kinds.dedup();
    prop::sample::select(kinds)
}

#[test]
fn every_golden_goes_through_every_decoder() {
    for line in FILES.into_iter().flat_map(goldens) {
        take_in(line.as_bytes());
        for end in (0..line.len()).filter(|end| line.is_char_boundary(*end)) {
            take_in(&line.as_bytes()[..end]);
        }
    }
}

#[test]
fn every_dialect_says_or_refuses_every_command() {
    let run = |operation| {
        Message::CommandRun(command::Run {
            tag: "home".into(),
            ..command::Run::new(job(), operation, ledger().repository_of("home"))
        })
    };
    let messages = [
        Message::CommandCancel(command::Cancel { job_id: job() }),
        Message::CommandPause(command::Pause { job_id: job() }),
        Message::CommandResume(command::Resume { job_id: job() }),
    ];
    let messages = messages.into_iter().chain(Operation::ALL.map(run));
    for message in messages {
        let ability = holdfast_protocol::dialect::Ability::needed_for(&message).expect("a command");
        let ledger = ledger();
        let said = [
            (
                Dialect::Nerdbackup,
                nerdbackup::Command::of(&message, &ledger).is_ok_and(|c| c.is_some()),
            ),
            (Dialect::Local, local::Command::of(&message, &ledger).is_some()),
            (Dialect::Fleet, fleet::commands(&message, &ledger, None).is_ok()),
        ];
        for (dialect, said) in said {
            assert_eq!(said, dialect.can(ability), "{dialect:?} {ability:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        take_in(&bytes);
    }

    #[test]
    fn any_text_is_a_message_or_an_error(text in ".{0,256}") {
        take_in(text.as_bytes());
    }

    #[test]
    fn any_body_of_any_kind_is_a_message_or_an_error(kind in any_kind(), body in any_json()) {
        for frame in framed(&kind, &body) {
            take_in(frame.to_string().as_bytes());
        }
    }

    #[test]
    fn a_damaged_golden_is_a_message_or_an_error(
        line in prop::sample::select(FILES.into_iter().flat_map(goldens).collect::<Vec<_>>()),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = line.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        take_in(&bytes);
    }

    #[test]
    fn a_protobuf_frame_survives_the_wire(
        seq in any::<u64>(),
        ts_ms in any::<u64>(),
        correlation_id in ".{0,12}",
        words in prop::collection::vec(".{0,12}", 6),
        numbers in prop::collection::vec(any::<u32>(), 3),
        hints in prop::collection::btree_map("[A-Z]{1,6}", "set", 0..4),
        which in 0..3_usize,
    ) {
        let update = JobUpdate {
            job_id: words[0].clone(),
            status: numbers[0] as i32,
            progress_percent: numbers[1],
            current_step: words[1].clone(),
            error_message: words[2].clone(),
            run_id: words[3].clone(),
        };
        let container = DiscoveredContainer {
            name: words[4].clone(),
            networks: words.clone(),
            env_hints: hints,
            ..DiscoveredContainer::default()
        };
        let spec = BackupJobSpec {
            id: words[5].clone(),
            pre_hooks: words.clone(),
            retry: Some(backupy::wire::RetryPolicy { max_attempts: 1, backoff_seconds: numbers }),
            ..BackupJobSpec::default()
        };
        let config = backupy::wire::AgentConfig { jobs: vec![spec], ..Default::default() };
        let body = match which {
            0 => Body::JobUpdate(update),
            1 => Body::Discovery(DiscoveryReport { containers: vec![container] }),
            _ => Body::ConfigUpdate(backupy::wire::ConfigUpdate { config: Some(config) }),
        };
        let envelope = backupy::wire::Envelope { seq, ts_ms, correlation_id, payload: Some(body) };
        let read = backupy::wire::Envelope::from_bytes(&envelope.to_bytes()).expect("ours");
        prop_assert_eq!(read, envelope);
    }

    #[test]
    fn a_plain_frame_survives_the_wire(
        kind in "[a-z.]{1,20}",
        id in "[0-9A-Z]{0,26}",
        in_reply_to in "[0-9A-Z]{0,26}",
        millis in 0_i64..4_000_000_000_000,
        body in prop::option::of(any_json()),
        target_aspect in ".{0,8}",
    ) {
        let ts = jiff::Timestamp::from_millisecond(millis).expect("in range");
        let payload = body.map(|body| Raw::of_payload(&holdfast_protocol::Payload::of(&body)));
        let mut envelope = plain::Envelope::request(kind, id, ts);
        envelope.in_reply_to = in_reply_to;
        envelope.payload = payload.unwrap_or_default();
        envelope.target_aspect = target_aspect;
        let text = envelope.encode().expect("it has a kind");
        prop_assert_eq!(plain::Envelope::decode(text.as_bytes()).expect("ours"), envelope);
    }

    #[test]
    fn an_agents_progress_survives_d0(
        repo_id in ".{1,12}",
        job_id in ".{0,12}",
        percent_done in 0.0..=1.0_f64,
        bytes_processed in any::<i64>(),
    ) {
        let progress = nerdbackup::Progress {
            repo_id, job_id, percent_done, bytes_processed, ..Default::default()
        };
        let message = nerdbackup::AgentMessage::Progress(progress);
        let read = nerdbackup::AgentMessage::decode(message.encode().as_bytes());
        prop_assert_eq!(read, Ok(message));
    }
}
