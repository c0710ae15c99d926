use std::time::Duration;

use holdfast_protocol::message::link::{Reject, Welcome};

use super::world::{Disk, World, frame};
use crate::session::{CloseReason, Config, Ended, Event, Notice, Role, Violation};

#[test]
fn hello_and_welcome_make_both_ends_live() {
    let mut world = World::new();
    assert!(!world.agent.session.is_live());
    world.settle();
    assert_eq!(world.agent.kinds(), ["hello"]);
    assert_eq!(world.server.kinds(), ["welcome"]);
    assert!(world.agent.session.is_live() && world.server.session.is_live());
}

#[test]
fn a_greeting_that_takes_too_long_ends_both_ends() {
    let mut world = World::new();
    world.pump();
    world.agent.out.clear();
    world.advance(Duration::from_secs(10));
    for end in [&world.agent, &world.server] {
        assert_eq!((end.ended(), end.close_code), ("handshake_timed_out", Some(4408)));
    }
}

#[test]
fn any_other_first_word_is_a_violation() {
    for text in [
        r#"{"kind":"heartbeat"}"#,
        r#"{"kind":"job.finished","seq":1}"#,
        r#"{"kind":"welcome","payload":{}}"#,
        r#"{"kind":"ack","ack":5}"#,
        r#"{"kind":"bye","payload":{"reason":""}}"#,
    ] {
        let mut world = World::new();
        world.handle(Role::Server, frame(text));
        world.pump();
        assert_eq!((world.server.ended(), world.server.close_code), ("violation", Some(4400)));
    }
}

#[test]
fn a_second_hello_is_a_violation_before_and_after_the_welcome() {
    let mut world = World::new();
    world.pump();
    let hello = world.agent.sent[0].clone();
    world.handle(Role::Server, Event::Frame(hello.clone()));
    world.handle(Role::Server, Event::Frame(hello.clone()));
    world.pump();
    assert_eq!(world.server.ended(), "violation");

    let mut world = World::live();
    world.handle(Role::Server, Event::Frame(hello));
    world.pump();
    assert_eq!(world.server.ended(), "violation");
}

#[test]
fn a_body_of_the_wrong_shape_is_a_violation_that_names_the_word() {
    let mut world = World::new();
    world.handle(Role::Server, frame(r#"{"kind":"hello","payload":{"boot":"canary"}}"#));
    world.pump();
    let Some(Ended::Violation(violation)) = &world.server.ended else { panic!("not a violation") };
    assert_eq!(*violation, Violation::Malformed { kind: "hello" });
    assert_eq!(violation.to_string(), "the body of `hello` has the wrong shape");
}

#[test]
fn positions_that_no_stream_reaches_are_refused() {
    let mut world = World::new();
    world.pump();
    let mut hello = world.agent.sent[0].to_json();
    hello = hello.replace("\"oldest\":1", &format!("\"oldest\":{}", u64::MAX));
    world.handle(Role::Server, Event::from_text(&hello));
    world.pump();
    assert_eq!(world.server.ended(), "violation");
}

#[test]
fn another_version_is_told_why_it_may_not_come_in() {
    let mut world = World::new();
    world.pump();
    let hello = world.agent.sent[0].to_json();
    let hello = hello.replace("\"protocol_version\":1", "\"protocol_version\":2");
    world.agent.out.clear();
    world.handle(Role::Server, Event::from_text(&hello));
    world.settle();
    let Some(Ended::Rejected(reject)) = &world.agent.ended else { panic!("not rejected") };
    assert_eq!((reject.code.as_str(), reject.fatal), ("unsupported_version", true));
    assert_eq!(world.server.ended(), "rejected");
}

#[test]
fn a_reject_reaches_the_agent_before_the_connection_closes() {
    let mut world = World::new();
    world.server.wire_held = true;
    world.pump();
    let reject = Reject {
        code: "busy".to_owned(),
        message: "come back later".to_owned(),
        retry_after_ms: Some(5000),
        fatal: false,
    };
    world.handle(Role::Server, Event::Refused(reject));
    world.pump();
    assert!(world.server.ended.is_none(), "the reject is still being written");
    world.server.wire_held = false;
    world.settle();
    assert_eq!((world.agent.ended(), world.server.ended()), ("rejected", "rejected"));
    assert_eq!(world.server.close_code, Some(4406));
}

#[test]
fn an_agent_whose_store_was_set_back_must_not_go_on() {
    let server = Disk { received: 10, ..Disk::default() };
    let mut agent = Disk::default();
    agent.append(holdfast_protocol::Payload::of(&1));
    let mut world = World::with(Config::default(), agent, server);
    world.settle();
    let Some(Ended::PeerAhead { ours: 1, theirs: 10 }) = world.agent.ended else {
        panic!("ended {}", world.agent.ended())
    };
}

#[test]
fn a_server_whose_store_was_set_back_says_so() {
    let agent = Disk { received: 10, ..Disk::default() };
    let mut world = World::with(Config::default(), agent, Disk::default());
    world.settle();
    assert_eq!((world.agent.ended(), world.server.ended()), ("rejected", "peer_ahead"));
}

#[test]
fn records_a_set_back_peer_can_never_get_are_declared_and_the_rest_goes_on() {
    // The agent has sent 1 to 8 and forgotten them; the server only knows of 5.
    let mut agent = Disk { appended: 8, ..Disk::default() };
    for number in 9..=12u64 {
        agent.append(holdfast_protocol::Payload::of(&number));
    }
    let server = Disk { received: 5, applied: super::world::dense(5), ..Disk::default() };
    let mut world = World::with(Config::default(), agent, server);
    world.settle();
    assert_eq!(world.agent.notices, [Notice::PeerSetBack { missing: 6..=8 }]);
    assert_eq!(world.server.notices, [Notice::Missing { missing: 6..=8 }]);
    assert_eq!(world.server.disk.skipped, [6..=8]);
    assert_eq!(world.server.disk.applied, [1, 2, 3, 4, 5, 9, 10, 11, 12]);
    world.advance(Duration::from_secs(1));
    assert!(world.agent.disk.outbox.is_empty());
}

#[test]
fn the_times_in_the_welcome_are_brought_into_sane_bounds() {
    let mut world = World::new();
    world.pump();
    while world.deliver(Role::Server) {
        world.pump();
    }
    let welcome = world.server.out.pop_front().unwrap();
    let mut body: Welcome = welcome.payload.unwrap().parse().unwrap();
    (body.heartbeat_interval_ms, body.silence_max_ms) = (0, 0);
    let body = serde_json::to_string(&body).unwrap();
    world.handle(Role::Agent, frame(&format!(r#"{{"kind":"welcome","payload":{body}}}"#)));
    world.pump();
    assert!(world.agent.session.is_live());
    let deadline = world.agent.session.deadline().unwrap();
    assert!(deadline - world.now >= Duration::from_millis(900), "no spinning");
}

#[test]
fn closing_before_the_greeting_is_over_is_immediate() {
    for reason in [CloseReason::Fenced, CloseReason::Draining { after: Duration::ZERO }] {
        let mut world = World::new();
        world.handle(Role::Server, Event::Close(reason));
        world.pump();
        assert!(world.server.ended.is_some());
    }
    let mut world = World::new();
    world.handle(Role::Agent, Event::Stop);
    world.pump();
    assert_eq!(world.agent.ended(), "stopped");
}
