//! One measured figure, the reference it is held against, and the goal.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::summary::{median, spread};

/// With fewer interleaved runs a verdict is only a hint.
pub(crate) const ROUNDS_MIN: usize = 5;

/// A reference that moves by more than this between its own runs resolves nothing.
const SPREAD_MAX: f64 = 0.25;

/// A name that stands in this program, or in the file of an earlier run.
pub(crate) type Word = Cow<'static, str>;

/// A figure with everything needed to judge it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// The scenario that measured it.
    pub(crate) scenario: Word,
    /// What was measured.
    pub(crate) metric: String,
    /// Its unit.
    pub(crate) unit: Word,
    /// Of what there were how many: agents, jobs, records in a group.
    pub(crate) step: Step,
    /// One value per run.
    pub(crate) values: Vec<f64>,
    /// What it is held against.
    pub(crate) reference: Option<Reference>,
    /// What it should be.
    pub(crate) goal: Option<Goal>,
}

/// How large the thing was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) of: Word,
    pub(crate) count: usize,
}

/// The floor or peer of the same run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: Word,
    pub(crate) values: Vec<f64>,
}

/// A goal of the project's list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Goal {
    /// Its name in `docs/performance.md`.
    pub(crate) id: Word,
    pub(crate) rule: Rule,
}

/// What a goal asks for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Rule {
    /// The median at most this.
    ValueAtMost(f64),
    /// The median at least this.
    ValueAtLeast(f64),
    /// The median at most so many times the reference's.
    RatioAtMost(f64),
    /// The median at least so many times the reference's.
    RatioAtLeast(f64),
}

/// What came of a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The goal is met.
    Met,
    /// It is missed.
    Missed,
    /// Too few runs, too noisy a machine, or a reference that moves too much: met as it seems.
    SeemsMet,
    /// The same, and missed as it seems.
    SeemsMissed,
}

impl Measurement {
    /// A figure without reference or goal.
    pub(crate) fn new(
        scenario: &'static str,
        metric: impl Into<String>,
        unit: &'static str,
        step: (&'static str, usize),
        values: Vec<f64>,
    ) -> Self {
        let step = Step { of: step.0.into(), count: step.1 };
        let (scenario, metric, unit) = (scenario.into(), metric.into(), unit.into());
        Self { scenario, metric, unit, step, values, reference: None, goal: None }
    }

    /// Held against a floor or peer.
    pub(crate) fn against(mut self, name: &'static str, values: Vec<f64>) -> Self {
        self.reference = Some(Reference { name: name.into(), values });
        self
    }

    /// With a goal.
    pub(crate) fn goal(mut self, id: &'static str, rule: Rule) -> Self {
        self.goal = Some(Goal { id: id.into(), rule });
        self
    }

    /// The middle of all runs.
    pub(crate) fn median(&self) -> f64 {
        median(&self.values)
    }

    /// How many times the reference.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let reference = median(&self.reference.as_ref()?.values);
        (reference.abs() > f64::EPSILON).then(|| self.median() / reference)
    }

    /// How far apart the runs lie.
    pub(crate) fn spread(&self) -> f64 {
        spread(&self.values)
    }

    /// Whether the goal is met. On a machine that is not `quiet` nothing is certain.
    pub(crate) fn verdict(&self, quiet: bool) -> Option<Verdict> {
        let met = self.meets(self.goal.as_ref()?.rule)?;
        let steady = self.reference.as_ref().is_none_or(|it| spread(&it.values) <= SPREAD_MAX);
        let certain = quiet && steady && self.values.len() >= ROUNDS_MIN;
        Some(match (met, certain) {
            (true, true) => Verdict::Met,
            (false, true) => Verdict::Missed,
            (true, false) => Verdict::SeemsMet,
            (false, false) => Verdict::SeemsMissed,
        })
    }

    fn meets(&self, rule: Rule) -> Option<bool> {
        Some(match rule {
            Rule::ValueAtMost(bound) => self.median() <= bound,
            Rule::ValueAtLeast(bound) => self.median() >= bound,
            Rule::RatioAtMost(bound) => self.ratio()? <= bound,
            Rule::RatioAtLeast(bound) => self.ratio()? >= bound,
        })
    }
}

impl Verdict {
    /// As it stands in the table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::SeemsMet => "met?",
            Self::SeemsMissed => "MISSED?",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(values: &[f64], reference: &[f64]) -> Measurement {
        Measurement::new("idle", "rss", "KiB", ("agents", 10), values.to_vec())
            .against("floor", reference.to_vec())
            .goal("P1", Rule::RatioAtMost(1.5))
    }

    #[test]
    fn five_steady_runs_on_a_quiet_machine_make_a_verdict() {
        let met = figure(&[14.0; 5], &[10.0; 5]);
        assert_eq!(met.verdict(true), Some(Verdict::Met));
        assert_eq!(met.verdict(false), Some(Verdict::SeemsMet));
        assert_eq!(figure(&[16.0; 5], &[10.0; 5]).verdict(true), Some(Verdict::Missed));
    }

    #[test]
    fn few_runs_or_an_unsteady_reference_make_only_a_hint() {
        assert_eq!(figure(&[14.0; 4], &[10.0; 4]).verdict(true), Some(Verdict::SeemsMet));
        let unsteady = figure(&[16.0; 5], &[8.0, 10.0, 10.0, 10.0, 12.0]);
        assert_eq!(unsteady.verdict(true), Some(Verdict::SeemsMissed));
    }

    #[test]
    fn without_a_reference_there_is_no_ratio_to_judge() {
        let lonely = Measurement::new("idle", "rss", "KiB", ("agents", 10), vec![1.0])
            .goal("P1", Rule::RatioAtMost(1.5));
        assert_eq!(lonely.verdict(true), None);
    }
}
