//! I1 to I6: records, acks, resuming, duplicates, gaps, the window.

use std::time::Duration;

use holdfast_protocol::{FRAME_SIZE_MAX, Payload};
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

use super::world::{Disk, Flaw, World, dense, frame};
use crate::session::{Config, Event, Notice, Role, Violation, Window};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn records_are_applied_in_order_and_forgotten_once_acknowledged() {
    let mut world = World::live();
    world.append(Role::Agent, 1000);
    world.append(Role::Server, 10);
    world.advance(SECOND);
    assert_eq!(world.server.disk.applied, dense(1000));
    assert_eq!(world.agent.disk.applied, dense(10));
    assert!(world.agent.disk.outbox.is_empty() && world.server.disk.outbox.is_empty());
}

#[test]
fn nothing_is_acknowledged_before_it_is_applied() {
    let mut world = World::live();
    world.server.disk_held = true;
    world.append(Role::Agent, 5);
    world.advance(10 * SECOND);
    assert!(world.server.sent.iter().all(|frame| frame.ack.is_none()));
    assert_eq!(world.agent.disk.outbox.len(), 5);
    world.server.disk_held = false;
    world.advance(SECOND);
    assert_eq!(world.server.sent.last().unwrap().ack, Some(5));
}

#[test]
fn what_comes_while_the_store_is_busy_is_one_batch() {
    let mut world = World::live();
    world.server.disk_held = true;
    world.append(Role::Agent, 100);
    world.settle();
    world.server.disk_held = false;
    world.advance(SECOND);
    // The first record went alone, the other 99 together; the acks that follow are two at most.
    let acks = world.server.kinds().iter().filter(|kind| **kind == "ack").count();
    assert_eq!((world.server.disk.applied.len(), acks), (100, 1));
}

#[test]
fn an_ack_waits_for_company_but_not_for_long() {
    let mut world = World::live();
    world.append(Role::Agent, 1);
    world.settle();
    assert_eq!(world.server.kinds(), ["welcome"]);
    world.advance(Duration::from_millis(49));
    assert_eq!(world.server.kinds(), ["welcome"]);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.server.kinds(), ["welcome", "ack"]);

    world.append(Role::Agent, 1);
    world.settle();
    world.append(Role::Server, 1);
    world.settle();
    assert_eq!(world.server.sent.last().unwrap().ack, Some(2), "it rides on a frame");
    world.advance(SECOND);
    assert_eq!(world.server.kinds(), ["welcome", "ack", "job.finished"]);
}

#[test]
fn resume_after_a_cut_goes_on_after_the_last_applied_record() {
    let mut world = World::live();
    world.append(Role::Agent, 20);
    world.pump();
    for _ in 0..7 {
        world.deliver(Role::Server);
        world.pump();
    }
    world.reconnect();
    world.settle();
    assert_eq!(world.server.disk.applied, dense(20));
    let first = world.agent.sent.iter().find_map(|frame| frame.seq);
    assert_eq!(first, Some(8), "what had taken effect is not sent again");
}

#[test]
fn a_record_appended_while_greeting_is_sent_like_any_other() {
    let mut world = World::new();
    world.append(Role::Agent, 1);
    world.settle();
    assert_eq!(world.server.disk.applied, [1]);
}

#[test]
fn an_ack_that_was_lost_costs_nothing() {
    let mut world = World::live();
    world.append(Role::Agent, 3);
    world.settle();
    world.now = world.now + SECOND;
    world.handle(Role::Server, Event::Tick);
    world.pump();
    world.server.out.clear();
    world.reconnect();
    world.advance(SECOND);
    assert_eq!(world.server.disk.applied, dense(3));
    assert!(world.agent.disk.outbox.is_empty());
    assert_eq!(world.agent.sent.iter().filter(|frame| frame.seq.is_some()).count(), 0);
}

#[test]
fn a_duplicate_is_dropped_and_acknowledged_again_at_once() {
    let mut world = World::live();
    world.append(Role::Agent, 2);
    world.advance(SECOND);
    let repeated = world.agent.sent.iter().find(|frame| frame.seq == Some(1)).unwrap().clone();
    let acks = world.server.sent.len();
    world.handle(Role::Server, Event::Frame(repeated));
    world.settle();
    assert_eq!(world.server.disk.applied, dense(2));
    assert_eq!(world.server.session.counts().duplicates, 1);
    assert_eq!(world.server.sent[acks..].last().unwrap().ack, Some(2));
}

#[test]
fn a_gap_is_asked_about_once_and_filled() {
    let mut world = World::live();
    world.append(Role::Agent, 10);
    world.pump();
    world.agent.out.pop_front();
    world.settle();
    assert_eq!(world.server.disk.applied, dense(10));
    assert_eq!(world.server.kinds().iter().filter(|kind| **kind == "expect").count(), 1);
    assert_eq!(world.server.session.counts().early, 9);
}

