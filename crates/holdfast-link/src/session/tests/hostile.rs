//! F22, F23, F45: whatever comes, a session never panics, never grows, never acknowledges what is
//! not on its disk (the world asserts that with every frame), and never waits on a passed deadline.

use std::time::Duration;

use holdfast_protocol::{Class, Message};
use proptest::prelude::*;

use super::world::{World, message};
use crate::session::{CloseReason, Event, Loss, Role, Unreadable};

fn kinds() -> impl Strategy<Value = String> {
    let link =
        ["hello", "welcome", "reject", "ack", "expect", "goaway", "bye", "ping", "pong", "x"];
    let all: Vec<&str> = link.into_iter().chain(Message::KINDS.iter().copied()).collect();
    prop::sample::select(all).prop_map(str::to_owned)
}

fn bodies() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("{}".to_owned()),
        (0u64..6).prop_map(|next| format!(
            r#"{{"next":{next},"nonce":{next},"after_ms":{next},"reason":"r"}}"#
        )),
        Just(format!(r#"{{"next":{0},"nonce":{0},"after_ms":{0},"reason":"r"}}"#, u64::MAX)),
        Just("[".repeat(500) + &"]".repeat(500)),
        Just(r#"{"code":"c","message":"m"}"#.to_owned()),
    ]
}

fn positions() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        3 => Just(None),
        6 => (0u64..8).prop_map(Some),
        1 => Just(Some(u64::MAX)),
    ]
}

fn frames() -> impl Strategy<Value = Event> {
    texts().prop_map(|text| Event::from_text(&text))
}

fn texts() -> impl Strategy<Value = String> {
    (kinds(), positions(), positions(), bodies()).prop_map(|(kind, seq, ack, body)| {
        let seq = seq.map_or(String::new(), |seq| format!(r#","seq":{seq}"#));
        let ack = ack.map_or(String::new(), |ack| format!(r#","ack":{ack}"#));
        format!(r#"{{"kind":"{kind}","ts":"2026-11-21T10:00:00Z"{seq}{ack},"payload":{body}}}"#)
    })
}

/// Also what the driver would never do: answers nobody asked for, in any order.
fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => frames(),
        1 => Just(()).prop_map(|()| Event::Applied),
        1 => Just(()).prop_map(|()| Event::Written),
        1 => Just(()).prop_map(|()| Event::Forgotten),
        1 => Just(()).prop_map(|()| Event::Received),
        1 => Just(()).prop_map(|()| Event::Skipped),
        1 => Just(()).prop_map(|()| Event::Loaded { after: 3, records: Vec::new() }),
        1 => Just(()).prop_map(|()| Event::Wake),
        1 => Just(()).prop_map(|()| Event::Stop),
        1 => Just(()).prop_map(|()| Event::Alive),
        1 => Just(()).prop_map(|()| Event::Unreadable(Unreadable::Binary)),
        1 => Just(()).prop_map(|()| {
            Event::Close(CloseReason::Draining { after: Duration::from_secs(1) })
        }),
        1 => Just(()).prop_map(|()| Event::Lost(Loss::Failed { cause: "cut".to_owned() })),
        2 => Just(()).prop_map(|()| Event::Send(message(Class::Progress, "job.progress", "a"))),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_events_breaks_a_session(
        agent: bool, greeted: bool, held: bool, appended in 0u64..5,
        events in prop::collection::vec((events(), 0u64..20_000), 1..60),
    ) {
        let role = if agent { Role::Agent } else { Role::Server };
        let mut world = if greeted { World::live() } else { World::new() };
        world.append(role, appended);
        world.pump();
        world.end(role).disk_held = held;
        for (event, millis) in events {
            // Answers that nobody asked for are the driver's to avoid while work is under way.
            let answer = matches!(event, Event::Applied | Event::Written | Event::Skipped);
            if !(answer && held) {
                world.handle(role, event);
            }
            world.pump();
            prop_assert!(world.end(role).session.held() <= 600);
            world.advance(Duration::from_millis(millis));
        }
    }

    /// The same events at the same times always give the same frames.
    #[test]
    fn a_session_is_a_function_of_what_happens_to_it(
        texts in prop::collection::vec((texts(), 0u64..20_000), 1..40),
    ) {
        let run = || {
            let mut world = World::live();
            for (text, millis) in &texts {
                world.handle(Role::Server, Event::from_text(text));
                world.append(Role::Server, 3);
                world.advance(Duration::from_millis(*millis));
            }
            (world.server.sent, world.agent.sent, format!("{:?}", world.server.ended))
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn no_text_breaks_the_reader(text in ".{0,300}") {
        let mut world = World::live();
        world.handle(Role::Server, Event::from_text(&text));
        world.pump();
    }

    /// A frame of an older session that comes again in a newer one changes nothing (F22).
    #[test]
    fn frames_replayed_from_an_older_session_change_nothing(
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
    ) {
        let mut world = World::live();
        world.append(Role::Agent, 20);
        world.append(Role::Server, 20);
        world.advance(Duration::from_secs(30));
        let old: Vec<_> = world.agent.sent.iter().filter(|frame| frame.kind != "hello").cloned().collect();
        world.reconnect();
        world.settle();
        let applied = world.server.disk.applied.clone();
        for pick in picks {
            world.handle(Role::Server, Event::Frame(pick.get(&old).clone()));
            world.settle();
        }
        prop_assert!(world.server.session.is_live());
        prop_assert_eq!(&world.server.disk.applied, &applied);
    }
}
