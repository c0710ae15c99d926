//! The real program, seen from outside.

#[cfg(test)]
#[path = "agent/bench.rs"]
mod bench;
#[cfg(test)]
#[path = "agent/crash.rs"]
mod crash;
#[cfg(test)]
#[path = "agent/refusals.rs"]
mod refusals;
#[cfg(test)]
#[path = "agent/trust.rs"]
mod trust;
