//! I19: however long the server is away, an agent dials at a bounded rate.

use std::{collections::BTreeMap, time::Duration};

use crate::world::World;

/// Dials an agent may make within a minute, besides one per start of its process. With full jitter
/// up to 60 s a number like this is reached less than once in a million minutes.
const DIALS_PER_MINUTE_MAX: usize = 25;

/// Judges the dials of all agents at the end of a run.
pub(crate) fn check(world: &World) -> Result<(), String> {
    let starts: &BTreeMap<usize, u32> = &world.history.process_starts;
    for (agent, dials) in &world.history.dials {
        let allowed = DIALS_PER_MINUTE_MAX
            + 6 * usize::try_from(starts.get(agent).copied().unwrap_or(0)).unwrap_or(usize::MAX);
        let minute = Duration::from_secs(60);
        let most = (0..dials.len())
            .map(|first| {
                dials[first..].iter().take_while(|at| **at - dials[first] < minute).count()
            })
            .max()
            .unwrap_or(0);
        if most > allowed {
            return Err(format!(
                "agent {agent} dialled {most} times in a minute; {allowed} is the bound"
            ));
        }
    }
    Ok(())
}
