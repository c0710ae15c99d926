//! Liveness: what is owed to a healthy part of the world is delivered, and then the wire is quiet.

use crate::{agent::Stage, network::Side, world::World};

/// What is still owed to the agents below `core`; `None` when nothing is.
pub(crate) fn owed(world: &World, core: usize) -> Option<String> {
    if !world.server.up {
        return Some("the server is down".to_owned());
    }
    (0..core).find_map(|agent| owed_to(world, agent).map(|what| format!("agent {agent}: {what}")))
}

fn owed_to(world: &World, index: usize) -> Option<String> {
    let agent = &world.agents[index];
    let mirror = &world.server.disk.durable().agents[index];
    let live = agent
        .conn
        .and_then(|conn| world.ends.get(&(conn, Side::Agent)))
        .is_some_and(|end| end.session.is_live());
    if !agent.up || !live {
        return Some("not connected".to_owned());
    }
    let state = agent.disk.durable();
    if !state.outbox.is_empty() {
        return Some(format!("{} records wait on the agent", state.outbox.len()));
    }
    if !mirror.outbox.is_empty() {
        return Some(format!("{} commands wait on the server", mirror.outbox.len()));
    }
    if let Some(command) =
        state.journal.iter().find_map(|(id, stage)| (*stage != Stage::Done).then_some(id))
    {
        return Some(format!("command {command} has not ended"));
    }
    if agent.config != mirror.config {
        return Some(format!("configuration {} instead of {}", agent.config, mirror.config));
    }
    (!agent.disk.is_idle() || !world.server.disk.is_idle()).then(|| "commits under way".to_owned())
}
