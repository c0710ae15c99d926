//! Servers that mean harm, or are broken, with our agent: it keeps to the dialect's rules, stays
//! up, comes back, and does what a sane server asks next.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_e2e::wait;
use serde_json::{Value, json};

use crate::{
    joined::SOON,
    theirs::{Theirs, backupy, envelope, nerdbackup, take_backupy, take_envelope},
};

const DIALECTS: [&str; 3] = ["nerdbackup", "backupy", "envelope"];

fn joined(dialect: &str) -> Result<Theirs> {
    match dialect {
        "nerdbackup" => nerdbackup(),
        "backupy" => backupy(),
        _ => envelope(),
    }
}

/// Lets the agent in on a connection that is open, as a good server does.
fn take(dialect: &str, theirs: &mut Theirs) -> Result<()> {
    match dialect {
        "nerdbackup" => theirs.peer.frame("a heartbeat", |frame| frame["type"] == "heartbeat"),
        "backupy" => take_backupy(theirs),
        _ => take_envelope(theirs),
    }
    .map(drop)
}

/// A question that this agent answers, and its answer: what came before has been read.
fn ask(dialect: &str, theirs: &mut Theirs, id: &str) -> Result<()> {
    let question = match dialect {
        "nerdbackup" => json!({"type": "command", "action": "fs_list",
            "data": {"request_id": id, "path": "/"}}),
        "backupy" => json!({"correlation_id": id, "body": "ping", "fields": {"ts_ms": 1}}),
        _ => json!({"kind": "turn", "id": id, "payload": {}}),
    };
    theirs.peer.say(&question)?;
    let answers = |frame: &Value| {
        [&frame["data"]["request_id"], &frame["correlation_id"], &frame["in_reply_to"]]
            .contains(&&json!(id))
    };
    theirs.peer.frame("an answer", answers).map(drop)
}

/// The agent leaves, and comes back by itself.
fn comes_back(dialect: &str, theirs: &mut Theirs) -> Result<()> {
    theirs.peer.event("close")?;
    theirs.peer.event("open")?;
    take(dialect, theirs)
}

#[test]
fn our_agent_says_that_its_token_is_refused_and_takes_a_new_one() -> Result<()> {
    for dialect in DIALECTS {
        let mut theirs = joined(dialect)?;
        theirs.peer.tell(&json!({"do": "token", "token": "another"}))?;
        theirs.peer.event("token")?;
        theirs.start()?;
        theirs.peer.event("turned-away")?;
        wait::until("the refusal in its status", SOON, || {
            let status = theirs.status()?;
            let said = status["last_error"].as_str().unwrap_or_default();
            Ok(said.contains("token").then_some(()))
        })?;
        std::fs::write(theirs.path("agent/token"), "another\n")?;
        theirs.peer.event("open")?;
        take(dialect, &mut theirs)?;
        ask(dialect, &mut theirs, "after-the-refusal")?;
    }
    Ok(())
}

#[test]
fn our_agent_leaves_a_server_that_does_not_answer_its_registration() -> Result<()> {
    let mut theirs = backupy()?;
    theirs.start()?;
    for first in [
        json!({"do": "text", "text": "welcome"}),
        json!({"do": "binary", "base64": "//////8="}),
        json!({"do": "say", "words": {"body": "ping", "fields": {"ts_ms": 1}}}),
    ] {
        theirs.peer.event("open")?;
        theirs.peer.tell(&first)?;
        let close = theirs.peer.event("close")?;
        ensure!(close["code"] == 1008, "{close} after {first}");
    }
    theirs.peer.event("open")?;
    take("backupy", &mut theirs)?;
    ask("backupy", &mut theirs, "after-all")?;

    let mut theirs = envelope()?;
    theirs.start()?;
    theirs.peer.event("open")?;
    // What is no answer is passed over; a refusal is one.
    theirs.peer.tell(&json!({"do": "binary", "base64": "AAAA"}))?;
    theirs.peer.say(&json!({"kind": "roster.update", "payload": {}}))?;
    let register = theirs.peer.frame("the registration", |frame| frame["kind"] == "register")?;
    theirs.peer.say(&json!({"kind": "register.error", "in_reply_to": register["id"],
        "payload": {"error": "nobody knows you"}}))?;
    theirs.peer.event("close")?;
    wait::until("the refusal in its status", SOON, || {
        let status = theirs.status()?;
        let said = status["last_error"].as_str().unwrap_or_default();
        Ok(said.contains("nobody knows you").then_some(()))
    })
}

#[test]
fn broken_frames_of_a_server_cost_what_the_dialect_says_and_no_more() -> Result<()> {
    for dialect in DIALECTS {
        let mut theirs = joined(dialect)?;
        theirs.start()?;
        theirs.peer.event("open")?;
        take(dialect, &mut theirs)?;
        // What is of the future, or not of the dialect, is passed over where the dialect forgives.
        let (unknown, odd) = match dialect {
            "nerdbackup" => (
                json!({"type": "command", "action": "from_the_future", "data": {"a": 1}}),
                json!({"do": "binary", "base64": "AAAA"}),
            ),
            "backupy" => (json!({"unknown": 77}), json!({"do": "text", "text": "{}"})),
            _ => (
                json!({"kind": "from.the.future", "payload": {"a": 1}}),
                json!({"do": "binary", "base64": "AAAA"}),
            ),
        };
        for _ in 0..50 {
            theirs.peer.say(&unknown)?;
            theirs.peer.tell(&odd)?;
        }
        ask(dialect, &mut theirs, "after-the-unknown")?;
        ensure!(!theirs.peer.has_seen(|event| event["event"] == "close"), "{dialect} left");
        match dialect {
            // Their own agent would leave; ours loses the frame only.
            "nerdbackup" => {
                theirs.peer.tell(&json!({"do": "text", "text": "{\"type\": 7}"}))?;
                ask(dialect, &mut theirs, "after-the-odd")?;
            }
            "backupy" => {
                theirs.peer.tell(&json!({"do": "binary", "base64": "//////8="}))?;
                comes_back(dialect, &mut theirs)?;
            }
            _ => {
                for _ in 0..16 {
                    theirs.peer.tell(&json!({"do": "text", "text": "{}"}))?;
                }
                comes_back(dialect, &mut theirs)?;
            }
        }
        // Larger than anything that is read, and a connection that dies in mid-frame.
        theirs
            .peer
            .tell(&json!({"do": "flood", "bytes": 5 << 20, "binary": dialect == "backupy"}))?;
        comes_back(dialect, &mut theirs)?;
        theirs.peer.tell(&json!({"do": "half"}))?;
        comes_back(dialect, &mut theirs)?;
        ask(dialect, &mut theirs, "after-all")?;
        theirs.status()?;
    }
    Ok(())
}

#[test]
fn our_agent_reads_empty_pieces_of_a_message_at_its_own_pace() -> Result<()> {
    let mut theirs = envelope()?;
    theirs.start()?;
    theirs.peer.event("open")?;
    take("envelope", &mut theirs)?;
    let began = Instant::now();
    theirs.peer.tell(&json!({"do": "pieces", "count": 20_000}))?;
    theirs.peer.wait("the end of the flood", |event| event["nonce"] == "pieces")?;
    let took = began.elapsed();
    ensure!(took > Duration::from_secs(3), "the flood was read in {took:?}");
    Ok(())
}