#[test]
fn a_lost_last_record_is_sent_again_after_a_while() {
    let mut world = World::live();
    world.append(Role::Agent, 3);
    world.pump();
    world.agent.out.pop_back();
    world.advance(59 * SECOND);
    assert_eq!(world.server.disk.applied, dense(2));
    world.advance(2 * SECOND);
    assert_eq!(world.server.disk.applied, dense(3));
    assert_eq!(world.agent.session.counts().resent, 1);
}

#[test]
fn the_window_bounds_unacknowledged_records() {
    let mut world = World::live();
    world.server.disk_held = true;
    world.append(Role::Agent, 1000);
    world.settle();
    assert_eq!(world.agent.sent.iter().filter(|frame| frame.seq.is_some()).count(), 256);
    assert!(world.agent.session.held() <= 256 + 64);
    world.server.disk_held = false;
    world.advance(SECOND);
    assert_eq!(world.server.disk.applied, dense(1000));
}

#[test]
fn the_window_bounds_unacknowledged_bytes() {
    let mut world = World::live();
    world.server.disk_held = true;
    for _ in 0..10 {
        world.agent.disk.append(Payload::of(&"x".repeat(400 * 1024)));
    }
    world.handle(Role::Agent, Event::Wake);
    world.settle();
    assert_eq!(world.agent.sent.iter().filter(|frame| frame.seq.is_some()).count(), 3);
    world.server.disk_held = false;
    world.advance(SECOND);
    assert_eq!(world.server.disk.applied.len(), 10);
}

