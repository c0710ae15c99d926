//! "Did you mean …?"

/// The candidate that `word` is most likely a misspelling of, if any is near enough.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many insertions, deletions, replacements and swaps of neighbours lead from `a` to `b`;
/// letter case does not count.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut steps = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            steps[i][j] = fewest(&steps, &a[..i], &b[..j]);
        }
    }
    steps[a.len()][b.len()]
}

/// The fewest edits between two beginnings, when those of all shorter beginnings are known.
fn fewest(steps: &[Vec<usize>], a: &[char], b: &[char]) -> usize {
    let (i, j) = (a.len(), b.len());
    let (Some(from), Some(to)) = (a.last(), b.last()) else { return i + j };
    let replaced = steps[i - 1][j - 1] + usize::from(from != to);
    let edited = replaced.min(steps[i - 1][j] + 1).min(steps[i][j - 1] + 1);
    let swapped = i > 1 && j > 1 && a[i - 2] == *to && *from == b[j - 2];
    if swapped { edited.min(steps[i - 2][j - 2] + 1) } else { edited }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_leads_to_the_right_one() {
        let names = ["web-1", "db-1", "laptop-1"];
        assert_eq!(nearest("web1", names), Some("web-1"));
        assert_eq!(nearest("WEB-1", names), Some("web-1"));
        assert_eq!(nearest("labtop-1", names), Some("laptop-1"));
        assert_eq!(nearest("bd-1", names), Some("db-1"));
        assert_eq!(nearest("mail", names), None);
    }
}
