//! How a cost grows with the size of what it is paid for, and where it bends.

use crate::{
    measure::Measurement,
    report::{Report, number},
};

/// Growth of a cost by less than this, from one size to one ten times as large, is none: it is the
/// goal, and about what two runs differ by.
const FLAT_MAX: f64 = 1.2;

/// One figure at several sizes.
pub(crate) struct Growth<'a> {
    figures: Vec<&'a Measurement>,
}

impl<'a> Growth<'a> {
    /// That of `figures`, which are of one name and stand in the order of their sizes.
    pub(crate) fn of(figures: &[&'a Measurement]) -> Self {
        Self { figures: figures.to_vec() }
    }

    /// In words.
    pub(crate) fn words(&self) -> String {
        match self.bend() {
            None => "flat".to_owned(),
            Some((_, factor)) if factor <= FLAT_MAX => "flat".to_owned(),
            Some((from, factor)) if factor.is_infinite() => {
                let step = &self.figures[from].step;
                format!("from nothing at {} {}", step.count, step.of)
            }
            Some((0, factor)) => format!("x {} per tenfold", number(factor)),
            Some((from, factor)) => {
                let step = &self.figures[from].step;
                format!("x {} per tenfold from {} {} on", number(factor), step.count, step.of)
            }
        }
    }

    /// From which figure on it grows, and how much from there to the last one, by each tenfold.
    fn bend(&self) -> Option<(usize, f64)> {
        let last = self.figures.len() - 1;
        let from = (0..last).find(|from| self.per_tenfold(*from, from + 1) > FLAT_MAX)?;
        Some((from, self.per_tenfold(from, last)))
    }

    fn per_tenfold(&self, from: usize, to: usize) -> f64 {
        let (from, to) = (self.figures[from], self.figures[to]);
        let tens = (to.step.count as f64 / from.step.count as f64).log10();
        if from.median() <= f64::EPSILON || tens <= 0.0 {
            // From nothing to nothing is flat; from nothing to something has no factor.
            return if to.median() <= f64::EPSILON { 1.0 } else { f64::INFINITY };
        }
        (to.median() / from.median()).powf(1.0 / tens)
    }

    /// The medians in the order of the sizes.
    pub(crate) fn medians(&self) -> String {
        let medians: Vec<String> = self.figures.iter().map(|it| number(it.median())).collect();
        medians.join(", ")
    }

    /// The sizes.
    pub(crate) fn sizes(&self) -> String {
        let sizes = self.figures.iter().map(|figure| figure.step.count.to_string());
        let of = self.figures.first().map_or("", |figure| &*figure.step.of);
        format!("{} {of}", sizes.collect::<Vec<_>>().join(", "))
    }
}

/// Of every figure that was measured at two sizes or more: scenario, name, unit, and its growth.
pub(crate) fn all(report: &Report) -> Vec<(&str, &str, &str, Growth<'_>)> {
    let curves = crate::plot::curves(report).into_iter();
    curves
        .map(|((scenario, metric), mut figures)| {
            figures.sort_by_key(|figure| figure.step.count);
            (scenario, metric, &*figures[0].unit, Growth::of(&figures))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(count: usize, value: f64) -> Measurement {
        Measurement::new("storm", "time", "us", ("agents", count), vec![value])
    }

    fn words(values: &[(usize, f64)]) -> String {
        let figures: Vec<Measurement> =
            values.iter().map(|(count, value)| figure(*count, *value)).collect();
        Growth::of(&figures.iter().collect::<Vec<_>>()).words()
    }

    #[test]
    fn what_stays_within_a_fifth_is_flat() {
        assert_eq!(words(&[(100, 10.0), (1_000, 11.0), (10_000, 12.0)]), "flat");
        assert_eq!(words(&[(100, 0.0), (1_000, 0.0)]), "flat");
        assert_eq!(words(&[(100, 10.0), (1_000, 5.0)]), "flat");
        assert_eq!(words(&[(100, 10.0), (1_000, 13.0), (10_000, 10.5)]), "flat");
    }

    #[test]
    fn a_bend_is_named_with_its_place() {
        let bent = [(100, 10.0), (1_000, 10.0), (10_000, 33.0)];
        assert_eq!(words(&bent), "x 3.30 per tenfold from 1000 agents on");
        assert_eq!(words(&[(100, 10.0), (10_000, 1000.0)]), "x 10.0 per tenfold");
        let late = [(100, 0.0), (1_000, 0.0), (10_000, 33.0)];
        assert_eq!(words(&late), "from nothing at 1000 agents");
    }
}
