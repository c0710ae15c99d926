//! The real drivers over a simulated network: hosts crash and come back, links are cut, cut in one
//! direction, or held. Whatever happens meanwhile, in the end every record has taken effect exactly
//! once and in order, in both directions.
//!
//! A seed decides everything, so a failure prints its seed and is played again with
//! `TURMOIL_SEED=n cargo test -p holdfast-link --test turmoil`; `TURMOIL_SEEDS=n` plays more of
//! them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod nemesis;
mod world;

use std::{env, panic};

use world::Report;

/// Worlds in an ordinary run, about half a second each.
const SEEDS: u64 = 50;

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn seeds() -> std::ops::Range<u64> {
    match setting("TURMOIL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("TURMOIL_SEEDS").unwrap_or(SEEDS),
    }
}

/// Lives through one world; a violation names the seed.
fn live(seed: u64) -> Report {
    match panic::catch_unwind(|| world::live(seed)) {
        Ok(report) => report,
        Err(_) => panic!("seed {seed} broke a promise; play it again with TURMOIL_SEED={seed}"),
    }
}

#[test]
fn every_record_takes_effect_exactly_once_whatever_the_weather() {
    let mut total = Report::default();
    for seed in seeds() {
        total.add(&live(seed));
    }
    println!("{total:?}");
    // A world in which nothing goes wrong proves nothing.
    if setting("TURMOIL_SEED").is_none() {
        let faults = [total.crashes, total.cuts, total.one_way_cuts, total.holds];
        assert!(faults.iter().all(|count| *count > 0), "{total:?}");
        assert!(total.sessions > 4 * total.worlds, "{total:?}");
    }
}

#[test]
fn the_same_seed_makes_the_same_world() {
    for seed in seeds().take(10) {
        assert_eq!(live(seed).trace, live(seed).trace, "seed {seed} was not played again alike");
    }
    assert_ne!(live(1).trace, live(2).trace);
}
