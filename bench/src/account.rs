//! What a process has used so far, from the kernel's own books.

use std::fs;

use anyhow::{Context, Result};

/// How long the kernel's tick is; the same on every Linux a person meets.
const TICK_SECONDS: f64 = 0.01;

/// One look at a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    /// Memory in use.
    pub(crate) rss_kib: f64,
    /// User and system time of the process itself.
    pub(crate) cpu_seconds: f64,
    /// The same of its ended children.
    pub(crate) children_cpu_seconds: f64,
    /// What it made the disk write.
    pub(crate) written_bytes: f64,
    /// How often one of its threads gave the core away to wait.
    pub(crate) waits: f64,
}

impl Account {
    /// Looks at the process `pid`.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = read(pid, "status")?;
        let stat = read(pid, "stat")?;
        // The name stands in parentheses and may hold anything.
        let (_, rest) = stat.rsplit_once(") ").context("a stat without a name")?;
        let ticks: Vec<f64> =
            rest.split(' ').skip(11).take(4).filter_map(|word| word.parse().ok()).collect();
        anyhow::ensure!(ticks.len() == 4, "a stat without times");
        Ok(Self {
            rss_kib: field(&status, "VmRSS:"),
            cpu_seconds: (ticks[0] + ticks[1]) * TICK_SECONDS,
            children_cpu_seconds: (ticks[2] + ticks[3]) * TICK_SECONDS,
            written_bytes: field(&read(pid, "io").unwrap_or_default(), "write_bytes:"),
            waits: waits(pid),
        })
    }

    /// What was used since `earlier`; memory as the difference.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            rss_kib: self.rss_kib - earlier.rss_kib,
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            children_cpu_seconds: self.children_cpu_seconds - earlier.children_cpu_seconds,
            written_bytes: self.written_bytes - earlier.written_bytes,
            waits: self.waits - earlier.waits,
        }
    }
}

fn waits(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok())
        .map(|status| field(&status, "voluntary_ctxt_switches:"))
        .sum()
}

fn read(pid: u32, part: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{part}"))
        .with_context(|| format!("the process {pid} is gone"))
}

/// The number after `name` at the beginning of a line; 0 when it is not there.
pub(crate) fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_account_grows_with_what_we_do() {
        let before = Account::of(std::process::id()).unwrap();
        assert!(before.rss_kib > 100.0, "{before:?}");
        let ballast = vec![1_u8; 64 << 20];
        let used = Account::of(std::process::id()).unwrap().since(&before);
        assert!(used.rss_kib > 32.0 * 1024.0, "{used:?}");
        assert_eq!(ballast.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 64 << 20);
    }

    #[test]
    fn a_field_is_found_only_at_the_beginning_of_a_line() {
        let text = "nonvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t7\n";
        assert!((field(text, "voluntary_ctxt_switches:") - 7.0).abs() < f64::EPSILON);
        assert!(field(text, "VmRSS:").abs() < f64::EPSILON);
    }
}
