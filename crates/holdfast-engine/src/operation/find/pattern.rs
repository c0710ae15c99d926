//! What is searched for.

use holdfast_protocol::message::job::JobError;

use crate::operation::values::refuse;

/// The longest pattern, in bytes. Names are no longer than this either.
const LENGTH_MAX: usize = 255;

/// A part of a name, or with `*` and `?` all of it; with a `/` in it, of the whole path. Capitals
/// do not matter: who looks for a lost file rarely remembers them.
#[derive(Debug)]
pub(super) struct Pattern {
    letters: Vec<char>,
    /// Whether it stands for all of the text, with letters that stand for others.
    whole: bool,
    of_path: bool,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Result<Self, JobError> {
        if text.is_empty() || text.len() > LENGTH_MAX {
            return refuse(format!("What is looked for has no or more than {LENGTH_MAX} bytes."));
        }
        Ok(Self {
            letters: lower(text),
            whole: text.contains(['*', '?']),
            of_path: text.contains('/'),
        })
    }

    /// Whether what lies at `path` is meant.
    pub(super) fn fits(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        let text = lower(if self.of_path { path } else { name });
        if self.whole { stands_for(&self.letters, &text) } else { holds(&text, &self.letters) }
    }
}

fn lower(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn holds(text: &[char], part: &[char]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether `pattern` stands for all of `text`. A later star makes an earlier one settled, so this
/// takes at most the one length times the other.
fn stands_for(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(next) {
            Some('*') => {
                star = Some((next, at));
                next += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[at] => {
                (at, next) = (at + 1, next + 1);
            }
            _ => {
                // The star takes one more letter, and the rest is tried from there.
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, next) = (taken + 1, place + 1);
            }
        }
    }
    pattern[next..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern).unwrap().fits(path)
    }

    #[test]
    fn a_part_of_the_name_is_enough_and_capitals_do_not_matter() {
        assert!(fits("TAX", "/home/anna/Taxes 2025.ods") && fits("ß", "/Straße"));
        assert!(!fits("anna", "/home/anna/taxes.ods"), "a folder on the way is no match");
        assert!(fits("anna", "/home/anna"));
        assert!(fits("anna/tax", "/home/anna/taxes.ods") && fits("new\nline", "/a/new\nline"));
    }

    #[test]
    fn with_stars_it_stands_for_all_of_the_name() {
        for (pattern, path, expected) in [
            ("*.pdf", "/a/x.PDF", true),
            ("*.pdf", "/a/x.pdf.bak", false),
            ("x?z", "/xyz", true),
            ("x?z", "/xz", false),
            ("*a*b*", "/cacbc", true),
            ("**", "/anything", true),
            ("/a/*/c", "/a/b/b/c", true),
            ("/a/*/c", "/b/a/b/c", false),
            ("[a]*", "/a", false),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_hostile_pattern_costs_little_and_a_long_one_is_refused() {
        let path = format!("/{}", "a".repeat(4000));
        assert!(!fits(&"*a".repeat(120), &format!("{path}b")));
        assert!(Pattern::new("").is_err() && Pattern::new(&"x".repeat(256)).is_err());
    }
}
