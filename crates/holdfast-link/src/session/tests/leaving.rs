//! I15: leaving loses nothing and takes no longer than it may.

use std::time::Duration;

use holdfast_protocol::Class;

use super::world::{REDIAL_SPREAD, World, message};
use crate::session::{CloseReason, Ended, Event, Role};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_agent_that_stops_sends_what_it_has_and_says_goodbye() {
    let mut world = World::live();
    world.append(Role::Agent, 100);
    world.handle(Role::Agent, Event::Send(message(Class::Log, "log.stream", "")));
    world.handle(Role::Agent, Event::Stop);
    world.advance(SECOND);
    assert_eq!(world.server.disk.applied.len(), 100);
    assert!(world.agent.disk.outbox.is_empty());
    assert_eq!(world.agent.kinds().last(), Some(&"bye"));
    assert_eq!((world.agent.ended(), world.server.ended()), ("stopped", "bye"));
    assert_eq!(world.agent.close_code, Some(1000));
}

#[test]
fn an_agent_that_stops_finds_the_last_records_without_being_woken() {
    let mut world = World::live();
    world.agent.disk.append(holdfast_protocol::Payload::of(&1));
    world.handle(Role::Agent, Event::Stop);
    world.advance(SECOND);
    assert_eq!(world.server.disk.applied, [1]);
}

#[test]
fn leaving_takes_no_longer_than_it_may() {
    let mut world = World::live();
    world.server.disk_held = true;
    world.append(Role::Agent, 1);
    world.handle(Role::Agent, Event::Stop);
    world.advance(Duration::from_millis(4999));
    assert_eq!(world.agent.ended(), "not");
    world.advance(Duration::from_millis(1));
    assert_eq!(world.agent.ended(), "stopped");
    assert_eq!(world.agent.disk.outbox.len(), 1, "it goes with the next session");
}

#[test]
fn a_server_that_drains_asks_finishes_and_lets_go() {
    let mut world = World::live();
    world.append(Role::Agent, 100);
    world.settle();
    let after = 3 * SECOND;
    world.handle(Role::Server, Event::Close(CloseReason::Draining { after }));
    world.append(Role::Agent, 5);
    world.settle();
    assert!(matches!(world.agent.ended, Some(Ended::GoAway { after: asked }) if asked == after));
    assert_eq!(world.server.ended(), "draining");
    assert_eq!(world.server.disk.applied.len() + world.agent.disk.outbox.len(), 105);
}

#[test]
fn an_agent_that_does_not_leave_is_closed_in_time() {
    let mut world = World::live();
    world.handle(Role::Server, Event::Stop);
    world.pump();
    world.server.out.clear();
    world.advance(5 * SECOND);
    assert_eq!((world.server.ended(), world.server.close_code), ("draining", Some(1012)));
}

#[test]
fn a_stopping_server_spreads_its_agents() {
    let mut world = World::live();
    world.handle(Role::Server, Event::Stop);
    world.settle();
    let Some(Ended::GoAway { after }) = world.agent.ended else { panic!("not asked to go") };
    assert_eq!(after, REDIAL_SPREAD / 2, "its jitter is a half");
}

#[test]
fn fencing_and_revoking_are_immediate() {
    for (reason, ended, code) in
        [(CloseReason::Fenced, "fenced", 4409), (CloseReason::Revoked, "revoked", 4403)]
    {
        let mut world = World::live();
        world.append(Role::Server, 10);
        world.handle(Role::Server, Event::Close(reason));
        world.pump();
        assert_eq!((world.server.ended(), world.server.close_code), (ended, Some(code)));
        assert!(world.server.sent.iter().all(|frame| frame.seq.is_none()));
    }
}

#[test]
fn progress_that_waits_does_not_keep_a_draining_session_awake() {
    let mut world = World::live();
    world.server.disk_held = true;
    world.append(Role::Agent, 1);
    world.settle();
    for _ in 0..2 {
        world.handle(Role::Agent, Event::Send(message(Class::Progress, "job.progress", "job")));
        world.pump();
    }
    world.handle(Role::Server, Event::Close(CloseReason::Draining { after: SECOND }));
    world.settle();
    // `advance` fails on a deadline that leads nowhere.
    world.advance(10 * SECOND);
    assert_eq!(world.agent.ended(), "go_away");
}
