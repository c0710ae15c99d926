//! I2, I4, I5, I6: every record that was written takes effect once, in order, and nothing else
//! does.

use std::collections::BTreeMap;

use crate::{body::Body, history::History, world::World};

/// Judges the server's tables of all agents; records still under way are allowed outside the core.
pub(crate) fn check(world: &World, core: usize) -> Result<(), String> {
    for (agent, mirror) in world.server.disk.durable().agents.iter().enumerate() {
        let seqs: Vec<u64> = mirror.table.iter().map(|(seq, _)| *seq).collect();
        if let Some((at, seq)) = (1..).zip(&seqs).find(|(at, seq)| at != *seq) {
            return Err(format!(
                "agent {agent}: effect number {at} was record {seq}: lost, doubled or out of order"
            ));
        }
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        for (_, id) in &mirror.table {
            *times.entry(*id).or_default() += 1;
        }
        check_known(&world.history, agent, &times)?;
        if agent < core {
            check_complete(&world.history, agent, &times)?;
        }
    }
    Ok(())
}

fn check_known(history: &History, agent: usize, times: &BTreeMap<u64, u32>) -> Result<(), String> {
    for (id, count) in times {
        if *count > 1 {
            return Err(format!("agent {agent}: record {id} took effect {count} times"));
        }
        if !history.submitted.contains(id) && !Body::is_answer(*id) {
            return Err(format!("agent {agent}: record {id} took effect, but nobody wrote it"));
        }
    }
    Ok(())
}

fn check_complete(
    history: &History,
    agent: usize,
    times: &BTreeMap<u64, u32>,
) -> Result<(), String> {
    let recorded = history.recorded.get(&agent).map_or(&[][..], Vec::as_slice);
    match recorded.iter().find(|id| !times.contains_key(id)) {
        Some(id) => Err(format!("agent {agent}: record {id} was on disk and is lost")),
        None => Ok(()),
    }
}
