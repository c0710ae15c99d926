//! The targets: any bytes give a message or an error, nothing panics, and what is understood can be
//! written and read again.
//!
//! This file has two readers: `cargo fuzz`, which needs a nightly compiler, and a test of
//! `holdfast-protocol`, which tries mutations of the goldens on every test run.

use holdfast_protocol::{
    HostId, JobId,
    dialect::{Ledger, OpenJob},
};
use jiff::Timestamp;
use uuid::Uuid;

/// A target.
pub type Target = fn(&[u8]);

/// All of them by name.
pub const ALL: [(&str, Target); 9] = [
    ("native_envelope", native_envelope::run),
    ("native_message", native_message::run),
    ("native_exchange", native_exchange::run),
    ("gojson", gojson::run),
    ("nerdbackup", nerdbackup::run),
    ("backupy", backupy::run),
    ("local", local::run),
    ("fleet", fleet::run),
    ("plain", plain::run),
];

/// A ledger in which one job runs for the group `home`.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(HostId::from_uuid(Uuid::from_u128(1)));
    let job = JobId::from_uuid(Uuid::from_u128(2));
    ledger.open(job, OpenJob::of_group("home").named("j1"));
    ledger
}

/// The time of every run: findings must be the same again.
fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// The frames of an input, one per line.
fn frames(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == b'\n')
}

/// One frame of the native wire.
pub mod native_envelope {
    use holdfast_protocol::Envelope;

    /// Tries `data`.
    pub fn run(data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else { return };
        if let Ok(envelope) = Envelope::from_json(text) {
            let again = Envelope::from_json(&envelope.to_json()).expect("what we write, we read");
            assert_eq!(again.kind, envelope.kind);
            assert_eq!((again.seq, again.ack), (envelope.seq, envelope.ack));
        }
    }
}

/// The body of every native kind (first line: the kind, rest: the body), and the handshake's.
pub mod native_message {
    use holdfast_protocol::{Message, Payload, message::link};

    /// Tries `data`.
    pub fn run(data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else { return };
        let (kind, body) = text.split_once('\n').unwrap_or(("", text));
        let Ok(payload) = Payload::from_text(body.to_owned()) else { return };
        let _ = payload.parse::<link::Hello>();
        let _ = payload.parse::<link::Welcome>();
        let _ = payload.parse::<link::Reject>();
        // A kind by name, and every other with the same body: fields are shared between many.
        let _ = Message::decode(kind, &payload);
        for kind in Message::KINDS {
            if let Ok(message) = Message::decode(kind, &payload) {
                Message::decode(kind, &message.encode()).expect("what we write, we read");
            }
        }
    }
}

/// The bodies of the long-poll road.
pub mod native_exchange {
    use holdfast_protocol::message::exchange::{Answer, Exchange};

    /// Tries `data`.
    pub fn run(data: &[u8]) {
        if let Ok(exchange) = serde_json::from_slice::<Exchange>(data) {
            let text = serde_json::to_vec(&exchange).expect("it has a JSON form");
            assert_eq!(serde_json::from_slice::<Exchange>(&text).ok(), Some(exchange));
        }
        if let Ok(answer) = serde_json::from_slice::<Answer>(data) {
            let text = serde_json::to_vec(&answer).expect("it has a JSON form");
            assert_eq!(serde_json::from_slice::<Answer>(&text).ok(), Some(answer));
        }
    }
}

/// Go's JSON: strings, floats, times, passed-through text.
pub mod gojson {
    use holdfast_protocol::dialect::gojson::{GoTime, Raw, compact, from_slice, to_text};
    use serde_json::Value;

    /// Tries `data`.
    pub fn run(data: &[u8]) {
        if let Ok(text) = from_slice::<String>(data) {
            assert_eq!(from_slice::<String>(to_text(&text).as_bytes()), Ok(text));
        }
        if let Ok(number) = from_slice::<f64>(data) {
            let again: f64 = from_slice(to_text(&number).as_bytes()).expect("ours");
            assert_eq!(again.to_bits(), number.to_bits());
        }
        if let Ok(time) = from_slice::<GoTime>(data) {
            assert_eq!(from_slice::<GoTime>(to_text(&time).as_bytes()), Ok(time));
        }
        if let Ok(raw) = from_slice::<Raw>(data) {
            let text = compact(raw.as_str().unwrap_or_default());
            assert_eq!(compact(&text), text, "compacting twice changes nothing");
            let before: Option<Value> = raw.parse();
            assert_eq!(serde_json::from_str::<Value>(&text).ok(), before);
        }
    }
}

/// The frames of NerdBackup, both directions, and what follows from them.
pub mod nerdbackup {
    use super::{frames, ledger, now};
    use holdfast_protocol::dialect::{
        Said,
        gojson::from_slice,
        nerdbackup::{AgentMessage, Command, hear_agent, hear_command, http, refuse, reports},
    };

