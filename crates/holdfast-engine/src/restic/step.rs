//! Progress that restic tells in words: `[0:12] 50.00%  1 / 2 packs`.

use crate::EngineProgress;

/// One step of an operation, and how far it is. An operation has several, each from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) text: String,
    fraction: f64,
    done: u64,
    total: u64,
}

impl Step {
    /// Reads such a line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
        if !time.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
            return None;
        }
        let (percent, rest) = rest.split_once('%')?;
        let (done, rest) = rest.split_once('/')?;
        let total = rest.split_ascii_whitespace().next()?;
        let percent: f64 = percent.trim().parse().ok()?;
        Some(Self {
            text: line.to_owned(),
            fraction: (percent / 100.0).clamp(0.0, 1.0),
            done: done.trim().parse().ok()?,
            total: total.parse().ok()?,
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done >= self.total
    }

    /// What is counted (snapshots, packs) takes the place of files.
    pub(crate) fn to_progress(&self) -> EngineProgress {
        let percent_done = if self.fraction.is_finite() { self.fraction } else { 0.0 };
        EngineProgress {
            percent_done,
            files_done: self.done,
            total_files: self.total,
            ..EngineProgress::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_every_kind_are_read() {
        for (line, expected) in [
            ("[0:00] 100.00%  2 / 2 snapshots", (1.0, 2, 2, true)),
            ("[1:02:03] 12.50%  1 / 8 packs processed", (0.125, 1, 8, false)),
            ("[0:05] 0.00%  0 / 5 old indexes deleted", (0.0, 0, 5, false)),
        ] {
            let step = Step::parse(line).unwrap();
            let progress = step.to_progress();
            let found =
                (progress.percent_done, progress.files_done, progress.total_files, step.is_done());
            assert_eq!(found, expected, "{line}");
        }
        for line in ["", "[0:00]", "[0:00] 12 files deleted", "[x] 1% 1 / 2 y", "[1] NaN% a / b c"]
        {
            assert_eq!(Step::parse(line), None, "{line}");
        }
    }
}