#[test]
fn a_peer_that_ignores_the_window_is_shut_out() {
    let mut world = World::live();
    world.server.disk_held = true;
    for seq in 1..=400 {
        world.handle(
            Role::Server,
            frame(&format!(r#"{{"kind":"job.finished","seq":{seq},"payload":1}}"#)),
        );
        world.pump();
    }
    assert_eq!((world.server.ended(), world.server.close_code), ("violation", Some(4400)));
    assert!(world.server.session.held() <= 258);
}

#[test]
fn an_ack_for_what_was_never_sent_is_a_violation() {
    let mut world = World::live();
    world.append(Role::Agent, 2);
    world.pump();
    world.handle(Role::Agent, frame(r#"{"kind":"ack","ack":3}"#));
    world.pump();
    assert_eq!(world.agent.ended(), "violation");
    assert_eq!(world.agent.disk.outbox.len(), 2, "and nothing is forgotten");
}

#[test]
fn a_request_for_what_does_not_exist_is_a_violation() {
    let mut world = World::live();
    world.append(Role::Agent, 2);
    world.pump();
    world.handle(Role::Agent, frame(r#"{"kind":"expect","payload":{"next":4}}"#));
    world.pump();
    let text = world.agent.ended.as_ref().map(ToString::to_string);
    assert_eq!(text, Some(Violation::ExpectOutOfRange { next: 4 }.to_string()));
}

#[test]
fn a_few_late_requests_are_echoes_but_many_are_a_violation() {
    let mut world = World::live();
    world.append(Role::Agent, 5);
    world.advance(SECOND);
    for _ in 0..8 {
        world.handle(Role::Agent, frame(r#"{"kind":"expect","payload":{"next":1}}"#));
    }
    world.settle();
    assert_eq!(world.agent.ended(), "not");
    world.handle(Role::Agent, frame(r#"{"kind":"expect","payload":{"next":1}}"#));
    world.settle();
    assert_eq!(world.agent.ended(), "violation");
}

#[test]
fn a_record_too_large_for_the_wire_does_not_stop_the_stream() {
    let mut world = World::live();
    world.agent.disk.append(Payload::of(&"x".repeat(FRAME_SIZE_MAX)));
    world.append(Role::Agent, 1);
    world.advance(SECOND);
    assert_eq!(world.server.disk.applied, [u64::MAX, 2]);
    assert_eq!(world.agent.sent[1].kind, "record.oversize");
    let size_bytes = FRAME_SIZE_MAX + 2;
    assert_eq!(world.agent.notices, [Notice::Oversize { seq: 1, size_bytes }]);
}

#[test]
fn a_record_of_unknown_kind_goes_to_the_store_like_any_other() {
    let mut world = World::live();
    world.handle(Role::Server, frame(r#"{"kind":"from.the.future","seq":1,"payload":1}"#));
    world.settle();
    assert_eq!(world.server.disk.applied, [1]);
}

#[test]
fn a_store_with_holes_ends_the_session() {
    let mut world = World::live();
    world.append(Role::Agent, 3);
    world.agent.disk.outbox.remove(1);
    world.settle();
    assert_eq!((world.agent.ended(), world.agent.close_code), ("store_failed", Some(1011)));
}

#[test]
fn the_reason_of_a_store_error_stays_at_home() {
    let mut world = World::live();
    let error = crate::StoreError::new("applying records", "/var/lib/canary: disk full");
    world.handle(Role::Server, Event::StoreFailed(error));
    let close = world.server.session.poll_action();
    assert!(!format!("{close:?}").contains("canary"), "{close:?}");
}

/// What can befall a stream between two appends.
#[derive(Debug, Clone)]
enum Fate {
    Append(Role, u64),
    Advance(u64),
    Deliver(Role, usize),
    Drop(Role),
    Duplicate(Role),
    Swap(Role),
    HoldDisk(Role, bool),
    HoldWire(Role, bool),
    PowerCut(Role),
    Reconnect,
}

fn fate() -> impl Strategy<Value = Fate> {
    let role = prop_oneof![Just(Role::Agent), Just(Role::Server)];
    prop_oneof![
        4 => (role.clone(), 1u64..40).prop_map(|(role, count)| Fate::Append(role, count)),
        2 => (1u64..30_000).prop_map(Fate::Advance),
        6 => (role.clone(), 1usize..20).prop_map(|(role, count)| Fate::Deliver(role, count)),
        1 => role.clone().prop_map(Fate::Drop),
        1 => role.clone().prop_map(Fate::Duplicate),
        1 => role.clone().prop_map(Fate::Swap),
        1 => (role.clone(), any::<bool>()).prop_map(|(role, held)| Fate::HoldDisk(role, held)),
        1 => (role.clone(), any::<bool>()).prop_map(|(role, held)| Fate::HoldWire(role, held)),
        1 => role.prop_map(Fate::PowerCut),
        1 => Just(Fate::Reconnect),
    ]
}

fn befall(world: &mut World, fate: &Fate) {
    match *fate {
        Fate::Append(role, count) => world.append(role, count),
        Fate::Advance(millis) => world.advance(Duration::from_millis(millis)),
        Fate::Deliver(role, count) => {
            for _ in 0..count {
                world.deliver(role);
                world.pump();
            }
        }
        Fate::Drop(role) => drop(world.end(role).out.pop_front()),
        Fate::Duplicate(role) => {
            let frame = world.end(role).out.front().cloned();
            world.end(role).out.extend(frame);
        }
        Fate::Swap(role) => {
            let out = &mut world.end(role).out;
            if out.len() > 1 {
                out.swap(0, 1);
            }
        }
        Fate::HoldDisk(role, held) => world.end(role).disk_held = held,
        Fate::HoldWire(role, held) => world.end(role).wire_held = held,
        Fate::PowerCut(role) => world.power_cut(role),
        Fate::Reconnect => world.reconnect(),
    }
    world.pump();
    if world.agent.session.is_ended() || world.server.session.is_ended() {
        world.reconnect();
    }
}

/// Whatever happens to frames, disks and connections: once it stops, every record has taken effect
/// exactly once, in order, and both outboxes are empty.
///
/// At the end either the connection is replaced, or what holds things up is lifted and the same
/// session has to sort itself out.
fn survive(
    records: usize,
    fates: &[Fate],
    replaced: bool,
    flaw: Option<Flaw>,
) -> Result<(), TestCaseError> {
    let window = Window { records, bytes: 1024 };
    let config = Config { window, ..Config::default() };
    let disk = Disk { flaw, ..Disk::default() };
    let mut world = World::with(config, disk.clone(), disk);
    for fate in fates {
        befall(&mut world, fate);
        prop_assert!(world.agent.session.held() <= 64 + 2 * records + 4);
    }
    if replaced {
        world.reconnect();
    }
    for role in [Role::Agent, Role::Server] {
        (world.end(role).disk_held, world.end(role).wire_held) = (false, false);
    }
    world.advance(Duration::from_secs(200));
    if world.agent.session.is_ended() || world.server.session.is_ended() {
        world.reconnect();
        world.advance(Duration::from_secs(200));
    }
    prop_assert_eq!(&world.server.disk.applied, &dense(world.agent.disk.appended));
    prop_assert_eq!(&world.agent.disk.applied, &dense(world.server.disk.appended));
    prop_assert!(world.agent.disk.outbox.is_empty() && world.server.disk.outbox.is_empty());
    // And the wire goes quiet: what is left are proofs of life.
    world.agent.sent.clear();
    world.advance(Duration::from_secs(100));
    prop_assert!(world.agent.sent.len() <= 12, "{:?}", world.agent.kinds());
    Ok(())
}

fn lives() -> impl Strategy<Value = (usize, Vec<Fate>, bool)> {
    (1usize..20, prop::collection::vec(fate(), 0..120), any::<bool>())
}

proptest! {
    #[test]
    fn every_record_takes_effect_once_and_in_order((window, fates, replaced) in lives()) {
        survive(window, &fates, replaced, None)?;
    }
}

/// A property that cannot fail proves nothing: each broken promise of the store must show.
#[test]
fn a_store_that_breaks_a_promise_is_caught() {
    let flaws =
        [Flaw::AnswersEarly, Flaw::ForgetsUnasked, Flaw::LosesPosition, Flaw::RestartsNumbers];
    for flaw in flaws {
        let config = ProptestConfig {
            cases: 500,
            max_shrink_iters: 0,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let ended = TestRunner::new_with_rng(config, rng)
            .run(&lives(), |(window, fates, replaced)| {
                survive(window, &fates, replaced, Some(flaw))
            });
        assert!(ended.is_err(), "{flaw:?} went unnoticed");
    }
}