    /// Tries `data`.
    pub fn run(data: &[u8]) {
        let mut ledger = ledger();
        for frame in frames(data) {
            if let Ok(message) = AgentMessage::decode(frame) {
                let text = message.encode();
                let again = AgentMessage::decode(text.as_bytes()).expect("what we write, we read");
                assert_eq!(again.encode(), text);
                for said in hear_agent(&message, &ledger, now()) {
                    if let Said::Message(message) = said {
                        let _ = reports(&message, &ledger, now()).map(|report| report.encode());
                    }
                }
            }
            if let Ok(command) = Command::decode(frame) {
                let text = command.encode();
                Command::decode(text.as_bytes()).expect("what we write, we read");
                let _ = hear_command(&command, &mut ledger);
                let _ = refuse(&command, "no", now()).map(|answer| answer.encode());
            }
            if let Ok(repos) = from_slice::<Vec<http::Repo>>(frame) {
                let update = http::update_of(&repos, &ledger, 1, "host");
                let _ = http::answer(&http::repos_of(&update, None), "q");
            }
        }
    }
}

/// The frames of Backupy, both directions, and what follows from them.
pub mod backupy {
    use super::{ledger, now};
    use holdfast_protocol::{
        Message,
        dialect::{
            Said,
            backupy::{agent_config, hear_agent, hear_server, report, wire::Envelope},
        },
    };

    /// Tries `data`.
    pub fn run(data: &[u8]) {
        let Ok(envelope) = Envelope::from_bytes(data) else { return };
        let bytes = envelope.to_bytes();
        let again = Envelope::from_bytes(&bytes).expect("what we write, we read");
        assert_eq!(again.to_bytes(), bytes);
        let _ = format!("{envelope:?}");
        let mut ledger = ledger();
        let said = hear_agent(&envelope, &mut ledger, now());
        for said in said.into_iter().chain(hear_server(&envelope, &mut ledger, "host")) {
            let Said::Message(message) = said else { continue };
            let _ = report(&message, &ledger);
            if let Message::ConfigUpdate(update) = &message {
                let _ = agent_config(update, None);
            }
        }
    }
}

/// The frames of an agent's local endpoint, both directions.
pub mod local {
    use super::{frames, ledger, now};
    use holdfast_protocol::dialect::{
        Said,
        local::{Command, Event, events, hear_agent},
    };

    /// Tries `data`.
    pub fn run(data: &[u8]) {
        let mut ledger = ledger();
        for frame in frames(data) {
            if let Ok(event) = Event::decode(frame) {
                let text = event.encode();
                let again = Event::decode(text.as_bytes()).expect("what we write, we read");
                assert_eq!(again.encode(), text);
                if let Said::Message(message) = hear_agent(&event, &mut ledger, now()) {
                    let _ = events(&message, &ledger);
                }
            }
            if let Ok(command) = Command::decode(frame) {
                let again = Command::decode(command.encode().as_bytes());
                assert_eq!(again.expect("what we write, we read"), command);
                let _ = command.hear(&ledger);
            }
        }
    }
}

/// The frames of the fleet dialect, both directions.
pub mod fleet {
    use super::{frames, ledger, now};
    use holdfast_protocol::dialect::{
        Said,
        fleet::{ConfigUpdate, Frame, Keys, Words, commands, hear_agent, hear_server, reports},
    };

    /// Tries `data`.
    pub fn run(data: &[u8]) {
        let (mut ledger, words) = (ledger(), Words::default());
        for frame in frames(data).filter_map(|frame| Frame::decode(frame).ok()) {
            for keys in Keys::ALL {
                let again = Frame::decode(frame.encode(keys, &words).as_bytes());
                assert_eq!(again.expect("what we write, we read").kind, frame.kind);
            }
            let _ = frame.payload.read_as::<ConfigUpdate>();
            let heard = hear_agent(&frame, &words, &ledger, now());
            for said in [heard, hear_server(&frame, &words, &mut ledger)] {
                if let Ok(Said::Message(message)) = said {
                    let _ = reports(&message, &ledger);
                    let _ = commands(&message, &ledger, None);
                }
            }
        }
    }
}

/// The frames of the plain dialect, both directions.
pub mod plain {
    use super::{frames, ledger, now};
    use holdfast_protocol::dialect::plain::{Envelope, hear, reaction};

    /// Tries `data`.
    pub fn run(data: &[u8]) {
        let ledger = ledger();
        for envelope in frames(data).filter_map(|frame| Envelope::decode(frame).ok()) {
            let text = envelope.encode().expect("it has a kind");
            let again = Envelope::decode(text.as_bytes()).expect("what we write, we read");
            assert_eq!(again.encode().as_ref(), Ok(&text));
            let _ = hear(&envelope, &ledger);
            if let Some(answer) = reaction(&envelope, now()) {
                assert_eq!(answer.in_reply_to, envelope.id);
                assert_eq!(reaction(&answer, now()), None, "an answer is never answered");
            }
        }
    }
}
