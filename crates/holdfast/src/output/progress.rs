//! How far a job is, in one line.

use super::{bytes, count, printable, time::length};
use crate::model::Progress;

/// How wide the bar is, in characters.
const BAR_WIDTH: usize = 24;

/// Below this fraction restic's estimate of the time left is noise, so it is not shown.
const ETA_FROM: f64 = 0.05;

/// The line that is redrawn in a terminal.
pub(crate) fn bar_line(progress: &Progress) -> String {
    let bar = bar(progress.percent_done);
    let mut line = format!("[{bar}] {}", plain_line(progress));
    if let Some(file) = progress.current_files.first() {
        line.push_str("  ");
        line.push_str(&printable(file));
    }
    line
}

/// The same without the bar and the current file, for logs.
pub(crate) fn plain_line(progress: &Progress) -> String {
    let mut parts = vec![
        format!("{:5.1} %", fraction(progress.percent_done) * 100.0),
        format!("{} of {}", bytes(progress.bytes_done), bytes(progress.total_bytes)),
        format!("{} of {} files", count(progress.files_done), count(progress.total_files)),
        format!("reads {}/s", bytes(progress.throughput_bps)),
    ];
    if let Some(seconds) = progress.eta_seconds.filter(|_| progress.percent_done >= ETA_FROM) {
        let left = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        parts.push(format!("{} left", length(left)));
    }
    if progress.error_count > 0 {
        parts.push(format!("{} unreadable", count(progress.error_count)));
    }
    parts.join("  ")
}

fn bar(done: f64) -> String {
    let full = (fraction(done) * BAR_WIDTH as f64) as usize;
    let mut bar = "=".repeat(full);
    if full < BAR_WIDTH {
        bar.push('>');
    }
    format!("{bar:BAR_WIDTH$}")
}

/// `done` inside 0 to 1, whatever came over the wire.
fn fraction(done: f64) -> f64 {
    if done.is_nan() { 0.0 } else { done.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half() -> Progress {
        Progress {
            percent_done: 0.5,
            files_done: 10_000,
            total_files: 20_000,
            bytes_done: 1 << 30,
            total_bytes: 2 << 30,
            eta_seconds: Some(65),
            throughput_bps: 5 << 20,
            current_files: vec!["/srv/a\x1b[2J".into()],
            error_count: 2,
        }
    }

    #[test]
    fn a_line_tells_share_bytes_files_speed_time_and_errors() {
        assert_eq!(
            plain_line(&half()),
            " 50.0 %  1.0 GiB of 2.0 GiB  10,000 of 20,000 files  reads 5.0 MiB/s  \
             1 min 5 s left  2 unreadable"
        );
    }

    #[test]
    fn the_bar_is_always_equally_wide() {
        for (done, text) in [
            (0.0, "[>                       ] "),
            (0.5, "[============>           ] "),
            (1.0, "[========================] "),
            (f64::NAN, "[>                       ] "),
            (7.0, "[========================] "),
        ] {
            let line = bar_line(&Progress { percent_done: done, ..Progress::default() });
            assert!(line.starts_with(text), "{done}: {line}");
        }
    }

    #[test]
    fn the_current_file_cannot_move_the_cursor() {
        assert!(bar_line(&half()).ends_with("/srv/a\\u{1b}[2J"));
    }

    #[test]
    fn an_early_estimate_is_not_shown() {
        let early = Progress { percent_done: 0.01, ..half() };
        assert!(!plain_line(&early).contains("left"));
    }
}
