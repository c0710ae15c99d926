//! The seeded world in which the link is tested: layer L0 of the test plan.
//!
//! A seed decides everything: the fleet, its work, the delays, and every fault. Real
//! [`Session`](holdfast_link::Session)s talk to each other over a simulated network, with simulated
//! disks that forget what was not synced, while a nemesis kills, cuts, freezes and starves them. An
//! observer outside of the world judges it by the promises of `ARCHITECTURE.md`: one file each
//! under
//! `checker/`.
//!
//! ```text
//! cargo xtask sim --seeds 20000           many worlds
//! cargo xtask sim --replay 4711 --tell    one world, frame by frame
//! cargo xtask sim --mutants               every planted bug must be caught
//! ```

mod agent;
mod body;
mod checker;
mod disk;
mod history;
mod network;
mod plant;
mod scenario;
mod server;
mod world;

pub use history::Violation;
pub use plant::Plant;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
pub use scenario::{Fault, MiddleBox, Mode, Place, Scenario, Way};
pub use world::Outcome;

/// Draws the world of a seed. Even seeds are safety runs, odd ones liveness runs.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    let mode = if seed.is_multiple_of(2) { Mode::Safety } else { Mode::Liveness };
    Scenario::draw(seed, mode, &mut ChaCha8Rng::seed_from_u64(seed))
}

/// Lives through the world of `scenario`; `tell` prints everything that happens.
#[must_use]
pub fn run(scenario: Scenario, tell: bool) -> Outcome {
    world::World::new(scenario, tell).run()
}
