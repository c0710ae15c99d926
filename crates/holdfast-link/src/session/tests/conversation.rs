//! Messages without a number, and words this build does not know.

use std::time::Duration;

use holdfast_protocol::Class;

use super::world::{World, frame, message};
use crate::session::{Event, Notice, Role};

#[test]
fn messages_arrive_with_their_class_and_without_their_key() {
    let mut world = World::live();
    for (class, kind) in [
        (Class::State, "config.update"),
        (Class::Progress, "job.progress"),
        (Class::Log, "log.stream"),
    ] {
        world.handle(Role::Agent, Event::Send(message(class, kind, "key")));
    }
    world.settle();
    let mut classes: Vec<_> =
        world.server.disk.messages.iter().map(|message| (message.class, &*message.key)).collect();
    classes.sort_by_key(|(class, _)| format!("{class:?}"));
    assert_eq!(classes, [(Class::Log, ""), (Class::Progress, ""), (Class::State, "")]);
}

#[test]
fn an_unknown_kind_is_counted_noted_once_and_left() {
    let mut world = World::live();
    for _ in 0..3 {
        world.handle(Role::Server, frame(r#"{"kind":"from.the.future","payload":{}}"#));
    }
    world.pump();
    assert_eq!(world.server.session.counts().unknown, 3);
    assert_eq!(world.server.notices, [Notice::UnknownKind { kind: "from.the.future".to_owned() }]);
    assert!(world.server.session.is_live());
}

#[test]
fn a_record_without_a_number_is_a_violation() {
    for text in [
        r#"{"kind":"job.finished","payload":{}}"#,
        r#"{"kind":"job.finished","seq":0,"payload":{}}"#,
    ] {
        let mut world = World::live();
        world.handle(Role::Server, frame(text));
        world.pump();
        assert_eq!(world.server.ended(), "violation");
        assert_eq!(world.server.disk.applied.len(), 0);
    }
}

#[test]
fn words_of_the_greeting_are_out_of_turn_later() {
    for text in [
        r#"{"kind":"welcome","payload":{}}"#,
        r#"{"kind":"reject","payload":{}}"#,
        r#"{"kind":"goaway","payload":{"after_ms":1,"reason":""}}"#,
    ] {
        let mut world = World::live();
        world.handle(Role::Server, frame(text));
        world.pump();
        assert_eq!((world.server.ended(), world.server.close_code), ("violation", Some(4400)));
    }
}

#[test]
fn an_agent_that_was_quiet_for_hours_still_sends_at_once() {
    let mut world = World::live();
    world.advance(Duration::from_secs(6 * 3600));
    world.append(Role::Agent, 1);
    world.settle();
    assert_eq!(world.server.disk.applied, [1]);
}

#[test]
fn answers_that_nobody_waits_for_are_counted_and_left() {
    let mut world = World::live();
    for text in [
        r#"{"kind":"echo.reply","in_reply_to":"7","payload":{}}"#,
        r#"{"kind":"job.finished","in_reply_to":"no number"}"#,
    ] {
        world.handle(Role::Server, frame(text));
    }
    world.pump();
    assert_eq!(world.server.session.counts().late, 2);
    assert!(world.server.session.is_live());
}
