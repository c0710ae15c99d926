//! The real drivers over a simulated network: hosts crash and come back, links are cut, cut in one
//! direction, or held. Whatever happens meanwhile, in the end every record has taken effect exactly
//! once and in order, in both directions.
//!
//! A seed decides everything, so a failure prints its seed and is played again with
//! `TURMOIL_SEED=n cargo test -p holdfast-link --test turmoil`; `TURMOIL_SEEDS=n` plays more of
//! them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod house;
mod nemesis;
mod road;
mod world;

use std::{env, panic};

use world::Report;

/// Worlds in an ordinary run, about half a second each.
const SEEDS: u64 = 200;
/// The tests they are lived through in: one at a time in each process, since a world's order hangs
/// on what the process counts.
const SHARES: u64 = 4;

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// The worlds of one share; the first lives through the one that was asked for.
fn seeds(share: u64) -> Vec<u64> {
    match setting("TURMOIL_SEED") {
        Some(seed) => (0..u64::from(share == 0)).map(|_| seed).collect(),
        None => {
            let all = 0..setting("TURMOIL_SEEDS").unwrap_or(SEEDS);
            all.filter(|seed| seed % SHARES == share).collect()
        }
    }
}

/// Lives through one world; a violation names the seed.
fn live(seed: u64) -> Report {
    match panic::catch_unwind(|| world::live(seed)) {
        Ok(report) => report,
        Err(_) => panic!("seed {seed} broke a promise; play it again with TURMOIL_SEED={seed}"),
    }
}

/// Every record takes effect exactly once, whatever the weather.
fn live_through(share: u64) {
    let mut total = Report::default();
    for seed in seeds(share) {
        total.add(&live(seed));
    }
    println!("{total:?}");
    // A world in which nothing goes wrong proves nothing.
    if setting("TURMOIL_SEED").is_none() {
        let faults = [total.crashes, total.cuts, total.one_way_cuts, total.holds];
        assert!(faults.iter().all(|count| *count > 0), "{total:?}");
        assert!(total.sessions > 4 * total.worlds, "{total:?}");
        assert!(total.polled > 2 * total.worlds, "{total:?}");
    }
}

#[test]
fn every_record_takes_effect_once_in_the_first_share_of_worlds() {
    live_through(0);
}

#[test]
fn every_record_takes_effect_once_in_the_second_share_of_worlds() {
    live_through(1);
}

#[test]
fn every_record_takes_effect_once_in_the_third_share_of_worlds() {
    live_through(2);
}

#[test]
fn every_record_takes_effect_once_in_the_fourth_share_of_worlds() {
    live_through(3);
}

#[test]
fn the_same_seed_makes_the_same_world() {
    for seed in seeds(0).into_iter().take(5) {
        assert_eq!(live(seed).trace, live(seed).trace, "seed {seed} was not played again alike");
    }
    assert_ne!(live(1).trace, live(2).trace);
}
