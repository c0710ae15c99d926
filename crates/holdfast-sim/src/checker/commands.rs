//! I7: a command's process is started at most once, and every command has exactly one end.

use crate::world::World;

/// Judges all commands of the core when the world has settled.
pub(crate) fn check(world: &World, core: usize) -> Result<(), String> {
    if let Some((command, spawns)) = world.history.spawns.iter().find(|(_, spawns)| **spawns > 1) {
        return Err(format!("the process of command {command} was started {spawns} times"));
    }
    for (command, agent) in &world.history.commanded {
        let mirror = &world.server.disk.durable().agents[*agent];
        let ends = mirror.commands.get(command).copied().unwrap_or(0);
        if ends > 1 || (*agent < core && ends != 1) {
            return Err(format!("command {command} of agent {agent} has {ends} ends"));
        }
    }
    Ok(())
}
