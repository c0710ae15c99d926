//! Where chance comes from, so that a world of links can be played again.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers that spread dials and heartbeats. Cheap to clone; clones of seeded dice share one row.
///
/// The default is the thread's own generator. Nothing secret depends on these.
#[derive(Clone, Default)]
pub struct Dice {
    seeded: Option<Arc<Mutex<ChaCha8Rng>>>,
}

impl Dice {
    /// Dice that always fall the same way, for simulations.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { seeded: Some(Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))) }
    }

    /// A number drawn evenly from 0 to 1.
    #[must_use]
    pub fn roll(&self) -> f64 {
        match &self.seeded {
            Some(row) => row.lock().unwrap_or_else(PoisonError::into_inner).random(),
            None => rand::random(),
        }
    }
}

impl fmt::Debug for Dice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.seeded.is_some() { "Dice(seeded)" } else { "Dice" })
    }
}
