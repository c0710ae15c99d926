//! How far the backups are: one line per host, redrawn in a terminal, repeated elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use holdfast_e2e::operator::{Operator, has_ended};
use holdfast_e2e::wait;
use serde_json::Value;

use super::data::Host;
use super::size::Size;
use crate::interrupt::Interrupt;

/// How often the server is asked.
const LOOK: Duration = Duration::from_millis(300);

/// How long all backups may take together.
const LIMIT: Duration = Duration::from_secs(3600);

const BAR_COLUMNS: usize = 24;

/// Shows `jobs` until all have ended; returns them in the same order.
pub(crate) fn follow(
    operator: &Operator,
    jobs: &[(&Host, String)],
    interrupt: &Interrupt,
) -> Result<Vec<Value>> {
    let mut screen = Screen::new();
    let started = Instant::now();
    loop {
        interrupt.check()?;
        let seen: Vec<Value> =
            jobs.iter().map(|(_, job)| operator.job(job)).collect::<Result<_>>()?;
        let lines = jobs.iter().zip(&seen).map(|((host, _), job)| Line::of(host.name, job));
        screen.show(&lines.collect::<Vec<_>>())?;
        if seen.iter().all(has_ended) {
            return Ok(seen);
        }
        if started.elapsed() > LIMIT {
            bail!("the backups have not ended within {} minutes", LIMIT.as_secs() / 60);
        }
        wait::pause(LOOK);
    }
}

/// What is said about one host.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    /// What changes seldom: a plain log repeats the line only then.
    step: (String, u64),
    text: String,
}

impl Line {
    fn of(host: &str, job: &Value) -> Self {
        let status = job["status"].as_str().unwrap_or("unknown").to_owned();
        let percent = percent(job);
        let detail = if has_ended(job) { end(job) } else { midst(job) };
        let text = format!("{host:<9} {} {percent:>3} %  {status:<11} {detail}", bar(percent));
        Self { step: (status, percent / 25), text }
    }
}

fn percent(job: &Value) -> u64 {
    if ["succeeded", "partial"].iter().any(|good| job["status"] == *good) {
        return 100;
    }
    let done = job["progress"]["percent_done"].as_f64().unwrap_or(0.0);
    // Not 100 before the snapshot is there.
    (done.clamp(0.0, 0.99) * 100.0) as u64
}

fn bar(percent: u64) -> String {
    let full = BAR_COLUMNS * usize::try_from(percent).unwrap_or(100).min(100) / 100;
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR_COLUMNS - full))
}

fn midst(job: &Value) -> String {
    let progress = &job["progress"];
    let number = |name: &str| progress[name].as_u64().unwrap_or(0);
    if number("total_files") == 0 {
        return String::new();
    }
    let speed = Size(number("throughput_bps"));
    format!("{} of {} files, {speed}/s", number("files_done"), number("total_files"))
}

fn end(job: &Value) -> String {
    match (job["snapshot_id"].as_str(), job["error"]["message"].as_str()) {
        (_, Some(message)) => message.to_owned(),
        (Some(id), None) => format!("snapshot {}", id.get(..8).unwrap_or(id)),
        (None, None) => String::new(),
    }
}

/// Where the lines go.
struct Screen {
    is_terminal: bool,
    shown: Vec<Line>,
}

impl Screen {
    fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), shown: Vec::new() }
    }

    fn show(&mut self, lines: &[Line]) -> io::Result<()> {
        let text = match self.is_terminal {
            true => redrawn(lines, self.shown.len()),
            false => news(lines, &self.shown),
        };
        self.shown = lines.to_vec();
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// Goes up over the `before` lines shown last and writes all anew, without wrapping.
fn redrawn(lines: &[Line], before: usize) -> String {
    let up = if before == 0 { String::new() } else { format!("\x1b[{before}A") };
    let rows = lines.iter().map(|line| format!("\r\x1b[2K\x1b[?7l{}\x1b[?7h\n", line.text));
    std::iter::once(up).chain(rows).collect()
}

/// Only the lines whose step has changed.
fn news(lines: &[Line], shown: &[Line]) -> String {
    let changed = lines
        .iter()
        .enumerate()
        .filter(|(index, line)| shown.get(*index).is_none_or(|before| before.step != line.step));
    changed.map(|(_, line)| format!("{}\n", line.text)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn running(percent: f64) -> Line {
        let progress = json!({
            "percent_done": percent, "files_done": 3, "total_files": 9, "throughput_bps": 2_000_000,
        });
        Line::of("db-1", &json!({ "status": "running", "progress": progress }))
    }

    #[test]
    fn a_running_job_shows_its_speed() {
        let line = running(0.5).text;
        assert!(line.contains(" 50 %"), "{line}");
        assert!(line.contains("3 of 9 files, 2.0 MB/s"), "{line}");
    }

    #[test]
    fn no_job_is_complete_before_its_snapshot() {
        assert!(running(1.0).text.contains(" 99 %"));
        let ended = json!({ "status": "succeeded", "snapshot_id": "0123456789abcdef" });
        let line = Line::of("db-1", &ended).text;
        assert!(line.contains("100 %") && line.ends_with("snapshot 01234567"), "{line}");
    }

    #[test]
    fn a_failed_job_says_why() {
        let error = json!({ "code": "wrong_password", "message": "The password is wrong." });
        let line = Line::of("db-1", &json!({ "status": "failed", "error": error })).text;
        assert!(line.ends_with("The password is wrong."), "{line}");
    }

    #[test]
    fn a_plain_log_repeats_only_what_changed() {
        let shown = [running(0.10), running(0.10)];
        let text = news(&[running(0.12), running(0.30)], &shown);
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains(" 30 %"), "{text}");
    }

    #[test]
    fn a_terminal_is_redrawn_in_place() {
        assert!(redrawn(&[running(0.1)], 1).starts_with("\x1b[1A\r"));
        assert!(redrawn(&[running(0.1)], 0).starts_with('\r'));
    }
}
