//! What this was measured on, and whether it was quiet.

use std::{fs, process::Command, time::Duration};

use nix::sys::resource::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

use crate::account::field;

/// Cores that others may keep busy before figures are only hints.
const OTHERS_MAX: f64 = 0.5;
/// The share of time that the host may take from this guest.
const STEAL_MAX: f64 = 0.02;
/// How long others are watched, while the bench itself does nothing.
const WATCH: Duration = Duration::from_secs(1);

/// The machine, and what else ran on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) open_files: u64,
    /// The load average of the last minute when the run began.
    pub(crate) load: f64,
    /// Cores kept busy by others before the run.
    pub(crate) others: f64,
    /// The share of time taken by the host before the run.
    pub(crate) steal: f64,
    /// How the programs were built: `release`, `dev`, …
    pub(crate) profile: String,
    /// What was built.
    pub(crate) commit: String,
}

impl Machine {
    /// Looks around for a second.
    pub(crate) async fn look(profile: &str) -> Self {
        let (others, steal) = Times::watch().await;
        Self {
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: field(&read("/proc/meminfo"), "MemTotal:") / 1024.0 / 1024.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            open_files: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
            load: field(&read("/proc/loadavg"), ""),
            others,
            steal,
            profile: profile.to_owned(),
            commit: commit(),
        }
    }

    /// Whether figures taken now can be judged.
    pub(crate) fn is_quiet(&self) -> bool {
        self.others <= OTHERS_MAX && self.steal <= STEAL_MAX
    }
}

/// The processors' time since the start, in ticks.
struct Times {
    idle: f64,
    steal: f64,
    total: f64,
}

impl Times {
    async fn watch() -> (f64, f64) {
        let before = Self::now();
        tokio::time::sleep(WATCH).await;
        let after = Self::now();
        let total = (after.total - before.total).max(1.0);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let busy = 1.0 - (after.idle - before.idle) / total;
        (busy * cores, (after.steal - before.steal) / total)
    }

    fn now() -> Self {
        let stat = read("/proc/stat");
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> =
            line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or_default();
        // Waiting for the disk is idle too; guest time is in user time already.
        Self { idle: at(3) + at(4), steal: at(7), total: ticks.iter().take(8).sum() }
    }
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": ")).map(|(_, name)| name.trim());
    name.unwrap_or("unknown").to_owned()
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.unwrap_or_default()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
