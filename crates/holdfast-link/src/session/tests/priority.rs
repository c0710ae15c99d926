//! I11 and the order of the writer: results first, and nobody waits for ever.

use std::time::Duration;

use holdfast_protocol::Class;

use super::world::{World, message};
use crate::session::{Event, Role};

/// The kinds the agent sends once its wire, held so far, is free again.
fn release(world: &mut World) -> Vec<String> {
    let before = world.agent.sent.len();
    world.agent.wire_held = false;
    world.settle();
    world.agent.kinds()[before..].iter().map(ToString::to_string).collect()
}

/// An agent whose wire is busy with one frame.
fn busy() -> World {
    let mut world = World::live();
    world.agent.wire_held = true;
    world.handle(Role::Agent, Event::Send(message(Class::State, "first", "")));
    world.pump();
    world
}

#[test]
fn records_go_before_states_logs_and_progress() {
    let mut world = busy();
    for (class, kind) in
        [(Class::Progress, "job.progress"), (Class::Log, "log.stream"), (Class::State, "state")]
    {
        world.handle(Role::Agent, Event::Send(message(class, kind, "")));
    }
    world.append(Role::Agent, 1);
    world.pump();
    let kinds = release(&mut world);
    assert_eq!(kinds[0], "job.finished");
    assert_eq!(kinds.len(), 4);
}

#[test]
fn a_flood_of_records_lets_everything_else_through() {
    let mut world = busy();
    for (class, kind) in
        [(Class::Progress, "job.progress"), (Class::Log, "log.stream"), (Class::State, "state")]
    {
        world.handle(Role::Agent, Event::Send(message(class, kind, "")));
    }
    world.append(Role::Agent, 200);
    world.pump();
    let kinds = release(&mut world);
    let last = kinds.iter().rposition(|kind| kind != "job.finished").unwrap();
    assert!(last <= 3 * 17, "the last of three others went at {last}");
}

#[test]
fn a_flood_of_logs_does_not_hold_up_a_record() {
    let mut world = busy();
    for _ in 0..1000 {
        world.handle(Role::Agent, Event::Send(message(Class::Log, "log.stream", "")));
    }
    world.append(Role::Agent, 1);
    world.pump();
    let kinds = release(&mut world);
    assert_eq!(kinds[0], "job.finished");
    assert_eq!(kinds.len(), 257);
    assert_eq!(world.agent.session.dropped().logs, 744);
}

#[test]
fn states_known_before_the_session_go_first() {
    let mut world = World::new();
    world.handle(Role::Server, Event::Send(message(Class::State, "config.update", "")));
    world.handle(Role::Server, Event::Send(message(Class::State, "schedule.set", "")));
    world.append(Role::Server, 1);
    world.settle();
    assert_eq!(world.server.kinds(), ["welcome", "config.update", "schedule.set", "job.finished"]);
}

#[test]
fn progress_is_paced_and_only_the_newest_is_sent() {
    let mut world = World::live();
    for _ in 0..100 {
        world.handle(Role::Agent, Event::Send(message(Class::Progress, "job.progress", "job")));
        world.advance(Duration::from_millis(50));
    }
    let sent = world.agent.kinds().iter().filter(|kind| **kind == "job.progress").count();
    assert_eq!(sent, 6, "at once, and then once a second for five seconds");
}

#[test]
fn progress_withdrawn_before_it_was_sent_never_is() {
    let mut world = busy();
    world.handle(Role::Agent, Event::Send(message(Class::Progress, "job.progress", "job")));
    let (kind, key) = ("job.progress".to_owned(), "job".to_owned());
    world.handle(Role::Agent, Event::Withdraw { kind, key });
    world.append(Role::Agent, 1);
    world.pump();
    assert_eq!(release(&mut world), ["job.finished"]);
}

#[test]
fn what_was_not_sent_is_given_back_at_the_end() {
    let mut world = busy();
    world.handle(Role::Agent, Event::Send(message(Class::Log, "log.stream", "")));
    world.handle(Role::Agent, Event::Send(message(Class::Progress, "job.progress", "job")));
    let unsent: Vec<_> = world.agent.session.into_unsent().map(|message| message.kind).collect();
    assert_eq!(unsent, ["job.progress", "log.stream"]);
}
