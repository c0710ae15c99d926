//! What `SECURITY.md` claims, it claims of tests that exist.

use std::collections::BTreeSet;
use std::path::Path;

use super::Finding;

/// Where claims stand that name their tests.
pub(super) const CLAIMS: &str = "SECURITY.md";
/// A word of code with fewer underscores may be anything; with as many it is the name of a test.
const UNDERSCORES_MIN: usize = 4;

/// The names of all functions in a Rust file.
pub(super) fn functions(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let (_, rest) = line.split_once("fn ")?;
        let end = rest.find(|letter: char| !is_of_name(letter))?;
        (end > 0).then(|| &rest[..end])
    })
}

/// Checks that each test that `claims` names is among the `known` functions.
pub(super) fn check(claims: &str, known: &BTreeSet<String>) -> Vec<Finding> {
    let lines = claims.lines().enumerate();
    let named = lines.flat_map(|(index, line)| tests(line).map(move |name| (index + 1, name)));
    named
        .filter(|(_, name)| !known.contains(*name))
        .map(|(line, name)| {
            Finding::at(Path::new(CLAIMS), line, format!("there is no test {name}"))
        })
        .collect()
}

/// The tests that a line names.
fn tests(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split('`').skip(1).step_by(2);
    words.filter(|word| {
        let name = word.chars().all(is_of_name);
        name && word.matches('_').count() >= UNDERSCORES_MIN
    })
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_without_its_test_is_found() {
        let code = "#[test]\nfn a_thing_that_is_so() {}\n    async fn and_this_too_is_so<T>() {}\n";
        let known: BTreeSet<String> = functions(code).map(str::to_owned).collect();
        let claims = "| x | `a_thing_that_is_so`, `and_this_too_is_so` |\n\
            | y | `a_thing_that_was_so`, `server_set_back`, `--notify-allow` |\n";
        let found = check(claims, &known);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].line, found[0].rule.as_str()),
            (Some(2), "there is no test a_thing_that_was_so")
        );
    }
}
