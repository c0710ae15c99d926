//! Medians and spreads.

/// The value below which `share` (0 to 1) of `values` lie; 0 for no values.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return 0.0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let index = ((sorted.len() - 1) as f64 * share.clamp(0.0, 1.0)).round() as usize;
    sorted[index]
}

/// The middle value; of two middle ones their mean.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// The mean; 0 for no values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// How far the values lie apart, as a share of their median.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let middle = median(values);
    if middle.abs() < f64::EPSILON {
        return 0.0;
    }
    (quantile(values, 1.0) - quantile(values, 0.0)) / middle
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        same(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        same(median(&[9.0, 1.0, 5.0]), 5.0);
        same(median(&[]), 0.0);
    }

    #[test]
    fn the_99th_percentile_of_a_hundred_is_the_last_but_one() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        same(quantile(&values, 0.99), 99.0);
        same(quantile(&values, 1.0), 100.0);
    }

    #[test]
    fn spread_is_relative_to_the_median() {
        same(spread(&[90.0, 100.0, 110.0]), 0.2);
        same(spread(&[0.0]), 0.0);
    }
}
