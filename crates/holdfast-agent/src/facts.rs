//! What this machine is, as far as the server wants to know.

use std::fs;

use holdfast_protocol::message::link::Facts;
use jiff::{Timestamp, tz::TimeZone};

/// The machine and this agent, with the restic it found.
#[must_use]
pub fn collect(restic_version: &str) -> Facts {
    Facts {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        restic_version: restic_version.to_owned(),
        hostname: hostname(),
        os: os().to_owned(),
        arch: arch().to_owned(),
        boot_time: boot_time(),
        time_zone: TimeZone::system().iana_name().unwrap_or_default().to_owned(),
    }
}

fn hostname() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The fleet protocol's word for the system; it is Go's.
fn os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

/// The fleet protocol's word for the processor; it is Go's.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn boot_time() -> Option<Timestamp> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Timestamp::from_second(seconds.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_name_a_system_and_a_processor() {
        let facts = collect("0.18.0");
        assert!(!facts.hostname.is_empty());
        assert_eq!(facts.os, "linux");
        assert_ne!(facts.arch, "x86_64");
        assert!(facts.boot_time.is_some_and(|at| at < Timestamp::now()));
    }
}
