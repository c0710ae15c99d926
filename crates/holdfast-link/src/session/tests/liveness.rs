//! I13: who is alive is known in time, and nobody alive is shut out.

use std::time::Duration;

use super::world::{World, frame};
use crate::session::{Config, Event, Rate, Role};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn both_ends_show_life_and_stay_connected() {
    let mut world = World::live();
    world.advance(600 * SECOND);
    let beats = world.agent.kinds().iter().filter(|kind| **kind == "heartbeat").count();
    let pings = world.server.kinds().iter().filter(|kind| **kind == "ping").count();
    assert_eq!((beats, pings), (30, 30));
    assert_eq!((world.agent.ended(), world.server.ended()), ("not", "not"));
}

#[test]
fn heartbeats_are_spread_by_ten_percent_either_way() {
    for (jitter, due) in [(0.0, 18), (1.0, 22), (f64::MAX, 22)] {
        let config = Config { jitter, ..Config::default() };
        let mut world = World::with(config, Default::default(), Default::default());
        world.settle();
        world.advance(due * SECOND - Duration::from_millis(1));
        assert!(!world.agent.kinds().contains(&"heartbeat"));
        world.advance(Duration::from_millis(1));
        assert!(world.agent.kinds().contains(&"heartbeat"));
    }
}

#[test]
fn a_silent_peer_is_condemned_on_both_sides_in_time() {
    let mut world = World::live();
    // A half-open connection: frames leave, nothing arrives (F13).
    for _ in 0..47 {
        world.now = world.now + SECOND;
        for role in [Role::Agent, Role::Server] {
            world.handle(role, Event::Tick);
        }
        world.pump();
        world.agent.out.clear();
        world.server.out.clear();
        assert_eq!((world.agent.ended(), world.server.ended()), ("not", "not"));
    }
    world.advance(SECOND);
    assert_eq!((world.agent.ended(), world.server.ended()), ("silent", "silent"));
    assert_eq!(world.agent.close_code, Some(4408));
}

#[test]
fn any_frame_and_any_sign_of_life_counts() {
    for alive in [true, false] {
        let mut world = World::live();
        for _ in 0..10 {
            world.now = world.now + 40 * SECOND;
            let sign = if alive { Event::Alive } else { frame(r#"{"kind":"from.the.future"}"#) };
            world.handle(Role::Agent, sign);
        }
        assert!(world.agent.session.is_live());
    }
}

#[test]
fn a_peer_that_does_not_read_is_given_up_on() {
    let mut world = World::live();
    world.server.wire_held = true;
    world.append(Role::Server, 1);
    world.advance(Duration::from_millis(9999));
    assert_eq!(world.server.ended(), "not");
    world.advance(Duration::from_millis(1));
    assert_eq!((world.server.ended(), world.server.close_code), ("stalled", Some(4408)));
}

#[test]
fn a_peer_that_reads_slowly_is_waited_for_as_long_as_it_reads() {
    let mut world = World::live();
    world.server.wire_held = true;
    world.append(Role::Server, 1);
    for _ in 0..30 {
        world.advance(9 * SECOND);
        let alive = frame(r#"{"kind":"from.the.future"}"#);
        world.handle(Role::Server, alive);
        assert!(!world.server.session.is_writing_too_long(world.now));
        assert!(world.server.session.is_writing_too_long(world.now + SECOND));
        world.handle(Role::Server, Event::Flowing);
    }
    assert_eq!(world.server.ended(), "not");
    world.advance(10 * SECOND);
    assert_eq!((world.server.ended(), world.server.close_code), ("stalled", Some(4408)));
}

#[test]
fn a_ping_is_answered_with_its_own_number_and_a_flood_with_one() {
    let mut world = World::live();
    world.agent.wire_held = true;
    world.append(Role::Agent, 1);
    world.pump();
    for nonce in 0..1000 {
        world.handle(
            Role::Agent,
            frame(&format!(r#"{{"kind":"ping","payload":{{"nonce":{nonce}}}}}"#)),
        );
        world.pump();
    }
    world.agent.wire_held = false;
    world.settle();
    let pongs: Vec<_> = world.agent.sent.iter().filter(|frame| frame.kind == "pong").collect();
    assert_eq!(pongs.len(), 1);
    assert_eq!(pongs[0].payload.as_ref().unwrap().as_str(), r#"{"nonce":999}"#);
}

#[test]
fn a_store_that_is_behind_stops_reading_without_blaming_the_peer() {
    let mut world = World::live();
    world.server.disk_held = true;
    for _ in 0..257 {
        world.handle(Role::Server, frame(r#"{"kind":"log.stream","payload":1}"#));
        world.pump();
    }
    assert!(!world.server.session.wants_input());
    world.advance(300 * SECOND);
    assert_eq!(world.server.ended(), "not");
    world.server.disk_held = false;
    world.pump();
    assert!(world.server.session.wants_input());
    world.advance(47 * SECOND);
    assert_eq!((world.server.ended(), world.server.disk.messages.len() >= 257), ("not", true));
}

#[test]
fn who_talks_too_fast_is_read_more_slowly_and_not_blamed() {
    let config = Config { rate: Some(Rate::default()), ..Config::default() };
    let mut world = World::with(config, Default::default(), Default::default());
    world.settle();
    let mut read = 0;
    for _ in 0..100 {
        while world.server.session.wants_input() {
            world.handle(Role::Server, Event::Alive);
            read += 1;
        }
        world.advance(SECOND);
    }
    // Five seconds on credit, then what the rate allows.
    assert!((206_000..=212_000).contains(&read), "{read} frames in 100 s");
    assert_eq!(world.server.ended(), "not");
}

#[test]
fn the_backlog_of_an_outage_is_on_credit() {
    let config = Config { rate: Some(Rate::default()), ..Config::default() };
    let mut world = World::with(config, Default::default(), Default::default());
    world.settle();
    world.append(Role::Agent, 9_500);
    world.advance(SECOND);
    assert_eq!(world.server.disk.received, 9_500);
}

#[test]
fn large_frames_cost_more() {
    let config = Config { rate: Some(Rate::default()), ..Config::default() };
    let mut world = World::with(config, Default::default(), Default::default());
    world.settle();
    let body = "x".repeat(1024 * 1024);
    let mut read = 0;
    while world.server.session.wants_input() {
        world.handle(Role::Server, frame(&format!(r#"{{"kind":"pong","payload":"{body}"}}"#)));
        read += 1;
    }
    assert!((40..=41).contains(&read), "{read} MiB at once");
}

#[test]
fn time_that_jumps_back_changes_nothing() {
    let mut world = World::live();
    let before = world.agent.session.deadline();
    world.agent.session.handle(Event::Tick, crate::clock::Moment::ORIGIN);
    assert_eq!(world.agent.session.deadline(), before);
    assert!(world.agent.session.is_live());
}
