//! How far restic is.

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use holdfast_protocol::{JobId, message::job::Progress};
use tokio::time::Instant;

use crate::restic::output::Status;

/// [`Progress`] of a job whose id the engine does not know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineProgress {
    /// Fraction from 0 to 1, as restic gives it. It may fall while restic still scans.
    pub percent_done: f64,
    /// Files done.
    pub files_done: u64,
    /// Files found so far.
    pub total_files: u64,
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes found so far.
    pub total_bytes: u64,
    /// Seconds left by restic's own estimate; absent when restic gives none.
    pub eta_seconds: Option<u64>,
    /// Bytes that restic read per second over the last five seconds, as the kernel counts them.
    pub throughput_bps: u64,
    /// Files being read right now; at most four.
    pub current_files: Vec<String>,
    /// Files that could not be read so far.
    pub error_count: u64,
}

impl EngineProgress {
    /// The message that tells the server.
    #[must_use]
    pub fn of_job(self, job_id: JobId) -> Progress {
        Progress {
            job_id,
            percent_done: self.percent_done,
            files_done: self.files_done,
            total_files: self.total_files,
            bytes_done: self.bytes_done,
            total_bytes: self.total_bytes,
            eta_seconds: self.eta_seconds,
            throughput_bps: self.throughput_bps,
            current_files: self.current_files,
            error_count: self.error_count,
        }
    }
}

/// Turns restic's status lines into progress; it adds only the speed, which restic does not tell.
///
/// What restic calls done is no measure of it: a file that has not changed counts whole without a
/// byte of it being read.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pid: Option<u32>,
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// What follows comes from another process.
    pub(crate) fn follow(&mut self, pid: u32) {
        *self = Self { pid: Some(pid), samples: VecDeque::new() };
    }

    pub(crate) fn measure(&mut self, status: Status, now: Instant) -> EngineProgress {
        let read = self.pid.and_then(bytes_read).unwrap_or(status.bytes_done);
        self.measure_with(status, read, now)
    }

    fn measure_with(&mut self, status: Status, read: u64, now: Instant) -> EngineProgress {
        const CURRENT_FILES_MAX: usize = 4;
        let throughput_bps = self.throughput(read, now);
        let fraction = if status.percent_done.is_finite() { status.percent_done } else { 0.0 };
        let mut current_files = status.current_files;
        current_files.truncate(CURRENT_FILES_MAX);
        EngineProgress {
            percent_done: fraction.clamp(0.0, 1.0),
            files_done: status.files_done,
            total_files: status.total_files,
            bytes_done: status.bytes_done,
            total_bytes: status.total_bytes,
            eta_seconds: status.seconds_remaining,
            throughput_bps,
            current_files,
            error_count: status.error_count,
        }
    }

    /// Forgets the speed, so that a pause is not averaged in.
    pub(crate) fn restart(&mut self) {
        self.samples.clear();
    }

    fn throughput(&mut self, bytes_done: u64, now: Instant) -> u64 {
        const WINDOW: Duration = Duration::from_secs(5);
        // Each window keeps one sample older than itself, so that slow reports still span it.
        while self.samples.len() > 1 && now.duration_since(self.samples[1].0) >= WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back((now, bytes_done));
        let (since, before) = self.samples[0];
        let millis = now.duration_since(since).as_millis().max(1);
        let bytes = u128::from(bytes_done.saturating_sub(before));
        u64::try_from(bytes * 1000 / millis).unwrap_or(u64::MAX)
    }
}

/// What the process has read so far, from files and connections. `None` where the kernel does not
/// tell.
fn bytes_read(pid: u32) -> Option<u64> {
    let counters = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    counters.lines().find_map(|line| line.strip_prefix("rchar: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes_done: u64) -> Status {
        Status { bytes_done, ..Status::default() }
    }

    #[test]
    fn the_speed_is_that_of_the_last_seconds_only() {
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!(meter.measure(at(0), start).throughput_bps, 0);
        for second in 1..=10 {
            let now = start + Duration::from_secs(second);
            assert_eq!(meter.measure(at(second * 1000), now).throughput_bps, 1000);
        }
        let mut last = 0;
        for second in 11..=16 {
            let now = start + Duration::from_secs(second);
            last = meter.measure(at(10_000), now).throughput_bps;
        }
        assert_eq!(last, 0);
    }

    #[test]
    fn what_is_done_without_being_read_is_no_speed() {
        let start = Instant::now();
        let mut meter = Meter::default();
        for second in 0..=5 {
            let now = start + Duration::from_secs(second);
            let progress = meter.measure_with(at(second << 30), second * 1000, now);
            assert_eq!(progress.bytes_done, second << 30, "restic has looked at it");
            assert_eq!(progress.throughput_bps, if second == 0 { 0 } else { 1000 });
        }
    }

    #[test]
    fn the_kernel_tells_what_a_process_has_read() {
        let own = std::process::id();
        let before = bytes_read(own).unwrap();
        fs::read("/proc/self/exe").unwrap();
        let size = fs::metadata("/proc/self/exe").unwrap().len();
        assert!(bytes_read(own).unwrap() >= before + size);
        assert_eq!(bytes_read(u32::MAX), None);
    }

    #[test]
    fn nonsense_from_restic_stays_within_bounds() {
        let now = Instant::now();
        let mut meter = Meter::default();
        for (given, shown) in [(7.0, 1.0), (-1.0, 0.0), (f64::NAN, 0.0), (f64::INFINITY, 0.0)] {
            let status = Status {
                percent_done: given,
                current_files: vec!["/a".to_owned(); 9],
                ..Status::default()
            };
            let progress = meter.measure(status, now);
            assert_eq!(progress.percent_done, shown);
            assert_eq!(progress.current_files.len(), 4);
        }
        meter.measure(at(u64::MAX), now);
        assert_eq!(meter.measure(at(0), now).throughput_bps, 0);
    }
}
