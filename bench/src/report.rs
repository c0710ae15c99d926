//! What people and programs get to read.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    machine::Machine,
    measure::{Measurement, Rule, Verdict},
};

/// Everything a run found out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Whether it was quiet before and after.
    pub(crate) quiet: bool,
    /// Seconds of the whole run.
    pub(crate) seconds: f64,
    pub(crate) measurements: Vec<Judged>,
    /// What could not be measured, and why; what went wrong under load.
    pub(crate) remarks: Vec<String>,
}

/// A figure as it stands in the report.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Judged {
    #[serde(flatten)]
    pub(crate) figure: Measurement,
    pub(crate) median: f64,
    pub(crate) ratio: Option<f64>,
    pub(crate) spread: f64,
    pub(crate) verdict: Option<Verdict>,
}

impl Report {
    pub(crate) fn new(
        machine: Machine,
        quiet: bool,
        seconds: f64,
        figures: Vec<Measurement>,
        remarks: Vec<String>,
    ) -> Self {
        let judge = |figure: Measurement| Judged {
            median: figure.median(),
            ratio: figure.ratio(),
            spread: figure.spread(),
            verdict: figure.verdict(quiet),
            figure,
        };
        let measurements = figures.into_iter().map(judge).collect();
        Self { machine, quiet, seconds, measurements, remarks }
    }

    /// The report of an earlier run, out of the file that `--json` wrote.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let report = serde_json::from_str(&text);
        report.with_context(|| format!("{} is not what `bench --json` writes", file.display()))
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = self.heading();
        let _ = writeln!(
            text,
            "\n{:<10} {:<44} {:>14} {:>12} {:>12} {:>7} {:>7} {:<5} {:<9} verdict",
            "scenario", "figure", "of", "floor", "measured", "ratio", "spread", "goal", ""
        );
        for judged in &self.measurements {
            let _ = writeln!(text, "{}", line(judged));
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "note: {remark}");
        }
        text
    }

    fn heading(&self) -> String {
        let Machine { processor, cores, memory_gib, kernel, open_files, .. } = &self.machine;
        let Machine { load, others, steal, profile, commit, .. } = &self.machine;
        let mut text = format!(
            "machine  {cores} x {processor}, {memory_gib:.1} GiB, Linux {kernel}, \
             {open_files} open files\n\
             before   load {load:.2}, {others:.2} cores busy with other things, steal {:.1} %\n\
             build    {commit}, profile {profile}; {:.0} s in all\n",
            steal * 100.0,
            self.seconds
        );
        if !self.quiet {
            text.push_str(
                "noise    the machine was not quiet: every verdict below is only a hint (?)\n",
            );
        }
        text
    }
}

fn line(judged: &Judged) -> String {
    let figure = &judged.figure;
    let goal = figure
        .goal
        .as_ref()
        .map_or((String::new(), String::new()), |goal| (goal.id.to_string(), rule(goal.rule)));
    let floor = figure
        .reference
        .as_ref()
        .map_or(String::new(), |reference| number(crate::summary::median(&reference.values)));
    let step = format!("{} {}", figure.step.count, figure.step.of);
    let row = format!(
        "{:<10} {:<44} {:>14} {:>12} {:>12} {:>7} {:>6.0}% {:<5} {:<9} {}",
        figure.scenario,
        format!("{} [{}]", figure.metric, figure.unit),
        step,
        floor,
        number(judged.median),
        judged.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}x")),
        judged.spread * 100.0,
        goal.0,
        goal.1,
        judged.verdict.map_or("", Verdict::word),
    );
    row.trim_end().to_owned()
}

pub(crate) fn rule(rule: Rule) -> String {
    match rule {
        Rule::ValueAtMost(bound) => format!("<= {}", number(bound)),
        Rule::ValueAtLeast(bound) => format!(">= {}", number(bound)),
        Rule::RatioAtMost(bound) => format!("<= {}x", number(bound)),
        Rule::RatioAtLeast(bound) => format!(">= {}x", number(bound)),
    }
}

/// Three significant digits are more than any of these figures deserves.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        0.0 => 0,
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_the_goal_beside_the_value() {
        let figure = Measurement::new("idle", "memory", "KiB", ("agents", 100), vec![12.0; 5])
            .against("tungstenite", vec![10.0; 5])
            .goal("P1", Rule::RatioAtMost(1.5));
        let verdict = figure.verdict(true);
        let ratio = figure.ratio();
        let judged = Judged { median: 12.0, ratio, spread: 0.0, verdict, figure };
        let text = line(&judged);
        for part in ["memory [KiB]", "100 agents", "1.20x", "P1", "<= 1.50x", "met"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn small_numbers_keep_their_digits() {
        assert_eq!(number(0.0123), "0.0123");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(0.0), "0");
    }
}
