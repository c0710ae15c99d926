//! I1 and I3: nothing is acknowledged, and no record is on the wire, before it is on disk; and a
//! position never carries two different records.

use holdfast_link::session::Frame;
use holdfast_protocol::Seq;

use crate::{network::Side, world::World};

/// Judges a frame at the moment it is handed to the wire.
pub(crate) fn check(
    world: &mut World,
    agent: usize,
    from: Side,
    frame: &Frame,
) -> Result<(), (&'static str, String)> {
    if let Some(ack) = frame.ack {
        let received = match from {
            Side::Agent => world.agents[agent].disk.durable().received,
            Side::Server => world.server.disk.durable().agents[agent].received,
        };
        if ack > received {
            return Err((
                "I1",
                format!(
                    "{from:?} of agent {agent} acknowledged {ack}, but only {received} are on disk"
                ),
            ));
        }
    }
    match frame.seq {
        Some(seq) => check_record(world, agent, from, seq, frame),
        None => Ok(()),
    }
}

fn check_record(
    world: &mut World,
    agent: usize,
    from: Side,
    seq: Seq,
    frame: &Frame,
) -> Result<(), (&'static str, String)> {
    let body = frame.payload.as_ref().map_or("", |payload| payload.as_str());
    let first = world.history.wire.entry((agent, from, seq)).or_insert_with(|| body.to_owned());
    if first != body {
        return Err((
            "I3",
            format!("position {seq} of {from:?} {agent} carried {first} and now carries {body}"),
        ));
    }
    let next = match from {
        Side::Agent => world.agents[agent].disk.durable().next,
        Side::Server => world.server.disk.durable().agents[agent].next,
    };
    if seq >= next {
        return Err((
            "I3",
            format!("record {seq} of {from:?} {agent} is on the wire, not on disk"),
        ));
    }
    Ok(())
}
