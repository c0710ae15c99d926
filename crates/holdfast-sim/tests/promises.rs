//! A small share of the worlds on every test run; `cargo xtask sim` lives through the many.

use holdfast_sim::{Plant, run, scenario};

/// Seeds that once broke a promise, or showed a flaw in this world, and must never do so again.
const REGRESSIONS: &[u64] = &[424, 509, 1010, 6409, 7652];

#[test]
fn every_promise_is_kept_in_two_hundred_worlds() {
    for seed in 0..200 {
        let outcome = run(scenario(seed), false);
        assert_eq!(outcome.violation, None, "cargo xtask sim --replay {seed} --tell");
    }
}

#[test]
fn seeds_that_once_failed_stay_mended() {
    for seed in REGRESSIONS {
        let outcome = run(scenario(*seed), false);
        assert_eq!(outcome.violation, None, "cargo xtask sim --replay {seed} --tell");
    }
}

#[test]
fn the_same_seed_gives_the_same_world_to_the_last_frame() {
    for seed in 1_000..1_020 {
        let (first, again) = (run(scenario(seed), false), run(scenario(seed), false));
        assert_eq!(first.trace, again.trace, "seed {seed}");
        assert_ne!(first.trace, run(scenario(seed + 1), false).trace, "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_caught_within_three_thousand_worlds() {
    for plant in Plant::ALL {
        let caught = (0..3_000).any(|seed| {
            let mut world = scenario(seed);
            world.plant = Some(plant);
            run(world, false).violation.is_some()
        });
        assert!(caught, "{plant} went unnoticed");
    }
}

/// A checker that sees nothing would pass everything; a world without work would too.
#[test]
fn worlds_are_busy_and_faults_do_strike() {
    let outcomes: Vec<_> = (0..60).map(|seed| run(scenario(seed), false)).collect();
    assert!(outcomes.iter().all(|outcome| outcome.records > 10 && outcome.frames > 50));
    let mut faults: Vec<&str> =
        outcomes.iter().flat_map(|outcome| outcome.faults.keys().copied()).collect();
    faults.sort_unstable();
    faults.dedup();
    assert!(faults.len() >= 17, "only these faults struck: {faults:?}");
}
