//! What the checks say, for people and for programs.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

/// How a check ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Survived(String),
    Failed(String),
    NotRun(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Survived(_) => "survived",
            Self::Failed(_) => "failed",
            Self::NotRun(_) => "not run",
        }
    }

    fn said(&self) -> &str {
        match self {
            Self::Survived(said) | Self::Failed(said) | Self::NotRun(said) => said,
        }
    }
}

/// One fault and what came of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

impl Row {
    pub(super) fn is_failure(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, outcome, took } = self;
        let seconds = took.as_secs();
        write!(f, "{id} {name}: {} ({}) [{seconds} s]", outcome.word(), outcome.said())
    }
}

pub(super) fn summary(rows: &[Row]) -> String {
    let count = |word: &str| rows.iter().filter(|row| row.outcome.word() == word).count();
    let (survived, failed, not_run) = (count("survived"), count("failed"), count("not run"));
    format!("{survived} of {} survived, {failed} failed, {not_run} not run", rows.len())
}

pub(super) fn json(rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id, "name": row.name, "outcome": row.outcome.word(),
                "said": row.outcome.said(), "took_seconds": row.took.as_secs_f64(),
            })
        })
        .collect();
    json!({ "faults": rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_measured() {
        let outcome = Outcome::Survived("noticed in 49.8 s".to_owned());
        let took = Duration::from_secs(61);
        let row = Row { id: "F13", name: "half-open TCP", outcome, took };
        let line = "F13 half-open TCP: survived (noticed in 49.8 s) [61 s]";
        assert_eq!(row.to_string(), line);
        assert_eq!(summary(&[row]), "1 of 1 survived, 0 failed, 0 not run");
    }
}
